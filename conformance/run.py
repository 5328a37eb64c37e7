"""make conformance: stranger clients live on the exchange, and the ids of the protocol are ticked off.

    python conformance/run.py [--only NAME …] [--no-tests] [--json FILE]

Every client has an environment of its own under ``.conformance/`` (made on the first run, with pinned
versions). A client's life has the parts of ``clients/life.py``; a part without a check is a failure. The
table says id → pass, fail or not applicable with the reason. Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

from ids import CLIENT_IDS, IDS, NOT_APPLICABLE  # noqa: E402

FOLDER = ROOT / ".conformance"
CLIENTS = HERE / "clients"
ENVIRONMENTS = {
    "ccxt": ("pip", "ccxt==4.5.90"),
    "sdk": ("pip", "binance-sdk-derivatives-trading-usds-futures==18.0.1"),
    "python-binance": ("pip", "python-binance==1.0.37"),
    "node": ("npm", "binance@3.6.5"),
    "node-ccxt": ("npm", "ccxt@4.5.84"),
    "freqtrade": ("pip", "freqtrade==2026.9"),
}
# client → (environment, script)
SCRIPTS = {
    "ccxt async": ("ccxt", "ccxt_async.py"),
    "ccxt sync": ("ccxt", "ccxt_sync.py"),
    "ccxt spot": ("ccxt", "ccxt_spot.py"),
    "ccxt pro": ("ccxt", "ccxt_pro.py"),
    "official SDK": ("sdk", "official_sdk.py"),
    "python-binance": ("python-binance", "python_binance.py"),
    "node binance": ("node", "node_binance.js"),
    "node ccxt": ("node-ccxt", "node_ccxt.js"),
    "freqtrade": ("freqtrade", "freqtrade_life.py"),
}
_ID = re.compile(r"\b([A-Z]{2,3}-\d+)\b")
# A life takes seconds; the limits are for a machine that has much else to do.
_CLIENT_S, _INSTALL_S, _READY_S = 900, 1_800, 300
# What a client's life must contain where it is not everything: freqtrade is a black box (a buy, a stop on the
# exchange, a sell), and Spot has no positions.
OTHER_LIVES: dict[str, set[str]] = {
    "freqtrade": {"market data", "market", "stop", "books"},
    "ccxt spot": set(),
}


def prepare(name: str) -> str | None:
    """Make an environment; returns what is wrong, or None."""
    kind, package = ENVIRONMENTS[name]
    folder = FOLDER / name
    stamp = folder / ".installed"
    if stamp.is_file() and stamp.read_text() == package:
        return None
    print(f"installing {package}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if kind == "npm":
        if shutil.which("npm") is None:
            return "npm is not installed"
        (folder / "package.json").write_text('{"name": "stranger", "private": true}')
        steps = [["npm", "install", "--silent", "--no-audit", "--no-fund", package]]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", package],
        ]
    for step in steps:
        done = subprocess.run(
            step, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False
        )
        if done.returncode:
            return f"{' '.join(step[:2])} failed: {done.stderr.strip()[-300:]}"
    stamp.write_text(package)
    return None


class ExchangeFailed(Exception):
    """No server to live on: this client's life fails, the others go on."""


