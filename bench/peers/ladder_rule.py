"""W4 as compiled functions over integers, for those without limit orders of their own: bare loop, vectorbt.

``bar`` walks one bar, ``settle_down`` places what is wanted at its close. Levels 0 … 9 buy first, the others
sell first.
"""

from __future__ import annotations

import numpy as np
from ladder import LEVELS, MAKER_FRACTION, SLIPPAGE_FRACTION, STEP_FRACTION, TAKER_FRACTION
from numba import njit

PPM = 1_000_000
FAR = 1 << 60
STEP, MAKER, TAKER, SLIPPAGE = (
    round(fraction * PPM) for fraction in (STEP_FRACTION, MAKER_FRACTION, TAKER_FRACTION, SLIPPAGE_FRACTION)
)
NONE, ENTRY, EXIT = 0, 1, 2  # what rests at a level
FILLS_MAX = 2 * LEVELS + 1  # of one bar

level_dt = np.dtype(
    [(name, "i8") for name in ("entry", "leave", "price", "resting", "held", "crossing")], align=True
)
ends_dt = np.dtype([(name, "i8") for name in ("lo", "hi", "net", "alive")], align=True)
fill_dt = np.dtype([(name, "i8") for name in ("lots", "price", "fee_ppm")], align=True)  # lots < 0: sold


@njit(inline="always")
def slipped(buys, price):
    """A market price after slippage."""
    return -(-price * (PPM + SLIPPAGE) // PPM) if buys else price * (PPM - SLIPPAGE) // PPM


@njit(inline="always")
def bar(levels, ends, out, notional, before, open_, high, low, close):
    """One bar: previous close → open → nearer extreme → other extreme → close. Returns the fills made."""
    fills = 0
    low_first = open_ - low < high - open_ or (open_ - low == high - open_ and close >= open_)
    at = before
    for leg in range(4):
        end = open_
        if leg == 3:
            end = close
        elif leg > 0:
            end = low if (leg == 1) == low_first else high
        # the ladder's end comes before whatever lies beyond it, unless the price jumps
        lowest = end if leg == 0 else max(end, ends.lo)
        highest = end if leg == 0 else min(end, ends.hi)
        for k in range(2 * LEVELS):
            level = levels[k]
            if level.resting == NONE:
                continue
            buys = (k < LEVELS) == (level.resting == ENTRY)
            price = level.price
            fee = MAKER
            if level.crossing:  # marketable as it was placed: at the open, or it rests from there on
                if leg == 0:
                    continue
                level.crossing = 0
                if price >= at if buys else price <= at:
                    price = min(price, slipped(True, at)) if buys else max(price, slipped(False, at))
                    fee = TAKER
            if fee == MAKER and (lowest >= price if buys else highest <= price):
                continue
            lots = level.held if level.resting == EXIT else notional // price
            level.held = 0 if level.resting == EXIT else lots
            level.resting = NONE
            out[fills].lots = lots if buys else -lots
            out[fills].price = price
            out[fills].fee_ppm = fee
            ends.net += out[fills].lots
            fills += 1
        if end <= ends.lo or end >= ends.hi:
            if ends.net != 0:
                out[fills].lots = -ends.net
                out[fills].price = slipped(ends.net < 0, lowest if end <= ends.lo else highest)
                out[fills].fee_ppm = TAKER
                fills += 1
            ends.alive = 0
            break
        at = end
    return fills


@njit(inline="always")
def settle_down(levels, ends, close):
    """At the close: a new ladder if there is none, then every level's order.

    Returns the prices (exclusive) between which nothing happens.
    """
    if ends.alive == 0:
        step = (close * STEP * 2 + PPM) // (2 * PPM)
        for k in range(LEVELS):
            levels[k].entry = close - (k + 1) * step
            levels[k].leave = close - k * step
            levels[LEVELS + k].entry = close + (k + 1) * step
            levels[LEVELS + k].leave = close + k * step
        for k in range(2 * LEVELS):
            levels[k].held = 0
            levels[k].crossing = 0
            levels[k].resting = NONE
        ends.net = 0
        ends.lo = close - LEVELS * step
        ends.hi = close + LEVELS * step
        ends.alive = 1
    lo = ends.lo
    hi = ends.hi
    for k in range(2 * LEVELS):
        level = levels[k]
        if level.resting == NONE:
            below = k < LEVELS
            if level.held:
                level.resting = EXIT
                level.price = level.leave
                level.crossing = level.price <= close if below else level.price >= close
            elif level.entry < close if below else level.entry > close:
                level.resting = ENTRY
                level.price = level.entry
        if level.resting == NONE or level.crossing:
            lo = FAR  # to be looked at at the next close
        elif (k < LEVELS) == (level.resting == ENTRY):
            lo = max(lo, level.price - 1)
        else:
            hi = min(hi, level.price + 1)
    return lo, hi
