"""`make bench`: three sections, each perpdesk against its peers on the same work in one run, interleaved.

    kernel   backtests: perpdesk, the bare-loop limit and other backtesters
    client   orders over the simulated exchange: perpdesk's client and other Binance clients
    stream   30,000 stream messages a second, and the frame of all mark prices

Peers live in environments of their own under .bench/venvs, made on demand by pip; one that cannot be
installed or run is skipped with the reason. What is measured and how: docs/bench.md.
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
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import client
import stream
from child import Child, ChildFailed
from report import print_report

from market import SIZES as MARKET_SIZES

# Fresh processes for each reading figure; the median counts.
FACT_RUNS = 5
HERE = Path(__file__).resolve().parent
HOME = HERE.parent / ".bench"
WORKS = ("w1", "w2", "w4")
MARKETS = {"w4": "w1"}  # on the market of another
SIZES = {work: MARKET_SIZES[MARKETS.get(work, work)] for work in (*WORKS, "wide")}
CROSSES = ("w1", "w2")  # the works of the crossing averages
SECTIONS = ("kernel", "client", "stream")
INSTALL_SECONDS = 1_800
READY_SECONDS = 900
RUN_SECONDS = 1_800


@dataclass(frozen=True)
class Contestant:
    """Who runs: the scripts of W1 and W2 and of W4 (None: not written), the pins of its environment (None:
    ours), and how many days of each work."""

    name: str
    script: str | None
    ladder: str | None
    package: str
    pins: str | None = None
    days: dict[str, int] = field(default_factory=lambda: {work: SIZES[work].days for work in WORKS})

    def script_of(self, work: str) -> str | None:
        return self.script if work in CROSSES else self.ladder


OURS = Contestant("perpdesk", "ours.py", "ours.py", "perpdesk")
BARE = Contestant("bare numba loop", "bare.py", "peers/bare_w4.py", "numba")
# The slow ones get a shorter horizon, to keep the wait short; --whole gives them everything.
PEERS = (
    Contestant("vectorbt", "peers/vectorbt_w1w2.py", "peers/vectorbt_w4.py", "vectorbt", "vectorbt"),
    Contestant(
        "backtesting.py",
        "peers/backtesting_w1w2.py",
        "peers/backtesting_w4.py",
        "backtesting",
        "backtesting",
        {"w1": 120, "w4": 30},
    ),
    Contestant(
        "NautilusTrader",
        "peers/nautilus_w1w2.py",
        "peers/nautilus_w4.py",
        "nautilus_trader",
        "nautilus",
        {"w1": 120, "w2": 5, "w4": 120},
    ),
    Contestant("hftbacktest", None, "peers/hftbacktest_w4.py", "hftbacktest", "hftbacktest", {"w4": 120}),
    Contestant("jesse", "peers/jesse_w1w2.py", None, "jesse", "jesse", {"w1": 120, "w2": 5}),
    Contestant("freqtrade", "peers/freqtrade_w1w2.py", None, "freqtrade", "freqtrade", {"w1": 120, "w2": 5}),
)


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, write .bench/result.json. 0, also if peers are missing; 1 if perpdesk itself failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each, interleaved (default 5)")
    parser.add_argument("--peers", default="all", help="all, none, or names separated by commas")
    parser.add_argument("--work", choices=WORKS, action="append", help="of the kernel section only this work")
    parser.add_argument("--whole", action="store_true", help="the slow peers run the whole horizon too")
    parser.add_argument("--full", action="store_true", help="also stream 300 symbols over one year from disk")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="only these sections")
    client.add_arguments(parser)
    stream.add_arguments(parser)
    options = parser.parse_args()
    sections = options.only or SECTIONS
    kernel_peers, client_peers = peers_of(options.peers)

    HOME.mkdir(exist_ok=True)
    (HOME / ".gitignore").write_text("*\n")  # environments and markets never belong into a commit
    skipped: dict[str, str] = {}
    result: dict[str, Any] = {
        "machine": {
            "cpus": os.cpu_count(),
            "processor": processor(),
            "python": platform.python_version(),
            "system": platform.system(),
            "load": os.getloadavg()[0],
        }
    }
    if "stream" in sections:
        say("stream ...")
        result["stream"] = stream.section(options)
    if "client" in sections:
        say("client ...")
        result["client"] = client.section(options, client_peers)
        if "perpdesk" not in result["client"]["clients"]:
            skipped[OURS.name] = result["client"]["skipped"]["perpdesk"]
    if "kernel" in sections:
        works = options.work or WORKS
        taking = [peer for peer in kernel_peers if any(peer.script_of(work) for work in works)]
        result |= kernel(options, [peer for peer in taking if install(peer, skipped)], skipped)
    result["skipped"] = skipped
    (HOME / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    if options.json:
        print(json.dumps(result))
    else:
        if "stream" in sections:
            stream.report(result["stream"])
        if "client" in sections:
            client.report(result["client"])
        if "kernel" in sections:
            print_report(result)
    return 1 if OURS.name in skipped else 0


def kernel(options: argparse.Namespace, peers: list[Contestant], skipped: dict[str, str]) -> dict[str, Any]:
    """The backtests."""
    works = options.work or list(WORKS)
    folders = {work: market(MARKETS.get(work, work)) for work in works}
    result: dict[str, Any] = {
        "works": {
            work: race(work, folders[work], [OURS, BARE, *peers], options.runs, options.whole, skipped)
            for work in works
        },
        "facts": facts(folders, options.full),
    }
    for work in works:
        for one in result["works"][work]["rows"]:
            if one["peer"] == OURS.name and one["fills"] != one["fills_bare"]:
                counts = f"{one['fills']} fills, the bare loop {one['fills_bare']}"
                say(f"{work}: not the same work: perpdesk made {counts}")
    return result


def peers_of(text: str) -> tuple[list[Contestant], list[str]]:
    """The backtesters and the Binance clients that were asked for."""
    if text in ("all", "none"):
        return chosen(text), client.chosen(text)
    names = text.split(",")
    clients = [name for name in names if name in client.PEERS]
    others = [name for name in names if name not in clients]
    return chosen(",".join(others)) if others else [], clients


def chosen(text: str) -> list[Contestant]:
    """The peers that were asked for."""
    if text in ("all", "none"):
        return list(PEERS) if text == "all" else []
    names = {peer.pins: peer for peer in PEERS}
    unknown = [name for name in text.split(",") if name not in names]
    if unknown:
        known = ", ".join([*map(str, names), *client.PEERS])
        raise SystemExit(f"--peers: unknown {', '.join(unknown)}; choose from {known}")
    return [names[name] for name in text.split(",")]


def environment(peer: Contestant) -> Path:
    """The folder of a contestant's environment."""
    return Path(sys.prefix) if peer.pins is None else HOME / "venvs" / peer.pins


