"""What the books hold: the rows that a store keeps, their life as tables, and what can go wrong with them.

Prices, quantities and money are Decimals (never floats), times are UTC milliseconds. A field has the name
of its column, except that a time which people read as a date ends in ``_ms`` here (``open_ms`` is the column
``open_time``). ``ports.Store`` says what may be done with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypedDict

import msgspec

from perpdesk.domain.errors import InternalError, NeedsPerson, PerpdeskError, Refused
from perpdesk.domain.order import PositionSide, Side
from perpdesk.domain.position import PositionStatus

# What a JSON column holds. Keys are texts; Decimals inside are written as text.
Json = dict[str, Any] | list[Any]

# A run on recorded or synthetic data starts with a wallet of its own; its account id is this plus the
# run's id, so that it never meets a real account's rows or an earlier run's trade ids.
SIMULATED_ACCOUNTS = 1_000_000

# The symbol under which a strategy's state that belongs to no symbol is kept.
WHOLE_STRATEGY = "*"


class RunMode(StrEnum):
    """What a run trades on."""

    DEMO = "demo"
    BACKTEST = "backtest"
    PAPER = "paper"
    SIMULATE = "simulate"
    LIVE = "live"


class TradingMode(StrEnum):
    """Which exchange an order went to."""

    PAPER = "PAPER"
    TESTNET = "TESTNET"
    LIVE = "LIVE"


class OrderEffect(StrEnum):
    """What an order did to its position (the column ``order_type``). A flip is one row of each."""

    OPEN = "OPEN"
    CLOSE = "CLOSE"


class FillSource(StrEnum):
    """How a fill became known."""

    STREAM = "stream"
    REST = "rest"
    BACKFILL = "backfill"


class PositionOrigin(StrEnum):
    """How a position came into the books."""

    SIGNAL = "signal"
    ADOPTED = "adopted"
    BACKFILL = "backfill"


class EntryTimeSource(StrEnum):
    """Where a position's open time comes from."""

    FILL = "fill"
    RECONSTRUCTED = "reconstructed"
    OLDER_THAN_WINDOW = "older_than_window"
    FIRST_SEEN = "first_seen"


class IntentState(StrEnum):
    """Where an attempt to place an order stands."""

    NEW = "new"  # written down, not sent
    SENT = "sent"  # on the wire
    LIVE = "live"  # the exchange has it
    FILLED = "filled"
    DEAD = "dead"  # refused, cancelled, expired, or proven absent
    UNKNOWN = "unknown"  # sent and not answered: it may be live


class Delivery(StrEnum):
    """How often an order may be tried.

    ONCE (whatever increases exposure): no attempt of the same position and leg is taken before every
    earlier one is dead. REPEAT (whatever protects or reduces): repeated until seen.
    """

    ONCE = "once"
    REPEAT = "repeat"


# Life tables: from → what may come next. Staying the same is always allowed and changes nothing.
_P, _I = PositionStatus, IntentState

POSITION_STEPS: Mapping[PositionStatus, frozenset[PositionStatus]] = {
    _P.BUILDING: frozenset((_P.OPEN, _P.CLOSING, _P.CLOSED, _P.LIQUIDATED)),
    # Real world possible: a person closes it by hand, so it never was `closing`.
    _P.OPEN: frozenset((_P.CLOSING, _P.CLOSED, _P.LIQUIDATED)),
    _P.CLOSING: frozenset((_P.CLOSED, _P.LIQUIDATED)),
    _P.CLOSED: frozenset(),
    _P.LIQUIDATED: frozenset(),
}

INTENT_STEPS: Mapping[IntentState, frozenset[IntentState]] = {
    # Real world possible: the process died between the wire and writing down `sent`.
    _I.NEW: frozenset((_I.SENT, _I.LIVE, _I.FILLED, _I.DEAD, _I.UNKNOWN)),
    _I.SENT: frozenset((_I.LIVE, _I.FILLED, _I.DEAD, _I.UNKNOWN)),
    _I.UNKNOWN: frozenset((_I.LIVE, _I.FILLED, _I.DEAD)),
    _I.LIVE: frozenset((_I.FILLED, _I.DEAD)),
    _I.FILLED: frozenset(),
    _I.DEAD: frozenset(),
}

LIVE_STATUSES = tuple(status for status in PositionStatus if status.is_live)
PENDING_STATES = tuple(state for state in IntentState if INTENT_STEPS[state])


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table."""


class StrategyVersion(_Row, frozen=True, kw_only=True):
    """A strategy under the name that ``futures_positions.signal_version`` carries (``v2``, ``sma_cross``)."""

    name: str
    scorer: str
    params: Json
    params_hash: str
    created_ms: int
    enabled: bool = True


class NewRun(_Row, frozen=True, kw_only=True):
    """One execution under a frozen parameter snapshot. ``account_id`` None: a wallet of the run's own."""

    mode: RunMode
    strategies: list[str]
    params_hash: str
    started_ms: int
    build_hash: str
    account_id: int | None = None


