"""The tables of the grid's commands: leases, processes, scans, numbers of signals, runs, fills, reports."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from tests.contract.store_rows import ACCOUNT, T0, Rows, ready
from tests.contract.test_store_signals import order, signal, zone

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import BooksContradiction, StoreBusy
from perpdesk.domain.errors import InputError
from perpdesk.domain.grid_books import (
    GridBacktest,
    GridFill,
    GridLease,
    GridProcess,
    GridRun,
    GridScan,
    GridSignalNumbers,
)
from perpdesk.domain.order import Side

NAME, HASH = "grid:executor:BTCUSDT", "c" * 64


def process(rows: Rows, **given: object) -> GridProcess:
    """One call of the scanner."""
    values: dict[str, object] = {
        "command": "scanner",
        "symbol": "BTCUSDT",
        "params_hash": rows.params_hash,
        "code_revision": "0123abc+",
        "kernel_hash": "0123456789abcdef",
        "data_from_ms": T0 - 5,
        "data_to_ms": T0,
        "data_hash": HASH,
        "status": "ok",
        "created_ms": T0,
    }
    return GridProcess(**values | given)  # type: ignore[arg-type]


def scan(rows: Rows, number: int, **given: object) -> GridScan:
    """A scan whose bars were not there yet."""
    values: dict[str, object] = {
        "symbol": "BTCUSDT",
        "as_of_ms": T0,
        "params_hash": rows.params_hash,
        "status": "BAR_NOT_READY",
        "reason": "4h: the last bar is missing",
        "document": '{"status":"BAR_NOT_READY"}',
        "document_hash": "1" * 64,
        "process_id": number,
        "created_ms": T0,
    }
    return GridScan(**values | given)  # type: ignore[arg-type]


def run(rows: Rows, number: int, **given: object) -> GridRun:
    """A long grid that has just begun."""
    values: dict[str, object] = {
        "run_id": 72_354_728_295_495,
        "account_id": ACCOUNT,
        "symbol": "BTCUSDT",
        "mode": "paper",
        "variant": "LONG",
        "signal_id": "a" * 64,
        "state": "ACTIVE",
        "document": '{"plan":{},"words":[]}',
        "document_hash": "2" * 64,
        "begun_ms": T0,
        "last_bar_ms": T0,
        "kernel_hash": "0123456789abcdef",
        "params_hash": rows.params_hash,
        "process_id": number,
        "created_ms": T0,
        "updated_ms": T0,
        "override_text": "because",
    }
    return GridRun(**values | given)  # type: ignore[arg-type]


def fill(rows: Rows, **given: object) -> GridFill:
    """A maker's fill of the third level."""
    values: dict[str, object] = {
        "run_id": 72_354_728_295_495,
        "trade_id": 1,
        "client_id": "pg7-1-3E1",
        "level": 3,
        "side": Side.BUY,
        "lots": 40,
        "price": Decimal("63950.1"),
        "fee": Decimal("0.51160080"),
        "realized": Decimal(0),
        "is_maker": True,
        "reason": "LADDER",
        "venue_ms": T0 + 20_000,
        "params_hash": rows.params_hash,
    }
    return GridFill(**values | given)  # type: ignore[arg-type]


async def founded(store: SqlStore) -> tuple[Rows, int]:
    """Parameters, a process, a zone and a signal: what a run refers to."""
    rows = await ready(store)
    number = await store.add_grid_process(process(rows))
    await store.record_grid_zones([zone(rows)])
    await store.save_signal(signal(rows))
    return rows, number


async def test_a_lease_has_one_owner_and_fences_what_is_written(store: SqlStore) -> None:
    first = await store.take_grid_lease(NAME, "one", "build", T0, 1000)
    assert first is not None
    assert await store.take_grid_lease(NAME, "two", "build", T0 + 999, 1000) is None
    second = await store.take_grid_lease(NAME, "two", "build", T0 + 1000, 1000)
    assert second is not None
    assert second.epoch == first.epoch + 1
    rows = await ready(store)

    async def written_under(lease: GridLease) -> None:
        async with store.unit() as unit:
            await unit.record_grid_zones([zone(rows)])
            await unit.fence_grid_lease(lease, T0 + 5000)

    with pytest.raises(StoreBusy):  # the first one wakes up: it writes nothing any more
        await written_under(first)
    assert await store.grid_zones("BTCUSDT") == []
    await written_under(second)
    assert await store.take_grid_lease(NAME, "three", "build", T0 + 4999, 1000) is None
    await store.release_grid_lease(second)
    assert (await store.take_grid_lease(NAME, "three", "build", T0 + 1001, 1000)) is not None
    assert (await store.take_grid_lease("grid:scanner:BTCUSDT", "four", "build", T0, 1000)) is not None


