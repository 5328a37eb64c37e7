"""What can happen to a pair, and what a pair can want. Times are venue time in UTC milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpdesk.strategies.volume_target.facts import Fill, Seen

# Refused with this code: it was not sent at all, because it might not be any more.
NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class Send:
    """The pair may go out now (may_start_pair still says GO, the lease holds)."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The pair must not go out after all: stop, kill, lease lost, price stale."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Acked:
    """The venue has taken a request. ``client_id`` is the list's or an exit's."""

    now_ms: int
    client_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue proved that it did not take the request (a code of the definitive list, nothing else)."""

    now_ms: int
    client_id: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Time-out, 5xx, a body that cannot be read, a code that is not on the list: nothing is known."""

    now_ms: int
    client_id: str


@dataclass(frozen=True, slots=True)
class CancelDenied:
    """The venue says that there is nothing to cancel. That proves nothing."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class OrderReport:
    """An order's status, from the stream or a query. Unknown client ids are an error of the caller."""

    now_ms: int
    client_id: str
    seen: Seen
    cum_qty: Decimal
    venue_id: str | None = None


@dataclass(frozen=True, slots=True)
class FillReport:
    """One execution, from the stream or a query."""

    now_ms: int
    client_id: str
    fill: Fill


@dataclass(frozen=True, slots=True)
class ProbeEmpty:
    """A probe that was asked at ``asked_ms`` succeeded everywhere and found nothing of this request."""

    now_ms: int
    client_id: str
    asked_ms: int


@dataclass(frozen=True, slots=True)
class Quote:
    """A fresh bid."""

    now_ms: int
    bid: Decimal


@dataclass(frozen=True, slots=True)
class Stop:
    """No new pair; a BUY leg is cancelled at once, a SELL leg after the grace (0: at once)."""

    now_ms: int
    grace_ms: int


@dataclass(frozen=True, slots=True)
class CancelBuys:
    """The CANCEL rung of the kill ladder: BUY legs are cancelled, SELL legs kept."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The process was started anew and found this pair in the ledger."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Resolve:
    """A person wants a quarantined pair reconciled again."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Reopen:
    """The user has no other live pair now: a FLAT pair with late news may be settled again."""

    now_ms: int


PairEvent = (
    Send
    | Withdraw
    | Acked
    | Refused
    | NoAnswer
    | CancelDenied
    | OrderReport
    | FillReport
    | ProbeEmpty
    | Quote
    | Stop
    | CancelBuys
    | Tick
    | Restarted
    | Resolve
    | Reopen
)


@dataclass(frozen=True, slots=True)
class PlaceOto:
    """Send the list once. Sign it with ``signed_ms``; never repeat, never sign again."""

    list_id: str
    buy_id: str
    sell_id: str
    buy_price: Decimal
    sell_price: Decimal
    qty: Decimal
    sell_qty: Decimal
    signed_ms: int


@dataclass(frozen=True, slots=True)
class PlaceExit:
    """Sell what is left, once: immediate-or-cancel at ``limit``, at market if that is None."""

    client_id: str
    qty: Decimal
    limit: Decimal | None
    signed_ms: int


@dataclass(frozen=True, slots=True)
class CancelList:
    """Take both orders of the list back."""

    list_id: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Look for a request everywhere (list, its orders, their fills). All empty: ProbeEmpty."""

    client_id: str
    asked_ms: int


@dataclass(frozen=True, slots=True)
class QueryOrders:
    """Ask for the status of these orders."""

    client_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueryFills:
    """Ask for every execution of these orders, with commissions."""

    client_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadPrice:
    """Read the book ticker."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A person must be told."""

    code: str


PairWanted = PlaceOto | PlaceExit | CancelList | Probe | QueryOrders | QueryFills | ReadPrice | Alarm
