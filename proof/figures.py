"""make figures: how quick the live desk is, how many lives a second are simulated, whether memory grows.

Written to docs/proof/figures.md. Four parts, each of its own (--only): ``inprocess`` and ``loopback`` (signal
to wire, fill to stop), ``runs`` (simulated runs per second and core), ``soak`` (memory). What stands in the
page was measured by the command that it names; parts that are not run keep what the JSON beside the page has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from proof.market import Recorded  # noqa: E402
from proof.rig import Exchange, Rig  # noqa: E402
from proof.soak import Soak, soak  # noqa: E402
from proof.stopwatch import Stopwatch, quantiles_ms  # noqa: E402

from perpdesk.simulation.database import files  # noqa: E402

PARTS = ("inprocess", "loopback", "runs", "soak")
POINT_S = 0.5
_WATCHED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
from proof.stopwatch import watch_into
watch_into(Path(sys.argv.pop(1)))
from perpdesk.cli import main
main()
"""


def inprocess(given: argparse.Namespace) -> dict[str, Any]:
    """One desk and the exchange in one process, no sockets, a clock that jumps from event to event: what is
    measured is work, in CPU time of both. The database lies in memory."""
    watch = Stopwatch(now_ns=time.process_time_ns)
    watch.start()
    try:
        with files() as folder:
            made = Soak(1, given.symbols, given.minutes, given.cpu_max_s)
            found = made.run(folder)
    finally:
        watch.stop()
    return {
        "symbols": given.symbols,
        "venue_minutes": found["venue_minutes"],
        "signal_to_wire_ms": quantiles_ms(watch.signal_us),
        "fill_to_stop_ms": quantiles_ms(watch.stop_us),
    }


def loopback(given: argparse.Namespace) -> dict[str, Any]:
    """A desk as a process of its own, with SQLite on disk, and an exchange server, over TCP, in real time."""
    with tempfile.TemporaryDirectory(prefix="perpdesk-figures-") as name:
        folder = Path(name)
        recorded = Recorded(8, 997)
        exchange = Exchange(folder, recorded.prices)
        try:
            rig = Rig(folder / "desk", exchange, f"sqlite:///{folder / 'desk.sqlite'}")
            samples = folder / "samples.json"
            words = [str(ROOT), str(samples), *rig.live_words(recorded.symbols)]
            desk = rig.start([sys.executable, "-c", _WATCHED, *words])
            desk.wait_ready()
            until, points = time.monotonic() + given.loopback_minutes * 60, recorded.points()
            while time.monotonic() < until and desk.process.poll() is None:
                for symbol, price in next(points).items():
                    exchange.do("tick", symbol=symbol, price=price, walk=True)
                time.sleep(POINT_S)
            told = rig.figures().get("figures", {})
            code = desk.stop()
            found = json.loads(samples.read_text()) if samples.exists() else {"signal": [], "stop": []}
            rig.close()
        finally:
            exchange.close()
    names = (
        "signal_to_send_us",
        "fill_to_stop_p50_ms",
        "fill_to_stop_p99_ms",
        "stops_acknowledged",
        "fills_total",
    )
    return {
        "minutes": given.loopback_minutes,
        "market": recorded.source,
        "exit_code": code,
        "signal_to_wire_ms": quantiles_ms(found["signal"]),
        "fill_to_stop_ms": quantiles_ms(found["stop"]),
        "status_says": {one: told.get(one) for one in names},
    }


