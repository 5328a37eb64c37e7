"""oi_breakout: buys when open interest and price break out together, sells in stages.

Open interest does not come with the bars: whoever drives the step puts the rows of the next steps into each
symbol's inbox, in order of time. A row belongs to the first step at or after its time; the decision is made
at that step, with its close as the mark. Stop, break-even and timeout are the guard's; the stages and the
trailing rest are slots of this strategy's own. See docs/strategies/oi_breakout.md.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.book import clear, put_trailing, put_trigger
from perpdesk.kernel.records import (
    MARKET,
    MINUTE_MS,
    NONE,
    SLOT_ENTRY,
    SLOT_OWN,
    STAGES_MAX,
    TAG_TAKE_PROFIT,
    TAG_TRAILING,
    TAKE_PROFIT,
)
from perpdesk.kernel.strategy import Strategy
from perpdesk.strategies.oi_breakout.codes import PASSED
from perpdesk.strategies.oi_breakout.exits import stage_lots
from perpdesk.strategies.oi_breakout.params import params_dt
from perpdesk.strategies.oi_breakout.points import SUM_MAX
from perpdesk.strategies.oi_breakout.state import RATIOS, decide, see_price, sight_dt, take
from perpdesk.strategies.oi_breakout.verdict import entry_refusal
from perpdesk.strategies.oi_breakout.window import WINDOW_MS

# Rows of the next steps that fit in: whoever drives the step refills it at least that often.
INBOX_MAX = 256
SLOT_TRAIL_REST = SLOT_OWN + STAGES_MAX
_OWN = STAGES_MAX + 1

# One poll's row of one symbol. r8_e8: funding per 8 hours; degraded: too few symbols answered this poll.
row_dt = np.dtype(
    [
        ("ms", "i8"),
        ("r8_e8", "i8"),
        ("degraded", "i8"),
        ("oi", "f8"),
        ("ratios", "f8", (RATIOS,)),
    ],
    align=True,
)

# code: of the newest step with a row that had news. judged_ms: that step. sold_before: what each own slot
# had sold (or bought) when the position was last flat. inbox[inbox_at:inbox_end] is still to come.
state_dt = np.dtype(
    [
        ("code", "i8"),
        ("judged_ms", "i8"),
        ("rows_seen", "i8"),
        ("inbox_at", "i8"),
        ("inbox_end", "i8"),
        ("sold_before", "i8", (_OWN,)),
        ("inbox", row_dt, (INBOX_MAX,)),
        ("sight", sight_dt),
    ],
    align=True,
)


@njit(cache=True)
def advance(params, shared, state, bar):
    """Take the rows that belong to this step; True where one of them passes every rule."""
    now_ms = bar.open_ms + MINUTE_MS
    mark = float(bar.close)
    is_candidate = False
    has_row = False
    while state.inbox_at < state.inbox_end and state.inbox[state.inbox_at].ms <= now_ms:
        row = state.inbox[state.inbox_at]
        state.inbox_at += 1
        last_of_step = state.inbox_at >= state.inbox_end or state.inbox[state.inbox_at].ms > now_ms
        if not last_of_step:
            continue
        has_row = True
        state.rows_seen += 1
        if take(params, state.sight, row.ms, now_ms, row.oi, mark) > 0:
            is_candidate = _judge(params, state, row, now_ms)
    if not has_row:
        see_price(state.sight, now_ms, mark)
    return is_candidate


@njit(cache=True)
def _judge(params, state, row, now_ms):
    sight = state.sight
    state.judged_ms = now_ms
    state.code = decide(params, sight, row.ratios, row.r8_e8)
    if state.code == PASSED:
        state.code = entry_refusal(params, row.degraded, sight.complete, sight.verdict.chase)
    return state.code == PASSED


@njit(cache=True)
def _sold(slot):
    return slot.bought + slot.sold


@njit(cache=True)
def _forget_exits(state, slots):
    """Flat: no exits, and what the slots have traded belongs to positions that are over."""
    for k in range(_OWN):
        clear(slots[SLOT_OWN + k])
        state.sold_before[k] = _sold(slots[SLOT_OWN + k])


@njit(cache=True)
def _rest_exits(params, state, position, slots):
    """The stages and the trailing rest, of the filled position: together never more than is held."""
    side = 1 if position.lots > 0 else -1
    held = abs(position.lots)
    filled = held
    for k in range(_OWN):
        filled += _sold(slots[SLOT_OWN + k]) - state.sold_before[k]
    shares = stage_lots(filled, params.stage_share_ppm[0], params.stage_share_ppm[1])
    left = held
    for k in range(_OWN):
        slot = slots[SLOT_OWN + k]
        done = _sold(slot) - state.sold_before[k]
        lots = min(left, max(0, shares[k] - done))
        if slot.kind == MARKET:  # triggered: its rest works on
            slot.lots = min(slot.lots, left)
            lots = slot.lots
            if lots == 0:
                clear(slot)
        elif lots == 0:
            clear(slot)
        elif k < STAGES_MAX:
            put_trigger(slot, TAKE_PROFIT, -side, position.stage_price[k], lots, TAG_TAKE_PROFIT)
        else:
            put_trailing(slot, -side, lots, position.trail_price, params.trail_callback_ppm, TAG_TRAILING)
        left -= lots


@njit(cache=True)
def want(params, shared, state, position, slots, head, last, now_ms, in_path):
    """Held and filled: the stages. Flat, at the step of a passed decision: the candidate entry."""
    if position.lots == 0:
        if slots[SLOT_ENTRY].kind == NONE:
            _forget_exits(state, slots)
    elif slots[SLOT_ENTRY].kind == NONE:
        _rest_exits(params, state, position, slots)
    if in_path != 0 or position.lots != 0 or state.judged_ms != now_ms or state.code != PASSED:
        return
    head.cand_side = state.sight.verdict.side
    head.cand_score = state.sight.verdict.score
    head.cand_score_max = SUM_MAX
    head.cand_notional_e8 = params.margin_e8 * params.leverage
    head.cand_leverage = params.leverage
    head.cand_stop_ppm = params.stop_ppm
    head.cand_timeout_ms = params.timeout_ms


STRATEGY = Strategy(
    name="oi_breakout",
    params_dt=params_dt,
    state_dt=state_dt,
    advance=advance,
    want=want,
    slots=SLOT_OWN + _OWN,
    warmup_minutes=WINDOW_MS // MINUTE_MS + 15,
)
