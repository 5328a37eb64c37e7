"""What a venue with order lists must offer. What cannot be read raises ``Unread``: an error is never zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from perpdesk.config.volume_tokens import Listing
from perpdesk.domain.errors import PerpdeskError
from perpdesk.ports import Answer
from perpdesk.strategies.volume_target.facts import Fill, Seen
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.strategies.volume_target.pair_events import PlaceExit, PlaceOto
from perpdesk.strategies.volume_target.prices import TokenRules

# Refusals of a signature or key: the user halts, nobody else does.
AUTH_CODES = frozenset({-1022, -2014, -2015})


class Unread(PerpdeskError):
    """A read came to nothing: the answer is unknown, not empty. code: the venue's, None without one."""

    def __init__(self, what: str, code: int | None = None) -> None:
        super().__init__(what)
        self.code = code

    @property
    def is_auth(self) -> bool:
        """Does the venue refuse the key itself?"""
        return self.code in AUTH_CODES


async def counter_of(venue: UserVenue, day: int, side: CountSide) -> Decimal:
    """The user's counter. Raises Unread, also for what no counter can show."""
    shown = await venue.volume(day, side)
    if not shown.is_finite() or shown < 0:
        raise Unread(f"the counter shows {shown}")
    return shown


@dataclass(frozen=True, slots=True)
class Instrument:
    """A token's rules. is_ok: it trades, lists are allowed, and the self-trade prevention that we ask for."""

    rules: TokenRules
    is_ok: bool


@dataclass(frozen=True, slots=True)
class Price:
    """A book ticker. event_ms: venue time of it; read_ms: venue time at which it was read."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    event_ms: int
    read_ms: int


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order's status from the stream or a query."""

    client_id: str
    seen: Seen
    cum_qty: Decimal
    venue_id: str | None


@dataclass(frozen=True, slots=True)
class FillSeen:
    """An execution from the stream."""

    client_id: str
    fill: Fill


@dataclass(frozen=True, slots=True)
class StreamUp:
    """Events flow (again): what was missed must be asked for."""


@dataclass(frozen=True, slots=True)
class StreamDown:
    """Events do not flow."""


Fact = OrderSeen | FillSeen | StreamUp | StreamDown


class UserVenue(Protocol):
    """One user's account on one token. Requests are sent once; reads raise Unread."""

    async def volume(self, day: int, side: CountSide) -> Decimal:
        """What the counter shows of this side for this UTC day (days since 1970)."""

    async def place_oto(self, order: PlaceOto) -> Answer:
        """Send a pair, once."""

    async def place_exit(self, order: PlaceExit) -> Answer:
        """Send an exit, once."""

    async def cancel(self, list_id: str) -> Answer:
        """Take a pair back."""

    async def order(self, client_id: str) -> OrderSeen | None:
        """An order's status; None: the venue says that there is none."""

    async def fills(self, client_id: str) -> tuple[Fill, ...]:
        """Every execution of an order, with running quantities and commissions."""

    async def free_usdt(self) -> Decimal:
        """USDT that is free."""

    async def taker_fee(self) -> Decimal | None:
        """The account's own fee as a fraction; None: as the token's rules say."""

    async def check_key(self) -> None:
        """Raises Unread (is_auth) or Refused where the key may not be used."""

    def open_stream(self, on_fact: Callable[[Fact], None]) -> Callable[[], None]:
        """The account's events from now on; the result ends them."""

    async def close(self) -> None:
        """Close connections. Closing twice is fine."""


class OtoVenue(Protocol):
    """A venue. key: its name in token keys. queue_ms: how long a request may wait here before it is sent."""

    key: str
    recv_window_ms: int
    queue_ms: int

    def now_ms(self) -> int:
        """Venue time."""

    async def listings(self) -> Sequence[Listing]:
        """The tokens."""

    async def instrument(self, token: Listing) -> Instrument:
        """A token's rules. Raises Unread."""

    async def price(self, token: Listing) -> Price:
        """A token's book ticker. Raises Unread."""

    async def window(self, token: Listing, seconds: int) -> tuple[Decimal, Decimal] | None:
        """(lowest, highest) of the last seconds; None: they are not covered. Raises Unread."""

    def user(self, user_id: int, token: Listing) -> UserVenue:
        """A user's account. Raises Refused or InputError if there are no credentials for it."""

    def rate_ok(self) -> bool:
        """Is there room in the venue's limits for another pair?"""
