"""Spot's own pools: 6000 weight a minute per address, 100 orders in 10 s and 200000 a day per account."""

from __future__ import annotations

from dataclasses import dataclass

from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.limits import TEN_SECONDS_MS, Bucket, Limits

DAY_MS = 86_400_000
WEIGHT_LIMIT, ORDERS_10S, ORDERS_DAY = 6_000, 100, 200_000
_ADVICE = "Please use WebSocket Streams for live updates to avoid"


@dataclass
class SpotLimits(Limits):
    """The futures' mechanics with Spot's figures and words."""

    def charge(self, address: str, pool: str, weight: int, now_ms: int) -> tuple[Refusal | None, int]:
        """(refusal, seconds to wait) for one request."""
        refusal, wait_s = super().charge(address, pool, weight, now_ms)
        if refusal is None:
            return None, 0
        if refusal.http == 418:
            until_ms = self.of(address).banned_until_ms
            text = f"Way too much request weight used; IP banned until {until_ms}. {_ADVICE} bans."
        else:
            limit = f"{self.weight_limit} request weight per 1 MINUTE"
            text = f"Too much request weight used; current limit is {limit}. {_ADVICE} polling the API."
        return Refusal(refusal.code, text, refusal.http), wait_s

    def count_orders(self, account: int, ten_seconds: int, minute: int, now_ms: int) -> Refusal | None:
        """Charge order counts; the longer window is a day here."""
        short, long = self._pair(account)
        if short.add(0, now_ms) + ten_seconds > self.order_limit_10s:
            return _too_many(self.order_limit_10s, "10 SECOND")
        if long.add(0, now_ms) + minute > self.order_limit_1m:
            return _too_many(self.order_limit_1m, "1 DAY")
        short.add(ten_seconds, now_ms)
        long.add(minute, now_ms)
        return None

    def filled(self, account: int, now_ms: int) -> None:
        """An order that trades for the first time is not counted as unfilled any more."""
        for bucket in self._pair(account):
            if bucket.add(0, now_ms) > 0:
                bucket.count -= 1

    def _pair(self, account: int) -> tuple[Bucket, Bucket]:
        found = self.orders.get(account)
        if found is None:
            found = self.orders[account] = (Bucket(TEN_SECONDS_MS), Bucket(DAY_MS))
        return found

    def order_rules(self) -> list[dict[str, object]]:
        """The two limits on orders."""
        common = {"rateLimitType": "ORDERS"}
        return [
            common | {"interval": "SECOND", "intervalNum": 10, "limit": self.order_limit_10s},
            common | {"interval": "DAY", "intervalNum": 1, "limit": self.order_limit_1m},
        ]

    def rules(self) -> list[dict[str, object]]:
        """``rateLimits`` of exchangeInfo."""
        weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
        return [weight | {"limit": self.weight_limit}, *self.order_rules()]


def _too_many(limit: int, window: str) -> Refusal:
    return Refusal(-1015, f"Too many new orders; current limit is {limit} orders per {window}.", 429)
