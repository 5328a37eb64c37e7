"""The journal: whoever touches a row is found out."""

from __future__ import annotations

import asyncio
import hashlib
import json
from decimal import Decimal

import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import T0

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import JournalEntry
from perpdesk.domain.errors import InputError


def entry(number: int) -> JournalEntry:
    """A fact with everything that JSON can hold in it."""
    payload = {
        "n": number,
        "price": Decimal("64123.40"),
        "x": [1.5, None, True, "ü\n"],
        "deep": {"b": 1, "a": 2},
    }
    return JournalEntry(ms=T0 + number, kind="order_filled", payload=payload)


async def test_an_empty_journal_is_intact(store: SqlStore) -> None:
    found = await store.verify_journal()
    assert (found.is_intact, found.rows, found.head_hash) == (True, 0, "0" * 64)


async def test_the_chain_can_be_checked_without_us(store: SqlStore, database: Database) -> None:
    await store.append_journal([entry(1), entry(2)])
    await store.append_journal([])
    await store.append_journal([entry(3)])
    prev = "0" * 64
    rows = database.execute("SELECT seq, ms, kind, payload, prev_hash, hash FROM journal ORDER BY seq")
    assert [row[0] for row in rows] == [1, 2, 3]
    for seq, ms, kind, payload, prev_hash, sealed in rows:
        assert prev_hash == prev
        parts = [seq, ms, kind, json.loads(payload), prev_hash]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        prev = hashlib.sha256(text.encode()).hexdigest()
        assert sealed == prev
    found = await store.verify_journal()
    assert (found.is_intact, found.rows, found.head_hash) == (True, 3, prev)
    assert json.loads(rows[0][3])["price"] == "64123.40"


async def test_writers_at_once_make_one_chain(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(3)]
    try:
        await asyncio.gather(*(stores[n % 3].append_journal([entry(n), entry(n + 1)]) for n in range(18)))
        found = await stores[0].verify_journal()
        assert (found.is_intact, found.rows) == (True, 36)
    finally:
        for store in stores:
            await store.close()


async def test_checking_does_not_mind_writers(store: SqlStore) -> None:
    async def write() -> None:
        for number in range(10):
            await store.append_journal([entry(number)])

    writing = asyncio.create_task(write())
    while not writing.done():
        found = await store.verify_journal()
        assert found.is_intact, found.problem
    await writing


TAMPERINGS = [
    (
        "UPDATE journal SET payload = replace(payload, '64123', '54123') WHERE seq = 4",
        4,
        "not what was sealed",
    ),
    ("UPDATE journal SET ms = ms + 1 WHERE seq = 4", 4, "not what was sealed"),
    ("UPDATE journal SET kind = 'order_refused' WHERE seq = 1", 1, "not what was sealed"),
    ("UPDATE journal SET payload = 'gone' WHERE seq = 4", 4, "is not JSON"),
    (f"UPDATE journal SET prev_hash = '{'1' * 64}' WHERE seq = 4", 4, "does not follow"),
    ("DELETE FROM journal WHERE seq = 4", 4, "row 4 is gone"),
    ("DELETE FROM journal WHERE seq = 1", 1, "row 1 is gone"),
    ("DELETE FROM journal WHERE seq > 4", 5, "the end is not as written"),
    ("DELETE FROM journal", 1, "the end is not as written"),
    ("UPDATE journal_head SET seq = 5", 7, "the end is not as written"),
    ("DELETE FROM journal_head", 7, "the head is missing"),
    ("UPDATE journal SET seq = 9 WHERE seq = 6", 6, "row 6 is gone"),
]


async def test_tampering_is_found(store: SqlStore, database: Database) -> None:
    for tampering, broken_seq, problem in TAMPERINGS:
        database.execute(
            "DELETE FROM journal",
            "DELETE FROM journal_head",
            f"INSERT INTO journal_head (id, seq, hash) VALUES (1, 0, '{'0' * 64}')",
        )
        await store.append_journal([entry(number) for number in range(6)])
        assert (await store.verify_journal()).is_intact
        database.execute(tampering)
        found = await store.verify_journal()
        assert not found.is_intact, tampering
        assert found.broken_seq == broken_seq, tampering
        assert problem in str(found.problem), tampering


async def test_a_long_journal_is_read_in_parts(store: SqlStore) -> None:
    await store.append_journal([entry(number) for number in range(2_050)])
    found = await store.verify_journal()
    assert (found.is_intact, found.rows) == (True, 2_050)


async def test_a_bad_entry_takes_the_others_with_it(store: SqlStore) -> None:
    with pytest.raises(InputError, match=r"journal\.kind"):
        await store.append_journal([entry(1), JournalEntry(ms=T0, kind="k" * 41, payload={})])
    assert (await store.verify_journal()).rows == 0
