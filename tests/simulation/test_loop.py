"""The seeded loop: virtual time, shuffled steps, deaths that leave no effects."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perpdesk.simulation.loop import OWNER, Deadlock, Incarnation, Loop, Stuck, new_loop

START_MS = 1_700_000_000_000


def run(work: Callable[[Loop], Awaitable[Any]], seed: int = 1, *, shuffled: bool = True) -> Any:
    loop = new_loop(seed, START_MS, shuffled=shuffled)
    try:
        return loop.run(work(loop))
    finally:
        if loop.stacks():
            loop.bury()


def begin(loop: Loop, incarnation: Incarnation, work: Any) -> asyncio.Task[Any]:
    context = contextvars.copy_context()
    context.run(OWNER.set, incarnation)
    return loop.create_task(work, context=context)


def test_time_jumps_to_the_next_timer_exactly() -> None:
    async def work(loop: Loop) -> list[int]:
        seen = []
        for ms in (1, 250, 3_600_000):
            await loop.pause(ms)
            seen.append(loop.now_ms - START_MS)
        await asyncio.sleep(0.001)
        return [*seen, loop.now_ms - START_MS]

    assert run(work) == [1, 251, 3_600_251, 3_600_252]


def test_timeouts_follow_virtual_time() -> None:
    async def work(loop: Loop) -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await loop.create_future()
        return loop.elapsed_ms

    assert run(work) == 5_000


def order_of_tasks(seed: int) -> list[int]:
    async def work(loop: Loop) -> list[int]:
        seen: list[int] = []

        async def one(number: int) -> None:
            for _ in range(3):
                await asyncio.sleep(0)
                seen.append(number)

        await asyncio.gather(*(one(i) for i in range(5)))
        return seen

    found: list[int] = run(work, seed)
    return found


def test_the_seed_chooses_the_order_of_steps() -> None:
    assert order_of_tasks(1) == order_of_tasks(1)
    assert len({tuple(order_of_tasks(seed)) for seed in range(20)}) > 10


def test_sets_of_tasks_are_walked_in_the_same_order_each_time() -> None:
    def walk() -> list[str]:
        async def work(loop: Loop) -> list[str]:
            tasks = {loop.create_task(asyncio.sleep(0), name=f"t{i}") for i in range(30)}
            names = [task.get_name() for task in tasks]
            await asyncio.wait(tasks)
            return names

        found: list[str] = run(work)
        return found

    assert walk() == walk()


@pytest.mark.parametrize("step", range(6))
def test_a_process_dies_before_a_chosen_step_and_leaves_no_effect(step: int) -> None:
    effects: list[str] = []

    async def life() -> None:
        try:
            for i in range(5):
                effects.append(f"step {i}")
                await asyncio.sleep(0)
        finally:
            effects.append("finally")

    async def work(loop: Loop) -> Incarnation:
        incarnation = Incarnation("victim", 1, crash_at=step)
        begin(loop, incarnation, life())
        await loop.pause(1_000)
        return incarnation

    incarnation = run(work)
    if step < 6:
        assert incarnation.is_dead is (step <= 5)
    told = [one for one in effects if one != "finally"]
    assert told == [f"step {i}" for i in range(min(step, 5))]


def test_finally_blocks_of_the_dead_do_not_run_while_the_world_goes_on() -> None:
    effects: list[str] = []

    async def life(loop: Loop) -> None:
        try:
            await loop.pause(10)
        finally:
            effects.append("leaked")

    async def work(loop: Loop) -> list[str]:
        incarnation = Incarnation("victim", 1)
        begin(loop, incarnation, life(loop))
        await loop.pause(5)
        loop.kill(incarnation)
        await loop.pause(1_000)
        return list(effects)

    assert run(work) == []


def test_children_and_timers_of_the_dead_die_with_them() -> None:
    effects: list[str] = []
    children: list[asyncio.Task[None]] = []

    async def life(loop: Loop) -> None:
        loop.call_later(1, effects.append, "timer")
        children.append(asyncio.create_task(child(loop)))
        await loop.create_future()

    async def child(loop: Loop) -> None:
        await loop.pause(500)
        effects.append("child")

    async def work(loop: Loop) -> None:
        incarnation = Incarnation("victim", 1)
        begin(loop, incarnation, life(loop))
        await loop.pause(100)
        loop.kill(incarnation)
        await loop.pause(5_000)

    run(work)
    assert effects == []


def test_a_frozen_process_stands_still_and_goes_on() -> None:
    async def work(loop: Loop) -> list[int]:
        seen: list[int] = []

        async def life() -> None:
            for _ in range(4):
                await loop.pause(1_000)
                seen.append(loop.elapsed_ms)

        incarnation = Incarnation("sleeper", 1)
        task = begin(loop, incarnation, life())
        await loop.pause(1_500)
        loop.freeze(incarnation, 10_000)
        await task
        return seen

    assert run(work) == [1_000, 11_500, 12_500, 13_500]


def test_a_deadlock_says_where_everybody_waits() -> None:
    async def work(loop: Loop) -> None:
        async def waits_for_ever() -> None:
            await loop.create_future()

        await asyncio.gather(waits_for_ever())

    with pytest.raises(Deadlock, match="waits_for_ever"):
        run(work)


def test_spinning_without_time_is_an_error() -> None:
    async def work(loop: Loop) -> None:
        loop.stall_max = 100

        async def spin() -> None:
            while True:
                loop.call_at_us(loop.now_us, lambda: None)
                await loop.pause(0)

        await spin()

    with pytest.raises(Stuck):
        run(work)


def test_work_for_threads_is_done_in_the_loop() -> None:
    async def work(loop: Loop) -> int:
        return await asyncio.to_thread(lambda: 42)

    assert run(work) == 42
