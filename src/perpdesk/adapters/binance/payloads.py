"""The exchange's REST answers, typed. Numbers with money meaning stay the text that was sent.

A field that may be missing is UNSET then, and a word that is new to us (a status, a type) stays the
exchange's own word. Fields that stand nowhere here are not lost: see ``parse.Whole``.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

Text = str | None | UnsetType
Flag = bool | str | None | UnsetType
Number = int | float | str | None | UnsetType
Ms = int | UnsetType


class Payload(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base: read tolerantly, written back with the fields that came."""


class Refusal(Payload, frozen=True):
    """``{"code": -1121, "msg": "Invalid symbol."}``; success is code 200, as a number or as text."""

    code: int | str | UnsetType = UNSET
    msg: Text = UNSET


class ServerTime(Payload, frozen=True):
    """GET /fapi/v1/time."""

    server_time: int


class RateLimit(Payload, frozen=True):
    """One limit: so many in interval_num intervals."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class Filter(Payload, frozen=True):
    """One filter of a symbol, any type; the fields that its type has are set."""

    filter_type: str
    min_price: Text = UNSET
    max_price: Text = UNSET
    tick_size: Text = UNSET
    min_qty: Text = UNSET
    max_qty: Text = UNSET
    step_size: Text = UNSET
    limit: int | UnsetType = UNSET
    notional: Text = UNSET
    multiplier_up: Text = UNSET
    multiplier_down: Text = UNSET
    multiplier_decimal: Number = UNSET
    position_control_side: Text = UNSET


class SymbolRow(Payload, frozen=True):
    """One contract of exchangeInfo."""

    symbol: str
    status: Text = UNSET
    pair: Text = UNSET
    contract_type: Text = UNSET
    contract_status: Text = UNSET
    delivery_date: Ms = UNSET
    onboard_date: Ms = UNSET
    base_asset: Text = UNSET
    quote_asset: Text = UNSET
    margin_asset: Text = UNSET
    price_precision: int | UnsetType = UNSET
    quantity_precision: int | UnsetType = UNSET
    trigger_protect: Text = UNSET
    liquidation_fee: Text = UNSET
    market_take_bound: Text = UNSET
    filters: list[Filter] | UnsetType = UNSET
    order_types: list[str] | UnsetType = UNSET
    time_in_force: list[str] | UnsetType = UNSET


class ExchangeInfo(Payload, frozen=True):
    """GET /fapi/v1/exchangeInfo."""

    symbols: list[SymbolRow]
    rate_limits: list[RateLimit] | UnsetType = UNSET
    server_time: Ms = UNSET
    timezone: Text = UNSET


class Order(Payload, frozen=True):
    """An ordinary order: acknowledgement, cancel answer, query. Acknowledgements have no avgPrice."""

    order_id: int
    symbol: str
    status: str
    client_order_id: str
    side: str
    orig_qty: Text = UNSET
    executed_qty: Text = UNSET
    price: Text = UNSET
    type: Text = UNSET
    avg_price: Text = UNSET
    cum_qty: Text = UNSET
    cum_quote: Text = UNSET
    position_side: Text = UNSET
    reduce_only: Flag = UNSET
    close_position: Flag = UNSET
    time_in_force: Text = UNSET
    stop_price: Text = UNSET
    working_type: Text = UNSET
    orig_type: Text = UNSET
    time: Ms = UNSET
    update_time: Ms = UNSET
    good_till_date: Ms = UNSET


class AlgoOrder(Payload, frozen=True):
    """A conditional order. actual_order_id is the ordinary order that it became, once triggered."""

    algo_id: int
    client_algo_id: str
    symbol: Text = UNSET
    side: Text = UNSET
    order_type: Text = UNSET
    algo_status: Text = UNSET
    quantity: Text = UNSET
    trigger_price: Text = UNSET
    price: Text = UNSET
    position_side: Text = UNSET
    reduce_only: Flag = UNSET
    close_position: Flag = UNSET
    activate_price: Text = UNSET
    callback_rate: Text = UNSET
    working_type: Text = UNSET
    time_in_force: Text = UNSET
    actual_order_id: int | str | UnsetType = UNSET
    actual_price: Text = UNSET
    actual_qty: Text = UNSET
    create_time: Ms = UNSET
    update_time: Ms = UNSET
    trigger_time: Ms = UNSET
    code: int | str | UnsetType = UNSET
    msg: Text = UNSET


class UserTrade(Payload, frozen=True):
    """One fill of ours. commission is positive when paid."""

    symbol: str
    id: int
    order_id: int
    side: str
    price: str
    qty: str
    realized_pnl: str
    commission: str
    commission_asset: str
    time: int
    position_side: Text = UNSET
    quote_qty: Text = UNSET
    maker: bool | UnsetType = UNSET
    buyer: bool | UnsetType = UNSET
    margin_asset: Text = UNSET


class Income(Payload, frozen=True):
    """One booking of the wallet; (income_type, tran_id) is unique."""

    income_type: str
    income: str
    asset: str
    time: int
    tran_id: int | str
    symbol: Text = UNSET
    info: Text = UNSET
    trade_id: int | str | None | UnsetType = UNSET


class PositionRisk(Payload, frozen=True):
    """One position, v2 or v3; v3 names only symbols with a position or open orders."""

    symbol: str
    position_amt: str
    entry_price: str
    position_side: Text = UNSET
    mark_price: Text = UNSET
    un_realized_profit: Text = UNSET
    liquidation_price: Text = UNSET
    break_even_price: Text = UNSET
    notional: Text = UNSET
    leverage: Number = UNSET
    margin_type: Text = UNSET
    isolated_margin: Text = UNSET
    isolated_wallet: Text = UNSET
    initial_margin: Text = UNSET
    maint_margin: Text = UNSET
    update_time: Ms = UNSET


class AccountAsset(Payload, frozen=True):
    """One asset of the futures wallet."""

    asset: str
    wallet_balance: str
    unrealized_profit: Text = UNSET
    margin_balance: Text = UNSET
    maint_margin: Text = UNSET
    initial_margin: Text = UNSET
    cross_wallet_balance: Text = UNSET
    cross_un_pnl: Text = UNSET
    available_balance: Text = UNSET
    update_time: Ms = UNSET


class AccountPosition(Payload, frozen=True):
    """One position as the account tells it."""

    symbol: str
    position_side: Text = UNSET
    position_amt: Text = UNSET
    unrealized_profit: Text = UNSET
    notional: Text = UNSET
    isolated_wallet: Text = UNSET
    leverage: Number = UNSET
    entry_price: Text = UNSET
    update_time: Ms = UNSET


class Account(Payload, frozen=True):
    """GET /fapi/v2|v3/account."""

    assets: list[AccountAsset]
    positions: list[AccountPosition]
    total_wallet_balance: Text = UNSET
    total_margin_balance: Text = UNSET
    total_unrealized_profit: Text = UNSET
    total_maint_margin: Text = UNSET
    total_initial_margin: Text = UNSET
    available_balance: Text = UNSET
    can_trade: bool | UnsetType = UNSET
    multi_assets_margin: bool | UnsetType = UNSET


class Balance(Payload, frozen=True):
    """One asset, GET /fapi/v2|v3/balance."""

    asset: str
    balance: str
    available_balance: Text = UNSET
    cross_wallet_balance: Text = UNSET
    update_time: Ms = UNSET


class SymbolConfig(Payload, frozen=True):
    """Leverage and margin type of one symbol."""

    symbol: str
    margin_type: str
    leverage: int
    is_auto_add_margin: Flag = UNSET
    max_notional_value: Text = UNSET


class AccountConfig(Payload, frozen=True):
    """Modes of the account."""

    dual_side_position: bool
    multi_assets_margin: bool
    can_trade: bool | UnsetType = UNSET
    fee_tier: int | UnsetType = UNSET


class PositionMode(Payload, frozen=True):
    """True: hedge mode, LONG and SHORT apart."""

    dual_side_position: bool


class Countdown(Payload, frozen=True):
    """The dead-man switch of a symbol: milliseconds until its ordinary orders are cancelled, "0" off."""

    symbol: str
    countdown_time: str


class KeyRights(Payload, frozen=True):
    """GET /sapi/v1/account/apiRestrictions: what an API key may do."""

    ip_restrict: bool
    enable_withdrawals: bool
    enable_internal_transfer: bool
    permits_universal_transfer: bool
    enable_futures: bool
    enable_reading: bool | UnsetType = UNSET
    enable_spot_and_margin_trading: bool | UnsetType = UNSET
    enable_margin: bool | UnsetType = UNSET
    enable_vanilla_options: bool | UnsetType = UNSET
    enable_portfolio_margin_trading: bool | UnsetType = UNSET
    create_time: Ms = UNSET
    trading_authority_expiration_time: Ms = UNSET


class Leverage(Payload, frozen=True):
    """What POST /fapi/v1/leverage set."""

    leverage: int
    symbol: str
    max_notional_value: Text = UNSET


class BracketRow(Payload, frozen=True):
    """One leverage bracket."""

    bracket: int
    initial_leverage: int
    notional_cap: Number
    notional_floor: Number
    maint_margin_ratio: Number
    cum: Number


class Brackets(Payload, frozen=True):
    """All brackets of a symbol."""

    symbol: str
    brackets: list[BracketRow]
    notional_coef: Number = UNSET


class CommissionRate(Payload, frozen=True):
    """The account's fees of a symbol."""

    symbol: str
    maker_commission_rate: str
    taker_commission_rate: str


