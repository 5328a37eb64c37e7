"""oi: the open-interest radar, and what it wrote down."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.live import Live
from rich.table import Table

from perpdesk.adapters.binance.hosts import LIVE, simulated
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.cli.console import err, notice, out, print_json, table
from perpdesk.cli.live import AccountNameOption, ExchangeUrlOption, RedisOption, VaultOption, live
from perpdesk.cli.oi_account import add_to as account_commands
from perpdesk.cli.options import (
    ConfigOption,
    FromOption,
    JsonOption,
    SetOption,
    SymbolsOption,
    ToOption,
    time_ms,
)
from perpdesk.cli.places import ControlDirOption
from perpdesk.config.oi_records import NAME, params
from perpdesk.config.snapshot import snapshot
from perpdesk.domain.errors import InputError
from perpdesk.domain.signal_books import OiAnomaly, OiSetting
from perpdesk.domain.units import plain
from perpdesk.market.radar.export import export
from perpdesk.market.radar.judge import Judge
from perpdesk.market.radar.radar import Radar, Seen
from perpdesk.market.radar.recorder import Recorder
from perpdesk.market.radar.replay import replay
from perpdesk.service.oi_radar import RadarRun, Settings
from perpdesk.service.stopping import Stop

DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]
OptionalDatabase = Annotated[
    str | None,
    typer.Option(
        "--database", envvar="PERPDESK_DATABASE", help="Where to record; without it nothing is kept."
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--exchange-url", help="A simulated exchange on this machine; default: the real one."),
]
SymbolOption = Annotated[str | None, typer.Option("--symbol", help="Only this symbol.")]
_SHOWN_ROWS = 20
_SINCE_MS = 24 * 3_600_000


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(help="The open-interest radar and its records.", no_args_is_help=True)
    group.command("run")(run_command)
    group.command("watch")(watch)
    group.command("poll")(poll_command)
    group.command("anomalies")(anomalies)
    group.command("replay")(replay_command)
    group.command("explain")(explain)
    group.command("export")(export_command)
    group.command("set")(set_command)
    account_commands(group)
    application.add_typer(group, name="oi")


def run_command(
    account: AccountNameOption,
    database: DatabaseOption,
    symbols: SymbolsOption = None,
    is_live: Annotated[bool, typer.Option("--live", help="Yes, real orders.")] = False,
    confirm: Annotated[str | None, typer.Option("--confirm", help="The account's name again.")] = None,
    exchange_url: ExchangeUrlOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    flatten_on_exit: Annotated[
        bool, typer.Option("--flatten-on-exit", help="Close everything at market when it is stopped.")
    ] = False,
    vault: VaultOption = None,
    control_dir: ControlDirOption = None,
    redis: RedisOption = None,
) -> int:
    """Radar and breakout account on an exchange: `perpdesk live --strategy oi_breakout`."""
    return live(
        account, database, [NAME], symbols, is_live, confirm, exchange_url, config, settings, flatten_on_exit,
        vault, control_dir, redis,
    )  # fmt: skip


def poll_command(
    exchange_url: UrlOption = None,
    database: OptionalDatabase = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    redis: RedisOption = None,
    as_json: JsonOption = False,
) -> None:
    """One poll, at the next slot of the grid."""
    watch(exchange_url, database, config, settings, 1, redis, as_json)


def watch(
    exchange_url: UrlOption = None,
    database: OptionalDatabase = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    polls: Annotated[int | None, typer.Option("--polls", help="Stop after so many polls.", min=1)] = None,
    redis: RedisOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the radar and show what it sees, until Ctrl-C. With --database polls and anomalies are recorded."""
    hosts = LIVE if exchange_url is None else simulated(exchange_url)
    rows: list[OiAnomaly] = []

    async def run() -> Radar:
        clock = SystemClock()
        store = None if database is None else await SqlStore.open(database)
        live = None if as_json or not err.is_terminal else Live(console=err, auto_refresh=False)

        async def show(seen: Seen) -> None:
            fresh = [one for decision in seen.decisions for one in decision.anomalies]
            rows[:0] = fresh
            del rows[10_000:]
            if live is not None and one.radar is not None:
                live.update(_screen(one.radar, seen, rows), refresh=True)

        one = RadarRun(hosts, clock, Settings(config, settings or []), store, show, redis=redis)
        stop = Stop()
        try:
            with stop.on_signals(notice):
                if live is not None:
                    live.start()
                await stop.unless(one.run(polls))
        finally:
            if live is not None:
                live.stop()
            if store is not None:
                await store.close()
        if one.radar is None:
            raise InputError("the radar was stopped before its first poll", field="oi watch")
        return one.radar

    radar = asyncio.run(run())
    figures = {**msgspec.to_builtins(radar.figures), "coverage": radar.figures.coverage}
    if as_json:
        print_json(
            {**figures, "symbols": len(radar.symbols), "anomaly_rows": [row_json(one) for one in rows]}
        )
        return
    out.print(
        f"{radar.figures.polls} polls of {len(radar.symbols)} symbols, "
        f"coverage {radar.figures.coverage:.2%}, "
        f"{radar.figures.skipped} slots skipped, {radar.figures.anomalies} anomalies"
    )


