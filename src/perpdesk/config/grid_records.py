"""From the section ``grid`` to what scanner, trigger and executor are told, and to the kernel's records."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

import numpy as np

from perpdesk.config.grid import Grid
from perpdesk.config.records import Sleeve, account_record
from perpdesk.config.schema import Config
from perpdesk.config.snapshot import Snapshot, snapshot
from perpdesk.domain.errors import InputError
from perpdesk.domain.units import money_e8, ppm_of
from perpdesk.kernel.records import guard_dt, sleeve_dt, zeros
from perpdesk.strategies.grid import strategy
from perpdesk.strategies.grid.params import ExecutorParams, ScannerParams, TriggerParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, Market
from perpdesk.strategies.grid.start import Rules

FAMILY_GRID = 3
NAME = "grid"
_MINUTE_MS = 60_000


def block_snapshot(config: Config, symbol: str) -> Snapshot:
    """The whole merged block of one symbol, canonical, and its hash: what zones, signals and orders carry."""
    return snapshot(config.grid.for_symbol(symbol))


def scanner_params(grid: Grid) -> ScannerParams:
    """The scanner's parameters as integers."""
    own = grid.scanner
    return ScannerParams(
        lookback_bars=own.lookback_bars,
        min_bars=own.min_bars,
        weight_15m_milli=_milli(own.weight_15m),
        weight_1h_milli=_milli(own.weight_1h),
        weight_4h_milli=_milli(own.weight_4h),
        bucket_ppm=_ppm(own.bucket_fraction),
        near_ppm=_ppm(own.near_fraction),
        far_ppm=_ppm(own.far_fraction),
        separation_atr_milli=_milli(own.separation_atr),
        separation_min_ppm=_ppm(own.separation_min_fraction),
        separation_max_ppm=_ppm(own.separation_max_fraction),
        min_peak_strength_ppm=_ppm(own.min_peak_strength),
        ma_period=own.ma_period,
        ma_snap_ppm=_ppm(own.ma_snap_fraction),
        zone_half_width_ppm=_ppm(own.zone_half_width_fraction),
        zone_valid_hours=own.zone_valid_hours,
        kmeans_k_min=own.kmeans_k_min,
        kmeans_k_max=own.kmeans_k_max,
        vpvr_rows=own.vpvr_rows,
        vpvr_bars=own.vpvr_bars,
    )


def trigger_params(grid: Grid) -> TriggerParams:
    """The trigger's parameters as integers."""
    own = grid.trigger
    values = {}
    for field in fields(TriggerParams):
        name = field.name.removesuffix("_ppm")
        value = getattr(own, name)
        values[field.name] = _ppm(value) if field.name.endswith("_ppm") else value
    return TriggerParams(**values)


def executor_params(grid: Grid) -> ExecutorParams:
    """The executor's parameters as integers."""
    own, sim = grid.executor, grid.sim
    return ExecutorParams(
        grid_levels=own.grid_levels,
        atr_multiplier_ppm=_ppm(own.atr_multiplier),
        spacing=own.spacing,
        order_size_e8=money_e8(own.order_size_usdt, "grid.executor.order_size_usdt"),
        allocated_capital_e8=money_e8(own.allocated_capital_usdt, "grid.executor.allocated_capital_usdt"),
        max_position_e8=money_e8(own.max_position_usdt, "grid.executor.max_position_usdt"),
        short_budget_e8=money_e8(own.short_budget_usdt, "grid.executor.short_budget_usdt"),
        initial_levels=own.initial_levels,
        stop_drawdown_ppm=_ppm(own.stop_drawdown_fraction),
        zone_break_buffer_ppm=_ppm(own.zone_break_buffer_fraction),
        max_run_ms=own.max_run_hours * 3_600_000,
        slippage_ppm=_ppm(sim.slippage_fraction),
        maker_ppm=_ppm(sim.maker_fee_fraction),
        taker_ppm=_ppm(sim.taker_fee_fraction),
    )


def start_rules(grid: Grid) -> Rules:
    """What the executor keeps to when it starts grids."""
    own = grid.executor
    return Rules(
        neutral=own.variant == "neutral",
        runs_max=own.max_concurrent_runs,
        cooldown_stop_ms=own.cooldown_stop_minutes * _MINUTE_MS,
        cooldown_ms=own.cooldown_minutes * _MINUTE_MS,
        distance_steps=own.max_signal_distance_steps,
    )


def market_of(instrument: np.record) -> Market:
    """What the venue asks of an order, per tick."""
    return Market(
        unit_e8=int(instrument.unit_e8) * int(instrument.tick),
        lots_min=int(instrument.lots_min),
        notional_min_e8=int(instrument.notional_min_e8),
    )


def fees_ppm(config: Config) -> tuple[int, int]:
    """(maker, taker) fee that a grid counts with."""
    return _ppm(config.grid.sim.maker_fee_fraction), _ppm(config.grid.sim.taker_fee_fraction)


def assume_of_account(account: np.recarray, config: Config) -> np.recarray:
    """The account with the grid's own slippage and volume share."""
    account = account.copy()
    account.slippage_ppm = _ppm(config.grid.sim.slippage_fraction)
    account.volume_share_ppm = _ppm(config.grid.sim.participation_fraction)
    return account


def account_of(config: Config) -> np.recarray:
    """A fresh account with the grid's own assumptions."""
    return assume_of_account(account_record(config), config)


def grid_sleeve(config: Config) -> Sleeve:
    """The sleeve of the grid; ``fitted`` gives it the parameters of the run's symbols."""
    limits = zeros(1, sleeve_dt)
    limits.family = FAMILY_GRID
    limits.positions_max = strategy.SYMBOLS_MAX
    return Sleeve(
        NAME, strategy.STRATEGY, zeros(1, strategy.params_dt), zeros(1, guard_dt).view(np.recarray), limits
    )


def symbol_record(grid: Grid, instrument: np.record, *, auto_start: bool) -> np.recarray:
    """The compiled executor's parameters for one symbol (shape (1,))."""
    params = executor_params(grid)
    neutral = grid.executor.variant == "neutral"
    return strategy.params_record(
        params,
        unit_e8=int(instrument.unit_e8),
        tick=int(instrument.tick),
        lots_min=int(instrument.lots_min),
        notional_min_e8=int(instrument.notional_min_e8),
        auto_start=auto_start,
        variant=NEUTRAL if neutral else LONG,
        restart_after_ms=grid.executor.cooldown_minutes * _MINUTE_MS if auto_start else 0,
        partial_timeout_ms=grid.executor.partial_entry_timeout_seconds * 1000,
    )


def fitted(
    config: Config, symbols: tuple[str, ...], instruments: np.recarray, *, signals_only: bool = False
) -> np.recarray:
    """The parameters (shape (1,)) of a run over these symbols. Raises InputError if there are too many.

    signals_only: no grid starts by itself, whatever the configuration says.
    """
    if len(symbols) > strategy.SYMBOLS_MAX:
        raise InputError(
            f"the grid trades at most {strategy.SYMBOLS_MAX} symbols, these are {len(symbols)}: choose some",
            field="--symbols",
        )
    always = config.grid.executor.start == "always" and not signals_only
    return strategy.params_records(
        [
            symbol_record(config.grid.for_symbol(symbol), instrument, auto_start=always)
            for symbol, instrument in zip(symbols, instruments, strict=True)
        ]
    )


def _ppm(value: Decimal) -> int:
    return ppm_of(value)


def _milli(value: Decimal) -> int:
    return int(value * 1000)
