"""One stream over as many sockets as it takes: staleness, planned renewal with overlap, reconnect, catch-up.

Every timer runs on the injected clock. While a socket is replaced the old one goes on delivering until the
new one is open: messages may come twice and the listener must not mind; none is lost to the change itself.
What was lost to an outage is the business of ``on_gap``, called each time a new socket is open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.sockets import Dial, Socket
from perpdesk.domain.errors import Refused
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
BACKOFF_MIN_MS, BACKOFF_MAX_MS = 250, 30_000
# A socket that lived so long was a good one: after its end the next try is at once.
STEADY_MS = 10_000
# Binance ends a connection after 24 h; we leave before it does.
LIFE_MS = 23 * 3_600_000
OVERLAP_MS = 3_000


@dataclass
class Link:
    """An open socket and when it last showed life."""

    socket: Socket
    opened_ms: int
    seen_ms: int
    pinged_ms: int
    reader: asyncio.Task[None] = field(init=False)


@dataclass
class LineState:
    """What a line can say about itself."""

    connects: int = 0
    stale: int = 0
    renewals: int = 0
    frames: int = 0
    bad_frames: int = 0
    seen_ms: int = 0
    is_open: bool = False


class Line:
    """Keeps one stream flowing. ``run`` until cancelled.

    url: where to connect (asked anew each time). greet: what to send on a new socket. on_frame: every
    message; what it raises as ExchangeUnreachable is counted as a bad frame. on_gap: called when a new
    socket is open, with our time of the last sign of life before it (0 the first time).
    stale_ms: silence (no message, ping or pong) that means that the socket is dead.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        dial: Dial,
        url: Callable[[], Awaitable[str]],
        on_frame: Callable[[bytes], None],
        on_gap: Callable[[int], None],
        greet: Callable[[Socket], Awaitable[None]] | None = None,
        stale_ms: int,
        ping_ms: int,
        life_ms: int = LIFE_MS,
        only_messages_count: bool = False,
    ) -> None:
        self.name = name
        self.state = LineState()
        self._clock, self._dial, self._url, self._greet = clock, dial, url, greet
        self._on_frame, self._on_gap = on_frame, on_gap
        self._stale_ms, self._ping_ms, self._life_ms = stale_ms, ping_ms, life_ms
        self._only_messages_count = only_messages_count
        self._renew = asyncio.Event()
        self._retiring: set[asyncio.Task[None]] = set()

    def renew(self) -> None:
        """Ask for a new socket (a new listen key, a doubt); the old one stays until the new one is open."""
        self._renew.set()

    async def run(self) -> None:
        """Keep the stream until cancelled."""
        delay_ms = BACKOFF_MIN_MS
        short_lives = 0
        link: Link | None = None
        try:
            while True:
                try:
                    fresh = await self._open()
                except (ExchangeUnreachable, Refused) as error:
                    LOG.warning("%s: cannot connect (%s), again in %d ms", self.name, error, delay_ms)
                    await self._clock.sleep_until(self._clock.now_ms() + delay_ms)
                    delay_ms = min(2 * delay_ms, BACKOFF_MAX_MS)
                    if link is not None and link.reader.done():
                        await self._retire(link)
                        link = None
                    continue
                if link is not None:
                    self._retire_later(link)
                link, delay_ms = fresh, BACKOFF_MIN_MS
                last_seen_ms, self.state.seen_ms = self.state.seen_ms, self._clock.now_ms()
                self._on_gap(last_seen_ms)
                if not await self._hold(link):
                    lived_ms = self._clock.now_ms() - link.opened_ms
                    await self._retire(link)
                    link = None
                    short_lives = short_lives + 1 if lived_ms < STEADY_MS else 0
                    if short_lives > 1:  # opened and closed again and again: do not storm the exchange
                        wait_ms = min(BACKOFF_MIN_MS << min(short_lives - 2, 10), BACKOFF_MAX_MS)
                        await self._clock.sleep_until(self._clock.now_ms() + wait_ms)
        finally:
            self.state.is_open = False
            leaving = list(self._retiring)
            for task in leaving:
                task.cancel()
            if link is not None:
                await self._retire(link)
            await asyncio.gather(*leaving, return_exceptions=True)

    async def _open(self) -> Link:
        self._renew.clear()
        socket = await self._dial(await self._url())
        now_ms = self._clock.now_ms()
        link = Link(socket, now_ms, now_ms, now_ms)
        link.reader = asyncio.create_task(self._read(link), name=f"{self.name} reader")
        if self._greet is not None:
            try:
                await self._greet(socket)
            except ExchangeUnreachable:
                await self._retire(link)
                raise
        self.state.connects += 1
        self.state.is_open = True
        return link

    async def _read(self, link: Link) -> None:
        while (message := await link.socket.receive()) is not None:
            if message or not self._only_messages_count:
                link.seen_ms = self.state.seen_ms = self._clock.now_ms()
            if message:
                self.state.frames += 1
                try:
                    self._on_frame(message)
                except ExchangeUnreachable as error:
                    self.state.bad_frames += 1
                    LOG.warning("%s: message skipped: %s", self.name, error)

    async def _hold(self, link: Link) -> bool:
        """Wait with this socket. True: replace it while it flows; False: it is dead."""
        while True:
            now_ms = self._clock.now_ms()
            if link.reader.done():
                self.state.is_open = False
                return False
            if now_ms - link.seen_ms >= self._stale_ms:
                LOG.warning("%s: silent for %d ms, reconnecting", self.name, now_ms - link.seen_ms)
                self.state.stale += 1
                self.state.is_open = False
                return False
            if self._renew.is_set() or now_ms - link.opened_ms >= self._life_ms:
                self.state.renewals += 1
                return True
            if now_ms - link.pinged_ms >= self._ping_ms:
                link.pinged_ms = now_ms
                try:
                    await link.socket.ping()
                except ExchangeUnreachable:
                    self.state.is_open = False
                    return False
            due_ms = min(
                link.seen_ms + self._stale_ms, link.pinged_ms + self._ping_ms, link.opened_ms + self._life_ms
            )
            waits = {
                asyncio.ensure_future(self._clock.sleep_until(due_ms)),
                asyncio.ensure_future(self._renew.wait()),
            }
            try:
                await asyncio.wait(waits | {link.reader}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _retire_later(self, link: Link) -> None:
        async def later() -> None:
            await self._clock.sleep_until(self._clock.now_ms() + OVERLAP_MS)
            await self._retire(link)

        task = asyncio.create_task(later(), name=f"{self.name} overlap")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        task.add_done_callback(lambda _: link.reader.cancel())

    async def _retire(self, link: Link) -> None:
        link.reader.cancel()
        await asyncio.gather(link.reader, return_exceptions=True)
        await link.socket.close()
