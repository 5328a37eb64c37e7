"""SQLite: what survives a kill and a power cut, and who waits for whom."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, fill, ready

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.domain.books import FillQuery, IntentState, StoreBusy
from perpdesk.domain.errors import InputError

PROGRAM = """
import asyncio, os, signal, sys
sys.path.insert(0, {tests!r})
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import IntentState
from tests.contract.store_rows import T0, fill, ready

async def main():
    store = await SqlStore.open({url!r})
    rows = await ready(store)
    intent = rows.intent(client_id="c1")
    {work}

asyncio.run(main())
"""
DIE = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/books.db"
    upgrade(url)
    return url


def killed(url: str, work: str) -> None:
    """Run ``work`` in a process of its own that kills itself."""
    root = str(Path(__file__).resolve().parents[3])
    program = PROGRAM.format(tests=root, url=url, work=work)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_what_returned_is_there_after_a_kill(url: str) -> None:
    killed(
        url,
        "await store.open_position(rows.position(), intent); "
        f"await store.mark_intent('c1', IntentState.SENT, T0, signed_ms=T0, fence_ms=T0 + 5_000); {DIE}",
    )
    async with await SqlStore.open(url) as store:
        (pending,) = await store.pending_intents(ACCOUNT)
        assert (pending.client_id, pending.state, pending.fence_ms) == ("c1", IntentState.SENT, T0 + 5_000)
        assert len(await store.live_positions(ACCOUNT)) == 1


async def test_a_unit_that_was_killed_left_nothing(url: str) -> None:
    killed(
        url,
        "\n    async with store.unit() as books:\n"
        "        await books.open_position(rows.position(), intent)\n"
        f"        await books.record_fill(fill())\n        {DIE}",
    )
    async with await SqlStore.open(url) as store:
        assert await store.live_positions(ACCOUNT) == []
        assert await store.fills(FillQuery()) == []
        await store.record_fill(fill())


async def test_intents_are_flushed_to_the_disk_and_the_rest_need_not_be(url: str) -> None:
    async with await SqlStore.open(url) as store:
        for durable, level in ((True, 2), (False, 1), (True, 2)):
            async with store.unit(durable=durable) as books, books._writing() as connection:
                assert await connection.scalar(sa.text("PRAGMA synchronous")) == level
        levels = []
        rows = await ready(store)

        def note(connection: sa.Connection, *rest: object) -> None:
            levels.append(connection.info["synchronous"])

        sa.event.listen(store._writer.sync_engine, "commit", note)
        intent = rows.intent()
        await store.open_position(rows.position(), intent)
        await store.record_intent(rows.intent(leg="e2"))
        await store.mark_intent(intent.client_id, IntentState.SENT, T0)
        await store.set_trading_control(ACCOUNT, False, "operator", T0)
        assert levels == ["FULL"] * 4
        await store.record_fill(fill())
        await store.mark_intent(intent.client_id, IntentState.FILLED, T0)
        assert levels[4:] == ["NORMAL"] * 2


async def test_readers_see_the_last_commit_while_a_writer_works(url: str) -> None:
    async with await SqlStore.open(url) as store:
        assert store.warnings == ()
        async with store.unit() as books:
            await books.record_fill(fill())
            assert await store.fills(FillQuery()) == []
        assert len(await store.fills(FillQuery())) == 1
        async with store._reading() as connection:
            assert await connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
            assert await connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
            with pytest.raises(sa.exc.OperationalError, match="readonly"):
                await connection.execute(sa.text("DELETE FROM fills"))


async def test_a_writer_that_never_ends_is_said_and_nothing_is_written(url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "books.db", isolation_level=None)
    try:
        async with await SqlStore.open(f"{url}?timeout=0.05") as store:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusy, match="nothing was written: try again"):
                await store.record_fill(fill())
            other.execute("ROLLBACK")
            assert await store.record_fill(fill())
    finally:
        other.close()


async def test_odd_file_names_are_file_names(tmp_path: Path) -> None:
    url = sa.URL.create("sqlite", database=str(tmp_path / "a %41#ü 1.db")).render_as_string()
    upgrade(url)
    async with await SqlStore.open(url) as store:
        await store.record_fill(fill())
    assert [path.name for path in tmp_path.iterdir()] == ["a %41#ü 1.db"]


async def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is not a database, it is a text that goes on for a while\n" * 50)
    with pytest.raises(InputError, match="not a database"):
        await SqlStore.open(f"sqlite:///{tmp_path}/text.db")


async def test_books_in_memory_work_like_others_and_are_gone_afterwards() -> None:
    async with await SqlStore.open("sqlite://") as store:
        rows = await ready(store)
        async with store.unit() as books:
            await books.open_position(rows.position(), rows.intent())
        assert len(await store.live_positions(ACCOUNT)) == 1
        assert (await store.verify_journal()).is_intact
    async with await SqlStore.open("sqlite:///:memory:") as store:
        assert await store.live_positions(ACCOUNT) == []


async def test_the_books_can_be_asked_by_hand(database: Database) -> None:
    """The columns that people query, under the names of the spec."""
    columns = (
        "id, account_id, symbol, position_side, signal_version, status, entry_score, entry_max, "
        "entry_signal_type, signal_components, leverage, quantity, initial_quantity, notional_value, margin, "
        "avg_entry_price, liquidation_price, best_price, exit_price, realized_pnl, commission, funding, "
        "net_pnl, open_time, close_time, timeout_at, entry_time_source, first_seen_ms, position_key, "
        "origin, batch_plan, batch_filled, exit_legs, stop_algo_id, guard_params, params_hash, "
        "close_reason, exit_hits, suspect_since_ms, created_ms, updated_ms"
    )
    async with await SqlStore.open(database.url) as store:
        rows = await ready(store)
        await store.open_position(rows.position(), rows.intent())
        (found,) = database.execute(f"SELECT {columns} FROM futures_positions WHERE signal_version='v2'")
    assert found[2:6] == ("BTCUSDT", "LONG", "v2", "building")
