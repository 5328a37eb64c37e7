"""The endpoints that perpdesk uses: path, what must be signed, and what a request costs."""

from __future__ import annotations

from dataclasses import dataclass

from perpdesk.adapters.binance.limits import Cost, Pool
from perpdesk.adapters.binance.payloads import SHAPES


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. signed: timestamp and signature; keyed: the key header alone.

    on_spot: at the Spot host, not the futures host. socket_method: its name on the WebSocket API.
    """

    method: str
    path: str
    cost: Cost
    signed: bool = False
    keyed: bool = False
    on_spot: bool = False
    socket_method: str = ""

    @property
    def shape(self) -> object:
        """The type of its answer (``payloads.SHAPES``)."""
        return SHAPES[self.method, self.path]


def _public(path: str, weight: int = 1, pool: Pool = Pool.WEIGHT) -> Endpoint:
    return Endpoint("GET", path, Cost(weight, pool))


def _signed(method: str, path: str, weight: int = 1, orders: int = 0, socket: str = "") -> Endpoint:
    cost = Cost(weight, orders_10s=orders, orders_1m=orders)
    return Endpoint(method, path, cost, signed=True, socket_method=socket)


TIME = _public("/fapi/v1/time")
EXCHANGE_INFO = _public("/fapi/v1/exchangeInfo")
PREMIUM_INDEX = _public("/fapi/v1/premiumIndex")
PREMIUM_INDEX_ALL = _public("/fapi/v1/premiumIndex", 10)
FUNDING_RATE = _public("/fapi/v1/fundingRate", 1, Pool.FUNDING)
OPEN_INTEREST = _public("/fapi/v1/openInterest")
OPEN_INTEREST_HIST = _public("/futures/data/openInterestHist", 1, Pool.STATISTICS)
TOP_POSITION_RATIO = _public("/futures/data/topLongShortPositionRatio", 1, Pool.STATISTICS)
TOP_ACCOUNT_RATIO = _public("/futures/data/topLongShortAccountRatio", 1, Pool.STATISTICS)
CROWD_RATIO = _public("/futures/data/globalLongShortAccountRatio", 1, Pool.STATISTICS)
TAKER_RATIO = _public("/futures/data/takerlongshortRatio", 1, Pool.STATISTICS)
FUNDING_INFO = _public("/fapi/v1/fundingInfo", 1, Pool.FUNDING)
DAY_TICKERS = _public("/fapi/v1/ticker/24hr", 40)
_MARK_KLINES = tuple(_public("/fapi/v1/markPriceKlines", weight) for weight in (1, 2, 5, 10))
_KLINES = tuple(_public("/fapi/v1/klines", weight) for weight in (1, 2, 5, 10))

ORDER = _signed("POST", "/fapi/v1/order", 0, orders=1, socket="order.place")
ORDER_AMEND = _signed("PUT", "/fapi/v1/order", 0, orders=1, socket="order.modify")
ORDER_CANCEL = _signed("DELETE", "/fapi/v1/order", socket="order.cancel")
ORDER_QUERY = _signed("GET", "/fapi/v1/order", socket="order.status")
BATCH = Endpoint("POST", "/fapi/v1/batchOrders", Cost(5, orders_10s=5, orders_1m=1), signed=True)
BATCH_CANCEL = _signed("DELETE", "/fapi/v1/batchOrders")
COUNTDOWN = _signed("POST", "/fapi/v1/countdownCancelAll", 10)
ALL_ORDERS = _signed("GET", "/fapi/v1/allOrders", 5)
OPEN_ORDERS = _signed("GET", "/fapi/v1/openOrders")
OPEN_ORDERS_ALL = _signed("GET", "/fapi/v1/openOrders", 40)
CANCEL_OPEN = _signed("DELETE", "/fapi/v1/allOpenOrders")
ALGO = _signed("POST", "/fapi/v1/algoOrder", 0, orders=1, socket="algoOrder.place")
ALGO_CANCEL = _signed("DELETE", "/fapi/v1/algoOrder", socket="algoOrder.cancel")
ALGO_QUERY = _signed("GET", "/fapi/v1/algoOrder")
OPEN_ALGOS = _signed("GET", "/fapi/v1/openAlgoOrders")
OPEN_ALGOS_ALL = _signed("GET", "/fapi/v1/openAlgoOrders", 40)
CANCEL_OPEN_ALGOS = _signed("DELETE", "/fapi/v1/algoOpenOrders")

USER_TRADES = _signed("GET", "/fapi/v1/userTrades", 5)
INCOME = _signed("GET", "/fapi/v1/income", 30)
POSITIONS = _signed("GET", "/fapi/v3/positionRisk", 5)
ACCOUNT = _signed("GET", "/fapi/v3/account", 5)
ACCOUNT_CONFIG = _signed("GET", "/fapi/v1/accountConfig", 5)
SYMBOL_CONFIG = _signed("GET", "/fapi/v1/symbolConfig", 5)
LEVERAGE = _signed("POST", "/fapi/v1/leverage")
MARGIN_TYPE = _signed("POST", "/fapi/v1/marginType")
POSITION_MODE = _signed("GET", "/fapi/v1/positionSide/dual", 30)
POSITION_MODE_SET = _signed("POST", "/fapi/v1/positionSide/dual")
KEY_RIGHTS = Endpoint("GET", "/sapi/v1/account/apiRestrictions", Cost(1), signed=True, on_spot=True)
LEVERAGE_BRACKET = _signed("GET", "/fapi/v1/leverageBracket")

_LISTEN = "/fapi/v1/listenKey"
LISTEN_START = Endpoint("POST", _LISTEN, Cost(1), keyed=True)
LISTEN_KEEP = Endpoint("PUT", _LISTEN, Cost(1), keyed=True)
LISTEN_STOP = Endpoint("DELETE", _LISTEN, Cost(1), keyed=True)


def klines(limit: int) -> Endpoint:
    """The klines endpoint with the weight of so many rows."""
    return _KLINES[_kline_place(limit)]


def mark_klines(limit: int) -> Endpoint:
    """The same of mark prices."""
    return _MARK_KLINES[_kline_place(limit)]


def _kline_place(limit: int) -> int:
    return 0 if limit < 100 else 1 if limit < 500 else 2 if limit <= 1000 else 3
