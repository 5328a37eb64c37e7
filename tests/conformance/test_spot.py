"""Spot order lists over the wire (reference §15), the way a client sees them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.conformance.wire import BTC, Events, Wire, running

from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server.spot_control import ACTIONS

V3 = "/api/v3"


def oto(
    price: object = "49000", sell: object = "51000", qty: object = "0.01", **more: object
) -> dict[str, Any]:
    """An OTO that buys and then sells."""
    return {
        "symbol": BTC,
        "workingType": "LIMIT",
        "workingSide": "BUY",
        "workingPrice": price,
        "workingQuantity": qty,
        "workingTimeInForce": "GTC",
        "pendingType": "LIMIT",
        "pendingSide": "SELL",
        "pendingPrice": sell,
        "pendingQuantity": qty,
        "pendingTimeInForce": "GTC",
        **more,
    }


async def place(wire: Wire, kind: str = "oto", **params: object) -> Any:
    """A list that must be taken."""
    return await wire.ok("POST", f"{V3}/orderList/{kind}", **params)


async def statuses(wire: Wire, placed: Any) -> list[str]:
    """Of the list's orders, in its order."""
    found = []
    for order in placed["orders"]:
        found.append((await wire.ok("GET", f"{V3}/order", symbol=BTC, orderId=order["orderId"]))["status"])
    return found


def deposit(wire: Wire, asset: str, amount: str) -> None:
    ACTIONS["spot_deposit"](wire.server, {"asset": asset, "amount": amount})


def quote(wire: Wire, symbol: str, bid: str, ask: str, **more: Any) -> None:
    ACTIONS["spot_quote"](wire.server, {"symbol": symbol, "bid": bid, "ask": ask, **more})


@asynccontextmanager
async def listen_key_stream(wire: Wire) -> AsyncIterator[Events]:
    """The account's Spot events by listen key."""
    key = (await wire.raw("POST", f"{V3}/userDataStream")).body["listenKey"]
    async with wire.session.ws_connect(f"{wire.server.ws_url}/ws/{key}") as socket:
        yield Events(socket, key)


class Api:
    """Spot's WebSocket API."""

    def __init__(self, wire: Wire, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.wire, self.socket, self._id = wire, socket, 0
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, *, signed: bool = True, **params: object) -> dict[str, Any]:
        """The answer; events that come before it are kept."""
        self._id += 1
        if signed:
            params |= {"apiKey": self.wire.keys.api_key, "timestamp": self.wire.server.shown_ms()}
            text = "&".join(f"{name}={params[name]}" for name in sorted(params))
            secret = self.wire.keys.secret.encode()
            params["signature"] = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        await self.socket.send_json({"id": self._id, "method": method, "params": params})
        while True:
            message: dict[str, Any] = await self.socket.receive_json(timeout=20)
            if message.get("id") == self._id:
                return message
            self.events.append(message)


