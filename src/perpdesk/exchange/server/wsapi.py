"""The WebSocket API: REST calls over one socket, with a session (reference §13)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

import msgspec
from aiohttp import web

from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server import accounting, public, trading
from perpdesk.exchange.server.call import Answer, Call, Endpoint
from perpdesk.exchange.server.heartbeat import beating, socket_for
from perpdesk.exchange.server.limits import Limits
from perpdesk.exchange.server.security import BAD_SIGNATURE, REJECTED_KEY, verifies
from perpdesk.exchange.server.trading import text_of

if TYPE_CHECKING:
    from perpdesk.exchange.server.running import RunningServer

_HANDSHAKE_WEIGHT, _LOGON_WEIGHT = 5, 2
UNKNOWN_METHOD = Refusal(-1020, "This operation is not supported.")
encode = msgspec.json.Encoder().encode


def _rest(table: dict[tuple[str, str], Endpoint], method: str, path: str) -> Endpoint:
    return table[method, path]


METHODS: dict[str, Endpoint] = {
    "order.place": _rest(trading.TABLE, "POST", "/fapi/v1/order"),
    "order.modify": _rest(trading.TABLE, "PUT", "/fapi/v1/order"),
    "order.cancel": _rest(trading.TABLE, "DELETE", "/fapi/v1/order"),
    "order.status": _rest(trading.TABLE, "GET", "/fapi/v1/order"),
    "algoOrder.place": _rest(trading.TABLE, "POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": _rest(trading.TABLE, "DELETE", "/fapi/v1/algoOrder"),
    "account.status": _rest(accounting.TABLE, "GET", "/fapi/v2/account"),
    "v2/account.status": _rest(accounting.TABLE, "GET", "/fapi/v3/account"),
    "account.balance": _rest(accounting.TABLE, "GET", "/fapi/v2/balance"),
    "v2/account.balance": _rest(accounting.TABLE, "GET", "/fapi/v3/balance"),
    "account.position": _rest(accounting.TABLE, "GET", "/fapi/v2/positionRisk"),
    "v2/account.position": _rest(accounting.TABLE, "GET", "/fapi/v3/positionRisk"),
    "depth": _rest(public.TABLE, "GET", "/fapi/v1/depth"),
    "ticker.price": _rest(public.TABLE, "GET", "/fapi/v1/ticker/price"),
    "ticker.book": _rest(public.TABLE, "GET", "/fapi/v1/ticker/bookTicker"),
    "userDataStream.start": _rest(accounting.TABLE, "POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": _rest(accounting.TABLE, "PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": _rest(accounting.TABLE, "DELETE", "/fapi/v1/listenKey"),
}


@dataclass(slots=True)
class Session:
    """What one connection has agreed on."""

    server: RunningServer
    address: str
    show_limits: bool
    connected_ms: int
    keys: Keys | None = None
    authorized_ms: int = 0
    methods: Mapping[str, Endpoint] = field(default_factory=lambda: METHODS)
    limits: Limits = field(init=False)
    is_spot: bool = False

    def __post_init__(self) -> None:
        self.limits = self.server.spot.limits if self.is_spot else self.server.limits


async def serve(server: RunningServer, request: web.Request) -> web.StreamResponse:
    """One connection from handshake to end; requests are answered in order."""
    now_ms = server.session_ms()
    refusal, _ = server.limits.charge(request.remote or "", "weight", _HANDSHAKE_WEIGHT, now_ms)
    if refusal is not None:
        return web.Response(status=refusal.http, body=encode(refusal.body()), content_type="application/json")
    socket = socket_for(1 << 20)
    await socket.prepare(request)
    shown = parse_qs(request.rel_url.raw_query_string).get("returnRateLimits", ["true"])[0]
    session = Session(server, request.remote or "", shown != "false", now_ms)
    async with beating(socket, server.options) as texts:
        async for text in texts:
            await socket.send_str(encode(respond(session, text)).decode())
            await asyncio.sleep(0)
    return socket


def respond(session: Session, text: str) -> dict[str, Any]:
    """The answer to one message."""
    try:
        asked = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return frame(session, None, Refusal(-1100, "Illegal characters found in a parameter."), True)
    params = asked.get("params") or {}
    if not isinstance(params, dict):
        return frame(session, asked.get("id"), no.mandatory("params"), True)
    show = params.get("returnRateLimits", asked.get("returnRateLimits", session.show_limits))
    found = _carry_out(session, str(asked.get("method", "")), params)
    session.server.flush()
    return frame(session, asked.get("id"), found, show is not False)


def frame(session: Session, request_id: Any, found: Answer, show: bool) -> dict[str, Any]:
    """An answer as it goes on the wire."""
    frame: dict[str, Any] = {"id": request_id}
    if isinstance(found, Refusal):
        frame |= {"status": found.http, "error": found.body()}
    else:
        frame |= {"status": 200, "result": found}
    if show:
        now_ms = session.server.session_ms()
        rules = session.limits.rules()
        counts = [session.limits.used(session.address, now_ms)]
        if session.keys is not None:
            ten, long = session.limits.orders_used(session.keys.account, now_ms)
            counts += [ten, long] if session.is_spot else [long, ten]
        frame["rateLimits"] = [{**rule, "count": count} for rule, count in zip(rules, counts, strict=False)]
    return frame


def _carry_out(session: Session, method: str, params: dict[str, Any]) -> Answer:
    server = session.server
    now_ms = server.now_ms()
    if not server.follows_tape:
        server.pass_time(now_ms)
    texts = {name: text_of(value) for name, value in params.items()}
    if method.startswith("session."):
        return _session(session, method, texts, now_ms)
    methods = session.methods
    endpoint = methods.get(method) or methods.get(method.removeprefix("v2/").removeprefix("v3/"))
    if endpoint is None:
        return UNKNOWN_METHOD
    charged, _ = session.limits.charge(
        session.address, endpoint.pool, endpoint.weight_of(texts), server.session_ms()
    )
    if charged is not None:
        return charged
    call = Call(server, texts, now_ms)
    if endpoint.security != "NONE":
        keys = authorised(session, texts, endpoint.security == "SIGNED")
        if isinstance(keys, Refusal):
            return keys
        call.account_or_none, call.api_key = server.world.accounts[keys.account], keys.api_key
        if endpoint.orders is not None:
            crowded = session.limits.count_orders(keys.account, *endpoint.orders, server.session_ms())
            if crowded is not None:
                return crowded
    return endpoint.answer(call)


def signed_text(params: dict[str, str]) -> str:
    """All parameters but the signature, sorted by name, not percent-encoded."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")


