"""Series for the tests: the generator of the test vectors, random markets, and steps of a small universe."""

from __future__ import annotations

import numpy as np
from tests.strategies.score_v2.series import MONDAY, hours, minutes

from perpdesk.kernel.intervals import HOUR_MS
from perpdesk.kernel.records import ABSENT_MS, bar_dt, zeros
from perpdesk.strategies.score_v3.regime import BEAR, BULL, NEUTRAL

QUARTER_MS = HOUR_MS // 4


def generated(c0, d, k, period, s, u, *, n, interval_ms, last_volume=100):
    """G(c0, d, k, P, s, u): bars on a slope d with a zigzag of period P, height k; volume 100."""
    i = np.arange(n)
    close = c0 + d * i + k * np.abs((i + s) % period - period // 2)
    bars = hours(close, spread=u, interval_ms=interval_ms)
    bars.volume_lots[-1] = last_volume
    return bars


def quarters(opens, closes, volumes, *, spread=5):
    """15-minute bars with these opens, closes and volumes."""
    bars = hours(np.asarray(closes), interval_ms=QUARTER_MS)
    bars.open = opens
    bars.high = np.maximum(bars.open, bars.close) + spread
    bars.low = np.minimum(bars.open, bars.close) - spread
    bars.volume_lots = volumes
    return bars


def market(seed, count=100):
    """15-minute and hourly bars of a random market up to one moment, and a regime for each quarter."""
    rng = np.random.default_rng(seed)
    scale = int(rng.choice([200, 10_000, 500_000]))
    step = rng.choice([0.0005, 0.004, 0.02])

    def walk(length, sigma, interval_ms):
        drift = rng.normal(0, 0.3) * sigma
        moves = np.exp(np.cumsum(rng.normal(drift, sigma, length)))
        bars = hours(np.maximum(1, np.rint(scale * moves)).astype(np.int64), interval_ms=interval_ms)
        bars.high += rng.integers(0, max(2, int(scale * step)), length)
        bars.low = np.maximum(1, bars.low - rng.integers(0, max(2, int(scale * step)), length))
        bars.volume_lots = rng.integers(0, 1000, length) * rng.integers(1, 4, length)
        return bars

    m15 = walk(count, step, QUARTER_MS)
    h1 = walk(count // 4 + 26, 2 * step, HOUR_MS)
    directions = rng.choice([BULL, BEAR, NEUTRAL], count)
    strengths = np.where(directions == NEUTRAL, 0, rng.integers(1, 101, count)).astype(np.float64)
    return m15, h1, directions, strengths


def universe(*columns):
    """Steps of several symbols: one column of 1-minute bars each, beginning together, as [T, N]."""
    steps = zeros((max(map(len, columns)), len(columns)), bar_dt)
    steps["open_ms"] = ABSENT_MS
    for s, bars in enumerate(columns):
        steps[: len(bars), s] = bars
    return steps


def without(steps, rows, column):
    """The same steps, the column's bars absent in these rows."""
    other = steps.copy()
    other[rows, column] = np.zeros((), bar_dt)
    other["open_ms"][rows, column] = ABSENT_MS
    return other


def trending(seed, count, slope, first_ms=MONDAY):
    """Minutes of a random walk with a slope (per minute) that every dominance sees."""
    bars = minutes(seed, count, first_ms)
    factor = np.exp(slope * np.arange(count))
    for name in ("open", "high", "low", "close"):
        bars[name] = np.rint(500_000 * factor * (bars[name] / 1_000_000)).astype(np.int64)
    bars.high = np.maximum(bars.high, np.maximum(bars.open, bars.close))
    bars.low = np.minimum(bars.low, np.minimum(bars.open, bars.close))
    return bars


def still(count, first_ms=MONDAY):
    """Minutes of a market that does not move."""
    bars = minutes(0, count, first_ms)
    for name in ("open", "high", "low", "close"):
        bars[name] = 500_000
    return bars
