"""Real processes on this machine: a simulated exchange, the vault and books of one account, its desks.

Nothing here is imported by the product. Everything lives in one folder, and ends with ``close``.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ACCOUNT = "main"
CONFIG = """
account: {balance_usdt: 100000, leverage: 5, margin_mode: isolated}
risk: {positions_max: 8, max_total_notional_usdt: 60000, worst_case_fraction: 0.9}
sma_cross:
  fast: 2
  slow: 3
  notional_usdt: 2000
  positions_max: 8
  stop: 0.006
  trail_activation: 0.004
  trail_callback: 0.002
  take_profit: 0.003
  take_profit_share: 0.5
  cooldown_s: 0
"""
READY_S = 180
# Shared by all rigs of a user: compiling every library anew takes as long as a start.
BYTECODE = Path(tempfile.gettempdir()) / f"perpdesk-proof-bytecode-{os.getuid()}"


_COMMAND = """
import sys
from perpdesk.adapters.clocks import SystemClock
shift_ms = int(sys.argv.pop(1))
real = SystemClock.now_ms
SystemClock.now_ms = lambda clock: real(clock) + shift_ms
from perpdesk.cli import main
main()
"""


def perpdesk(*arguments: object, shift_ms: int = 0) -> list[str]:
    """The command line of this environment. shift_ms: by how much this machine's clock is put forward."""
    return [sys.executable, "-c", _COMMAND, str(shift_ms), *map(str, arguments)]


class Exchange:
    """A simulated exchange as a process of its own; people and the market act through its control channel."""

    def __init__(
        self, folder: Path, prices: Mapping[str, str], seed: int = 7, balance: str = "100000"
    ) -> None:
        named = [word for symbol, price in prices.items() for word in ("--price", f"{symbol}={price}")]
        command = perpdesk(
            "exchange", "--control", "--accounts", 1, "--balance", balance, "--seed", seed, *named
        )
        self.log = (folder / "exchange.log").open("ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url, self.control_url = ready["rest_url"], ready["control_url"]
        self.keys = json.loads(self.process.stdout.readline())

    def do(self, action: str, /, **arguments: Any) -> dict[str, Any]:
        """One action of the control channel."""
        body = json.dumps({"do": action, **arguments}).encode()
        with urllib.request.urlopen(self.control_url, body, timeout=60) as answer:
            found = json.loads(answer.read())
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        """End it."""
        end(self.process)
        self.log.close()


class Rig:
    """One account on one exchange, with a vault, a control folder and a database of its own."""

    def __init__(self, folder: Path, exchange: Exchange, database: str, config: str = CONFIG) -> None:
        self.folder, self.exchange, self.database = folder, exchange, database
        folder.mkdir(parents=True, exist_ok=True)
        BYTECODE.mkdir(mode=0o700, exist_ok=True)
        self.shift_ms = 0
        self.environment = self._environment()
        self.desks: list[subprocess.Popen[bytes]] = []
        (folder / "config.yaml").write_text(config)
        master, keys = folder / "master.key", folder / "keys.json"
        for path, text in (
            (master, "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()),
            (keys, json.dumps({"api_key": exchange.keys["api_key"], "secret": exchange.keys["secret"]})),
        ):
            path.touch(0o600)
            path.write_text(text)
        self.run("db", "upgrade")
        self.run("accounts", "add", ACCOUNT, "--exchange-url", exchange.url, "--key-file", keys)
        keys.unlink()
        self.run("control", "enable", "--account", ACCOUNT, "--by", "proof")

    def elsewhere(self, folder: Path, keys: Mapping[str, str]) -> Rig:
        """The same account and database on another machine: its own control folder, its own API key."""
        there = copy.copy(self)
        there.folder, there.desks = folder, []
        folder.mkdir(parents=True)
        for name in ("vault.json", "master.key", "config.yaml"):
            shutil.copy2(self.folder / name, folder / name)
        there.environment = there._environment()
        file = folder / "keys.json"
        file.touch(0o600)
        file.write_text(json.dumps(dict(keys)))
        there.run("accounts", "rotate", ACCOUNT, "--key-file", file)
        file.unlink()
        return there

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PERPDESK_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode: see docs/operations.md
        return kept | {
            "PYTHONPYCACHEPREFIX": str(BYTECODE),
            "PERPDESK_VAULT": str(self.folder / "vault.json"),
            "PERPDESK_MASTER_KEY_FILE": str(self.folder / "master.key"),
            "PERPDESK_CONTROL_DIR": str(self.folder / "control"),
            "PERPDESK_DATABASE": self.database,
            "PERPDESK_LOG": "INFO",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }

    def run(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        done = subprocess.run(
            perpdesk(*arguments, shift_ms=self.shift_ms),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"perpdesk {arguments[0]} exited with {done.returncode}: {done.stderr}")
        return done

    def live(
        self, symbols: Sequence[str], *more: object, environment: Mapping[str, str] | None = None
    ) -> Desk:
        """Start a desk."""
        return self.start(perpdesk(*self.live_words(symbols), *more, shift_ms=self.shift_ms), environment)

    def live_words(self, symbols: Sequence[str]) -> list[str]:
        """The arguments with which a desk is started."""
        return [
            "live", "--strategy", "sma_cross", "--live", "--confirm", ACCOUNT, "--account", ACCOUNT,
            "--symbols", ",".join(symbols), "--config", str(self.folder / "config.yaml"),
        ]  # fmt: skip

    def watch(self, *more: object, environment: Mapping[str, str] | None = None) -> Desk:
        """Start a watch."""
        return self.start(perpdesk("watch", "--account", ACCOUNT, *more, shift_ms=self.shift_ms), environment)

    def start(self, command: list[str], environment: Mapping[str, str] | None = None) -> Desk:
        """Start a command of one's own, with a desk's environment and log."""
        log = self.folder / f"desk-{len(self.desks):04}.log"
        with log.open("wb") as file:
            # In a session of its own: a group that is orphaned with a stopped member is hung up as a whole.
            process = subprocess.Popen(
                command,
                env=self.environment | dict(environment or {}),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.desks.append(process)
        return Desk(process, log, self)

    def figures(self, role: str = "live") -> dict[str, Any]:
        """The newest metrics file; empty if there is none."""
        found = sorted((self.folder / "control").glob(f"*.{role}.metrics.json"))
        if not found:
            return {}
        read = json.loads(found[0].read_bytes())
        assert isinstance(read, dict)
        return read

    def close(self) -> None:
        """End every desk that still runs."""
        for process in self.desks:
            end(process)


class Desk:
    """A process of the rig."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, rig: Rig) -> None:
        self.process, self.log, self.rig = process, log, rig

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def is_ready(self) -> bool:
        """Does it trade?"""
        metrics = self.rig.figures()
        return metrics.get("pid") == self.process.pid and bool(metrics["figures"].get("is_ready"))

    def opens(self) -> bool:
        """Does it trade, and may it open positions?"""
        return self.is_ready() and not self.rig.figures().get("lines")

    def wait_ready(self, seconds: float = READY_S) -> None:
        """Until it trades. Raises AssertionError with its log if it ends before."""
        wait_until(lambda: self.is_ready() or self.process.poll() is not None, seconds)
        assert self.is_ready(), f"exited with {self.process.poll()}: {self.text[-3000:]}"

    def kill(self) -> None:
        """SIGKILL: as the power goes."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def wait_until(holds: Any, seconds: float, every_s: float = 0.1) -> None:
    """Raises AssertionError if it does not come true."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {holds}")
        time.sleep(every_s)


def end(process: subprocess.Popen[Any]) -> None:
    """Ask, then kill."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
