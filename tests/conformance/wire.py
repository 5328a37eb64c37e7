"""A client that signs by hand and hides nothing: for tests that look at the wire."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.exchange.server import RunningServer, ServeOptions, serve

START_MS = 1_763_640_000_000  # 2025-11-20 12:00 UTC
BTC = "BTCUSDT"


@dataclass
class Reply:
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]


class Wire:
    """One account on a running server; prices are moved through ``server``."""

    def __init__(self, server: RunningServer, session: aiohttp.ClientSession, account: int = 0) -> None:
        self.server = server
        self.session = session
        self.keys = server.accounts[account]

    def sign(self, text: str) -> str:
        return hmac.new(self.keys.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    async def raw(
        self, method: str, path: str, query: str = "", body: str | None = None, key: str | None = None
    ) -> Reply:
        """Send exactly this."""
        headers = {"X-MBX-APIKEY": self.keys.api_key if key is None else key}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        url = URL(self.server.rest_url + path + ("?" + query if query else ""), encoded=True)
        async with self.session.request(method, url, headers=headers, data=body) as answer:
            text = await answer.text()
            found = await answer.json() if text else None
            return Reply(answer.status, found, dict(answer.headers))

    async def call(self, method: str, path: str, /, **params: object) -> Reply:
        """A signed request in the query string."""
        params.setdefault("timestamp", self.server.shown_ms())
        query = urlencode(params)
        return await self.raw(method, path, f"{query}&signature={self.sign(query)}")

    async def ok(self, method: str, path: str, /, **params: object) -> Any:
        """The body of a request that must succeed."""
        reply = await self.call(method, path, **params)
        assert reply.status == 200, reply.body
        return reply.body

    async def refused(self, code: int, method: str, path: str, /, **params: object) -> str:
        """The text of a request that must be refused with this code."""
        reply = await self.call(method, path, **params)
        assert reply.status >= 400, reply.body
        assert reply.body["code"] == code, reply.body
        text: str = reply.body["msg"]
        return text

    async def get(self, path: str, /, **params: object) -> Reply:
        """A public request."""
        return await self.raw("GET", path, urlencode(params))

    async def limit(self, side: str, price: object, quantity: object, **extra: object) -> Any:
        """A resting (or crossing) limit order that must be accepted."""
        return await self.ok("POST", "/fapi/v1/order", **limit(side, price, quantity, **extra))

    async def market(self, side: str, quantity: object, **extra: object) -> Any:
        """A market order that must be accepted; RESULT."""
        return await self.ok("POST", "/fapi/v1/order", **market(side, quantity, **extra))

    async def algo(self, side: str, kind: str, **extra: object) -> Any:
        """A conditional order that must be accepted."""
        return await self.ok("POST", "/fapi/v1/algoOrder", **algo(side, kind, **extra))

    async def order(self, order_id: int) -> Any:
        """GET order."""
        return await self.ok("GET", "/fapi/v1/order", symbol=BTC, orderId=order_id)

    async def position(self, side: str = "BOTH") -> Any:
        """positionRisk v2 of BTC."""
        rows = await self.ok("GET", "/fapi/v2/positionRisk", symbol=BTC)
        return next(row for row in rows if row["positionSide"] == side)

    @asynccontextmanager
    async def user_stream(self) -> AsyncIterator[Events]:
        """The account's events while the block runs."""
        key = (await self.raw("POST", "/fapi/v1/listenKey")).body["listenKey"]
        async with self.session.ws_connect(f"{self.server.ws_url}/private/ws?listenKey={key}") as socket:
            yield Events(socket, key)


class Events:
    """What a socket said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, key: str = "") -> None:
        self.socket = socket
        self.key = key

    async def settled(self) -> list[dict[str, Any]]:
        """Everything up to now: a control message is answered after it."""
        await self.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 991})
        found = []
        while True:
            message = await self.socket.receive_json(timeout=20)
            if message.get("id") == 991:
                return found
            found.append(message)


def limit(side: str, price: object, quantity: object, **extra: object) -> dict[str, object]:
    """Parameters of a LIMIT order."""
    return {
        "symbol": BTC,
        "side": side,
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": price,
        "quantity": quantity,
        **extra,
    }


def market(side: str, quantity: object, **extra: object) -> dict[str, object]:
    """Parameters of a MARKET order."""
    return {
        "symbol": BTC,
        "side": side,
        "type": "MARKET",
        "quantity": quantity,
        "newOrderRespType": "RESULT",
        **extra,
    }


def algo(side: str, kind: str, **extra: object) -> dict[str, object]:
    """Parameters of a conditional order."""
    return {"algoType": "CONDITIONAL", "symbol": BTC, "side": side, "type": kind, **extra}


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Wire]:
    """A server on a clock that stands still, and its first account."""
    clock = options.pop("clock", None) or VirtualClock(START_MS)
    async with serve(ServeOptions(clock=clock, **options)) as server, aiohttp.ClientSession() as session:
        yield Wire(server, session)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Short names: ``ORDER_TRADE_UPDATE/NEW`` …"""
    return [event["e"] + ("/" + event["o"]["X"] if "o" in event else "") for event in events]
