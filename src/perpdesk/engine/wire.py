"""The last question before the wire: may this order increase exposure now?

Asked synchronously, immediately before each send, with no await between the answer and the send: whatever
tripped before is seen. Orders that can only reduce are counted and never refused. What could not be found
out counts as no.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from perpdesk.domain.kill import Rung
from perpdesk.engine.guardian.limits import WireLimits
from perpdesk.engine.guardian.throttle import RepeatThrottle
from perpdesk.ports import Clock, NewOrder

LOG = logging.getLogger(__name__)

HALTED = "HALTED"
NO_LEASE = "NO_LEASE"
TRADING_DISABLED = "TRADING_DISABLED"
STORE_UNHEALTHY = "STORE_UNHEALTHY"
SYMBOL_BLOCKED = "SYMBOL_BLOCKED"
RATING_UNKNOWN = "RATING_UNKNOWN"
CHECK_FAILED = "CHECK_FAILED"


class Rungs(Protocol):
    """Where on the kill ladder the account is (``engine/control_file.py`` reads it from a file)."""

    def now(self) -> Rung:
        """The strictest rung that anybody has named, read afresh."""
        ...


class Opens(Protocol):
    """Something that can say why a symbol may not be opened (``Freshness``)."""

    def why_not_open(self, symbol: int, now_ms: int) -> str | None: ...

    def mark_price(self, symbol: int) -> int: ...


Reason = str | None


@dataclass
class WireGate:
    """All that must be true before an order which may increase exposure is sent.

    has_lease: (now_ms) → a request signed now dies before the lease ends; is_switched_on: (now_ms) → the
    trading switch was read as on, recently; is_store_healthy: intents can be written; breaker: (order) → the
    breakers' reason (account and strategy, worst case included); signal: (order, mark) → why a strategy's
    decision does not hold any more; pulse: (sleeve, now_ms) → the reason of a
    stale guardian; protect_only: () → what broke, if only protection is allowed (the canary); strategies: the
    name of each sleeve; unrated: symbols whose rating is not known; blocked: symbols that take no entries,
    with the reason.
    """

    clock: Clock
    rungs: Rungs
    has_lease: Callable[[int], bool]
    is_switched_on: Callable[[int], bool]
    is_store_healthy: Callable[[], bool]
    freshness: Opens
    breaker: Callable[[NewOrder], Reason]
    pulse: Callable[[int, int], Reason]
    limits: WireLimits
    throttle: RepeatThrottle
    strategies: Sequence[str]
    protect_only: Callable[[], Reason] = lambda: None
    signal: Callable[[NewOrder, int], Reason] = lambda order, mark: None
    blocked: dict[int, str] = field(default_factory=dict)
    unrated: set[int] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    def judge(self, order: NewOrder) -> Reason:
        """None: send it now (it is counted as sent). Else the reason code; nothing was counted as sent.

        An order that can only reduce always gets None. A check that raises refuses with CHECK_FAILED.
        """
        now_ms = self.clock.now_ms()
        if order.reduce_only:
            self.limits.sent(now_ms)
            return None
        why = self.foresee(order)
        if why is not None:
            return why
        self.limits.sent(now_ms)
        self.throttle.sent(self.strategies[order.sleeve], order.symbol, order.side, now_ms)
        return None

    def foresee(self, order: NewOrder) -> Reason:
        """What ``judge`` would say now; nothing is counted as sent."""
        if order.reduce_only:
            return None
        try:
            why = self._why_not(order, self.clock.now_ms())
        except Exception:
            LOG.exception("a check before the wire failed; the order %s is not sent", order.client_id)
            why = CHECK_FAILED
        if why is not None:
            self.refused[why.partition(":")[0]] += 1
        return why

    def _why_not(self, order: NewOrder, now_ms: int) -> Reason:
        if not self.rungs.now().may_increase:
            return HALTED
        if not self.has_lease(now_ms):
            return NO_LEASE
        if not self.is_switched_on(now_ms):
            return TRADING_DISABLED
        if not self.is_store_healthy():
            return STORE_UNHEALTHY
        if order.symbol in self.blocked:
            return f"{SYMBOL_BLOCKED}:{self.blocked[order.symbol]}"
        if order.symbol in self.unrated:
            return RATING_UNKNOWN
        return (
            self.protect_only()
            or self.pulse(order.sleeve, now_ms)
            or self.freshness.why_not_open(order.symbol, now_ms)
            or self.signal(order, self.freshness.mark_price(order.symbol))
            or self.breaker(order)
            or self.limits.why_not(order, self.freshness.mark_price(order.symbol), now_ms)
            or self.throttle.why(self.strategies[order.sleeve], order.symbol, order.side, now_ms)
        )
