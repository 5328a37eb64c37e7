"""sma_cross: long while the fast average is above the slow one. The tutorial and the benchmark.

Enters when the fast simple average of 1-minute closes crosses above the slow one and leaves when it
crosses back below. Stop and trailing exit rest on the exchange; both belong to the shared guard.
A part may be sold at a fixed profit: a resting order in the first slot of its own.
See docs/strategies/sma_cross.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from perpdesk.kernel.book import clear, put_market, put_trigger
from perpdesk.kernel.records import (
    BUY,
    MARKET,
    SELL,
    SLOT_EXIT,
    SLOT_OWN,
    TAG_SIGNAL,
    TAG_TAKE_PROFIT,
    TAKE_PROFIT,
    zeros,
)
from perpdesk.kernel.strategy import Strategy

WINDOW_MAX = 512  # a power of two, so that the ring needs no division

_PPM = 1_000_000

params_dt = np.dtype(
    [
        (name, "i8")
        for name in ("fast", "slow", "notional_e8", "leverage", "stop_ppm", "timeout_ms", "profit_share_ppm")
    ],
    align=True,
)
state_dt = np.dtype(
    [(name, "i8") for name in ("count", "fast_total", "slow_total", "above", "crossed")]
    + [("closes", "i8", (WINDOW_MAX,))],
    align=True,
)


def params_record(
    *,
    fast: int,
    slow: int,
    notional_e8: int,
    leverage: int,
    stop_ppm: int,
    timeout_ms: int,
    profit_share_ppm: int = 0,
) -> np.recarray:
    """One params record. Windows are bars (1 <= fast < slow < 512), notional is per entry.

    profit_share_ppm: how much of a position is sold at the guard's first stage (0: no such order).
    """
    if not 1 <= fast < slow < WINDOW_MAX:
        raise ValueError(f"windows must satisfy 1 <= fast < slow < {WINDOW_MAX}, not {fast} and {slow}")
    record = zeros(1, params_dt)
    for name, value in locals().copy().items():
        if name != "record":
            record[name] = value
    return record


@njit(cache=True)
def advance(params, shared, state, bar):
    """Update both averages; ask at a cross."""
    close = bar.close
    i = state.count
    mask = WINDOW_MAX - 1
    fast = state.fast_total + close - state.closes[(i - params.fast) & mask]
    slow = state.slow_total + close - state.closes[(i - params.slow) & mask]
    state.closes[i & mask] = close
    state.fast_total = fast
    state.slow_total = slow
    state.count = i + 1
    state.crossed = 0
    above = 1 if fast * params.slow > slow * params.fast else 0
    if above == state.above:
        return False
    state.above = above
    if i < params.slow:
        return False
    state.crossed = 1 if above else -1
    return True


@njit(cache=True)
def _take_profit(params, position, slot):
    """Rest the partial exit until it has traded once in this position."""
    lots = abs(position.lots) * params.profit_share_ppm // _PPM
    if slot.kind == MARKET and position.lots != 0:
        slot.lots = min(slot.lots, abs(position.lots))  # triggered: its rest works on
    elif lots == 0 or (slot.sold > 0 and slot.last_ms >= position.opened_ms):
        clear(slot)
    else:
        put_trigger(slot, TAKE_PROFIT, SELL, position.stage_price[0], lots, TAG_TAKE_PROFIT)


@njit(cache=True)
def want(params, shared, state, position, slots, head, last, now_ms, in_path):
    """At the step of a cross: a candidate if flat, a market exit if long."""
    if params.profit_share_ppm > 0:
        _take_profit(params, position, slots[SLOT_OWN])
    if in_path:
        return
    if position.lots == 0:
        if state.crossed > 0:
            head.cand_side = BUY
            head.cand_score = 1.0
            head.cand_score_max = 1.0
            head.cand_notional_e8 = params.notional_e8
            head.cand_leverage = params.leverage
            head.cand_stop_ppm = params.stop_ppm
            head.cand_timeout_ms = params.timeout_ms
    elif state.crossed < 0:
        put_market(slots[SLOT_EXIT], SELL, position.lots, 1, TAG_SIGNAL)


STRATEGY = Strategy(
    name="sma_cross",
    params_dt=params_dt,
    state_dt=state_dt,
    advance=advance,
    want=want,
    warmup_minutes=WINDOW_MAX,
)
# With a slot for the partial exit; the compiled code is the same.
STAGED = replace(STRATEGY, slots=SLOT_OWN + 1)
