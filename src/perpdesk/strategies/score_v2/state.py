"""The windows of one symbol: built minute by minute, scored when an hour closes."""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.intervals import CLOSE, COLUMNS, HOUR_MS, OPEN_MS, builder_dt, shift_in
from perpdesk.kernel.records import DAY_MS
from perpdesk.strategies.score_rules.waiting import waiting_dt
from perpdesk.strategies.score_v2.scorer import (
    BAD_BAR,
    CLOSES,
    FOUR_HOURS_MS,
    INSUFFICIENT_HISTORY,
    OK,
    WINDOW,
    no_score,
    score_dt,
    score_window,
    window_status,
)

INTERVALS_MS = (HOUR_MS, FOUR_HOURS_MS, DAY_MS)

# status: why the newest window has a score or has none (STATUS_NAMES). side, signal: what would be traded at
# the last scan, and why (SIGNAL_NAMES). scan_ms: the step of the last scan. bad_ms: end of the last minute
# that could not be (0: none).
# h1: the last 200 rows, newest last. h4, d1: open times and closes of the last 99. *_held: how many are real.
state_dt = np.dtype(
    [
        ("builder", builder_dt(INTERVALS_MS)),
        ("status", "i8"),
        ("side", "i8"),
        ("signal", "i8"),
        ("scan_ms", "i8"),
        ("next_scan_ms", "i8"),
        ("bad_ms", "i8"),
        ("h1_held", "i8"),
        ("h4_held", "i8"),
        ("d1_held", "i8"),
        ("score", score_dt),
        ("waiting", waiting_dt),
        ("h1", "i8", (WINDOW, COLUMNS)),
        ("h4_open_ms", "i8", (CLOSES,)),
        ("h4_close", "i8", (CLOSES,)),
        ("d1_open_ms", "i8", (CLOSES,)),
        ("d1_close", "i8", (CLOSES,)),
    ],
    align=True,
)


@njit(cache=True)
def _append(values, value):
    last = len(values) - 1
    for place in range(last):
        values[place] = values[place + 1]
    values[last] = value


@njit(cache=True)
def take_closed(state):
    """Move the bars that the builder has just closed into the windows; True if an hour was among them."""
    builder = state.builder
    for place in range(builder.closed_count[2]):
        _append(state.d1_open_ms, builder.closed[2, place, OPEN_MS])
        _append(state.d1_close, builder.closed[2, place, CLOSE])
        state.d1_held = min(CLOSES, state.d1_held + 1)
    for place in range(builder.closed_count[1]):
        _append(state.h4_open_ms, builder.closed[1, place, OPEN_MS])
        _append(state.h4_close, builder.closed[1, place, CLOSE])
        state.h4_held = min(CLOSES, state.h4_held + 1)
    for place in range(builder.closed_count[0]):
        shift_in(state.h1, builder.closed[0, place])
        state.h1_held = min(WINDOW, state.h1_held + 1)
    return builder.closed_count[0] > 0


@njit(cache=True)
def rescore(state):
    """Score the newest window, or say why it has no score."""
    h1 = state.h1[:]  # as a plain array, so that one compiled score serves every caller
    h4_first = CLOSES - state.h4_held
    d1_first = CLOSES - state.d1_held
    if state.h1_held < WINDOW:
        state.status = INSUFFICIENT_HISTORY
    elif state.bad_ms > h1[0, OPEN_MS]:
        state.status = BAD_BAR
    else:
        state.status = window_status(h1, state.h4_open_ms[h4_first:], state.d1_open_ms[d1_first:])
    if state.status == OK:
        score_window(h1, state.h4_close[h4_first:], state.d1_close[d1_first:], state.score)
    else:
        no_score(h1[WINDOW - 1, OPEN_MS], state.status, state.score)
