"""The tables of the score: pure functions of numbers, one row of the specification each.

Changes and moves are fractions rounded to nine decimals, funding rates are 1e-8 per 8 hours. A missing
number is NaN.
"""

from __future__ import annotations

import math

from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.strategies.oi_breakout.codes import LONG, NEUTRAL, SHORT

LOW, MEDIUM, HIGH = 0, 1, 2
# A change of open interest below this has no direction, and a move below that neither.
OI_MIN, MOVE_MIN = 0.03, 0.005
SUM_MAX, SENTIMENT_MAX = 10.0, 3.0
FUNDING_MISSING = -(1 << 62)
_FUNDING_BASE_E8 = 20_000  # twice the venue's base rate: the mirror of a rate for shorts


@njit(cache=True)
def change(now, before):
    """Relative change, nine decimals; NaN where one of the two is missing or not positive."""
    if not (now > 0.0 and before > 0.0):
        return math.nan
    return q9(now / before - 1.0)


@njit(cache=True)
def side_move(side, before, now):
    """How far the price went to a side's advantage: LONG now/before - 1, SHORT before/now - 1."""
    return change(now, before) if side == LONG else change(before, now)


@njit(cache=True)
def severity(d_oi, medium, high):
    """LOW, MEDIUM or HIGH by the size of the change; medium and high are the least changes of each."""
    size = abs(d_oi)
    return HIGH if size >= high else MEDIUM if size >= medium else LOW


@njit(cache=True)
def direction(d_oi, before, now):
    """LONG, SHORT or NEUTRAL. Falling open interest is unwinding: it has no direction."""
    if not d_oi >= OI_MIN:
        return NEUTRAL
    if side_move(LONG, before, now) >= MOVE_MIN:
        return LONG
    if side_move(SHORT, before, now) >= MOVE_MIN:
        return SHORT
    return NEUTRAL


@njit(cache=True)
def oi_points(d_oi, grade):
    """0..3: a change just beyond the threshold counts most. grade: its severity."""
    x = abs(d_oi)
    if OI_MIN <= x <= 0.05:
        points = 3.0
    elif 0.05 < x <= 0.10:
        points = 2.5
    elif 0.10 < x <= 0.15:
        points = 2.0
    elif 0.15 < x <= 0.20:
        points = 1.5
    else:
        points = 1.0
    more = 0.3 if grade == HIGH else 0.2 if grade == MEDIUM else 0.0
    return q9(min(3.0, points + more))


@njit(cache=True)
def price_points(move, d_oi):
    """0..2 for a move to the side's advantage."""
    x = abs(d_oi)
    if not move > 0.0:
        return 0.0
    if move > 0.10:
        return 0.5
    if move > 0.06:
        return 2.0 if OI_MIN <= x <= 0.05 else 1.2
    if move > 0.03:
        return 1.8
    if move >= 0.015:
        return 2.0
    if move >= 0.01:
        return 1.5
    return 0.8 if move >= MOVE_MIN else 0.0


@njit(cache=True)
def are_ratios_known(top_position, taker, top_account, crowd):
    """Only all four together count: averaging a part of them would reward what is missing."""
    for ratio in (top_position, taker, top_account, crowd):  # noqa: SIM110 (numba compiles no generators)
        if not (ratio > 0.0 and ratio < math.inf):
            return False
    return True


@njit(cache=True)
def sentiment_points(side, top_position, taker, top_account, crowd):
    """0..3 from the four long/short ratios: positions and accounts of top traders, takers, and the crowd."""
    if side == LONG:
        a = 1.5 if top_position > 1.5 else 1.0 if top_position > 1.2 else 0.1
        b = 1.0 if taker > 1.3 else 0.75 if taker > 1.1 else 0.25 if taker >= 0.9 else 0.0
        c = 2.0 if top_account > 3.0 else 1.5 if top_account > 2.0 else 1.0 if top_account > 1.5 else 0.3
        g = 1.2 if crowd < 1.2 else 0.8 if crowd < 1.5 else 0.3
    else:
        a = 1.5 if top_position < 0.7 else 1.0 if top_position < 0.8 else 0.1
        b = 1.0 if taker < 0.8 else 0.75 if taker < 0.9 else 0.25 if taker <= 1.1 else 0.0
        c = 2.0 if top_account < 0.5 else 1.5 if top_account < 0.7 else 1.0 if top_account < 0.8 else 0.3
        g = 1.2 if crowd > 1.5 else 0.8 if crowd > 1.2 else 0.3
    return min(SENTIMENT_MAX, q9(3.0 * (a + b + c + g) / 4.0))


@njit(cache=True)
def normalised_funding_e8(rate_e8, interval_hours):
    """A rate as the exchange gives it, per 8 hours. Exact where 8 is a multiple of the interval."""
    return rate_e8 * 8 // interval_hours


@njit(cache=True)
def funding_points(side, r8_e8):
    """0..2: being paid to hold is worth most. r8_e8: per 8 hours, FUNDING_MISSING if it is not known."""
    if r8_e8 == FUNDING_MISSING:
        return 1.0
    x = r8_e8 if side == LONG else _FUNDING_BASE_E8 - r8_e8
    if x < -10_000:
        return 2.0
    if x < 0:
        return 1.7
    if x <= 10_000:
        return 1.3
    return 1.0 if x <= 30_000 else 0.5


@njit(cache=True)
def chase_distance(side, price, low, high):
    """How far the price has run already from the window's extreme, as a fraction."""
    return change(price, low) if side == LONG else change(high, price)


@njit(cache=True)
def total(oi, price, sentiment, funding, bonus, penalty, degraded):
    """0..10. Without sentiment (degraded) the other parts are scaled up to the same maximum."""
    base = (oi + price + funding) * 10.0 / 7.0 if degraded else oi + price + sentiment + funding
    return min(SUM_MAX, max(0.0, q9(base + bonus - penalty)))


@njit(cache=True)
def confidence(score, present, grade):
    """0..1. present: how many of price, top positions, crowd and takers are known; grade: severity."""
    weight = 0.4 if grade == LOW else 0.7 if grade == MEDIUM else 1.0
    return q9(0.4 * score / SUM_MAX + 0.3 * 0.25 * present + 0.3 * weight)
