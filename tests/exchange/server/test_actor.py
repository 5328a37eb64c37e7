"""A person with the app, over the control channel: each action, and what a program sees of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.conformance.wire import BTC, Wire, kinds, running

CONTROL = {"control": True}


async def person(wire: Wire, action: str, **arguments: Any) -> Any:
    """What the exchange answered to a person's action."""
    body = {"do": "actor", "account": 0, "action": action, **arguments}
    async with wire.session.post(wire.server.rest_url + "/control", json=body) as answer:
        told = await answer.json()
        assert answer.status == 200, told
        return told["done"]


async def held(wire: Wire, side: str = "BOTH") -> Decimal:
    return Decimal((await wire.position(side))["positionAmt"])


async def test_an_order_and_a_stop_of_a_person() -> None:
    """They look like any order, with ids of another kind."""
    async with running(**CONTROL) as wire, wire.user_stream() as stream:
        params = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": 0.02}
        assert (await person(wire, "order", params=params))[0]["clientOrderId"].startswith("web_")
        stop = {
            "symbol": BTC,
            "side": "SELL",
            "type": "STOP_MARKET",
            "triggerPrice": "49000",
            "quantity": "0.02",
        }
        assert (await person(wire, "stop", params=stop))[0]["algoStatus"] == "NEW"
        events = await stream.settled()
        assert kinds(events)[-2:] == ["ORDER_TRADE_UPDATE/FILLED", "ALGO_UPDATE/NEW"]
        assert events[0]["o"]["c"].startswith("web_")
        assert (await person(wire, "order", params=params | {"quantity": "0"}))[0]["code"] == -4003


async def test_closing_and_a_part_of_it() -> None:
    async with running(**CONTROL) as wire:
        await wire.market("BUY", "0.031")
        await wire.market("SELL", "2", symbol="ETHUSDT")
        await person(wire, "close_part", symbol=BTC)
        assert await held(wire) == Decimal("0.015")
        await person(wire, "close_part", symbol=BTC, share_ppm=200_000)
        assert await held(wire) == Decimal("0.012")
        await person(wire, "close", symbol=BTC)
        assert await held(wire) == 0
        assert len(await wire.ok("GET", "/fapi/v3/positionRisk")) == 1
        await person(wire, "close")
        assert await wire.ok("GET", "/fapi/v3/positionRisk") == []


async def test_adding_and_reversing() -> None:
    async with running(**CONTROL) as wire:
        await wire.market("SELL", "0.02")
        await person(wire, "add", symbol=BTC)
        assert await held(wire) == Decimal("-0.04")
        await person(wire, "add", symbol=BTC, qty="0.01")
        assert await held(wire) == Decimal("-0.05")
        await person(wire, "reverse", symbol=BTC)
        assert await held(wire) == Decimal("0.05")


async def test_hedge_legs() -> None:
    """In hedge mode one leg is closed, or turned into the other."""
    async with running(**CONTROL) as wire:
        assert await person(wire, "position_mode", hedge=True) == [{"code": 200, "msg": "success"}]
        for side, leg in (("BUY", "LONG"), ("SELL", "SHORT")):
            await wire.market(side, "0.02", positionSide=leg)
        await person(wire, "reverse", symbol=BTC, position_side="LONG")
        assert (await held(wire, "LONG"), await held(wire, "SHORT")) == (0, Decimal("-0.04"))
        await person(wire, "close", position_side="SHORT")
        assert await held(wire, "SHORT") == 0


async def test_cancelling() -> None:
    """One order, one stop, all stops of a symbol, everything."""
    async with running(**CONTROL) as wire, wire.user_stream() as stream:
        first = await wire.limit("BUY", 49000, "0.01")
        await wire.limit("BUY", 48900, "0.01", newClientOrderId="mine")
        for name in ("s1", "s2", "s3"):
            await wire.algo("SELL", "STOP_MARKET", quantity="0.01", triggerPrice="49000", clientAlgoId=name)
        done = await person(wire, "cancel", params={"symbol": BTC, "orderId": first["orderId"]})
        assert done[0]["status"] == "CANCELED"
        assert (await person(wire, "cancel_stop", params={"clientAlgoId": "s2"}))[0]["code"] == "200"
        assert await person(wire, "cancel_stop", symbol=BTC) == [{"cancelled": 2}]
        assert await person(wire, "cancel_all") == [{"cancelled": 1}]
        assert (await person(wire, "cancel", params={"symbol": BTC, "orderId": 1}))[0]["code"] == -2011
        ended = [line for line in kinds(await stream.settled()) if line.endswith("CANCELED")]
        assert ended == [
            "ORDER_TRADE_UPDATE/CANCELED", "ALGO_UPDATE/CANCELED", "ALGO_UPDATE/CANCELED",
            "ALGO_UPDATE/CANCELED", "ORDER_TRADE_UPDATE/CANCELED",
        ]  # fmt: skip


