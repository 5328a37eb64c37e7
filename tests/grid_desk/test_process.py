"""Crons that overlap, as real processes: ten of one command at once, some killed, over one database."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.grid_desk.places import BEGIN_MS, DAYS, SEED, SETTINGS
from tests.grid_desk.test_executing import written

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.synthetic import synthetic_market
from perpdesk.market.writing import write_parquet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PERPDESK_PROOFS" not in os.environ, reason="minutes of real time: make proofs"),
]
AT_ONCE, KILLED = 10, 5
SYMBOL = "AAAUSDT"
# Each command with the minutes after BEGIN_MS at which its cron calls it. The signal is confirmed at 105.
CALM = (("scanner", 1), ("trigger", 15), ("executor", 15))
CROWDED = (("scanner", 1), ("trigger", 120), ("executor", 130), ("executor", 235), ("scanner", 241))


@dataclass
class Cron:
    """`perpdesk grid …` on one database."""

    data: Path
    file: Path

    def start(self, command: str, minute: int) -> subprocess.Popen[str]:
        """The process of one call."""
        as_of = datetime.fromtimestamp((BEGIN_MS + minute * MINUTE_MS) / 1000, UTC).isoformat()
        words = ["grid", command, "--symbol", SYMBOL, "--data", str(self.data), "--as-of", as_of, "--json"]
        words += ["--database", f"sqlite:///{self.file}", "--lease-seconds", "1"]
        words += [word for setting in SETTINGS for word in ("--set", setting)]
        if command == "executor":
            words += ["--i-know", "overlapping crons"]
        program = [sys.executable, "-c", "from perpdesk.cli import main; main()"]
        return subprocess.Popen([*program, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def call(self, command: str, minute: int) -> dict[str, object]:
        """One call that nobody disturbs, and its answer."""
        while True:
            process = self.start(command, minute)
            answer, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
            found = json.loads(answer)
            if found["status"] != "skipped":  # a dead one's lease has to lapse first
                return dict(found)
            time.sleep(0.3)

    def crowd(self, command: str, minute: int, chance: random.Random) -> Counter[str]:
        """Ten calls at once. Whoever holds the lease is killed after a moment, others at any time."""
        processes = [self.start(command, minute) for _ in range(AT_ONCE)]
        by_pid = {process.pid: process for process in processes}
        kills = 0
        while any(process.poll() is None for process in processes):
            holder = by_pid.get(self.holder(command))
            if kills < KILLED and holder is not None and holder.poll() is None:
                time.sleep(chance.uniform(0.0, 0.5))
                holder.kill()
                kills += 1
            elif kills < KILLED and chance.random() < 0.02:
                alive = [process for process in processes if process.poll() is None]
                if alive:
                    chance.choice(alive).kill()
                    kills += 1
            time.sleep(0.01)
        outcomes: Counter[str] = Counter()
        for process in processes:
            answer, errors = process.communicate(timeout=600)
            if process.returncode == -9:
                outcomes["killed"] += 1
            else:
                assert process.returncode == 0, errors
                outcomes["skipped" if json.loads(answer)["status"] == "skipped" else "done"] += 1
        return outcomes

    def holder(self, command: str) -> int:
        """The process that holds the command's lease; 0: none."""
        with closing(sqlite3.connect(self.file, timeout=60)) as books:
            rows = books.execute(
                "SELECT owner FROM grid_leases WHERE name = ? AND expires_ms > ?",
                (f"grid:{command}:{SYMBOL}", int(time.time() * 1000)),
            ).fetchall()
        return int(rows[0][0].split(":")[-2]) if rows else 0

    def books(self) -> dict[str, object]:
        """Everything that was decided."""

        async def look() -> dict[str, object]:
            async with await SqlStore.open(f"sqlite:///{self.file}") as store:
                return await written(store)

        return asyncio.run(look())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minutes")
    write_parquet(synthetic_market(SEED, 1, DAYS * 1440).tape, folder)
    return folder


def cron(folder: Path, data: Path) -> Cron:
    file = folder / "grid.sqlite"
    upgrade(f"sqlite:///{file}")
    return Cron(data, file)


def test_ten_at_once_killed_at_random_double_no_order_and_no_zone(data, tmp_path, capsys):
    (tmp_path / "calm").mkdir()
    (tmp_path / "crowded").mkdir()
    calm, crowded = cron(tmp_path / "calm", data), cron(tmp_path / "crowded", data)
    chance = random.Random(20_251_010)
    for command, minute in CALM:
        calm.call(command, minute)
    for command, minute in CALM[1:]:
        crowded.call(command, minute)
    died = 0
    for command, minute in CROWDED:
        calm.call(command, minute)
        outcomes = crowded.crowd(command, minute, chance)
        with capsys.disabled():
            print(f"\n  ten times {command} at {minute}: {dict(outcomes)}", end="", flush=True)
        died += outcomes["killed"]
        crowded.call(command, minute)  # the next minute's cron
    assert died >= len(CROWDED), "too few were killed to show anything"
    books = crowded.books()
    assert books == calm.books()
    assert len(books["runs"]) == 1
    assert books["fills"]
    assert books["zones"]
    assert books["signals"]
