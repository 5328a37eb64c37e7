"""A live engine on a scripted venue: the test moves the clock, tells the facts and reads the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.app.markets import drawn
from tests.engine.desks import NotedRecorder, prepared, scripted
from tests.engine.live.scripted import ScriptedVenue, row_of, short
from tests.kernel.tables import guard_record

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.app import Market, Setup
from perpdesk.domain.books import FillSource, StoreFailed
from perpdesk.engine.delivery import Delivery, LiveRecorder
from perpdesk.engine.engine import always_on
from perpdesk.engine.guardian.throttle import FightLimit
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.live_engine import LiveEngine, Outside, VenueFact
from perpdesk.engine.reconcile.attribute import Cause, Part
from perpdesk.engine.recorder import Booked, Entry
from perpdesk.engine.sleeve import Sleeve
from perpdesk.kernel.book import put_market
from perpdesk.kernel.records import TAG_ENTRY
from perpdesk.ports import (
    Answer,
    ExternalTraded,
    ForcedClose,
    FundingCharged,
    NewOrder,
    OrderGone,
    Traded,
    Triggered,
    VenueFill,
)

ACCOUNT = 5
PRICE = 10_000
STOP = 9_600  # 4 % below
GUARD = {"stop_ppm": 40_000}
FEE = 7


def flat_market(symbols: int = 1) -> Market:
    """Quiet minutes at PRICE."""
    rows = "\n".join([f"{PRICE} {PRICE} {PRICE} {PRICE}"] * 3)
    return drawn(*[rows] * symbols, warmup=2)


@dataclass
class NotedLive(NotedRecorder):
    """Writes one row for each fact. broken: the store does not answer when an intent is due."""

    broken: bool = False
    codes: set[str] = field(default_factory=set)

    async def entry_approved(self, entry: Entry, order: NewOrder) -> bool:
        if self.broken:
            raise StoreFailed("the database does not answer")
        taken = order.symbol not in self.refuses
        self.rows.append(f"{'intent' if taken else 'taken'} {row_of(order)}")
        if taken:
            self.codes.add(entry.position_code)
        return taken

    async def entry_unknown(self, client_id: str, fence_ms: int, ms: int) -> None:
        self.rows.append(f"unknown {short(client_id)} until {fence_ms}")

    async def entry_dead(self, position_code: str, client_id: str, ms: int) -> None:
        self.codes.remove(position_code)
        self.rows.append(f"dead {short(client_id)}")

    async def order_sent(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        assert position_code in self.codes
        self.rows.append(f"sent {short(order.client_id)}")

    async def order_gone(self, order: NewOrder, reason: str, ms: int) -> None:
        self.rows.append(f"gone {short(order.client_id)} {reason}")

    def order_flying(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        self.rows.append(f"flying {short(order.client_id)}")

    def order_refused(self, order: NewOrder, reason: str, ms: int) -> None:
        self.rows.append(f"refused {short(order.client_id)} {reason}")

    def knows(self, position_code: str) -> bool:
        return position_code in self.codes

    def position_over(self, position_code: str) -> None:
        self.codes.discard(position_code)

    async def booked(self, booked: Booked) -> None:
        fill = booked.fill
        end = " opened" if booked.opened else " closed" if booked.closed else ""
        side = "+" if fill["side"] > 0 else "-"
        self.rows.append(f"booked v{fill['sleeve']} {side}{fill['lots']} @ {fill['price']}{end}")
        if booked.closed:
            self.codes.discard(booked.position_code)

    async def funded(
        self, sleeve: int, symbol: int, position_code: str, rate_e8: int, paid_e8: int, ms: int
    ) -> None:
        self.rows.append(f"funded v{sleeve} {paid_e8}")

    def said(self) -> list[str]:
        rows, self.rows = self.rows, []
        return rows


@dataclass
class NotedOutside:
    """An Outside that writes everything down."""

    clock: VirtualClock
    rows: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    bookings: dict[str, int] = field(default_factory=dict)
    fights: FightLimit = field(default_factory=FightLimit)
    realised_outside: int = 0

    def external_changed(self, fact: VenueFact, part: Part, held: int, cause: Cause) -> None:
        self.rows.append(f"external {'+' if fact.side > 0 else '-'}{part.lots} held {held} {cause.value}")

    def external_realised(self, fact: VenueFact, realised_e8: int) -> None:
        self.realised_outside += realised_e8

    def order_taken(self, order: NewOrder, reason: str, ms: int) -> bool:
        self.rows.append(f"taken {short(order.client_id)}")
        return self.fights.may((order.sleeve, order.symbol), self.clock.now_ms())

    def alarm(self, name: str, detail: str) -> None:
        self.alarms.append(name)

    def guardians_order_gone(self, client_id: str) -> None:
        self.rows.append(f"guardian {short(client_id)}")

    def statement_moved(self) -> None:
        pass

    def booking(self, key: str, ms: int, amount_e8: int) -> None:
        assert key not in self.bookings, "every change of the wallet is told once"
        self.bookings[key] = amount_e8

    def filled(self, v: int, s: int, ms: int) -> None:
        return None

    def said(self) -> list[str]:
        rows, self.rows = self.rows, []
        return rows


@dataclass
class Bench:
    """The parts, and what a test does with them. Prices are whole, a lot is worth 100 quote units at PRICE."""

    setup: Setup
    clock: VirtualClock
    venue: ScriptedVenue
    recorder: Any
    outside: Any
    delivery: Delivery
    engine: LiveEngine
    refusals: list[str] = field(default_factory=list)
    no: str | None = None  # what the gate at the wire says
    judged: list[str] = field(default_factory=list)  # client ids that it was asked about or told of
    owner: str | None = None  # who else owns the symbol
    trades: int = 0

    @property
    def books(self) -> Any:
        return self.setup.books

    def lots(self, v: int = 0, s: int = 0) -> int:
        return int(self.books.positions[v, s].lots)

    def slot(self, k: int, v: int = 0, s: int = 0) -> Any:
        return self.books.slots[v, s, k]

    @property
    def alive(self) -> list[str]:
        """What stands at the venue."""
        return sorted(row_of(order) for order in self.venue.alive.values())

    # -- time --------------------------------------------------------------------------------

    async def idle(self) -> None:
        """Let everybody do what can be done now."""
        for _ in range(60):
            await asyncio.sleep(0)

    async def advance(self, ms: int) -> None:
        """Time passes, in small steps."""
        until_ms = self.clock.now_ms() + ms
        while self.clock.now_ms() < until_ms:
            self.clock.advance_to(min(until_ms, self.clock.now_ms() + 250))
            await self.idle()

    # -- wishes ------------------------------------------------------------------------------

    async def enter(self, side: int = 1, lots: int = 10, v: int = 0, s: int = 0) -> None:
        """As if the gate had just approved an entry."""
        position = self.books.positions[v, s]
        position.leverage, position.entry_stop_ppm = 5, 40_000
        position.entry_score, position.entry_score_max = 50.0, 100.0
        self.books.heads[v, s].approved_ms = self.clock.now_ms()
        put_market(self.books.slots[v, s, 0], side, lots, 0, TAG_ENTRY)
        await self.delivery.sync(v, s, self.clock.now_ms())
        await self.idle()

    async def hold(self, lots: int = 10, price: int = PRICE, v: int = 0, s: int = 0) -> None:
        """Enter and fill, the stop standing."""
        await self.enter(1 if lots > 0 else -1, abs(lots), v, s)
        await self.traded(f"t{v} e1", price=price, s=s)
        self.venue.said()

    async def react(self, price: int = PRICE, s: int = 0) -> None:
        await self.engine.react(s, price, self.clock.now_ms())
        await self.idle()

    # -- facts -------------------------------------------------------------------------------

    def _new_trade(self, trade_id: int | None) -> int:
        self.trades += 1
        return self.trades if trade_id is None else trade_id

    def happened(
        self, client_id: str, s: int, side: int, lots: int, price: int, fee: int, trade_id: int | None
    ) -> VenueFill:
        """A fill at the exchange, that nobody has told yet."""
        realised = self.venue.netted[s].fill(side, price, lots, fee)
        fill = VenueFill(
            s, self._new_trade(trade_id), 0, client_id, side, price, lots, False, fee, realised,
            self.clock.now_ms(),
        )  # fmt: skip
        self.venue.history.append(fill)
        order = self.venue.alive.get(client_id)
        traded = sum(one.lots for one in self.venue.history if one.client_id == client_id)
        if order is not None and traded >= order.lots:
            del self.venue.alive[client_id]
        return fill

    async def traded(
        self, name: str, lots: int | None = None, price: int = PRICE, s: int = 0, fee: int = FEE
    ) -> Traded:
        """An order of ours (``t0 xs``) traded, whole unless told; the stream says so."""
        order = self.venue.order(name, s)
        fill = self.happened(order.client_id, s, order.side, lots or order.lots, price, fee, None)
        message = self.message_of(fill, order.sleeve, order.slot)
        await self.tell(message)
        return message

    def message_of(self, fill: VenueFill, v: int, k: int) -> Traded:
        return Traded(
            fill.client_id, fill.symbol, v, k, fill.side, fill.price, fill.lots, 1, fill.fee_e8, fill.ms, False,
            fill.price, fill.trade_id, fill.realised_e8,
        )  # fmt: skip

    async def foreign(
        self, lots: int, price: int = PRICE, s: int = 0, client_id: str = "web_1", fee: int = FEE
    ) -> ExternalTraded:
        """Somebody else trades on the account; lots > 0: bought."""
        fill = self.happened(client_id, s, 1 if lots > 0 else -1, abs(lots), price, fee, None)
        message = ExternalTraded(
            client_id, s, fill.side, price, fill.lots, fee, fill.ms, fill.trade_id, fill.realised_e8
        )
        await self.tell(message)
        return message

    async def forced(
        self, lots: int, price: int = PRICE, s: int = 0, client_id: str = "autoclose-1", fee: int = FEE
    ) -> ForcedClose:
        """The exchange closes by force; lots < 0: sold."""
        fill = self.happened(client_id, s, 1 if lots > 0 else -1, abs(lots), price, fee, None)
        message = ForcedClose(
            s, fill.side, price, fill.lots, fee, fill.ms, price, fill.trade_id, client_id=client_id,
            venue_realised_e8=fill.realised_e8,
        )  # fmt: skip
        await self.tell(message)
        return message

    async def gone(self, name: str, reason: str = "EXPIRED", s: int = 0) -> None:
        """The venue ended an order of ours."""
        order = self.venue.order(name, s)
        self.venue.alive.pop(order.client_id, None)
        await self.tell(OrderGone(order.client_id, s, order.sleeve, order.slot, reason, self.clock.now_ms()))

    async def triggered(self, name: str, s: int = 0) -> None:
        order = self.venue.order(name, s)
        await self.tell(Triggered(order.client_id, s, order.sleeve, order.slot, self.clock.now_ms()))

    async def funding(self, amount_e8: int, s: int = 0) -> None:
        ms = self.clock.now_ms()
        await self.tell(FundingCharged(s, 10_000, PRICE, ms, amount_e8))
        await self.engine.book_funding(s, amount_e8, ms)

    async def tell(self, message: Any) -> None:
        await self.engine.handle(message)
        await self.idle()

    async def import_all(self) -> int:
        """Everything that the exchange's history has, as reconciliation reads it."""
        new = 0
        for fill in list(self.venue.history):
            new += await self.engine.import_fill(fill, FillSource.REST)
        await self.idle()
        return new

    # -- sums --------------------------------------------------------------------------------

    def check_lots(self) -> None:
        """Sleeves and the external ledger together are the exchange's position."""
        for s, netted in enumerate(self.venue.netted):
            ours = sum(self.engine.sleeve_lots(s)) + int(self.engine.external[s])
            assert ours == netted.lots, (s, self.engine.sleeve_lots(s), int(self.engine.external[s]), netted)

    def realised(self, s: int = 0) -> int:
        """Of all sleeves, and what the exchange has realised beyond them."""
        return int(self.books.positions["realised_e8"][:, s].sum()) + int(self.engine.drift_e8[s])