async def test_changing_settings() -> None:
    """Leverage, margin type, isolated margin: the events say so, and refusals are Binance's own."""
    async with running(**CONTROL) as wire, wire.user_stream() as stream:
        assert (await person(wire, "leverage", symbol=BTC, leverage=7))[0]["leverage"] == 7
        assert await person(wire, "margin_type", symbol=BTC, margin_type="ISOLATED") == [
            {"code": 200, "msg": "success"}
        ]
        await wire.market("BUY", "0.02")
        params = {"symbol": BTC, "amount": "5", "type": 1}
        assert (await person(wire, "position_margin", params=params))[0]["amount"] == 5.0
        assert (await person(wire, "margin_type", symbol=BTC, margin_type="CROSSED"))[0]["code"] == -4048
        assert (await person(wire, "leverage", symbol=BTC, leverage=3))[0]["code"] == -4161
        assert (await person(wire, "position_mode", hedge="true"))[0]["code"] == -4068
        events = await stream.settled()
        assert [e["ac"] for e in events if e["e"] == "ACCOUNT_CONFIG_UPDATE"] == [{"s": BTC, "l": 7}]
        reasons = [e["a"]["m"] for e in events if e["e"] == "ACCOUNT_UPDATE"]
        assert reasons == ["MARGIN_TYPE_CHANGE", "ORDER", "MARGIN_TRANSFER"]


async def test_moving_money() -> None:
    """In and out; what stands behind a position cannot be taken."""
    async with running(**CONTROL) as wire, wire.user_stream() as stream:
        assert await person(wire, "transfer", amount="250") == [{"wallet": "10250.00000000"}]
        assert await person(wire, "transfer", amount="-1250.5") == [{"wallet": "8999.50000000"}]
        told = [(e["a"]["m"], e["a"]["B"][0]["bc"]) for e in await stream.settled()]
        assert told == [("DEPOSIT", "250"), ("WITHDRAW", "-1250.5")]
        rows = await wire.ok("GET", "/fapi/v1/income", incomeType="TRANSFER")
        assert [row["income"] for row in rows] == ["10000.00000000", "250.00000000", "-1250.50000000"]
        body = {"do": "actor", "action": "transfer", "amount": "-9000"}
        async with wire.session.post(wire.server.rest_url + "/control", json=body) as answer:
            assert answer.status == 400
            assert "can be taken out" in (await answer.json())["error"]


async def test_deleting_the_key() -> None:
    """The next request is refused, and the stream says nothing any more."""
    async with running(**CONTROL) as wire, wire.user_stream() as stream:
        await wire.limit("BUY", 49000, "0.01")
        assert len(await stream.settled()) == 1
        assert await person(wire, "delete_key") == [{"deleted": 1}]
        reply = await wire.call("GET", "/fapi/v3/account")
        assert (reply.status, reply.body["code"]) == (401, -2015)
        wire.server.tick(BTC, "48000")
        assert await stream.settled() == []
        assert await person(wire, "delete_key") == [{"deleted": 0}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"action": "dance"}, "must be one of order, stop, close"),
        ({"action": "close_part", "share_ppm": 0}, "share_ppm"),
        ({"action": "close", "symbol": "NOPE"}, "unknown symbol"),
        ({"action": "transfer", "amount": "1", "asset": "DOGE"}, "must be USDT or BNB"),
        ({"action": "order"}, "params"),
        ({"action": "close", "account": 9}, "IndexError"),
    ],
)
async def test_nonsense_is_a_sentence(arguments: dict[str, Any], words: str) -> None:
    async with running(**CONTROL) as wire:
        async with wire.session.post(
            wire.server.rest_url + "/control", json={"do": "actor", **arguments}
        ) as answer:
            assert answer.status == 400
            assert words in (await answer.json())["error"]
        assert wire.server.ledger(0)["wallet_e8"] == 10_000 * 10**8
