"""`perpdesk volume run` as a process: Ctrl-C once, twice, and requests through the file beside the database."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from perpdesk.adapters.sqlstore import upgrade

CONFIG = """
strategies:
  - strategy_id: boost
    strategy_name: Boost
    enabled: true
    target_token: KOGE
    target_chain: BSC
    target_volume: 10000
    sell_profit_percentage: {profit}
    price_mode: {mode}
    stop_grace_seconds: {grace}
    max_loss_per_trade_usdt: 50
    max_loss_per_day_usdt: 5000
    user_ids: [1, 2]
"""
RESTS = {"mode": "profit_on_buy", "profit": 50}
SELLS = {"mode": "discount_on_buy", "profit": 1}
PATIENCE_S = 120
PROOF = pytest.mark.skipif(os.environ.get("PERPDESK_PROOFS") != "1", reason="long: `make proofs`")


class Desk:
    """The process and its files."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.config, self.file = folder / "trading_config.yaml", folder / "volume.sqlite"
        self.write(**values)
        upgrade(f"sqlite:///{self.file}")
        words = ["run", "--speed", "1", "--config", str(self.config), "--json"]
        self.process = subprocess.Popen(
            self.command(*words), env=self.environment(folder), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def write(self, *, grace: int, mode: str, profit: int) -> None:
        """The configuration."""
        self.config.write_text(CONFIG.format(grace=grace, mode=mode, profit=profit))

    def command(self, *words: str) -> list[str]:
        """`perpdesk volume …` on this database."""
        program = "from perpdesk.cli import main; main()"
        return [sys.executable, "-c", program, "volume", *words, "--database", f"sqlite:///{self.file}"]

    def environment(self, folder: Path) -> dict[str, str]:
        """Nothing of the machine's own state."""
        return {**os.environ, "PERPDESK_CONTROL_DIR": str(folder / "control")}

    def rows(self, sql: str) -> list[Any]:
        """What is committed."""
        with sqlite3.connect(self.file) as found:
            return found.execute(sql).fetchall()

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for it, as long as the process lives."""
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)

    def sells(self) -> bool:
        """Do both users wait for their SELL?"""
        return self.rows("SELECT count(*) FROM volume_pairs WHERE state = 'SELLING'") == [(2,)]

    def ended(self) -> tuple[dict[str, Any], str, float]:
        """Its document, what it said, and how long it took to end."""
        begun = time.monotonic()
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, err
        return json.loads(out), err, time.monotonic() - begun


@contextmanager
def desk(folder: Path, **values: Any) -> Iterator[Desk]:
    one = Desk(folder, **values)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.mark.slow
@PROOF
def test_ctrl_c_ends_within_one_pair_and_leaves_nothing_open(tmp_path: Path) -> None:
    with desk(tmp_path, grace=1, **RESTS) as one:
        one.until(one.sells)
        one.process.send_signal(signal.SIGINT)
        document, said, seconds = one.ended()
        assert {row["state"] for row in document["users"].values()} == {"STOPPED"}
        assert "stopping: no new pair" in said
        assert one.rows("SELECT DISTINCT state, outcome FROM volume_pairs") == [("FLAT", "STOPPED")]
        assert seconds < 30


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    with desk(tmp_path, grace=300, **RESTS) as one:
        one.until(one.sells)
        one.process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert one.process.poll() is None
        one.process.send_signal(signal.SIGTERM)
        document, said, seconds = one.ended()
        assert {row["state"] for row in document["users"].values()} == {"STOPPED"}
        assert "flattening" in said
        assert seconds < 30


@pytest.mark.slow
@PROOF
def test_the_file_is_read_anew_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    with desk(tmp_path, grace=1, **SELLS) as one:
        one.until(lambda: bool(one.rows("SELECT 1 FROM volume_pairs WHERE outcome = 'COMPLETED'")))
        good = one.config.read_text()
        one.config.write_text(good.replace("target_volume: 10000", "target_volume: yes"))
        one.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        one.config.write_text(good.replace("target_volume: 10000", "target_volume: 50"))
        subprocess.run(one.command("reload"), check=True, env=one.environment(tmp_path))
        document, said, _ = one.ended()
        assert "nothing was changed" in said
        assert "BAD_NUMBER" in said
        assert "configuration read anew" in said
        assert {row["target"] for row in document["users"].values()} == {"50"}
        assert len(one.rows("SELECT DISTINCT params_hash FROM volume_pairs")) >= 2
