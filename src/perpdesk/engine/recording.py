"""From the engine's facts to the store's rows.

An entry's position and intent are durable before its order is sent. Everything else of a step is written
in one unit of work when the step is over. Rows are folded from fills: nothing here asks what a position
"should" be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from perpdesk.domain import events, units
from perpdesk.domain.books import (
    Delivery,
    FillRow,
    FillSource,
    IntentState,
    JournalEntry,
    NewIntent,
    NewPosition,
    OrderEffect,
    OrderRow,
    PositionChange,
    PositionEnd,
    PositionExists,
    TradingControl,
    TradingMode,
)
from perpdesk.domain.order import KIND_OF_CODE, OrderKind, OrderStatus, PositionSide, Side
from perpdesk.domain.position import PositionStatus
from perpdesk.engine.ids import leg_of
from perpdesk.engine.recorder import Booked, Entry
from perpdesk.kernel.records import (
    NONE,
    SLOT_ENTRY,
    SLOT_EXIT,
    TAG_LIQUIDATION,
    VERDICT_NAMES,
    tag_name,
)
from perpdesk.kernel.replay import Books
from perpdesk.market.universe import Universe
from perpdesk.ports import NewOrder, Store, StoreBooks

_ASSET = "USDT"
_ABORTED = "ENTRY_ABORTED"
_QTY_PLACES = 12


@dataclass
class _Order:
    """One order as it is folded from its fills."""

    order: NewOrder
    position_id: int
    status: OrderStatus
    sent_ms: int
    updated_ms: int
    reason: str | None
    lots: int = 0
    quote_e8: int = 0
    realised_e8: int = 0
    commission_e8: int = 0


@dataclass
class _Position:
    """One position row as it is folded from its fills."""

    id: int
    sleeve: int
    symbol: int
    side: int
    leverage: int
    entry_client_id: str
    timeout_ms: int
    lots_in: int = 0
    cost_in: int = 0
    lots_out: int = 0
    cost_out: int = 0
    realised_e8: int = 0
    commission_e8: int = 0
    funding_e8: int = 0
    opened_ms: int | None = None
    status: PositionStatus = PositionStatus.BUILDING


@dataclass
class StoreRecorder:
    """Keeps the records of one account's run in a store.

    versions, params_hash and guards are what the sleeves were decided under (guards: one JSON-ready
    mapping per sleeve).
    """

    store: Store
    universe: Universe
    books: Books
    versions: Sequence[str]
    account_id: int
    params_hash: str
    guards: Sequence[Mapping[str, Any]]
    trading_mode: TradingMode = TradingMode.PAPER
    _orders: dict[str, _Order] = field(default_factory=dict)
    _positions: dict[str, _Position] = field(default_factory=dict)
    _dirty_orders: dict[str, None] = field(default_factory=dict)
    _dirty_positions: dict[str, int] = field(default_factory=dict)
    _last_changes: list[tuple[int, int, PositionChange]] = field(default_factory=list)
    _ended: list[tuple[int, int, PositionEnd]] = field(default_factory=list)
    _fills: list[FillRow] = field(default_factory=list)
    _intents: list[tuple[str, IntentState, int]] = field(default_factory=list)
    _journal: list[JournalEntry] = field(default_factory=list)

    # -- facts -------------------------------------------------------------------------------

    async def entry_approved(self, entry: Entry, order: NewOrder) -> bool:
        side = PositionSide.LONG if entry.side > 0 else PositionSide.SHORT
        notional_e8 = entry.lots * entry.price * self._unit(entry.symbol)
        margin_e8 = -(-notional_e8 // max(1, entry.leverage))
        position = NewPosition(
            account_id=self.account_id,
            symbol=self._symbol(entry.symbol),
            position_side=side,
            signal_version=self.versions[entry.sleeve],
            quantity=self._qty(entry.symbol, entry.lots),
            notional_value=units.money_of(notional_e8),
            margin=units.money_of(margin_e8),
            leverage=entry.leverage,
            params_hash=self.params_hash,
            created_ms=entry.ms,
            position_code=entry.position_code,
            entry_score=units.half_away(Decimal(repr(entry.score)), 4),
            entry_max=units.half_away(Decimal(repr(entry.score_max)), 4),
            entry_signal_type="score" if entry.score_max > 1 else "signal",
            guard_params=dict(self.guards[entry.sleeve]),
        )
        intent = NewIntent(
            account_id=self.account_id,
            symbol=self._symbol(entry.symbol),
            leg=leg_of(order.slot),
            attempt=0,
            client_id=order.client_id,
            delivery=Delivery.ONCE,
            request=self._request(order),
            params_hash=self.params_hash,
            created_ms=entry.ms,
        )
        await self._flush()  # what came before this entry stands before it in the books, too
        try:
            position_id = await self.store.open_position(position, intent)
        except PositionExists:
            return False
        self._positions[entry.position_code] = _Position(
            id=position_id,
            sleeve=entry.sleeve,
            symbol=entry.symbol,
            side=entry.side,
            leverage=entry.leverage,
            entry_client_id=order.client_id,
            timeout_ms=entry.timeout_ms,
        )
        self._intents.append((order.client_id, IntentState.SENT, entry.ms))
        self._note(
            events.EntryApproved(
                ms=entry.ms,
                version=self.versions[entry.sleeve],
                symbol=self._symbol(entry.symbol),
                side=Side.of(entry.side),
                qty=self._qty(entry.symbol, entry.lots),
                leverage=entry.leverage,
                score=entry.score,
                score_max=entry.score_max,
            )
        )
        return True

    async def entry_refused(self, sleeve: int, symbol: int, side: int, verdict: int, ms: int) -> None:
        self._note(
            events.EntryRefused(
                ms=ms,
                version=self.versions[sleeve],
                symbol=self._symbol(symbol),
                side=Side.of(side),
                verdict=VERDICT_NAMES[verdict],
            )
        )

    async def entry_dead(self, position_code: str, client_id: str, ms: int) -> None:
        position = self._positions.pop(position_code)
        self._intents.append((client_id, IntentState.DEAD, ms))
        zero = Decimal(0)
        end = PositionEnd(
            close_reason=_ABORTED,
            close_ms=ms,
            realized_pnl=zero,
            commission=zero,
            funding=zero,
            exit_price=None,
        )
        self._ended.append((position.id, ms, end))

    async def order_sent(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        position = self._positions[position_code]
        reason = None if order.slot == SLOT_ENTRY else tag_name(tag)
        self._orders[order.client_id] = _Order(order, position.id, OrderStatus.ACCEPTED, ms, ms, reason)
        self._dirty_orders[order.client_id] = None
        if order.slot == SLOT_ENTRY:
            self._intents.append((order.client_id, IntentState.LIVE, ms))
        if order.slot == SLOT_EXIT and position.status is not PositionStatus.CLOSING:
            position.status = PositionStatus.CLOSING
            self._dirty_positions[position_code] = ms
        self._note(
            events.OrderAccepted(
                ms=ms,
                client_id=order.client_id,
                symbol=self._symbol(order.symbol),
                kind=_kind(order.kind),
                side=Side.of(order.side),
                qty=self._qty(order.symbol, order.lots),
                reduce_only=order.reduce_only,
                price=self._price(order.symbol, order.price) if order.price else None,
            )
        )

    async def order_gone(self, order: NewOrder, reason: str, ms: int) -> None:
        kept = self._orders[order.client_id]
        kept.status = OrderStatus.CANCELED
        kept.updated_ms = ms
        self._dirty_orders[order.client_id] = None
        if order.slot == SLOT_ENTRY and kept.lots:
            self._intents.append((order.client_id, IntentState.FILLED, ms))
            self._entry_is_over(order.client_id, ms)
        remaining = self._qty(order.symbol, order.lots - kept.lots)
        self._note(
            events.OrderCanceled(
                ms=ms, client_id=order.client_id, symbol=self._symbol(order.symbol), remaining=remaining
            )
        )

    async def booked(self, booked: Booked) -> None:
        fill = booked.fill
        s, ms, lots, price = int(fill["symbol"]), int(fill["ms"]), int(fill["lots"]), int(fill["price"])
        position = self._positions[booked.position_code]
        kept = self._orders.get(booked.client_id)
        if kept is not None:
            self._fold_order(kept, fill)
        self._fills.append(
            FillRow(
                account_id=self.account_id,
                symbol=self._symbol(s),
                trade_id=booked.trade_id,
                side=Side.of(int(fill["side"])),
                qty=self._qty(s, lots),
                price=self._price(s, price),
                commission=units.money_of(int(fill["fee_e8"])),
                commission_asset=_ASSET,
                fill_ms=ms,
                source=FillSource.STREAM,
                is_maker=not fill["taker"],
                realized_pnl_venue=units.money_of(int(fill["realised_e8"])),
                position_id=position.id,
                client_id=booked.client_id or None,
            )
        )
        self._fold_position(position, booked, lots, price, ms)
        self._note(self._filled_event(booked, kept, lots, price, ms))

    async def funded(
        self, sleeve: int, symbol: int, position_code: str, rate_e8: int, paid_e8: int, ms: int
    ) -> None:
        self._positions[position_code].funding_e8 += paid_e8
        self._dirty_positions[position_code] = ms
        self._note(
            events.FundingPaid(
                ms=ms,
                version=self.versions[sleeve],
                symbol=self._symbol(symbol),
                rate=units.money_of(rate_e8),
                amount=units.money_of(paid_e8),
            )
        )

    async def step_over(self, ms: int, account: np.void) -> None:
        await self._flush()

    async def run_over(self, ms: int) -> None:
        """The run ends: bring every live row up to date (in cross margin each minute moves the margin)."""
        for code in self._positions:
            self._dirty_positions[code] = ms
        await self._flush()

    # -- folding -----------------------------------------------------------------------------

    def _fold_order(self, kept: _Order, fill: np.void) -> None:
        lots = int(fill["lots"])
        kept.lots += lots
        kept.quote_e8 += lots * int(fill["price"]) * self._unit(int(fill["symbol"]))
        kept.realised_e8 += int(fill["realised_e8"])
        kept.commission_e8 += int(fill["fee_e8"])
        kept.updated_ms = int(fill["ms"])
        full = kept.lots >= kept.order.lots
        kept.status = OrderStatus.FILLED if full else OrderStatus.PARTLY_FILLED
        self._dirty_orders[kept.order.client_id] = None
        if full and kept.order.slot == SLOT_ENTRY:
            self._intents.append((kept.order.client_id, IntentState.FILLED, kept.updated_ms))

    def _fold_position(self, position: _Position, booked: Booked, lots: int, price: int, ms: int) -> None:
        fill = booked.fill
        if int(fill["side"]) == position.side:
            position.lots_in += lots
            position.cost_in += lots * price
            if position.opened_ms is None:
                position.opened_ms = ms
        else:
            position.lots_out += lots
            position.cost_out += lots * price
        position.realised_e8 += int(fill["realised_e8"])
        position.commission_e8 += int(fill["fee_e8"])
        entry_working = self.books.slots[position.sleeve, position.symbol, SLOT_ENTRY].kind != NONE
        if position.status is PositionStatus.BUILDING and not entry_working:
            position.status = PositionStatus.OPEN
        if not booked.closed:
            self._dirty_positions[booked.position_code] = ms
            return
        self._dirty_positions[booked.position_code] = ms
        self._write_position_now(booked.position_code, ms)
        liquidated = int(fill["tag"]) == TAG_LIQUIDATION
        self._ended.append(
            (
                position.id,
                ms,
                PositionEnd(
                    close_reason=tag_name(int(fill["tag"])),
                    close_ms=ms,
                    realized_pnl=units.money_of(position.realised_e8),
                    commission=units.money_of(position.commission_e8),
                    funding=units.money_of(position.funding_e8),
                    exit_price=self._average(position.symbol, position.cost_out, position.lots_out),
                    status=PositionStatus.LIQUIDATED if liquidated else PositionStatus.CLOSED,
                ),
            )
        )
        del self._positions[booked.position_code]

    def _entry_is_over(self, client_id: str, ms: int) -> None:
        """The rest of a partly filled entry is gone: what is held is all there will be."""
        for code, position in self._positions.items():
            if position.entry_client_id == client_id and position.status is PositionStatus.BUILDING:
                position.status = PositionStatus.OPEN
                self._dirty_positions[code] = ms

    def _write_position_now(self, code: str, ms: int) -> None:
        """Freeze the last change of a position that ends in this step."""
        self._last_changes.append((self._positions[code].id, ms, self._change(self._positions[code])))
        del self._dirty_positions[code]

    def _change(self, position: _Position) -> PositionChange:
        held = position.lots_in - position.lots_out
        s = position.symbol
        change = PositionChange(
            status=position.status,
            realized_pnl=units.money_of(position.realised_e8),
            commission=units.money_of(position.commission_e8),
            funding=units.money_of(position.funding_e8),
        )
        if position.opened_ms is None:
            return change
        average = self._average(s, position.cost_in, position.lots_in)
        record = self.books.positions[position.sleeve, s]
        change["avg_entry_price"] = average
        change["open_ms"] = position.opened_ms
        change["initial_quantity"] = self._qty(s, position.lots_in)
        if position.timeout_ms:
            change["timeout_at_ms"] = position.opened_ms + position.timeout_ms
        # a finished row keeps the size it had
        change["quantity"] = self._qty(s, held or position.lots_in)
        if held:
            change["notional_value"] = units.money_of(int(record.cost_e8))
            change["margin"] = units.money_of(int(record.margin_e8))
            level = int(record.liquidation_price)
            change["liquidation_price"] = self._price(s, level) if level else None
            change["best_price"] = self._price(s, int(record.best)) if record.armed else None
        return change

    def _filled_event(
        self, booked: Booked, kept: _Order | None, lots: int, price: int, ms: int
    ) -> events.OrderFilled | events.Liquidated:
        fill = booked.fill
        s = int(fill["symbol"])
        version = self.versions[int(fill["sleeve"])]
        realised = units.money_of(int(fill["realised_e8"]))
        if kept is None:
            return events.Liquidated(
                ms=ms,
                version=version,
                symbol=self._symbol(s),
                price=self._price(s, price),
                qty=self._qty(s, lots),
                loss=units.money_of(int(fill["fee_e8"]) - int(fill["realised_e8"])),
            )
        return events.OrderFilled(
            ms=ms,
            client_id=booked.client_id,
            symbol=self._symbol(s),
            version=version,
            side=Side.of(int(fill["side"])),
            price=self._price(s, price),
            qty=self._qty(s, lots),
            remaining=self._qty(s, max(0, kept.order.lots - kept.lots)),
            commission=units.money_of(int(fill["fee_e8"])),
            realised=realised,
            is_taker=bool(fill["taker"]),
            reason=tag_name(int(fill["tag"])),
        )

    # -- writing -----------------------------------------------------------------------------

    async def _flush(self) -> None:
        if not (
            self._dirty_orders or self._dirty_positions or self._last_changes or self._ended
            or self._fills or self._intents or self._journal
        ):  # fmt: skip
            return
        async with self.store.unit(durable=bool(self._intents)) as unit:
            await self._write(unit)
        self._dirty_orders.clear()
        self._dirty_positions.clear()
        self._last_changes.clear()
        self._ended.clear()
        self._fills.clear()
        self._intents.clear()
        self._journal.clear()

    async def _write(self, unit: StoreBooks) -> None:
        for client_id, state, ms in self._intents:
            await unit.mark_intent(client_id, state, ms)
        for client_id in self._dirty_orders:
            kept = self._orders[client_id]
            await unit.record_order(self._order_row(kept))
            if kept.status in (OrderStatus.FILLED, OrderStatus.CANCELED):
                del self._orders[client_id]
        for fill in self._fills:
            await unit.record_fill(fill)
        for position_id, ms, change in self._last_changes:
            await unit.update_position(position_id, ms, **change)
        for position_code, ms in self._dirty_positions.items():
            position = self._positions[position_code]
            await unit.update_position(position.id, ms, **self._change(position))
        for position_id, ms, end in self._ended:
            await unit.close_position(position_id, ms, end)
        await unit.append_journal(self._journal)

    def _order_row(self, kept: _Order) -> OrderRow:
        order, s = kept.order, kept.order.symbol
        sleeve_side = order.side if order.slot == SLOT_ENTRY else -order.side
        return OrderRow(
            account_id=self.account_id,
            trading_mode=self.trading_mode,
            client_id=order.client_id,
            symbol=self._symbol(s),
            side=Side.of(order.side),
            position_side=PositionSide.LONG if sleeve_side > 0 else PositionSide.SHORT,
            order_type=OrderEffect.CLOSE if order.reduce_only else OrderEffect.OPEN,
            kind=_kind(order.kind).value,
            status=kept.status.value,
            orig_quantity=self._qty(s, order.lots),
            order_ms=kept.sent_ms,
            updated_ms=kept.updated_ms,
            params_hash=self.params_hash,
            quantity=self._qty(s, kept.lots),
            quote_quantity=units.money_of(kept.quote_e8),
            price=self._order_average(kept),
            trigger_price=self._price(s, order.price or order.activation)
            if order.price or order.activation
            else None,
            realized_pnl=units.money_of(kept.realised_e8),
            commission=units.money_of(kept.commission_e8),
            commission_asset=_ASSET,
            position_id=kept.position_id,
            leg=leg_of(order.slot),
            close_reason=kept.reason,
        )

    def _order_average(self, kept: _Order) -> Decimal | None:
        if kept.lots == 0:
            return None
        s = kept.order.symbol
        return self._average(s, kept.quote_e8 // self._unit(s), kept.lots)

    def _request(self, order: NewOrder) -> dict[str, Any]:
        s = order.symbol
        return {
            "symbol": self._symbol(s),
            "side": Side.of(order.side).value,
            "type": _kind(order.kind).value,
            "quantity": units.plain(self._qty(s, order.lots)),
            "reduceOnly": order.reduce_only,
            "newClientOrderId": order.client_id,
            "leverage": order.leverage,
        }

    def _note(self, event: events.AnyEvent) -> None:
        self._journal.append(events.journal_entry(event))

    def _symbol(self, s: int) -> str:
        return self.universe.symbols[s]

    def _unit(self, s: int) -> int:
        return int(self.books.instruments[s].unit_e8)

    def _qty(self, s: int, lots: int) -> Decimal:
        return units.qty_of(lots, self.universe.lot_step[s])

    def _price(self, s: int, price: int) -> Decimal:
        return units.price_of(price, self.universe.price_digits[s])

    def _average(self, s: int, price_lots: int, lots: int) -> Decimal:
        """Σ price × lots over Σ lots, in quote units with as many places as the column keeps."""
        return units.half_away(units.price_of(price_lots, self.universe.price_digits[s]) / lots, _QTY_PLACES)


def trading_switch(store: Store, account_id: int) -> Callable[[], Awaitable[bool]]:
    """Reads trading_control; a missing row or an error means no (fail closed for entries)."""

    async def is_enabled() -> bool:
        answer = await store.trading_control(account_id)
        return isinstance(answer, TradingControl) and answer.trading_enabled

    return is_enabled


def _kind(code: int) -> OrderKind:
    kind = KIND_OF_CODE[code]
    assert kind is not None, "an order that is sent has a kind"
    return kind
