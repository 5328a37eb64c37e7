"""What the sockets say, typed. The wire's one-letter names stand in ``rename``; ours say what they are."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

Text = str | None | UnsetType
Ms = int | UnsetType


class Event(Struct, frozen=True, omit_defaults=True, tag_field="e"):
    """Base: ``e`` says which event it is."""


# -- the user's own -------------------------------------------------------------------------------


class OrderReport(Struct, frozen=True, omit_defaults=True):
    """The order of an ORDER_TRADE_UPDATE. trade_id 0: this report is no fill."""

    symbol: str = field(name="s")
    client_id: str = field(name="c")
    side: str = field(name="S")
    type: str = field(name="o")
    execution: str = field(name="x")
    status: str = field(name="X")
    order_id: int = field(name="i")
    traded_ms: int = field(name="T")
    last_qty: str = field(name="l")
    filled_qty: str = field(name="z")
    last_price: str = field(name="L")
    trade_id: int = field(name="t")
    quantity: Text = field(name="q", default=UNSET)
    price: Text = field(name="p", default=UNSET)
    average_price: Text = field(name="ap", default=UNSET)
    stop_price: Text = field(name="sp", default=UNSET)
    commission: Text = field(name="n", default=UNSET)
    commission_asset: Text = field(name="N", default=UNSET)
    is_maker: bool | UnsetType = field(name="m", default=UNSET)
    reduce_only: bool | UnsetType = field(name="R", default=UNSET)
    original_type: Text = field(name="ot", default=UNSET)
    position_side: Text = field(name="ps", default=UNSET)
    close_position: bool | UnsetType = field(name="cp", default=UNSET)
    realized: Text = field(name="rp", default=UNSET)
    expiry_reason: Text = field(name="er", default=UNSET)


class OrderUpdate(Event, frozen=True, tag="ORDER_TRADE_UPDATE"):
    """Something happened to an ordinary order."""

    event_ms: int = field(name="E")
    ms: int = field(name="T")
    order: OrderReport = field(name="o")


class AlgoReport(Struct, frozen=True, omit_defaults=True):
    """The order of an ALGO_UPDATE. order_id: the ordinary order that it became ("" before)."""

    client_id: str = field(name="caid")
    algo_id: int = field(name="aid")
    symbol: str = field(name="s")
    side: str = field(name="S")
    status: str = field(name="X")
    type: Text = field(name="o", default=UNSET)
    algo_type: Text = field(name="at", default=UNSET)
    quantity: Text = field(name="q", default=UNSET)
    trigger_price: Text = field(name="tp", default=UNSET)
    position_side: Text = field(name="ps", default=UNSET)
    reduce_only: bool | UnsetType = field(name="R", default=UNSET)
    order_id: str | int | None | UnsetType = field(name="ai", default=UNSET)
    reject_reason: Text = field(name="rm", default=UNSET)
    is_activated: bool | UnsetType = field(name="ia", default=UNSET)


class AlgoUpdate(Event, frozen=True, tag="ALGO_UPDATE"):
    """Something happened to a conditional order."""

    event_ms: int = field(name="E")
    ms: int = field(name="T")
    order: AlgoReport = field(name="o")


class BalanceChange(Struct, frozen=True, omit_defaults=True):
    """One asset. change: without profit, loss and commission."""

    asset: str = field(name="a")
    wallet: str = field(name="wb")
    cross_wallet: Text = field(name="cw", default=UNSET)
    change: Text = field(name="bc", default=UNSET)


class PositionChange(Struct, frozen=True, omit_defaults=True):
    """One position after the change."""

    symbol: str = field(name="s")
    amount: str = field(name="pa")
    entry_price: str = field(name="ep")
    position_side: Text = field(name="ps", default=UNSET)
    margin_type: Text = field(name="mt", default=UNSET)
    isolated_wallet: Text = field(name="iw", default=UNSET)
    realized: Text = field(name="cr", default=UNSET)
    unrealized: Text = field(name="up", default=UNSET)


class AccountChange(Struct, frozen=True, omit_defaults=True):
    """Why, and what changed."""

    reason: str = field(name="m")
    balances: list[BalanceChange] | UnsetType = field(name="B", default=UNSET)
    positions: list[PositionChange] | UnsetType = field(name="P", default=UNSET)
    symbol: Text = field(name="S", default=UNSET)


class AccountUpdate(Event, frozen=True, tag="ACCOUNT_UPDATE"):
    """Balance, position or margin type changed."""

    event_ms: int = field(name="E")
    ms: int = field(name="T")
    account: AccountChange = field(name="a")


class LeverageChange(Struct, frozen=True, omit_defaults=True):
    """The leverage of one symbol."""

    symbol: str = field(name="s")
    leverage: int = field(name="l")


class ModeChange(Struct, frozen=True, omit_defaults=True):
    """Is multi-assets mode on?"""

    multi_assets: bool = field(name="j")


class AccountConfigUpdate(Event, frozen=True, tag="ACCOUNT_CONFIG_UPDATE"):
    """Somebody changed leverage or mode."""

    event_ms: int = field(name="E")
    ms: int = field(name="T")
    leverage: LeverageChange | UnsetType = field(name="ac", default=UNSET)
    mode: ModeChange | UnsetType = field(name="ai", default=UNSET)


class TradeLite(Event, frozen=True, tag="TRADE_LITE"):
    """A fill, early and without its commission. The full report follows."""

    event_ms: int = field(name="E")
    ms: int = field(name="T")
    symbol: str = field(name="s")
    client_id: str = field(name="c")
    side: str = field(name="S")
    last_price: str = field(name="L")
    last_qty: str = field(name="l")
    trade_id: int = field(name="t")
    order_id: int = field(name="i")


class MarginCall(Event, frozen=True, tag="MARGIN_CALL"):
    """The exchange warns of liquidation."""

    event_ms: int = field(name="E")
    cross_wallet: Text = field(name="cw", default=UNSET)


class ListenKeyExpired(Event, frozen=True, tag="listenKeyExpired"):
    """The stream with this key says nothing more. The documentation prints the time as text."""

    listen_key: Text = field(name="listenKey", default=UNSET)
    event_ms: int | str | UnsetType = field(name="E", default=UNSET)


# -- the market -----------------------------------------------------------------------------------


class MarkPrice(Event, frozen=True, tag="markPriceUpdate"):
    """Mark price and funding of one symbol. market: 1 USDⓈ-M, 2 COIN-M."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    mark: str = field(name="p")
    index: Text = field(name="i", default=UNSET)
    funding_rate: Text = field(name="r", default=UNSET)
    next_funding_ms: Ms = field(name="T", default=UNSET)
    market: int | UnsetType = field(name="st", default=UNSET)


