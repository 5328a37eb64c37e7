"""Sums over finished positions, by version and UTC day. Added up as Decimals, exact on every database."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import sqlalchemy as sa

from perpdesk.adapters.sqlstore.schema import POSITIONS
from perpdesk.adapters.sqlstore.session import Session
from perpdesk.adapters.sqlstore.types import EPOCH
from perpdesk.domain.books import VersionTotals
from perpdesk.domain.position import PositionStatus

_MONEY = ("realized_pnl", "commission", "funding", "net_pnl")


class Reports(Session):
    """What the versions earned."""

    async def version_totals(
        self,
        account_id: int | None = None,
        from_ms: int | None = None,
        until_ms: int | None = None,
        *,
        by_day: bool = False,
    ) -> list[VersionTotals]:
        """Totals of positions finished within [from_ms, until_ms), by version and, if asked, day of close."""
        table = POSITIONS.c
        finished = (PositionStatus.CLOSED.value, PositionStatus.LIQUIDATED.value)
        select = sa.select(
            table.signal_version,
            table.status,
            table.open_ms,
            table.close_ms,
            *(table[name] for name in _MONEY),
        ).where(table.status.in_(finished), table.open_ms.is_not(None))
        if account_id is not None:
            select = select.where(table.account_id == account_id)
        if from_ms is not None:
            select = select.where(table.close_ms >= from_ms)
        if until_ms is not None:
            select = select.where(table.close_ms < until_ms)
        groups: dict[tuple[str, str | None], _Sums] = {}
        async with self._reading() as connection:
            for row in await connection.execute(select):
                day = _day_of(row.close_ms) if by_day else None
                groups.setdefault((row.signal_version, day), _Sums()).add(row)
        ordered = sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        return [sums.totals(version, day) for (version, day), sums in ordered]


class _Sums:
    def __init__(self) -> None:
        self.trades = self.wins = self.net_wins = self.liquidated = self.holding_ms = 0
        self.money = dict.fromkeys(_MONEY, Decimal(0))

    def add(self, row: sa.Row[tuple[object, ...]]) -> None:
        values = row._mapping
        self.trades += 1
        self.wins += values["realized_pnl"] > 0
        self.net_wins += values["net_pnl"] > 0
        self.liquidated += values["status"] == PositionStatus.LIQUIDATED.value
        self.holding_ms += values["close_ms"] - values["open_ms"]
        for name in _MONEY:
            self.money[name] += values[name]

    def totals(self, version: str, day: str | None) -> VersionTotals:
        return VersionTotals(
            signal_version=version,
            day=day,
            trades=self.trades,
            wins=self.wins,
            net_wins=self.net_wins,
            liquidated=self.liquidated,
            holding_ms=self.holding_ms,
            **self.money,
        )


def _day_of(ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=ms)).date().isoformat()
