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

_HASH = sha256(Path(__file__).read_bytes()).hexdigest()[:12]
OWN_SLOTS = 6
SLOTS = SLOT_OWN + OWN_SLOTS


def _ints(*names):
    return [(name, "i8") for name in names]


# Actor: one strategy in three roles, because each bound strategy is compiled on its own.
#
# SCRIPT  does at its n-th bar what plan[n] says: +1/-1 a candidate entry, EXIT_NOW a market exit, 0 nothing.
# LADDER  levels below a top price; buys at each, and what a level bought is offered one step higher.
# DICE    acts at random (seeded): every order kind, both sides, entries, exits and reversals.
SCRIPT, LADDER, DICE = 0, 1, 2
PLAN_MAX = 64
EXIT_NOW = 2
actor_params_dt = np.dtype(
    _ints("role", "notional_e8", "leverage", "stop_ppm", "timeout_ms")
    + _ints("top", "step", "levels", "lots")
    + _ints("activity", "lots_max", "free"),
    align=True,
)
actor_state_dt = np.dtype(
    _ints("count", "todo", "seed", "choice", "side", "slot", "away", "lots", "reduce")
    + [("score", "f8"), ("plan", "i8", (PLAN_MAX,))],
    align=True,
)


def actor_params(role, **fields):
    """[1] params of the Actor in a role."""
    record = zeros(1, actor_params_dt)
    record["role"] = role
    for name, value in fields.items():
        record[name] = value
    return record


@njit(cache=True)
def _roll(state, n):
    state.seed = (state.seed * 1103515245 + 12345) % 2147483648
    return (state.seed // 65536) % n


@njit(cache=True)
def actor_advance(params, shared, state, bar):
    state.todo = 0
    if params.role == SCRIPT:
        state.todo = state.plan[state.count] if state.count < PLAN_MAX else 0
    elif params.role == LADDER:
        state.todo = 1 if state.count == 0 else 0
    else:
        state.seed = (state.seed + bar.close) % 2147483648
        if _roll(state, 100) < params.activity:
            state.todo = 1
            state.choice = _roll(state, 9)
            state.side = BUY if _roll(state, 2) else SELL
            state.slot = SLOT_OWN + _roll(state, OWN_SLOTS)
            state.away = _roll(state, 80) - 20  # per mille of the last price
            state.lots = 1 + _roll(state, params.lots_max)
            state.reduce = _roll(state, 2) if params.free else 1
    state.count += 1
    return state.todo != 0


@njit(cache=True)
def actor_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    if params.role == LADDER:
        if state.count > 0:
            _ladder(params, slots, last)
    elif in_path == 0 and state.todo != 0:
        if params.role == DICE:
            _dice(params, state, position, slots, head, last)
        elif state.todo == EXIT_NOW:
            if position.lots != 0:
                _leave(position, slots)
        elif position.lots == 0:
            head.cand_side = state.todo
            head.cand_score = state.score
            head.cand_score_max = 100.0
            head.cand_notional_e8 = params.notional_e8
            head.cand_leverage = params.leverage
            head.cand_stop_ppm = params.stop_ppm
            head.cand_timeout_ms = params.timeout_ms


@njit(cache=True)
def _leave(position, slots):
    put_market(slots[SLOT_EXIT], SELL if position.lots > 0 else BUY, abs(position.lots), 1, TAG_SIGNAL)


@njit(cache=True)
def _ladder(params, slots, last):
    for k in range(params.levels):
        slot = slots[SLOT_OWN + k]
        price = params.top - k * params.step
        inventory = slot.bought - slot.sold
        if inventory < params.lots:
            put_limit(slot, BUY, price, params.lots - inventory, 0, TAG_LADDER, last)
        else:
            put_limit(slot, SELL, price + params.step, inventory, 0, TAG_LADDER, last)


@njit(cache=True)
def _dice(params, state, position, slots, head, last):
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
        _leave(position, slots)


ACTOR = Strategy(
    name=f"test_actor_{_HASH}",
    params_dt=actor_params_dt,
    state_dt=actor_state_dt,
    advance=actor_advance,
    want=actor_want,
    slots=SLOTS,
)


# Seer: looks at more than its own bar. One strategy in two roles.
#
# CROWD   counts the symbols that rise, once per step (observe), and in a re-entry prices an order from that.
# PEEK    cheats: its shared record holds the closes of the whole file, and it looks `ahead` bars into the future.
CROWD, PEEK = 0, 1
PEEK_MAX = 512
seer_params_dt = np.dtype(_ints("role", "ahead", "notional_e8"), align=True)
seer_shared_dt = np.dtype([("breadth", "i8"), ("closes", "i8", (PEEK_MAX,))], align=True)
seer_state_dt = np.dtype(_ints("count", "up"), align=True)


@njit(cache=True)
def seer_observe(params, shared, bars):
    shared.breadth = 0
    for s in range(bars.shape[0]):
        if bars[s].open_ms >= 0 and bars[s].close > bars[s].open:
            shared.breadth += 1


@njit(cache=True)
def seer_advance(params, shared, state, bar):
    i = state.count + params.ahead
    seen = shared.closes[i] if i < PEEK_MAX and shared.closes[i] > 0 else bar.close
    state.up = 1 if seen > bar.close else -1
    state.count += 1
    return True


@njit(cache=True)
def seer_want(params, shared, state, position, slots, head, last, now_ms, in_path):
    if params.role == CROWD:
        _crowd(shared, position, slots[SLOT_OWN], last, in_path)
    elif in_path == 0:
        if position.lots != 0:
            if state.up < 0:
                _leave(position, slots)
        elif state.up > 0:
            head.cand_side = BUY
            head.cand_score = 1.0
            head.cand_score_max = 1.0
            head.cand_notional_e8 = params.notional_e8
            head.cand_leverage = 2
            head.cand_stop_ppm = 10_000


@njit(cache=True)
def _crowd(shared, position, own, last, in_path):
    if position.lots == 0:
        if in_path == 0:
            put_limit(own, BUY, last + 1, 2, 0, TAG_LADDER, last)
        else:
            clear(own)
    elif shared.breadth > 0:  # wait for more while the crowd rises, else leave
        put_limit(own, SELL, last + 5, position.lots, 0, TAG_LADDER, last)
    else:
        put_limit(own, SELL, last - 1, position.lots, 0, TAG_LADDER, last)


SEER = Strategy(
    name=f"test_seer_{_HASH}",
    params_dt=seer_params_dt,
    state_dt=seer_state_dt,
    shared_dt=seer_shared_dt,
    advance=seer_advance,
    want=seer_want,
    observe=seer_observe,
    slots=SLOTS,
)
