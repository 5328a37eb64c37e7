"""Facts, in the past tense. The journal keeps them and they are never changed.

``ms`` is the time of the fact on the run's clock (UTC). Prices, quantities and money are Decimals,
written as text.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpdesk.domain.books import JournalEntry
from perpdesk.domain.order import OrderKind, Side


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="event"):
    """A fact."""

    ms: int


class EntryApproved(Event, frozen=True, kw_only=True):
    """The gate said yes to a wanted entry; ``score`` of ``score_max`` is why it was wanted."""

    version: str
    symbol: str
    side: Side
    qty: Decimal
    leverage: int
    score: float
    score_max: float


class EntryRefused(Event, frozen=True, kw_only=True):
    """The gate said no to a wanted entry; ``verdict`` says why."""

    version: str
    symbol: str
    side: Side
    verdict: str


class OrderFact(Event, frozen=True, kw_only=True):
    """Something happened to the order with this client id."""

    client_id: str
    symbol: str


class OrderAccepted(OrderFact, frozen=True, kw_only=True):
    """The exchange has the order. ``price`` is the limit or trigger, None for a market order."""

    kind: OrderKind
    side: Side
    qty: Decimal
    reduce_only: bool
    price: Decimal | None = None


class OrderRefused(OrderFact, frozen=True, kw_only=True):
    """The exchange proved that it did not take the order."""

    reason: str


class OrderTriggered(OrderFact, frozen=True, kw_only=True):
    """A conditional order reached its trigger."""


class OrderFilled(OrderFact, frozen=True, kw_only=True):
    """The order traded. ``remaining`` is what is left of it; ``commission`` > 0 is paid."""

    version: str
    side: Side
    price: Decimal
    qty: Decimal
    remaining: Decimal
    commission: Decimal
    realised: Decimal
    is_taker: bool
    reason: str


class OrderCanceled(OrderFact, frozen=True, kw_only=True):
    """The order is gone. ``remaining`` is what had not traded."""

    remaining: Decimal


class FundingPaid(Event, frozen=True, kw_only=True):
    """Funding was exchanged on a position. ``amount`` > 0 is received."""

    version: str
    symbol: str
    rate: Decimal
    amount: Decimal


class Liquidated(Event, frozen=True, kw_only=True):
    """The exchange closed a position by force."""

    version: str
    symbol: str
    price: Decimal
    qty: Decimal
    loss: Decimal


class ExternalFilled(Event, frozen=True, kw_only=True):
    """A fill, or a part of one, moved lots that no sleeve owns. ``held`` is what is external afterwards."""

    client_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    held: Decimal
    cause: str


class CommandObeyed(Event, frozen=True, kw_only=True):
    """An operator's command took effect; ``command`` is its name."""

    command: str
    account: str
    by: str


AnyEvent = (
    EntryApproved
    | EntryRefused
    | OrderAccepted
    | OrderRefused
    | OrderTriggered
    | OrderFilled
    | OrderCanceled
    | FundingPaid
    | Liquidated
    | ExternalFilled
    | CommandObeyed
)


def journal_entry(event: AnyEvent) -> JournalEntry:
    """The event as the journal keeps it: its kind, its time, and the rest with Decimals as text."""
    payload = msgspec.to_builtins(event)
    return JournalEntry(ms=payload.pop("ms"), kind=payload.pop("event"), payload=payload)


def event_of(entry: JournalEntry) -> AnyEvent:
    """The event that ``journal_entry`` was made from. Raises msgspec.ValidationError for anything else."""
    if not isinstance(entry.payload, dict):
        raise msgspec.ValidationError(f"an event has named parts, was {entry.payload!r}")
    found: AnyEvent = msgspec.convert(
        {**entry.payload, "event": entry.kind, "ms": entry.ms}, AnyEvent, strict=True
    )
    return found
