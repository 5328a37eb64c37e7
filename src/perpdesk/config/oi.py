"""The section ``oi``: the radar, its scores, and the breakout account. Code of its errors: E15.

Three keys are percent points, as their tables in the database are: ``thresholds``, ``severity_thresholds``
and ``dedup_change_diff_threshold``. Everything else is a fraction. ``oi_monitoring_config`` holds the same
keys as JSON and is read by the same rules (``oi_rows.py``).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

import msgspec

from perpdesk.config.rules import Items, Keyed, Name, Number, Word, fraction, money, whole

_CODE = "E15"
PERIODS_MAX = 8
# What the planned polls of one minute cost beside one per symbol: marks, positions, orders of five positions,
# and a sweep of all orders every five minutes.
WEIGHT_BESIDE = 56
STAGES_MAX = 2


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part: frozen, no unknown keys."""


def _points(at_least: str, at_most: str) -> Number:
    return Number(_CODE, "percent points", Decimal(at_least), at_most=Decimal(at_most), places=4)


Share = Annotated[Decimal, fraction(_CODE, above=0, below=1)]
Move = Annotated[Decimal, fraction(_CODE, above=0, below=5, noun="a fraction of the entry price")]
Score = Annotated[Decimal, Number(_CODE, "a score", Decimal(0), at_most=Decimal(10), places=4)]
Confidence = Annotated[Decimal, fraction(_CODE, at_least=0, at_most=1)]
Chase = Annotated[Decimal, fraction(_CODE, at_least="0.005", at_most="0.5")]
Symbol = Annotated[
    str,
    Name(
        _CODE, re.compile(r"[^\W_]{2,30}"), "an exact symbol such as BTCUSDT, no pattern and no part of one"
    ),
]
Thresholds = Annotated[
    dict[str, Annotated[Decimal, _points("0.1", "50")]],
    Keyed(_CODE, re.compile(r"[1-9][0-9]{1,3}"), "a period in whole seconds, 15 to 7200", PERIODS_MAX),
]


class Severity(Part, frozen=True, kw_only=True):
    """From which change on an anomaly is medium and high, in percent points."""

    medium: Annotated[Decimal, _points("0.1", "1000")] = Decimal(15)
    high: Annotated[Decimal, _points("0.1", "1000")] = Decimal(30)


class Stage(Part, frozen=True, kw_only=True):
    """So much of a position is sold at so much profit."""

    share: Share
    move: Move


class TrailingRest(Part, frozen=True, kw_only=True):
    """The rest trails: active at ``activation``, sold ``callback`` below the best price since."""

    share: Annotated[Decimal, fraction(_CODE, above=0, at_most=1)] = Decimal("0.4")
    activation: Move = Decimal("0.05")
    callback: Annotated[Decimal, fraction(_CODE, at_least="0.001", at_most="0.1")] = Decimal("0.03")


