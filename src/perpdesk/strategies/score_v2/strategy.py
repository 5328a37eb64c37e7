"""When to score, when to scan, when to propose an entry.

The score is computed once, at the close of an hour. Scans fall on a fixed grid of the clock; at a scan the
cached score may propose one entry, and only one is ever approved for the same newest bar.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.intervals import HOUR_MS, push
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.kernel.strategy import Strategy
from perpdesk.strategies.score_rules.params import ENTRY_MARKET
from perpdesk.strategies.score_rules.scan import (
    NO_SIGNAL,
    SCORE,
    bonus_points,
    decide,
    due,
    is_late,
    may_propose,
    propose,
)
from perpdesk.strategies.score_rules.waiting import follow
from perpdesk.strategies.score_v2.params import params_dt
from perpdesk.strategies.score_v2.scorer import OK, SCORE_MAX, STALE_BARS, sound
from perpdesk.strategies.score_v2.state import INTERVALS_MS, rescore, state_dt, take_closed


@njit(cache=True)
def judge(params, shared, state, now_ms):
    """What the cached score would trade now, before a rating's bonus: side, signal and status."""
    state.side = 0
    state.signal = NO_SIGNAL
    state.status = state.score.status
    if state.status == OK and is_late(state.score.bar_ms, HOUR_MS, now_ms):
        state.status = STALE_BARS
    if state.status == OK:
        score = state.score
        state.side = decide(score.long_score, score.short_score, params.min_score, params.min_score)
        state.signal = SCORE if state.side != 0 else NO_SIGNAL


@njit(cache=True)
def advance(params, shared, state, bar):
    """Build the intervals, score at the close of an hour; True at a scan whose score may trade."""
    now_ms = bar.open_ms + MINUTE_MS
    closed = -1
    if sound(bar.open, bar.high, bar.low, bar.close, bar.volume_lots):
        closed = push(state.builder, bar, INTERVALS_MS)
    if closed < 0:
        state.bad_ms = max(state.bad_ms, now_ms)
    elif closed > 0 and take_closed(state):
        rescore(state)
    asks = False
    if now_ms >= state.next_scan_ms and due(params, state, now_ms):
        judge(params, shared, state, now_ms)
        asks = state.side != 0
    if params.entry_mode != ENTRY_MARKET and closed >= 0:
        asks = follow(params, state, bar, now_ms, asks)
        if asks:
            judge(params, shared, state, now_ms)
    return asks


@njit(cache=True)
def want(params, shared, state, position, slots, head, last, now_ms, in_path):
    """At a scan, while flat: the candidate entry of the cached score. Exits are the guard's."""
    if not may_propose(params, state, position, head, now_ms, in_path, HOUR_MS):
        return
    least = params.min_score + bonus_points(head, SCORE_MAX)
    side = decide(state.score.long_score, state.score.short_score, least, least)
    if side != 0:
        propose(params, state, head, side, SCORE_MAX, now_ms)


# 99 closed days and the day that is running; the first 200 hours are part of them.
STRATEGY = Strategy(
    name="score_v2",
    params_dt=params_dt,
    state_dt=state_dt,
    advance=advance,
    want=want,
    warmup_minutes=100 * 24 * 60,
)