def install(peer: Contestant, skipped: dict[str, str]) -> bool:
    """Make the peer's environment if it is not there with the pinned versions; False: it cannot be."""
    pins = (HERE / "peers" / f"{peer.pins}.txt").read_text()
    folder = environment(peer)
    stamp = folder / ".pins"
    if stamp.exists() and stamp.read_text() == pins:
        return True
    say(f"installing {peer.name} into {folder.relative_to(HERE.parent)} ...")
    shutil.rmtree(folder, ignore_errors=True)
    wanted = HERE / "peers" / f"{peer.pins}.txt"
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        + ["-r", str(wanted)],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            skipped[peer.name] = f"not installed within {INSTALL_SECONDS} s"
            return False
        if done.returncode != 0:
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            skipped[peer.name] = f"cannot be installed: {lines[-1] if lines else done.returncode}"
            say(f"  {skipped[peer.name]}")
            return False
    stamp.write_text(pins)
    return True


def market(work: str) -> Path:
    """The folder of a market's parquet files, written if it is not there."""
    say(f"market {work} ...")
    command = [sys.executable, str(HERE / "market.py"), work, str(HOME / "market")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip()) / "klines"


def child_environment(**extra: str) -> dict[str, str]:
    """What a child sees: our caches stay under .bench, so that a benchmark starts and ends clean."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PERPDESK_CACHE_DIR")
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**inherited, "PERPDESK_CACHE_DIR": str(HOME / "cache"), **extra}


def start(peer: Contestant, work: str, folder: Path, days: int) -> Child:
    """A contestant's process, still preparing."""
    (HOME / "scratch").mkdir(exist_ok=True)
    script = peer.script_of(work)
    assert script is not None
    command = [str(environment(peer) / "bin" / "python"), str(HERE / script), "--serve"]
    command += ["--work", work, "--data", str(folder), "--days", str(days)]
    log = HOME / "scratch" / f"{script.replace('/', '-')}-{work}.log"
    return Child(command, HOME / "scratch", child_environment(), log)


def version_of(peer: Contestant) -> str:
    """The version of a contestant's package."""
    if peer.pins is None:
        return version(peer.package)
    for line in (HERE / "peers" / f"{peer.pins}.txt").read_text().splitlines():
        name, _, pinned = line.partition("==")
        if name == peer.package:
            return pinned
    return "?"


