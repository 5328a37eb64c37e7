"""The seams: what the engine needs of the world, as Protocols, and the messages that cross them.

Messages are in kernel units (integer prices, lots, 1e-8 money; symbols as universe indexes), because
the step runs on them; adapters translate at their own edge.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol, Unpack

import numpy as np

from perpdesk.domain.account_books import (
    AccountChange,
    AccountRow,
    Adjustment,
    BreakerDay,
    ExternalLots,
    IncomeRow,
    NewAccount,
    NewBreakerDay,
)
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
from perpdesk.domain.kill import ControlAction
from perpdesk.domain.order import PositionSide
from perpdesk.domain.ownership import (
    CLOCK_ERROR_MS,
    Heartbeat,
    Held,
    Lease,
    LeaseClaim,
    LeaseRow,
    SymbolOwner,
)
from perpdesk.domain.signal_books import (
    Big4Regime,
    GridOrder,
    GridZone,
    OiAnomaly,
    OiSetting,
    OiSnapshot,
    ScoreSignal,
    SymbolRating,
    TradingSignal,
)


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
    UNFILLED = "unfilled"  # it was accepted and has ended without a fill
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
    isolated: the margin type (None: not told). position_side: LONG and SHORT in hedge mode, else BOTH.
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
    position_side: PositionSide = PositionSide.BOTH


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The account's modes and, by symbol index of the universe, leverage and margin type."""

    hedge: bool
    multi_assets: bool
    leverages: Mapping[int, int]
    isolated: Mapping[int, bool]


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
    position_side: PositionSide = PositionSide.BOTH


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
    """An order traded. in_jump: more may follow before anybody can act; the next PriceReached ends it.

    venue_realised_e8: the exchange's own profit figure of this fill (None: not told).
    """

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
    venue_realised_e8: int | None = None


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
    client_id: the exchange's own order: its beginning tells liquidation, ADL and settlement apart.
    venue_realised_e8: the exchange's own profit figure of this fill (None: not told).
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
    client_id: str = ""
    venue_realised_e8: int | None = None


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
    venue_realised_e8: int = 0
    is_maker: bool = False


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

    async def prepare(self, order: NewOrder) -> str | None:
        """What an entry needs before it is sent (its leverage). What went wrong, None if nothing."""
        ...

    def catch_up(self, symbol: int | None = None, since_ms: int | None = None) -> None:
        """Read soon, from the exchange's history, what the stream may not have told. symbol: only the fills
        of this one, at once, beside everything else that is being read; since_ms (exchange time): from then
        on, before this start too."""
        ...

    def mark(self, symbol: int) -> tuple[int, int]:
        """The newest mark price and its exchange time; (0, 0) before the first."""
        ...

    def adopt(self, order: NewOrder) -> None:
        """An order of an earlier process is ours: its facts are told for its (sleeve, slot)."""
        ...

    def user_seen_ms(self) -> int:
        """Our time of the account stream's last sign of life; 0 before the first."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """An alarm on its way to a person. code: the condition's name, key: whose (symbol, strategy, order).

    severity: warning, error or critical; count: how often it was met while it stood; is_over: it has ended.
    """

    code: str
    key: str
    severity: str
    text: str
    ms: int
    count: int
    is_over: bool = False


class Notifier(Protocol):
    """Who tells a person."""

    async def notify(self, notice: Notice) -> None:
        """Tell it, within a few seconds, or raise."""
        ...


class Feed(Protocol):
    """Market data and account events in one order.

    A message counts as answered when the next one is asked for: a simulated venue stands still until then.
    """

    def messages(self) -> AsyncIterator[Message]: ...


class FolderLock(Protocol):
    """A file lock that is held; it ends with ``release`` or with the process."""

    def release(self) -> None: ...


class Folder(Protocol):
    """A few small files that processes of one machine share. Everything may raise OSError."""

    def read(self, name: str) -> bytes | None:
        """The content, None if there is no such file."""
        ...

    def stamp(self, name: str) -> tuple[int, ...] | None:
        """Changes whenever the file does, and is cheap; None if there is no such file."""
        ...

    def replace(self, name: str, content: bytes, *, durable: bool = True) -> None:
        """Put a whole file in place of the old one: a reader sees all of one of them. ``durable``: it
        survives a power cut."""
        ...

    def append(self, name: str, line: bytes) -> None:
        """Add a line at the end, durably."""
        ...

    def lock(self, name: str) -> FolderLock | None:
        """Take a lock, None if another process (or holder) has it. Never waits."""
        ...


class Leases(Protocol):
    """Who may send for an account. Times are of the caller's clock, read before the call."""

    async def take_lease(
        self,
        claim: LeaseClaim,
        now_ms: int,
        *,
        ttl_ms: int,
        clock_error_ms: int = CLOCK_ERROR_MS,
        above_epoch: int = 0,
        dead_owners: Collection[str] = (),
        quiet_ms: int | None = None,
    ) -> Lease | Held:
        """Take the lease if it is free, lapsed by two clock errors, or this owner's already; else Held.

        The new epoch is above the old one and ``above_epoch``. ``dead_owners``: these processes are proven
        dead (their file lock is free), so the lease of one of them need not lapse: the new one begins
        (``from_ms``) at ``quiet_ms``, when no request that they signed can be accepted any more. After
        StoreFailed, ask again: what was perhaps taken is this owner's.
        """
        ...

    async def renew_lease(self, lease: Lease, now_ms: int, *, ttl_ms: int) -> Lease | None:
        """Extend it. None: it is another's now, send nothing more. StoreFailed: it stays as it was known."""
        ...

    async def release_lease(self, lease: Lease, free_ms: int) -> bool:
        """Let it end at ``free_ms``, when nothing signed under it can be accepted any more, if that is
        sooner. False: it was another's already."""
        ...

    async def lease(self, account_id: int) -> LeaseRow | None:
        """Who has the account, or had it last. None: nobody ever had."""
        ...


