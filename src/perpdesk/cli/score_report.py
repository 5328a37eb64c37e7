"""score report daily|compare: what the versions earned, from futures_positions."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from typing import Annotated

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.cli.console import notice, out, print_json, table
from perpdesk.cli.options import JsonOption, time_ms
from perpdesk.cli.report import minute
from perpdesk.domain.books import SIMULATED_ACCOUNTS, PositionQuery, PositionRow
from perpdesk.domain.errors import InputError
from perpdesk.domain.position import PositionStatus
from perpdesk.domain.units import half_away, plain
from perpdesk.research.compare import Figures, Trade, figures, paired

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
_FINISHED = (PositionStatus.CLOSED, PositionStatus.LIQUIDATED)
_DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]
_AccountOption = Annotated[
    int | None, typer.Option("--account", help="The account's number; default: the newest run's.")
]
_UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", help="End of the span (UTC); default: now, for a simulated run its newest close."
    ),
]


def add_to(group: typer.Typer) -> None:
    """Hang these commands into the tree."""
    reports = typer.Typer(no_args_is_help=True, help="What the versions earned.")
    reports.command("daily")(daily)
    reports.command("compare")(compare)
    group.add_typer(reports, name="report")


def daily(
    database: _DatabaseOption,
    version: Annotated[str, typer.Option("--version", help="Such as v2.")],
    days: Annotated[int, typer.Option("--days", min=1, max=3660)] = 7,
    account: _AccountOption = None,
    until: _UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trades, win rate, average and sum of one version by UTC day of closing, with fees and net beside."""
    found = asyncio.run(_read(database, account, [version], time_ms(until, "--until"), days * DAY_MS))
    from_ms = found.until_ms - days * DAY_MS
    by_day: dict[str, list[Trade]] = {}
    for one in found.trades[version]:
        if one.close_ms >= from_ms:
            by_day.setdefault(_day(one.close_ms), []).append(one)
    rows = [{"day": day} | _row(figures(trades)) for day, trades in sorted(by_day.items())]
    whole = figures([one for trades in by_day.values() for one in trades])
    if as_json:
        print_json(
            {
                "account": found.account_id,
                "version": version,
                "from_ms": from_ms,
                "until_ms": found.until_ms,
                "days": rows,
                "sum": _row(whole),
            }
        )
        return
    title = f"{version} of account {found.account_id}, {days} days to {minute(found.until_ms)} UTC"
    if not rows:
        out.print(f"{title}: no position was closed")
        return
    rows.append({"day": "sum"} | _row(whole))
    out.print(table(title, list(rows[0]), [[_cell(value) for value in row.values()] for row in rows]))


