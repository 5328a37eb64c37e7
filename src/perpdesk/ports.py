"""The seams: what the engine needs of the world, as Protocols, and the messages that cross them.

Messages are in kernel units (integer prices, lots, 1e-8 money; symbols as universe indexes), because
the step runs on them; adapters translate at their own edge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np


class Clock(Protocol):
    """Time. Nothing else in the engine knows what time it is."""

    def now_ms(self) -> int:
        """UTC milliseconds."""
        ...

    async def sleep_until(self, ms: int) -> None:
        """Return at or after ms."""
        ...


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order on its way to the venue. (sleeve, slot) is its stable place; price is a limit or trigger."""

    client_id: str
    symbol: int
    sleeve: int
    slot: int
    kind: int
    side: int
    price: int
    lots: int
    reduce_only: bool
    activation: int
    callback_ppm: int
    leverage: int


class Outcome(Enum):
    """What is known about a request. UNKNOWN is not a failure: the order may be alive."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """The venue's answer to one request."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Traded:
    """An order traded. in_jump: more may follow before anybody can act; the next PriceReached ends it."""

    client_id: str
    symbol: int
    sleeve: int
    slot: int
    side: int
    price: int
    lots: int
    taker: int
    fee_e8: int
    ms: int
    in_jump: bool
    cursor: int
    trade_id: int


@dataclass(frozen=True, slots=True)
class Triggered:
    """A conditional order triggered but found no volume yet; it works on as a market order."""

    client_id: str
    symbol: int
    sleeve: int
    slot: int
    ms: int


@dataclass(frozen=True, slots=True)
class ForcedClose:
    """The exchange liquidated the position of a symbol and cancelled the symbol's orders."""

    symbol: int
    side: int
    price: int
    lots: int
    fee_e8: int
    ms: int
    cursor: int
    trade_id: int


@dataclass(frozen=True, slots=True)
class PriceReached:
    """The path stands at a watched level, or at the open after a jump that traded."""

    symbol: int
    price: int
    ms: int


@dataclass(frozen=True, slots=True)
class StepClosed:
    """One minute's closed bars, all symbols in universe order. bars: [N] of bar_dt, absent ones marked."""

    now_ms: int
    bars: np.ndarray


@dataclass(frozen=True, slots=True)
class FundingCharged:
    """Funding was exchanged on the position of a symbol at this rate and mark price."""

    symbol: int
    rate_e8: int
    mark: int
    ms: int


@dataclass(frozen=True, slots=True)
class StepOver:
    """Everything that belongs to the step has been told: time for the gate."""

    now_ms: int


Message = Traded | Triggered | ForcedClose | PriceReached | StepClosed | FundingCharged | StepOver


@dataclass(frozen=True, slots=True)
class VenueTraits:
    """What a venue can do, declared and not guessed by its name.

    watches_levels: stops its path at price levels (a simulated path can, a real market sends marks).
    replaces_in_place: a new order in a slot may take the old one's place while the market stands still.
    """

    name: str
    watches_levels: bool
    replaces_in_place: bool


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """The exchange's own figure of one netted position."""

    symbol: int
    lots: int
    cost_e8: int
    realised_e8: int
    fees_e8: int
    funding_e8: int


class Venue(Protocol):
    """Where orders go."""

    @property
    def traits(self) -> VenueTraits: ...

    async def place(self, order: NewOrder) -> Answer:
        """Send one order; the answer says what is known."""
        ...

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        """Take one order back. REFUSED: the venue has no such open order."""
        ...

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        """Say at which prices PriceReached is wanted (traits.watches_levels)."""
        ...

    async def open_client_ids(self, symbol: int) -> set[str]:
        """The client ids of all open orders of a symbol."""
        ...

    async def positions(self) -> list[VenuePosition]:
        """Every position that is not flat, or was traded in this session."""
        ...

    async def wallet_e8(self) -> int:
        """Wallet balance (without unrealised profit)."""
        ...


class Feed(Protocol):
    """Market data and account events in one order.

    A message counts as answered when the next one is asked for: a simulated venue stands still until then.
    """

    def messages(self) -> AsyncIterator[Message]: ...
