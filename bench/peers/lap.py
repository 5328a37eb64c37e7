"""How a contestant is run: a child process that prepares once and then runs once for every line it reads.

Alone, `python NAME_w1w2.py --work w1 --data FOLDER` runs once and prints one JSON line; bench/run.py uses
`--serve`, so that the runs of all contestants can be interleaved without paying for start-up each time.
Only the run is timed, by the contestant itself: what is read, converted or compiled before is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

TURN_SECONDS = 0.2


class Lap(NamedTuple):
    """One timed run."""

    seconds: float
    fills: int


class Prepared(NamedTuple):
    """Everything in memory: how many bars one run covers, and the run."""

    bars: int
    run: Callable[[], Lap]


Prepare = Callable[[str, Path, int], Prepared]


def peak_rss_mib() -> float:
    """The most memory this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held when it started us
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1024)


def turn(run: Callable[[], Lap]) -> list[Lap]:
    """One run, or as many as it takes to wake the processor up where a run takes milliseconds."""
    laps = [run()]
    while sum(lap.seconds for lap in laps) < TURN_SECONDS:
        laps.append(run())
    return laps


def main(peer: str, prepare: Prepare, *, warm_days: int = 2) -> None:
    """Answer with JSON lines. prepare(work, folder, days) is also called once for a short warm-up run."""
    parser = argparse.ArgumentParser(description=f"the benchmark's work done by {peer}")
    parser.add_argument("--work", choices=("w1", "w2", "w4"), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of parquet files, one per symbol")
    parser.add_argument("--days", type=int, default=366, help="only the first days of the market")
    parser.add_argument("--serve", action="store_true", help="run once for every line on standard input")
    options = parser.parse_args()

    # Whatever a library prints goes to standard error; standard output carries our lines only.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    started = time.perf_counter()
    prepare(options.work, options.data, min(warm_days, options.days)).run()
    warm_seconds = time.perf_counter() - started
    prepared = prepare(options.work, options.data, options.days)
    if options.serve:
        print(json.dumps({"ready": peer, "warm_seconds": warm_seconds}), file=answers)
    for _ in sys.stdin if options.serve else range(1):
        laps = turn(prepared.run)
        answer = {
            "peer": peer,
            "work": options.work,
            "bars": prepared.bars,
            "seconds": statistics.median(lap.seconds for lap in laps),
            "fills": laps[-1].fills,
            "peak_rss_mib": peak_rss_mib(),
        }
        print(json.dumps(answer), file=answers)
