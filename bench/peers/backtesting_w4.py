"""backtesting.py's W4: a limit order per level whose take-profit is its counter order, hedged.

It fills at a touch, takes one fee for every fill, and closes at the next open what the end of the ladder
closes. Timed: the run.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pandas as pd
from backtesting import Strategy
from backtesting.lib import FractionalBacktest
from ladder import LEVELS, MAKER_FRACTION, NOTIONAL, STEP_FRACTION
from lap import Lap, Prepared, main
from work import BALANCE, count, read

UNIT = 1e-4


class Ladder(Strategy):
    """The rule."""

    def init(self) -> None:
        self.middle = 0.0
        self.closing = False

    def next(self) -> None:
        close = self.data.Close[-1]
        if self.middle and not self.closing and abs(self._reach() - self.middle) >= LEVELS * self.step:
            for order in list(self.orders):
                if order.parent_trade is None:
                    order.cancel()
            for trade in self.trades:
                trade.close()
            self.closing = True
        if self.closing and self.trades:
            return
        if self.closing or not self.middle:
            self.middle, self.step, self.closing = close, close * STEP_FRACTION, False
            for order in list(self.orders):
                order.cancel()
        if len(self.orders) == 2 * LEVELS:  # a level has its entry resting, or its take-profit
            return
        busy = {trade.tag for trade in self.trades} | {
            order.tag for order in self.orders if order.parent_trade is None
        }
        for away in range(1, LEVELS + 1):
            for level in (-away, away):
                price = self.middle + level * self.step
                if level in busy or not (price < close if level < 0 else price > close):
                    continue
                if level < 0:
                    self.buy(size=int(NOTIONAL / price), limit=price, tp=price + self.step, tag=level)
                else:
                    self.sell(size=int(NOTIONAL / price), limit=price, tp=price - self.step, tag=level)

    def _reach(self) -> float:
        """The bar's extreme that is farther from the middle."""
        high, low = self.data.High[-1], self.data.Low[-1]
        return high if high - self.middle > self.middle - low else low


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """One frame with the library's column names."""
    warnings.filterwarnings("ignore")
    market = read(folder, days)
    columns = next(iter(market.values()))
    frame = pd.DataFrame(
        {name.capitalize(): getattr(columns, name) for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(columns.open_ms, unit="ms"),
    )

    def run() -> Lap:
        backtest = FractionalBacktest(
            frame, Ladder, cash=BALANCE, commission=MAKER_FRACTION, hedging=True, fractional_unit=UNIT
        )
        started = time.perf_counter()
        result = backtest.run()
        seconds = time.perf_counter() - started
        return Lap(seconds, 2 * len(result["_trades"]))

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("backtesting.py", prepare)