def authorised(session: Session, params: dict[str, str], signed: bool) -> Keys | Refusal:
    """Whose request is it? By its own key and signature, or by the session's."""
    server = session.server
    if session.keys is not None and not params.get("apiKey"):
        if session.keys.api_key not in server.gate.keys:
            return REJECTED_KEY
        if not signed or not params.get("signature"):
            wrong = server.gate.window(params, server.shown_ms()) if signed else None
            return wrong or session.keys
        keys: Keys | Refusal = session.keys
    else:
        keys = server.gate.key(params.get("apiKey"))
    if isinstance(keys, Refusal) or not signed:
        return keys
    for name in ("timestamp", "signature"):
        if not params.get(name):
            return no.mandatory(name)
    texts = [signed_text(params)]
    if not server.gate.strict:
        # some clients sign what they would have sent in a query string
        rest = {name: params[name] for name in sorted(params) if name != "signature"}
        texts.append(urlencode(rest, quote_via=quote))
    if not any(verifies(keys, text, params["signature"]) for text in texts):
        return BAD_SIGNATURE
    return server.gate.window(params, server.shown_ms()) or keys


def _session(session: Session, method: str, params: dict[str, str], now_ms: int) -> Answer:
    server = session.server
    charged, _ = session.limits.charge(session.address, "weight", _LOGON_WEIGHT, server.session_ms())
    if charged is not None:
        return charged
    if method == "session.logon":
        keys = authorised(session, params, True)
        if isinstance(keys, Refusal):
            return keys
        if keys.kind != "ED25519":
            return Refusal(-4056, "Invalid api key type.")
        session.keys, session.authorized_ms = keys, now_ms
    elif method == "session.logout":
        session.keys, session.authorized_ms = None, 0
    elif method != "session.status":
        return UNKNOWN_METHOD
    return {
        "apiKey": session.keys.api_key if session.keys is not None else None,
        "authorizedSince": session.authorized_ms or None,
        "connectedSince": session.connected_ms,
        "returnRateLimits": session.show_limits,
        "serverTime": server.shown_ms(),
    }
