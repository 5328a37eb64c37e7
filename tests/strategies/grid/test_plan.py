"""Ladders, quantities and refusals: the specification's numbers, and what bad input gets."""

from __future__ import annotations

import pytest

from perpdesk.strategies.grid.params import ExecutorParams, ScannerParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, SHORT, Market, grid_step, ladder, make_plan

USDT = 10**8
T = Market(unit_e8=1000)
BOTH = ExecutorParams(short_budget_e8=1000 * USDT)


def plan_of(variant=LONG, a0=10_000, step=100, zone=(9900, 10_100), params=BOTH, market=T):
    return make_plan(variant, a0, step, *zone, params, market)


def codes(plan):
    return [refusal.code for refusal in plan.refusals]


def test_1_ladders():
    assert grid_step(125.4, 800_000, 1) == 100
    prices = ladder(10_000, 100, 10, "arithmetic")
    assert (prices[0], prices[9], prices[11], prices[20]) == (9000, 9900, 10_100, 11_000)
    prices = ladder(10_000, 100, 10, "geometric")
    assert (prices[0], prices[9], prices[11], prices[20]) == (9053, 9901, 10_100, 11_046)
    assert (prices[8], prices[12]) == (9803, 10_201)


def test_2_quantities_and_stop():
    plan = plan_of()
    assert [level.lots for level in plan.levels] == [
        1010,
        1020,
        1030,
        1041,
        1052,
        1063,
        1075,
        1086,
        1098,
        1111,
    ]
    assert sum(level.lots * level.entry for level in plan.levels) * 1000 == 99_945_300_000
    assert (plan.lo_stop, plan.hi_stop) == (8950, None)
    assert plan_of(SHORT).hi_stop == 11_050
    assert codes(plan) == []


def test_3_below_the_venue_minimum():
    market = Market(unit_e8=1000, notional_min_e8=100 * USDT)
    assert grid_step(7500.0, 800_000, 1) == 6000
    plan = plan_of(a0=600_000, step=6000, zone=(594_000, 606_000), market=market)
    level = plan.level(-1, LONG)
    assert (level.lots, level.lots * level.entry * 1000) == (16, 9_504_000_000)
    assert codes(plan) == ["LEVEL_NOTIONAL_TOO_SMALL"]
    assert plan.refusals[0].detail.endswith("the smallest that works is 106.08")
    works = ExecutorParams(order_size_e8=10_608 * 10**6, short_budget_e8=1000 * USDT)
    for variant in (LONG, SHORT, NEUTRAL):
        assert codes(plan_of(variant, 600_000, 6000, (594_000, 606_000), works, market)) == []


def test_counter_orders_are_one_step_away():
    for level in plan_of(NEUTRAL).levels:
        assert level.exit - level.entry == 100 * level.kind
        assert level.number * level.kind < 0
    held = [level for level in plan_of(params=ExecutorParams(initial_levels=5)).levels if level.held]
    assert [(level.number, level.entry, level.exit) for level in held] == [
        (i, 10_000 + 100 * (i - 1), 10_000 + 100 * i) for i in range(1, 6)
    ]
    assert [level.lots for level in held] == [1000, 990, 980, 970, 961]


@pytest.mark.parametrize("variant", [LONG, SHORT, NEUTRAL])
def test_short_is_long_in_the_mirror(variant):
    plan, image = plan_of(variant), plan_of(-variant)
    mirrored = {
        (-level.number, -level.kind, 20_000 - level.entry, 20_000 - level.exit) for level in image.levels
    }
    assert {(level.number, level.kind, level.entry, level.exit) for level in plan.levels} == mirrored
    assert plan.lo_stop == (None if image.hi_stop is None else 20_000 - image.hi_stop)


def test_refusals():
    assert codes(plan_of(step=13)) == ["STEP_TOO_SMALL"]
    assert "at least 14" in plan_of(step=13).refusals[0].detail
    assert codes(plan_of(step=14)) == []
    assert codes(plan_of(step=0)) == ["BAD_GRID"]
    assert codes(plan_of(step=1000)) == ["BAD_GRID"]
    assert codes(plan_of(SHORT, params=ExecutorParams())) == ["SHORT_BUDGET_REQUIRED"]
    assert codes(plan_of(NEUTRAL, params=ExecutorParams(short_budget_e8=50 * USDT))) == [
        "CAP_BELOW_ONE_LEVEL"
    ]
    assert codes(plan_of(zone=(2050, 10_100))) == ["STOP_BEYOND_LIQUIDATION"]
    assert codes(plan_of(zone=(2051, 10_100))) == []


def test_a_step_below_the_tick_is_one_tick_and_pays_no_fees():
    """A range that is nothing beside the price: never a step of zero, and a refusal in words."""
    assert grid_step(0.3, 800_000, 1) == 1
    assert grid_step(0.3, 800_000, 5) == 5
    assert grid_step(0.0, 800_000, 1) == 1
    plan = plan_of(step=1)
    assert codes(plan) == ["STEP_TOO_SMALL"]
    assert "at least 14" in plan.refusals[0].detail


def test_parameters_out_of_range_are_named():
    with pytest.raises(ValueError, match="ExecutorParams.grid_levels = 4: must be 5 .. 50"):
        ExecutorParams(grid_levels=4)
    with pytest.raises(ValueError, match="slippage_ppm = 0"):
        ExecutorParams(slippage_ppm=0)
    with pytest.raises(ValueError, match="spacing"):
        ExecutorParams(spacing="random")
    with pytest.raises(ValueError, match="near_ppm"):
        ScannerParams(near_ppm=150_000)