async def test_a_scan_that_could_not_be_made_is_replaced_one_that_could_is_not(store: SqlStore) -> None:
    rows, number = await founded(store)
    assert (await store.grid_process(number)) == process(rows)
    assert await store.record_grid_scan(scan(rows, number))
    assert not await store.record_grid_scan(scan(rows, number, created_ms=T0 + 9))
    made = scan(rows, number, status="OK", reason="", document='{"status":"OK"}', document_hash="3" * 64)
    assert await store.record_grid_scan(made)
    assert await store.grid_scans("BTCUSDT", rows.params_hash, T0) == [made]
    assert await store.grid_scans("BTCUSDT", rows.params_hash, T0 + 1) == []
    with pytest.raises(BooksContradiction, match="not reproducible"):
        await store.record_grid_scan(scan(rows, number, status="OK", document_hash="4" * 64))
    with pytest.raises(BooksContradiction):  # of a process that never was
        await store.record_grid_scan(scan(rows, number + 1000, as_of_ms=T0 + 1))


async def test_the_numbers_of_a_signal_are_written_once(store: SqlStore) -> None:
    _, number = await founded(store)
    numbers = GridSignalNumbers(
        signal_id="a" * 64, process_id=number, document='{"rule":"SPRING"}', document_hash="5" * 64
    )
    await store.record_signal_numbers(numbers)
    await store.record_signal_numbers(msgspec.structs.replace(numbers, document="{}"))
    assert await store.signal_numbers("a" * 64) == numbers
    assert await store.signal_numbers("b" * 64) is None


async def test_an_account_has_one_live_grid_on_a_symbol(store: SqlStore) -> None:
    rows, number = await founded(store)
    await store.save_signal(signal(rows, id="b" * 64, bar_close_ms=T0 + 1_800_000))
    first = run(rows, number)
    await store.save_grid_run(first)
    other = run(rows, number, run_id=9, signal_id="b" * 64, begun_ms=T0 + 5)
    with pytest.raises(BooksContradiction):
        await store.save_grid_run(other)
    closing = msgspec.structs.replace(first, state="CLOSING", updated_ms=T0 + 3)
    await store.save_grid_run(closing)
    with pytest.raises(BooksContradiction):  # CLOSING is not over
        await store.save_grid_run(other)
    ended = msgspec.structs.replace(closing, state="IDLE", ended_ms=T0 + 4, close_reason="DRAWDOWN")
    await store.save_grid_run(ended)
    await store.save_grid_run(other)
    assert await store.grid_runs(ACCOUNT, "BTCUSDT") == [ended, other]
    assert await store.grid_runs(ACCOUNT + 1) == []
    assert await store.grid_run(9) == other
    with pytest.raises(BooksContradiction):  # one signal starts one grid
        await store.save_grid_run(run(rows, number, run_id=10, account_id=ACCOUNT, begun_ms=T0 + 6))


async def test_a_fill_is_booked_once_and_never_another_way(store: SqlStore) -> None:
    rows, number = await founded(store)
    await store.save_grid_run(run(rows, number))
    await store.save_grid_order(order(rows, run_id=72_354_728_295_495))
    assert await store.record_grid_fills([fill(rows)]) == 1
    second = fill(rows, trade_id=2, realized=Decimal("-1.25"))
    assert await store.record_grid_fills([fill(rows), second]) == 1
    assert await store.grid_fills(72_354_728_295_495) == [fill(rows), second]
    with pytest.raises(BooksContradiction, match="other figures"):
        await store.record_grid_fills([fill(rows, lots=41)])
    with pytest.raises(BooksContradiction):  # of an order that was never sent
        await store.record_grid_fills([fill(rows, trade_id=3, client_id="pg7-1-4E1")])


@pytest.mark.parametrize("row", ["process", "scan", "run", "fill"])
async def test_no_row_is_without_its_parameters(store: SqlStore, row: str) -> None:
    rows, number = await founded(store)
    await store.save_grid_run(run(rows, number))
    await store.save_grid_order(order(rows, run_id=72_354_728_295_495))

    async def written(params_hash: str | None) -> None:
        if row == "process":
            await store.add_grid_process(process(rows, params_hash=params_hash))
        elif row == "scan":
            await store.record_grid_scan(scan(rows, number, params_hash=params_hash))
        elif row == "run":
            await store.save_grid_run(run(rows, number, run_id=9, symbol="ETHUSDT", params_hash=params_hash))
        else:
            await store.record_grid_fills([fill(rows, params_hash=params_hash)])

    with pytest.raises(InputError, match="params_hash"):
        await written(None)
    with pytest.raises(BooksContradiction):  # of parameters that were never kept
        await written("e" * 64)


async def test_reports_are_found_by_parameters_and_code(store: SqlStore) -> None:
    rows = await ready(store)
    report = GridBacktest(
        symbol="BTCUSDT",
        params_hash=rows.params_hash,
        kernel_hash="0123456789abcdef",
        code_revision="0123abc",
        data_from_ms=T0,
        data_to_ms=T0 + 5,
        data_hash=HASH,
        days=90,
        missing_fraction=Decimal("0.000123457"),
        crash_ok=True,
        digest="d" * 64,
        metrics='{"net_usdt":"-1"}',
        created_ms=T0,
    )
    number = await store.add_grid_backtest(report)
    found = await store.grid_backtests("BTCUSDT", rows.params_hash, "0123456789abcdef")
    assert found == [msgspec.structs.replace(report, id=number)]
    assert await store.grid_backtests("BTCUSDT", rows.params_hash, "another") == []
    assert await store.grid_backtests("ETHUSDT", rows.params_hash, "0123456789abcdef") == []
