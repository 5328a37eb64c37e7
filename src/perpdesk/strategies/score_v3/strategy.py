"""When to score, when to scan, when to propose an entry.

A score is computed once, at the close of a quarter of an hour. Scans fall on a fixed grid of the clock; at
a scan the cached score, under the regime of that moment, may propose one entry, and only one is ever
approved for the same newest bar. What the regime forbids is proposed with its veto: the gate refuses it in
the order of its rules.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel import records
from perpdesk.kernel.intervals import push
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.kernel.strategy import Strategy
from perpdesk.strategies.score_rules.params import ENTRY_MARKET
from perpdesk.strategies.score_rules.scan import (
    NO_SIGNAL,
    PULL_BACK,
    SCORE,
    SUDDEN_MOVE,
    bonus_points,
    decide,
    due,
    is_late,
    may_propose,
    propose,
)
from perpdesk.strategies.score_rules.waiting import follow
from perpdesk.strategies.score_v2.scorer import OK, STALE_BARS, sound
from perpdesk.strategies.score_v3.big4 import known_regime, observe, shared_dt
from perpdesk.strategies.score_v3.params import params_dt
from perpdesk.strategies.score_v3.scorer import BIG4_VETO, QUARTER_MS, SCORE_MAX, veto, with_regime
from perpdesk.strategies.score_v3.state import INTERVALS_MS, rescore, state_dt, take_closed

VETO_VERDICT, UNKNOWN_VERDICT = records.BIG4_VETO, records.REGIME_UNKNOWN


@njit(cache=True)
def choose(params, long_score, short_score, sudden, pulled, bonus):
    """(side, signal): what a score would trade with a rating's bonus, before the regime is asked.

    An optional signal enters below the threshold, never against the higher score.
    """
    side = decide(long_score, short_score, params.min_score_long + bonus, params.min_score_short + bonus)
    if side != 0:
        return side, SCORE
    higher = decide(long_score, short_score, 0.0, 0.0)
    if higher != 0 and sudden == higher:
        return higher, SUDDEN_MOVE
    if higher != 0 and pulled == higher:
        return higher, PULL_BACK
    return 0, NO_SIGNAL


@njit(cache=True)
def judge(params, shared, state, now_ms):
    """What the cached score would trade under the regime of now: side, signal and status, before a bonus."""
    state.side = 0
    state.signal = NO_SIGNAL
    state.status = state.score.status
    if state.status == OK and is_late(state.score.bar_ms, QUARTER_MS, now_ms):
        state.status = STALE_BARS
    if state.status != OK:
        return
    direction, strength = known_regime(shared, now_ms)
    score = state.score
    if direction != score.direction or strength != score.strength:
        with_regime(score, direction, strength)
    state.side, state.signal = choose(
        params, score.long_score, score.short_score, state.sudden, state.pulled, 0.0
    )
    if state.side != 0:
        state.status = veto(state.side, direction, strength)


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
    asks = False
    if now_ms >= state.next_scan_ms and due(params, state, now_ms):
        judge(params, shared, state, now_ms)
        asks = state.side != 0
        if asks and state.status == BIG4_VETO:
            state.refused_veto += 1
        elif asks and state.status != OK:
            state.refused_unknown += 1
    if params.entry_mode != ENTRY_MARKET and closed >= 0:
        asks = follow(params, state, bar, now_ms, asks)
        if asks:
            judge(params, shared, state, now_ms)
    return asks


@njit(cache=True)
def _verdict_of(status):
    """The gate's word for what a regime says."""
    if status == OK:
        return records.VERDICT_NONE
    return VETO_VERDICT if status == BIG4_VETO else UNKNOWN_VERDICT


@njit(cache=True)
def want(params, shared, state, position, slots, head, last, now_ms, in_path):
    """At a scan, while flat: the candidate entry of the cached score. Exits are the guard's.

    While an entry is being built the regime may forbid its next batch.
    """
    if head.plan.lots != 0 and in_path == 0:
        direction, strength = known_regime(shared, now_ms)
        head.cand_veto = _verdict_of(veto(head.plan.side, direction, strength))
        return
    if not may_propose(params, state, position, head, now_ms, in_path, QUARTER_MS):
        return
    score, bonus = state.score, bonus_points(head, SCORE_MAX)
    side, _ = choose(params, score.long_score, score.short_score, state.sudden, state.pulled, bonus)
    if side != 0:
        head.cand_veto = _verdict_of(state.status)
        propose(params, state, head, side, SCORE_MAX, now_ms)


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
