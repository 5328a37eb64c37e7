"""From a wanted notional and a symbol's rating to lots, rounded down and never enlarged to meet a minimum."""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.records import APPROVED, MIN_NOTIONAL, QTY_ABOVE_MAX, QTY_BELOW_MIN, QTY_ZERO

_PPM = 1_000_000


@njit(cache=True)
def entry_lots(notional_e8, margin_cut_ppm, value_e8):
    """Lots of an entry. The only place where a rating takes from an entry's size.

    notional_e8 <= 2e15 (margin * leverage); margin_cut_ppm: 0 nothing, 1,000,000 all; value_e8: of one lot.
    """
    kept_ppm = max(0, _PPM - margin_cut_ppm)
    kept_e8 = notional_e8 // _PPM * kept_ppm + notional_e8 % _PPM * kept_ppm // _PPM
    return kept_e8 // value_e8


@njit(cache=True)
def size_verdict(lots, notional_e8, lots_min, lots_max, notional_min_e8):
    """APPROVED, or the first limit of the instrument that so many lots break."""
    if lots == 0:
        return QTY_ZERO
    if lots < lots_min:
        return QTY_BELOW_MIN
    if lots > lots_max:
        return QTY_ABOVE_MAX
    if notional_e8 < notional_min_e8:
        return MIN_NOTIONAL
    return APPROVED
