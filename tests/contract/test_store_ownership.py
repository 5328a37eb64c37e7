"""Leases, heartbeats, symbols, what people said: one of many gets it, epochs only rise."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import BooksContradiction, Missing, StoreFailed
from perpdesk.domain.kill import ControlAction
from perpdesk.domain.ownership import Heartbeat, Held, Lease, LeaseClaim, SymbolTaken

TTL = 20_000
ERROR = 500


def claim(owner: str = "a", **given: object) -> LeaseClaim:
    """What process ``owner`` says of itself."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "owner": owner,
        "host": "host-1",
        "pid": 4711,
        "build_hash": "b" * 40,
        "params_hash": "c" * 64,
    }
    return LeaseClaim(**values | given)  # type: ignore[arg-type]


async def take(store: SqlStore, owner: str, now_ms: int, **given: Any) -> Lease | Held:
    return await store.take_lease(claim(owner), now_ms, ttl_ms=TTL, clock_error_ms=ERROR, **given)


async def taken(store: SqlStore, owner: str, now_ms: int, **given: Any) -> Lease:
    found = await take(store, owner, now_ms, **given)
    assert isinstance(found, Lease), found
    return found


async def test_of_forty_takers_one_gets_the_lease(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(4)]
    try:
        found = await asyncio.gather(*(take(stores[n % 4], f"owner-{n}", T0 + n) for n in range(40)))
        leases = [one for one in found if isinstance(one, Lease)]
        assert len(leases) == 1
        assert leases[0].epoch == 1
        refused = [one for one in found if isinstance(one, Held)]
        assert {one.by for one in refused} == {leases[0].owner}
        assert {one.until_ms for one in refused} == {leases[0].end_ms + 2 * ERROR}
        assert (refused[0].host, refused[0].pid, refused[0].build_hash) == ("host-1", 4711, "b" * 40)
        row = await stores[1].lease(ACCOUNT)
        assert row is not None
        assert (row.owner, row.epoch, row.expires_ms) == (leases[0].owner, 1, leases[0].end_ms)
        assert row.params_hash == "c" * 64
    finally:
        for store in stores:
            await store.close()


async def test_of_forty_who_find_it_lapsed_one_gets_it(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(4)]
    try:
        assert await stores[0].lease(ACCOUNT) is None
        old = await taken(stores[0], "old", T0)
        late_ms = old.end_ms + 2 * ERROR
        found = await asyncio.gather(*(take(stores[n % 4], f"owner-{n}", late_ms) for n in range(40)))
        leases = [one for one in found if isinstance(one, Lease)]
        assert [one.epoch for one in leases] == [2]
        assert leases[0].from_ms == late_ms
    finally:
        for store in stores:
            await store.close()


async def test_a_lease_is_taken_only_two_clock_errors_after_its_end(store: SqlStore) -> None:
    lease = await taken(store, "a", T0)
    assert (lease.epoch, lease.from_ms, lease.end_ms) == (1, T0, T0 + TTL)
    for ms in (T0 - 1, T0, lease.end_ms, lease.end_ms + 2 * ERROR - 1):
        assert isinstance(await take(store, "b", ms), Held)
    assert (await taken(store, "b", lease.end_ms + 2 * ERROR)).epoch == 2


async def test_a_renewal_extends_and_never_shortens(store: SqlStore) -> None:
    lease = await taken(store, "a", T0)
    renewed = await store.renew_lease(lease, T0 + 5_000, ttl_ms=TTL)
    assert renewed is not None
    assert (renewed.epoch, renewed.from_ms, renewed.end_ms) == (1, T0, T0 + 5_000 + TTL)
    stepped_back = await store.renew_lease(renewed, T0 - 600_000, ttl_ms=TTL)
    assert stepped_back is not None
    assert stepped_back.end_ms == renewed.end_ms
    assert isinstance(await take(store, "b", lease.end_ms + 2 * ERROR), Held)


async def test_a_lapsed_lease_that_nobody_took_can_be_renewed(store: SqlStore) -> None:
    lease = await taken(store, "a", T0)
    renewed = await store.renew_lease(lease, lease.end_ms + 60_000, ttl_ms=TTL)
    assert renewed is not None
    assert renewed.epoch == 1


