"""Orders of ours that nobody wants any more. Foreign orders are never touched, protection never thinned.

Ours is an order whose client id reads as ours with this account's number (``engine.ids``). Orders of a
version that is not configured stay as they are: their position may be under the guardian still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Final

from perpdesk.engine import ids
from perpdesk.engine.ids import Named
from perpdesk.engine.reconcile.compare import LivePosition
from perpdesk.kernel.records import STOP
from perpdesk.ports import OpenOrder

# So old (exchange time) must an order be before it can be an orphan: deliveries are under way.
GRACE_MS: Final = 10_000
# A canary is placed and taken back within seconds.
CANARY_MS: Final = 60_000


class Why(Enum):
    """What makes an order an orphan."""

    POSITION_GONE = "the position of this order is not live"
    LEG_NOT_WANTED = "nobody wants this leg"
    FLAT_EXIT = "an exit of a position that holds nothing"
    DUPLICATE = "a newer attempt at the same leg is open"
    CANARY = "a canary that was not taken back"


@dataclass(frozen=True, slots=True)
class Orphan:
    """An order to cancel, and why."""

    order: OpenOrder
    why: Why


@dataclass(frozen=True, slots=True)
class Swept:
    """orphans: to cancel. foreign: others' orders, and ours of versions that are not configured: left alone.

    kept: unwanted protective orders that stay because nothing else would cover their position.
    """

    orphans: tuple[Orphan, ...]
    foreign: tuple[OpenOrder, ...]
    kept: tuple[OpenOrder, ...]


def sweep(
    orders: Sequence[OpenOrder],
    *,
    account_id: int,
    versions: AbstractSet[str],
    positions: Mapping[str, LivePosition],
    is_wanted: Callable[[str], bool],
    closable: Mapping[tuple[int, int], int],
    unowned: Mapping[tuple[int, int], int],
    now_ms: int,
    grace_ms: int = GRACE_MS,
) -> Swept:
    """Sort the account's open orders. positions: live ones by code; is_wanted: is this client id in the
    executor's mirror? closable: lots on the exchange that an order of (symbol, side) can close, by a valid
    read (what is not there is flat); unowned: those of them that no sleeve holds; now_ms: exchange time.
    """
    ours: list[tuple[OpenOrder, Named]] = []
    foreign: list[OpenOrder] = []
    for order in orders:
        named = ids.parse(order.client_id)
        if named is None or named.account_id != account_id or not _is_configured(named, versions):
            foreign.append(order)
        else:
            ours.append((order, named))
    old = [(order, named) for order, named in ours if now_ms - order.placed_ms >= grace_ms]
    newest = _newest(ours)
    orphans: list[Orphan] = []
    kept: list[OpenOrder] = []
    for order, named in old:
        why = _why(order, named, positions, is_wanted, closable, newest, now_ms)
        if why is None:
            continue
        if why in (Why.LEG_NOT_WANTED, Why.DUPLICATE) and not _is_covered_without(
            order, named, ours, orphans, positions, closable
        ):
            kept.append(order)
            continue
        if why is Why.POSITION_GONE and is_stop(order) and unowned.get((order.symbol, order.side), 0):
            kept.append(order)  # from a lost database, it may be all that protects these lots
            continue
        orphans.append(Orphan(order, why))
    return Swept(tuple(orphans), tuple(foreign), tuple(kept))


def _is_configured(named: Named, versions: AbstractSet[str]) -> bool:
    return named.version == ids.GUARDIAN or named.version in versions


def _newest(ours: Sequence[tuple[OpenOrder, Named]]) -> dict[tuple[object, ...], str]:
    """The client id of the newest attempt of every leg that is open (the guardian's: the last one placed)."""
    best: dict[tuple[object, ...], tuple[int, int, str]] = {}
    for order, named in ours:
        key = _leg_key(order, named)
        attempt = 0 if named.version == ids.GUARDIAN else named.attempt
        rank = (attempt, order.placed_ms, order.client_id)
        if key not in best or rank > best[key]:
            best[key] = rank
    return {key: client_id for key, (_, _, client_id) in best.items()}


def _leg_key(order: OpenOrder, named: Named) -> tuple[object, ...]:
    if named.version == ids.GUARDIAN:
        return (named.version, named.leg, order.symbol, order.side)
    return (named.version, named.position_code, named.leg)


def _why(
    order: OpenOrder,
    named: Named,
    positions: Mapping[str, LivePosition],
    is_wanted: Callable[[str], bool],
    closable: Mapping[tuple[int, int], int],
    newest: Mapping[tuple[object, ...], str],
    now_ms: int,
) -> Why | None:
    is_newest = newest[_leg_key(order, named)] == order.client_id
    if named.version == ids.GUARDIAN:
        if named.leg == ids.LEG_CANARY:
            return Why.CANARY if now_ms - order.placed_ms >= CANARY_MS else None
        if is_wanted(order.client_id):
            return None
        if closable.get((order.symbol, order.side), 0) == 0:
            return Why.FLAT_EXIT
        return None if is_newest else Why.DUPLICATE
    position = positions.get(named.position_code)
    if position is None:
        return Why.POSITION_GONE
    if is_wanted(order.client_id):
        return None
    if order.reduce_only and position.lots == 0 and not position.entry_pending:
        return Why.FLAT_EXIT
    return Why.LEG_NOT_WANTED if is_newest else Why.DUPLICATE


def _is_covered_without(
    order: OpenOrder,
    named: Named,
    ours: Sequence[tuple[OpenOrder, Named]],
    orphans: Sequence[Orphan],
    positions: Mapping[str, LivePosition],
    closable: Mapping[tuple[int, int], int],
) -> bool:
    """Does a stop that stays protect what this one protects? (True for orders that protect nothing.)"""
    if not is_stop(order):
        return True
    gone = {one.order.client_id for one in orphans} | {order.client_id}
    staying = [
        one for one, other in ours if one.client_id not in gone and _same_cover(one, other, order, named)
    ]
    if order.close_position:
        return any(one.close_position for one in staying)
    position = positions.get(named.position_code)
    need = closable.get((order.symbol, order.side), 0) if position is None else abs(position.lots)
    return sum(one.lots for one in staying if not one.close_position) >= need


def is_stop(order: OpenOrder) -> bool:
    """Does it protect a position?"""
    return order.kind == STOP and (order.reduce_only or order.close_position)


def _same_cover(one: OpenOrder, other: Named, order: OpenOrder, named: Named) -> bool:
    return (
        one.kind == STOP
        and one.symbol == order.symbol
        and one.side == order.side
        and one.close_position == order.close_position
        and (
            other.version == named.version
            and (one.close_position or other.position_code == named.position_code)
        )
    )
