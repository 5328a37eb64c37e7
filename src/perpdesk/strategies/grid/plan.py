"""The plan of one grid: prices, quantities, stops, and every reason not to run it.

ladder prices and level lots are what the compiled executor (strategy.py) starts a run with; make_plan says
beforehand, in words, whether the venue and the caps allow it. It is what ``perpdesk grid executor`` asks
before it starts a run: a plan with refusals is never enlarged or trimmed to fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.strategies.grid.params import GEOMETRIC, PPM, ExecutorParams

LONG, SHORT, NEUTRAL = 1, -1, 0
VARIANT_NAMES = {LONG: "LONG", SHORT: "SHORT", NEUTRAL: "NEUTRAL"}

BAD_GRID = "BAD_GRID"
STEP_TOO_SMALL = "STEP_TOO_SMALL"
LEVEL_NOTIONAL_TOO_SMALL = "LEVEL_NOTIONAL_TOO_SMALL"
CAP_BELOW_ONE_LEVEL = "CAP_BELOW_ONE_LEVEL"
SHORT_BUDGET_REQUIRED = "SHORT_BUDGET_REQUIRED"
STOP_BEYOND_LIQUIDATION = "STOP_BEYOND_LIQUIDATION"


@njit(cache=True)
def grid_step(atr, multiplier_ppm, tick):
    """Price units between two levels: atr * multiplier, half up, a multiple of the tick, at least one."""
    return max(tick, int(math.floor(q9(atr * multiplier_ppm / 1_000_000 / tick) + 0.5)) * tick)


@njit(cache=True)
def arithmetic_price(a0, step, level):
    """Price of a level of an evenly spaced ladder."""
    return a0 + level * step


def ladder(a0: int, step: int, levels: int, spacing: str) -> tuple[int, ...]:
    """Prices P[-levels] … P[levels] in ticks; a0 is the middle one.

    Geometric prices are exact: a0 * (1 + step / a0)^i, rounded half up. Raises ValueError where they are
    not above zero and strictly ascending.
    """
    if spacing == GEOMETRIC:
        prices = []
        for i in range(-levels, levels + 1):
            above, below = (a0 + step) ** abs(i), a0 ** abs(i)
            top, bottom = (a0 * above, below) if i >= 0 else (a0 * below, above)
            prices.append((2 * top + bottom) // (2 * bottom))
    else:
        prices = [int(arithmetic_price(a0, step, i)) for i in range(-levels, levels + 1)]
    if prices[0] < 1 or any(high <= low for low, high in zip(prices, prices[1:], strict=False)):
        raise ValueError(
            f"grid prices {prices[0]} … {prices[-1]} must be above zero and ascending: "
            "take fewer levels or another atr_multiplier"
        )
    return tuple(prices)


@njit(cache=True)
def level_lots(order_size_e8, price, unit_e8):
    """Lots that an order of this size buys at a price; never more."""
    return order_size_e8 // (price * unit_e8)


@dataclass(frozen=True)
class Level:
    """One level. kind: +1 buys at entry and sells at exit, -1 the other way round. held: it starts filled."""

    number: int
    kind: int
    entry: int
    exit: int
    lots: int
    held: bool


@dataclass(frozen=True)
class Market:
    """What the venue asks of an order: lots_min, least notional, money of one tick times one lot (1e-8)."""

    unit_e8: int
    lots_min: int = 1
    notional_min_e8: int = 0


@dataclass(frozen=True)
class Refusal:
    """Why the plan may not run. detail is for people and names what would work."""

    code: str
    detail: str


@dataclass(frozen=True)
class Plan:
    """A grid around a0. lo_stop, hi_stop: leaving them ends the run (None: not watched on that side)."""

    variant: int
    a0: int
    step: int
    prices: tuple[int, ...]
    levels: tuple[Level, ...]
    lo_stop: int | None
    hi_stop: int | None
    refusals: tuple[Refusal, ...] = ()

    def level(self, number: int, kind: int) -> Level:
        """The level of this number and kind. Raises KeyError if the plan has none."""
        for level in self.levels:
            if (level.number, level.kind) == (number, kind):
                return level
        raise KeyError((number, kind))


def _make_levels(prices: tuple[int, ...], variant: int, params: ExecutorParams, unit_e8: int) -> list[Level]:
    n = params.grid_levels
    levels = []

    def add(number: int, kind: int, entry: int, leave: int, held: bool) -> None:
        lots = int(level_lots(params.order_size_e8, prices[n + entry], unit_e8))
        levels.append(Level(number, kind, prices[n + entry], prices[n + leave], lots, held))

    for away in range(1, n + 1):
        if variant in (LONG, NEUTRAL):
            add(-away, LONG, -away, 1 - away, False)
        if variant == SHORT and away <= params.initial_levels:
            add(-away, SHORT, 1 - away, -away, True)
        if variant in (SHORT, NEUTRAL):
            add(away, SHORT, away, away - 1, False)
        if variant == LONG and away <= params.initial_levels:
            add(away, LONG, away - 1, away, True)
    return levels


def smallest_order_size_e8(prices: tuple[int, ...], market: Market) -> int:
    """The least order size with which every level of both sides meets the venue's minimums."""
    middle = len(prices) // 2
    most = 0
    for place, price in enumerate(prices):
        if place != middle:
            each = price * market.unit_e8
            lots = max(market.lots_min, -(-market.notional_min_e8 // each))
            most = max(most, lots * each)
    return most


def _money(amount_e8: int) -> str:
    return f"{amount_e8 // 10**8}.{amount_e8 % 10**8:08d}".rstrip("0").rstrip(".")


def make_plan(
    variant: int,
    a0: int,
    step: int,
    zone_lo: int,
    zone_hi: int,
    params: ExecutorParams,
    market: Market,
    *,
    leverage: int = 1,
) -> Plan:
    """The plan of a grid around a0 with this step (ticks). zone_lo/hi: the zone (NEUTRAL: S1.lo, R1.hi).

    Always answers; a plan that must not run has refusals, all of them.
    """
    refusals = []
    n = params.grid_levels
    try:
        prices = ladder(a0, step, n, params.spacing)
    except ValueError as error:
        return Plan(variant, a0, step, (), (), None, None, (Refusal(BAD_GRID, str(error)),))
    levels = _make_levels(prices, variant, params, market.unit_e8)
    least = 2 * params.maker_ppm + 1000
    if step * PPM < least * a0:
        refusals.append(
            Refusal(
                STEP_TOO_SMALL,
                f"a step of {step} on {a0} does not pay for two fees: take at least {-(-least * a0 // PPM)}",
            )
        )
    small = [
        level
        for level in levels
        if level.lots < market.lots_min or level.lots * level.entry * market.unit_e8 < market.notional_min_e8
    ]
    if small:
        refusals.append(
            Refusal(
                LEVEL_NOTIONAL_TOO_SMALL,
                f"order_size_usdt {_money(params.order_size_e8)} is below the venue's minimum on "
                f"{len(small)} levels; the smallest that works is "
                f"{_money(smallest_order_size_e8(prices, market))}",
            )
        )
    caps = {LONG: params.max_position_e8, SHORT: params.short_budget_e8}
    if variant != LONG and params.short_budget_e8 == 0:
        refusals.append(Refusal(SHORT_BUDGET_REQUIRED, "short_budget_usdt is 0: nothing may be sold short"))
    for kind, cap in caps.items():
        sizes = [level.lots * level.entry * market.unit_e8 for level in levels if level.kind == kind]
        if sizes and 0 < cap < max(sizes):
            refusals.append(
                Refusal(CAP_BELOW_ONE_LEVEL, f"a level needs {_money(max(sizes))}, the cap is {_money(cap)}")
            )
    away = (2 * params.zone_break_buffer_ppm * a0 + PPM) // (2 * PPM)
    lo_stop = min(prices[0], zone_lo) - away if variant != SHORT else None
    hi_stop = max(prices[-1], zone_hi) + away if variant != LONG else None
    for stop in (lo_stop, hi_stop):
        if stop is not None and 10 * abs(a0 - stop) * leverage >= 8 * a0:
            refusals.append(
                Refusal(STOP_BEYOND_LIQUIDATION, f"the stop {stop} is 0.8 / leverage or more away from {a0}")
            )
    return Plan(variant, a0, step, prices, tuple(levels), lo_stop, hi_stop, tuple(refusals))
