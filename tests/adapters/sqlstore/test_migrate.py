"""`db upgrade`: makes what ``schema`` says, again and again, alone, and after any crash."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from tests.contract.store_databases import DRIVERS, Database, run_apart

from perpdesk.adapters.sqlstore import SqlStore, connect, migrate, upgrade, urls
from perpdesk.adapters.sqlstore.migrations import HEAD
from perpdesk.adapters.sqlstore.schema import METADATA, PARTIAL_UNIQUES
from perpdesk.domain.books import FillQuery
from perpdesk.domain.errors import DatabaseNotMigrated, InputError


def tables_of(database: Database) -> set[str]:
    """The tables that are there."""
    if database.kind == "sqlite":
        return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    schema = "current_schema()" if database.kind == "postgresql" else "database()"
    statement = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}"
    return {row[0] for row in database.execute(statement)}


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrations_make_what_the_code_uses(database: Database) -> None:
    partial = {place.name for place in PARTIAL_UNIQUES} | {place.key_column for place in PARTIAL_UNIQUES}

    def ours(thing: Any, name: str | None, kind: str, reflected: bool, counterpart: Any) -> bool:
        return name not in partial  # asked for by check_schema, which knows conditions

    def same_json(context: Any, column: Any, meta: Any, found: Any, wanted: Any) -> bool | None:
        return False if isinstance(wanted, sa.JSON) and isinstance(found, (sa.JSON, sa.Text)) else None

    def differences(connection: sa.Connection) -> list[Any]:
        options = {"compare_type": same_json, "include_object": ours, "target_metadata": METADATA}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    async def found() -> list[Any]:
        url = sa.make_url(database.url)
        engine = create_async_engine(url.set(drivername=DRIVERS[url.drivername]))
        async with engine.connect() as connection:
            result = await connection.run_sync(differences)
        await engine.dispose()
        return result

    assert run_apart(found()) == []


async def test_a_database_that_was_never_upgraded_is_refused_and_left_alone(untouched: Database) -> None:
    before = set() if untouched.kind == "sqlite" else tables_of(untouched)
    with pytest.raises(DatabaseNotMigrated, match="run `perpdesk db upgrade --database "):
        await SqlStore.open(untouched.url)
    if untouched.kind == "sqlite":
        assert not Path(str(sa.make_url(untouched.url).database)).exists()
    else:
        assert tables_of(untouched) == before == set()


async def test_an_empty_file_is_not_a_database_yet(tmp_path: Path) -> None:
    file = tmp_path / "books.db"
    file.touch()
    with pytest.raises(DatabaseNotMigrated):
        await SqlStore.open(f"sqlite:///{file}")
    assert file.stat().st_size == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["books.db"]


async def test_upgrading_again_changes_nothing_and_works_inside_a_running_loop(untouched: Database) -> None:
    assert upgrade(untouched.url) == HEAD
    before = tables_of(untouched)
    assert {table.name for table in METADATA.sorted_tables} <= before
    async with await SqlStore.open(untouched.url) as store:
        await store.set_trading_control(7, True, "test", 5)
    assert upgrade(untouched.url) == HEAD
    assert tables_of(untouched) == before
    async with await SqlStore.open(untouched.url) as store:
        assert (await store.trading_control(7)).updated_ms == 5


async def test_an_upgrade_that_died_half_way_goes_on(
    untouched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the 1st, 4th, 7th … change of the schema; MariaDB keeps what was made until then."""
    plain = connect.writer
    survived = 0

    def dying(url: sa.URL, *, create: bool = False) -> Any:
        engine = plain(url, create=create)
        done = 0

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def die(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            nonlocal done
            if statement.lstrip().startswith(("CREATE", "INSERT")):
                done += 1
                if done > survived:
                    raise ConnectionError("killed")

        return engine

    monkeypatch.setattr(connect, "writer", dying)
    crashes = 0
    while True:
        try:
            upgrade(untouched.url)
            break
        except InputError:
            crashes += 1
            survived += 3
        with pytest.raises(DatabaseNotMigrated):
            await SqlStore.open(untouched.url)
    monkeypatch.undo()
    assert crashes >= 4
    async with await SqlStore.open(untouched.url) as store:
        assert (await store.verify_journal()).is_intact


def test_two_processes_may_upgrade_at_once(untouched: Database, tmp_path: Path) -> None:
    program = f"from perpdesk.adapters.sqlstore import upgrade; print(upgrade({untouched.url!r}))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for _ in range(2)
    ]
    for process in running:
        out, err = process.communicate()
        assert (out.strip(), process.returncode) == (HEAD, 0), err


