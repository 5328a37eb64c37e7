"""The compiled step loop. A template: bind.py loads it once per strategy as its own module and puts the
strategy's advance, want and observe in as module globals, called directly. Never imported by name.

Arrays: V sleeves, N symbols, K slots. Every function takes arrays, so that it is also a cheap door for
Python (an engine call costs microseconds; passing records from Python costs more).
"""

# ruff: noqa: F821  (advance, want, observe, OBSERVES and OPENS are put in by bind.py)

from numba import njit

from perpdesk.kernel.book import clear_all, clear_shared, touch_trailing
from perpdesk.kernel.borrow import borrowed
from perpdesk.kernel.building import build
from perpdesk.kernel.gate import judge_step, tell_entries
from perpdesk.kernel.guard import add_nothing_on_the_way_out, protect
from perpdesk.kernel.ledger import (
    fee_e8,
    is_quiet,
    mark_step,
    pay_funding,
    rate_for,
    receive_funding,
    relevel,
    relevel_all,
    settle,
    settle_liquidation,
    sign,
    unrealised_all_e8,
    unrealised_e8,
)
from perpdesk.kernel.matching import (
    DONE,
    LIQUIDATION,
    POINT,
    after_execution,
    band,
    begin,
    execute,
    slipped,
    step_path,
)
from perpdesk.kernel.records import (
    ABSENT_MS,
    CROSS,
    DAY_MS,
    FAR,
    MINUTE_MS,
    RATING_DAILY_MS,
    SLOT_STOP,
    TAG_LIQUIDATION,
    VERDICT_NONE,
)


@njit(cache=True)
def _react(params, guard, shared, state, instrument, position, slots, head, last, now_ms, in_path):
    """guard → want for one sleeve and symbol: writes its wanted slots and its candidate, nothing else."""
    head.next_ms = FAR
    head.fire_lo = -FAR
    head.fire_hi = FAR
    head.peak_lo = -FAR
    head.peak_hi = FAR
    head.calm = 0
    if in_path == 0:
        head.cand_side = 0
        head.cand_batch = 0
        head.cand_plan = 0
        head.cand_veto = VERDICT_NONE
    protect(guard, instrument, position, slots, head, last, now_ms, in_path)
    want(params, shared, state, position, slots, head, last, now_ms, in_path)
    if head.plan.lots != 0:
        build(position, slots, head, instrument, now_ms, in_path)
    add_nothing_on_the_way_out(slots)
    band(slots, head)
    if head.trails and touch_trailing(slots, last):
        band(slots, head)


@njit(cache=True)
def _book_fill(acct, position, instrument, slots, head, k, side, price, lots, fee, tag, ms):
    """Settle one fill of slot k; returns the realised profit. The caller refreshes the band."""
    realised = settle(acct, position, instrument, side, price, lots, fee, tag, ms)
    after_execution(slots[k], lots, position.lots, ms)
    if position.lots == 0:
        clear_shared(slots)
    relevel(position, instrument, head, position.margin_e8)
    return realised


@njit(cache=True)
def _book_liquidation(acct, position, instrument, slots, head, price, fee, ms):
    """The exchange closed the position and cancelled the symbol's orders; returns what was realised."""
    realised = settle_liquidation(acct, position, instrument, price, fee, TAG_LIQUIDATION, ms)
    clear_all(slots)
    relevel(position, instrument, head, 0)
    band(slots, head)
    return realised


@njit(cache=True)
def _relevel_cross(acct, instruments, positions, slots, heads):
    relevel_all(acct, instruments, positions, heads)
    for v in range(positions.shape[0]):
        for s in range(positions.shape[1]):
            if positions[v, s].lots != 0:
                band(slots[v, s], heads[v, s])


# The doors of an engine. v: sleeve, s: symbol, k: slot.