def runs(given: argparse.Namespace) -> dict[str, Any]:
    """`perpdesk simulate` on one core."""
    command = [sys.executable, "-c", "from perpdesk.cli import main; main()", "simulate", "--faults", "0.4"]
    command += ["--seeds", str(given.seeds), "--processes", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    said = json.loads(done.stdout)
    cpu_s = said["cpu_seconds"]
    return {
        "seeds": said["seeds"],
        "runs": said["runs"],
        "cpu_s": cpu_s,
        "runs_per_s_core": said["runs_per_cpu_second"],
        "simulated_days_per_cpu_hour": round(said["simulated_days"] / cpu_s * 3600, 1),
        "lives_per_s_core": round(said["lives"] / cpu_s, 2),
        "orders_per_s_core": round(said["orders"] / cpu_s, 1),
        "loop_steps_per_s_core": round(said["steps"] / cpu_s),
        "violations": said["violations"],
    }


def memory(given: argparse.Namespace) -> dict[str, Any]:
    """Memory over venue time: ``proof/soak.py``."""
    return soak(given.accounts, given.symbols, given.soak_minutes, given.soak_cpu_max_s)


def report(found: dict[str, Any]) -> str:
    """The page of docs/proof."""
    lines = ["# Figures", ""]
    lines += ["Written by `make figures` (`proof/figures.py`); each part says what was run.", ""]
    for part, title in (
        ("inprocess", "Signal to wire, fill to stop: in one process"),
        ("loopback", "The same over loopback"),
        ("runs", "Simulated runs"),
        ("soak", "Memory"),
    ):
        one = found.get(part)
        lines += [f"## {title}", ""]
        if one is None:
            lines += ["Not run.", ""]
            continue
        lines += [f"```\n{one['command']}\n```", "", f"Commit {one['commit']}; {one['machine']}.", ""]
        lines += [*_PAGES[part](one), ""]
    return "\n".join(lines).rstrip() + "\n"


def _latency(one: dict[str, Any]) -> list[str]:
    rows = ["| ms | samples | p50 | p99 | max |", "|---|---|---|---|---|"]
    for title, name in (
        ("closed minute at the engine → entry's bytes written", "signal_to_wire_ms"),
        ("first fill at the engine → its stop acknowledged", "fill_to_stop_ms"),
    ):
        q = one[name]
        rows.append(f"| {title} | {q['count']} | {q['p50']} | {q['p99']} | {q['max']} |")
    return rows


def _inprocess(one: dict[str, Any]) -> list[str]:
    said = (
        f"One desk on {one['symbols']} symbols, {one['venue_minutes']} venue minutes, exchange and desk in "
        "one process without sockets, SQLite in memory. CPU time of both: no wire and no disk is waited for."
    )
    return [said, "", *_latency(one)]


def _loopback(one: dict[str, Any]) -> list[str]:
    status = ", ".join(f"{name} {value}" for name, value in one["status_says"].items())
    said = (
        f"A desk and an exchange server as processes of their own over TCP, SQLite on disk (the intent is "
        f"durable before the order), {one['minutes']} minutes of real time, prices: {one['market']}."
    )
    return [
        said,
        "",
        *_latency(one),
        "",
        f"What the desk's own metrics and `perpdesk status` said: {status}.",
    ]


def _runs(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['runs']} runs (17.5 simulated minutes each, 40 % faults, crashes and restarts), "
        f"{one['cpu_s']} s of CPU: **{one['runs_per_s_core']} runs per second and core**, "
        f"{one['simulated_days_per_cpu_hour']} simulated days per CPU hour; per second "
        f"{one['lives_per_s_core']} process lives, {one['orders_per_s_core']} orders, "
        f"{one['loop_steps_per_s_core']} loop steps. Violations: {one['violations']}.",
    ]


def _soak(one: dict[str, Any]) -> list[str]:
    line = one["slope"]
    wanted = one["venue_minutes_wanted"]
    short = f" (of {wanted} wanted: its limit of CPU time)" if one["venue_minutes"] < wanted else ""
    every = max(1, len(one["points"]) // 12)
    return [
        f"{one['accounts']} accounts on {one['symbols']} symbols each, one address per account, in one "
        "process with the exchange, on a clock that jumps from event to event: "
        f"{one['venue_minutes']} venue minutes{short}, {one['cpu_s']} s of CPU, {one['fills']} fills, "
        f"{one['requests']} requests, {one['stream_messages']} stream messages; "
        f"{one['positions_mean']} positions held on average, {one['positions_max']} at most.",
        "",
        f"Line through the minutes from {one['settling_minutes']} on: **{line['mb_per_hour']} MB per hour "
        f"of venue time** for the whole process, scatter {line['scatter_mb']} MB, "
        f"{line['kb_per_fill']} KB per fill; {one['rss_settled_mb']} MB then, {one['rss_last_mb']} MB at "
        "the end. The exchange's own ledger grows in the same process.",
        "",
        "| venue minute | resident MB | positions | fills |",
        "|---|---|---|---|",
        *(f"| {a} | {b} | {c} | {d} |" for a, b, c, d in one["points"][::every]),
    ]


_PAGES = {"inprocess": _inprocess, "loopback": _loopback, "runs": _runs, "soak": _soak}
_WORK = {"inprocess": inprocess, "loopback": loopback, "runs": runs, "soak": memory}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (may be repeated)")
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--minutes", type=int, default=60, help="in-process: venue minutes")
    parser.add_argument(
        "--cpu-max-s", type=float, default=600, help="in-process: stop after so much CPU time"
    )
    parser.add_argument("--loopback-minutes", type=float, default=15, help="of real time")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--soak-minutes", type=int, default=120, help="venue minutes")
    parser.add_argument("--soak-cpu-max-s", type=float, default=14_400)
    parser.add_argument("--write", type=Path, help="write the page there, and its JSON beside it")
    given = parser.parse_args()
    kept = None if given.write is None else given.write.with_suffix(".json")
    found = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
    for part in given.only or PARTS:
        began = time.monotonic()
        found[part] = _WORK[part](given) | {
            "command": _command(part, given),
            "commit": _commit(),
            "machine": f"{os.cpu_count()} CPUs ({platform.machine()}), load average {os.getloadavg()[1]:.1f}",
            "wall_s": round(time.monotonic() - began),
        }
        if given.write is not None and kept is not None:
            given.write.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found, indent=1) + "\n")
            given.write.write_text(report(found))
    print(report(found))
    return 0


def _command(part: str, given: argparse.Namespace) -> str:
    names = {
        "inprocess": ("symbols", "minutes"),
        "loopback": ("loopback_minutes",),
        "runs": ("seeds",),
        "soak": ("accounts", "symbols", "soak_minutes", "soak_cpu_max_s"),
    }[part]
    words = [f"--{name.replace('_', '-')} {getattr(given, name):g}" for name in names]
    return " ".join(["python proof/figures.py", f"--only {part}", *words])


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
