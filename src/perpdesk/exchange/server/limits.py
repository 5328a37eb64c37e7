"""Request weight per address, order counts per account: fixed windows, 429, then 418 (reference §4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from perpdesk.exchange.core.refusals import Refusal

MINUTE_MS, TEN_SECONDS_MS, FIVE_MINUTES_MS = 60_000, 10_000, 300_000
_BAN_FIRST_MS, _BAN_MAX_MS = 120_000, 3 * 86_400_000
_PATIENCE = 10  # requests after the first 429 before the ban
_DATA_LIMIT, _FUNDING_LIMIT = 1_000, 500


@dataclass(slots=True)
class Bucket:
    """A count that starts again with every window."""

    window_ms: int
    start_ms: int = -1
    count: int = 0

    def add(self, amount: int, now_ms: int) -> int:
        """The count of the current window after adding."""
        start = now_ms // self.window_ms * self.window_ms
        if start != self.start_ms:
            self.start_ms, self.count = start, 0
        self.count += amount
        return self.count

    def left_ms(self, now_ms: int) -> int:
        """Until the next window."""
        return self.window_ms - now_ms % self.window_ms


@dataclass(slots=True)
class Address:
    """What one address has used."""

    weight: Bucket = field(default_factory=lambda: Bucket(MINUTE_MS))
    data: Bucket = field(default_factory=lambda: Bucket(FIVE_MINUTES_MS))
    funding: Bucket = field(default_factory=lambda: Bucket(FIVE_MINUTES_MS))
    over: Bucket = field(default_factory=lambda: Bucket(MINUTE_MS))
    banned_until_ms: int = 0
    bans: int = 0


@dataclass(slots=True)
class Limits:
    """All pools of a server."""

    weight_limit: int
    order_limit_10s: int
    order_limit_1m: int
    addresses: dict[str, Address] = field(default_factory=dict)
    orders: dict[int, tuple[Bucket, Bucket]] = field(default_factory=dict)

    def of(self, address: str) -> Address:
        """The pools of an address."""
        found = self.addresses.get(address)
        if found is None:
            found = self.addresses[address] = Address()
        return found

    def charge(self, address: str, pool: str, weight: int, now_ms: int) -> tuple[Refusal | None, int]:
        """(refusal, seconds to wait) for one request."""
        one = self.of(address)
        if now_ms < one.banned_until_ms:
            return _banned(one.banned_until_ms), -(-(one.banned_until_ms - now_ms) // 1000)
        if pool == "data":
            used, limit, bucket = one.data.add(1, now_ms), _DATA_LIMIT, one.data
        elif pool == "funding":
            used, limit, bucket = one.funding.add(1, now_ms), _FUNDING_LIMIT, one.funding
        else:
            used, limit, bucket = one.weight.add(weight, now_ms), self.weight_limit, one.weight
        if used <= limit:
            return None, 0
        if one.over.add(1, now_ms) > _PATIENCE:
            one.bans += 1
            one.banned_until_ms = now_ms + min(_BAN_MAX_MS, _BAN_FIRST_MS * 2 ** (one.bans - 1))
            return _banned(one.banned_until_ms), -(-(one.banned_until_ms - now_ms) // 1000)
        text = (
            f"Too many requests; current limit is {limit} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
        return Refusal(-1003, text, 429), -(-bucket.left_ms(now_ms) // 1000)

    def used(self, address: str, now_ms: int) -> int:
        """Weight used in this minute."""
        return self.of(address).weight.add(0, now_ms)

    def count_orders(self, account: int, ten_seconds: int, minute: int, now_ms: int) -> Refusal | None:
        """Charge order counts."""
        short, long = self._pair(account)
        if short.add(0, now_ms) + ten_seconds > self.order_limit_10s:
            return _too_many(self.order_limit_10s, "TEN_SECONDS")
        if long.add(0, now_ms) + minute > self.order_limit_1m:
            return _too_many(self.order_limit_1m, "MINUTE")
        short.add(ten_seconds, now_ms)
        long.add(minute, now_ms)
        return None

    def orders_used(self, account: int, now_ms: int) -> tuple[int, int]:
        """(10 s, 1 min) counts."""
        short, long = self._pair(account)
        return short.add(0, now_ms), long.add(0, now_ms)

    def _pair(self, account: int) -> tuple[Bucket, Bucket]:
        found = self.orders.get(account)
        if found is None:
            found = self.orders[account] = (Bucket(TEN_SECONDS_MS), Bucket(MINUTE_MS))
        return found

    def rules(self) -> list[dict[str, object]]:
        """``rateLimits`` of exchangeInfo."""
        return [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": self.weight_limit,
            },
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": self.order_limit_1m},
            {
                "rateLimitType": "ORDERS",
                "interval": "SECOND",
                "intervalNum": 10,
                "limit": self.order_limit_10s,
            },
        ]


def _banned(until_ms: int) -> Refusal:
    text = (
        f"Way too many requests; IP banned until {until_ms}. "
        "Please use the websocket for live updates to avoid bans."
    )
    return Refusal(-1003, text, 418)


def _too_many(limit: int, interval: str) -> Refusal:
    return Refusal(-1015, f"Too many new orders; current limit is {limit} orders per {interval}.", 429)
