"""Volume-spread signals of one 15-minute bar at one zone, by exact integer comparison.

A bar says something when its range, its volume and where it closed disagree with the direction it came
from. Long rules at a support; the short rules are the same ones on the bars mirrored at the zone's centre.
Source: Tom Williams, "Master the Markets" (volume spread analysis). Driven by trigger.judge_bar.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.exact import mul_div_ceil, mul_div_floor
from perpdesk.kernel.intervals import CLOSE, COLUMNS, HIGH, LOW, VOLUME_LOTS

# The rules in the order in which a bar with several is named; bit k of a mask is rule k.
SELLING_CLIMAX, STOPPING_VOLUME, SPRING, SHAKEOUT, TEST, NO_SUPPLY = range(6)
LONG_NAMES = ("SELLING_CLIMAX", "STOPPING_VOLUME", "SPRING", "SHAKEOUT", "TEST", "NO_SUPPLY")
SHORT_NAMES = (
    "BUYING_CLIMAX",
    "SUPPLY_COMING_IN",
    "UPTHRUST",
    "UPTHRUST_HIGH_VOLUME",
    "FAILED_TEST",
    "NO_DEMAND",
)
STRENGTH = 1 << SELLING_CLIMAX | 1 << STOPPING_VOLUME | 1 << SPRING | 1 << SHAKEOUT
TRADABLE = ~(1 << SHAKEOUT)  # a shakeout alone only arms a later test

# Bars that must be there: the one judged and the 59 before it.
HISTORY_BARS = 60
_PPM = 1_000_000

vsa_params_dt = np.dtype(
    [
        (name, "i8")
        for name in (
            "average_bars",
            "test_bars",
            "background_bars",
            "climax_spread_ppm",
            "climax_volume_ppm",
            "climax_close_ppm",
            "stopping_volume_ppm",
            "stopping_close_ppm",
            "spring_volume_ppm",
            "spring_close_ppm",
            "penetration_ppm",
            "shakeout_spread_ppm",
            "shakeout_volume_ppm",
            "shakeout_close_ppm",
            "test_low_ppm",
            "quiet_volume_ppm",
            "narrow_spread_ppm",
        )
    ],
    align=True,
)


@njit(cache=True)
def _at_least(value, bars, ppm, total):
    """Is value at least ppm of the average total / bars?"""
    return value >= mul_div_ceil(total, ppm, bars * _PPM)


@njit(cache=True)
def _at_most(value, bars, ppm, total):
    return value <= mul_div_floor(total, ppm, bars * _PPM)


@njit(cache=True)
def _closes_above(bar, ppm):
    """Is the close at least ppm of the way from low to high? A bar without range closes in its middle."""
    reach = bar[HIGH] - bar[LOW]
    if reach == 0:
        return 2 * ppm <= _PPM
    return (bar[CLOSE] - bar[LOW]) * _PPM >= ppm * reach


@njit(cache=True)
def _is_lowest(bars, i, count):
    lowest = bars[i, LOW]
    for back in range(1, count):
        lowest = min(lowest, bars[i - back, LOW])
    return lowest == bars[i, LOW]


@njit(cache=True)
def vsa(bars, i, lo, hi, events, params):
    """Bit mask of the long rules that bar i matches at the support [lo, hi].

    bars: int64 [n, 7] (kernel.intervals columns), at least 59 before i; events: int64 [m, 2], index and low
    of earlier strength events of this symbol and side. Without range or volume in the average nothing
    matches.
    """
    if i + 1 < HISTORY_BARS:
        return 0
    bar = bars[i]
    low = bar[LOW]
    close = bar[CLOSE]
    volume = bar[VOLUME_LOTS]
    reach = bar[HIGH] - low
    doubled = lo + hi
    if low > hi or 2 * (lo - low) * _PPM > params.penetration_ppm * doubled:
        return 0
    count = params.average_bars
    reaches = 0
    volumes = 0
    for back in range(1, count + 1):
        reaches += bars[i - back, HIGH] - bars[i - back, LOW]
        volumes += bars[i - back, VOLUME_LOTS]
    if reaches == 0 or volumes == 0:
        return 0
    most = 0
    for back in range(1, HISTORY_BARS):
        most = max(most, bars[i - back, VOLUME_LOTS])
    before = bars[i - 1, CLOSE]
    quiet = _at_most(volume, count, params.quiet_volume_ppm, volumes)
    through = low < lo and lo < close
    mask = 0
    if (
        _at_least(reach, count, params.climax_spread_ppm, reaches)
        and (_at_least(volume, count, params.climax_volume_ppm, volumes) or volume > most)
        and _is_lowest(bars, i, 20)
        and _closes_above(bar, params.climax_close_ppm)
    ):
        mask |= 1 << SELLING_CLIMAX
    if (
        close < before
        and _at_least(volume, count, params.stopping_volume_ppm, volumes)
        and _is_lowest(bars, i, 10)
        and _closes_above(bar, params.stopping_close_ppm)
    ):
        mask |= 1 << STOPPING_VOLUME
    if (
        through
        and _closes_above(bar, params.spring_close_ppm)
        and _at_most(volume, count, params.spring_volume_ppm, volumes)
    ):
        mask |= 1 << SPRING
    if (
        through
        and _at_least(reach, count, params.shakeout_spread_ppm, reaches)
        and _at_least(volume, count, params.shakeout_volume_ppm, volumes)
        and _closes_above(bar, params.shakeout_close_ppm)
    ):
        mask |= 1 << SHAKEOUT
    tested = False
    background = False
    for k in range(len(events)):
        ago = i - events[k, 0]
        event = events[k, 1]
        if ago < 1:
            continue
        background = background or ago <= params.background_bars
        near = 2 * (low - event) * _PPM <= params.test_low_ppm * doubled
        tested = tested or (ago <= params.test_bars and near and close > event)
    if tested and quiet and _closes_above(bar, 500_000):
        mask |= 1 << TEST
    if (
        background
        and close < before
        and _at_most(reach, count, params.narrow_spread_ppm, reaches)
        and volume < bars[i - 1, VOLUME_LOTS]
        and volume < bars[i - 2, VOLUME_LOTS]
        and quiet
    ):
        mask |= 1 << NO_SUPPLY
    return mask


@njit(cache=True)
def vsa_short(bars, i, lo, hi, events, params):
    """The short rules at the resistance [lo, hi]: the long ones on everything mirrored at its centre.

    events carry highs.
    """
    if i + 1 < HISTORY_BARS:
        return 0
    axis = lo + hi
    reflected = np.empty((HISTORY_BARS, COLUMNS), np.int64)
    start = i + 1 - HISTORY_BARS
    for place in range(HISTORY_BARS):
        bar = bars[start + place]
        row = reflected[place]
        for column in range(COLUMNS):
            row[column] = bar[column]
        row[HIGH] = axis - bar[LOW]
        row[LOW] = axis - bar[HIGH]
        row[CLOSE] = axis - bar[CLOSE]
    turned = np.empty_like(events)
    for k in range(len(events)):
        turned[k, 0] = events[k, 0] - start
        turned[k, 1] = axis - events[k, 1]
    return vsa(reflected, HISTORY_BARS - 1, lo, hi, turned, params)
