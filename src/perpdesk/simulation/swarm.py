"""Many seeds, on several processes. A desk is named by an import path, so that processes can make it."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from perpdesk.simulation.database import Files, files
from perpdesk.simulation.run import Options, Result, simulate
from perpdesk.simulation.subject import Make

DESK = "perpdesk.simulation.desk:make"


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


def seeds(start: int, count: int, options: Options, desk: str = DESK) -> list[Job]:
    """Jobs of consecutive seeds; every fifth runs its steps in order, with other lengths and symbols."""
    jobs = []
    for seed in range(start, start + count):
        mine = replace(
            options,
            symbols=2 + seed % 3 // 2 + seed % 7 // 6,
            minutes=options.minutes if seed % 10 else options.minutes * 3,
            fifo=options.fifo or seed % 8 == 5,
        )
        jobs.append(Job(seed, mine, desk))
    return jobs


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it returned, and the seconds of the wall that it took."""
    began = time.perf_counter()
    return run(), time.perf_counter() - began
