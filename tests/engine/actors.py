"""A strategy that only the engine's tests use: what a position can be surrounded with."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
from numba import njit
from tests.kernel.actors import OWN_SLOTS, SLOTS

from perpdesk.kernel.book import clear, put_limit, put_market, put_trailing, put_trigger
from perpdesk.kernel.records import (
    BUY,
    SELL,
    SLOT_EXIT,
    SLOT_OWN,
    STOP,
    TAG_LADDER,
    TAG_SIGNAL,
    TAKE_PROFIT,
    zeros,
)
from perpdesk.kernel.strategy import Strategy

# The compile cache knows the sources of the package, not those of the tests.
_HASH = sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def _ints(*names):
    return [(name, "i8") for name in names]


# Member: enters through the gate and takes all its own orders back when it is flat. One strategy in three roles,
# because each bound strategy is compiled on its own.
#
# HOLDER  while it holds, it places, moves and clears orders of every kind around the position, at random.
# HERD    counts the symbols that rise once per step (observe) and prices its exits by that, inside bars too.
# KEEN    never asks but at its first bar, and wants in whenever it is asked and flat.
HOLDER, HERD, KEEN = 0, 1, 2
member_params_dt = np.dtype(_ints("role", "activity", "leverage", "stop_ppm", "notional_e8"), align=True)
member_shared_dt = np.dtype(_ints("rising"), align=True)
member_state_dt = np.dtype(_ints("seed", "fresh", "choice", "side", "slot", "away", "part"), align=True)


def member_params(role, *, notional_e8, leverage=10, stop_ppm=20_000, activity=25):
    """[1] params of the Member in a role. activity: of 100 minutes, how many it acts in."""
    record = zeros(1, member_params_dt)
    record[0] = (role, activity, leverage, stop_ppm, notional_e8)
    return record


@njit(cache=True)
def member_observe(params, shared, bars):
    shared.rising = 0
    for s in range(bars.shape[0]):
        if bars[s].open_ms >= 0 and bars[s].close > bars[s].open:
            shared.rising += 1


@njit(cache=True)
def _roll(state, n):
    state.seed = (state.seed * 1103515245 + 12345) % 2147483648
    return (state.seed // 65536) % n


@njit(cache=True)
def member_advance(params, shared, state, bar):
    if params.role == HERD:
        return True
    if params.role == KEEN:
        state.fresh += 1
        return state.fresh == 1
    state.seed = (state.seed + bar.close) % 2147483648
    state.fresh = 0
    if _roll(state, 100) >= params.activity:
        return False
    state.fresh = 1
    state.choice = _roll(state, 10)
    state.side = BUY if _roll(state, 2) else SELL
    state.slot = SLOT_OWN + _roll(state, OWN_SLOTS)
    state.away = _roll(state, 60) - 10  # in 1/10000 of the last price
    state.part = 1 + _roll(state, 4)
    return True


@njit(cache=True)
def member_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    if position.lots == 0:
        for k in range(SLOT_OWN, SLOT_OWN + OWN_SLOTS):
            clear(slots[k])
    if params.role == HERD:
        _herd(params, shared, position, slots, head, last, in_path)
    elif params.role == KEEN:
        if in_path == 0 and position.lots == 0:
            _enter(params, head, BUY, 1)
    elif in_path == 0 and state.fresh:
        state.fresh = 0
        _hold(params, state, position, slots, head, last)


@njit(cache=True)
def _enter(params, head, side, strength):
    head.cand_side = side
    head.cand_score = strength
    head.cand_score_max = 10.0
    head.cand_notional_e8 = params.notional_e8 * strength
    head.cand_leverage = params.leverage
    head.cand_stop_ppm = params.stop_ppm
    head.cand_timeout_ms = 60_000 * (5 + 20 * strength)


@njit(cache=True)
def _hold(params, state, position, slots, head, last):
    if position.lots == 0:
        _enter(params, head, state.side, state.part)
        return
    side = BUY if position.lots > 0 else SELL
    lots = max(1, abs(position.lots) * state.part // 4)
    move = last * state.away // 10_000
    slot = slots[state.slot]
    if state.choice == 0:
        clear(slot)
    elif state.choice <= 2:
        put_limit(slot, side, max(1, last - side * move), lots, 0, TAG_LADDER, last)
    elif state.choice <= 4:
        put_limit(slot, -side, max(1, last + side * move), lots, 1, TAG_LADDER, last)
    elif state.choice == 5:
        put_trigger(slot, STOP, -side, max(1, last - side * move), lots, TAG_LADDER)
    elif state.choice == 6:
        put_trigger(slot, TAKE_PROFIT, -side, max(1, last + side * move), lots, TAG_LADDER)
    elif state.choice == 7:
        put_trailing(slot, -side, lots, max(1, last + side * move), 2_000, TAG_LADDER)
    elif state.choice == 8:
        put_market(slot, -side, lots, 1, TAG_LADDER)
    else:
        put_market(slots[SLOT_EXIT], -side, abs(position.lots), 1, TAG_SIGNAL)


@njit(cache=True)
def _herd(params, shared, position, slots, head, last, in_path):
    if position.lots == 0:
        if in_path == 0 and shared.rising >= 2:
            _enter(params, head, BUY, shared.rising)
        return
    away = last * (1 + shared.rising) // 5_000
    put_limit(slots[SLOT_OWN], SELL, last + away, max(1, position.lots // 2), 1, TAG_LADDER, last)


MEMBER = Strategy(
    name=f"test_member_{_HASH}",
    params_dt=member_params_dt,
    state_dt=member_state_dt,
    shared_dt=member_shared_dt,
    advance=member_advance,
    want=member_want,
    observe=member_observe,
    slots=SLOTS,
)