@asynccontextmanager
async def ws_api(wire: Wire) -> AsyncIterator[Api]:
    async with wire.session.ws_connect(f"{wire.server.ws_url}/ws-api/v3") as socket:
        yield Api(wire, socket)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Short names: ``BUY NEW/PENDING_NEW``, ``list EXECUTING``, ``position``."""
    found = []
    for event in events:
        if event["e"] == "executionReport":
            found.append(f"{event['S']} {event['x']}/{event['X']}")
        elif event["e"] == "listStatus":
            found.append(f"list {event['L']}")
        else:
            found.append({"outboundAccountPosition": "position"}.get(event["e"], event["e"]))
    return found


async def test_an_oto_lives(wire: Wire) -> None:
    """SPO-1: placed, bought in parts, sold; answers, queries, history and events agree."""
    async with listen_key_stream(wire) as events:
        placed = await place(wire, **oto(listClientOrderId="pair-1", workingClientOrderId="pair-1-b"))
        assert (placed["orderListId"], placed["contingencyType"]) == (0, "OTO")
        assert (placed["listStatusType"], placed["listOrderStatus"]) == ("EXEC_STARTED", "EXECUTING")
        working, pending = placed["orderReports"]
        assert (working["status"], working["clientOrderId"]) == ("NEW", "pair-1-b")
        assert (pending["status"], pending["workingTime"]) == ("PENDING_NEW", -1)
        assert kinds(await events.settled()) == [
            "BUY NEW/NEW",
            "SELL NEW/PENDING_NEW",
            "list EXECUTING",
            "position",
        ]
        held = {row["asset"]: row for row in (await wire.ok("GET", f"{V3}/account"))["balances"]}
        assert (held["USDT"]["free"], held["USDT"]["locked"]) == ("9510.00000000", "490.00000000")

        deposit(wire, "BTC", "0.01")  # the commission leaves less than the pending order sells
        quote(wire, BTC, "48990", "48999", ask_qty="0.004")
        assert await statuses(wire, placed) == ["PARTIALLY_FILLED", "PENDING_NEW"]
        quote(wire, BTC, "48990", "48999")
        assert await statuses(wire, placed) == ["FILLED", "NEW"]
        wire.server.tick(BTC, "51001")
        assert await statuses(wire, placed) == ["FILLED", "FILLED"]
        told = await events.settled()
        reports = [event for event in told if event["e"] == "executionReport"]
        assert kinds(reports) == [
            "BUY TRADE/PARTIALLY_FILLED",
            "BUY TRADE/FILLED",
            "SELL NEW/NEW",
            "SELL TRADE/FILLED",
        ]
        assert {event["g"] for event in reports} == {0}
        assert [event for event in told if event["e"] == "listStatus"][0]["L"] == "ALL_DONE"
    done = await wire.ok("GET", f"{V3}/orderList", origClientOrderId="pair-1")
    assert (done["listStatusType"], done["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
    assert await wire.ok("GET", f"{V3}/allOrderList") == [done]
    assert await wire.ok("GET", f"{V3}/openOrderList") == []
    fills = await wire.ok("GET", f"{V3}/myTrades", symbol=BTC)
    assert [(row["qty"], row["quoteQty"], row["isBuyer"]) for row in fills] == [
        ("0.00400000", "196.00000000", True),
        ("0.00600000", "294.00000000", True),
        ("0.01000000", "510.00000000", False),
    ]
    assert [row["commission"] for row in fills] == ["0.00000400", "0.00000600", "0.51000000"]


async def test_a_working_order_that_fills_at_once(wire: Wire) -> None:
    """SPO-1: the answer says FILLED and PENDING_NEW; the pending order is on the book all the same."""
    deposit(wire, "BTC", "0.01")
    placed = await place(wire, **oto(price="50100"), newOrderRespType="FULL")
    working, pending = placed["orderReports"]
    assert (working["status"], pending["status"]) == ("FILLED", "PENDING_NEW")
    assert len(working["fills"]) == 1
    assert pending["fills"] == []
    assert await statuses(wire, placed) == ["FILLED", "NEW"]


@pytest.mark.parametrize(("price", "ends"), [("52100", ["FILLED", "FILLED", "EXPIRED"]), ("47900", None)])
async def test_an_otoco_lives(wire: Wire, price: str, ends: list[str] | None) -> None:
    """SPO-2: of two pending orders one sells and the other expires; three orders count."""
    deposit(wire, "BTC", "0.01")
    params = oto(price="50100")
    for name in ("Type", "Price", "TimeInForce"):
        del params[f"pending{name}"]
    params |= {
        "pendingAboveType": "LIMIT_MAKER",
        "pendingAbovePrice": "52000",
        "pendingBelowType": "STOP_LOSS_LIMIT",
        "pendingBelowStopPrice": "48000",
        "pendingBelowPrice": "47800",
        "pendingBelowTimeInForce": "GTC",
    }
    reply = await wire.call("POST", f"{V3}/orderList/otoco", **params)
    assert reply.status == 200, reply.body
    # three, less the one that has traded: only unfilled orders count
    assert reply.headers["X-MBX-ORDER-COUNT-10S"] == "2"
    assert [row["status"] for row in reply.body["orderReports"]] == ["FILLED", "PENDING_NEW", "PENDING_NEW"]
    assert reply.body["contingencyType"] == "OTO"
    wire.server.tick(BTC, price)
    assert await statuses(wire, reply.body) == (ends or ["FILLED", "EXPIRED", "FILLED"])
    counts = await wire.ok("GET", f"{V3}/rateLimit/order")
    assert [row["count"] for row in counts] == [1, 1]  # what has traded is not unfilled any more


@pytest.mark.parametrize("by", ["list", "working", "pending"])
async def test_taking_back_one_leg_takes_back_all(wire: Wire, by: str) -> None:
    """SPO-3: by the list, by either order; a second cancel finds nothing."""
    placed = await place(wire, **oto())
    if by == "list":
        gone = await wire.ok("DELETE", f"{V3}/orderList", symbol=BTC, orderListId=placed["orderListId"])
    else:
        order_id = placed["orders"][0 if by == "working" else 1]["orderId"]
        gone = await wire.ok("DELETE", f"{V3}/order", symbol=BTC, orderId=order_id)
    assert gone["listOrderStatus"] == "ALL_DONE"
    assert [row["status"] for row in gone["orderReports"]] == ["CANCELED", "CANCELED"]
    assert await statuses(wire, placed) == ["CANCELED", "CANCELED"]
    text = await wire.refused(
        -2011, "DELETE", f"{V3}/orderList", symbol=BTC, orderListId=placed["orderListId"]
    )
    assert text == "Unknown order sent."
    account = await wire.ok("GET", f"{V3}/account", omitZeroBalances="true")
    assert account["balances"] == [{"asset": "USDT", "free": "10000.00000000", "locked": "0.00000000"}]


async def test_one_pays_the_other(wire: Wire) -> None:
    """SPO-2: OPO sells what was bought; a pendingQuantity is not taken, nor a SELL that works first."""
    params = oto(price="50100")
    text = await wire.refused(-1106, "POST", f"{V3}/orderList/opo", **params)
    assert text == "Parameter 'pendingQuantity' sent when not required."
    del params["pendingQuantity"]
    placed = await place(wire, "opo", **params)
    assert placed["orderReports"][1]["origQty"] == "0.00000000"
    sell = await wire.ok("GET", f"{V3}/order", symbol=BTC, orderId=placed["orders"][1]["orderId"])
    assert (sell["status"], sell["origQty"]) == ("NEW", "0.00900000")  # 0.00999 in steps of 0.001
    await wire.refused(-1014, "POST", f"{V3}/orderList/opo", **params | {"workingSide": "SELL"})


async def test_a_bare_oco(wire: Wire) -> None:
    """SPO-3: a pair around the market; prices and types on their sides of it."""
    deposit(wire, "BTC", "0.02")
    params: dict[str, object] = {
        "symbol": BTC,
        "side": "SELL",
        "quantity": "0.02",
        "aboveType": "LIMIT_MAKER",
        "abovePrice": "52000",
        "belowType": "STOP_LOSS",
        "belowStopPrice": "48000",
    }
    for code, wrong in (
        (-1166, {"belowType": "LIMIT_MAKER", "belowPrice": "48000", "aboveType": "STOP_LOSS"}),
        (-1168, {"belowType": "LIMIT_MAKER", "belowPrice": "48000"}),
        (-1158, {"aboveType": "LIMIT"}),
        (-2010, {"belowStopPrice": "50500"}),
        (-1102, {"belowStopPrice": ""}),
    ):
        changed = {name: value for name, value in (params | wrong).items()}
        if wrong.get("belowType") == "LIMIT_MAKER":
            del changed["belowStopPrice"]
        if wrong.get("aboveType") == "STOP_LOSS":
            changed["aboveStopPrice"] = changed.pop("abovePrice")
        await wire.refused(code, "POST", f"{V3}/orderList/oco", **changed)
    placed = await place(wire, "oco", **params)
    assert placed["contingencyType"] == "OCO"
    wire.server.tick(BTC, "47900")
    assert await statuses(wire, placed) == ["EXPIRED", "FILLED"]


@pytest.mark.parametrize(
    ("code", "text", "wrong"),
    [
        (-1121, "Invalid symbol.", {"symbol": "NOPE"}),
        (-1102, "Mandatory parameter 'workingPrice' was not sent, was empty/null, or malformed.", {"workingPrice": ""}),
        (-1111, "Parameter 'workingQuantity' has too much precision.", {"workingQuantity": "0.010000001"}),
        (-1013, "Filter failure: LOT_SIZE", {"pendingQuantity": "0.0105"}),
        (-1013, "Filter failure: LOT_SIZE", {"workingQuantity": "0"}),
        (-1013, "Filter failure: PRICE_FILTER", {"workingPrice": "49000.05"}),
        (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE", {"pendingPrice": "250001"}),
        (-1013, "Filter failure: NOTIONAL", {"workingPrice": "10000", "workingQuantity": "0.0"}),
        (-1014, "Unsupported order combination.", {"workingType": "MARKET"}),
        (-1116, "Invalid orderType.", {"pendingType": "STOP"}),
        (-1117, "Invalid side.", {"workingSide": "LONG"}),
        (-1115, "Invalid timeInForce.", {"workingTimeInForce": "GTX"}),
        (-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.", {"selfTradePreventionMode": "X"}),
        (-2010, "Account has insufficient balance for requested action.", {"workingQuantity": "1"}),
        (-2010, "Iceberg orders are not supported for this symbol.", {"workingIcebergQty": "0.005"}),
        (
            -1100,
            "Illegal characters found in parameter 'listClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
            {"listClientOrderId": "a:b"},
        ),
    ],
)  # fmt: skip
async def test_bad_lists_get_binances_words(wire: Wire, code: int, text: str, wrong: dict[str, str]) -> None:
    if wrong.get("workingQuantity") == "0.0":
        wrong, text = {"workingPrice": "49000", "workingQuantity": "0.0"}, "Filter failure: LOT_SIZE"
    assert await wire.refused(code, "POST", f"{V3}/orderList/oto", **oto() | wrong) == text
    assert await wire.ok("GET", f"{V3}/openOrders") == []


async def test_names_in_use(wire: Wire) -> None:
    await place(wire, **oto(listClientOrderId="l", workingClientOrderId="b"))
    for wrong in ({"listClientOrderId": "l"}, {"pendingClientOrderId": "b"}):
        text = await wire.refused(-2010, "POST", f"{V3}/orderList/oto", **oto(**wrong))
        assert text == "Duplicate order sent."


async def test_single_orders_and_market_data(wire: Wire) -> None:
    """SPO-1: what a client needs around lists."""
    one = await wire.ok("POST", f"{V3}/order", symbol=BTC, side="BUY", type="MARKET", quoteOrderQty="1000")
    assert (one["status"], one["executedQty"]) == ("FILLED", "0.01900000")
    rest = await wire.ok(
        "POST", f"{V3}/order", symbol=BTC, side="SELL", type="LIMIT", timeInForce="GTC", quantity="0.01", price="51000"
    )  # fmt: skip
    assert [row["orderId"] for row in await wire.ok("GET", f"{V3}/openOrders", symbol=BTC)] == [
        rest["orderId"]
    ]
    gone = await wire.ok("DELETE", f"{V3}/order", symbol=BTC, origClientOrderId=rest["clientOrderId"])
    assert (gone["status"], gone["origClientOrderId"]) == ("CANCELED", rest["clientOrderId"])
    assert len(await wire.ok("GET", f"{V3}/allOrders", symbol=BTC)) == 2
    await wire.refused(-2013, "GET", f"{V3}/order", symbol=BTC, orderId=999)
    await wire.refused(-2018, "GET", f"{V3}/orderList", orderListId=999)
    info = (await wire.get(f"{V3}/exchangeInfo", symbol=BTC)).body
    assert info["symbols"][0]["otoAllowed"] is True
    assert "STOP_LOSS_LIMIT" in info["symbols"][0]["orderTypes"]
    ticker = (await wire.get(f"{V3}/ticker/bookTicker", symbol=BTC)).body
    book = (await wire.get(f"{V3}/depth", symbol=BTC, limit=5)).body
    assert [ticker["bidPrice"], ticker["bidQty"]] == book["bids"][0]
    assert (await wire.get(f"{V3}/ticker/price", symbol=BTC)).body["price"] == "50000.10000000"
    bars = (await wire.get(f"{V3}/klines", symbol=BTC, interval="1s", limit=60)).body
    assert len(bars) == 60
    assert bars[-1][8] == 1
    assert len((await wire.get(f"{V3}/trades", symbol=BTC)).body) == 1
    reply = await wire.get(f"{V3}/ticker/24hr", symbols='["BTCUSDT","ETHUSDT"]')
    assert [row["symbol"] for row in reply.body] == ["BTCUSDT", "ETHUSDT"]
    assert reply.headers["X-MBX-USED-WEIGHT-1M"].isdecimal()


async def test_spot_signatures_are_about_the_encoded_text(wire: Wire) -> None:
    """SPO-1 SIG-4: a signature over the decoded text is refused, whatever the futures half takes."""
    stamp = wire.server.shown_ms()
    encoded = f"symbol=%EF%BC%91&timestamp={stamp}"
    good = await wire.raw("GET", f"{V3}/openOrders", f"{encoded}&signature={wire.sign(encoded)}")
    assert good.body["code"] == -1121  # signed well: it is the symbol that is unknown
    decoded = f"symbol=１&timestamp={stamp}"
    bad = await wire.raw("GET", f"{V3}/openOrders", f"{encoded}&signature={wire.sign(decoded)}")
    assert bad.body["code"] == -1022
    await wire.refused(-1131, "GET", f"{V3}/account", recvWindow=60_001)
    await wire.ok("GET", f"{V3}/account", recvWindow="5000.5", timestamp=stamp * 1_000)


async def test_events_over_the_websocket_api(wire: Wire) -> None:
    """SPO-1: userDataStream.subscribe.signature, and lists placed over the same socket."""
    async with ws_api(wire) as api:
        wrong = await api.call("userDataStream.subscribe", signed=False)
        assert wrong["status"] == 401
        answer = await api.call("userDataStream.subscribe.signature")
        assert answer["result"] == {"subscriptionId": 0}
        placed = await api.call("orderList.place.oto", **oto())
        assert placed["status"] == 200, placed
        limits = {(row["rateLimitType"], row["interval"]): row["count"] for row in placed["rateLimits"]}
        assert limits["REQUEST_WEIGHT", "MINUTE"] > 0
        await api.call("orderList.cancel", symbol=BTC, orderListId=placed["result"]["orderListId"])
        assert {event["subscriptionId"] for event in api.events} == {0}
        told = kinds([event["event"] for event in api.events])
        assert told[:4] == ["BUY NEW/NEW", "SELL NEW/PENDING_NEW", "list EXECUTING", "position"]
        assert told[4:] == ["BUY CANCELED/CANCELED", "SELL CANCELED/CANCELED", "list ALL_DONE", "position"]
        api.events.clear()
        await api.call("userDataStream.unsubscribe", signed=False, subscriptionId=0)
        await api.call("order.place", symbol=BTC, side="BUY", type="MARKET", quantity="0.001")
        await api.call("ping", signed=False)
        assert api.events == []


async def test_a_listen_key_lives_and_ends(wire: Wire) -> None:
    """SPO-1: the same key again, kept by PUT, closed by DELETE; it ends after its hour."""
    async with listen_key_stream(wire) as events:
        assert (await wire.raw("POST", f"{V3}/userDataStream")).body["listenKey"] == events.key
        query = f"listenKey={events.key}"
        assert (await wire.raw("PUT", f"{V3}/userDataStream", query)).body == {}
        assert (await wire.raw("PUT", f"{V3}/userDataStream", "listenKey=x")).body["code"] == -1125
        wire.server.skip_time(3_600_000)
        assert [event["e"] for event in await events.settled()] == ["listenKeyExpired"]
        assert (await wire.raw("DELETE", f"{V3}/userDataStream", query)).body["code"] == -1125


async def test_spot_has_its_own_limits() -> None:
    """SPO-1: 101 unfilled orders in ten seconds; weight beside the futures' own."""
    async with running() as wire:
        wire.server.spot.world.by_symbol[BTC].orders_max = 1_000
        order = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001", "price": "40000"}  # fmt: skip
        for _ in range(100):
            await wire.ok("POST", f"{V3}/order", **order)
        text = await wire.refused(-1015, "POST", f"{V3}/order", **order)
        assert text == "Too many new orders; current limit is 100 orders per 10 SECOND."
        futures = await wire.get("/fapi/v1/time")
        assert futures.headers["X-MBX-USED-WEIGHT-1M"] == "1"
        for _ in range(75):
            reply = await wire.get(f"{V3}/ticker/24hr")
        assert reply.status == 429
        assert reply.body["msg"].startswith(
            "Too much request weight used; current limit is 6000 request weight"
        )
        assert (await wire.get("/fapi/v1/time")).status == 200


