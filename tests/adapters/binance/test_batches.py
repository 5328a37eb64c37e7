"""Batches: every order of one is settled by itself, and an odd answer proves nothing of any."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.adapters.binance.order_bench import Bench, new, order_row
from tests.adapters.binance.scripted import Say, Sent
from tests.adapters.binance.test_venue import balances
from tests.contract.binance_desk import binance_desk
from tests.contract.venue_suite import START, order, trades

from perpdesk.adapters.binance.batches import Batches
from perpdesk.exchange.faults import Fault
from perpdesk.kernel.records import BUY, LIMIT, MARKET, SELL, STOP
from perpdesk.ports import Outcome

ACCEPTED, REFUSED, UNKNOWN = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN
PATH = "/fapi/v1/batchOrders"


def items(sent: Sent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(sent.params["batchOrders"])
    return found


async def test_each_order_of_a_batch_is_settled_by_its_own_answer(bench: Bench) -> None:
    """API-30: 200 with per-item codes; what is not on the white-list is unknown, also inside a batch."""
    said = [
        order_row("a"),
        {"code": -2019, "msg": "Margin is insufficient."},
        {"code": -1007, "msg": "Timeout waiting for response from backend server."},
        {"code": -9999, "msg": "something new"},
        order_row("another id"),
    ]
    bench.server.on("POST", PATH, Say(said))
    answers = await Batches(bench.orders).place([new(name) for name in "abcde"])
    assert [answer.outcome for answer in answers] == [ACCEPTED, REFUSED, UNKNOWN, UNKNOWN, UNKNOWN]
    assert answers[1].reason == "-2019: Margin is insufficient."
    assert all(answer.fence_ms > 0 for answer in answers[2:])
    assert [name for name in "abcde" if bench.known.get(name) is not None] == ["a", "c", "d", "e"]
    (sent,) = bench.server.of(PATH)
    assert [one["newClientOrderId"] for one in items(sent)] == list("abcde")
    assert items(sent)[0]["price"] == "50000.00"


@pytest.mark.parametrize(
    ("say", "outcome"),
    [
        (Say([order_row("a")]), UNKNOWN),
        (Say(raw=b"[{"), UNKNOWN),
        (Say({"code": 200}), UNKNOWN),
        (Say(raw=b"[1, 2]"), UNKNOWN),
        (Say(drop=True), UNKNOWN),
        (Say({"code": -1007, "msg": "unknown"}, 408), UNKNOWN),
        (Say({"code": -4083, "msg": "Fail to place batch orders."}, 400), UNKNOWN),
        (Say({"code": -1022, "msg": "Signature for this request is not valid."}, 400), REFUSED),
        (Say({"code": -4082, "msg": "Invalid number of batch place orders."}, 400), REFUSED),
        (Say({"code": -1008, "msg": "Request throttled by system-level protection."}, 503), REFUSED),
    ],
)
async def test_an_answer_to_the_whole_batch_is_an_answer_to_each(
    bench: Bench, say: Say, outcome: Outcome
) -> None:
    bench.server.on("POST", PATH, say)
    answers = await Batches(bench.orders).place([new("a"), new("b")])
    assert [answer.outcome for answer in answers] == [outcome, outcome]
    assert (bench.known.get("a") is None) is (outcome is REFUSED)


async def test_what_cannot_be_in_a_batch_goes_by_itself_and_answers_keep_their_places(bench: Bench) -> None:
    bench.server.on("POST", PATH, lambda sent: Say([order_row(o["newClientOrderId"]) for o in items(sent)]))
    orders = [new(f"o{i}") for i in range(7)]
    orders.insert(2, new("stop", kind=STOP, side=SELL, reduce_only=True))
    orders.insert(5, new("none", lots=0))
    orders.append(new("o0"))
    answers = await Batches(bench.orders).place(orders)
    outcomes = {
        order.client_id + str(i): answer.outcome
        for i, (order, answer) in enumerate(zip(orders, answers, strict=True))
    }
    assert {name for name, outcome in outcomes.items() if outcome is REFUSED} == {"none5", "o09"}
    assert [len(items(sent)) for sent in bench.server.of(PATH)] == [5, 2]
    assert len(bench.server.of("/fapi/v1/algoOrder", "POST")) == 1


async def test_cancels_of_a_batch_are_settled_by_themselves(bench: Bench) -> None:
    bench.server.on("POST", PATH, lambda sent: Say([order_row(o["newClientOrderId"]) for o in items(sent)]))
    bench.server.on(
        "DELETE",
        PATH,
        Say(
            [
                order_row("a", "CANCELED"),
                {"code": -2011, "msg": "Unknown order sent."},
                order_row("z", "CANCELED"),
            ]
        ),
    )
    batches = Batches(bench.orders)
    await batches.place([new("a"), new("b"), new("c")])
    answers = await batches.cancel(0, ["a", "b", "c"])
    assert [answer.outcome for answer in answers] == [ACCEPTED, REFUSED, UNKNOWN]
    assert json.loads(bench.server.of(PATH, "DELETE")[0].params["origClientOrderIdList"]) == ["a", "b", "c"]


async def test_a_batch_over_the_exchange() -> None:
    async with binance_desk() as desk:
        wanted = [order(f"b{i}", LIMIT, BUY, START - 1_000 - i, slot=i) for i in range(6)]
        wanted[1] = order("b1", LIMIT, BUY, START - 1_000, lots=9_999, slot=1)  # more margin than there is
        wanted.append(order("s", STOP, SELL, START - 2_000, slot=8))
        answers = await desk.venue.place_many(wanted)
        assert [answer.outcome for answer in answers] == [ACCEPTED, REFUSED] + [ACCEPTED] * 5
        assert "-2027" in answers[1].reason or "-2019" in answers[1].reason
        assert await desk.venue.open_client_ids(0) == {"b0", "b2", "b3", "b4", "b5", "s"}
        answers = await desk.venue.cancel_many(0, ["b0", "s", "b2", "nobody"])
        assert [answer.outcome for answer in answers] == [ACCEPTED, ACCEPTED, ACCEPTED, REFUSED]
        assert await desk.venue.open_client_ids(0) == {"b3", "b4", "b5"}
        told = trades(await desk.move(START - 1_100))
        assert sorted(fill.client_id for fill in told) == ["b3", "b4", "b5"]
        await balances(desk)


async def test_a_batch_whose_answer_is_lost_has_traded_once() -> None:
    async with binance_desk() as desk:
        desk.server.faults.add(Fault(kind="drop-resp", route=f"POST {PATH}"))
        answers = await desk.venue.place_many([order(f"m{i}", MARKET, BUY, slot=i) for i in range(3)])
        assert [answer.outcome for answer in answers] == [UNKNOWN] * 3
        await desk.until(lambda: len(trades(desk.told)) == 3)
        assert sorted((fill.client_id, fill.slot) for fill in trades(desk.told)) == [
            ("m0", 0),
            ("m1", 1),
            ("m2", 2),
        ]
        again = await desk.venue.place_many([order(f"m{i}", MARKET, BUY, slot=i) for i in range(3)])
        assert [answer.outcome for answer in again] == [REFUSED] * 3
        await balances(desk)
