"""``grid_…``: leases, processes, scans, runs, fills and reports of the grid's commands."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from perpdesk.adapters.sqlstore import schema_grid as t
from perpdesk.adapters.sqlstore.keyed import add, find, matches
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.session import Session, new_id
from perpdesk.domain.books import BooksContradiction, StoreBusy
from perpdesk.domain.grid_books import (
    GridBacktest,
    GridFill,
    GridLease,
    GridProcess,
    GridRun,
    GridScan,
    GridSignalNumbers,
)


class Grid(Session):
    """What the grid's commands keep."""

    async def take_grid_lease(
        self, name: str, owner: str, build_hash: str, now_ms: int, ttl_ms: int
    ) -> GridLease | None:
        """Take the lease if it is free, lapsed or this owner's already; None: another holds it."""
        key = {"name": name}
        wish = {"owner": owner, "epoch": 1, "expires_ms": now_ms + ttl_ms, "build_hash": build_hash}
        async with self._writing(durable=True) as connection:
            row = await find(connection, t.LEASES, key, lock=True)
            if row is None:
                if await add(connection, t.LEASES, key, checked(t.LEASES, {**key, **wish})):
                    return GridLease(
                        name=name, owner=owner, epoch=1, expires_ms=now_ms + ttl_ms, build_hash=build_hash
                    )
                return None  # somebody was faster
            if row.owner != owner and now_ms < row.expires_ms:
                return None
            wish["epoch"] = row.epoch + 1
            change = t.LEASES.update().where(*matches(t.LEASES, key), t.LEASES.c.epoch == row.epoch)
            if (await connection.execute(change.values(checked(t.LEASES, wish)))).rowcount != 1:
                return None
        return GridLease(
            name=name, owner=owner, epoch=row.epoch + 1, expires_ms=now_ms + ttl_ms, build_hash=build_hash
        )

    async def fence_grid_lease(self, lease: GridLease, expires_ms: int) -> None:
        """Inside a unit: what is written with it is committed only if the lease is still this one's.

        Raises StoreBusy if it is another's.
        """
        table = t.LEASES
        mine = (
            *matches(table, {"name": lease.name}),
            table.c.epoch == lease.epoch,
            table.c.owner == lease.owner,
        )
        async with self._writing() as connection:
            change = table.update().where(*mine).values(checked(table, {"expires_ms": expires_ms}))
            if (await connection.execute(change)).rowcount != 1:
                raise StoreBusy(f"the lease {lease.name} is another's now: nothing was written")

    async def release_grid_lease(self, lease: GridLease) -> None:
        """Let another take it at once."""
        table = t.LEASES
        mine = (*matches(table, {"name": lease.name}), table.c.epoch == lease.epoch)
        async with self._writing() as connection:
            await connection.execute(table.update().where(*mine).values(checked(table, {"expires_ms": 0})))

    async def add_grid_process(self, process: GridProcess) -> int:
        """Write down an execution; returns its id."""
        async with self._writing() as connection:
            done = await connection.execute(t.PROCESSES.insert(), checked(t.PROCESSES, process))
            return new_id(done)

    async def grid_process(self, process_id: int) -> GridProcess | None:
        """An execution by its id."""
        async with self._reading() as connection:
            row = await find(connection, t.PROCESSES, {"id": process_id})
        return None if row is None else typed(GridProcess, row)

    async def record_grid_scan(self, scan: GridScan) -> bool:
        """Write a scan once. False: it is there. Another result for the same data and parameters is a
        BooksContradiction; a scan that could not be made is replaced by one that could."""
        key = {"symbol": scan.symbol, "as_of_ms": scan.as_of_ms, "params_hash": scan.params_hash}
        async with self._writing() as connection:
            if await add(connection, t.SCANS, key, checked(t.SCANS, scan)):
                return True
            row = await find(connection, t.SCANS, key)
            if row is None or row.document_hash == scan.document_hash:
                return False
            if row.status == "OK":
                raise BooksContradiction(
                    f"the scan of {scan.symbol} as of {scan.as_of_ms} is written down with other figures: "
                    "the scan is not reproducible, or its data changed"
                )
            await connection.execute(
                t.SCANS.update().where(*matches(t.SCANS, key)).values(checked(t.SCANS, scan))
            )
            return True

    async def grid_scans(self, symbol: str, params_hash: str, from_ms: int) -> list[GridScan]:
        """Scans as of from_ms or later, oldest first."""
        table = t.SCANS.c
        select = sa.select(t.SCANS).where(
            table.symbol == symbol, table.params_hash == params_hash, table.as_of_ms >= from_ms
        )
        async with self._reading() as connection:
            rows = (await connection.execute(select.order_by(table.as_of_ms))).all()
        return [typed(GridScan, row) for row in rows]

    async def record_signal_numbers(self, numbers: GridSignalNumbers) -> None:
        """Write a signal's numbers once."""
        key = {"signal_id": numbers.signal_id}
        async with self._writing() as connection:
            await add(connection, t.SIGNAL_NUMBERS, key, checked(t.SIGNAL_NUMBERS, numbers))

    async def signal_numbers(self, signal_id: str) -> GridSignalNumbers | None:
        """A signal's numbers."""
        async with self._reading() as connection:
            row = await find(connection, t.SIGNAL_NUMBERS, {"signal_id": signal_id})
        return None if row is None else typed(GridSignalNumbers, row)

    async def save_grid_run(self, run: GridRun) -> None:
        """Write a run as it stands, new or known."""
        key = {"run_id": run.run_id}
        values = checked(t.GRID_RUNS, run)
        async with self._writing() as connection:
            change = {name: value for name, value in values.items() if name not in ("run_id", "created_ms")}
            update = t.GRID_RUNS.update().where(*matches(t.GRID_RUNS, key)).values(change)
            if (await connection.execute(update)).rowcount == 0:
                await connection.execute(t.GRID_RUNS.insert(), values)

    async def grid_runs(self, account_id: int | None = None, symbol: str | None = None) -> list[GridRun]:
        """Runs in the order of their starts."""
        table = t.GRID_RUNS.c
        select = sa.select(t.GRID_RUNS).order_by(table.begun_ms, table.run_id)
        if account_id is not None:
            select = select.where(table.account_id == account_id)
        if symbol is not None:
            select = select.where(table.symbol == symbol)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(GridRun, row) for row in rows]

    async def grid_run(self, run_id: int) -> GridRun | None:
        """A run by its number."""
        async with self._reading() as connection:
            row = await find(connection, t.GRID_RUNS, {"run_id": run_id})
        return None if row is None else typed(GridRun, row)

    async def record_grid_fills(self, fills: Sequence[GridFill]) -> int:
        """Write fills, each once; returns how many were new. Other figures are a BooksContradiction."""
        new = 0
        async with self._writing() as connection:
            for fill in fills:
                key = {"run_id": fill.run_id, "trade_id": fill.trade_id}
                row = await find(connection, t.GRID_FILLS, key)
                if row is None:
                    await connection.execute(t.GRID_FILLS.insert(), checked(t.GRID_FILLS, fill))
                    new += 1
                elif typed(GridFill, row) != fill:
                    raise BooksContradiction(
                        f"fill {fill.trade_id} of grid run {fill.run_id} is written down with other figures: "
                        "the run's bars or rows were changed"
                    )
        return new

    async def grid_fills(self, run_id: int) -> list[GridFill]:
        """The fills of a run in order."""
        table = t.GRID_FILLS.c
        select = sa.select(t.GRID_FILLS).where(table.run_id == run_id).order_by(table.trade_id)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(GridFill, row) for row in rows]

    async def add_grid_backtest(self, report: GridBacktest) -> int:
        """Write a report; returns its id."""
        values = msgspec.structs.asdict(report)
        values.pop("id")
        async with self._writing(durable=True) as connection:
            return new_id(await connection.execute(t.BACKTESTS.insert(), checked(t.BACKTESTS, values)))

    async def grid_backtests(self, symbol: str, params_hash: str, kernel_hash: str) -> list[GridBacktest]:
        """Reports under these parameters and this code, newest last."""
        key = {"symbol": symbol, "params_hash": params_hash, "kernel_hash": kernel_hash}
        select = sa.select(t.BACKTESTS).where(*matches(t.BACKTESTS, key)).order_by(t.BACKTESTS.c.id)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(GridBacktest, row) for row in rows]
