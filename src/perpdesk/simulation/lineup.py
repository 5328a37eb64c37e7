"""Which strategies a simulated desk runs: one version, two versions of one strategy, or two scorers.

Two versions of a family may hold the same symbol and side at once, on one netted position: what is proven of
one sleeve has to hold for two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np

from perpdesk.app import sleeves_of
from perpdesk.config import records
from perpdesk.config.load import Loaded, loads
from perpdesk.domain import units
from perpdesk.kernel.records import MINUTE_MS, bar_dt, zeros
from perpdesk.market.universe import Universe

ONE, TWO, SCORES, LADDERS = "one", "two", "scores", "ladders"
LINEUPS: Final = (ONE, TWO, SCORES)  # those that a mixed swarm draws from
# Hours that the scorers must have seen, and a few more.
_SCORE_HOURS = 204
# A warm-up longer than this is not all in the world: what was before it is made up.
MADE_UP_BEYOND = 60
# Small windows and near levels, so that a short run goes through every path.
_ACCOUNT = """
account: {balance_usdt: 10000, leverage: 5, margin_mode: isolated}
risk: {positions_max: %d, max_total_notional_usdt: %d, daily_loss_limit: 0.008, worst_case_fraction: 0.5}
"""
_SMA = """
sma_cross:
  fast: 1
  slow: 3
  notional_usdt: 1000
  positions_max: 3
  stop: 0.01
  trail_activation: 0.008
  trail_callback: 0.004
  take_profit: 0.005
  take_profit_share: 0.5
  cooldown_s: 30
"""
# The second one looks a little further back, buys less, and leaves later or earlier.
_SMA_SECOND = """
sma_cross:
  fast: 2
  slow: 4
  notional_usdt: 700
  positions_max: 3
  stop: 0.013
  trail_activation: 0.01
  trail_callback: 0.005
  take_profit: 0.007
  take_profit_share: 0.4
  cooldown_s: 20
"""
_SCORES = """
score:
  cooldown_s: 30
  versions:
    - {name: v2, scorer: v2, scan_interval_s: 60, margin_usdt: 200, leverage: 5, max_positions: 3,
       params: {min_score_to_trade: 20}}
    - {name: v3, scorer: v3, scan_interval_s: 60, margin_usdt: 130, leverage: 5, max_positions: 3,
       params: {min_score_long: 4, min_score_short: 4}}
  guardian:
    fixed_stop: -0.01
    timed_stops: [{within_s: 120, level: -0.008}]
    trailing: {activation: 0.008, retrace: 0.004, floor: 0.0015}
    timeouts: [{ratio: 0, minutes: 8}]
"""


@dataclass(frozen=True)
class Lineup:
    """What one desk runs. warmup_minutes: history that it must have seen. notional_usdt: of the
    largest entry."""

    name: str
    loaded: Loaded
    sleeves: tuple[records.Sleeve, ...]
    warmup_minutes: int
    notional_usdt: int


@cache
def lineup(name: str) -> Lineup:
    """A lineup by its name. Raises KeyError."""
    return {ONE: _one, TWO: _two, SCORES: _scores, LADDERS: _ladders}[name]()


def _one() -> Lineup:
    loaded = loads(_ACCOUNT % (3, 6000) + _SMA)
    return Lineup(ONE, loaded, tuple(sleeves_of(loaded, ("sma_cross",))), 30, 1000)


def _two() -> Lineup:
    loaded = loads(_ACCOUNT % (6, 8000) + _SMA)
    first, *_ = sleeves_of(loaded, ("sma_cross",))
    second, *_ = sleeves_of(loads(_ACCOUNT % (6, 8000) + _SMA_SECOND), ("sma_cross",))
    return Lineup(TWO, loaded, (first, replace(second, name="sma_later")), 30, 1000)


def _scores() -> Lineup:
    loaded = loads(_ACCOUNT % (6, 8000) + _SCORES)
    sleeves = tuple(sleeves_of(loaded, ("score_v2", "score_v3")))
    return Lineup(SCORES, loaded, sleeves, _SCORE_HOURS * 60, 1000)


def _ladders() -> Lineup:
    """Both scorers, entering in batches."""
    text = _SCORES.replace("scan_interval_s: 60,", "scan_interval_s: 60, entry_mode: ladder,")
    loaded = loads(_ACCOUNT % (6, 8000) + text)
    sleeves = tuple(sleeves_of(loaded, ("score_v2", "score_v3")))
    return Lineup(LADDERS, loaded, sleeves, _SCORE_HOURS * 60, 1000)


@cache
def rising(universe: Universe, last: Sequence[int], minutes: int) -> np.ndarray:
    """[minutes, N] of bar_dt without times: prices that rise to ``last`` in small waves, as both scorers
    like to see it."""
    bars = zeros((minutes, len(last)), bar_dt)
    t = np.arange(minutes + 1, dtype=np.float64)
    for s, price in enumerate(last):
        tick = int(universe.instruments[s].price_tick / units.price_of(1, universe.price_digits[s]))
        waves = 0.002 * np.sin(t / 97.0 + s) + 0.0007 * np.sin(t / 13.0)
        path = price * np.exp(-0.00001 * (minutes - t)) * (1 + waves - waves[-1])
        ticks = np.maximum(1, np.rint(path / tick)).astype(np.int64) * tick
        row = bars[:, s]
        row["open"], row["close"] = ticks[:-1], ticks[1:]
        row["high"] = np.maximum(row["open"], row["close"]) + tick
        row["low"] = np.maximum(tick, np.minimum(row["open"], row["close"]) - tick)
        row["volume_lots"] = 1_000 + 400 * (np.arange(minutes) % 7)
    return bars


def before(universe: Universe, last: Sequence[int], end_ms: int, minutes: int) -> np.ndarray:
    """The made-up history that ends at end_ms: [minutes, N] of bar_dt."""
    bars = rising(universe, tuple(last), minutes).copy()
    bars["open_ms"] = (end_ms - minutes * MINUTE_MS + MINUTE_MS * np.arange(minutes))[:, None]
    return bars


def chosen(seed: int) -> str:
    """The lineup of a seed of the swarm: half of them run one version."""
    share = math.floor(10 * ((seed * 0.6180339887498949) % 1.0))
    return ONE if share < 5 else TWO if share < 8 else SCORES
