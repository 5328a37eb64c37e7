"""Spot's WebSocket API ``/ws-api/v3``: the REST calls over one socket, and the account's events on it.

``userDataStream.subscribe.signature`` is what took the place of listen keys in 2026; its events come in
``{"subscriptionId", "event"}`` between the answers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import WSMsgType, web

from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server import spot_account, spot_public, spot_trading, wsapi
from perpdesk.exchange.server.call import Endpoint, Table
from perpdesk.exchange.server.sockets import Connection, write_out
from perpdesk.exchange.server.trading import text_of

if TYPE_CHECKING:
    from perpdesk.exchange.server.running import RunningServer

_HANDSHAKE_WEIGHT, _SUBSCRIBE_WEIGHT = 2, 2
_TABLE: Table = {**spot_public.TABLE, **spot_trading.TABLE, **spot_account.TABLE}
encode = msgspec.json.Encoder().encode


def _rest(method: str, path: str) -> Endpoint:
    return _TABLE[method, f"/api/v3/{path}"]


METHODS: dict[str, Endpoint] = {
    "ping": _rest("GET", "ping"),
    "time": _rest("GET", "time"),
    "exchangeInfo": _rest("GET", "exchangeInfo"),
    "depth": _rest("GET", "depth"),
    "trades.recent": _rest("GET", "trades"),
    "klines": _rest("GET", "klines"),
    "avgPrice": _rest("GET", "avgPrice"),
    "ticker.24hr": _rest("GET", "ticker/24hr"),
    "ticker.price": _rest("GET", "ticker/price"),
    "ticker.book": _rest("GET", "ticker/bookTicker"),
    "order.place": _rest("POST", "order"),
    "order.test": _rest("POST", "order/test"),
    "order.status": _rest("GET", "order"),
    "order.cancel": _rest("DELETE", "order"),
    "openOrders.status": _rest("GET", "openOrders"),
    "openOrders.cancelAll": _rest("DELETE", "openOrders"),
    "orderList.place.oco": _rest("POST", "orderList/oco"),
    "orderList.place.oto": _rest("POST", "orderList/oto"),
    "orderList.place.otoco": _rest("POST", "orderList/otoco"),
    "orderList.place.opo": _rest("POST", "orderList/opo"),
    "orderList.place.opoco": _rest("POST", "orderList/opoco"),
    "orderList.status": _rest("GET", "orderList"),
    "orderList.cancel": _rest("DELETE", "orderList"),
    "openOrderLists.status": _rest("GET", "openOrderList"),
    "allOrders": _rest("GET", "allOrders"),
    "allOrderLists": _rest("GET", "allOrderList"),
    "account.status": _rest("GET", "account"),
    "account.commission": _rest("GET", "account/commission"),
    "account.rateLimits.orders": _rest("GET", "rateLimit/order"),
    "myTrades": _rest("GET", "myTrades"),
    "userDataStream.start": _rest("POST", "userDataStream"),
    "userDataStream.ping": _rest("PUT", "userDataStream"),
    "userDataStream.stop": _rest("DELETE", "userDataStream"),
}


async def serve(server: RunningServer, request: web.Request) -> web.StreamResponse:
    """One connection from handshake to end; answers and events share its queue."""
    side = server.spot
    now_ms = server.session_ms()
    address = request.remote or ""
    refusal, _ = side.limits.charge(address, "weight", _HANDSHAKE_WEIGHT, now_ms)
    if refusal is not None:
        return web.Response(status=refusal.http, body=encode(refusal.body()), content_type="application/json")
    socket = web.WebSocketResponse(heartbeat=180.0, max_msg_size=1 << 20)
    await socket.prepare(request)
    shown = parse_qs(request.rel_url.raw_query_string).get("returnRateLimits", ["true"])[0]
    session = wsapi.Session(server, address, shown != "false", now_ms, methods=METHODS, is_spot=True)
    connection = Connection(socket, "spot-api", False, now_ms)
    side.hub.connections.add(connection)
    writer = asyncio.ensure_future(write_out(connection))
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                answered = _streams(session, connection, message.data)
                connection.send(encode(answered or wsapi.respond(session, message.data)))
                await asyncio.sleep(0)
    finally:
        side.hub.unsubscribe_account(connection)
        side.hub.drop(connection)
        if not connection.closing:
            writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    return socket


def _streams(session: wsapi.Session, connection: Connection, text: str) -> dict[str, Any] | None:
    """The answer to a subscription method; None for any other method."""
    try:
        asked = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    method = asked.get("method")
    if method not in (
        "userDataStream.subscribe",
        "userDataStream.subscribe.signature",
        "userDataStream.unsubscribe",
    ):
        return None
    params = asked.get("params") or {}
    found = _subscription(session, connection, str(method), params)
    return wsapi.frame(session, asked.get("id"), found, session.show_limits)


def _subscription(
    session: wsapi.Session, connection: Connection, method: str, params: object
) -> dict[str, Any] | Refusal:
    server = session.server
    if not isinstance(params, dict):
        return no.mandatory("params")
    charged, _ = server.spot.limits.charge(session.address, "weight", _SUBSCRIBE_WEIGHT, server.session_ms())
    if charged is not None:
        return charged
    hub = server.spot.hub
    if method == "userDataStream.unsubscribe":
        number = params.get("subscriptionId")
        if number is not None and not isinstance(number, int):
            return no.mandatory("subscriptionId")
        ended = hub.unsubscribe_account(connection, number)
        return {} if ended or number is None else no.invalid_value("subscriptionId")
    keys: Keys | Refusal | None = session.keys
    if method == "userDataStream.subscribe.signature":
        texts = {name: text_of(value) for name, value in params.items()}
        keys = wsapi.authorised(session, texts, True)
    if keys is None:
        return Refusal(-1002, "You are not authorized to execute this request.", 401)
    if isinstance(keys, Refusal):
        return keys
    server.spot.account(keys.account)
    return {"subscriptionId": hub.subscribe_account(keys.account, connection)}
