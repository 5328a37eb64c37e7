"""NautilusTrader's W4: a resting limit order per level, answered at the close of the bar that filled it.

Its bars are walked over the nearer extreme first; a touch fills nothing. What the end of the ladder closes,
it closes at the close of the bar. Slippage is not charged. Timed: the run of an engine that already holds the
bars.
"""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
from ladder import LEVELS, NOTIONAL, STEP_FRACTION
from lap import Lap, Prepared, main
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import FillModel
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.objects import Money
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy
from nautilus_w1w2 import VENUE, perpetual
from work import BALANCE, count, read


class Ladder(Strategy):
    """The rule."""

    def __init__(self, bar_type: BarType) -> None:
        super().__init__(StrategyConfig(strategy_id="LADDER-001"))
        self.bar_type = bar_type
        self.middle = 0.0
        self.lo = self.hi = 0.0
        self.held: dict[int, object] = {}  # level → quantity
        self.resting: dict[object, int] = {}  # client order id → level
        self.open_levels: set[int] = set()

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(self.bar_type.instrument_id)
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar) -> None:
        close = bar.close.as_double()
        if self.middle and (bar.low.as_double() <= self.lo or bar.high.as_double() >= self.hi):
            self.resting.clear()
            self.cancel_all_orders(self.instrument.id)
            self.close_all_positions(self.instrument.id)
            self.middle = 0.0
        if not self.middle:
            self.middle, self.step = close, close * STEP_FRACTION
            self.lo, self.hi = close - LEVELS * self.step, close + LEVELS * self.step
            self.held.clear()
            self.open_levels = {level for level in range(-LEVELS, LEVELS + 1) if level}
        for level in list(self.open_levels):
            price = self.middle + level * self.step
            if level in self.held:
                price -= self.step if level > 0 else -self.step
                self._rest(level, level > 0, price, self.held[level])
            elif price < close if level < 0 else price > close:
                self._rest(level, level < 0, price, self.instrument.make_qty(NOTIONAL / price))

    def _rest(self, level, buys, price, quantity) -> None:
        order = self.order_factory.limit(
            self.instrument.id,
            OrderSide.BUY if buys else OrderSide.SELL,
            quantity,
            self.instrument.make_price(price),
        )
        self.resting[order.client_order_id] = level
        self.open_levels.discard(level)
        self.submit_order(order)

    def on_order_filled(self, event) -> None:
        level = self.resting.pop(event.client_order_id, None)
        if level is None:
            return
        if level in self.held:
            del self.held[level]
        else:
            self.held[level] = event.last_qty
        self.open_levels.add(level)


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Bar objects, stamped at the bar's close."""
    market = read(folder, days)
    symbol, columns = next(iter(market.items()))
    instrument = perpetual(symbol)
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    frame = pd.DataFrame(
        {name: getattr(columns, name) for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(columns.open_ms + 60_000, unit="ms", utc=True),
    )
    bars = BarDataWrangler(bar_type, instrument).process(frame)

    def run() -> Lap:
        engine = BacktestEngine(
            BacktestEngineConfig(
                trader_id="BENCH-001", logging=LoggingConfig(bypass_logging=True), run_analysis=False
            )
        )
        engine.add_venue(
            VENUE,
            OmsType.NETTING,
            AccountType.MARGIN,
            [Money(BALANCE, USDT)],
            USDT,
            fill_model=FillModel(prob_fill_on_limit=0.0),
            bar_adaptive_high_low_ordering=True,
        )
        engine.add_instrument(instrument)
        engine.add_data(bars)
        engine.add_strategy(Ladder(bar_type))
        started = time.perf_counter()
        engine.run()
        seconds = time.perf_counter() - started
        fills = sum(order.filled_qty > 0 for order in engine.cache.orders())
        engine.dispose()
        return Lap(seconds, fills)

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("NautilusTrader", prepare)
