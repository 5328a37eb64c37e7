"""The executor's compiled half: one grid per symbol on order slots, in the shared step.

A level is a slot: its entry rests there, then its counter order over what it holds, then its entry again.
Orders are placed at steps only, so an order wanted at a close is live from the next bar; inside a bar the
strategy watches its stops. A stop or the zone's end makes the grid CLOSING: every level's order is
withdrawn and the whole inventory is sold at market, until the books are flat.

Who starts a run: ``state.go`` written by a driver that holds a plan (conduct.Conductor, the crash test), or
``params.auto_start`` (runs back to back). A run holds the net of long and short levels.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    BROKEN,
    CLOSING,
    DRAWDOWN,
    EXPIRED,
    FLAT_TWICE,
    GO,
    IDLE,
    MANUAL,
    RECONCILED,
    ZONE_BREAK,
    entry_allowed,
    next_grid_state,
)
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, SHORT, Plan, arithmetic_price, grid_step, level_lots
from perpdesk.strategies.grid.stops import equity_e8, peak_levels, stop_levels

LEVELS_MAX = 100  # 50 a side
SYMBOLS_MAX = 5
ATR_BARS = 100
ATR_PERIOD = 14
FOUR_HOURS_MS = 4 * 3_600_000
INTERVALS_MS = (FOUR_HOURS_MS,)

# The rules of one symbol (params.of[state.symbol]). auto_start: begin a grid of `variant` whenever idle.
# step_ppm: its step as a fraction of the price; 0: from the ATR of the last 100 4-hour bars.
# *_e8 are money, unit_e8 and tick are the instrument's.
rules_dt = np.dtype(
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
params_dt = np.dtype([("of", rules_dt, (SYMBOLS_MAX,))], align=True)

# One level: side +1 long, -1 short. net_before: what the slot had bought and sold, net, when the run began.
level_dt = np.dtype(
    [(name, "i8") for name in ("side", "entry", "leave", "lots", "net_before", "start_held")], align=True
)

# go: a driver's wish to begin with the levels it has written; close_asked: to end. grid: machine state.
# reason: the event that ended the last run. *_0_e8: the position's sums when the run began.
# wait_*: prices and time at which an order that could not be placed at the last step can be.
# long_lots, short_lots, base_e8: what the position's sums (seen_*) last meant; fall_*, rise_*: where
# the run ends and where it is worth more than ever, at the peak levelled_e8; placed: the levels' orders are
# those wanted since, with the account's word entries_on.
state_dt = np.dtype(
    [
        (name, "i8")
        for name in (
            "symbol",
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
            "ended_ms",
            "idle_until_ms",
            "runs",
            "realised_0_e8",
            "fees_0_e8",
            "funding_0_e8",
            "h4_held",
            "wait_lo",
            "wait_hi",
            "wait_ms",
            "long_lots",
            "short_lots",
            "base_e8",
            "seen_ms",
            "seen_lots",
            "seen_realised_e8",
            "seen_fees_e8",
            "seen_cost_e8",
            "seen_funding_e8",
            "levelled_e8",
            "fall_lo",
            "fall_hi",
            "rise_lo",
            "rise_hi",
            "placed",
            "entries_on",
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
    """The params record (shape (1,)) of a run over one symbol. auto_start and step_ppm: see rules_dt.

    Raises ValueError for what compiled runs cannot do: an automatic start with geometric spacing (give a
    plan instead), or a short side without a short budget.
    """
    if auto_start and params.spacing != "arithmetic":
        raise ValueError("an automatic start spaces its levels evenly: spacing must be arithmetic")
    if auto_start and variant != LONG and params.short_budget_e8 == 0:
        raise ValueError("short_budget_e8 is 0: a grid that sells short needs a budget for it")
    record = zeros(1, params_dt)
    rules = record.of[0]
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
        rules[name][0] = value
    return record


def params_records(records: Sequence[np.recarray]) -> np.recarray:
    """One record from those of several symbols, in universe order. Raises ValueError if they are too many.

    Each symbol's state must be told which it is: ``number_states``.
    """
    if len(records) > SYMBOLS_MAX:
        raise ValueError(f"a grid trades at most {SYMBOLS_MAX} symbols, not {len(records)}")
    together = zeros(1, params_dt)
    for s, record in enumerate(records):
        together["of"][0, s] = record["of"][0, 0]
    return together


def number_states(states: np.recarray) -> None:
    """Tell each symbol's state where it stands in the universe."""
    states["symbol"] = np.arange(len(states))


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
def _keep(state, bar):
    """The 4-hour bars that a step is made from."""
    if push(state.builder, bar, INTERVALS_MS) > 0:
        for place in range(state.builder.closed_count[0]):
            shift_in(state.h4, state.builder.closed[0, place])
            state.h4_held = min(ATR_BARS, state.h4_held + 1)


