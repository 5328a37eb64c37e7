"""Clocks: the machine's, and one that the run drives. The only place that asks what time it is."""

from __future__ import annotations

import asyncio
import heapq
import time
from itertools import count


class SystemClock:
    """UTC of the machine; sleeping follows the monotonic clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep_until(self, ms: int) -> None:
        wait_ms = ms - self.now_ms()
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)


class VirtualClock:
    """Time that moves only when told; sleepers wake in the order of their deadlines."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._serial = count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep_until(self, ms: int) -> None:
        if ms <= self._now_ms:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (ms, next(self._serial), future))
        await future

    @property
    def next_ms(self) -> int | None:
        """When the first sleeper is due; None: nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance_to(self, ms: int) -> None:
        """Set the time; an earlier one is ignored. Due sleepers become ready."""
        self._now_ms = max(self._now_ms, ms)
        while self._sleepers and self._sleepers[0][0] <= self._now_ms:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
