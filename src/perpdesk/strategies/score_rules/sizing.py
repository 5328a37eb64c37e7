"""From margin, level and leverage to lots, rounded down and never enlarged to meet a minimum.

Not wired yet: the gate sizes entries by the same integers without a multiplier. It will call this when
ratings exist, so that the multiplier is applied in exactly one function.
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.records import (
    APPROVED,
    INSUFFICIENT_BALANCE,
    MIN_NOTIONAL,
    QTY_ABOVE_MAX,
    QTY_BELOW_MIN,
    QTY_ZERO,
)

_PPM = 1_000_000


@njit(cache=True)
def size_lots(
    margin_e8,
    multiplier_ppm,
    leverage,
    price,
    unit_e8,
    lots_min,
    lots_max,
    notional_min_e8,
    taker_ppm,
    available_e8,
):
    """(verdict, lots) for one entry at ``price``; lots are 0 unless the verdict is APPROVED.

    margin_e8 <= 1e14 (a million quote units), multiplier_ppm <= 1e6, unit_e8: money of one price unit times
    one lot. Checked in this order: zero, minimum, maximum quantity, minimum notional, balance for margin
    and the fee of the entry.
    """
    notional_e8 = margin_e8 * leverage // _PPM * multiplier_ppm
    notional_e8 += margin_e8 * leverage % _PPM * multiplier_ppm // _PPM
    value_e8 = price * unit_e8
    lots = notional_e8 // value_e8
    if lots == 0:
        return QTY_ZERO, 0
    if lots < lots_min:
        return QTY_BELOW_MIN, 0
    if lots > lots_max:
        return QTY_ABOVE_MAX, 0
    notional_e8 = lots * value_e8
    if notional_e8 < notional_min_e8:
        return MIN_NOTIONAL, 0
    fee_e8 = notional_e8 // _PPM * taker_ppm + (notional_e8 % _PPM * taker_ppm + _PPM - 1) // _PPM
    if (notional_e8 + leverage - 1) // leverage + fee_e8 > available_e8:
        return INSUFFICIENT_BALANCE, 0
    return APPROVED, lots
