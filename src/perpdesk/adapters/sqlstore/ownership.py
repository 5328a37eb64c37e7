"""``account_leases``, ``guardian_heartbeat``, ``symbol_owners``, ``control_actions``: who may do what.

A lease changes hands by compare-and-set in one transaction, and its epoch only rises. The database's time is
never asked: callers give theirs, read before the call, so that a slow database only shortens a lease.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from perpdesk.adapters.sqlstore.journal import append
from perpdesk.adapters.sqlstore.keyed import add, amend, find, matches
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema_accounts import CONTROL_ACTIONS, HEARTBEATS, LEASES, SYMBOL_OWNERS
from perpdesk.adapters.sqlstore.session import Session
from perpdesk.domain.books import Failed, JournalEntry, Missing, StoreBusy, StoreFailed
from perpdesk.domain.errors import InternalError
from perpdesk.domain.kill import ControlAction
from perpdesk.domain.ownership import (
    CLOCK_ERROR_MS,
    Heartbeat,
    Held,
    Lease,
    LeaseClaim,
    LeaseRow,
    SymbolOwner,
    SymbolTaken,
)


class Ownership(Session):
    """Leases, signs of life, symbols, and what people said."""

    async def take_lease(
        self,
        claim: LeaseClaim,
        now_ms: int,
        *,
        ttl_ms: int,
        clock_error_ms: int = CLOCK_ERROR_MS,
        above_epoch: int = 0,
        dead_owners: Collection[str] = (),
        quiet_ms: int | None = None,
    ) -> Lease | Held:
        """Take an account's lease if it is free, lapsed by two clock errors, or this owner's already."""
        key = {"account_id": claim.account_id}
        values = checked(
            LEASES,
            {field: getattr(claim, field) for field in claim.__struct_fields__}
            | {"epoch": above_epoch + 1, "expires_ms": now_ms + ttl_ms}
            | {"taken_ms": now_ms, "renewed_ms": now_ms},
        )
        from_ms = now_ms
        async with self._writing(durable=True) as connection:
            row = await find(connection, LEASES, key, lock=True)
            if row is None:
                if await add(connection, LEASES, key, values):
                    return _lease(values, from_ms)
                # Unlocked: those who lost the race would lock each other out. The update below compares.
                row = await find(connection, LEASES, key)
                if row is None:
                    raise InternalError(
                        f"the lease of account {claim.account_id} can be neither read nor made"
                    )
            free_ms = row.expires_ms + 2 * clock_error_ms
            if row.owner != claim.owner and now_ms < free_ms:
                if row.owner not in dead_owners or quiet_ms is None:
                    return _held(row, free_ms)
                # Its process is dead, but a request that it signed may still be under way.
                from_ms = min(free_ms, max(now_ms, quiet_ms))
            values["epoch"] = max(row.epoch, above_epoch) + 1
            change = LEASES.update().where(*matches(LEASES, key), LEASES.c.epoch == row.epoch).values(values)
            if (await connection.execute(change)).rowcount != 1:
                raise StoreBusy(f"the lease of account {claim.account_id} just changed hands: try again")
        return _lease(values, from_ms)

    async def renew_lease(self, lease: Lease, now_ms: int, *, ttl_ms: int) -> Lease | None:
        """Extend a lease that is still this owner's and epoch's. None: it is another's now, for good."""
        key = {"account_id": lease.account_id}
        async with self._writing(durable=True) as connection:
            row = await find(connection, LEASES, key, lock=True)
            if row is None or (row.owner, row.epoch) != (lease.owner, lease.epoch):
                return None
            end_ms = max(row.expires_ms, now_ms + ttl_ms)
            values = checked(LEASES, {"expires_ms": end_ms, "renewed_ms": now_ms})
            await amend(connection, LEASES, key | {"epoch": lease.epoch}, values)
        return Lease(
            account_id=lease.account_id,
            owner=lease.owner,
            epoch=lease.epoch,
            from_ms=lease.from_ms,
            end_ms=end_ms,
        )

    async def release_lease(self, lease: Lease, free_ms: int) -> bool:
        """Let the lease end at ``free_ms`` if that is sooner. False: it was another's already."""
        key = {"account_id": lease.account_id}
        async with self._writing(durable=True) as connection:
            row = await find(connection, LEASES, key, lock=True)
            if row is None or (row.owner, row.epoch) != (lease.owner, lease.epoch):
                return False
            values = checked(LEASES, {"expires_ms": min(row.expires_ms, free_ms)})
            await connection.execute(LEASES.update().where(*matches(LEASES, key)).values(values))
        return True

    async def lease(self, account_id: int) -> LeaseRow | None:
        """Who has the account, or had it last. None: nobody ever had."""
        async with self._reading() as connection:
            row = await find(connection, LEASES, {"account_id": account_id})
        return None if row is None else typed(LeaseRow, row)

    async def beat(self, heartbeat: Heartbeat) -> bool:
        """Write a sign of life. False, changing nothing, if a later epoch or beat is known."""
        key = {"account_id": heartbeat.account_id, "strategy": heartbeat.strategy}
        values = checked(HEARTBEATS, heartbeat)
        async with self._writing() as connection:
            row = await find(connection, HEARTBEATS, key, lock=True)
            if row is None:
                if await add(connection, HEARTBEATS, key, values):
                    return True
                row = await find(connection, HEARTBEATS, key, lock=True)
            if row is None or (heartbeat.epoch, heartbeat.seq) < (row.epoch, row.seq):
                return False
            await amend(connection, HEARTBEATS, key, values)
        return True

    async def heartbeat(self, account_id: int, strategy: str) -> Heartbeat | Missing | Failed:
        """The last sign of life. Never raises for a database that does not answer."""
        key = {"account_id": account_id, "strategy": strategy}
        try:
            async with self._reading() as connection:
                row = await find(connection, HEARTBEATS, key)
        except StoreFailed as error:
            return Failed(reason=str(error))
        return Missing() if row is None else typed(Heartbeat, row)

    async def heartbeats(self, account_id: int | None = None) -> list[Heartbeat]:
        """The last signs of life of an account's strategies (None: of all accounts)."""
        table = HEARTBEATS.c
        select = sa.select(HEARTBEATS).order_by(table.account_id, table.strategy)
        if account_id is not None:
            select = select.where(table.account_id == account_id)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(Heartbeat, row) for row in rows]

    async def take_symbol(self, account_id: int, symbol: str, strategy: str, ms: int) -> SymbolOwner:
        """Make a symbol this strategy's. Raises SymbolTaken if it is another's: the key decides races."""
        key = {"account_id": account_id, "symbol": symbol}
        values = checked(SYMBOL_OWNERS, key | {"strategy": strategy, "since_ms": ms})
        async with self._writing(durable=True) as connection:
            row = await find(connection, SYMBOL_OWNERS, key)
            if row is None:
                if await add(connection, SYMBOL_OWNERS, key, values):
                    return SymbolOwner(account_id=account_id, symbol=symbol, strategy=strategy, since_ms=ms)
                row = await find(connection, SYMBOL_OWNERS, key)
                if row is None:
                    raise InternalError(f"the owner of {symbol} can be neither read nor made")
        owner = typed(SymbolOwner, row)
        if owner.strategy != strategy:
            raise SymbolTaken(owner)
        return owner

    async def free_symbol(self, account_id: int, symbol: str, strategy: str) -> bool:
        """Give a symbol up. False, changing nothing, if it was not this strategy's."""
        key = {"account_id": account_id, "symbol": symbol, "strategy": strategy}
        async with self._writing() as connection:
            gone = await connection.execute(SYMBOL_OWNERS.delete().where(*matches(SYMBOL_OWNERS, key)))
        return gone.rowcount == 1

    async def symbol_owners(self, account_id: int) -> list[SymbolOwner]:
        """Whose the symbols of an account are, by symbol."""
        table = SYMBOL_OWNERS.c
        select = sa.select(SYMBOL_OWNERS).where(table.account_id == account_id).order_by(table.symbol)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(SymbolOwner, row) for row in rows]

    async def record_control_action(self, action: ControlAction, ms: int) -> bool:
        """Write what a person said, with its journal entry, once. False if it is written already."""
        fields = {name: getattr(action, name) for name in action.__struct_fields__}
        values = checked(CONTROL_ACTIONS, fields | {"sha256": action.sha256, "recorded_ms": ms})
        async with self._writing(durable=True) as connection:
            key = {"sha256": action.sha256}
            known = await find(connection, CONTROL_ACTIONS, key) is not None
            if known or not await add(connection, CONTROL_ACTIONS, key, values):
                return False
            await append(connection, [JournalEntry(ms=ms, kind="kill", payload=fields)])
        return True

    async def control_actions(self, account_id: int) -> list[ControlAction]:
        """What people said about an account, in order of time."""
        table = CONTROL_ACTIONS.c
        select = sa.select(CONTROL_ACTIONS).where(table.account_id == account_id)
        async with self._reading() as connection:
            rows = (await connection.execute(select.order_by(table.ms, table.seq))).all()
        return [typed(ControlAction, row) for row in rows]


def _lease(values: dict[str, object], from_ms: int) -> Lease:
    return Lease(
        account_id=_int(values["account_id"]),
        owner=str(values["owner"]),
        epoch=_int(values["epoch"]),
        from_ms=from_ms,
        end_ms=_int(values["expires_ms"]),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _held(row: sa.Row[tuple[object, ...]], until_ms: int) -> Held:
    return Held(
        by=row.owner,
        host=row.host,
        pid=row.pid,
        epoch=row.epoch,
        build_hash=row.build_hash,
        until_ms=until_ms,
    )
