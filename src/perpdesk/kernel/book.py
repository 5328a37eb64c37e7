"""A symbol's order slots: place, keep, clear.

Placing what is already there keeps it as it is (its queue position and what a trailing order has
seen survive); anything different is a new order. The executor applies the same rule to the exchange.
"""

from numba import njit

from perpdesk.kernel.records import (
    BUY,
    LIMIT,
    MARKET,
    NONE,
    SELL,
    SLOT_ENTRY,
    SLOT_EXIT,
    SLOT_STOP,
    SLOT_TRAIL,
    STOP,
    TRAILING,
)


@njit(cache=True)
def _put(slot, kind, side, price, lots, reduce_only, activation, callback_ppm, tag):
    """Write the order; True if it is a new one."""
    slot.tag = tag
    if (
        slot.kind == kind
        and slot.side == side
        and slot.price == price
        and slot.lots == lots
        and slot.reduce_only == reduce_only
        and slot.activation == activation
        and slot.callback_ppm == callback_ppm
    ):
        return False
    slot.kind = kind
    slot.side = side
    slot.price = price
    slot.lots = lots
    slot.reduce_only = reduce_only
    slot.activation = activation
    slot.callback_ppm = callback_ppm
    slot.extreme = 0
    slot.crossing = 0
    return True


@njit(cache=True)
def put_market(slot, side, lots, reduce_only, tag):
    """Want a MARKET order."""
    _put(slot, MARKET, side, 0, lots, reduce_only, 0, 0, tag)


@njit(cache=True)
def put_limit(slot, side, price, lots, reduce_only, tag, last):
    """Want a LIMIT order; last tells whether it is marketable as it is placed."""
    if _put(slot, LIMIT, side, price, lots, reduce_only, 0, 0, tag):
        slot.crossing = 1 if is_marketable(side, price, last) else 0


@njit(cache=True)
def put_trigger(slot, kind, side, price, lots, tag):
    """Want a reduce-only STOP or TAKE_PROFIT with this trigger price."""
    _put(slot, kind, side, price, lots, 1, 0, 0, tag)


@njit(cache=True)
def put_trailing(slot, side, lots, activation, callback_ppm, tag):
    """Want a reduce-only TRAILING order that arms at the activation price (0: at once)."""
    _put(slot, TRAILING, side, 0, lots, 1, activation, callback_ppm, tag)


@njit(cache=True)
def is_marketable(side, price, last):
    """Would a limit at this price trade at once?"""
    return price >= last if side == BUY else price <= last


@njit(cache=True)
def clear(slot):
    """Want nothing here."""
    slot.kind = NONE


@njit(cache=True)
def clear_shared(slots):
    """A position is flat: its entry remainder and all its exits are no longer wanted."""
    slots[SLOT_ENTRY].kind = NONE
    slots[SLOT_STOP].kind = NONE
    slots[SLOT_EXIT].kind = NONE
    slots[SLOT_TRAIL].kind = NONE


@njit(cache=True)
def clear_all(slots):
    """The exchange cancelled everything on this symbol (liquidation)."""
    for k in range(slots.shape[0]):
        slots[k].kind = NONE


@njit(cache=True)
def trailing_trigger(slot):
    """The price at which an active trailing order fires now."""
    if slot.side == SELL:
        return slot.extreme - slot.extreme * slot.callback_ppm // 1_000_000
    return slot.extreme + slot.extreme * slot.callback_ppm // 1_000_000


@njit(cache=True)
def touch_trailing(slots, price):
    """Let every trailing order see a price; True if one armed or moved."""
    changed = False
    for k in range(slots.shape[0]):
        slot = slots[k]
        if slot.kind != TRAILING:
            continue
        if slot.side == SELL:
            better = price > slot.extreme if slot.extreme else price >= slot.activation
        else:
            better = (
                price < slot.extreme if slot.extreme else (slot.activation == 0 or price <= slot.activation)
            )
        if better:
            slot.extreme = price
            changed = True
    return changed


@njit(cache=True)
def is_conditional(kind):
    """Does an order of this kind wait for a trigger?"""
    return kind >= STOP
