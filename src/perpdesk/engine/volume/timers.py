"""One alarm clock for everybody: many deadlines, one sleeper."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from perpdesk.ports import Clock


class Timers:
    """Calls back at times of the clock, in the order of the times. A call must not raise and not wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = count()
        self._armed_ms: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def at(self, ms: int, call: Callable[[], None]) -> None:
        """Call at this time, in a later turn of the loop even if it has passed."""
        heapq.heappush(self._heap, (ms, next(self._serial), call))
        if self._armed_ms is None or ms < self._armed_ms:
            self._arm(ms)

    def _arm(self, ms: int) -> None:
        self._armed_ms = ms
        task = asyncio.ensure_future(self._wake(ms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self, ms: int) -> None:
        await self._clock.sleep_until(ms)
        if self._armed_ms is not None and self._armed_ms < ms:
            return  # an earlier one was armed meanwhile; it arms what follows
        self._armed_ms = None
        now_ms = max(ms, self._clock.now_ms())
        while self._heap and self._heap[0][0] <= now_ms:
            heapq.heappop(self._heap)[2]()
        if self._heap and self._armed_ms is None:
            self._arm(self._heap[0][0])

    async def close(self) -> None:
        """No more calls."""
        self._heap.clear()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
