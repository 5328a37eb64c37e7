"""The real store in the loop: commits stand, what a dead process had not committed never was."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import JournalEntry, StoreFailed
from perpdesk.simulation.database import DatabaseFile, Files, drive, files
from perpdesk.simulation.loop import OWNER, Incarnation, Loop, new_loop
from perpdesk.simulation.trace import Trace

START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def folder() -> Iterator[Files]:
    with files() as found:
        yield found


def run(folder: Files, work: Callable[[Loop, DatabaseFile], Awaitable[Any]], seed: int = 1) -> Any:
    loop = new_loop(seed, START_MS)
    try:
        with folder.one(loop, Trace(loop), seed) as file:
            return loop.run(work(loop, file))
    finally:
        loop.bury()


def begin(loop: Loop, file: DatabaseFile, incarnation: Incarnation, work: Callable[[SqlStore], Any]) -> Any:
    async def life() -> None:
        drive(file, incarnation)
        async with await SqlStore.open(file.url) as store:
            await work(store)

    context = contextvars.copy_context()
    context.run(OWNER.set, incarnation)
    return loop.create_task(life(), context=context)


def entry(ms: int) -> JournalEntry:
    return JournalEntry(ms=ms, kind="test", payload={"ms": ms})


def rows(file: DatabaseFile) -> int:
    return int(file.read("SELECT count(*) FROM journal")[0][0])


def test_a_store_writes_without_threads(folder: Files) -> None:
    async def work(loop: Loop, file: DatabaseFile) -> tuple[int, int]:
        async def write(store: SqlStore) -> None:
            for i in range(3):
                await store.append_journal([entry(i)])

        await begin(loop, file, Incarnation("a", 1), write)
        return rows(file), loop.elapsed_ms

    assert run(folder, work) == (3, 0)


def test_a_death_at_every_step_leaves_whole_transactions_only(folder: Files) -> None:
    """Two entries in one unit: never one of them."""
    counts = []

    async def work(loop: Loop, file: DatabaseFile) -> int:
        async def write(store: SqlStore) -> None:
            incarnation.crash_at = incarnation.steps + step
            async with store.unit() as books:
                await books.append_journal([entry(1)])
                await asyncio.sleep(0)
                await books.append_journal([entry(2)])

        incarnation = Incarnation("a", 1)
        begin(loop, file, incarnation, write)
        await loop.pause(1_000)
        alive.append(not incarnation.is_dead)
        return rows(file)

    alive: list[bool] = []
    step = 0
    while not alive or (not alive[-1] and step < 100):
        counts.append(run(folder, work))
        step += 1
    assert alive[-1], "the unit never came to its end"
    assert set(counts) == {0, 2}
    assert counts == sorted(counts)


def test_a_lock_is_waited_for_in_virtual_time(folder: Files) -> None:
    async def work(loop: Loop, file: DatabaseFile) -> tuple[int, int]:
        async def hold(store: SqlStore) -> None:
            async with store.unit() as books:
                await books.append_journal([entry(1)])
                await loop.pause(700)

        async def write(store: SqlStore) -> None:
            await loop.pause(100)
            await store.append_journal([entry(2)])

        first = begin(loop, file, Incarnation("a", 1), hold)
        await asyncio.gather(first, begin(loop, file, Incarnation("b", 2), write))
        return rows(file), loop.elapsed_ms

    count, elapsed_ms = run(folder, work)
    assert count == 2
    assert 700 <= elapsed_ms < 800


@pytest.mark.parametrize("kind", ["error_ppm", "after_commit_ppm", "busy_ppm"])
def test_faults_are_told_as_the_store_tells_them(folder: Files, kind: str) -> None:
    async def work(loop: Loop, file: DatabaseFile) -> int:
        async def write(store: SqlStore) -> None:
            setattr(file.faults, kind, 1_000_000)
            with pytest.raises(StoreFailed):
                await store.append_journal([entry(1)])
            file.faults.stop()

        await begin(loop, file, Incarnation("a", 1), write)
        assert sum(file.faults.fired.values()) >= 1
        return rows(file)

    assert run(folder, work) == (1 if kind == "after_commit_ppm" else 0)


def test_a_database_that_is_down_refuses_everything(folder: Files) -> None:
    async def work(loop: Loop, file: DatabaseFile) -> None:
        async def write(store: SqlStore) -> None:
            file.faults.down = True
            with pytest.raises(StoreFailed):
                await store.append_journal([entry(1)])
            file.faults.stop()
            await store.append_journal([entry(2)])

        await begin(loop, file, Incarnation("a", 1), write)
        assert rows(file) == 1

    run(folder, work)
