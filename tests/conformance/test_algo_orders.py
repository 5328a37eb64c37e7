"""Conditional orders on the algo service (reference §7)."""

from __future__ import annotations

import pytest
from tests.conformance.wire import BTC, Wire, algo, kinds, limit, market, running

from perpdesk.exchange.core.world import Rules

ALGO = "/fapi/v1/algoOrder"
SHAPES = {
    "STOP": {"triggerPrice": 51000, "price": 51100, "quantity": "0.01"},
    "STOP_MARKET": {"triggerPrice": 51000, "quantity": "0.01"},
    "TAKE_PROFIT": {"triggerPrice": 49000, "price": 49100, "quantity": "0.01"},
    "TAKE_PROFIT_MARKET": {"triggerPrice": 49000, "quantity": "0.01"},
    "TRAILING_STOP_MARKET": {"callbackRate": "1.5", "activatePrice": 49500, "quantity": "0.01"},
}


@pytest.mark.parametrize("kind", list(SHAPES))
async def test_place_query_cancel(wire: Wire, kind: str) -> None:
    """ALG-1: every type is placed, found on the algo endpoints only, and cancelled."""
    made = await wire.algo("BUY", kind, clientAlgoId=f"my-{kind}", **SHAPES[kind])
    assert (made["algoStatus"], made["orderType"], made["clientAlgoId"]) == ("NEW", kind, f"my-{kind}")
    row = await wire.ok("GET", ALGO, clientAlgoId=f"my-{kind}")
    assert (row["algoId"], row["actualOrderId"]) == (made["algoId"], "")
    assert [one["algoId"] for one in await wire.ok("GET", "/fapi/v1/openAlgoOrders")] == [made["algoId"]]
    assert await wire.ok("GET", "/fapi/v1/openOrders") == []
    await wire.refused(-2013, "GET", "/fapi/v1/order", symbol=BTC, origClientOrderId=f"my-{kind}")
    await wire.refused(-2011, "DELETE", "/fapi/v1/order", symbol=BTC, origClientOrderId=f"my-{kind}")
    gone = await wire.ok("DELETE", ALGO, algoId=made["algoId"])
    assert gone == {"algoId": made["algoId"], "clientAlgoId": f"my-{kind}", "code": "200", "msg": "success"}
    await wire.refused(-2011, "DELETE", ALGO, algoId=made["algoId"])
    assert (await wire.ok("GET", "/fapi/v1/allAlgoOrders", symbol=BTC))[0]["algoStatus"] == "CANCELED"


@pytest.mark.parametrize(
    ("side", "kind", "extra"),
    [
        ("BUY", "STOP_MARKET", {"triggerPrice": 50000}),
        ("SELL", "STOP_MARKET", {"triggerPrice": 50000}),
        ("BUY", "TAKE_PROFIT_MARKET", {"triggerPrice": 50000}),
        ("SELL", "TAKE_PROFIT_MARKET", {"triggerPrice": 49999}),
        ("BUY", "TRAILING_STOP_MARKET", {"callbackRate": 1, "activatePrice": 50001}),
        ("SELL", "TRAILING_STOP_MARKET", {"callbackRate": 1, "activatePrice": 49999}),
    ],
)
async def test_already_triggered(wire: Wire, side: str, kind: str, extra: dict[str, object]) -> None:
    """ALG-2: a trigger that is already satisfied is -2021."""
    text = await wire.refused(-2021, "POST", ALGO, **algo(side, kind, quantity="0.01", **extra))
    assert text == "Order would immediately trigger."


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"type": "STOP_MARKET", "triggerPrice": 49000}, -1102),
        ({"type": "STOP_MARKET", "quantity": "0.01"}, -1102),
        ({"type": "STOP", "triggerPrice": 49000, "quantity": "0.01"}, -1102),
        ({"type": "TRAILING_STOP_MARKET", "quantity": "0.01"}, -1102),
        ({"type": "TRAILING_STOP_MARKET", "quantity": "0.01", "callbackRate": "20.1"}, -1130),
        ({"type": "LIMIT", "quantity": "0.01"}, -1116),
        ({"type": "STOP", "triggerPrice": 49000, "quantity": "0.01", "price": 46000}, -4184),
        ({"type": "STOP_MARKET", "triggerPrice": 49000, "quantity": "0.01", "workingType": "X"}, -4031),
        ({"type": "STOP_MARKET", "triggerPrice": 49000, "quantity": "0.01", "algoType": "VP"}, -1130),
    ],
)
async def test_bad_conditional_orders(wire: Wire, extra: dict[str, object], code: int) -> None:
    """ALG-2: what is missing or out of range."""
    await wire.refused(code, "POST", ALGO, **{**algo("SELL", "STOP"), **extra})


