"""Open interest that nobody has recorded: it breathes, and jumps where the price has just risen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.interest import RATIOS

BEST = (1.6, 1.4, 3.5, 1.0)
# Exits near enough that all of them happen to coins that move little.
CONFIG = """
oi:
  initial_balance_usdt: 8000
  timeout_min: 60
  disaster_max: 0.012
  breakeven_roi: 0.05
  tp_legs: [{share: 0.3, move: 0.006}, {share: 0.3, move: 0.0138}]
  trailing: {share: 0.4, activation: 0.01, callback: 0.004}
"""


def planted(closes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Open interest of one symbol that breathes, and jumps by 4 % where the price has just risen; and where."""
    draw = np.random.default_rng(seed)
    rises = closes[5:] / closes[:-5] - 1
    interest = 1e6 * np.exp(np.cumsum(draw.normal(0, 2e-4, len(closes))))
    where, last = [], -1000
    for minute in np.flatnonzero((rises >= 0.0055) & (rises <= 0.025)) + 5:
        if minute - last >= 50:
            interest[minute:] *= 1.04
            where.append(minute)
            last = minute
    return interest, np.array(where)


def write(bars: np.ndarray, start_ms: int, symbols: tuple[str, ...], path: Path) -> int:
    """A file for ``--oi`` over bars [T, N], a row at the close of every minute. Returns how often it jumps."""
    frames, count = [], 0
    for s, symbol in enumerate(symbols):
        closes = pl.Series(bars["close"][:, s]).replace(0, None).forward_fill().backward_fill()
        interest, where = planted(closes.cast(pl.Float64).to_numpy(), s)
        count += len(where)
        ratios = {name: np.full(len(closes), value) for name, value in zip(RATIOS, BEST, strict=True)}
        times = start_ms + (np.arange(len(closes)) + 1) * MINUTE_MS
        frames.append(
            pl.DataFrame({"symbol": symbol, "time": times, "sum_open_interest": interest, **ratios})
        )
    pl.concat(frames).write_parquet(path)
    return count
