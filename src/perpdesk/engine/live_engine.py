"""The engine on a real account: the same step, and what only the real world does.

Fills may come late, twice, from orders whose answer was lost, from people and from the exchange itself.
Every one is booked exactly once, on a sleeve or on the external ledger: both together are always the
exchange's position.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from perpdesk.domain.books import FillSource
from perpdesk.engine.delivery import Delivery
from perpdesk.engine.engine import Engine
from perpdesk.engine.executor import Place
from perpdesk.engine.ids import GUARDIAN, LEG_DISASTER, Named, parse
from perpdesk.engine.reconcile.attribute import (
    EXTERNAL,
    Cause,
    Part,
    attribute,
    cause_of,
    funding_shares,
    money_shares,
)
from perpdesk.engine.recorder import Booked
from perpdesk.kernel.records import (
    ABSENT_MS,
    MARKET,
    NONE,
    SLOT_ENTRY,
    SLOT_EXIT,
    TAG_ADL,
    TAG_DISASTER_STOP,
    TAG_LIQUIDATION,
    TAG_MANUAL,
    TAG_SETTLEMENT,
)
from perpdesk.ports import (
    ExternalTraded,
    ForcedClose,
    FundingCharged,
    Message,
    NewOrder,
    OrderGone,
    StepClosed,
    Traded,
    Triggered,
    VenueFill,
)

LOG = logging.getLogger(__name__)

TAG_OF = {
    Cause.FOREIGN: TAG_MANUAL,
    Cause.LIQUIDATION: TAG_LIQUIDATION,
    Cause.ADL: TAG_ADL,
    Cause.SETTLEMENT: TAG_SETTLEMENT,
    Cause.DISASTER_STOP: TAG_DISASTER_STOP,
}


@dataclass(frozen=True, slots=True)
class VenueFact:
    """One fill as the venue tells it, whoever's it is."""

    client_id: str
    symbol: int
    side: int
    price: int
    lots: int
    taker: int
    fee_e8: int
    realised_e8: int
    trade_id: int
    ms: int
    source: FillSource


class Outside(Protocol):
    """Who keeps what no sleeve owns, and hears what a person should know."""

    def external_changed(self, fact: VenueFact, part: Part, held: int, cause: Cause) -> None:
        """Lots of the external ledger moved; held: signed lots afterwards."""
        ...

    def external_realised(self, fact: VenueFact, realised_e8: int) -> None:
        """The symbol is flat: of what the exchange realised on it, so much is no sleeve's. fact: the last
        fill."""
        ...

    def order_taken(self, order: NewOrder, reason: str, ms: int) -> bool:
        """Somebody else ended an order of ours. False: it is not to be put back, close the position."""
        ...

    def alarm(self, name: str, detail: str) -> None:
        """Something that a person must see."""
        ...

    def guardians_order_gone(self, client_id: str) -> None:
        """The exchange ended an order that no sleeve placed (the disaster stop)."""
        ...

    def statement_moved(self) -> None:
        """The exchange has booked something that only its statement tells: read it soon."""
        ...

    def booking(self, key: str, ms: int, amount_e8: int) -> None:
        """The wallet changed by this; the key is unique to the fact."""
        ...

    def filled(self, v: int, s: int, ms: int) -> None:
        """A sleeve's position changed."""
        ...


