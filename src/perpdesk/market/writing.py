"""Bars, funding and open interest written in the layout that the readers take: parquet, one file per symbol.

The encoding is chosen for reading speed: prices split into byte streams, times as differences, lz4.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perpdesk.domain import units
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.market.bars import PRICES, Records
from perpdesk.market.findings import utc_text
from perpdesk.market.instruments import synthetic_symbols
from perpdesk.market.synthetic import (
    START_MS,
    SyntheticMarket,
    instrument_of,
    market_weather,
    synthetic_symbol,
)
from perpdesk.market.tape import Tape
from perpdesk.market.universe import Universe

ROW_GROUP_ROWS = 65_536


def write_parquet(tape: Tape, folder: Path | str) -> list[Path]:
    """One file per symbol with the bars that are present; a symbol without bars gets none."""
    universe = tape.universe
    paths = []
    for j, symbol in enumerate(universe.symbols):
        column = tape.bars[:, j]
        present = column[column.open_ms != ABSENT_MS]
        if present.size:
            paths.append(_write_bars(folder, symbol, present, universe.price_digits[j], universe.lot_step[j]))
    return paths


def write_funding(funding: Records, universe: Universe, path: Path | str) -> Path:
    """funding_dt as ``symbol, funding_time, funding_rate`` (the mark is left out)."""
    return _write(
        path,
        {
            "symbol": _names(universe, funding.symbol),
            "funding_time": funding.ms,
            "funding_rate": funding.rate_e8 / 1e8,
        },
    )


def write_open_interest(market: SyntheticMarket, path: Path | str) -> Path:
    """Every minute's open interest, timed at the close of its step: ``symbol, time, sum_open_interest`` in
    base currency and ``sum_open_interest_value`` in quote currency."""
    tape, universe = market.tape, market.tape.universe
    steps, width = market.open_interest.shape
    amount = np.empty((steps, width))
    price = np.empty((steps, width))
    for j in range(width):
        amount[:, j] = _decimals(market.open_interest[:, j], universe.lot_step[j])
        price[:, j] = tape.bars.close[:, j] / 10.0 ** universe.price_digits[j]
    times = tape.start_ms + (np.arange(steps, dtype=np.int64) + 1) * MINUTE_MS
    return _write(
        path,
        {
            "symbol": _names(universe, np.tile(np.arange(width), steps)),
            "time": np.repeat(times, width),
            "sum_open_interest": amount.reshape(-1),
            "sum_open_interest_value": (amount * price).reshape(-1),
        },
    )


def write_market(market: SyntheticMarket, folder: Path | str) -> Path:
    """A whole synthetic market: ``klines_1m/``, ``funding/`` and ``open_interest/`` under ``folder``."""
    root = Path(folder)
    write_parquet(market.tape, root / "klines_1m")
    write_funding(market.funding, market.tape.universe, root / "funding" / "synthetic.parquet")
    write_open_interest(market, root / "open_interest" / "synthetic.parquet")
    return root


def write_synthetic(
    folder: Path | str, seed: int, symbols: int | Sequence[str], minutes: int, start_ms: int = START_MS
) -> list[Path]:
    """The bars of ``synthetic_market``, one symbol at a time: memory does not grow with their number."""
    names = sorted(set(synthetic_symbols(symbols) if isinstance(symbols, int) else symbols))
    weather = market_weather(seed, minutes, start_ms)
    paths = []
    for name in names:
        one = synthetic_symbol(weather, instrument_of(name))
        digits = units.digits_of(one.instrument.price_tick)
        paths.append(_write_bars(folder, name, one.bars, digits, one.instrument.lot_step))
    return paths


def _write_bars(folder: Path | str, symbol: str, bars: Records, price_digits: int, lot_step: Decimal) -> Path:
    first, last = utc_text(int(bars.open_ms[0]))[:10], utc_text(int(bars.open_ms[-1]))[:10]
    columns: dict[str, object] = {"open_time": bars.open_ms}
    columns |= {name: bars[name] / 10.0**price_digits for name in PRICES}
    columns["volume"] = _decimals(bars.volume_lots, lot_step)
    return _write(Path(folder) / f"{symbol}_1m_{first}_{last}.parquet", columns)


def _decimals(lots: NDArray[np.int64], lot_step: Decimal) -> NDArray[np.float64]:
    """The float64 nearest to lots × lot_step."""
    digits = units.digits_of(lot_step)
    quantity: NDArray[np.float64] = lots * units.to_units(lot_step, digits) / 10.0**digits
    return quantity


def _names(universe: Universe, index: NDArray[np.int64]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(universe.symbols)).cast(
        pa.string()
    )


def _write(path: Path | str, columns: dict[str, object]) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {name: np.ascontiguousarray(c) if isinstance(c, np.ndarray) else c for name, c in columns.items()}
    )
    encoding = {
        field.name: "DELTA_BINARY_PACKED" if pa.types.is_integer(field.type) else "BYTE_STREAM_SPLIT"
        for field in table.schema
        if not pa.types.is_string(field.type)
    }
    aside = target.with_name(f".{target.name}.new")
    pq.write_table(
        table,
        aside,
        row_group_size=ROW_GROUP_ROWS,
        compression="lz4",
        use_dictionary=[name for name in table.column_names if name not in encoding],
        column_encoding=encoding,
    )
    aside.replace(target)
    return target
