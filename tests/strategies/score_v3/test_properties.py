"""What holds for every market: mirror, scale, bounds, window, one body however it is called."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.strategies.score_v2.series import mirrored, scaled
from tests.strategies.score_v3.series import QUARTER_MS, market, quarters

from perpdesk.kernel.intervals import CLOSE, HOUR_MS, OPEN, rows
from perpdesk.kernel.records import zeros
from perpdesk.strategies.score_v2.scorer import PRICE_MAX
from perpdesk.strategies.score_v3 import (
    dominance,
    pull_back,
    regime,
    score_dt,
    score_v3,
    score_window,
    sudden_move,
    veto,
)
from perpdesk.strategies.score_v3.points import group_points, regime_points, trend_points, volume_points
from perpdesk.strategies.score_v3.regime import BEAR, BULL, NEUTRAL, UNKNOWN
from perpdesk.strategies.score_v3.scorer import OK

SEEDS = st.integers(0, 2**32 - 1)
PARTS = {"big4": 5, "hours": 6, "trend": 14, "volume": 9, "technical": 8}


def last(m15, h1, directions, strengths):
    """The score of the newest quarter, through the vectorised door."""
    return score_v3(m15, h1, directions, strengths)[-1]


def turned(directions):
    """The regimes reversed."""
    return np.where(np.isin(directions, [BULL, BEAR]), -directions, directions)


@given(SEEDS)
def test_mirrored_prices_and_regime_swap_the_sides(seed):
    m15, h1, directions, strengths = market(seed)
    score = last(m15, h1, directions, strengths)
    other = zeros(1, score_dt)[0]
    pivot = m15.close[-1]
    score_window(
        rows(mirrored(m15, pivot)),
        rows(mirrored(h1[-25:], pivot)),
        int(turned(directions)[-1]),
        float(strengths[-1]),
        other,
    )
    assert score.status == OK
    assert (score.long_score, score.short_score) == (other.short_score, other.long_score)
    for name in PARTS:
        assert score[f"{name}_long"] == other[f"{name}_short"]
        assert score[f"{name}_short"] == other[f"{name}_long"]


@given(SEEDS, st.integers(1, 20), st.integers(1, 1000))
def test_scale_changes_nothing(seed, price, volume):
    m15, h1, *regimes = market(seed)
    assume(price * max(m15.high.max(), h1.high.max()) <= PRICE_MAX)
    one = last(m15, h1, *regimes)
    other = last(scaled(m15, price, volume), scaled(h1, price, volume), *regimes)
    assert other.status == OK
    assert (other.long_score, other.short_score) == (one.long_score, one.short_score)


@given(SEEDS)
def test_scores_stay_within_0_and_42(seed):
    score = last(*market(seed))
    assert score.status == OK
    for side in ("long", "short"):
        assert 0 <= score[f"{side}_score"] <= 42
        for name, most in PARTS.items():
            assert 0 <= score[f"{name}_{side}"] <= most
        assert sum(score[f"{name}_{side}"] for name in PARTS) == score[f"{side}_score"]


@given(SEEDS, st.integers(1, 60))
def test_older_bars_change_nothing(seed, older):
    m15, h1, directions, strengths = market(seed, 100 + older)
    whole = last(m15, h1, directions, strengths)
    alone = last(m15[-100:], h1[-25:], directions[-100:], strengths[-100:])
    assert alone.tobytes() == whole.tobytes()


@given(SEEDS)
def test_later_bars_change_nothing(seed):
    m15, h1, directions, strengths = market(seed, 160)
    scores = score_v3(m15, h1, directions, strengths)
    assert len(scores) == 61
    for cut in (100, 117, 159):
        now_ms = m15.open_ms[cut - 1] + QUARTER_MS
        known = score_v3(m15[:cut], h1[h1.open_ms + HOUR_MS <= now_ms], directions[:cut], strengths[:cut])
        assert known.tobytes() == scores[: cut - 99].tobytes()


@given(SEEDS)
def test_vectorised_is_the_single_call(seed):
    m15, h1, directions, strengths = market(seed, 130)
    scores = score_v3(m15, h1, directions, strengths)
    single = zeros(1, score_dt)
    for t in (99, 104, 129):
        closed = int((h1.open_ms + HOUR_MS <= m15.open_ms[t] + QUARTER_MS).sum())
        score_window(
            rows(m15)[t - 99 : t + 1],
            rows(h1)[closed - 25 : closed],
            int(directions[t]),
            float(strengths[t]),
            single[0],
        )
        assert single.tobytes() == scores[t - 99 : t - 98].tobytes()


INTERPRETED = """
from perpdesk.kernel.intervals import rows
from perpdesk.strategies.score_v3 import pull_back, score_v3, sudden_move
from perpdesk.strategies.score_v3.regime import fives_dominance, hours_dominance, quarters_dominance
from tests.strategies.score_v3.series import market
for seed in range(40):
    m15, h1, directions, strengths = market(seed, 101)
    print(score_v3(m15, h1, directions, strengths).tobytes().hex())
    print(int(sudden_move(rows(m15))), int(pull_back(rows(m15))))
    print(int(hours_dominance(rows(h1[-30:]))), int(quarters_dominance(rows(m15[-30:]))),
          int(fives_dominance(rows(m15[-3:]))))
