"""Orders: kinds, sides, and an order's life as a table of (status, event) → status.

The table keeps the rows that look odd but happen in the real world: answers get lost, the user stream
overtakes the reply of a request, events come twice or out of order, and an order that was given up is
filled after all. Two rules run through it: *unknown* is not *failed*, and facts never go backwards.
"""

from __future__ import annotations

from enum import StrEnum

from perpdesk.domain.errors import InvalidTransition


class OrderKind(StrEnum):
    """What makes an order trade, in the exchange's words."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"

    @property
    def is_conditional(self) -> bool:
        """Does it wait for a trigger (and so live in the exchange's book of conditional orders)?"""
        return self not in (OrderKind.MARKET, OrderKind.LIMIT)


# The kernel writes a kind as an integer: its place in this tuple. 0 means that nothing is wanted.
KIND_OF_CODE: tuple[OrderKind | None, ...] = (None, *OrderKind)


class Side(StrEnum):
    """The direction of an order or fill."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL, as the kernel writes it."""
        return 1 if self is Side.BUY else -1

    @classmethod
    def of(cls, sign: int) -> Side:
        """The side that a kernel sign (+1 or -1) means."""
        return {1: cls.BUY, -1: cls.SELL}[sign]


class PositionSide(StrEnum):
    """The direction of a position; BOTH is the exchange's word for a netted account."""

    LONG = "LONG"
    SHORT = "SHORT"
    BOTH = "BOTH"


class OrderStatus(StrEnum):
    """Where an order stands, as far as we can know."""

    INTENDED = "intended"  # written down durably, nothing sent
    SENT = "sent"  # on the wire, no answer yet
    UNKNOWN = "unknown"  # sent, and the outcome is not known: it may be live. Never treat it as failed
    ACCEPTED = "accepted"  # the exchange has it
    TRIGGERED = "triggered"  # a conditional order whose trigger was reached; its child is on its way
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REFUSED = "refused"  # the exchange proved that it never took it, or rejected it at its trigger
    DEAD = "dead"  # proven absent: the fence has passed and the exchange denied it twice

    @property
    def is_final(self) -> bool:
        """Nothing more is expected of it."""
        return self in _FINAL

    @property
    def may_be_live(self) -> bool:
        """It is, or may be, on the exchange: no second attempt while this holds."""
        return self is not OrderStatus.INTENDED and self not in _FINAL


_FINAL = frozenset(
    (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REFUSED, OrderStatus.DEAD)
)


class OrderEvent(StrEnum):
    """What happened to an order."""

    SENT = "sent"
    ABORTED = "aborted"  # given up before it was sent
    ANSWER_LOST = "answer_lost"  # timeout, 5xx, unreadable answer
    ACCEPTED = "accepted"
    REFUSED = "refused"  # one of the answers that prove it
    TRIGGERED = "triggered"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    FOUND_ABSENT = "found_absent"  # fence passed, all sources agree twice that it does not exist


_S, _E = OrderStatus, OrderEvent

_TABLE: dict[tuple[OrderStatus, OrderEvent], OrderStatus] = {
    # The life we hope for.
    (_S.INTENDED, _E.SENT): _S.SENT,
    (_S.INTENDED, _E.ABORTED): _S.DEAD,
    (_S.SENT, _E.ACCEPTED): _S.ACCEPTED,
    (_S.SENT, _E.REFUSED): _S.REFUSED,
    (_S.ACCEPTED, _E.TRIGGERED): _S.TRIGGERED,
    (_S.ACCEPTED, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.ACCEPTED, _E.FILLED): _S.FILLED,
    (_S.ACCEPTED, _E.CANCELED): _S.CANCELED,
    (_S.ACCEPTED, _E.EXPIRED): _S.EXPIRED,
    (_S.TRIGGERED, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.TRIGGERED, _E.FILLED): _S.FILLED,
    (_S.TRIGGERED, _E.CANCELED): _S.CANCELED,
    (_S.TRIGGERED, _E.EXPIRED): _S.EXPIRED,
    (_S.PARTLY_FILLED, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.PARTLY_FILLED, _E.FILLED): _S.FILLED,
    (_S.PARTLY_FILLED, _E.CANCELED): _S.CANCELED,
    (_S.PARTLY_FILLED, _E.EXPIRED): _S.EXPIRED,
    # Real world possible: the process died after the wire and before "sent" was written down.
    (_S.INTENDED, _E.ACCEPTED): _S.ACCEPTED,
    (_S.INTENDED, _E.TRIGGERED): _S.TRIGGERED,
    (_S.INTENDED, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.INTENDED, _E.FILLED): _S.FILLED,
    (_S.INTENDED, _E.CANCELED): _S.CANCELED,
    (_S.INTENDED, _E.EXPIRED): _S.EXPIRED,
    (_S.INTENDED, _E.FOUND_ABSENT): _S.DEAD,
    # Real world possible: the stream overtakes the answer; a market order is done before it is "accepted".
    (_S.SENT, _E.TRIGGERED): _S.TRIGGERED,
    (_S.SENT, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.SENT, _E.FILLED): _S.FILLED,
    (_S.SENT, _E.CANCELED): _S.CANCELED,
    (_S.SENT, _E.EXPIRED): _S.EXPIRED,
    # The answer is lost: unknown until the exchange shows the order or is proven not to have it.
    (_S.SENT, _E.ANSWER_LOST): _S.UNKNOWN,
    (_S.UNKNOWN, _E.ANSWER_LOST): _S.UNKNOWN,
    (_S.UNKNOWN, _E.ACCEPTED): _S.ACCEPTED,
    (_S.UNKNOWN, _E.REFUSED): _S.REFUSED,
    (_S.UNKNOWN, _E.TRIGGERED): _S.TRIGGERED,
    (_S.UNKNOWN, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.UNKNOWN, _E.FILLED): _S.FILLED,
    (_S.UNKNOWN, _E.CANCELED): _S.CANCELED,
    (_S.UNKNOWN, _E.EXPIRED): _S.EXPIRED,
    (_S.UNKNOWN, _E.FOUND_ABSENT): _S.DEAD,
    # Real world possible: the stream showed the order and the reply of the same request was lost after it.
    (_S.ACCEPTED, _E.ANSWER_LOST): _S.ACCEPTED,
    (_S.TRIGGERED, _E.ANSWER_LOST): _S.TRIGGERED,
    (_S.PARTLY_FILLED, _E.ANSWER_LOST): _S.PARTLY_FILLED,
    (_S.FILLED, _E.ANSWER_LOST): _S.FILLED,
    (_S.CANCELED, _E.ANSWER_LOST): _S.CANCELED,
    (_S.EXPIRED, _E.ANSWER_LOST): _S.EXPIRED,
    # Real world possible: events come twice (overlapping sockets) or late (a stale read). No way back.
    (_S.ACCEPTED, _E.ACCEPTED): _S.ACCEPTED,
    (_S.TRIGGERED, _E.ACCEPTED): _S.TRIGGERED,
    (_S.TRIGGERED, _E.TRIGGERED): _S.TRIGGERED,
    (_S.PARTLY_FILLED, _E.ACCEPTED): _S.PARTLY_FILLED,
    (_S.PARTLY_FILLED, _E.TRIGGERED): _S.PARTLY_FILLED,
    (_S.FILLED, _E.ACCEPTED): _S.FILLED,
    (_S.FILLED, _E.TRIGGERED): _S.FILLED,
    (_S.FILLED, _E.PARTLY_FILLED): _S.FILLED,
    (_S.FILLED, _E.FILLED): _S.FILLED,
    (_S.CANCELED, _E.ACCEPTED): _S.CANCELED,
    (_S.CANCELED, _E.CANCELED): _S.CANCELED,
    (_S.EXPIRED, _E.ACCEPTED): _S.EXPIRED,
    (_S.EXPIRED, _E.TRIGGERED): _S.EXPIRED,
    (_S.EXPIRED, _E.EXPIRED): _S.EXPIRED,
    (_S.REFUSED, _E.REFUSED): _S.REFUSED,
    (_S.DEAD, _E.FOUND_ABSENT): _S.DEAD,
    (_S.DEAD, _E.ANSWER_LOST): _S.DEAD,
    (_S.DEAD, _E.REFUSED): _S.DEAD,
    # Real world possible: the cancel lost the race against the fill.
    (_S.FILLED, _E.CANCELED): _S.FILLED,
    (_S.FILLED, _E.EXPIRED): _S.FILLED,
    # Real world possible: the fill of a part that was traded before the cancel is reported after it.
    (_S.CANCELED, _E.PARTLY_FILLED): _S.CANCELED,
    (_S.EXPIRED, _E.PARTLY_FILLED): _S.EXPIRED,
    # Real world possible: one reports a remainder as canceled, another as expired. The first word stays.
    (_S.CANCELED, _E.EXPIRED): _S.CANCELED,
    (_S.EXPIRED, _E.CANCELED): _S.EXPIRED,
    # A source that lags denies an order whose end is known. The end stays.
    (_S.FILLED, _E.FOUND_ABSENT): _S.FILLED,
    (_S.CANCELED, _E.FOUND_ABSENT): _S.CANCELED,
    (_S.EXPIRED, _E.FOUND_ABSENT): _S.EXPIRED,
    (_S.REFUSED, _E.FOUND_ABSENT): _S.REFUSED,
}

# Real world possible, and bad: what we held for settled was not. The event is booked like any other,
# and a person is told.
_ALARMS: dict[tuple[OrderStatus, OrderEvent], OrderStatus] = {
    # Filled after a cancel or an expiry that the exchange had confirmed.
    (_S.CANCELED, _E.FILLED): _S.FILLED,
    (_S.EXPIRED, _E.FILLED): _S.FILLED,
    (_S.CANCELED, _E.TRIGGERED): _S.CANCELED,
    # Presumed dead, and alive after all: perhaps a second attempt is on its way too.
    (_S.DEAD, _E.ACCEPTED): _S.ACCEPTED,
    (_S.DEAD, _E.TRIGGERED): _S.TRIGGERED,
    (_S.DEAD, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.DEAD, _E.FILLED): _S.FILLED,
    (_S.DEAD, _E.CANCELED): _S.CANCELED,
    (_S.DEAD, _E.EXPIRED): _S.EXPIRED,
    # Refused, and alive after all (the duplicate-id refusal means that an earlier attempt lives).
    (_S.REFUSED, _E.ACCEPTED): _S.ACCEPTED,
    (_S.REFUSED, _E.TRIGGERED): _S.TRIGGERED,
    (_S.REFUSED, _E.PARTLY_FILLED): _S.PARTLY_FILLED,
    (_S.REFUSED, _E.FILLED): _S.FILLED,
    (_S.REFUSED, _E.CANCELED): _S.CANCELED,
    (_S.REFUSED, _E.EXPIRED): _S.EXPIRED,
    # A conditional order rejected at its trigger: a stop that did not protect.
    (_S.ACCEPTED, _E.REFUSED): _S.REFUSED,
    (_S.TRIGGERED, _E.REFUSED): _S.REFUSED,
    # An order that was there has vanished without a word (pruned, or taken down by the exchange).
    (_S.ACCEPTED, _E.FOUND_ABSENT): _S.DEAD,
    (_S.TRIGGERED, _E.FOUND_ABSENT): _S.DEAD,
    (_S.PARTLY_FILLED, _E.FOUND_ABSENT): _S.DEAD,
}


def next_status(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    """The status after the event. Raises InvalidTransition for what the table does not know."""
    key = (status, event)
    found = _TABLE.get(key) or _ALARMS.get(key)
    if found is None:
        raise InvalidTransition(status, event)
    return found


def is_alarming(status: OrderStatus, event: OrderEvent) -> bool:
    """Must a person be told that this event reached an order of this status? It is booked all the same."""
    return (status, event) in _ALARMS
