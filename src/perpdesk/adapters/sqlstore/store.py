"""The store: opens a database that is ready, reads from it, and hands out units of work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from perpdesk.adapters.sqlstore import check, connect, faults, journal, migrate, urls
from perpdesk.adapters.sqlstore.migrations import HEAD
from perpdesk.adapters.sqlstore.oi_days import OiDays
from perpdesk.adapters.sqlstore.unit import SqlBooks, SqlUnit, open_unit
from perpdesk.domain.books import JournalCheck
from perpdesk.domain.errors import DatabaseNotMigrated, InternalError


class SqlStore(SqlBooks, OiDays):
    """The books in one database. A method called on the store is a unit of its own.

    ``warnings`` says what about the server weakens its promises.
    """

    def __init__(self, url: sa.URL, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._url = url
        self._writer = writer
        self._reader = reader
        self._in_unit: set[asyncio.Task[Any] | None] = set()
        self.warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SqlStore({urls.shown(self._url)})"

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open a database that ``upgrade`` has made (``sqlite://`` in memory: a new one).

        Raises DatabaseNotMigrated (nothing is created), SchemaIncomplete if a constraint is missing, and
        InputError if the database cannot be reached.
        """
        parsed = urls.parse(url)
        memory = urls.is_memory(parsed)
        is_file = parsed.drivername.startswith("sqlite") and not memory
        if is_file and not Path(str(parsed.database)).is_file():
            raise DatabaseNotMigrated(urls.shown(parsed), found=None, wanted=HEAD)
        writer = connect.writer(parsed)
        store = cls(parsed, writer, connect.reader(parsed) if is_file else writer)
        try:
            await store._make_ready(memory)
        except faults.DRIVER_ERRORS as error:
            await store.close()
            raise faults.at_start(error, parsed) from error
        except BaseException:
            await store.close()
            raise
        return store

    async def _make_ready(self, memory: bool) -> None:
        if memory:
            async with self._writer.connect() as connection, connection.begin():
                await connection.run_sync(migrate.run, self._url)
        async with self._reader.connect() as connection:
            await connection.run_sync(check.check_revision, urls.shown(self._url))
            await connection.run_sync(check.check_schema)
        async with self._writer.connect() as connection:
            self.warnings = await connect.prepare(connection)

    async def close(self) -> None:
        """Close all connections. Closing twice is fine."""
        if self._reader is not self._writer:
            await self._reader.dispose()
        # Last, so that SQLite's write-ahead log is folded into the file and removed.
        await self._writer.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def unit(self, *, durable: bool = True) -> AsyncIterator[SqlUnit]:
        """A unit of work: its writes are committed together when the block ends."""
        task = asyncio.current_task()
        if task in self._in_unit:
            raise InternalError("inside a unit, call the unit's methods, not the store's")
        self._in_unit.add(task)
        try:
            async with open_unit(self._writer, self._url, durable=durable) as unit:
                yield unit
        finally:
            self._in_unit.discard(task)

    async def verify_journal(self) -> JournalCheck:
        """Check the seals of the whole journal, in constant memory, while others go on writing."""
        async with self._reading(snapshot=True) as connection:
            return await journal.verify(connection)

    @asynccontextmanager
    async def _writing(self, *, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        async with self.unit(durable=durable) as unit, unit._writing(durable=durable) as connection:
            yield connection

    @asynccontextmanager
    async def _reading(self, *, snapshot: bool = False) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._reader.connect() as connection:
                if snapshot and connection.dialect.name != "sqlite":  # there, every read is one
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection
        except faults.DRIVER_ERRORS as error:
            raise faults.translated(error, self._url) from error
