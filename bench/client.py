"""Our Binance client against others on the same simulated exchange, in one run, interleaved.

    python bench/client.py [--client-runs 5] [--orders 2000] [--concurrency 16] [--peers all] [--json]

Every order is a market order, in turn bought and sold; the server is one process, each client another.
Orders per CPU second are of the client's own process. Peers live under .bench/venvs. The same as
`bench/run.py --only client`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from child import Child, ChildFailed

HERE = Path(__file__).resolve().parent
HOME = HERE.parent / ".bench"
RAW = "bare requests"
CLIENTS = {
    "perpdesk": ("ours.py", None),
    "ccxt": ("ccxt_async.py", "ccxt"),
    "python-binance": ("python_binance_async.py", "python_binance"),
    "official SDK": ("official_sdk.py", "official_sdk"),
    RAW: ("raw.py", None),
}
PEERS = [name for name in CLIENTS if name not in ("perpdesk", RAW)]
PACKAGES = {
    "ccxt": "ccxt",
    "python_binance": "python-binance",
    "official_sdk": "binance-sdk-derivatives-trading-usds-futures",
}
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
                rows[name] = {
                    "memory_mb": child.answer(READY_SECONDS)["memory_mb"],
                    "version": version_of(pins),
                }
                laps[name] = []
            except ChildFailed as error:
                skipped[name] = str(error)
        for lap in range(runs + 1):
            for name in list(laps):
                try:
                    result = timed(running[name], exchange, orders)
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
    server = rows.pop(RAW, None)
    return {
        "clients": {name: rows[name] for name in laps if name in rows},
        "server": server,
        "skipped": skipped,
    }


def timed(client: Child, exchange: Child, orders: int) -> dict[str, float]:
    """One lap, with what it cost the exchange."""
    before = exchange.cpu_seconds()
    result = client.ask(LAP_SECONDS)
    after = exchange.cpu_seconds()
    if before is not None and after is not None and after > before:
        result["server_orders_per_cpu_second"] = orders / (after - before)
    return result


def version_of(pins: str | None) -> str:
    """The pinned version of a client's package."""
    if pins is None:
        return ""
    wanted = PACKAGES[pins]
    for line in (HERE / "clients" / f"{pins}.txt").read_text().splitlines():
        name, _, pinned = line.partition("==")
        if name == wanted:
            return pinned
    return "?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be asked of this section."""
    parser.add_argument("--client-runs", type=int, default=5, help="laps of every client (default 5)")
    parser.add_argument("--orders", type=int, default=2_000, help="orders of a lap (default 2000)")
    parser.add_argument("--concurrency", type=int, default=16, help="orders in flight (default 16)")


def section(options: argparse.Namespace, peers: list[str]) -> dict[str, Any]:
    """Our client, the named peers and the bare requests, interleaved."""
    names = ["perpdesk", *peers, RAW]
    result = race(names, options.client_runs, options.orders, options.concurrency)
    result["concurrency"], result["orders"] = options.concurrency, options.orders
    ours = result["clients"].get("perpdesk")
    for row in result["clients"].values():
        if ours is not None:
            row["our_orders_per_cpu_second_times"] = (
                ours["orders_per_cpu_second"] / row["orders_per_cpu_second"]
            )
    return result


def main() -> int:
    """Measure and print. 0, also if peers are missing; 1 if perpdesk itself failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--peers", default="all", help="all, none, or names separated by commas")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    options = parser.parse_args()
    result = section(options, chosen(options.peers))
    if options.json:
        print(json.dumps(result))
    else:
        report(result)
    return 0 if "perpdesk" in result["clients"] else 1


def chosen(text: str) -> list[str]:
    """The peers that were asked for."""
    if text in ("all", "none"):
        return list(PEERS) if text == "all" else []
    unknown = [name for name in text.split(",") if name not in PEERS]
    if unknown:
        raise SystemExit(f"--peers: unknown {', '.join(unknown)}; choose from {', '.join(PEERS)}")
    return text.split(",")


def report(result: dict[str, Any]) -> None:
    """For people."""
    print(
        f"market orders, {result['concurrency']} in flight, medians of interleaved laps of {result['orders']}"
    )
    heads = ("client", "orders/s", "orders/CPU s", "p50 ms", "p99 ms", "MB", "ours/its per CPU s")
    print(f"{heads[0]:<24}" + "".join(f"{head:>20}" for head in heads[1:]))
    for name, row in result["clients"].items():
        cells = (
            f"{row['orders_per_second']:,.0f}",
            f"{row['orders_per_cpu_second']:,.0f}",
            f"{row['place_p50_ms']:.2f}",
            f"{row['place_p99_ms']:.2f}",
            str(row["memory_mb"]),
            f"{row['our_orders_per_cpu_second_times']:.2f}",
        )
        print(f"{name + ' ' + row['version']:<24}" + "".join(f"{cell:>20}" for cell in cells))
    server = result["server"]
    if server is not None:
        text = f"exchange: {server['orders_per_second']:,.0f} orders/s to bare signed requests"
        if "server_orders_per_cpu_second" in server:
            text += f", {server['server_orders_per_cpu_second']:,.0f} per second of its processor"
        print(text)
    for name, why in result["skipped"].items():
        print(f"left out: {name}: {why}")


if __name__ == "__main__":
    raise SystemExit(main())
