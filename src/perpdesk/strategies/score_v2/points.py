"""The five dimensions of the score. Each gives (LONG, SHORT) points from integers or rounded ratios.

Prices and volumes are int64, so sums and comparisons are exact; every float is rounded to nine decimals
(``q9``) before it is compared with a threshold. The order of float operations is part of the rule.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.indicators.averages import tail_total

TREND_FAST, TREND_MIDDLE, TREND_SLOW = 7, 25, 99


@njit(cache=True)
def trend_timeframe(closes):
    """8: the averages of 7, 25, 99 closes stand in the side's order; 4: only 7 and 25; else 0.

    With fewer than 99 closes at most 4, with fewer than 25 nothing. Equal averages give nobody anything.
    """
    if len(closes) < TREND_MIDDLE:
        return 0, 0
    fast = tail_total(closes, TREND_FAST)
    middle = tail_total(closes, TREND_MIDDLE)
    near = TREND_MIDDLE * fast - TREND_FAST * middle
    far = 0
    if len(closes) >= TREND_SLOW:
        far = TREND_SLOW * middle - TREND_MIDDLE * tail_total(closes, TREND_SLOW)
    if near > 0:
        return (8 if far > 0 else 4), 0
    if near < 0:
        return 0, (8 if far < 0 else 4)
    return 0, 0


@njit(cache=True)
def trend_agreement(first, second, third):
    """6 to a side to which all three timeframes gave at least 4."""
    return 6 if first >= 4 and second >= 4 and third >= 4 else 0


@njit(cache=True)
def position_ratio(distance, span):
    """Where the close stands between the extremes: 0 at its own end, 1 at the far one, 0.5 without a span."""
    return 0.5 if span == 0 else q9(distance / span)


@njit(cache=True)
def position_points(ratio):
    """20 in the near 30 % of the range, 0 in the far 30 %, a straight line between."""
    if ratio <= 0.30:
        return 20.0
    if ratio >= 0.70:
        return 0.0
    return q9(20 * (0.70 - ratio) / 0.40)


@njit(cache=True)
def rsi_ratio(own, other):
    """100 * own / (own + other), 50 where nothing has moved."""
    both = own + other
    return 50.0 if both == 0 else q9(100 * own / both)


@njit(cache=True)
def rsi_points(value):
    """10 in 30..50, 6 up to 60, 4 below 30 (a falling knife), 0 above 60."""
    if value < 30:
        return 4
    if value <= 50:
        return 10
    if value <= 60:
        return 6
    return 0


@njit(cache=True)
def macd_points(histogram, before, close):
    """5 for the histogram's sign, 5 for its direction; less than a billionth of the price is neither."""
    least = 1e-9 * close
    rise = histogram - before
    gain = (5 if histogram > least else 0) + (5 if rise > least else 0)
    loss = (5 if histogram < -least else 0) + (5 if rise < -least else 0)
    return gain, loss


@njit(cache=True)
def volume_change_points(recent, usual):
    """8, 5, 2, 0 for recent / usual volume of at least 1.5, 1.2, 1 and less; no volume at all gives 0."""
    if usual == 0:
        return 0
    if 10 * recent >= 15 * usual:
        return 8
    if 10 * recent >= 12 * usual:
        return 5
    return 2 if recent >= usual else 0


@njit(cache=True)
def volume_agreement_points(own, whole):
    """7 if at least 60 % of the volume is in bars of the side's colour, 4 from 50 %."""
    if whole == 0:
        return 0
    if 10 * own >= 6 * whole:
        return 7
    return 4 if 2 * own >= whole else 0


@njit(cache=True)
def atr_points(ratio):
    """8 for an average true range of 0.5 % .. 3 % of the price, 4 for 0.25 % .. 6 %, else 0."""
    if 0.005 <= ratio <= 0.03:
        return 8
    return 4 if 0.0025 <= ratio <= 0.06 else 0


@njit(cache=True)
def width_points(newest, rank, others):
    """7 if the newest band width ranks within 20 % .. 80 % of the ``others``, else 3; no width gives 0.

    ``rank`` counts every narrower width twice and every equal one once.
    """
    if newest == 0:
        return 0
    whole = 2 * others
    return 7 if 20 * whole <= 100 * rank <= 80 * whole else 3
