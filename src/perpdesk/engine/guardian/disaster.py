"""Where the disaster stop stands and what must be done so that it stands there.

One closePosition stop per (symbol, side) of the account, behind every sleeve's stop and before liquidation:
for a long position ``max(guard, min(A × (1 − max), lowest stop × 0.99))`` with the exchange's average entry A
and ``guard = A − liq_share × (A − liquidation)``; a short one is the mirror. Prices are integers of the
universe, rounded to the tick in the position's favour (long up, short down).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from perpdesk.config.schema import Disaster
from perpdesk.domain.units import ppm_of
from perpdesk.engine import ids
from perpdesk.kernel.records import STOP
from perpdesk.ports import Leg, OpenOrder

# Behind the sleeves' stops by at least this share of their price.
BEHIND_PPM = 10_000
# It is re-placed when it must move by more than this share of its price.
MOVE_PPM = 5_000
# After a cancel the new one must be there within this time; the sleeves' stops stand meanwhile.
GAP_MS = 2_000
# The exchange's answer to a second closePosition stop of one direction.
CODE_EXISTS = -4130
# The trigger would act at once: the price is already past it. Close at the market.
CODE_WOULD_TRIGGER = -2021
_PPM = 1_000_000


class Problem(StrEnum):
    """What is wrong with a place that is nevertheless the best one."""

    NONE = ""
    STOP_BEYOND_LIQUIDATION = "STOP_BEYOND_LIQUIDATION"  # a sleeve's stop stands behind the guard
    NO_ROOM = "NO_ROOM"  # no tick lies between the stops and liquidation
    NO_PRICE = "NO_PRICE"  # no entry price is known


@dataclass(frozen=True, slots=True)
class DisasterRule:
    """The distances, in parts per million: of the entry, and of the way to liquidation."""

    max_ppm: int
    liq_share_ppm: int
    behind_ppm: int = BEHIND_PPM
    move_ppm: int = MOVE_PPM

    @classmethod
    def of(cls, disaster: Disaster) -> DisasterRule:
        """From ``risk.disaster`` of the configuration."""
        return cls(
            ppm_of(disaster.max, "risk.disaster.max"), ppm_of(disaster.liq_share, "risk.disaster.liq_share")
        )


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the stop belongs. price 0: nowhere (see problem)."""

    price: int
    problem: Problem = Problem.NONE


