"""What the radar asks of an exchange. Numbers stay Decimals; what did not come is an error, never a zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

FUNDING_HOURS = 8


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract as the exchange lists it; quote_volume: of the last 24 hours."""

    symbol: str
    status: str
    kind: str
    quote: str
    margin: str
    quote_volume: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark price and funding of one symbol. rate: as the exchange gives it, None if it does not."""

    price: Decimal
    rate: Decimal | None


@dataclass(frozen=True, slots=True)
class Interest:
    """Open interest of one symbol. told_ms: the exchange's own time of it."""

    symbol: str
    amount: Decimal
    told_ms: int


@dataclass(frozen=True, slots=True)
class Ratios:
    """Four long/short ratios; None where there was none. told_ms: exchange time of the oldest of them."""

    top_position: Decimal | None
    taker: Decimal | None
    top_account: Decimal | None
    crowd: Decimal | None
    told_ms: int


NO_RATIOS = Ratios(None, None, None, None, 0)


class InterestSource(Protocol):
    """An exchange as the radar sees it. Every method raises a PerpdeskError where it could not find out."""

    def now_ms(self) -> int:
        """The exchange's time."""
        ...

    async def sleep_until(self, ms: int) -> None:
        """Return at or after this time of the exchange."""
        ...

    async def contracts(self) -> Sequence[Contract]:
        """Everything that is listed."""
        ...

    async def funding_hours(self) -> Mapping[str, int]:
        """Funding intervals of the symbols that differ from ``FUNDING_HOURS``."""
        ...

    async def marks(self) -> Mapping[str, Mark]:
        """Mark prices of all symbols, in one request."""
        ...

    async def open_interest(self, symbol: str, deadline_ms: int) -> Interest:
        """Open interest of a symbol. Nothing is sent if the limits leave no room before the deadline."""
        ...

    async def ratios(self, symbol: str, deadline_ms: int) -> Ratios:
        """The four ratios of a symbol."""
        ...

    async def mark_minutes(self, symbol: str, count: int) -> Sequence[tuple[int, Decimal]]:
        """(close time, mark at it) of the last closed minutes, ascending."""
        ...
