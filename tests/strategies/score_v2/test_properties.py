"""What holds for every market: mirror, scale, bounds, window, one body however it is called."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.strategies.score_v2.series import FOUR_HOURS_MS, market, mirrored, scaled

from perpdesk.kernel.intervals import CLOSE, HOUR_MS, rows
from perpdesk.kernel.records import DAY_MS, zeros
from perpdesk.strategies.score_v2 import decide, score_dt, score_v2, score_window
from perpdesk.strategies.score_v2.points import position_points, volume_change_points
from perpdesk.strategies.score_v2.scorer import OK, PRICE_MAX

SEEDS = st.integers(0, 2**32 - 1)


def last(h1, h4, d1):
    """The score of the newest hour, through the vectorised door."""
    return score_v2(h1, h4, d1)[-1]


def without_times(score):
    return [score[name].item() for name in score_dt.names if name not in ("bar_ms", "status")]


@given(SEEDS)
def test_mirrored_prices_swap_the_sides(seed):
    h1, h4, d1 = market(seed)
    pivot = h1.close[-1]
    score = zeros(2, score_dt)
    score_window(rows(h1), h4.close[-99:].copy(), d1.close[-99:].copy(), score[0])
    other = [2 * pivot - bars.close[-99:] for bars in (h4, d1)]
    score_window(rows(mirrored(h1, pivot)), *other, score[1])
    assert score[0].long_score == score[1].short_score
    assert score[0].short_score == score[1].long_score
    for name in ("trend", "position", "momentum", "volume"):
        assert score[0][f"{name}_long"] == score[1][f"{name}_short"]
        assert score[0][f"{name}_short"] == score[1][f"{name}_long"]
    assert score[0].volatility == score[1].volatility


@given(SEEDS, st.integers(1, 20), st.integers(1, 1000))
def test_scale_changes_nothing(seed, price, volume):
    h1, h4, d1 = market(seed)
    assume(price * h1.high.max() <= PRICE_MAX)
    one = last(h1, h4, d1)
    other = last(scaled(h1, price, volume), scaled(h4, price, volume), scaled(d1, price, volume))
    assert other.status == OK
    assert (other.long_score, other.short_score) == (one.long_score, one.short_score)


@given(SEEDS)
def test_scores_stay_within_0_and_100(seed):
    score = last(*market(seed))
    assert score.status == OK
    assert 0 <= score.long_score <= 100
    assert 0 <= score.short_score <= 100
    for name, most in (("trend", 30), ("position", 20), ("momentum", 20), ("volume", 15)):
        assert 0 <= score[f"{name}_long"] <= most
        assert 0 <= score[f"{name}_short"] <= most
    assert 0 <= score.volatility <= 15


@given(SEEDS, st.integers(1, 60))
def test_older_bars_change_nothing(seed, older):
    h1, h4, d1 = market(seed, 200 + older)
    whole = last(h1, h4, d1)
    assert last(h1[-200:], h4[-99:], d1[-99:]).tobytes() == whole.tobytes()


@given(SEEDS)
def test_later_bars_change_nothing(seed):
    h1, h4, d1 = market(seed, 260)
    scores = score_v2(h1, h4, d1)
    assert len(scores) == 61
    for cut in (200, 217, 259):
        now_ms = h1.open_ms[cut - 1] + HOUR_MS
        known = score_v2(
            h1[:cut], h4[h4.open_ms + FOUR_HOURS_MS <= now_ms], d1[d1.open_ms + DAY_MS <= now_ms]
        )
        assert known.tobytes() == scores[: cut - 199].tobytes()


@given(SEEDS)
def test_vectorised_is_the_single_call(seed):
    h1, h4, d1 = market(seed, 230)
    scores = score_v2(h1, h4, d1)
    single = zeros(1, score_dt)
    for t in (199, 204, 229):
        now_ms = h1.open_ms[t] + HOUR_MS
        score_window(
            rows(h1)[t - 199 : t + 1],
            rows(h4)[h4.open_ms + FOUR_HOURS_MS <= now_ms, CLOSE][-99:].copy(),
            rows(d1)[d1.open_ms + DAY_MS <= now_ms, CLOSE][-99:].copy(),
            single[0],
        )
        assert single.tobytes() == scores[t - 199 : t - 198].tobytes()


INTERPRETED = """
from perpdesk.strategies.score_v2 import score_v2
from tests.strategies.score_v2.series import market
print(b"".join(score_v2(*market(seed, 201)).tobytes() for seed in range(12)).hex())
"""


def test_compiled_is_interpreted():
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    answer = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True, check=True
    )
    compiled = b"".join(score_v2(*market(seed, 201)).tobytes() for seed in range(12))
    assert answer.stdout.strip() == compiled.hex()


@given(st.floats(0, 1), st.floats(0, 1))
def test_position_points_fall_with_the_ratio(one, other):
    low, high = sorted((one, other))
    assert position_points(low) >= position_points(high)


@given(st.integers(0, 10**17), st.integers(0, 10**17), st.integers(0, 10**17))
def test_volume_points_rise_with_the_recent_volume(usual, one, other):
    low, high = sorted((one, other))
    assert volume_change_points(low, usual) <= volume_change_points(high, usual)


SCORES = st.floats(0, 100)


@given(SCORES, SCORES, st.floats(0, 100), st.floats(0, 100), st.floats(0, 50))
def test_a_higher_threshold_never_makes_a_side(long_score, short_score, long_least, short_least, more):
    side = decide(long_score, short_score, long_least, short_least)
    raised = decide(long_score, short_score, long_least + more, short_least + more)
    assert raised in (0, side)
    assert decide(short_score, long_score, short_least, long_least) == -side


@pytest.mark.parametrize(
    ("long_score", "short_score", "side"),
    [(60, 59, 1), (59.999999999, 59, 0), (59, 60, -1), (80, 80, 0), (np.nan, np.nan, 0), (61, 99, -1)],
)
def test_decide(long_score, short_score, side):
    assert decide(long_score, short_score, 60.0, 60.0) == side


def test_the_higher_side_below_its_threshold_is_no_trade():
    assert decide(65.0, 62.0, 70.0, 60.0) == 0
