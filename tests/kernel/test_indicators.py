"""Every indicator against TA-Lib, or against the plain definition where its seeds or integers differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.kernel.indicators import (
    atr_dt,
    atr_push,
    atr_window,
    bollinger_dt,
    bollinger_push,
    ema_dt,
    ema_push,
    extreme_dt,
    highest_push,
    lowest_push,
    macd_dt,
    macd_push,
    macd_window,
    rsi_dt,
    rsi_push,
    rsi_window,
    sma_dt,
    sma_push,
    tail_total,
    width_rank_window,
)
from perpdesk.kernel.records import zeros

PRICES = st.lists(st.integers(1, 99_999_999), min_size=1, max_size=120)


@pytest.fixture(scope="module")
def market() -> dict[str, np.ndarray]:
    """400 bars of a random walk, integers."""
    rng = np.random.default_rng(20250504)
    close = 1_000_000 + np.cumsum(rng.integers(-900, 901, 400))
    opening = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(opening, close) + rng.integers(0, 300, 400)
    low = np.minimum(opening, close) - rng.integers(0, 300, 400)
    return {"close": close, "high": high, "low": low}


def series(dtype, push, columns, *periods, read):
    """Push every row of the columns into a fresh record; what `read` sees after each."""
    record = zeros(1, dtype)[0]
    seen = []
    for row in zip(*columns, strict=True):
        push(record, *(int(value) for value in row), *periods)
        seen.append(read(record))
    return np.array(seen)


def floats(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)


def test_sma_is_talibs(market):
    ours = series(sma_dt(64), sma_push, [market["close"]], 20, read=lambda r: r.total)
    theirs = talib.SMA(floats(market["close"]), 20)
    np.testing.assert_allclose(ours[19:] / 20, theirs[19:], rtol=1e-12)


def test_sma_of_the_whole_ring(market):
    ours = series(sma_dt(20), sma_push, [market["close"]], 20, read=lambda r: r.total)
    assert ours[-1] == market["close"][-20:].sum()


def test_ema_is_talibs(market):
    ours = series(ema_dt, ema_push, [market["close"]], 26, read=lambda r: r.value)
    np.testing.assert_allclose(ours, talib.EMA(floats(market["close"]), 26), rtol=1e-12)


def test_rsi_is_talibs(market):
    ours = series(rsi_dt, rsi_push, [market["close"]], 14, read=lambda r: r.value)
    np.testing.assert_allclose(ours, talib.RSI(floats(market["close"]), 14), rtol=1e-11)


def test_rsi_of_a_still_market_is_50():
    ours = series(rsi_dt, rsi_push, [np.full(30, 1000)], 14, read=lambda r: r.value)
    assert np.isnan(ours[:14]).all()
    assert (ours[14:] == 50).all()


def test_atr_is_talibs(market):
    columns = [market["high"], market["low"], market["close"]]
    ours = series(atr_dt, atr_push, columns, 14, read=lambda r: r.value)
    np.testing.assert_allclose(ours, talib.ATR(*map(floats, columns), 14), rtol=1e-12)


def plain_macd(closes: np.ndarray) -> np.ndarray:
    """The definition with the seeds of ours: each average starts at the mean of its own first values."""

    def ema(values: np.ndarray, period: int) -> np.ndarray:
        result = np.full(len(values), np.nan)
        result[period - 1] = values[:period].mean()
        for index in range(period, len(values)):
            result[index] = result[index - 1] + 2 / (period + 1) * (values[index] - result[index - 1])
        return result

    difference = ema(closes, 12)[25:] - ema(closes, 26)[25:]
    return np.concatenate([np.full(25, np.nan), difference - ema(difference, 9)])


def test_macd_is_the_definition(market):
    ours = series(macd_dt, macd_push, [market["close"]], 12, 26, 9, read=lambda r: r.histogram)
    np.testing.assert_allclose(ours, plain_macd(market["close"]), atol=1e-7)
    assert np.isnan(ours[:33]).all()
    assert not np.isnan(ours[33:]).any()


def test_macd_is_talibs_once_the_seeds_have_faded(market):
    ours = series(macd_dt, macd_push, [market["close"]], 12, 26, 9, read=lambda r: r.histogram)
    _, _, theirs = talib.MACD(floats(market["close"]), 12, 26, 9)
    np.testing.assert_allclose(ours[300:], theirs[300:], atol=1e-5)


def test_bollinger_is_talibs(market):
    close = market["close"]
    ours = series(bollinger_dt(32), bollinger_push, [close], 20, read=lambda r: (r.middle, r.deviation))
    upper, middle, lower = talib.BBANDS(floats(close), 20, 2.0, 2.0)
    np.testing.assert_allclose(ours[:, 0], middle, rtol=1e-12)
    np.testing.assert_allclose(ours[:, 0] + 2 * ours[:, 1], upper, rtol=1e-9)
    np.testing.assert_allclose(ours[:, 0] - 2 * ours[:, 1], lower, rtol=1e-9)


@given(PRICES, st.integers(1, 30))
def test_bollinger_spread_is_exact(closes, period):
    record = zeros(1, bollinger_dt(30))[0]
    for count, close in enumerate(closes, 1):
        bollinger_push(record, close, period)
        window = closes[max(0, count - period) : count]
        if count >= period:
            assert record.spread == period * sum(c * c for c in window) - sum(window) ** 2
            assert record.middle == pytest.approx(sum(window) / period, rel=1e-12)
        else:
            assert math.isnan(record.deviation)


@given(PRICES, st.integers(1, 30))
def test_sma_total_is_exact(values, period):
    record = zeros(1, sma_dt(30))[0]
    for count, value in enumerate(values, 1):
        sma_push(record, value, period)
        assert record.total == sum(values[max(0, count - period) : count])


@given(PRICES, st.integers(1, 30))
def test_extremes_are_the_extremes(values, period):
    highest = zeros(1, extreme_dt(30))[0]
    lowest = zeros(1, extreme_dt(30))[0]
    for count, value in enumerate(values, 1):
        highest_push(highest, value, period)
        lowest_push(lowest, value, period)
        window = values[max(0, count - period) : count]
        assert highest.value == max(window)
        assert lowest.value == min(window)


def test_extremes_are_talibs(market):
    high = series(extreme_dt(24), highest_push, [market["high"]], 24, read=lambda r: r.value)
    low = series(extreme_dt(24), lowest_push, [market["low"]], 24, read=lambda r: r.value)
    assert (high[23:] == talib.MAX(floats(market["high"]), 24)[23:]).all()
    assert (low[23:] == talib.MIN(floats(market["low"]), 24)[23:]).all()


def test_windowed_forms_give_the_bits_of_the_streaming_ones(market):
    close, high, low = market["close"], market["high"], market["low"]
    rsi = zeros(1, rsi_dt)[0]
    atr = zeros(1, atr_dt)[0]
    macd = zeros(1, macd_dt)[0]
    before = math.nan
    for h, low_, c in zip(high[:200], low[:200], close[:200], strict=True):
        before = macd.histogram
        rsi_push(rsi, int(c), 14)
        atr_push(atr, int(h), int(low_), int(c), 14)
        macd_push(macd, int(c), 12, 26, 9)
    assert rsi_window(close[:200], 14) == (rsi.gain, rsi.loss)
    assert atr_window(high[:200], low[:200], close[:200], 14) == atr.value
    assert macd_window(close[:200], 12, 26, 9) == (macd.histogram, before)


def test_macd_window_of_the_shortest_length_has_no_histogram_before(market):
    histogram, before = macd_window(market["close"][:34], 12, 26, 9)
    assert histogram == pytest.approx(plain_macd(market["close"])[33], abs=1e-7)
    assert math.isnan(before)


@given(st.lists(st.integers(1, 99_999_999), min_size=119, max_size=130))
def test_width_rank_is_the_count(closes):
    def spread(last: int) -> int:
        window = closes[last - 19 : last + 1]
        return 20 * sum(c * c for c in window) - sum(window) ** 2

    newest, *others = [spread(last) for last in range(len(closes) - 1, len(closes) - 101, -1)]
    rank = sum(2 * (v < newest) + (v == newest) for v in others)
    assert len(others) == 99
    assert width_rank_window(np.array(closes), 100, 20) == (newest, rank)


def test_width_rank_does_not_wrap_at_the_largest_prices():
    closes = np.array([1, 99_999_999] * 60)
    newest, rank = width_rank_window(closes, 100, 20)
    assert newest == 20 * 10 * 99_999_998**2 - (10 * 99_999_998) ** 2
    assert rank == 99


def test_tail_total_is_exact(market):
    assert tail_total(market["close"], 99) == sum(int(c) for c in market["close"][-99:])
