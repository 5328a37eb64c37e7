"""The daily-loss breaker: what the UTC day has cost so far, and whether more may be risked.

Two limits: it trips when realised + unrealised of the day ≤ −limit, and an entry is refused when that figure
less the worst case of open, pending and new risk is below −worst-case limit. The day is of exchange time and
never goes back. Every booking counts, whoever caused it: own fills, closes by hand, liquidations, foreign
positions, fees, funding. Transfers are neither gain nor loss. Money is in 1e-8 quote units.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from perpdesk.domain.account_books import WHOLE_ACCOUNT, BreakerDay, NewBreakerDay
from perpdesk.domain.books import Failed, Missing, StoreFailed
from perpdesk.domain.errors import InputError, Refused
from perpdesk.domain.units import money_e8, money_of, plain
from perpdesk.kernel.records import DAY_MS
from perpdesk.ports import Income

DAILY_LOSS = "DAILY_LOSS"
WORST_CASE = "WORST_CASE"
# No valid equity was seen yet: nothing is opened on a limit of nothing.
BREAKER_UNKNOWN = "BREAKER_UNKNOWN"
# Slippage and fees of a forced exit, as a share of its notional.
EXIT_COST_PPM = 1_500
_PPM = 1_000_000

# Kinds of income that move money in or out without being earned or lost, by words in their names.
_TRANSFER_WORDS = ("TRANSFER", "DEPOSIT", "WITHDRAW", "BONUS", "AUTO_EXCHANGE", "COIN_SWAP", "ADJUSTMENT")


@dataclass(frozen=True, slots=True)
class LossLimits:
    """Shares of the day's base, parts per million; daily_loss_ppm 0: the day has no limit.

    base_e8: a fixed base of both limits (an initial balance); None: the equity at the start of the day.
    """

    daily_loss_ppm: int
    worst_case_ppm: int
    base_e8: int | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """A change of the wallet. key: unique to the fact, so that hearing it twice counts once."""

    key: str
    ms: int
    amount_e8: int
    is_transfer: bool = False


class BreakerBooks(Protocol):
    """What a store does with breaker rows (``ports.AccountBooks`` has it)."""

    async def breaker_day(
        self, account_id: int, strategy: str, day: str
    ) -> BreakerDay | Missing | Failed: ...

    async def start_breaker_day(self, day: NewBreakerDay) -> BreakerDay: ...

    async def update_breaker_day(
        self, account_id: int, strategy: str, day: str, ms: int, *, realised: Decimal, transfers: Decimal
    ) -> None: ...

    async def trip_breaker(
        self, account_id: int, strategy: str, day: str, ms: int, *, pnl: Decimal, reason: str
    ) -> bool: ...

    async def reset_breaker(
        self, account_id: int, strategy: str, day: str, ms: int, *, by: str, reason: str
    ) -> bool: ...


def day_of(exchange_ms: int) -> int:
    """The UTC day, counted from 1970."""
    return exchange_ms // DAY_MS


def day_name(day: int) -> str:
    """As the rows have it: ``2025-05-24``."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def is_transfer(kind: str) -> bool:
    """Does this incomeType only move money? Everything that is not known to be one counts as gain or loss."""
    return any(word in kind for word in _TRANSFER_WORDS)


def booking_of_income(income: Income) -> Booking:
    """The exchange's own line, for what our books do not have (contracts outside the universe)."""
    key = f"income:{income.kind}:{income.symbol}:{income.key}"
    return Booking(key, income.ms, income.amount_e8, is_transfer(income.kind))