"""


def test_compiled_is_interpreted():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("NUMBA_DISABLE_JIT", None)
    answers = [
        subprocess.run(
            [sys.executable, "-c", INTERPRETED],
            env={**environment, **how},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for how in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert answers[0] == answers[1]
    assert len(set(answers[0].splitlines())) > 45


@given(SEEDS, st.integers(0, 7))
def test_a_further_bar_of_the_colour_never_lowers_the_side(seed, back):
    """A doji of the last eight bars gets a body, its close unchanged: only what counts colours can see it."""
    m15, h1, directions, strengths = market(seed)
    place = 99 - back
    m15.open[place] = m15.close[place]
    before = last(m15, h1, directions, strengths)
    for side in (1, -1):
        changed = m15.copy()
        changed.open[place] -= side
        changed.low[place] = max(1, changed.low[place] - 2)
        changed.high[place] += 2
        changed.open[place] = max(1, changed.open[place])
        after = last(changed, h1, directions, strengths)
        name = "long_score" if side > 0 else "short_score"
        assert after[name] >= before[name]


@given(SEEDS, st.integers(0, 4))
def test_a_further_group_of_the_colour_never_lowers_the_side(seed, group):
    m15, h1, directions, strengths = market(seed)
    hours = h1[-25:].copy()
    begin, end = 5 * group, 5 * group + 4
    hours.open[begin] = hours.close[end]
    hours.high[begin] = max(hours.high[begin], hours.open[begin] + 2)
    hours.low[begin] = max(1, min(hours.low[begin], hours.open[begin] - 2))
    before = last(m15, hours, directions, strengths)
    for side, name in ((1, "long_score"), (-1, "short_score")):
        changed = hours.copy()
        changed.open[begin] = max(1, changed.open[begin] - side)
        assert last(m15, changed, directions, strengths)[name] >= before[name]


COUNTS = st.integers(0, 8)


@given(COUNTS, COUNTS)
def test_points_rise_with_the_number_of_bars(one, other):
    low, high = sorted((one, other))
    assert trend_points(low) <= trend_points(high)
    assert group_points(low) <= group_points(high)


@given(st.integers(0, 10**16), st.integers(0, 10**15), st.integers(0, 10**15))
def test_volume_points_rise_with_the_newest_volume(before, one, other):
    low, high = sorted((one, other))
    assert volume_points(low, before) <= volume_points(high, before)


@given(st.sampled_from([1, -1]), st.sampled_from([UNKNOWN, BULL, BEAR, NEUTRAL]), st.floats(0, 100))
def test_regime_points_and_veto_are_the_mirror_image_of_each_other(side, direction, strength):
    other = -direction if direction in (BULL, BEAR) else direction
    assert regime_points(side, direction, strength) == regime_points(-side, other, strength)
    assert veto(side, direction, strength) == veto(-side, other, strength)
    assert not (regime_points(side, direction, strength) > 0 and veto(side, direction, strength) != OK)


SCORES = st.lists(st.integers(-10, 10).map(lambda n: 10 * n), min_size=4, max_size=4)
PRESENT = st.lists(st.integers(0, 1), min_size=4, max_size=4)


@given(SCORES, PRESENT)
def test_the_regime_of_mirrored_coins_is_reversed(scores, present):
    scores, present = np.array(scores), np.array(present)
    direction, strength = regime(scores, present)
    other, other_strength = regime(-scores, present)
    assert other == (-direction if direction in (BULL, BEAR) else direction)
    assert other_strength == strength
    assert 0 <= strength <= 100
    assert (direction == UNKNOWN) == (int(np.dot(present, [40, 30, 15, 15])) < 70)


BOUNDS = st.sampled_from([(0.03, 0.02, 0.03), (0.015, 0.01, 0.015), (0.005, 0.003, 0.005), (0.0, 0.0, 0.001)])


@given(SEEDS, BOUNDS, st.sampled_from([3, 5, 30]), st.integers(1, 20), st.integers(1, 50))
def test_dominance_under_mirror_and_scale(seed, bounds, count, price, volume):
    m15 = market(seed)[0][-count:]
    found = dominance(rows(m15), *bounds)
    assert dominance(rows(mirrored(m15, m15.close[-1])), *bounds) == -found
    assert dominance(rows(scaled(m15, price, volume)), *bounds) == found


@given(SEEDS)
def test_the_optional_signals_under_mirror_and_scale(seed):
    m15 = market(seed)[0]
    other = mirrored(m15, m15.close[-1])
    for signal in (sudden_move, pull_back):
        assert signal(rows(other)) == -signal(rows(m15))
        assert signal(rows(scaled(m15, 3, 7))) == signal(rows(m15))


def test_random_markets_meet_every_answer():
    """The properties above are about something."""
    seen = {"dominance": set(), "sudden": set(), "pull_back": set(), "band": set()}
    for seed in range(400):
        m15 = market(seed)[0]
        seen["dominance"].add(int(dominance(rows(m15[-30:]), 0.015, 0.01, 0.015)))
        seen["sudden"].add(int(sudden_move(rows(m15))))
        seen["pull_back"].add(int(pull_back(rows(m15))))
        seen["band"].add(int(last(*market(seed)).band))
    assert all(found == {-1, 0, 1} for found in seen.values()), seen


def test_a_bar_counts_by_its_own_open_and_close():
    """Not by the close before: a gap between bars has no colour."""
    m15, h1, *regimes = market(5)
    jumping = quarters([200] * 100, [200 + i for i in range(100)], [10] * 100)
    score = last(jumping, h1, *regimes)
    assert rows(jumping)[-1, CLOSE] > rows(jumping)[-1, OPEN]
    assert (score.bars_up, score.bars_down) == (8, 0)
