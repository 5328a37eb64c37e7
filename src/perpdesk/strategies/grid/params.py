"""What the grid can be told: integers only, fractions as parts per million.

The defaults are the shipped ones. The config layer decodes YAML into these; the scanner and the trigger
read them as they are, the compiled executor reads a record made from ``ExecutorParams``
(strategy.params_record).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

PPM = 1_000_000
ARITHMETIC, GEOMETRIC = "arithmetic", "geometric"


def _check(block: object, ranges: dict[str, tuple[int, int]]) -> None:
    for name, (least, most) in ranges.items():
        value = getattr(block, name)
        if not least <= value <= most:
            raise ValueError(f"grid {type(block).__name__}.{name} = {value}: must be {least} .. {most}")


@dataclass(frozen=True)
class ScannerParams:
    """How zones are found. ``*_ppm`` are fractions of the last price; ``weight_*`` are per mille."""

    lookback_bars: int = 300
    min_bars: int = 100
    weight_15m_milli: int = 1000
    weight_1h_milli: int = 1200
    weight_4h_milli: int = 1500
    bucket_ppm: int = 1000
    near_ppm: int = 5000
    far_ppm: int = 150_000
    separation_atr_milli: int = 1500
    separation_min_ppm: int = 10_000
    separation_max_ppm: int = 50_000
    min_peak_strength_ppm: int = 100_000
    ma_period: int = 25
    ma_snap_ppm: int = 20_000
    zone_half_width_ppm: int = 5000
    zone_valid_hours: int = 6
    kmeans_k_min: int = 4
    kmeans_k_max: int = 8
    vpvr_rows: int = 48
    vpvr_bars: int = 100

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "lookback_bars": (100, 1500),
                "min_bars": (100, self.lookback_bars),
                "weight_15m_milli": (1, 10_000),
                "weight_1h_milli": (1, 10_000),
                "weight_4h_milli": (1, 10_000),
                "bucket_ppm": (200, 10_000),
                "near_ppm": (0, self.far_ppm - 1),
                "far_ppm": (1, 500_000),
                "separation_atr_milli": (0, 10_000),
                "separation_min_ppm": (0, self.separation_max_ppm),
                "separation_max_ppm": (0, 500_000),
                "min_peak_strength_ppm": (0, PPM - 1),
                "ma_period": (2, self.min_bars),
                "ma_snap_ppm": (0, 500_000),
                "zone_half_width_ppm": (1000, 20_000),
                "zone_valid_hours": (4, 24),
                "kmeans_k_min": (1, self.kmeans_k_max),
                "kmeans_k_max": (1, 16),
                "vpvr_rows": (24, 100),
                "vpvr_bars": (1, self.lookback_bars),
            },
        )


@dataclass(frozen=True)
class TriggerParams:
    """When a 15-minute bar is a signal. ``*_ppm`` multiply an average, a range or the zone's centre."""

    signal_life_bars: int = 4
    min_zone_confidence: int = 40
    average_bars: int = 20
    test_bars: int = 8
    background_bars: int = 20
    climax_spread_ppm: int = 1_800_000
    climax_volume_ppm: int = 2_500_000
    climax_close_ppm: int = 350_000
    stopping_volume_ppm: int = 1_800_000
    stopping_close_ppm: int = 500_000
    spring_volume_ppm: int = 700_000
    spring_close_ppm: int = 500_000
    penetration_ppm: int = 20_000
    shakeout_spread_ppm: int = 1_500_000
    shakeout_volume_ppm: int = 1_500_000
    shakeout_close_ppm: int = 700_000
    test_low_ppm: int = 3000
    quiet_volume_ppm: int = 700_000
    narrow_spread_ppm: int = 700_000

    def __post_init__(self) -> None:
        ranges = {
            "signal_life_bars": (1, 32),
            "min_zone_confidence": (0, 100),
            "average_bars": (5, 59),
            "test_bars": (1, 32),
            "background_bars": (1, 96),
        }
        _check(
            self,
            {field.name: ranges.get(field.name, (1, 10 * PPM)) for field in fields(self)},
        )


@dataclass(frozen=True)
class ExecutorParams:
    """What one grid run may do. Money is 1e-8 of the quote currency.

    level_cooldown_ms is for levels whose orders travel (machine.COOLDOWN, the engine's executor): in
    bar-driven runs a level's cooldown is over when the bar closes, so strategy.py does not read it.
    """

    grid_levels: int = 10
    atr_multiplier_ppm: int = 800_000
    spacing: str = ARITHMETIC
    order_size_e8: int = 100 * 10**8
    allocated_capital_e8: int = 1000 * 10**8
    max_position_e8: int = 1000 * 10**8
    short_budget_e8: int = 0
    initial_levels: int = 0
    stop_drawdown_ppm: int = 100_000
    zone_break_buffer_ppm: int = 5000
    max_run_ms: int = 168 * 3_600_000
    level_cooldown_ms: int = 5000
    slippage_ppm: int = 750
    maker_ppm: int = 200
    taker_ppm: int = 500

    def __post_init__(self) -> None:
        if self.spacing not in (ARITHMETIC, GEOMETRIC):
            raise ValueError(f"grid ExecutorParams.spacing = {self.spacing!r}: {ARITHMETIC} or {GEOMETRIC}")
        money = 100_000 * 10**8
        _check(
            self,
            {
                "grid_levels": (5, 50),
                "atr_multiplier_ppm": (100_000, 5_000_000),
                "order_size_e8": (1, 10_000 * 10**8),
                "allocated_capital_e8": (1, money),
                "max_position_e8": (1, money),
                "short_budget_e8": (0, self.max_position_e8),
                "initial_levels": (0, self.grid_levels),
                "stop_drawdown_ppm": (1, 500_000),
                "zone_break_buffer_ppm": (0, 50_000),
                "max_run_ms": (60_000, 10_000 * 3_600_000),
                "level_cooldown_ms": (0, 86_400_000),
                "slippage_ppm": (500, 10_000),
                "maker_ppm": (-1000, 10_000),
                "taker_ppm": (-1000, 10_000),
            },
        )
