"""Our books and the exchange's answers side by side, as typed findings. Pure.

A *place* is (symbol index, position side): BOTH on a netted account, LONG and SHORT apart in hedge mode.
Lots are signed, times are the exchange's ms unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.evidence import Doubt, Look, Verdict, is_stale, judge
from perpdesk.ports import AccountSettings, Leg, OpenOrder, VenueFill

Place = tuple[int, PositionSide]
# An order that is so young may not be in the exchange's lists yet, or not any more in ours.
ORDER_GRACE_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Holding:
    """What our books hold of one place. sleeves: signed lots by sleeve; external: signed lots.

    newest_fill_ms, newest_trade_id: of the newest fill that the stream told of the symbol (0: none).
    """

    symbol: int
    sleeves: tuple[int, ...]
    external: int
    position_side: PositionSide = PositionSide.BOTH
    newest_fill_ms: int = 0
    newest_trade_id: int = 0

    @property
    def place(self) -> Place:
        """Where it is held."""
        return self.symbol, self.position_side

    @property
    def lots(self) -> int:
        """What the exchange must show."""
        return sum(self.sleeves) + self.external


@dataclass(frozen=True, slots=True)
class MirrorOrder:
    """An order that the executor believes to be open. placed_ms: exchange time."""

    client_id: str
    symbol: int
    placed_ms: int


@dataclass(frozen=True, slots=True)
class LivePosition:
    """A position of ours that is not finished. lots: signed, 0 while nothing has filled.

    Without an entry on its way, a position with 0 lots wants no order at all.
    """

    code: str
    symbol: int
    version: str
    lots: int
    entry_pending: bool = False


@dataclass(frozen=True, slots=True)
class LocalBooks:
    """A snapshot of our side, taken in one go after the exchange was read.

    holdings: places that are not flat, or had a fill lately. knows: is this (symbol, trade id) booked?
    orders: the executor's mirror by client id. positions: by position code. settings: what the account must
    have (None: not compared). versions: codes of the configured versions (client ids begin with them).
    """

    holdings: Sequence[Holding]
    knows: Callable[[int, int], bool]
    orders: Mapping[str, MirrorOrder] = field(default_factory=dict)
    positions: Mapping[str, LivePosition] = field(default_factory=dict)
    versions: AbstractSet[str] = frozenset()
    settings: AccountSettings | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What the exchange answered. Every part was read completely, or is None (then it decides nothing).

    asked_ms: exchange time before the first read. fills: by symbol, complete since ``since_ms`` of it.
    """

    asked_ms: int
    legs: Sequence[Leg]
    fills: Mapping[int, Sequence[VenueFill]]
    since_ms: Mapping[int, int] = field(default_factory=dict)
    orders: Sequence[OpenOrder] | None = None
    settings: AccountSettings | None = None


@dataclass(frozen=True, slots=True)
class Plug:
    """Lots went to the external ledger because the exchange showed them and no fill explained them.

    ms: exchange time of the read. A fill from before it that becomes known only later was in what was shown:
    the ledger gives its lots back. trade_ids: those that were known, or have been given back.
    """

    ms: int
    trade_ids: frozenset[int]


# -- findings ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PositionFinding:
    """What was found of one place. missing: fills that our books lack (to import if the verdict says so).

    difference: exchange less what is expected. leg: as the exchange showed it, None if it was not there.
    late: fills that a plug has counted already; the external ledger changes by ``correction`` lots for them.
    """

    place: Place
    verdict: Verdict
    held: int
    exchange: int | None
    difference: int
    missing: tuple[VenueFill, ...]
    leg: Leg | None
    since_ms: int
    late: tuple[VenueFill, ...] = ()

    @property
    def correction(self) -> int:
        """What the external ledger gives back for late fills."""
        return -sum(fill.side * fill.lots for fill in self.late)

    @property
    def waits(self) -> bool:
        """Must nothing be booked yet? What would close the books waits for a second look."""
        return self.verdict is Verdict.NO_DECISION or (
            self.verdict is Verdict.FIRST_LOOK and self.exchange == 0 and self.difference == 0
        )

    @property
    def imports(self) -> tuple[VenueFill, ...]:
        """Missing fills that may be booked now."""
        return () if self.waits else self.missing


@dataclass(frozen=True, slots=True)
class Outside:
    """A position on a contract that this run does not have. It is shown and left alone."""

    name: str
    lots: int


@dataclass(frozen=True, slots=True)
class Opposed:
    """External lots stand against a sleeve's: on a netted account neither can be closed by itself."""

    place: Place
    sleeves: tuple[int, ...]
    external: int


@dataclass(frozen=True, slots=True)
class OrderMissing:
    """An order that the executor believes open is in neither book. Settle it; it is not gone by that."""

    client_id: str
    symbol: int


@dataclass(frozen=True, slots=True)
class SettingChanged:
    """A mode, leverage or margin type is not what the run was made for: entries stop, exits go on.

    symbol: None for the whole account.
    """

    name: str
    symbol: int | None
    wanted: object
    found: object


Finding = PositionFinding | Outside | Opposed | OrderMissing | SettingChanged