def compare(
    database: _DatabaseOption,
    versions: Annotated[str, typer.Option("--versions", help="Two or more, such as v2,v3.")] = "v2,v3",
    hours: Annotated[int, typer.Option("--hours", min=1, max=87_840)] = 24,
    account: _AccountOption = None,
    until: _UntilOption = None,
    as_json: JsonOption = False,
) -> None:
    """Versions side by side over the last hours, and whether the difference is more than chance.

    Pairs are hours of entry, all symbols of an hour together: symbols move together, versions that enter in
    different hours do not meet the same market.
    """
    names = [part.strip() for part in versions.split(",") if part.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError("name two or more different versions, such as v2,v3", field="--versions")
    found = asyncio.run(_read(database, account, names, time_ms(until, "--until"), hours * HOUR_MS))
    from_ms = found.until_ms - hours * HOUR_MS
    chosen = {name: [t for t in found.trades[name] if t.close_ms >= from_ms] for name in names}
    rows = {name: figures(trades) for name, trades in chosen.items()}
    pairs = {f"{a} - {b}": paired(chosen[a], chosen[b]) for a, b in combinations(names, 2)}
    refusals = {name: Counter(found.refusals.get(name, {})) for name in names}
    if as_json:
        print_json(
            {
                "account": found.account_id,
                "from_ms": from_ms,
                "until_ms": found.until_ms,
                "versions": {name: _row(one) for name, one in rows.items()},
                "pairs": {
                    name: asdict(one) | {"difference": plain(one.difference)} for name, one in pairs.items()
                },
                "refusals": {name: dict(sorted(one.items())) for name, one in refusals.items()},
            }
        )
        return
    title = f"account {found.account_id}, {minute(from_ms)} to {minute(found.until_ms)} UTC"
    body = {name: _row(one) for name, one in rows.items()}
    keys = list(next(iter(body.values())))
    out.print(table(title, ["", *names], [[key, *(_cell(body[n][key]) for n in names)] for key in keys]))
    for name, pair in pairs.items():
        p = "n/a" if pair.p_value is None else f"{pair.p_value:.3f}"
        out.print(
            f"{name}: {half_away(pair.difference, 2)} USDT over {pair.hours} hours of entry (both entered in "
            f"{pair.shared}, in {pair.same_bars} the same symbol); p = {p} (paired sign flips; below 0.05 is "
            "more than chance)",
            markup=False,
        )
    for name, counted in refusals.items():
        if counted:
            told = ", ".join(f"{reason} {count}" for reason, count in counted.most_common())
            out.print(f"{name} refused: {told}", markup=False)


class _Found:
    def __init__(self, account_id: int, until_ms: int) -> None:
        self.account_id, self.until_ms = account_id, until_ms
        self.trades: dict[str, list[Trade]] = {}
        self.refusals: dict[str, dict[str, int]] = {}


async def _read(
    database: str, account: int | None, versions: list[str], until_ms: int | None, span_ms: int
) -> _Found:
    async with await SqlStore.open(database) as store:
        if account is None:
            runs = await store.runs(1)
            if not runs:
                raise InputError("the database has no run: name an account", field="--account")
            account = runs[0].account_id
        known = {
            name: await store.positions(
                PositionQuery(account_id=account, signal_version=name, statuses=_FINISHED)
            )
            for name in versions
        }
        for name in versions:
            if not known[name] and name not in await store.version_names():
                raise InputError(f"unknown version {name!r}: it never ran on this database", field="version")
        closes = [row.close_ms for rows in known.values() for row in rows if row.close_ms is not None]
        if until_ms is None:
            until_ms = SystemClock().now_ms()
            if account >= SIMULATED_ACCOUNTS and closes:
                until_ms = max(closes) + 1
                notice(f"a simulated run: the span ends with its newest close, {minute(until_ms)} UTC")
        found = _Found(account, until_ms)
        for name, rows in known.items():
            found.trades[name] = [one for one in map(_trade, rows) if one and one.close_ms < until_ms]
            found.refusals[name] = await store.refusals(account, name, until_ms - span_ms, until_ms)
    return found


def _trade(row: PositionRow) -> Trade | None:
    if row.open_ms is None or row.close_ms is None:  # never had a fill
        return None
    return Trade(
        id=row.id,
        symbol=row.symbol,
        gross=row.realized_pnl,
        commission=row.commission,
        funding=row.funding,
        net=row.net_pnl,
        open_ms=row.open_ms,
        close_ms=row.close_ms,
        liquidated=row.status is PositionStatus.LIQUIDATED,
    )


def _row(one: Figures) -> dict[str, object]:
    """Money as text with two decimals, rates as fractions with four."""

    def money(amount: Decimal | None) -> str | None:
        return None if amount is None else plain(half_away(amount, 2))

    def ratio(share: Decimal | None) -> float | None:
        return None if share is None else float(share)

    return {
        "trades": one.trades,
        "wins": one.wins,
        "win_rate": ratio(one.win_rate),
        "avg_pnl": money(one.average),
        "total_pnl": money(one.gross),
        "commission": money(one.commission),
        "funding": money(one.funding),
        "net": money(one.net),
        "net_win_rate": ratio(one.net_win_rate),
        "expectancy": money(one.expectancy),
        "fee_share": ratio(one.fee_share),
        "profit_factor": ratio(one.profit_factor),
        "max_drawdown": money(one.max_drawdown),
        "holding_minutes": ratio(one.holding_minutes),
        "liquidated": one.liquidated,
    }


def _cell(value: object) -> str:
    return "n/a" if value is None else str(value)


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()
