"""The real store on a real SQLite file, inside the loop.

SQLAlchemy's aiosqlite dialect talks to a driver that is a thread; ``Driver`` has the same interface and does
each statement at once, with an await before it (and one more after a commit), so that deaths and other tasks
can come in between. A lock that somebody else holds is waited for in virtual time.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import types
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_dbapi

from perpdesk.adapters.sqlstore import connect, upgrade
from perpdesk.simulation.loop import Incarnation, Loop
from perpdesk.simulation.trace import Trace

_BUSY_MS, _BUSY_STEP_MS = 10_000, 5
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
_NOT_NOTED = "PRAGMA"


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let others run."""
    yield


@dataclass
class DatabaseFaults:
    """How often (ppm of statements) a database fails, and how. ``fired`` counts by catalogue name."""

    error_ppm: int = 0
    after_commit_ppm: int = 0
    busy_ppm: int = 0
    slow_ppm: int = 0
    down: bool = False
    fired: Counter[str] = field(default_factory=Counter)

    def stop(self) -> None:
        """The database is well again."""
        self.error_ppm = self.after_commit_ppm = self.busy_ppm = self.slow_ppm = 0
        self.down = False


class DatabaseFile:
    """One SQLite file of one simulation, a copy of a prepared one."""

    def __init__(self, loop: Loop, trace: Trace, path: Path, seed: int) -> None:
        self.loop, self.trace, self.path = loop, trace, path
        self.random = random.Random(f"database {seed}")
        self.faults = DatabaseFaults()
        self.commits = 0
        self.statements = 0
        self._reader: sqlite3.Connection | None = None
        self.on_commit: Callable[[], None] | None = None

    @property
    def url(self) -> str:
        """As a store opens it."""
        return f"sqlite:///{self.path}"

    def driver(self, incarnation: Incarnation) -> AsyncAdapt_aiosqlite_dbapi:
        """What SQLAlchemy drives the database with, in one life of a process."""
        driver = Driver(self)
        incarnation.on_death.append(driver.die)
        return AsyncAdapt_aiosqlite_dbapi(driver, sqlite3)  # type: ignore[arg-type]

    def read(self, sql: str, *values: object) -> list[Any]:
        """What a bystander reads in the file (committed rows only)."""
        if self._reader is None:
            self._reader = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)
            self._reader.row_factory = sqlite3.Row
        return self._reader.execute(sql, values).fetchall()

    async def write(self, sql: str, *values: object) -> None:
        """What a person writes into the file, waiting for its lock."""
        while True:
            connection = sqlite3.connect(self.path, timeout=0)
            try:
                connection.execute(sql, values)
                connection.commit()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
            finally:
                connection.close()
            await self.loop.pause(_BUSY_STEP_MS)

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()


class Driver:
    """aiosqlite's interface. Everything that it opens dies with its process."""

    DatabaseError = sqlite3.DatabaseError
    Error = sqlite3.Error
    IntegrityError = sqlite3.IntegrityError
    NotSupportedError = sqlite3.NotSupportedError
    OperationalError = sqlite3.OperationalError
    ProgrammingError = sqlite3.ProgrammingError
    sqlite_version = sqlite3.sqlite_version
    sqlite_version_info = sqlite3.sqlite_version_info
    __version__ = "0.22.1"

    def __init__(self, file: DatabaseFile) -> None:
        self.file = file
        self.Connection = Connection
        self.open: list[Connection] = []

    def connect(self, database: str, **options: Any) -> Connection:
        """A connection, open once it is awaited."""
        options |= {"timeout": 0, "check_same_thread": False}
        return Connection(self, database, options)

    def die(self) -> None:
        """The process is gone: what was not committed never was."""
        for connection in self.open:
            connection.drop()
        self.open.clear()


class _Mail:
    """aiosqlite's queue to its thread, as far as SQLAlchemy uses it."""

    def put_nowait(self, item: tuple[Any, Callable[[], Any]]) -> None:
        future, work = item
        future.set_result(work())


