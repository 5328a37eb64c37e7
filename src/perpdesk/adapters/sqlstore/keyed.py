"""Rows with a key of their own: found by it, and written so that the newest word holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.adapters.sqlstore.rows import checked
from perpdesk.adapters.sqlstore.session import savepoint

Key = Mapping[str, Any]


def matches(table: sa.Table, key: Key) -> list[sa.ColumnElement[bool]]:
    """The condition that a row has this key."""
    return [table.c[name] == value for name, value in key.items()]


def named(table: sa.Table, names: tuple[str, ...]) -> list[sa.ColumnElement[bool]]:
    """As ``matches``, for a statement that is made once: the values come with ``bound``."""
    return [table.c[name] == sa.bindparam(f"key_{name}") for name in names]


def bound(key: Key) -> dict[str, Any]:
    """The values that ``named`` leaves open."""
    return {f"key_{name}": value for name, value in key.items()}


# Statements of every second: SQLAlchemy takes longer to make one than the database to carry it out.
@cache
def _select(table: sa.Table, names: tuple[str, ...], lock: bool) -> sa.Select[Any]:
    select = sa.select(table).where(*named(table, names))
    return select.with_for_update() if lock else select


@cache
def _update(table: sa.Table, names: tuple[str, ...], changed: tuple[str, ...]) -> sa.Update:
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in changed}
    return table.update().where(*named(table, names)).values(values)


async def find(
    connection: AsyncConnection, table: sa.Table, key: Key, *, lock: bool = False
) -> sa.Row[Any] | None:
    """The row with this key, locked against other writers until the transaction ends if asked."""
    select = _select(table, tuple(key), lock)
    row: sa.Row[Any] | None = (await connection.execute(select, bound(key))).one_or_none()
    return row


async def amend(connection: AsyncConnection, table: sa.Table, key: Key, values: Mapping[str, Any]) -> int:
    """Write values into the row with this key. How many rows there were."""
    update = _update(table, tuple(key), tuple(values))
    given = {f"new_{name}": value for name, value in values.items()}
    return (await connection.execute(update, bound(key) | given)).rowcount


async def add(connection: AsyncConnection, table: sa.Table, key: Key, row: Mapping[str, Any]) -> bool:
    """Insert a row. False if its key is taken: then nothing was written, and the transaction goes on. What
    another constraint refuses is raised."""
    try:
        async with savepoint(connection):
            await connection.execute(table.insert(), row)
    except IntegrityError:
        if await find(connection, table, key) is None:
            raise
        return False
    return True


async def put(
    connection: AsyncConnection, table: sa.Table, key: Key, values: Mapping[str, Any], at_birth: Key
) -> None:
    """Update the row with this key, or insert it with ``at_birth`` as well."""
    row = checked(table, {**key, **values, **at_birth})
    new = {name: row[name] for name in values}
    if await amend(connection, table, key, new) == 0:
        try:
            async with savepoint(connection):
                await connection.execute(table.insert(), row)
        except IntegrityError:
            # Another writer inserted it in between.
            if await amend(connection, table, key, new) == 0:
                raise
