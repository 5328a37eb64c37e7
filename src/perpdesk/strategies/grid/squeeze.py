"""Volatility of the 4-hour bars: the squeeze, and how much a zone may be trusted because of it.

Bollinger band inside Keltner channel for three bars: the market is coiled and a range is likely to hold.
Prices are taken relative to the last price, so that a mirror image gives the same numbers.
Source: John Carter, "Mastering the Trade" (the squeeze). Driven by scanner.scan.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.indicators.atr import true_range

WINDOW = 100
BAND_BARS = 20
RANGE_BARS = 10
ACTIVE_BARS = 3

_WIDTH_X = np.array([0.0, 0.02, 0.05, 0.10, 0.20])
_WIDTH_Y = np.array([1.0, 0.9, 0.6, 0.3, 0.1])
_AREA_X = np.array([0.0, 0.03, 0.08, 0.15, 0.25])
_AREA_Y = np.array([1.0, 0.9, 0.5, 0.2, 0.1])


@njit(cache=True)
def squeeze_state(highs, lows, closes, centre):
    """(bars squeezed up to the newest one, width of the Bollinger band in ticks) of int64 arrays.

    The averages begin at the first bar given; callers give the last 100.
    """
    ema = float(closes[0] - centre)
    reach = float(highs[0] - lows[0])
    squeezed = 0
    deviation = 0.0
    for place in range(len(closes)):
        if place > 0:
            ema += 2.0 / (BAND_BARS + 1) * (float(closes[place] - centre) - ema)
            true = float(true_range(highs[place], lows[place], closes[place - 1]))
            reach += 2.0 / (RANGE_BARS + 1) * (true - reach)
        if place + 1 < BAND_BARS:
            continue
        total = 0
        squares = 0.0
        for back in range(BAND_BARS):
            away = closes[place - back] - centre
            total += away
        for back in range(BAND_BARS):
            off = float(BAND_BARS * (closes[place - back] - centre) - total)
            squares += off * off
        mean = total / BAND_BARS
        deviation = math.sqrt(squares / BAND_BARS) / BAND_BARS
        above = (ema + 1.5 * reach) - (mean + 2.0 * deviation)
        below = (mean - 2.0 * deviation) - (ema - 1.5 * reach)
        squeezed = squeezed + 1 if q9(above) > 0.0 and q9(below) > 0.0 else 0
    return squeezed, 4.0 * deviation


@njit(cache=True)
def _line(x, xs, ys):
    if x <= xs[0]:
        return ys[0]
    for place in range(1, len(xs)):
        if x <= xs[place]:
            share = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
            return ys[place - 1] + share * (ys[place] - ys[place - 1])
    return ys[len(ys) - 1]


@njit(cache=True)
def confidence(squeeze_bars, concentration, width, area):
    """How calm and concentrated the market is, 0 … 1.

    concentration: share of the volume inside the small box, negative where S1 or R1 is missing;
    width: Bollinger width over price; area: value area over price.
    """
    calm = 0.0 if squeeze_bars < ACTIVE_BARS else min(1.0, 0.6 + 0.1 * (squeeze_bars - ACTIVE_BARS))
    if concentration < 0.0:
        held = 0.5
    elif q9(concentration) >= 0.85:
        held = 1.0
    elif q9(concentration) >= 0.7:
        held = 0.7 + 2.0 * (concentration - 0.7)
    else:
        held = concentration
    narrow = _line(width, _WIDTH_X, _WIDTH_Y)
    tight = _line(area, _AREA_X, _AREA_Y)
    return 0.30 * calm + 0.35 * held + 0.20 * narrow + 0.15 * tight
