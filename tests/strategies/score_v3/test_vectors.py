"""The numbers of the specification, to their printed digits."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.score_v3.series import QUARTER_MS, generated, quarters

from perpdesk.kernel.intervals import HOUR_MS, rows
from perpdesk.kernel.records import zeros
from perpdesk.strategies.score_v2 import decide
from perpdesk.strategies.score_v3 import (
    REGIME_NAMES,
    STATUS_NAMES,
    components,
    pull_back,
    regime,
    score_dt,
    score_v3,
    score_window,
    sudden_move,
    veto,
)
from perpdesk.strategies.score_v3.regime import BEAR, BULL, NEUTRAL
from perpdesk.strategies.score_v3.scorer import OK


def scored(m15, h1, direction, strength):
    record = zeros(1, score_dt)[0]
    score_window(rows(m15), rows(h1), direction, strength, record)
    return record


def sides(score):
    return score.long_score, score.short_score


def parts(score, side):
    names = ("big4", "hours", "trend", "volume", "technical")
    return tuple(score[f"{name}_{side}"] for name in names)


def chosen(score):
    return decide(*sides(score), 28.0, 22.0)


def rising_hours(slope=40):
    return generated(99_000, slope, 0, 24, 0, 10, n=25, interval_ms=HOUR_MS)


def quarter_bars(slope, height, shift, last_volume):
    return generated(
        100_000, slope, height, 24, shift, 30, n=100, interval_ms=QUARTER_MS, last_volume=last_volume
    )


@pytest.mark.parametrize(("last_volume", "volume", "whole"), [(120, 1, 28.5), (121, 5, 32.5)])
def test_13_a_rise(last_volume, volume, whole):
    score = scored(quarter_bars(20, 0, 0, last_volume), rising_hours(), BULL, 9.0)
    assert sides(score) == (whole, 1.5)
    assert parts(score, "long") == (3, 6, 14, volume, 4.5)
    assert parts(score, "short") == (0, 0, 0, 0, 1.5)
    assert chosen(score) == 1


def test_14_a_fall():
    score = scored(quarter_bars(-20, 0, 0, 151), rising_hours(-40), BEAR, 15.0)
    assert sides(score) == (1.5, 38.5)
    assert parts(score, "short") == (5, 6, 14, 9, 4.5)
    assert chosen(score) == -1
    assert veto(-1, BEAR, 15.0) == OK


@pytest.mark.parametrize(
    ("direction", "strength", "expected", "status"),
    [(BULL, 24.0, (17, 27), "BIG4_VETO"), (BEAR, 12.0, (12, 31), "OK")],
)
def test_15_a_zigzag_on_the_way_down(direction, strength, expected, status):
    score = scored(quarter_bars(20, 60, 6, 160), rising_hours(), direction, strength)
    assert sides(score) == expected
    assert chosen(score) == -1
    assert STATUS_NAMES[veto(-1, direction, strength)] == status


def test_15_flat():
    flat = generated(100_000, 0, 0, 24, 0, 0, n=100, interval_ms=QUARTER_MS)
    still = generated(100_000, 0, 0, 24, 0, 0, n=25, interval_ms=HOUR_MS)
    score = scored(flat, still, NEUTRAL, 0.0)
    assert sides(score) == (4, 4)
    assert decide(*sides(score), 1.0, 1.0) == 0


@pytest.mark.parametrize(
    ("coins", "name", "strength"),
    [
        ((60, 0, 0, 0), "BULL", 24),
        ((90, -60, 0, 0), "BULL", 36),
        ((60, -60, 0, 0), "NEUTRAL", 0),
        ((30, 30, 30, 30), "NEUTRAL", 0),
        ((-100, -90, 40, None), "BEAR", 67),
        ((0, 0, 60, 0), "BULL", 9),
        ((None, 100, 100, None), "UNKNOWN", 0),
        ((100, None, 100, None), "UNKNOWN", 0),
        ((100, None, 100, 100), "BULL", 70),
    ],
)
def test_16_the_regime(coins, name, strength):
    present = np.array([coin is not None for coin in coins], np.int64)
    direction, found = regime(np.array([coin or 0 for coin in coins], np.int64), present)
    assert (REGIME_NAMES[direction], found) == (name, strength)


@pytest.mark.parametrize(
    ("close", "volume", "side"), [(10_102, 150, 1), (10_101, 150, 0), (9_900, 150, -1), (10_102, 149, 0)]
)
def test_25_a_sudden_move(close, volume, side):
    bars = quarters([10_000] * 6, [10_000] * 5 + [close], [100] * 5 + [volume])
    assert sudden_move(rows(bars)) == side


def test_25_a_sudden_move_after_silence_is_none():
    bars = quarters([10_000] * 6, [10_000] * 5 + [10_200], [0] * 5 + [150])
    assert sudden_move(rows(bars)) == 0


PULL_BACK_OPENS = [10_000, 10_050, 10_100, 10_150, 10_200, 10_240, 10_120, 10_060]
PULL_BACK_CLOSES = [10_050, 10_100, 10_150, 10_200, 10_240, 10_120, 10_060, 10_110]


def test_26_a_pull_back():
    bars = quarters(PULL_BACK_OPENS, PULL_BACK_CLOSES, [100] * 8)
    assert pull_back(rows(bars)) == 1


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        (7, "close", 10_060),  # a doji
        (6, "close", 10_110),  # not above the close before
        (6, "low", 10_245 - 10_110 * 4 // 100 - 1),  # back by more than 4 %
        (0, "open", 10_245 - 10_110 // 50),  # up by less than 2 %
    ],
)
def test_26_what_is_no_pull_back(row, name, value):
    bars = quarters(PULL_BACK_OPENS, PULL_BACK_CLOSES, [100] * 8)
    bars[name][row] = value
    assert pull_back(rows(bars)) == 0


@pytest.mark.parametrize(("back", "side"), [(151, 0), (152, 1)])
def test_26_back_by_at_least_one_and_a_half_percent(back, side):
    bars = quarters(PULL_BACK_OPENS, PULL_BACK_CLOSES, [100] * 8)
    bars.low[6:] = 10_245 - back  # 1.5 % of 10,110 are 151.65
    assert pull_back(rows(bars)) == side


def test_26_the_top_counts_from_its_latest_bar():
    """The low before the latest of two equal tops is not what the market came back to."""
    bars = quarters(PULL_BACK_OPENS, PULL_BACK_CLOSES, [100] * 8)
    bars.high[3] = 10_245
    bars.low[4] = 9_000
    assert pull_back(rows(bars)) == 1


def test_components_are_the_record_by_name():
    score = scored(quarter_bars(20, 0, 0, 121), rising_hours(), BULL, 9.0)
    found = components(score)
    assert found["long_score"] == 32.5
    assert (found["direction"], found["strength"]) == (BULL, 9)
    assert {type(value) for value in found.values()} == {int, float}
    assert set(found) == set(score_dt.names) - {"bar_ms", "status"}


def test_the_door_for_histories_wants_a_regime_for_each_bar():
    m15 = quarter_bars(20, 0, 0, 121)
    with pytest.raises(ValueError, match="100 bars need as many"):
        score_v3(m15, rising_hours(), np.zeros(99), np.zeros(100))
