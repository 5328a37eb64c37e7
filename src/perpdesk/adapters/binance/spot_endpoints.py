"""The Spot endpoints that perpdesk uses, and what each costs of Spot's own limits."""

from __future__ import annotations

from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.limits import Cost
from perpdesk.adapters.binance.spot_payloads import SPOT_SHAPES


class SpotEndpoint(Endpoint):
    """An endpoint of ``/api/v3``."""

    __slots__ = ()

    @property
    def shape(self) -> object:
        """The type of its answer (``spot_payloads.SPOT_SHAPES``)."""
        return SPOT_SHAPES[self.method, self.path]


def _public(name: str, weight: int) -> SpotEndpoint:
    return SpotEndpoint("GET", f"/api/v3/{name}", Cost(weight), on_spot=True)


def _signed(method: str, name: str, weight: int = 1, orders: int = 0) -> SpotEndpoint:
    cost = Cost(weight, orders_10s=orders, orders_1m=orders)
    return SpotEndpoint(method, f"/api/v3/{name}", cost, signed=True, on_spot=True)


TIME = _public("time", 1)
EXCHANGE_INFO = _public("exchangeInfo", 20)
BOOK_TICKER = _public("ticker/bookTicker", 2)
PRICE = _public("ticker/price", 2)
KLINES = _public("klines", 2)

OTO = _signed("POST", "orderList/oto", orders=2)
OTOCO = _signed("POST", "orderList/otoco", orders=3)
OPO = _signed("POST", "orderList/opo", orders=2)
OPOCO = _signed("POST", "orderList/opoco", orders=3)
OCO = _signed("POST", "orderList/oco", orders=2)
LIST_CANCEL = _signed("DELETE", "orderList")
LIST_QUERY = _signed("GET", "orderList", 4)
LISTS_OPEN = _signed("GET", "openOrderList", 6)

ORDER = _signed("POST", "order", orders=1)
ORDER_QUERY = _signed("GET", "order", 4)
ORDER_CANCEL = _signed("DELETE", "order")
ORDERS_OPEN = _signed("GET", "openOrders", 6)
FILLS = _signed("GET", "myTrades", 20)
FILLS_OF_ORDER = _signed("GET", "myTrades", 5)
ACCOUNT = _signed("GET", "account", 20)
COMMISSION = _signed("GET", "account/commission", 20)
