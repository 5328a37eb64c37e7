"""Ordinary orders from entry to end (reference §6, §14.1)."""

from __future__ import annotations

import json

import pytest
from tests.conformance.wire import BTC, START_MS, Wire, kinds, limit, market, running

from perpdesk.exchange.core.world import Rules

ORDER, BATCH = "/fapi/v1/order", "/fapi/v1/batchOrders"


async def test_limit_life(wire: Wire) -> None:
    """ORD-1: the ack has no averages, the query has."""
    ack = await wire.limit("BUY", "49000.10", "0.0100", newClientOrderId="myid-1")
    assert "avgPrice" not in ack
    assert "cumQuote" not in ack
    assert (ack["status"], ack["clientOrderId"], ack["price"], ack["origQty"]) == (
        "NEW",
        "myid-1",
        "49000.1",
        "0.010",
    )
    row = await wire.ok("GET", ORDER, symbol=BTC, origClientOrderId="myid-1")
    assert (row["avgPrice"], row["cumQuote"], row["time"]) == ("0.0", "0.00000000", START_MS)
    wire.server.tick(BTC, "49000", qty="0.004")
    row = await wire.order(ack["orderId"])
    assert (row["status"], row["executedQty"], row["avgPrice"]) == ("PARTIALLY_FILLED", "0.004", "49000.1")
    wire.server.tick(BTC, "48999.9")
    row = await wire.order(ack["orderId"])
    assert (row["status"], row["executedQty"], row["cumQuote"]) == ("FILLED", "0.010", "490.00100000")
    trades = await wire.ok("GET", "/fapi/v1/userTrades", symbol=BTC)
    assert [(t["qty"], t["maker"], t["commission"]) for t in trades] == [
        ("0.004", True, "0.03920008"),
        ("0.006", True, "0.05880012"),
    ]


async def test_legacy_ack_fields() -> None:
    """ORD-1: the old shape on demand."""
    async with running(rules=Rules(ack_fields="legacy")) as wire:
        ack = await wire.limit("BUY", "49000", "0.01")
        assert (ack["avgPrice"], ack["cumQuote"]) == ("0.0", "0.00000000")


async def test_market_result(wire: Wire) -> None:
    """ORD-2: RESULT of a market order is its end, ACK is NEW."""
    done = await wire.market("BUY", "0.01")
    assert (done["status"], done["executedQty"]) == ("FILLED", "0.010")
    ack = await wire.market("SELL", "0.01", newOrderRespType="ACK")
    assert (ack["status"], ack["executedQty"]) == ("NEW", "0.000")
    assert (await wire.order(ack["orderId"]))["status"] == "FILLED"


async def test_ioc_partial(wire: Wire) -> None:
    """ORD-3: what an IOC cannot take expires with er 2."""
    wire.server.set_book(BTC, {"50000.1": "0.004", "50010": "5"})
    async with wire.user_stream() as stream:
        done = await wire.limit("BUY", "50000.1", "0.01", timeInForce="IOC", newOrderRespType="RESULT")
        assert (done["status"], done["executedQty"]) == ("EXPIRED", "0.004")
        events = await stream.settled()
    assert kinds(events) == [
        "ORDER_TRADE_UPDATE/NEW",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE/PARTIALLY_FILLED",
        "ORDER_TRADE_UPDATE/EXPIRED",
    ]
    assert (events[-1]["o"]["er"], events[-1]["o"]["x"]) == ("2", "EXPIRED")


@pytest.mark.parametrize(
    ("tif", "price", "quantity", "code"), [("FOK", 50005, 1, -5021), ("GTX", 50005, "0.01", -5022)]
)
async def test_rejected_without_a_trace(
    wire: Wire, tif: str, price: object, quantity: object, code: int
) -> None:
    """ORD-4 ORD-5: FOK that cannot fill and GTX that would take are not recorded."""
    wire.server.set_book(BTC, {"50000.1": "0.5"})
    text = await wire.refused(code, "POST", ORDER, **limit("BUY", price, quantity, timeInForce=tif))
    assert text.endswith("The order will not be recorded in the order history")
    assert await wire.ok("GET", "/fapi/v1/allOrders", symbol=BTC) == []


async def test_fok_and_gtx_that_fit(wire: Wire) -> None:
    """ORD-4 ORD-5: those that fit are taken."""
    wire.server.set_book(BTC, {"50000.1": "8"})
    done = await wire.limit("BUY", 50005, "0.01", timeInForce="FOK", newOrderRespType="RESULT")
    assert done["status"] == "FILLED"
    assert (await wire.limit("BUY", 50000, "0.01", timeInForce="GTX"))["status"] == "NEW"


