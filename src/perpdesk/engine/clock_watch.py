"""Is the machine's clock set while we sleep? Timers hang on it."""

from __future__ import annotations

import asyncio

from perpdesk.domain.errors import PerpdeskError
from perpdesk.ports import Clock

# A clock that moves by more than this against the steady one within a second has been set.
CLOCK_JUMP_MS = 2_000


class ClockJumped(PerpdeskError):
    """The machine's clock was set, or the machine slept. The process ends and is started again."""

    def __init__(self, by_ms: float) -> None:
        super().__init__(f"the clock jumped by {by_ms:.0f} ms: start again; synchronise the machine's time")


async def watch_clock(clock: Clock) -> None:
    """Look every second. Raises ClockJumped: who slept until a time would sleep too long, or not at all."""
    steady = asyncio.get_running_loop().time
    ahead_ms = clock.now_ms() - steady() * 1_000
    while True:
        await clock.sleep_until(clock.now_ms() + 1_000)
        now_ms = clock.now_ms() - steady() * 1_000
        if abs(now_ms - ahead_ms) > CLOCK_JUMP_MS:
            raise ClockJumped(now_ms - ahead_ms)
        ahead_ms = now_ms