@pytest.mark.parametrize("kind", ["drop-req", "drop-resp", "late-exec", "reply", "hide", "stale", "empty", "garble", "slow"])  # fmt: skip
async def test_every_request_fault_works_on_lists(kind: str) -> None:
    """SPO-1: lost requests and answers, late execution, any code, hidden and stale books."""
    async with running(control=True) as wire:
        route = (
            "GET /api/v3/orderList"
            if kind in ("hide", "stale", "empty", "garble")
            else "POST /api/v3/orderList/*"
        )
        before = await wire.ok("GET", f"{V3}/allOrderList")
        assert before == []
        if route.startswith("GET"):
            await place(wire, **oto(listClientOrderId="l"))
            await wire.ok("GET", f"{V3}/orderList", origClientOrderId="l")
        extra: dict[str, Any] = {"garble": {"form": "truncate"}, "reply": {"http": 503, "body": "Service Unavailable."}, "hide": {"ms": 1_000}, "stale": {"ms": 1_000}, "late-exec": {"ms": 5}, "slow": {"ms": 1}}.get(kind, {})  # fmt: skip
        wire.server.faults.add(Fault(kind=kind, route=route, **extra))
        if kind in ("drop-req", "drop-resp"):
            with pytest.raises(aiohttp.ClientError):
                await wire.call("POST", f"{V3}/orderList/oto", **oto())
        elif kind == "reply":
            with pytest.raises(aiohttp.ContentTypeError):
                await wire.call("POST", f"{V3}/orderList/oto", **oto())
        elif kind == "late-exec":
            reply = await wire.call("POST", f"{V3}/orderList/oto", **oto())
            assert (reply.status, reply.body["code"]) == (408, -1007)
        elif kind == "slow":
            await place(wire, **oto())
        elif kind == "hide":
            await wire.refused(-2013, "GET", f"{V3}/orderList", origClientOrderId="l")
        elif kind == "stale":
            await wire.ok("DELETE", f"{V3}/orderList", symbol=BTC, listClientOrderId="l")
            old = await wire.ok("GET", f"{V3}/orderList", origClientOrderId="l")
            assert old["listOrderStatus"] == "EXECUTING"
        elif kind == "empty":
            assert (await wire.ok("GET", f"{V3}/orderList", origClientOrderId="l"))["orders"] == []
        elif kind == "garble":
            with pytest.raises(ValueError):
                await wire.call("GET", f"{V3}/orderList", origClientOrderId="l")
        if kind == "late-exec":
            for _ in range(500):
                if await wire.ok("GET", f"{V3}/allOrderList"):
                    break
        lists = await wire.ok("GET", f"{V3}/allOrderList")
        assert len(lists) == (0 if kind in ("drop-req", "reply") else 1)
        assert sum(wire.server.faults.fired.values()) == 1


