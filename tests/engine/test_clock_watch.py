"""A clock that somebody sets is noticed within a second; one that runs on is not."""

from __future__ import annotations

import pytest

from perpdesk.engine.clock_watch import ClockJumped, watch_clock
from perpdesk.simulation.clock import ProcessClock
from perpdesk.simulation.loop import Loop, new_loop


async def _watched(loop: Loop, clock: ProcessClock, by_ms: int) -> int:
    """How long after the set of the clock it was noticed, in ms; -1: it was not."""
    watching = loop.create_task(watch_clock(clock))
    await loop.pause(5_500)
    clock.step(by_ms)
    began_ms = loop.now_ms
    for _ in range(100):
        await loop.pause(50)
        if watching.done():
            with pytest.raises(ClockJumped):
                watching.result()
            return loop.now_ms - began_ms
    watching.cancel()
    return -1


@pytest.mark.parametrize("by_ms", [-600_000, 600_000, -2_001, 2_001])
def test_a_set_clock_is_noticed_within_a_second_and_a_half(by_ms: int) -> None:
    loop = new_loop(1, 1_700_000_000_000)
    assert 0 <= loop.run(_watched(loop, ProcessClock(loop), by_ms)) <= 1_500


@pytest.mark.parametrize("by_ms", [0, 700, -1_500])
def test_what_synchronising_does_is_no_jump(by_ms: int) -> None:
    loop = new_loop(1, 1_700_000_000_000)
    assert loop.run(_watched(loop, ProcessClock(loop), by_ms)) == -1