def race(
    work: str, folder: Path, contestants: list[Contestant], runs: int, whole: bool, skipped: dict[str, str]
) -> dict[str, Any]:
    """Medians of interleaved runs: round by round, every contestant once."""
    contestants = [peer for peer in contestants if peer.script_of(work)]
    days = {
        peer.name: SIZES[work].days if whole else peer.days[work] for peer in contestants if work in peer.days
    }
    running: dict[str, tuple[Contestant, Child]] = {}
    laps: dict[str, list[dict[str, Any]]] = {}
    try:
        for peer in contestants:
            if peer.name not in days:
                skipped[f"{peer.name} {work}"] = "the library has no portfolio of several instruments"
                continue
            say(f"{work}: preparing {peer.name} ...")
            running[peer.name] = peer, start(peer, work, folder, days[peer.name])
            attempt(running, skipped, peer.name, work, READY_SECONDS, laps, ask=False)
        for turn in range(runs):
            say(f"{work}: run {turn + 1} of {runs}")
            for name in list(running):
                attempt(running, skipped, name, work, RUN_SECONDS, laps, ask=True)
    finally:
        for _, child in running.values():
            child.stop()
    rows = [row(peer, days[peer.name], laps[peer.name]) for peer in contestants if laps.get(peer.name)]
    compare(rows, work, folder)
    return {"symbols": SIZES[work].symbols, "days": SIZES[work].days, "bars": SIZES[work].bars, "rows": rows}


def attempt(
    running: dict[str, tuple[Contestant, Child]],
    skipped: dict[str, str],
    name: str,
    work: str,
    seconds: float,
    laps: dict[str, list[dict[str, Any]]],
    *,
    ask: bool,
) -> None:
    """One answer of one contestant; if it fails, it is out of this race, and the reason is kept."""
    _, child = running[name]
    try:
        if ask:
            laps.setdefault(name, []).append(child.ask(seconds))
        else:
            child.answer(seconds)
    except ChildFailed as failure:
        reason = str(failure)
        skipped[name if name == OURS.name else f"{name} {work}"] = reason
        say(f"  {name} left out: {reason}")
        child.stop()
        del running[name]
        laps.pop(name, None)


def row(peer: Contestant, days: int, laps: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table."""
    seconds = statistics.median(lap["seconds"] for lap in laps)
    return {
        "peer": peer.name,
        "version": version_of(peer),
        "days": days,
        "bars": laps[0]["bars"],
        "runs": len(laps),
        "seconds": seconds,
        "seconds_min": min(lap["seconds"] for lap in laps),
        "seconds_max": max(lap["seconds"] for lap in laps),
        "bars_per_second": laps[0]["bars"] / seconds,
        "fills": laps[-1]["fills"],
        "peak_rss_mib": max(lap["peak_rss_mib"] for lap in laps),
    }


def compare(rows: list[dict[str, Any]], work: str, folder: Path) -> None:
    """Add our speed over each one's, and the fills of the bare loop over the same days."""
    ours = next((one["bars_per_second"] for one in rows if one["peer"] == OURS.name), None)
    expected = {one["days"]: one["fills"] for one in rows if one["peer"] == BARE.name}
    for one in rows:
        one["ours_times_faster"] = ours / one["bars_per_second"] if ours else None
        if one["days"] not in expected:
            child = start(BARE, work, folder, one["days"])
            try:
                child.answer(READY_SECONDS)
                expected[one["days"]] = child.ask(RUN_SECONDS)["fills"]
            finally:
                child.stop()
        one["fills_bare"] = expected[one["days"]]


def processor() -> str:
    """The processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def fact(name: str, folder: Path, cache: Path, work: str = "w1") -> dict[str, float]:
    """One measurement of perpdesk in a fresh process."""
    command = [sys.executable, str(HERE / OURS.script), "--fact", name, "--work", work, "--data", str(folder)]
    environ = child_environment(PERPDESK_CACHE_DIR=str(cache))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def middle(answers: list[dict[str, float]]) -> dict[str, float]:
    """The answer with the median of the seconds, with the fastest and slowest beside it."""
    ordered = sorted(answers, key=lambda answer: answer["seconds"])
    spread = {"seconds_min": ordered[0]["seconds"], "seconds_max": ordered[-1]["seconds"]}
    return ordered[len(ordered) // 2] | spread


def facts(folders: dict[str, Path], full: bool) -> dict[str, Any]:
    """Compilation, first reading and, if wanted, the market that does not fit into memory."""
    if not set(CROSSES) <= set(folders):
        return {}
    say("compilation and first reading ...")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=HOME) as fresh:
        cache = Path(fresh)
        found["compile_cold_seconds"] = fact("compile", folders["w1"], cache)["seconds"]
        found["compile_cached_seconds"] = fact("compile", folders["w1"], cache)["seconds"]
        for work in CROSSES:
            firsts, agains = [], []
            for _ in range(FACT_RUNS):
                shutil.rmtree(cache / "bars", ignore_errors=True)
                firsts.append(fact("read", folders[work], cache, work))
                agains.append(fact("read", folders[work], cache, work))
            found[f"{work}_first_read"] = middle(firsts)
            found[f"{work}_read_again"] = middle(agains)
    if full:
        wide = market("wide")
        size = SIZES["wide"]
        say(f"streaming {size.symbols} symbols over {size.days} days ...")
        found["stream"] = {"symbols": size.symbols, "days": size.days}
        found["stream"] |= fact("stream", wide, HOME / "cache", "w2")
    return found


if __name__ == "__main__":
    sys.exit(main())
