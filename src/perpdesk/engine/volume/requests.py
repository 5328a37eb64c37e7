"""One user's requests: each in a task of its own, so that none delays an event; answers come as messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from perpdesk.domain.errors import Refused
from perpdesk.engine.volume.market import Market
from perpdesk.engine.volume.venue import AUTH_CODES, Instrument, Price, Unread, UserVenue, counter_of
from perpdesk.ports import Answer, Clock, Outcome
from perpdesk.strategies.volume_target import pair_events as e
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.strategies.volume_target.pair_events import PairEvent

LOG = logging.getLogger(__name__)
# How long an exit may wait for the lane before it counts as not sent. Receive windows include it.
HOLD_MS = 2_000
_HOLD_STEP_MS = 100
KEY_AGAIN_MS = 1_800_000


@dataclass(frozen=True, slots=True)
class OfPair:
    """Something that happened to a pair."""

    pair_id: str
    event: PairEvent


@dataclass(frozen=True, slots=True)
class Counter:
    """A complete reading of the counter."""

    day: int
    displayed: Decimal


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A reading that failed."""

    day: int
    error: str


@dataclass(frozen=True, slots=True)
class BadKey:
    """The venue refuses the user's key."""

    text: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a judgement needs of the outside. None: it could not be read."""

    instrument: Instrument | None
    price: Price | None
    window: tuple[Decimal, Decimal] | None
    free_usdt: Decimal | None
    key_checked_ms: int | None


@dataclass(frozen=True, slots=True)
class Crashed:
    """A request failed in a way that nobody foresaw."""

    error: BaseException


Message = OfPair | Counter | Unreadable | BadKey | Findings | Crashed


class Requests:
    """Asks the venue for one user. post: where messages go."""

    def __init__(
        self, venue: UserVenue, market: Market, clock: Clock, post: Callable[[Message], None]
    ) -> None:
        self._venue, self._market, self._clock, self._post = venue, market, clock, post
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = False

    def _now_ms(self) -> int:
        return self._market.venue.now_ms()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._post(Crashed(error))

    async def close(self) -> None:
        """Forget what is on its way: its outcome is looked for at the next start."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- reads that a run wants ---------------------------------------------------------------

    def read_volume(self, day: int, side: CountSide) -> None:
        """Counter or Unreadable."""
        self._spawn(self._read_volume(day, side))

    async def _read_volume(self, day: int, side: CountSide) -> None:
        try:
            displayed = await counter_of(self._venue, day, side)
        except Unread as error:
            if error.is_auth:
                self._post(BadKey(f"AUTH {error.code}"))
            else:
                self._post(Unreadable(day, str(error)))
        else:
            self._post(Counter(day, displayed))

    def look(self, window_seconds: int, key_checked_ms: int | None) -> None:
        """Findings, or BadKey."""
        if not self._looking:
            self._looking = True
            self._spawn(self._look(window_seconds, key_checked_ms))

    async def _look(self, window_seconds: int, key_checked_ms: int | None) -> None:
        try:
            if key_checked_ms is None or self._now_ms() - key_checked_ms > KEY_AGAIN_MS:
                try:
                    await self._venue.check_key()
                    key_checked_ms = self._now_ms()
                except Refused as error:
                    self._post(BadKey(str(error)))
                    return
                except Unread as error:
                    if error.is_auth:
                        self._post(BadKey(f"AUTH {error.code}"))
                        return
            instrument = await self._instrument()
            window = await self._market.window(window_seconds)
            try:
                free: Decimal | None = await self._venue.free_usdt()
            except Unread as error:
                if error.is_auth:  # a key taken back is no empty purse: waiting does not bring it back
                    self._post(BadKey(f"AUTH {error.code}"))
                    return
                LOG.warning("balance: %s", error)
                free = None
            price = await self._market.price()
            self._post(Findings(instrument, price, window, free, key_checked_ms))
        finally:
            self._looking = False

    async def _instrument(self) -> Instrument | None:
        """The token's rules with the user's own fee."""
        found = await self._market.instrument()
        if found is None:
            return None
        try:
            fee = await self._venue.taker_fee()
        except Unread as error:
            LOG.warning("fee: %s", error)
            return None
        if fee is None:
            return found
        return replace(found, rules=replace(found.rules, taker_fee=fee))

    # -- what a pair wants -----------------------------------------------------------------------

    def place(self, pair_id: str, order: e.PlaceOto, may_send: Callable[[], bool]) -> None:
        """Send it once; Acked, Refused or NoAnswer. Where it may not be sent any more: Refused, NOT_SENT."""
        self._spawn(self._place(pair_id, order, may_send))

    async def _place(self, pair_id: str, order: e.PlaceOto, may_send: Callable[[], bool]) -> None:
        # the fence counts from when it was planned: what became durable too late must not go out
        if self._now_ms() - order.signed_ms > HOLD_MS or not may_send():
            self._post(OfPair(pair_id, e.Refused(self._now_ms(), order.list_id, e.NOT_SENT)))
            return
        self._answered(pair_id, order.list_id, await self._venue.place_oto(order))

    def place_exit(self, pair_id: str, order: e.PlaceExit, has_room: Callable[[], bool]) -> None:
        """Send it once as soon as there is room; not sent in time: Refused."""
        self._spawn(self._place_exit(pair_id, order, has_room))

    async def _place_exit(self, pair_id: str, order: e.PlaceExit, has_room: Callable[[], bool]) -> None:
        clock_ms = self._now_ms
        while not has_room() or clock_ms() - order.signed_ms > HOLD_MS:
            if clock_ms() - order.signed_ms + _HOLD_STEP_MS > HOLD_MS:
                self._post(OfPair(pair_id, e.Refused(clock_ms(), order.client_id, "LANE")))
                return
            await self._clock.sleep_until(self._clock.now_ms() + _HOLD_STEP_MS)
        self._answered(pair_id, order.client_id, await self._venue.place_exit(order))

    def _answered(self, pair_id: str, client_id: str, answer: Answer) -> None:
        now_ms = self._now_ms()
        if answer.outcome is Outcome.ACCEPTED:
            self._post(OfPair(pair_id, e.Acked(now_ms, client_id)))
        elif answer.outcome is Outcome.REFUSED:
            if answer.code == -1013:
                self._market.forget_rules()
            code = answer.reason if answer.code is None else str(answer.code)
            self._post(OfPair(pair_id, e.Refused(now_ms, client_id, code)))
            if answer.code in AUTH_CODES:
                self._post(BadKey(f"AUTH {answer.code}"))
        else:
            self._post(OfPair(pair_id, e.NoAnswer(now_ms, client_id)))

    def cancel(self, pair_id: str, list_id: str) -> None:
        """Take a list back; a denial is told."""
        self._spawn(self._cancel(pair_id, list_id))

    async def _cancel(self, pair_id: str, list_id: str) -> None:
        answer = await self._venue.cancel(list_id)
        if answer.outcome is Outcome.REFUSED:
            self._post(OfPair(pair_id, e.CancelDenied(self._now_ms())))
            if answer.code in AUTH_CODES:
                self._post(BadKey(f"AUTH {answer.code}"))

    def probe(self, pair_id: str, probe: e.Probe, client_ids: tuple[str, ...]) -> None:
        """Look for a request everywhere; ProbeEmpty only if every answer came and said nothing."""
        self._spawn(self._probe(pair_id, probe, client_ids))

    async def _probe(self, pair_id: str, probe: e.Probe, client_ids: tuple[str, ...]) -> None:
        asked_ms, found = self._now_ms(), False
        for client_id in client_ids:
            found |= await self._status(pair_id, client_id)
            found |= await self._executions(pair_id, client_id)
        if not found:
            self._post(OfPair(pair_id, e.ProbeEmpty(self._now_ms(), probe.client_id, asked_ms)))

    def query(self, pair_id: str, orders: tuple[str, ...], fills: tuple[str, ...]) -> None:
        """Ask for statuses and executions."""
        self._spawn(self._query(pair_id, orders, fills))

    async def _query(self, pair_id: str, orders: tuple[str, ...], fills: tuple[str, ...]) -> None:
        for client_id in orders:
            await self._status(pair_id, client_id)
        for client_id in fills:
            await self._executions(pair_id, client_id)

    async def _status(self, pair_id: str, client_id: str) -> bool:
        """Was it found, or could it not be asked?"""
        try:
            seen = await self._venue.order(client_id)
        except Unread as error:
            LOG.warning("order %s: %s", client_id, error)
            return True
        if seen is None:
            return False
        now_ms = self._now_ms()
        report = e.OrderReport(now_ms, client_id, seen.seen, seen.cum_qty, seen.venue_id)
        self._post(OfPair(pair_id, report))
        return True

    async def _executions(self, pair_id: str, client_id: str) -> bool:
        try:
            fills = await self._venue.fills(client_id)
        except Unread as error:
            LOG.warning("fills of %s: %s", client_id, error)
            return True
        for fill in fills:
            self._post(OfPair(pair_id, e.FillReport(self._now_ms(), client_id, fill)))
        return bool(fills)

    def quote(self, pair_id: str, may_tell: Callable[[Price], bool], max_age_ms: int = 0) -> None:
        """A fresh bid, if ``may_tell`` lets it through."""
        self._spawn(self._quote(pair_id, may_tell, max_age_ms))

    async def _quote(self, pair_id: str, may_tell: Callable[[Price], bool], max_age_ms: int) -> None:
        price = await self._market.price(max_age_ms)
        if price is not None and may_tell(price):
            self._post(OfPair(pair_id, e.Quote(price.read_ms, price.bid)))
