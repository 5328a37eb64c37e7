"""What the radar and the breakout strategy decide with, as one record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perpdesk.kernel.records import STAGES_MAX, zeros

PERIODS_MAX = 8
_PPM = 1_000_000

# period_ms ascending, threshold its least change (fraction); period_count of them are real.
# stage_share_ppm: shares of a position sold at the guard's stages; the rest trails.
params_dt = np.dtype(
    [
        (name, "i8")
        for name in (
            "interval_ms",
            "period_count",
            "allow_short",
            "rescale",
            "margin_e8",
            "leverage",
            "stop_ppm",
            "timeout_ms",
            "trail_callback_ppm",
        )
    ]
    + [
        ("stage_share_ppm", "i8", (STAGES_MAX,)),
        ("period_ms", "i8", (PERIODS_MAX,)),
        ("threshold", "f8", (PERIODS_MAX,)),
    ]
    + [
        (name, "f8")
        for name in (
            "severity_medium",
            "severity_high",
            "dedup_difference",
            "min_score",
            "score_floor",
            "min_confidence",
            "min_confidence_degraded",
            "chase_penalty_from",
            "chase_penalty",
            "chase_reject_above",
            "bonus_step",
            "bonus_cap",
        )
    ],
    align=True,
)

# Seconds to the least change.
THRESHOLDS: Mapping[int, float] = {60: 0.03, 120: 0.03, 300: 0.03, 900: 0.10}


def params_record(
    *,
    thresholds: Mapping[int, float] = THRESHOLDS,
    interval_ms: int = 60_000,
    severity_medium: float = 0.15,
    severity_high: float = 0.30,
    dedup_difference: float = 0.02,
    allow_short: bool = False,
    rescale: bool = False,
    min_score: float = 8.0,
    score_floor: float = 4.0,
    min_confidence: float = 0.70,
    min_confidence_degraded: float = 0.50,
    chase_penalty_from: float = 0.08,
    chase_penalty: float = 3.0,
    chase_reject_above: float = 0.08,
    bonus_step: float = 0.5,
    bonus_cap: float = 1.0,
    margin_e8: int = 5 * 10**8,
    leverage: int = 6,
    stop_ppm: int = 113_331,
    timeout_ms: int = 7_200_000,
    stage_share_ppm: tuple[int, ...] = (300_000, 300_000),
    trail_callback_ppm: int = 30_000,
) -> np.recarray:
    """One params record (shape (1,)). thresholds: seconds → least change as a fraction, ascending.

    rescale: score without sentiment instead of refusing. Margin in 1e-8 of the quote currency; shares, stop
    and callback in parts per million. Raises ValueError naming the parameter that is out of its range.
    """

    def check(name: str, value: object, good: bool, rule: str) -> None:
        if not good:
            raise ValueError(f"oi_breakout {name} = {value!r}: must be {rule}")

    periods = list(thresholds)
    check("interval_ms", interval_ms, 15_000 <= interval_ms <= 600_000, "15,000 .. 600,000")
    check(
        "thresholds",
        dict(thresholds),
        0 < len(periods) <= PERIODS_MAX
        and periods == sorted(periods)
        and all(15 <= period <= 7200 for period in periods)
        and all(0 < least <= 0.5 for least in thresholds.values()),
        f"1 to {PERIODS_MAX} ascending periods of 15 to 7200 s, each above 0 and at most 0.5",
    )
    check(
        "thresholds",
        dict(thresholds),
        all(period * 1000 % interval_ms == 0 for period in periods),
        f"multiples of the polling interval, {interval_ms} ms",
    )
    check("margin_e8", margin_e8, 0 < margin_e8 <= 10**14, "above 0 and at most 1e14")
    check("leverage", leverage, 1 <= leverage <= 20, "1 .. 20")
    check("stop_ppm", stop_ppm, 0 < stop_ppm < _PPM, "above 0 and below 1,000,000")
    check(
        "stage_share_ppm",
        stage_share_ppm,
        len(stage_share_ppm) <= STAGES_MAX
        and all(share > 0 for share in stage_share_ppm)
        and sum(stage_share_ppm) <= _PPM,
        f"at most {STAGES_MAX} shares above 0, together at most 1,000,000",
    )
    check("severity", (severity_medium, severity_high), 0 < severity_medium < severity_high, "ascending")

    values = {key: value for key, value in locals().items() if key in (params_dt.names or ())}
    record = zeros(1, params_dt)
    for name, value in values.items():
        if name != "stage_share_ppm":
            record[name] = value
    for place, share in enumerate(stage_share_ppm):
        record.stage_share_ppm[0, place] = share
    record.period_count = len(periods)
    for place, (period, least) in enumerate(thresholds.items()):
        record.period_ms[0, place] = period * 1000
        record.threshold[0, place] = least
    return record
