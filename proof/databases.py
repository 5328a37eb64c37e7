"""A database of one proof's own: a SQLite file, or one that is made on a server and dropped afterwards."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

SERVERS = {
    "postgresql": "postgresql://postgres@127.0.0.1:5432/test",
    "mariadb": "mysql://root@127.0.0.1:3306/test",
}
_DRIVERS = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+aiomysql"}
KINDS = ("sqlite", *SERVERS)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """Its URL while the block runs. PERPDESK_TEST_POSTGRESQL and _MARIADB name other servers."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'desk.sqlite'}"
        return
    base = sa.make_url(os.environ.get(f"PERPDESK_TEST_{kind.upper()}", SERVERS[kind]))
    name = f"perpdesk_proof_{os.getpid()}_{secrets.token_hex(4)}"
    asyncio.run(_execute(base, f"CREATE DATABASE {name}"))
    try:
        yield base.set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        asyncio.run(_execute(base, f"DROP DATABASE {name}{force}"))


async def _execute(base: sa.URL, statement: str) -> None:
    driver = _DRIVERS[base.drivername.partition("+")[0].replace("mariadb", "mysql")]
    engine = create_async_engine(base.set(drivername=driver), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()
