"""One governor for all requests of an IP: weight, order counts, conditional slots, bans, in lanes.

A lane may fill its share of a limit and no more, so that polling never takes the room that closing needs:
close > protect > query > entry > poll. When a window starts again, the first lanes wake first. The
exchange's own count (its headers) overrides ours when it is higher: other programs share the IP. Windows
are the exchange's wall-clock minutes and ten seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from perpdesk.adapters.binance.errors import Throttled
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.ports import Clock

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
FIVE_MINUTES_MS = 300_000
# A ban whose end we are not told, and a pause whose length we are not told.
BAN_MS = 120_000
# A ban is waited out with so much care: a request in its last moment lengthens it, and our time is measured.
BAN_MARGIN_MS = 500
# An order count that is refused although ours has room (others use the account): what protects asks again.
PROTECT_AGAIN_MS = 1_000
CONDITIONAL_MAX = 200
# At the start of a window each lane wakes so much after the one before it.
STAGGER_MS = 5

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class Lane(IntEnum):
    """Who goes first."""

    CLOSE = 0
    PROTECT = 1
    QUERY = 2
    ENTRY = 3
    POLL = 4


# The share of every limit that a lane may fill, in percent.
SHARE_PERCENT = {Lane.CLOSE: 100, Lane.PROTECT: 97, Lane.QUERY: 92, Lane.ENTRY: 86, Lane.POLL: 80}


class Pool(IntEnum):
    """Which IP budget a request draws on."""

    WEIGHT = 0  # REQUEST_WEIGHT, a minute
    STATISTICS = 1  # /futures/data/*: requests in five minutes
    FUNDING = 2  # fundingRate and fundingInfo: requests in five minutes


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request uses: IP weight of a pool, and order counts of its account."""

    weight: int = 1
    pool: Pool = Pool.WEIGHT
    orders_10s: int = 0
    orders_1m: int = 0


@dataclass(slots=True)
class Window:
    """A count that starts again at each boundary of its length."""

    limit: int
    length_ms: int
    bucket: int = 0
    used: int = 0
    refused_ms: int | None = None  # the exchange called it full, though by our count it is not

    def at(self, now_ms: int) -> None:
        """Start again if the boundary has passed."""
        bucket = now_ms // self.length_ms
        if bucket > self.bucket:
            self.bucket, self.used, self.refused_ms = bucket, 0, None

    def has_room(self, amount: int, lane: Lane) -> bool:
        """May a lane take so much?"""
        return amount == 0 or self.used + amount <= self.limit * SHARE_PERCENT[lane] // 100

    def open_ms(self, amount: int, lane: Lane, now_ms: int) -> int:
        """When a lane may take so much: now, or later."""
        if not self.has_room(amount, lane):
            return self.ends_ms
        if amount == 0 or self.refused_ms is None:
            return now_ms
        return min(self.ends_ms, self.refused_ms + PROTECT_AGAIN_MS) if lane <= Lane.PROTECT else self.ends_ms

    def told(self, used: int, bucket: int) -> None:
        """The exchange's count in an answer to a request of that bucket."""
        if bucket == self.bucket and used > self.used:
            self.used = used

    @property
    def ends_ms(self) -> int:
        """When it starts again."""
        return (self.bucket + 1) * self.length_ms


@dataclass(slots=True)
class AccountLimits:
    """Order counts and conditional slots of one account."""

    ten_seconds: Window
    minute: Window
    conditional: set[str] = field(default_factory=set)  # client ids that hold a slot, as far as we know
    conditional_max: int = CONDITIONAL_MAX


@dataclass(frozen=True, slots=True)
class Ticket:
    """Permission to send now; hand it back with the answer's headers."""

    account: str
    cost: Cost
    buckets: tuple[int, int, int]


