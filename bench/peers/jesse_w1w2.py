"""jesse, its research backtest (no database, no server), fast mode off so that stops see every minute.

Market orders fill at the close of the deciding bar; slippage is charged as commission. The limit on
positions is asked of all routes when a symbol wants to enter. Timed: the backtest as a whole, the
library's own copy and metrics included.
"""

from __future__ import annotations

import time
from pathlib import Path

import jesse.indicators as indicators
import numpy as np
from jesse.research import backtest
from jesse.strategies import Strategy
from lap import Lap, Prepared, main
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

EXCHANGE = "Binance Perpetual Futures"


class SmaCross(Strategy):
    """The rule; positions_max and timeout_ms are set on the class before a run."""

    positions_max = 1
    timeout_ms = 0

    def __init__(self) -> None:
        super().__init__()
        self.above = None
        self.crossed = 0

    def before(self) -> None:
        self.crossed = 0
        candles = self.candles[-SLOW:]
        if len(candles) < SLOW:
            return
        above = indicators.sma(candles, FAST) > indicators.sma(candles, SLOW)
        if self.above is not None and above != self.above:
            self.crossed = 1 if above else -1
        self.above = above

    def should_long(self) -> bool:
        return self.crossed == 1 and self.held() < self.positions_max

    def held(self) -> int:
        return sum(position.is_open for position in self.all_positions.values())

    def go_long(self) -> None:
        self.buy = NOTIONAL / self.price, self.price

    def on_open_position(self, order) -> None:
        self.peak = self.position.entry_price
        self.level = self.peak * (1.0 - STOP_FRACTION)
        self.stop_loss = self.position.qty, self.level

    def update_position(self) -> None:
        if self.crossed == -1 or (self.timeout_ms and self.time - self.position.opened_at >= self.timeout_ms):
            self.liquidate()
            return
        if self.high <= self.peak:
            return
        self.peak = self.high
        if self.peak >= self.position.entry_price * (1.0 + ARM_FRACTION):
            level = self.peak * (1.0 - RETRACE_FRACTION)
            if level > self.level:
                self.level = level
                self.stop_loss = self.position.qty, level


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Arrays in the library's column order, one route per symbol."""
    SmaCross.positions_max = POSITIONS_MAX[work]
    SmaCross.timeout_ms = TIMEOUT_MINUTES[work] * 60_000
    market = read(folder, days)
    candles, routes = {}, []
    for symbol, columns in market.items():
        name = f"{symbol.removesuffix('USDT')}-USDT"
        rows = (columns.open_ms, columns.open, columns.close, columns.high, columns.low, columns.volume)
        candles[f"{EXCHANGE}-{name}"] = {
            "exchange": EXCHANGE,
            "symbol": name,
            "candles": np.column_stack([np.asarray(row, np.float64) for row in rows]),
        }
        routes.append({"exchange": EXCHANGE, "strategy": SmaCross, "symbol": name, "timeframe": "1m"})
    config = {
        "starting_balance": BALANCE,
        "fee": FEE_FRACTION + SLIPPAGE_FRACTION,
        "type": "futures",
        "futures_leverage": 1,
        "futures_leverage_mode": "cross",
        "exchange": EXCHANGE,
        "warm_up_candles": 0,
    }

    def run() -> Lap:
        started = time.perf_counter()
        result = backtest(config, routes, [], candles)
        seconds = time.perf_counter() - started
        return Lap(seconds, 2 * int(result["metrics"]["total"]))

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("jesse", prepare)