async def test_stream_faults_work_on_spot_events(wire: Wire) -> None:
    """SPO-1: events that come twice or never, on both kinds of streams."""
    async with ws_api(wire) as api, listen_key_stream(wire) as events:
        await api.call("userDataStream.subscribe.signature")
        wire.server.faults.add(Fault(kind="ws-skip", route="user:listStatus", count=2))
        wire.server.faults.add(Fault(kind="ws-dup", route="user:outboundAccountPosition", count=2))
        await api.call("orderList.place.oto", **oto())
        told = ["BUY NEW/NEW", "SELL NEW/PENDING_NEW", "position", "position"]
        assert kinds(await events.settled()) == told
        assert kinds([event["event"] for event in api.events]) == told


async def test_the_alpha_market_on_the_wire(wire: Wire) -> None:
    """SPO-2: tokens with multipliers, a pair by OPO, the counter that lags and starts again."""
    path = "/bapi/defi/v1/public/wallet-direct/buw/wallet/cex/alpha/all/token/list"
    tokens = (await wire.get(path)).body
    assert (tokens["code"], tokens["success"]) == ("000000", True)
    rows = {row["symbol"]: row for row in tokens["data"]}
    assert {name: row["mulPoint"] for name, row in rows.items()} == {"KOGE": 1, "AOP": 4}
    info = (await wire.get("/bapi/defi/v1/public/alpha-trade/get-exchange-info")).body["data"]
    symbol = next(row["symbol"] for row in info["symbols"] if row["baseAsset"] == rows["AOP"]["alphaId"])
    quote(wire, symbol, "0.22690468", "0.22690469", bid_qty="200")
    params = oto(price="0.22690469", sell="0.22690468", qty="869.56") | {"symbol": symbol}
    del params["pendingQuantity"]
    placed = await place(wire, "opo", **params)
    quote(wire, symbol, "0.22690470", "0.22690471")
    fills = await wire.ok("GET", f"{V3}/myTrades", symbol=symbol)
    assert [row["quoteQty"] for row in fills] == ["197.30724223", "45.38093600", "151.90587611"]
    assert [row["commission"] for row in fills] == ["0.08695600", "0.00453809", "0.01519059"]
    held = {row["asset"]: row["free"] for row in (await wire.ok("GET", f"{V3}/account"))["balances"]}
    assert (held["USDT"], held[symbol.removesuffix("USDT")]) == ("9999.95984120", "0.00304400")
    assert (await wire.ok("GET", f"{V3}/orderList", orderListId=placed["orderListId"]))[
        "listOrderStatus"
    ] == "ALL_DONE"
    counter = "/sim/v1/alpha/volume"
    assert (await wire.ok("GET", counter))["data"]["tradeVolumeInfoList"] == []
    wire.server.skip_time(30_000)
    (row,) = (await wire.ok("GET", counter))["data"]["tradeVolumeInfoList"]
    assert row["volume"] == pytest.approx(4 * 197.30724223)
    ACTIONS["spot_pair"](wire.server, {"symbol": symbol, "set": {"multiplier": None}})
    assert {one["mulPoint"] for one in (await wire.get(path)).body["data"]} == {1, None}
    ACTIONS["spot_counter"](wire.server, {"action": "forget", "symbol": symbol})
    assert (await wire.ok("GET", counter, symbol=symbol))["data"]["tradeVolumeInfoList"][0]["volume"] == 0
    wire.server.skip_time(86_400_000)
    assert (await wire.ok("GET", counter))["data"]["totalVolume"] == 0
