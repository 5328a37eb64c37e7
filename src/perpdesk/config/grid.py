"""The section ``grid``: scanner, trigger, executor, simulator, gate, and what differs for single symbols.

Code of its errors: E14. Fractions and multiples are decimals with at most six places. What rests on two keys
(steps, caps, minimums of the venue) is judged when a plan is made: strategies/grid/plan.py.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

import msgspec

from perpdesk.config.rules import Items, Name, Number, Word, fraction, money, whole

_CODE = "E14"
_MONEY_MAX = 100_000


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part: frozen, no unknown keys."""


def _multiple(noun: str = "a multiple", at_most: str = "10") -> Number:
    return Number(_CODE, noun, above=Decimal(0), at_most=Decimal(at_most), places=6)


def _share(at_least: str, at_most: str) -> Number:
    return fraction(_CODE, at_least=at_least, at_most=at_most)


Weight = Annotated[Decimal, Number(_CODE, "a weight", above=Decimal(0), at_most=Decimal(10), places=3)]
Multiple = Annotated[Decimal, _multiple()]
Money = Annotated[Decimal, money(_CODE, above=0, at_most=_MONEY_MAX)]
OrderSize = Annotated[Decimal, money(_CODE, above=0, at_most=10_000)]
Budget = Annotated[Decimal, money(_CODE, at_least=0, at_most=_MONEY_MAX)]
Levels = Annotated[int, whole(_CODE, "a whole number of levels a side", 5, 50)]
AtrMultiple = Annotated[Decimal, Number(_CODE, "a multiple", Decimal("0.1"), at_most=Decimal(5), places=6)]
Apart = Annotated[Decimal, Number(_CODE, "a multiple", Decimal(0), at_most=Decimal(10), places=3)]
Symbol = Annotated[
    str, Name(_CODE, re.compile(r"[A-Z0-9]{2,30}"), "a symbol such as BTCUSDT: capital letters and digits")
]


class Scanner(Part, frozen=True, kw_only=True):
    """How zones are found, every four hours."""

    lookback_bars: Annotated[int, whole(_CODE, "a whole number of bars", 100, 1500)] = 300
    min_bars: Annotated[int, whole(_CODE, "a whole number of bars", 100, 1500)] = 100
    weight_15m: Weight = Decimal(1)
    weight_1h: Weight = Decimal("1.2")
    weight_4h: Weight = Decimal("1.5")
    bucket_fraction: Annotated[Decimal, _share("0.0002", "0.01")] = Decimal("0.001")
    near_fraction: Annotated[Decimal, _share("0", "0.5")] = Decimal("0.005")
    far_fraction: Annotated[Decimal, _share("0", "0.5")] = Decimal("0.15")
    separation_atr: Apart = Decimal("1.5")
    separation_min_fraction: Annotated[Decimal, _share("0", "0.5")] = Decimal("0.01")
    separation_max_fraction: Annotated[Decimal, _share("0", "0.5")] = Decimal("0.05")
    min_peak_strength: Annotated[Decimal, fraction(_CODE, at_least=0, below=1)] = Decimal("0.1")
    ma_period: Annotated[int, whole(_CODE, "a whole number of bars", 2, 100)] = 25
    ma_snap_fraction: Annotated[Decimal, _share("0", "0.5")] = Decimal("0.02")
    zone_half_width_fraction: Annotated[Decimal, _share("0.001", "0.02")] = Decimal("0.005")
    zone_valid_hours: Annotated[int, whole(_CODE, "whole hours", 4, 24)] = 6
    kmeans_k_min: Annotated[int, whole(_CODE, "a whole number", 1, 16)] = 4
    kmeans_k_max: Annotated[int, whole(_CODE, "a whole number", 1, 16)] = 8
    vpvr_rows: Annotated[int, whole(_CODE, "a whole number of rows", 24, 100)] = 48
    vpvr_bars: Annotated[int, whole(_CODE, "a whole number of bars", 1, 100)] = 100


class Trigger(Part, frozen=True, kw_only=True):
    """When a 15-minute bar at a zone is a signal. Multiples are of the average bar or of the bar's range."""

    signal_life_bars: Annotated[int, whole(_CODE, "a whole number of bars", 1, 32)] = 4
    min_zone_confidence: Annotated[int, whole(_CODE, "a confidence", 0, 100)] = 40
    average_bars: Annotated[int, whole(_CODE, "a whole number of bars", 5, 59)] = 20
    test_bars: Annotated[int, whole(_CODE, "a whole number of bars", 1, 32)] = 8
    background_bars: Annotated[int, whole(_CODE, "a whole number of bars", 1, 96)] = 20
    climax_spread: Multiple = Decimal("1.8")
    climax_volume: Multiple = Decimal("2.5")
    climax_close: Multiple = Decimal("0.35")
    stopping_volume: Multiple = Decimal("1.8")
    stopping_close: Multiple = Decimal("0.5")
    spring_volume: Multiple = Decimal("0.7")
    spring_close: Multiple = Decimal("0.5")
    penetration: Multiple = Decimal("0.02")
    shakeout_spread: Multiple = Decimal("1.5")
    shakeout_volume: Multiple = Decimal("1.5")
    shakeout_close: Multiple = Decimal("0.7")
    test_low: Multiple = Decimal("0.003")
    quiet_volume: Multiple = Decimal("0.7")
    narrow_spread: Multiple = Decimal("0.7")


