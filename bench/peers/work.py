"""The work that every contestant does: the numbers of the rule, and reading the market into memory.

The rule: buy when the average of the last 20 closes crosses above that of the last 100, sell when it
crosses back. A stop 3 % below the entry; at +3 % a trailing exit takes over, 1.5 % below the peak.
W1 is one symbol over one year; W2 is many symbols over 30 days with at most 5 positions at a time and
an exit after 120 minutes. Decided at the close of a 1-minute bar, executed at the next open.

Needs numpy and pyarrow only, because it is imported in the environment of every peer.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as parquet

FAST, SLOW = 20, 100  # bars
STOP_FRACTION = 0.03
ARM_FRACTION = 0.03
RETRACE_FRACTION = 0.015
FEE_FRACTION = 0.0005  # taker, of every fill
SLIPPAGE_FRACTION = 0.0005  # of every market fill
BALANCE = 100_000.0  # USDT, so much that a year of fees never refuses an entry
NOTIONAL = 1_000.0  # USDT per entry
POSITIONS_MAX = {"w1": 1, "w2": 5}
TIMEOUT_MINUTES = {"w1": 0, "w2": 120}  # 0: none
DAY_BARS = 1_440


class Columns(NamedTuple):
    """One symbol's bars as columns: open_ms int64, the rest float64."""

    open_ms: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


def read(folder: Path, days: int) -> dict[str, Columns]:
    """The first ``days`` days of every symbol in the folder, sorted by symbol."""
    market = {}
    for path in sorted(folder.glob("*.parquet")):
        table = parquet.read_table(path).slice(0, days * DAY_BARS)
        floats = (table[name].to_numpy().astype(np.float64) for name in Columns._fields[1:])
        market[path.name.split("_")[0]] = Columns(table["open_time"].to_numpy(), *floats)
    if not market:
        raise FileNotFoundError(f"no parquet files in {folder}; bench/run.py makes them")
    return market


def count(market: dict[str, Columns]) -> int:
    """How many bars there are in all."""
    return sum(len(columns.close) for columns in market.values())


def price_digits(columns: Columns) -> int:
    """The fewest decimals that hold every price exactly."""
    for digits in range(9):
        scale = 10.0**digits
        if all(
            np.array_equal(np.rint(prices * scale) / scale, prices)
            for prices in (columns.open, columns.high, columns.low, columns.close)
        ):
            return digits
    raise ValueError("a price has more than 8 decimals")
