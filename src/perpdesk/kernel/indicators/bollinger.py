"""Bollinger bands: mean and population deviation of the last closes, and the rank of the band's width.

The variance is kept as the exact integer ``V = n*sum(y^2) - sum(y)^2`` with y measured from the newest
close (deviation = sqrt(V)/n), so no float error builds up and equal widths are equal.
``n * (highest - lowest close of the window)`` must stay below 3e9, or the integers wrap.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def bollinger_dt(capacity: int) -> np.dtype:
    """A record for bands of periods up to ``capacity``; middle and deviation are NaN until enough closes."""
    return np.dtype(
        [
            ("seen", "i8"),
            ("cursor", "i8"),
            ("close", "i8"),
            ("total", "i8"),
            ("squares", "i8"),
            ("spread", "i8"),
            ("middle", "f8"),
            ("deviation", "f8"),
            ("ring", "i8", (capacity,)),
        ],
        align=True,
    )


@njit(cache=True)
def bollinger_push(bollinger, close, period):
    """Take the next close: ``middle`` and ``deviation`` in price units, ``spread`` the exact V."""
    seen = bollinger.seen
    cursor = bollinger.cursor
    held = min(seen, period)
    if held == period:
        leaving = bollinger.ring[cursor] - bollinger.close
        bollinger.total -= leaving
        bollinger.squares -= leaving * leaving
        held -= 1
    # Measured from the new close, every y of the closes that stay shrinks by `step`; the new one is 0.
    step = close - bollinger.close if held > 0 else 0
    bollinger.squares += held * step * step - 2 * step * bollinger.total
    bollinger.total -= held * step
    bollinger.close = close
    bollinger.ring[cursor] = close
    cursor += 1
    bollinger.cursor = 0 if cursor == period else cursor
    bollinger.seen = seen + 1
    if seen + 1 < period:
        bollinger.middle = np.nan
        bollinger.deviation = np.nan
        return
    bollinger.spread = period * bollinger.squares - bollinger.total * bollinger.total
    bollinger.middle = close + bollinger.total / period
    bollinger.deviation = np.sqrt(bollinger.spread) / period


@njit(cache=True)
def width_rank_window(closes, widths, period):
    """(V of the newest, 2 * narrower + equal) among the last ``widths`` band widths, the newest among them.

    ``closes``: int64, at least ``widths + period - 1`` of them. Ranking V ranks the widths. The second
    number runs from 0 (the newest is the narrowest) to ``2 * (widths - 1)`` (the widest).
    """
    count = len(closes)
    reference = closes[count - 1]
    total = 0
    squares = 0
    for index in range(count - period, count):
        away = closes[index] - reference
        total += away
        squares += away * away
    newest = period * squares - total * total
    # Backwards: the bar that leaves is the window's last, the one that enters lies before its first.
    # V does not depend on what y is measured from, so one reference serves all.
    rank = 0
    for last in range(count - 2, count - 1 - widths, -1):
        leaving = closes[last + 1] - reference
        entering = closes[last + 1 - period] - reference
        total += entering - leaving
        squares += entering * entering - leaving * leaving
        spread = period * squares - total * total
        if spread < newest:
            rank += 2
        elif spread == newest:
            rank += 1
    return newest, rank