def looks(
    local: LocalBooks, truth: Truth, now_ms: int, plugs: Mapping[Place, Plug]
) -> dict[Place, tuple[Look, PositionFinding]]:
    """One look at every place that either side knows; the findings are still without a verdict."""
    holdings = {holding.place: holding for holding in local.holdings}
    legs = {(leg.symbol, leg.position_side): leg for leg in truth.legs if leg.symbol >= 0}
    missing: dict[Place, list[VenueFill]] = {}
    for symbol, fills in truth.fills.items():
        unique = {fill.trade_id: fill for fill in fills}
        for fill in sorted(unique.values(), key=lambda one: (one.ms, one.trade_id)):
            if not local.knows(symbol, fill.trade_id):
                missing.setdefault((symbol, fill.position_side), []).append(fill)
    found: dict[Place, tuple[Look, PositionFinding]] = {}
    for place in sorted({*holdings, *legs, *missing}):
        holding = holdings.get(place) or Holding(place[0], (), 0, place[1])
        leg = legs.get(place)
        lacking = tuple(missing.get(place, ()))
        shown = leg.lots if leg is not None else 0
        exchange = None if _is_stale(holding, leg, truth) else shown
        late = _late(place, truth, plugs)
        explained = _signed(lacking) - _signed(late)
        look = Look(now_ms, holding.lots, explained, exchange, bool(lacking or late))
        difference = 0 if exchange is None else exchange - look.expected
        found[place] = (
            look,
            PositionFinding(
                place, Verdict.NO_DECISION, holding.lots, exchange, difference, lacking, leg, now_ms, late
            ),
        )
    return found


def positions(
    local: LocalBooks,
    truth: Truth,
    doubts: Mapping[Place, Doubt],
    now_ms: int,
    plugs: Mapping[Place, Plug] = MappingProxyType({}),
) -> tuple[dict[Place, Doubt], list[PositionFinding]]:
    """The doubts that remain and a finding for every place. ``doubts`` are those of the read before.

    A place with a difference whose fills were not read is not decided: read them and compare again.
    """
    remaining: dict[Place, Doubt] = {}
    findings: list[PositionFinding] = []
    for place, (look, finding) in looks(local, truth, now_ms, plugs).items():
        if look.exchange is not None and look.exchange != look.held and place[0] not in truth.fills:
            look = Look(look.ms, look.held, 0, None)
        doubt, verdict = judge(doubts.get(place), look)
        if doubt is not None:
            remaining[place] = doubt
        since_ms = now_ms if doubt is None else doubt.first_ms
        findings.append(replace(finding, verdict=verdict, exchange=look.exchange, since_ms=since_ms))
    return remaining, findings


def _late(place: Place, truth: Truth, plugs: Mapping[Place, Plug]) -> tuple[VenueFill, ...]:
    plug = plugs.get(place)
    if plug is None:
        return ()
    rows = {fill.trade_id: fill for fill in truth.fills.get(place[0], ()) if fill.position_side == place[1]}
    return tuple(row for key, row in sorted(rows.items()) if row.ms <= plug.ms and key not in plug.trade_ids)


def _signed(fills: Iterable[VenueFill]) -> int:
    return sum(fill.side * fill.lots for fill in fills)


def to_read(local: LocalBooks, legs: Sequence[Leg]) -> set[int]:
    """The symbols whose fills have to be read: where position and books differ."""
    shown: dict[Place, int] = {(leg.symbol, leg.position_side): leg.lots for leg in legs if leg.symbol >= 0}
    held: dict[Place, int] = {holding.place: holding.lots for holding in local.holdings}
    return {place[0] for place in {*shown, *held} if shown.get(place, 0) != held.get(place, 0)}


def others(local: LocalBooks, truth: Truth) -> list[Finding]:
    """Everything that needs no second look: contracts outside, opposed lots, orders, settings."""
    findings: list[Finding] = [Outside(leg.name, leg.lots) for leg in truth.legs if leg.symbol < 0]
    for holding in local.holdings:
        if any(lots * holding.external < 0 for lots in holding.sleeves):
            findings.append(Opposed(holding.place, holding.sleeves, holding.external))
    findings += _orders_missing(local, truth)
    if local.settings is not None and truth.settings is not None:
        findings += settings_changed(local.settings, truth.settings)
    return findings


def settings_changed(wanted: AccountSettings, found: AccountSettings) -> list[SettingChanged]:
    """Modes, leverages and margin types that differ from what the run was made for."""
    changed: list[SettingChanged] = []
    for name in ("hedge", "multi_assets"):
        if getattr(wanted, name) != getattr(found, name):
            changed.append(SettingChanged(name, None, getattr(wanted, name), getattr(found, name)))
    for symbol, leverage in wanted.leverages.items():
        if symbol in found.leverages and found.leverages[symbol] != leverage:
            changed.append(SettingChanged("leverage", symbol, leverage, found.leverages[symbol]))
    for symbol, isolated in wanted.isolated.items():
        if symbol in found.isolated and found.isolated[symbol] != isolated:
            changed.append(SettingChanged("isolated", symbol, isolated, found.isolated[symbol]))
    return changed


def _orders_missing(local: LocalBooks, truth: Truth) -> list[Finding]:
    if truth.orders is None:
        return []
    shown = {order.client_id for order in truth.orders}
    return [
        OrderMissing(order.client_id, order.symbol)
        for order in local.orders.values()
        if order.client_id not in shown and truth.asked_ms - order.placed_ms >= ORDER_GRACE_MS
    ]


def _is_stale(holding: Holding, leg: Leg | None, truth: Truth) -> bool:
    fills = truth.fills.get(holding.symbol)
    return is_stale(
        asked_ms=truth.asked_ms,
        updated_ms=None if leg is None else leg.updated_ms,
        newest_fill_ms=holding.newest_fill_ms,
        newest_trade_id=holding.newest_trade_id,
        read_trade_id=None if fills is None else max((fill.trade_id for fill in fills), default=0),
        read_since_ms=truth.since_ms.get(holding.symbol, 0),
    )