class FeeBurn(Payload, frozen=True):
    """True: fees are paid in BNB."""

    fee_burn: bool


class ListenKey(Payload, frozen=True):
    """The name of a user stream."""

    listen_key: str


class PremiumIndex(Payload, frozen=True):
    """Mark price, index price, funding."""

    symbol: str
    mark_price: str
    last_funding_rate: Text = UNSET
    next_funding_time: Ms = UNSET
    index_price: Text = UNSET
    time: Ms = UNSET


class FundingRate(Payload, frozen=True):
    """One settled funding rate; mark_price may be empty in old rows."""

    symbol: str
    funding_rate: str
    funding_time: int
    mark_price: Text = UNSET


class OpenInterest(Payload, frozen=True):
    """Open interest now."""

    symbol: str
    open_interest: str
    time: int


class OpenInterestHist(Payload, frozen=True):
    """Open interest of a period."""

    sum_open_interest: str
    sum_open_interest_value: str
    timestamp: int
    symbol: Text = UNSET


class Ratio(Payload, frozen=True):
    """One period of a long/short ratio, or of the takers' (their field is buy_sell_ratio)."""

    timestamp: int
    long_short_ratio: Text = UNSET
    buy_sell_ratio: Text = UNSET
    symbol: Text = UNSET
    long_account: Text = UNSET
    short_account: Text = UNSET
    buy_vol: Text = UNSET
    sell_vol: Text = UNSET


