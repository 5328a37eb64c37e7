"""The clock of one process: the world's time, plus what is wrong with this machine's."""

from __future__ import annotations

from perpdesk.simulation.loop import Loop

_PPM = 1_000_000


class ProcessClock:
    """A ports.Clock. Sleeping follows the monotonic clock, which steps and drift do not touch."""

    def __init__(self, loop: Loop, *, offset_ms: int = 0, drift_ppm: int = 0) -> None:
        self._loop = loop
        self._offset_ms = offset_ms
        self._drift_ppm = drift_ppm
        self._since_ms = loop.now_ms

    def now_ms(self) -> int:
        now_ms = self._loop.now_ms
        return now_ms + self._offset_ms + (now_ms - self._since_ms) * self._drift_ppm // _PPM

    async def sleep_until(self, ms: int) -> None:
        wait_ms = ms - self.now_ms()
        if wait_ms > 0:
            await self._loop.pause(wait_ms)

    def step(self, ms: int) -> None:
        """Somebody set the clock by so much."""
        self._offset_ms += ms

    def drift(self, ppm: int) -> None:
        """From now on it runs fast (or slow, below 0)."""
        self._offset_ms = self.now_ms() - self._loop.now_ms
        self._since_ms, self._drift_ppm = self._loop.now_ms, ppm


class WorldClock:
    """The exchange's clock: always right."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return self._loop.now_ms

    async def sleep_until(self, ms: int) -> None:
        if ms > self._loop.now_ms:
            await self._loop.pause(ms - self._loop.now_ms)
