"""WebSocket routes, control messages, user streams and the WebSocket API (reference §10–§13)."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.conformance.wire import BTC, START_MS, Events, Wire, kinds, limit, market, running

from perpdesk.exchange.server.wsapi import signed_text

AGG, BOOK = "btcusdt@aggTrade", "btcusdt@bookTicker"


async def heard(wire: Wire, path: str, subscribe: list[str] | None = None) -> list[Any]:
    """What a socket on this path hears of one trade."""
    async with wire.session.ws_connect(wire.server.ws_url + path) as socket:
        if subscribe is not None:
            await socket.send_json({"method": "SUBSCRIBE", "params": subscribe, "id": 1})
            assert await socket.receive_json() == {"result": None, "id": 1}
        stream = Events(socket)
        await stream.settled()
        await wire.market("BUY", "0.01")
        wire.server.tick(BTC, "50001")
        wire.server.tick(BTC, "50000")
        return await stream.settled()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (f"/market/ws/{AGG}", {"aggTrade"}),
        (f"/public/ws/{BOOK}", {"bookTicker"}),
        (f"/public/ws/{AGG}", set()),
        (f"/market/ws/{BOOK}", set()),
        (f"/ws/{AGG}/{BOOK}", {"bookTicker"}),
        ("/public/ws/btcusdt@trade", {"trade"}),
        ("/market/ws/BTCUSDT@aggTrade", {"aggTrade"}),
    ],
)
async def test_routes(wire: Wire, path: str, names: set[str]) -> None:
    """WS-1 WS-7: streams flow on their own route; the legacy one carries public streams only."""
    assert {event["e"] for event in await heard(wire, path)} == names


@pytest.mark.parametrize("path", ["/market/ws/0", "/market/ws", "/market/stream"])
async def test_subscribing(wire: Wire, path: str) -> None:
    """WS-1: a numeric element or nothing is a socket without streams; SUBSCRIBE adds them."""
    events = await heard(wire, path, [AGG])
    if path.endswith("stream"):
        assert events[0]["stream"] == AGG
        events = [event["data"] for event in events]
    assert {event["e"] for event in events} == {"aggTrade"}


async def test_legacy_full() -> None:
    """WS-7: with ws_legacy=full the old paths carry everything, user events too."""
    async with running(ws_legacy="full") as wire:
        assert {event["e"] for event in await heard(wire, f"/ws/{AGG}/{BOOK}")} == {"aggTrade", "bookTicker"}
        key = (await wire.raw("POST", "/fapi/v1/listenKey")).body["listenKey"]
        assert "ACCOUNT_UPDATE" in {event["e"] for event in await heard(wire, f"/ws/{key}")}
    async with running() as wire:
        key = (await wire.raw("POST", "/fapi/v1/listenKey")).body["listenKey"]
        assert await heard(wire, f"/ws/{key}") == []


async def test_combined_streams(wire: Wire) -> None:
    """WS-2 WS-8: /stream wraps; the combined property switches it."""
    path = f"/market/stream?streams={AGG}"
    events = await heard(wire, path)
    assert {event["stream"] for event in events} == {AGG}
    async with wire.session.ws_connect(wire.server.ws_url + path) as socket:
        for request, answer in (
            ({"method": "GET_PROPERTY", "params": ["combined"], "id": 2}, {"result": True, "id": 2}),
            (
                {"method": "SET_PROPERTY", "params": ["combined", False], "id": "u-3"},
                {"result": None, "id": "u-3"},
            ),
            ({"method": "GET_PROPERTY", "params": ["combined"], "id": None}, {"result": False, "id": None}),
        ):
            await socket.send_json(request)
            assert await socket.receive_json() == answer


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("nonsense", 3, "Invalid JSON: expected value"),
        ('{"id":1}', 2, "Invalid request: missing field `method` at line 1 column 8"),
        ('{"method":"X","id":1}', 2, "Invalid request: unknown variant X, expected one of `SUBSCRIBE`"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "Invalid request: property name must be a string"),
        ('{"method":"GET_PROPERTY","params":["x"],"id":1}', 0, "Unknown property"),
        (
            '{"method":"SET_PROPERTY","params":["combined",1],"id":1}',
            1,
            "Invalid value type: expected Boolean",
        ),
        (
            '{"method":"SUBSCRIBE","params":[],"id":-1}',
            2,
            "Invalid request: request ID must be an unsigned integer",
        ),
        (
            '{"method":"GET_PROPERTY","params":["combined","x"],"id":1}',
            2,
            "Invalid request: too many parameters",
        ),
    ],
)
async def test_control_errors(wire: Wire, text: str, code: int, message: str) -> None:
    """WS-3 WS-4: errors of control messages."""
    async with wire.session.ws_connect(wire.server.ws_url + "/market/ws") as socket:
        await socket.send_str(text)
        answer = await socket.receive_json()
    assert answer["error"]["code"] == code
    assert answer["error"]["msg"].startswith(message)


async def test_listing_and_unsubscribing(wire: Wire) -> None:
    """WS-3: LIST_SUBSCRIPTIONS and UNSUBSCRIBE."""
    async with wire.session.ws_connect(f"{wire.server.ws_url}/market/ws/{AGG}") as socket:
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert await socket.receive_json() == {"result": [AGG], "id": 3}
        await socket.send_json({"method": "UNSUBSCRIBE", "params": [AGG], "id": 4})
        await socket.receive_json()
        await wire.market("BUY", "0.01")
        assert await Events(socket).settled() == []


async def test_too_many_messages(wire: Wire) -> None:
    """WS-5: more than ten messages in a second end the connection."""
    async with wire.session.ws_connect(wire.server.ws_url + "/market/ws") as socket:
        for i in range(11):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": i})
        kinds_seen = [(await socket.receive(timeout=20)).type for _ in range(11)]
    assert kinds_seen[-1] in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_thousand_streams(wire: Wire) -> None:
    """WS-5: 1024 streams, not one more."""
    async with wire.session.ws_connect(wire.server.ws_url + "/market/ws") as socket:
        names = [f"s{i}usdt@aggTrade" for i in range(1025)]
        await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
        assert (await socket.receive_json())["error"]["code"] == 2
        await socket.send_json({"method": "SUBSCRIBE", "params": names[1:], "id": 2})
        assert await socket.receive_json() == {"result": None, "id": 2}


@pytest.mark.parametrize("path", ["/market/ws", "/private/ws", "/ws-fapi/v1"])
async def test_pings_of_the_server(path: str) -> None:
    """WS-6: pings carry a payload; who answers lives on, who does not is closed."""
    async with running(ping_ms=30, pong_ms=150) as wire:
        url = wire.server.ws_url + path
        async with (
            wire.session.ws_connect(url, autoping=False) as silent,
            wire.session.ws_connect(url) as polite,
        ):
            heard = asyncio.ensure_future(polite.receive())  # reading is what answers pings
            pings = 0
            while (message := await silent.receive(timeout=20)).type == aiohttp.WSMsgType.PING:
                assert message.data == str(START_MS).encode()
                pings += 1
            assert (message.type, message.data, message.extra) == (
                aiohttp.WSMsgType.CLOSE, 1008, "Pong timeout",
            )  # fmt: skip
            assert pings >= 1
            assert not heard.done()
            assert not polite.closed
            heard.cancel()


@pytest.mark.parametrize("path", ["/market/ws", "/ws-fapi/v1"])
async def test_pings_of_the_client(wire: Wire, path: str) -> None:
    """WS-6: a ping is answered with its payload; a storm of them ends the connection."""
    async with wire.session.ws_connect(wire.server.ws_url + path, autoping=False) as socket:
        await socket.ping(b"anyone?")
        message = await socket.receive(timeout=20)
        assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"anyone?")
        await socket.pong(b"unasked")
        for _ in range(20):
            await socket.ping(b"")
        while (message := await socket.receive(timeout=20)).type == aiohttp.WSMsgType.PONG:
            pass
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_a_day_is_the_longest(wire: Wire) -> None:
    """WS-6: the server closes a connection after 24 hours."""
    async with wire.session.ws_connect(wire.server.ws_url + "/market/ws") as socket:
        await Events(socket).settled()
        wire.server.skip_time(86_400_000 - 1)
        await Events(socket).settled()
        wire.server.skip_time(1)
        assert (await socket.receive(timeout=20)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


@pytest.mark.parametrize(
    "stream",
    [
        "btcusdt@markPrice",
        "!markPrice@arr@1s",
        "btcusdt@kline_1m",
        "btcusdt_perpetual@continuousKline_1m",
        "btcusdt@miniTicker",
        "!miniTicker@arr",
        "btcusdt@ticker",
        "!ticker@arr",
    ],
)
async def test_periodic_streams_come(wire: Wire, stream: str) -> None:
    """WS-1: every periodic stream of the market route is sent by the pulse."""
    async with wire.session.ws_connect(f"{wire.server.ws_url}/market/ws/{stream}") as socket:
        message = await socket.receive_json(timeout=20)
    row = message[0] if isinstance(message, list) else message
    assert row["E"] == START_MS


# -- user stream ------------------------------------------------------------------------------


async def test_listen_key_life(wire: Wire) -> None:
    """UDS-1: POST gives the same key, PUT extends, DELETE ends, unknown is -1125."""
    first = (await wire.raw("POST", "/fapi/v1/listenKey")).body["listenKey"]
    assert len(first) == 64
    assert (await wire.raw("POST", "/fapi/v1/listenKey")).body["listenKey"] == first
    wire.server.skip_time(3_599_999)
    assert (await wire.raw("PUT", "/fapi/v1/listenKey")).body == {"listenKey": first}
    wire.server.skip_time(3_599_999)
    assert (await wire.raw("DELETE", "/fapi/v1/listenKey")).body == {}
    for method in ("PUT", "DELETE"):
        reply = await wire.raw(method, "/fapi/v1/listenKey")
        assert (reply.status, reply.body["code"]) == (400, -1125)


async def test_events_of_an_order(wire: Wire) -> None:
    """UDS-2 UDS-3: open, partial, rest, cancel: the events, their order, the same T and E for one fill."""
    async with wire.user_stream() as stream:
        made = await wire.limit("BUY", 49000, "0.01")
        wire.server.tick(BTC, "48999", qty="0.004")
        await wire.ok("DELETE", "/fapi/v1/order", symbol=BTC, orderId=made["orderId"])
        events = await stream.settled()
    assert kinds(events) == [
        "ORDER_TRADE_UPDATE/NEW",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE/PARTIALLY_FILLED",
        "ORDER_TRADE_UPDATE/CANCELED",
    ]
    assert {(e["T"], e["E"]) for e in events[1:4]} == {(START_MS, START_MS)}
    fill = events[3]["o"]
    assert (fill["l"], fill["z"], fill["L"], fill["n"], fill["m"], fill["rp"]) == (
        "0.004",
        "0.004",
        "49000.0",
        "0.03920000",
        True,
        "0",
    )
    part = events[2]["a"]
    assert (part["m"], part["S"], part["P"][0]["pa"], part["P"][0]["ma"]) == ("ORDER", BTC, "0.004", "USDT")


async def test_events_of_settings(wire: Wire) -> None:
    """UDS-4: leverage and margin type."""
    async with wire.user_stream() as stream:
        await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=25)
        await wire.ok("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
        events = await stream.settled()
    assert (events[0]["e"], events[0]["ac"]) == ("ACCOUNT_CONFIG_UPDATE", {"s": BTC, "l": 25})
    assert (events[1]["a"]["m"], events[1]["a"]["P"][0]["mt"]) == ("MARGIN_TYPE_CHANGE", "isolated")


async def test_hedge_rows(wire: Wire) -> None:
    """UDS-4: all three rows of the changed symbol; a closing order has R true."""
    await wire.ok("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    await wire.market("SELL", "0.01", positionSide="SHORT")
    async with wire.user_stream() as stream:
        await wire.market("BUY", "0.01", positionSide="SHORT")
        events = await stream.settled()
    part = next(e for e in events if e["e"] == "ACCOUNT_UPDATE")["a"]
    assert [row["ps"] for row in part["P"]] == ["BOTH", "LONG", "SHORT"]
    assert events[0]["o"]["R"] is True


async def test_expiry_while_connected(wire: Wire) -> None:
    """UDS-5: listenKeyExpired, then silence on an open socket."""
    async with wire.user_stream() as stream:
        wire.server.skip_time(3_600_000)
        events = await stream.settled()
        assert (events[0]["e"], events[0]["E"], events[0]["listenKey"]) == (
            "listenKeyExpired",
            str(START_MS + 3_600_000),
            stream.key,
        )
        await wire.market("BUY", "0.01")
        assert await stream.settled() == []


async def test_gap_is_recovered_over_rest(wire: Wire) -> None:
    """UDS-6: what happened without a connection is never replayed; REST has it."""
    async with wire.user_stream() as stream:
        made = await wire.limit("BUY", 49000, "0.01")
        await stream.settled()
    wire.server.tick(BTC, "48000")
    async with wire.user_stream() as stream:
        assert await stream.settled() == []
    assert (await wire.order(made["orderId"]))["status"] == "FILLED"
    assert len(await wire.ok("GET", "/fapi/v1/userTrades", symbol=BTC)) == 1


async def test_event_filter_and_raw_key(wire: Wire) -> None:
    """UDS-7: events= filters; SUBSCRIBE with the raw key works on /private/stream."""
    key = (await wire.raw("POST", "/fapi/v1/listenKey")).body["listenKey"]
    path = f"/private/ws?listenKey={key}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE"
    assert {e["e"] for e in await heard(wire, path)} == {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"}
    events = await heard(wire, "/private/stream", [key])
    assert {e["stream"] for e in events} == {key}
    assert "TRADE_LITE" in {e["data"]["e"] for e in events}


# -- WebSocket API ----------------------------------------------------------------------------


class Api:
    """One connection to the WebSocket API."""

    def __init__(self, wire: Wire, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.wire, self.socket = wire, socket

    async def ask(
        self, method: str, params: dict[str, Any] | None = None, request_id: object = 1, **extra: Any
    ) -> Any:
        """Send and receive."""
        await self.socket.send_json({"id": request_id, "method": method, "params": params or {}, **extra})
        return await self.socket.receive_json(timeout=20)

    async def signed(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """With apiKey, timestamp and signature."""
        full = {**(params or {}), "apiKey": self.wire.keys.api_key, "timestamp": self.wire.server.now_ms()}
        text = signed_text({name: str(value) for name, value in full.items()})
        return await self.ask(method, {**full, "signature": self.wire.sign(text)})


async def test_orders_over_the_socket(wire: Wire) -> None:
    """WSA-1 WSA-2: place, modify, status, cancel; algo orders; conditional types are -4120."""
    async with wire.session.ws_connect(wire.server.ws_url + "/ws-fapi/v1") as socket:
        api = Api(wire, socket)
        made = await api.signed("order.place", limit("BUY", "49000", "0.01"))
        assert (made["status"], made["result"]["status"]) == (200, "NEW")
        where = {"symbol": BTC, "orderId": made["result"]["orderId"]}
        changed = await api.signed(
            "order.modify", {**where, "side": "BUY", "price": "48000", "quantity": "0.01"}
        )
        assert changed["result"]["price"] == "48000.0"
        assert (await api.signed("order.status", where))["result"]["price"] == "48000.0"
        assert (await api.signed("order.cancel", where))["result"]["status"] == "CANCELED"
        assert (await api.signed("order.cancel", where))["error"] == {
            "code": -2011,
            "msg": "Unknown order sent.",
        }
        bad = await api.signed(
            "order.place", {**market("SELL", "0.01"), "type": "STOP_MARKET", "stopPrice": "1"}
        )
        assert (bad["status"], bad["error"]["code"]) == (400, -4120)
        stop = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "BUY", "type": "STOP_MARKET"}
        algo = await api.signed("algoOrder.place", {**stop, "quantity": 0.01, "triggerPrice": 51000})
        assert algo["result"]["algoStatus"] == "NEW"
        gone = await api.signed("algoOrder.cancel", {"algoId": algo["result"]["algoId"]})
        assert gone["result"]["code"] == "200"
        assert (await api.ask("order.place", {"symbol": BTC}))["error"]["code"] == -2014
        for method in (
            "account.status",
            "v2/account.status",
            "account.balance",
            "v2/account.balance",
            "v2/account.position",
        ):
            assert (await api.signed(method))["status"] == 200


async def test_public_methods(wire: Wire) -> None:
    """WSA-3: depth, tickers and user stream keys."""
    async with wire.session.ws_connect(wire.server.ws_url + "/ws-fapi/v1") as socket:
        api = Api(wire, socket)
        assert len((await api.ask("depth", {"symbol": BTC, "limit": 5}))["result"]["bids"]) == 5
        assert (await api.ask("ticker.price", {"symbol": BTC}))["result"]["price"] == "50000.0"
        assert len((await api.ask("ticker.book"))["result"]) == 3
        key = {"apiKey": wire.keys.api_key}
        assert len((await api.ask("userDataStream.start", key))["result"]["listenKey"]) == 64
        assert (await api.ask("userDataStream.ping", key))["status"] == 200
        assert (await api.ask("userDataStream.stop", key))["result"] == {}
        assert (await api.ask("no.such"))["status"] == 400


async def test_session() -> None:
    """WSA-4: logon with Ed25519 only; afterwards orders need neither key nor signature; a revoked key is 401."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    async with (
        running(public_keys=[("e" * 64, pem)]) as wire,
        wire.session.ws_connect(wire.server.ws_url + "/ws-fapi/v1") as socket,
    ):
        api = Api(wire, socket)
        assert (await api.signed("session.logon"))["error"]["code"] == -4056
        params = {"apiKey": "e" * 64, "timestamp": str(wire.server.now_ms())}
        signature = base64.b64encode(key.sign(signed_text(params).encode())).decode()
        answer = await api.ask(
            "session.logon", {**params, "timestamp": wire.server.now_ms(), "signature": signature}
        )
        assert answer["result"]["apiKey"] == "e" * 64
        order = {**limit("BUY", "49000", "0.01"), "timestamp": wire.server.now_ms()}
        assert (await api.ask("order.place", order))["result"]["status"] == "NEW"
        assert (await api.ask("session.status"))["result"]["authorizedSince"] == START_MS
        del wire.server.gate.keys["e" * 64]
        assert (await api.ask("order.place", order))["status"] == 401


