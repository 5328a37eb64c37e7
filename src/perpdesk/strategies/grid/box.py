"""The four-peaks box: two supports below the price, two resistances above, S2 < S1 < price < R1 < R2.

A box with fewer levels is an answer, not an error: the levels that exist are still zones, and nothing is
invented. Driven by scanner.scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perpdesk.kernel.guard import q9
from perpdesk.strategies.grid.params import PPM, ScannerParams
from perpdesk.strategies.grid.profile import plateaus

KINDS = ("S2", "S1", "R1", "R2")


@dataclass(frozen=True)
class Level:
    """One level: its price in ticks, its smoothed volume and that volume over the highest peak's."""

    kind: str
    centre: int
    volume: float
    strength: float
    ma_adjusted: bool = False


@dataclass(frozen=True)
class Box:
    """The levels found, nearest first on each side; at most two a side."""

    supports: tuple[Level, ...]
    resistances: tuple[Level, ...]

    @property
    def complete(self) -> bool:
        """Are all four levels there?"""
        return len(self.supports) == 2 and len(self.resistances) == 2

    def levels(self) -> tuple[Level, ...]:
        """All levels, ascending."""
        return self.supports[::-1] + self.resistances

    def level(self, kind: str) -> Level | None:
        """The level of this name, if there is one."""
        return next((level for level in self.levels() if level.kind == kind), None)

    def position(self, price: int) -> str | None:
        """Where a price stands in a complete box; None while the box is incomplete."""
        if not self.complete:
            return None
        if price < self.supports[1].centre:
            return "below_large"
        if price < self.supports[0].centre:
            return "in_large_lower"
        if price <= self.resistances[0].centre:
            return "in_small"
        if price <= self.resistances[1].centre:
            return "in_large_upper"
        return "above_large"


@dataclass(frozen=True)
class _Peak:
    doubled: int  # twice the distance from the price, signed: half ticks are exact
    volume: float
    strength: float


def separation(price: int, atr: float, params: ScannerParams) -> float:
    """Least distance in ticks between two levels of one side."""
    least = price * params.separation_min_ppm / PPM
    most = price * params.separation_max_ppm / PPM
    return min(max(atr * params.separation_atr_milli / 1000, least), most)


def _peaks(smoothed: np.ndarray, first: int, price: int, width: int, params: ScannerParams) -> list[_Peak]:
    found = []
    for i, j in plateaus(smoothed):
        doubled = width * (int(i) + int(j) + 2 * first)
        near, far = 2 * params.near_ppm * price, 2 * params.far_ppm * price
        if near <= abs(doubled) * PPM <= far:
            found.append((doubled, float(smoothed[i])))
    top = max((volume for _, volume in found), default=0.0)
    peaks = [_Peak(doubled, volume, volume / top) for doubled, volume in found]
    return [peak for peak in peaks if q9(peak.strength) >= params.min_peak_strength_ppm / PPM]


def _side(peaks: list[_Peak], price: int, apart: float, names: tuple[str, str]) -> tuple[Level, ...]:
    """The strongest peak of a side and the next one far enough from it, named by distance."""
    chosen: list[_Peak] = []
    for peak in sorted(peaks, key=lambda peak: (-peak.volume, abs(peak.doubled))):
        if not chosen or q9(abs(peak.doubled - chosen[0].doubled) / 2 - apart) >= 0:
            chosen.append(peak)
        if len(chosen) == 2:
            break
    chosen.sort(key=lambda peak: abs(peak.doubled))
    return tuple(
        Level(
            kind,
            price + (1 if peak.doubled > 0 else -1) * (abs(peak.doubled) // 2),
            peak.volume,
            peak.strength,
        )
        for kind, peak in zip(names, chosen, strict=False)
    )


def find_box(
    smoothed: np.ndarray, first: int, price: int, width: int, apart: float, params: ScannerParams
) -> Box:
    """The box of a smoothed profile (smoothed[0] is bucket ``first``) around the price, in ticks.

    apart: separation() of this price.
    """
    peaks = _peaks(smoothed, first, price, width, params)
    return Box(
        supports=_side([peak for peak in peaks if peak.doubled < 0], price, apart, ("S1", "S2")),
        resistances=_side([peak for peak in peaks if peak.doubled > 0], price, apart, ("R1", "R2")),
    )


def snap_to_average(box: Box, average: int, price: int, apart: float, params: ScannerParams) -> Box:
    """Move the single level nearest to the moving average onto it, if the box stays in order.

    Moved only if it is within ma_snap of the average and afterwards on the same side of the price, not
    nearer than ``near``, at least ``apart`` from its sibling and in order with it.
    """
    levels = sorted(box.levels(), key=lambda level: abs(level.centre - average))
    if not levels:
        return box
    level = levels[0]
    distance = abs(level.centre - average)
    if len(levels) > 1 and abs(levels[1].centre - average) == distance:
        return box
    side = 1 if level.kind.startswith("R") else -1
    if distance * PPM >= params.ma_snap_ppm * price:
        return box
    if (average - price) * side <= 0 or abs(average - price) * PPM < params.near_ppm * price:
        return box
    own = box.resistances if side > 0 else box.supports
    for sibling in own:
        if sibling is level:
            continue
        further = abs(average - price) > abs(sibling.centre - price)
        if q9(abs(average - sibling.centre) - apart) < 0 or further != level.kind.endswith("2"):
            return box
    moved = tuple(replace(one, centre=average, ma_adjusted=True) if one is level else one for one in own)
    return replace(box, resistances=moved) if side > 0 else replace(box, supports=moved)