class OwnershipBooks(Leases, Protocol):
    """Leases, signs of life, whose a symbol is, what people said (``domain/ownership.py``, ``kill``)."""

    async def beat(self, heartbeat: Heartbeat) -> bool:
        """Write a sign of life. False, changing nothing, if a later epoch or beat is known."""
        ...

    async def heartbeat(self, account_id: int, strategy: str) -> Heartbeat | Missing | Failed:
        """The last sign of life. Never raises for a database that does not answer."""
        ...

    async def heartbeats(self, account_id: int | None = None) -> list[Heartbeat]:
        """The last signs of life of an account's strategies (None: of all accounts)."""
        ...

    async def take_symbol(self, account_id: int, symbol: str, strategy: str, ms: int) -> SymbolOwner:
        """Make a symbol this strategy's, or find that it is. Raises SymbolTaken if it is another's."""
        ...

    async def free_symbol(self, account_id: int, symbol: str, strategy: str) -> bool:
        """Give a symbol up. False, changing nothing, if it was not this strategy's."""
        ...

    async def symbol_owners(self, account_id: int) -> list[SymbolOwner]:
        """Whose the symbols of an account are, by symbol."""
        ...

    async def record_control_action(self, action: ControlAction, ms: int) -> bool:
        """Write what a person said, with its journal entry, once. False if it is written already."""
        ...

    async def control_actions(self, account_id: int) -> list[ControlAction]:
        """What people said about an account, in order of time."""
        ...


