"""The five parts of the score, per side: +1 LONG, -1 SHORT.

Prices and volumes are int64, so sums and comparisons are exact; the one float, RSI, is rounded to nine
decimals (``q9``) before it is compared.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.indicators.averages import tail_total
from perpdesk.kernel.intervals import CLOSE, OPEN

GROUPS, GROUP_BARS = 5, 5
TREND_BARS = 8
USUAL_BARS = 5
FAST, SLOW, BAND = 12, 26, 20


@njit(cache=True)
def regime_points(side, direction, strength):
    """Up to 5 for a regime that goes the side's way; none for any other."""
    if direction != side:
        return 0
    if strength >= 15:
        return 5
    if strength >= 10:
        return 4
    if strength >= 5:
        return 3
    return 2 if strength > 0 else 0


@njit(cache=True)
def count_groups(h1):
    """(rising, falling) 5-hour groups of the last 25 hours, counted back from the newest."""
    up = 0
    down = 0
    first = len(h1) - GROUPS * GROUP_BARS
    for group in range(GROUPS):
        begin = first + group * GROUP_BARS
        body = h1[begin + GROUP_BARS - 1, CLOSE] - h1[begin, OPEN]
        if body > 0:
            up += 1
        elif body < 0:
            down += 1
    return up, down


@njit(cache=True)
def group_points(count):
    """6, 4, 2, 0 for at least 4, 3, 2 and fewer groups of the side's colour."""
    if count >= 4:
        return 6
    if count == 3:
        return 4
    return 2 if count == 2 else 0


@njit(cache=True)
def count_bars(m15):
    """(rising, falling) among the last 8 bars."""
    up = 0
    down = 0
    for index in range(len(m15) - TREND_BARS, len(m15)):
        body = m15[index, CLOSE] - m15[index, OPEN]
        if body > 0:
            up += 1
        elif body < 0:
            down += 1
    return up, down


@njit(cache=True)
def trend_points(count):
    """14, 10, 7, 4, 0 for at least 6, 5, 4, 3 and fewer bars of the side's colour."""
    if count >= 6:
        return 14
    if count == 5:
        return 10
    if count == 4:
        return 7
    return 4 if count == 3 else 0


@njit(cache=True)
def volume_points(volume, before):
    """9, 5, 1 for a bar of the side's colour: above 1.5 times, 1.2 times the mean of the 5 before, or not."""
    if before == 0:
        return 1
    if 50 * volume > 15 * before:
        return 9
    return 5 if 50 * volume > 12 * before else 1


@njit(cache=True)
def rsi_points(value):
    """2.5 in 30..50, 1.5 up to 60, else 0."""
    if 30 <= value <= 50:
        return 2.5
    return 1.5 if 50 < value <= 60 else 0.0


@njit(cache=True)
def averages_gap(closes):
    """A number with the sign of (mean of 12 closes - mean of 26), exact."""
    return SLOW * tail_total(closes, FAST) - FAST * tail_total(closes, SLOW)


@njit(cache=True)
def band_side(closes):
    """-1 below the Bollinger band (20, 2 deviations of the population), +1 above it, 0 inside or on it.

    With y measured from the newest close and V = 20*sum(y^2) - sum(y)^2 the close is below the lower band
    exactly if sum(y) > 2*sqrt(V): nothing is divided and no root is taken.
    """
    newest = closes[len(closes) - 1]
    total = 0
    squares = 0
    for index in range(len(closes) - BAND, len(closes)):
        away = closes[index] - newest
        total += away
        squares += away * away
    if total * total <= 4 * (BAND * squares - total * total):
        return 0
    return -1 if total > 0 else 1


@njit(cache=True)
def band_points(side, outside):
    """2.5 beyond the band on the side where it is cheap to enter, 1.5 inside, 0 beyond the other end."""
    if outside == 0:
        return 1.5
    return 2.5 if outside == -side else 0.0
