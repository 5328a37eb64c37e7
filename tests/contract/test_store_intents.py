"""Intents: written before the wire, one attempt at a time, no step backwards."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import (
    INTENT_STEPS,
    AttemptInFlight,
    BooksContradiction,
    Delivery,
    IntentState,
    PositionExists,
    StepRefused,
    StoreBusy,
)
from perpdesk.domain.errors import InputError

_S = IntentState
# A way to every state, for tests that start there.
WAYS = {
    _S.NEW: (),
    _S.SENT: (_S.SENT,),
    _S.LIVE: (_S.SENT, _S.LIVE),
    _S.FILLED: (_S.SENT, _S.FILLED),
    _S.DEAD: (_S.DEAD,),
    _S.UNKNOWN: (_S.SENT, _S.UNKNOWN),
}


async def test_an_intent_comes_back_as_it_was_written(store: SqlStore) -> None:
    rows = await ready(store)
    position_id = await store.open_position(rows.position(), rows.intent(client_id="v2-7-kx3f9a-e1-1"))
    await store.mark_intent("v2-7-kx3f9a-e1-1", _S.SENT, T0 + 1, signed_ms=T0 + 2, fence_ms=T0 + 5_002)
    await store.mark_intent("v2-7-kx3f9a-e1-1", _S.LIVE, T0 + 3, result={"orderId": 9_007_199_254_740_993})
    found = await store.intent("v2-7-kx3f9a-e1-1")
    assert found is not None
    assert (found.position_id, found.state, found.signed_ms, found.fence_ms) == (
        position_id,
        _S.LIVE,
        T0 + 2,
        T0 + 5_002,
    )
    assert (found.request, found.result) == (
        {"type": "MARKET", "quantity": "0.031"},
        {"orderId": 9_007_199_254_740_993},
    )
    assert (found.created_ms, found.updated_ms) == (T0, T0 + 3)
    assert await store.intent("V2-7-kx3f9a-e1-1") is None


async def test_only_steps_of_the_table_are_taken(store: SqlStore) -> None:
    rows = await ready(store)
    for source, target in product(_S, _S):
        intent = rows.intent()
        await store.record_intent(intent)
        for state in WAYS[source]:
            assert await store.mark_intent(intent.client_id, state, T0 + 1)
        if target in INTENT_STEPS[source]:
            assert await store.mark_intent(intent.client_id, target, T0 + 2)
        elif target is source:
            assert not await store.mark_intent(intent.client_id, target, T0 + 2, result={"twice": True})
        else:
            with pytest.raises(StepRefused, match=f"is {source} and cannot become {target}"):
                await store.mark_intent(intent.client_id, target, T0 + 2)
        found = await store.intent(intent.client_id)
        assert found is not None
        assert found.state is (target if target in INTENT_STEPS[source] else source)
        assert found.result is None


async def test_of_two_steps_at_once_one_is_taken(store: SqlStore) -> None:
    rows = await ready(store)
    intent = rows.intent()
    await store.record_intent(intent)
    await store.mark_intent(intent.client_id, _S.SENT, T0 + 1)

    async def mark(state: IntentState) -> bool:
        try:
            return await store.mark_intent(intent.client_id, state, T0 + 2)
        except StepRefused:
            return False

    taken = await asyncio.gather(*(mark(state) for state in (_S.FILLED, _S.DEAD) * 5))
    assert taken.count(True) == 1


async def test_no_second_entry_before_the_first_is_dead(store: SqlStore) -> None:
    rows = await ready(store)
    for state in (_S.NEW, _S.SENT, _S.LIVE, _S.UNKNOWN, _S.FILLED):
        first = rows.intent()
        position_id = await store.open_position(rows.position(symbol=state), first)
        for step in WAYS[state]:
            await store.mark_intent(first.client_id, step, T0 + 1)
        second = rows.intent(position_id=position_id, attempt=2)
        with pytest.raises(AttemptInFlight, match="not proven dead"):
            await store.record_intent(second)
        await store.record_intent(rows.intent(position_id=position_id, leg="e2"))
        if state is not _S.FILLED:
            await store.mark_intent(first.client_id, _S.DEAD, T0 + 2)
            await store.record_intent(second)


async def test_of_ten_second_attempts_at_once_one_is_written(store: SqlStore) -> None:
    rows = await ready(store)
    first = rows.intent()
    position_id = await store.open_position(rows.position(), first)
    await store.mark_intent(first.client_id, _S.DEAD, T0 + 1)

    async def again(attempt: int) -> bool:
        while True:
            try:
                await store.record_intent(rows.intent(position_id=position_id, attempt=attempt))
            except AttemptInFlight:
                return False
            except StoreBusy:  # two of them locked each other out: nothing was written
                continue
            return True

    taken = await asyncio.gather(*(again(attempt) for attempt in range(2, 12)))
    assert taken.count(True) == 1


async def test_protection_is_repeated_freely(store: SqlStore) -> None:
    rows = await ready(store)
    position_id = await store.open_position(rows.position(), rows.intent())
    for attempt in (1, 2, 3):
        stop = rows.intent(position_id=position_id, leg="xs", attempt=attempt, delivery=Delivery.REPEAT)
        await store.record_intent(stop)
    disaster = [rows.intent(leg="dz", delivery=Delivery.REPEAT) for _ in range(2)]
    for intent in disaster:
        await store.record_intent(intent)
    assert len(await store.pending_intents(ACCOUNT)) == 6
    assert await store.pending_intents(ACCOUNT + 1) == []


async def test_client_ids_are_never_reused(store: SqlStore) -> None:
    rows = await ready(store)
    await store.record_intent(rows.intent(client_id="v2-7-a-e1-1"))
    with pytest.raises(BooksContradiction):
        await store.record_intent(rows.intent(client_id="v2-7-a-e1-1"))
    await store.record_intent(rows.intent(client_id="v2-7-A-e1-1"))


async def test_a_refused_intent_takes_its_position_with_it(store: SqlStore) -> None:
    rows = await ready(store)
    await store.record_intent(rows.intent(client_id="taken"))
    with pytest.raises(BooksContradiction):
        await store.open_position(rows.position(), rows.intent(client_id="taken"))
    with pytest.raises(InputError, match=r"order_intents\.client_id.*36 characters"):
        await store.open_position(rows.position(), rows.intent(client_id="x" * 37))
    assert await store.live_positions(ACCOUNT) == []


async def test_unknown_client_ids_are_said(store: SqlStore) -> None:
    with pytest.raises(StepRefused, match="no intent with client id nobody"):
        await store.mark_intent("nobody", _S.SENT, T0)


async def test_what_was_written_is_there_after_reopening(database: Database) -> None:
    async with await SqlStore.open(database.url) as store:
        rows = await ready(store)
        intent = rows.intent()
        await store.open_position(rows.position(), intent)
        await store.mark_intent(intent.client_id, _S.SENT, T0 + 1, signed_ms=T0, fence_ms=T0 + 5_000)
    async with await SqlStore.open(database.url) as store:
        (pending,) = await store.pending_intents(ACCOUNT)
        assert (pending.client_id, pending.state) == (intent.client_id, _S.SENT)
        with pytest.raises(PositionExists):
            await store.open_position(rows.position(), rows.intent())
