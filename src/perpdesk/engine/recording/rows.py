"""From folds and kernel units to the store's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpdesk.domain import units
from perpdesk.domain.books import (
    Delivery,
    FillRow,
    FillSource,
    NewIntent,
    NewPosition,
    OrderEffect,
    OrderRow,
    PositionChange,
    PositionEnd,
    TradingMode,
)
from perpdesk.domain.order import KIND_OF_CODE, OrderKind, PositionSide, Side
from perpdesk.domain.position import PositionStatus
from perpdesk.engine.ids import attempt_in, leg_in
from perpdesk.engine.recorder import Booked, Entry
from perpdesk.engine.recording.folds import OrderFold, PositionFold
from perpdesk.kernel.records import SLOT_ENTRY, TAG_LIQUIDATION, tag_name
from perpdesk.kernel.replay import Books
from perpdesk.market.universe import Universe
from perpdesk.ports import NewOrder

_QTY_PLACES = 12
ASSET = "USDT"


def kind_of(code: int) -> OrderKind:
    """The order kind of a slot's code."""
    kind = KIND_OF_CODE[code]
    assert kind is not None, "an order that is sent has a kind"
    return kind


@dataclass(frozen=True)
class Rows:
    """Writes rows of one account's run.

    versions, params_hash and guards are what the sleeves were decided under (guards: one JSON-ready
    mapping per sleeve).
    """

    universe: Universe
    books: Books
    versions: Sequence[str]
    account_id: int
    params_hash: str
    guards: Sequence[Mapping[str, Any]]
    trading_mode: TradingMode

    def new_position(self, entry: Entry) -> NewPosition:
        """The row of an approved entry, before its order is sent."""
        notional_e8 = entry.lots * entry.price * self.unit_e8(entry.symbol)
        margin_e8 = -(-notional_e8 // max(1, entry.leverage))
        return NewPosition(
            account_id=self.account_id,
            symbol=self.symbol(entry.symbol),
            position_side=PositionSide.LONG if entry.side > 0 else PositionSide.SHORT,
            signal_version=self.versions[entry.sleeve],
            quantity=self.qty(entry.symbol, entry.lots),
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

    def entry_intent(self, order: NewOrder, ms: int, position_id: int | None = None) -> NewIntent:
        """The intent that must be durable before an entry's order is sent; position_id: of an earlier row."""
        return NewIntent(
            account_id=self.account_id,
            symbol=self.symbol(order.symbol),
            leg=leg_in(order.client_id),
            attempt=0 if position_id is None else attempt_in(order.client_id),
            client_id=order.client_id,
            delivery=Delivery.ONCE,
            request=self._request(order),
            params_hash=self.params_hash,
            created_ms=ms,
            position_id=position_id,
        )

    def order(self, kept: OrderFold) -> OrderRow:
        """An order as it stands."""
        order, s = kept.order, kept.order.symbol
        sleeve_side = order.side if order.slot == SLOT_ENTRY else -order.side
        return OrderRow(
            account_id=self.account_id,
            trading_mode=self.trading_mode,
            client_id=order.client_id,
            symbol=self.symbol(s),
            side=Side.of(order.side),
            position_side=PositionSide.LONG if sleeve_side > 0 else PositionSide.SHORT,
            order_type=OrderEffect.CLOSE if order.reduce_only else OrderEffect.OPEN,
            kind=kind_of(order.kind).value,
            status=kept.status.value,
            orig_quantity=self.qty(s, order.lots),
            order_ms=kept.sent_ms,
            updated_ms=kept.updated_ms,
            params_hash=self.params_hash,
            quantity=self.qty(s, kept.lots),
            quote_quantity=units.money_of(kept.quote_e8),
            price=self.average(s, kept.quote_e8 // self.unit_e8(s), kept.lots) if kept.lots else None,
            trigger_price=self.price(s, order.price or order.activation)
            if order.price or order.activation
            else None,
            realized_pnl=units.money_of(kept.realised_e8),
            commission=units.money_of(kept.commission_e8),
            commission_asset=ASSET,
            position_id=kept.position_id,
            leg=leg_in(order.client_id),
            close_reason=kept.reason,
        )

    def fill(self, booked: Booked, position_id: int) -> FillRow:
        """A fill of a sleeve. Its venue profit is the exchange's own where that was told."""
        fill = booked.fill
        s = int(fill["symbol"])
        realised_e8 = booked.venue_realised_e8
        return FillRow(
            account_id=self.account_id,
            symbol=self.symbol(s),
            trade_id=booked.trade_id,
            side=Side.of(int(fill["side"])),
            qty=self.qty(s, int(fill["lots"])),
            price=self.price(s, int(fill["price"])),
            commission=units.money_of(int(fill["fee_e8"])),
            commission_asset=ASSET,
            fill_ms=int(fill["ms"]),
            source=booked.source,
            is_maker=not fill["taker"],
            realized_pnl_venue=units.money_of(
                int(fill["realised_e8"]) if realised_e8 is None else realised_e8
            ),
            position_id=position_id,
            client_id=booked.client_id or None,
        )

    def outside_fill(
        self,
        s: int,
        *,
        side: int,
        price: int,
        lots: int,
        fee_e8: int,
        realised_e8: int,
        trade_id: int,
        client_id: str,
        is_maker: bool,
        ms: int,
        source: FillSource,
    ) -> FillRow:
        """A fill, or the share of one, that no sleeve owns."""
        return FillRow(
            account_id=self.account_id,
            symbol=self.symbol(s),
            trade_id=trade_id,
            side=Side.of(side),
            qty=self.qty(s, lots),
            price=self.price(s, price),
            commission=units.money_of(fee_e8),
            commission_asset=ASSET,
            fill_ms=ms,
            source=source,
            is_maker=is_maker,
            realized_pnl_venue=units.money_of(realised_e8),
            client_id=client_id or None,
        )

    def change(self, position: PositionFold) -> PositionChange:
        """What a position's row says now."""
        held, s = position.held, position.symbol
        change = PositionChange(
            status=position.status,
            realized_pnl=units.money_of(position.realised_e8),
            commission=units.money_of(position.commission_e8),
            funding=units.money_of(position.funding_e8),
        )
        if position.batch_filled is not None:
            change["batch_filled"] = position.batch_filled
        if position.opened_ms is None:
            return change
        record = self.books.positions[position.sleeve, s]
        change["avg_entry_price"] = self.average(s, position.cost_in, position.lots_in)
        change["open_ms"] = position.opened_ms
        change["initial_quantity"] = self.qty(s, position.lots_in)
        if position.timeout_ms:
            change["timeout_at_ms"] = position.opened_ms + position.timeout_ms
        # a finished row keeps the size it had
        change["quantity"] = self.qty(s, held or position.lots_in)
        if held:
            change["notional_value"] = units.money_of(int(record.cost_e8))
            change["margin"] = units.money_of(int(record.margin_e8))
            level = int(record.liquidation_price)
            change["liquidation_price"] = self.price(s, level) if level else None
            change["best_price"] = self.price(s, int(record.best)) if record.armed else None
        return change

    def end(self, position: PositionFold, tag: int, ms: int) -> PositionEnd:
        """How a position ended with its last fill."""
        liquidated = tag == TAG_LIQUIDATION
        return PositionEnd(
            close_reason=tag_name(tag),
            close_ms=ms,
            realized_pnl=units.money_of(position.realised_e8),
            commission=units.money_of(position.commission_e8),
            funding=units.money_of(position.funding_e8),
            exit_price=self.average(position.symbol, position.cost_out, position.lots_out),
            status=PositionStatus.LIQUIDATED if liquidated else PositionStatus.CLOSED,
        )

    # -- units -------------------------------------------------------------------------------

    def symbol(self, s: int) -> str:
        """A symbol's name."""
        return self.universe.symbols[s]

    def unit_e8(self, s: int) -> int:
        """Money of one price unit times one lot."""
        return int(self.books.instruments[s].unit_e8)

    def qty(self, s: int, lots: int) -> Decimal:
        """Lots as a quantity."""
        return units.qty_of(lots, self.universe.lot_step[s])

    def price(self, s: int, price: int) -> Decimal:
        """A kernel price as a Decimal."""
        return units.price_of(price, self.universe.price_digits[s])

    def average(self, s: int, price_lots: int, lots: int) -> Decimal:
        """Σ price × lots over Σ lots, in quote units with as many places as the column keeps."""
        total = units.price_of(price_lots, self.universe.price_digits[s])
        return units.half_away(total / lots, _QTY_PLACES)

    def _request(self, order: NewOrder) -> dict[str, Any]:
        s = order.symbol
        return {
            "symbol": self.symbol(s),
            "side": Side.of(order.side).value,
            "type": kind_of(order.kind).value,
            "quantity": units.plain(self.qty(s, order.lots)),
            "reduceOnly": order.reduce_only,
            "newClientOrderId": order.client_id,
            "leverage": order.leverage,
        }
