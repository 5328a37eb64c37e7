"""The executor's compiled half: one grid per symbol on order slots, in the shared step.

A level is a slot: its entry rests there, then its counter order over what it holds, then its entry again.
Orders are placed at steps only, so an order wanted at a close is live from the next bar; inside a bar the
strategy watches its stops. A stop or the zone's end makes the grid CLOSING: every level's order is
withdrawn and the whole inventory is sold at market, until the books are flat.

Who starts a run: ``state.go`` written by a driver that holds a plan (the crash test, the backtest of the
whole chain, the executor command), or ``params.auto_start`` (the benchmark and runs back to back).
A compiled run holds the net of long and short levels; the engine cannot drive this strategy yet: see
docs/strategies/grid.md.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.book import clear, put_limit, put_market
from perpdesk.kernel.indicators.atr import atr_window
from perpdesk.kernel.intervals import CLOSE, COLUMNS, HIGH, LOW, builder_dt, push, shift_in
from perpdesk.kernel.ledger import sign
from perpdesk.kernel.records import (
    FAR,
    LIMIT,
    MARKET,
    MINUTE_MS,
    SLOT_EXIT,
    SLOT_OWN,
    TAG_COMMAND,
    TAG_ENTRY,
    TAG_FIXED_STOP,
    TAG_LADDER,
    TAG_TIMEOUT,
    zeros,
)
from perpdesk.kernel.strategy import Strategy
from perpdesk.strategies.grid.machine import (
    ACTIVE,
    CLOSING,
    DRAWDOWN,
    EXPIRED,
    FLAT_TWICE,
    GO,
    IDLE,
    MANUAL,
    ZONE_BREAK,
    entry_allowed,
    next_grid_state,
)
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, SHORT, Plan, arithmetic_price, grid_step, level_lots
from perpdesk.strategies.grid.stops import equity_e8, peak_levels, stop_levels

LEVELS_MAX = 100  # 50 a side
ATR_BARS = 100
ATR_PERIOD = 14
FOUR_HOURS_MS = 4 * 3_600_000
INTERVALS_MS = (FOUR_HOURS_MS,)

# auto_start: begin a grid of `variant` whenever idle. step_ppm: its step as a fraction of the price; 0: from
# the ATR of the last 100 4-hour bars. *_e8 are money, unit_e8 and tick are the instrument's.
params_dt = np.dtype(
    [
        (name, "i8")
        for name in (
            "auto_start",
            "variant",
            "grid_levels",
            "step_ppm",
            "atr_multiplier_ppm",
            "order_size_e8",
            "capital_e8",
            "long_cap_e8",
            "short_cap_e8",
            "stop_drawdown_ppm",
            "buffer_ppm",
            "exit_ppm",
            "max_run_ms",
            "restart_after_ms",
            "partial_timeout_ms",
            "lots_min",
            "notional_min_e8",
            "unit_e8",
            "tick",
        )
    ],
    align=True,
)

# One level: side +1 long, -1 short. net_before: what the slot had bought and sold, net, when the run began.
level_dt = np.dtype(
    [(name, "i8") for name in ("side", "entry", "leave", "lots", "net_before", "start_held")], align=True
)

# go: a driver's wish to begin with the levels it has written; close_asked: to end. grid: machine state.
# reason: the event that ended the last run. *_0_e8: the position's sums when the run began.
# wait_*: prices and time at which an order that could not be placed at the last step can be.
state_dt = np.dtype(
    [
        (name, "i8")
        for name in (
            "grid",
            "reason",
            "go",
            "close_asked",
            "count",
            "a0",
            "step",
            "lo_stop",
            "hi_stop",
            "peak_e8",
            "limit_e8",
            "begun_ms",
            "idle_until_ms",
            "runs",
            "realised_0_e8",
            "fees_0_e8",
            "funding_0_e8",
            "h4_held",
            "wait_lo",
            "wait_hi",
            "wait_ms",
        )
    ]
    + [
        ("levels", level_dt, (LEVELS_MAX,)),
        ("builder", builder_dt(INTERVALS_MS)),
        ("h4", "i8", (ATR_BARS, COLUMNS)),
    ],
    align=True,
)


def params_record(
    params: ExecutorParams,
    *,
    unit_e8: int,
    tick: int = 1,
    lots_min: int = 1,
    notional_min_e8: int = 0,
    auto_start: bool = False,
    variant: int = NEUTRAL,
    step_ppm: int = 0,
    restart_after_ms: int = 15 * 60_000,
    partial_timeout_ms: int = 600_000,
) -> np.recarray:
    """One params record (shape (1,)). auto_start and step_ppm: see params_dt.

    Raises ValueError for what compiled runs cannot do: an automatic start with geometric spacing (give a
    plan instead), or a short side without a short budget.
    """
    if auto_start and params.spacing != "arithmetic":
        raise ValueError("an automatic start spaces its levels evenly: spacing must be arithmetic")
    if auto_start and variant != LONG and params.short_budget_e8 == 0:
        raise ValueError("short_budget_e8 is 0: a grid that sells short needs a budget for it")
    record = zeros(1, params_dt)
    for name, value in {
        "auto_start": int(auto_start),
        "variant": variant,
        "grid_levels": params.grid_levels,
        "step_ppm": step_ppm,
        "atr_multiplier_ppm": params.atr_multiplier_ppm,
        "order_size_e8": params.order_size_e8,
        "capital_e8": params.allocated_capital_e8,
        "long_cap_e8": params.max_position_e8,
        "short_cap_e8": params.short_budget_e8,
        "stop_drawdown_ppm": params.stop_drawdown_ppm,
        "buffer_ppm": params.zone_break_buffer_ppm,
        "exit_ppm": params.taker_ppm + params.slippage_ppm,
        "max_run_ms": params.max_run_ms,
        "restart_after_ms": restart_after_ms,
        "partial_timeout_ms": partial_timeout_ms,
        "lots_min": lots_min,
        "notional_min_e8": notional_min_e8,
        "unit_e8": unit_e8,
        "tick": tick,
    }.items():
        record[name] = value
    return record


def order_start(state: np.record, plan: Plan) -> None:
    """Write a plan into an idle symbol's state; the next step begins the run.

    Raises ValueError if the plan has refusals or the grid is not idle.
    """
    if plan.refusals:
        raise ValueError(f"the plan is refused: {plan.refusals[0].code}: {plan.refusals[0].detail}")
    if state.grid != IDLE:
        raise ValueError("the grid of this symbol is not idle: close it first")
    for place, level in enumerate(plan.levels):
        row = state.levels[place]
        row.side, row.entry, row.leave, row.lots = level.kind, level.entry, level.exit, level.lots
        row.start_held = int(level.held)
    state.count = len(plan.levels)
    state.a0, state.step = plan.a0, plan.step
    state.lo_stop = -FAR if plan.lo_stop is None else plan.lo_stop
    state.hi_stop = FAR if plan.hi_stop is None else plan.hi_stop
    state.go = 1


@njit(cache=True)
def advance(params, shared, state, bar):
    """Keep the 4-hour bars where a step is made from them; ask while a start or an end is wanted."""
    if params.auto_start and params.step_ppm == 0 and push(state.builder, bar, INTERVALS_MS) > 0:
        for place in range(state.builder.closed_count[0]):
            shift_in(state.h4, state.builder.closed[0, place])
            state.h4_held = min(ATR_BARS, state.h4_held + 1)
    if state.go != 0 or state.close_asked != 0 or state.grid == CLOSING:
        return True
    if state.grid != IDLE or params.auto_start == 0:
        return False
    return bar.open_ms + MINUTE_MS >= state.idle_until_ms and (
        params.step_ppm > 0 or state.h4_held == ATR_BARS
    )


@njit(cache=True)
def _add_level(params, state, side, entry, leave):
    """False if the venue would not take the level."""
    lots = level_lots(params.order_size_e8, entry, params.unit_e8)
    if lots < params.lots_min or lots * entry * params.unit_e8 < params.notional_min_e8:
        return False
    level = state.levels[state.count]
    level.side = side
    level.entry = entry
    level.leave = leave
    level.lots = lots
    level.start_held = 0
    state.count += 1
    return True


@njit(cache=True)
def _lay_out(params, state, last):
    """Levels around the last price; False where they cannot be: no ATR yet, prices or sizes too small."""
    if params.step_ppm > 0:
        step = grid_step(float(last), params.step_ppm, params.tick)
    else:
        if state.h4_held < ATR_BARS:
            return False
        atr = atr_window(state.h4[:, HIGH], state.h4[:, LOW], state.h4[:, CLOSE], ATR_PERIOD)
        if atr <= 0.0:
            return False
        step = grid_step(atr, params.atr_multiplier_ppm, params.tick)
    a0 = last // params.tick * params.tick
    n = params.grid_levels
    lowest = arithmetic_price(a0, step, -n)
    if lowest <= 0:
        return False
    state.a0 = a0
    state.step = step
    state.count = 0
    for away in range(1, n + 1):
        good = True
        if params.variant != SHORT:
            good = _add_level(
                params, state, 1, arithmetic_price(a0, step, -away), arithmetic_price(a0, step, 1 - away)
            )
        if good and params.variant != LONG:
            good = _add_level(
                params, state, -1, arithmetic_price(a0, step, away), arithmetic_price(a0, step, away - 1)
            )
        if not good:
            return False
    buffer = (2 * params.buffer_ppm * a0 + 1_000_000) // 2_000_000
    state.lo_stop = lowest - buffer if params.variant != SHORT else -FAR
    state.hi_stop = arithmetic_price(a0, step, n) + buffer if params.variant != LONG else FAR
    return True


@njit(cache=True)
def _begin(params, state, position, slots, now_ms):
    """A run starts: everything is counted from here."""
    state.grid = next_grid_state(state.grid, GO)
    state.go = 0
    state.close_asked = 0
    state.begun_ms = now_ms
    state.runs += 1
    state.peak_e8 = params.capital_e8
    state.limit_e8 = params.capital_e8 * params.stop_drawdown_ppm // 1_000_000
    state.realised_0_e8 = position.realised_e8
    state.fees_0_e8 = position.fees_e8
    state.funding_0_e8 = position.funding_e8
    for k in range(state.count):
        level = state.levels[k]
        slot = slots[SLOT_OWN + k]
        level.net_before = slot.bought - slot.sold
        if level.start_held:
            put_market(slot, level.side, level.lots, 0, TAG_ENTRY)


@njit(cache=True)
def held_lots(level, slot):
    """Lots that a level holds now, whatever its side."""
    return level.side * (slot.bought - slot.sold - level.net_before)


@njit(cache=True)
def _inventory(state, slots):
    """(long lots, short lots) of the levels."""
    long_lots = 0
    short_lots = 0
    for k in range(state.count):
        held = held_lots(state.levels[k], slots[SLOT_OWN + k])
        if state.levels[k].side > 0:
            long_lots += held
        else:
            short_lots += held
    return long_lots, short_lots


@njit(cache=True)
def base_e8(params, state, position):
    """Capital + cash flows - fees + funding of the run so far (stops.equity_e8)."""
    cash = position.realised_e8 - state.realised_0_e8 - sign(position.lots) * position.cost_e8
    fees = position.fees_e8 - state.fees_0_e8
    return params.capital_e8 + cash - fees + position.funding_e8 - state.funding_0_e8


@njit(cache=True)
def _close(state, slots, event):
    """The only way out: no level wants anything any more."""
    state.grid = next_grid_state(state.grid, event)
    state.reason = event
    for k in range(state.count):
        clear(slots[SLOT_OWN + k])


@njit(cache=True)
def _leave(position, slots, reason):
    """Sell (buy back) everything at market, reduce-only."""
    if position.lots == 0 or slots[SLOT_EXIT].kind == MARKET:
        return
    tag = TAG_FIXED_STOP
    if reason == EXPIRED:
        tag = TAG_TIMEOUT
    elif reason == MANUAL:
        tag = TAG_COMMAND
    put_market(slots[SLOT_EXIT], -sign(position.lots), abs(position.lots), 1, tag)


@njit(cache=True)
def _used(params, state, slots, side):
    """Money that the levels of one side hold or are about to hold, at their entry prices."""
    used = 0
    for k in range(state.count):
        level = state.levels[k]
        if level.side != side:
            continue
        slot = slots[SLOT_OWN + k]
        lots = held_lots(level, slot)
        if slot.kind != 0 and slot.side == side:
            lots += slot.lots
        used += lots * level.entry * params.unit_e8
    return used


@njit(cache=True)
def _place(params, state, slots, last, now_ms):
    """The wanted order of every level: nearest first, below before above."""
    state.wait_lo = -FAR
    state.wait_hi = FAR
    state.wait_ms = FAR
    used_long = _used(params, state, slots, 1)
    used_short = _used(params, state, slots, -1)
    for k in range(state.count):
        level = state.levels[k]
        slot = slots[SLOT_OWN + k]
        held = held_lots(level, slot)
        if slot.kind == MARKET:
            continue  # lots bought at the start are still coming
        if slot.kind == LIMIT and slot.side == level.side:
            if held == 0:
                continue  # an entry that rests is not withdrawn at a touch
            ends_ms = slot.last_ms + params.partial_timeout_ms
            if now_ms < ends_ms:
                state.wait_ms = min(state.wait_ms, ends_ms)
                continue
            clear(slot)
        if held > 0:
            put_limit(slot, -level.side, level.leave, held, 0, TAG_LADDER, last)
            continue
        used = used_long if level.side > 0 else used_short
        cap = params.long_cap_e8 if level.side > 0 else params.short_cap_e8
        if entry_allowed(level.side, level.entry, level.lots, params.unit_e8, last, used, cap):
            put_limit(slot, level.side, level.entry, level.lots, 0, TAG_LADDER, last)
            amount = level.lots * level.entry * params.unit_e8
            if level.side > 0:
                used_long += amount
            else:
                used_short += amount
        elif level.side > 0 and level.entry >= last:
            state.wait_hi = min(state.wait_hi, level.entry + 1)
        elif level.side < 0 and level.entry <= last:
            state.wait_lo = max(state.wait_lo, level.entry - 1)


@njit(cache=True)
def want(params, shared, state, position, slots, head, last, now_ms, in_path):
    """Stops first, then (at a step) the levels' orders."""
    if state.grid == CLOSING:
        if position.lots == 0 and in_path == 0:
            state.grid = next_grid_state(state.grid, FLAT_TWICE)  # the books are the venue here
            state.idle_until_ms = now_ms + params.restart_after_ms
        else:
            _leave(position, slots, state.reason)
            return
    if state.grid == IDLE:
        if in_path != 0:
            return
        if state.go == 0:
            if params.auto_start == 0:
                return
            if now_ms < state.idle_until_ms or not _lay_out(params, state, last):
                return  # advance asks again at every bar from idle_until_ms on
        _begin(params, state, position, slots, now_ms)
    if state.grid != ACTIVE:
        return

    long_lots, short_lots = _inventory(state, slots)
    base = base_e8(params, state, position)
    worth = equity_e8(base, long_lots, short_lots, last, params.unit_e8, params.exit_ppm)
    if last <= state.lo_stop or last >= state.hi_stop:
        _close(state, slots, ZONE_BREAK)
    elif state.peak_e8 - worth >= state.limit_e8:
        _close(state, slots, DRAWDOWN)
    elif in_path == 0 and now_ms - state.begun_ms >= params.max_run_ms:
        _close(state, slots, EXPIRED)
    elif state.close_asked:
        _close(state, slots, MANUAL)
    if state.grid == CLOSING:
        _leave(position, slots, state.reason)
        head.next_ms = min(head.next_ms, now_ms + 1)
        return
    state.peak_e8 = max(state.peak_e8, worth)
    lo, hi = stop_levels(
        base, long_lots, short_lots, params.unit_e8, params.exit_ppm, state.peak_e8, state.limit_e8,
        state.lo_stop, state.hi_stop,
    )  # fmt: skip
    rise_lo, rise_hi = peak_levels(
        base, long_lots, short_lots, params.unit_e8, params.exit_ppm, state.peak_e8
    )
    if in_path == 0:
        _place(params, state, slots, last, now_ms)
    head.fire_lo = max(head.fire_lo, lo)
    head.fire_hi = min(head.fire_hi, hi)
    head.peak_lo = max(head.peak_lo, max(rise_lo, state.wait_lo))
    head.peak_hi = min(head.peak_hi, min(rise_hi, state.wait_hi))
    head.next_ms = min(head.next_ms, min(state.begun_ms + params.max_run_ms, state.wait_ms))


STRATEGY = Strategy(
    name="grid",
    params_dt=params_dt,
    state_dt=state_dt,
    advance=advance,
    want=want,
    slots=SLOT_OWN + LEVELS_MAX,
    warmup_minutes=ATR_BARS * 240,
)
