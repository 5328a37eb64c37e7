"""Positions: one per place, born with their intent, final once finished."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import product

import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, end, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import (
    LIVE_STATUSES,
    POSITION_STEPS,
    BooksContradiction,
    PositionExists,
    PositionQuery,
    StepRefused,
)
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide
from perpdesk.domain.position import PositionStatus

FINAL = [status for status in PositionStatus if not status.is_live]


async def test_a_position_comes_back_as_it_was_written(store: SqlStore) -> None:
    rows = await ready(store)
    position = rows.position(
        position_code="kx3f9a",
        entry_score=Decimal("74.6113"),
        entry_max=Decimal(100),
        entry_signal_type="score",
        signal_components={"trend": 26, "position": 19.61134455, "täg": ["ä", None, True]},
        guard_params={"fixed_stop": Decimal("-0.03")},
        timeout_at_ms=T0 + 10_800_000,
    )
    found = await store.position(await store.open_position(position, rows.intent()))
    assert found is not None
    for field in position.__struct_fields__:
        wanted = {"fixed_stop": "-0.03"} if field == "guard_params" else getattr(position, field)
        assert getattr(found, field) == wanted, field
    assert (found.realized_pnl, found.net_pnl, found.close_ms, found.avg_entry_price) == (0, 0, None, None)
    assert await store.position(found.id + 1) is None


async def test_of_fifty_openers_one_gets_the_place(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(5)]
    try:
        rows = await ready(stores[0])

        async def one(store: SqlStore) -> bool:
            try:
                await store.open_position(rows.position(), rows.intent())
            except PositionExists:
                return False
            return True

        won = await asyncio.gather(*(one(stores[number % 5]) for number in range(50)))
        assert won.count(True) == 1
        assert len(await stores[0].live_positions(ACCOUNT)) == 1
        # A refused opener leaves no intent behind: nothing that could be sent.
        assert len(await stores[0].pending_intents(ACCOUNT)) == 1
    finally:
        for store in stores:
            await store.close()


async def test_versions_sides_symbols_and_accounts_have_places_of_their_own(store: SqlStore) -> None:
    rows = await ready(store, "v2", "v3", "V2")
    for differing in (
        {},
        {"signal_version": "v3"},
        {"signal_version": "V2"},
        {"position_side": PositionSide.SHORT},
        {"symbol": "ETHUSDT"},
        {"symbol": "btcusdt"},
        {"account_id": ACCOUNT + 1},
    ):
        await store.open_position(rows.position(**differing), rows.intent())
    assert len(await store.live_positions(ACCOUNT)) == 6
    both = await store.live_positions(ACCOUNT, "BTCUSDT", PositionSide.LONG)
    assert [row.signal_version for row in both] == ["v2", "v3", "V2"]
    assert len(await store.live_positions(ACCOUNT, "BTCUSDT", PositionSide.LONG, "v3")) == 1


async def test_every_live_status_holds_the_place(store: SqlStore) -> None:
    """Closing, too: it is still on the exchange."""
    rows = await ready(store)
    position_id = await store.open_position(rows.position(), rows.intent())
    for status in LIVE_STATUSES:
        await store.update_position(position_id, T0 + 1, status=status)
        with pytest.raises(PositionExists, match="v2 already has a live LONG position on BTCUSDT"):
            await store.open_position(rows.position(), rows.intent())
        assert [row.status for row in await store.live_positions(ACCOUNT)] == [status]


async def test_a_finished_position_frees_the_place(store: SqlStore) -> None:
    rows = await ready(store)
    for status in FINAL * 2:
        position_id = await store.open_position(rows.position(), rows.intent())
        await store.close_position(position_id, T0 + 9, end(status=status))
    assert await store.live_positions(ACCOUNT) == []
    for status in FINAL:
        assert len(await store.positions(PositionQuery(account_id=ACCOUNT, statuses=(status,)))) == 2


async def test_an_open_interest_position_is_alone_on_its_symbol(store: SqlStore) -> None:
    rows = await ready(store, "oi", "v2")
    await store.open_position(rows.position(signal_version="oi"), rows.intent())
    short = rows.position(signal_version="oi", position_side=PositionSide.SHORT)
    with pytest.raises(PositionExists):
        await store.open_position(short, rows.intent())
    await store.open_position(rows.position(position_side=PositionSide.SHORT), rows.intent())


async def test_finished_rows_never_change(store: SqlStore) -> None:
    rows = await ready(store)
    for status in FINAL:
        position_id = await store.open_position(rows.position(), rows.intent())
        await store.close_position(position_id, T0 + 9, end(status=status))
        before = await store.position(position_id)
        with pytest.raises(StepRefused, match=f"is {status} and cannot"):
            await store.update_position(position_id, T0 + 10, quantity=Decimal(1))
        for target in LIVE_STATUSES:
            with pytest.raises(StepRefused):
                await store.update_position(position_id, T0 + 10, status=target)
        for target in FINAL:
            with pytest.raises(StepRefused):
                await store.close_position(position_id, T0 + 10, end(status=target, close_reason="MANUAL"))
        assert await store.position(position_id) == before


async def test_only_steps_of_the_table_are_taken(store: SqlStore) -> None:
    rows = await ready(store)
    for source, target in product(LIVE_STATUSES, LIVE_STATUSES):
        position = rows.position(symbol=f"{source}{target}")
        position_id = await store.open_position(position, rows.intent())
        await store.update_position(position_id, T0 + 1, status=source)
        allowed = target in POSITION_STEPS[source] or target is source
        if allowed:
            await store.update_position(position_id, T0 + 2, status=target)
        else:
            with pytest.raises(StepRefused, match=f"is {source} and cannot become {target}"):
                await store.update_position(position_id, T0 + 2, status=target)
        found = await store.position(position_id)
        assert found is not None
        assert found.status is (target if allowed else source)


async def test_net_follows_the_three_sums(store: SqlStore) -> None:
    rows = await ready(store)
    position_id = await store.open_position(rows.position(), rows.intent())
    await store.update_position(
        position_id,
        T0 + 1,
        realized_pnl=Decimal("-4"),
        commission=Decimal("0.4"),
        funding=Decimal("-0.10000001"),
    )
    found = await store.position(position_id)
    assert found is not None
    assert found.net_pnl == Decimal("-4.50000001")
    with pytest.raises(InputError, match="given together"):
        await store.update_position(position_id, T0 + 2, realized_pnl=Decimal(1))
    with pytest.raises(InputError, match=r"commission.*negative"):
        await store.update_position(
            position_id, T0 + 2, realized_pnl=Decimal(1), commission=Decimal(-1), funding=Decimal(0)
        )
    assert await store.position(position_id) == found


async def test_what_cannot_be_is_refused_before_anything_is_written(store: SqlStore) -> None:
    rows = await ready(store)
    with pytest.raises(InputError, match="live at birth"):
        await store.open_position(rows.position(status=PositionStatus.CLOSED), rows.intent())
    with pytest.raises(BooksContradiction):
        await store.open_position(rows.position(signal_version="nobody"), rows.intent())
    with pytest.raises(BooksContradiction):
        await store.open_position(rows.position(position_side=PositionSide.BOTH), rows.intent())
    with pytest.raises(BooksContradiction):
        await store.open_position(rows.position(params_hash="f" * 64), rows.intent())
    with pytest.raises(StepRefused, match="no position 12345"):
        await store.update_position(12345, T0, quantity=Decimal(1))
    position_id = await store.open_position(rows.position(), rows.intent())
    with pytest.raises(InputError, match="cannot be changed"):
        await store.update_position(position_id, T0, account_id=8)
    with pytest.raises(InputError, match="ended by close_position"):
        await store.update_position(position_id, T0, status=PositionStatus.CLOSED)
    assert len(await store.positions(PositionQuery())) == 1
    assert len(await store.pending_intents(ACCOUNT)) == 1


async def test_codes_and_keys_name_one_position(store: SqlStore) -> None:
    rows = await ready(store, "v2", "v3")
    await store.open_position(rows.position(position_code="a1", position_key="BTCUSDT_LONG_9"), rows.intent())
    for clash in ({"position_code": "a1"}, {"position_key": "BTCUSDT_LONG_9"}):
        with pytest.raises(BooksContradiction):
            await store.open_position(rows.position(signal_version="v3", **clash), rows.intent())
    await store.open_position(rows.position(signal_version="v3", position_code="A1"), rows.intent())


async def test_queries_pick_what_they_say(store: SqlStore) -> None:
    rows = await ready(store, "v2", "v3")
    ids = []
    for number in range(6):
        version = "v2" if number % 2 else "v3"
        given = {"symbol": f"S{number}", "signal_version": version, "created_ms": T0 + number}
        ids.append(await store.open_position(rows.position(**given), rows.intent()))

    async def found(**query: object) -> list[int]:
        return [row.id for row in await store.positions(PositionQuery(**query))]

    assert await found() == ids
    assert await found(signal_version="v2") == ids[1::2]
    assert await found(symbol="S3") == [ids[3]]
    assert await found(from_ms=T0 + 2, until_ms=T0 + 4) == ids[2:4]
    assert await found(limit=2) == ids[4:]
    assert await found(statuses=()) == []
    assert await found(account_id=ACCOUNT + 1) == []