@contextmanager
def exchange() -> Iterator[str]:
    """A server of its own; gives its REST address when it has done everything once.

    What has to be compiled is compiled by a first order, before a client's clock starts.
    """
    command = [sys.executable, "-c", "from perpdesk.cli import main; main()", "exchange", "--control"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ExchangeFailed("the exchange did not start: see above")
        rest = json.loads(line)["rest_url"]
        warm_up(rest)
        yield rest
    finally:
        process.terminate()
        process.communicate(timeout=60)


def warm_up(rest: str) -> None:
    """An order, a move of the price and a close on an account that nobody else uses."""

    def control(**said: object) -> dict:
        request = urllib.request.Request(f"{rest}/control", json.dumps(said).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=_READY_S) as answer:
            return json.loads(answer.read())

    account = control(do="account", balance="1000")["account"]
    order = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
    control(do="actor", account=account, action="order", params=order)
    control(do="tick", symbol="ETHUSDT", price="2501", walk=True)
    control(do="actor", account=account, action="close")


def live(client: str) -> list[dict]:
    """One client's life: its checks."""
    environment, script = SCRIPTS[client]
    wrong = prepare(environment)
    if wrong is not None:
        return [{"client": client, "check": "environment", "ok": False, "why": wrong}]
    folder = FOLDER / environment
    with exchange() as rest:
        surroundings = os.environ | {
            "PERPDESK_REST": rest,
            "PERPDESK_WS": rest.replace("http", "ws", 1),
            "NODE_PATH": str(folder / "node_modules"),
        }
        program = ["node"] if script.endswith(".js") else [str(folder / "bin" / "python")]
        try:
            done = subprocess.run(
                [*program, script], cwd=CLIENTS, env=surroundings, capture_output=True, text=True,
                timeout=_CLIENT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return [{"client": client, "check": "life", "ok": False, "why": f"took over {_CLIENT_S} s"}]
    checks = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]
    if done.returncode and os.environ.get("PERPDESK_CONFORMANCE_LOGS"):
        print(done.stderr, file=sys.stderr)
    missing = OTHER_LIVES.get(client, set(parts())) - {check.get("part") for check in checks}
    for part in sorted(missing) if checks else ():
        why = "its life has nothing of this"
        checks.append({"client": client, "part": part, "check": f"lives {part}", "ok": False, "why": why})
    if not checks or (done.returncode and all(check["ok"] for check in checks)):
        checks.append({"client": client, "check": "ran", "ok": False, "why": done.stderr.strip()[-500:]})
    return checks


def parts() -> tuple[str, ...]:
    """The parts of a life, as the clients' scripts name them."""
    os.environ.setdefault("PERPDESK_REST", "")
    os.environ.setdefault("PERPDESK_WS", "")
    found: tuple[str, ...] = runpy.run_path(str(CLIENTS / "life.py"))["PARTS"]
    return found


class Ticks:
    """A pytest plugin: which ids the tests name in their docstrings, and how they ended."""

    def __init__(self) -> None:
        self.passed: dict[str, int] = {}
        self.failed: dict[str, list[str]] = {}
        self._named: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the ids."""
        for item in items:
            text = (getattr(item, "function", None).__doc__ or "").partition(":")[0]
            self._named[item.nodeid] = _ID.findall(text)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the outcome for every id that the test names."""
        for name in self._named.get(report.nodeid, []):
            if report.failed:
                self.failed.setdefault(name, []).append(report.nodeid)
            elif report.when == "call" and report.passed:
                self.passed[name] = self.passed.get(name, 0) + 1


def main() -> int:
    """Run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(SCRIPTS), help="only these clients")
    parser.add_argument("--no-tests", action="store_true", help="only the clients")
    parser.add_argument("--no-clients", action="store_true", help="only the tests")
    parser.add_argument("--json", type=Path, help="write the result to a file too")
    chosen = parser.parse_args()
    ticks = Ticks()
    if not chosen.no_tests:
        folder = [str(ROOT / "tests" / name) for name in ("conformance", "exchange/server")]
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
        options += ["--ignore", str(ROOT / "tests" / "conformance" / "test_strangers.py")]  # they live below
        pytest.main([*options, *folder], plugins=[ticks])
    checks: dict[str, list[dict]] = {}
    for client in [] if chosen.no_clients else chosen.only or list(SCRIPTS):
        try:
            checks[client] = live(client)
        except ExchangeFailed as error:
            checks[client] = [{"client": client, "check": "exchange", "ok": False, "why": str(error)}]
        bad = [check for check in checks[client] if not check["ok"]]
        verdict = "pass" if not bad else f"FAIL ({len(bad)})"
        print(f"{client:16} {len(checks[client]):3} checks  {verdict}", flush=True)
        for check in bad:
            print(f"    {check['check']}: {check['why']}")
    rows = [row_of(name, ticks, checks) for name in IDS]
    print()
    for name, verdict, why in rows:
        print(f"{name:7} {verdict:14} {IDS[name]:20} {why}")
    if chosen.json is not None:
        found = {name: {"verdict": verdict, "why": why} for name, verdict, why in rows}
        chosen.json.write_text(json.dumps({"ids": found, "checks": checks}, indent=1))
    failed = any(verdict == "FAIL" for _, verdict, _ in rows)
    failed |= any(not check["ok"] for made in checks.values() for check in made)
    return 1 if failed else 0


def row_of(name: str, ticks: Ticks, checks: dict[str, list[dict]]) -> tuple[str, str, str]:
    """(id, verdict, why)."""
    if name in CLIENT_IDS:
        made = [client for client in CLIENT_IDS[name] if client in checks]
        if not made:
            return name, "not run", f"no life of {', '.join(CLIENT_IDS[name])} in this run"
        bad = [client for client in made if not all(check["ok"] for check in checks[client])]
        return name, "FAIL" if bad else "pass", ", ".join(bad or made)
    if name in ticks.failed:
        return name, "FAIL", ticks.failed[name][0]
    if name in ticks.passed:
        return name, "pass", f"{ticks.passed[name]} tests"
    if name in NOT_APPLICABLE:
        return name, "not applicable", NOT_APPLICABLE[name]
    return name, "not run", "no test names it"


if __name__ == "__main__":
    sys.exit(main())
