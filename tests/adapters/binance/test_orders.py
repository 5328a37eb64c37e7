"""Orders against answers of every kind: refused, adopted, unknown; what is sent, and to which book."""

from __future__ import annotations

import asyncio

import pytest
from tests.adapters.binance.order_bench import NOT_FOUND, UNKNOWN_ORDER, Bench, algo_row, new, order_row
from tests.adapters.binance.scripted import START, Say, Sent, until

from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.orders import LEVERAGE_TRUST_MS
from perpdesk.adapters.binance.standing import MARGIN_MS, Standing, look, settle
from perpdesk.kernel.records import LIMIT, MARKET, SELL, STOP, TAKE_PROFIT, TRAILING
from perpdesk.ports import NewOrder, Outcome


@pytest.mark.parametrize(
    ("order", "hedge", "path", "params"),
    [
        (
            new(kind=LIMIT, price=5_000_004),
            False,
            "order",
            {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "50000.00",
             "quantity": "0.010", "newClientOrderId": "c1"},
        ),
        (
            new(kind=MARKET, side=SELL, price=0, reduce_only=True),
            False,
            "order",
            {"side": "SELL", "type": "MARKET", "quantity": "0.010", "reduceOnly": "true"},
        ),
        (
            new(kind=MARKET, side=SELL, price=0, reduce_only=True),
            True,
            "order",
            {"side": "SELL", "positionSide": "LONG"},
        ),
        (new(kind=MARKET, side=SELL, price=0), True, "order", {"side": "SELL", "positionSide": "SHORT"}),
        (
            new(kind=STOP, side=SELL, price=4_900_001, reduce_only=True),
            False,
            "algoOrder",
            {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "triggerPrice": "49000.10", "quantity": "0.010",
             "reduceOnly": "true", "workingType": "CONTRACT_PRICE", "clientAlgoId": "c1"},
        ),
        (
            new(kind=TAKE_PROFIT, side=SELL, price=5_100_009, reduce_only=True),
            False,
            "algoOrder",
            {"type": "TAKE_PROFIT_MARKET", "triggerPrice": "51000.00"},
        ),
        (
            new(kind=TRAILING, side=SELL, price=0, reduce_only=True, activation=5_100_000, callback_ppm=5_000),
            False,
            "algoOrder",
            {"type": "TRAILING_STOP_MARKET", "activatePrice": "51000.00", "callbackRate": "0.5"},
        ),
    ],
)  # fmt: skip
async def test_each_kind_goes_to_its_book_in_the_exchanges_words(
    bench: Bench, order: NewOrder, hedge: bool, path: str, params: dict[str, str]
) -> None:
    bench.orders.hedge = hedge
    assert (await bench.orders.place(order)).outcome is Outcome.ACCEPTED
    sent = bench.server.of(f"/fapi/v1/{path}")[0].params
    assert {name: sent.get(name) for name in params} == params
    assert ("reduceOnly" in sent) == (order.reduce_only and not hedge)


@pytest.mark.parametrize(
    ("say", "outcome"),
    [
        (Say({"code": -2019, "msg": "Margin is insufficient."}, 400), Outcome.REFUSED),
        (Say({"code": -1008, "msg": "throttled"}, 503), Outcome.REFUSED),
        (Say(raw=b"Service Unavailable.", status=503), Outcome.REFUSED),
        (Say({"code": -1003, "msg": "Too many requests"}, 429), Outcome.REFUSED),
        (Say({"code": -1007, "msg": "Timeout waiting"}, 408), Outcome.UNKNOWN),
        (
            Say(raw=b"Unknown error, please check your request or try again later.", status=503),
            Outcome.UNKNOWN,
        ),
        (Say({"code": -1001, "msg": "Internal error"}, 503), Outcome.UNKNOWN),
        (Say(drop=True), Outcome.UNKNOWN),
        (Say(raw=b""), Outcome.UNKNOWN),
        (Say(raw=b'{"orderId":1,"symb'), Outcome.UNKNOWN),
        (Say(raw=b"<html>hello</html>"), Outcome.UNKNOWN),
        (Say(order_row("somebody-else")), Outcome.UNKNOWN),
        (Say({"code": -2019, "msg": "x"}), Outcome.UNKNOWN),
    ],
)
async def test_outcomes_of_placing(bench: Bench, say: Say, outcome: Outcome) -> None:
    bench.server.on("POST", "/fapi/v1/order", say)
    answer = await bench.orders.place(new())
    assert answer.outcome is outcome
    assert answer.reason
    assert len(bench.server.of("/fapi/v1/order", "POST")) == 1
    # an order that may be alive is remembered, and there is a time after which it cannot be
    assert (bench.known.get("c1") is not None) == (outcome is Outcome.UNKNOWN)
    assert (answer.fence_ms >= START + 5_000) == (outcome is Outcome.UNKNOWN)


async def test_filters_refuse_before_the_wire(bench: Bench) -> None:
    for order, code in ((new(lots=0), "-4004"), (new(lots=10**7), "-4005"), (new(price=100_000), "-4164")):
        answer = await bench.orders.place(order)
        assert answer.outcome is Outcome.REFUSED
        assert (code in answer.reason) or code == "-4164"
    assert bench.server.sent == []


