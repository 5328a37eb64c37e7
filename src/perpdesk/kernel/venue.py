"""The exchange's side of a bar, for a venue that keeps its own book and wallet.

The same matching as the compiled loop, but one event at a time: the caller (the in-process venue)
carries each event to the engine and comes back when the engine has answered. Doors over arrays.
Shapes: account [1]; instruments, walks [N]; positions, heads [1, N]; books [1, N, places].
"""

from numba import njit

from perpdesk.kernel.book import is_marketable, touch_trailing
from perpdesk.kernel.ledger import (
    fee_e8,
    pay_funding,
    relevel,
    relevel_all,
    settle,
    settle_liquidation,
)
from perpdesk.kernel.matching import (
    LIQUIDATION,
    after_execution,
    band,
    begin,
    execute,
    slipped,
    step_path,
)
from perpdesk.kernel.records import ABSENT_MS, CROSS, FAR, LIMIT, NONE, TAG_LIQUIDATION, TAG_NONE


@njit(cache=True)
def touched(heads, bars, every_point, out):
    """Write the symbols whose bar can act on something into out; returns how many."""
    count = 0
    for s in range(bars.shape[0]):
        bar = bars[s]
        if bar.open_ms == ABSENT_MS:
            continue
        head = heads[0, s]
        if every_point or bar.low <= head.lo or bar.high >= head.hi:
            out[count] = s
            count += 1
    return count


@njit(cache=True)
def open_bar(account, heads, walks, bars, s):
    """Put symbol s at the start of its bar."""
    bar = bars[s]
    head = heads[0, s]
    begin(walks[s], head.last if head.last > 0 else bar.open, bar, account[0].volume_share_ppm)


@njit(cache=True)
def next_event(account, instruments, positions, books, heads, walks, s, every_point):
    """The next event of symbol s: (code, side, price, lots, taker, fee_e8, ms, in the jump, cursor).

    code: a place in the book that traded (lots 0: only triggered), or DONE, POINT, FIRE, LIQUIDATION.
    """
    acct = account[0]
    instrument = instruments[s]
    position = positions[0, s]
    head = heads[0, s]
    walk = walks[s]
    book = books[0, s]
    code = step_path(book, head, walk, every_point)
    if code >= 0:
        slot = book[code]
        side = slot.side
        lots, price, taker = execute(slot, walk, position.lots, instrument, acct.slippage_ppm)
        fee = 0
        if lots > 0:
            walk.budget_lots -= lots
            fee = fee_e8(
                lots * price * instrument.unit_e8, instrument.taker_ppm if taker else instrument.maker_ppm
            )
            settle(acct, position, instrument, side, price, lots, fee, TAG_NONE, walk.ms)
            if walk.jump:
                walk.dirty = 1
        after_execution(slot, lots, position.lots, walk.ms)
        _relevel(account, instruments, positions, books, heads, s)
        return code, side, price, lots, taker, fee, walk.ms, walk.jump, walk.cursor
    if code == LIQUIDATION:
        side = -1 if position.lots > 0 else 1
        lots = abs(position.lots)
        price = slipped(side, walk.cursor, acct.slippage_ppm, instrument.tick)
        fee = fee_e8(lots * price * instrument.unit_e8, instrument.taker_ppm + instrument.liquidation_fee_ppm)
        settle_liquidation(acct, position, instrument, price, fee, TAG_LIQUIDATION, walk.ms)
        for k in range(book.shape[0]):
            book[k].kind = NONE
        _relevel(account, instruments, positions, books, heads, s)
        return code, side, price, lots, 1, fee, walk.ms, 0, walk.cursor
    return code, 0, 0, 0, 0, 0, walk.ms, 0, walk.cursor


@njit(cache=True)
def _relevel(account, instruments, positions, books, heads, s):
    position = positions[0, s]
    if account[0].margin_mode == CROSS:
        relevel_all(account[0], instruments, positions, heads)
        for i in range(positions.shape[1]):
            if positions[0, i].lots != 0:
                band(books[0, i], heads[0, i])
    if position.lots == 0 or account[0].margin_mode != CROSS:
        relevel(position, instruments[s], heads[0, s], position.margin_e8)
    band(books[0, s], heads[0, s])


