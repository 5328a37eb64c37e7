"""Batches of rows on their way to the store, in order, however often the database fails meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from perpdesk.domain.account_books import Adjustment, IncomeRow
from perpdesk.domain.books import (
    WHOLE_STRATEGY,
    FillRow,
    IntentState,
    JournalEntry,
    OrderRow,
    PositionChange,
    PositionEnd,
    StateRow,
    StoreFailed,
)
from perpdesk.domain.signal_books import Big4Regime, ScoreSignal, SymbolRating
from perpdesk.ports import Store, StoreBooks

# The strategy name under which the last written batch's number is kept.
MARKER = "recorder"


@dataclass(frozen=True, slots=True)
class IntentStep:
    """An intent's next state; fence_ms after which an unknown attempt can no longer be accepted."""

    client_id: str
    state: IntentState
    ms: int
    fence_ms: int | None = None


@dataclass
class Batch:
    """Rows that become visible together. Everything in it is final: nothing is worked out at writing."""

    intents: list[IntentStep] = field(default_factory=list)
    orders: list[OrderRow] = field(default_factory=list)
    fills: list[FillRow] = field(default_factory=list)
    changes: list[tuple[int, int, PositionChange]] = field(default_factory=list)
    ends: list[tuple[int, int, PositionEnd]] = field(default_factory=list)
    journal: list[JournalEntry] = field(default_factory=list)
    incomes: list[IncomeRow] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)
    signals: list[ScoreSignal] = field(default_factory=list)
    regimes: list[Big4Regime] = field(default_factory=list)
    ratings: list[SymbolRating] = field(default_factory=list)
    number: int = 0

    def __bool__(self) -> bool:
        return bool(
            self.intents or self.orders or self.fills or self.changes or self.ends or self.journal
            or self.incomes or self.adjustments or self.signals or self.regimes or self.ratings
        )  # fmt: skip

    async def write(self, unit: StoreBooks) -> None:
        """Put the rows into a unit of work."""
        for step in self.intents:
            await unit.mark_intent(step.client_id, step.state, step.ms, fence_ms=step.fence_ms)
        for order in self.orders:
            await unit.record_order(order)
        for fill in self.fills:
            await unit.record_fill(fill)
        for position_id, ms, change in self.changes:
            await unit.update_position(position_id, ms, **change)
        for position_id, ms, end in self.ends:
            await unit.close_position(position_id, ms, end)
        if self.incomes:
            await unit.record_income(self.incomes)
        if self.adjustments:
            await unit.record_adjustments(self.adjustments)
        if self.signals:
            await unit.record_signals(self.signals)
        for regime in self.regimes:
            await unit.save_regime(regime)
        for rating in self.ratings:
            await unit.save_rating(rating)
        await unit.append_journal(self.journal)


@dataclass
class Writer:
    """Writes batches in their order.

    marks: keep the number of the last batch in the store with it, so that after a commit without an answer
    it is known whether the batch is there. Without marks a failure ends the run.
    """

    store: Store
    account_id: int
    params_hash: str
    marks: bool = False
    failure: str | None = None
    _waiting: deque[Batch] = field(default_factory=deque)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _numbers: int = 0
    _doubted: bool = False

    @property
    def waiting(self) -> int:
        """How many batches are not known to be written."""
        return len(self._waiting)

    def put(self, batch: Batch) -> None:
        """Take a batch; it is written after all earlier ones."""
        if batch:
            self._numbers += 1
            batch.number = self._numbers
            self._waiting.append(batch)

    async def flush(self) -> None:
        """Write everything that waits. Raises StoreFailed; what was not written waits on, in order."""
        async with self._turn:
            while self._waiting:
                batch = self._waiting[0]
                try:
                    if not (self._doubted and await self._is_written(batch)):
                        await self._write(batch)
                except StoreFailed as error:
                    self._doubted, self.failure = True, str(error)
                    raise
                self._doubted, self.failure = False, None
                self._waiting.popleft()

    async def _write(self, batch: Batch) -> None:
        async with self.store.unit(durable=bool(batch.intents)) as unit:
            await batch.write(unit)
            if self.marks:
                await unit.save_state(
                    StateRow(
                        account_id=self.account_id,
                        strategy=MARKER,
                        symbol=WHOLE_STRATEGY,
                        state={"batch": batch.number},
                        params_hash=self.params_hash,
                        updated_ms=0,
                    )
                )

    async def _is_written(self, batch: Batch) -> bool:
        if not self.marks:
            return False
        row = await self.store.load_state(self.account_id, MARKER, WHOLE_STRATEGY)
        return row is not None and isinstance(row.state, dict) and int(row.state["batch"]) >= batch.number

    async def begin(self) -> None:
        """Forget the mark of an earlier process: its numbers are not ours."""
        if self.marks:
            row = await self.store.load_state(self.account_id, MARKER, WHOLE_STRATEGY)
            self._numbers = int(row.state["batch"]) if row and isinstance(row.state, dict) else 0
