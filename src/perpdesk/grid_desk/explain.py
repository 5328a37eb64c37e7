"""From an order back to its signal, its zone, the scan, the bars and the parameters, every hash checked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.domain import units
from perpdesk.domain.errors import InputError, NeedsPerson
from perpdesk.domain.grid_books import GridProcess, GridRun
from perpdesk.domain.signal_books import GridOrder
from perpdesk.strategies.grid.snapshot import read_snapshot


async def explain(store: SqlStore, client_id: str) -> dict[str, Any]:
    """Everything an order was decided on. Raises InputError for an order that is not here, NeedsPerson for
    a snapshot that does not have its hash."""
    run, order = await _order(store, client_id)
    params_text = await store.params_snapshot(order.params_hash)
    signal = next((one for one in await store.signals(run.symbol) if one.id == run.signal_id), None)
    if signal is None or params_text is None:
        raise NeedsPerson(f"TRACE_BROKEN: order {client_id}: its signal or its parameters are not there")
    numbers = await store.signal_numbers(signal.id)
    zone = next((one for one in await store.grid_zones(run.symbol) if one.id == signal.zone_id), None)
    if numbers is None or zone is None:
        raise NeedsPerson(f"TRACE_BROKEN: signal {signal.id}: its numbers or its zone are not there")
    scans = await store.grid_scans(run.symbol, zone.params_hash, zone.as_of_ms)
    scan = next((one for one in scans if one.as_of_ms == zone.as_of_ms), None)
    if scan is None:
        raise NeedsPerson(f"TRACE_BROKEN: zone {zone.id}: its scan is not there")
    plan = _read(run.document, run.document_hash, f"grid_runs {run.run_id}")
    return {
        "order": _row(order),
        "fills": [_row(fill) for fill in await store.grid_fills(run.run_id) if fill.client_id == client_id],
        "run": {
            "run_id": run.run_id,
            "variant": run.variant,
            "begun_ms": run.begun_ms,
            "state": run.state,
            "close_reason": run.close_reason,
            "override": run.override_text,
            "backtest_id": run.backtest_id,
            "tick": plan["tick"],
            "plan_ticks": {name: plan["plan"][name] for name in ("a0", "step", "lo_stop", "hi_stop")},
            "process": _process(await store.grid_process(run.process_id)),
        },
        "signal": {
            **_row(signal),
            "numbers": _read(numbers.document, numbers.document_hash, f"grid_signal_numbers {signal.id}"),
            "process": _process(await store.grid_process(numbers.process_id)),
        },
        "zone": _row(zone),
        "scan": {
            "as_of_ms": scan.as_of_ms,
            "hash": scan.document_hash,
            "figures": _read(scan.document, scan.document_hash, f"grid_scans as of {scan.as_of_ms}"),
            "process": _process(await store.grid_process(scan.process_id)),
        },
        "params_hash": order.params_hash,
        "params": _read(params_text, order.params_hash, "params_snapshots"),
    }


async def _order(store: SqlStore, client_id: str) -> tuple[GridRun, GridOrder]:
    for run in reversed(await store.grid_runs()):
        for order in await store.grid_orders(run.run_id):
            if order.client_id == client_id:
                return run, order
    raise InputError(f"no grid order has the client id {client_id!r}", field="ORDER_ID")


def _read(text: str, expected: str, where: str) -> Any:
    try:
        return read_snapshot(text, expected)
    except ValueError as error:
        raise NeedsPerson(f"EDITED: {where}: {error}") from error


def _row(row: msgspec.Struct) -> dict[str, Any]:
    value = msgspec.to_builtins(row, builtin_types=(Decimal,))
    return {name: units.plain(part) if isinstance(part, Decimal) else part for name, part in value.items()}


def _process(row: GridProcess | None) -> dict[str, Any] | None:
    return None if row is None else _row(row)
