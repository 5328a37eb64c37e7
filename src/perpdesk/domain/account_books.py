"""What the books hold about an account besides its positions: foreign lots, income, days, corrections.

Quantities, prices and money are Decimals; times are UTC ms; a ``day`` is a UTC date as ``2025-05-24``.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, TypedDict

import msgspec

from perpdesk.domain.errors import Refused
from perpdesk.domain.order import PositionSide

# The breaker row of the whole account, beside those of its strategies.
WHOLE_ACCOUNT = "*"


class AccountStatus(StrEnum):
    """May an account be traded? Removed ones stay: their rows refer to them."""

    ACTIVE = "active"
    DISABLED = "disabled"
    REMOVED = "removed"


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account by name. ``vault_ref`` says where its key is kept; the key itself is never here."""

    name: str
    exchange: str
    created_ms: int
    vault_ref: str | None = None
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class AccountRow(NewAccount, frozen=True, kw_only=True):
    """An account as it stands. ``last_check_problem`` None: the last check of its key found nothing."""

    account_id: int
    status: AccountStatus
    updated_ms: int
    last_check_ms: int | None
    last_check_problem: str | None


class AccountChange(TypedDict, total=False):
    """What may change about an account."""

    status: AccountStatus
    vault_ref: str | None
    params: dict[str, Any]
    last_check_ms: int
    last_check_problem: str | None


class AccountExists(Refused):
    """The name is taken, perhaps by an account that was removed. Choose another."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "ACCOUNT_EXISTS", f"an account named {name!r} is (or was) there: choose another name"
        )


class ExternalLots(msgspec.Struct, frozen=True, kw_only=True):
    """What is on the exchange and belongs to no strategy: a person's, another program's, or unexplained.

    ``qty`` > 0 is bought. While it is neither 0 nor acknowledged, the symbol takes no entries.
    """

    account_id: int
    symbol: str
    position_side: PositionSide
    qty: Decimal
    first_seen_ms: int
    updated_ms: int
    avg_price: Decimal | None = None
    client_id: str | None = None
    acknowledged_ms: int | None = None
    acknowledged_by: str | None = None

    @property
    def stops_entries(self) -> bool:
        """Must a person look at it first?"""
        return self.qty != 0 and self.acknowledged_ms is None


class NewBreakerDay(msgspec.Struct, frozen=True, kw_only=True):
    """A UTC day of an account (``strategy`` WHOLE_ACCOUNT) or of one strategy at its first step."""

    account_id: int
    strategy: str
    day: str
    base_equity: Decimal
    created_ms: int
    unrealised_start: Decimal = Decimal(0)


class BreakerDay(NewBreakerDay, frozen=True, kw_only=True):
    """The day as it stands. ``realised`` is net of fees and funding; ``transfers`` are no gain, no loss."""

    updated_ms: int
    realised: Decimal = Decimal(0)
    transfers: Decimal = Decimal(0)
    tripped_ms: int | None = None
    trip_pnl: Decimal | None = None
    trip_reason: str | None = None
    reset_ms: int | None = None
    reset_by: str | None = None
    reset_reason: str | None = None

    @property
    def is_tripped(self) -> bool:
        """Are entries over for this day?"""
        return self.tripped_ms is not None


class IncomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the exchange's own account statement. ``symbol`` is empty for a transfer."""

    account_id: int
    income_type: str
    tran_id: int
    symbol: str
    asset: str
    amount: Decimal
    time_ms: int
    imported_ms: int
    trade_id: int | None = None


class AdjustmentKind(StrEnum):
    """Why a position's figures were corrected otherwise than by its own orders' fills."""

    MANUAL_CLOSE = "manual_close"
    MANUAL_PARTIAL = "manual_partial"
    PRO_RATA = "pro_rata"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"
    FUNDING_SPLIT = "funding_split"
    TO_EXTERNAL = "to_external"
    FROM_EXTERNAL = "from_external"


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a position's (None: the external ledger's) quantity or money that no own fill explains.

    ``source_key`` names what caused it (``trade:BTCUSDT:123:45``), once per account: hearing of it again
    changes nothing. ``qty`` and money are signed changes; ``commission`` > 0 is paid.
    """

    account_id: int
    symbol: str
    position_side: PositionSide
    kind: AdjustmentKind
    qty: Decimal
    source_key: str
    ms: int
    position_id: int | None = None
    price: Decimal | None = None
    realized_pnl: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    note: str | None = None