async def test_close_position_rules(wire: Wire) -> None:
    """ALG-3: no quantity, no reduceOnly, one stop and one profit per direction."""
    await wire.market("BUY", "0.01")
    stop = algo("SELL", "STOP_MARKET", triggerPrice=49000, closePosition="true")
    await wire.refused(-4137, "POST", ALGO, **stop, quantity="0.01")
    await wire.refused(-4138, "POST", ALGO, **stop, reduceOnly="true")
    made = await wire.ok("POST", ALGO, **stop)
    assert (made["timeInForce"], made["reduceOnly"], made["quantity"]) == ("GTE_GTC", True, "0.000")
    await wire.refused(-4130, "POST", ALGO, **{**stop, "triggerPrice": 48000})
    await wire.algo("SELL", "TAKE_PROFIT_MARKET", triggerPrice=52000, closePosition="true")
    wire.server.tick(BTC, "48900", walk=True)
    assert (await wire.position())["positionAmt"] == "0.000"
    statuses = [one["algoStatus"] for one in await wire.ok("GET", "/fapi/v1/allAlgoOrders", symbol=BTC)]
    assert statuses == ["FINISHED", "EXPIRED"]


async def test_two_hundred(wire: Wire) -> None:
    """ALG-4: the 201st open conditional order of the account is -4045."""
    wire.server.limits.order_limit_10s = wire.server.limits.order_limit_1m = 1000
    for i in range(200):
        await wire.algo("BUY", "STOP_MARKET", triggerPrice=51000 + i, quantity="0.01")
    refused = algo("BUY", "STOP_MARKET", triggerPrice=51000, quantity="0.01")
    assert await wire.refused(-4045, "POST", ALGO, **refused) == "Reach max stop order limit."
    answer = await wire.ok("DELETE", "/fapi/v1/algoOpenOrders", symbol=BTC)
    assert answer == {"code": 200, "msg": "The operation of cancel all open order is done."}
    await wire.ok("POST", ALGO, **refused)


async def test_trailing_with_activation(wire: Wire) -> None:
    """ALG-5: activated at its price (a second NEW with ia), follows the high, sells at the callback."""
    await wire.market("BUY", "0.01")
    async with wire.user_stream() as stream:
        extra = {"quantity": "0.01", "callbackRate": "1", "activatePrice": 50500, "reduceOnly": "true"}
        await wire.algo("SELL", "TRAILING_STOP_MARKET", **extra)
        wire.server.tick(BTC, "50400")
        assert [e["o"]["ia"] for e in await stream.settled()] == [False]
        wire.server.tick(BTC, "50500")
        assert [(e["o"]["X"], e["o"]["ia"]) for e in await stream.settled()] == [("NEW", True)]
        wire.server.tick(BTC, "51000")
        wire.server.tick(BTC, "50491", walk=True)
        assert await stream.settled() == []
        wire.server.tick(BTC, "50400", walk=True)
        filled = [
            e["o"]
            for e in await stream.settled()
            if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["x"] == "TRADE"
        ]
    assert [o["L"] for o in filled] == ["50490.0"]


async def test_events_of_a_stop(wire: Wire) -> None:
    """ALG-6: the order of events: the child's fill comes before TRIGGERED and FINISHED."""
    await wire.market("BUY", "0.01")
    async with wire.user_stream() as stream:
        made = await wire.algo(
            "SELL", "STOP_MARKET", triggerPrice=49000, quantity="0.01", reduceOnly="true", clientAlgoId="s1"
        )
        wire.server.tick(BTC, "49000")
        events = await stream.settled()
    assert kinds(events) == [
        "ALGO_UPDATE/NEW",
        "ALGO_UPDATE/TRIGGERING",
        "ORDER_TRADE_UPDATE/NEW",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE/FILLED",
        "ALGO_UPDATE/TRIGGERED",
        "ALGO_UPDATE/FINISHED",
    ]
    child = events[2]["o"]
    assert (child["c"], child["ot"], child["o"]) == ("s1", "STOP_MARKET", "MARKET")
    assert events[-1]["o"]["ai"] == str(child["i"])
    assert (await wire.ok("GET", ALGO, algoId=made["algoId"]))["actualOrderId"] == str(child["i"])


async def test_a_stop_limit_rests_after_its_trigger(wire: Wire) -> None:
    """ALG-6: STOP becomes a LIMIT order; its algo order is finished when that one ends."""
    made = await wire.algo("BUY", "STOP", triggerPrice=51000, price=50900, quantity="0.01")
    wire.server.tick(BTC, "51000")
    row = await wire.ok("GET", ALGO, algoId=made["algoId"])
    assert (row["algoStatus"], row["actualType"]) == ("TRIGGERED", "LIMIT")
    wire.server.tick(BTC, "50800")
    assert (await wire.ok("GET", ALGO, algoId=made["algoId"]))["algoStatus"] == "FINISHED"