class RunRow(_Row, frozen=True, kw_only=True):
    """A run as it was written down. ``ended_ms`` None: it goes on, or it died."""

    id: int
    mode: RunMode
    strategies: list[str]
    account_id: int
    params_hash: str
    build_hash: str
    started_ms: int
    ended_ms: int | None
    summary: dict[str, Any] | None


class TradingControl(_Row, frozen=True, kw_only=True):
    """The switch of one account: may new exposure be opened, and who said so when."""

    account_id: int
    trading_type: str
    trading_enabled: bool
    updated_by: str
    updated_ms: int
    created_ms: int


class Missing(_Row, frozen=True, kw_only=True):
    """The answer "there is no such row". It is neither a value nor an error."""


class Failed(_Row, frozen=True, kw_only=True):
    """The answer "I could not find out". It is neither a value nor absence."""

    reason: str


class NewPosition(_Row, frozen=True, kw_only=True):
    """A version's position on one symbol at its birth.

    ``quantity`` is what is planned until the first fill, then what the row's own fills hold; a finished row
    keeps the size it had. ``position_code`` is what client ids carry, ``position_key`` what joins live
    rows with a backfill (``SYMBOL_SIDE_<first trade id>``). ``guard_params`` are frozen at open.
    """

    account_id: int
    symbol: str
    position_side: PositionSide
    signal_version: str
    quantity: Decimal
    notional_value: Decimal
    margin: Decimal
    leverage: int
    params_hash: str
    created_ms: int
    status: PositionStatus = PositionStatus.BUILDING
    position_code: str | None = None
    position_key: str | None = None
    origin: PositionOrigin = PositionOrigin.SIGNAL
    entry_score: Decimal | None = None
    entry_max: Decimal | None = None
    entry_signal_type: str | None = None
    signal_components: Json | None = None
    initial_quantity: Decimal | None = None
    avg_entry_price: Decimal | None = None
    liquidation_price: Decimal | None = None
    best_price: Decimal | None = None
    open_ms: int | None = None
    timeout_at_ms: int | None = None
    entry_time_source: EntryTimeSource | None = None
    first_seen_ms: int | None = None
    batch_plan: Json | None = None
    batch_filled: Json | None = None
    exit_legs: Json | None = None
    guard_params: Json | None = None


class PositionRow(NewPosition, frozen=True, kw_only=True):
    """A position as it stands. ``net_pnl`` = realized_pnl − commission + funding (> 0 is received)."""

    id: int
    updated_ms: int
    realized_pnl: Decimal
    commission: Decimal
    funding: Decimal
    net_pnl: Decimal
    exit_price: Decimal | None
    close_ms: int | None
    close_reason: str | None
    exit_hits: Json | None
    stop_algo_id: int | None
    suspect_since_ms: int | None


class PositionChange(TypedDict, total=False):
    """What may change while a position lives. The three sums of money change together or not at all."""

    status: PositionStatus
    quantity: Decimal
    initial_quantity: Decimal
    notional_value: Decimal
    margin: Decimal
    leverage: int
    avg_entry_price: Decimal | None
    liquidation_price: Decimal | None
    best_price: Decimal | None
    realized_pnl: Decimal
    commission: Decimal
    funding: Decimal
    open_ms: int | None
    timeout_at_ms: int | None
    entry_time_source: EntryTimeSource | None
    first_seen_ms: int | None
    position_key: str | None
    batch_plan: Json | None
    batch_filled: Json | None
    exit_legs: Json | None
    exit_hits: Json | None
    guard_params: Json | None
    stop_algo_id: int | None
    suspect_since_ms: int | None


class PositionEnd(_Row, frozen=True, kw_only=True):
    """How a position ended. ``exit_price`` None: it never had a fill (ENTRY_ABORTED)."""

    close_reason: str
    close_ms: int
    realized_pnl: Decimal
    commission: Decimal
    funding: Decimal
    exit_price: Decimal | None
    status: PositionStatus = PositionStatus.CLOSED
    exit_hits: Json | None = None


class NewIntent(_Row, frozen=True, kw_only=True):
    """One attempt to place one order, written down before the wire. ``position_id`` None: of no position
    (a disaster stop of the account), or of the position that is opened together with it."""

    account_id: int
    symbol: str
    leg: str
    attempt: int
    client_id: str
    delivery: Delivery
    request: Json
    params_hash: str
    created_ms: int
    position_id: int | None = None


