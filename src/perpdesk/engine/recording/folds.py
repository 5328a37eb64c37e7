"""What is known of one order and one position, folded from fills: the rows are read off it."""

from __future__ import annotations

from dataclasses import dataclass

from perpdesk.domain.order import OrderStatus
from perpdesk.domain.position import PositionStatus
from perpdesk.ports import NewOrder


@dataclass
class OrderFold:
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

    def add(self, *, lots: int, quote_e8: int, realised_e8: int, fee_e8: int, ms: int) -> bool:
        """Take one fill in. True if the order has filled with it."""
        self.lots += lots
        self.quote_e8 += quote_e8
        self.realised_e8 += realised_e8
        self.commission_e8 += fee_e8
        self.updated_ms = ms
        is_full = self.lots >= self.order.lots
        if is_full or self.status is not OrderStatus.CANCELED:
            self.status = OrderStatus.FILLED if is_full else OrderStatus.PARTLY_FILLED
        return is_full


@dataclass
class PositionFold:
    """One position row as it is folded from its fills. cost_*: Σ price × lots, in price units.

    is_planned: more batches of its entry may come; batch_filled: its plan as it stands; flat: (tag, ms) of
    the fill that closed what was held, while the rest of the entry is not known yet.
    """

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
    is_planned: bool = False
    batch_filled: dict[str, int] | None = None
    flat: tuple[int, int] | None = None

    @property
    def held(self) -> int:
        """Lots in less lots out."""
        return self.lots_in - self.lots_out

    def add(self, *, side: int, price: int, lots: int, realised_e8: int, fee_e8: int, ms: int) -> None:
        """Take one fill in."""
        if side == self.side:
            self.lots_in += lots
            self.cost_in += lots * price
            if self.opened_ms is None:
                self.opened_ms = ms
        else:
            self.lots_out += lots
            self.cost_out += lots * price
        self.realised_e8 += realised_e8
        self.commission_e8 += fee_e8
