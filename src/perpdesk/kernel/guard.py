"""Protective exits of a position. Inside the step, so a position without a guard cannot exist.

Two kinds of price rule. Resting orders (the exchange stop, a trailing order) are slots and protect even
when nobody is there. Levels on the mark price (fixed and timed stops, trailing, take-profit) stand in
front of them: the path stops at the level and the guard asks for a market exit. Ages count whole steps.
Rules and their order: docs/strategies/score_v2.md.
"""

import math

from numba import njit

from perpdesk.kernel.book import clear_shared, put_market, put_trailing, put_trigger
from perpdesk.kernel.exact import mul_div_ceil, mul_div_floor, round_down, round_up
from perpdesk.kernel.records import (
    BUY,
    FAR,
    MARKET,
    MINUTE_MS,
    NONE,
    SELL,
    SLOT_ENTRY,
    SLOT_EXIT,
    SLOT_STOP,
    SLOT_TRAIL,
    STAGES_MAX,
    STOP,
    TAG_EXCHANGE_STOP,
    TAG_FAST_STOP,
    TAG_FIXED_STOP,
    TAG_FIXED_TP,
    TAG_MINUTES,
    TAG_NONE,
    TAG_TIMEOUT,
    TAG_TRAILING,
    TIMED_MAX,
)

_PPM = 1_000_000


@njit(cache=True)
def q9(x):
    """A float before it is compared with a threshold: nine decimals, half up."""
    return math.floor(x * 1e9 + 0.5) / 1e9


@njit(cache=True)
def move_of(side, price, average):
    """Profit of a price as a fraction of the average entry price."""
    return q9(side * (price - average) / average)


@njit(cache=True)
def trigger_price(position, instrument, away_ppm, side):
    """Entry price moved by away_ppm (signed, > 0 is profit), on the tick in the position's favour."""
    size = abs(position.lots) * instrument.unit_e8
    if side == BUY:
        return round_up(mul_div_ceil(position.cost_e8, _PPM + away_ppm, size * _PPM), instrument.tick)
    return max(
        instrument.tick,
        round_down(mul_div_floor(position.cost_e8, _PPM - away_ppm, size * _PPM), instrument.tick),
    )


@njit(cache=True)
def loss_level(side, average, move):
    """The first price, coming from profit, whose move is at or below the given one."""
    price = int(average * (1.0 + side * move))
    while move_of(side, price, average) <= move:
        price += side
    while move_of(side, price, average) > move:
        price -= side
    return price


@njit(cache=True)
def profit_level(side, average, move):
    """The first price, coming from loss, whose move is at or above the given one."""
    price = int(average * (1.0 + side * move))
    while move_of(side, price, average) >= move:
        price -= side
    while move_of(side, price, average) < move:
        price += side
    return price


@njit(cache=True)
def stop_level(guard, age_ms):
    """The tightest of the stops active at this age (0: none)."""
    level = guard.fixed_stop
    for i in range(TIMED_MAX):
        active = guard.timed_within_ms[i] > 0 and age_ms <= guard.timed_within_ms[i]
        if active and (level == 0.0 or guard.timed_level[i] > level):
            level = guard.timed_level[i]
    return level


