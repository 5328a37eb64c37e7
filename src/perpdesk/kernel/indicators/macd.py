"""MACD: the difference of a fast and a slow exponential average, its own average, and the histogram."""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.indicators.averages import ema_dt, ema_push

# difference = fast - slow; histogram = difference - signal.value. NaN until their averages have values.
macd_dt = np.dtype(
    [("fast", ema_dt), ("slow", ema_dt), ("signal", ema_dt), ("difference", "f8"), ("histogram", "f8")],
    align=True,
)


@njit(cache=True)
def macd_push(macd, close, fast_period, slow_period, signal_period):
    """Take the next close. Every average is seeded with the mean of its own first values."""
    ema_push(macd.fast, close, fast_period)
    ema_push(macd.slow, close, slow_period)
    macd.difference = np.nan
    macd.histogram = np.nan
    if macd.slow.seen < slow_period:
        return
    macd.difference = macd.fast.value - macd.slow.value
    ema_push(macd.signal, macd.difference, signal_period)
    macd.histogram = macd.difference - macd.signal.value


@njit(cache=True)
def macd_window(closes, fast_period, slow_period, signal_period):
    """(newest histogram, the one before) of ``closes`` (int64, at least slow + signal of them)."""
    fast_share = 2 / (fast_period + 1)
    slow_share = 2 / (slow_period + 1)
    signal_share = 2 / (signal_period + 1)
    total = 0
    for index in range(fast_period):
        total += closes[index]
    fast = total / fast_period
    for index in range(fast_period, slow_period):
        total += closes[index]
        fast = fast + fast_share * (closes[index] - fast)
    slow = total / slow_period
    differences = fast - slow
    seeded = slow_period + signal_period - 1
    for index in range(slow_period, seeded):
        fast = fast + fast_share * (closes[index] - fast)
        slow = slow + slow_share * (closes[index] - slow)
        differences += fast - slow
    signal = differences / signal_period
    histogram = fast - slow - signal
    before = np.nan
    for index in range(seeded, len(closes)):
        fast = fast + fast_share * (closes[index] - fast)
        slow = slow + slow_share * (closes[index] - slow)
        difference = fast - slow
        signal = signal + signal_share * (difference - signal)
        before = histogram
        histogram = difference - signal
    return histogram, before