class FundingInfo(Payload, frozen=True):
    """Funding of a symbol that differs from every eight hours."""

    symbol: str
    funding_interval_hours: int


class DayTicker(Payload, frozen=True):
    """What the radar needs of the last 24 hours."""

    symbol: str
    quote_volume: str


class Depth(Payload, frozen=True):
    """Order book: rows of price and quantity, best first."""

    last_update_id: int
    bids: list[list[str]]
    asks: list[list[str]]


class PriceTicker(Payload, frozen=True):
    """Last price."""

    symbol: str
    price: str
    time: Ms = UNSET


# What one row of klines holds, by place; rows are lists and stay so.
KLINE_OPEN_MS, KLINE_OPEN, KLINE_HIGH, KLINE_LOW, KLINE_CLOSE, KLINE_VOLUME, KLINE_CLOSE_MS = range(7)
Kline = list[int | str]

SHAPES: dict[tuple[str, str], Any] = {
    ("GET", "/fapi/v1/time"): ServerTime,
    ("GET", "/fapi/v1/exchangeInfo"): ExchangeInfo,
    ("POST", "/fapi/v1/order"): Order,
    ("PUT", "/fapi/v1/order"): Order,
    ("GET", "/fapi/v1/order"): Order,
    ("DELETE", "/fapi/v1/order"): Order,
    ("POST", "/fapi/v1/order/test"): Order,
    ("GET", "/fapi/v1/openOrder"): Order,
    ("GET", "/fapi/v1/openOrders"): list[Order],
    ("GET", "/fapi/v1/allOrders"): list[Order],
    ("GET", "/fapi/v1/forceOrders"): list[Order],
    ("DELETE", "/fapi/v1/allOpenOrders"): Refusal,
    ("POST", "/fapi/v1/countdownCancelAll"): Countdown,
    ("GET", "/sapi/v1/account/apiRestrictions"): KeyRights,
    ("POST", "/fapi/v1/algoOrder"): AlgoOrder,
    ("GET", "/fapi/v1/algoOrder"): AlgoOrder,
    ("DELETE", "/fapi/v1/algoOrder"): AlgoOrder,
    ("GET", "/fapi/v1/openAlgoOrders"): list[AlgoOrder],
    ("GET", "/fapi/v1/allAlgoOrders"): list[AlgoOrder],
    ("DELETE", "/fapi/v1/algoOpenOrders"): Refusal,
    ("GET", "/fapi/v1/userTrades"): list[UserTrade],
    ("GET", "/fapi/v1/income"): list[Income],
    ("GET", "/fapi/v2/positionRisk"): list[PositionRisk],
    ("GET", "/fapi/v3/positionRisk"): list[PositionRisk],
    ("GET", "/fapi/v2/account"): Account,
    ("GET", "/fapi/v3/account"): Account,
    ("GET", "/fapi/v2/balance"): list[Balance],
    ("GET", "/fapi/v3/balance"): list[Balance],
    ("GET", "/fapi/v1/symbolConfig"): list[SymbolConfig],
    ("GET", "/fapi/v1/accountConfig"): AccountConfig,
    ("GET", "/fapi/v1/positionSide/dual"): PositionMode,
    ("POST", "/fapi/v1/positionSide/dual"): Refusal,
    ("POST", "/fapi/v1/marginType"): Refusal,
    ("POST", "/fapi/v1/leverage"): Leverage,
    ("GET", "/fapi/v1/leverageBracket"): Brackets | list[Brackets],
    ("GET", "/fapi/v1/commissionRate"): CommissionRate,
    ("GET", "/fapi/v1/feeBurn"): FeeBurn,
    ("GET", "/fapi/v1/rateLimit/order"): list[RateLimit],
    ("POST", "/fapi/v1/listenKey"): ListenKey,
    ("PUT", "/fapi/v1/listenKey"): ListenKey,
    ("GET", "/fapi/v1/klines"): list[Kline],
    ("GET", "/fapi/v1/markPriceKlines"): list[Kline],
    ("GET", "/fapi/v1/premiumIndex"): PremiumIndex | list[PremiumIndex],
    ("GET", "/fapi/v1/fundingRate"): list[FundingRate],
    ("GET", "/fapi/v1/openInterest"): OpenInterest,
    ("GET", "/futures/data/openInterestHist"): list[OpenInterestHist],
    ("GET", "/futures/data/topLongShortPositionRatio"): list[Ratio],
    ("GET", "/futures/data/topLongShortAccountRatio"): list[Ratio],
    ("GET", "/futures/data/globalLongShortAccountRatio"): list[Ratio],
    ("GET", "/futures/data/takerlongshortRatio"): list[Ratio],
    ("GET", "/fapi/v1/fundingInfo"): list[FundingInfo],
    ("GET", "/fapi/v1/ticker/24hr"): DayTicker | list[DayTicker],
    ("GET", "/fapi/v1/depth"): Depth,
    ("GET", "/fapi/v1/ticker/price"): PriceTicker | list[PriceTicker],
    ("GET", "/fapi/v2/ticker/price"): PriceTicker | list[PriceTicker],
}