class Governor:
    """The limits of one IP. Share one among all accounts and programs parts that send from it."""

    def __init__(self, clock: Clock, server: ServerClock) -> None:
        self._clock = clock
        self._server = server
        self._pools = {
            Pool.WEIGHT: Window(2400, MINUTE_MS),
            Pool.STATISTICS: Window(1000, FIVE_MINUTES_MS),
            Pool.FUNDING: Window(500, FIVE_MINUTES_MS),
        }
        self._accounts: dict[str, AccountLimits] = {}
        self._paused_until_ms = 0  # after 429: everything with weight waits
        self._banned_until_ms = 0  # after 418: everything waits
        self._order_limits = (300, 1200)  # in 10 s, in 1 minute

    @property
    def banned_until_ms(self) -> int:
        """The exchange answers nobody on this IP before this time (server ms); 0: no ban."""
        return self._banned_until_ms

    def used_fraction(self) -> float:
        """How much of this minute's weight is used."""
        window = self._pools[Pool.WEIGHT]
        window.at(self._server.now_ms())
        return window.used / window.limit

    def account(self, name: str) -> AccountLimits:
        """The limits of an account."""
        found = self._accounts.get(name)
        if found is None:
            ten, minute = self._order_limits
            found = AccountLimits(Window(ten, TEN_SECONDS_MS), Window(minute, MINUTE_MS))
            self._accounts[name] = found
        return found

    def set_limits(self, *, weight: int, orders_10s: int, orders_1m: int) -> None:
        """Take the limits that exchangeInfo tells, for all accounts."""
        self._order_limits = (orders_10s, orders_1m)
        self._pools[Pool.WEIGHT].limit = weight
        for account in self._accounts.values():
            account.ten_seconds.limit, account.minute.limit = orders_10s, orders_1m

    # -- conditional orders: their own limit, over all symbols -------------------------------------

    def conditional_free(self, account: str, lane: Lane = Lane.PROTECT) -> int:
        """How many conditional orders a lane may still have open. Ask before an entry that needs legs."""
        limits = self.account(account)
        return max(0, limits.conditional_max * SHARE_PERCENT[lane] // 100 - len(limits.conditional))

    def hold_conditional(self, account: str, client_id: str, lane: Lane) -> None:
        """Take a slot for a conditional order. Raises Throttled if the lane has none left."""
        if self.conditional_free(account, lane) == 0:
            raise Throttled(
                f"{len(self.account(account).conditional)} of {self.account(account).conditional_max} "
                "conditional orders are open",
                self._server.now_ms(),
            )
        self.account(account).conditional.add(client_id)

    def occupy_conditional(self, account: str, client_id: str) -> None:
        """A conditional order that is open already, whoever placed it: its slot is gone."""
        self.account(account).conditional.add(client_id)

    def recount_conditional(self, account: str, client_ids: set[str]) -> None:
        """Exactly these conditional orders are open or on their way."""
        self.account(account).conditional = set(client_ids)

    def free_conditional(self, account: str, client_id: str) -> None:
        """The order is not waiting any more, or never was."""
        self.account(account).conditional.discard(client_id)

    # -- sending -----------------------------------------------------------------------------------

    def try_take(self, lane: Lane, cost: Cost, account: str) -> Ticket | int:
        """A ticket, or the time (server ms) before which it is no use to ask again."""
        now_ms = self._server.now_ms()
        limits = self.account(account)
        pool = self._pools[cost.pool]
        for window in (pool, limits.ten_seconds, limits.minute):
            window.at(now_ms)
        if now_ms < self._banned_until_ms:
            return self._banned_until_ms
        if now_ms < self._paused_until_ms and (cost.weight > 0 or lane > Lane.PROTECT):
            return self._paused_until_ms
        if not pool.has_room(cost.weight, lane):
            return pool.ends_ms
        open_ms = max(
            limits.ten_seconds.open_ms(cost.orders_10s, lane, now_ms),
            limits.minute.open_ms(cost.orders_1m, lane, now_ms),
        )
        if open_ms > now_ms:
            return open_ms
        pool.used += cost.weight
        limits.ten_seconds.used += cost.orders_10s
        limits.minute.used += cost.orders_1m
        return Ticket(account, cost, (pool.bucket, limits.ten_seconds.bucket, limits.minute.bucket))

    async def take(self, lane: Lane, cost: Cost, account: str, deadline_ms: int | None = None) -> Ticket:
        """A ticket, waiting for room if need be.

        Raises Throttled if there is none before ``deadline_ms`` (server ms): nothing was sent then.
        """
        while True:
            ticket = self.try_take(lane, cost, account)
            if isinstance(ticket, Ticket):
                return ticket
            if deadline_ms is not None and ticket > deadline_ms:
                raise Throttled(f"lane {lane.name.lower()}", ticket)
            await self._clock.sleep_until(self._server.local_ms(ticket) + STAGGER_MS * lane)

    # -- what the exchange says --------------------------------------------------------------------

    def answered(self, ticket: Ticket, headers: Mapping[str, str]) -> None:
        """Take the exchange's own counts from an answer's headers (names in small letters)."""
        limits = self.account(ticket.account)
        weight = headers.get("x-mbx-used-weight-1m")
        if weight is not None and weight.isdecimal() and ticket.cost.pool is Pool.WEIGHT:
            self._pools[Pool.WEIGHT].told(int(weight), ticket.buckets[0])
        if ticket.cost.orders_10s or ticket.cost.orders_1m:
            ten, minute = headers.get("x-mbx-order-count-10s"), headers.get("x-mbx-order-count-1m")
            if ten is not None and ten.isdecimal():
                limits.ten_seconds.told(int(ten), ticket.buckets[1])
            if minute is not None and minute.isdecimal():
                limits.minute.told(int(minute), ticket.buckets[2])

    def refused(
        self, ticket: Ticket, status: int, code: int | None, text: str, headers: Mapping[str, str]
    ) -> None:
        """Take a 429 or 418: nobody sends again before the exchange allows it."""
        now_ms = self._server.now_ms()
        after = headers.get("retry-after", "")
        pause_ms = int(after) * 1000 if after.isdecimal() else 0
        if status == 418:
            told = _BANNED_UNTIL.search(text)
            until_ms = int(told[1]) if told else now_ms + (pause_ms or BAN_MS)
            until_ms = max(until_ms, now_ms + pause_ms) + self._server.error_ms + BAN_MARGIN_MS
            self._banned_until_ms = max(self._banned_until_ms, until_ms)
        elif status == 429 and code == -1015:
            limits = self.account(ticket.account)
            for window in (limits.ten_seconds, limits.minute):
                window.at(now_ms)
            full = limits.minute if "MINUTE" in text.upper() else limits.ten_seconds
            full.refused_ms = now_ms + pause_ms
        elif status == 429:
            window = self._pools[ticket.cost.pool]
            window.at(now_ms)
            window.used = window.limit
            if ticket.cost.pool is Pool.WEIGHT:
                self._paused_until_ms = max(self._paused_until_ms, now_ms + pause_ms, window.ends_ms)
