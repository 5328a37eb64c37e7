"""The limit of W4: the ladder alone as one compiled loop over integer columns, no ledger, no caps, no gate.

A bar is looked at closely only if it reaches the nearest order or an end of the ladder. Fills are the same as
perpdesk's.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from ladder import LEVELS, NOTIONAL
from ladder_rule import FAR, FILLS_MAX, PPM, bar, ends_dt, fill_dt, level_dt, settle_down
from lap import Lap, Prepared, main
from numba import njit
from work import count, price_digits, read


@njit
def ladder(open_, high, low, close, notional, levels, ends, out):
    """W4 → (fills, cash made)."""
    fills = 0
    cash = 0
    lo, hi = FAR, -FAR  # nothing is laid out yet: the first bar is looked at
    for i in range(close.shape[0]):
        if lo < low[i] and high[i] < hi:
            continue
        if ends[0].alive:
            made = bar(levels, ends[0], out, notional, close[i - 1], open_[i], high[i], low[i], close[i])
            fills += made
            for n in range(made):
                cash -= out[n].lots * out[n].price + abs(out[n].lots) * out[n].price * out[n].fee_ppm // PPM
        lo, hi = settle_down(levels, ends[0], close[i])
    return fills, cash


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Integer columns of the one symbol."""
    market = read(folder, days)
    columns = next(iter(market.values()))
    scale = 10.0 ** price_digits(columns)
    prices = [
        np.rint(getattr(columns, name) * scale).astype(np.int64) for name in ("open", "high", "low", "close")
    ]
    notional = round(NOTIONAL * scale) * 1_000  # lots of one thousandth

    def run() -> Lap:
        levels, ends, out = np.zeros(2 * LEVELS, level_dt), np.zeros(1, ends_dt), np.zeros(FILLS_MAX, fill_dt)
        started = time.perf_counter()
        fills, _ = ladder(*prices, notional, levels, ends, out)
        return Lap(time.perf_counter() - started, fills)

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("bare numba loop", prepare)
