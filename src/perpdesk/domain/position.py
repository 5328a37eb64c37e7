"""Fills, positions and accounts as frozen pictures for people and storage: Decimals, whole words.

The kernel's records are the truth while a run goes on; these are lossless views of them.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from perpdesk.domain.order import PositionSide, Side


class PositionStatus(StrEnum):
    """Where a position stands. The first three are live: they occupy the place of their version."""

    BUILDING = "building"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    LIQUIDATED = "liquidated"

    @property
    def is_live(self) -> bool:
        """Is it, or may it be, on the exchange?"""
        return self in (PositionStatus.BUILDING, PositionStatus.OPEN, PositionStatus.CLOSING)


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. ``commission`` > 0 is paid; ``realised`` is the price profit, before commission."""

    fill_ms: int
    version: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    commission: Decimal
    realised: Decimal
    is_taker: bool
    reason: str


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """A version's position on one symbol. ``qty`` is unsigned; money is in quote currency."""

    version: str
    symbol: str
    position_side: PositionSide
    status: PositionStatus
    leverage: int
    qty: Decimal
    entry_notional: Decimal
    margin: Decimal
    realised: Decimal
    commission: Decimal
    funding: Decimal
    open_ms: int
    avg_entry_price: Decimal | None = None
    exit_price: Decimal | None = None
    liquidation_price: Decimal | None = None
    close_ms: int | None = None
    close_reason: str | None = None

    @property
    def net(self) -> Decimal:
        """What the position earned so far: realised − commission + funding."""
        return self.realised - self.commission + self.funding


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account's books. ``funding`` > 0 is received; ``equity`` is cash plus unrealised profit."""

    initial: Decimal
    cash: Decimal
    equity: Decimal
    realised: Decimal
    commission: Decimal
    funding: Decimal
    margin: Decimal
    open_positions: int
    fills: int
    liquidations: int

    @property
    def unexplained(self) -> Decimal:
        """Cash that the books do not explain; anything but zero is a bug."""
        return self.cash - (self.initial + self.realised - self.commission + self.funding)
