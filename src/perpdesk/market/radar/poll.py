"""One poll: marks in one request, then open interest of every symbol; nobody waits for a slow one.

Every symbol ends as a row with a value, or as a row that says why there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpdesk.domain.errors import PerpdeskError
from perpdesk.market.radar.source import Interest, InterestSource, Mark

# A symbol's own time of open interest may be this old; older says nothing about now.
INTEREST_AGE_MAX_MS = 90_000
# More than this of anything is no open interest.
AMOUNT_MAX = Decimal(10) ** 18
_ATTEMPTS = 2
# Of a polling interval: what is not there by then is missing.
_DEADLINE_SHARE = (3, 4)
_DEADLINE_MAX_MS = 45_000
# Valid rows below this share of the symbols: the poll is degraded, nothing is opened on it.
_DEGRADED_SHARE = (4, 5)

LATE, FAILED, NOT_A_NUMBER, OLD, OTHER_SYMBOL = "late", "failed", "not_a_number", "old", "other_symbol"


@dataclass(frozen=True, slots=True)
class Row:
    """What a poll learned of one symbol. amount None: ``missing`` says why. mark None: no mark price."""

    symbol: str
    received_ms: int
    amount: Decimal | None
    mark: Mark | None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll. slot_ms: its time on the grid."""

    slot_ms: int
    rows: tuple[Row, ...]
    took_ms: int

    @property
    def valid(self) -> int:
        """Rows with open interest."""
        return sum(row.amount is not None for row in self.rows)

    @property
    def is_degraded(self) -> bool:
        """Too few symbols answered."""
        part, whole = _DEGRADED_SHARE
        return self.valid * whole < len(self.rows) * part


def deadline_ms(slot_ms: int, interval_ms: int) -> int:
    """When a poll of this slot ends at the latest."""
    part, whole = _DEADLINE_SHARE
    return slot_ms + min(_DEADLINE_MAX_MS, interval_ms * part // whole)


async def poll(
    source: InterestSource, symbols: Sequence[str], slot_ms: int, interval_ms: int, at_once: int
) -> Poll:
    """Ask for everything, at most ``at_once`` symbols at a time, and stop at the deadline."""
    started_ms = source.now_ms()
    end_ms = max(deadline_ms(slot_ms, interval_ms), started_ms + 1)
    marks = asyncio.ensure_future(_marks(source))
    turn = asyncio.Semaphore(at_once)
    asked = {symbol: asyncio.ensure_future(_ask(source, symbol, turn, end_ms)) for symbol in symbols}
    alarm: asyncio.Future[Any] = asyncio.ensure_future(source.sleep_until(end_ms))
    everything: asyncio.Future[Any] = asyncio.ensure_future(_all(marks, *asked.values()))
    try:
        await asyncio.wait({everything, alarm}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tasks: list[asyncio.Future[Any]] = [everything, alarm, marks, *asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    known = {} if marks.cancelled() else marks.result()
    rows = []
    for symbol, task in asked.items():
        amount, missing, received_ms = (None, LATE, end_ms) if task.cancelled() else task.result()
        rows.append(Row(symbol, received_ms, amount, known.get(symbol), missing))
    return Poll(slot_ms, tuple(rows), source.now_ms() - started_ms)


async def _all(*tasks: asyncio.Future[Any]) -> None:
    await asyncio.wait(tasks)


async def _marks(source: InterestSource) -> Mapping[str, Mark]:
    """Nothing is known without them, and the poll goes on."""
    try:
        found = await source.marks()
    except PerpdeskError:
        return {}
    return {symbol: mark for symbol, mark in found.items() if mark.price.is_finite() and mark.price > 0}


async def _ask(
    source: InterestSource, symbol: str, turn: asyncio.Semaphore, end_ms: int
) -> tuple[Decimal | None, str, int]:
    async with turn:
        for attempt in range(_ATTEMPTS):
            try:
                found = await source.open_interest(symbol, end_ms)
            except PerpdeskError:
                if attempt + 1 < _ATTEMPTS:
                    continue
                return None, FAILED, source.now_ms()
            return _checked(found, symbol, source.now_ms())
    raise AssertionError("unreachable")


def _checked(found: Interest, symbol: str, now_ms: int) -> tuple[Decimal | None, str, int]:
    if found.symbol != symbol:
        return None, OTHER_SYMBOL, now_ms
    if not found.amount.is_finite() or not 0 < found.amount < AMOUNT_MAX:
        return None, NOT_A_NUMBER, now_ms
    if now_ms - found.told_ms > INTEREST_AGE_MAX_MS:
        return None, OLD, now_ms
    return found.amount, "", now_ms