@njit(cache=True)
def advance(params, shared, state, bar):
    """Keep the 4-hour bars where a step is made from them; ask while a start or an end is wanted."""
    rules = params.of[state.symbol]
    if rules.auto_start and rules.step_ppm == 0:
        _keep(state, bar)
    if state.go != 0 or state.close_asked != 0 or state.grid == CLOSING:
        return True
    if state.grid != IDLE or rules.auto_start == 0:
        return False
    return bar.open_ms + MINUTE_MS >= state.idle_until_ms and (
        rules.step_ppm > 0 or state.h4_held == ATR_BARS
    )


@njit(cache=True)
def _add_level(rules, state, side, entry, leave):
    """False if the venue would not take the level."""
    lots = level_lots(rules.order_size_e8, entry, rules.unit_e8)
    if lots < rules.lots_min or lots * entry * rules.unit_e8 < rules.notional_min_e8:
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
def _lay_out(rules, state, last):
    """Levels around the last price; False where they cannot be: no ATR yet, prices or sizes too small."""
    if rules.step_ppm > 0:
        step = grid_step(float(last), rules.step_ppm, rules.tick)
    else:
        if state.h4_held < ATR_BARS:
            return False
        atr = atr_window(state.h4[:, HIGH], state.h4[:, LOW], state.h4[:, CLOSE], ATR_PERIOD)
        if atr <= 0.0:
            return False
        step = grid_step(atr, rules.atr_multiplier_ppm, rules.tick)
    a0 = last // rules.tick * rules.tick
    n = rules.grid_levels
    lowest = arithmetic_price(a0, step, -n)
    if lowest <= 0:
        return False
    state.a0 = a0
    state.step = step
    state.count = 0
    for away in range(1, n + 1):
        good = True
        if rules.variant != SHORT:
            good = _add_level(
                rules, state, 1, arithmetic_price(a0, step, -away), arithmetic_price(a0, step, 1 - away)
            )
        if good and rules.variant != LONG:
            good = _add_level(
                rules, state, -1, arithmetic_price(a0, step, away), arithmetic_price(a0, step, away - 1)
            )
        if not good:
            return False
    buffer = (2 * rules.buffer_ppm * (a0 // rules.tick) + 1_000_000) // 2_000_000 * rules.tick
    state.lo_stop = lowest - buffer if rules.variant != SHORT else -FAR
    state.hi_stop = arithmetic_price(a0, step, n) + buffer if rules.variant != LONG else FAR
    return True


@njit(cache=True)
def _begin(rules, state, position, slots, now_ms):
    """A run starts: everything is counted from here."""
    state.grid = next_grid_state(state.grid, GO)
    state.go = 0
    state.close_asked = 0
    state.begun_ms = now_ms
    state.runs += 1
    state.peak_e8 = rules.capital_e8
    state.limit_e8 = rules.capital_e8 * rules.stop_drawdown_ppm // 1_000_000
    state.realised_0_e8 = position.realised_e8
    state.fees_0_e8 = position.fees_e8
    state.funding_0_e8 = position.funding_e8
    state.seen_ms = -1  # nothing is counted yet
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
def _count(rules, state, position, slots):
    """Bring the run's inventory and money up to date with its fills; nothing to do where there were none."""
    if (
        state.seen_ms == position.last_fill_ms
        and state.seen_lots == position.lots
        and state.seen_realised_e8 == position.realised_e8
        and state.seen_fees_e8 == position.fees_e8
        and state.seen_cost_e8 == position.cost_e8
        and state.seen_funding_e8 == position.funding_e8
    ):
        return
    state.seen_ms = position.last_fill_ms
    state.seen_lots = position.lots
    state.seen_realised_e8 = position.realised_e8
    state.seen_fees_e8 = position.fees_e8
    state.seen_cost_e8 = position.cost_e8
    state.seen_funding_e8 = position.funding_e8
    state.placed = 0
    state.levelled_e8 = -1
    long_lots = 0
    short_lots = 0
    for k in range(state.count):
        level = state.levels[k]
        slot = slots[SLOT_OWN + k]
        net = slot.bought - slot.sold - level.net_before
        if level.side > 0:
            long_lots += net
        else:
            short_lots -= net
    state.long_lots = long_lots
    state.short_lots = short_lots
    state.base_e8 = base_e8(rules, state, position)


@njit(cache=True)
def base_e8(rules, state, position):
    """Capital + cash flows - fees + funding of the run so far (stops.equity_e8)."""
    cash = position.realised_e8 - state.realised_0_e8 - sign(position.lots) * position.cost_e8
    fees = position.fees_e8 - state.fees_0_e8
    return rules.capital_e8 + cash - fees + position.funding_e8 - state.funding_0_e8


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
def used_e8(rules, state, slots):
    """(long, short): money that the levels of each side hold or are about to hold, at their entry prices."""
    used_long = 0
    used_short = 0
    for k in range(state.count):
        level = state.levels[k]
        slot = slots[SLOT_OWN + k]
        lots = level.side * (slot.bought - slot.sold - level.net_before)
        if slot.kind != 0 and slot.side == level.side:
            lots += slot.lots
        if level.side > 0:
            used_long += lots * level.entry
        else:
            used_short += lots * level.entry
    return used_long * rules.unit_e8, used_short * rules.unit_e8


@njit(cache=True)
def _is_placed(state, last, now_ms, entries_on):
    """Is what was wanted at the last placing wanted now?"""
    return (
        state.placed != 0
        and state.entries_on == entries_on
        and now_ms < state.wait_ms
        and state.wait_lo < last < state.wait_hi
    )


@njit(cache=True)
def _place(rules, state, slots, last, now_ms, entries_on):
    """The wanted order of every level: nearest first, below before above.

    While entries_on is 0 no entry is wanted and resting ones are taken back; what is held keeps its exit.
    """
    if _is_placed(state, last, now_ms, entries_on):
        return
    state.placed = 1
    state.entries_on = entries_on
    state.wait_lo = -FAR
    state.wait_hi = FAR
    state.wait_ms = FAR
    used_long, used_short = used_e8(rules, state, slots)
    for k in range(state.count):
        level = state.levels[k]
        slot = slots[SLOT_OWN + k]
        held = held_lots(level, slot)
        if slot.kind == MARKET:
            continue  # lots bought at the start are still coming
        if slot.kind == LIMIT and slot.side == level.side:
            if entries_on and held == 0:
                continue  # an entry that rests is not withdrawn at a touch
            ends_ms = slot.last_ms + rules.partial_timeout_ms
            if entries_on and now_ms < ends_ms:
                state.wait_ms = min(state.wait_ms, ends_ms)
                continue
            clear(slot)
            state.placed = 0  # it was counted: what the cap refuses now may be allowed at the next look
        if held > 0:
            put_limit(slot, -level.side, level.leave, held, 0, TAG_LADDER, last)
            continue
        if not entries_on:
            continue
        used = used_long if level.side > 0 else used_short
        cap = rules.long_cap_e8 if level.side > 0 else rules.short_cap_e8
        if entry_allowed(level.side, level.entry, level.lots, rules.unit_e8, last, used, cap):
            put_limit(slot, level.side, level.entry, level.lots, 0, TAG_LADDER, last)
            amount = level.lots * level.entry * rules.unit_e8
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
    rules = params.of[state.symbol]
    if state.grid == CLOSING:
        if position.lots == 0 and in_path == 0:
            state.grid = next_grid_state(state.grid, FLAT_TWICE)  # the books are the venue here
            state.ended_ms = now_ms
            state.idle_until_ms = now_ms + rules.restart_after_ms
        else:
            _leave(position, slots, state.reason)
            return
    if state.grid == IDLE:
        if in_path != 0:
            return
        if state.go == 0:
            if rules.auto_start == 0:
                return
            if head.entries_on == 0 or now_ms < state.idle_until_ms or not _lay_out(rules, state, last):
                return  # advance asks again at every bar from idle_until_ms on
        _begin(rules, state, position, slots, now_ms)
    if state.grid != ACTIVE:
        return

    _count(rules, state, position, slots)
    long_lots, short_lots, base = state.long_lots, state.short_lots, state.base_e8
    worth = equity_e8(base, long_lots, short_lots, last, rules.unit_e8, rules.exit_ppm)
    if long_lots - short_lots != position.lots:  # the exchange took it (liquidation): nothing adds up
        _close(state, slots, BROKEN)
        state.grid = next_grid_state(state.grid, RECONCILED)
    elif last <= state.lo_stop or last >= state.hi_stop:
        _close(state, slots, ZONE_BREAK)
    elif state.peak_e8 - worth >= state.limit_e8:
        _close(state, slots, DRAWDOWN)
    elif in_path == 0 and now_ms - state.begun_ms >= rules.max_run_ms:
        _close(state, slots, EXPIRED)
    elif state.close_asked:
        _close(state, slots, MANUAL)
    if state.grid == CLOSING:
        _leave(position, slots, state.reason)
        head.next_ms = min(head.next_ms, now_ms + 1)
        return
    state.peak_e8 = max(state.peak_e8, worth)
    if state.levelled_e8 != state.peak_e8:
        state.levelled_e8 = state.peak_e8
        state.fall_lo, state.fall_hi = stop_levels(
            base, long_lots, short_lots, rules.unit_e8, rules.exit_ppm, state.peak_e8, state.limit_e8,
            state.lo_stop, state.hi_stop, rules.tick,
        )  # fmt: skip
        state.rise_lo, state.rise_hi = peak_levels(
            base, long_lots, short_lots, rules.unit_e8, rules.exit_ppm, state.peak_e8, last, worth
        )
    if in_path == 0:
        _place(rules, state, slots, last, now_ms, head.entries_on)
    else:
        head.calm = 1 if _is_placed(state, last, now_ms, head.entries_on) else 0
    head.fire_lo = max(head.fire_lo, state.fall_lo)
    head.fire_hi = min(head.fire_hi, state.fall_hi)
    head.peak_lo = max(head.peak_lo, max(state.rise_lo, state.wait_lo))
    head.peak_hi = min(head.peak_hi, min(state.rise_hi, state.wait_hi))
    head.next_ms = min(head.next_ms, min(state.begun_ms + rules.max_run_ms, state.wait_ms))


STRATEGY = Strategy(
    name="grid",
    params_dt=params_dt,
    state_dt=state_dt,
    advance=advance,
    want=want,
    slots=SLOT_OWN + LEVELS_MAX,
    warmup_minutes=ATR_BARS * 240,
    opens=True,
)