class KlineBar(Struct, frozen=True, omit_defaults=True):
    """A bar under way, or closed."""

    open_ms: int = field(name="t")
    close_ms: int = field(name="T")
    interval: str = field(name="i")
    open: str = field(name="o")
    close: str = field(name="c")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    is_closed: bool = field(name="x")
    trades: int | UnsetType = field(name="n", default=UNSET)
    quote_volume: Text = field(name="q", default=UNSET)


class KlineEvent(Event, frozen=True, tag="kline"):
    """The current bar of a symbol."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    bar: KlineBar = field(name="k")


class AggTrade(Event, frozen=True, tag="aggTrade"):
    """Trades of one price and side within 100 ms."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    id: int = field(name="a")
    price: str = field(name="p")
    qty: str = field(name="q")
    ms: int = field(name="T")
    buyer_is_maker: bool = field(name="m")


class BookTicker(Event, frozen=True, tag="bookTicker"):
    """Best bid and ask."""

    update_id: int = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_qty: str = field(name="B")
    ask: str = field(name="a")
    ask_qty: str = field(name="A")
    ms: Ms = field(name="T", default=UNSET)


class DepthUpdate(Event, frozen=True, tag="depthUpdate"):
    """Changed levels with absolute quantities; previous_id must be the last event's last_id."""

    symbol: str = field(name="s")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    previous_id: int = field(name="pu")
    bids: list[list[str]] = field(name="b")
    asks: list[list[str]] = field(name="a")


class ForcedReport(Struct, frozen=True, omit_defaults=True):
    """A liquidation order."""

    symbol: str = field(name="s")
    side: str = field(name="S")
    qty: str = field(name="q")
    price: str = field(name="p")
    ms: int = field(name="T")


class ForceOrder(Event, frozen=True, tag="forceOrder"):
    """Somebody was liquidated: the largest of the symbol in a second."""

    event_ms: int = field(name="E")
    order: ForcedReport = field(name="o")


class ContractInfo(Event, frozen=True, tag="contractInfo"):
    """A symbol's status or brackets changed."""

    event_ms: int = field(name="E")
    symbol: str = field(name="s")
    status: Text = field(name="cs", default=UNSET)


Known = (
    OrderUpdate
    | AlgoUpdate
    | AccountUpdate
    | AccountConfigUpdate
    | TradeLite
    | MarginCall
    | ListenKeyExpired
    | MarkPrice
    | KlineEvent
    | AggTrade
    | BookTicker
    | DepthUpdate
    | ForceOrder
    | ContractInfo
)


class Stranger(Struct, frozen=True):
    """An event that no type here describes, as it came."""

    name: str
    raw: bytes