class Oi(Part, frozen=True, kw_only=True):
    """Open interest of all symbols every minute; anomalies are scored, the best are bought."""

    polling_interval_ms: Annotated[int, whole(_CODE, "whole milliseconds", 15_000, 600_000)] = 60_000
    thresholds: Thresholds = msgspec.field(
        default_factory=lambda: {"60": Decimal(3), "120": Decimal(3), "300": Decimal(3), "900": Decimal(10)}
    )
    max_monitored_symbols: (
        Annotated[
            int,
            Number(
                _CODE, "a number of symbols", Decimal(1), at_most=Decimal(2_000), places=0, none_word="max"
            ),
        ]
        | None
    ) = 300
    max_concurrent_requests: Annotated[int, whole(_CODE, "whole number", 1, 100)] = 40
    symbol_refresh_interval_ms: Annotated[int, whole(_CODE, "whole milliseconds", 60_000, 86_400_000)] = (
        7_200_000
    )
    dedup_change_diff_threshold: Annotated[Decimal, _points("0", "20")] = Decimal(2)
    severity_thresholds: Severity = Severity()
    symbol_blacklist: Annotated[tuple[Symbol, ...], Items(_CODE, 500)] = ()
    weight_budget_per_min: Annotated[int, whole(_CODE, "a weight", 100, 1_920)] = 1_200
    snapshot_retention_days: Annotated[int, whole(_CODE, "whole days", 2, 365)] = 20

    initial_balance_usdt: Annotated[Decimal, money(_CODE, at_least=1, at_most=1_000_000)] = Decimal(50)
    margin_fraction: Annotated[Decimal, fraction(_CODE, at_least="0.001", at_most="0.5")] = Decimal("0.1")
    leverage: Annotated[int, whole(_CODE, "a whole number", 1, 20)] = 6
    max_positions: Annotated[int, whole(_CODE, "a whole number", 1, 20)] = 5
    allow_short: bool = False
    min_score: Score = Decimal(8)
    score_floor: Score = Decimal(4)
    min_confidence: Confidence = Decimal("0.7")
    min_confidence_degraded: Confidence = Decimal("0.5")
    chase_penalty_from: Chase = Decimal("0.08")
    chase_penalty: Score = Decimal(3)
    chase_reject_above: Chase = Decimal("0.08")
    sentiment_missing: Annotated[str, Word(_CODE, ("reject", "rescale"))] = "reject"
    bonus_step: Annotated[Decimal, Number(_CODE, "points", Decimal(0), at_most=Decimal(2), places=4)] = (
        Decimal("0.5")
    )
    bonus_cap: Annotated[Decimal, Number(_CODE, "points", Decimal(0), at_most=Decimal(3), places=4)] = (
        Decimal(1)
    )
    tp_legs: Annotated[tuple[Stage, ...], Items(_CODE, STAGES_MAX)] = (
        Stage(share=Decimal("0.3"), move=Decimal("0.07")),
        Stage(share=Decimal("0.3"), move=Decimal("0.138")),
    )
    trailing: TrailingRest = TrailingRest()
    breakeven_roi: Annotated[Decimal, fraction(_CODE, above=0, below=5, noun="a fraction of the margin")] = (
        Decimal("0.1")
    )
    fee_taker: Annotated[Decimal, fraction(_CODE, at_least=0, at_most="0.01")] = Decimal("0.0005")
    slippage: Annotated[Decimal, fraction(_CODE, at_least=0, at_most="0.01")] = Decimal("0.0005")
    timeout_min: Annotated[int, whole(_CODE, "whole minutes", 1, 10_080)] = 120
    disaster_max: Annotated[Decimal, fraction(_CODE, at_least="0.01", at_most="0.9")] = Decimal("0.12")
    disaster_liq_share: Annotated[Decimal, fraction(_CODE, at_least="0.1", at_most="0.95")] = Decimal("0.8")
    cooldown_s: Annotated[int, whole(_CODE, "whole seconds", 0, 86_400)] = 900

    @property
    def breakeven_offset(self) -> Decimal:
        """Where the stop moves to: what both market orders cost, and one slippage."""
        return 2 * self.fee_taker + self.slippage


def contradiction(oi: Oi) -> tuple[str, str] | None:
    """(key, sentence) of the first keys that contradict each other, None if none do."""
    periods = [int(key) for key in oi.thresholds]
    if periods != sorted(periods):
        return "thresholds", f"periods must ascend, were {', '.join(oi.thresholds)}"
    for period in periods:
        if not 15 <= period <= 7_200:
            return "thresholds", f"periods must be 15 to 7200 seconds, was {period}"
        if period * 1_000 % oi.polling_interval_ms != 0:
            message = f"{period} s must be a multiple of polling_interval_ms ({oi.polling_interval_ms})"
            return "thresholds", message
    if oi.severity_thresholds.high <= oi.severity_thresholds.medium:
        return "severity_thresholds", f"high must be above medium ({oi.severity_thresholds.medium})"
    if len(set(oi.symbol_blacklist)) < len(oi.symbol_blacklist):
        return "symbol_blacklist", "a symbol stands there twice"
    if sum(leg.share for leg in oi.tp_legs) + oi.trailing.share != 1:
        return "tp_legs", "the shares of the stages and of trailing must add up to 1"
    moves = [leg.move for leg in oi.tp_legs]
    if moves != sorted(set(moves)):
        return "tp_legs", "each stage must be further away than the one before it"
    most = (oi.weight_budget_per_min - WEIGHT_BESIDE) * oi.polling_interval_ms // 60_000
    if oi.max_monitored_symbols is not None and oi.max_monitored_symbols > most:
        message = f"needs more than weight_budget_per_min ({oi.weight_budget_per_min}): at most {most} fit"
        return "max_monitored_symbols", message
    return None
