"""Two optional reasons to enter below the threshold: a sudden move, and a pull-back that ends."""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.intervals import CLOSE, HIGH, LOW, OPEN, VOLUME_LOTS

USUAL_BARS = 5
PULL_BACK_BARS = 8


@njit(cache=True)
def sudden_move(m15):
    """The colour of the newest bar if its body is at least 1 % of its close on 1.5 times the usual volume.

    m15: int64 [n >= 6, 7]; the five bars before are what is usual. 0: no such move.
    """
    newest = m15[len(m15) - 1]
    before = 0
    for index in range(len(m15) - 1 - USUAL_BARS, len(m15) - 1):
        before += m15[index, VOLUME_LOTS]
    body = newest[CLOSE] - newest[OPEN]
    if before == 0 or 100 * abs(body) < newest[CLOSE] or 10 * newest[VOLUME_LOTS] < 3 * before:
        return 0
    return 1 if body > 0 else -1


@njit(cache=True)
def pulls_back(m15, side):
    """Have the last eight bars gone the side's way by 2 %, back by 1.5 % to 4 %, and turned again?

    SHORT is LONG on prices mirrored at the newest close.
    """
    first = len(m15) - PULL_BACK_BARS
    newest = len(m15) - 1
    pivot = m15[newest, CLOSE]
    far = HIGH if side > 0 else LOW
    near = LOW if side > 0 else HIGH
    # Everything is measured from the newest close in the side's direction.
    top = side * (m15[first, far] - pivot)
    at = first
    for index in range(first + 1, newest):
        reach = side * (m15[index, far] - pivot)
        if reach >= top:
            top = reach
            at = index
    bottom = side * (m15[at + 1, near] - pivot)
    for index in range(at + 2, newest + 1):
        bottom = min(bottom, side * (m15[index, near] - pivot))
    rise = top - side * (m15[first, OPEN] - pivot)
    back = top - bottom
    return (
        50 * rise >= pivot
        and 1000 * back >= 15 * pivot
        and 100 * back <= 4 * pivot
        and side * (pivot - m15[newest, OPEN]) > 0
        and side * (pivot - m15[newest - 1, CLOSE]) > 0
    )


@njit(cache=True)
def pull_back(m15):
    """+1 LONG, -1 SHORT, 0 none (int64 [n >= 8, 7])."""
    if pulls_back(m15, 1):
        return 1
    return -1 if pulls_back(m15, -1) else 0