class Executor(Part, frozen=True, kw_only=True):
    """What one grid may do. Money is USDT per symbol. start: on a signal, or always when idle."""

    start: Annotated[str, Word(_CODE, ("signal", "always"))] = "signal"
    variant: Annotated[str, Word(_CODE, ("by_signal", "neutral"))] = "by_signal"
    grid_levels: Levels = 10
    atr_multiplier: AtrMultiple = Decimal("0.8")
    spacing: Annotated[str, Word(_CODE, ("arithmetic", "geometric"))] = "arithmetic"
    order_size_usdt: OrderSize = Decimal(100)
    allocated_capital_usdt: Money = Decimal(1000)
    max_position_usdt: Money = Decimal(1000)
    short_budget_usdt: Budget = Decimal(0)
    initial_levels: Annotated[int, whole(_CODE, "a whole number of levels", 0, 50)] = 0
    max_concurrent_runs: Annotated[int, whole(_CODE, "a whole number of runs", 1, 20)] = 3
    stop_drawdown_fraction: Annotated[Decimal, fraction(_CODE, above=0, at_most="0.5")] = Decimal("0.1")
    zone_break_buffer_fraction: Annotated[Decimal, _share("0", "0.05")] = Decimal("0.005")
    max_run_hours: Annotated[int, whole(_CODE, "whole hours", 1, 10_000)] = 168
    cooldown_stop_minutes: Annotated[int, whole(_CODE, "whole minutes", 0, 10_080)] = 240
    cooldown_minutes: Annotated[int, whole(_CODE, "whole minutes", 0, 10_080)] = 15
    partial_entry_timeout_seconds: Annotated[int, whole(_CODE, "whole seconds", 0, 86_400)] = 600
    max_signal_distance_steps: Annotated[int, whole(_CODE, "a whole number of steps", 1, 5)] = 1


class Sim(Part, frozen=True, kw_only=True):
    """What the simulated exchange assumes of a grid's orders. Slippage below 0.05 % is not realistic."""

    slippage_fraction: Annotated[Decimal, _share("0.0005", "0.01")] = Decimal("0.00075")
    maker_fee_fraction: Annotated[Decimal, _share("-0.001", "0.01")] = Decimal("0.0002")
    taker_fee_fraction: Annotated[Decimal, _share("-0.001", "0.01")] = Decimal("0.0005")
    participation_fraction: Annotated[Decimal, fraction(_CODE, above=0, at_most=1)] = Decimal("0.1")
    assumed_funding_fraction_8h: Annotated[Decimal, _share("0", "0.01")] = Decimal("0.0001")


class Gate(Part, frozen=True, kw_only=True):
    """What must be on record before a grid is started."""

    min_backtest_days: Annotated[int, whole(_CODE, "whole days", 1, 3650)] = 90
    max_missing_fraction: Annotated[Decimal, _share("0", "1")] = Decimal("0.001")
    min_paper_days: Annotated[int, whole(_CODE, "whole days", 0, 3650)] = 30


class ExecutorOverride(Part, frozen=True, kw_only=True):
    """The executor's keys that may differ for a symbol; null: as for all."""

    grid_levels: Levels | None = None
    atr_multiplier: AtrMultiple | None = None
    order_size_usdt: OrderSize | None = None
    allocated_capital_usdt: Money | None = None
    max_position_usdt: Money | None = None
    short_budget_usdt: Budget | None = None


class Override(Part, frozen=True, kw_only=True):
    """What differs for one symbol."""

    name: Symbol
    executor: ExecutorOverride = ExecutorOverride()


class Grid(Part, frozen=True, kw_only=True):
    """The automatic grid. symbol_overrides: one entry a symbol, addressed by its name."""

    scanner: Scanner = Scanner()
    trigger: Trigger = Trigger()
    executor: Executor = Executor()
    sim: Sim = Sim()
    gate: Gate = Gate()
    symbol_overrides: Annotated[tuple[Override, ...], Items(_CODE, 20)] = ()

    def for_symbol(self, symbol: str) -> Grid:
        """The block that holds for one symbol, its override merged in."""
        executor = self.executor
        for override in self.symbol_overrides:
            if override.name == symbol:
                given = msgspec.structs.asdict(override.executor)
                changes = {name: value for name, value in given.items() if value is not None}
                executor = msgspec.structs.replace(executor, **changes)
        return msgspec.structs.replace(self, executor=executor, symbol_overrides=())
