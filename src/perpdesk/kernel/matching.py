"""The exchange's rules on a bar: when an order fills, at what price, how much. Prose: docs/simulation.md.

A bar is a path: previous close → open (a jump) → nearer extreme → other extreme → close. The walk is
resumable: it goes on from its cursor to the next single event and stands still until the caller has
settled and reacted; the rest of the path starts at that cursor.
"""

from numba import njit

from perpdesk.kernel.book import clear, is_marketable, touch_trailing, trailing_trigger
from perpdesk.kernel.exact import round_down, round_up
from perpdesk.kernel.records import BUY, FAR, LIMIT, MARKET, NONE, SELL, STOP, TRAILING

# What a walk can stop at besides a slot index.
DONE, POINT, FIRE, LIQUIDATION = -1, -2, -3, -4
_PPM = 1_000_000
_UNLIMITED = 1 << 60


@njit(cache=True)
def begin(walk, previous_close, bar, volume_share_ppm):
    """Put the walk at the start of a bar's path."""
    to_low = bar.open - bar.low
    to_high = bar.high - bar.open
    low_first = to_low < to_high or (to_low == to_high and bar.close >= bar.open)
    walk.leg = 0
    walk.cursor = previous_close
    walk.p0 = bar.open
    walk.p1 = bar.low if low_first else bar.high
    walk.p2 = bar.high if low_first else bar.low
    walk.p3 = bar.close
    walk.open_ms = bar.open_ms
    walk.ms = bar.open_ms
    walk.jump = 0
    walk.dirty = 0
    walk.asked = 0
    if volume_share_ppm <= 0:
        walk.budget_lots = _UNLIMITED
    else:
        volume = bar.volume_lots
        share = volume // _PPM * volume_share_ppm + volume % _PPM * volume_share_ppm // _PPM
        walk.budget_lots = max(1, share) if volume > 0 else 0


@njit(cache=True)
def band(slots, head):
    """Refresh the open price interval inside which no order, level or liquidation can act."""
    lo = max(head.fire_lo, head.liquidation_lo)
    hi = min(head.fire_hi, head.liquidation_hi)
    trails = 0
    crosses = 0
    for k in range(slots.shape[0]):
        slot = slots[k]
        kind = slot.kind
        if kind == NONE:
            crosses |= slot.crossing
        elif kind == LIMIT and slot.crossing == 0:
            if slot.side == BUY:
                lo = max(lo, slot.price - 1)
            else:
                hi = min(hi, slot.price + 1)
        elif kind == MARKET or slot.crossing:
            lo = FAR
            crosses |= slot.crossing
        elif kind == TRAILING:
            trails = 1
            if slot.side == SELL:
                if slot.extreme:
                    lo = max(lo, trailing_trigger(slot))
                    hi = min(hi, slot.extreme + 1)
                else:
                    hi = min(hi, slot.activation)
            elif slot.extreme:
                hi = min(hi, trailing_trigger(slot))
                lo = max(lo, slot.extreme - 1)
            elif slot.activation:
                lo = max(lo, slot.activation)
            else:
                lo = FAR
        else:
            down, price = _event_price(slot)
            if down:
                lo = max(lo, price)
            else:
                hi = min(hi, price)
    head.act_lo = lo
    head.act_hi = hi
    head.lo = max(lo, head.peak_lo)
    head.hi = min(hi, head.peak_hi)
    head.trails = trails
    head.crosses = crosses


@njit(cache=True)
def _event_price(slot):
    """(acts when the price falls to it, price). A resting limit needs a trade through it."""
    if slot.kind == LIMIT:
        return (True, slot.price - 1) if slot.side == BUY else (False, slot.price + 1)
    if slot.kind == TRAILING:
        if slot.extreme == 0:
            return (False, FAR)
        return (slot.side == SELL, trailing_trigger(slot))
    if slot.kind == STOP:
        return (slot.side == SELL, slot.price)
    return (slot.side == BUY, slot.price)  # TAKE_PROFIT


@njit(cache=True)
def _distance(down, price, start, end):
    """How far along the leg start → end the price is reached; -1 if not on this leg."""
    if down:
        if start <= price:
            return 0
        return start - price if end <= price else -1
    if start >= price:
        return 0
    return price - start if end >= price else -1


@njit(cache=True)
def _next_event(slots, head, walk, start, end):
    """(code, price) of the nearest event: at one price liquidation, limits, other orders, levels."""
    best = _UNLIMITED
    code = DONE
    for k in range(slots.shape[0]):
        slot = slots[k]
        kind = slot.kind
        if kind == NONE:
            continue
        rank = 2
        if kind == MARKET:
            if walk.leg == 0 or walk.budget_lots == 0:
                continue
            distance = 0
        elif kind == LIMIT:
            if walk.budget_lots == 0:
                continue
            rank = 1
            if slot.crossing:
                if walk.leg == 0:
                    continue
                distance = 0
            else:
                down, price = _event_price(slot)
                distance = _distance(down, price, start, end)
                if walk.leg == 0 and distance == 0:
                    continue  # it waits for volume at the open; a jump only takes what it crosses
        else:
            if walk.leg == 0:
                continue
            down, price = _event_price(slot)
            distance = _distance(down, price, start, end)
        if distance >= 0 and distance * 4 + rank < best:
            best = distance * 4 + rank
            code = k
    if walk.leg > 0:
        distance = _distance(True, head.liquidation_lo, start, end)
        if distance < 0:
            distance = _distance(False, head.liquidation_hi, start, end)
        if distance >= 0 and distance * 4 < best:
            best = distance * 4
            code = LIQUIDATION
        distance = _distance(True, head.fire_lo, start, end)
        other = _distance(False, head.fire_hi, start, end)
        if distance < 0 or (other >= 0 and other < distance):
            distance = other
        if distance == 0 and walk.asked:
            distance = -1  # told already: whoever has nothing to answer is not asked for ever
        if distance >= 0 and distance * 4 + 3 < best:
            best = distance * 4 + 3
            code = FIRE
    if code == DONE:
        return DONE, start
    distance = best // 4
    return code, start - distance if end < start else start + distance


