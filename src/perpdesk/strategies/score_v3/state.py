"""The windows of one symbol: built minute by minute, scored when a quarter of an hour closes."""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.intervals import COLUMNS, HOUR_MS, OPEN_MS, builder_dt, shift_in
from perpdesk.strategies.score_rules.waiting import waiting_dt
from perpdesk.strategies.score_v2.scorer import BAD_BAR, INSUFFICIENT_HISTORY, OK, no_score
from perpdesk.strategies.score_v3.scorer import (
    HOURS,
    QUARTER_MS,
    WINDOW,
    score_dt,
    score_window,
    window_status,
)
from perpdesk.strategies.score_v3.signals import pull_back, sudden_move

INTERVALS_MS = (QUARTER_MS, HOUR_MS)

# status: may the newest window trade (STATUS_NAMES)? side, signal: what would be traded at the last scan,
# and why (SIGNAL_NAMES). sudden, pulled: sides of the optional signals at the newest bar.
# refused_*: scans at which the regime kept a side from being traded. scan_ms: the step of the last scan.
# bad_ms: end of the last minute that could not be (0: none). m15, h1: rows, newest last; *_held: how many
# are real.
state_dt = np.dtype(
    [
        ("builder", builder_dt(INTERVALS_MS)),
        ("status", "i8"),
        ("side", "i8"),
        ("signal", "i8"),
        ("sudden", "i8"),
        ("pulled", "i8"),
        ("refused_veto", "i8"),
        ("refused_unknown", "i8"),
        ("scan_ms", "i8"),
        ("next_scan_ms", "i8"),
        ("bad_ms", "i8"),
        ("m15_held", "i8"),
        ("h1_held", "i8"),
        ("score", score_dt),
        ("waiting", waiting_dt),
        ("m15", "i8", (WINDOW, COLUMNS)),
        ("h1", "i8", (HOURS, COLUMNS)),
    ],
    align=True,
)


@njit(cache=True)
def take_closed(state):
    """Move the bars that the builder has just closed into the windows; True if a quarter was among them."""
    builder = state.builder
    for place in range(builder.closed_count[1]):
        shift_in(state.h1, builder.closed[1, place])
        state.h1_held = min(HOURS, state.h1_held + 1)
    for place in range(builder.closed_count[0]):
        shift_in(state.m15, builder.closed[0, place])
        state.m15_held = min(WINDOW, state.m15_held + 1)
    return builder.closed_count[0] > 0


@njit(cache=True)
def rescore(params, state, direction, strength):
    """Score the newest window under this regime, or say why it has no score."""
    m15 = state.m15[:]  # as a plain array, so that one compiled score serves every caller
    h1 = state.h1[:]
    status = OK
    if state.m15_held < WINDOW or state.h1_held < HOURS:
        status = INSUFFICIENT_HISTORY
    elif state.bad_ms > min(m15[0, OPEN_MS], h1[0, OPEN_MS]):
        status = BAD_BAR
    else:
        status = window_status(m15, h1)
    state.sudden = 0
    state.pulled = 0
    if status == OK:
        score_window(m15, h1, direction, strength, state.score)
        if params.sudden_move:
            state.sudden = sudden_move(m15)
        if params.pull_back:
            state.pulled = pull_back(m15)
    else:
        no_score(m15[WINDOW - 1, OPEN_MS], status, state.score)
    state.status = status
