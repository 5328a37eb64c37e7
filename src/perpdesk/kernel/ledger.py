"""The books: what a fill, a funding payment and a liquidation do to money. Integers only.

cash = initial + realised − fees + funding holds after every function of this file. A fee is the
notional times its rate, rounded once per fill, half away from zero. Sources of the margin formulas:
Binance's USDⓈ-M liquidation price and maintenance margin (notional × rate − cumulative amount).
"""

from numba import njit

from perpdesk.kernel.exact import mul_div_ceil, mul_div_floor, mul_div_half
from perpdesk.kernel.records import ASSUMED, CROSS, DAY_MS, FAR

_PPM = 1_000_000
_RATE = 100_000_000


@njit(cache=True)
def sign(value):
    """-1, 0 or 1."""
    return 1 if value > 0 else (-1 if value < 0 else 0)


@njit(cache=True)
def fee_e8(notional_e8, ppm):
    """The commission on a notional."""
    return mul_div_half(notional_e8, ppm, _PPM)


@njit(cache=True)
def unrealised_e8(position, instrument, price):
    """What the position would realise at this price, before fees."""
    return position.lots * price * instrument.unit_e8 - sign(position.lots) * position.cost_e8


@njit(cache=True)
def bracket_of(instrument, notional_e8):
    """Index of the leverage bracket that a notional falls in (the last one has no upper end)."""
    for i in range(instrument.bracket_count - 1):
        if notional_e8 <= instrument.bracket_cap_e8[i]:
            return i
    return instrument.bracket_count - 1


@njit(cache=True)
def maintenance_e8(instrument, notional_e8):
    """Maintenance margin of a notional: rate × notional − cum, rounded up."""
    i = bracket_of(instrument, notional_e8)
    return max(
        0, mul_div_ceil(notional_e8, instrument.bracket_mmr_ppm[i], _PPM) - instrument.bracket_cum_e8[i]
    )


@njit(cache=True)
def leverage_cap_e8(instrument, leverage):
    """The largest notional allowed at this leverage; 0 if no bracket allows it."""
    cap = 0
    for i in range(instrument.bracket_count):
        if instrument.bracket_leverage[i] >= leverage:
            cap = instrument.bracket_cap_e8[i]
    return cap


