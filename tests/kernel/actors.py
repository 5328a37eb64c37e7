"""Small strategies that only tests use. Each is bound under a name that holds the hash of this file, because
the compile cache knows the sources of the package, not those of the tests."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
from numba import njit

from perpdesk.kernel.book import clear, put_limit, put_market, put_trailing, put_trigger
from perpdesk.kernel.records import (
    BUY,
    LIMIT,
    MARKET,
    NONE,
    SELL,
    SLOT_EXIT,
    SLOT_OWN,
    STOP,
    TAG_LADDER,
    TAG_SIGNAL,
    TAKE_PROFIT,
    TRAILING,
)
from perpdesk.kernel.strategy import Strategy, no_shared_dt

_HASH = sha256(Path(__file__).read_bytes()).hexdigest()[:12]
OWN_SLOTS = 6
SLOTS = SLOT_OWN + OWN_SLOTS


def _ints(*names):
    return [(name, "i8") for name in names]


# Script: does at its n-th bar what plan[n] says: +1/-1 a candidate entry, 2 a market exit, 0 nothing.
PLAN_MAX = 64
EXIT_NOW = 2
script_params_dt = np.dtype(_ints("notional_e8", "leverage", "stop_ppm", "timeout_ms"), align=True)
script_state_dt = np.dtype(
    [("count", "i8"), ("todo", "i8"), ("score", "f8"), ("plan", "i8", (PLAN_MAX,))], align=True
)


@njit(cache=True)
def script_advance(params, shared, state, bar):
    state.todo = state.plan[state.count] if state.count < PLAN_MAX else 0
    state.count += 1
    return state.todo != 0


@njit(cache=True)
def script_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    if in_path:
        return
    if state.todo == EXIT_NOW:
        if position.lots != 0:
            side = SELL if position.lots > 0 else BUY
            put_market(slots[SLOT_EXIT], side, abs(position.lots), 1, TAG_SIGNAL)
    elif state.todo != 0 and position.lots == 0:
        head.cand_side = state.todo
        head.cand_score = state.score
        head.cand_score_max = 100.0
        head.cand_notional_e8 = params.notional_e8
        head.cand_leverage = params.leverage
        head.cand_stop_ppm = params.stop_ppm
        head.cand_timeout_ms = params.timeout_ms
    state.todo = 0


SCRIPT = Strategy(
    name=f"test_script_{_HASH}",
    params_dt=script_params_dt,
    state_dt=script_state_dt,
    advance=script_advance,
    want=script_want,
    slots=SLOTS,
)


# Ladder: levels below a base price; buys one lot at each, and what a level bought is offered one step higher.
ladder_params_dt = np.dtype(_ints("top", "step", "levels", "lots"), align=True)
ladder_state_dt = np.dtype(_ints("started"), align=True)


@njit(cache=True)
def ladder_advance(params, shared, state, bar):
    state.started += 1
    return state.started == 1


@njit(cache=True)
def ladder_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    if state.started == 0:
        return
    for k in range(params.levels):
        slot = slots[SLOT_OWN + k]
        price = params.top - k * params.step
        inventory = slot.bought - slot.sold
        if inventory < params.lots:
            put_limit(slot, BUY, price, params.lots - inventory, 0, TAG_LADDER, last)
        else:
            put_limit(slot, SELL, price + params.step, inventory, 0, TAG_LADDER, last)


LADDER = Strategy(
    name=f"test_ladder_{_HASH}",
    params_dt=ladder_params_dt,
    state_dt=ladder_state_dt,
    advance=ladder_advance,
    want=ladder_want,
    slots=SLOTS,
)


# Dice: acts at random (seeded), with every order kind, both sides, entries, exits and flips.
dice_params_dt = np.dtype(_ints("activity", "lots_max", "leverage", "stop_ppm", "free"), align=True)
dice_state_dt = np.dtype(
    _ints("seed", "fresh", "choice", "side", "slot", "away", "lots", "reduce"), align=True
)


@njit(cache=True)
def _roll(state, n):
    state.seed = (state.seed * 1103515245 + 12345) % 2147483648
    return (state.seed // 65536) % n


@njit(cache=True)
def dice_advance(params, shared, state, bar):
    state.seed = (state.seed + bar.close) % 2147483648
    state.fresh = 0
    if _roll(state, 100) >= params.activity:
        return False
    state.fresh = 1
    state.choice = _roll(state, 9)
    state.side = BUY if _roll(state, 2) else SELL
    state.slot = SLOT_OWN + _roll(state, OWN_SLOTS)
    state.away = _roll(state, 80) - 20  # per mille of the last price
    state.lots = 1 + _roll(state, params.lots_max)
    state.reduce = _roll(state, 2) if params.free else 1
    return True


@njit(cache=True)
def dice_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    if in_path or not state.fresh:
        return
    state.fresh = 0
    slot = slots[state.slot]
    side = state.side
    price = max(1, last - side * (last * state.away // 1000))  # mostly away from the market
    beyond = max(1, last + side * (last * state.away // 1000))
    if state.choice == 0:
        clear(slot)
    elif state.choice == 1:
        put_market(slot, side, state.lots, state.reduce, TAG_LADDER)
    elif state.choice <= 3:
        put_limit(slot, side, price, state.lots, state.reduce, TAG_LADDER, last)
    elif state.choice == 4:
        put_trigger(slot, STOP, side, beyond, state.lots, TAG_LADDER)
    elif state.choice == 5:
        put_trigger(slot, TAKE_PROFIT, side, price, state.lots, TAG_LADDER)
    elif state.choice == 6:
        put_trailing(slot, side, state.lots, price if side == SELL else beyond, 12_000, TAG_LADDER)
    elif position.lots == 0:
        head.cand_side = side
        head.cand_score = state.lots
        head.cand_score_max = params.lots_max
        head.cand_notional_e8 = state.lots * last * 1000
        head.cand_leverage = params.leverage
        head.cand_stop_ppm = params.stop_ppm
        head.cand_timeout_ms = 60_000 * (5 + state.lots % 10)
    else:
        put_market(slots[SLOT_EXIT], SELL if position.lots > 0 else BUY, abs(position.lots), 1, TAG_SIGNAL)


DICE = Strategy(
    name=f"test_dice_{_HASH}",
    params_dt=dice_params_dt,
    state_dt=dice_state_dt,
    advance=dice_advance,
    want=dice_want,
    slots=SLOTS,
)


# Crowd: looks at all symbols once per step (observe) and, in a re-entry, prices an order from what it saw.
crowd_shared_dt = np.dtype(_ints("breadth"), align=True)
crowd_state_dt = np.dtype(_ints("count"), align=True)


@njit(cache=True)
def crowd_observe(params, shared, bars):
    shared.breadth = 0
    for s in range(bars.shape[0]):
        if bars[s].open_ms >= 0 and bars[s].close > bars[s].open:
            shared.breadth += 1


@njit(cache=True)
def crowd_advance(params, shared, state, bar):
    state.count += 1
    return True


@njit(cache=True)
def crowd_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    own = slots[SLOT_OWN]
    if position.lots == 0:
        if in_path == 0:
            put_limit(own, BUY, last + 1, 2, 0, TAG_LADDER, last)
        else:
            clear(own)
    elif shared.breadth > 0:  # wait for more while the crowd rises, else leave
        put_limit(own, SELL, last + 5, position.lots, 0, TAG_LADDER, last)
    else:
        put_limit(own, SELL, last - 1, position.lots, 0, TAG_LADDER, last)


CROWD = Strategy(
    name=f"test_crowd_{_HASH}",
    params_dt=no_shared_dt,
    state_dt=crowd_state_dt,
    shared_dt=crowd_shared_dt,
    advance=crowd_advance,
    want=crowd_want,
    observe=crowd_observe,
    slots=SLOTS,
)


# Peek: cheats. Its shared record holds the closes of the whole file, and it looks `ahead` bars into the future.
PEEK_MAX = 512
peek_params_dt = np.dtype(_ints("ahead", "notional_e8"), align=True)
peek_shared_dt = np.dtype([("closes", "i8", (PEEK_MAX,))], align=True)
peek_state_dt = np.dtype(_ints("count", "up"), align=True)


@njit(cache=True)
def peek_advance(params, shared, state, bar):
    i = state.count + params.ahead
    seen = shared.closes[i] if i < PEEK_MAX and shared.closes[i] > 0 else bar.close
    state.up = 1 if seen > bar.close else -1
    state.count += 1
    return True


@njit(cache=True)
def peek_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    if in_path:
        return
    if position.lots == 0:
        if state.up > 0:
            head.cand_side = BUY
            head.cand_score = 1.0
            head.cand_score_max = 1.0
            head.cand_notional_e8 = params.notional_e8
            head.cand_leverage = 2
            head.cand_stop_ppm = 10_000
    elif state.up < 0:
        put_market(slots[SLOT_EXIT], SELL, position.lots, 1, TAG_SIGNAL)


PEEK = Strategy(
    name=f"test_peek_{_HASH}",
    params_dt=peek_params_dt,
    state_dt=peek_state_dt,
    shared_dt=peek_shared_dt,
    advance=peek_advance,
    want=peek_want,
    slots=SLOTS,
)

KIND_NAMES = {NONE: "-", MARKET: "MARKET", LIMIT: "LIMIT", STOP: "STOP", TAKE_PROFIT: "TP", TRAILING: "TRAIL"}
