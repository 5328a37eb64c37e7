"""db upgrade, status, report: what the database holds."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.cli.console import out, print_json, table
from perpdesk.cli.options import JsonOption
from perpdesk.cli.report import minute
from perpdesk.domain.books import PositionQuery, PositionRow, RunRow, TradingControl, VersionTotals
from perpdesk.domain.errors import InputError
from perpdesk.domain.units import half_away, plain

_DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="The database.")
    group.command("upgrade")(upgrade_command)
    group.callback()(lambda: None)
    application.add_typer(group, name="db")
    application.command("report")(report)


def upgrade_command(database: _DatabaseOption, as_json: JsonOption = False) -> None:
    """Create the tables, or bring them to this version."""
    revision = upgrade(database)
    if as_json:
        print_json({"revision": revision})
    else:
        out.print(f"database is at revision {revision}")


def status(database: _DatabaseOption, as_json: JsonOption = False) -> None:
    """The newest run, its switch, its live positions, and whether the journal is intact."""
    answer = asyncio.run(_status(database))
    if as_json:
        print_json(answer)
        return
    out.print(f"runs: {answer['runs']}", highlight=False)
    run = answer["run"]
    if isinstance(run, dict):
        state = "ended" if run["ended_ms"] else "not ended"
        out.print(
            f"newest: run {run['id']} {run['mode']} of {', '.join(run['strategies'])}, "
            f"account {run['account_id']}, {state}"
        )
        out.print(f"trading_control: {answer['trading_control']}")
    positions = answer["live_positions"]
    assert isinstance(positions, list)
    rows = [[str(value) for value in row.values()] for row in positions]
    if rows:
        out.print(table("live positions", list(positions[0]), rows))
    else:
        out.print("live positions: none")
    out.print(f"journal: {answer['journal']}")


async def _status(database: str) -> dict[str, object]:
    async with await SqlStore.open(database) as store:
        runs = await store.runs()
        check = await store.verify_journal()
        answer: dict[str, object] = {
            "runs": len(runs),
            "run": None,
            "trading_control": None,
            "live_positions": [],
        }
        if runs:
            run = runs[0]
            control = await store.trading_control(run.account_id)
            live = await store.live_positions(run.account_id)
            answer["run"] = _run_json(run)
            answer["trading_control"] = (
                ("enabled" if control.trading_enabled else "disabled") + f" by {control.updated_by}"
                if isinstance(control, TradingControl)
                else "unknown: no entry is allowed"
            )
            answer["live_positions"] = [position_json(position) for position in live]
        answer["journal"] = (
            f"intact, {check.rows} rows, head {check.head_hash[:16]}"
            if check.is_intact
            else f"BROKEN: {check.problem}"
        )
        return answer


def report(
    database: _DatabaseOption,
    version: Annotated[str | None, typer.Option("--version", help="Only this version.")] = None,
    run: Annotated[
        int | None, typer.Option("--run", help="Only the account of this run; default: newest.")
    ] = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="One row per UTC day of closing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Finished positions by version, from futures_positions."""
    totals, positions = asyncio.run(_report(database, run, by_day))
    totals = [one for one in totals if version in (None, one.signal_version)]
    positions = [one for one in positions if version in (None, one.signal_version)]
    rows = [_totals_json(one) for one in totals]
    if as_json:
        print_json({"versions": rows, "positions": len(positions)})
        return
    if not rows:
        out.print("no finished positions")
        return
    out.print(
        table("finished positions", list(rows[0]), [[_cell(value) for value in row.values()] for row in rows])
    )
    recent = positions[-10:]
    cells = [[_cell(value) for value in position_json(one).values()] for one in recent]
    if cells:
        out.print(table("the last ones", list(position_json(recent[0])), cells))


async def _report(
    database: str, run_id: int | None, by_day: bool
) -> tuple[list[VersionTotals], list[PositionRow]]:
    async with await SqlStore.open(database) as store:
        runs = await store.runs()
        chosen = [one for one in runs if run_id is None or one.id == run_id]
        if not chosen and run_id is not None:
            raise InputError(f"there is no run {run_id}; `perpdesk status` names the newest", field="--run")
        if not chosen:
            return [], []
        account = chosen[0].account_id
        totals = await store.version_totals(account, by_day=by_day)
        return totals, await store.positions(PositionQuery(account_id=account))


def _run_json(run: RunRow) -> dict[str, object]:
    return {
        "id": run.id,
        "mode": run.mode.value,
        "strategies": run.strategies,
        "account_id": run.account_id,
        "started_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "params_hash": run.params_hash,
    }


def position_json(position: PositionRow) -> dict[str, object]:
    """A row for people and programs: figures as text, times in minutes."""
    return {
        "symbol": position.symbol,
        "side": position.position_side.value,
        "version": position.signal_version,
        "status": position.status.value,
        "opened": None if position.open_ms is None else minute(position.open_ms),
        "quantity": plain(position.quantity.normalize()),
        "entry": None if position.avg_entry_price is None else plain(half_away(position.avg_entry_price, 6)),
        "exit": None if position.exit_price is None else plain(half_away(position.exit_price, 6)),
        "net_pnl": plain(position.net_pnl),
        "reason": position.close_reason,
    }


def _totals_json(one: VersionTotals) -> dict[str, object]:
    row: dict[str, object] = {"version": one.signal_version}
    if one.day is not None:
        row["day"] = one.day
    return row | {
        "trades": one.trades,
        "wins": one.wins,
        "win_rate": round(one.wins / one.trades, 4) if one.trades else None,
        "liquidated": one.liquidated,
        "realized_pnl": plain(one.realized_pnl),
        "commission": plain(one.commission),
        "funding": plain(one.funding),
        "net_pnl": plain(one.net_pnl),
    }


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