@njit(cache=True)
def react(params, guards, shared, states, instruments, positions, slots, heads, v, s, last, now_ms, in_path):
    """Ask one sleeve about one symbol; answers whether it has a candidate entry."""
    _react(
        params[0], guards[0], shared[0], states[s], instruments[s], positions[v, s], slots[v, s], heads[v, s],
        last, now_ms, in_path,
    )  # fmt: skip
    return heads[v, s].cand_side != 0


@njit(cache=True)
def book_fill(account, instruments, positions, slots, heads, v, s, k, side, price, lots, fee, tag, ms):
    """Settle one fill of slot k in the sleeve's books; returns the realised profit."""
    acct = account[0]
    realised = _book_fill(
        acct, positions[v, s], instruments[s], slots[v, s], heads[v, s], k, side, price, lots, fee, tag, ms
    )
    band(slots[v, s], heads[v, s])
    if acct.margin_mode == CROSS:
        _relevel_cross(acct, instruments, positions, slots, heads)
    return realised


@njit(cache=True)
def book_outside(account, instruments, positions, slots, heads, v, s, side, price, lots, fee, tag, ms):
    """Settle a fill that no slot of the sleeve asked for (a person, the disaster stop, a late answer).

    Returns the realised profit. The slots stay as they are until the next reaction.
    """
    acct = account[0]
    position = positions[v, s]
    realised = settle(acct, position, instruments[s], side, price, lots, fee, tag, ms)
    if position.lots == 0:
        clear_shared(slots[v, s])
    relevel(position, instruments[s], heads[v, s], position.margin_e8)
    band(slots[v, s], heads[v, s])
    if acct.margin_mode == CROSS:
        _relevel_cross(acct, instruments, positions, slots, heads)
    return realised


@njit(cache=True)
def book_trigger(positions, slots, heads, v, s, k):
    """Slot k triggered without a fill (no volume yet): from now on it works as a market order."""
    after_execution(slots[v, s, k], 0, positions[v, s].lots, 0)
    band(slots[v, s], heads[v, s])


@njit(cache=True)
def book_liquidation(account, instruments, positions, slots, heads, v, s, price, fee, ms):
    """The exchange closed the position and cancelled the symbol's orders; returns what was realised."""
    acct = account[0]
    realised = _book_liquidation(
        acct, positions[v, s], instruments[s], slots[v, s], heads[v, s], price, fee, ms
    )
    if acct.margin_mode == CROSS:
        _relevel_cross(acct, instruments, positions, slots, heads)
    return realised


@njit(cache=True)
def book_difference(account, positions, v, s, amount):
    """Give a sleeve what the exchange realised on the netted position beyond the sleeves' own sums."""
    account[0].realised_e8 += amount
    account[0].cash_e8 += amount
    positions[v, s].realised_e8 += amount


@njit(cache=True)
def _after_funding(acct, instruments, positions, slots, heads, v, s):
    if acct.margin_mode == CROSS:
        _relevel_cross(acct, instruments, positions, slots, heads)
    else:
        relevel(positions[v, s], instruments[s], heads[v, s], positions[v, s].margin_e8)
        band(slots[v, s], heads[v, s])


@njit(cache=True)
def book_funding(account, instruments, positions, slots, heads, v, s, rate_e8, mark):
    """One funding payment of a sleeve; returns it (> 0: received)."""
    paid = pay_funding(account[0], positions[v, s], instruments[s], rate_e8, mark)
    _after_funding(account[0], instruments, positions, slots, heads, v, s)
    return paid


@njit(cache=True)
def book_funding_amount(account, instruments, positions, slots, heads, v, s, paid):
    """A sleeve's part of what the exchange itself has booked (> 0: received)."""
    receive_funding(account[0], positions[v, s], paid)
    _after_funding(account[0], instruments, positions, slots, heads, v, s)


@njit(cache=True)
def close_step(account, sleeves, instruments, positions, slots, heads, unrealised, candidates, now_ms):
    """After all symbols of a step: equity, breaker, margin levels, then the gate."""
    acct = account[0]
    mark_step(acct, unrealised, now_ms)
    tell_entries(acct, heads, now_ms)
    if acct.margin_mode == CROSS and acct.open_positions > 0:
        _relevel_cross(acct, instruments, positions, slots, heads)
    if candidates > 0:
        judge_step(acct, sleeves, instruments, positions, slots, heads, now_ms)


