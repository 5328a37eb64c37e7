"""``score_signals`` and ``big4_regime``: what the score trader saw and did."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from perpdesk.adapters.sqlstore.keyed import put
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema import VERSIONS
from perpdesk.adapters.sqlstore.schema_score import BIG4_REGIME, SCORE_SIGNALS
from perpdesk.adapters.sqlstore.session import Session, savepoint
from perpdesk.domain.signal_books import Big4Regime, ScoreSignal


class Score(Session):
    """Signals by bar, and the regime by its 15-minute close."""

    async def record_signals(self, signals: Sequence[ScoreSignal]) -> int:
        """Write signals; an attempt at a bar that was attempted already is heard twice and changes nothing.
        Returns how many were new."""
        new = 0
        async with self._writing() as connection:
            for one in signals:
                values = checked(SCORE_SIGNALS, one)
                if not one.attempted:
                    await connection.execute(SCORE_SIGNALS.insert(), values)
                    new += 1
                    continue
                try:
                    async with savepoint(connection):
                        await connection.execute(SCORE_SIGNALS.insert(), values)
                    new += 1
                except IntegrityError:
                    if not await connection.scalar(_same_bar(one)):
                        raise
        return new

    async def score_signals(
        self,
        account_id: int,
        version: str | None = None,
        symbol: str | None = None,
        from_ms: int | None = None,
        until_ms: int | None = None,
    ) -> list[ScoreSignal]:
        """Signals created within [from_ms, until_ms), oldest first."""
        table = SCORE_SIGNALS.c
        select = sa.select(SCORE_SIGNALS).where(table.account_id == account_id).order_by(table.id)
        if version is not None:
            select = select.where(table.version == version)
        if symbol is not None:
            select = select.where(table.symbol == symbol)
        if from_ms is not None:
            select = select.where(table.created_ms >= from_ms)
        if until_ms is not None:
            select = select.where(table.created_ms < until_ms)
        async with self._reading() as connection:
            return [typed(ScoreSignal, row) for row in await connection.execute(select)]

    async def refusals(self, account_id: int, version: str, from_ms: int, until_ms: int) -> dict[str, int]:
        """How often a version was refused, by reason."""
        table = SCORE_SIGNALS.c
        select = (
            sa.select(table.reason, sa.func.count())
            .where(table.account_id == account_id, table.version == version, table.act == "NONE")
            .where(table.created_ms >= from_ms, table.created_ms < until_ms)
            .group_by(table.reason)
        )
        async with self._reading() as connection:
            return {str(reason): int(count) for reason, count in await connection.execute(select)}

    async def save_regime(self, regime: Big4Regime) -> None:
        """Write the regime of a 15-minute close; the newest word holds."""
        key = {"account_id": regime.account_id, "bar_close_ms": regime.bar_close_ms}
        values = {
            "direction": regime.direction,
            "strength": regime.strength,
            "coins": regime.coins,
        }
        async with self._writing() as connection:
            await put(connection, BIG4_REGIME, key, values, {})

    async def regimes(self, account_id: int, from_ms: int, until_ms: int) -> list[Big4Regime]:
        """Regimes of closes within [from_ms, until_ms), oldest first."""
        table = BIG4_REGIME.c
        select = (
            sa.select(BIG4_REGIME)
            .where(table.account_id == account_id)
            .where(table.bar_close_ms >= from_ms, table.bar_close_ms < until_ms)
            .order_by(table.bar_close_ms)
        )
        async with self._reading() as connection:
            return [typed(Big4Regime, row) for row in await connection.execute(select)]

    async def version_names(self) -> list[str]:
        """Every version that ever ran on this database."""
        async with self._reading() as connection:
            return list(
                (await connection.scalars(sa.select(VERSIONS.c.name).order_by(VERSIONS.c.name))).all()
            )


def _same_bar(one: ScoreSignal) -> sa.Select[tuple[int]]:
    table = SCORE_SIGNALS.c
    return (
        sa.select(table.id)
        .where(table.account_id == one.account_id, table.version == one.version, table.symbol == one.symbol)
        .where(table.side == one.side.value, table.bar_open_ms == one.bar_open_ms, table.attempted)
    )
