"""An effective volume configuration as the terms that the state machines work under."""

from __future__ import annotations

from decimal import Decimal

from perpdesk.config.volume import Effective
from perpdesk.config.volume_tokens import Token
from perpdesk.domain.errors import Refused
from perpdesk.domain.units import plain
from perpdesk.strategies.volume_target.modes import (
    CountSide,
    OnDayRollover,
    OnUnconfirmed,
    PriceMode,
    TargetScope,
)
from perpdesk.strategies.volume_target.pair import PairTerms
from perpdesk.strategies.volume_target.prices import PairPlan, TokenRules, plan_pair, planned_loss
from perpdesk.strategies.volume_target.run import RunTerms


def run_terms(effective: Effective, token: Token) -> RunTerms:
    """What the user's run is traded under."""
    return RunTerms(
        target=effective.number("target_volume"),
        scope=TargetScope(str(effective["target_scope"])),
        mode=token.mode,
        m=token.m,
        amount=effective.number("single_trade_amount_usdt"),
        sides=CountSide(str(effective["count_side"])).sides,
        interval_ms=effective.ms("trade_interval_seconds"),
        retry_ms=effective.ms("retry_delay_seconds"),
        check_delay_ms=effective.ms("volume_check_delay_seconds"),
        max_batch_pairs=int(effective.number("max_batch_pairs")),
        max_failures=int(effective.number("max_consecutive_failures")),
        confirm_attempts=int(effective.number("confirm_attempts")),
        on_unconfirmed=OnUnconfirmed(str(effective["on_unconfirmed"])),
        on_day_rollover=OnDayRollover(str(effective["on_day_rollover"])),
        soft_wait_max_ms=effective.ms("soft_wait_max_seconds"),
        stop_grace_ms=effective.ms("stop_grace_seconds"),
    )


def pair_terms(effective: Effective, rules: TokenRules, recv_window_ms: int) -> PairTerms:
    """What the user's next pair is traded under."""
    return PairTerms(
        rules=rules,
        order_timeout_ms=effective.ms("order_timeout_seconds"),
        recv_window_ms=recv_window_ms,
        price_max_age_ms=int(effective.number("price_max_age_ms")),
        max_loss=effective.number("max_loss_per_trade_usdt"),
    )


def pair_plan(effective: Effective, price: Decimal, rules: TokenRules) -> PairPlan:
    """The user's next pair at this price. Raises Refused with the filter that it breaks, STOP, or
    LOSS_PLANNED where its own limits would let it lose ``max_loss_per_trade_usdt``."""
    if effective["enabled"] is not True:
        raise Refused("STOP", f"strategy {effective.strategy_id} is disabled for user {effective.user_id}")
    plan = plan_pair(
        PriceMode(str(effective["price_mode"])),
        price,
        effective.fraction("buy_offset_percentage"),
        effective.fraction("sell_profit_percentage"),
        effective.number("single_trade_amount_usdt"),
        rules,
    )
    loss, cap = planned_loss(plan, rules.taker_fee), effective.number("max_loss_per_trade_usdt")
    if loss >= cap:
        raise Refused(
            "LOSS_PLANNED",
            f"buying at {plain(plan.buy_price)} and selling at {plain(plan.sell_price)} loses {plain(loss)} "
            f"USDT, max_loss_per_trade_usdt is {plain(cap)}: lower the offsets or the amount",
        )
    return plan
