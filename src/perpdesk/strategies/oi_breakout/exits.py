"""How a position is sold in stages, and how far away its last stop may stand. Triggers are the guard's."""

from __future__ import annotations

from numba import njit

_PPM = 1_000_000


@njit(cache=True)
def stage_lots(lots, first_ppm, second_ppm):
    """(stage 1, stage 2, trailing rest) of a filled position. Too small for stage 1: all of it trails."""
    first = lots * first_ppm // _PPM
    if first == 0:
        return 0, 0, lots
    second = lots * second_ppm // _PPM
    return first, second, lots - first - second


@njit(cache=True)
def liquidation_distance_ppm(entry, liquidation_price, leverage, mmr_ppm):
    """Distance to liquidation: by the exchange's price, else (0: not told) 1 / leverage - maintenance."""
    if liquidation_price > 0:
        return abs(entry - liquidation_price) * _PPM // entry
    return _PPM // leverage - mmr_ppm


@njit(cache=True)
def disaster_ppm(distance_ppm, max_ppm, share_ppm):
    """Distance of the last stop: a share of the way to liquidation, and at most so much."""
    return min(max_ppm, distance_ppm * share_ppm // _PPM)
