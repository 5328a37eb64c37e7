"""May this user's next pair start, and may it still be sent? What was found, laid out for the rules."""

from __future__ import annotations

from perpdesk.config.volume import Effective
from perpdesk.config.volume_terms import pair_plan
from perpdesk.domain.errors import Refused
from perpdesk.engine.volume.requests import Findings
from perpdesk.engine.volume.seat import Seat, Shared
from perpdesk.strategies.volume_target.guards import (
    LEASE_SPARE_MS,
    View,
    price_is_fresh,
    spread_allows,
    volatility_allows,
)
from perpdesk.strategies.volume_target.modes import TargetScope
from perpdesk.strategies.volume_target.prices import PairPlan, TokenRules, clamp, spend_with_fee
from perpdesk.strategies.volume_target.run import Run
from perpdesk.strategies.volume_target.volume import day_of, remaining, v_star


class Judgement:
    """plan, rules: of the newest view; None where it had no price or no rules."""

    def __init__(self, shared: Shared, seat: Seat) -> None:
        self._shared, self._seat = shared, seat
        self.plan: PairPlan | None = None
        self.rules: TokenRules | None = None
        self._price_ms = 0
        self._blocked_ms: int | None = None

    def view(
        self,
        found: Findings,
        effective: Effective,
        run: Run,
        *,
        stopped: bool,
        quarantined: bool,
        late_fill: bool,
        now_ms: int,
    ) -> View:
        """Everything that decides; a claim of a common target is made on the way."""
        seat, shared, number = self._seat, self._shared, effective.number
        price, filter_code = found.price, None
        self.plan, self.rules = None, None if found.instrument is None else found.instrument.rules
        fresh = price is not None and price_is_fresh(
            now_ms - price.read_ms, now_ms - price.event_ms, int(number("price_max_age_ms"))
        )
        if price is not None and self.rules is not None:
            self._price_ms = min(price.event_ms, price.read_ms)
            try:
                market_price = clamp(price.last, price.bid, price.ask)
                self.plan = pair_plan(effective, market_price, self.rules)
            except Refused as error:
                filter_code = error.reason
        calm, self._blocked_ms = volatility_allows(
            found.window, effective.fraction("max_price_volatility_percentage"), self._blocked_ms, now_ms
        )
        own = v_star(run.terms.mode, run.day, run.terms.m)
        claim_ok = True
        if run.terms.scope is TargetScope.ALL_USERS:
            own = shared.group.total()
            claim_ok = own is not None and (
                own >= run.terms.target or shared.group.claim(seat.user_id, run.terms.unit, run.terms.target)
            )
        missing = None if own is None else remaining(run.terms.target, own)
        needed = None
        if self.plan is not None and self.rules is not None:
            needed = spend_with_fee(self.plan, self.rules.taker_fee)
        return View(
            account_state=shared.state_of(seat.user_id),
            stopped=stopped or filter_code == "STOP",
            quarantined=quarantined,
            late_fill=late_fill,
            same_day=day_of(now_ms) == run.day.day,
            failures=run.failures,
            max_failures=run.terms.max_failures,
            day_loss=shared.losses.of(run.day.day, seat.user_id),
            day_loss_all=shared.losses.of_all(run.day.day),
            max_loss_per_trade=number("max_loss_per_trade_usdt"),
            max_loss_per_day=number("max_loss_per_day_usdt"),
            max_loss_per_day_all=number("max_loss_per_day_all_users_usdt"),
            # rules that could not be read are no refusal: they come back as a stale price
            instrument_ok=found.instrument is None or found.instrument.is_ok,
            filter_code=filter_code,
            key_checked_ms_ago=0 if found.key_checked_ms is None else now_ms - found.key_checked_ms,
            missing=missing,
            claim_ok=claim_ok,
            lease_left_ms=shared.lease_left_ms(),
            recv_window_ms=shared.venue.recv_window_ms,
            price_fresh=fresh and self.plan is not None,
            calm=calm,
            spread_ok=price is not None
            and spread_allows(price.bid, price.ask, effective.fraction("max_spread_percentage")),
            free_usdt=found.free_usdt,
            needed_usdt=needed,
            self_trade_clear=True,
            rate_ok=shared.venue.rate_ok(),
            # a key that could not be asked about is like a connection that is down
            stream_ok=found.key_checked_ms is not None,
        )

    def may_send(self, effective: Effective, *, stopped: bool, now_ms: int) -> bool:
        """Right before the wire, after the plan has become durable: does it still hold?"""
        shared = self._shared
        lease_ms = shared.lease_left_ms()
        return (
            not stopped
            and shared.state_of(self._seat.user_id) == "RUN"
            and lease_ms is not None
            and lease_ms >= shared.venue.recv_window_ms + LEASE_SPARE_MS
            and now_ms - self._price_ms <= int(effective.number("price_max_age_ms"))
        )
