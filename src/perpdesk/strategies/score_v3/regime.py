"""The market regime: which way the four largest coins go, and how strongly.

Pure functions of whole windows of bars. ``big4`` keeps the windows and says when to measure.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.intervals import CLOSE, HIGH, LOW, OPEN, VOLUME_LOTS

BIG4 = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
# Percent, so that the sum of those present is exact; as shares they are multiplied in the order above.
WEIGHTS_PERCENT = (40, 30, 15, 15)
WEIGHTS = (0.40, 0.30, 0.15, 0.15)
PRESENT_PERCENT_MIN = 70

# A direction is a side where there is one. Zero is what a regime is before anything is known.
UNKNOWN, BULL, BEAR, NEUTRAL = 0, 1, -1, 2
REGIME_NAMES = {UNKNOWN: "UNKNOWN", BULL: "BULL", BEAR: "BEAR", NEUTRAL: "NEUTRAL"}

# How many bars of 1 hour, 15 and 5 minutes a coin is judged by, and what each counts.
HOURS, QUARTERS, FIVES = 30, 30, 3
RECENT_HOURS = 5
COIN_LEAST = 30


@njit(cache=True)
def _leads(count, body, other_body, volume, other_volume, big, bars, all_body, all_volume):
    """Does a colour dominate: two of number of bars, power and big bars?"""
    own_power = 0.0
    other_power = 0.0
    if all_body > 0:
        own_power = 0.8 * body / all_body
        other_power = 0.8 * other_body / all_body
    if all_volume > 0:
        own_power = own_power + 0.2 * volume / all_volume
        other_power = other_power + 0.2 * other_volume / all_volume
    found = 1 if 5 * count >= 3 * bars else 0
    if q9(own_power - 1.2 * other_power) > 0:
        found += 1
    if big >= max(1, (bars + 14) // 15):
        found += 1
    return found >= 2


@njit(cache=True)
def dominance(bars, range_least, change_least, body_least):
    """+1 or -1 if one colour dominates int64 rows [n, 7] (oldest first), 0 if none or both do.

    0 as well where the range of all bars is below ``range_least`` or the change over them below
    ``change_least``, both as shares of the newest close; a big body has at least ``body_least`` of it.
    """
    n = len(bars)
    last = bars[n - 1, CLOSE]
    highest = bars[0, HIGH]
    lowest = bars[0, LOW]
    up = 0
    down = 0
    up_body = 0
    down_body = 0
    up_volume = 0
    down_volume = 0
    up_big = 0
    down_big = 0
    all_volume = 0
    for index in range(n):
        highest = max(highest, bars[index, HIGH])
        lowest = min(lowest, bars[index, LOW])
        volume = bars[index, VOLUME_LOTS]
        all_volume += volume
        body = bars[index, CLOSE] - bars[index, OPEN]
        if body > 0:
            up += 1
            up_body += body
            up_volume += volume
            if q9(body / last) >= body_least:
                up_big += 1
        elif body < 0:
            down += 1
            down_body -= body
            down_volume += volume
            if q9(-body / last) >= body_least:
                down_big += 1
    if q9((highest - lowest) / last) < range_least or abs(q9((last - bars[0, OPEN]) / last)) < change_least:
        return 0
    all_body = up_body + down_body
    rises = _leads(up, up_body, down_body, up_volume, down_volume, up_big, n, all_body, all_volume)
    falls = _leads(down, down_body, up_body, down_volume, up_volume, down_big, n, all_body, all_volume)
    if rises == falls:
        return 0
    return 1 if rises else -1


@njit(cache=True)
def hours_dominance(h1):
    """Dominance of 30 hours, 0 where the last five say the opposite."""
    whole = dominance(h1, 0.03, 0.02, 0.03)
    recent = dominance(h1[len(h1) - RECENT_HOURS :], 0.03, 0.02, 0.03)
    return 0 if recent != 0 and recent != whole else whole


@njit(cache=True)
def quarters_dominance(m15):
    """Dominance of 30 bars of 15 minutes."""
    return dominance(m15, 0.015, 0.01, 0.015)


@njit(cache=True)
def fives_dominance(m5):
    """Dominance of 3 bars of 5 minutes."""
    return dominance(m5, 0.005, 0.003, 0.005)


@njit(cache=True)
def coin_score(hours, quarters, fives):
    """-100 .. 100 from the dominances of the three intervals."""
    return 60 * hours + 30 * quarters + 10 * fives


@njit(cache=True)
def regime(scores, present):
    """(direction, strength) from the four coins' scores; ``present[k]`` is 0 for a coin that has none."""
    percent = 0
    rising = 0.0
    falling = 0.0
    for k in range(len(WEIGHTS)):
        if present[k] == 0:
            continue
        percent += WEIGHTS_PERCENT[k]
        if scores[k] > COIN_LEAST:
            rising += WEIGHTS[k] * scores[k]
        elif scores[k] < -COIN_LEAST:
            falling += WEIGHTS[k] * -scores[k]
    if percent < PRESENT_PERCENT_MIN:
        return UNKNOWN, 0.0
    bull = q9(rising)
    bear = q9(falling)
    if bull > q9(1.5 * bear):
        return BULL, bull
    if bear > q9(1.5 * bull):
        return BEAR, bear
    return NEUTRAL, 0.0
