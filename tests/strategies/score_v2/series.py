"""Series for the tests: the generator of the test vectors, random markets, and minutes to feed."""

from __future__ import annotations

import numpy as np

from perpdesk.kernel.intervals import HOUR_MS, interval_bar_dt
from perpdesk.kernel.records import DAY_MS, MINUTE_MS, bar_dt, zeros

MONDAY = 1_746_403_200_000  # 2025-05-05T00:00Z
FOUR_HOURS_MS = 4 * HOUR_MS


def generated(c0, d, k, period, s, u, n=200):
    """G(c0, d, k, P, s, u): hourly bars on a slope d with a zigzag of period P, height k."""
    i = np.arange(n)
    close = c0 + d * i + k * np.abs((i + s) % period - period // 2)
    bars = hours(close, spread=u)
    bars.volume_lots = 100 + 10 * ((7 * i) % 11)
    return bars


def line(n, a, b):
    """a, a + b, a + 2b, … n times."""
    return a + b * np.arange(n)


def hours(close, *, spread=0, interval_ms=HOUR_MS, last_close_ms=MONDAY):
    """Bars that open at the close before, the last one closing at last_close_ms."""
    close = np.asarray(close, dtype=np.int64)
    bars = zeros(len(close), interval_bar_dt)
    bars.open_ms = last_close_ms - interval_ms * np.arange(len(close), 0, -1)
    bars.open = np.concatenate([close[:1], close[:-1]])
    bars.close = close
    bars.high = np.maximum(bars.open, bars.close) + spread
    bars.low = np.minimum(bars.open, bars.close) - spread
    bars.volume_lots = 100
    return bars


def market(seed, hours_count=200):
    """Hourly, 4-hour and daily bars of a random market up to one moment; scale, noise and trend vary."""
    rng = np.random.default_rng(seed)
    scale = int(rng.choice([200, 10_000, 500_000]))
    step = rng.choice([0.0005, 0.004, 0.02])

    def walk(count, sigma):
        moves = rng.normal(rng.normal(0, 0.3) * sigma, sigma, count)
        return np.maximum(1, np.rint(scale * np.exp(np.cumsum(moves[::-1])))).astype(np.int64)[::-1]

    h1 = hours(walk(hours_count, step))
    h1.high += rng.integers(0, max(2, int(scale * step)), hours_count)
    h1.low = np.maximum(1, h1.low - rng.integers(0, max(2, int(scale * step)), hours_count))
    h1.volume_lots = rng.integers(0, 1000, hours_count) * rng.integers(1, 4, hours_count)
    h4 = hours(walk(hours_count // 4 + 99, 2 * step), interval_ms=FOUR_HOURS_MS)
    d1 = hours(walk(hours_count // 24 + int(rng.integers(20, 99)), 5 * step), interval_ms=DAY_MS)
    return h1, h4, d1


def mirrored(bars, pivot):
    """Prices reflected: p -> 2 * pivot - p."""
    other = bars.copy()
    other.open, other.close = 2 * pivot - bars.open, 2 * pivot - bars.close
    other.high, other.low = 2 * pivot - bars.low, 2 * pivot - bars.high
    return other


def scaled(bars, price, volume):
    """Prices and volumes multiplied."""
    other = bars.copy()
    for name in ("open", "high", "low", "close"):
        other[name] = bars[name] * price
    other.volume_lots = bars.volume_lots * volume
    return other


def minutes(seed, count, first_ms=MONDAY):
    """1-minute bars of a random walk with changing drift."""
    rng = np.random.default_rng(seed)
    drift = np.repeat(rng.normal(0, 0.00004, -(-count // 1440)), 1440)[:count]
    close = np.rint(1_000_000 * np.exp(np.cumsum(drift + rng.normal(0, 0.0005, count)))).astype(np.int64)
    bars = zeros(count, bar_dt)
    bars.open_ms = first_ms + MINUTE_MS * np.arange(count)
    bars.open = np.concatenate([close[:1], close[:-1]])
    bars.close = close
    bars.high = np.maximum(bars.open, close) + rng.integers(0, 400, count)
    bars.low = np.minimum(bars.open, close) - rng.integers(0, 400, count)
    bars.volume_lots = rng.integers(0, 1000, count)
    return bars
