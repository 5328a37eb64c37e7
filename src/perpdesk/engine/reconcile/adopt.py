"""A position that our books do not know, and that our own orders opened: whose is it? (a lost database)

Pure. The netted position's fills since its true opening are replayed: those of our client ids belong to their
position codes, all others by ``attribute``. What is left of a code is a claim; the rest is external.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from perpdesk.domain.order import PositionSide
from perpdesk.engine import ids
from perpdesk.engine.ids import Named
from perpdesk.engine.reconcile.attribute import EXTERNAL, attribute, money_shares
from perpdesk.engine.reconcile.entry_time import EntryTime, Execution, Found, entry_time
from perpdesk.ports import VenueFill


@dataclass(frozen=True, slots=True)
class ClaimPart:
    """A fill, or the part of one, that moved a claim's lots."""

    fill: VenueFill
    lots: int
    fee_e8: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A position of ours. lots: signed; parts: all its fills, oldest first (the first one opened it)."""

    version: str
    position_code: str
    lots: int
    parts: tuple[ClaimPart, ...]

    @property
    def opened_ms(self) -> int:
        """Exchange time of its first fill."""
        return self.parts[0].fill.ms


@dataclass(frozen=True, slots=True)
class Adoption:
    """claims: live positions to adopt. external: signed lots that nobody claims; opening: of the whole."""

    claims: tuple[Claim, ...]
    external: int
    opening: EntryTime


def adoption(
    lots: int,
    fills: Iterable[VenueFill],
    window_start_ms: int,
    *,
    account_id: int,
    versions: AbstractSet[str],
    entry_price: int | None = None,
    position_side: PositionSide = PositionSide.BOTH,
) -> Adoption:
    """Who owns ``lots`` (signed, not 0) that the exchange shows. fills: complete since window_start_ms.

    Nothing is claimed of a position that is older than the window, or whose fills do not give its price.
    """
    rows = {fill.trade_id: fill for fill in fills if fill.position_side == position_side}
    ordered = sorted(rows.values(), key=lambda fill: (fill.ms, fill.trade_id))
    executions = [
        Execution(fill.trade_id, fill.ms, fill.side, fill.lots, fill.price, position_side) for fill in ordered
    ]
    opening = entry_time(
        1 if lots > 0 else -1,
        abs(lots),
        executions,
        window_start_ms,
        entry_price=entry_price or None,
        position_side=position_side,
    )
    if not isinstance(opening, Found):
        return Adoption((), lots, opening)
    book = _Book(account_id, versions)
    flip = opening.flip
    for fill in ordered[[fill.trade_id for fill in ordered].index(opening.trade_id) :]:
        size = fill.lots - flip
        book.take(fill, size, money_shares(fill.fee_e8, [flip, size])[1])
        flip = 0
    return Adoption(book.claims(), book.external, opening)


class _Book:
    """Lots by position code, in the order in which codes first traded."""

    def __init__(self, account_id: int, versions: AbstractSet[str]) -> None:
        self.external = 0
        self._account_id, self._versions = account_id, versions
        self._named: list[Named] = []
        self._held: list[int] = []
        self._parts: list[list[ClaimPart]] = []

    def take(self, fill: VenueFill, lots: int, fee_e8: int) -> None:
        """Move ``lots`` of a fill."""
        named = ids.parse(fill.client_id)
        if named is not None and named.account_id == self._account_id and named.version in self._versions:
            self._move(self._place(named), fill, lots, fee_e8)
            return
        for part in attribute(fill.side, lots, fee_e8, self._held, self.external):
            if part.owner == EXTERNAL:
                self.external += fill.side * part.lots
            else:
                self._move(part.owner, fill, part.lots, part.fee_e8)

    def claims(self) -> tuple[Claim, ...]:
        """The codes that hold something."""
        return tuple(
            Claim(named.version, named.position_code, held, tuple(parts))
            for named, held, parts in zip(self._named, self._held, self._parts, strict=True)
            if held
        )

    def _place(self, named: Named) -> int:
        for place, known in enumerate(self._named):
            if (known.version, known.position_code) == (named.version, named.position_code):
                return place
        self._named.append(named)
        self._held.append(0)
        self._parts.append([])
        return len(self._named) - 1

    def _move(self, place: int, fill: VenueFill, lots: int, fee_e8: int) -> None:
        """An exit of ours never turns its position: what is beyond it is external."""
        held = self._held[place]
        own = lots if held == 0 or held * fill.side > 0 else min(lots, abs(held))
        named = ids.parse(fill.client_id)
        if held == 0 and named is not None and not named.is_entry:
            own = 0  # an exit without its entry: from before this position
        fees = money_shares(fee_e8, [own, lots - own])
        if own:
            self._held[place] += fill.side * own
            self._parts[place].append(ClaimPart(fill, own, fees[0]))
        self.external += fill.side * (lots - own)
