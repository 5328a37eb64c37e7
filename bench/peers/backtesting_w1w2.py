"""backtesting.py, W1 only: it backtests one instrument at a time.

Commission and slippage are both charged as commission; sizes are fractions of the balance. Timed: the
run, averages included.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from backtesting import Strategy
from backtesting.lib import FractionalBacktest
from lap import Lap, Prepared, main
from work import (
    ARM_FRACTION,
    BALANCE,
    FAST,
    FEE_FRACTION,
    NOTIONAL,
    RETRACE_FRACTION,
    SLIPPAGE_FRACTION,
    SLOW,
    STOP_FRACTION,
    count,
    read,
)


def average(close: np.ndarray, window: int) -> np.ndarray:
    """Simple moving average, NaN before the first full window."""
    return pd.Series(close).rolling(window).mean().to_numpy()


class SmaCross(Strategy):
    """The rule."""

    def init(self) -> None:
        self.fast = self.I(average, self.data.Close, FAST)
        self.slow = self.I(average, self.data.Close, SLOW)
        self.peak = 0.0

    def next(self) -> None:
        was_above = self.fast[-2] > self.slow[-2]
        above = self.fast[-1] > self.slow[-1]
        if not self.position:
            self.peak = 0.0
            if above and not was_above:
                self.buy(size=NOTIONAL / self.equity)
            return
        trade = self.trades[0]
        self.peak = max(self.peak, self.data.High[-1])
        if was_above and not above:
            self.position.close()
            return
        stop = trade.entry_price * (1.0 - STOP_FRACTION)
        if self.peak >= trade.entry_price * (1.0 + ARM_FRACTION):
            stop = max(stop, self.peak * (1.0 - RETRACE_FRACTION))
        if trade.sl is None or stop > trade.sl:
            trade.sl = stop


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """One frame with the library's column names."""
    if work != "w1":
        raise ValueError("backtesting.py has no portfolio of several instruments; only w1")
    warnings.filterwarnings("ignore")
    market = read(folder, days)
    columns = next(iter(market.values()))
    frame = pd.DataFrame(
        {name.capitalize(): getattr(columns, name) for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(columns.open_ms, unit="ms"),
    )

    def run() -> Lap:
        backtest = FractionalBacktest(
            frame, SmaCross, cash=BALANCE, commission=FEE_FRACTION + SLIPPAGE_FRACTION, fractional_unit=1e-4
        )
        started = time.perf_counter()
        result = backtest.run()
        seconds = time.perf_counter() - started
        trades = result["_trades"]
        return Lap(seconds, 2 * len(trades))

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("backtesting.py", prepare)
