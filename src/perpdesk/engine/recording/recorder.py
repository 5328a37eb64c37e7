"""From the engine's facts to the store's rows.

An entry's position and intent are durable before its order is sent. Everything else is written in one unit of
work when the step is over (live: soon). Rows are folded from fills: nothing here asks what a position
"should" be.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from perpdesk.domain import events, units
from perpdesk.domain.account_books import Adjustment, IncomeRow
from perpdesk.domain.books import (
    FillRow,
    IntentState,
    NewPosition,
    PositionEnd,
    PositionExists,
    PositionRow,
    StoreFailed,
    TradingControl,
    TradingMode,
)
from perpdesk.domain.order import OrderStatus, PositionSide, Side
from perpdesk.domain.position import PositionStatus
from perpdesk.domain.signal_books import Big4Regime, ScoreSignal, Seen, SymbolRating
from perpdesk.engine.recorder import Booked, Entry
from perpdesk.engine.recording.folds import OrderFold, PositionFold
from perpdesk.engine.recording.rows import Rows, kind_of
from perpdesk.engine.recording.writer import Batch, IntentStep, Writer
from perpdesk.kernel.records import (
    NONE,
    SLOT_ENTRY,
    SLOT_EXIT,
    TAG_ADL,
    TAG_LIQUIDATION,
    VERDICT_NAMES,
    tag_name,
)
from perpdesk.kernel.replay import Books
from perpdesk.market.findings import utc_text
from perpdesk.market.universe import Universe
from perpdesk.ports import NewOrder, Store

LOG = logging.getLogger(__name__)
_ABORTED = "ENTRY_ABORTED"
# Orders that have ended are remembered for late fills; the oldest are forgotten beyond this many.
_ENDED_MAX = 2_000
_FORCED = (TAG_LIQUIDATION, TAG_ADL)


@dataclass
class StoreRecorder:
    """Keeps the records of one account's run in a store.

    versions, params_hash and guards are what the sleeves were decided under (guards: one JSON-ready
    mapping per sleeve). marks: see ``Writer``; on_rows is called when rows wait to be written.
    """

    store: Store
    universe: Universe
    books: Books
    versions: Sequence[str]
    account_id: int
    params_hash: str
    guards: Sequence[Mapping[str, Any]]
    trading_mode: TradingMode = TradingMode.PAPER
    marks: bool = False
    on_rows: Callable[[], None] | None = None
    seen: Callable[[int, int, int], Seen | None] = lambda v, s, side: None
    regime: Callable[[], Big4Regime | None] = lambda: None
    _regime_ms: int = 0
    _orders: dict[str, OrderFold] = field(default_factory=dict)
    _ended_orders: OrderedDict[str, OrderFold] = field(default_factory=OrderedDict)
    _positions: dict[str, PositionFold] = field(default_factory=dict)
    _dirty_orders: dict[str, None] = field(default_factory=dict)
    _dirty_positions: dict[str, int] = field(default_factory=dict)
    _batch: Batch = field(default_factory=Batch)

    def __post_init__(self) -> None:
        self.rows = Rows(
            self.universe,
            self.books,
            self.versions,
            self.account_id,
            self.params_hash,
            self.guards,
            self.trading_mode,
        )
        self.writer = Writer(self.store, self.account_id, self.params_hash, self.marks)

    # -- facts -------------------------------------------------------------------------------

    async def entry_approved(self, entry: Entry, order: NewOrder) -> bool:
        position, intent = self._new_position(entry), self.rows.entry_intent(order, entry.ms)
        await self.flush()  # what came before this entry stands before it in the books, too
        try:
            position_id = await self.store.open_position(position, intent)
        except PositionExists:
            return False
        except StoreFailed:
            position_id = await self._opened_after_all(order.client_id)
        self._positions[entry.position_code] = self._fold_of(entry, position_id, order.client_id)
        self._batch.intents.append(IntentStep(order.client_id, IntentState.SENT, entry.ms))
        self._note_approved(entry)
        return True

    def _new_position(self, entry: Entry) -> NewPosition:
        """The row of an entry with what its version saw, if that is a scorer."""
        position = self.rows.new_position(entry)
        seen = self.seen(entry.sleeve, entry.symbol, entry.side)
        if seen is None:
            return position
        return msgspec.structs.replace(
            position, entry_signal_type=seen.signal, signal_components=seen.components
        )

    def _signal(self, v: int, s: int, side: int, reason: str | None, ms: int) -> None:
        """Put what a scorer wanted, and what became of it, into the books."""
        seen = self.seen(v, s, side)
        if seen is None or side == 0:
            return
        version = self.versions[v]
        LOG.info(
            "%s-SIGNAL symbol=%s side=%s score=%.2f other=%.2f act=%s reason=%s bar=%s params=%s",
            version.upper(), self.rows.symbol(s), "LONG" if side > 0 else "SHORT", seen.score,
            seen.other_score, "OPEN" if reason is None else "NONE", reason or "-",
            utc_text(seen.bar_open_ms).replace(" ", "T"), self.params_hash[:6], extra={"version": version},
        )  # fmt: skip
        self._batch.signals.append(
            ScoreSignal(
                account_id=self.account_id,
                version=self.versions[v],
                symbol=self.rows.symbol(s),
                side=PositionSide.LONG if side > 0 else PositionSide.SHORT,
                bar_open_ms=seen.bar_open_ms,
                score=seen.score,
                other_score=seen.other_score,
                components=seen.components if reason is None else None,
                act="OPEN" if reason is None else "NONE",
                reason=reason,
                attempted=reason is None,
                params_hash=self.params_hash,
                created_ms=ms,
            )
        )
        self._rows_wait()

    def _fold_of(self, entry: Entry, position_id: int, client_id: str) -> PositionFold:
        return PositionFold(
            id=position_id,
            sleeve=entry.sleeve,
            symbol=entry.symbol,
            side=entry.side,
            leverage=entry.leverage,
            entry_client_id=client_id,
            timeout_ms=entry.timeout_ms,
        )

    def _note_approved(self, entry: Entry) -> None:
        self._signal(entry.sleeve, entry.symbol, entry.side, None, entry.ms)
        self.note(
            events.EntryApproved(
                ms=entry.ms,
                version=self.versions[entry.sleeve],
                symbol=self.rows.symbol(entry.symbol),
                side=Side.of(entry.side),
                qty=self.rows.qty(entry.symbol, entry.lots),
                leverage=entry.leverage,
                score=entry.score,
                score_max=entry.score_max,
            )
        )

    async def _opened_after_all(self, client_id: str) -> int:
        """The commit had no answer: read whether the row is there. Raises StoreFailed if it is not."""
        intent = await self.store.intent(client_id)
        if intent is None or intent.position_id is None:
            raise StoreFailed(f"the entry {client_id} could not be written down: it is not sent")
        return intent.position_id

    async def entry_refused(self, sleeve: int, symbol: int, side: int, verdict: int, ms: int) -> None:
        self.note(
            events.EntryRefused(
                ms=ms,
                version=self.versions[sleeve],
                symbol=self.rows.symbol(symbol),
                side=Side.of(side),
                verdict=VERDICT_NAMES[verdict],
            )
        )
        self._signal(sleeve, symbol, side, VERDICT_NAMES[verdict], ms)

    async def plan_approved(self, entry: Entry, plan: Mapping[str, int]) -> bool:
        position = msgspec.structs.replace(self._new_position(entry), batch_plan=dict(plan))
        await self.flush()
        try:
            position_id = await self.store.open_position(position, None)
        except PositionExists:
            return False
        self._positions[entry.position_code] = self._fold_of(entry, position_id, "")
        self._positions[entry.position_code].is_planned = True
        self._note_approved(entry)
        return True

    async def batch_approved(self, position_code: str, order: NewOrder, ms: int) -> None:
        position = self._positions[position_code]
        await self.flush()
        await self.store.record_intent(self.rows.entry_intent(order, ms, position.id))
        position.entry_client_id = order.client_id
        self._batch.intents.append(IntentStep(order.client_id, IntentState.SENT, ms))

    async def batch_dead(self, client_id: str, ms: int) -> None:
        kept = self._orders.get(client_id) or self._ended_orders.get(client_id)
        if kept is None or not kept.lots:
            self._batch.intents.append(IntentStep(client_id, IntentState.DEAD, ms))
            self._rows_wait()

    def plan_went_on(self, position_code: str, plan: Mapping[str, int], ms: int) -> None:
        self._positions[position_code].batch_filled = dict(plan)
        self._dirty_positions[position_code] = ms
        self._rows_wait()

    def plan_over(self, position_code: str, ms: int) -> None:
        position = self._positions.get(position_code)
        if position is not None:
            position.is_planned = False
            if position.status is PositionStatus.BUILDING:
                position.status = PositionStatus.OPEN
            self._dirty_positions[position_code] = ms
            self._rows_wait()

    async def entry_dead(self, position_code: str, client_id: str | None, ms: int) -> None:
        position = self._positions.pop(position_code)
        self._dirty_positions.pop(position_code, None)
        if client_id is not None:
            self._batch.intents.append(IntentStep(client_id, IntentState.DEAD, ms))
        zero = Decimal(0)
        end = PositionEnd(
            close_reason=_ABORTED,
            close_ms=ms,
            realized_pnl=zero,
            commission=zero,
            funding=zero,
            exit_price=None,
        )
        self._batch.ends.append((position.id, ms, end))
        self._rows_wait()

    async def entry_unknown(self, client_id: str, fence_ms: int, ms: int) -> None:
        """An entry was sent and not answered: it may be alive until it is proven dead."""
        self._batch.intents.append(IntentStep(client_id, IntentState.UNKNOWN, ms, fence_ms))
        self._rows_wait()

    async def order_sent(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        position = self._positions[position_code]
        reason = None if order.slot == SLOT_ENTRY else tag_name(tag)
        if order.client_id not in self._ended_orders:
            kept = self._orders.setdefault(
                order.client_id, OrderFold(order, position.id, OrderStatus.ACCEPTED, ms, ms, reason)
            )
            if not kept.lots:
                kept.sent_ms = kept.updated_ms = ms
            self._dirty_orders[order.client_id] = None
        known = self._orders.get(order.client_id)
        is_working = known is not None and known.lots < order.lots  # else it has filled already
        if order.slot == SLOT_ENTRY and is_working:
            self._batch.intents.append(IntentStep(order.client_id, IntentState.LIVE, ms))
        if order.slot == SLOT_EXIT and position.status is not PositionStatus.CLOSING:
            position.status = PositionStatus.CLOSING
            self._dirty_positions[position_code] = ms
        self.note(
            events.OrderAccepted(
                ms=ms,
                client_id=order.client_id,
                symbol=self.rows.symbol(order.symbol),
                kind=kind_of(order.kind),
                side=Side.of(order.side),
                qty=self.rows.qty(order.symbol, order.lots),
                reduce_only=order.reduce_only,
                price=self.rows.price(order.symbol, order.price) if order.price else None,
            )
        )

    def order_flying(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        """An order is about to be sent: a fill may be told before its answer."""
        position = self._positions.get(position_code)
        if position is not None:
            reason = None if order.slot == SLOT_ENTRY else tag_name(tag)
            fold = OrderFold(order, position.id, OrderStatus.ACCEPTED, ms, ms, reason)
            self._orders.setdefault(order.client_id, fold)
            if order.slot == SLOT_EXIT and position.status is not PositionStatus.CLOSING:
                position.status = PositionStatus.CLOSING  # a restart finishes what was decided
                self._dirty_positions[position_code] = ms
                self._rows_wait()

    def order_refused(self, order: NewOrder, reason: str, ms: int) -> None:
        """It is proven that an order was not taken."""
        kept = self._orders.get(order.client_id)
        if kept is not None and not kept.lots and order.client_id not in self._dirty_orders:
            del self._orders[order.client_id]
        symbol = self.rows.symbol(order.symbol)
        self.note(events.OrderRefused(ms=ms, client_id=order.client_id, symbol=symbol, reason=reason[:300]))

    async def order_gone(self, order: NewOrder, reason: str, ms: int) -> None:
        kept = self._orders.get(order.client_id)
        if kept is None:
            return
        kept.status = OrderStatus.CANCELED
        kept.updated_ms = ms
        self._dirty_orders[order.client_id] = None
        if order.slot == SLOT_ENTRY and kept.lots:
            self._batch.intents.append(IntentStep(order.client_id, IntentState.FILLED, ms))
            self._entry_is_over(order.client_id, ms)
        remaining = self.rows.qty(order.symbol, order.lots - kept.lots)
        self.note(
            events.OrderCanceled(
                ms=ms, client_id=order.client_id, symbol=self.rows.symbol(order.symbol), remaining=remaining
            )
        )

    async def booked(self, booked: Booked) -> None:
        fill = booked.fill
        s, ms, lots, price = int(fill["symbol"]), int(fill["ms"]), int(fill["lots"]), int(fill["price"])
        position = self._positions[booked.position_code]
        kept = self._orders.get(booked.client_id) or self._ended_orders.get(booked.client_id)
        if kept is not None:
            self._fold_order(kept, fill)
        self._batch.fills.append(self.rows.fill(booked, position.id))
        position.add(
            side=int(fill["side"]),
            price=price,
            lots=lots,
            realised_e8=int(fill["realised_e8"]),
            fee_e8=int(fill["fee_e8"]),
            ms=ms,
        )
        entry_working = self.books.slots[position.sleeve, s, SLOT_ENTRY].kind != NONE
        if position.status is PositionStatus.BUILDING and not entry_working and not position.is_planned:
            position.status = PositionStatus.OPEN
        position.flat = None if position.held else (int(fill["tag"]), ms)
        if booked.closed:
            self.position_over(booked.position_code)
        else:
            self._dirty_positions[booked.position_code] = ms
        self.note(self._filled_event(booked, kept, lots, price, ms))

    async def funded(
        self, sleeve: int, symbol: int, position_code: str, rate_e8: int, paid_e8: int, ms: int
    ) -> None:
        self._positions[position_code].funding_e8 += paid_e8
        self._dirty_positions[position_code] = ms
        self.note(
            events.FundingPaid(
                ms=ms,
                version=self.versions[sleeve],
                symbol=self.rows.symbol(symbol),
                rate=units.money_of(rate_e8),
                amount=units.money_of(paid_e8),
            )
        )

    async def step_over(self, ms: int, account: np.void) -> None:
        regime = self.regime()
        if regime is not None and regime.bar_close_ms != self._regime_ms:
            self._regime_ms = regime.bar_close_ms
            self._batch.regimes.append(regime)
        if self.on_rows is None:
            await self.flush()
        else:
            self.on_rows()

    async def run_over(self, ms: int) -> None:
        """The run ends: bring every live row up to date (in cross margin each minute moves the margin)."""
        for code in self._positions:
            self._dirty_positions[code] = ms
        await self.flush()

    def note(self, event: events.AnyEvent) -> None:
        """Put a fact into the journal."""
        self._batch.journal.append(events.journal_entry(event))
        self._rows_wait()

    def rated(self, rating: SymbolRating) -> None:
        """Write a symbol's new rating."""
        self._batch.ratings.append(rating)
        self._rows_wait()

    def outside(self, row: FillRow) -> None:
        """Write a fill that no sleeve owns."""
        self._batch.fills.append(row)
        self._rows_wait()

    def statement(self, rows: Sequence[IncomeRow]) -> None:
        """Write lines of the exchange's statement, together with what they have changed."""
        if rows:
            self._batch.incomes.extend(rows)
            self._rows_wait()

    def adjust(self, row: Adjustment) -> None:
        """Write a correction."""
        self._batch.adjustments.append(row)
        self._rows_wait()

    # -- recovery ----------------------------------------------------------------------------

    def resume(self, row: PositionRow, sleeve: int, symbol: int, fills: Iterable[tuple[int, ...]]) -> None:
        """Go on with a live row of an earlier process.

        fills: (side, price, lots, realised_e8, fee_e8, ms) in order, as its sleeve booked them.
        """
        assert row.position_code is not None, "a row of ours has a code"
        opened_ms = row.open_ms if row.open_ms is not None else row.created_ms
        timeout_ms = 0 if row.timeout_at_ms is None else row.timeout_at_ms - opened_ms
        position = PositionFold(
            id=row.id,
            sleeve=sleeve,
            symbol=symbol,
            side=1 if row.position_side is PositionSide.LONG else -1,
            leverage=row.leverage,
            entry_client_id="",
            timeout_ms=timeout_ms,
            funding_e8=units.money_e8(row.funding),
            status=row.status,
        )
        for side, price, lots, realised_e8, fee_e8, ms in fills:
            position.add(side=side, price=price, lots=lots, realised_e8=realised_e8, fee_e8=fee_e8, ms=ms)
        position.is_planned = row.status is PositionStatus.BUILDING and row.batch_plan is not None
        self._positions[row.position_code] = position

    def resume_flat(self, position_code: str, tag: int, ms: int) -> None:
        """A resumed row's lots were closed, so and then; the rest of its entry was not known."""
        self._positions[position_code].flat = (tag, ms)

    def resume_entry(
        self, position_code: str, order: NewOrder, fills: Iterable[tuple[int, ...]] = ()
    ) -> None:
        """The entry order of a resumed row: its fills, and its death, are told by this client id.

        fills: those of it that are booked, as in ``resume``.
        """
        position = self._positions[position_code]
        position.entry_client_id = order.client_id
        kept = OrderFold(order, position.id, OrderStatus.ACCEPTED, position.opened_ms or 0, 0, None)
        if order.client_id in self._orders:
            return
        unit_e8 = self.rows.unit_e8(order.symbol)
        for _, price, lots, realised_e8, fee_e8, ms in fills:
            kept.add(
                lots=lots, quote_e8=lots * price * unit_e8, realised_e8=realised_e8, fee_e8=fee_e8, ms=ms
            )
        self._orders[order.client_id] = kept

    def knows(self, position_code: str) -> bool:
        """Is there a live row with this code?"""
        return position_code in self._positions

    def position_over(self, position_code: str) -> None:
        """End a row that is flat, as its last fill said; a row that is not, or is ended, stays as it is."""
        position = self._positions.get(position_code)
        if position is None or position.flat is None:
            return
        tag, ms = position.flat
        self._batch.changes.append((position.id, ms, self.rows.change(position)))
        self._batch.ends.append((position.id, ms, self.rows.end(position, tag, ms)))
        self._dirty_positions.pop(position_code, None)
        del self._positions[position_code]
        self._rows_wait()

    # -- folding -----------------------------------------------------------------------------

    def _fold_order(self, kept: OrderFold, fill: np.void) -> None:
        lots = int(fill["lots"])
        is_full = kept.add(
            lots=lots,
            quote_e8=lots * int(fill["price"]) * self.rows.unit_e8(int(fill["symbol"])),
            realised_e8=int(fill["realised_e8"]),
            fee_e8=int(fill["fee_e8"]),
            ms=int(fill["ms"]),
        )
        client_id = kept.order.client_id
        self._orders.setdefault(client_id, kept)
        self._dirty_orders[client_id] = None
        if is_full and kept.order.slot == SLOT_ENTRY:
            self._batch.intents.append(IntentStep(client_id, IntentState.FILLED, kept.updated_ms))

    def _entry_is_over(self, client_id: str, ms: int) -> None:
        """The rest of a partly filled entry is gone: what is held is all there will be."""
        for code, position in self._positions.items():
            building = position.status is PositionStatus.BUILDING and not position.is_planned
            if position.entry_client_id == client_id and building:
                position.status = PositionStatus.OPEN
                self._dirty_positions[code] = ms

    def _filled_event(
        self, booked: Booked, kept: OrderFold | None, lots: int, price: int, ms: int
    ) -> events.OrderFilled | events.Liquidated:
        fill, rows = booked.fill, self.rows
        s, tag = int(fill["symbol"]), int(fill["tag"])
        version = self.versions[int(fill["sleeve"])]
        if tag in _FORCED:
            return events.Liquidated(
                ms=ms,
                version=version,
                symbol=rows.symbol(s),
                price=rows.price(s, price),
                qty=rows.qty(s, lots),
                loss=units.money_of(int(fill["fee_e8"]) - int(fill["realised_e8"])),
            )
        remaining = 0 if kept is None else max(0, kept.order.lots - kept.lots)
        return events.OrderFilled(
            ms=ms,
            client_id=booked.client_id,
            symbol=rows.symbol(s),
            version=version,
            side=Side.of(int(fill["side"])),
            price=rows.price(s, price),
            qty=rows.qty(s, lots),
            remaining=rows.qty(s, remaining),
            commission=units.money_of(int(fill["fee_e8"])),
            realised=units.money_of(int(fill["realised_e8"])),
            is_taker=bool(fill["taker"]),
            reason=tag_name(tag),
        )

    # -- writing -----------------------------------------------------------------------------

    async def flush(self) -> None:
        """Write what waits. Raises StoreFailed; nothing is lost then, and the next flush goes on."""
        self.writer.put(self._taken())
        if self.writer.waiting:
            await self.writer.flush()

    def _taken(self) -> Batch:
        """Everything since the last batch, as final rows (worked out before anything is awaited)."""
        batch, self._batch = self._batch, Batch()
        for client_id in self._dirty_orders:
            kept = self._orders[client_id]
            batch.orders.append(self.rows.order(kept))
            if kept.status in (OrderStatus.FILLED, OrderStatus.CANCELED):
                self._ended_orders[client_id] = self._orders.pop(client_id)
                if len(self._ended_orders) > _ENDED_MAX:
                    self._ended_orders.popitem(last=False)
        for code, ms in self._dirty_positions.items():
            position = self._positions[code]
            batch.changes.append((position.id, ms, self.rows.change(position)))
        self._dirty_orders.clear()
        self._dirty_positions.clear()
        return batch

    def _rows_wait(self) -> None:
        if self.on_rows is not None:
            self.on_rows()


def trading_switch(store: Store, account_id: int) -> Callable[[], Awaitable[bool]]:
    """Reads trading_control; a missing row or an error means no (fail closed for entries)."""

    async def is_enabled() -> bool:
        answer = await store.trading_control(account_id)
        return isinstance(answer, TradingControl) and answer.trading_enabled

    return is_enabled