async def test_a_newer_database_is_refused(untouched: Database) -> None:
    upgrade(untouched.url)
    untouched.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        InputError, match=r"revision 9999, which this version does not know: a newer perpdesk"
    ):
        upgrade(untouched.url)
    with pytest.raises(DatabaseNotMigrated, match="revision 9999"):
        await SqlStore.open(untouched.url)


def test_tables_of_others_in_the_way_are_said(untouched: Database) -> None:
    untouched_url = untouched.url
    if untouched.kind == "sqlite":
        Path(str(sa.make_url(untouched_url).database)).touch()
    untouched.execute("CREATE TABLE journal (words VARCHAR(10))")
    with pytest.raises(Exception, match="journal"):
        upgrade(untouched_url)
    assert [row for row in untouched.execute("SELECT words FROM journal")] == []


def test_files_that_cannot_be_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder of .* does not exist"):
        upgrade(f"sqlite:///{tmp_path}/nowhere/books.db")
    with pytest.raises(InputError, match="in memory"):
        upgrade("sqlite://")
    (tmp_path / "text.db").write_text("this is not a database, it is a text that goes on for a while\n" * 50)
    with pytest.raises(InputError, match="not a database"):
        upgrade(f"sqlite:///{tmp_path}/text.db")


async def test_rows_of_the_first_revision_are_there_after_the_upgrade(untouched: Database) -> None:
    at_revision(untouched, "0001")
    assert "account_leases" not in tables_of(untouched)
    untouched.execute(
        "INSERT INTO trading_control (account_id, trading_type, trading_enabled, updated_by, updated_at, "
        "created_at) VALUES (7, 'usdt_futures', true, 'operator', '2025-05-24 00:00:00.123', "
        "'2025-05-24 00:00:00.123')",
        "INSERT INTO fills (account_id, symbol, trade_id, side, qty, price, commission, commission_asset, "
        "realized_pnl_venue, is_maker, fill_ms, source) VALUES (7, 'BTCUSDT', 1, 'BUY', '0.031', '64123.4', "
        "'0.9939127', 'USDT', '0', false, 5, 'rest')",
    )
    with pytest.raises(DatabaseNotMigrated, match="revision 0001"):
        await SqlStore.open(untouched.url)
    assert upgrade(untouched.url) == HEAD
    async with await SqlStore.open(untouched.url) as store:
        switch = await store.trading_control(7)
        assert (switch.trading_enabled, switch.updated_ms) == (True, 1_748_044_800_123)
        (fill,) = await store.fills(FillQuery(account_id=7))
        assert (fill.trade_id, fill.price) == (1, Decimal("64123.4"))
        assert await store.lease(7) is None


async def test_half_a_second_revision_is_refused_and_goes_on(
    untouched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two tables of the second revision: no start until `db upgrade` has ended."""
    at_revision(untouched, "0001")
    plain = connect.writer

    def dying(url: sa.URL, *, create: bool = False) -> Any:
        engine = plain(url, create=create)

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def die(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if "CREATE TABLE income_rows" in statement:
                raise ConnectionError("killed")

        return engine

    monkeypatch.setattr(connect, "writer", dying)
    with pytest.raises(InputError, match="killed"):
        upgrade(untouched.url)
    monkeypatch.undo()
    if untouched.kind == "mariadb":  # the only one that keeps half of it
        assert "account_leases" in tables_of(untouched)
    assert "income_rows" not in tables_of(untouched)
    with pytest.raises(DatabaseNotMigrated, match="revision 0001"):
        await SqlStore.open(untouched.url)
    assert upgrade(untouched.url) == HEAD
    await (await SqlStore.open(untouched.url)).close()


def at_revision(database: Database, revision: str) -> None:
    """Bring a database to a revision that is not the newest."""

    async def go() -> None:
        url = urls.parse(database.url)
        engine = connect.writer(url, create=True)
        async with engine.connect() as connection, connection.begin():
            await connection.run_sync(migrate.run, url, revision)
        await engine.dispose()

    run_apart(go())
