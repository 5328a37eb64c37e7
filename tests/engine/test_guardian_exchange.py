"""Canary, disaster stops and coverage against the simulated exchange over its own wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.binance_desk import SYSTEM_CLOCK, BinanceDesk, binance_desk

from perpdesk.engine.canary import Canary, Perch
from perpdesk.engine.guardian.coverage import CoverageAudit, sightings
from perpdesk.engine.guardian.disaster import Act, DisasterRule, Problem
from perpdesk.engine.guardian.disaster_stops import DisasterStops
from perpdesk.engine.ids import ClientIds
from perpdesk.kernel.records import BUY, MARKET, SELL, STOP
from perpdesk.ports import Leg, NewOrder, Outcome

IDS = ClientIds(1, 7)
TICK = 1  # one price unit: 0.1


@pytest.fixture
async def desk() -> AsyncIterator[BinanceDesk]:
    async with binance_desk() as opened:
        await opened.move(600_000)
        yield opened


def canary(desk: BinanceDesk, **more: Any) -> Canary:
    async def facts() -> dict[str, Any]:
        return {"position_mode": "one-way"}

    return Canary(
        venue=desk.venue,
        clock=SYSTEM_CLOCK,
        ids=IDS,
        account_id=1,
        stream=desk.venue,
        perch=lambda: Perch(0, 600_000, TICK, 5),
        facts=facts,
        **more,
    )


async def opened(desk: BinanceDesk, side: int = BUY, lots: int = 100) -> Leg:
    """Market in; the leg as the exchange shows it."""
    code = IDS.position_code(SYSTEM_CLOCK.now_ms())
    order = NewOrder(IDS.order("fast", code, 0, 0), 0, 0, 0, MARKET, side, 0, lots, False, 0, 0, 5)
    assert (await desk.venue.place(order)).outcome is Outcome.ACCEPTED
    await desk.all_told()
    (leg,) = await desk.venue.legs()
    return leg


def stops(desk: BinanceDesk) -> DisasterStops:
    return DisasterStops(desk.venue, IDS, SYSTEM_CLOCK, DisasterRule(100_000, 800_000), [TICK])


async def test_the_canary_lives_and_leaves_nothing(desk: BinanceDesk) -> None:
    result = await canary(desk).run()
    assert result.is_good, result
    assert await desk.venue.open_orders() == []


@pytest.mark.parametrize("side", [BUY, SELL])
async def test_the_canary_beside_a_position(desk: BinanceDesk, side: int) -> None:
    await opened(desk, side)
    result = await canary(desk).run()
    assert result.is_good, result
    (leg,) = await desk.venue.legs()
    assert leg.lots == side * 100


@pytest.mark.parametrize("side", [BUY, SELL])
async def test_a_disaster_stop_is_placed_adopted_and_taken_back(desk: BinanceDesk, side: int) -> None:
    leg, guard = await opened(desk, side), stops(desk)
    (done,) = await guard.tend([leg], [], {})
    assert done.answer is not None
    assert (done.answer.outcome, done.step.problem) == (Outcome.ACCEPTED, Problem.NONE)
    (lagging,) = await guard.tend([leg], [], {})  # a list that does not show it yet
    assert lagging.answer is not None
    assert lagging.answer.code == -4130
    orders = await desk.venue.open_orders()
    assert [(one.close_position, one.side, one.kind) for one in orders] == [(True, -side, STOP)]
    assert await stops(desk).tend([leg], orders, {}) == []  # another process adopts it
    (cover,) = CoverageAudit().judge([leg], sightings(orders, 0), now_ms=0)
    assert (cover.has_disaster, cover.bare_lots, cover.uncovered_lots) == (True, 0, 100)
    await guard.tend([], orders, {}, absent=[0])
    assert await desk.venue.open_orders() == []


async def test_one_that_must_move_is_replaced(desk: BinanceDesk) -> None:
    leg, guard = await opened(desk), stops(desk)
    await guard.tend([leg], [], {})
    before = await desk.venue.open_orders()
    nearer = before[0].price - 10_000  # a sleeve's stop further away than the disaster stop
    (done,) = await guard.tend([leg], before, {(0, 1): (nearer,)})
    assert done.step.act is Act.REPLACE
    (after,) = await desk.venue.open_orders()
    assert after.price < nearer


async def test_it_acts_and_the_position_is_closed(desk: BinanceDesk) -> None:
    leg, guard = await opened(desk), stops(desk)
    await guard.tend([leg], [], {})
    (order,) = await desk.venue.open_orders()
    await desk.move(order.price - 10)
    assert await desk.venue.legs() == []
    assert await desk.venue.open_orders() == []


async def test_past_its_place_means_close(desk: BinanceDesk) -> None:
    leg, guard = await opened(desk), stops(desk)
    await desk.move(530_000)  # below the 10 %, before liquidation
    (done,) = await guard.tend([leg], [], {})
    assert done.must_close
