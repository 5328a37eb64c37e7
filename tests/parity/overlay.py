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


# Coins that move little, looked at from near: a day has a hundred fills.
LOCKSTEP = """
account: {balance_usdt: 10000, leverage: 6, margin_mode: isolated}
paper: {slippage: 0, volume_share: null}
risk: {disaster: {max: 0.1}}
oi:
  initial_balance_usdt: 8000
  timeout_min: 25
  disaster_max: 0.01
  breakeven_roi: 0.018
  fee_taker: 0.0005
  slippage: 0
  cooldown_s: 60
  tp_legs: [{share: 0.3, move: 0.003}, {share: 0.3, move: 0.006}]
  trailing: {share: 0.4, activation: 0.004, callback: 0.002}
"""
# What the ratios of a jump are: good ones, top traders on the other side, nothing that could be one.
MOODS = (BEST, BEST, BEST, BEST, (0.9, 1.4, 3.5, 1.0), (0.0, 0.0, 0.0, 0.0))


def write_with_moods(
    bars: np.ndarray, start_ms: int, symbols: tuple[str, ...], path: Path, first: int, *, apart: int = 12
) -> int:
    """The same with jumps after minute ``first`` only, closer together, and ratios that change ahead of each.

    Ratios stand on the grid of five minutes, as the exchange tells them. Returns how often it jumps.
    """
    frames, count = [], 0
    for s, symbol in enumerate(symbols):
        closes = pl.Series(bars["close"][:, s]).replace(0, None).forward_fill().backward_fill()
        prices, draw = closes.cast(pl.Float64).to_numpy(), np.random.default_rng(100 + s)
        rises = np.concatenate([np.zeros(5), prices[5:] / prices[:-5] - 1])
        interest = 1e6 * np.exp(np.cumsum(draw.normal(0, 2e-4, len(prices))))
        ratios = np.tile(np.array(BEST), (len(prices), 1))
        last = first - apart
        for minute in np.flatnonzero((rises >= 0.0052) & (rises <= 0.025)):
            if minute - last >= apart:
                interest[minute:] *= 1.04
                mood = MOODS[int(draw.integers(len(MOODS)))]
                grid = (minute + 1) // 5 * 5 - 1  # a row's time is the close of its minute
                ratios[grid:] = mood
                last, count = minute, count + 1
        times = start_ms + (np.arange(len(prices)) + 1) * MINUTE_MS
        columns = {name: ratios[:, k] for k, name in enumerate(RATIOS)}
        frames.append(
            pl.DataFrame(
                {
                    "symbol": symbol, "time": times, "sum_open_interest": interest, "funding_rate": 0.0,
                    "funding_interval_h": 8.0, **columns,
                }
            )
        )  # fmt: skip
    pl.concat(frames).write_parquet(path)
    return count
