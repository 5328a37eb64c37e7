"""Is every position covered by a live stop? The audit of legs against open orders, every few seconds.

A stop covers only if it is live, on the right side, reduces, stands on the loss side of the mark and before
liquidation, and was seen a short while ago. Anything else is a flaw with a name. Prices are integers of the
universe, lots are unsigned, ``direction`` is 1 for a long position and -1 for a short one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from perpdesk.engine import ids
from perpdesk.kernel.records import STOP
from perpdesk.ports import Leg, OpenOrder

# A stop that has triggered and does not trade, or that the mark has passed, is given up after this long.
STUCK_MS = 5_000
# An order that nobody has seen for so long may be gone.
CONFIRMED_MS = 60_000
# By how much the mark may be beyond a stop before the stop counts as failed, in parts per million.
PASSED_PPM = 2_000
_PPM = 1_000_000
_TRIGGERING = "TRIGGERING"
_LIVE = ("NEW", _TRIGGERING)

Key = tuple[int, int]  # symbol, direction


class Flaw(StrEnum):
    """Why an order does not cover a position, or (MISSING, WRONG_QUANTITY) what is not covered."""

    MISSING = "MISSING"
    WRONG_QUANTITY = "WRONG_QUANTITY"
    WRONG_SIDE = "WRONG_SIDE"
    NOT_REDUCING = "NOT_REDUCING"
    WRONG_SIDE_OF_MARKET = "WRONG_SIDE_OF_MARKET"
    BEYOND_LIQUIDATION = "BEYOND_LIQUIDATION"
    STALE_CONFIRMATION = "STALE_CONFIRMATION"
    NOT_LIVE = "NOT_LIVE"
    STUCK_TRIGGERING = "STUCK_TRIGGERING"
    PASSED_BY_MARK = "PASSED_BY_MARK"
    NO_DISASTER_STOP = "NO_DISASTER_STOP"

    @property
    def must_close(self) -> bool:
        """Has a stop failed that should have acted? Then the position is closed at the market, now."""
        return self in (Flaw.STUCK_TRIGGERING, Flaw.PASSED_BY_MARK)


@dataclass(frozen=True, slots=True)
class Sighting:
    """An order and when it was last seen (UTC ms of our clock): on the stream or in a list."""

    order: OpenOrder
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The lots (signed) of one sleeve that must have stops by quantity of their own.

    owner: version code and position code, as the client ids of its orders carry them.
    """

    symbol: int
    owner: tuple[str, str]
    lots: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw. client_id is empty where the flaw is an absence."""

    flaw: Flaw
    client_id: str = ""
    owner: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What covers one position of the exchange.

    uncovered_lots: lots of sleeves without a good stop by quantity; bare_lots: lots behind which not even
    the disaster stop stands; failed: the orders whose failure demands a close at the market.
    symbol -1 (``name`` tells which): a contract outside the universe, whose orders nobody here reads.
    """

    symbol: int
    name: str
    direction: int
    lots: int
    mark_price: int
    covered_lots: int
    uncovered_lots: int
    bare_lots: int
    has_disaster: bool
    findings: tuple[Finding, ...]
    by_owner: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.symbol, self.direction

    @property
    def is_protected(self) -> bool:
        """Invariant I4: stops by quantity over all sleeves' lots, and the disaster stop behind them."""
        return self.uncovered_lots == 0 and self.has_disaster

    @property
    def must_close(self) -> bool:
        """Has a stop failed to act?"""
        return any(finding.flaw.must_close for finding in self.findings)


def sightings(orders: Iterable[OpenOrder], seen_ms: int) -> list[Sighting]:
    """A whole list of open orders, all seen at once (a REST read)."""
    return [Sighting(order, seen_ms) for order in orders]


def owner_of(client_id: str) -> tuple[str, str] | None:
    """Whose order it is, None for one that is not ours."""
    named = ids.parse(client_id)
    return None if named is None else (named.version, named.position_code)


