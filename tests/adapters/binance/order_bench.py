"""Orders over a scripted server, without a market."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.adapters.binance.scripted import START, Say, Scripted, Sent
from tests.adapters.binance.test_quantise import row

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.known_orders import KnownOrders
from perpdesk.adapters.binance.limits import Governor
from perpdesk.adapters.binance.orders import Orders
from perpdesk.adapters.binance.quantise import rules_of
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.kernel.records import BUY, LIMIT
from perpdesk.ports import NewOrder

NOT_FOUND = Say({"code": -2013, "msg": "Order does not exist."}, 400)
UNKNOWN_ORDER = Say({"code": -2011, "msg": "Unknown order sent."}, 400)


def new(
    client_id: str = "c1", kind: int = LIMIT, side: int = BUY, price: int = 5_000_000, **more: Any
) -> NewOrder:
    fields: dict[str, Any] = dict(
        client_id=client_id, symbol=0, sleeve=0, slot=0, kind=kind, side=side, price=price, lots=10,
        reduce_only=False, activation=0, callback_ppm=0, leverage=0,
    )  # fmt: skip
    return NewOrder(**(fields | more))


def order_row(
    client_id: str = "c1", status: str = "NEW", side: str = "BUY", qty: str = "0.010"
) -> dict[str, Any]:
    return {
        "orderId": 7, "symbol": "BTCUSDT", "status": status, "clientOrderId": client_id, "side": side,
        "origQty": qty, "executedQty": "0",
    }  # fmt: skip


def algo_row(client_id: str = "c1", status: str = "NEW") -> dict[str, Any]:
    return {"algoId": 9, "clientAlgoId": client_id, "algoStatus": status, "side": "SELL", "quantity": "0.010"}


def ack(sent: Sent) -> Say:
    return Say(order_row(sent.params["newClientOrderId"]))


class Bench:
    """Orders over a scripted server."""

    def __init__(self, server: Scripted) -> None:
        self.server = server
        self.clock = VirtualClock(START)
        own = ServerClock(self.clock)
        self.governor = Governor(self.clock, own)
        self.rest = Rest(
            hosts=simulated(server.url), clock=self.clock, server=own, governor=self.governor,
            credentials=Credentials("apikey", "secret"), account="a", timeout_ms=20_000,
        )  # fmt: skip
        self.known = KnownOrders()
        self.orders = Orders(self.rest, self.known, [rules_of(row(), 2, Decimal("0.001"))], hedge=False)
