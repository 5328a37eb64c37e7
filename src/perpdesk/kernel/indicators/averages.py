"""Simple and exponential moving averages."""

from __future__ import annotations

import numpy as np
from numba import njit

# value: NaN until `period` values were seen. total: sum of the values seen, while seeding.
ema_dt = np.dtype([("seen", "i8"), ("total", "f8"), ("value", "f8")], align=True)


def sma_dt(capacity: int) -> np.dtype:
    """A record for simple averages of periods up to ``capacity``.

    ``total`` is the exact sum of the last ``period`` values once ``seen >= period``: comparing two
    averages is comparing integers (``slow_period * fast.total > fast_period * slow.total``).
    """
    return np.dtype(
        [("seen", "i8"), ("cursor", "i8"), ("total", "i8"), ("ring", "i8", (capacity,))], align=True
    )


@njit(cache=True)
def sma_push(sma, value, period):
    """Take the next integer value; ``sma.total`` becomes the sum of the last ``period``."""
    cursor = sma.cursor
    sma.total += value - sma.ring[cursor]
    sma.ring[cursor] = value
    cursor += 1
    sma.cursor = 0 if cursor == period else cursor
    sma.seen += 1


@njit(cache=True)
def ema_push(ema, value, period):
    """Take the next value; the seed is the mean of the first ``period`` values."""
    ema.seen += 1
    if ema.seen > period:
        ema.value = ema.value + 2 / (period + 1) * (value - ema.value)
    else:
        ema.total += value
        ema.value = ema.total / period if ema.seen == period else np.nan


@njit(cache=True)
def tail_total(values, count):
    """Exact sum of the last ``count`` integers of an array that has at least that many."""
    total = 0
    for index in range(len(values) - count, len(values)):
        total += values[index]
    return total