def _screen(radar: Radar, seen: Seen, rows: list[OiAnomaly]) -> Table:
    """Top movers are the newest anomalies: change, price, score, and why nothing was bought."""
    figures = radar.figures
    title = (
        f"{_clock(seen.poll.slot_ms)} UTC  {len(radar.symbols)} symbols  coverage {figures.coverage:.1%}  "
        f"poll {seen.poll.took_ms} ms  skipped {figures.skipped}"
        f"{'  DEGRADED' if seen.poll.is_degraded else ''}"
    )
    return _table(title, rows[:_SHOWN_ROWS])


def anomalies(
    database: DatabaseOption,
    since: Annotated[
        str | None, typer.Option("--since", help="UTC date, time or ms; default: a day ago.")
    ] = None,
    symbol: SymbolOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was recorded, newest last."""
    from_ms = time_ms(since, "--since")
    if from_ms is None:
        from_ms = SystemClock().now_ms() - _SINCE_MS

    async def read() -> list[OiAnomaly]:
        async with await SqlStore.open(database) as store:
            return await store.oi_anomalies(from_ms=from_ms, symbol=symbol)

    found = asyncio.run(read())
    if as_json:
        print_json({"since_ms": from_ms, "anomalies": [row_json(one) for one in found]})
    else:
        out.print(_table(f"{len(found)} anomalies since {_clock(from_ms)} UTC", found))


def replay_command(
    database: DatabaseOption,
    from_text: FromOption = None,
    to_text: ToOption = None,
    symbol: SymbolOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the recorded polls again, with the configuration of now, and compare with what was recorded."""

    async def run() -> Any:
        async with await SqlStore.open(database) as store:
            from_ms, to_ms = await _range(store, from_text, to_text)
            loaded = Settings(config, settings or []).load(await store.oi_settings())
            oi = loaded.config.oi
            judge = Judge(params(oi), snapshot(oi).params_hash)
            await Recorder(store, oi.snapshot_retention_days).remember(judge, from_ms - 1)
            rows = await store.oi_snapshots(from_ms, to_ms, symbol)
            recorded = await store.oi_anomalies(from_ms, to_ms, symbol)
            return replay(judge, rows, recorded), recorded

    found, recorded = asyncio.run(run())
    if as_json:
        print_json(
            {
                "polls": found.polls,
                "rows": found.rows,
                "anomalies": [row_json(one) for one in found.anomalies],
                "recorded": len(recorded),
                "only_replayed": [list(key) for key in found.only_replayed],
                "only_recorded": [list(key) for key in found.only_recorded],
            }
        )
        return
    out.print(_table(f"{found.polls} polls, {found.rows} rows", found.anomalies))
    out.print(
        f"{len(found.anomalies)} replayed, {len(recorded)} recorded; "
        f"only replayed {len(found.only_replayed)}, only recorded {len(found.only_recorded)}"
    )


def explain(
    group: Annotated[int, typer.Argument(metavar="ID", help="The group of an anomaly (oi anomalies).")],
    database: DatabaseOption,
    as_json: JsonOption = False,
) -> None:
    """Everything about one decision: periods with their bases, the parts of the score, the reason."""
    poll_ms = group // 10_000

    async def read() -> list[OiAnomaly]:
        async with await SqlStore.open(database) as store:
            return await store.oi_anomalies(poll_ms, poll_ms + 1)

    rows = [one for one in asyncio.run(read()) if one.group_id == group]
    if not rows:
        raise InputError(f"no anomaly has the group {group}: see perpdesk oi anomalies", field="ID")
    first = rows[0]
    if as_json:
        print_json({"group_id": group, "periods": [row_json(one) for one in rows]})
        return
    out.print(f"{first.symbol} at {_clock(first.poll_ms)} UTC: {first.reject_code or 'PASSED'}")
    periods = [
        [
            f"{one.period_seconds} s{' (primary)' if one.period_seconds == one.primary_period else ''}",
            f"{plain(one.oi_before)} → {plain(one.oi_after)}",
            _percent(one.percent_change),
            _percent(one.threshold_value),
            one.severity,
            _percent(one.price_change_percent),
        ]
        for one in rows
    ]
    out.print(table("", ["period", "open interest", "change", "least", "severity", "price"], periods))
    parts = first.score_parts if isinstance(first.score_parts, dict) else {}
    for name, value in parts.items():
        out.print(f"  {name:<20} {value}")
    for name in ("ratio_top_position", "ratio_taker", "ratio_top_account", "ratio_global", "funding_rate"):
        out.print(f"  {name:<20} {_text(getattr(first, name))}")
    out.print(
        f"  {'two-hour low':<20} {_text(first.price_2h_low)}, {_percent(first.price_from_2h_low)} above it"
    )
    out.print(
        f"  score {_text(first.signal_score)}, confidence {_text(first.signal_confidence)}, "
        f"direction {first.signal_direction}, config {first.config_hash[:12]}"
    )


def export_command(
    database: DatabaseOption,
    folder: Annotated[Path, typer.Option("--out", help="Folder for one parquet file a day.")],
    from_text: FromOption = None,
    to_text: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write recorded polls as parquet for `backtest --oi`."""

    async def run() -> list[Path]:
        async with await SqlStore.open(database) as store:
            from_ms, to_ms = await _range(store, from_text, to_text)
            rows = await store.oi_snapshots(from_ms, to_ms)
            return export(rows, await store.oi_anomalies(from_ms, to_ms), folder)

    written = asyncio.run(run())
    if as_json:
        print_json({"files": [str(path) for path in written]})
    else:
        out.print(f"{len(written)} files in {folder}")


def set_command(
    key: Annotated[str, typer.Argument(help="A key of the section oi, such as thresholds.")],
    value: Annotated[str, typer.Argument(help="JSON, e.g. '{\"60\": 3}'.")],
    database: DatabaseOption,
    config: ConfigOption = None,
) -> None:
    """Write a setting into oi_monitoring_config, if it is valid; a running radar takes it within 30 s."""

    async def run() -> None:
        now_ms = SystemClock().now_ms()
        async with await SqlStore.open(database) as store:
            rows = [one for one in await store.oi_settings() if one.config_key != key]
            one = OiSetting(config_key=key, config_value=value, updated_ms=now_ms)
            Settings(config, []).load([*rows, one])
            await store.save_oi_setting(one)

    asyncio.run(run())
    out.print(f"{key} = {value}: holds from the next poll on", markup=False)


async def _range(store: SqlStore, from_text: str | None, to_text: str | None) -> tuple[int, int]:
    """[from, to) in ms; absent: all days that are there."""
    days = await store.oi_days()
    if not days:
        raise InputError("has no recorded polls: run perpdesk oi watch --database first", field="--database")
    first, last = (
        int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) for day in (days[0], days[-1])
    )
    from_ms, to_ms = time_ms(from_text, "--from"), time_ms(to_text, "--to")
    return (
        first * 1000 if from_ms is None else from_ms,
        (last + 86_400) * 1000 if to_ms is None else to_ms,
    )


def row_json(one: OiAnomaly) -> dict[str, Any]:
    """One anomaly: ratios and changes as numbers, prices and amounts as text."""
    amounts = ("oi_before", "oi_after", "price_before", "price_after", "price_2h_low")
    fields = msgspec.structs.asdict(one)
    return {
        name: value if not isinstance(value, Decimal) else (plain(value) if name in amounts else float(value))
        for name, value in fields.items()
    }


def _table(title: str, rows: list[OiAnomaly]) -> Table:
    columns = [
        "symbol",
        "UTC",
        "period",
        "change",
        "price",
        "severity",
        "score",
        "confidence",
        "reason",
        "ID",
    ]
    return table(
        title,
        columns,
        [
            [
                one.symbol,
                _clock(one.poll_ms),
                f"{one.period_seconds} s",
                _percent(one.percent_change),
                _percent(one.price_change_percent),
                one.severity + (" suspect" if one.suspect else ""),
                _text(one.signal_score),
                _text(one.signal_confidence),
                one.reject_code or "PASSED",
                str(one.group_id),
            ]
            for one in rows
        ],
    )


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _percent(value: Decimal | None) -> str:
    return "–" if value is None else f"{float(value):+.3%}"


def _text(value: Decimal | None) -> str:
    return "–" if value is None else plain(value)
