"""`perpdesk db upgrade`: bring a database to this version's tables, creating it if it is a SQLite file."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from perpdesk.adapters.sqlstore import check, connect, faults, urls
from perpdesk.adapters.sqlstore.migrations import HEAD
from perpdesk.domain.errors import InputError

_FOLDER = Path(__file__).parent / "migrations"
_LOCK_NUMBER = 0x70657270
_LOCK_WAIT_S = 60
# Alembic keeps its context in module globals: one upgrade at a time in a process.
_one_at_a_time = threading.Lock()


def upgrade(url: str) -> str:
    """Bring the database at ``url`` to the newest revision and return it. Doing it again changes nothing.

    Blocks until it is done; may be called with or without a running event loop (it uses a thread of its
    own). Needs no network besides the database. Raises InputError if the database cannot be reached or is
    of a newer perpdesk, SchemaIncomplete if tables of the same name stood in the way.
    """
    parsed = urls.parse(url)
    if urls.is_memory(parsed):
        raise InputError("a database in memory is new whenever it is opened: give a file", field="--database")
    if parsed.drivername.startswith("sqlite") and not Path(str(parsed.database)).absolute().parent.is_dir():
        raise InputError(f"the folder of {parsed.database} does not exist: create it", field="--database")
    with ThreadPoolExecutor(1, "perpdesk-db-upgrade") as thread:
        thread.submit(_upgrade, parsed).result()
    return HEAD


def _upgrade(url: sa.URL) -> None:
    with _one_at_a_time:
        try:
            asyncio.run(_connected(url))
        except faults.DRIVER_ERRORS as error:
            raise faults.at_start(error, url) from error


async def _connected(url: sa.URL) -> None:
    engine = connect.writer(url, create=True)
    try:
        async with engine.connect() as connection:
            await connect.prepare(connection)
            async with connection.begin():
                await connection.run_sync(run, url)
    finally:
        await engine.dispose()


def run(connection: sa.Connection, url: sa.URL, revision: str = "head") -> None:
    """Upgrade in this connection's transaction, alone: other processes that want to wait. An earlier
    ``revision`` than the newest is for tests of the way there."""
    _lock(connection)
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    _refuse_unknown(ScriptDirectory.from_config(config), check.revision_of(connection), url)
    command.upgrade(config, revision)
    if revision == "head":
        check.check_schema(connection)


def _lock(connection: sa.Connection) -> None:
    # SQLite's write lock is taken by BEGIN IMMEDIATE. MariaDB's lock ends with the connection.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_NUMBER})
    elif connection.dialect.name != "sqlite":
        wait = {"name": "perpdesk_db_upgrade", "wait": _LOCK_WAIT_S}
        if connection.scalar(sa.text("SELECT GET_LOCK(:name, :wait)"), wait) != 1:
            raise InputError("is being upgraded by another process: try again later", field="--database")


def _refuse_unknown(scripts: ScriptDirectory, found: str | None, url: sa.URL) -> None:
    if found is None:
        return
    try:
        scripts.get_revision(found)
    except CommandError:
        raise InputError(
            f"{urls.shown(url)} has revision {found}, which this version does not know: a newer perpdesk "
            "(or another program) wrote it. Use that one, or give another database",
            field="--database",
        ) from None
