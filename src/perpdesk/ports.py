"""The seams: what the engine needs of the world, as Protocols, and the messages that cross them.

Messages are in kernel units (integer prices, lots, 1e-8 money; symbols as universe indexes), because
the step runs on them; adapters translate at their own edge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, Unpack

import numpy as np

from perpdesk.domain.books import (
    Failed,
    FillQuery,
    FillRow,
    IntentRow,
    IntentState,
    JournalCheck,
    JournalEntry,
    Json,
    Missing,
    NewIntent,
    NewPosition,
    NewRun,
    OrderRow,
    PositionChange,
    PositionEnd,
    PositionQuery,
    PositionRow,
    RunRow,
    StateRow,
    StrategyVersion,
    TradingControl,
    VersionTotals,
)
from perpdesk.domain.order import PositionSide


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
    """The venue's answer to one request.

    fence_ms: with UNKNOWN, our time after which the venue cannot accept the request any more (0: not told).
    code: the venue's own error code, None without one.
    """

    outcome: Outcome
    reason: str = ""
    fence_ms: int = 0
    code: int | None = None


class Fate(Enum):
    """What is proven of an order whose answer was lost."""

    ALIVE = "alive"
    ENDED = "ended"  # it was accepted; what traded of it is told as fills
    ABSENT = "absent"  # it was never accepted and cannot be any more


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order in one of the account's two books, in kernel units. price: limit or trigger.

    is_ours is for the reader to decide (by the client id). close_position: closes whatever is held then.
    """

    client_id: str
    symbol: int
    kind: int
    side: int
    price: int
    lots: int
    reduce_only: bool
    activation: int
    callback_ppm: int
    close_position: bool
    is_conditional: bool
    status: str
    placed_ms: int


@dataclass(frozen=True, slots=True)
class Leg:
    """The exchange's own view of one netted position. lots is signed, entry_price in kernel units (rounded).

    symbol is -1 for a contract outside the universe; name is the exchange's. liquidation_price 0: none.
    isolated: the margin type (None: not told).
    """

    symbol: int
    name: str
    lots: int
    entry_price: int
    mark_price: int
    liquidation_price: int
    isolated: bool | None
    margin_e8: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class VenueFill:
    """A fill as the exchange's history has it. realised_e8: its own figure; order_id: its number."""

    symbol: int
    trade_id: int
    order_id: int
    client_id: str
    side: int
    price: int
    lots: int
    is_maker: bool
    fee_e8: int
    realised_e8: int
    ms: int


@dataclass(frozen=True, slots=True)
class Income:
    """One booking of the exchange on the wallet. kind: its incomeType; key: unique with kind and symbol."""

    key: str
    kind: str
    symbol: str
    asset: str
    amount_e8: int
    trade_id: int | None
    ms: int


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
    """The exchange liquidated the position of a symbol and cancelled the symbol's orders.

    realised_e8: what it has realised on this symbol in all, the liquidation included (None: not told).
    lots_left: what is left of the position after it (unsigned; None: not told): a large one goes in steps.
    """

    symbol: int
    side: int
    price: int
    lots: int
    fee_e8: int
    ms: int
    cursor: int
    trade_id: int
    realised_e8: int | None = None
    lots_left: int | None = None


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
    """Funding was exchanged on the position of a symbol at this rate and mark price.

    amount_e8: the venue's own booking (> 0 is received), None where it does not tell.
    """

    symbol: int
    rate_e8: int
    mark: int
    ms: int
    amount_e8: int | None = None


