"""When to score, when to scan, when to propose an entry.

A score is computed once, at the close of a quarter of an hour. Scans fall on a fixed grid of the clock; at
a scan the cached score, under the regime of that moment, may propose one entry, and only one is ever
approved for the same newest bar.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.intervals import push
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.kernel.strategy import Strategy
from perpdesk.strategies.score_v2.scorer import OK, STALE_BARS, decide, sound
from perpdesk.strategies.score_v3.big4 import GRACE_MS, known_regime, observe, shared_dt
from perpdesk.strategies.score_v3.params import TIMEOUTS_MAX, params_dt
from perpdesk.strategies.score_v3.scorer import BIG4_VETO, QUARTER_MS, SCORE_MAX, veto, with_regime
from perpdesk.strategies.score_v3.signals import NO_SIGNAL, PULL_BACK, SCORE, SUDDEN_MOVE
from perpdesk.strategies.score_v3.state import INTERVALS_MS, rescore, state_dt, take_closed


@njit(cache=True)
def choose(params, long_score, short_score, sudden, pulled):
    """(side, signal): what a score would trade, before the regime is asked.

    An optional signal enters below the threshold, never against the higher score.
    """
    side = decide(long_score, short_score, params.min_score_long, params.min_score_short)
    if side != 0:
        return side, SCORE
    higher = decide(long_score, short_score, 0.0, 0.0)
    if higher != 0 and sudden == higher:
        return higher, SUDDEN_MOVE
    if higher != 0 and pulled == higher:
        return higher, PULL_BACK
    return 0, NO_SIGNAL


@njit(cache=True)
def _judge(params, shared, state, now_ms):
    """Side, signal and status of the cached score under the regime of now."""
    direction, strength = known_regime(shared, now_ms)
    score = state.score
    if direction != score.direction or strength != score.strength:
        with_regime(score, direction, strength)
    state.side, state.signal = choose(params, score.long_score, score.short_score, state.sudden, state.pulled)
    state.status = OK
    if state.side != 0:
        state.status = veto(state.side, direction, strength)


@njit(cache=True)
def _scan(params, shared, state, now_ms):
    """At or after the next scan time: is this a scan, and may the cached score trade?"""
    since_ms = (now_ms - params.scan_offset_ms) % params.scan_interval_ms
    state.next_scan_ms = now_ms - since_ms + params.scan_interval_ms
    if since_ms != 0:
        return False
    state.scan_ms = now_ms
    state.side = 0
    state.signal = NO_SIGNAL
    state.status = state.score.status
    if state.status != OK:
        return False
    due_ms = (now_ms - GRACE_MS) // QUARTER_MS * QUARTER_MS - QUARTER_MS
    if state.score.bar_ms < due_ms:
        state.status = STALE_BARS
        return False
    _judge(params, shared, state, now_ms)
    if state.side == 0:
        return False
    if state.status == OK:
        return True
    if state.status == BIG4_VETO:
        state.refused_veto += 1
    else:
        state.refused_unknown += 1
    return False


@njit(cache=True)
def advance(params, shared, state, bar):
    """Build the intervals, score at the close of a quarter; True at a scan whose score may trade."""
    now_ms = bar.open_ms + MINUTE_MS
    closed = -1
    if sound(bar.open, bar.high, bar.low, bar.close, bar.volume_lots):
        closed = push(state.builder, bar, INTERVALS_MS)
    if closed < 0:
        state.bad_ms = max(state.bad_ms, now_ms)
    elif closed > 0 and take_closed(state):
        direction, strength = known_regime(shared, now_ms)
        rescore(params, state, direction, strength)
    if now_ms < state.next_scan_ms:
        return False
    return _scan(params, shared, state, now_ms)


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
    attempt: the next scans propose again while the bar is not older than a quarter of an hour.
    """
    if in_path != 0 or position.lots != 0 or state.scan_ms != now_ms:
        return
    if state.status != OK or state.side == 0:
        return
    closed_ms = state.score.bar_ms + QUARTER_MS
    if max(head.approved_ms, position.opened_ms) >= closed_ms or now_ms - closed_ms > QUARTER_MS:
        return
    score = state.score.long_score if state.side > 0 else state.score.short_score
    head.cand_side = state.side
    head.cand_score = score
    head.cand_score_max = SCORE_MAX
    head.cand_notional_e8 = params.margin_e8 * params.leverage
    head.cand_leverage = params.leverage
    head.cand_stop_ppm = params.stop_ppm
    head.cand_timeout_ms = timeout_ms(params, score)


# 30 closed hours of the four coins, and the hour and quarter that are running.
STRATEGY = Strategy(
    name="score_v3",
    params_dt=params_dt,
    state_dt=state_dt,
    shared_dt=shared_dt,
    advance=advance,
    want=want,
    observe=observe,
    warmup_minutes=32 * 60,
)
