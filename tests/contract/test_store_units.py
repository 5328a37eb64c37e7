"""Units of work: all or nothing, whatever interrupts them."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, fill, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import (
    BooksContradiction,
    FillQuery,
    IntentState,
    JournalEntry,
    PositionExists,
    StoreFailed,
)
from perpdesk.domain.errors import InternalError
from perpdesk.domain.position import PositionStatus


async def test_a_unit_is_seen_when_it_has_ended(store: SqlStore, database: Database) -> None:
    rows = await ready(store)
    async with await SqlStore.open(database.url) as other, store.unit() as books:
        position_id = await books.open_position(rows.position(), rows.intent())
        await books.record_fill(fill(position_id=position_id))
        await books.update_position(position_id, T0 + 1, status=PositionStatus.OPEN)
        assert len(await books.live_positions(ACCOUNT)) == 1
        assert await other.live_positions(ACCOUNT) == []
    (found,) = await store.live_positions(ACCOUNT)
    assert found.status is PositionStatus.OPEN


async def test_a_unit_that_raises_leaves_nothing(store: SqlStore) -> None:
    rows = await ready(store)

    async def fail() -> None:
        async with store.unit() as books:
            await books.open_position(rows.position(), rows.intent())
            await books.append_journal([JournalEntry(ms=T0, kind="test", payload={})])
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await store.live_positions(ACCOUNT) == []
    assert await store.pending_intents(ACCOUNT) == []
    assert (await store.verify_journal()).rows == 0


async def test_a_refusal_may_be_caught_and_the_unit_goes_on(store: SqlStore) -> None:
    rows = await ready(store)
    await store.open_position(rows.position(), rows.intent())
    async with store.unit() as books:
        await books.record_fill(fill(trade_id=1))
        with pytest.raises(PositionExists):
            await books.open_position(rows.position(), rows.intent())
        assert not await books.record_fill(fill(trade_id=1))
        await books.open_position(rows.position(symbol="ETHUSDT"), rows.intent())
        await books.record_fill(fill(trade_id=2))
    assert len(await store.live_positions(ACCOUNT)) == 2
    assert len(await store.pending_intents(ACCOUNT)) == 2
    assert len(await store.fills(FillQuery())) == 2


async def test_after_an_error_of_the_database_a_unit_is_lost(store: SqlStore) -> None:
    """PostgreSQL would answer COMMIT with a silent rollback; MariaDB would commit the rest."""
    rows = await ready(store)

    async def swallow() -> None:
        async with store.unit() as books:
            await books.record_fill(fill(trade_id=1))
            with pytest.raises(BooksContradiction):
                await books.open_position(rows.position(signal_version="nobody"), rows.intent())
            with pytest.raises(StoreFailed, match="has failed already"):
                await books.record_fill(fill(trade_id=2))

    with pytest.raises(StoreFailed, match="nothing of it was written"):
        await swallow()
    assert await store.fills(FillQuery()) == []


async def test_inside_a_unit_the_store_itself_is_refused(store: SqlStore) -> None:
    """On SQLite it would wait for itself for ever, elsewhere it would be another transaction."""
    async with store.unit() as books:
        await books.record_fill(fill(trade_id=1))
        with pytest.raises(InternalError, match="call the unit's methods"):
            await store.record_fill(fill(trade_id=2))
    assert len(await store.fills(FillQuery())) == 1


async def test_intents_need_a_durable_unit(store: SqlStore) -> None:
    rows = await ready(store)
    intent = rows.intent()
    await store.record_intent(intent)
    async with store.unit(durable=False) as books:
        with pytest.raises(InternalError, match="durable unit"):
            await books.record_intent(rows.intent())
        with pytest.raises(InternalError, match="durable unit"):
            await books.open_position(rows.position(), rows.intent())
        with pytest.raises(InternalError, match="durable unit"):
            await books.mark_intent(intent.client_id, IntentState.SENT, T0)
        await books.mark_intent(intent.client_id, IntentState.UNKNOWN, T0)
        await books.record_fill(fill())
    assert len(await store.fills(FillQuery())) == 1
    assert len(await store.pending_intents(ACCOUNT)) == 1


async def test_units_of_many_tasks_do_not_mix(store: SqlStore) -> None:
    async def four(first: int) -> None:
        async with store.unit(durable=False) as books:
            for trade_id in range(first, first + 4):
                await books.record_fill(fill(trade_id=trade_id))
                await asyncio.sleep(0)
            if first % 3 == 0:
                raise KeyError(first)

    done = await asyncio.gather(*(four(first) for first in range(0, 80, 4)), return_exceptions=True)
    failed = {error.args[0] for error in done if isinstance(error, KeyError)}
    assert failed == {first for first in range(0, 80, 4) if first % 3 == 0}
    wanted = [number for first in range(0, 80, 4) if first % 3 for number in range(first, first + 4)]
    assert sorted(row.trade_id for row in await store.fills(FillQuery())) == wanted


async def test_one_unit_may_be_used_by_tasks_of_its_own(store: SqlStore) -> None:
    async with store.unit(durable=False) as books:
        await asyncio.gather(*(books.record_fill(fill(trade_id=number)) for number in range(5)))
    assert len(await store.fills(FillQuery())) == 5


async def test_a_cancelled_unit_is_all_or_nothing(store: SqlStore) -> None:
    """Cut at many places: before, between and inside of its statements, and inside of its commit."""
    rows = await ready(store)

    async def work(account: int) -> None:
        async with store.unit() as books:
            position = rows.position(account_id=account)
            position_id = await books.open_position(position, rows.intent(account_id=account))
            for trade_id in (1, 2, 3):
                await books.record_fill(fill(account_id=account, trade_id=trade_id, position_id=position_id))
            await books.append_journal([JournalEntry(ms=T0, kind="test", payload={})])

    journalled = 0
    for account, turns in enumerate((0, 1, 2, 3, 5, 8, 12, 17, 23, 30, 38, 47, 57, 68, 80), start=1):
        task = asyncio.create_task(work(account))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        fills = await store.fills(FillQuery(account_id=account))
        written = (len(await store.live_positions(account)), len(fills))
        assert written in ((0, 0), (1, 3))
        journalled += written[0]
        assert (await store.verify_journal()).rows == journalled
        assert await store.record_fill(fill(account_id=account, trade_id=9))
