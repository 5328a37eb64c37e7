"""The numbers of the specification, to their printed digits."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.score_v2.series import generated, hours, line, mirrored

from perpdesk.kernel.indicators import macd_window, rsi_window
from perpdesk.kernel.intervals import rows
from perpdesk.kernel.records import zeros
from perpdesk.strategies.score_v2 import components, decide, score_dt, score_window
from perpdesk.strategies.score_v2.points import (
    macd_points,
    position_points,
    position_ratio,
    rsi_points,
    rsi_ratio,
    trend_timeframe,
)

RISING_4H = line(99, 80_000, 220)
RISING_1D = line(99, 60_000, 400)


def scored(h1, h4, d1):
    record = zeros(1, score_dt)[0]
    score_window(rows(h1), h4, d1, record)
    return record


def side_at(score, threshold):
    return decide(score.long_score, score.short_score, threshold, threshold)


@pytest.mark.parametrize(
    ("closes", "points"),
    [
        (line(99, 1000, 10), (8, 0)),
        (line(30, 1000, 10), (4, 0)),
        (line(24, 1000, 10), (0, 0)),
        (np.full(99, 1000), (0, 0)),
        (line(99, 2000, -10), (0, 8)),
        (np.concatenate([line(93, 1000, 10), [1860, 1800, 1740, 1680, 1620, 1560]]), (0, 4)),
    ],
)
def test_1_and_2_trend_of_a_timeframe(closes, points):
    assert trend_timeframe(closes) == points


@pytest.mark.parametrize(("days", "points"), [(99, 30), (30, 26), (24, 16)])
def test_3_trend(days, points):
    score = scored(hours(line(200, 1000, 10)), line(99, 1000, 10), line(days, 1000, 10))
    assert (score.trend_long, score.trend_short) == (points, 0)


@pytest.mark.parametrize(
    ("close", "long_points", "short_points"),
    [(105, 20, 0), (106, 20, 0), (110, 10, 10), (113, 2.5, 17.5), (114, 0, 20)],
)
def test_4_position(close, long_points, short_points):
    assert position_points(position_ratio(close - 100, 20)) == long_points
    assert position_points(position_ratio(120 - close, 20)) == short_points


def test_4_position_without_a_range():
    assert position_points(position_ratio(0, 0)) == 10


@pytest.mark.parametrize(
    ("rsi", "long_points", "short_points"),
    [
        (29.999999999, 4, 0),
        (30, 10, 0),
        (50, 10, 10),
        (50.000000001, 6, 10),
        (60, 6, 10),
        (60.000000001, 0, 10),
        (72, 0, 4),
    ],
)
def test_5_rsi_points(rsi, long_points, short_points):
    mirror = round(100 - rsi, 9)
    assert (rsi_points(rsi), rsi_points(mirror)) == (long_points, short_points)


@pytest.mark.parametrize(
    ("closes", "rsi"),
    [
        (1000 + np.cumsum([0, *([2, -1] * 100)])[:200], 68.292684712),
        (np.full(200, 1000), 50),
        (line(200, 1000, 1), 100),
    ],
)
def test_6_rsi(closes, rsi):
    assert rsi_ratio(*rsi_window(closes, 14)) == rsi


@pytest.mark.parametrize(
    ("closes", "points", "histograms"),
    [
        (np.full(200, 1000), (0, 0), (0, 0)),
        (line(200, 1000, 10), (0, 0), None),
        (1000 + np.arange(200) ** 2 // 40, (10, 0), (1.438583409, 1.420991612)),
    ],
)
def test_7_macd(closes, points, histograms):
    now, before = macd_window(closes, 12, 26, 9)
    assert macd_points(now, before, closes[-1]) == points
    if histograms:
        assert (round(now, 9), round(before, 9)) == histograms


def with_volumes(volumes, colours):
    """200 hourly bars, the last ones with these volumes and colours (+1 up, -1 down, 0 doji)."""
    bars = hours(np.full(200, 1000), spread=50)
    bars.volume_lots = 0
    bars.volume_lots[-len(volumes) :] = volumes
    bars.close[-len(colours) :] += np.array(colours)
    return bars


@pytest.mark.parametrize(
    ("volumes", "colours", "points"),
    [
        ([10] * 42 + [15] * 6, [1] * 48, (12, 5)),
        ([10] * 42 + [17] * 6, [1] * 48, (15, 8)),
        ([10] * 42 + [20] * 6, [1, -1] * 24, (12, 12)),
        ([10] * 48, [1] * 14 + [-1] * 8 + [0] * 2, (6, 2)),
        ([0] * 48, [1] * 48, (0, 0)),
    ],
)
def test_8_volume(volumes, colours, points):
    score = scored(with_volumes(volumes, colours), line(0, 0, 0), line(0, 0, 0))
    assert (score.volume_long, score.volume_short) == points


def test_9_market_a():
    score = scored(generated(100_000, 10, 200, 96, 54, 200), RISING_4H, RISING_1D)
    assert score.long_score == 74.61134455
    assert score.short_score == 25.38865545
    assert (score.trend_long, score.trend_short) == (26, 0)
    assert (score.position_long, score.position_short) == (19.61134455, 0.38865545)
    assert score.position_ratio == 0.307773109
    assert (score.momentum_long, score.momentum_short) == (10, 10)
    assert score.rsi == 65.202825612
    assert (score.volume_long, score.volume_short) == (4, 0)
    assert score.volatility == 15
    assert score.atr_ratio == 0.005761352
    assert round(score.width_rank, 4) == 20.2020
    assert side_at(score, 60) == side_at(score, 70) == 1


def test_10_market_b():
    score = scored(generated(100_000, 10, 200, 96, 60, 200), RISING_4H, RISING_1D)
    assert (score.long_score, score.short_score) == (61.9936975, 27.0063025)
    assert (score.momentum_long, score.momentum_short) == (5, 9)
    assert (score.volume_long, score.volume_short) == (7, 0)
    assert score.volatility == 11
    assert (side_at(score, 60), side_at(score, 70)) == (1, 0)


def test_11_market_c_is_a_tie():
    flat = np.full(99, 100_000)
    score = scored(generated(100_000, 0, 0, 24, 0, 0), flat, flat)
    assert (score.long_score, score.short_score) == (20, 20)
    assert side_at(score, 10) == 0


def test_12_market_d():
    score = scored(generated(100_000, 50, 0, 24, 0, 100), RISING_4H, RISING_1D)
    assert (score.long_score, score.short_score) == (44, 31)
    assert side_at(score, 60) == 0


def test_12_market_a_with_30_days():
    score = scored(generated(100_000, 10, 200, 96, 54, 200), RISING_4H, line(30, 60_000, 400))
    assert (score.long_score, score.short_score) == (70.61134455, 25.38865545)


def test_12_market_a_mirrored():
    bars = generated(100_000, 10, 200, 96, 54, 200)
    pivot = bars.close[-1]
    score = scored(mirrored(bars, pivot), 2 * pivot - RISING_4H, 2 * pivot - RISING_1D)
    assert (score.long_score, score.short_score) == (25.38865545, 74.61134455)
    assert side_at(score, 60) == -1


def test_components_are_the_record_by_name():
    score = scored(generated(100_000, 10, 200, 96, 54, 200), RISING_4H, RISING_1D)
    parts = components(score)
    assert parts["long_score"] == 74.61134455
    assert parts["trend_4h_long"] == 8
    assert {type(value) for value in parts.values()} == {int, float}
    assert set(parts) == set(score_dt.names) - {"bar_ms", "status"}
    five = ("trend_long", "position_long", "momentum_long", "volume_long", "volatility")
    assert sum(parts[name] for name in five) == pytest.approx(parts["long_score"], abs=1e-9)
