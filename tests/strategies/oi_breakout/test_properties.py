"""What must hold for any numbers: mirror, scale, bounds, and that what is missing never helps."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.strategies.oi_breakout.polls import NO_RATIOS, periods_of, verdict_of, window_of

from perpdesk.strategies.oi_breakout.codes import LONG, PASSED, SHORT
from perpdesk.strategies.oi_breakout.exits import stage_lots
from perpdesk.strategies.oi_breakout.points import (
    chase_distance,
    direction,
    funding_points,
    price_points,
    side_move,
)
from perpdesk.strategies.oi_breakout.window import MISSING, base_of

FEW = settings(max_examples=60, deadline=None)
CHANGE = st.floats(-0.6, 0.6).map(lambda x: round(x, 4))
PRICE = st.floats(80, 120).map(lambda x: round(x, 2))
PERIODS = st.dictionaries(st.sampled_from((60, 120, 300, 900)), st.tuples(CHANGE, PRICE), min_size=1)
RATIO = st.floats(0.1, 5.0)
RATIOS = st.tuples(RATIO, RATIO, RATIO, RATIO)


def with_price(periods, now):
    return {seconds: (d, before, now) for seconds, (d, before) in sorted(periods.items())}


@FEW
@given(rate=st.integers(-50_000, 70_000))
def test_funding_is_a_mirror_about_the_base_rate(rate):
    assert funding_points(LONG, rate) == funding_points(SHORT, 20_000 - rate)


@FEW
@given(d_oi=st.floats(0.03, 0.2), before=st.integers(64, 256), now=st.integers(64, 256))
def test_turning_prices_over_swaps_long_and_short(d_oi, before, now):
    turned = 4096.0 / before, 4096.0 / now
    assert direction(d_oi, float(before), float(now)) == -direction(d_oi, *turned)
    move = side_move(LONG, float(before), float(now))
    other = side_move(SHORT, *turned)
    assert move == pytest.approx(other, abs=2e-9)
    if abs(move - other) == 0:
        assert price_points(move, d_oi) == price_points(other, d_oi)
    low = min(before, now)
    assert chase_distance(LONG, float(now), float(low), 300.0) == pytest.approx(
        chase_distance(SHORT, 4096.0 / now, 1.0, 4096.0 / low), abs=2e-9
    )


@FEW
@given(periods=PERIODS, now=PRICE, scale=st.sampled_from((0.001, 0.5, 2.0, 1024.0)), ratios=RATIOS)
def test_only_relations_count(periods, now, scale, ratios):
    plain = with_price(periods, now)
    scaled = {s: (d, before * scale, then * scale) for s, (d, before, then) in plain.items()}
    a = verdict_of(plain, ratios=ratios, chase=0.05)
    b = verdict_of(scaled, ratios=ratios, chase=0.05)
    assert (a.code, a.side, a.primary) == (b.code, b.side, b.primary)
    assert a.score == b.score or math.isnan(a.score) and math.isnan(b.score)


@FEW
@given(periods=PERIODS, now=PRICE, ratios=RATIOS, chase=st.floats(0, 0.3), rescale=st.booleans())
def test_scores_stay_in_their_bounds_and_running_after_a_price_never_helps(
    periods, now, ratios, chase, rescale
):
    changes = with_price(periods, now)
    one = verdict_of(changes, ratios=ratios, chase=chase, rescale=rescale, allow_short=True)
    further = verdict_of(changes, ratios=ratios, chase=chase + 0.05, rescale=rescale, allow_short=True)
    if not math.isnan(one.score):
        assert 0 <= one.score <= 10
        assert 0 <= one.confidence <= 1
        assert further.score <= one.score


@FEW
@given(
    periods=PERIODS,
    now=PRICE,
    ratios=RATIOS,
    lost=st.integers(0, 3),
    kind=st.sampled_from((math.nan, 0.0, -1.0)),
)
@example(periods={60: (0.04, 100.0)}, now=102.0, ratios=(1.3, 1.15, 1.6, 1.3), lost=2, kind=math.nan)
def test_a_missing_ratio_never_makes_a_trade(periods, now, ratios, lost, kind):
    changes = with_price(periods, now)
    lacking = tuple(kind if i == lost else ratio for i, ratio in enumerate(ratios))
    assert verdict_of(changes, ratios=lacking, chase=0.05).code != PASSED
    assert verdict_of(changes, ratios=NO_RATIOS, chase=0.05).code != PASSED


@FEW
@given(periods=PERIODS, now=PRICE, ratios=RATIOS)
def test_a_further_period_that_agrees_never_costs_its_bonus(periods, now, ratios):
    changes = with_price(periods, now)
    _, judged, _ = periods_of(changes)
    whole = verdict_of(changes, ratios=ratios, chase=0.05)
    if math.isnan(whole.score):
        return
    for seconds in list(changes):
        rest = {s: one for s, one in changes.items() if s != seconds}
        place = (60, 120, 300, 900).index(seconds)
        same = judged[place].triggered and judged[place].direction == whole.side and place != whole.primary
        if rest and same:
            fewer = verdict_of(rest, ratios=ratios, chase=0.05)
            assert fewer.score <= whole.score


@FEW
@given(lots=st.integers(0, 10**12))
def test_stages_and_rest_are_the_position(lots):
    parts = stage_lots(lots, 300_000, 300_000)
    assert sum(parts) == lots
    assert min(parts) >= 0


@FEW
@given(
    gaps=st.lists(st.integers(1, 200_000), min_size=1, max_size=40), period_s=st.sampled_from((60, 120, 300))
)
def test_the_base_is_the_nearest_row_or_none(gaps, period_s):
    times = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    now = times[-1] + 60_000
    window = window_of([(ms, 1.0, 1.0) for ms in times], now)
    target = now - period_s * 1000
    nearest = min(times, key=lambda ms: (abs(ms - target), ms))
    at = base_of(window, now, period_s * 1000, 30_000)
    assert (None if at == MISSING else int(window.ms[at])) == (
        nearest if abs(nearest - target) <= 30_000 else None
    )
