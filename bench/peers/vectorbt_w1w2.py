"""vectorbt. W1: averages and crosses as arrays, from_signals with a stop that starts to trail at +3 %.

W2 needs a limit on the positions of all symbols together, which signals cannot express: there the rule
is a flexible order function, called for every row of bars. Timed: averages, simulation, final value.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt
from lap import Lap, Prepared, main
from numba import njit
from vectorbt.generic import nb as generic_nb
from vectorbt.portfolio import nb
from vectorbt.portfolio.enums import Direction, NoOrder, StopEntryPrice
from work import (
    ARM_FRACTION,
    BALANCE,
    FAST,
    FEE_FRACTION,
    NOTIONAL,
    POSITIONS_MAX,
    RETRACE_FRACTION,
    SLIPPAGE_FRACTION,
    SLOW,
    STOP_FRACTION,
    TIMEOUT_MINUTES,
    count,
    read,
)


def crosses(close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(up, down) at the bar after the cross: executed at that bar's open.

    The library's compiled functions on plain arrays; its pandas accessors do the same three times slower.
    """
    fast = generic_nb.rolling_mean_nb(close, FAST)
    slow = generic_nb.rolling_mean_nb(close, SLOW)
    up = generic_nb.fshift_nb(generic_nb.crossed_above_nb(fast, slow), 1, False)
    down = generic_nb.fshift_nb(generic_nb.crossed_above_nb(slow, fast), 1, False)
    return up, down


@njit
def start_to_trail(c, high):
    """A fixed stop until the high since the entry is 3 % up, from then on a trailing one."""
    if not c.curr_trail and high[c.i, c.col] >= c.init_price * (1.0 + ARM_FRACTION):
        return RETRACE_FRACTION, True
    return c.curr_stop, c.curr_trail


def one_symbol(open_, high, low, close):
    """W1."""
    up, down = crosses(close.to_numpy())
    return vbt.Portfolio.from_signals(
        close,
        entries=up,
        exits=down,
        open=open_,
        high=high,
        low=low,
        price=open_,
        size=NOTIONAL / open_.to_numpy(),
        fees=FEE_FRACTION,
        slippage=SLIPPAGE_FRACTION,
        sl_stop=STOP_FRACTION,
        stop_entry_price=StopEntryPrice.FillPrice,
        stop_exit_price="StopMarket",
        adjust_sl_func_nb=start_to_trail,
        adjust_sl_args=(high.to_numpy(),),
        init_cash=BALANCE,
        max_orders=len(close),
        freq="1min",
    )


@njit
def no_position(c):
    """[how many positions are held, the column to look at next]."""
    return (np.zeros(2, np.int64),)


@njit
def next_order(c, counts, open_, high, low, up, down, entry, peak, entered, timeout, positions_max):
    """W2: the row's next order, at the open or at the stop; column -1 when the row is done."""
    i = c.i
    if c.call_idx == 0:
        counts[1] = c.from_col
    for s in range(counts[1], c.to_col):
        first = open_[i, s]
        position = c.last_position[s]
        if position == 0.0:
            if up[i, s] and counts[0] < positions_max:
                entry[s] = first * (1.0 + SLIPPAGE_FRACTION)
                peak[s] = high[i, s]
                entered[s] = i
                counts[0] += 1
                counts[1] = s + 1
                return s, nb.order_nb(
                    NOTIONAL / first,
                    first,
                    fees=FEE_FRACTION,
                    slippage=SLIPPAGE_FRACTION,
                    direction=Direction.LongOnly,
                )
            continue
        stop = entry[s] * (1.0 - STOP_FRACTION)
        if peak[s] >= entry[s] * (1.0 + ARM_FRACTION):
            stop = max(stop, peak[s] * (1.0 - RETRACE_FRACTION))
        peak[s] = max(peak[s], high[i, s])
        leaves = down[i, s] or i - entered[s] >= timeout
        if leaves or low[i, s] <= stop:
            counts[0] -= 1
            counts[1] = s + 1
            return s, nb.order_nb(
                -position,
                first if leaves else min(first, stop),
                fees=FEE_FRACTION,
                slippage=SLIPPAGE_FRACTION,
                direction=Direction.LongOnly,
            )
    return -1, NoOrder


def many_symbols(open_, high, low, close):
    """W2."""
    up, down = crosses(close.to_numpy())
    symbols = close.shape[1]
    args = (
        open_.to_numpy(),
        high.to_numpy(),
        low.to_numpy(),
        up,
        down,
        np.zeros(symbols),
        np.zeros(symbols),
        np.zeros(symbols, np.int64),
        TIMEOUT_MINUTES["w2"],
        POSITIONS_MAX["w2"],
    )
    return vbt.Portfolio.from_order_func(
        close,
        next_order,
        *args,
        flexible=True,
        pre_sim_func_nb=no_position,
        fill_pos_record=False,
        cash_sharing=True,
        group_by=True,
        init_cash=BALANCE,
        max_orders=close.size,
        freq="1min",
    )


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Frames of shape [bars, symbols]."""
    market = read(folder, days)
    index = pd.to_datetime(next(iter(market.values())).open_ms, unit="ms")
    frames = [
        pd.DataFrame(
            np.stack([getattr(columns, name) for columns in market.values()], axis=1),
            index,
            list(market),
            copy=False,
        )
        for name in ("open", "high", "low", "close")
    ]
    simulate = one_symbol if work == "w1" else many_symbols

    def run() -> Lap:
        started = time.perf_counter()
        portfolio = simulate(*frames)
        portfolio.final_value()
        seconds = time.perf_counter() - started
        return Lap(seconds, int(len(portfolio.orders.records_arr)))

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("vectorbt", prepare)
