"""Recorded (or synthetic) minutes, one after another, at a chosen speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from perpdesk.kernel.records import MINUTE_MS
from perpdesk.ports import Clock


class AdvancingClock(Clock, Protocol):
    """A clock that somebody else drives."""

    def advance_to(self, ms: int) -> None:
        """Set the time; never backwards."""
        ...


@dataclass
class RecordedMinutes:
    """Chunks of (first_ms, bars [T, N]) as a stream of minutes.

    speed 0 is as fast as possible; speed 60 plays an hour in a minute. The run's clock is told the time
    of every minute, so that timers live in recorded time. stop ends the stream before its next minute.
    """

    chunks: Iterable[tuple[int, np.ndarray]]
    run_clock: AdvancingClock
    wall_clock: Clock
    speed: float = 0.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def minutes(self) -> AsyncIterator[tuple[int, np.ndarray]]:
        """(now_ms at the minute's close, bars [N])."""
        wall_start = self.wall_clock.now_ms()
        first: int | None = None
        for first_ms, chunk in self.chunks:
            rows = np.asarray(chunk)
            if first is None:
                first = first_ms
            for t in range(len(rows)):
                now_ms = first_ms + (t + 1) * MINUTE_MS
                if self.speed > 0:
                    await self._sleep_until(wall_start + int((now_ms - first) / self.speed))
                if self.stop.is_set():
                    return
                self.run_clock.advance_to(now_ms)
                yield now_ms, rows[t]

    async def _sleep_until(self, wall_ms: int) -> None:
        """Wait for a wall time, or for the stop."""
        waits = [
            asyncio.ensure_future(self.wall_clock.sleep_until(wall_ms)),
            asyncio.ensure_future(self.stop.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
