"""From the section ``oi`` to the kernel's records: what radar and strategy decide with, and the guard."""

from __future__ import annotations

import numpy as np

from perpdesk.config.oi import Oi
from perpdesk.config.records import Sleeve
from perpdesk.config.schema import Config
from perpdesk.domain.units import money_e8, ppm_of
from perpdesk.kernel.guard import q9
from perpdesk.kernel.records import MINUTE_MS, guard_dt, sleeve_dt, zeros
from perpdesk.strategies import oi_breakout
from perpdesk.strategies.oi_breakout.exits import disaster_ppm, liquidation_distance_ppm

FAMILY_OI = 4
NAME = "oi_breakout"
# The maintenance rate that is assumed where a bracket is not known.
_MMR_PPM = 25_000
_POINTS = 100
# A trailing exit of the guard's own that never acts: the break-even stop needs its arming alone.
_NEVER = 1e6


def params(oi: Oi) -> np.recarray:
    """What radar and strategy decide with (shape (1,)). Percent points become fractions here only."""
    return oi_breakout.params_record(
        thresholds={int(key): float(points / _POINTS) for key, points in oi.thresholds.items()},
        interval_ms=oi.polling_interval_ms,
        severity_medium=float(oi.severity_thresholds.medium / _POINTS),
        severity_high=float(oi.severity_thresholds.high / _POINTS),
        dedup_difference=float(oi.dedup_change_diff_threshold / _POINTS),
        allow_short=oi.allow_short,
        rescale=oi.sentiment_missing == "rescale",
        min_score=float(oi.min_score),
        score_floor=float(oi.score_floor),
        min_confidence=float(oi.min_confidence),
        min_confidence_degraded=float(oi.min_confidence_degraded),
        chase_penalty_from=float(oi.chase_penalty_from),
        chase_penalty=float(oi.chase_penalty),
        chase_reject_above=float(oi.chase_reject_above),
        bonus_step=float(oi.bonus_step),
        bonus_cap=float(oi.bonus_cap),
        margin_e8=margin_e8(oi),
        leverage=oi.leverage,
        stop_ppm=stop_ppm(oi),
        timeout_ms=oi.timeout_min * MINUTE_MS,
        stage_share_ppm=tuple(ppm_of(leg.share, "oi.tp_legs.share") for leg in oi.tp_legs),
        trail_callback_ppm=ppm_of(oi.trailing.callback, "oi.trailing.callback"),
    )


def margin_e8(oi: Oi) -> int:
    """Margin of an entry, in 1e-8 USDT, rounded down."""
    balance_e8 = money_e8(oi.initial_balance_usdt, "oi.initial_balance_usdt")
    return balance_e8 * ppm_of(oi.margin_fraction, "oi.margin_fraction") // 1_000_000


def stop_ppm(oi: Oi) -> int:
    """Distance of the last stop of every position, strictly within the gate's limit before liquidation."""
    room = liquidation_distance_ppm(1, 0, oi.leverage, _MMR_PPM)
    far = disaster_ppm(
        room,
        ppm_of(oi.disaster_max, "oi.disaster_max"),
        ppm_of(oi.disaster_liq_share, "oi.disaster_liq_share"),
    )
    return max(1, int(far) - 1)


def guard(oi: Oi) -> np.recarray:
    """The guard of every position (shape (1,)): last stop, break-even, stages, timeout."""
    record = zeros(1, guard_dt)
    record.stop_ppm = stop_ppm(oi)
    record.ratchet_ppm = ppm_of(oi.breakeven_offset, "oi.fee_taker")
    record.trail_activation_ppm = ppm_of(oi.trailing.activation, "oi.trailing.activation")
    record.timeout_ms = oi.timeout_min * MINUTE_MS
    record.trailing_activation = q9(float(oi.breakeven_roi) / oi.leverage)
    record.trailing_retrace = _NEVER
    record.trailing_floor = -_NEVER
    for place, leg in enumerate(oi.tp_legs):
        record.stage_ppm[0, place] = ppm_of(leg.move, "oi.tp_legs.move")
    return record


def oi_sleeve(config: Config) -> Sleeve:
    """The sleeve of oi_breakout."""
    limits = zeros(1, sleeve_dt)
    limits.family = FAMILY_OI
    limits.positions_max = min(config.oi.max_positions, config.risk.positions_max)
    limits.cooldown_ms = config.oi.cooldown_s * 1_000
    return Sleeve(NAME, oi_breakout.STRATEGY, params(config.oi), guard(config.oi), limits)
