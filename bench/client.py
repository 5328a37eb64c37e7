"""Our Binance client against others on the same simulated exchange, in one run, interleaved.

    python bench/client.py [--runs 5] [--orders 2000] [--concurrency 16] [--peers all|none|ccxt] [--json]

Every order is a market order, in turn bought and sold; the server is one process, each client another.
Orders per CPU second are of the client's own process. Peers live under .bench/venvs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from child import Child, ChildFailed

HERE = Path(__file__).resolve().parent
HOME = HERE.parent / ".bench"
CLIENTS = {"perpdesk": ("ours.py", None), "ccxt": ("ccxt_async.py", "ccxt")}
CLIENTS["python-binance"] = ("python_binance_async.py", "python_binance")
LAP_SECONDS, READY_SECONDS, INSTALL_SECONDS = 600, 120, 900


def python_of(pins: str | None) -> Path:
    """The interpreter of a client, installed if need be. Raises ChildFailed, with the reason, if not."""
    if pins is None:
        return Path(sys.executable)
    wanted = HERE / "clients" / f"{pins}.txt"
    folder = HOME / "venvs" / f"client-{pins}"
    stamp = folder / ".pins"
    if not (stamp.exists() and stamp.read_text() == wanted.read_text()):
        print(f"installing {pins} ...", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(wanted)]
        for step in ([sys.executable, "-m", "venv", str(folder)], pip):
            done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
            if done.returncode:
                raise ChildFailed((done.stderr or done.stdout).strip().splitlines()[-1])
        stamp.write_text(wanted.read_text())
    return folder / "bin" / "python"


def race(names: list[str], runs: int, orders: int, concurrency: int) -> dict[str, Any]:
    """Round by round, every client one lap; medians, and why the missing ones are missing."""
    (HOME / "scratch").mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    exchange = Child(
        [sys.executable, str(HERE / "clients" / "exchange.py")],
        HOME / "scratch",
        environment,
        HOME / "scratch" / "client-exchange.log",
    )
    running: dict[str, Child] = {}
    skipped: dict[str, str] = {}
    rows: dict[str, Any] = {}
    laps: dict[str, list[dict[str, float]]] = {}
    try:
        told = exchange.answer(READY_SECONDS)
        for name, account in zip(names, told["accounts"], strict=False):
            script, pins = CLIENTS[name]
            try:
                command = [str(python_of(pins)), str(HERE / "clients" / script), "--url", told["url"]]
                command += ["--api-key", account["api_key"], "--secret", account["secret"]]
                command += ["--orders", str(orders), "--concurrency", str(concurrency)]
                log = HOME / "scratch" / f"client-{script}.log"
                child = running[name] = Child(command, HOME / "scratch", environment, log)
                rows[name] = {"memory_mb": child.answer(READY_SECONDS)["memory_mb"]}
                laps[name] = []
            except ChildFailed as error:
                skipped[name] = str(error)
        for lap in range(runs + 1):
            for name in list(laps):
                try:
                    result = running[name].ask(LAP_SECONDS)
                except ChildFailed as error:
                    skipped[name] = str(error)
                    del laps[name]
                    continue
                if lap:  # the first lap warms up
                    laps[name].append(result)
    finally:
        for child in [*running.values(), exchange]:
            child.stop()
    for name, results in laps.items():
        rows[name] |= {key: statistics.median(one[key] for one in results) for key in results[0]}
    return {"clients": {name: rows[name] for name in laps}, "skipped": skipped}


def main() -> int:
    """Measure and print. 0, also if peers are missing; 1 if perpdesk itself failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--orders", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--peers", default="all", help="all, none, or names separated by commas")
    parser.add_argument("--flood", type=float, default=10, help="seconds of 30,000 messages/s; 0: none")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args()
    peers = [name for name in CLIENTS if name != "perpdesk"]
    if options.peers != "all":
        peers = [name for name in peers if name in options.peers.split(",")]
    result = race(["perpdesk", *peers], options.runs, options.orders, options.concurrency)
    frames = [sys.executable, str(HERE / "clients" / "frames.py")]
    result["frames"] = json.loads(subprocess.run(frames, capture_output=True, check=True).stdout)
    if options.flood:
        flood = [sys.executable, str(HERE / "clients" / "flood.py"), "--seconds", str(options.flood)]
        result["flood"] = json.loads(subprocess.run(flood, capture_output=True, check=True).stdout)
    result["machine"] = {"cpus": os.cpu_count(), "python": platform.python_version()}
    result["concurrency"] = options.concurrency
    ours = result["clients"].get("perpdesk")
    for row in result["clients"].values():
        if ours is not None:
            row["our_orders_per_cpu_second_times"] = (
                ours["orders_per_cpu_second"] / row["orders_per_cpu_second"]
            )
    if options.json:
        print(json.dumps(result))
    else:
        report(result)
    return 0 if ours is not None else 1


def report(result: dict[str, Any]) -> None:
    """For people."""
    heads = ("client", "orders/s", "orders/CPU s", "p50 ms", "p99 ms", "MB", "ours/its per CPU s")
    print("".join(f"{head:>20}" for head in heads))
    for name, row in result["clients"].items():
        cells = (
            name,
            f"{row['orders_per_second']:,.0f}",
            f"{row['orders_per_cpu_second']:,.0f}",
            f"{row['place_p50_ms']:.2f}",
            f"{row['place_p99_ms']:.2f}",
            str(row["memory_mb"]),
            f"{row['our_orders_per_cpu_second_times']:.2f}",
        )
        print("".join(f"{cell:>20}" for cell in cells))
    for name, why in result["skipped"].items():
        print(f"{name}: skipped: {why}")
    for part in ("frames", "flood"):
        print(", ".join(f"{name} {value:,.2f}" for name, value in result.get(part, {}).items()))


if __name__ == "__main__":
    raise SystemExit(main())
