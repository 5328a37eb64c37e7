"""The store: opens a database that is ready, and hands out units of work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from perpdesk.adapters.sqlstore import check, connect, faults, migrate, urls
from perpdesk.adapters.sqlstore.control import Control
from perpdesk.adapters.sqlstore.intents import Intents
from perpdesk.adapters.sqlstore.journal import Journal
from perpdesk.adapters.sqlstore.orders import Orders
from perpdesk.adapters.sqlstore.positions import Positions
from perpdesk.adapters.sqlstore.reports import Reports
from perpdesk.adapters.sqlstore.runs import Runs
from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import InternalError, PerpdeskError


class SqlBooks(Positions, Intents, Orders, Runs, Control, Journal, Reports):
    """Everything that can be read and written: the methods of ``ports.Books``."""


class SqlUnit(SqlBooks):
    """One transaction. What is written here is there for others when the unit has ended, or not at all."""

    def __init__(self, connection: AsyncConnection, url: sa.URL, durable: bool) -> None:
        self._connection = connection
        self._url = url
        self._durable = durable
        self._turn = asyncio.Lock()
        self.failure: BaseException | None = None

    @asynccontextmanager
    async def _writing(self, *, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        if durable and not self._durable:
            raise InternalError("an intent must survive a power cut: write it in a durable unit")
        async with self._turn:
            if self.failure is not None:
                raise StoreFailed("the unit has failed already: leave it, nothing of it will be written")
            try:
                yield self._connection
            except PerpdeskError:
                raise  # refused by a rule: what was written before it still stands
            except faults.DRIVER_ERRORS as error:
                translated = faults.translated(error, self._url)
                if not isinstance(error, sa.exc.IntegrityError) or self._connection.dialect.name == "postgresql":
                    self.failure = error
                raise translated from error
            except BaseException as error:
                self.failure = error
                raise

    def _reading(self):  # type: ignore[no-untyped-def]
        return self._writing()
