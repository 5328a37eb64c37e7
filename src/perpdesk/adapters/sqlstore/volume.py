"""``volume_…``: what volume_target keeps, written in batches of many users and read at a start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.adapters.sqlstore import schema_volume as t
from perpdesk.adapters.sqlstore.keyed import add, find, matches
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.session import Session, new_id, savepoint
from perpdesk.domain.books import BooksContradiction
from perpdesk.domain.volume_books import (
    VolumeAcceptance,
    VolumeDay,
    VolumeFill,
    VolumeHalt,
    VolumeLease,
    VolumeOrder,
    VolumePair,
    VolumePairSum,
    VolumeReading,
    VolumeRow,
    VolumeRun,
)

# In the order in which they may be inserted: parents first.
_TABLES: dict[type[VolumeRow], tuple[sa.Table, tuple[str, ...]]] = {
    VolumeRun: (t.RUNS, ("run_id",)),
    VolumePair: (t.PAIRS, ("pair_id",)),
    VolumeOrder: (t.ORDERS, ("client_id",)),
    VolumeFill: (t.FILLS, ("client_id", "trade_id", "cum_qty")),
    VolumeDay: (t.DAYS, ("user_id", "token_key", "day")),
    VolumeReading: (t.READINGS, ()),
    VolumeHalt: (t.HALTS, ()),
}
_HASHED = (t.RUNS, t.PAIRS, t.ORDERS)


def _values(table: sa.Table, row: VolumeRow) -> dict[str, Any]:
    values = msgspec.structs.asdict(row)
    if table in _HASHED:
        values["params_hash"] = values.pop("config_hash")
    return checked(table, values)


class Volume(Session):
    """Runs and pairs of all users."""

    async def save_volume(self, new: Sequence[VolumeRow], changed: Sequence[VolumeRow]) -> None:
        """Write rows of any kind in one durable transaction: all of them or none.

        Raises BooksContradiction where a user would have two live runs or pairs on one token.
        """
        async with self._writing(durable=True) as connection:
            try:
                # what has ended makes room for what begins
                for kind, (table, key) in _TABLES.items():
                    if key:
                        await _update(connection, table, key, [r for r in changed if isinstance(r, kind)])
                for kind, (table, _) in _TABLES.items():
                    rows = [_values(table, row) for row in new if isinstance(row, kind)]
                    if rows:
                        await connection.execute(table.insert(), rows)
            except IntegrityError as error:
                raise BooksContradiction(
                    "a user has a live run or pair on this token already, or a row stands there twice"
                ) from error

    async def start_volume_run(self, row: VolumeRun) -> int:
        """Begin a run (its run_id is not used) and give its id.

        Raises BooksContradiction, naming the strategy, where the user has a live run on the token.
        """
        values = _values(t.RUNS, row)
        del values["run_id"]
        live = t.RUNS.c.ended_ms.is_(None)
        of_user = matches(t.RUNS, {"user_id": row.user_id, "token_key": row.token_key})
        async with self._writing(durable=True) as connection:
            try:
                async with savepoint(connection):
                    return new_id(await connection.execute(t.RUNS.insert(), values))
            except IntegrityError as error:
                name = await connection.scalar(sa.select(t.RUNS.c.strategy_id).where(live, *of_user))
                raise BooksContradiction(
                    f"user {row.user_id} trades {row.token_key} in strategy {name} already: stop it first"
                ) from error

    async def volume_runs(
        self, *, strategy_id: str | None = None, live_only: bool = False
    ) -> list[VolumeRun]:
        """Runs, oldest first."""
        select = sa.select(t.RUNS, t.RUNS.c.params_hash.label("config_hash")).order_by(t.RUNS.c.run_id)
        if strategy_id is not None:
            select = select.where(t.RUNS.c.strategy_id == strategy_id)
        if live_only:
            select = select.where(t.RUNS.c.ended_ms.is_(None))
        return await self._listed(VolumeRun, select)

    async def volume_pairs(
        self,
        *,
        run_ids: Sequence[int] | None = None,
        live_only: bool = False,
        pair_id: str | None = None,
        token_key: str | None = None,
        user_id: int | None = None,
    ) -> list[VolumePair]:
        """Pairs in the order of runs and numbers."""
        c = t.PAIRS.c
        select = sa.select(t.PAIRS, c.params_hash.label("config_hash")).order_by(c.run_id, c.seq)
        if run_ids is not None:
            select = select.where(c.run_id.in_(run_ids))
        if live_only:
            select = select.where(c.state != "FLAT")
        for column, value in ((c.pair_id, pair_id), (c.token_key, token_key), (c.user_id, user_id)):
            if value is not None:
                select = select.where(column == value)
        return await self._listed(VolumePair, select)

    async def volume_pair_sums(self, run_ids: Sequence[int]) -> list[VolumePairSum]:
        """What a status needs of the pairs of these runs, in order."""
        c = t.PAIRS.c
        columns = [c[name] for name in VolumePairSum.__struct_fields__]
        select = sa.select(*columns).where(c.run_id.in_(run_ids)).order_by(c.run_id, c.seq)
        return await self._listed(VolumePairSum, select)

    async def volume_orders(self, pair_id: str | None = None) -> list[VolumeOrder]:
        """Orders (of one pair)."""
        select = sa.select(t.ORDERS, t.ORDERS.c.params_hash.label("config_hash"))
        if pair_id is not None:
            select = select.where(t.ORDERS.c.pair_id == pair_id)
        return await self._listed(VolumeOrder, select.order_by(t.ORDERS.c.client_id))

    async def volume_fills(
        self,
        user_id: int | None = None,
        token_key: str | None = None,
        from_ms: int = 0,
        until_ms: int | None = None,
    ) -> list[VolumeFill]:
        """Executions by venue time."""
        c = t.FILLS.c
        select = sa.select(t.FILLS).where(c.venue_ms >= from_ms)
        if user_id is not None:
            select = select.where(c.user_id == user_id)
        if token_key is not None:
            select = select.where(c.token_key == token_key)
        if until_ms is not None:
            select = select.where(c.venue_ms < until_ms)
        return await self._listed(VolumeFill, select.order_by(c.venue_ms, c.trade_id))

    async def volume_days(self, token_key: str, day: int) -> list[VolumeDay]:
        """What is known of a token's day, of every user."""
        select = sa.select(t.DAYS).where(*matches(t.DAYS, {"token_key": token_key, "day": day}))
        return await self._listed(VolumeDay, select.order_by(t.DAYS.c.user_id))

    async def volume_losses(self, day: int) -> dict[int, Decimal]:
        """The loss of each user on a day, over all tokens."""
        select = sa.select(t.DAYS).where(t.DAYS.c.day == day)
        losses: dict[int, Decimal] = {}
        for row in await self._listed(VolumeDay, select):
            losses[row.user_id] = losses.get(row.user_id, Decimal(0)) + row.loss_usdt
        return losses

    async def volume_readings(self, user_id: int, token_key: str) -> list[VolumeReading]:
        """Queries of the counter, oldest first."""
        where = matches(t.READINGS, {"user_id": user_id, "token_key": token_key})
        return await self._listed(
            VolumeReading, sa.select(t.READINGS).where(*where).order_by(t.READINGS.c.id)
        )

    async def volume_reading_times(self, token_keys: Sequence[str]) -> dict[tuple[int, str], int]:
        """When each (user, token) was last read in full: UTC ms. Queries that failed do not count."""
        c = t.READINGS.c
        select = (
            sa.select(c.user_id, c.token_key, sa.func.max(c.read_ms))
            .where(c.token_key.in_(token_keys), c.displayed.is_not(None))
            .group_by(c.user_id, c.token_key)
        )
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return {(row[0], row[1]): int(row[2]) for row in rows}

    async def volume_halts(self, strategy_id: str | None = None) -> list[VolumeHalt]:
        """Halts that no person has cleared."""
        select = sa.select(t.HALTS).where(t.HALTS.c.cleared_ms.is_(None))
        if strategy_id is not None:
            select = select.where(t.HALTS.c.strategy_id == strategy_id)
        return await self._listed(VolumeHalt, select.order_by(t.HALTS.c.id))

    async def clear_volume_halts(self, user_id: int, ms: int, by: str) -> int:
        """A person lets a user's runs go on; how many halts that were."""
        values = checked(t.HALTS, {"cleared_ms": ms, "cleared_by": by})
        update = t.HALTS.update().where(t.HALTS.c.user_id == user_id, t.HALTS.c.cleared_ms.is_(None))
        async with self._writing(durable=True) as connection:
            return int((await connection.execute(update.values(values))).rowcount)

    async def accept_volume_notice(self, row: VolumeAcceptance) -> bool:
        """Note that a user accepts a notice. False: it was noted before."""
        key = {"user_id": row.user_id, "notice_hash": row.notice_hash}
        async with self._writing(durable=True) as connection:
            return await add(connection, t.ACCEPTANCES, key, checked(t.ACCEPTANCES, row))

    async def volume_acceptances(self, notice_hash: str) -> set[int]:
        """Who has accepted the notice with this hash."""
        select = sa.select(t.ACCEPTANCES).where(t.ACCEPTANCES.c.notice_hash == notice_hash)
        return {row.user_id for row in await self._listed(VolumeAcceptance, select)}

    async def take_volume_lease(self, name: str, owner: str, now_ms: int, ttl_ms: int) -> VolumeLease:
        """Take or renew a token's lease. The one that is given may be another owner's: then it is held."""
        mine = {"owner": owner, "expires_ms": now_ms + ttl_ms}
        async with self._writing(durable=True) as connection:
            row = await find(connection, t.LEASES, {"name": name}, lock=True)
            if row is None:
                first = VolumeLease(name=name, owner=owner, epoch=1, expires_ms=now_ms + ttl_ms)
                if await add(connection, t.LEASES, {"name": name}, checked(t.LEASES, first)):
                    return first
                row = await find(connection, t.LEASES, {"name": name}, lock=True)
                assert row is not None
            held = typed(VolumeLease, row)
            if held.owner != owner and held.expires_ms > now_ms:
                return held
            epoch = held.epoch if held.owner == owner else held.epoch + 1
            values = checked(t.LEASES, mine | {"epoch": epoch})
            await connection.execute(t.LEASES.update().where(t.LEASES.c.name == name).values(values))
            return VolumeLease(name=name, owner=owner, epoch=epoch, expires_ms=now_ms + ttl_ms)

    async def free_volume_lease(self, name: str, owner: str) -> None:
        """Give a lease back; another owner's stays."""
        update = t.LEASES.update().where(*matches(t.LEASES, {"name": name, "owner": owner}))
        async with self._writing(durable=True) as connection:
            await connection.execute(update.values(expires_ms=0))

    async def _listed(self, kind: type[Any], select: sa.Select[Any]) -> list[Any]:
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(kind, row) for row in rows]


async def _update(
    connection: AsyncConnection, table: sa.Table, key: tuple[str, ...], rows: Sequence[VolumeRow]
) -> None:
    if not rows:
        return
    values: list[Mapping[str, Any]] = [_values(table, row) for row in rows]
    names = [name for name in values[0] if name not in key]
    # run and days come before pairs and the like, so no parent is missing
    where = [table.c[name] == sa.bindparam(f"key_{name}") for name in key]
    update = table.update().where(*where).values({name: sa.bindparam(f"new_{name}") for name in names})
    bound = [
        {f"key_{name}": row[name] for name in key} | {f"new_{name}": row[name] for name in names}
        for row in values
    ]
    await connection.execute(update, bound)
