"""Wilder's average true range."""

from __future__ import annotations

import numpy as np
from numba import njit

# value: in price units, NaN until period + 1 bars. total: sum of the true ranges seen, while seeding.
atr_dt = np.dtype([("seen", "i8"), ("close", "i8"), ("total", "i8"), ("value", "f8")], align=True)


@njit(cache=True)
def true_range(high, low, close_before):
    """The largest of high - low, |high - close before| and |low - close before|."""
    return max(high - low, max(abs(high - close_before), abs(low - close_before)))


@njit(cache=True)
def atr_push(atr, high, low, close, period):
    """Take the next bar; the seed is the mean of the first ``period`` true ranges, the second bar's first."""
    atr.seen += 1
    close_before = atr.close
    atr.close = close
    if atr.seen == 1:
        atr.value = np.nan
        return
    reach = true_range(high, low, close_before)
    if atr.seen <= period + 1:
        atr.total += reach
        atr.value = atr.total / period if atr.seen == period + 1 else np.nan
    else:
        atr.value = (atr.value * (period - 1) + reach) / period


@njit(cache=True)
def atr_window(highs, lows, closes, period):
    """The average true range at the newest bar, in price units (int64 arrays, over ``period`` bars)."""
    total = 0
    for index in range(1, period + 1):
        total += true_range(highs[index], lows[index], closes[index - 1])
    average = total / period
    for index in range(period + 1, len(closes)):
        average = (average * (period - 1) + true_range(highs[index], lows[index], closes[index - 1])) / period
    return average