@dataclass
class LiveEngine(Engine):
    """external: signed lots by symbol that no sleeve owns. drift_e8: what the exchange realised on a symbol
    beyond the sleeves' own figures since it was last flat (its average price is of the netted position)."""

    outside: Outside = field(kw_only=True)
    version_codes: Sequence[str] = field(kw_only=True)
    external: np.ndarray = field(init=False)
    drift_e8: np.ndarray = field(init=False)
    was_shared: np.ndarray = field(init=False)
    seen: set[tuple[int, int]] = field(default_factory=set)
    newest_fill_ms: dict[int, int] = field(default_factory=dict)
    newest_trade_id: dict[int, int] = field(default_factory=dict)  # of those that the stream told
    funding_rates: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.books.slots.shape[1]
        self.external = np.zeros(n, np.int64)
        self.drift_e8 = np.zeros(n, np.int64)
        self.was_shared = np.zeros(n, np.bool_)
        assert isinstance(self.executor, Delivery)
        self.delivery: Delivery = self.executor

    async def handle(self, message: Message) -> None:
        if isinstance(message, OrderGone) and message.sleeve < 0:
            self.outside.guardians_order_gone(message.client_id)
        elif isinstance(message, OrderGone):
            await self._order_gone(message)
        elif isinstance(message, Traded) and message.sleeve < 0:
            await self._outside_fill(_fact_of(message))
        elif isinstance(message, ExternalTraded):
            await self._outside_fill(
                VenueFact(
                    message.client_id, message.symbol, message.side, message.price, message.lots,
                    int(not message.is_maker), message.fee_e8, message.venue_realised_e8, message.trade_id,
                    message.ms, FillSource.STREAM,
                )
            )  # fmt: skip
        elif isinstance(message, Triggered):
            if message.sleeve >= 0:
                await self._triggered(message)
        else:
            await super().handle(message)

    async def _step_closed(self, m: StepClosed) -> None:
        """As everywhere; and where a minute has no price, what is due by its time is due all the same."""
        await super()._step_closed(m)
        for v, s in np.argwhere(self.books.positions["lots"] != 0).tolist():
            if m.bars["open_ms"][s] == ABSENT_MS and m.now_ms >= self.books.heads[v, s].next_ms:
                await self._ask_at_step(v, s, m.now_ms)

    async def react(self, s: int, price: int, ms: int) -> None:
        """Ask every sleeve about a symbol at this price."""
        await self._react_in_path(s, price, ms)

    def sleeve_lots(self, s: int) -> list[int]:
        """Signed lots of every sleeve on a symbol."""
        lots: list[int] = self.books.positions["lots"][:, s].tolist()
        return lots

    def price_of(self, s: int, mark: int) -> int:
        """The mark, or while there is none the newest close; 0: no price is known."""
        return mark or int(self.books.heads["last"][:, s].max())

    def place_of(self, client_id: str) -> tuple[int, int] | None:
        """The (sleeve, slot) that a client id of ours names, None for anything else."""
        named = parse(client_id)
        if named is None or named.version not in self.version_codes or named.slot is None:
            return None
        if named.slot >= self.books.slots.shape[2]:
            return None
        return self.version_codes.index(named.version), named.slot

    # -- fills -------------------------------------------------------------------------------

    async def import_fill(self, fill: VenueFill, source: FillSource = FillSource.REST) -> bool:
        """Book a fill that the exchange's history knows and we may not. True: it was new."""
        if (fill.symbol, fill.trade_id) in self.seen:
            return False
        fact = VenueFact(
            fill.client_id, fill.symbol, fill.side, fill.price, fill.lots, int(not fill.is_maker),
            fill.fee_e8, fill.realised_e8, fill.trade_id, fill.ms, source,
        )  # fmt: skip
        place = self.place_of(fill.client_id)
        if place is None:
            return await self._outside_fill(fact)
        return await self._own_fill(fact, (place[0], fill.symbol, place[1]))

    async def _traded(self, m: Traded) -> None:
        await self._own_fill(_fact_of(m), (m.sleeve, m.symbol, m.slot))

    async def _own_fill(self, fact: VenueFact, place: Place) -> bool:
        """A fill of an order of ours."""
        v, s, k = place
        if (fact.symbol, fact.trade_id) in self.seen:
            return False
        named = parse(fact.client_id)
        if named is None or self.executor.codes.get((v, s)) != named.position_code:
            self.outside.alarm("LATE_FILL", f"{fact.client_id} traded after its position was over")
            return await self._outside_fill(fact)
        if not self._is_new(fact):
            return False
        delivery, held = self.delivery, int(self.books.positions[v, s].lots)
        is_entry = k == SLOT_ENTRY or fact.side * held > 0
        own = fact.lots if is_entry else min(fact.lots, abs(held)) if fact.side * held < 0 else 0
        tag = delivery.tag_of(fact.client_id, place)
        is_slots = delivery.is_slots_order(fact.client_id, place) and own == fact.lots
        parts = [Part(v, own, fact.fee_e8)] if own else []
        if own < fact.lots:  # an exit that came too late took lots of others
            others = [0 if u == v else lots for u, lots in enumerate(self.sleeve_lots(s))]
            rest = fact.lots - own
            fees = money_shares(fact.fee_e8, [own, rest])
            parts = [Part(v, own, fees[0])] if own else []
            parts += attribute(fact.side, rest, fees[1], others, int(self.external[s]))
            self.outside.alarm("OVERCLOSED", f"{fact.client_id} sold more than its sleeve held")
        await self._book(fact, parts, tag, Cause.FOREIGN, place if is_slots else None)
        if not is_slots:
            self.count_on_slot(place, fact.side, own)
        held_open = self.executor.open.get(place)
        delivery.filled_part(fact.client_id, fact.lots)
        if is_slots and held_open is not None and held_open.client_id == fact.client_id:
            self.executor.follow(v, s, k)
        await self._react_in_path(s, fact.price, fact.ms)
        return True

    def count_on_slot(self, place: Place, side: int, lots: int) -> None:
        """A fill that was not booked through its slot: the slot has traded it all the same."""
        name = "bought" if side > 0 else "sold"
        self.books.slots[name][place] += lots

    async def _forced_close(self, m: ForcedClose) -> None:
        await self._outside_fill(
            VenueFact(
                m.client_id or "autoclose-", m.symbol, m.side, m.price, m.lots, 1, m.fee_e8,
                m.venue_realised_e8 or 0, m.trade_id, m.ms, FillSource.STREAM,
            )
        )  # fmt: skip

    async def _outside_fill(self, fact: VenueFact) -> bool:
        """A fill that no sleeve ordered: a person, another program, the exchange, the disaster stop."""
        if not fact.client_id:
            LOG.warning("trade %d: its order is not known yet, it will be imported", fact.trade_id)
            return False
        if not self._is_new(fact):
            return False
        s = fact.symbol
        named = parse(fact.client_id)
        cause = Cause.DISASTER_STOP if _is_guardians(named) else cause_of(fact.client_id)
        parts = attribute(fact.side, fact.lots, fact.fee_e8, self.sleeve_lots(s), int(self.external[s]))
        await self._book(fact, parts, TAG_OF[cause], cause, None)
        await self._react_in_path(s, fact.price, fact.ms)
        return True

    def _is_new(self, fact: VenueFact) -> bool:
        key = (fact.symbol, fact.trade_id)
        if key in self.seen:
            return False
        self.seen.add(key)
        self.newest_fill_ms[fact.symbol] = max(self.newest_fill_ms.get(fact.symbol, 0), fact.ms)
        if fact.source is FillSource.STREAM:
            newest = self.newest_trade_id.get(fact.symbol, 0)
            self.newest_trade_id[fact.symbol] = max(newest, fact.trade_id)
        return True

    async def _book(
        self, fact: VenueFact, parts: Sequence[Part], tag: int, cause: Cause, place: Place | None
    ) -> None:
        """Book every part of one fill, sleeves before the external ledger."""
        s, books = fact.symbol, self.books
        told = money_shares(fact.realised_e8, [part.lots for part in parts])
        self.outside.booking(f"fill:{s}:{fact.trade_id}", fact.ms, fact.realised_e8 - fact.fee_e8)
        self.drift_e8[s] += fact.realised_e8
        ordered = sorted(zip(parts, told, strict=True), key=lambda one: one[0].owner == EXTERNAL)
        last_sleeve = max((i for i, (part, _) in enumerate(ordered) if part.owner != EXTERNAL), default=-1)
        external_after = int(self.external[s])
        for part, _ in ordered:
            if part.owner == EXTERNAL:
                external_after += fact.side * part.lots
        self.was_shared[s] |= bool(self.external[s]) or bool(external_after)
        for i, (part, venue_e8) in enumerate(ordered):
            trade_id = fact.trade_id if i == 0 else -(fact.trade_id * (len(self.sleeves) + 2) + i)
            if part.owner == EXTERNAL:
                self.external[s] += fact.side * part.lots
                self.outside.external_changed(
                    _part_of(fact, part, venue_e8, trade_id), part, int(self.external[s]), cause
                )
                continue
            v = part.owner
            before = int(books.positions[v, s].lots)
            compiled = self.sleeves[v].compiled
            if place is not None:
                realised = compiled.book_fill(
                    books.account, books.instruments, books.positions, books.slots, books.heads,
                    v, s, place[2], fact.side, fact.price, part.lots, part.fee_e8, tag, fact.ms,
                )  # fmt: skip
            else:
                realised = compiled.book_outside(
                    books.account, books.instruments, books.positions, books.slots, books.heads,
                    v, s, fact.side, fact.price, part.lots, part.fee_e8, tag, fact.ms,
                )  # fmt: skip
            self.drift_e8[s] -= realised
            if i == last_sleeve and not self._is_held(s) and external_after == 0:
                realised += self._settle_drift(v, s)
            row = self._row(
                fact.ms, v, s, -1 if place is None else place[2], fact.side, fact.price, part.lots,
                fact.taker, tag, part.fee_e8, realised,
            )  # fmt: skip
            await self._tell_live(row, v, s, fact, trade_id, before, venue_e8)
        if external_after == 0 and not self._is_held(s):  # whatever comes next begins from nothing
            if self.drift_e8[s]:
                self.outside.external_realised(fact, int(self.drift_e8[s]))
            self.drift_e8[s], self.was_shared[s] = 0, False

    def _is_held(self, s: int) -> bool:
        return any(self.sleeve_lots(s))

    def _settle_drift(self, v: int, s: int) -> int:
        """The symbol is flat: what the exchange realised beyond the sleeves' sums belongs to the last one,
        unless external lots had a part in it."""
        drift = int(self.drift_e8[s])
        if self.was_shared[s] or drift == 0:
            return 0
        self.drift_e8[s] = 0
        self.sleeves[v].compiled.book_difference(self.books.account, self.books.positions, v, s, drift)
        return drift

    async def _tell_live(
        self, fill: np.void, v: int, s: int, fact: VenueFact, trade_id: int, before: int, venue_e8: int
    ) -> None:
        code = self.executor.codes.get((v, s))
        if code is None:
            self.outside.alarm("NO_ROW", f"a fill of {fact.symbol} has no position row: {fact.client_id}")
            return
        self.executor.filled.add(code)
        position = self.books.positions[v, s]
        await self.recorder.booked(
            Booked(
                fill=fill,
                position_code=code,
                client_id=fact.client_id,
                trade_id=trade_id,
                opened=before == 0,
                closed=int(position.lots) == 0 and not self.delivery.may_still_enter(v, s),
                position=position,
                venue_realised_e8=venue_e8,
                source=fact.source,
            )
        )
        self.outside.filled(v, s, fact.ms)

    # -- orders ------------------------------------------------------------------------------

    async def _triggered(self, m: Triggered) -> None:
        self._acted.add(m.symbol)
        place = (m.sleeve, m.symbol, m.slot)
        if self.delivery.triggered(m.client_id):
            books = self.books
            self.sleeves[m.sleeve].compiled.book_trigger(books.positions, books.slots, books.heads, *place)
            held = self.executor.open.get(place)
            if held is not None and held.client_id == m.client_id:
                self.executor.follow(*place)

    async def _order_gone(self, m: OrderGone) -> None:
        """The venue, or somebody else, ended an order of ours."""
        is_asked = self.delivery.is_leaving(m.client_id)  # the stream may tell it before our cancel's answer
        order = self.delivery.ended(m.client_id)
        if order is None:
            return
        place = (order.sleeve, order.symbol, order.slot)
        slot = self.books.slots[place]
        await self.recorder.order_gone(order, m.reason, m.ms)
        wanted = bool(slot.kind != NONE and slot.side == order.side and place not in self.executor.open)
        if order.slot == SLOT_ENTRY:
            if wanted:
                slot.kind = NONE
            await self.delivery.entry_over(order)  # dead without a fill, whether it was still wanted or not
        elif wanted:
            if slot.kind == MARKET and order.kind != MARKET:
                if order.slot != SLOT_EXIT:  # a conditional exit that did not act is simply wanted again
                    slot.kind = NONE  # it had triggered: the next reaction wants a new one
            elif not is_asked and not self.outside.order_taken(order, m.reason, m.ms):
                self.delivery.exit_now(order.sleeve, order.symbol, TAG_MANUAL)
        await self._react_in_path(m.symbol, int(self.books.heads[order.sleeve, m.symbol].last), m.ms)

    # -- funding -----------------------------------------------------------------------------

    async def _funding_charged(self, m: FundingCharged) -> None:
        """The exchange has charged funding: it is booked with its line of the statement, both or neither."""
        if m.amount_e8 is None:
            await super()._funding_charged(m)
            return
        self.funding_rates[m.symbol, m.ms] = m.rate_e8
        self.outside.statement_moved()

    async def book_funding(self, s: int, amount_e8: int, ms: int) -> int:
        """One line of the statement, by the lots held. Answers the external ledger's part, which is the
        caller's to write down; all of it where nothing is held any more."""
        books = self.books
        self.outside.booking(f"funding:{s}:{ms}", ms, amount_e8)
        lots = self.sleeve_lots(s)
        if sum(lots) + int(self.external[s]) == 0:
            self.outside.alarm("LATE_FUNDING", f"symbol {s}: {amount_e8}e-8 after the position was closed")
            return amount_e8
        rate_e8 = self.funding_rates.pop((s, ms), 0)
        amounts = funding_shares(amount_e8, lots, int(self.external[s]))
        for v, sleeve in enumerate(self.sleeves):
            if lots[v] == 0:
                continue
            sleeve.compiled.book_funding_amount(
                books.account, books.instruments, books.positions, books.slots, books.heads, v, s, amounts[v]
            )
            await self.recorder.funded(v, s, self.executor.codes[v, s], rate_e8, amounts[v], ms)
        return amounts[-1]


def _fact_of(m: Traded) -> VenueFact:
    return VenueFact(
        m.client_id, m.symbol, m.side, m.price, m.lots, m.taker, m.fee_e8, m.venue_realised_e8 or 0,
        m.trade_id, m.ms, FillSource.STREAM,
    )  # fmt: skip


def _is_guardians(named: Named | None) -> bool:
    return named is not None and named.version == GUARDIAN and named.leg == LEG_DISASTER


def _part_of(fact: VenueFact, part: Part, venue_e8: int, trade_id: int) -> VenueFact:
    return VenueFact(
        fact.client_id, fact.symbol, fact.side, fact.price, part.lots, fact.taker, part.fee_e8, venue_e8,
        trade_id, fact.ms, fact.source,
    )  # fmt: skip
