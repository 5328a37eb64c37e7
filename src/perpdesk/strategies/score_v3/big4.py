"""What is known of the four largest coins: their windows, kept minute by minute, and the regime they give.

The regime is measured at each 15-minute close. A coin whose newest bars are not there yet may come within
the minute after it; then it counts as absent.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.intervals import COLUMNS, HOUR_MS, OPEN_MS, builder_dt, push, shift_in
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.strategies.score_v2.scorer import sound
from perpdesk.strategies.score_v3.regime import (
    BIG4,
    FIVES,
    HOURS,
    QUARTERS,
    UNKNOWN,
    coin_score,
    fives_dominance,
    hours_dominance,
    quarters_dominance,
    regime,
)

FIVE_MS, QUARTER_MS = 5 * MINUTE_MS, 15 * MINUTE_MS
INTERVALS_MS = (FIVE_MS, QUARTER_MS, HOUR_MS)
GRACE_MS = MINUTE_MS
REGIME_AGE_MAX_MS = 3_600_000

# hours, quarters, fives: dominance per interval. score: of the coin, valid if present.
# bad_ms: end of the last minute that could not be (0: none). m5, m15, h1: rows, newest last; *_held: how
# many are real.
coin_dt = np.dtype(
    [
        ("builder", builder_dt(INTERVALS_MS)),
        ("present", "i8"),
        ("score", "i8"),
        ("hours", "i8"),
        ("quarters", "i8"),
        ("fives", "i8"),
        ("bad_ms", "i8"),
        ("m5_held", "i8"),
        ("m15_held", "i8"),
        ("h1_held", "i8"),
        ("m5", "i8", (FIVES, COLUMNS)),
        ("m15", "i8", (QUARTERS, COLUMNS)),
        ("h1", "i8", (HOURS, COLUMNS)),
    ],
    align=True,
)

# regime_ms: the 15-minute close that direction and strength belong to. coins: in the order of BIG4.
shared_dt = np.dtype(
    [
        ("regime_ms", "i8"),
        ("direction", "i8"),
        ("strength", "f8"),
        ("coins", coin_dt, (len(BIG4),)),
    ],
    align=True,
)


@njit(cache=True)
def _take(coin, bar):
    """Add one minute to a coin's windows."""
    if not sound(bar.open, bar.high, bar.low, bar.close, bar.volume_lots):
        coin.bad_ms = bar.open_ms + MINUTE_MS
        return
    builder = coin.builder
    if push(builder, bar, INTERVALS_MS) <= 0:
        return
    for place in range(builder.closed_count[0]):
        shift_in(coin.m5, builder.closed[0, place])
        coin.m5_held = min(FIVES, coin.m5_held + 1)
    for place in range(builder.closed_count[1]):
        shift_in(coin.m15, builder.closed[1, place])
        coin.m15_held = min(QUARTERS, coin.m15_held + 1)
    for place in range(builder.closed_count[2]):
        shift_in(coin.h1, builder.closed[2, place])
        coin.h1_held = min(HOURS, coin.h1_held + 1)


@njit(cache=True)
def _whole(window, held, interval_ms, closed_ms):
    """Is the window full, without a hole, and its newest bar the one that closed last?"""
    count = len(window)
    newest_ms = window[count - 1, OPEN_MS]
    return (
        held == count
        and newest_ms - window[0, OPEN_MS] == (count - 1) * interval_ms
        and newest_ms + interval_ms == closed_ms - closed_ms % interval_ms
    )


@njit(cache=True)
def _judge_coin(coin, closed_ms):
    """Score one coin at a 15-minute close, or call it absent."""
    coin.present = 0
    coin.score = 0
    coin.hours = 0
    coin.quarters = 0
    coin.fives = 0
    if (
        not _whole(coin.h1, coin.h1_held, HOUR_MS, closed_ms)
        or not _whole(coin.m15, coin.m15_held, QUARTER_MS, closed_ms)
        or not _whole(coin.m5, coin.m5_held, FIVE_MS, closed_ms)
        or coin.bad_ms > coin.h1[0, OPEN_MS]
    ):
        return
    coin.present = 1
    coin.hours = hours_dominance(coin.h1[:])
    coin.quarters = quarters_dominance(coin.m15[:])
    coin.fives = fives_dominance(coin.m5[:])
    coin.score = coin_score(coin.hours, coin.quarters, coin.fives)


@njit(cache=True)
def _all_came(params, shared, closed_ms):
    """Has every coin of the universe the bar that ends at this 15-minute close?"""
    for k in range(len(BIG4)):
        if params.coins[k] >= 0 and shared.coins[k].m15[QUARTERS - 1, OPEN_MS] + QUARTER_MS != closed_ms:
            return False
    return True


@njit(cache=True)
def _measure(params, shared, closed_ms):
    scores = np.zeros(len(BIG4), np.int64)
    present = np.zeros(len(BIG4), np.int64)
    for k in range(len(BIG4)):
        if params.coins[k] >= 0:
            coin = shared.coins[k]
            _judge_coin(coin, closed_ms)
            scores[k] = coin.score
            present[k] = coin.present
    direction, strength = regime(scores, present)
    shared.regime_ms = closed_ms
    shared.direction = direction
    shared.strength = strength


@njit(cache=True)
def observe(params, shared, bars):
    """Take one step's bars [N] of the universe; at or just after a 15-minute close, measure the regime."""
    now_ms = 0
    for s in range(len(bars)):
        if bars[s].open_ms != ABSENT_MS:
            now_ms = bars[s].open_ms + MINUTE_MS
            break
    if now_ms == 0:
        return
    for k in range(len(BIG4)):
        place = params.coins[k]
        if place >= 0 and bars[place].open_ms != ABSENT_MS:
            _take(shared.coins[k], bars[place])
    closed_ms = now_ms - now_ms % QUARTER_MS
    if closed_ms > shared.regime_ms and (
        now_ms - closed_ms >= GRACE_MS or _all_came(params, shared, closed_ms)
    ):
        _measure(params, shared, closed_ms)


@njit(cache=True)
def known_regime(shared, now_ms):
    """(direction, strength) as far as it is known now: an old regime is none."""
    if now_ms - shared.regime_ms > REGIME_AGE_MAX_MS:
        return UNKNOWN, 0.0
    return shared.direction, shared.strength