@pytest.mark.parametrize("alive", [True, False])
async def test_a_duplicate_id_adopts_the_living_order_only_if_it_is_the_same(
    bench: Bench, alive: bool
) -> None:
    bench.server.on("POST", "/fapi/v1/order", Say({"code": -4116, "msg": "clientOrderId is duplicated"}, 400))
    bench.server.on("GET", "/fapi/v1/order", Say(order_row(qty="0.010" if alive else "0.020")))
    answer = await bench.orders.place(new())
    assert answer.outcome is (Outcome.ACCEPTED if alive else Outcome.UNKNOWN)
    assert bench.known.get("c1") is not None


async def test_leverage_is_set_once_before_an_entry_and_never_for_an_exit(bench: Bench) -> None:
    bench.server.on("POST", "/fapi/v1/leverage", Say({"leverage": 10, "symbol": "BTCUSDT"}))
    for i in range(2):
        assert (await bench.orders.place(new(f"e{i}", leverage=10))).outcome is Outcome.ACCEPTED
    await bench.orders.place(new("x", kind=MARKET, side=SELL, reduce_only=True, leverage=20))
    assert len(bench.server.of("/fapi/v1/leverage")) == 1
    bench.clock.advance_to(bench.clock.now_ms() + LEVERAGE_TRUST_MS + 1)
    await bench.orders.place(new("e2", leverage=10))
    assert len(bench.server.of("/fapi/v1/leverage")) == 2, "somebody may have changed it, unheard"


@pytest.mark.parametrize(
    "say", [Say({"code": -4028, "msg": "Leverage 10 is not valid"}, 400), Say(drop=True), Say({}, 503)]
)
async def test_without_its_leverage_an_entry_is_not_sent(bench: Bench, say: Say) -> None:
    bench.server.on("POST", "/fapi/v1/leverage", say)
    answer = await bench.orders.place(new(leverage=10))
    assert answer.outcome is Outcome.REFUSED
    assert bench.server.of("/fapi/v1/order") == []


async def test_conditional_slots_are_held_and_given_back(bench: Bench) -> None:
    stop = new("s", kind=STOP, side=SELL, price=4_900_000, reduce_only=True)
    await bench.orders.place(stop)
    assert bench.governor.conditional_free("a", Lane.CLOSE) == 199
    refused = Say({"code": -2021, "msg": "Order would immediately trigger."}, 400)
    bench.server.on("POST", "/fapi/v1/algoOrder", refused)
    answer = await bench.orders.place(new("t", kind=STOP, side=SELL, price=4_900_000, reduce_only=True))
    assert "-2021" in answer.reason
    assert bench.governor.conditional_free("a", Lane.CLOSE) == 199


@pytest.mark.parametrize(
    ("regular", "algo", "kind", "outcome", "asked"),
    [
        (Say(order_row(status="CANCELED")), UNKNOWN_ORDER, LIMIT, Outcome.ACCEPTED, ["order"]),
        (UNKNOWN_ORDER, Say({"algoId": 9, "clientAlgoId": "c1", "code": "200", "msg": "success"}), STOP,
         Outcome.ACCEPTED, ["algoOrder"]),
        # triggered: it lives on as an ordinary order
        (Say(order_row(status="CANCELED")), UNKNOWN_ORDER, STOP, Outcome.ACCEPTED, ["algoOrder", "order"]),
        (UNKNOWN_ORDER, UNKNOWN_ORDER, STOP, Outcome.REFUSED, ["algoOrder", "order"]),
        (UNKNOWN_ORDER, UNKNOWN_ORDER, LIMIT, Outcome.REFUSED, ["order"]),
        (Say(drop=True), UNKNOWN_ORDER, LIMIT, Outcome.UNKNOWN, ["order"]),
        (Say({"code": -1007, "msg": "Timeout"}, 408), UNKNOWN_ORDER, LIMIT, Outcome.UNKNOWN, ["order"]),
    ],
)  # fmt: skip
async def test_canceling_asks_the_books_where_the_order_can_be(
    bench: Bench, regular: Say, algo: Say, kind: int, outcome: Outcome, asked: list[str]
) -> None:
    bench.server.on("DELETE", "/fapi/v1/order", regular)
    bench.server.on("DELETE", "/fapi/v1/algoOrder", algo)
    await bench.orders.place(new(kind=kind, side=SELL, price=5_000_000, reduce_only=True))
    assert (await bench.orders.cancel(0, "c1")).outcome is outcome
    deleted = [sent.path.rpartition("/")[2] for sent in bench.server.sent if sent.method == "DELETE"]
    # a DELETE may be repeated by the HTTP library on a dead connection: it is idempotent
    assert list(dict.fromkeys(deleted)) == asked


async def test_an_order_from_before_this_process_is_looked_for_in_both_books(bench: Bench) -> None:
    bench.server.on("DELETE", "/fapi/v1/order", UNKNOWN_ORDER)
    bench.server.on("DELETE", "/fapi/v1/algoOrder", Say({"algoId": 9, "clientAlgoId": "old", "code": "200"}))
    assert (await bench.orders.cancel(0, "old")).outcome is Outcome.ACCEPTED


