"""Rows with a key of their own: found by it, and written so that the newest word holds."""

from __future__ import annotations

from collections.abc import Mapping
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


async def find(
    connection: AsyncConnection, table: sa.Table, key: Key, *, lock: bool = False
) -> sa.Row[Any] | None:
    """The row with this key, locked against other writers until the transaction ends if asked."""
    select = sa.select(table).where(*matches(table, key))
    return (await connection.execute(select.with_for_update() if lock else select)).one_or_none()


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
    update = table.update().where(*matches(table, key)).values({name: row[name] for name in values})
    if (await connection.execute(update)).rowcount == 0:
        try:
            async with savepoint(connection):
                await connection.execute(table.insert(), row)
        except IntegrityError:
            # Another writer inserted it in between.
            if (await connection.execute(update)).rowcount == 0:
                raise