async def test_the_loser_of_a_lease_learns_it(store: SqlStore) -> None:
    old = await taken(store, "a", T0)
    new = await taken(store, "b", old.end_ms + 2 * ERROR)
    assert await store.renew_lease(old, new.end_ms, ttl_ms=TTL) is None
    assert not await store.release_lease(old, T0)
    row = await store.lease(ACCOUNT)
    assert row is not None
    assert (row.owner, row.epoch, row.expires_ms) == ("b", 2, new.end_ms)
    # The same name with an older epoch is another life of the process: it has nothing either.
    again = await taken(store, "b", new.end_ms)
    assert again.epoch == 3
    assert await store.renew_lease(new, new.end_ms, ttl_ms=TTL) is None


async def test_taking_again_after_a_lost_answer_is_the_same_owner(store: SqlStore) -> None:
    first = await taken(store, "a", T0)
    second = await taken(store, "a", T0 + 1)
    assert (second.epoch, second.from_ms) == (first.epoch + 1, T0 + 1)


async def test_a_released_lease_ends_when_its_last_request_is_dead(store: SqlStore) -> None:
    lease = await taken(store, "a", T0)
    assert await store.release_lease(lease, T0 + 6_000)
    assert isinstance(await take(store, "b", T0 + 6_000 + 2 * ERROR - 1), Held)
    assert (await taken(store, "b", T0 + 6_000 + 2 * ERROR)).epoch == 2


async def test_releasing_late_does_not_extend(store: SqlStore) -> None:
    lease = await taken(store, "a", T0)
    assert await store.release_lease(lease, lease.end_ms + 99_000)
    row = await store.lease(ACCOUNT)
    assert row is not None
    assert row.expires_ms == lease.end_ms


async def test_a_dead_process_is_succeeded_when_its_requests_are_dead(store: SqlStore) -> None:
    await taken(store, "a", T0)
    assert isinstance(await take(store, "b", T0 + 1_000, dead_owners=["another"], quiet_ms=T0), Held)
    assert isinstance(await take(store, "b", T0 + 1_000, dead_owners=["a"]), Held), "quiet from when on?"
    new = await taken(store, "b", T0 + 1_000, dead_owners=["x", "a"], quiet_ms=T0 + 7_000)
    assert (new.epoch, new.from_ms) == (2, T0 + 7_000)
    # Near its end there is less to wait for.
    last = await taken(store, "c", new.end_ms - 1_000, dead_owners=["b"], quiet_ms=new.end_ms + 5_000)
    assert last.from_ms == new.end_ms + 2 * ERROR
    soon = await taken(store, "d", last.from_ms, dead_owners=["c"], quiet_ms=T0)
    assert soon.from_ms == last.from_ms, "what is quiet already is not waited for"


async def test_the_epoch_is_above_what_was_seen_elsewhere(store: SqlStore) -> None:
    lease = await taken(store, "a", T0, above_epoch=41)
    assert lease.epoch == 42
    assert (await taken(store, "b", lease.end_ms + 2 * ERROR, above_epoch=7)).epoch == 43


async def test_accounts_have_leases_of_their_own(store: SqlStore) -> None:
    await taken(store, "a", T0)
    other = await store.take_lease(claim("b", account_id=ACCOUNT + 1), T0, ttl_ms=TTL)
    assert isinstance(other, Lease)


async def test_a_lease_in_a_unit_that_fails_was_not_taken(store: SqlStore) -> None:
    async def fails() -> None:
        async with store.unit() as books:
            assert isinstance(await books.take_lease(claim("a"), T0, ttl_ms=TTL), Lease)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await fails()
    assert await store.lease(ACCOUNT) is None


