"""Tokens, terms and pairs that the tests of volume_target share."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from perpdesk.strategies.volume_target.modes import (
    MulPointMode,
    OnDayRollover,
    OnUnconfirmed,
    PriceMode,
    TargetScope,
)
from perpdesk.strategies.volume_target.pair import Pair, PairTerms, planned
from perpdesk.strategies.volume_target.prices import TokenRules, plan_pair
from perpdesk.strategies.volume_target.run import RunTerms

D = Decimal

# The venue takes a tenth of a percent, from the token when buying.
RULES = TokenRules(
    tick=D("0.1"),
    step=D("0.001"),
    min_qty=D("0.001"),
    max_qty=D(1000),
    min_notional=D(5),
    taker_fee=D("0.001"),
    pending_by_venue=True,
)

TERMS = PairTerms(
    rules=RULES, order_timeout_ms=300_000, recv_window_ms=5_000, price_max_age_ms=2_000, max_loss=D(1)
)


def new_pair(now_ms: int = 0, terms: PairTerms = TERMS) -> Pair:
    """A pair of 30 USDT at a price of 100: BUY 0.298 at 100.5, SELL at 101.5."""
    plan = plan_pair(PriceMode.PROFIT_ON_BUY, D(100), D("0.005"), D("0.01"), D(30), terms.rules)
    return planned("p1", plan, terms, "cfg", now_ms)


def run_terms(**changes: object) -> RunTerms:
    terms = RunTerms(
        target=D(100),
        scope=TargetScope.PER_USER,
        mode=MulPointMode.REAL,
        m=D(1),
        amount=D(30),
        sides=1,
        interval_ms=1_000,
        retry_ms=5_000,
        check_delay_ms=60_000,
        max_batch_pairs=5_000,
        max_failures=5,
        confirm_attempts=5,
        on_unconfirmed=OnUnconfirmed.STOP,
        on_day_rollover=OnDayRollover.STOP,
        soft_wait_max_ms=600_000,
        stop_grace_ms=5_000,
    )
    return replace(terms, **changes)  # type: ignore[arg-type]
