"""What every group of rows needs: a connection to write on, and one to read on.

A method of the store is a transaction of its own; the same method of a unit is part of the unit's. The
groups (``positions``, ``intents`` …) are written once, against this class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.domain.errors import InternalError


class Session(ABC):
    """Where reads and writes go."""

    @abstractmethod
    def _writing(self, *, durable: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection inside a transaction. ``durable``: its commit must survive a power cut."""

    @abstractmethod
    def _reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees one consistent picture of what is committed (or written by this unit)."""


def new_id(added: sa.CursorResult[Any]) -> int:
    """The id that the database gave to an inserted row."""
    key = added.inserted_primary_key
    if key is None:
        raise InternalError("the database gave no id to an inserted row")
    return int(key[0])


def savepoint(connection: AsyncConnection) -> AbstractAsyncContextManager[Any]:
    """Around one statement that may be refused: after a refusal the transaction goes on.

    Only PostgreSQL needs it; SQLite and MariaDB undo a refused statement by themselves.
    """
    return connection.begin_nested() if connection.dialect.name == "postgresql" else nullcontext()