class CoverageAudit:
    """Judges coverage; remembers since when a stop is triggering or passed by the mark."""

    def __init__(
        self, *, stuck_ms: int = STUCK_MS, confirmed_ms: int = CONFIRMED_MS, passed_ppm: int = PASSED_PPM
    ) -> None:
        self._stuck_ms, self._confirmed_ms, self._passed_ppm = stuck_ms, confirmed_ms, passed_ppm
        self._stood_right: set[str] = set()
        self._triggering_since: dict[str, int] = {}
        self._passed_since: dict[str, int] = {}

    def judge(
        self,
        legs: Sequence[Leg],
        orders: Sequence[Sighting],
        *,
        now_ms: int,
        claims: Sequence[Claim] | None = None,
        marks: Mapping[int, int] | None = None,
    ) -> list[Coverage]:
        """One Coverage for each leg that is not flat, in the order of the legs.

        claims None: every lot of a leg must have a stop by quantity, whoever's. With claims, lots beyond
        them are external: the disaster stop alone stands behind those. marks: newer than the legs' own;
        a mark of 0 is not known, and no stop is judged by it.
        """
        self._forget({sighting.order.client_id for sighting in orders})
        by_symbol: dict[int, list[Sighting]] = {}
        for sighting in orders:
            by_symbol.setdefault(sighting.order.symbol, []).append(sighting)
        return [
            self._leg(leg, by_symbol.get(leg.symbol, []), now_ms, claims, marks or {})
            for leg in legs
            if leg.lots != 0
        ]

    def _leg(
        self,
        leg: Leg,
        orders: list[Sighting],
        now_ms: int,
        claims: Sequence[Claim] | None,
        marks: Mapping[int, int],
    ) -> Coverage:
        direction, lots = (1, leg.lots) if leg.lots > 0 else (-1, -leg.lots)
        if leg.symbol < 0:
            return Coverage(-1, leg.name, direction, lots, leg.mark_price, 0, 0, lots, False, ())
        mark = marks.get(leg.symbol, leg.mark_price)
        findings: list[Finding] = []
        good: list[OpenOrder] = []
        for sighting in orders:
            order = sighting.order
            if order.kind != STOP:
                continue
            flaw = self._flaw(sighting, leg, direction, mark, now_ms)
            if flaw is None:
                good.append(order)
            else:
                findings.append(Finding(flaw, order.client_id, owner_of(order.client_id)))
        has_disaster = any(order.close_position for order in good)
        by_quantity = [order for order in good if not order.close_position]
        wanted, covered, by_owner = self._count(leg, direction, lots, by_quantity, claims, findings)
        if not has_disaster:
            findings.append(Finding(Flaw.NO_DISASTER_STOP))
        return Coverage(
            symbol=leg.symbol,
            name=leg.name,
            direction=direction,
            lots=lots,
            mark_price=mark,
            covered_lots=covered,
            uncovered_lots=wanted - covered,
            bare_lots=0 if has_disaster else max(0, lots - sum(order.lots for order in by_quantity)),
            has_disaster=has_disaster,
            findings=tuple(findings),
            by_owner=by_owner,
        )

    def _count(
        self,
        leg: Leg,
        direction: int,
        lots: int,
        stops: list[OpenOrder],
        claims: Sequence[Claim] | None,
        findings: list[Finding],
    ) -> tuple[int, int, dict[tuple[str, str], int]]:
        """(lots that need a stop, those that have one, and the covered lots by owner)."""
        if claims is None:
            covered = min(lots, sum(order.lots for order in stops))
            if covered < lots:
                findings.append(Finding(Flaw.WRONG_QUANTITY if covered else Flaw.MISSING))
            return lots, covered, {}
        mine = [c for c in claims if c.symbol == leg.symbol and c.lots * direction > 0]
        needed: dict[tuple[str, str], int] = {}
        for claim in mine:
            needed[claim.owner] = needed.get(claim.owner, 0) + abs(claim.lots)
        by_owner = dict.fromkeys(needed, 0)
        for order in stops:
            owner = owner_of(order.client_id)
            if owner in by_owner:
                by_owner[owner] += order.lots
        for owner, need in needed.items():
            if by_owner[owner] < need:
                flaw = Flaw.WRONG_QUANTITY if by_owner[owner] else Flaw.MISSING
                findings.append(Finding(flaw, "", owner))
            by_owner[owner] = min(by_owner[owner], need)
        wanted = min(lots, sum(needed.values()))  # what a sleeve holds beyond the exchange needs no stop
        return wanted, min(wanted, sum(by_owner.values())), by_owner

    def _flaw(self, sighting: Sighting, leg: Leg, direction: int, mark: int, now_ms: int) -> Flaw | None:
        order = sighting.order
        if order.side != -direction:
            return Flaw.WRONG_SIDE
        if not (order.reduce_only or order.close_position):
            return Flaw.NOT_REDUCING
        if order.status not in _LIVE:
            return Flaw.NOT_LIVE
        if now_ms - sighting.seen_ms > self._confirmed_ms:
            return Flaw.STALE_CONFIRMATION
        if leg.liquidation_price > 0 and direction * (order.price - leg.liquidation_price) <= 0:
            return Flaw.BEYOND_LIQUIDATION
        if order.status == _TRIGGERING:
            since = self._triggering_since.setdefault(order.client_id, now_ms)
            return Flaw.STUCK_TRIGGERING if now_ms - since > self._stuck_ms else None
        self._triggering_since.pop(order.client_id, None)
        return self._against_mark(order, direction, mark, now_ms)

    def _against_mark(self, order: OpenOrder, direction: int, mark: int, now_ms: int) -> Flaw | None:
        """A stop that the mark has just passed is about to trigger; one that never stood right is no stop."""
        if mark <= 0:
            return None
        beyond = direction * (order.price - mark)  # >= 0: the mark is at the trigger or past it
        if beyond < 0:
            self._stood_right.add(order.client_id)
            self._passed_since.pop(order.client_id, None)
            return None
        if order.client_id not in self._stood_right:
            return Flaw.WRONG_SIDE_OF_MARKET
        if beyond * _PPM <= order.price * self._passed_ppm:
            self._passed_since.pop(order.client_id, None)
            return None
        since = self._passed_since.setdefault(order.client_id, now_ms)
        return Flaw.PASSED_BY_MARK if now_ms - since > self._stuck_ms else None

    def _forget(self, present: set[str]) -> None:
        self._stood_right &= present
        for times in (self._triggering_since, self._passed_since):
            for client_id in times.keys() - present:
                del times[client_id]
