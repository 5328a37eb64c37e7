"""The Spot world inside one process: the same accidents as over a network, on a clock that a test drives."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.exchange.spot.market import KOGE, NOW_MS, buy, check, new_world, quote, sell

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.spot.events import Event, Report
from perpdesk.exchange.spot.inprocess import InProcessSpot, Latency, ReadFailed
from perpdesk.exchange.spot.orders import NewList
from perpdesk.ports import Answer, Outcome


def venue(**more: Any) -> InProcessSpot:
    world = new_world()
    quote(world, "0.2", "0.20000001", symbol=KOGE)
    world.take_events()
    return InProcessSpot(world, VirtualClock(NOW_MS), **more)


def pair(name: str = "l", price: str = "0.21") -> NewList:
    return NewList(
        (sell("0.19", "0", client_id=f"{name}-s"),), buy(price, "100", client_id=f"{name}-b"), name, True
    )


async def driven(one: InProcessSpot, work: Coroutine[Any, Any, Any], step_ms: int = 10) -> Any:
    """The result, with the clock moving on while it is waited for."""
    task = asyncio.ensure_future(work)
    for _ in range(5_000):
        for _ in range(5):
            await asyncio.sleep(0)
        if task.done():
            break
        assert isinstance(one.clock, VirtualClock)
        one.clock.advance_to(one.clock.now_ms() + step_ms)
    return await task


async def test_a_pair_goes_through_and_its_events_come_in_order() -> None:
    one = venue()
    told: list[Event] = []
    one.listen(0, told.append)
    assert await one.place_list(0, KOGE, pair()) == Answer(Outcome.ACCEPTED)
    sold = await one.order(0, "l-s")
    assert sold is not None
    assert (sold.status, sold.qty_e8) == ("FILLED", 99_99_000_000)
    (fill,) = await one.fills(0, "l-b")
    assert fill.quote_e8 == 20_00000100
    reports = [(event.client_id, event.status) for event in told if isinstance(event, Report)]
    assert reports == [
        ("l-b", "NEW"),
        ("l-s", "PENDING_NEW"),
        ("l-b", "FILLED"),
        ("l-s", "NEW"),
        ("l-s", "FILLED"),
    ]
    assert (await one.balances(0))["USDT"][1] == 0
    assert await one.quote(KOGE) == (20_000_000, 20_000_001, 20_000_000, NOW_MS)
    check(one.world)


@pytest.mark.parametrize(
    ("fault", "outcome", "obeyed"),
    [
        ({"kind": "drop-req"}, Outcome.UNKNOWN, False),
        ({"kind": "drop-resp"}, Outcome.UNKNOWN, True),
        ({"kind": "garble", "form": "html"}, Outcome.UNKNOWN, True),
        ({"kind": "empty"}, Outcome.UNKNOWN, True),
        ({"kind": "reply", "http": 503}, Outcome.UNKNOWN, False),
        ({"kind": "reply", "http": 503, "executes": True}, Outcome.UNKNOWN, True),
        ({"kind": "reply", "http": 400, "code": -1013}, Outcome.REFUSED, False),
        ({"kind": "reply", "http": 400, "code": -1006}, Outcome.UNKNOWN, False),
        ({"kind": "reply", "http": 429, "code": -1003}, Outcome.REFUSED, False),
        ({"kind": "slow", "ms": 300}, Outcome.ACCEPTED, True),
        ({"kind": "late-exec", "ms": 4_000}, Outcome.UNKNOWN, False),
    ],
    ids=str,
)
async def test_requests_that_go_wrong(fault: dict[str, Any], outcome: Outcome, obeyed: bool) -> None:
    one = venue()
    one.plan.add(Fault(route="place_list", **fault))
    answer = await driven(one, one.place_list(0, KOGE, pair()))
    assert answer.outcome is outcome
    assert (answer.fence_ms > 0) == (outcome is Outcome.UNKNOWN)
    assert (await one.order(0, "l-b") is not None) == obeyed
    if fault["kind"] == "late-exec":
        assert isinstance(one.clock, VirtualClock)
        one.clock.advance_to(NOW_MS + 10_000)
        for _ in range(5):
            await asyncio.sleep(0)
        assert await one.order(0, "l-b") is not None
    assert sum(one.plan.fired.values()) == 1
    check(one.world)


async def test_reads_that_go_wrong_raise_and_never_say_nothing() -> None:
    one = venue()
    for kind in ("drop-req", "drop-resp", "garble", "reply"):
        one.plan.add(Fault(kind=kind, route="*", form="html" if kind == "garble" else ""))
        with pytest.raises(ReadFailed):
            await one.volume(0, KOGE)
    one.plan.add(Fault(kind="stale", route="order", skip=1))
    assert await one.order(0, "l-b") is None
    await one.place_list(0, KOGE, pair())
    assert await one.order(0, "l-b") is None  # what was answered before
    one.plan.add(Fault(kind="hide", route="order"))
    assert await one.order(0, "l-b") is None
    assert await one.order(0, "l-b") is not None


async def test_a_key_that_is_refused_stops_its_account_only() -> None:
    one = venue()
    one.revoked.add(0)
    assert (await one.place_list(0, KOGE, pair())).code == -2015
    with pytest.raises(ReadFailed) as caught:
        await one.balances(0)
    assert caught.value.code == -2015
    assert (await one.place_list(1, KOGE, pair())).outcome is Outcome.ACCEPTED


async def test_cancelling_what_is_over_proves_nothing() -> None:
    one = venue()
    await one.place_list(0, KOGE, pair(price="0.18"))
    assert (await one.cancel_list(0, KOGE, "l")).outcome is Outcome.ACCEPTED
    again = await one.cancel_list(0, KOGE, "l")
    assert (again.outcome, again.code) == (Outcome.REFUSED, -2011)
    assert (await one.place_list(0, "NOPE", pair())).code == -1121
    await one.place_list(0, KOGE, pair(price="0.18"))
    duplicate = await one.place_list(0, KOGE, pair(price="0.18"))
    assert duplicate.outcome is Outcome.UNKNOWN


async def test_events_that_go_wrong() -> None:
    for kind, count in (("ws-skip", 4), ("ws-dup", 6), ("ws-reorder", 5), ("ws-silent", 0), ("ws-close", 0)):
        one = venue()
        told: list[Report] = []
        closed: list[int] = []
        one.listen(
            0,
            lambda e, told=told: told.append(e) if isinstance(e, Report) else None,
            lambda c=closed: c.append(1),
        )  # type: ignore[misc]
        one.plan.add(Fault(kind=kind, route="user:Report", ms=1_000))
        await one.place_list(0, KOGE, pair())
        assert len(told) == count, kind
        assert closed == ([1] if kind == "ws-close" else [])
        if kind == "ws-reorder":
            assert [event.client_id for event in told][:2] == ["l-s", "l-b"]


async def test_latencies_come_from_the_seed() -> None:
    ends = []
    for _ in range(2):
        one = venue(latency=Latency((5, 50), (5, 50), (1, 100)), seed=3)
        told: list[int] = []
        one.listen(0, lambda _, one=one, told=told: told.append(one.clock.now_ms()))  # type: ignore[misc]
        await driven(one, one.place_list(0, KOGE, pair()), step_ms=1)
        asked_ms = one.clock.now_ms()
        assert 10 <= asked_ms - NOW_MS <= 100
        await driven(one, one.balances(0), step_ms=1)
        for _ in range(200):
            one.clock.advance_to(one.clock.now_ms() + 1)  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        assert len(told) == 8
        ends.append((asked_ms, tuple(told)))
        await one.close()
    assert ends[0] == ends[1]