class Act(StrEnum):
    """What to do about one (symbol, side)."""

    KEEP = "keep"
    PLACE = "place"
    REPLACE = "replace"  # cancel what stands, then place within GAP_MS
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. side and price are the new order's, cancel the client ids to take back first.

    adopted: KEEP of a stop that is not ours: it stands in the right place and nobody takes it away.
    """

    act: Act
    symbol: int
    direction: int
    side: int = 0
    price: int = 0
    cancel: tuple[str, ...] = ()
    adopted: bool = False
    problem: Problem = Problem.NONE


def estimated_liquidation(entry_price: int, direction: int, leverage: int, mmr_ppm: int) -> int:
    """The liquidation price of an isolated position before the exchange has told one."""
    distance_ppm = _PPM // max(1, leverage) - mmr_ppm
    return (entry_price * (_PPM - direction * distance_ppm)) // _PPM


def spot(leg: Leg, sleeve_stops: Sequence[int], tick: int, rule: DisasterRule) -> Spot:
    """The trigger for one leg. sleeve_stops: the trigger prices of its sleeves' stops (may be empty).

    Where the sleeves' stops leave no room before liquidation, the guard wins: acting before liquidation is
    worth more than acting last. The problem says so, and entries there are refused by the gate.
    """
    sign = 1 if leg.lots > 0 else -1
    entry, liquidation = leg.entry_price, leg.liquidation_price
    if entry <= 0:
        return Spot(0, Problem.NO_PRICE)
    # All in millionths of a price unit, mirrored for a short: then "lower" is always "further away".
    wanted = sign * entry * _PPM - entry * rule.max_ppm
    nearest = None
    if sleeve_stops:
        furthest = min(sign * price for price in sleeve_stops)
        nearest = furthest
        wanted = min(wanted, furthest * _PPM - abs(furthest) * rule.behind_ppm)
    problem = Problem.NONE
    if liquidation > 0:
        base = entry
        if sign * (entry - liquidation) <= 0:  # margin was taken away: count from the mark instead
            base = leg.mark_price
        if sign * (base - liquidation) <= 0:
            return Spot(0, Problem.NO_ROOM)
        guard = sign * base * _PPM - rule.liq_share_ppm * abs(base - liquidation)
        if nearest is not None and nearest * _PPM <= guard:
            problem = Problem.STOP_BEYOND_LIQUIDATION
        wanted = max(wanted, guard)
    ticks = -(-wanted // (_PPM * tick))
    if nearest is not None and problem is Problem.NONE and ticks * tick >= nearest:
        # a coarse tick: one below the nearest stop, if that is still before liquidation
        ticks = (nearest - 1) // tick
        if liquidation > 0 and ticks * tick <= sign * liquidation:
            return Spot(0, Problem.NO_ROOM)
    price = sign * ticks * tick
    return Spot(price, problem) if price > 0 else Spot(0, Problem.NO_ROOM)


def must_move(standing: int, wanted: int, rule: DisasterRule) -> bool:
    """Is the difference worth a cancel and a new order?"""
    return abs(wanted - standing) * _PPM > standing * rule.move_ppm


def plan(
    legs: Iterable[Leg],
    orders: Iterable[OpenOrder],
    sleeve_stops: Mapping[tuple[int, int], Sequence[int]],
    ticks: Sequence[int],
    rule: DisasterRule,
    *,
    absent: Iterable[int] = (),
) -> list[Step]:
    """What must be done for every leg of the universe, KEEP included, symbols in order.

    sleeve_stops: by (symbol, direction). absent: symbols that are flat beyond doubt (rule R8): only there an
    old stop of ours is taken back; elsewhere a leg that is not in the list may just not have been read.
    A stop that is not ours is never taken back; one in a tolerable place is adopted (the exchange refuses a
    second one, -4130).
    """
    standing: dict[int, list[OpenOrder]] = {}
    for order in orders:
        if order.close_position and order.kind == STOP and order.status in ("NEW", "TRIGGERING"):
            standing.setdefault(order.symbol, []).append(order)
    steps: list[Step] = []
    held: set[int] = set()
    for leg in sorted(legs, key=lambda one: one.symbol):
        if leg.symbol < 0 or leg.lots == 0:
            continue
        held.add(leg.symbol)
        direction = 1 if leg.lots > 0 else -1
        stops = sleeve_stops.get((leg.symbol, direction), ())
        steps.append(_for_leg(leg, standing.get(leg.symbol, []), stops, ticks[leg.symbol], rule))
    for symbol in sorted(set(absent) - held):
        ours = tuple(order.client_id for order in standing.get(symbol, []) if _is_ours(order))
        if ours:
            steps.append(Step(Act.CANCEL, symbol, 0, cancel=ours))
    return steps


def _is_ours(order: OpenOrder) -> bool:
    named = ids.parse(order.client_id)
    return named is not None and named.leg == ids.LEG_DISASTER


def _is_tolerable(order: OpenOrder, leg: Leg, stops: Sequence[int], sign: int) -> bool:
    """Before liquidation and behind every sleeve's stop?"""
    if leg.liquidation_price > 0 and sign * (order.price - leg.liquidation_price) <= 0:
        return False
    return all(sign * (price - order.price) > 0 for price in stops)


def _for_leg(
    leg: Leg, standing: list[OpenOrder], stops: Sequence[int], tick: int, rule: DisasterRule
) -> Step:
    direction = 1 if leg.lots > 0 else -1
    where = spot(leg, stops, tick, rule)
    wrong_side = tuple(o.client_id for o in standing if o.side != -direction and _is_ours(o))
    right = [order for order in standing if order.side == -direction]
    ours = [order for order in right if _is_ours(order)]
    foreign = [order for order in right if not _is_ours(order)]
    if where.price == 0:
        return Step(Act.KEEP, leg.symbol, direction, cancel=wrong_side, problem=where.problem)
    good = [o for o in ours if o.status == "TRIGGERING" or _keeps(o, leg, stops, where, rule, direction)]
    if good:
        spare = tuple(order.client_id for order in ours if order is not good[0])
        return Step(
            Act.CANCEL if wrong_side or spare else Act.KEEP,
            leg.symbol,
            direction,
            cancel=wrong_side + spare,
            problem=where.problem,
        )
    if foreign and not ours:
        # Nobody takes a human's order away, and the exchange takes no second one.
        tolerable = _is_tolerable(foreign[0], leg, (), direction)
        problem = where.problem if tolerable else Problem.STOP_BEYOND_LIQUIDATION
        return Step(Act.KEEP, leg.symbol, direction, cancel=wrong_side, adopted=True, problem=problem)
    cancel = wrong_side + tuple(order.client_id for order in ours)
    act = Act.REPLACE if cancel else Act.PLACE
    return Step(act, leg.symbol, direction, -direction, where.price, cancel, problem=where.problem)


def _keeps(
    order: OpenOrder, leg: Leg, stops: Sequence[int], where: Spot, rule: DisasterRule, direction: int
) -> bool:
    """May it stay? Near enough, and (unless nothing better exists) between stops and liquidation."""
    if must_move(order.price, where.price, rule):
        return False
    return where.problem is not Problem.NONE or _is_tolerable(order, leg, stops, direction)
