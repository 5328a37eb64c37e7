"""An order in the book, and a conditional order that waits on the algo service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BUY, SELL = 1, -1
SIDES = {"BUY": BUY, "SELL": SELL}
SIDE_NAMES = {BUY: "BUY", SELL: "SELL"}
GTC_LIFE_MS = 365 * 86_400_000
OPEN_STATUSES = ("NEW", "PARTIALLY_FILLED")

# Why an order ended (``er`` of ORDER_TRADE_UPDATE).
(
    ER_NONE,
    ER_SELF_TRADE,
    ER_IOC,
    ER_IOC_SELF_TRADE,
    ER_REDUCE_ONLY,
    ER_LIQUIDATION,
    ER_GTE,
    ER_DELISTED,
    ER_TRIGGERED,
    ER_MARKET,
) = range(10)


@dataclass(slots=True)
class Order:
    """One ordinary order. Lots are unsigned, side is +1 or -1; price 0 is a market order."""

    id: int
    account: int
    contract: int
    client_id: str
    side: int
    position_side: str
    type: str
    tif: str
    price: int
    lots: int
    reduce_only: bool
    stp: str
    price_match: str
    good_till_ms: int
    created_ms: int
    updated_ms: int
    seq: int
    original_type: str = ""
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    close_position: bool = False
    trigger: int = 0
    activation: int = 0
    callback: str = ""
    algo: int = 0
    status: str = "NEW"
    filled: int = 0
    quote_e8: int = 0
    realised_e8: int = 0
    expire_reason: int = ER_NONE
    modify_id: int = 0
    closes: bool = False
    amendments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Lots that have not traded."""
        return self.lots - self.filled

    @property
    def is_open(self) -> bool:
        """Does it still rest in the book?"""
        return self.status in OPEN_STATUSES


@dataclass(slots=True)
class Conditional:
    """One algo order. ``extreme`` is the best price a trailing order has seen (0: not activated)."""

    id: int
    account: int
    contract: int
    client_id: str
    side: int
    position_side: str
    type: str
    tif: str
    lots: int
    price: int
    trigger: int
    working_type: str
    price_match: str
    stp: str
    close_position: bool
    price_protect: bool
    reduce_only: bool
    activation: int
    activation_given: bool
    callback_ppm: int
    good_till_ms: int
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    extreme: int = 0
    triggered_ms: int = 0
    child: int = 0
    reject_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Is it still waiting for its trigger?"""
        return self.status == "NEW"

    @property
    def expires_with_position(self) -> bool:
        """Good till the position ends."""
        return self.close_position or self.tif == "GTE_GTC"
