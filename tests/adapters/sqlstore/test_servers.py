"""PostgreSQL and MariaDB: deadlocks and lost connections cost a unit, never the store."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from tests.contract.store_databases import KINDS, Database
from tests.contract.store_rows import ACCOUNT, T0, fill, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import FillQuery, StoreBusy, StoreFailed

pytestmark = pytest.mark.parametrize("kind", KINDS[1:], indirect=True)


async def test_of_two_units_that_wait_for_each_other_one_is_lost_whole(store: SqlStore) -> None:
    rows = await ready(store)
    ids = [await store.open_position(rows.position(symbol=name), rows.intent()) for name in ("A", "B")]
    both_hold_one = asyncio.Barrier(2)

    async def change(first: int, second: int, trade_id: int) -> bool:
        async with store.unit() as books:
            await books.record_fill(fill(trade_id=trade_id))
            await books.update_position(first, T0 + 1, suspect_since_ms=trade_id)
            await both_hold_one.wait()
            await books.update_position(second, T0 + 1, suspect_since_ms=trade_id)
        return True

    done = await asyncio.gather(change(*ids, 1), change(*reversed(ids), 2), return_exceptions=True)
    assert {type(one) for one in done} == {bool, StoreBusy}, done
    (winner,) = [number for number, one in enumerate(done, start=1) if one is True]
    assert [row.trade_id for row in await store.fills(FillQuery())] == [winner]
    live = await store.live_positions(ACCOUNT)
    assert {row.suspect_since_ms for row in live} == {winner}


async def test_a_connection_that_breaks_loses_its_unit_and_nothing_else(
    store: SqlStore, database: Database
) -> None:
    own, kill = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mariadb": ("SELECT connection_id()", "KILL {}"),
    }[database.kind]

    async def cut() -> None:
        async with store.unit() as books:
            await books.record_fill(fill(trade_id=1))
            number = await books._connection.scalar(sa.text(own))
            database.execute(kill.format(number))
            await books.record_fill(fill(trade_id=2))

    with pytest.raises(StoreFailed):
        await cut()
    assert await store.record_fill(fill(trade_id=3))
    assert [row.trade_id for row in await store.fills(FillQuery())] == [3]


async def test_promises_that_the_server_weakens_are_warned_of(store: SqlStore, database: Database) -> None:
    ask = {"postgresql": "SHOW fsync", "mariadb": "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit"}[
        database.kind
    ]
    ((setting,),) = database.execute(ask)
    keeps_its_word = str(setting) in ("on", "1")
    assert (store.warnings == ()) is keeps_its_word
