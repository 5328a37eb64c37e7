"""Engines with the settings that the books rely on, for each database."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from perpdesk.adapters.sqlstore import urls
from perpdesk.adapters.sqlstore.types import canonical_json

_BUSY_TIMEOUT_S = 10
_CONNECTIONS = 8
_POOL_TIMEOUT_S = 60
# The execution option that says whether a commit must survive a power cut (SQLite only).
DURABLE = "perpdesk_durable"
# What drives SQLite instead of aiosqlite and its thread (the simulation: everything in one loop).
DRIVER: ContextVar[Any] = ContextVar("perpdesk_sqlite_driver", default=None)


def writer(url: sa.URL, *, create: bool = False) -> AsyncEngine:
    """The engine that writes. On SQLite it has one connection, so writers queue up instead of colliding.

    Only ``create`` makes a SQLite file that is not there.
    """
    if url.drivername.startswith("sqlite"):
        return _sqlite(url, mode="rwc" if create else "rw")
    return _server(url)


def reader(url: sa.URL) -> AsyncEngine:
    """An engine for reading a SQLite file beside its writer."""
    return _sqlite(url, mode="ro")


async def prepare(connection: AsyncConnection) -> tuple[str, ...]:
    """Settings of the database itself that the books want. Returns a warning for each that it refuses."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        mode = await connection.run_sync(_write_ahead_log)
        if mode not in ("wal", "memory"):
            return (f"SQLite's journal mode is {mode}, not WAL: readers and the writer wait for each other",)
    elif dialect != "postgresql":
        flush = await connection.scalar(sa.text("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit"))
        await connection.rollback()
        if int(flush or 0) != 1:
            return (
                f"innodb_flush_log_at_trx_commit is {flush}, not 1: a power cut of the server can lose an "
                "intent whose order was already sent",
            )
    else:
        fsync = await connection.scalar(sa.text("SHOW fsync"))
        await connection.rollback()
        if fsync != "on":
            return ("the server's fsync is off: a power cut can lose an intent whose order was already sent",)
    return ()


def _write_ahead_log(connection: sa.Connection) -> str:
    # On the driver's own connection: SQLAlchemy would begin a transaction, and in one the mode cannot change.
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    row = cursor.fetchone()
    cursor.close()
    return "unknown" if row is None else str(row[0])


def _common() -> dict[str, Any]:
    # Parameters stay out of error texts, and JSON has one form.
    return {"hide_parameters": True, "json_serializer": canonical_json}


def _server(url: sa.URL) -> AsyncEngine:
    options: dict[str, Any] = {"pool_size": _CONNECTIONS, "max_overflow": 0, "pool_timeout": _POOL_TIMEOUT_S}
    options |= {"pool_pre_ping": True, **_common()}
    # Each statement sees what others have committed: a decision is never made on an old picture.
    options["isolation_level"] = "READ COMMITTED"
    if url.drivername.startswith("postgresql"):
        settings = {"timezone": "UTC", "synchronous_commit": "on", "application_name": "perpdesk"}
        options["connect_args"] = {"server_settings": settings}
    else:
        strict = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"
        options["connect_args"] = {"init_command": strict, "charset": "utf8mb4"}
    engine = create_async_engine(url, **options)

    @event.listens_for(engine.sync_engine, "do_connect")
    def dial(dialect: sa.Dialect, record: Any, arguments: Any, parameters: Any) -> Any:
        try:
            return dialect.connect(*arguments, **parameters)
        except (TypeError, ValueError, OverflowError) as error:  # of a port or option that it does not take
            raise ConnectionError(f"the driver refuses the URL's options: {error}") from None

    return engine


def _sqlite(url: sa.URL, *, mode: str) -> AsyncEngine:
    read_only = mode == "ro"
    options: dict[str, Any] = _common()
    options |= {"poolclass": sa.AsyncAdaptedQueuePool, "max_overflow": 0, "pool_timeout": _POOL_TIMEOUT_S}
    options["pool_size"] = _CONNECTIONS if read_only else 1
    if not urls.is_memory(url):
        path = Path(str(url.database)).absolute().as_uri()
        query = {"timeout": str(_BUSY_TIMEOUT_S), **url.query, "mode": mode, "uri": "true"}
        url = url.set(database=path, query=query)
    if DRIVER.get() is not None:
        options["module"] = DRIVER.get()
    engine = create_async_engine(url, **options)
    sync = engine.sync_engine

    @event.listens_for(sync, "connect")
    def set_up(connection: Any, record: Any) -> None:
        # Transactions are ours (see begin), not the driver's.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(sync, "begin")
    def begin(connection: sa.Connection) -> None:
        if read_only:
            connection.exec_driver_sql("BEGIN")
            return
        level = "FULL" if connection.get_execution_options().get(DURABLE, True) else "NORMAL"
        if connection.info.get("synchronous") != level:
            connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
            connection.info["synchronous"] = level
        # Takes the write lock now: a reader that became a writer half way could not be made to wait.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