def beat(**given: object) -> Heartbeat:
    """A sign of life of v2's guardian."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "strategy": "v2",
        "instance": "host-1:4711",
        "epoch": 3,
        "seq": 10,
        "beat_ms": T0,
        "build_hash": "b" * 40,
    }
    return Heartbeat(**values | given)  # type: ignore[arg-type]


async def test_heartbeats_only_go_forward(store: SqlStore) -> None:
    assert await store.heartbeat(ACCOUNT, "v2") == Missing()
    assert await store.beat(beat())
    assert await store.beat(beat(seq=11, beat_ms=T0 + 5_000))
    for late in (beat(), beat(seq=10), beat(epoch=2, seq=99)):
        assert not await store.beat(late)
    assert await store.heartbeat(ACCOUNT, "v2") == beat(seq=11, beat_ms=T0 + 5_000)
    assert await store.beat(beat(epoch=4, seq=1, instance="host-2:1"))
    assert await store.beat(beat(strategy="grid", seq=1))
    assert [(row.strategy, row.epoch) for row in await store.heartbeats(ACCOUNT)] == [("grid", 3), ("v2", 4)]
    assert await store.heartbeats(ACCOUNT + 1) == []
    assert len(await store.heartbeats()) == 2


async def test_a_symbol_is_taken_by_one_of_many(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(4)]

    async def one(number: int) -> str | None:
        try:
            return (await stores[number % 4].take_symbol(ACCOUNT, "BTCUSDT", f"s{number % 7}", T0)).strategy
        except SymbolTaken:
            return None

    try:
        found = await asyncio.gather(*(one(number) for number in range(42)))
        winners = {strategy for strategy in found if strategy is not None}
        assert len(winners) == 1
        assert found.count(winners.pop()) == 6  # the owner may ask again
        assert len(await stores[0].symbol_owners(ACCOUNT)) == 1
    finally:
        for store in stores:
            await store.close()


async def test_only_the_owner_frees_a_symbol(store: SqlStore) -> None:
    await store.take_symbol(ACCOUNT, "BTCUSDT", "score", T0)
    await store.take_symbol(ACCOUNT + 1, "BTCUSDT", "grid", T0)
    await store.take_symbol(ACCOUNT, "ETHUSDT", "grid", T0)
    assert not await store.free_symbol(ACCOUNT, "BTCUSDT", "grid")
    with pytest.raises(SymbolTaken, match="SYMBOL_TAKEN: BTCUSDT of account 7 belongs to score"):
        await store.take_symbol(ACCOUNT, "BTCUSDT", "grid", T0)
    assert await store.free_symbol(ACCOUNT, "BTCUSDT", "score")
    assert not await store.free_symbol(ACCOUNT, "BTCUSDT", "score")
    assert (await store.take_symbol(ACCOUNT, "BTCUSDT", "grid", T0 + 5)).since_ms == T0 + 5
    owners = [(row.symbol, row.strategy) for row in await store.symbol_owners(ACCOUNT)]
    assert owners == [("BTCUSDT", "grid"), ("ETHUSDT", "grid")]


def action(seq: int = 1, **given: object) -> ControlAction:
    """A person halts the account."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "seq": seq,
        "rung": "halt",
        "reason": "odd fills",
        "by": "operator",
        "ms": T0,
    }
    return ControlAction(**values | given)  # type: ignore[arg-type]


async def test_what_people_said_is_journalled_once(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(2)]
    try:
        first = await asyncio.gather(
            *(stores[n % 2].record_control_action(action(), T0 + n) for n in range(10))
        )
        assert first.count(True) == 1
        resumed = action(2, rung="normal", reason="understood")
        assert await stores[0].record_control_action(resumed, T0 + 99)
        assert await stores[0].control_actions(ACCOUNT) == [action(), resumed]
        found = await stores[0].verify_journal()
        assert (found.is_intact, found.rows) == (True, 2)
        rows = database.execute("SELECT kind, payload FROM journal ORDER BY seq")
        assert [row[0] for row in rows] == ["kill", "kill"]
        assert "odd fills" in rows[0][1]
    finally:
        for store in stores:
            await store.close()


async def test_what_a_database_cannot_hold_is_raised_and_not_lost(store: SqlStore) -> None:
    """A row that another constraint refuses is not "known already"."""
    with pytest.raises(BooksContradiction, match="rung"):
        await store.record_control_action(action(rung="upside"), T0)  # no such rung: a CHECK
    assert (await store.verify_journal()).rows == 0


async def test_heartbeats_of_a_database_that_is_gone_are_failures_not_errors(database: Database) -> None:
    async with await SqlStore.open(database.url) as store:
        renamed = "ALTER TABLE guardian_heartbeat RENAME TO hidden"
        database.execute(renamed)
        try:
            found = await store.heartbeat(ACCOUNT, "v2")
            assert type(found).__name__ == "Failed"
            with pytest.raises(StoreFailed):
                await store.beat(beat())
        finally:
            database.execute("ALTER TABLE hidden RENAME TO guardian_heartbeat")


def test_actions_that_differ_have_other_hashes() -> None:
    changes = [{"seq": 2}, {"rung": "cancel"}, {"reason": ""}, {"by": "x"}, {"ms": 1}, {"account_id": 8}]
    hashes = {msgspec.structs.replace(action(), **change).sha256 for change in changes}
    assert len(hashes | {action().sha256}) == 7
