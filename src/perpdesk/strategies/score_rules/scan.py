"""The scan grid, one attempt for each newest bar, and the proposal to the gate: alike in every version."""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.ladder import baseline
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.strategies.score_rules.params import ENTRY_CONFIRM, ENTRY_LADDER, TIMEOUTS_MAX
from perpdesk.strategies.score_rules.waiting import closes_before

# How long after its end the newest bar may still be on its way.
GRACE_MS = MINUTE_MS
_PPM = 1_000_000

# Why an entry is proposed.
NO_SIGNAL, SCORE, SUDDEN_MOVE, PULL_BACK = range(4)
SIGNAL_NAMES = ("NONE", "SCORE", "SUDDEN_MOVE", "PULL_BACK")


@njit(cache=True)
def decide(long_score, short_score, long_least, short_least):
    """+1 LONG, -1 SHORT, 0 none: the higher side, if it reaches its threshold. A tie is none."""
    if long_score > short_score and long_score >= long_least:
        return 1
    if short_score > long_score and short_score >= short_least:
        return -1
    return 0


@njit(cache=True)
def due(params, state, now_ms):
    """At or after the next scan time: is this a scan? One that had no bar is not made up for."""
    since_ms = (now_ms - params.scan_offset_ms) % params.scan_interval_ms
    state.next_scan_ms = now_ms - since_ms + params.scan_interval_ms
    if since_ms != 0:
        return False
    state.scan_ms = now_ms
    return True


@njit(cache=True)
def is_late(bar_ms, interval_ms, now_ms):
    """Is the newest bar not the one that should have closed last?"""
    return bar_ms < (now_ms - GRACE_MS) // interval_ms * interval_ms - interval_ms


@njit(cache=True)
def bonus_points(head, score_max):
    """What the symbol's rating adds to the thresholds."""
    return q9(head.bonus_ppm * score_max / _PPM)


@njit(cache=True)
def may_propose(params, state, position, head, now_ms, in_path, interval_ms):
    """Flat, nothing planned, at a scan (or a confirmation), and the newest bar not attempted yet?

    Attempted means approved since the newest bar closed, whatever became of the order. A refusal is not an
    attempt: later scans propose again while the bar is not older than its interval.
    """
    if in_path != 0 or position.lots != 0 or head.plan.lots != 0 or state.side == 0:
        return False
    closed_ms = state.score.bar_ms + interval_ms
    if max(head.approved_ms, position.opened_ms) >= closed_ms:
        return False
    if params.entry_mode == ENTRY_CONFIRM:
        return state.waiting.confirmed_ms == now_ms
    return state.scan_ms == now_ms and now_ms - closed_ms <= interval_ms


@njit(cache=True)
def timeout_ms(params, score, score_max):
    """How long a position entered at this score may live; 0: without limit."""
    ratio = q9(score / score_max)
    for place in range(TIMEOUTS_MAX):
        if ratio >= params.timeout_ratio[place]:
            return params.timeout_ms[place]
    return 0


@njit(cache=True)
def propose(params, state, head, side, score_max, now_ms):
    """The candidate entry of the cached score; the gate decides and sizes it."""
    score = state.score.long_score if side > 0 else state.score.short_score
    head.cand_side = side
    head.cand_score = score
    head.cand_score_max = score_max
    head.cand_notional_e8 = params.margin_e8 * params.leverage
    head.cand_leverage = params.leverage
    head.cand_stop_ppm = params.stop_ppm
    head.cand_timeout_ms = timeout_ms(params, score, score_max)
    if params.entry_mode == ENTRY_LADDER:
        head.cand_plan = 1
        head.cand_quartile, head.cand_median = baseline(closes_before(state.waiting, now_ms), side)