@njit(cache=True)
def _increase(account, position, instrument, side, price, lots, ms):
    amount = price * lots * instrument.unit_e8
    if position.lots == 0:
        account.open_positions += 1
        position.opened_ms = ms
    position.best = price  # the trailing peak counts from the last entry fill
    position.armed = 0
    margin = -(-amount // max(1, position.leverage))
    position.cost_e8 += amount
    position.margin_e8 += margin
    account.margin_e8 += margin
    position.lots += side * lots


@njit(cache=True)
def _reduce(account, position, instrument, side, price, lots, tag, ms):
    amount = price * lots * instrument.unit_e8
    held = abs(position.lots)
    if lots == held:
        cost = position.cost_e8
        margin = position.margin_e8
    else:
        cost = mul_div_half(position.cost_e8, lots, held)
        margin = mul_div_floor(position.margin_e8, lots, held)
    realised = -side * (amount - cost)
    position.cost_e8 -= cost
    position.margin_e8 -= margin
    account.margin_e8 -= margin
    position.lots += side * lots
    position.realised_e8 += realised
    account.realised_e8 += realised
    account.cash_e8 += realised
    if position.lots == 0:
        position.priced_cost_e8 = 0
        position.priced_lots = 0
        account.open_positions -= 1
        account.round_trips += 1
        position.round_trips += 1
        position.closed_ms = ms
        position.closed_tag = tag
        position.closed_side = -side
        position.liquidation_price = 0
    return realised


@njit(cache=True)
def settle(account, position, instrument, side, price, lots, fee, tag, ms):
    """Book one fill with its commission; return the price profit it realised.

    A fill larger than the position closes it and opens the rest on the other side.
    """
    closing = 0
    realised = 0
    if position.lots * side < 0:
        closing = min(lots, abs(position.lots))
        realised = _reduce(account, position, instrument, side, price, closing, tag, ms)
    if lots > closing:
        _increase(account, position, instrument, side, price, lots - closing, ms)
    position.last_fill_ms = ms
    position.fees_e8 += fee
    account.fees_e8 += fee
    account.cash_e8 -= fee
    account.fills += 1
    return realised


@njit(cache=True)
def settle_liquidation(account, position, instrument, price, fee, tag, ms):
    """Close the whole position by force; the loss ends at its margin (cross: at the wallet).

    What the price takes beyond that is borne by the exchange's insurance fund and is not booked,
    so the realised figure is the one that reached the wallet. Returns it.
    """
    side = -sign(position.lots)
    lots = abs(position.lots)
    floor = -account.cash_e8 if account.margin_mode == CROSS else -position.margin_e8
    realised = _reduce(account, position, instrument, side, price, lots, tag, ms)
    shortfall = max(0, floor - (realised - fee))
    position.realised_e8 += shortfall
    account.realised_e8 += shortfall
    account.cash_e8 += shortfall
    position.last_fill_ms = ms
    position.fees_e8 += fee
    account.fees_e8 += fee
    account.cash_e8 -= fee
    account.fills += 1
    account.liquidations += 1
    return realised + shortfall


@njit(cache=True)
def pay_funding(account, position, instrument, rate_e8, mark):
    """Book one funding payment (> 0: received) and return it. Longs pay a positive rate."""
    notional = abs(position.lots) * mark * instrument.unit_e8
    amount = mul_div_half(notional, abs(rate_e8), _RATE)
    paid = -sign(position.lots) * sign(rate_e8) * amount
    receive_funding(account, position, paid)
    return paid


@njit(cache=True)
def rate_for(rate_e8, mark, lots):
    """The rate of a funding row for a position: with mark ASSUMED nobody knows it, and every side pays."""
    return abs(rate_e8) * sign(lots) if mark == ASSUMED else rate_e8


@njit(cache=True)
def receive_funding(account, position, paid):
    """Book an amount of funding (> 0: received)."""
    position.funding_e8 += paid
    account.funding_e8 += paid
    account.cash_e8 += paid
    if account.margin_mode != CROSS:  # an isolated position pays from its own margin
        change = max(paid, -position.margin_e8)
        position.margin_e8 += change
        account.margin_e8 += change


@njit(cache=True)
def liquidation_price(lots, cost_e8, wallet_e8, instrument):
    """The mark price at which maintenance margin eats the wallet; 0 if no price does."""
    if lots == 0:
        return 0
    size = abs(lots) * instrument.unit_e8
    i = bracket_of(instrument, cost_e8)
    mmr = instrument.bracket_mmr_ppm[i]
    cum = instrument.bracket_cum_e8[i]
    if lots > 0:
        debt = cost_e8 - wallet_e8 - cum
        return mul_div_ceil(debt, _PPM, size * (_PPM - mmr)) if debt > 0 else 0
    backing = cost_e8 + wallet_e8 + cum
    return mul_div_floor(backing, _PPM, size * (_PPM + mmr)) if backing > 0 else 1


@njit(cache=True)
def relevel(position, instrument, head, wallet_e8):
    """Refresh a position's liquidation price after anything that moves it."""
    level = liquidation_price(position.lots, position.cost_e8, wallet_e8, instrument)
    position.liquidation_price = level
    head.liquidation_lo = level if position.lots > 0 else -FAR
    head.liquidation_hi = level if position.lots < 0 else FAR
    head.held = 1 if position.lots != 0 else 0


@njit(cache=True)
def relevel_all(account, instruments, positions, heads):
    """Cross margin: every position's liquidation price depends on all the others."""
    for v in range(positions.shape[0]):
        for s in range(positions.shape[1]):
            if positions[v, s].lots == 0:
                continue
            wallet = account.cash_e8
            for u in range(positions.shape[0]):
                for i in range(positions.shape[1]):
                    other = positions[u, i]
                    if other.lots != 0 and not (u == v and i == s):
                        price = heads[u, i].last
                        notional = abs(other.lots) * price * instruments[i].unit_e8
                        wallet += unrealised_e8(other, instruments[i], price)
                        wallet -= maintenance_e8(instruments[i], notional)
            relevel(positions[v, s], instruments[s], heads[v, s], wallet)


@njit(cache=True)
def unrealised_all_e8(instruments, positions, heads):
    """Sum of all positions at their last closes."""
    total = 0
    for v in range(positions.shape[0]):
        for s in range(positions.shape[1]):
            if positions[v, s].lots != 0:
                total += unrealised_e8(positions[v, s], instruments[s], heads[v, s].last)
    return total


@njit(cache=True)
def _refresh_floor(account):
    """Below the floor a drawdown is deeper than the deepest so far."""
    account.equity_floor_e8 = account.equity_peak_e8 - int(account.drawdown_max * account.equity_peak_e8)


@njit(cache=True)
def mark_step(account, unrealised, now_ms):
    """End of a step: equity, drawdown, the UTC day and its loss breaker."""
    equity = account.cash_e8 + unrealised
    if equity > account.equity_peak_e8:
        account.equity_peak_e8 = equity
        _refresh_floor(account)
    elif equity < account.equity_floor_e8:
        account.drawdown_max = (account.equity_peak_e8 - equity) / account.equity_peak_e8
        _refresh_floor(account)
    account.equity_e8 = equity
    if now_ms >= account.day_end_ms:
        account.day_end_ms = (now_ms // DAY_MS + 1) * DAY_MS
        account.day_start_e8 = equity
        account.tripped = 0
        account.trip_e8 = -FAR
        if account.daily_loss_ppm > 0:
            account.trip_e8 = equity - mul_div_floor(max(0, equity), account.daily_loss_ppm, _PPM)
    elif equity <= account.trip_e8:
        account.tripped = 1
        account.trip_e8 = -FAR


@njit(cache=True)
def is_quiet(account, equity, now_ms):
    """Nothing but the equity figure would change if this step were marked."""
    return (
        now_ms < account.day_end_ms
        and equity <= account.equity_peak_e8
        and equity >= account.equity_floor_e8
        and equity > account.trip_e8
    )
