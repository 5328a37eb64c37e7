"""When to score, when to scan, when to propose an entry.

The score is computed once, at the close of an hour. Scans fall on a fixed grid of the clock; at a scan the
cached score may propose one entry, and only one is ever approved for the same newest bar.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.intervals import HOUR_MS, push
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.kernel.strategy import Strategy
from perpdesk.strategies.score_v2.params import TIMEOUTS_MAX, params_dt
from perpdesk.strategies.score_v2.scorer import OK, SCORE_MAX, STALE_BARS, decide, sound
from perpdesk.strategies.score_v2.state import INTERVALS_MS, rescore, state_dt, take_closed

# How long after its end the newest hour may still be on its way.
GRACE_MS = MINUTE_MS


@njit(cache=True)
def _scan(params, state, now_ms):
    """At or after the next scan time: is this a scan, and may the cached score trade?"""
    since_ms = (now_ms - params.scan_offset_ms) % params.scan_interval_ms
    state.next_scan_ms = now_ms - since_ms + params.scan_interval_ms
    if since_ms != 0:
        return False
    state.scan_ms = now_ms
    due_ms = (now_ms - GRACE_MS) // HOUR_MS * HOUR_MS - HOUR_MS
    if state.status == OK and state.score.bar_ms < due_ms:
        state.status = STALE_BARS
    return state.status == OK and state.side != 0


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
        state.side = 0
        if state.status == OK:
            state.side = decide(
                state.score.long_score, state.score.short_score, params.min_score, params.min_score
            )
    if now_ms < state.next_scan_ms:
        return False
    return _scan(params, state, now_ms)


@njit(cache=True)
def timeout_ms(params, score):
    """How long a position entered at this score may live; 0: without limit."""
    ratio = q9(score / SCORE_MAX)
    for place in range(TIMEOUTS_MAX):
        if ratio >= params.timeout_ratio[place]:
            return params.timeout_ms[place]
    return 0


@njit(cache=True)
def want(params, shared, state, position, slots, head, last, now_ms, in_path):
    """At a scan, while flat: the candidate entry of the cached score. Exits are the guard's.

    Attempted means approved since the newest bar closed, whatever became of the order. A refusal is not an
    attempt: the next scans propose again while the bar is not older than one hour.
    """
    if in_path != 0 or position.lots != 0 or state.scan_ms != now_ms:
        return
    if state.status != OK or state.side == 0:
        return
    closed_ms = state.score.bar_ms + HOUR_MS
    if max(head.approved_ms, position.opened_ms) >= closed_ms or now_ms - closed_ms > HOUR_MS:
        return
    score = state.score.long_score if state.side > 0 else state.score.short_score
    head.cand_side = state.side
    head.cand_score = score
    head.cand_score_max = SCORE_MAX
    head.cand_notional_e8 = params.margin_e8 * params.leverage
    head.cand_leverage = params.leverage
    head.cand_stop_ppm = params.stop_ppm
    head.cand_timeout_ms = timeout_ms(params, score)


# 99 closed days and the day that is running; the first 200 hours are part of them.
STRATEGY = Strategy(
    name="score_v2",
    params_dt=params_dt,
    state_dt=state_dt,
    advance=advance,
    want=want,
    warmup_minutes=100 * 24 * 60,
)
