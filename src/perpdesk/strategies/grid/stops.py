"""What a run is worth at a price, and the price at which it must end.

Money is 1e-8 of the quote currency. A run's worth counts what it would cost to leave: taker fee and
slippage on everything held. It is a straight line in the price, so the drawdown level is one tick that can
be watched on the path and can rest on the venue. Used by strategy.want.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.records import FAR

_PPM = 1_000_000
_MONEY_MAX = 2.0**60  # a larger notional is beyond every market


@njit(cache=True)
def equity_e8(base_e8, long_lots, short_lots, price, unit_e8, exit_ppm):
    """Worth of a run at a price.

    base_e8: capital + cash flows of the fills (buys negative) - fees + funding.
    """
    gross = (long_lots + short_lots) * price * unit_e8
    cost = gross // _PPM * exit_ppm - (-(gross % _PPM) * exit_ppm) // _PPM  # rounded up
    return base_e8 + (long_lots - short_lots) * price * unit_e8 - cost


@njit(cache=True)
def slope_ppm(long_lots, short_lots, exit_ppm):
    """How the worth moves with the price: > 0 it rises with it."""
    return (long_lots - short_lots) * _PPM - (long_lots + short_lots) * exit_ppm


@njit(cache=True)
def level_of(target_e8, base_e8, long_lots, short_lots, unit_e8, exit_ppm, below):
    """The price nearest the market at which the worth is at most (below) or at least the target.

    With a worth that rises with the price "at most" is the highest such price, "at least" the lowest; with a
    falling one the other way round. -1: at no price. The worth must depend on the price (slope_ppm != 0).
    """
    slope = slope_ppm(long_lots, short_lots, exit_ppm)
    step = 1 if (slope > 0) == below else -1  # the direction in which the condition is lost
    guess = (target_e8 - base_e8) / (unit_e8 * (slope / _PPM))
    if guess > _MONEY_MAX / (unit_e8 * (long_lots + short_lots)):
        return FAR
    price = max(0, int(guess))
    sign = 1 if below else -1
    while sign * (equity_e8(base_e8, long_lots, short_lots, price, unit_e8, exit_ppm) - target_e8) <= 0:
        price += step
        if price < 0:
            return 0
    while sign * (equity_e8(base_e8, long_lots, short_lots, price, unit_e8, exit_ppm) - target_e8) > 0:
        price -= step
        if price < 0:
            return -1
    return price


@njit(cache=True)
def stop_levels(
    base_e8, long_lots, short_lots, unit_e8, exit_ppm, peak_e8, limit_e8, lo_stop, hi_stop, tick=1
):
    """(lo, hi): the run ends when the price is at or beyond one of them.

    limit_e8: the drawdown from peak_e8 that ends it; lo_stop, hi_stop: the zone's, -FAR and FAR for none.
    tick: price units per tick; a stop can only rest on one.
    """
    lo = lo_stop
    hi = hi_stop
    slope = slope_ppm(long_lots, short_lots, exit_ppm)
    if slope != 0:
        level = level_of(peak_e8 - limit_e8, base_e8, long_lots, short_lots, unit_e8, exit_ppm, True)
        if slope > 0:
            lo = max(lo, level // tick * tick)
        else:
            hi = min(hi, -(-level // tick) * tick)
    return lo, hi


@njit(cache=True)
def peak_levels(base_e8, long_lots, short_lots, unit_e8, exit_ppm, peak_e8, last, worth_e8):
    """(lo, hi): beyond them the run is worth more than ever; -FAR and FAR for never.

    worth_e8: the worth at the price last, never more than the peak.
    """
    slope = slope_ppm(long_lots, short_lots, exit_ppm)
    if slope == 0:
        return -FAR, FAR
    step = 1 if slope > 0 else -1
    if (
        worth_e8 == peak_e8
        and last + step > 0
        and (equity_e8(base_e8, long_lots, short_lots, last + step, unit_e8, exit_ppm) > peak_e8)
    ):
        level = last + step  # it is the highest now: the next price is higher
    else:
        level = level_of(peak_e8 + 1, base_e8, long_lots, short_lots, unit_e8, exit_ppm, False)
    if slope > 0:
        return -FAR, level
    return (level if level > 0 else -FAR), FAR
