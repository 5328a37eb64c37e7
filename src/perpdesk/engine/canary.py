"""The venue-contract canary: does the exchange still do what the desk relies on?

At the start and hourly: a tiny conditional order that can only reduce is placed far away, must be seen on the
stream and in the open list as it was asked for, is cancelled, and must be seen gone; every stream route must
have delivered; modes, filters and margin types must be as expected and as they were. What breaks is named,
and until it holds again the desk only protects: exchanges change their contracts on a date.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from perpdesk.domain.books import WHOLE_STRATEGY, StateRow
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine import ids
from perpdesk.engine.ids import ClientIds
from perpdesk.kernel.records import BUY, SELL, STOP
from perpdesk.ports import Answer, Clock, LiveVenue, NewOrder, OpenOrder, Outcome

LOG = logging.getLogger(__name__)

EVERY_MS = 3_600_000
# After a run that found something, or could not find out, sooner.
AGAIN_MS = 60_000
# A good result is believed for so long.
VALID_MS = 2 * EVERY_MS + 600_000
SEEN_MS = 10_000
# A stream route that was opened just now speaks within this; the account's own when something happens.
FIRST_WORD_MS = 70_000
USER = "user"
POLL_MS = 250
# How far from the mark the order stands, in parts per million.
FAR_PPM = 400_000
STATE = "canary"
PROTECT_ONLY = "PROTECT_ONLY"
_PPM = 1_000_000
# Refusals that say nothing about the contract: limits, load, the clock, no free conditional slot.
_NO_PROOF = (-1003, -1008, -1015, -1021, -4045, -5028)


class Contract(StrEnum):
    """What the desk relies on."""

    CONDITIONAL_PLACE = "CONDITIONAL_PLACE"
    CONDITIONAL_STREAM = "CONDITIONAL_STREAM"
    CONDITIONAL_LIST = "CONDITIONAL_LIST"
    CONDITIONAL_CANCEL = "CONDITIONAL_CANCEL"
    CONDITIONAL_GONE = "CONDITIONAL_GONE"
    ROUTE = "ROUTE"
    EXPECTED = "EXPECTED"  # a mode that must be so is not
    CHANGED = "CHANGED"  # something changed while the desk runs on what it was


@dataclass(frozen=True, slots=True)
class Broken:
    """One contract that does not hold, and how."""

    contract: Contract
    detail: str

    def __str__(self) -> str:
        return f"{self.contract.value}: {self.detail}"


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What a run found. inconclusive: the venue could not be asked, nothing is proven either way.

    changed: what differs from the previous run of an earlier process; told, and no reason to stop.
    """

    ms: int
    broken: tuple[Broken, ...] = ()
    changed: tuple[str, ...] = ()
    inconclusive: str = ""

    @property
    def is_good(self) -> bool:
        return not self.broken and not self.inconclusive


class StreamSightings(Protocol):
    """What the account's stream has told of an order."""

    def stream_status(self, client_id: str) -> str | None:
        """The newest status word of this client id on the stream (NEW, CANCELED …), None if never told."""
        ...


class StateBooks(Protocol):
    """Where the facts of the last run are kept."""

    async def save_state(self, state: StateRow) -> None: ...

    async def load_state(self, account_id: int, strategy: str, symbol: str) -> StateRow | None: ...


