"""The three databases that the store's contract is tested on, each thrown away afterwards.

PostgreSQL and MariaDB are looked for where PERPDESK_TEST_POSTGRESQL and PERPDESK_TEST_MARIADB say, else on
this machine at the usual ports. What does not answer is skipped; with PERPDESK_REQUIRE_SERVICES=1 it fails.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.adapters.sqlstore.schema import METADATA

SERVERS = {
    "postgresql": "postgresql://postgres@127.0.0.1:5432/test",
    "mariadb": "mysql://root@127.0.0.1:3306/test",
}
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mysql": "mysql+aiomysql"}
KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.services),
    pytest.param("mariadb", marks=pytest.mark.services),
]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Database:
    """A database of a kind: sqlite, postgresql or mariadb."""

    kind: str
    url: str

    def execute(self, *statements: str) -> list[Any]:
        """Run statements behind the store's back, each committed; returns the rows of the last one."""
        return run_apart(_execute(self.url, statements))


def run_apart(work: Coroutine[Any, Any, Result]) -> Result:
    """Await it in a loop of its own, whatever loop is running here."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _execute(url: str, statements: tuple[str, ...]) -> list[Any]:
    parsed = sa.make_url(url)
    engine = create_async_engine(
        parsed.set(drivername=DRIVERS[parsed.drivername]), isolation_level="AUTOCOMMIT"
    )
    rows: list[Any] = []
    try:
        async with engine.connect() as connection:
            for statement in statements:
                found = await connection.exec_driver_sql(statement)
                rows = [tuple(row) for row in found] if found.returns_rows else []
    finally:
        await engine.dispose()
    return rows


@contextmanager
def _server_database(kind: str) -> Iterator[Database]:
    base = sa.make_url(os.environ.get(f"PERPDESK_TEST_{kind.upper()}", SERVERS[kind]))
    server = Database(kind, base.render_as_string(hide_password=False))
    name = f"perpdesk_test_{os.getpid()}_{secrets.token_hex(4)}"
    try:
        server.execute(f"CREATE DATABASE {name}")
    except (OSError, sa.exc.DBAPIError) as error:
        problem = f"{kind} does not answer at {base.render_as_string(hide_password=True)}: {error}"
        if os.environ.get("PERPDESK_REQUIRE_SERVICES") == "1":
            pytest.fail(problem)
        pytest.skip(problem)
    try:
        yield Database(kind, base.set(database=name).render_as_string(hide_password=False))
    finally:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        server.execute(f"DROP DATABASE {name}{force}")


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[Database]:
    """A database without any tables (for SQLite: a file that does not exist yet)."""
    if kind == "sqlite":
        yield Database(kind, f"sqlite:///{folder / f'{secrets.token_hex(4)}.db'}")
        return
    with _server_database(kind) as database:
        yield database


@pytest.fixture(scope="session")
def upgraded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Database]]:
    """Upgraded databases by kind, one for all tests."""
    open_now: dict[str, tuple[Any, Database]] = {}

    def upgraded(kind: str) -> Database:
        if kind not in open_now:
            manager = empty_database(kind, tmp_path_factory.mktemp("store"))
            database = manager.__enter__()
            open_now[kind] = (manager, database)
            upgrade(database.url)
        return open_now[kind][1]

    yield upgraded
    for manager, _ in open_now.values():
        manager.__exit__(None, None, None)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that the test runs on."""
    return str(request.param)


@pytest.fixture
def database(kind: str, upgraded_once: Callable[[str], Database], tmp_path: Path) -> Database:
    """An upgraded database without rows."""
    shared = upgraded_once(kind)
    if kind == "sqlite":
        own = tmp_path / "books.db"
        shutil.copy(str(sa.make_url(shared.url).database), own)
        return Database(kind, f"sqlite:///{own}")
    tables = [table.name for table in reversed(METADATA.sorted_tables)]
    days = shared.execute(
        "SELECT table_name FROM information_schema.tables WHERE left(table_name, 13) = 'oi_snapshots_' "
        f"AND table_schema = {'current_schema()' if kind == 'postgresql' else 'database()'}"
    )
    shared.execute(
        *(f"DROP TABLE {name}" for (name,) in days),
        "BEGIN",
        *(f"DELETE FROM {table}" for table in tables),
        f"INSERT INTO journal_head (id, seq, hash) VALUES (1, 0, '{'0' * 64}')",
        "COMMIT",
    )
    return shared


@pytest.fixture
def untouched(kind: str, tmp_path: Path) -> Iterator[Database]:
    """A database of the test's own that was never upgraded."""
    with empty_database(kind, tmp_path) as database:
        yield database


@pytest_asyncio.fixture
async def store(database: Database) -> AsyncIterator[SqlStore]:
    """An open store without rows."""
    async with await SqlStore.open(database.url) as store:
        yield store