@dataclass(frozen=True, slots=True)
class StepOver:
    """Everything that belongs to the step has been told: time for the gate."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class OrderGone:
    """The venue ended an order that nobody here took back: expired, rejected at its trigger, canceled."""

    client_id: str
    symbol: int
    sleeve: int
    slot: int
    reason: str
    ms: int


@dataclass(frozen=True, slots=True)
class ExternalTraded:
    """A fill on this account of an order that no sleeve placed: a person, the app, another program."""

    client_id: str
    symbol: int
    side: int
    price: int
    lots: int
    fee_e8: int
    ms: int
    trade_id: int


Message = (
    Traded
    | Triggered
    | ForcedClose
    | PriceReached
    | StepClosed
    | FundingCharged
    | StepOver
    | OrderGone
    | ExternalTraded
)


@dataclass(frozen=True, slots=True)
class VenueTraits:
    """What a venue can do, declared and not guessed by its name.

    watches_levels: stops its path at price levels (a simulated path can, a real market sends marks).
    replaces_in_place: a new order in a slot may take the old one's place while the market stands still.
    checks_orders: refuses orders that filters, position or price make impossible (a stop that is passed).
    fills_at_once: a market order trades when it arrives, not with the next movement of the path.
    """

    name: str
    watches_levels: bool
    replaces_in_place: bool
    checks_orders: bool = False
    fills_at_once: bool = False


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


class LiveVenue(Venue, Protocol):
    """A venue that can be asked what it holds: what recovery and reconciliation need.

    Every read raises a PerpdeskError where it could not find out; an empty answer is what was answered,
    and proves nothing by itself.
    """

    async def settle(self, symbol: int, client_id: str, fence_ms: int) -> Fate:
        """Prove what became of an order whose answer was UNKNOWN; waits until it is proven (rule R3)."""
        ...

    async def open_orders(self) -> list[OpenOrder]:
        """Both books of the whole account, symbols of the universe only."""
        ...

    async def legs(self) -> list[Leg]:
        """Every position that is not flat, outside the universe too."""
        ...

    async def fills_since(self, symbol: int, since_ms: int) -> list[VenueFill]:
        """The account's fills of a symbol from since_ms (exchange time) on, oldest first, complete."""
        ...

    async def income_since(self, since_ms: int) -> list[Income]:
        """The wallet's bookings from since_ms (exchange time) on, oldest first, complete."""
        ...

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        """Place the stop that closes whatever is held then (the disaster stop), on the mark price."""
        ...

    async def limit_ioc(self, symbol: int, client_id: str, side: int, lots: int) -> Answer:
        """Close with a reduce-only limit at the edge of the allowed band, immediate or cancel (rule R12)."""
        ...

    async def free_conditional_slots(self) -> int:
        """How many conditional orders the account may still place."""
        ...

    def reachable(self) -> bool:
        """Could the account reach the venue just now? (outage and ban: no)"""
        ...

    def exchange_ms(self) -> int:
        """The exchange's time as far as it is known."""
        ...


class Feed(Protocol):
    """Market data and account events in one order.

    A message counts as answered when the next one is asked for: a simulated venue stands still until then.
    """

    def messages(self) -> AsyncIterator[Message]: ...


