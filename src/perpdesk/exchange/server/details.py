"""What the files say beyond open, high, low, close and volume: a bar's quote volume, trade count and taker
volume, and the open interest at its times. They are only shown; nothing is decided by them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from perpdesk.domain import units
from perpdesk.domain.errors import DataError
from perpdesk.domain.units import plain
from perpdesk.exchange.core.contracts import Contract
from perpdesk.market.columns import NUMBER, TEXT, TIME, Batch, Layout, batches, names_of
from perpdesk.market.sources import Source, find

COLUMNS = ("quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume")
CANDLES = Layout(
    required={"open_time": TIME},
    optional={"symbol": TEXT, **dict.fromkeys(COLUMNS, NUMBER)},
    aliases={},
    positional=("open_time", "open", "high", "low", "close", "volume", "close_time", *COLUMNS, "ignore"),
)
# Of Binance's own metrics files, by the endpoint that tells them.
RATIOS = {
    "sum_toptrader_long_short_ratio": "topLongShortPositionRatio",
    "sum_taker_long_short_vol_ratio": "takerlongshortRatio",
    "count_toptrader_long_short_ratio": "topLongShortAccountRatio",
    "count_long_short_ratio": "globalLongShortAccountRatio",
}
_VALUE = "sum_open_interest_value"
INTEREST = Layout(
    required={"time": TIME, "sum_open_interest": NUMBER},
    optional={"symbol": TEXT, "sum_open_interest_value": NUMBER, **dict.fromkeys(RATIOS, NUMBER)},
    nullable=frozenset(RATIOS),
    aliases={
        "create_time": "time",
        "timestamp": "time",
        "sumopeninterest": "sum_open_interest",
        "sumopeninterestvalue": "sum_open_interest_value",
    },
    positional=("time", "symbol", "sum_open_interest", "sum_open_interest_value"),
)


@dataclass
class CandleDetails:
    """One symbol's extra kline columns, in the file's own floats; a time that is not there has none."""

    index: dict[int, int] = field(default_factory=dict)
    columns: tuple[Any, ...] = ()

    def at(self, contract: Contract, open_ms: int) -> tuple[int, int, int, int] | None:
        """(quote_e8, trades, taker buy lots, taker buy quote_e8) of a minute."""
        row = self.index.get(open_ms)
        if row is None:
            return None
        quote, count, bought, bought_quote = (float(column[row]) for column in self.columns)
        if any(value != value for value in (quote, count, bought, bought_quote)):
            return None
        return (
            _units(quote, units.MONEY_DIGITS),
            int(count),
            units.lots_floor(Decimal(repr(bought)), contract.lot_step),
            _units(bought_quote, units.MONEY_DIGITS),
        )


def _units(value: float, digits: int) -> int:
    """The shortest decimal that the float stands for, cut to so many places."""
    return int(Decimal(repr(value)).scaleb(digits))


def _rows_of(source: Source, batch: Batch, symbol: str) -> np.ndarray:
    """Which rows of a batch belong to a symbol."""
    if "symbol" in batch.texts:
        codes, names = batch.texts["symbol"]
        mine = [i for i, name in enumerate(names) if name.upper() == symbol]
        return np.flatnonzero(np.isin(codes, mine))
    return np.arange(batch.size) if source.symbol == symbol else np.arange(0)


def candle_details(paths: Iterable[Path | str], symbols: Iterable[str]) -> dict[str, CandleDetails]:
    """The extra columns of the files under ``paths``; files without them are passed over."""
    found: dict[str, CandleDetails] = {}
    wanted = list(symbols)
    for source in find(paths):
        if not set(COLUMNS) <= set(names_of(source, CANDLES)):
            continue
        for batch in batches(source, CANDLES):
            for symbol in wanted:
                rows = _rows_of(source, batch, symbol)
                if not len(rows):
                    continue
                one = found.setdefault(symbol, CandleDetails())
                start = len(one.index)
                times = batch.values["open_time"][rows].tolist()
                one.index.update((ms, start + i) for i, ms in enumerate(times))
                fresh = [batch.values[name][rows] for name in COLUMNS]
                old = one.columns or ([np.empty(0)] * len(COLUMNS))
                one.columns = tuple(np.concatenate(pair) for pair in zip(old, fresh, strict=True))
    return found


@dataclass
class OpenInterest:
    """One symbol's rows in time order: (ms, quantity, value or None) as texts of the file's numbers.

    ratios: by endpoint, the long/short ratio at some of the times; without any, the exchange makes them up.
    """

    times: list[int] = field(default_factory=list)
    rows: list[tuple[str, str | None]] = field(default_factory=list)
    ratios: dict[str, dict[int, str]] = field(default_factory=dict)

    def at(self, now_ms: int) -> tuple[int, str] | None:
        """(time, quantity) of the newest row at or before now."""
        i = bisect_right(self.times, now_ms) - 1
        return (self.times[i], self.rows[i][0]) if i >= 0 else None

    def on_grid(self, period_ms: int, first_ms: int, last_ms: int) -> list[tuple[int, str, str]]:
        """Rows with a value whose time is a multiple of the period; gaps stay gaps."""
        return [
            (ms, quantity, value)
            for ms, (quantity, value) in zip(self.times, self.rows, strict=True)
            if value is not None and ms % period_ms == 0 and first_ms <= ms <= last_ms
        ]


def open_interest(paths: Iterable[Path | str], symbols: Iterable[str]) -> dict[str, OpenInterest]:
    """Open interest by symbol from the files under ``paths``. A time given twice: the row with a value."""
    wanted = list(symbols)
    gathered: dict[str, dict[int, tuple[str, str | None]]] = {symbol: {} for symbol in wanted}
    ratios: dict[str, dict[str, dict[int, str]]] = {symbol: {} for symbol in wanted}
    for source in find(paths, field="--oi"):
        name = _symbol_in_name(source, wanted)
        for batch in _interest_batches(source):
            for symbol in wanted:
                named = source if "symbol" in batch.texts else Source(source.path, name or "")
                rows = _rows_of(named, batch, symbol)
                values = batch.values.get("sum_open_interest_value")
                for i in rows.tolist():
                    quantity = float(batch.values["sum_open_interest"][i])
                    value = float(values[i]) if values is not None else float("nan")
                    if quantity != quantity:
                        continue
                    text = None if value != value else plain(Decimal(repr(value)))
                    ms = int(batch.values["time"][i])
                    before = gathered[symbol].get(ms)
                    if before is None or before[1] is None:
                        gathered[symbol][ms] = (plain(Decimal(repr(quantity))), text)
                    for column, endpoint in RATIOS.items():
                        told = batch.values.get(column)
                        if told is not None and told[i] == told[i]:
                            said = plain(Decimal(repr(float(told[i]))))
                            ratios[symbol].setdefault(endpoint, {})[ms] = said
    return {
        symbol: OpenInterest(sorted(rows), [rows[ms] for ms in sorted(rows)], ratios[symbol])
        for symbol, rows in gathered.items()
        if rows
    }


def _interest_batches(source: Source) -> list[Batch]:
    """The rows of a file; where values are missing in it, its quantities alone."""
    try:
        return list(batches(source, INTEREST))
    except DataError as error:
        if error.rule != "value":
            raise
    kept = {name: kind for name, kind in INTEREST.optional.items() if name != _VALUE}
    return list(batches(source, replace(INTEREST, optional=kept)))


def _symbol_in_name(source: Source, symbols: list[str]) -> str | None:
    name = (source.member or source.path.name).upper().replace("-", "_").replace(".", "_")
    return next((part for part in name.split("_") if part in symbols), None)