@njit(cache=True)
def advance_step(params, shared, states, heads, v, bars, now_ms, asked):
    """Feed one step of closed bars to every symbol; asked[s] = 1 where the strategy wants to be asked.

    Returns the number of bars present. bars: [N] of bar_dt.
    """
    if OBSERVES:
        observe(params[0], shared[0], bars)
    present = 0
    for s in range(bars.shape[0]):
        asked[s] = 0
        bar = bars[s]
        if bar.open_ms == ABSENT_MS:
            continue
        present += 1
        head = heads[v, s]
        head.last = bar.close
        head.step_ms = now_ms
        if advance(params[0], shared[0], states[s], bar) or now_ms >= head.next_ms:
            asked[s] = 1
    return present


@njit(cache=True)
def unrealised_now(instruments, positions, heads):
    """Unrealised profit of all sleeves at the last closes."""
    return unrealised_all_e8(instruments, positions, heads)


@njit(cache=True)
def fills_reserved(symbols):
    """Rows of the fills buffer kept free for one step."""
    return 4096 + 64 * symbols


@njit(cache=True)
def _record(fill, ms, v, s, k, side, price, lots, taker, tag, fee, realised, held, cash):
    fill.ms = ms
    fill.sleeve = v
    fill.symbol = s
    fill.slot = k
    fill.side = side
    fill.price = price
    fill.lots = lots
    fill.taker = taker
    fill.tag = tag
    fill.fee_e8 = fee
    fill.realised_e8 = realised
    fill.held_lots = held
    fill.cash_e8 = cash


@njit(cache=True)
def _walk_bar(
    params, guard, shared, state, acct, instrument, position, own, head, walk, s, bar, fills, n, every_point,
    instruments, positions, slots, heads,
):  # fmt: skip
    """One bar's path of one symbol: match → settle → react until it is done. Returns (fills, acted)."""
    begin(walk, head.last if head.last > 0 else bar.open, bar, acct.volume_share_ppm)
    acted = 0
    while True:
        code = step_path(own, head, walk, every_point)
        if code == DONE:
            return n, acted
        if code != POINT:
            acted = 1
        if n >= fills.shape[0]:
            raise OverflowError(
                "a minute has more fills than the buffer holds: an order is re-placed for ever"
            )
        if code >= 0:
            slot = own[code]
            side = slot.side
            tag = slot.tag
            lots, price, taker = execute(slot, walk, position.lots, instrument, acct.slippage_ppm)
            if lots == 0:
                after_execution(slot, 0, position.lots, 0)
                band(own, head)
                continue
            walk.budget_lots -= lots
            fee = fee_e8(
                lots * price * instrument.unit_e8, instrument.taker_ppm if taker else instrument.maker_ppm
            )
            realised = _book_fill(
                acct, position, instrument, own, head, code, side, price, lots, fee, tag, walk.ms
            )
            _record(
                fills[n],
                walk.ms,
                0,
                s,
                code,
                side,
                price,
                lots,
                taker,
                tag,
                fee,
                realised,
                position.lots,
                acct.cash_e8,
            )
            n += 1
            if acct.margin_mode == CROSS:
                _relevel_cross(acct, instruments, positions, slots, heads)
            if walk.jump:  # inside a jump nobody can act: one reaction at the open
                walk.dirty = 1
                band(own, head)
                continue
        elif code == LIQUIDATION:
            side = -1 if position.lots > 0 else 1
            lots = abs(position.lots)
            price = slipped(side, walk.cursor, acct.slippage_ppm, instrument.tick)
            fee = fee_e8(
                lots * price * instrument.unit_e8, instrument.taker_ppm + instrument.liquidation_fee_ppm
            )
            realised = _book_liquidation(acct, position, instrument, own, head, price, fee, walk.ms)
            _record(
                fills[n],
                walk.ms,
                0,
                s,
                SLOT_STOP,
                side,
                price,
                lots,
                1,
                TAG_LIQUIDATION,
                fee,
                realised,
                0,
                acct.cash_e8,
            )
            n += 1
            if acct.margin_mode == CROSS:
                _relevel_cross(acct, instruments, positions, slots, heads)
        _react(params, guard, shared, state, instrument, position, own, head, walk.cursor, head.step_ms, 1)
        if head.calm == 0:
            acted = 1