class StoreBooks(Protocol):
    """What can be written down and read back. Times are UTC ms of the caller's clock; a store has none.

    Prices, quantities and money are Decimals with at most the places of their column (12 and 8; scores 4,
    see ``units.half_away``); a float, a lost digit, an overlong text is an InputError that names the column,
    and nothing is written. Hearing a fact twice changes nothing. The database's own troubles are StoreFailed
    (StoreBusy: nothing was written, try again); rows that cannot both be true are BooksContradiction.
    """

    # Runs and what they are frozen under.

    async def save_params_snapshot(self, text: str, ms: int) -> str:
        """Keep this very JSON text. Returns its sha256 (of the UTF-8 bytes), by which rows refer to it."""
        ...

    async def params_snapshot(self, sha256: str) -> str | None:
        """The JSON text with this hash, None if it was never kept."""
        ...

    async def save_strategy_version(self, version: StrategyVersion) -> None:
        """Make a version known, or take its new parameters. Positions need its name to be known."""
        ...

    async def start_run(self, run: NewRun) -> RunRow:
        """Write the start of a run. With ``account_id`` None it gets an account of its own: use the returned
        one for its rows, so that trade ids of two simulated runs never meet."""
        ...

    async def finish_run(self, run_id: int, ms: int, summary: dict[str, Any]) -> None:
        """Write the end of a run. Raises StepRefused if it has ended, or never was."""
        ...

    async def runs(self, limit: int | None = None) -> list[RunRow]:
        """The runs, newest first."""
        ...

    # The switch.

    async def trading_control(
        self, account_id: int, trading_type: str = "usdt_futures"
    ) -> TradingControl | Missing | Failed:
        """May new exposure be opened? Three answers, and a broken database is one of them: it never raises
        for that. Only a TradingControl whose ``trading_enabled`` is true lets an opener go on."""
        ...

    async def set_trading_control(
        self, account_id: int, enabled: bool, by: str, ms: int, trading_type: str = "usdt_futures"
    ) -> None:
        """Turn the switch, saying who and when."""
        ...

    # Positions and the intents that make them.

    async def open_position(self, position: NewPosition, intent: NewIntent | None) -> int:
        """Write a position and the intent of its entry together, durably. Returns the position's id.

        Raises PositionExists if this version has a live position there (the database decides races), and
        AttemptInFlight as ``record_intent`` does; then neither row is written. None as intent: adopted.
        """
        ...

    async def update_position(self, position_id: int, ms: int, **changes: Unpack[PositionChange]) -> None:
        """Change a live position. ``realized_pnl``, ``commission`` and ``funding`` are given together;
        ``net_pnl`` follows. Raises StepRefused for a finished row or a status that cannot follow."""
        ...

    async def close_position(self, position_id: int, ms: int, end: PositionEnd) -> None:
        """End a live position, for good: its place is free. Raises StepRefused if it has ended already."""
        ...

    async def record_intent(self, intent: NewIntent) -> int:
        """Write an intent durably, in state NEW. Returns its id. Send only after this (or the unit that it
        is in) has returned. Raises AttemptInFlight if its delivery is ONCE and an earlier attempt of the same
        position and leg is not DEAD."""
        ...

    async def mark_intent(
        self,
        client_id: str,
        state: IntentState,
        ms: int,
        *,
        signed_ms: int | None = None,
        fence_ms: int | None = None,
        result: Json | None = None,
    ) -> bool:
        """Take an intent to ``state``; SENT is durable too. Returns False, changing nothing, if it is there
        already. Raises StepRefused for a step that ``INTENT_STEPS`` does not have."""
        ...

    async def intent(self, client_id: str) -> IntentRow | None:
        """The attempt with this client id, None if there is none."""
        ...

    async def pending_intents(self, account_id: int) -> list[IntentRow]:
        """Attempts that are not FILLED or DEAD, oldest first: what a start must settle."""
        ...

    async def position(self, position_id: int) -> PositionRow | None:
        """One position, None if there is none."""
        ...

    async def live_positions(
        self,
        account_id: int,
        symbol: str | None = None,
        position_side: PositionSide | None = None,
        signal_version: str | None = None,
    ) -> list[PositionRow]:
        """Building, open and closing positions, oldest first: what is, or may be, on the exchange."""
        ...

    async def positions(self, query: PositionQuery) -> list[PositionRow]:
        """Positions that match, oldest first; with a limit the newest of them."""
        ...

    # What the exchange did.

    async def record_order(self, order: OrderRow) -> bool:
        """Write an order as it stands, new or known by (account, client id, effect). Returns False, changing
        nothing, if more of it is known to have traded: the report is stale."""
        ...

    async def record_fill(self, fill: FillRow) -> bool:
        """Write a fill once. Returns False if (account, symbol, trade id) is known; raises
        BooksContradiction if it is known with other content."""
        ...

    async def orders(self, account_id: int, position_id: int | None = None) -> list[OrderRow]:
        """The orders of an account (and position), in the order in which they were first written."""
        ...

    async def fills(self, query: FillQuery) -> list[FillRow]:
        """Fills that match, in order of time; with a limit the newest of them."""
        ...

    # What strategies keep, the journal, reports.

    async def save_state(self, state: StateRow) -> None:
        """Keep a strategy's state, replacing what was kept under (account, strategy, symbol)."""
        ...

    async def load_state(self, account_id: int, strategy: str, symbol: str) -> StateRow | None:
        """What was kept, None if nothing was."""
        ...

    async def append_journal(self, entries: Sequence[JournalEntry]) -> None:
        """Append facts to the hash-chained journal, in this order."""
        ...

    async def version_totals(
        self,
        account_id: int | None = None,
        from_ms: int | None = None,
        until_ms: int | None = None,
        *,
        by_day: bool = False,
    ) -> list[VersionTotals]:
        """Exact totals of positions finished within [from_ms, until_ms), by version and UTC day of close."""
        ...


class Store(StoreBooks, Protocol):
    """The books of one database. A method of StoreBooks called here is a transaction of its own."""

    def unit(self, *, durable: bool = True) -> AbstractAsyncContextManager[StoreBooks]:
        """A unit of work: ``async with store.unit() as books`` commits all its writes at the end, or none.

        Inside, call the unit's methods, not the store's (that is an InternalError). A refusal
        (PositionExists, AttemptInFlight, StepRefused, InputError) may be caught and the unit goes on; after
        StoreFailed or a cancellation it is lost. ``durable=False`` may be lost in a power cut (not in a crash
        of the process), costs no disk flush, and takes no intents: for fills, orders, states, journal. Send
        after the block, never inside it.
        """
        ...

    async def verify_journal(self) -> JournalCheck:
        """Check every seal of the journal in constant memory, while others go on writing."""
        ...

    async def close(self) -> None:
        """Close all connections. Closing twice is fine."""
        ...