# -- what became of an unknown order --------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"<html>502 Bad Gateway</html>", b"", b"{}", b'{"clientOrderId":"another","orderId":1}']
)
async def test_a_cancel_whose_answer_does_not_name_the_order_is_not_carried_out(
    bench: Bench, body: bytes
) -> None:
    """NET-05: a 200 from something in between."""
    await bench.orders.place(new(client_id="c1"))
    bench.server.on("DELETE", "/fapi/v1/order", Say(raw=body, status=200))
    bench.server.on("DELETE", "/fapi/v1/algoOrder", Say(raw=body, status=200))
    assert (await bench.orders.cancel(0, "c1")).outcome is Outcome.UNKNOWN


async def test_looking_tells_alive_from_ended_from_nothing(bench: Bench) -> None:
    async def standing() -> Standing:
        return (await look(bench.rest, "BTCUSDT", "c1")).standing

    assert await standing() is Standing.UNKNOWN
    bench.server.on("GET", "/fapi/v1/algoOrder", Say(algo_row()))
    assert await standing() is Standing.ALIVE
    bench.server.on("GET", "/fapi/v1/algoOrder", Say(algo_row(status="EXPIRED")))
    assert await standing() is Standing.ENDED
    bench.server.on("GET", "/fapi/v1/order", Say(order_row(status="A_NEW_WORD")))
    assert await standing() is Standing.ALIVE
    bench.server.on("GET", "/fapi/v1/order", Say(order_row(status="FILLED") | {"executedQty": "0.010"}))
    assert await standing() is Standing.ENDED


async def test_a_filled_order_that_denies_its_fill_is_no_answer(bench: Bench) -> None:
    """API-28: well formed, and zeros only."""
    bench.server.on("GET", "/fapi/v1/order", Say(order_row(status="FILLED")))
    with pytest.raises(ExchangeUnreachable, match="zeros only"):
        await look(bench.rest, "BTCUSDT", "c1")


async def settled(bench: Bench, fence_ms: int, step_ms: int = 500) -> tuple[Standing, int]:

    task = asyncio.create_task(settle(bench.rest, bench.clock, "BTCUSDT", "c1", fence_ms))

    async def later() -> None:
        bench.clock.advance_to(bench.clock.now_ms() + step_ms)

    await until(task.done, later)
    return (await task).standing, bench.clock.now_ms()


async def test_absence_is_told_only_after_the_fence_and_two_looks(bench: Bench) -> None:
    fence_ms = START + 5_000
    standing, now_ms = await settled(bench, fence_ms)
    assert standing is Standing.ABSENT
    assert now_ms > fence_ms + MARGIN_MS + 2_000
    assert len(bench.server.of("/fapi/v1/userTrades")) == 1


async def test_an_order_that_shows_up_late_is_alive(bench: Bench) -> None:
    """ALG-01, API-14: hidden for a while, and there after all."""
    bench.server.on("GET", "/fapi/v1/algoOrder", NOT_FOUND, NOT_FOUND, Say(algo_row()))
    standing, _ = await settled(bench, START + 5_000)
    assert standing is Standing.ALIVE


async def test_an_order_that_only_the_list_knows_is_found_at_the_second_look(bench: Bench) -> None:
    """API-14: both queries deny it for as long as anybody asks."""
    filled = order_row(status="FILLED") | {"executedQty": "0.010"}
    bench.server.on("GET", "/fapi/v1/allOrders", Say([order_row("somebodys"), filled]))
    standing, now_ms = await settled(bench, START + 5_000)
    assert standing is Standing.ENDED
    assert now_ms <= START + 3_000


async def test_an_order_that_traded_and_is_denied_is_not_absent(bench: Bench) -> None:
    """It may be the one that is looked for: nobody calls it dead."""
    trade = {
        "symbol": "BTCUSDT", "id": 1, "orderId": 7, "side": "BUY", "price": "50000", "qty": "0.010",
        "realizedPnl": "0", "commission": "0.25", "commissionAsset": "USDT", "time": START + 1,
    }  # fmt: skip
    bench.server.on("GET", "/fapi/v1/userTrades", Say([trade]))
    with pytest.raises(ExchangeUnreachable, match="has traded and is denied"):
        await settled(bench, START + 5_000)


async def test_an_order_that_only_its_fills_know_has_ended(bench: Bench) -> None:
    trade = {
        "symbol": "BTCUSDT", "id": 1, "orderId": 7, "side": "BUY", "price": "50000", "qty": "0.010",
        "realizedPnl": "0", "commission": "0.25", "commissionAsset": "USDT", "time": START + 1,
    }  # fmt: skip
    bench.server.on("GET", "/fapi/v1/userTrades", Say([trade]))

    def by_number(sent: Sent) -> Say:
        return Say(order_row(status="FILLED")) if "orderId" in sent.params else NOT_FOUND

    bench.server.on("GET", "/fapi/v1/order", by_number)
    standing, _ = await settled(bench, START + 5_000)
    assert standing is Standing.ENDED
