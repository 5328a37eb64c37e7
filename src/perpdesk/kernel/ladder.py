"""The entry mode ``ladder``: three batches of 30, 30 and 40 %, each at a good price or when its time is up.

``ladder_next`` is asked at each 1-minute close of a symbol that is building (``building``), with what has
been filled. Prices are integers in the data scale; every comparison is exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BATCHES = 3
BASELINE_MIN = 30
PAUSE_MS = 180_000

# Why a batch is sent, in the order in which the reasons are tried.
NOTHING, WINDOW_END, P25, PULLBACK, NEAR_AVG, P50, FORCED_NO_BASELINE, ELAPSED, FORCED = range(9)
REASON_NAMES = (
    "NOTHING",
    "WINDOW_END",
    "P25",
    "PULLBACK",
    "NEAR_AVG",
    "P50",
    "FORCED_NO_BASELINE",
    "ELAPSED",
    "FORCED",
)

WINDOW_MS = 1_800_000
NO_BASELINE_MS = 600_000
FORCED_MS = (900_000, 1_200_000, 1_680_000)
ELAPSED_MS = (0, 600_000, 480_000)


@njit(cache=True)
def ladder_lots(lots, price, unit_e8, notional_min_e8):
    """(first, second, third) batch of so many lots; three zeros: too few to split, send one market order."""
    part = 30 * lots // 100
    rest = lots - 2 * part
    if part == 0 or part * price * unit_e8 < notional_min_e8:
        return 0, 0, 0
    return part, part, rest


@njit(cache=True)
def nearest_rank(ascending, percent):
    """The percentile by nearest rank: the k-th smallest, k = ceil(percent * n / 100)."""
    return ascending[(percent * len(ascending) + 99) // 100 - 1]


@njit(cache=True)
def baseline(closes, side):
    """(quartile, median) of the 1-minute closes before the signal (int64, 60 of them); zeros: too few.

    The quartile is the one on the side where it is cheap to enter: the lower for LONG, the upper for SHORT.
    """
    if len(closes) < BASELINE_MIN:
        return 0, 0
    ascending = np.sort(closes)
    return nearest_rank(ascending, 25 if side > 0 else 75), nearest_rank(ascending, 50)


@njit(cache=True)
def ladder_next(side, filled, age_ms, since_ms, price, first_price, lots, cost, quartile, median):
    """Why the next batch is to be sent at this close, or NOTHING.

    filled: batches filled so far (0, 1, 2). age_ms: since the signal; since_ms: since the last batch filled.
    first_price: fill price of batch 1. lots, cost: of all fills, cost in price units * lots, below 4e15.
    quartile, median: ``baseline``. WINDOW_END asks for everything that remains.
    """
    if age_ms >= WINDOW_MS:
        return WINDOW_END
    if filled > 0 and since_ms < PAUSE_MS:
        return NOTHING
    if filled == 1 and side * (1000 * price - (1000 - 3 * side) * first_price) <= 0:
        return PULLBACK
    if filled == 2 and side * (1000 * price * lots - (1000 + 3 * side) * cost) <= 0:
        return NEAR_AVG
    if filled < 2 and quartile > 0 and side * (price - quartile) <= 0:
        return P25
    if filled == 2 and median > 0 and side * (price - median) <= 0:
        return P50
    if filled == 0 and quartile == 0 and age_ms >= NO_BASELINE_MS:
        return FORCED_NO_BASELINE
    if filled > 0 and since_ms >= ELAPSED_MS[filled]:
        return ELAPSED
    return FORCED if age_ms >= FORCED_MS[filled] else NOTHING
