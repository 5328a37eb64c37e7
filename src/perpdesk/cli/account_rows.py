"""The accounts table: references to the vault, and the journal of what was done to keys."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TypeVar

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.adapters.vault import AccountEntry, LastCheck
from perpdesk.cli.account_checks import OK
from perpdesk.domain.account_books import AccountRow, AccountStatus, NewAccount
from perpdesk.domain.books import JournalEntry
from perpdesk.domain.errors import LeaseHeld, Refused

T = TypeVar("T")


def _with_store(url: str, act: Callable[[SqlStore], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await SqlStore.open(url) as store:
            return await act(store)

    return asyncio.run(run())


def refuse_row(url: str, name: str) -> None:
    """Raise if the database cannot be used, or has (or had) an account of this name."""

    async def look(store: SqlStore) -> None:
        if await store.account(name) is not None:
            raise Refused(
                "ACCOUNT_EXISTS", f"the database has (or had) an account {name!r}: choose another name"
            )

    _with_store(url, look)


def tell(
    url: str, kind: str, entry: AccountEntry, check: LastCheck | None, *, any_ip: bool, ms: int
) -> AccountRow:
    """Bring the account's row up to what the vault holds, and journal what was done (``kind``)."""

    async def write(store: SqlStore) -> AccountRow:
        async with store.unit() as unit:
            row = await unit.account(entry.name)
            if row is None:
                new = NewAccount(
                    name=entry.name,
                    exchange=entry.exchange,
                    created_ms=entry.created_ms,
                    vault_ref=entry.vault_ref,
                    params={} if entry.exchange_url is None else {"exchange_url": entry.exchange_url},
                )
                row = await unit.add_account(new)
            elif row.vault_ref != entry.vault_ref or row.exchange != entry.exchange:
                raise Refused(
                    "ACCOUNT_EXISTS",
                    f"the database's account {entry.name!r} is another one ({row.exchange}, "
                    f"{row.vault_ref}): is this its vault?",
                )
            if check is not None:
                problem = None if check.verdict == OK else "; ".join(check.sentences)[:500]
                await unit.change_account(
                    row.account_id, ms, last_check_ms=check.at_ms, last_check_problem=problem
                )
            await unit.append_journal([_fact(kind, entry, check, any_ip, ms)])
        return row

    return _with_store(url, write)


def tell_removed(url: str, entry: AccountEntry, ms: int) -> None:
    """Mark the row as removed. The rows that refer to it stay."""

    async def write(store: SqlStore) -> None:
        async with store.unit() as unit:
            row = await unit.account(entry.name)
            if row is not None and row.status is not AccountStatus.REMOVED:
                await unit.change_account(row.account_id, ms, status=AccountStatus.REMOVED)
            await unit.append_journal([_fact("KeyRemoved", entry, None, False, ms)])

    _with_store(url, write)


def refuse_owned(url: str, name: str, now_ms: int) -> None:
    """Raise LeaseHeld if a desk trades on the account now."""

    async def look(store: SqlStore) -> None:
        row = await store.account(name)
        lease = None if row is None else await store.lease(row.account_id)
        if lease is not None and lease.expires_ms > now_ms:
            raise LeaseHeld(name, lease.owner, lease.expires_ms)

    _with_store(url, look)


def _fact(kind: str, entry: AccountEntry, check: LastCheck | None, any_ip: bool, ms: int) -> JournalEntry:
    payload = {
        "account": entry.name,
        "vault_ref": entry.vault_ref,
        "key_version": entry.key_version,
        "by": _who(),
        "any_ip": any_ip,
        "verdict": None if check is None else check.verdict,
        "sentences": [] if check is None else list(check.sentences),
    }
    return JournalEntry(ms=ms, kind=kind, payload=payload)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
