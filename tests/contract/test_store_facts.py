"""Orders and fills: hearing a fact twice changes nothing, hearing two facts that differ is an alarm."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, fill, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import BooksContradiction, FillQuery, FillSource, OrderEffect
from perpdesk.domain.order import Side


async def test_the_same_fill_twice_is_one_row(store: SqlStore) -> None:
    assert await store.record_fill(fill())
    assert not await store.record_fill(fill())
    assert not await store.record_fill(fill(source=FillSource.BACKFILL))
    assert await store.fills(FillQuery()) == [fill()]


async def test_of_ten_writers_of_a_fill_one_writes_it(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(2)]
    try:
        new = await asyncio.gather(*(stores[number % 2].record_fill(fill()) for number in range(10)))
        assert new.count(True) == 1
        assert len(await stores[0].fills(FillQuery())) == 1
    finally:
        for store in stores:
            await store.close()


async def test_one_trade_id_with_two_contents_is_an_alarm(store: SqlStore) -> None:
    await store.record_fill(fill())
    for column, value in (
        ("qty", Decimal("0.030999999999")),
        ("price", Decimal("64123.400000000001")),
        ("commission", Decimal("0.99391271")),
        ("side", Side.SELL),
        ("fill_ms", T0 + 1),
        ("order_id", 5),
    ):
        with pytest.raises(BooksContradiction, match=f"trade 1 of BTCUSDT .*{column}"):
            await store.record_fill(fill(**{column: value}))
    assert await store.fills(FillQuery()) == [fill()]


async def test_trade_ids_are_of_one_account_and_symbol(store: SqlStore) -> None:
    assert await store.record_fill(fill())
    assert await store.record_fill(fill(symbol="ETHUSDT"))
    assert await store.record_fill(fill(account_id=ACCOUNT + 1))
    assert await store.record_fill(fill(trade_id=2))


async def test_fill_queries_pick_what_they_say(store: SqlStore) -> None:
    rows = await ready(store)
    position_id = await store.open_position(rows.position(), rows.intent())
    for trade_id, ms in ((3, 30), (1, 10), (2, 20), (4, 20)):
        owner = position_id if trade_id < 3 else None
        await store.record_fill(fill(trade_id=trade_id, fill_ms=T0 + ms, position_id=owner))

    async def found(**query: object) -> list[int]:
        return [row.trade_id for row in await store.fills(FillQuery(**query))]

    assert await found() == [1, 2, 4, 3]
    assert await found(limit=2) == [4, 3]
    assert await found(position_id=position_id) == [1, 2]
    assert await found(from_ms=T0 + 20, until_ms=T0 + 30) == [2, 4]
    assert await found(symbol="ETHUSDT") == []
    assert await found(account_id=ACCOUNT) == [1, 2, 4, 3]


async def test_a_fill_belongs_to_a_position_that_exists(store: SqlStore) -> None:
    with pytest.raises(BooksContradiction):
        await store.record_fill(fill(position_id=12345))
    assert await store.fills(FillQuery()) == []


async def test_an_order_is_one_row_from_acceptance_to_fill(store: SqlStore) -> None:
    rows = await ready(store)
    accepted = rows.order()
    half = msgspec.structs.replace(
        accepted, status="partly_filled", quantity=Decimal("0.01"), price=Decimal("64000"), order_id=99
    )
    full = msgspec.structs.replace(
        half,
        status="filled",
        quantity=Decimal("0.031"),
        price=Decimal("64123.387096774194"),
        updated_ms=T0 + 5,
    )
    for report in (accepted, half, half, full):
        assert await store.record_order(report)
    assert await store.orders(ACCOUNT) == [full]
    # Reports that come late: what has traded never shrinks.
    assert not await store.record_order(half)
    assert not await store.record_order(accepted)
    assert await store.orders(ACCOUNT) == [full]


async def test_a_flip_is_a_close_and_an_open(store: SqlStore) -> None:
    rows = await ready(store)
    position_id = await store.open_position(rows.position(), rows.intent())
    closing = rows.order(
        order_id=5, order_type=OrderEffect.CLOSE, position_id=position_id, close_reason="MANUAL"
    )
    opening = rows.order(order_id=5, order_type=OrderEffect.OPEN)
    assert await store.record_order(closing)
    assert await store.record_order(opening)
    assert await store.orders(ACCOUNT) == [closing, opening]
    assert await store.orders(ACCOUNT, position_id) == [closing]


async def test_one_order_id_is_one_order_of_its_symbol(store: SqlStore) -> None:
    rows = await ready(store)
    await store.record_order(rows.order(client_id="a", order_id=5))
    await store.record_order(rows.order(client_id="b", order_id=5, symbol="ETHUSDT"))
    with pytest.raises(BooksContradiction):
        await store.record_order(rows.order(client_id="c", order_id=5))
    for client_id in ("d", "e"):
        await store.record_order(rows.order(client_id=client_id, order_id=None))
    assert [order.client_id for order in await store.orders(ACCOUNT)] == ["a", "b", "d", "e"]


async def test_writers_of_one_order_at_once_leave_the_most_traded(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(2)]
    try:
        rows = await ready(stores[0])
        reports = [rows.order(quantity=Decimal(number) / 1000) for number in (3, 1, 9, 2, 31, 4, 8, 6)]
        await asyncio.gather(*(stores[at % 2].record_order(report) for at, report in enumerate(reports)))
        (order,) = await stores[0].orders(ACCOUNT)
        assert order.quantity == Decimal("0.031")
    finally:
        for store in stores:
            await store.close()