def assembled(
    market: Market,
    sleeves: int = 1,
    *,
    clock: VirtualClock | None = None,
    venue: ScriptedVenue | None = None,
    recorder: Callable[[Setup], LiveRecorder] | None = None,
    outside: Callable[[LiveRecorder], Outside] | None = None,
    seed: int = 0,
    guard: dict[str, int] | None = None,
) -> Bench:
    """The parts, connected; nothing runs yet."""
    acts = [scripted({}, guard=guard_record(**(GUARD if guard is None else guard))) for _ in range(sleeves)]
    setup = prepared(market, *acts)
    time = clock or VirtualClock(market.from_ms)
    symbols = len(market.universe.symbols)
    there = venue or ScriptedVenue(time, symbols, int(setup.books.instruments[0].unit_e8))
    keeper = NotedLive() if recorder is None else recorder(setup)
    told = NotedOutside(time) if outside is None else outside(keeper)
    members = [Sleeve(v, f"v{v}", f"t{v}", mind) for v, mind in enumerate(setup.minds)]
    made: list[Bench] = []

    def judge(order: NewOrder) -> str | None:
        made[0].judged.append(order.client_id)
        return made[0].no

    async def owns(order: NewOrder) -> str | None:
        return made[0].owner

    def on_refused(order: NewOrder, answer: Answer) -> None:
        made[0].refusals.append(f"{short(order.client_id)} {answer.code}")

    delivery = Delivery(
        books=setup.books,
        sleeves=members,
        venue=there,
        recorder=keeper,
        ids=ClientIds(ACCOUNT, seed),
        clock=time,
        judge=judge,
        foresee=lambda order: made[0].no,
        on_refused=on_refused,
        owns=owns,
    )
    engine = LiveEngine(
        setup.books, members, delivery, keeper, always_on, outside=told,
        version_codes=[one.code for one in members],
    )  # fmt: skip
    made.append(Bench(setup, time, there, keeper, told, delivery, engine))
    return made[0]


@asynccontextmanager
async def bench(
    sleeves: int = 1, symbols: int = 1, *, guard: dict[str, int] | None = None
) -> AsyncIterator[Bench]:
    """A bench whose delivery works."""
    one = assembled(flat_market(symbols), sleeves, guard=guard)
    async with working(one):
        yield one


@asynccontextmanager
async def working(one: Bench) -> AsyncIterator[None]:
    """Let the delivery carry orders; what ends it fails the test."""
    carrying = asyncio.ensure_future(one.delivery.run())
    try:
        await one.idle()
        yield
        if carrying.done():
            carrying.result()
    finally:
        carrying.cancel()
        with suppress(asyncio.CancelledError):
            await carrying


def same_positions(a: np.ndarray, b: np.ndarray, *names: str) -> list[str]:
    """Fields in which two position arrays differ (all fields without names)."""
    return [name for name in names or a.dtype.names or () if not np.array_equal(a[name], b[name])]
