"""``journal``: facts in the order in which they became known, each row sealing the one before it.

``hash`` is the sha256 of the canonical JSON of ``[seq, ms, kind, payload, prev_hash]``. Whoever changes,
removes, inserts or reorders a row has to rewrite every later hash and the head: keep the head's hash
elsewhere (the report prints it), and that shows too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.adapters.sqlstore.rows import checked
from perpdesk.adapters.sqlstore.schema import JOURNAL, JOURNAL_HEAD
from perpdesk.adapters.sqlstore.session import Session
from perpdesk.adapters.sqlstore.types import canonical_json
from perpdesk.domain.books import JournalCheck, JournalEntry

GENESIS_HASH = "0" * 64
_CHUNK = 1_000


def seal(seq: int, ms: int, kind: str, payload: Any, prev_hash: str) -> str:
    """The hash of a row."""
    return hashlib.sha256(canonical_json([seq, ms, kind, payload, prev_hash]).encode()).hexdigest()


class Journal(Session):
    """The journal of all accounts."""

    async def append_journal(self, entries: Sequence[JournalEntry]) -> None:
        """Append facts, in this order."""
        if not entries:
            return
        async with self._writing() as connection:
            await append(connection, entries)


async def append(connection: AsyncConnection, entries: Sequence[JournalEntry]) -> None:
    """Append facts in this transaction: they are written with what they tell of, or not at all."""
    # Writers take the head in turn, so that the chain has no forks.
    head = (await connection.execute(sa.select(JOURNAL_HEAD).with_for_update())).one()
    seq, prev = head.seq, head.hash
    rows = []
    for entry in entries:
        seq += 1
        row = {"seq": seq, "ms": entry.ms, "kind": entry.kind, "prev_hash": prev}
        prev = seal(seq, entry.ms, entry.kind, entry.payload, prev)
        rows.append(checked(JOURNAL, row | {"payload": canonical_json(entry.payload), "hash": prev}))
    await connection.execute(JOURNAL.insert(), rows)
    await connection.execute(JOURNAL_HEAD.update().values(seq=seq, hash=prev))


async def verify(connection: AsyncConnection) -> JournalCheck:
    """Read the whole journal and check every seal. The connection must see one picture throughout."""
    seq, prev = 0, GENESIS_HASH
    head = (await connection.execute(sa.select(JOURNAL_HEAD))).one_or_none()
    while True:
        chunk = sa.select(JOURNAL).where(JOURNAL.c.seq > seq).order_by(JOURNAL.c.seq).limit(_CHUNK)
        rows = (await connection.execute(chunk)).all()
        for row in rows:
            problem = _problem_of(row, seq + 1, prev)
            if problem is not None:
                return JournalCheck(rows=seq, head_hash=prev, broken_seq=seq + 1, problem=problem)
            seq, prev = row.seq, row.hash
        if len(rows) < _CHUNK:
            break
    if head is None or (head.seq, head.hash) != (seq, prev):
        said = "is missing" if head is None else f"says {head.seq} rows, sealed {head.hash[:12]}"
        problem = f"the head {said}; found are {seq} rows, sealed {prev[:12]}: the end is not as written"
        return JournalCheck(rows=seq, head_hash=prev, broken_seq=seq + 1, problem=problem)
    return JournalCheck(rows=seq, head_hash=prev)


def _problem_of(row: Any, seq: int, prev: str) -> str | None:
    if row.seq != seq:
        return f"row {seq} is gone, the next is {row.seq}"
    if row.prev_hash != prev:
        return f"row {seq} does not follow the row before it"
    try:
        payload = json.loads(row.payload)
    except ValueError:
        return f"the payload of row {seq} is not JSON"
    if seal(row.seq, row.ms, row.kind, payload, row.prev_hash) != row.hash:
        return f"row {seq} is not what was sealed"
    return None
