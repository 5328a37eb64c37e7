"""What is valid alone and wrong together in ``oi``: codes O01 … O11 of docs/config.md (O10 cannot be met)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from perpdesk.config.finding import ERROR, INFO, WARNING, Finding
from perpdesk.config.oi import Oi
from perpdesk.config.schema import Risk
from perpdesk.domain.units import plain

_MMR = Decimal("0.025")
# Two taker fees and one slippage of the notional: what leaving costs.
_COSTS = Decimal("0.0015")
_NOTIONAL_LEAST, _LAST_STOP_LEAST = 5, Decimal("0.02")
_OI_MAX = Decimal(20)


def findings(oi: Oi, risk: Risk) -> Iterator[Finding]:
    """Every finding, in the order of their codes."""
    offset = oi.breakeven_offset
    if (1 + oi.trailing.activation) * (1 - oi.trailing.callback) <= 1 + offset:
        yield Finding(
            "O01", ERROR, "oi.trailing.callback",
            "once active the trailing order sells at or below break-even: activate later or follow closer",
        )  # fmt: skip
    if oi.breakeven_roi <= offset * oi.leverage:
        yield Finding(
            "O02", ERROR, "oi.breakeven_roi",
            f"the break-even stop would act at once: must be above {plain(offset * oi.leverage)}",
        )  # fmt: skip
    if oi.chase_reject_above <= oi.chase_penalty_from:
        yield Finding(
            "O03", INFO, "oi.chase_penalty",
            "never decides: what it would cost is refused by chase_reject_above already",
        )  # fmt: skip
    if oi.severity_thresholds.high > _OI_MAX:
        yield Finding(
            "O04", INFO, "oi.severity_thresholds.high",
            "changes above 20 points are refused (OI_OVEREXTENDED): a high severity is never traded",
        )  # fmt: skip
    if oi.score_floor < oi.min_score:
        yield Finding("O05", INFO, "oi.score_floor", "never decides: min_score is higher")
    yield from _money(oi, risk)


def _money(oi: Oi, risk: Risk) -> Iterator[Finding]:
    notional = oi.initial_balance_usdt * oi.margin_fraction * oi.leverage
    worst = notional * (oi.disaster_max + _COSTS)
    every = worst * oi.max_positions
    daily = None if risk.daily_loss_limit is None else risk.daily_loss_limit * oi.initial_balance_usdt
    limit = risk.worst_case_fraction * oi.initial_balance_usdt
    if daily is not None and every > daily:
        yield Finding(
            "O06", INFO, "oi.max_positions",
            f"all positions at their last stops lose {plain(every)} USDT, the day's limit is {plain(daily)}",
        )  # fmt: skip
    if every > limit:
        yield Finding(
            "O07", WARNING, "oi.max_positions",
            f"the worst-case limit of {plain(limit)} USDT is reached with fewer: some places never fill",
        )  # fmt: skip
    if notional < _NOTIONAL_LEAST:
        yield Finding(
            "O08", WARNING, "oi.margin_fraction",
            f"an entry of {plain(notional)} USDT is below the exchange's least order on most contracts",
        )  # fmt: skip
    room = oi.disaster_liq_share * (1 - _MMR * oi.leverage)
    if room <= _LAST_STOP_LEAST * oi.leverage:
        yield Finding(
            "O09", ERROR, "oi.leverage",
            "the last stop would stand within 2 % of the entry: use a lower leverage",
        )  # fmt: skip
    if oi.dedup_change_diff_threshold >= 2 * min(oi.thresholds.values()):
        yield Finding(
            "O11", WARNING, "oi.dedup_change_diff_threshold",
            "is at least twice the smallest threshold: an anomaly of the other sign is no news either",
        )  # fmt: skip