@njit(cache=True)
def judge(guard, move, peak, age_ms, timeout_ms, was_armed=0):
    """The tag of the rule that acts, or TAG_NONE.

    Order: fixed, timed (shortest first), trailing, take-profit, timeout. A timed stop's tag carries its
    minutes (records.tag_name). Once armed, a trailing exit stays armed, however an average is rounded.
    """
    if guard.fixed_stop < 0.0 and move <= guard.fixed_stop:
        return TAG_FIXED_STOP
    fast = 0
    for i in range(TIMED_MAX):
        within = guard.timed_within_ms[i]
        hit = within > 0 and age_ms <= within and move <= guard.timed_level[i]
        if hit and (fast == 0 or within < fast):
            fast = within
    if fast > 0:
        return TAG_FAST_STOP + TAG_MINUTES * (fast // MINUTE_MS)
    armed = guard.trailing_activation > 0.0 and (was_armed or peak >= guard.trailing_activation)
    if armed and move <= q9(max(peak - guard.trailing_retrace, guard.trailing_floor)):
        return TAG_TRAILING
    if guard.fixed_tp > 0.0 and move >= guard.fixed_tp:
        return TAG_FIXED_TP
    if timeout_ms > 0 and age_ms >= timeout_ms:
        return TAG_TIMEOUT
    return TAG_NONE


@njit(cache=True)
def protect(guard, instrument, position, slots, head, last, now_ms, in_path):
    """Write the protective slots of one position and the levels at which to ask again."""
    if slots[SLOT_ENTRY].kind == MARKET:
        head.next_ms = min(head.next_ms, now_ms + 1)
        if in_path == 0 and now_ms - head.approved_ms > MINUTE_MS:
            slots[SLOT_ENTRY].kind = NONE  # a stale signal is worth less than a missed one
    if position.lots == 0:
        entry = slots[SLOT_ENTRY].kind
        clear_shared(slots)
        slots[SLOT_ENTRY].kind = entry
        return
    side = BUY if position.lots > 0 else SELL
    held = abs(position.lots)
    for k in (SLOT_STOP, SLOT_EXIT, SLOT_TRAIL):
        if slots[k].side == side:
            slots[k].kind = NONE  # an order turned the position: this one belonged to the old side
    age_ms = max(0, now_ms - position.opened_ms)
    timeout_ms = position.entry_timeout_ms if position.entry_timeout_ms > 0 else guard.timeout_ms
    leave = slots[SLOT_EXIT]
    leaving = leave.kind == MARKET  # nobody watches peaks any more: what protects stays as it is
    watches = _has_levels(guard)
    average = 0.0
    move = 0.0
    peak = 0.0
    if watches and not leaving:
        average = position.cost_e8 / (held * instrument.unit_e8)
        move = move_of(side, last, average)
        if position.armed == 0 and guard.trailing_activation > 0.0 and move >= guard.trailing_activation:
            position.armed = 1
            position.best = last  # peaks are marks: what slippage made of our own fill is not one
        if position.armed and (last - position.best) * side > 0:
            position.best = last  # below the activation the best price decides nothing
        peak = max(move_of(side, position.best, average), move) if position.armed else move

    stale = position.priced_cost_e8 != position.cost_e8 or position.priced_lots != position.lots
    if stale and _has_triggers(guard):
        position.priced_cost_e8 = position.cost_e8
        position.priced_lots = position.lots
        position.stop_price = trigger_price(position, instrument, -guard.stop_ppm, side)
        position.ratchet_price = trigger_price(position, instrument, guard.ratchet_ppm, side)
        position.trail_price = trigger_price(position, instrument, guard.trail_activation_ppm, side)
        for i in range(STAGES_MAX):
            if guard.stage_ppm[i] > 0:
                position.stage_price[i] = trigger_price(position, instrument, guard.stage_ppm[i], side)
    stop = slots[SLOT_STOP]
    if guard.stop_ppm > 0 and stop.kind != MARKET:  # a triggered stop is left to finish
        ratcheted = position.armed and guard.ratchet_ppm > 0
        price = position.ratchet_price if ratcheted else position.stop_price
        put_trigger(stop, STOP, -side, price, held, TAG_EXCHANGE_STOP)
    trail = slots[SLOT_TRAIL]
    if guard.trail_callback_ppm > 0 and trail.kind != MARKET:
        put_trailing(trail, -side, held, position.trail_price, guard.trail_callback_ppm, TAG_TRAILING)

    if leaving:
        put_market(leave, -side, held, 1, leave.tag)
        return
    if timeout_ms > 0:
        head.next_ms = min(head.next_ms, position.opened_ms + timeout_ms)
    if watches:
        tag = judge(guard, move, peak, age_ms, timeout_ms, position.armed)
    else:
        tag = TAG_TIMEOUT if timeout_ms > 0 and age_ms >= timeout_ms else TAG_NONE
    if tag != TAG_NONE:
        put_market(leave, -side, held, 1, tag)
        return
    if watches:
        _watch(guard, position, head, side, average, peak, age_ms)


@njit(cache=True)
def _has_levels(guard):
    """Does any rule stand on the mark price in front of the resting orders?"""
    if guard.fixed_stop < 0.0 or guard.trailing_activation > 0.0 or guard.fixed_tp > 0.0:
        return True
    for i in range(TIMED_MAX):  # noqa: SIM110 (numba compiles no generators)
        if guard.timed_within_ms[i] > 0:
            return True
    return False


@njit(cache=True)
def _has_triggers(guard):
    """Does any rule rest on the exchange at a price of its own?"""
    if guard.stop_ppm > 0 or guard.ratchet_ppm > 0:
        return True
    if guard.trail_activation_ppm > 0 or guard.trail_callback_ppm > 0:
        return True
    for i in range(STAGES_MAX):  # noqa: SIM110 (numba compiles no generators)
        if guard.stage_ppm[i] > 0:
            return True
    return False


@njit(cache=True)
def add_nothing_on_the_way_out(slots):
    """A position that is being closed takes no rest of its entry any more."""
    if slots[SLOT_STOP].kind == MARKET or slots[SLOT_EXIT].kind == MARKET or slots[SLOT_TRAIL].kind == MARKET:
        slots[SLOT_ENTRY].kind = NONE


@njit(cache=True)
def _watch(guard, position, head, side, average, peak, age_ms):
    """Every 'no' names when it could become 'yes': a level, a peak, a time."""
    level = stop_level(guard, age_ms)
    arms = guard.trailing_activation > 0.0
    if arms and position.armed:
        trailing = q9(max(peak - guard.trailing_retrace, guard.trailing_floor))
        level = trailing if level == 0.0 else max(level, trailing)
    lower = loss_level(side, average, level) if level != 0.0 else -side * FAR
    upper = profit_level(side, average, guard.fixed_tp) if guard.fixed_tp > 0.0 else side * FAR
    higher = side * FAR
    if arms:
        higher = (
            position.best + side if position.armed else profit_level(side, average, guard.trailing_activation)
        )
    if side == BUY:
        head.fire_lo = max(head.fire_lo, lower)
        head.fire_hi = min(head.fire_hi, upper)
        head.peak_hi = min(head.peak_hi, higher)
    else:
        head.fire_hi = min(head.fire_hi, lower)
        head.fire_lo = max(head.fire_lo, upper)
        head.peak_lo = max(head.peak_lo, higher)
    for i in range(TIMED_MAX):
        if guard.timed_within_ms[i] > 0 and age_ms <= guard.timed_within_ms[i]:
            head.next_ms = min(head.next_ms, position.opened_ms + guard.timed_within_ms[i] + 1)
