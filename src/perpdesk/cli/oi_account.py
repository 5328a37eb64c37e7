"""oi stats, report, status, breaker: what the breakout account did and holds, from its database."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.cli.console import out, print_json, table
from perpdesk.cli.options import ConfigOption, JsonOption, SetOption
from perpdesk.cli.places import ByOption, speaker
from perpdesk.cli.report import minute
from perpdesk.config.oi import Oi
from perpdesk.config.oi_records import NAME
from perpdesk.domain.account_books import BreakerDay
from perpdesk.domain.books import WHOLE_STRATEGY, PositionQuery, PositionRow
from perpdesk.domain.errors import InputError
from perpdesk.domain.units import half_away, plain
from perpdesk.engine.guardian.breaker import day_name, day_of
from perpdesk.kernel.records import DAY_MS
from perpdesk.research.oi_report import Earned, by_day, closed, earned, reasons
from perpdesk.service.oi_radar import Settings

_DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]
_AccountOption = Annotated[
    int | None, typer.Option("--account", help="The account's number; default: the newest run's.")
]
_DaysOption = Annotated[int | None, typer.Option("--days", min=1, max=3660, help="Default: all of them.")]
_HOUR_MS = 3_600_000
_PASSED = "PASSED"


def add_to(group: typer.Typer) -> None:
    """Hang these commands into ``oi``."""
    group.command("stats")(stats)
    group.command("status")(status)
    reports = typer.Typer(no_args_is_help=True, help="What the account earned, and why it did not buy.")
    reports.command("daily")(daily)
    reports.command("rejections")(rejections)
    group.add_typer(reports, name="report")
    breaker = typer.Typer(no_args_is_help=True, help="The account's daily loss breaker.")
    breaker.command("status")(breaker_status)
    breaker.command("reset")(breaker_reset)
    group.add_typer(breaker, name="breaker")


@dataclass(frozen=True)
class _Books:
    account_id: int
    now_ms: int
    oi: Oi
    rows: list[PositionRow]


async def _books(store: SqlStore, account: int | None, loaded: Oi) -> _Books:
    if account is None:
        runs = [one for one in await store.runs() if NAME in one.strategies]
        if not runs:
            raise InputError(f"the database has no run of {NAME}: name an account", field="--account")
        account = runs[0].account_id
    rows = await store.positions(PositionQuery(account_id=account, signal_version=NAME))
    return _Books(account, SystemClock().now_ms(), loaded, rows)


async def _loaded(store: SqlStore, config: Any, settings: list[str] | None) -> Oi:
    return Settings(config, settings or []).load(await store.oi_settings()).config.oi


def _since(rows: list[PositionRow], from_ms: int | None) -> list[PositionRow]:
    return [one for one in closed(rows) if from_ms is None or (one.close_ms or 0) >= from_ms]


def _row(one: Earned) -> dict[str, object]:
    return {
        "trades": one.trades,
        "win_rate": None if one.win_rate is None else float(half_away(one.win_rate, 4)),
        "gross": plain(one.gross),
        "fees": plain(one.fees),
        "funding": plain(one.funding),
        "net": plain(one.net),
        "expectancy": None if one.expectancy is None else plain(half_away(one.expectancy, 8)),
        "fee_share": None if one.fee_share is None else float(half_away(one.fee_share, 4)),
        "max_drawdown": float(half_away(one.max_drawdown, 6)),
    }


def _cells(row: dict[str, object]) -> list[str]:
    return ["n/a" if value is None else str(value) for value in row.values()]


def stats(
    database: _DatabaseOption,
    days: _DaysOption = None,
    account: _AccountOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Totals of closed positions in USDT: trades, win rate, gross, fees, funding, net, drawdown, reasons."""

    async def read() -> dict[str, object]:
        async with await SqlStore.open(database) as store:
            books = await _books(store, account, await _loaded(store, config, settings))
        from_ms = None if days is None else books.now_ms - days * DAY_MS
        chosen = _since(books.rows, from_ms)
        return {
            "account": books.account_id,
            "from_ms": from_ms,
            "initial_balance": plain(books.oi.initial_balance_usdt),
            **_row(earned(chosen, books.oi.initial_balance_usdt)),
            "close_reasons": reasons(chosen),
        }

    answer = asyncio.run(read())
    if as_json:
        print_json(answer)
        return
    for name, value in answer.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
        out.print(f"{name:<16} {'n/a' if value is None else value}", markup=False)