class Connection:
    """One connection. An instance is awaited to open it."""

    def __init__(self, driver: Driver, database: str, options: dict[str, Any]) -> None:
        self.driver, self.file = driver, driver.file
        self._database, self._options = database, options
        self._conn: sqlite3.Connection | None = None
        self._thread = types.SimpleNamespace(daemon=True)
        self._tx = _Mail()
        self._written: list[tuple[str, Any]] = []

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self._open().__await__()

    async def _open(self) -> Connection:
        await turn()
        self._fail_if_down()
        self._conn = sqlite3.connect(self._database, **self._options)
        self.driver.open.append(self)
        return self

    @property
    def _connection(self) -> sqlite3.Connection | None:
        return self._conn

    @property
    def isolation_level(self) -> str | None:
        """None: transactions are the caller's."""
        return self.real.isolation_level

    @property
    def real(self) -> sqlite3.Connection:
        """The open connection. Raises as aiosqlite does if there is none."""
        if self._conn is None:
            raise ValueError("no active connection")
        return self._conn

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self)

    async def execute(self, sql: str, values: Any = None, *, many: bool = False) -> sqlite3.Cursor:
        """One statement, after others had their turn. Raises what SQLite raises, or what a fault says."""
        file = self.file
        file.statements += 1
        await turn()
        word = sql.lstrip()[:6].upper()
        if word != _NOT_NOTED:
            await self._strike()
        waited_ms = 0
        while True:
            try:
                cursor = self.real.cursor()
                if many:
                    cursor.executemany(sql, values)
                else:
                    cursor.execute(sql, () if values is None else values)
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or waited_ms >= _BUSY_MS:
                    raise
            waited_ms += _BUSY_STEP_MS
            await file.loop.pause(_BUSY_STEP_MS)
        if word in _WRITES:
            self._written.append((sql, values))
        return cursor

    async def commit(self) -> None:
        """Commit, with an await before and after it."""
        file = self.file
        await turn()
        faults = file.faults
        self._fail_if_down()
        if self._written and faults.error_ppm and file.random.randrange(1_000_000) < faults.error_ppm:
            faults.fired["DB-01 error before commit"] += 1
            raise sqlite3.OperationalError("disk I/O error")
        waited_ms = 0
        while True:
            try:
                self.real.commit()
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or waited_ms >= _BUSY_MS:
                    raise
            waited_ms += _BUSY_STEP_MS
            await file.loop.pause(_BUSY_STEP_MS)
        written, self._written = self._written, []
        if written:
            file.commits += 1
            file.trace.say("commit", str(len(written)), repr(written).encode())
            if file.on_commit is not None:
                file.on_commit()
        await turn()
        if written and faults.after_commit_ppm and file.random.randrange(1_000_000) < faults.after_commit_ppm:
            faults.fired["DB-02 commit outcome unknown"] += 1
            raise sqlite3.OperationalError("disk I/O error")

    async def create_function(self, *words: Any, **options: Any) -> None:
        """SQLAlchemy adds its regexp."""
        self.real.create_function(*words, **options)

    async def rollback(self) -> None:
        """Undo what was not committed."""
        self._written = []
        if self._conn is not None:
            self._conn.rollback()

    async def close(self) -> None:
        """Close. Twice is fine."""
        self.drop()

    def stop(self) -> None:
        """Close without waiting."""
        self.drop()

    def drop(self) -> None:
        """End it, with its transaction: a statement that a dead task still holds would keep a closed
        connection's lock."""
        self._written = []
        if self._conn is not None:
            if self._conn.in_transaction:
                self._conn.rollback()
            self._conn.close()
            self._conn = None

    def _fail_if_down(self) -> None:
        if self.file.faults.down:
            self.file.faults.fired["DB-01 down"] += 1
            raise sqlite3.OperationalError("unable to open database file")

    async def _strike(self) -> None:
        file, faults = self.file, self.file.faults
        self._fail_if_down()
        if not (faults.error_ppm or faults.busy_ppm or faults.slow_ppm):
            return
        draw = file.random.randrange(1_000_000)
        if draw < faults.error_ppm:
            faults.fired["DB-01 statement fails"] += 1
            raise sqlite3.OperationalError("disk I/O error")
        draw -= faults.error_ppm
        if draw < faults.busy_ppm:
            faults.fired["DB-04 locked"] += 1
            raise sqlite3.OperationalError("database is locked")
        if draw - faults.busy_ppm < faults.slow_ppm:
            faults.fired["DB-10 slow"] += 1
            await file.loop.pause(file.random.choice((20, 200, 2_000)))


class Cursor:
    """aiosqlite's cursor."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: sqlite3.Cursor | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Cursor:
        return self

    async def execute(self, sql: str, values: Any = None) -> Cursor:
        """Execute one statement."""
        self._cursor = await self._connection.execute(sql, values)
        return self

    async def executemany(self, sql: str, values: Any) -> Cursor:
        """Execute it for each row of values."""
        self._cursor = await self._connection.execute(sql, values, many=True)
        return self

    async def fetchall(self) -> list[Any]:
        """All rows."""
        return [] if self._cursor is None else self._cursor.fetchall()

    async def fetchone(self) -> Any:
        """The next row."""
        return None if self._cursor is None else self._cursor.fetchone()

    @property
    def description(self) -> Any:
        """Columns of the answer."""
        return None if self._cursor is None else self._cursor.description

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        return -1 if self._cursor is None else self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """The id of the last inserted row."""
        return None if self._cursor is None else self._cursor.lastrowid

    async def close(self) -> None:
        """Let go of the rows."""
        if self._cursor is not None:
            self._cursor.close()


class Files:
    """A folder of database files, one per simulation, copied from one that was upgraded once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"
        self._next = 0
        upgrade(f"sqlite:///{self._template}")
        self._fold(self._template)

    @staticmethod
    def _fold(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    @contextmanager
    def one(self, loop: Loop, trace: Trace, seed: int) -> Iterator[DatabaseFile]:
        """A fresh database; its file is removed afterwards."""
        self._next += 1
        path = self._folder / f"{self._next}.db"
        shutil.copyfile(self._template, path)
        file = DatabaseFile(loop, trace, path, seed)
        try:
            yield file
        finally:
            file.close()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def files() -> Iterator[Files]:
    """A folder in memory where there is one."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="perpdesk-simulate-", dir=memory if memory.is_dir() else None) as folder:
        yield Files(Path(folder))


def drive(file: DatabaseFile, incarnation: Incarnation) -> None:
    """From here on (in this context) SQLite stores are driven by the simulation."""
    connect.DRIVER.set(file.driver(incarnation))