@njit(cache=True)
def step_path(slots, head, walk, every_point):
    """Go on to the next event: a slot index that acts at walk.cursor, or DONE, POINT, FIRE, LIQUIDATION.

    POINT is answered for the open after a jump that filled something, for a leg that ends at or
    beyond a peak level, and with every_point for each point of the path.
    """
    while walk.leg < 4:
        leg = walk.leg
        start = walk.cursor
        end = walk.p0 if leg == 0 else walk.p1 if leg == 1 else walk.p2 if leg == 2 else walk.p3
        if min(start, end) <= head.act_lo or max(start, end) >= head.act_hi:
            code, price = _next_event(slots, head, walk, start, end)
            if code != DONE:
                walk.jump = 1 if leg == 0 else 0
                if leg > 0 and price != start:
                    walk.cursor = price
                    walk.asked = 0
                    walk.ms = walk.open_ms + _arrival_ms(leg)
                    if head.trails and touch_trailing(slots, price):
                        band(slots, head)
                walk.asked = 1 if code == FIRE else 0
                if code == FIRE:
                    head.fire_lo = -FAR  # asked once; whoever answers sets the next level
                    head.fire_hi = FAR
                return code
        if end != start:
            walk.asked = 0
        walk.cursor = end
        walk.leg = leg + 1
        walk.jump = 0
        walk.ms = walk.open_ms + _arrival_ms(leg)
        if head.trails and touch_trailing(slots, end):
            band(slots, head)
        if leg == 0 and head.crosses and _rest_uncrossed(slots, end):
            band(slots, head)
        if (leg == 0 and walk.dirty) or end <= head.peak_lo or end >= head.peak_hi:
            return POINT
        # where a level is reached its FIRE follows, behind the orders that rest there
        if every_point and end > head.fire_lo and end < head.fire_hi:
            return POINT
    return DONE


@njit(cache=True)
def _arrival_ms(leg):
    """Offset from the bar's open at which the leg's end is reached."""
    return 0 if leg == 0 else 20_000 if leg == 1 else 40_000 if leg == 2 else 59_999


@njit(cache=True)
def _rest_uncrossed(slots, opening):
    """A limit that was marketable at the close but is not at the open rests like any other; True if one."""
    changed = False
    for k in range(slots.shape[0]):
        slot = slots[k]
        if slot.crossing and not (slot.kind == LIMIT and is_marketable(slot.side, slot.price, opening)):
            slot.crossing = 0
            changed = True
    return changed


@njit(cache=True)
def slipped(side, price, slippage_ppm, tick):
    """A market price after slippage, on the tick, never better than the cursor."""
    if side == BUY:
        return round_up(-((-price * (_PPM + slippage_ppm)) // _PPM), tick)
    return max(tick, round_down(price * (_PPM - slippage_ppm) // _PPM, tick))


@njit(cache=True)
def execute(slot, walk, held_lots, instrument, slippage_ppm):
    """(lots, price, taker) that a slot trades now; 0 lots: it has only triggered, or has expired."""
    lots = slot.lots
    if slot.reduce_only:
        lots = min(lots, max(0, -slot.side * held_lots))
    lots = min(lots, walk.budget_lots)
    if slot.kind == LIMIT:
        if not slot.crossing:
            return lots, slot.price, 0
        price = slipped(slot.side, walk.cursor, slippage_ppm, instrument.tick)
        return lots, min(price, slot.price) if slot.side == BUY else max(price, slot.price), 1
    return lots, slipped(slot.side, walk.cursor, slippage_ppm, instrument.tick), 1


@njit(cache=True)
def after_execution(slot, lots, held_lots, ms):
    """Update a slot that has acted: what remains works on, a triggered order as a market order.

    held_lots is the position afterwards. A reduce-only order with nothing left to reduce expires.
    """
    if lots > 0:
        slot.lots -= lots
        if slot.side == BUY:
            slot.bought += lots
        else:
            slot.sold += lots
        slot.last_ms = ms
    if slot.lots == 0 or (slot.reduce_only and -slot.side * held_lots <= 0):
        clear(slot)
    elif slot.kind >= STOP:
        slot.kind = MARKET
        slot.price = 0
        slot.activation = 0
        slot.callback_ppm = 0
        slot.extreme = 0
