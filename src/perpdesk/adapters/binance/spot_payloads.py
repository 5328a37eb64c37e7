"""Spot's REST answers, typed. Numbers with money meaning stay the text that was sent."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from perpdesk.adapters.binance.payloads import Kline, Ms, Payload, RateLimit, ServerTime, Text


class SpotFilter(Payload, frozen=True):
    """One filter of a symbol, any type; the fields that its type has are set."""

    filter_type: str
    min_price: Text = UNSET
    max_price: Text = UNSET
    tick_size: Text = UNSET
    min_qty: Text = UNSET
    max_qty: Text = UNSET
    step_size: Text = UNSET
    min_notional: Text = UNSET
    max_notional: Text = UNSET
    bid_multiplier_up: Text = UNSET
    bid_multiplier_down: Text = UNSET
    ask_multiplier_up: Text = UNSET
    ask_multiplier_down: Text = UNSET
    avg_price_mins: int | UnsetType = UNSET


class SpotSymbol(Payload, frozen=True):
    """One pair of exchangeInfo. What a venue does not say about lists it does not allow."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[SpotFilter]
    order_types: list[str] | UnsetType = UNSET
    oco_allowed: bool = False
    oto_allowed: bool = False
    opo_allowed: bool = False
    default_self_trade_prevention_mode: Text = UNSET
    allowed_self_trade_prevention_modes: list[str] | UnsetType = UNSET


class SpotInfo(Payload, frozen=True):
    """GET exchangeInfo."""

    symbols: list[SpotSymbol]
    rate_limits: list[RateLimit] | UnsetType = UNSET


class SpotOrder(Payload, frozen=True):
    """An order: answer to placing or cancelling it, or a query. An ACK has no quantities."""

    symbol: str
    order_id: int
    client_order_id: str
    order_list_id: int = -1
    orig_client_order_id: Text = UNSET
    status: Text = UNSET
    side: Text = UNSET
    type: Text = UNSET
    time_in_force: Text = UNSET
    price: Text = UNSET
    orig_qty: Text = UNSET
    executed_qty: Text = UNSET
    cummulative_quote_qty: Text = UNSET
    stop_price: Text = UNSET
    working_time: Ms = UNSET
    time: Ms = UNSET
    update_time: Ms = UNSET
    transact_time: Ms = UNSET
    self_trade_prevention_mode: Text = UNSET


class SpotListOrder(Payload, frozen=True):
    """One order of a list, by its names."""

    symbol: str
    order_id: int
    client_order_id: str


class SpotList(Payload, frozen=True):
    """An order list. list_order_status ALL_DONE: nothing more can happen to any of its orders."""

    order_list_id: int
    contingency_type: str
    list_status_type: str
    list_order_status: str
    list_client_order_id: str
    symbol: str
    orders: list[SpotListOrder]
    transaction_time: Ms = UNSET
    order_reports: list[SpotOrder] | UnsetType = UNSET


class SpotFill(Payload, frozen=True):
    """One row of myTrades."""

    symbol: str
    id: int
    order_id: int
    price: str
    qty: str
    quote_qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool
    order_list_id: int = -1


class SpotBalance(Payload, frozen=True):
    """What an account has of one asset."""

    asset: str
    free: str
    locked: str


class SpotAccount(Payload, frozen=True):
    """GET account."""

    can_trade: bool
    balances: list[SpotBalance]
    update_time: Ms = UNSET
    uid: Ms = UNSET


class SpotFees(Payload, frozen=True):
    """One kind of commission, as fractions."""

    maker: str
    taker: str
    buyer: Text = UNSET
    seller: Text = UNSET


class SpotDiscount(Payload, frozen=True):
    """Whether commissions are paid in another asset, and how much less that is."""

    enabled_for_account: bool
    enabled_for_symbol: bool
    discount_asset: Text = UNSET
    discount: Text = UNSET


class SpotCommission(Payload, frozen=True):
    """GET account/commission."""

    symbol: str
    standard_commission: SpotFees
    tax_commission: SpotFees | UnsetType = UNSET
    special_commission: SpotFees | UnsetType = UNSET
    discount: SpotDiscount | UnsetType = UNSET


class SpotQuote(Payload, frozen=True):
    """GET ticker/bookTicker of one symbol."""

    symbol: str
    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str


class SpotPrice(Payload, frozen=True):
    """GET ticker/price of one symbol."""

    symbol: str
    price: str


_V3 = "/api/v3"
SPOT_SHAPES: dict[tuple[str, str], Any] = {
    ("GET", f"{_V3}/time"): ServerTime,
    ("GET", f"{_V3}/exchangeInfo"): SpotInfo,
    ("GET", f"{_V3}/ticker/bookTicker"): SpotQuote,
    ("GET", f"{_V3}/ticker/price"): SpotPrice,
    ("GET", f"{_V3}/klines"): list[Kline],
    ("POST", f"{_V3}/order"): SpotOrder,
    ("GET", f"{_V3}/order"): SpotOrder,
    ("DELETE", f"{_V3}/order"): dict[str, Any],  # an order, or the list that it has taken along
    ("GET", f"{_V3}/openOrders"): list[SpotOrder],
    ("POST", f"{_V3}/orderList/oto"): SpotList,
    ("POST", f"{_V3}/orderList/otoco"): SpotList,
    ("POST", f"{_V3}/orderList/opo"): SpotList,
    ("POST", f"{_V3}/orderList/opoco"): SpotList,
    ("POST", f"{_V3}/orderList/oco"): SpotList,
    ("DELETE", f"{_V3}/orderList"): SpotList,
    ("GET", f"{_V3}/orderList"): SpotList,
    ("GET", f"{_V3}/openOrderList"): list[SpotList],
    ("GET", f"{_V3}/myTrades"): list[SpotFill],
    ("GET", f"{_V3}/account"): SpotAccount,
    ("GET", f"{_V3}/account/commission"): SpotCommission,
}
