"""Recorded minutes: complete, in order, and as fast as life times speed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from tests.kernel.tables import START_MS, bars_of

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.kernel.records import MINUTE_MS

BARS = bars_of("\n".join(f"{p} {p} {p} {p}" for p in range(100, 107)))


@dataclass
class PatientClock:
    """A wall clock on which sleeping is what passes the time."""

    ms: int = 5_000
    slept: list[int] = field(default_factory=list)

    def now_ms(self) -> int:
        return self.ms

    async def sleep_until(self, ms: int) -> None:
        self.slept.append(ms - 5_000)
        self.ms = max(self.ms, ms)


def chunks(*sizes: int) -> list[tuple[int, np.ndarray]]:
    found, at = [], 0
    for size in sizes:
        found.append((START_MS + at * MINUTE_MS, BARS[at : at + size]))
        at += size
    return found


@pytest.mark.parametrize("sizes", [(7,), (1,) * 7, (3, 4), (0, 7), (6, 1)])
async def test_every_minute_comes_once_and_in_order(sizes: tuple[int, ...]) -> None:
    clock = VirtualClock(0)
    recorded = RecordedMinutes(chunks(*sizes), clock, PatientClock())
    told = [(now_ms, int(bars[0]["open"]), clock.now_ms()) async for now_ms, bars in recorded.minutes()]
    closes = [START_MS + (t + 1) * MINUTE_MS for t in range(7)]
    assert told == [(close, 100 + t, close) for t, close in enumerate(closes)]


async def test_at_full_speed_nobody_sleeps() -> None:
    wall = PatientClock()
    async for _ in RecordedMinutes(chunks(7), VirtualClock(0), wall).minutes():
        pass
    assert wall.slept == []


@pytest.mark.parametrize(("speed", "apart"), [(1.0, 60_000), (60.0, 1_000), (0.5, 120_000)])
async def test_a_speed_paces_the_minutes(speed: float, apart: int) -> None:
    wall = PatientClock()
    async for _ in RecordedMinutes(chunks(3, 4), VirtualClock(0), wall, speed).minutes():
        pass
    assert wall.slept == [apart * (t + 1) for t in range(7)]


async def test_who_lags_behind_catches_up() -> None:
    """Sleeping goes by the start of the run, not from minute to minute."""
    wall = PatientClock()
    recorded = RecordedMinutes(chunks(7), VirtualClock(0), wall, 60.0)
    async for now_ms, _ in recorded.minutes():
        if now_ms == START_MS + MINUTE_MS:
            wall.ms += 3_500  # the first minute took three and a half seconds
    assert wall.slept == [1_000 * (t + 1) for t in range(7)]
    assert wall.ms == 5_000 + 7_000
