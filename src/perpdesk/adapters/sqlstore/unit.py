"""A unit of work: the writes of one step (or of one method), all of them or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from perpdesk.adapters.sqlstore import connect, faults
from perpdesk.adapters.sqlstore.accounts import Accounts
from perpdesk.adapters.sqlstore.breaker import Breaker
from perpdesk.adapters.sqlstore.control import Control
from perpdesk.adapters.sqlstore.grid import Grid
from perpdesk.adapters.sqlstore.intents import Intents
from perpdesk.adapters.sqlstore.journal import Journal
from perpdesk.adapters.sqlstore.oi_days import OiSnapshots
from perpdesk.adapters.sqlstore.orders import Orders
from perpdesk.adapters.sqlstore.ownership import Ownership
from perpdesk.adapters.sqlstore.positions import Positions
from perpdesk.adapters.sqlstore.reports import Reports
from perpdesk.adapters.sqlstore.runs import Runs
from perpdesk.adapters.sqlstore.score import Score
from perpdesk.adapters.sqlstore.signals import Signals
from perpdesk.adapters.sqlstore.volume import Volume
from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import InternalError, PerpdeskError


class SqlBooks(
    Positions,
    Intents,
    Orders,
    Runs,
    Control,
    Journal,
    Reports,
    Ownership,
    Accounts,
    Breaker,
    Signals,
    Score,
    OiSnapshots,
    Volume,
    Grid,
):
    """Everything that can be written and read: the methods of ``ports.StoreBooks``."""


class SqlUnit(SqlBooks):
    """One transaction.

    A refusal by a rule (PositionExists, StepRefused …) may be caught, and the unit goes on. After an error of
    the database, or a cancellation, it is lost: nothing more is written to it and its end raises.
    """

    def __init__(self, connection: AsyncConnection, url: sa.URL, *, durable: bool) -> None:
        self._connection = connection
        self._url = url
        self._durable = durable
        self._turn = asyncio.Lock()
        self.failure: BaseException | None = None

    @asynccontextmanager
    async def _writing(self, *, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        if durable and not self._durable:
            raise InternalError("what is written here must survive a power cut: use a durable unit")
        async with self._turn:
            if self.failure is not None:
                raise StoreFailed("the unit has failed already: leave it, nothing of it will be written")
            try:
                yield self._connection
            except PerpdeskError:
                raise
            except BaseException as error:
                self.failure = error
                if isinstance(error, faults.DRIVER_ERRORS):
                    raise faults.translated(error, self._url) from error
                raise

    def _reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._writing()


@asynccontextmanager
async def open_unit(engine: AsyncEngine, url: sa.URL, *, durable: bool) -> AsyncIterator[SqlUnit]:
    """A unit on a connection of its own: committed when its block ends, rolled back when that raises."""
    connection = await _begun(engine, url, durable)
    unit = SqlUnit(connection, url, durable=durable)
    try:
        yield unit
        if unit.failure is not None:
            raise StoreFailed("the unit failed and nothing of it was written") from unit.failure
    except BaseException:
        await _to_the_end(connection.close())  # rolls back
        raise
    try:
        await _to_the_end(_commit(connection))
    except faults.DRIVER_ERRORS as error:
        raise faults.translated(error, url) from error


async def _begun(engine: AsyncEngine, url: sa.URL, durable: bool) -> AsyncConnection:
    connection: AsyncConnection | None = None
    try:
        connection = await engine.connect()
        await connection.execution_options(**{connect.DURABLE: durable})
        await connection.begin()
    except BaseException as error:
        if connection is not None:
            await _to_the_end(connection.close())
        if isinstance(error, faults.DRIVER_ERRORS):
            raise faults.translated(error, url) from error
        raise
    return connection


async def _commit(connection: AsyncConnection) -> None:
    try:
        await connection.commit()
    finally:
        await connection.close()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it even if we are cancelled meanwhile: a commit cut in the middle is neither yes nor no."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.exception()
        raise
