"""The clock of one process: steps and drift move what it shows, not how long it sleeps."""

from __future__ import annotations

from perpdesk.simulation.clock import ProcessClock, WorldClock
from perpdesk.simulation.loop import Loop, new_loop

START_MS = 1_700_000_000_000


def test_a_step_is_seen_and_sleep_is_not_moved() -> None:
    async def work(loop: Loop) -> None:
        clock, world = ProcessClock(loop), WorldClock(loop)
        clock.step(-600_000)
        assert clock.now_ms() == START_MS - 600_000
        await clock.sleep_until(clock.now_ms() + 1_000)
        assert world.now_ms() == START_MS + 1_000
        assert clock.now_ms() == START_MS - 599_000

    loop = new_loop(1, START_MS)
    loop.run(work(loop))
    loop.bury()


def test_drift_adds_up() -> None:
    async def work(loop: Loop) -> None:
        clock = ProcessClock(loop, offset_ms=5)
        clock.drift(100)  # ppm: 0.1 ms a second
        await loop.pause(1_000_000)
        assert clock.now_ms() == START_MS + 1_000_000 + 5 + 100
        clock.drift(0)
        await loop.pause(1_000_000)
        assert clock.now_ms() == START_MS + 2_000_000 + 105

    loop = new_loop(1, START_MS)
    loop.run(work(loop))
    loop.bury()
