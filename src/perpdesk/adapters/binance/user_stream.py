"""The account's own events: a listen key that is kept alive, and a line that is renewed with it.

A key lives 60 minutes from the last time it was kept. It can expire in spite of that, with an event or
without one: the key that a PUT names, or its refusal, is believed, and a new key means a new socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance.errors import ExchangeRefused
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.line import Line
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.sockets import Dial
from perpdesk.adapters.binance.stream_events import Known, ListenKeyExpired, Stranger
from perpdesk.domain.errors import PerpdeskError
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
KEEP_MS = 20 * 60_000
KEEP_AGAIN_MS = 30_000
KEY_LIFE_MS = 55 * 60_000
# A user stream may be quiet for hours; pongs are its signs of life.
STALE_MS, PING_MS = 45_000, 15_000


class UserStream:
    """``run`` until cancelled. on_event: each event, perhaps twice; on_gap: see Line."""

    def __init__(
        self,
        *,
        rest: Rest,
        clock: Clock,
        dial: Dial,
        on_event: Callable[[Known | Stranger], None],
        on_gap: Callable[[int], None],
    ) -> None:
        self._rest, self._clock, self._on_event = rest, clock, on_event
        self._key = ""
        self.told_ms = -1  # our time of the newest event
        self.kept_ms = 0  # our time at which the exchange last confirmed the key
        self.line = Line(
            "user stream",
            clock=clock,
            dial=dial,
            url=self._url,
            on_frame=self._frame,
            on_gap=on_gap,
            stale_ms=STALE_MS,
            ping_ms=PING_MS,
        )

    async def run(self) -> None:
        """Keep key and line."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.line.run(), name="user stream")
            tasks.create_task(self._keep(), name="listen key")

    async def _url(self) -> str:
        answer = await self._rest.ask(to.LISTEN_START, (), Lane.PROTECT)
        self._key, self.kept_ms = answer.listen_key, self._clock.now_ms()
        return f"{self._rest.hosts.streams}/private/ws?listenKey={self._key}"

    async def _keep(self) -> None:
        due_ms = self._clock.now_ms() + KEEP_MS
        while True:
            await self._clock.sleep_until(due_ms)
            if not self._key:
                due_ms = self._clock.now_ms() + KEEP_AGAIN_MS
                continue
            try:
                answer = await self._rest.ask(to.LISTEN_KEEP, (), Lane.PROTECT)
            except ExchangeRefused as error:
                LOG.warning("the listen key was not kept (%s): a new one is made", error)
                self.line.renew()
                due_ms = self._clock.now_ms() + KEEP_MS
            except PerpdeskError as error:
                now_ms = self._clock.now_ms()
                LOG.warning("the listen key could not be kept: %s", error)
                if now_ms - self.kept_ms > KEY_LIFE_MS:
                    self.line.renew()
                due_ms = now_ms + KEEP_AGAIN_MS
            else:
                self.kept_ms = self._clock.now_ms()
                due_ms = self.kept_ms + KEEP_MS
                if answer.listen_key != self._key:
                    self.line.renew()

    def _frame(self, raw: bytes) -> None:
        frame = parse.frame(raw)
        for event in () if frame is None else frame.events:
            if isinstance(event, ListenKeyExpired):
                if event.listen_key in (self._key, None) or not isinstance(event.listen_key, str):
                    self.line.renew()
            else:
                self.told_ms = self._clock.now_ms()
                self._on_event(event)