async def test_market_with_too_little_depth(wire: Wire) -> None:
    """ORD-6: the rest expires with er 9; a best price out of bounds is -4131, an empty book -2020."""
    wire.server.set_book(BTC, {"50000.1": "0.004"})
    done = await wire.market("BUY", "0.01")
    assert (done["status"], done["executedQty"]) == ("EXPIRED", "0.004")
    wire.server.set_book(BTC, {"50000.1": "0.004", "52500.1": "9"})
    async with wire.user_stream() as stream:
        assert (await wire.market("BUY", "0.01"))["executedQty"] == "0.004"
        assert (await stream.settled())[-1]["o"]["er"] == "9"
    text = await wire.refused(-4131, "POST", ORDER, **market("BUY", "0.01"))
    assert text == "The counterparty's best price does not meet the PERCENT_PRICE filter limit."
    wire.server.set_book(BTC, {})
    assert await wire.refused(-2020, "POST", ORDER, **market("BUY", "0.01")) == "Unable to fill."


async def test_client_ids(wire: Wire) -> None:
    """ORD-7: 36 characters, their alphabet, unique while open."""
    await wire.limit("BUY", 49000, "0.01", newClientOrderId="x" * 36)
    await wire.refused(-4015, "POST", ORDER, **limit("BUY", 49000, "0.01", newClientOrderId="y" * 37))
    text = await wire.refused(-1100, "POST", ORDER, **limit("BUY", 49000, "0.01", newClientOrderId="a b"))
    assert text.endswith(r"legal range is '^[\.A-Z\:/a-z0-9_-]{1,36}$'.")
    text = await wire.refused(-4116, "POST", ORDER, **limit("BUY", 49000, "0.01", newClientOrderId="x" * 36))
    assert text == "clientOrderId is duplicated"
    wire.server.tick(BTC, "48999")
    await wire.limit("BUY", 48000, "0.01", newClientOrderId="x" * 36)
    assert len((await wire.limit("BUY", 48000, "0.01"))["clientOrderId"]) == 22


async def test_good_till_date(wire: Wire) -> None:
    """ORD-8: at least ten minutes ahead, and it ends on time."""
    now_ms = wire.server.now_ms()
    for ahead in (599_000, 600_000):
        bad = limit("BUY", 49000, "0.01", timeInForce="GTD", goodTillDate=now_ms + ahead)
        await wire.refused(-5040, "POST", ORDER, **bad)
    made = await wire.limit("BUY", 49000, "0.01", timeInForce="GTD", goodTillDate=now_ms + 601_500)
    assert made["goodTillDate"] == now_ms + 601_000
    wire.server.skip_time(600_999)
    assert (await wire.order(made["orderId"]))["status"] == "NEW"
    wire.server.skip_time(1)
    assert (await wire.order(made["orderId"]))["status"] == "EXPIRED"


