"""``oi_snapshots_YYYYMMDD``: one table per UTC day of receipt, made before the day, dropped when old.

Making and dropping tables is not part of any unit of work: MariaDB would commit the unit half way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable, DropTable

from perpdesk.adapters.sqlstore.journal import append
from perpdesk.adapters.sqlstore.keyed import add
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema_signals import OI_DAY_PREFIX, oi_day_table
from perpdesk.adapters.sqlstore.session import Session, savepoint
from perpdesk.domain.books import JournalEntry
from perpdesk.domain.days import utc_day
from perpdesk.domain.errors import InputError
from perpdesk.domain.signal_books import OiSnapshot

RETENTION_DAYS = 20
_NAME = re.compile(rf"{OI_DAY_PREFIX}(\d{{8}})")


class OiSnapshots(Session):
    """What is in the daily tables."""

    async def oi_days(self) -> list[str]:
        """The days that have a table, oldest first."""
        async with self._reading() as connection:
            return await _days(connection)

    async def record_oi(self, snapshots: Sequence[OiSnapshot]) -> int:
        """Write snapshots, each into the table of the day of its receipt, once per (symbol, time). Returns
        how many were new. Raises InputError if a day has no table yet."""
        days: dict[str, list[OiSnapshot]] = {}
        for snapshot in snapshots:
            days.setdefault(utc_day(snapshot.received_ms), []).append(snapshot)
        new = 0
        async with self._writing() as connection:
            there = set(await _days(connection))
            for day, rows in days.items():
                if day not in there:
                    raise InputError("has no table: create_oi_day comes first", field=OI_DAY_PREFIX + day)
                new += await _add_rows(connection, oi_day_table(day), rows)
        return new

    async def oi_snapshots(self, from_ms: int, until_ms: int, symbol: str | None = None) -> list[OiSnapshot]:
        """Snapshots received within [from_ms, until_ms), in order of time; days without a table have none."""
        found: list[OiSnapshot] = []
        async with self._reading() as connection:
            for day in await _days(connection):
                if not utc_day(from_ms) <= day <= utc_day(max(from_ms, until_ms - 1)):
                    continue
                table = oi_day_table(day)
                select = sa.select(table).where(
                    table.c.received_ms >= from_ms, table.c.received_ms < until_ms
                )
                if symbol is not None:
                    select = select.where(table.c.symbol == symbol)
                rows = await connection.execute(select.order_by(table.c.received_ms, table.c.symbol))
                found += [typed(OiSnapshot, row) for row in rows]
        return found


class OiDays(OiSnapshots):
    """Making and dropping the tables: a matter of the store, not of a unit."""

    async def create_oi_day(self, day: str) -> bool:
        """Make the table of a day. False: it is there."""
        table = oi_day_table(_checked_day(day))
        async with self._writing(durable=True) as connection:
            if day in await _days(connection):
                return False
            await connection.execute(CreateTable(table, if_not_exists=True))
        return True

    async def drop_old_oi_days(self, today: str, ms: int, keep_days: int = RETENTION_DAYS) -> list[str]:
        """Drop the tables of days before the last ``keep_days`` (today is one of them), one journal entry
        each. Returns the dropped days."""
        if keep_days < 1:
            raise InputError(f"must be at least 1, was {keep_days}", field="snapshot_retention_days")
        last = datetime.strptime(_checked_day(today), "%Y%m%d").replace(tzinfo=UTC)
        first_kept = (last - timedelta(days=keep_days - 1)).strftime("%Y%m%d")
        old = [day for day in await self.oi_days() if day < first_kept]
        for day in old:
            async with self._writing(durable=True) as connection:
                entry = JournalEntry(ms=ms, kind="oi_day_dropped", payload={"table": OI_DAY_PREFIX + day})
                await append(connection, [entry])
                await connection.execute(DropTable(oi_day_table(day), if_exists=True))
        return old


async def _add_rows(connection: AsyncConnection, table: sa.Table, rows: Sequence[OiSnapshot]) -> int:
    """Insert the rows whose (symbol, time) is new, in one statement; of a pair given twice the first."""
    times = [row.received_ms for row in rows]
    select = sa.select(table.c.symbol, table.c.received_ms).where(
        table.c.received_ms >= min(times), table.c.received_ms <= max(times)
    )
    known = {(row.symbol, row.received_ms) for row in await connection.execute(select)}
    fresh: dict[tuple[str, int], OiSnapshot] = {}
    for row in rows:
        if (row.symbol, row.received_ms) not in known:
            fresh.setdefault((row.symbol, row.received_ms), row)
    if not fresh:
        return 0
    try:
        async with savepoint(connection):
            await connection.execute(table.insert(), [checked(table, row) for row in fresh.values()])
    except IntegrityError:  # somebody else has written one of them meanwhile
        return sum(
            [
                await add(connection, table, {"symbol": symbol, "received_ms": ms}, checked(table, row))
                for (symbol, ms), row in fresh.items()
            ]
        )
    return len(fresh)


async def _days(connection: AsyncConnection) -> list[str]:
    names = await connection.run_sync(lambda inner: sa.inspect(inner).get_table_names())
    return sorted(found[1] for found in map(_NAME.fullmatch, names) if found is not None)


def _checked_day(day: str) -> str:
    try:
        written = datetime.strptime(day, "%Y%m%d").strftime("%Y%m%d")
    except ValueError:
        written = ""
    if written != day:
        raise InputError(f"must be a UTC day such as 20260524, was {day!r}", field="oi_snapshots")
    return day
