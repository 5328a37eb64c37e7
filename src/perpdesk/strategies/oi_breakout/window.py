"""What a symbol's last polls said: open interest and mark price; at which earlier poll a period starts."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Two hours of polls every 15 s, and some. A power of two, so that the ring needs no division.
ROWS_MAX = 512
WINDOW_MS = 7_200_000
MISSING = -1

# Newest at (count - 1) % ROWS_MAX. ms ascending; oi and mark NaN where they are missing.
window_dt = np.dtype(
    [("count", "i8"), ("ms", "i8", (ROWS_MAX,)), ("oi", "f8", (ROWS_MAX,)), ("mark", "f8", (ROWS_MAX,))],
    align=True,
)


@njit(cache=True)
def put(window, ms, oi, mark):
    """Add a row. One that is not newer than the newest adds what that one lacks, or says nothing new.
    Returns whether it was taken."""
    newest = (window.count - 1) & (ROWS_MAX - 1)
    if window.count > 0 and ms <= window.ms[newest]:
        taken = False
        if ms == window.ms[newest]:
            if oi > 0.0 and not window.oi[newest] > 0.0:
                window.oi[newest] = oi
                taken = True
            if mark > 0.0 and not window.mark[newest] > 0.0:
                window.mark[newest] = mark
                taken = True
        return taken
    at = window.count & (ROWS_MAX - 1)
    window.ms[at] = ms
    window.oi[at] = oi if 0.0 < oi < math.inf else math.nan
    window.mark[at] = mark if 0.0 < mark < math.inf else math.nan
    window.count += 1
    return True


@njit(cache=True)
def base_of(window, now_ms, period_ms, tolerance_ms):
    """Place of the row with open interest nearest to now - period, among those before now; of two equally
    near ones the older. MISSING if the nearest is further off than the tolerance."""
    target = now_ms - period_ms
    best = MISSING
    best_off = tolerance_ms + 1
    first = max(0, window.count - ROWS_MAX)
    for n in range(first, window.count):
        at = n & (ROWS_MAX - 1)
        if window.ms[at] >= now_ms:
            break
        off = abs(window.ms[at] - target)
        if off < best_off and window.oi[at] > 0.0:
            best = at
            best_off = off
    return best


@njit(cache=True)
def extremes(window, now_ms, interval_ms):
    """(low, high, complete) of the marks of the last two hours, now included.

    Not complete: fewer than half of the polls that two hours have are there.
    """
    low, high = math.inf, 0.0
    filled = 0
    for n in range(max(0, window.count - ROWS_MAX), window.count):
        at = n & (ROWS_MAX - 1)
        mark = window.mark[at]
        if now_ms - WINDOW_MS < window.ms[at] <= now_ms and mark > 0.0:
            filled += 1
            low = min(low, mark)
            high = max(high, mark)
    slots = -(-WINDOW_MS // interval_ms)
    return low, high, 2 * filled >= slots
