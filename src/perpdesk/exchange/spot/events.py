"""What an account is told, as small records: the wire form is made only for those who listen."""

from __future__ import annotations

import msgspec


class Report(msgspec.Struct, frozen=True, gc=False):
    """executionReport: an order as it stands after something happened to it. Amounts in 1e-8.

    happened: NEW, CANCELED, REJECTED, TRADE, EXPIRED, TRADE_PREVENTION. trade_id -1: no execution.
    """

    ms: int
    pair: int
    order_id: int
    client_id: str
    list_id: int
    side: int
    type: str
    tif: str
    price_e8: int
    qty_e8: int
    stop_e8: int
    quote_qty_e8: int
    stp: str
    happened: str
    status: str
    filled_e8: int
    quote_e8: int
    created_ms: int
    working_ms: int
    on_book: bool
    reason: str = "NONE"
    orig_client_id: str = ""
    last_qty_e8: int = 0
    last_price_e8: int = 0
    last_quote_e8: int = 0
    commission_e8: int = 0
    commission_asset: str = ""
    trade_id: int = -1
    is_maker: bool = False


class ListReport(msgspec.Struct, frozen=True, gc=False):
    """listStatus. orders: (id, client id) of each. status_type: EXEC_STARTED, ALL_DONE or RESPONSE."""

    ms: int
    pair: int
    list_id: int
    kind: str
    status_type: str
    order_status: str
    client_id: str
    orders: tuple[tuple[int, str], ...]
    reason: str = "NONE"


class Position(msgspec.Struct, frozen=True, gc=False):
    """outboundAccountPosition: (asset, free, locked) of what changed."""

    ms: int
    balances: tuple[tuple[str, int, int], ...]


class Deposit(msgspec.Struct, frozen=True, gc=False):
    """balanceUpdate: money came in or went out."""

    ms: int
    asset: str
    amount_e8: int


Event = Report | ListReport | Position | Deposit
