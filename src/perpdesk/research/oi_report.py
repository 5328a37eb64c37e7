"""What the breakout account earned: totals and UTC days of closed positions, in the quote currency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpdesk.domain.books import PositionRow
from perpdesk.domain.days import utc_day


def max_drawdown(initial: Decimal, nets: Iterable[Decimal]) -> Decimal:
    """The deepest fall of equity from its peak, as a fraction of the peak; 0 without trades."""
    equity = peak = initial
    deepest = Decimal(0)
    for net in nets:
        equity += net
        peak = max(peak, equity)
        if peak > 0:
            deepest = max(deepest, (peak - equity) / peak)
    return deepest


@dataclass(frozen=True)
class Earned:
    """Figures of some closed positions. win_rate, expectancy: None without trades; fee_share: of the gross
    profits and losses' size."""

    trades: int
    wins: int
    gross: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    max_drawdown: Decimal

    @property
    def win_rate(self) -> Decimal | None:
        return Decimal(self.wins) / self.trades if self.trades else None

    @property
    def expectancy(self) -> Decimal | None:
        return self.net / self.trades if self.trades else None

    @property
    def fee_share(self) -> Decimal | None:
        return self.fees / abs(self.gross) if self.gross else None


def closed(rows: Iterable[PositionRow]) -> list[PositionRow]:
    """Positions that have ended with a fill, in the order of their ends."""
    ended = [one for one in rows if one.close_ms is not None and one.open_ms is not None]
    return sorted(ended, key=lambda one: (one.close_ms or 0, one.id))


def earned(rows: Sequence[PositionRow], initial: Decimal) -> Earned:
    """Of closed positions in order; a win has a net above 0."""
    return Earned(
        trades=len(rows),
        wins=sum(one.net_pnl > 0 for one in rows),
        gross=sum((one.realized_pnl for one in rows), Decimal(0)),
        fees=sum((one.commission for one in rows), Decimal(0)),
        funding=sum((one.funding for one in rows), Decimal(0)),
        net=sum((one.net_pnl for one in rows), Decimal(0)),
        max_drawdown=max_drawdown(initial, [one.net_pnl for one in rows]),
    )


def by_day(rows: Sequence[PositionRow], initial: Decimal) -> dict[str, Earned]:
    """By UTC day of closing (YYYYMMDD); each day's drawdown begins with the equity of that day."""
    days: dict[str, list[PositionRow]] = {}
    for one in rows:
        days.setdefault(utc_day(one.close_ms or 0), []).append(one)
    found, equity = {}, initial
    for day, ended in sorted(days.items()):
        found[day] = earned(ended, equity)
        equity += found[day].net
    return found


def reasons(rows: Iterable[PositionRow]) -> dict[str, int]:
    """How often each reason ended a position."""
    return dict(Counter(str(one.close_reason) for one in rows).most_common())