def daily(
    database: _DatabaseOption,
    days: Annotated[int, typer.Option("--days", min=1, max=3660)] = 7,
    account: _AccountOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """By UTC day of closing: trades, win rate, gross, fees, funding, net, expectancy, fee share, drawdown."""

    async def read() -> tuple[_Books, int]:
        async with await SqlStore.open(database) as store:
            books = await _books(store, account, await _loaded(store, config, settings))
        return books, books.now_ms - days * DAY_MS

    books, from_ms = asyncio.run(read())
    equity = books.oi.initial_balance_usdt
    equity += sum((one.net_pnl for one in closed(books.rows) if (one.close_ms or 0) < from_ms), Decimal(0))
    rows = [{"day": day} | _row(one) for day, one in by_day(_since(books.rows, from_ms), equity).items()]
    if as_json:
        print_json({"account": books.account_id, "from_ms": from_ms, "days": rows})
    elif rows:
        title = f"account {books.account_id}, {days} days to {minute(books.now_ms)} UTC"
        out.print(table(title, list(rows[0]), [_cells(row) for row in rows]))
    else:
        out.print(f"account {books.account_id}: no position was closed in {days} days")


async def _rejections(store: SqlStore, account_id: int | None, from_ms: int, until_ms: int) -> dict[str, Any]:
    """By code: decisions of the radar (one a symbol and poll), and of the account's gate."""
    groups = {one.group_id: one.reject_code for one in await store.oi_anomalies(from_ms, until_ms)}
    radar = Counter(code or _PASSED for code in groups.values())
    gate = {} if account_id is None else await store.refusals(account_id, NAME, from_ms, until_ms)
    return {"radar": dict(radar.most_common()), "gate": dict(sorted(gate.items(), key=lambda one: -one[1]))}


def rejections(
    database: _DatabaseOption,
    hours: Annotated[int, typer.Option("--hours", min=1, max=87_840)] = 24,
    account: _AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why nothing was bought, by code: the radar's decisions, then the gate's."""

    async def read() -> dict[str, Any]:
        now_ms = SystemClock().now_ms()
        async with await SqlStore.open(database) as store:
            chosen = account
            if chosen is None:
                runs = [one for one in await store.runs() if NAME in one.strategies]
                chosen = runs[0].account_id if runs else None
            found = await _rejections(store, chosen, now_ms - hours * _HOUR_MS, now_ms + 1)
        return {"account": chosen, "hours": hours, **found}

    answer = asyncio.run(read())
    if as_json:
        print_json(answer)
        return
    for name in ("radar", "gate"):
        rows = [[code, str(count)] for code, count in answer[name].items()]
        out.print(table(f"{name}, {hours} h", ["code", "decisions"], rows))


def status(
    database: _DatabaseOption,
    account: _AccountOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The radar's last poll and its age, the breaker, positions, totals, today, and the hour's refusals."""

    async def read() -> dict[str, Any]:
        async with await SqlStore.open(database) as store:
            oi = await _loaded(store, config, settings)
            books = await _books(store, account, oi)
            now_ms = books.now_ms
            polls = Counter(
                one.poll_ms for one in await store.oi_snapshots(now_ms - 2 * oi.polling_interval_ms, now_ms)
            )
            day = await _today(store, books.account_id, now_ms)
            refused = await _rejections(store, books.account_id, now_ms - _HOUR_MS, now_ms + 1)
        last_ms = max(polls, default=None)
        today_ms = now_ms // DAY_MS * DAY_MS
        balance = oi.initial_balance_usdt
        return {
            "account": books.account_id,
            "radar": {
                "last_poll_ms": last_ms,
                "age_ms": None if last_ms is None else now_ms - last_ms,
                "symbols": polls[last_ms] if last_ms is not None else 0,
            },
            "breaker": None if day is None else _breaker_json(day),
            "positions": [_position(one, now_ms) for one in books.rows if one.status.is_live],
            "totals": _row(earned(closed(books.rows), balance)),
            "today": _row(earned(_since(books.rows, today_ms), balance)),
            "refusals_of_the_hour": refused,
        }

    answer = asyncio.run(read())
    if as_json:
        print_json(answer)
        return
    radar, breaker = answer["radar"], answer["breaker"]
    seen = (
        "no poll in two intervals"
        if radar["age_ms"] is None
        else f"last poll {radar['age_ms'] / 1000:.0f} s ago"
    )
    out.print(f"account {answer['account']}: radar {seen}, {radar['symbols']} symbols")
    if breaker is None:
        out.print("breaker: no row for today yet")
    else:
        said = "TRIPPED" if breaker["tripped_ms"] else "open"
        out.print(f"breaker {said}: realised {breaker['realised']} of {breaker['base']} USDT")
    if answer["positions"]:
        rows = [_cells(one) for one in answer["positions"]]
        out.print(table("positions", list(answer["positions"][0]), rows))
    for name in ("totals", "today"):
        one = answer[name]
        out.print(f"{name}: {one['trades']} trades, win rate {one['win_rate'] if one['trades'] else 'n/a'}, "
                  f"net {one['net']}, fees {one['fees']}, drawdown {one['max_drawdown']}")  # fmt: skip
    for name, codes in answer["refusals_of_the_hour"].items():
        told = ", ".join(f"{code} {count}" for code, count in list(codes.items())[:5])
        out.print(f"{name} in the last hour: {told or 'nothing'}", markup=False)


def _position(one: PositionRow, now_ms: int) -> dict[str, object]:
    opened = one.open_ms or one.created_ms
    return {
        "symbol": one.symbol,
        "side": one.position_side.value,
        "status": one.status.value,
        "quantity": plain(one.quantity),
        "entry": None if one.avg_entry_price is None else plain(half_away(one.avg_entry_price, 8)),
        "leverage": one.leverage,
        "age_minutes": (now_ms - opened) // 60_000,
        "realized_pnl": plain(one.realized_pnl),
    }


async def _today(store: SqlStore, account_id: int, now_ms: int) -> BreakerDay | None:
    name = day_name(day_of(now_ms))
    days = [one for one in await store.breaker_days(account_id, WHOLE_STRATEGY) if one.day == name]
    return days[-1] if days else None


def _breaker_json(day: BreakerDay) -> dict[str, object]:
    return {
        "day": day.day,
        "base": plain(day.base_equity),
        "realised": plain(day.realised),
        "transfers": plain(day.transfers),
        "tripped_ms": day.tripped_ms,
        "trip_pnl": None if day.trip_pnl is None else plain(day.trip_pnl),
        "trip_reason": day.trip_reason,
        "reset_ms": day.reset_ms,
        "reset_by": day.reset_by,
    }


def breaker_status(
    database: _DatabaseOption, account: _AccountOption = None, as_json: JsonOption = False
) -> None:
    """The account's day so far, and whether it is over. The breaker is the account's: every strategy's."""

    async def read() -> tuple[int, BreakerDay | None]:
        async with await SqlStore.open(database) as store:
            books = await _books(store, account, Oi())
            return books.account_id, await _today(store, books.account_id, books.now_ms)

    account_id, day = asyncio.run(read())
    if as_json:
        print_json({"account": account_id, "breaker": None if day is None else _breaker_json(day)})
    elif day is None:
        out.print(f"account {account_id}: no row for today yet")
    else:
        said = "tripped" if day.tripped_ms and not day.reset_ms else "not tripped"
        out.print(f"account {account_id}, {day.day}: {said}, realised {plain(day.realised)} USDT")


def breaker_reset(
    database: _DatabaseOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is journalled.")],
    account: _AccountOption = None,
    by: ByOption = None,
) -> int:
    """Take today's trip back. A running desk opens again within its next look."""

    async def reset() -> tuple[int, bool]:
        async with await SqlStore.open(database) as store:
            books = await _books(store, account, Oi())
            name = day_name(day_of(books.now_ms))
            done = await store.reset_breaker(
                books.account_id, WHOLE_STRATEGY, name, books.now_ms, by=speaker(by), reason=reason
            )
            return books.account_id, done

    account_id, done = asyncio.run(reset())
    out.print(f"account {account_id}: {'the trip is taken back' if done else 'nothing had tripped today'}")
    return 0