@dataclass(frozen=True, slots=True)
class Perch:
    """Where the canary's order may stand. lots: the smallest that the symbol allows at that price."""

    symbol: int
    mark_price: int
    tick: int
    lots: int


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested facts as one level: ``filters.BTCUSDT.tick`` → value."""
    found: dict[str, Any] = {}
    for name, value in facts.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found.update(flat(value, f"{path}."))
        else:
            found[path] = value
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs, in words, sorted. Symbols that only one of them has are differences too."""
    old, new = flat(before), flat(now)
    return tuple(
        f"{path}: {old.get(path, 'absent')} → {new.get(path, 'absent')}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    )


@dataclass
class Canary:
    """Runs the checks and remembers their result.

    perch: () → where to try it, None if no symbol has a mark now. facts: reads modes, filters, margin types
    as JSON. expected: paths of the facts and what they must be. routes: () → by route name the UTC ms
    at which it last delivered (-1: never); route_ms: () → the longest silence of each.
    """

    venue: LiveVenue
    clock: Clock
    ids: ClientIds
    account_id: int
    stream: StreamSightings
    perch: Callable[[], Perch | None]
    facts: Callable[[], Awaitable[Mapping[str, Any]]]
    books: StateBooks | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    routes: Callable[[], Mapping[str, int]] = dict
    route_ms: Callable[[], Mapping[str, int]] = dict
    params_hash: str = ""
    every_ms: int = EVERY_MS
    last: CanaryResult | None = None
    good_ms: int | None = None
    runs: int = 0
    _facts_here: dict[str, Any] | None = None

    def protect_only(self) -> str | None:
        """Why nothing may be opened: no run was good yet, the last one found something, or the last good one
        is too old. None: open."""
        if self.last is not None and self.last.broken:
            return f"{PROTECT_ONLY}:{self.last.broken[0]}"
        if self.good_ms is None:
            return f"{PROTECT_ONLY}:not proven yet"
        if self.clock.now_ms() - self.good_ms > VALID_MS:
            return f"{PROTECT_ONLY}:last proven {self.clock.now_ms() - self.good_ms} ms ago"
        return None

    async def run_for_ever(self, tell: Callable[[CanaryResult], None] = lambda _: None) -> None:
        """Run at once and then hourly (after a failure every minute), until cancelled."""
        while True:
            result = await self.run()
            tell(result)
            wait_ms = self.every_ms if result.is_good else AGAIN_MS
            await self.clock.sleep_until(self.clock.now_ms() + wait_ms)

    async def run(self) -> CanaryResult:
        """All checks once. Does not raise for the venue's or the store's troubles: they are the result."""
        self.runs += 1
        broken: list[Broken] = []
        changed: tuple[str, ...] = ()
        inconclusive = ""
        try:
            changed = await self._compare(broken)
            await self._first_words()
            await self._sweep()
            await self._order(broken)
        except PerpdeskError as error:
            inconclusive = str(error)
        broken += self._silent_routes()
        now_ms = self.clock.now_ms()
        result = CanaryResult(now_ms, tuple(broken), changed, "" if broken else inconclusive)
        self.last = result
        if result.is_good:
            self.good_ms = now_ms
        for one in broken:
            LOG.error("a contract of the exchange does not hold, protecting only: %s", one)
        return result

    # -- facts -------------------------------------------------------------------------------------

    async def _compare(self, broken: list[Broken]) -> tuple[str, ...]:
        facts = dict(await self.facts())
        level = flat(facts)
        for path, value in self.expected.items():
            if level.get(path) != value:
                found = level.get(path, "absent")
                broken.append(Broken(Contract.EXPECTED, f"{path} is {found}, must be {value}"))
        if self._facts_here is not None:
            for text in differences(self._facts_here, facts):
                broken.append(Broken(Contract.CHANGED, f"{text}; restart to run on the new value"))
            return ()
        before = None
        if self.books is not None:
            before = await self.books.load_state(self.account_id, STATE, WHOLE_STRATEGY)
        self._facts_here = facts
        if self.books is not None:
            await self.books.save_state(
                StateRow(
                    account_id=self.account_id,
                    strategy=STATE,
                    symbol=WHOLE_STRATEGY,
                    state=facts,
                    params_hash=self.params_hash,
                    updated_ms=self.clock.now_ms(),
                )
            )
        if before is None or not isinstance(before.state, dict):
            return ()
        return differences(before.state, facts)

    async def _first_words(self) -> None:
        """A stream that was opened just now may need a moment to speak (the account's own: a reason to)."""
        deadline_ms = self.clock.now_ms() + FIRST_WORD_MS
        while self.clock.now_ms() < deadline_ms:
            heard = self.routes()
            if all(heard.get(route, -1) >= 0 for route in self.route_ms() if route != USER):
                return
            await self.clock.sleep_until(self.clock.now_ms() + POLL_MS)

    def _silent_routes(self) -> list[Broken]:
        heard, now_ms = self.routes(), self.clock.now_ms()
        found = []
        for route, limit_ms in self.route_ms().items():
            last_ms = heard.get(route, -1)
            if last_ms < 0:
                found.append(Broken(Contract.ROUTE, f"{route} has never delivered"))
            elif now_ms - last_ms > limit_ms:
                found.append(Broken(Contract.ROUTE, f"{route} is silent since {now_ms - last_ms} ms"))
        return found

    # -- the order ---------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Take back what an earlier run, or process, could not."""
        for order in await self.venue.open_orders():
            named = ids.parse(order.client_id)
            if named is not None and named.leg == ids.LEG_CANARY and named.account_id == self.account_id:
                await self.venue.cancel(order.symbol, order.client_id)

    async def _order(self, broken: list[Broken]) -> None:
        perch = self.perch()
        if perch is None:
            raise PerpdeskError("no symbol has a mark price to try a conditional order against")
        held = {leg.symbol: leg.lots for leg in await self.venue.legs()}
        code = self.ids.position_code(self.clock.now_ms())
        order = canary_order(perch, held.get(perch.symbol, 0), self.ids.guardian(ids.LEG_CANARY, code))
        is_open = False
        try:
            answer = await self.venue.place(order)
            is_open = answer.outcome is not Outcome.REFUSED
            if answer.outcome is Outcome.REFUSED:
                if answer.code is None or answer.code in _NO_PROOF:
                    raise PerpdeskError(f"the canary's order was not taken: {_said(answer)}")
                broken.append(Broken(Contract.CONDITIONAL_PLACE, _said(answer)))
                return
            if not await self._until(lambda: self.stream.stream_status(order.client_id) is not None):
                broken.append(
                    Broken(Contract.CONDITIONAL_STREAM, f"the new order was not told within {SEEN_MS} ms")
                )
            wrong = await self._listed(order)
            if wrong:
                broken.append(Broken(Contract.CONDITIONAL_LIST, wrong))
            answer = await self.venue.cancel(order.symbol, order.client_id)
            if answer.outcome is Outcome.REFUSED:
                broken.append(Broken(Contract.CONDITIONAL_CANCEL, _said(answer)))
            gone = await self._gone(order, answer)
            is_open = gone != ""
            if gone:
                broken.append(Broken(Contract.CONDITIONAL_GONE, gone))
        finally:
            if is_open:
                await asyncio.shield(self._take_back(order))

    async def _listed(self, order: NewOrder) -> str:
        """What is wrong with the order in the open list; "" if it stands there as it was asked for."""
        deadline_ms = self.clock.now_ms() + SEEN_MS
        while True:
            for found in await self.venue.open_orders():
                if found.client_id == order.client_id:
                    return _unlike(order, found)
            if self.clock.now_ms() >= deadline_ms:
                return f"the order was not in the open list within {SEEN_MS} ms"
            await self.clock.sleep_until(self.clock.now_ms() + POLL_MS)

    async def _gone(self, order: NewOrder, answer: Answer) -> str:
        """How it is still there after the cancel; "" if list and stream agree that it is gone."""
        deadline_ms = self.clock.now_ms() + SEEN_MS
        while True:
            listed = any(o.client_id == order.client_id for o in await self.venue.open_orders())
            status = self.stream.stream_status(order.client_id)
            if not listed and status is not None and status != "NEW":
                return ""
            if self.clock.now_ms() >= deadline_ms:
                where = "open list" if listed else f"stream ({status or 'never told'})"
                return f"{SEEN_MS} ms after the cancel ({answer.outcome.value}) it is still in the {where}"
            await self.clock.sleep_until(self.clock.now_ms() + POLL_MS)

    async def _until(self, holds: Callable[[], bool]) -> bool:
        deadline_ms = self.clock.now_ms() + SEEN_MS
        while not holds():
            if self.clock.now_ms() >= deadline_ms:
                return False
            await self.clock.sleep_until(self.clock.now_ms() + POLL_MS)
        return True

    async def _take_back(self, order: NewOrder) -> None:
        """Try once more; what is left is swept by the next run, and can only reduce."""
        try:
            await self.venue.cancel(order.symbol, order.client_id)
        except PerpdeskError as error:
            LOG.warning("the canary's order %s could not be taken back: %s", order.client_id, error)


def canary_order(perch: Perch, held_lots: int, client_id: str) -> NewOrder:
    """A stop that can only reduce, far from the market, closing what is held (flat: sells)."""
    side = BUY if held_lots < 0 else SELL
    wanted = perch.mark_price * (_PPM + side * FAR_PPM) // _PPM
    price = max(perch.tick, wanted // perch.tick * perch.tick)
    return NewOrder(
        client_id=client_id,
        symbol=perch.symbol,
        sleeve=-1,
        slot=-1,
        kind=STOP,
        side=side,
        price=price,
        lots=perch.lots,
        reduce_only=True,
        activation=0,
        callback_ppm=0,
        leverage=1,
    )


def _unlike(order: NewOrder, found: OpenOrder) -> str:
    for name in ("symbol", "kind", "side", "price", "lots", "reduce_only"):
        asked, got = getattr(order, name), getattr(found, name)
        if asked != got:
            return f"{name} is {got} in the open list, {asked} was asked for"
    if not found.is_conditional or found.status != "NEW":
        return f"it is listed as {'' if found.is_conditional else 'un'}conditional, status {found.status}"
    return ""


def _said(answer: Answer) -> str:
    return f"{answer.outcome.value} {'' if answer.code is None else answer.code} {answer.reason}".strip()
