"""What no sleeve owns, kept where people see it: the external ledger, its rows, its blocks, its alarms."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from decimal import Decimal

from perpdesk.domain import units
from perpdesk.domain.account_books import Adjustment, AdjustmentKind, ExternalLots
from perpdesk.domain.books import FillRow
from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.events import ExternalFilled
from perpdesk.domain.order import PositionSide, Side
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.guardian.breaker import Booking
from perpdesk.engine.guardian.throttle import FightLimit
from perpdesk.engine.live_engine import VenueFact
from perpdesk.engine.reconcile.attribute import Cause, Part
from perpdesk.engine.reconcile.external import changed
from perpdesk.engine.recording import StoreRecorder
from perpdesk.engine.wire import WireGate
from perpdesk.market.universe import Universe
from perpdesk.ports import Clock, NewOrder, Store

LOG = logging.getLogger(__name__)
BLOCK = "EXTERNAL_LOTS"


class OutsideBooks:
    """Implements ``live_engine.Outside``. Rows wait here until the store takes them (``write``)."""

    def __init__(
        self,
        *,
        universe: Universe,
        recorder: StoreRecorder,
        store: Store,
        clock: Clock,
        alarms: Alarms,
        gate: Callable[[], WireGate],
        account_id: int,
        on_filled: Callable[[int, int, int], None],
        on_booking: Callable[[Booking], None],
        on_guardians_order_gone: Callable[[str], None],
        on_statement_moved: Callable[[], None],
    ) -> None:
        self._universe, self._recorder, self._store, self._clock = universe, recorder, store, clock
        self._alarms, self._gate, self._account_id = alarms, gate, account_id
        self._on_filled, self._on_booking = on_filled, on_booking
        self._on_guardians_order_gone = on_guardians_order_gone
        self._on_statement_moved = on_statement_moved
        self._rows: dict[str, ExternalLots] = {}
        self._unwritten: deque[str] = deque()
        self.fights = FightLimit()

    # -- Outside -----------------------------------------------------------------------------

    def external_changed(self, fact: VenueFact, part: Part, held: int, cause: Cause) -> None:
        rows = self._recorder.rows
        row: FillRow = rows.outside_fill(
            fact.symbol,
            side=fact.side,
            price=fact.price,
            lots=part.lots,
            fee_e8=part.fee_e8,
            realised_e8=fact.realised_e8,
            trade_id=fact.trade_id,
            client_id=fact.client_id,
            is_maker=not fact.taker,
            ms=fact.ms,
            source=fact.source,
        )
        self._recorder.outside(row)
        self._recorder.note(
            ExternalFilled(
                ms=fact.ms,
                client_id=fact.client_id,
                symbol=rows.symbol(fact.symbol),
                side=Side.of(fact.side),
                price=rows.price(fact.symbol, fact.price),
                qty=rows.qty(fact.symbol, part.lots),
                held=rows.qty(fact.symbol, held),
                cause=cause.value,
            )
        )
        self._moved(fact.symbol, fact.side * part.lots, held, fact.price, fact.client_id)

    def external_realised(self, fact: VenueFact, realised_e8: int) -> None:
        rows, symbol = self._recorder.rows, self._universe.symbols[fact.symbol]
        self._recorder.adjust(
            Adjustment(
                account_id=self._account_id,
                symbol=symbol,
                position_side=PositionSide.BOTH,
                kind=AdjustmentKind.FROM_EXTERNAL,
                qty=Decimal(0),
                source_key=f"realised:{symbol}:{fact.trade_id}",
                ms=fact.ms,
                price=rows.price(fact.symbol, fact.price),
                realized_pnl=units.money_of(realised_e8),
                note="realised on the netted position beyond what the versions have booked",
            )
        )

    def order_taken(self, order: NewOrder, reason: str, ms: int) -> bool:
        return self.fights.may((order.sleeve, order.symbol), self._clock.now_ms())

    def alarm(self, name: str, detail: str) -> None:
        self._alarms.sound(name, detail)

    def filled(self, v: int, s: int, ms: int) -> None:
        self._on_filled(v, s, ms)

    def guardians_order_gone(self, client_id: str) -> None:
        self._on_guardians_order_gone(client_id)

    def statement_moved(self) -> None:
        self._on_statement_moved()

    def booking(self, key: str, ms: int, amount_e8: int) -> None:
        """The wallet changed by this."""
        self._on_booking(Booking(key, ms, amount_e8))

    # -- the ledger --------------------------------------------------------------------------

    def surplus(self, s: int, lots: int, held: int, price: int) -> None:
        """Lots that no fill explains."""
        self._alarms.sound("UNEXPLAINED_LOTS", f"{self._universe.symbols[s]}: {lots} lots", key=str(s))
        self._moved(s, lots, held, price, "")

    def begin(self, rows: list[ExternalLots]) -> None:
        """What was there at the start."""
        for row in rows:
            self._rows[row.symbol] = row
            if row.stops_entries and row.symbol in self._universe.symbols:
                self._gate().blocked[self._universe.index(row.symbol)] = BLOCK

    def block_again(self, s: int) -> None:
        """Somebody lifted a block of another kind; ours stays."""
        row = self._rows.get(self._universe.symbols[s])
        if row is not None and row.stops_entries:
            self._gate().blocked[s] = BLOCK

    def _moved(self, s: int, lots: int, held: int, price: int, client_id: str) -> None:
        symbol, step = self._universe.symbols[s], self._universe.lot_step[s]
        row = changed(
            self._rows.get(symbol),
            account_id=self._account_id,
            symbol=symbol,
            position_side=PositionSide.BOTH,
            change=units.qty_of(lots, step),
            price=units.price_of(price, self._universe.price_digits[s]) if price else None,
            ms=self._clock.now_ms(),
            client_id=client_id or None,
        )
        self._rows[symbol] = row
        self._unwritten.append(symbol)
        if row.stops_entries:
            self._gate().blocked[s] = BLOCK
            self._alarms.sound(BLOCK, f"{symbol}: {row.qty} belongs to no strategy", key=symbol)
        elif self._gate().blocked.get(s) == BLOCK:
            del self._gate().blocked[s]
            self._alarms.clear(BLOCK, symbol)

    @property
    def waits(self) -> bool:
        """Are rows waiting to be written?"""
        return bool(self._unwritten)

    async def write(self) -> None:
        """Write the rows that wait. Raises StoreFailed; they wait on then."""
        while self._unwritten:
            await self._store.save_external(self._rows[self._unwritten[0]])
            self._unwritten.popleft()

    async def look(self) -> None:
        """See what people have acknowledged."""
        try:
            rows = await self._store.external_lots(self._account_id)
        except PerpdeskError as error:
            LOG.warning("external lots could not be read: %s", error)
            return
        for row in rows:
            mine = self._rows.get(row.symbol)
            if mine is None or row.symbol in self._unwritten or mine.qty != row.qty:
                continue
            self._rows[row.symbol] = row
            s = self._universe.index(row.symbol) if row.symbol in self._universe.symbols else -1
            if s >= 0 and not row.stops_entries and self._gate().blocked.get(s) == BLOCK:
                del self._gate().blocked[s]
                self._alarms.clear(BLOCK, row.symbol)