class AccountBooks(Protocol):
    """Accounts, foreign lots, the exchange's statement, corrections, days (``domain/account_books.py``)."""

    async def add_account(self, account: NewAccount) -> AccountRow:
        """Make an account known and give it the next id. Raises AccountExists if its name was ever taken."""
        ...

    async def account(self, name: str) -> AccountRow | None:
        """The account with this name, None if there never was one."""
        ...

    async def accounts(self) -> list[AccountRow]:
        """All accounts, by id, removed ones too."""
        ...

    async def change_account(self, account_id: int, ms: int, **changes: Unpack[AccountChange]) -> None:
        """Change an account. Raises StepRefused if it does not exist or was removed."""
        ...

    async def save_external(self, lots: ExternalLots) -> bool:
        """Write how much is foreign there now. A changed quantity must be acknowledged anew. False: known."""
        ...

    async def acknowledge_external(
        self, account_id: int, symbol: str, position_side: PositionSide, qty: Decimal, by: str, ms: int
    ) -> bool:
        """A person has seen this very quantity. Journalled. False if it is another by now."""
        ...

    async def external_lots(self, account_id: int) -> list[ExternalLots]:
        """What is foreign on an account, by symbol; quantities of 0 are history."""
        ...

    async def record_income(self, rows: Sequence[IncomeRow]) -> int:
        """Import lines of the exchange's statement, each once by (transaction, type, symbol). Returns how
        many were new; raises BooksContradiction if one is known with other content."""
        ...

    async def income(
        self, account_id: int, from_ms: int | None = None, until_ms: int | None = None
    ) -> list[IncomeRow]:
        """Lines of the statement within [from_ms, until_ms), in order of time."""
        ...

    async def income_totals(
        self, account_id: int, from_ms: int | None = None, until_ms: int | None = None
    ) -> dict[tuple[str, str], Decimal]:
        """Exact sums of the statement by (income type, asset)."""
        ...

    async def record_adjustments(self, adjustments: Sequence[Adjustment]) -> int:
        """Write corrections, each with its journal entry, once per ``source_key``. Returns how many were
        new; raises BooksContradiction if one is known with other content."""
        ...

    async def adjustments(self, account_id: int, position_id: int | None = None) -> list[Adjustment]:
        """Corrections of an account (and position), in the order in which they were written."""
        ...

    async def start_breaker_day(self, day: NewBreakerDay) -> BreakerDay:
        """Begin a UTC day, or find it as it began: the first base stays."""
        ...

    async def update_breaker_day(
        self, account_id: int, strategy: str, day: str, ms: int, *, realised: Decimal, transfers: Decimal
    ) -> None:
        """Write the day's sums so far. Raises StepRefused if the day was never begun."""
        ...

    async def trip_breaker(
        self, account_id: int, strategy: str, day: str, ms: int, *, pnl: Decimal, reason: str
    ) -> bool:
        """End the day's entries, durably and journalled. False: it was over already."""
        ...

    async def reset_breaker(
        self, account_id: int, strategy: str, day: str, ms: int, *, by: str, reason: str
    ) -> bool:
        """A person takes the trip back, journalled. False: nothing had tripped."""
        ...

    async def breaker_day(self, account_id: int, strategy: str, day: str) -> BreakerDay | Missing | Failed:
        """The day as it stands. Never raises for a database that does not answer."""
        ...

    async def breaker_days(self, account_id: int, strategy: str | None = None) -> list[BreakerDay]:
        """The days of an account (and strategy), oldest first."""
        ...


