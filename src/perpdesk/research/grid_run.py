"""A grid's run over recorded minutes: the scans and signals of every symbol, and who starts grids on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perpdesk.config import grid_records
from perpdesk.config.records import Sleeve
from perpdesk.config.schema import Config
from perpdesk.domain.units import rate_e8
from perpdesk.kernel.records import ASSUMED, SLOT_OWN, funding_dt, zeros
from perpdesk.strategies.grid.chain import Story, tell
from perpdesk.strategies.grid.conduct import Conductor, Lane
from perpdesk.strategies.grid.strategy import number_states

__all__ = ["Conductor", "number_states"]

_EIGHT_HOURS_MS = 8 * 3_600_000


def is_grid(sleeves: Sequence[Sleeve]) -> bool:
    """Is this the grid's run? It runs alone."""
    return len(sleeves) == 1 and sleeves[0].name == grid_records.NAME


def slots_needed(config: Config, symbols: Sequence[str]) -> int:
    """Order slots per symbol: as few as hold the largest ladder."""
    executors = [config.grid.for_symbol(symbol).executor for symbol in symbols]
    return SLOT_OWN + max(2 * one.grid_levels + one.initial_levels for one in executors)


def stories(
    config: Config, symbols: Sequence[str], ticks: Sequence[int], minutes: np.ndarray, from_ms: int
) -> list[Story]:
    """All scans and signals of each symbol. minutes: [T, N], warm-up included; ticks in price units."""
    told = []
    for s, symbol in enumerate(symbols):
        block = config.grid.for_symbol(symbol)
        told.append(
            tell(
                minutes[:, s],
                grid_records.scanner_params(block),
                grid_records.trigger_params(block),
                symbol=symbol,
                params_hash=grid_records.block_snapshot(config, symbol).params_hash,
                tick=ticks[s],
                from_ms=from_ms,
            )
        )
    return told


def conductor_of(
    config: Config, symbols: Sequence[str], instruments: np.recarray, minutes: np.ndarray, from_ms: int
) -> Conductor | None:
    """Who starts the grids of a run on their signals; None where they start by themselves."""
    if config.grid.executor.start == "always":
        return None
    ticks = [int(one.tick) for one in instruments]
    told = stories(config, symbols, ticks, minutes, from_ms)
    lanes = [
        Lane(
            grid_records.executor_params(config.grid.for_symbol(symbol)),
            grid_records.market_of(instruments[s]),
            ticks[s],
            told[s].offers,
        )
        for s, symbol in enumerate(symbols)
    ]
    return Conductor(lanes, grid_records.start_rules(config.grid), stories=told)


def assumed_funding(config: Config, symbols: int, from_ms: int, to_ms: int) -> np.recarray:
    """Rows of funding_dt every eight hours of UTC within (from_ms, to_ms], to be paid by whoever holds."""
    times = np.arange((from_ms // _EIGHT_HOURS_MS + 1) * _EIGHT_HOURS_MS, to_ms + 1, _EIGHT_HOURS_MS)
    rows = zeros(len(times) * symbols, funding_dt)
    rows["ms"] = np.repeat(times, symbols)
    rows["symbol"] = np.tile(np.arange(symbols), len(times))
    rows["rate_e8"] = rate_e8(config.grid.sim.assumed_funding_fraction_8h)
    rows["mark"] = ASSUMED
    return rows