class IntentRow(NewIntent, frozen=True, kw_only=True):
    """An attempt as it stands. After ``fence_ms`` the exchange can no longer accept it."""

    id: int
    state: IntentState
    signed_ms: int | None
    fence_ms: int | None
    result: Json | None
    updated_ms: int


class OrderRow(_Row, frozen=True, kw_only=True):
    """An order as the exchange has it, folded from its fills.

    ``quantity`` is what has traded, ``price`` its average (None before the first fill), ``orig_quantity``
    what was asked for, ``related_order_id`` the conditional order that it came from.
    """

    account_id: int
    trading_mode: TradingMode
    client_id: str
    symbol: str
    side: Side
    position_side: PositionSide
    order_type: OrderEffect
    kind: str
    status: str
    orig_quantity: Decimal
    order_ms: int
    updated_ms: int
    params_hash: str
    quantity: Decimal = Decimal(0)
    quote_quantity: Decimal = Decimal(0)
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    realized_pnl: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)
    commission_asset: str | None = None
    order_id: int | None = None
    related_order_id: int | None = None
    position_id: int | None = None
    position_key: str | None = None
    leg: str | None = None
    signal_id: int | None = None
    close_reason: str | None = None


class FillRow(_Row, frozen=True, kw_only=True):
    """One execution. ``position_id`` None: no row of ours owns it (external). ``commission`` > 0 is paid.

    ``realized_pnl_venue`` is the exchange's own figure, which knows only its netted position.
    """

    account_id: int
    symbol: str
    trade_id: int
    side: Side
    qty: Decimal
    price: Decimal
    commission: Decimal
    commission_asset: str
    fill_ms: int
    source: FillSource
    is_maker: bool
    realized_pnl_venue: Decimal = Decimal(0)
    position_id: int | None = None
    client_id: str | None = None
    order_id: int | None = None


class StateRow(_Row, frozen=True, kw_only=True):
    """What a strategy keeps for one symbol (or WHOLE_STRATEGY): JSON, or bytes that it alone understands."""

    account_id: int
    strategy: str
    symbol: str
    state: Json | bytes
    params_hash: str
    updated_ms: int


class JournalEntry(_Row, frozen=True, kw_only=True):
    """A fact to be appended to the journal."""

    ms: int
    kind: str
    payload: Json


class JournalCheck(_Row, frozen=True, kw_only=True):
    """What a check of the whole journal found. ``broken_seq`` is the first row that cannot be as written."""

    rows: int
    head_hash: str
    broken_seq: int | None = None
    problem: str | None = None

    @property
    def is_intact(self) -> bool:
        """Is every row as it was written, and none gone?"""
        return self.problem is None


class PositionQuery(_Row, frozen=True, kw_only=True):
    """Which positions to list, newest last. None: any. Times are of creation, ``until_ms`` exclusive."""

    account_id: int | None = None
    symbol: str | None = None
    position_side: PositionSide | None = None
    signal_version: str | None = None
    statuses: tuple[PositionStatus, ...] | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    limit: int | None = None


class FillQuery(_Row, frozen=True, kw_only=True):
    """Which fills to list, in order of time. None: any; ``until_ms`` is exclusive."""

    account_id: int | None = None
    symbol: str | None = None
    position_id: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    limit: int | None = None


class VersionTotals(_Row, frozen=True, kw_only=True):
    """What a version earned on one UTC day of closing (``day`` None: in the whole span).

    Finished positions that had a fill; liquidated ones are in. ``wins`` counts realized_pnl > 0,
    ``net_wins`` net_pnl > 0.
    """

    signal_version: str
    day: str | None
    trades: int
    wins: int
    net_wins: int
    liquidated: int
    holding_ms: int
    realized_pnl: Decimal
    commission: Decimal
    funding: Decimal
    net_pnl: Decimal


class StoreFailed(PerpdeskError):
    """The database did not answer, or refused. Bring it back; what was being written may be there or not."""


class StoreBusy(StoreFailed):
    """Another writer held the database too long. Nothing was written: try again."""


class PositionExists(Refused):
    """This version already has a live position there. Wait until it is closed."""

    def __init__(self, detail: str) -> None:
        super().__init__("POSITION_EXISTS", detail)


class AttemptInFlight(Refused):
    """An earlier attempt of this leg is not proven dead. Settle it before trying again."""

    def __init__(self, detail: str) -> None:
        super().__init__("ATTEMPT_IN_FLIGHT", detail)


class StepRefused(InternalError):
    """A row was asked to take a step that its life does not have, or there is no such row."""


class BooksContradiction(NeedsPerson):
    """Two facts cannot both be true (one trade id with two contents). Compare them with the exchange."""


class SchemaIncomplete(NeedsPerson):
    """The database lacks a constraint that trading relies on. Restore it before anything is traded."""
