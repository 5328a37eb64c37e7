"""vectorbt's W4: it has no resting orders, so the ladder is a flexible order function that fills by the rule.

Timed: the simulation and the final value.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt
from ladder import LEVELS, NOTIONAL
from ladder_rule import FAR, FILLS_MAX, PPM, bar, ends_dt, fill_dt, level_dt, settle_down
from lap import Lap, Prepared, main
from numba import njit
from vectorbt.portfolio import nb
from vectorbt.portfolio.enums import NoOrder
from work import BALANCE, count, price_digits, read


@njit
def next_order(c, open_, high, low, close, notional, levels, ends, out, band, unit, lot):
    """The bar's next fill as an order at its price; column -1 when the bar is done. band: lo, hi, fills."""
    i = c.i
    if c.call_idx == 0:
        band[2] = 0
        if band[0] < low[i] and high[i] < band[1]:
            return -1, NoOrder
        if ends[0].alive:
            band[2] = bar(levels, ends[0], out, notional, close[i - 1], open_[i], high[i], low[i], close[i])
        band[0], band[1] = settle_down(levels, ends[0], close[i])
    if c.call_idx < band[2]:
        fill = out[c.call_idx]
        return c.from_col, nb.order_nb(fill.lots * lot, fill.price * unit, fees=fill.fee_ppm / PPM)
    return -1, NoOrder


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Integer columns for the rule, a frame of closes for the library."""
    market = read(folder, days)
    columns = next(iter(market.values()))
    scale = 10.0 ** price_digits(columns)
    prices = [
        np.rint(getattr(columns, name) * scale).astype(np.int64) for name in ("open", "high", "low", "close")
    ]
    close = pd.Series(columns.close, pd.to_datetime(columns.open_ms, unit="ms"))
    notional = round(NOTIONAL * scale) * 1_000  # lots of one thousandth

    def run() -> Lap:
        state = np.zeros(2 * LEVELS, level_dt), np.zeros(1, ends_dt), np.zeros(FILLS_MAX, fill_dt)
        band = np.array([FAR, -FAR, 0])
        started = time.perf_counter()
        portfolio = vbt.Portfolio.from_order_func(
            close,
            next_order,
            *prices,
            notional,
            *state,
            band,
            1 / scale,
            1e-3,
            flexible=True,
            fill_pos_record=False,
            init_cash=BALANCE,
            max_orders=len(close),
            freq="1min",
        )
        portfolio.final_value()
        seconds = time.perf_counter() - started
        return Lap(seconds, int(len(portfolio.orders.records_arr)))

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("vectorbt", prepare)