async def test_mark_and_last_apart(wire: Wire) -> None:
    """ALG-7: each working type sees its own price; priceProtect waits until they are near."""
    await wire.market("BUY", "0.03")
    common = {"quantity": "0.01", "triggerPrice": 49000, "reduceOnly": "true"}
    by_last = await wire.algo("SELL", "STOP_MARKET", **common)
    by_mark = await wire.algo("SELL", "STOP_MARKET", workingType="MARK_PRICE", **common)
    protected = await wire.algo("SELL", "STOP_MARKET", priceProtect="true", **common)

    async def statuses() -> list[str]:
        return [
            (await wire.ok("GET", ALGO, algoId=one["algoId"]))["algoStatus"]
            for one in (by_last, by_mark, protected)
        ]

    wire.server.set_mark(BTC, "49000.1")
    assert await statuses() == ["NEW", "NEW", "NEW"]
    wire.server.set_mark(BTC, "49000")
    assert await statuses() == ["NEW", "FINISHED", "NEW"]
    wire.server.set_mark(BTC, "50000")
    wire.server.tick(BTC, "47000")
    wire.server.set_mark(BTC, "50000")
    assert (await statuses())[2] == "NEW"
    wire.server.set_mark(BTC, "48900")
    assert (await statuses())[2] == "FINISHED"


async def test_trigger_without_margin(wire: Wire) -> None:
    """ALG-8: no margin at the trigger: REJECTED, with the reason."""
    async with wire.user_stream() as stream:
        made = await wire.algo("BUY", "STOP_MARKET", triggerPrice=50500, quantity="10")
        wire.server.tick(BTC, "50500")
        events = await stream.settled()
    assert kinds(events) == ["ALGO_UPDATE/NEW", "ALGO_UPDATE/TRIGGERING", "ALGO_UPDATE/REJECTED"]
    assert events[-1]["o"]["rm"] == "Margin is insufficient."
    assert (await wire.ok("GET", ALGO, algoId=made["algoId"]))["algoStatus"] == "REJECTED"
    assert await wire.ok("GET", "/fapi/v1/allOrders", symbol=BTC) == []


async def test_gte_ends_with_the_position(wire: Wire) -> None:
    """ALG-9: GTE_GTC expires when the position is gone; a plain stop stays."""
    await wire.market("BUY", "0.01")
    bound = await wire.algo("SELL", "STOP_MARKET", triggerPrice=49000, quantity="0.01", timeInForce="GTE_GTC")
    free = await wire.algo("SELL", "STOP_MARKET", triggerPrice=49000, quantity="0.01")
    await wire.market("SELL", "0.01")
    assert (await wire.ok("GET", ALGO, algoId=bound["algoId"]))["algoStatus"] == "EXPIRED"
    assert (await wire.ok("GET", ALGO, algoId=free["algoId"]))["algoStatus"] == "NEW"


async def test_delayed_visibility() -> None:
    """ALG-10: accepted, denied for a while, then there."""
    async with running(rules=Rules(algo_visibility_delay_ms=2000)) as wire:
        made = await wire.algo("BUY", "STOP_MARKET", triggerPrice=51000, quantity="0.01")
        await wire.refused(-2013, "GET", ALGO, algoId=made["algoId"])
        await wire.refused(-2011, "DELETE", ALGO, algoId=made["algoId"])
        assert await wire.ok("GET", "/fapi/v1/openAlgoOrders") == []
        wire.server.skip_time(2000)
        assert (await wire.ok("GET", ALGO, algoId=made["algoId"]))["algoStatus"] == "NEW"


async def test_no_margin_is_asked_before_the_trigger(wire: Wire) -> None:
    """ALG-1: conditional orders do not block money."""
    before = (await wire.ok("GET", "/fapi/v3/account"))["availableBalance"]
    await wire.algo("BUY", "STOP_MARKET", triggerPrice=51000, quantity="5")
    assert (await wire.ok("GET", "/fapi/v3/account"))["availableBalance"] == before
    await wire.refused(-2019, "POST", "/fapi/v1/order", **limit("BUY", 49000, "5"))
    await wire.refused(-2019, "POST", "/fapi/v1/order", **market("BUY", "5"))


async def test_the_childs_price_is_judged_at_the_trigger(wire: Wire) -> None:
    """ALG-8: a limit that was near its trigger, but is not near the mark when it fires, is REJECTED with rm."""
    wire.server.set_mark(BTC, "46000")
    async with wire.user_stream() as stream:
        made = await wire.algo("BUY", "STOP", quantity="0.01", triggerPrice=50500, price=50600)
        wire.server.tick(BTC, "50600")
        events = await stream.settled()
    assert kinds(events) == ["ALGO_UPDATE/NEW", "ALGO_UPDATE/TRIGGERING", "ALGO_UPDATE/REJECTED"]
    assert events[-1]["o"]["rm"] == "Limit price can't be higher than 48300."
    row = await wire.ok("GET", ALGO, algoId=made["algoId"])
    assert (row["algoStatus"], row["actualOrderId"]) == ("REJECTED", "")
    assert await wire.ok("GET", "/fapi/v1/openOrders", symbol=BTC) == []
