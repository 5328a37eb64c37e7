"""Every fault primitive, seen from the outside (reliability §3)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.conformance.wire import BTC, Wire, kinds, limit, market, running

from perpdesk.domain.errors import InputError
from perpdesk.exchange.faults import Fault, Plan, read_plan

ORDER, POST = "/fapi/v1/order", "POST /fapi/v1/order"


def strike(wire: Wire, kind: str, **arguments: Any) -> None:
    """Add one fault."""
    wire.server.faults.add(Fault(kind=kind, **{"route": POST, **arguments}))


async def orders(wire: Wire) -> list[Any]:
    """What the exchange has booked."""
    found: list[Any] = await wire.ok("GET", "/fapi/v1/allOrders", symbol=BTC)
    return found


@pytest.mark.parametrize("executes", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        {"http": 503, "body": "Unknown error, please check your request or try again later."},
        {"http": 503, "body": "Service Unavailable."},
        {
            "http": 503,
            "code": -1001,
            "msg": "Internal error; unable to process your request. Please try again.",
        },
        {"http": 503, "code": -1008, "msg": "Request throttled by system-level protection."},
        {"http": 429, "code": -1003, "msg": "Too many requests"},
        {"http": 400, "code": -1006, "msg": "An unexpected response was received from the message bus."},
        {"http": 401, "code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
        {"http": 400, "code": -4192, "msg": "Trade forbidden due to Cooling-off Period."},
    ],
)
async def test_any_answer(wire: Wire, reply: dict[str, Any], executes: bool) -> None:
    """FLT-1 FLT-2 FLT-3: each 503 variant and any code, with and without execution; the next request is well."""
    strike(wire, "reply", executes=executes, **reply)
    query = f"symbol={BTC}&side=BUY&type=MARKET&quantity=0.01&timestamp={wire.server.now_ms()}"
    headers = {"X-MBX-APIKEY": wire.keys.api_key}
    url = f"{wire.server.rest_url}{ORDER}?{query}&signature={wire.sign(query)}"
    async with wire.session.post(url, headers=headers) as answer:
        assert answer.status == reply["http"]
        text = await answer.text()
    if "body" in reply:
        assert text == reply["body"]
    else:
        assert json.loads(text) == {"code": reply["code"], "msg": reply["msg"]}
    assert len(await orders(wire)) == int(executes)
    assert (await wire.market("BUY", "0.01"))["status"] == "FILLED"


@pytest.mark.parametrize(("kind", "executed"), [("drop-req", 0), ("drop-resp", 1)])
async def test_lost_connections(wire: Wire, kind: str, executed: int) -> None:
    """FLT-4: the request or its answer is lost; only the second was carried out."""
    strike(wire, kind)
    with pytest.raises(aiohttp.ClientError):
        await wire.call("POST", ORDER, **market("BUY", "0.01"))
    assert len(await orders(wire)) == executed


async def test_late_execution(wire: Wire) -> None:
    """FLT-4: -1007 first, the order a moment later."""
    strike(wire, "late-exec", ms=50)
    async with wire.user_stream() as stream:
        reply = await wire.call("POST", ORDER, **market("BUY", "0.01"))
        assert (reply.status, reply.body["code"]) == (408, -1007)
        assert (await stream.socket.receive_json(timeout=20))["e"] == "ORDER_TRADE_UPDATE"
    assert [row["status"] for row in await orders(wire)] == ["FILLED"]


async def test_hidden_orders(wire: Wire) -> None:
    """FLT-5: queries and cancels deny an order that lives, until the time is over."""
    made = await wire.limit("BUY", 49000, "0.01")
    strike(wire, "hide", route="GET /fapi/v1/order", ms=2000)
    strike(wire, "hide", route="DELETE /fapi/v1/order", ms=2000)
    await wire.refused(-2013, "GET", ORDER, symbol=BTC, orderId=made["orderId"])
    await wire.refused(-2011, "DELETE", ORDER, symbol=BTC, orderId=made["orderId"])
    wire.server.skip_time(2001)
    assert (await wire.order(made["orderId"]))["status"] == "NEW"


async def test_stale_answers() -> None:
    """FLT-5: positions as they were before the fill."""
    async with running(control=True) as wire:
        await wire.market("BUY", "0.01")
        await wire.position()
        strike(wire, "stale", route="GET /fapi/v2/positionRisk", ms=5000)
        await wire.market("BUY", "0.01")
        assert (await wire.position())["positionAmt"] == "0.010"
        wire.server.skip_time(5001)
        assert (await wire.position())["positionAmt"] == "0.020"


async def test_empty_answers(wire: Wire) -> None:
    """FLT-5: well-formed, and nothing in it."""
    await wire.market("BUY", "0.01")
    strike(wire, "empty", route="GET /fapi/v3/*", count=2)
    assert await wire.ok("GET", "/fapi/v3/positionRisk") == []
    account = await wire.ok("GET", "/fapi/v3/account")
    assert (account["totalWalletBalance"], account["assets"]) == ("0.00000000", [])
    assert (await wire.ok("GET", "/fapi/v3/account"))["assets"] != []


@pytest.mark.parametrize("form", ["truncate", "html", "empty", "schema", "binary"])
async def test_garbled_answers(wire: Wire, form: str) -> None:
    """FLT-5: broken JSON, a web page, nothing, unknown fields and words, bytes; the order is booked all the same."""
    strike(wire, "garble", form=form)
    query = f"symbol={BTC}&side=BUY&type=MARKET&quantity=0.01&timestamp={wire.server.now_ms()}"
    url = f"{wire.server.rest_url}{ORDER}?{query}&signature={wire.sign(query)}"
    async with wire.session.post(url, headers={"X-MBX-APIKEY": wire.keys.api_key}) as answer:
        raw = await answer.read()
    if form == "schema":
        assert json.loads(raw)["status"] == "PENDING_REVIEW"
        assert "fieldOfTomorrow" in json.loads(raw)
    else:
        with pytest.raises(ValueError):
            json.loads(raw)
    assert len(await orders(wire)) == 1


@pytest.mark.parametrize("form", ["", "answer"])
async def test_slow_requests(wire: Wire, form: str) -> None:
    """FLT-4: another request overtakes a slow one; a slow answer has been carried out long before."""
    strike(wire, "slow", ms=300, form=form)
    slow = asyncio.ensure_future(
        wire.call("POST", ORDER, **limit("BUY", 49000, "0.01", newClientOrderId="slow"))
    )
    while not wire.server.faults.fired:
        await asyncio.sleep(0)
    await wire.limit("BUY", 48000, "0.01", newClientOrderId="fast")
    assert not slow.done()
    assert (await slow).status == 200
    ids = [row["clientOrderId"] for row in await orders(wire)]
    assert ids == (["slow", "fast"] if form else ["fast", "slow"])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ws-dup", ["NEW", "NEW", "CANCELED"]),
        ("ws-skip", ["CANCELED"]),
        ("ws-reorder", ["CANCELED", "NEW"]),
    ],
)
async def test_stream_faults(wire: Wire, kind: str, expected: list[str]) -> None:
    """FLT-6 FLT-7: an event twice, never, or after the next one."""
    strike(wire, kind, route="user:ORDER_TRADE_UPDATE")
    async with wire.user_stream() as stream:
        made = await wire.limit("BUY", 49000, "0.01")
        await wire.ok("DELETE", ORDER, symbol=BTC, orderId=made["orderId"])
        assert [event["o"]["X"] for event in await stream.settled()] == expected


async def test_lagging_event(wire: Wire) -> None:
    """FLT-7: it comes, but later than what came after it."""
    strike(wire, "ws-lag", route="user:ORDER_TRADE_UPDATE", ms=100)
    async with wire.user_stream() as stream:
        made = await wire.limit("BUY", 49000, "0.01")
        await wire.ok("DELETE", ORDER, symbol=BTC, orderId=made["orderId"])
        seen = [(await stream.socket.receive_json(timeout=20))["o"]["X"] for _ in range(2)]
    assert seen == ["CANCELED", "NEW"]


async def test_silent_socket(wire: Wire) -> None:
    """FLT-8: open and silent; what was said meanwhile is lost."""
    strike(wire, "ws-silent", route="user:ORDER_TRADE_UPDATE", ms=50)
    async with wire.user_stream() as stream:
        made = await wire.limit("BUY", 49000, "0.01")
        connection = next(iter(wire.server.hub.connections))
        assert connection.silent
        while connection.silent:
            await asyncio.sleep(0.01)
        await wire.ok("DELETE", ORDER, symbol=BTC, orderId=made["orderId"])
        assert [event["o"]["X"] for event in await stream.settled()] == ["CANCELED"]


async def test_closed_socket_and_reconnect(wire: Wire) -> None:
    """FLT-8: the connection is closed; a new one goes on, REST has the gap."""
    strike(wire, "ws-close", route="user:ORDER_TRADE_UPDATE", code=1011)
    async with wire.user_stream() as stream:
        made = await wire.limit("BUY", 49000, "0.01")
        message = await stream.socket.receive(timeout=20)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)
    async with wire.user_stream() as stream:
        assert await stream.settled() == []
        await wire.ok("DELETE", ORDER, symbol=BTC, orderId=made["orderId"])
        assert kinds(await stream.settled()) == ["ORDER_TRADE_UPDATE/CANCELED"]


@pytest.mark.parametrize("silently", [False, True])
async def test_expired_listen_key(silently: bool) -> None:
    """FLT-8: with or without being told."""
    async with running(control=True) as wire, wire.user_stream() as stream:
        await control(wire, do="expire_listen_key", account=0, silently=silently)
        await wire.market("BUY", "0.01")
        events = await stream.settled()
        assert [event["e"] for event in events] == ([] if silently else ["listenKeyExpired"])
        assert (await wire.raw("PUT", "/fapi/v1/listenKey")).body["code"] == -1125


async def control(wire: Wire, status: int = 200, **arguments: Any) -> Any:
    """One request on the control channel."""
    async with wire.session.post(wire.server.rest_url + "/control", json=arguments) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_clock_steps() -> None:
    """FLT-8: the server's clock is wrong: -1021 until the client follows."""
    async with running(control=True) as wire:
        now_ms = wire.server.now_ms()
        await control(wire, do="clock", ms=10_000)
        reply = await wire.call("GET", "/fapi/v3/account", timestamp=now_ms)
        assert reply.body["code"] == -1021
        assert (await wire.get("/fapi/v1/time")).body == {"serverTime": now_ms + 10_000}
        assert (await wire.call("GET", "/fapi/v3/account", timestamp=now_ms + 10_000)).status == 200