class SignalBooks(Protocol):
    """What strategies saw: ratings, open interest, grids (``domain/signal_books.py``)."""

    async def save_rating(self, rating: SymbolRating) -> None:
        """Write a symbol's rating; the newest holds."""
        ...

    async def ratings(self) -> dict[str, SymbolRating]:
        """The ratings by symbol. Empty: the gate is not active."""
        ...

    async def record_signals(self, signals: Sequence[ScoreSignal]) -> int:
        """Write what score versions wanted; an attempt at a bar that was attempted already changes nothing.
        Returns how many were new."""
        ...

    async def score_signals(
        self,
        account_id: int,
        version: str | None = None,
        symbol: str | None = None,
        from_ms: int | None = None,
        until_ms: int | None = None,
    ) -> list[ScoreSignal]:
        """Signals created within [from_ms, until_ms), oldest first."""
        ...

    async def refusals(self, account_id: int, version: str, from_ms: int, until_ms: int) -> dict[str, int]:
        """How often a version was refused within [from_ms, until_ms), by reason."""
        ...

    async def save_regime(self, regime: Big4Regime) -> None:
        """Write the regime of a 15-minute close; the newest word holds."""
        ...

    async def regimes(self, account_id: int, from_ms: int, until_ms: int) -> list[Big4Regime]:
        """Regimes of closes within [from_ms, until_ms), oldest first."""
        ...

    async def version_names(self) -> list[str]:
        """Every version that ever ran on this database."""
        ...

    async def record_oi_anomalies(self, anomalies: Sequence[OiAnomaly]) -> int:
        """Write anomalies, each once per (symbol, period, poll). Returns how many were new."""
        ...

    async def oi_anomalies(
        self, from_ms: int | None = None, until_ms: int | None = None, symbol: str | None = None
    ) -> list[OiAnomaly]:
        """Anomalies of polls within [from_ms, until_ms), in order of time."""
        ...

    async def save_oi_setting(self, setting: OiSetting) -> None:
        """Write a setting of the radar. It is checked where it is read, by the same rules as the file."""
        ...

    async def oi_settings(self) -> list[OiSetting]:
        """All settings, active or not, by key."""
        ...

    async def record_oi(self, snapshots: Sequence[OiSnapshot]) -> int:
        """Write snapshots, each into the table of the UTC day of its receipt, once per (symbol, time).
        Returns how many were new. Raises InputError if a day has no table yet (``OiDays.create_oi_day``)."""
        ...

    async def oi_snapshots(self, from_ms: int, until_ms: int, symbol: str | None = None) -> list[OiSnapshot]:
        """Snapshots received within [from_ms, until_ms), in order of time; days without a table have none."""
        ...

    async def record_grid_zones(self, zones: Sequence[GridZone]) -> int:
        """Write the zones of a scan, each once. Returns how many were new; other figures under a known id
        are a BooksContradiction."""
        ...

    async def grid_zones(self, symbol: str, at_ms: int | None = None) -> list[GridZone]:
        """Zones of a symbol (valid at ``at_ms``), oldest first."""
        ...

    async def save_signal(self, signal: TradingSignal) -> None:
        """Write a signal as it stands, new or known by its id."""
        ...

    async def signals(
        self, symbol: str, status: str | None = None, unexpired_at_ms: int | None = None
    ) -> list[TradingSignal]:
        """Signals of a symbol in order of their bars."""
        ...

    async def save_grid_order(self, order: GridOrder) -> bool:
        """Write a grid's order as it stands, durably while it lives. False, changing nothing, for a report
        older than what is known. A second live entry or exit of one level is a BooksContradiction."""
        ...

    async def grid_orders(self, run_id: int, *, live_only: bool = False) -> list[GridOrder]:
        """The orders of a grid's run, by level."""
        ...


class OiDays(Protocol):
    """The daily tables ``oi_snapshots_YYYYMMDD``: a matter of the store, never of a unit of work."""

    async def create_oi_day(self, day: str) -> bool:
        """Make the table of a UTC day (``20260524``). False: it is there."""
        ...

    async def oi_days(self) -> list[str]:
        """The days that have a table, oldest first."""
        ...

    async def drop_old_oi_days(self, today: str, ms: int, keep_days: int = 20) -> list[str]:
        """Drop the tables of days before the last ``keep_days`` (today is one of them), one journal entry
        each. Returns the dropped days."""
        ...


class StoreBooks(OwnershipBooks, AccountBooks, SignalBooks, Protocol):
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


class Store(StoreBooks, OiDays, Protocol):
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
