"""Positions and accounts as people see them. The rows that are stored are in ``domain/books.py``."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


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


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account's books in quote currency. ``funding`` > 0 is received; ``equity`` is cash + unrealised."""

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
