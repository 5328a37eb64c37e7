"""Highest and lowest of the last values, at constant cost per value.

The record keeps only values that can still become the extreme: a newer value that is at least as far
out makes all older ones before it irrelevant.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def extreme_dt(capacity: int) -> np.dtype:
    """A record for one extreme (highest or lowest) over periods up to ``capacity``.

    ``value`` is the extreme of the last ``period`` values, or of all while fewer were seen.
    """
    return np.dtype(
        [
            ("seen", "i8"),
            ("value", "i8"),
            ("first", "i8"),
            ("held", "i8"),
            ("ring", "i8", (capacity,)),
            ("born", "i8", (capacity,)),
        ],
        align=True,
    )


@njit(cache=True)
def _push(extreme, value, period, sign):
    ring = extreme.ring
    born = extreme.born
    first = extreme.first
    held = extreme.held
    if held > 0 and born[first] <= extreme.seen - period:
        first = first + 1 if first + 1 < period else 0
        held -= 1
    while held > 0:
        newest = first + held - 1
        if newest >= period:
            newest -= period
        if sign * ring[newest] > sign * value:
            break
        held -= 1
    place = first + held
    if place >= period:
        place -= period
    ring[place] = value
    born[place] = extreme.seen
    extreme.first = first
    extreme.held = held + 1
    extreme.seen += 1
    extreme.value = ring[first]


@njit(cache=True)
def highest_push(extreme, value, period):
    """Take the next integer; ``extreme.value`` becomes the highest of the last ``period``."""
    _push(extreme, value, period, 1)


@njit(cache=True)
def lowest_push(extreme, value, period):
    """Take the next integer; ``extreme.value`` becomes the lowest of the last ``period``."""
    _push(extreme, value, period, -1)
