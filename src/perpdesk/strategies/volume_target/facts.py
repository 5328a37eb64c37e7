"""What is known of one order, joined from events in any order.

Events come twice, late, before the answer to the request, or never. Per order only the largest traded
quantity and the end are kept, so the order of arrival leaves no trace: a join has no history.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import IntEnum, StrEnum

from perpdesk.strategies.volume_target.arithmetic import ZERO, exact


class Leg(StrEnum):
    """Which order of a pair."""

    BUY = "buy"
    SELL = "sell"
    EXIT = "exit"


class Seen(IntEnum):
    """How an order stands. A larger one wins over a smaller one, whichever comes first."""

    UNSEEN = 0
    ABSENT = 1  # refused, or proven never to have reached the venue; any sighting proves the contrary
    LIVE = 2  # new, pending or partly filled
    REJECTED = 3
    EXPIRED = 4
    CANCELED = 5
    EXPIRED_IN_MATCH = 6  # ended by the venue's self-trade prevention
    FILLED = 7

    @property
    def is_terminal(self) -> bool:
        """Nothing more can trade."""
        return self is Seen.ABSENT or self >= Seen.REJECTED


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``commission`` None: not told yet. The key is (order, trade_id, cum_qty).

    ``in_base``: the commission was taken from the token. ``commission_usdt``: its worth where it was taken
    from neither token nor quote. ``ms`` is venue time; the fill belongs to the UTC day of it.
    """

    trade_id: int
    cum_qty: Decimal
    qty: Decimal
    price: Decimal
    quote: Decimal
    ms: int
    commission: Decimal | None
    in_base: bool = False
    commission_usdt: Decimal | None = None

    @property
    def key(self) -> tuple[int, Decimal]:
        """Two executions may carry the same trade id; the running quantity tells them apart."""
        return self.trade_id, self.cum_qty


@dataclass(frozen=True, slots=True)
class Order:
    """One order of a pair: its terms and what is known of it."""

    client_id: str
    leg: Leg
    qty: Decimal
    price: Decimal | None
    venue_id: str | None = None
    seen: Seen = Seen.UNSEEN
    cum_qty: Decimal = ZERO
    fills: tuple[Fill, ...] = ()

    def joined(self, seen: Seen, cum_qty: Decimal, venue_id: str | None) -> Order:
        """With one more report. An older one changes nothing."""
        return replace(
            self,
            seen=max(self.seen, seen),
            cum_qty=max(self.cum_qty, cum_qty),
            venue_id=self.venue_id or venue_id,
        )

    def with_fill(self, fill: Fill) -> Order:
        """With one more execution; a known one changes nothing, except that it may bring its commission."""
        known = next((old for old in self.fills if old.key == fill.key), None)
        if known is not None:
            if known.commission is not None or fill.commission is None:
                return self
            fills = tuple(fill if old is known else old for old in self.fills)
        else:
            fills = tuple(sorted((*self.fills, fill), key=lambda one: (one.cum_qty, one.trade_id)))
        # what has traded was there, and at least that much of it has
        return replace(self, fills=fills, seen=max(self.seen, Seen.LIVE)).with_traded(fill.cum_qty)

    def with_traded(self, cum_qty: Decimal) -> Order:
        """With at least this much traded."""
        return replace(self, cum_qty=max(self.cum_qty, cum_qty))

    @property
    def is_settled(self) -> bool:
        """Has it ended, and is every execution of it known with its commission?"""
        return (
            self.seen.is_terminal
            and self.filled_qty == self.cum_qty
            and all(fill.commission is not None for fill in self.fills)
        )

    @property
    @exact
    def filled_qty(self) -> Decimal:
        """Sum of the known executions."""
        return sum((fill.qty for fill in self.fills), ZERO)

    @property
    @exact
    def quote(self) -> Decimal:
        """Quote of the known executions."""
        return sum((fill.quote for fill in self.fills), ZERO)

    @property
    @exact
    def base_commission(self) -> Decimal:
        """Token that was kept as commission."""
        return sum((fill.commission or ZERO for fill in self.fills if fill.in_base), ZERO)

    @property
    @exact
    def quote_commission(self) -> Decimal:
        """Commission in USDT: what was kept in quote, and the worth of what was kept in a third asset."""
        paid = ZERO
        for fill in self.fills:
            if not fill.in_base:
                worth = fill.commission if fill.commission_usdt is None else fill.commission_usdt
                paid += worth or ZERO
        return paid
