"""What versions earned, figure by figure, and whether the difference of two is more than chance.

Money is Decimal. A trade is a finished position that had a fill, liquidated ones included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from perpdesk.domain.units import half_away

HOUR_MS = 3_600_000
# Sign flips drawn where there are too many hours to try them all.
FLIPS = 20_000
EXACT_HOURS = 14
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Trade:
    """One finished position. gross: price profit; net = gross − commission + funding."""

    id: int
    symbol: str
    gross: Decimal
    commission: Decimal
    funding: Decimal
    net: Decimal
    open_ms: int
    close_ms: int
    liquidated: bool = False


@dataclass(frozen=True)
class Figures:
    """What a version's trades come to; None where there is nothing to divide by.

    fee_share: commissions / Σ positive gross. profit_factor: Σ net wins / |Σ net losses|. max_drawdown: of
    the cumulated net in the order of closing, as an amount > 0. win_rate counts gross > 0,
    net_win_rate net > 0.
    """

    trades: int
    wins: int
    net_wins: int
    liquidated: int
    gross: Decimal
    commission: Decimal
    funding: Decimal
    net: Decimal
    win_rate: Decimal | None
    net_win_rate: Decimal | None
    average: Decimal | None
    expectancy: Decimal | None
    fee_share: Decimal | None
    profit_factor: Decimal | None
    max_drawdown: Decimal
    holding_minutes: Decimal | None


@dataclass(frozen=True)
class Paired:
    """Two versions side by side, hour by hour of entry, all symbols of an hour together.

    hours: in which at least one entered; shared: in which both did; same_bars: hours of a symbol in which
    both did. difference: Σ net of the first − the second. p_value: how often a coin that gives each hour's
    difference its sign does at least as well (two-sided); None without an hour.
    """

    hours: int
    shared: int
    same_bars: int
    difference: Decimal
    p_value: float | None


def figures(trades: Iterable[Trade]) -> Figures:
    """The figures of one version's trades."""
    ordered = sorted(trades, key=lambda one: (one.close_ms, one.id))
    count = len(ordered)
    net = sum((one.net for one in ordered), _ZERO)
    gross = sum((one.gross for one in ordered), _ZERO)
    commission = sum((one.commission for one in ordered), _ZERO)
    gains = sum((one.gross for one in ordered if one.gross > 0), _ZERO)
    won = sum((one.net for one in ordered if one.net > 0), _ZERO)
    lost = -sum((one.net for one in ordered if one.net < 0), _ZERO)
    top = level = deepest = _ZERO
    for one in ordered:
        level += one.net
        top = max(top, level)
        deepest = max(deepest, top - level)
    wins, net_wins = (sum(one.gross > 0 for one in ordered), sum(one.net > 0 for one in ordered))
    held_ms = sum(one.close_ms - one.open_ms for one in ordered)
    return Figures(
        trades=count,
        wins=wins,
        net_wins=net_wins,
        liquidated=sum(one.liquidated for one in ordered),
        gross=gross,
        commission=commission,
        funding=sum((one.funding for one in ordered), _ZERO),
        net=net,
        win_rate=_part(Decimal(wins), Decimal(count)),
        net_win_rate=_part(Decimal(net_wins), Decimal(count)),
        average=_part(gross, Decimal(count)),
        expectancy=_part(net, Decimal(count)),
        fee_share=_part(commission, gains),
        profit_factor=_part(won, lost),
        max_drawdown=deepest,
        holding_minutes=_part(Decimal(held_ms) / 60_000, Decimal(count)),
    )


def _part(amount: Decimal, of: Decimal) -> Decimal | None:
    return half_away(amount / of, 4) if of else None


def paired(first: Sequence[Trade], second: Sequence[Trade]) -> Paired:
    """Compare two versions over the hours in which they entered."""
    sums: dict[int, list[Decimal]] = defaultdict(lambda: [_ZERO, _ZERO])
    entered: tuple[set[int], set[int]] = (set(), set())
    bars: tuple[set[tuple[str, int]], set[tuple[str, int]]] = (set(), set())
    for place, trades in enumerate((first, second)):
        for one in trades:
            hour = one.open_ms // HOUR_MS
            sums[hour][place] += one.net
            entered[place].add(hour)
            bars[place].add((one.symbol, hour))
    differences = [a - b for a, b in sums.values()]
    return Paired(
        hours=len(sums),
        shared=len(entered[0] & entered[1]),
        same_bars=len(bars[0] & bars[1]),
        difference=sum(differences, _ZERO),
        p_value=sign_flip_p([float(one) for one in differences]) if differences else None,
    )


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p-value of the sum of paired differences under random signs.

    Exact up to 14 pairs; beyond that over 20,000 seeded draws, counting the one observed: the same rows
    always give the same figure.
    """
    values = np.asarray(differences, np.float64)
    observed = abs(values.sum()) * (1 - 1e-12)
    n = len(values)
    if n <= EXACT_HOURS:
        bits = np.arange(1 << n)[:, None] >> np.arange(n) & 1
        return float((np.abs((1 - 2 * bits) @ values) >= observed).mean())
    draws = np.random.default_rng(n).integers(0, 2, (FLIPS, n), dtype=np.int8)
    hits = int((np.abs((1 - 2 * draws) @ values) >= observed).sum())
    return (hits + 1) / (FLIPS + 1)