@njit(cache=True)
def _walk_if_touched(
    params, guard, shared, state, acct, instrument, position, own, head, walk, s, bar, fills, n, every_point,
    instruments, positions, slots, heads,
):  # fmt: skip
    """The walk of a bar that leaves its band. Returns (fills, acted)."""
    if every_point or bar.low <= head.lo or bar.high >= head.hi:
        return _walk_bar(
            params, guard, shared, state, acct, instrument, position, own, head, walk, s, bar, fills, n,
            every_point, instruments, positions, slots, heads,
        )  # fmt: skip
    return n, 0


@njit(cache=True)
def _pass_quiet(params, shared, state, acct, instrument, position, head, bars, first_ms, start, end_ms):
    """Go over the minutes of a lone symbol in which nothing happens: the same as one step after the other.

    Returns (the first minute to be stepped through, has the strategy asked in it?); in one that it asked
    in, its bar is fed already. end_ms: a step that ends then, or later, is not passed.
    """
    lo = head.lo
    hi = head.hi
    end_ms = min(end_ms, min(head.next_ms, acct.day_end_ms))
    size_e8 = position.lots * instrument.unit_e8
    base_e8 = acct.cash_e8 - sign(position.lots) * position.cost_e8
    highest_e8 = acct.equity_peak_e8
    lowest_e8 = max(acct.equity_floor_e8, acct.trip_e8 + 1)
    equity = acct.equity_e8
    asks = False
    t = start
    while t < bars.shape[0] and not asks:
        bar = bars[t, 0]
        if bar.open_ms == ABSENT_MS or bar.low <= lo or bar.high >= hi:
            break
        now_equity = base_e8 + size_e8 * bar.close
        if now_equity > highest_e8 or now_equity < lowest_e8 or first_ms + (t + 1) * MINUTE_MS >= end_ms:
            break
        asks = advance(params, shared, state, bar)
        if not asks:
            equity = now_equity
            t += 1
    if t > start:
        head.last = bars[t - 1, 0].close
        head.step_ms = first_ms + t * MINUTE_MS
        acct.equity_e8 = equity
    return t, asks


