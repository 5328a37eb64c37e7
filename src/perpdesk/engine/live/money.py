"""The account's money as the exchange books it: the daily breaker, the statement, the wallet."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from decimal import Decimal

from perpdesk.domain import units
from perpdesk.domain.account_books import Adjustment, AdjustmentKind, IncomeRow
from perpdesk.domain.books import WHOLE_STRATEGY, FillQuery, StateRow, StoreFailed
from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.order import PositionSide
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.guardian.breaker import (
    BREAKER_UNKNOWN,
    Booking,
    Breaker,
    booking_of_income,
    entry_risk_e8,
    position_risk_e8,
)
from perpdesk.engine.live.recovery import SEEN
from perpdesk.engine.live_engine import LiveEngine
from perpdesk.engine.recording import StoreRecorder
from perpdesk.kernel.records import DAY_MS, NONE, SLOT_ENTRY, SLOT_STOP, STOP
from perpdesk.market.universe import Universe
from perpdesk.ports import Clock, Income, LiveVenue, NewOrder, Store

LOG = logging.getLogger(__name__)
IMPORT_MS = 60_000
# The statement lags behind the fills: read so much again.
OVERLAP_MS = 300_000
# What our own books tell of, fill by fill and at each funding.
_TOLD = ("REALIZED_PNL", "COMMISSION", "FUNDING_FEE")


@dataclass
class Money:
    """One account's money. since_ms: exchange time from which the statement is imported."""

    engine: LiveEngine
    venue: LiveVenue
    store: Store
    clock: Clock
    breaker: Breaker
    alarms: Alarms
    universe: Universe
    account_id: int
    params_hash: str
    recorder: StoreRecorder
    since_ms: int = 0
    imported_ms: int | None = None
    unrealised_e8: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    _keys: set[tuple[str, str, str]] = field(default_factory=set)
    _told_ms: int | None = None  # the trip of which a person was told

    async def begin(self, wallet_e8: int) -> None:
        """At the start: the wallet, today's breaker row and what was booked today. Raises StoreFailed."""
        account = self.engine.books.account
        account.cash_e8 = account.initial_e8 = account.equity_e8 = account.equity_peak_e8 = wallet_e8
        account.realised_e8 = account.fees_e8 = account.funding_e8 = 0
        exchange_ms = self.venue.exchange_ms()
        day_ms = exchange_ms // DAY_MS * DAY_MS
        bookings = []
        for fill in await self.store.fills(FillQuery(account_id=self.account_id, from_ms=day_ms)):
            if fill.symbol in self.universe.symbols:
                s = self.universe.index(fill.symbol)
                amount = units.money_e8(fill.realized_pnl_venue) - units.money_e8(fill.commission)
                bookings.append(Booking(f"fill:{s}:{fill.trade_id}", fill.fill_ms, amount))
        for row in await self.store.income(self.account_id, from_ms=day_ms):
            self._keys.add((row.income_type, row.symbol, str(row.tran_id)))
            if self._is_untold(row.income_type, row.symbol):
                bookings.append(booking_of_income(_income_of(row)))
            elif row.income_type == "FUNDING_FEE":
                s = self.universe.index(row.symbol)
                bookings.append(
                    Booking(f"funding:{s}:{row.time_ms}", row.time_ms, units.money_e8(row.amount))
                )
        await self.breaker.load(self.store, exchange_ms, bookings)

    def mark(self, unrealised_e8: int) -> None:
        """Tell the breaker what is held and worth now."""
        self.unrealised_e8 = unrealised_e8
        cash_e8 = int(self.engine.books.account.cash_e8[0])
        equity_e8 = cash_e8 + unrealised_e8 if cash_e8 > 0 else None
        self.breaker.marked(self.venue.exchange_ms(), unrealised_e8, equity_e8)
        if self.breaker.tripped_ms not in (None, self._told_ms):  # by a mark or by a booking since the last
            self._told_ms = self.breaker.tripped_ms
            self.alarms.sound("DAILY_LOSS", "the day's loss limit is reached: entries are over for today")
        self.engine.books.account.tripped = int(self.breaker.is_tripped)

    def booked(self, booking: Booking) -> None:
        """A change of the wallet that the engine has booked."""
        self.breaker.booked(booking)

    def why_not(self, order: NewOrder) -> str | None:
        """What the breaker says to one more entry."""
        worst_e8 = self._worst_e8(order)
        return BREAKER_UNKNOWN if worst_e8 is None else self.breaker.why_not_open(worst_e8)

    async def save(self) -> None:
        """Write the breaker's row if it has changed. Raises StoreFailed."""
        await self.breaker.save(self.store)
        await self.breaker.look(self.store)

    # -- the statement -----------------------------------------------------------------------

    async def run(self) -> None:
        """Import the statement every minute, until cancelled."""
        while True:
            try:
                await self.import_once()
            except StoreFailed as error:
                LOG.warning("the statement could not be written: %s", error)
            except PerpdeskError as error:
                LOG.warning("the statement could not be read: %s", error)
            await self._pause()

    async def _pause(self) -> None:
        """A minute, or until something is known to have been booked."""
        sleep = asyncio.ensure_future(self.clock.sleep_until(self.clock.now_ms() + IMPORT_MS))
        told = asyncio.ensure_future(self.moved.wait())
        try:
            await asyncio.wait((sleep, told), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            told.cancel()
        self.moved.clear()

    async def import_once(self) -> int:
        """Read what is new in the statement and the wallet. Returns how many lines were new."""
        asked_ms = self.venue.exchange_ms()
        lines = await self.venue.income_since(self.since_ms)
        fresh = [one for one in lines if (one.kind, one.symbol, one.key) not in self._keys]
        now_ms = self.clock.now_ms()
        for one in fresh:  # rows and what they change are written together, or not at all
            self._keys.add((one.kind, one.symbol, one.key))
            if self._is_untold(one.kind, one.symbol):
                self.breaker.booked(booking_of_income(one))
            elif one.kind == "FUNDING_FEE":
                await self._funding(one, now_ms)
        self.recorder.statement([self._row(one, now_ms) for one in fresh])
        await self.recorder.flush()
        fills_before = len(self.engine.seen)
        wallet_e8 = await self.venue.wallet_e8()
        if wallet_e8 > 0 and len(self.engine.seen) == fills_before:
            self._wallet(wallet_e8)
        self.since_ms = max(self.since_ms, asked_ms - OVERLAP_MS)
        self.imported_ms = now_ms
        await self.keep(self.since_ms)
        return len(fresh)

    async def _funding(self, one: Income, now_ms: int) -> None:
        """Book a line of funding; the part of no sleeve, and what comes after the close, stands beside the
        rows."""
        rest_e8 = await self.engine.book_funding(self.universe.index(one.symbol), one.amount_e8, one.ms)
        if rest_e8 == 0:
            return
        self.recorder.adjust(
            Adjustment(
                account_id=self.account_id,
                symbol=one.symbol,
                position_side=PositionSide.BOTH,
                kind=AdjustmentKind.FUNDING_SPLIT,
                qty=Decimal(0),
                source_key=f"funding:{one.symbol}:{one.key}",
                ms=now_ms,
                funding=units.money_of(rest_e8),
            )
        )

    async def keep(self, seen_ms: int) -> None:
        """Write down up to when the statement was read: a restart goes on from there."""
        await self.store.save_state(
            StateRow(
                account_id=self.account_id,
                strategy=SEEN,
                symbol=WHOLE_STRATEGY,
                state={"ms": seen_ms},
                params_hash=self.params_hash,
                updated_ms=self.clock.now_ms(),
            )
        )

    def _wallet(self, wallet_e8: int) -> None:
        """The exchange's wallet holds; what our fills do not explain is a transfer or the like."""
        account = self.engine.books.account
        difference = wallet_e8 - int(account.cash_e8[0])
        if difference:
            for name in ("cash_e8", "initial_e8", "equity_e8", "equity_peak_e8", "day_start_e8"):
                account[name] += difference

    def _is_untold(self, kind: str, symbol: str) -> bool:
        return kind not in _TOLD or symbol not in self.universe.symbols

    def _row(self, one: Income, now_ms: int) -> IncomeRow:
        return IncomeRow(
            account_id=self.account_id,
            income_type=one.kind,
            tran_id=int(one.key),
            symbol=one.symbol,
            asset=one.asset,
            amount=units.money_of(one.amount_e8),
            time_ms=one.ms,
            imported_ms=now_ms,
            trade_id=one.trade_id,
        )

    # -- the worst case ----------------------------------------------------------------------

    def _worst_e8(self, order: NewOrder) -> int | None:
        """What open, pending and this order's risk together can lose; None while a price is not known."""
        books, venue = self.engine.books, self.venue
        total = 0
        v_count, n = books.positions.shape
        for s in range(n):
            unit = int(books.instruments[s].unit_e8)
            mark = self.engine.price_of(s, venue.mark(s)[0])
            is_held = bool(books.positions["lots"][:, s].any()) or bool(self.engine.external[s])
            is_wanted = bool((books.slots["kind"][:, s, SLOT_ENTRY] != NONE).any())
            if mark == 0 and (is_held or is_wanted):
                return None
            for v in range(v_count):
                position, stop = books.positions[v, s], books.slots[v, s, SLOT_STOP]
                if position.lots:
                    trigger = int(stop.price) if stop.kind == STOP else 0
                    total += position_risk_e8(int(position.lots), mark, trigger, unit)
                entry = books.slots[v, s, SLOT_ENTRY]
                if entry.kind != NONE and (v, s) != (order.sleeve, order.symbol):
                    total += entry_risk_e8(int(entry.lots), mark, int(position.entry_stop_ppm), unit)
            if self.engine.external[s]:
                total += abs(int(self.engine.external[s])) * mark * unit
        stop_ppm = int(books.positions[order.sleeve, order.symbol].entry_stop_ppm)
        unit = int(books.instruments[order.symbol].unit_e8)
        price = order.price or self.engine.price_of(order.symbol, venue.mark(order.symbol)[0])
        return total + entry_risk_e8(order.lots, price, stop_ppm, unit)


def _income_of(row: IncomeRow) -> Income:
    return Income(
        str(row.tran_id), row.income_type, row.symbol, row.asset, units.money_e8(row.amount), row.trade_id,
        row.time_ms,
    )  # fmt: skip
