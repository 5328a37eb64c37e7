"""Clocks: the virtual one moves only when told, and wakes sleepers in the order of their deadlines."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from perpdesk.adapters.clocks import SystemClock, VirtualClock


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


class Sleepers:
    """Tasks that sleep until a time and say when they woke, and what time it was."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.woke: list[tuple[str, int]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def _sleep(self, name: str, ms: int) -> None:
        await self.clock.sleep_until(ms)
        self.woke.append((name, self.clock.now_ms()))

    def add(self, name: str, ms: int) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._sleep(name, ms))
        self.tasks.append(task)
        return task

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock = VirtualClock(1000)
    sleepers = Sleepers(clock)
    for name, ms in (("late", 3000), ("early", 1500), ("also late", 3000), ("never", 9000)):
        sleepers.add(name, ms)
    await settle()
    assert sleepers.woke == []
    clock.advance_to(1499)
    await settle()
    assert sleepers.woke == []
    clock.advance_to(1500)
    await settle()
    assert sleepers.woke == [("early", 1500)]
    clock.advance_to(4000)
    await settle()
    assert sleepers.woke[1:] == [("late", 4000), ("also late", 4000)]
    await sleepers.end()


async def test_a_deadline_that_has_passed_is_no_wait() -> None:
    clock = VirtualClock(1000)
    await asyncio.wait_for(clock.sleep_until(1000), 1)
    await asyncio.wait_for(clock.sleep_until(-5), 1)


async def test_time_never_goes_back() -> None:
    clock = VirtualClock(1000)
    clock.advance_to(5000)
    clock.advance_to(2000)
    assert clock.now_ms() == 5000


async def test_a_sleeper_that_gave_up_disturbs_nobody() -> None:
    clock = VirtualClock(0)
    sleepers = Sleepers(clock)
    quitter = sleepers.add("quitter", 10)
    sleepers.add("patient", 20)
    await settle()
    quitter.cancel()
    await settle()
    clock.advance_to(30)
    await settle()
    assert sleepers.woke == [("patient", 30)]
    await sleepers.end()


async def test_who_wakes_may_sleep_again() -> None:
    clock = VirtualClock(0)
    beats: list[int] = []

    async def heart() -> None:
        while True:
            beats.append(clock.now_ms())
            await clock.sleep_until(clock.now_ms() + 10)

    task = asyncio.get_running_loop().create_task(heart())
    for ms in range(0, 45, 5):
        clock.advance_to(ms)
        await settle()
    task.cancel()
    assert beats == [0, 10, 20, 30, 40]


@given(deadlines=st.lists(st.integers(0, 100), max_size=20), steps=st.lists(st.integers(0, 120), max_size=10))
async def test_everybody_due_is_awake_and_nobody_else(deadlines: list[int], steps: list[int]) -> None:
    clock = VirtualClock(0)
    sleepers = Sleepers(clock)
    for i, ms in enumerate(deadlines):
        sleepers.add(str(i), ms)
    for ms in steps:
        await settle()
        clock.advance_to(ms)
    await settle()
    now = max([0, *steps])
    assert clock.now_ms() == now
    woke = [int(name) for name, _ in sleepers.woke]
    assert sorted(woke) == [i for i, ms in enumerate(deadlines) if ms <= now]
    assert len(set(woke)) == len(woke)
    assert all(at >= deadlines[int(name)] for name, at in sleepers.woke)
    await sleepers.end()


async def test_the_system_clock_tells_utc_milliseconds_and_waits() -> None:
    clock = SystemClock()
    begun = clock.now_ms()
    assert 1_700_000_000_000 < begun < 4_102_444_800_000
    await clock.sleep_until(begun - 1000)
    await clock.sleep_until(begun + 20)
    assert clock.now_ms() >= begun + 19  # a millisecond is cut off, not rounded
