"""Many seeds, on several processes. A desk is named by an import path, so that processes can make it."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from perpdesk.simulation.database import Files, files
from perpdesk.simulation.run import Options, Result, simulate
from perpdesk.simulation.subject import Make

# Uncovered for so long in one seed, with the process alive, breaks the 99th percentile of many.
_SLOW_S = 6.0
DESK = "perpdesk.simulation.desk:make"
# What a desk runs; mixed: each seed chooses.
DESKS = {
    "one": DESK,
    **{name: f"perpdesk.simulation.desk:{name}" for name in ("two", "scores", "ladders", "mixed")},
}


@dataclass(frozen=True)
class Job:
    """One run. planted: the fault of ours that is switched on."""

    seed: int
    options: Options
    desk: str = DESK
    planted: str = ""


class _Bench:
    """What a process keeps between runs."""

    files: Files | None = None
    stack = ExitStack()
    usual: ClassVar[dict[object, tuple[set[str], float]]] = {}  # what a seed does without a planted fault


def make_of(path: str) -> Make:
    """The maker that an import path (``module:name``) names."""
    module, _, name = path.partition(":")
    found: Make = getattr(importlib.import_module(module), name)
    return found


def work(job: Job) -> Result:
    """Run one job in this process."""
    from perpdesk.simulation.planted import planted_in

    if _Bench.files is None:
        logging.disable(logging.CRITICAL)  # what a desk says under faults is not the report
        _Bench.files = _Bench.stack.enter_context(files())
    with planted_in(job.planted):
        return simulate(job.seed, make_of(job.desk), _Bench.files, job.options)


def close() -> None:
    """Remove what this process kept."""
    _Bench.stack.close()
    _Bench.files = None


def run_all(
    jobs: Sequence[Job], processes: int = 1, told: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """All jobs, in their order. told: after each one that is done (in any order)."""
    found: dict[int, Result] = {}
    for place, result in _results(jobs, processes):
        found[place] = result
        told(result)
    return [found[i] for i in sorted(found)]


def _results(jobs: Sequence[Job], processes: int) -> Iterator[tuple[int, Result]]:
    if processes <= 1 or len(jobs) <= 2:
        try:
            for i, job in enumerate(jobs):
                yield i, work(job)
        finally:
            close()
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        yield from pool.imap_unordered(_numbered, list(enumerate(jobs)), chunksize=1)
        pool.close()
        pool.join()


def _numbered(item: tuple[int, Job]) -> tuple[int, Result]:
    place, job = item
    return place, work(job)


def ground(seed: int, options: Options, desk: str = DESK) -> Job:
    """Where planted faults are hunted: four symbols in waves, so that something is always on its way, and two
    machines. Of three seeds two strike placed orders harder, and one has no faults of wire and database, but
    people, events and deaths."""
    mine = replace(
        options,
        faults=0.0 if seed % 3 == 2 else options.faults,
        minutes=6,
        symbols=4,
        waves=True,
        machines=True,
        users=2,
        haste=3,
        sharp=seed % 3 != 2,
        first_only=True,
    )
    return Job(seed, mine, desk)


@dataclass(frozen=True)
class Hunt:
    """The search for one planted fault."""

    name: str
    options: Options
    tries: int
    runs_max: int
    start: int = 0
    desk: str = DESK


def hunted(hunt: Hunt) -> Any:
    """Search for a planted fault in this process. What a seed breaks without the fault does not count."""
    from perpdesk.simulation import planted

    cpu_s = 0.0

    def ran(seed: int, name: str) -> tuple[set[str], float]:
        nonlocal cpu_s
        result = work(replace(ground(seed, hunt.options, hunt.desk), planted=name))
        cpu_s += result.cpu_s
        alive = [seconds for seconds, death in result.naked if not death]
        return {one.rule for one in result.violations}, max(alive, default=0.0)

    def run(seed: int, name: str) -> list[str]:
        broken, naked_s = ran(seed, name)
        if not broken and naked_s <= _SLOW_S:
            return []
        place = (seed, hunt.options, hunt.desk)
        if place not in _Bench.usual:
            _Bench.usual[place] = ran(seed, "")
        usual, usual_s = _Bench.usual[place]
        found = broken - usual
        if naked_s > _SLOW_S and naked_s > 2 * usual_s:
            found.add("I4 p99")
        return sorted(found)

    found = planted.hunt(
        planted.of(hunt.name), run, tries=hunt.tries, runs_max=hunt.runs_max, start=hunt.start
    )
    return replace(found, cpu_s=round(cpu_s, 1))


def hunt_all(hunts: Sequence[Hunt], processes: int = 1) -> Iterator[Any]:
    """All searches, as they end."""
    if processes <= 1 or len(hunts) <= 1:
        try:
            for hunt in hunts:
                yield hunted(hunt)
        finally:
            close()
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        yield from pool.imap_unordered(hunted, hunts, chunksize=1)
        pool.close()
        pool.join()


def seeds(start: int, count: int, options: Options, desk: str = "") -> list[Job]:
    """Jobs of consecutive seeds; every fifth runs its steps in order, with other lengths and symbols."""
    jobs = []
    for seed in range(start, start + count):
        mine = replace(
            options,
            symbols=2 + seed % 3 // 2 + seed % 7 // 6,
            minutes=options.minutes if seed % 10 else options.minutes * 3,
            fifo=options.fifo or seed % 8 == 5,
        )
        jobs.append(Job(seed, mine, desk or DESKS[options.versions]))
    return jobs


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it returned, and the seconds of the wall that it took."""
    began = time.perf_counter()
    return run(), time.perf_counter() - began