@pytest.mark.parametrize(
    "kind", ["STOP", "TAKE_PROFIT", "STOP_MARKET", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
)
async def test_conditional_types_have_moved(wire: Wire, kind: str) -> None:
    """ORD-9: -4120 on order and in a batch."""
    params = {**limit("SELL", 49000, "0.01"), "type": kind, "stopPrice": 49000}
    text = await wire.refused(-4120, "POST", ORDER, **params)
    assert (
        text == "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
    )
    answers = await wire.ok("POST", BATCH, batchOrders=json.dumps([params]))
    assert answers[0]["code"] == -4120


async def test_batches(wire: Wire) -> None:
    """ORD-10: answers in order, errors at their place; six are too many."""
    good, bad = limit("BUY", 49000, "0.01"), limit("BUY", 49000, "0")
    answers = await wire.ok("POST", BATCH, batchOrders=json.dumps([good, bad, good, bad, good]))
    assert [one.get("code", one.get("status")) for one in answers] == ["NEW", -4003, "NEW", -4003, "NEW"]
    text = await wire.refused(-4082, "POST", BATCH, batchOrders=json.dumps([good] * 6))
    assert text == "Invalid number of batch place orders."
    await wire.refused(-4082, "POST", BATCH, batchOrders="[]")
    ids = [one["orderId"] for one in answers if "orderId" in one]
    changes = [{"symbol": BTC, "orderId": i, "side": "BUY", "quantity": 0.02, "price": 48000.5} for i in ids]
    changed = await wire.ok("PUT", BATCH, batchOrders=json.dumps(changes))
    assert [(one["price"], one["origQty"]) for one in changed] == [("48000.5", "0.020")] * 3
    gone = await wire.ok("DELETE", BATCH, symbol=BTC, orderIdList=str([*ids[:2], 1]))
    assert [one.get("code", one.get("status")) for one in gone] == ["CANCELED", "CANCELED", -2011]
    name = (await wire.order(ids[2]))["clientOrderId"]
    gone = await wire.ok("DELETE", BATCH, symbol=BTC, origclientorderidlist=f'["{name}"]')
    assert gone[0]["status"] == "CANCELED"


async def test_amend(wire: Wire) -> None:
    """ORD-11: price and quantity change, priority is lost, and what cannot be changed."""
    made = await wire.limit("BUY", 49000, "0.01")
    same = {"symbol": BTC, "side": "BUY", "orderId": made["orderId"], "price": 49000, "quantity": "0.01"}
    assert await wire.refused(-5027, "PUT", ORDER, **same) == "No need to modify the order."
    assert await wire.refused(-5047, "PUT", ORDER, **{**same, "price": 48000}, reduceOnly="true")
    await wire.refused(-4014, "PUT", ORDER, **{**same, "price": "48000.05"})
    async with wire.user_stream() as stream:
        done = await wire.ok("PUT", ORDER, **{**same, "price": 48000}, modifyId=77)
        assert (done["price"], done["status"], done["modifyId"], done["pair"]) == ("48000.0", "NEW", 77, BTC)
        event = (await stream.settled())[-1]["o"]
        assert (event["x"], event["M"], event["p"]) == ("AMENDMENT", 77, "48000.0")
    rows = await wire.ok("GET", "/fapi/v1/orderAmendment", symbol=BTC, orderId=made["orderId"])
    assert rows[0]["amendment"]["price"] == {"before": "49000.0", "after": "48000.0"}
    wire.server.tick(BTC, "47999", qty="0.004")
    smaller = {**same, "price": 48000, "quantity": "0.004"}
    assert (await wire.ok("PUT", ORDER, **smaller))["status"] == "CANCELED"
    wire.server.tick(BTC, "50000")
    post = await wire.limit("BUY", 49000, "0.01", timeInForce="GTX")
    crossing = {**same, "orderId": post["orderId"], "price": 50001}
    assert (await wire.ok("PUT", ORDER, **crossing))["status"] == "CANCELED"


async def test_unknown_orders_and_retention(wire: Wire) -> None:
    """ORD-12: unknown or finished orders, and what is forgotten after 3 and 90 days."""
    for params in ({"orderId": 5}, {"origClientOrderId": "nope"}):
        assert await wire.refused(-2011, "DELETE", ORDER, symbol=BTC, **params) == "Unknown order sent."
        assert await wire.refused(-2013, "GET", ORDER, symbol=BTC, **params) == "Order does not exist."
    text = await wire.refused(-1102, "GET", ORDER, symbol=BTC)
    assert text == "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
    filled = (await wire.market("BUY", "0.01"))["orderId"]
    await wire.refused(-2011, "DELETE", ORDER, symbol=BTC, orderId=filled)
    canceled = (await wire.limit("BUY", 49000, "0.01"))["orderId"]
    await wire.ok("DELETE", ORDER, symbol=BTC, orderId=canceled)
    wire.server.skip_time(3 * 86_400_000)
    assert (await wire.order(canceled))["status"] == "CANCELED"
    wire.server.skip_time(1)
    await wire.refused(-2013, "GET", ORDER, symbol=BTC, orderId=canceled)
    wire.server.skip_time(87 * 86_400_000 - 1)
    assert (await wire.order(filled))["status"] == "FILLED"
    wire.server.skip_time(1)
    await wire.refused(-2013, "GET", ORDER, symbol=BTC, orderId=filled)


async def test_dead_man_switch(wire: Wire) -> None:
    """ORD-13: it fires, can be armed again, 0 stops it; conditional orders stay."""
    path = "/fapi/v1/countdownCancelAll"
    made = await wire.limit("BUY", 49000, "0.01")
    await wire.algo("BUY", "STOP_MARKET", triggerPrice=51000, quantity="0.01")
    answer = await wire.ok("POST", path, symbol=BTC, countdownTime=1000)
    assert answer == {"symbol": BTC, "countdownTime": "1000"}
    wire.server.skip_time(999)
    await wire.ok("POST", path, symbol=BTC, countdownTime=1000)
    wire.server.skip_time(999)
    assert (await wire.order(made["orderId"]))["status"] == "NEW"
    await wire.ok("POST", path, symbol=BTC, countdownTime=0)
    wire.server.skip_time(5000)
    assert (await wire.order(made["orderId"]))["status"] == "NEW"
    await wire.ok("POST", path, symbol=BTC, countdownTime=100)
    wire.server.skip_time(100)
    assert (await wire.order(made["orderId"]))["status"] == "CANCELED"
    assert len(await wire.ok("GET", "/fapi/v1/openAlgoOrders")) == 1


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [
        ("EXPIRE_TAKER", "EXPIRED_IN_MATCH", "NEW"),
        ("EXPIRE_MAKER", "NEW", "EXPIRED_IN_MATCH"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
        ("NONE", "FILLED", "FILLED"),
    ],
)
async def test_self_trade_prevention(wire: Wire, mode: str, taker: str, maker: str) -> None:
    """ORD-14: scenarios A to D: who expires is the taker's choice."""
    wire.server.set_book(BTC, {})
    resting = await wire.limit("SELL", 50001, "0.01")
    coming = await wire.limit("BUY", 50001, "0.01", selfTradePreventionMode=mode)
    assert (await wire.order(coming["orderId"]))["status"] == taker
    assert (await wire.order(resting["orderId"]))["status"] == maker


async def test_market_order_that_meets_only_itself(wire: Wire) -> None:
    """ORD-14: scenario E: the maker expires, and the market order finds nobody."""
    wire.server.set_book(BTC, {})
    resting = await wire.limit("SELL", 50001, "0.01")
    done = await wire.market("BUY", "0.01", selfTradePreventionMode="EXPIRE_MAKER")
    assert (done["status"], done["executedQty"]) == ("EXPIRED", "0.000")
    assert (await wire.order(resting["orderId"]))["status"] == "EXPIRED_IN_MATCH"


@pytest.mark.parametrize(
    ("mode", "tif", "taker", "maker"),
    [
        ("EXPIRE_TAKER", "GTC", ("EXPIRED_IN_MATCH", "1"), None),
        ("EXPIRE_TAKER", "IOC", ("EXPIRED_IN_MATCH", "3"), None),
        ("EXPIRE_MAKER", "IOC", ("EXPIRED", "2"), ("EXPIRED_IN_MATCH", "1")),
        ("EXPIRE_MAKER", "GTC", None, ("EXPIRED_IN_MATCH", "1")),
        ("EXPIRE_BOTH", "GTC", ("EXPIRED_IN_MATCH", "1"), ("EXPIRED_IN_MATCH", "1")),
        ("EXPIRE_BOTH", "IOC", ("EXPIRED_IN_MATCH", "3"), ("EXPIRED_IN_MATCH", "1")),
    ],
)
async def test_self_trade_prevention_of_the_rest(
    wire: Wire, mode: str, tif: str, taker: tuple[str, str] | None, maker: tuple[str, str] | None
) -> None:
    """ORD-14: after a fill with somebody else the whole remaining quantity expires, and events say why."""
    other = Wire(wire.server, wire.session, 1)
    wire.server.set_book(BTC, {})
    await other.limit("SELL", 50001, "0.01")
    resting = await wire.limit("SELL", 50002, "0.05")
    async with wire.user_stream() as stream:
        coming = await wire.limit("BUY", 50002, "0.03", timeInForce=tif, selfTradePreventionMode=mode)
        events = [e["o"] for e in await stream.settled() if e["e"] == "ORDER_TRADE_UPDATE"]
    ended = {e["i"]: (e["X"], e["er"]) for e in events if e["x"] == "EXPIRED"}
    assert ended.get(coming["orderId"]) == taker
    assert ended.get(resting["orderId"]) == maker
    row = await wire.order(coming["orderId"])
    assert (row["executedQty"], row["selfTradePreventionMode"]) == ("0.010", mode)
    assert row["status"] == (taker[0] if taker else "PARTIALLY_FILLED")
    assert (await wire.order(resting["orderId"]))["executedQty"] == "0.000"


async def test_where_self_trade_prevention_does_not_apply(wire: Wire) -> None:
    """ORD-14: fill-or-kill trades with itself, an amended order has no mode any more, texts of a bad mode."""
    wire.server.set_book(BTC, {})
    resting = await wire.limit("SELL", 50001, "0.01")
    done = await wire.limit(
        "BUY", 50001, "0.01", timeInForce="FOK", newOrderRespType="RESULT",
        selfTradePreventionMode="EXPIRE_TAKER",
    )  # fmt: skip
    assert (done["status"], done["selfTradePreventionMode"]) == ("FILLED", "EXPIRE_TAKER")
    assert (await wire.order(resting["orderId"]))["status"] == "FILLED"
    amended = await wire.limit("BUY", 49000, "0.01", selfTradePreventionMode="EXPIRE_BOTH")
    answer = await wire.ok(
        "PUT", ORDER, symbol=BTC, side="BUY", price=49001, quantity="0.01", orderId=amended["orderId"]
    )
    assert answer["selfTradePreventionMode"] == "NONE"
    text = await wire.refused(
        -5039, "POST", ORDER, **limit("BUY", 49000, "0.01", selfTradePreventionMode="ME")
    )
    assert text == "Invalid self trade prevention mode"
    default = await wire.limit("BUY", 48999, "0.01")
    assert default["selfTradePreventionMode"] == "EXPIRE_MAKER"


async def test_price_time_priority_between_clients(wire: Wire) -> None:
    """ORD-1: the better price first, then the earlier order; the taker pays the maker's price."""
    other = Wire(wire.server, wire.session, 1)
    wire.server.set_book(BTC, {})
    first = await wire.limit("SELL", 50002, "0.01")
    second = await other.limit("SELL", 50002, "0.01")
    best = await other.limit("SELL", 50001, "0.01")
    third = Wire(wire.server, wire.session, wire.server.add_account().index)
    done = await third.limit("BUY", 50010, "0.02", newOrderRespType="RESULT")
    assert (done["status"], done["executedQty"]) == ("FILLED", "0.020")
    assert (await third.order(done["orderId"]))["avgPrice"] == "50001.5"
    assert (await wire.order(first["orderId"]))["status"] == "FILLED"
    assert (await other.order(best["orderId"]))["status"] == "FILLED"
    assert (await other.order(second["orderId"]))["status"] == "NEW"


async def test_reduce_only_without_position(wire: Wire) -> None:
    """RED-1: nothing to reduce."""
    for params in (
        limit("SELL", 51000, "0.01", reduceOnly="true"),
        market("SELL", "0.01", reduceOnly="true"),
    ):
        assert await wire.refused(-2022, "POST", ORDER, **params) == "ReduceOnly Order is rejected."
    await wire.market("BUY", "0.01")
    await wire.refused(-2022, "POST", ORDER, **market("BUY", "0.01", reduceOnly="true"))


async def test_reduce_only_is_cut_to_the_position(wire: Wire) -> None:
    """RED-2: more than the position is reduced to it; next to a plain order of the side it is -4118."""
    await wire.market("BUY", "0.01")
    made = await wire.limit("SELL", 51000, "0.05", reduceOnly="true")
    assert made["origQty"] == "0.010"
    wire.server.tick(BTC, "51001")
    assert (await wire.position())["positionAmt"] == "0.000"
    wire.server.tick(BTC, "50000")
    await wire.market("BUY", "0.01")
    await wire.limit("SELL", 51000, "0.01")
    await wire.refused(-4118, "POST", ORDER, **limit("SELL", 51500, "0.01", reduceOnly="true"))


async def test_two_reduce_only_orders(wire: Wire) -> None:
    """RED-3: the better one knocks the other out with er 4; so does a shrinking position."""
    await wire.market("BUY", "0.01")
    worse = await wire.limit("SELL", 52000, "0.01", reduceOnly="true")
    async with wire.user_stream() as stream:
        better = await wire.limit("SELL", 51000, "0.01", reduceOnly="true")
        ended = [
            e["o"]
            for e in await stream.settled()
            if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["x"] == "EXPIRED"
        ]
        assert [(o["i"], o["er"]) for o in ended] == [(worse["orderId"], "4")]
        await wire.market("SELL", "0.01")
        ended = [
            e["o"]
            for e in await stream.settled()
            if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["x"] == "EXPIRED"
        ]
        assert [(o["i"], o["er"]) for o in ended] == [(better["orderId"], "4")]


async def test_hedge_mode_takes_no_reduce_only(wire: Wire) -> None:
    """RED-4: -1106 with any value; closing more than the leg is -2022."""
    await wire.ok("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    for value in ("true", "false"):
        text = await wire.refused(
            -1106, "POST", ORDER, **market("BUY", "0.01", positionSide="LONG", reduceOnly=value)
        )
        assert text == "Parameter 'reduceOnly' sent when not required."
    await wire.refused(-4061, "POST", ORDER, **market("BUY", "0.01"))
    await wire.market("BUY", "0.01", positionSide="LONG")
    await wire.refused(-2022, "POST", ORDER, **market("SELL", "0.02", positionSide="LONG"))
    await wire.market("SELL", "0.01", positionSide="LONG")