async def test_people_and_markets() -> None:
    """FLT-8: a position closed in the app, a halted symbol, changed filters, a revoked key."""
    async with running(control=True) as wire:
        await wire.market("BUY", "0.01")
        async with wire.user_stream() as stream:
            assert (await control(wire, do="actor", action="close"))["done"][0]["status"] == "NEW"
            assert "ACCOUNT_UPDATE" in kinds(await stream.settled())
        assert (await wire.position())["positionAmt"] == "0.000"
        await control(wire, do="contract", symbol=BTC, set={"status": "PRE_SETTLE"})
        await wire.refused(-4140, "POST", ORDER, **limit("BUY", 49000, "0.01"))
        await control(wire, do="contract", symbol=BTC, set={"status": "TRADING", "notional_min_e8": 10**12})
        await wire.refused(-4164, "POST", ORDER, **limit("BUY", 49000, "0.01"))
        await control(wire, do="revoke_key", api_key=wire.keys.api_key)
        assert (await wire.call("GET", "/fapi/v3/account")).body["code"] == -2015


async def test_control_channel_refuses(wire: Wire) -> None:
    """FLT-1: it exists only when asked for, and answers nonsense with reasons."""
    async with wire.session.post(wire.server.rest_url + "/control", json={"do": "ledger"}) as answer:
        assert answer.status == 404
    async with running(control=True) as other:
        for nonsense in ({"do": "x"}, {}, {"do": "tick"}, {"do": "tick", "symbol": "X", "price": "1"}):
            assert (await control(other, 400, **nonsense))["ok"] is False
        bad = {"kind": "explode"}
        assert "unknown fault" in (await control(other, 400, do="fault", fault=bad))["error"]
        assert (await control(other, do="fault", fault={"kind": "slow", "ms": 1, "route": "GET *"}))["ok"]
        await other.get("/fapi/v1/ping")
        assert (await control(other, do="fired"))["fired"] == {"slow": 1}


def test_plans_are_seeded() -> None:
    """FLT-1: the same seed strikes the same requests."""

    def struck(seed: int) -> list[int]:
        plan = Plan(seed, [Fault(kind="drop-req", count=-1, probability_ppm=300_000)])
        return [i for i in range(200) if plan.request("GET /x", 0) is not None]

    assert struck(1) == struck(1) != struck(2)
    assert 30 < len(struck(1)) < 90
    plan = Plan(1, [Fault(kind="drop-req", skip=2, count=2)])
    assert [plan.request("GET /x", 0) is not None for _ in range(6)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_plan_files(tmp_path: Path) -> None:
    """FLT-1: a plan is read from a file; what nobody understands is an error that names it."""
    path = tmp_path / "plan.json"
    path.write_text('[{"kind": "slow", "ms": 5}]')
    assert read_plan(path, 1).faults[0].ms == 5
    for text, word in (
        ("[{]", "list of faults"),
        ('[{"kind": "x"}]', "unknown fault"),
        ('[{"kind": "garble"}]', "form"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=word):
            read_plan(path, 1)
    with pytest.raises(InputError):
        read_plan(tmp_path / "none.json", 1)
