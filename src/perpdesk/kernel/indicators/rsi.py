"""Wilder's relative strength index."""

from __future__ import annotations

import numpy as np
from numba import njit

# gain, loss: while seeding the sums, then Wilder's means. value: 0..100, NaN until period + 1 closes.
rsi_dt = np.dtype(
    [("seen", "i8"), ("close", "i8"), ("gain", "f8"), ("loss", "f8"), ("value", "f8")], align=True
)


@njit(cache=True)
def rsi_push(rsi, close, period):
    """Take the next close; the seeds are the mean gain and mean loss of the first ``period`` differences.

    A market that has not moved at all has the value 50.
    """
    rsi.seen += 1
    change = close - rsi.close
    rsi.close = close
    if rsi.seen == 1:
        rsi.value = np.nan
        return
    up = max(change, 0)
    down = max(-change, 0)
    if rsi.seen <= period + 1:
        rsi.gain += up
        rsi.loss += down
        rsi.value = np.nan
        if rsi.seen <= period:
            return
        rsi.gain = rsi.gain / period
        rsi.loss = rsi.loss / period
    else:
        rsi.gain = (rsi.gain * (period - 1) + up) / period
        rsi.loss = (rsi.loss * (period - 1) + down) / period
    both = rsi.gain + rsi.loss
    rsi.value = 50.0 if both == 0 else 100 * rsi.gain / both


@njit(cache=True)
def rsi_window(closes, period):
    """(mean gain, mean loss) at the newest of ``closes`` (int64, more than ``period`` of them)."""
    gains = 0
    losses = 0
    for index in range(1, period + 1):
        change = closes[index] - closes[index - 1]
        gains += max(change, 0)
        losses += max(-change, 0)
    gain = gains / period
    loss = losses / period
    for index in range(period + 1, len(closes)):
        change = closes[index] - closes[index - 1]
        gain = (gain * (period - 1) + max(change, 0)) / period
        loss = (loss * (period - 1) + max(-change, 0)) / period
    return gain, loss