def position_risk_e8(lots: int, mark_price: int, trigger: int, unit_e8: int) -> int:
    """What a position (signed lots) can still lose from the mark to its last trigger, exit costs included.

    trigger 0: nothing stands behind it, all of its notional is at risk. For external lots pass their
    liquidation price.
    """
    notional_e8 = abs(lots) * mark_price * unit_e8
    if trigger <= 0:
        return notional_e8
    direction = 1 if lots > 0 else -1
    distance = max(0, direction * (mark_price - trigger))
    return abs(lots) * distance * unit_e8 - (-notional_e8 * EXIT_COST_PPM // _PPM)


def entry_risk_e8(lots: int, price: int, stop_ppm: int, unit_e8: int) -> int:
    """What an entry that is pending or wanted can lose to its stop, exit costs included."""
    return -(-lots * price * unit_e8 * (stop_ppm + EXIT_COST_PPM) // _PPM)


@dataclass
class Breaker:
    """The day of one account, or of one strategy on it. Synchronous; ``save`` and ``load`` keep it.

    Feed it every booking and, at each fill, sync and guardian tick, the unrealised profit and the equity.
    """

    account_id: int
    limits: LossLimits
    strategy: str = WHOLE_ACCOUNT
    day: int | None = None
    base_e8: int = 0
    unrealised_start_e8: int | None = None
    unrealised_e8: int | None = None
    realised_e8: int = 0
    transfers_e8: int = 0
    tripped_ms: int | None = None
    trip_pnl_e8: int | None = None
    trip_reason: str | None = None
    reset_ms: int | None = None
    reset_by: str | None = None
    reset_reason: str | None = None
    created_ms: int = 0
    updated_ms: int = 0
    is_saved: bool = True
    _rearm_e8: int = 0  # after a reset: the day's figure from which the next limit counts
    _begun: str = ""  # the day whose row is known to exist
    _trip_saved: bool = False
    _reset_saved: bool = True
    _unwritten_trip: tuple[int, int, str] | None = None  # one that was reset before its row was written
    _equity_e8: int = 0
    _keys: set[str] = field(default_factory=set)
    _keys_before: set[str] = field(default_factory=set)

    # -- what it hears -----------------------------------------------------------------------------

    def booked(self, booking: Booking) -> None:
        """A change of the wallet, perhaps told before. One that is late, of the day before, counts now: the
        start of the day was measured without it."""
        if booking.key in self._keys or booking.key in self._keys_before:
            return
        if self.day is not None and day_of(booking.ms) == self.day + 1:
            self._begin(day_of(booking.ms), booking.ms)
        self._keys.add(booking.key)
        self._count(booking)
        self._judge(booking.ms)

    def marked(self, exchange_ms: int, unrealised_e8: int, equity_e8: int | None) -> None:
        """Unrealised profit of everything held, and the equity (None or ≤ 0: not known), at exchange time."""
        if equity_e8 is not None and equity_e8 > 0:
            self._equity_e8 = equity_e8
        day = day_of(exchange_ms)
        if self.day is None or day > self.day:
            if self.unrealised_e8 is not None:
                self.unrealised_e8 = unrealised_e8
            self._begin(day, exchange_ms)
        if self.base_e8 <= 0:
            self.base_e8 = self._base()
            self.is_saved = self.is_saved and self.base_e8 <= 0
        if self.unrealised_start_e8 is None:
            # Nobody was there at midnight: a loss that is open now counts, a profit that is open does not.
            self.unrealised_start_e8 = max(0, unrealised_e8)
            self.is_saved = False
        self.unrealised_e8 = unrealised_e8
        self._judge(exchange_ms)

    # -- what it says ------------------------------------------------------------------------------

    @property
    def pnl_e8(self) -> int:
        """Of the day: realised, fees, funding and the change of the unrealised profit."""
        if self.unrealised_e8 is None or self.unrealised_start_e8 is None:
            return self.realised_e8
        return self.realised_e8 + self.unrealised_e8 - self.unrealised_start_e8

    @property
    def limit_e8(self) -> int:
        """The day's loss limit, positive; 0: none."""
        return self.base_e8 * self.limits.daily_loss_ppm // _PPM

    @property
    def worst_limit_e8(self) -> int:
        """The worst-case limit, positive."""
        return -(-self.base_e8 * self.limits.worst_case_ppm // _PPM)

    @property
    def is_tripped(self) -> bool:
        return self.tripped_ms is not None

    def why_not_open(self, worst_e8: int = 0) -> str | None:
        """Why nothing may be opened, None if it may. worst_e8: of open, pending and the new risk together."""
        if self.tripped_ms is not None:
            return DAILY_LOSS
        if self.day is None or self.base_e8 <= 0 or self.unrealised_start_e8 is None:
            return BREAKER_UNKNOWN
        if self.limits.worst_case_ppm > 0 and self.pnl_e8 - worst_e8 < -self.worst_limit_e8:
            return WORST_CASE
        return None

    # -- a person ----------------------------------------------------------------------------------

    def reset(self, now_ms: int, *, by: str, reason: str) -> None:
        """A person lets entries go on. It trips again a whole limit below where it tripped.

        Raises InputError without a name and a reason, Refused if it has not tripped.
        """
        for name, value in (("by", by), ("reason", reason)):
            if not value.strip():
                raise InputError("say who resets the breaker, and why", field=name)
        if self.tripped_ms is None:
            raise Refused("NOT_TRIPPED", f"the breaker of {self.strategy} has not tripped today")
        self._let_go(now_ms, by.strip(), reason.strip())
        self._reset_saved = False

    # -- rows --------------------------------------------------------------------------------------

    def row(self) -> BreakerDay:
        """The day as a row. Raises Refused while no day has begun."""
        if self.day is None:
            raise Refused(BREAKER_UNKNOWN, "the breaker has not seen the account yet")
        return BreakerDay(
            account_id=self.account_id,
            strategy=self.strategy,
            day=day_name(self.day),
            base_equity=money_of(self.base_e8),
            created_ms=self.created_ms,
            unrealised_start=money_of(self.unrealised_start_e8 or 0),
            realised=money_of(self.realised_e8),
            transfers=money_of(self.transfers_e8),
            tripped_ms=self.tripped_ms,
            trip_pnl=None if self.trip_pnl_e8 is None else money_of(self.trip_pnl_e8),
            trip_reason=self.trip_reason,
            reset_ms=self.reset_ms,
            reset_by=self.reset_by,
            reset_reason=self.reset_reason,
            updated_ms=self.updated_ms,
        )

    def restore(self, row: BreakerDay | None, exchange_ms: int, bookings: Iterable[Booking]) -> None:
        """At a start: the stored row of today (None: there is none) and today's bookings from the ledger.

        What is realised is counted from the bookings; a stored trip holds whatever they say (a crash between
        a trip and its row is made good by counting again). Raises InputError for a row of another day.
        """
        self.day = day_of(exchange_ms)
        self.created_ms = self.updated_ms = exchange_ms
        self.is_saved = row is not None
        if row is not None:
            self._take_over(row)
        for booking in sorted(bookings, key=lambda one: one.ms):
            if booking.key in self._keys:
                continue
            self._keys.add(booking.key)
            if day_of(booking.ms) == self.day:
                self._count(booking)
                if row is not None and row.reset_ms is not None and booking.ms <= row.reset_ms:
                    # what was open at the reset is not known any more: count from what was realised by then
                    self._rearm_e8 = min(self._rearm_e8, self.realised_e8)
        self._judge(exchange_ms)

    async def save(self, books: BreakerBooks) -> None:
        """Write what has changed; a trip and a reset with journal entries, durably. Entries are refused from
        the trip on, not from its row on. Raises StoreFailed: call it again."""
        while not self.is_saved and self.day is not None and self.base_e8 > 0:
            self.is_saved = True
            try:
                await self._write(books)
            except BaseException:
                self.is_saved = False
                raise

    async def load(self, books: BreakerBooks, exchange_ms: int, bookings: Iterable[Booking]) -> None:
        """``restore`` from the store's row of today. Raises StoreFailed if the store cannot say."""
        row = await books.breaker_day(self.account_id, self.strategy, day_name(day_of(exchange_ms)))
        if isinstance(row, Failed):
            raise StoreFailed(f"the breaker row of today cannot be read: {row.reason}")
        self.restore(row if isinstance(row, BreakerDay) else None, exchange_ms, bookings)

    async def look(self, books: BreakerBooks) -> bool:
        """Has a person reset it in the store (another process)? Then it is reset here. Unreadable: no."""
        if self.day is None or self.tripped_ms is None or not self._trip_saved:
            return False
        row = await books.breaker_day(self.account_id, self.strategy, day_name(self.day))
        if not isinstance(row, BreakerDay) or row.is_tripped or self.tripped_ms is None:
            return False
        if row.day != day_name(self.day) or row.reset_ms is None or row.reset_ms == self.reset_ms:
            return False
        self._let_go(row.reset_ms, row.reset_by or "", row.reset_reason or "")
        return True

    # ----------------------------------------------------------------------------------------------

    def _base(self) -> int:
        return self._equity_e8 if self.limits.base_e8 is None else self.limits.base_e8

    def _begin(self, day: int, ms: int) -> None:
        """The next day: it starts from what is held and worth now, and nothing of the old one holds."""
        self.day = day
        self.base_e8 = self._base()
        self.unrealised_start_e8 = self.unrealised_e8
        self.realised_e8 = self.transfers_e8 = 0
        self.tripped_ms = self.trip_pnl_e8 = self.trip_reason = None
        self.reset_ms = self.reset_by = self.reset_reason = None
        self._rearm_e8, self._trip_saved, self._reset_saved = 0, False, True
        self._unwritten_trip = None
        self.created_ms = self.updated_ms = ms
        self._keys_before, self._keys = self._keys, set()
        self.is_saved = False

    def _count(self, booking: Booking) -> None:
        if booking.is_transfer:
            self.transfers_e8 += booking.amount_e8
        else:
            self.realised_e8 += booking.amount_e8
        self.updated_ms = max(self.updated_ms, booking.ms)
        self.is_saved = False

    def _judge(self, ms: int) -> None:
        limit_e8 = self.limit_e8
        if limit_e8 <= 0 or self.tripped_ms is not None:
            return
        if self.pnl_e8 - self._rearm_e8 <= -limit_e8:
            self.tripped_ms, self.trip_pnl_e8 = ms, self.pnl_e8
            self.trip_reason = (
                f"the day stands at {plain(money_of(self.pnl_e8))}, the limit is {plain(money_of(-limit_e8))}"
            )
            self.updated_ms, self.is_saved, self._trip_saved = ms, False, False

    def _let_go(self, ms: int, by: str, reason: str) -> None:
        self._rearm_e8 = min(0, self.trip_pnl_e8 or 0)
        if not self._trip_saved and self.tripped_ms is not None:
            self._unwritten_trip = (self.tripped_ms, self.trip_pnl_e8 or 0, self.trip_reason or "")
        self.tripped_ms = self.trip_pnl_e8 = self.trip_reason = None
        self.reset_ms, self.reset_by, self.reset_reason = ms, by, reason
        self.updated_ms, self.is_saved = ms, False
        self._judge(ms)

    def _take_over(self, row: BreakerDay) -> None:
        if self.day is None or row.day != day_name(self.day):
            raise InputError(f"is of {row.day}, and today is another day", field="breaker_days.day")
        self.created_ms, self.updated_ms, self._begun = row.created_ms, row.updated_ms, row.day
        self.base_e8 = money_e8(row.base_equity)
        self.unrealised_start_e8 = money_e8(row.unrealised_start)
        self.trip_reason, self.tripped_ms = row.trip_reason, row.tripped_ms
        self.trip_pnl_e8 = None if row.trip_pnl is None else money_e8(row.trip_pnl)
        self._trip_saved = row.is_tripped
        self.reset_ms, self.reset_by, self.reset_reason = row.reset_ms, row.reset_by, row.reset_reason

    async def _write(self, books: BreakerBooks) -> None:
        row = self.row()
        key = (row.account_id, row.strategy, row.day)
        if self._begun != row.day:
            begun = await books.start_breaker_day(
                NewBreakerDay(
                    account_id=row.account_id,
                    strategy=row.strategy,
                    day=row.day,
                    base_equity=row.base_equity,
                    created_ms=row.created_ms,
                    unrealised_start=row.unrealised_start,
                )
            )
            self._begun = begun.day
        if self._unwritten_trip is not None:
            ms, pnl_e8, reason = self._unwritten_trip
            await books.trip_breaker(*key, ms, pnl=money_of(pnl_e8), reason=reason)
            self._unwritten_trip = None
        if not self._reset_saved and row.reset_ms is not None:
            await books.reset_breaker(
                *key, row.reset_ms, by=row.reset_by or "", reason=row.reset_reason or ""
            )
            self._reset_saved = True
        if row.tripped_ms is not None and not self._trip_saved:
            await books.trip_breaker(
                *key, row.tripped_ms, pnl=row.trip_pnl or Decimal(0), reason=row.trip_reason or ""
            )
            self._trip_saved = self.tripped_ms == row.tripped_ms
        await books.update_breaker_day(*key, row.updated_ms, realised=row.realised, transfers=row.transfers)
