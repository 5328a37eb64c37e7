"""NautilusTrader: its event-driven engine on bars, with a resting stop and a native trailing stop.

Market orders fill at the close of the deciding bar; slippage is charged as commission. Timed: the run of
an engine that already holds the bars.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pandas as pd
from lap import Lap, Prepared, main
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import (
    AccountType,
    CurrencyType,
    OmsType,
    OrderSide,
    TrailingOffsetType,
    TriggerType,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy
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

VENUE = Venue("BENCH")
PRICE_DIGITS = 8
SIZE_DIGITS = 6


@dataclass
class Mind:
    """What the strategy knows of one symbol."""

    instrument: CryptoPerpetual
    fast: SimpleMovingAverage
    slow: SimpleMovingAverage
    above: bool | None = None
    opened_ns: int = 0  # 0: flat


class SmaCross(Strategy):
    """The rule, for all symbols."""

    def __init__(self, bar_types: list[BarType], positions_max: int, timeout_minutes: int) -> None:
        super().__init__(StrategyConfig(strategy_id="SMA-001"))
        self.bar_types = bar_types
        self.positions_max = positions_max
        self.timeout_ns = timeout_minutes * 60_000_000_000
        self.minds: dict[InstrumentId, Mind] = {}

    def on_start(self) -> None:
        for bar_type in self.bar_types:
            mind = Mind(
                self.cache.instrument(bar_type.instrument_id),
                SimpleMovingAverage(FAST),
                SimpleMovingAverage(SLOW),
            )
            self.minds[bar_type.instrument_id] = mind
            self.register_indicator_for_bars(bar_type, mind.fast)
            self.register_indicator_for_bars(bar_type, mind.slow)
            self.subscribe_bars(bar_type)

    def on_bar(self, bar) -> None:
        instrument_id = bar.bar_type.instrument_id
        mind = self.minds[instrument_id]
        if not mind.slow.initialized:
            return
        above = mind.fast.value > mind.slow.value
        crossed = above != mind.above and mind.above is not None
        mind.above = above
        if mind.opened_ns:
            late = self.timeout_ns and bar.ts_event - mind.opened_ns >= self.timeout_ns
            if (crossed and not above) or late:
                self.cancel_all_orders(instrument_id)
                self.close_all_positions(instrument_id)
        elif crossed and above and self.cache.positions_open_count() < self.positions_max:
            quantity = mind.instrument.make_qty(NOTIONAL / bar.close.as_double())
            self.submit_order(self.order_factory.market(instrument_id, OrderSide.BUY, quantity))

    def on_position_opened(self, event) -> None:
        mind = self.minds[event.instrument_id]
        mind.opened_ns = event.ts_event
        price = mind.instrument.make_price
        self.submit_order(
            self.order_factory.stop_market(
                event.instrument_id,
                OrderSide.SELL,
                event.quantity,
                trigger_price=price(event.avg_px_open * (1.0 - STOP_FRACTION)),
                trigger_type=TriggerType.LAST_PRICE,
                reduce_only=True,
            )
        )
        self.submit_order(
            self.order_factory.trailing_stop_market(
                event.instrument_id,
                OrderSide.SELL,
                event.quantity,
                trailing_offset=Decimal(round(RETRACE_FRACTION * 10_000)),
                trailing_offset_type=TrailingOffsetType.BASIS_POINTS,
                activation_price=price(event.avg_px_open * (1.0 + ARM_FRACTION)),
                trigger_type=TriggerType.LAST_PRICE,
                reduce_only=True,
            )
        )

    def on_position_closed(self, event) -> None:
        self.minds[event.instrument_id].opened_ns = 0
        self.cancel_all_orders(event.instrument_id)


def perpetual(symbol: str) -> CryptoPerpetual:
    """A perpetual contract that quotes with enough digits for every market of the benchmark."""
    base = Currency(symbol.removesuffix("USDT"), 8, 0, symbol, CurrencyType.CRYPTO)
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol(symbol), VENUE),
        raw_symbol=Symbol(symbol),
        base_currency=base,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=PRICE_DIGITS,
        size_precision=SIZE_DIGITS,
        price_increment=Price(10.0**-PRICE_DIGITS, PRICE_DIGITS),
        size_increment=Quantity(10.0**-SIZE_DIGITS, SIZE_DIGITS),
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.025"),
        maker_fee=Decimal(str(FEE_FRACTION + SLIPPAGE_FRACTION)),
        taker_fee=Decimal(str(FEE_FRACTION + SLIPPAGE_FRACTION)),
        ts_event=0,
        ts_init=0,
    )


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Bar objects, stamped at the bar's close."""
    market = read(folder, days)
    bars, instruments, bar_types = [], [], []
    for symbol, columns in market.items():
        instrument = perpetual(symbol)
        bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
        frame = pd.DataFrame(
            {name: getattr(columns, name) for name in ("open", "high", "low", "close", "volume")},
            index=pd.to_datetime(columns.open_ms + 60_000, unit="ms", utc=True),
        )
        bars.append(BarDataWrangler(bar_type, instrument).process(frame))
        instruments.append(instrument)
        bar_types.append(bar_type)

    def run() -> Lap:
        engine = BacktestEngine(
            BacktestEngineConfig(
                trader_id="BENCH-001", logging=LoggingConfig(bypass_logging=True), run_analysis=False
            )
        )
        engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(BALANCE, USDT)], USDT)
        for instrument in instruments:
            engine.add_instrument(instrument)
        for rows in bars:
            engine.add_data(rows, sort=rows is bars[-1])
        engine.add_strategy(SmaCross(bar_types, POSITIONS_MAX[work], TIMEOUT_MINUTES[work]))
        started = time.perf_counter()
        engine.run()
        seconds = time.perf_counter() - started
        fills = sum(order.filled_qty > 0 for order in engine.cache.orders())
        engine.dispose()
        return Lap(seconds, fills)

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("NautilusTrader", prepare)