async def test_limits_and_ids(wire: Wire) -> None:
    """WSA-5: rate limits are shown unless hidden; ids of any type are echoed; the handshake costs 5."""
    async with wire.session.ws_connect(wire.server.ws_url + "/ws-fapi/v1") as socket:
        api = Api(wire, socket)
        answer = await api.ask("ticker.price", {"symbol": BTC})
        assert (answer["rateLimits"][0]["limit"], answer["rateLimits"][0]["count"]) == (2400, 6)
        assert "rateLimits" not in await api.ask("ticker.price", {"symbol": BTC}, returnRateLimits=False)
        for request_id in (7, "uuid-8", None):
            assert (await api.ask("ticker.price", {"symbol": BTC}, request_id))["id"] == request_id
        await socket.send_str("nonsense")
        assert (await socket.receive_json())["status"] == 400
    async with wire.session.ws_connect(wire.server.ws_url + "/ws-fapi/v1?returnRateLimits=false") as socket:
        assert "rateLimits" not in await Api(wire, socket).ask("ticker.price", {"symbol": BTC})


async def test_a_slow_reader_is_cut_off(wire: Wire) -> None:
    """WS-6: a client that does not read loses its connection, not the server its memory."""
    async with wire.session.ws_connect(f"{wire.server.ws_url}/market/ws/{AGG}") as socket:
        await Events(socket).settled()
        connection = next(iter(wire.server.hub.connections))
        for _ in range(connection.queue.maxsize + 1):
            connection.send(b"{}")
        assert connection.closing == 1008
        await asyncio.sleep(0)
        assert json.loads("{}") == {}
