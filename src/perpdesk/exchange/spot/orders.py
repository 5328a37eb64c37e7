"""Orders and order lists as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field

BUY, SELL = 1, -1
SIDES = {"BUY": BUY, "SELL": SELL}
SIDE_NAMES = {BUY: "BUY", SELL: "SELL"}
OPEN = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW"})
STOP_TYPES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT"})
PROFIT_TYPES = frozenset({"TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
CONDITIONAL = STOP_TYPES | PROFIT_TYPES
WITHOUT_PRICE = frozenset({"MARKET", "STOP_LOSS", "TAKE_PROFIT"})
NO_LIST = -1


@dataclass(slots=True)
class NewOrder:
    """An order that was asked for and has passed its checks. qty_e8 0: what quote_qty_e8 buys, or, for the
    pending order of a paying list, what the working order has bought. price_e8 0: at market."""

    side: int
    type: str
    price_e8: int = 0
    qty_e8: int = 0
    tif: str = "GTC"
    client_id: str = ""
    stop_e8: int = 0
    quote_qty_e8: int = 0
    stp: str = "NONE"


@dataclass(slots=True)
class NewList:
    """A list that was asked for. working: None for a bare pair of alternatives. pays: what the working
    order buys is what the pending ones sell."""

    pending: tuple[NewOrder, ...]
    working: NewOrder | None = None
    client_id: str = ""
    pays: bool = False


@dataclass(slots=True, eq=False)
class Order:
    """One order. locked_e8: what it holds of the account's quote (BUY) or base (SELL)."""

    id: int
    account: int
    pair: int
    side: int
    type: str
    tif: str
    price_e8: int
    qty_e8: int
    stop_e8: int
    quote_qty_e8: int
    client_id: str
    stp: str
    created_ms: int
    updated_ms: int
    list: OrderList | None = None
    status: str = "NEW"
    filled_e8: int = 0
    quote_e8: int = 0
    locked_e8: int = 0
    working_ms: int = -1
    on_book: bool = False

    @property
    def left_e8(self) -> int:
        """What is still to trade."""
        return self.qty_e8 - self.filled_e8

    @property
    def is_open(self) -> bool:
        """Can anything still happen to it?"""
        return self.status in OPEN

    @property
    def list_id(self) -> int:
        """-1: in no list."""
        return NO_LIST if self.list is None else self.list.id


@dataclass(slots=True, eq=False)
class OrderList:
    """Orders that depend on each other. kind: OTO or OCO, as Binance names the contingency.

    received_e8: what the working order of a paying list has bought, locked for the pending ones. shared_e8:
    what alternatives hold together until one of them begins to trade.
    """

    id: int
    account: int
    pair: int
    kind: str
    client_id: str
    created_ms: int
    working: Order | None
    pending: list[Order] = field(default_factory=list)
    pays: bool = False
    received_e8: int = 0
    shared_e8: int = 0
    is_active: bool = False  # the pending orders have left PENDING_NEW
    is_done: bool = False

    @property
    def orders(self) -> list[Order]:
        """Working first."""
        return [*([] if self.working is None else [self.working]), *self.pending]


@dataclass(slots=True)
class Fill:
    """One execution of one order. commission_e8 is of commission_asset."""

    id: int
    order: Order
    price_e8: int
    qty_e8: int
    quote_e8: int
    commission_e8: int
    commission_asset: str
    is_maker: bool
    ms: int
    against: int  # the other account, -1: the synthetic counterparty
