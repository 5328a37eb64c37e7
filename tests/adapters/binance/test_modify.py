"""Amending a resting order: it stays what it was unless the exchange has said otherwise."""

from __future__ import annotations

import pytest
from tests.adapters.binance.order_bench import Bench, new, order_row
from tests.adapters.binance.scripted import Say
from tests.adapters.binance.test_venue import balances
from tests.contract.binance_desk import binance_desk
from tests.contract.venue_suite import START, order, trades

from perpdesk.exchange.faults import Fault
from perpdesk.kernel.records import BUY, LIMIT, MARKET, SELL, STOP
from perpdesk.ports import Outcome

PATH = "/fapi/v1/order"


@pytest.mark.parametrize(
    ("say", "outcome"),
    [
        (Say(order_row()), Outcome.ACCEPTED),
        (Say(order_row("another")), Outcome.UNKNOWN),
        (Say(raw=b"<html>"), Outcome.UNKNOWN),
        (Say(drop=True), Outcome.UNKNOWN),
        (Say({"code": -1007, "msg": "unknown"}, 408), Outcome.UNKNOWN),
        (Say({"code": -5027, "msg": "No need to modify the order."}, 400), Outcome.REFUSED),
        (Say({"code": -5026, "msg": "Exceed maximum modify order limit."}, 400), Outcome.REFUSED),
        (Say({"code": -2013, "msg": "Order does not exist."}, 400), Outcome.REFUSED),
        (Say({"code": -5999, "msg": "new"}, 400), Outcome.UNKNOWN),
    ],
)
async def test_what_an_answer_to_an_amendment_proves(bench: Bench, say: Say, outcome: Outcome) -> None:
    await bench.orders.place(new())
    bench.server.on("PUT", PATH, say)
    answer = await bench.orders.modify(0, "c1", 4_990_000, 20)
    assert answer.outcome is outcome
    known = bench.known.get("c1")
    assert known is not None  # a refused amendment does not end the order
    assert (known.order.price, known.order.lots, known.lots_left) == (
        (4_990_000, 20, 20) if outcome is Outcome.ACCEPTED else (5_000_000, 10, 10)
    )
    (sent,) = bench.server.of(PATH, "PUT")
    said = {name: sent.params[name] for name in ("symbol", "side", "quantity", "price", "origClientOrderId")}
    assert said == {
        "symbol": "BTCUSDT", "side": "BUY", "quantity": "0.020", "price": "49900.00", "origClientOrderId": "c1",
    }  # fmt: skip


@pytest.mark.parametrize("code", [-5024, -5025, -5027])
async def test_codes_of_amendments_prove_nothing_of_a_new_order(bench: Bench, code: int) -> None:
    bench.server.on("POST", PATH, Say({"code": code, "msg": "odd"}, 400))
    assert (await bench.orders.place(new())).outcome is Outcome.UNKNOWN


async def test_only_a_living_limit_order_of_ours_is_amended(bench: Bench) -> None:
    await bench.orders.place(new("stop", kind=STOP, side=SELL, reduce_only=True))
    for name in ("stop", "nobody"):
        answer = await bench.orders.modify(0, name, 4_990_000, 10)
        assert answer.outcome is Outcome.REFUSED
    await bench.orders.place(new("out"))
    assert (await bench.orders.modify(0, "out", 4_990_000, 0)).reason.startswith("-4004")
    assert bench.server.of(PATH, "PUT") == []


async def test_an_amended_order_trades_at_its_new_price() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        answer = await desk.venue.modify(0, "rest", START - 500, 15)
        assert answer.outcome is Outcome.ACCEPTED
        assert (await desk.venue.modify(0, "rest", START - 500, 15)).reason.startswith("-5027")
        told = trades(await desk.move(START - 600))
        assert [(fill.client_id, fill.price, fill.lots) for fill in told] == [("rest", START - 500, 15)]
        assert (await desk.venue.modify(0, "rest", START - 700, 15)).outcome is Outcome.REFUSED
        await balances(desk)


async def test_an_amendment_whose_answer_is_lost_is_unknown_and_the_fill_tells() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.venue.place(order("out", LIMIT, SELL, START + 1_000, reduce_only=True, slot=1))
        desk.server.faults.add(Fault(kind="drop-resp", route="PUT /fapi/v1/order"))
        answer = await desk.venue.modify(0, "out", START + 500, 10)
        assert answer.outcome is Outcome.UNKNOWN
        told = trades(await desk.move(START + 600))
        assert [(fill.client_id, fill.price) for fill in told if fill.slot == 1] == [("out", START + 500)]
