"""freqtrade: its backtesting object, on spot markets that exist here only (no request leaves the machine).

Orders fill at the open of the next bar; slippage is charged as commission. Timed: indicators, signals
and the backtest loop.
"""

from __future__ import annotations

import atexit
import json
import logging
import shutil
import tempfile
import time
from pathlib import Path

import pandas as pd
from freqtrade.configuration import Configuration
from freqtrade.data.btanalysis import get_tick_size_over_time
from freqtrade.data.history import get_timerange
from freqtrade.enums import RunMode
from freqtrade.exchange import Exchange
from freqtrade.optimize.backtesting import Backtesting
from freqtrade.resolvers import ExchangeResolver
from lap import Lap, Prepared, main
from work import (
    BALANCE,
    FEE_FRACTION,
    NOTIONAL,
    POSITIONS_MAX,
    SLIPPAGE_FRACTION,
    TIMEOUT_MINUTES,
    count,
    read,
)

NEVER = 100.0  # a profit of 10,000 %


def spot_market(pair: str) -> dict[str, object]:
    """A market as ccxt describes it."""
    base, quote = pair.split("/")
    return {
        "id": base + quote,
        "symbol": pair,
        "base": base,
        "quote": quote,
        "baseId": base,
        "quoteId": quote,
        "settle": None,
        "type": "spot",
        "spot": True,
        "margin": False,
        "swap": False,
        "future": False,
        "option": False,
        "contract": False,
        "linear": None,
        "inverse": None,
        "active": True,
        "contractSize": None,
        "maker": FEE_FRACTION,
        "taker": FEE_FRACTION,
        "precision": {"amount": 1e-6, "price": 1e-8},
        "limits": {
            name: {"min": None, "max": None} for name in ("amount", "price", "cost", "market", "leverage")
        },
        "info": {},
    }


def offline(markets: dict[str, dict[str, object]]) -> None:
    """Give every exchange object these markets instead of asking the exchange for them."""

    def reload_markets(self, force=False, *, load_leverage_tiers=True):
        self._markets = markets
        self._api.set_markets(list(markets.values()))

    Exchange.reload_markets = reload_markets


def settings(work: str, pairs: list[str]) -> dict[str, object]:
    """The configuration file."""
    timeout = TIMEOUT_MINUTES[work]
    return {
        "strategy": "SmaCross",
        "strategy_path": str(Path(__file__).parent / "freqtrade_strategy"),
        "exchange": {"name": "binance", "pair_whitelist": pairs, "pair_blacklist": []},
        "pairlists": [{"method": "StaticPairList"}],
        "timeframe": "1m",
        "trading_mode": "spot",
        "stake_currency": "USDT",
        "stake_amount": NOTIONAL,
        "dry_run": True,
        "dry_run_wallet": BALANCE,
        "tradable_balance_ratio": 1.0,
        "max_open_trades": POSITIONS_MAX[work],
        "fee": FEE_FRACTION + SLIPPAGE_FRACTION,
        "minimal_roi": {"0": NEVER, str(timeout): -1.0} if timeout else {"0": NEVER},
        "entry_pricing": {"price_side": "other", "use_order_book": False},
        "exit_pricing": {"price_side": "other", "use_order_book": False},
        "export": "none",
    }


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """One frame per pair with the library's column names."""
    logging.disable(logging.WARNING)
    market = read(folder, days)
    frames = {}
    for symbol, columns in market.items():
        frames[f"{symbol.removesuffix('USDT')}/USDT"] = pd.DataFrame(
            {
                "date": pd.to_datetime(columns.open_ms, unit="ms", utc=True),
                **{name: getattr(columns, name) for name in ("open", "high", "low", "close", "volume")},
            }
        )
    offline({pair: spot_market(pair) for pair in frames})
    home = Path(tempfile.mkdtemp(prefix="freqtrade-"))  # it insists on a folder of its own
    atexit.register(shutil.rmtree, home)
    file = home / "config.json"
    file.write_text(json.dumps(settings(work, list(frames))))
    config = Configuration({"config": [str(file)], "user_data_dir": str(home)}, RunMode.BACKTEST).get_config()

    def run() -> Lap:
        backtesting = Backtesting(config, ExchangeResolver.load_exchange(config))
        backtesting.price_pair_prec = {pair: get_tick_size_over_time(frame) for pair, frame in frames.items()}
        backtesting.available_pairs = list(frames)
        (strategy,) = backtesting.strategylist
        backtesting._set_strategy(strategy)
        copies = {pair: frame.copy() for pair, frame in frames.items()}
        started = time.perf_counter()
        processed = strategy.advise_all_indicators(copies)
        start, end = get_timerange(processed)
        trades = backtesting.backtest(processed, start, end)["results"]
        seconds = time.perf_counter() - started
        return Lap(seconds, 2 * len(trades))

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("freqtrade", prepare)