@njit(cache=True)
def accept(
    books,
    heads,
    s,
    place,
    kind,
    side,
    price,
    lots,
    reduce_only,
    activation,
    callback_ppm,
    leverage,
    positions,
    market,
):
    """Put an order into the book at a market price (the cursor or the last close)."""
    slot = books[0, s, place]
    slot.kind = kind
    slot.side = side
    slot.price = price
    slot.lots = lots
    slot.reduce_only = reduce_only
    slot.activation = activation
    slot.callback_ppm = callback_ppm
    slot.extreme = 0
    slot.crossing = 1 if kind == LIMIT and is_marketable(side, price, market) else 0
    if positions[0, s].lots == 0:
        positions[0, s].leverage = leverage
    touch_trailing(books[0, s], market)
    band(books[0, s], heads[0, s])


@njit(cache=True)
def withdraw(books, heads, s, place):
    """Take an order out of the book."""
    books[0, s, place].kind = NONE
    band(books[0, s], heads[0, s])


@njit(cache=True)
def watch(books, heads, s, fire_lo, fire_hi, peak_lo, peak_hi):
    """Set the price levels at which the engine wants to be told where the path stands."""
    head = heads[0, s]
    head.fire_lo = fire_lo
    head.fire_hi = fire_hi
    head.peak_lo = peak_lo
    head.peak_hi = peak_hi
    band(books[0, s], head)


@njit(cache=True)
def close_bars(heads, bars, first, last, now_ms):
    """The bars of symbols first..last-1 are over: their closes are the last prices from here on."""
    for s in range(first, last):
        if bars[s].open_ms != ABSENT_MS:
            heads[0, s].last = bars[s].close
            heads[0, s].step_ms = now_ms


@njit(cache=True)
def close_minute(account, instruments, positions, books, heads):
    """End of a minute, cross margin: everybody's liquidation price moves with all the marks."""
    if account[0].margin_mode == CROSS and account[0].open_positions > 0:
        relevel_all(account[0], instruments, positions, heads)
        for s in range(positions.shape[1]):
            if positions[0, s].lots != 0:
                band(books[0, s], heads[0, s])


@njit(cache=True)
def fund(account, instruments, positions, books, heads, s, rate_e8, mark):
    """Charge or credit one funding payment on the exchange's own position; returns it."""
    paid = pay_funding(account[0], positions[0, s], instruments[s], rate_e8, mark)
    _relevel(account, instruments, positions, books, heads, s)
    return paid


@njit(cache=True)
def differences(slots, mirror, v, s, out):
    """Write the slots whose wanted order differs from the open one into out; returns how many."""
    count = 0
    for k in range(slots.shape[2]):
        a = slots[v, s, k]
        b = mirror[v, s, k]
        if a.kind == NONE and b.kind == NONE:
            continue
        if (
            a.kind != b.kind
            or a.side != b.side
            or a.lots != b.lots
            or a.price != b.price
            or a.reduce_only != b.reduce_only
            or a.activation != b.activation
            or a.callback_ppm != b.callback_ppm
        ):
            out[count] = k
            count += 1
    return count


@njit(cache=True)
def levels(heads, s):
    """What all sleeves together watch on symbol s: (fire_lo, fire_hi, peak_lo, peak_hi)."""
    fire_lo = -FAR
    fire_hi = FAR
    peak_lo = -FAR
    peak_hi = FAR
    for v in range(heads.shape[0]):
        head = heads[v, s]
        fire_lo = max(fire_lo, head.fire_lo)
        fire_hi = min(fire_hi, head.fire_hi)
        peak_lo = max(peak_lo, head.peak_lo)
        peak_hi = min(peak_hi, head.peak_hi)
    return fire_lo, fire_hi, peak_lo, peak_hi