@njit(cache=True)
def run(
    params, guards, shared, states, account, sleeves, instruments, positions, slots, heads, walks,
    bars, first_ms, funding, funding_at, fills, start, skip, counters,
):  # fmt: skip
    """Replay bars[start:, N] (time-major, one row per minute from first_ms) through the step.

    Stops early, between two steps, when fills could overflow in the next one, or (``stops_at_close``) when
    a position has closed. With skip a bar that stays
    inside its band, before next_ms, and whose strategy did not ask, is not walked: the results are the same.
    Returns (steps done, fills written, next funding row).
    """
    params, guards, shared, states = borrowed(params), borrowed(guards), borrowed(shared), borrowed(states)
    sleeves, instruments, positions = borrowed(sleeves), borrowed(instruments), borrowed(positions)
    slots, heads, walks, fills = borrowed(slots), borrowed(heads), borrowed(walks), borrowed(fills)
    bars = borrowed(bars)
    steps = bars.shape[0]
    symbols = bars.shape[1]
    acct = account[0]
    n = 0
    room = fills.shape[0] - fills_reserved(symbols)
    every_point = not skip
    crossed = acct.margin_mode == CROSS
    walked = 0
    asked = 0
    present = 0
    alone = symbols == 1 and skip and not OBSERVES and not crossed and not acct.stops_at_close
    asks = False
    t = start
    while t < steps and n <= room:
        if alone:
            end_ms = funding[funding_at].ms if funding_at < funding.shape[0] else FAR
            begun = t
            t, asks = _pass_quiet(
                params[0], shared[0], states[0], acct, instruments[0], positions[0, 0], heads[0, 0], bars,
                first_ms, t, end_ms,
            )  # fmt: skip
            present += t - begun
            if t == steps:
                break
        now_ms = first_ms + (t + 1) * MINUTE_MS
        trips = acct.round_trips
        unrealised = 0
        candidates = 0
        if OBSERVES:  # what is observed of a minute must not be known inside it: all paths first
            for s in range(symbols):
                bar = bars[t, s]
                if bar.open_ms != ABSENT_MS:
                    n, walks[s].acted = _walk_if_touched(
                        params[0], guards[0], shared[0], states[s], acct, instruments[s], positions[0, s],
                        slots[0, s], heads[0, s], walks[s], s, bar, fills, n, every_point, instruments,
                        positions, slots, heads,
                    )  # fmt: skip
                    heads[0, s].last = bar.close
                    heads[0, s].step_ms = now_ms
            observe(params[0], shared[0], bars[t])
        for s in range(symbols):
            bar = bars[t, s]
            head = heads[0, s]
            if bar.open_ms == ABSENT_MS:
                if head.held:
                    unrealised += unrealised_e8(positions[0, s], instruments[s], head.last)
                continue
            present += 1
            if OBSERVES:
                acted = walks[s].acted
            elif every_point or bar.low <= head.lo or bar.high >= head.hi:
                n, acted = _walk_bar(
                    params[0], guards[0], shared[0], states[s], acct, instruments[s], positions[0, s],
                    slots[0, s], head, walks[s], s, bar, fills, n, every_point, instruments, positions, slots,
                    heads,
                )  # fmt: skip
                walked += 1
            else:
                acted = 0
            head.last = bar.close
            head.step_ms = now_ms
            if (
                asks
                or advance(params[0], shared[0], states[s], bar)
                or acted
                or now_ms >= head.next_ms
                or every_point
            ):
                _react(
                    params[0], guards[0], shared[0], states[s], instruments[s], positions[0, s],
                    slots[0, s], head, bar.close, now_ms, 0,
                )  # fmt: skip
                asked += 1
                if head.cand_side != 0:
                    candidates += 1
            if head.held:
                unrealised += unrealised_e8(positions[0, s], instruments[s], bar.close)
        while funding_at < funding.shape[0] and funding[funding_at].ms <= now_ms:
            row = funding[funding_at]
            funding_at += 1
            if row.ms == now_ms and positions[0, row.symbol].lots != 0:
                mark = row.mark if row.mark > 0 else heads[0, row.symbol].last
                rate = rate_for(row.rate_e8, row.mark, positions[0, row.symbol].lots)
                book_funding(account, instruments, positions, slots, heads, 0, row.symbol, rate, mark)
                if OPENS:  # what it watches may stand elsewhere now
                    _react(
                        params[0], guards[0], shared[0], states[row.symbol], instruments[row.symbol],
                        positions[0, row.symbol], slots[0, row.symbol], heads[0, row.symbol],
                        heads[0, row.symbol].last, now_ms, 1,
                    )  # fmt: skip
        if candidates > 0 or (crossed and acct.open_positions > 0):
            close_step(account, sleeves, instruments, positions, slots, heads, unrealised, candidates, now_ms)
        else:
            equity = acct.cash_e8 + unrealised
            if is_quiet(acct, equity, now_ms):
                acct.equity_e8 = equity
            else:
                mark_step(acct, unrealised, now_ms)
                if OPENS:
                    tell_entries(acct, heads, now_ms)
        t += 1
        if acct.stops_at_close and (acct.round_trips != trips or now_ms % DAY_MS == RATING_DAILY_MS):
            break
    counters[0].bars += present
    counters[0].walked += walked
    counters[0].asked += asked
    return t, n, funding_at
