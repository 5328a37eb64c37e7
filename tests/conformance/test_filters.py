"""Each filter on both sides of its boundary (reference §5.1, §6.1)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.conformance.wire import BTC, Wire, limit, market

ORDER = "/fapi/v1/order"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (limit("BUY", "49000.1", "0.01"), 0),
        (limit("BUY", "49000.100", "0.010"), 0),
        (limit("BUY", "49000.15", "0.01"), -4014),
        (limit("BUY", "49000.123", "0.01"), -1111),
        (limit("BUY", "0.01", "0.01"), -4013),
        (limit("SELL", "1e12", "0.01"), -4002),
        (limit("BUY", "49000", "0.0101"), -1111),
        (limit("BUY", "49000", "0"), -4003),
        (limit("BUY", "49000", "-1"), -4003),
        (limit("BUY", "49000", "0.0001"), -1111),
        (limit("BUY", "49000", "1001"), -4005),
        (market("BUY", "120.001"), -4005),
        (limit("BUY", "52500", "0.01"), 0),
        (limit("BUY", "52500.1", "0.01"), -4016),
        (limit("SELL", "47500", "0.01"), 0),
        (limit("SELL", "47499.9", "0.01"), -4024),
        (limit("BUY", "49000", "0.002"), -4164),
        (limit("BUY", "49000", "0.003"), 0),
        (market("BUY", "0.001"), -4164),
        (limit("BUY", "49000", "abc"), -1013),
        (limit("BUY", "NaN", "0.01"), -1013),
    ],
)
async def test_filters(wire: Wire, params: dict[str, object], code: int) -> None:
    """FIL-1 FIL-2 FIL-3 FIL-4 FIL-5 FIL-6 FIL-7: price, tick, precision, lot, market lot, percent price, notional."""
    reply = await wire.call("POST", ORDER, **params)
    assert reply.status == (400 if code else 200), reply.body
    if code:
        assert reply.body["code"] == code, reply.body
    tested = await wire.call("POST", "/fapi/v1/order/test", **params)
    assert tested.body.get("code", 0) == code


async def test_filter_texts(wire: Wire) -> None:
    """FIL-6 FIL-7: bounds stand in the texts."""
    text = await wire.refused(-4016, "POST", ORDER, **limit("BUY", "53000", "0.01"))
    assert text == "Limit price can't be higher than 52500."
    text = await wire.refused(-4164, "POST", ORDER, **limit("BUY", "49000", "0.001"))
    assert text == "Order's notional must be no smaller than 100 (unless you choose reduce only)."


async def test_step_above_the_minimum(wire: Wire) -> None:
    """FIL-3: below the minimum -4004, within precision but off the step -4023."""
    contract = wire.server.contract(BTC)
    contract.lots_min = 5
    await wire.refused(-4004, "POST", ORDER, **limit("BUY", "49000", "0.004"))
    await wire.limit("BUY", "49000", "0.005")
    contract.lot_step, contract.lot_units = Decimal("0.002"), 2
    await wire.refused(-4023, "POST", ORDER, **limit("BUY", "49000", "0.011"))


async def test_reduce_only_is_exempt_from_min_notional(wire: Wire) -> None:
    """FIL-8: a reduce-only order may be small."""
    await wire.market("BUY", "0.003")
    await wire.refused(-4164, "POST", ORDER, **limit("SELL", "51000", "0.001"))
    await wire.limit("SELL", "51000", "0.001", reduceOnly="true")


async def test_open_order_limit(wire: Wire) -> None:
    """FIL-9: the 201st open order of a symbol is -2025; conditional orders do not count."""
    wire.server.contract(BTC).orders_max = 3
    wire.server.limits.order_limit_10s = wire.server.limits.order_limit_1m = 1_000
    for i in range(200):
        await wire.algo("BUY", "STOP_MARKET", triggerPrice=51000 + i, quantity="0.01")
    for i in range(3):
        await wire.limit("BUY", 48000 + i, "0.003")
    assert (
        await wire.refused(-2025, "POST", ORDER, **limit("BUY", 48010, "0.003"))
        == "Reach max open order limit."
    )


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"symbol": "NOPEUSDT"}, -1121, "Invalid symbol."),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "ICEBERG"}, -1116, "Invalid orderType."),
        ({"timeInForce": "DAY"}, -1115, "Invalid timeInForce."),
        (
            {"quantity": ""},
            -1102,
            "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed.",
        ),
        ({"price": ""}, -1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed."),
        (
            {"timeInForce": ""},
            -1102,
            "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.",
        ),
        ({"positionSide": "UP"}, -4060, "Invalid position side."),
        ({"positionSide": "LONG"}, -4061, "Order's position side does not match user's setting."),
        ({"reduceOnly": "maybe"}, -4062, "Invalid or improper reduceOnly value."),
        ({"selfTradePreventionMode": "X"}, -5039, "Invalid self trade prevention mode"),
        ({"priceMatch": "QUEUE", "price": ""}, 0, ""),
        ({"priceMatch": "OPPONENT_20", "price": ""}, -5037, "Invalid price match"),
        ({"priceMatch": "QUEUE"}, -1128, "Combination of optional parameters invalid."),
    ],
)
async def test_bad_parameters(wire: Wire, params: dict[str, object], code: int, text: str) -> None:
    """FIL-1: unusable parameters have their own codes and texts."""
    reply = await wire.call("POST", ORDER, **{**limit("BUY", 49000, "0.01"), **params})
    if code:
        assert reply.body == {"code": code, "msg": text}
    else:
        assert reply.body["price"] == "50000.0"
