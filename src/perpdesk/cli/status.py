"""status: what holds on an account now, from its files and its database; or the newest run of a database."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import DiskFolder, control_folder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.cli.console import out, print_json, table
from perpdesk.cli.database import position_json
from perpdesk.cli.database import status as newest_run
from perpdesk.cli.options import JsonOption
from perpdesk.cli.places import ControlDirOption, DatabaseOption, account_of, opened
from perpdesk.domain.account_books import BreakerDay, ExternalLots
from perpdesk.domain.books import Missing, StoreFailed, TradingControl
from perpdesk.domain.errors import InputError
from perpdesk.domain.units import plain
from perpdesk.engine.control_file import ControlFile
from perpdesk.engine.heartbeat import is_fresh
from perpdesk.engine.ownership import OwnerBeat, read_owner, state_of
from perpdesk.service.metrics_file import MetricsFile, read_metrics

_SHOWN = {
    "naked_positions": "positions without cover now",
    "naked_seconds": "seconds without cover in all",
    "naked_longest_seconds": "longest stretch without cover, s",
    "naked_exposure_quote_seconds": "naked exposure, USDT x s",
    "fill_to_stop_p50_ms": "fill to stop acknowledged, p50 ms",
    "fill_to_stop_p99_ms": "fill to stop acknowledged, p99 ms",
    "signal_to_send_us": "closed minute to entry sent, us",
    "reconcile_age_ms": "last complete reconciliation, ms ago",
    "fills_total": "fills",
    "orders_total": "orders sent",
    "unknown_total": "orders with unknown outcome",
    "rows_waiting": "rows that wait for the database",
    "doubts": "orders in doubt",
    "database_is_silent": "database silent",
}
_AccountOption = Annotated[
    str | None, typer.Option("--account", help="The account's number or name; default: the newest run.")
]


def add_to(application: typer.Typer) -> None:
    """Hang this command into the tree."""
    application.command("status")(status)


def status(
    account: _AccountOption = None,
    database: DatabaseOption = None,
    control_dir: ControlDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """An account's owner, ladder, switch, positions, foreign lots, breaker and figures; works with the
    database down, and says so. Without --account: the newest run of the database."""
    if account is None:
        if database is None:
            raise InputError("name an account, or the database of a run", field="--account")
        newest_run(database, as_json)
        return
    answer = asyncio.run(_status(account, database, control_dir))
    if as_json:
        print_json(answer)
    else:
        _print(answer)


async def _status(account: str, database: str | None, control_dir: Path | None) -> dict[str, Any]:
    path = control_folder(control_dir, os.environ)
    folder = DiskFolder(path) if path.is_dir() else None
    account_id = await _number(account, folder, database)
    now_ms = SystemClock().now_ms()
    answer: dict[str, Any] = {"account": account_id, "name": account}
    answer |= _files(folder, account_id, now_ms)
    answer["database"] = await _rows(database, account_id, now_ms)
    return answer


async def _number(account: str, folder: DiskFolder | None, database: str | None) -> int:
    """The owner file is enough; a database that does not answer must not hide what the files say."""
    try:
        return await account_of(account, folder, None)
    except InputError:
        return await account_of(account, folder, database)


def _files(folder: DiskFolder | None, account_id: int, now_ms: int) -> dict[str, Any]:
    if folder is None:
        return {
            "owner": {"state": "absent"},
            "rung": "normal",
            "why": "nobody has said anything",
            "live": None,
        }
    beat = read_owner(folder, account_id)
    owner: dict[str, Any] = {"state": state_of(beat, now_ms).value}
    if isinstance(beat, OwnerBeat):
        owner |= {"age_ms": now_ms - beat.ms, "by": beat.owner, "epoch": beat.epoch, "pid": beat.pid}
    control = ControlFile(folder, account_id)
    rung = control.rung().word
    return {
        "owner": owner,
        "rung": rung,
        "why": control.why,
        "live": _figures(folder, account_id, "live", now_ms),
        "watch": _figures(folder, account_id, "watch", now_ms),
    }


def _figures(folder: DiskFolder, account_id: int, role: str, now_ms: int) -> dict[str, Any] | None:
    found = read_metrics(folder, account_id, role)
    if isinstance(found, Missing):
        return None
    if not isinstance(found, MetricsFile):
        return {"problem": found.reason}
    return {
        "age_ms": now_ms - found.ms,
        "up_ms": found.ms - found.started_ms,
        "pid": found.pid,
        "lines": found.lines,
        "figures": found.figures,
    }


async def _rows(database: str | None, account_id: int, now_ms: int) -> dict[str, Any]:
    if database is None:
        return {"state": "not asked: no --database"}
    store, problem = await opened(database)
    if store is None:
        return {"state": f"DOWN: {problem}"}
    async with store:
        try:
            return {"state": "up", **await _read(store, account_id, now_ms)}
        except StoreFailed as error:
            return {"state": f"DOWN: {error}"}


async def _read(store: SqlStore, account_id: int, now_ms: int) -> dict[str, Any]:
    switch = await store.trading_control(account_id)
    lease = await store.lease(account_id)
    day = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d")
    days = [one for one in await store.breaker_days(account_id) if one.day == day]
    return {
        "trading_control": _switch(switch),
        "positions": [position_json(one) for one in await store.live_positions(account_id)],
        "intents_pending": [
            {"client_id": one.client_id, "symbol": one.symbol, "leg": one.leg, "state": one.state.value}
            for one in await store.pending_intents(account_id)
        ],
        "external": [_external(one) for one in await store.external_lots(account_id) if one.qty != 0],
        "breaker": [_day(one) for one in days],
        "lease": None
        if lease is None
        else {"owner": lease.owner, "epoch": lease.epoch, "ends_in_ms": lease.expires_ms - now_ms},
        "heartbeats": [
            {"strategy": one.strategy, "age_ms": now_ms - one.beat_ms, "fresh": is_fresh(one, now_ms)}
            for one in await store.heartbeats(account_id)
        ],
    }


def _switch(found: object) -> str:
    if isinstance(found, TradingControl):
        return ("enabled" if found.trading_enabled else "disabled") + f" by {found.updated_by}"
    return "unknown: no entry is allowed"


def _external(one: ExternalLots) -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "quantity": plain(one.qty.normalize()),
        "acknowledged": one.acknowledged_by,
        "stops_entries": one.stops_entries,
    }


def _day(one: BreakerDay) -> dict[str, Any]:
    return {
        "strategy": one.strategy,
        "day": one.day,
        "base_equity": plain(one.base_equity),
        "realised": plain(one.realised),
        "transfers": plain(one.transfers),
        "tripped": one.is_tripped,
        "reason": one.trip_reason,
    }


def _print(answer: dict[str, Any]) -> None:
    owner = answer["owner"]
    detail = "".join(f", {key} {value}" for key, value in owner.items() if key != "state")
    out.print(f"account {answer['account']} {answer['name']}: owner {owner['state']}{detail}", markup=False)
    out.print(f"kill ladder: {answer['rung']} ({answer['why']})", markup=False)
    for role in ("live", "watch"):
        _print_process(role, answer.get(role))
    rows = answer["database"]
    out.print(f"database: {rows['state']}", markup=False)
    if rows["state"] != "up":
        return
    out.print(f"trading_control: {rows['trading_control']}", markup=False)
    for name in ("lease", "breaker", "heartbeats"):
        found = rows[name]
        for one in found if isinstance(found, list) else [found] if found else []:
            out.print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in one.items()), markup=False)
    for title, name in (
        ("live positions", "positions"),
        ("orders whose end is not known", "intents_pending"),
        ("foreign lots", "external"),
    ):
        if rows[name]:
            cells = [[str(value) for value in one.values()] for one in rows[name]]
            out.print(table(title, list(rows[name][0]), cells))
        else:
            out.print(f"{title}: none")


def _figure(value: object) -> str:
    """A number as it is, of a histogram its quantiles."""
    if isinstance(value, dict):
        return f"p50 {value['p50']}, p99 {value['p99']}, max {value['max']} ({value['count']})"
    return str(value)


def _print_process(role: str, process: dict[str, Any] | None) -> None:
    if process is None:
        out.print(f"{role}: no figures: it was never run with this control folder")
        return
    if "problem" in process:
        out.print(f"{role}: {process['problem']}", markup=False)
        return
    out.print(f"{role}: figures of {process['age_ms']} ms ago, process {process['pid']}")
    for line in process["lines"]:
        out.print(f"{role}: {line}", markup=False)
    figures = process["figures"]
    shown = [[text, _figure(figures[name])] for name, text in _SHOWN.items() if name in figures]
    if shown:
        out.print(table("figures", ["what", "value"], shown))
    elif role == "watch":
        out.print("watch: " + ", ".join(f"{key} {value}" for key, value in figures.items()), markup=False)
