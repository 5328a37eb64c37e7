"""When was a position really opened? By adding its fills up backwards until nothing is left.

Quantities are lots (integers), prices integer units. The list of fills must be complete since the window's
start: a failed page is an error of the reader, never a short list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final

from perpdesk.domain.books import EntryTimeSource
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide

EXACT: Final = Fraction(5, 10_000)
ACCEPTED: Final = Fraction(5, 100)


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill as entry times need it. side: +1 bought, -1 sold; ms: the exchange's time."""

    trade_id: int
    ms: int
    side: int
    lots: int
    price: int = 0
    position_side: PositionSide = PositionSide.BOTH


class Match(Enum):
    """How well the average of the fills found agrees with the exchange's entry price."""

    EXACT = "exact"
    ACCEPTED = "accepted"
    UNCHECKED = "unchecked"  # no entry price was given


@dataclass(frozen=True, slots=True)
class Found:
    """The fill that opened the position. flip: lots of it that closed an earlier, opposite position first."""

    ms: int
    trade_id: int
    flip: int
    average: Fraction
    match: Match


@dataclass(frozen=True, slots=True)
class OlderThanWindow:
    """The fills do not explain so many lots: the position is older than the window."""

    window_start_ms: int
    unexplained: int


@dataclass(frozen=True, slots=True)
class PriceMismatch:
    """The fills found do not give the exchange's entry price: they are not this position's."""

    average: Fraction
    entry_price: Fraction


EntryTime = Found | OlderThanWindow | PriceMismatch


def entry_time(
    side: int,
    lots: int,
    executions: Iterable[Execution],
    window_start_ms: int,
    *,
    entry_price: Fraction | int | None = None,
    position_side: PositionSide = PositionSide.BOTH,
) -> EntryTime:
    """The opening fill of ``lots`` (> 0) held on ``side`` (+1 long, -1 short).

    executions: any order, identical repeats allowed; those of other position sides are left out. entry_price:
    the exchange's, in the executions' units. Raises InputError: no lots, a fill without lots, one trade id
    with two contents.
    """
    if side not in (1, -1):
        raise InputError(f"must be 1 (long) or -1 (short), was {side}", field="side")
    if lots <= 0:
        raise InputError(f"must be positive, was {lots}", field="lots")
    rows = _ordered(executions, position_side)
    amount = lots
    for place in range(len(rows) - 1, -1, -1):
        amount -= side * rows[place].side * rows[place].lots
        if amount <= 0:
            return _checked(side, rows[place:], -amount, entry_price)
    return OlderThanWindow(window_start_ms, amount)


def opened(found: EntryTime, first_seen_ms: int) -> tuple[int | None, EntryTimeSource, str | None]:
    """(open time, where it comes from, alarm) of a position that our books do not know.

    Older than the window: no time, its timeout applies at once. A mismatch counts from its first sight.
    """
    if isinstance(found, Found):
        return found.ms, EntryTimeSource.RECONSTRUCTED, None
    if isinstance(found, OlderThanWindow):
        return None, EntryTimeSource.OLDER_THAN_WINDOW, None
    alarm = f"fills average {float(found.average):g}, the exchange says {float(found.entry_price):g}"
    return first_seen_ms, EntryTimeSource.FIRST_SEEN, alarm


def _ordered(executions: Iterable[Execution], position_side: PositionSide) -> list[Execution]:
    rows: dict[int, Execution] = {}
    for row in executions:
        if row.lots <= 0:
            raise InputError(f"must be positive, was {row.lots}", field=f"trade {row.trade_id}: lots")
        if rows.setdefault(row.trade_id, row) != row:
            raise InputError("came with two contents", field=f"trade {row.trade_id}")
    chosen = [row for row in rows.values() if row.position_side == position_side]
    return sorted(chosen, key=lambda row: (row.ms, row.trade_id))


def _checked(
    side: int, rows: Sequence[Execution], flip: int, entry_price: Fraction | int | None
) -> EntryTime:
    average = _average(side, rows, flip)
    match = Match.UNCHECKED
    if entry_price is not None:
        price = Fraction(entry_price)
        if price <= 0:
            raise InputError(f"must be positive, was {entry_price}", field="entry price")
        error = abs(average / price - 1)
        if error >= ACCEPTED:
            return PriceMismatch(average, price)
        match = Match.EXACT if error <= EXACT else Match.ACCEPTED
    return Found(rows[0].ms, rows[0].trade_id, flip, average, match)


def _average(side: int, rows: Sequence[Execution], flip: int) -> Fraction:
    """The average entry price after the fills: the same side averages, the other side leaves it."""
    held, cost = 0, Fraction(0)
    for place, row in enumerate(rows):
        lots = row.lots - flip if place == 0 else row.lots
        if row.side == side:
            held, cost = held + lots, cost + lots * row.price
        else:
            cost -= cost * lots / held
            held -= lots
    return cost / held
