"""score scan|explain|run|positions: what the versions of the score trader see, and why they act."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Annotated

import typer

from perpdesk.adapters.binance.hosts import LIVE, simulated
from perpdesk.adapters.clocks import SystemClock
from perpdesk.app import Market, known_until, scanner
from perpdesk.cli.console import notice, out, print_json, table
from perpdesk.cli.options import (
    ConfigOption,
    DataOption,
    InstrumentsOption,
    JsonOption,
    SetOption,
    SymbolsOption,
    load_config,
    time_ms,
)
from perpdesk.cli.places import DatabaseOption
from perpdesk.cli.report import minute
from perpdesk.cli.score_gates import as_json as gates_json
from perpdesk.cli.score_gates import found as account_gates
from perpdesk.cli.score_gates import standing, tell
from perpdesk.cli.score_names import VersionsOption, version_names
from perpdesk.cli.score_report import add_to as add_reports
from perpdesk.cli.score_run import score_run
from perpdesk.config.load import Loaded
from perpdesk.config.records import rating_rules
from perpdesk.domain.books import LIVE_STATUSES, PositionQuery
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.instruments import bundled, read_instruments
from perpdesk.market.sources import find
from perpdesk.market.tape import Tape, read_tape
from perpdesk.research.account_gates import Standing
from perpdesk.research.explain import Scale, coin_lines, lines_v2, lines_v3
from perpdesk.research.scanner import SCORE_TOO_LOW, Reading, Scanner, scorer_of
from perpdesk.service.score_scan import ScanRun
from perpdesk.service.stopping import Stop
from perpdesk.strategies import score_v2, score_v3
from perpdesk.strategies.score_v3.regime import BIG4

EXIT_NOTHING_SCORED = 2
AtOption = Annotated[
    str | None,
    typer.Option("--at", help="The moment (UTC date or time, or ms); default: the end of the data."),
]


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="The score trader: scans, explanations, reports.")
    group.command("run")(score_run)
    group.command("scan")(scan)
    group.command("explain")(explain)
    group.command("positions")(positions)
    add_reports(group)
    application.add_typer(group, name="score")


def scan(
    data: DataOption = None,
    at: AtOption = None,
    once: Annotated[bool, typer.Option("--once", help="One scan at --at, then end.")] = False,
    loop: Annotated[
        bool, typer.Option("--loop", help="Every scan of the grid from --at to the end of the data.")
    ] = False,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only this one in the table.")] = None,
    symbols: SymbolsOption = None,
    versions: VersionsOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    instruments: InstrumentsOption = None,
    is_live: Annotated[
        bool, typer.Option("--live", help="The exchange's public data of now instead of --data; no keys.")
    ] = False,
    exchange_url: Annotated[
        str | None,
        typer.Option("--exchange-url", help="--live from a simulated exchange on this machine."),
    ] = None,
    scans: Annotated[
        int | None, typer.Option("--scans", min=1, help="With --live --loop: end after so many.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Score every symbol by every version, best first, with what would be done and why. Trades nothing.

    Exit code 2 if not one symbol could be scored.
    """
    if once == loop:
        raise InputError("say --once or --loop", field="--once, --loop")
    loaded = load_config(config, settings, None, ["score"])
    names = version_names(loaded, versions)
    wanted = None if symbols is None else [part.strip().upper() for part in symbols.split(",")]
    if is_live or exchange_url is not None:
        if data or at is not None:
            raise InputError("live data are of now: leave --data and --at out", field="--live")
        return _scan_live(loaded, names, wanted, exchange_url, once, scans, symbol, as_json)
    tape = _tape(data, wanted, instruments)
    end_ms = tape.start_ms + len(tape.bars) * MINUTE_MS
    at_ms = time_ms(at, "--at")
    now_ms = end_ms if at_ms is None else at_ms - at_ms % MINUTE_MS
    market = known_until(tape, now_ms)
    one = scanner(loaded, names, market)
    if once:
        readings = one.scan(market.from_ms)
        _print_scan(readings, symbol, as_json)
        return 0 if any(reading.long_score is not None for reading in readings) else EXIT_NOTHING_SCORED
    return _loop(one, tape, market, symbol, as_json)


def _scan_live(
    loaded: Loaded,
    names: list[str],
    symbols: list[str] | None,
    exchange_url: str | None,
    once: bool,
    scans: int | None,
    symbol: str | None,
    as_json: bool,
) -> int:
    """The same with the minutes that an exchange tells, until Ctrl-C."""
    if not symbols:
        raise InputError("name the contracts to scan, separated by commas", field="--symbols")

    def show(readings: list[Reading]) -> None:
        if once:
            _print_scan(readings, symbol, as_json)
        else:
            _print_signals(readings, symbol, as_json)

    hosts = LIVE if exchange_url is None else simulated(exchange_url)
    one = ScanRun(loaded, names, symbols, hosts, SystemClock(), show)

    async def run() -> None:
        stop = Stop()
        with stop.on_signals(notice):
            await stop.unless(one.run(once=once, most=scans))

    asyncio.run(run())
    if not once:
        notice(f"{one.scans} scans, {one.scored} scores")
    return 0 if one.scored else EXIT_NOTHING_SCORED


def _loop(one: Scanner, tape: Tape, market: Market, symbol: str | None, as_json: bool) -> int:
    """Walk the rest of the tape minute by minute; print what each scan of the grid says."""
    first = len(market.warmup)
    scored = scans = 0
    for t in range(first, len(tape.bars)):
        open_ms = tape.start_ms + t * MINUTE_MS
        one.feed(tape.bars[t : t + 1], open_ms)
        now_ms = open_ms + MINUTE_MS
        for v in range(len(one.sleeves)):
            if one.is_due(v, now_ms):
                readings = sorted(one.read(v, now_ms), key=lambda reading: (-reading.best, reading.symbol))
                scans += 1
                scored += sum(reading.long_score is not None for reading in readings)
                _print_signals(readings, symbol, as_json)
    notice(f"{scans} scans, {scored} scores")
    return 0 if scored else EXIT_NOTHING_SCORED


def _print_signals(readings: list[Reading], symbol: str | None, as_json: bool) -> None:
    """One line per scan and one per signal, with the version's prefix."""
    shown = [one for one in readings if symbol is None or one.symbol == symbol.upper()]
    if as_json:
        for one in shown:
            if one.side != "-":
                print_json(asdict(one))
        return
    first = readings[0]
    prefix, good = first.version.upper(), sum(one.long_score is not None for one in readings)
    out.print(
        f"{prefix}- scan at {minute(first.now_ms)}: {good} of {len(readings)} symbols scored", markup=False
    )
    for one in shown:
        if one.side != "-":
            out.print(signal_line(one), markup=False)


def signal_line(one: Reading, params_hash: str = "") -> str:
    """A signal as a line of the log."""
    long, short = one.long_score or 0.0, one.short_score or 0.0
    own, other = (long, short) if one.side == "LONG" else (short, long)
    bar = "-" if one.bar_ms is None else minute(one.bar_ms).replace(" ", "T") + "Z"
    params = f" params={params_hash[:6]}" if params_hash else ""
    return (
        f"{one.version.upper()}-SIGNAL symbol={one.symbol} side={one.side} score={own:.2f} other={other:.2f} "
        f"act={one.act} reason={one.reason} bar={bar}{params}"
    )


def _print_scan(readings: list[Reading], symbol: str | None, as_json: bool) -> None:
    shown = [one for one in readings if symbol is None or one.symbol == symbol.upper()]
    if symbol is not None and not shown:
        raise InputError(f"{symbol!r} is not among the symbols", field="--symbol")
    counts: dict[str, int] = {}
    for one in readings:
        counts[one.reason if one.act == "NONE" else one.act] = (
            counts.get(one.reason if one.act == "NONE" else one.act, 0) + 1
        )
    if as_json:
        print_json(
            {"now_ms": readings[0].now_ms, "counts": counts, "readings": [asdict(one) for one in shown]}
        )
        return
    rows = [
        [
            one.symbol,
            one.version,
            "-" if one.bar_ms is None else minute(one.bar_ms),
            _points(one.long_score),
            _points(one.short_score),
            f"{one.score_max:g}",
            f"{one.least_long:g} / {one.least_short:g}",
            one.side,
            one.act,
            one.reason,
        ]
        for one in shown
    ]
    columns = [
        "symbol",
        "version",
        "newest bar",
        "LONG",
        "SHORT",
        "of",
        "thresholds",
        "side",
        "act",
        "reason",
    ]
    out.print(table(f"scan at {minute(readings[0].now_ms)} UTC", columns, rows))
    out.print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())), markup=False)


def _points(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"


def explain(
    symbol: Annotated[str, typer.Argument(help="Such as BTCUSDT.")],
    at: AtOption = None,
    data: DataOption = None,
    versions: VersionsOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    instruments: InstrumentsOption = None,
    database: DatabaseOption = None,
    account: Annotated[
        int | None, typer.Option("--account", help="With --database; default: the newest run's.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Every component of a symbol's scores at one moment: both sides, every version, with the inputs.

    With --database also why the account would not enter: held, cooldown, rating, switch, limits.
    Exit code 2 if no version could score it.
    """
    loaded = load_config(config, settings, None, ["score"])
    names = version_names(loaded, versions)
    name = symbol.upper()
    tape = _tape(data, _with_coins(data, name), instruments)
    s = tape.universe.index(name)
    end_ms = tape.start_ms + len(tape.bars) * MINUTE_MS
    at_ms = time_ms(at, "--at")
    market = known_until(tape, end_ms if at_ms is None else at_ms)
    if at_ms is not None and at_ms > end_ms:
        notice(f"the data end at {minute(end_ms)} UTC: this is what was known then")
    one = scanner(loaded, names, market)
    books: Standing | None = None
    if database is not None:
        versions_of = [sleeve.name for sleeve in one.sleeves]
        books = asyncio.run(standing(database, account, name, market.from_ms, versions_of))
        if books.rating is not None:
            rules = rating_rules(loaded.config)
            one.rate({name: rules.bonus_ppm[books.rating.rating_level]})
    readings = [one.reading(v, s, market.from_ms) for v in range(len(one.sleeves))]
    refusals = [
        [] if books is None else account_gates(books, loaded, one.sleeves[v], r)
        for v, r in enumerate(readings)
    ]
    if as_json:
        told = [
            asdict(r)
            | {"components": _components(one, v, s)}
            | ({} if books is None else {"account": gates_json(books, refusals[v], r)})
            for v, r in enumerate(readings)
        ]
        print_json({"symbol": name, "now_ms": market.from_ms, "versions": told})
    else:
        last = int(one.minds[0].states[s].builder.next_ms)
        out.print(f"{name} at {minute(market.from_ms)} UTC (newest minute {minute(last - MINUTE_MS)})")
        for v, reading in enumerate(readings):
            _print_explained(one, v, s, reading)
            if books is not None:
                tell(books, refusals[v], reading)
    return 0 if any(reading.long_score is not None for reading in readings) else EXIT_NOTHING_SCORED


def _components(one: Scanner, v: int, s: int) -> dict[str, float | None]:
    """None: not known (JSON has no word for a number that is none)."""
    module = score_v2 if one.sleeves[v].strategy is score_v2.STRATEGY else score_v3
    found: dict[str, float] = module.components(one.minds[v].states[s].score)
    return {name: None if isnan(value) else value for name, value in found.items()}


_WHY = {
    "INSUFFICIENT_HISTORY": "there are not enough closed bars yet",
    "GAP": "bars are missing inside the window",
    "STALE_BARS": "the newest bar is not the one that should have closed last",
    "BAD_BAR": "a minute inside the window cannot be (prices or volume)",
    "BIG4_VETO": "the four largest coins go strongly the other way",
    "REGIME_UNKNOWN": "which way the four largest coins go is not known",
}


def _print_explained(one: Scanner, v: int, s: int, reading: Reading) -> None:
    sleeve, mind = one.sleeves[v], one.minds[v]
    state, scale = mind.states[s], Scale.of(one.universe, s)
    out.print("")
    interval_ms = scorer_of(sleeve).interval_ms
    head = f"{reading.version.upper()} (scorer {sleeve.strategy.name}, 0 to {reading.score_max:g})"
    if reading.long_score is None or reading.short_score is None or reading.bar_ms is None:
        out.print(f"{head}: no score. {reading.status}: {_WHY.get(reading.status, '')}", markup=False)
        return
    bar = f"{minute(reading.bar_ms)} to {minute(reading.bar_ms + interval_ms)} UTC"
    out.print(f"{head}, newest closed bar {bar}; in brackets: parts of the line above", markup=False)
    lines = lines_v2(state, scale) if sleeve.strategy is score_v2.STRATEGY else lines_v3(state, scale)
    rows = [
        [
            "  " * line.level + line.name,
            f"({line.long:g})" if line.level else f"{line.long:.4g}",
            f"({line.short:g})" if line.level else f"{line.short:.4g}",
            f"({line.most:g})" if line.level else f"{line.most:g}",
            line.inputs,
        ]
        for line in lines
    ]
    rows.append(
        ["Sum", f"{reading.long_score:.4f}", f"{reading.short_score:.4f}", f"{reading.score_max:g}", ""]
    )
    made = table("", ["points for", "LONG", "SHORT", "of", "because"], rows)
    made.columns[-1].justify = "left"
    made.columns[-1].no_wrap = False
    out.print(made)
    if sleeve.strategy is score_v3.STRATEGY:
        coins = tuple(int(place) for place in sleeve.params[0].coins)
        for text in coin_lines(mind.shared[0], coins):
            out.print(f"  {text}", markup=False)
    out.print(_verdict(reading), markup=False)


def _verdict(reading: Reading) -> str:
    long, short = reading.long_score or 0.0, reading.short_score or 0.0
    least = f"LONG needs {reading.least_long:g}, SHORT {reading.least_short:g}"
    if reading.bonus:
        least += f" (with {reading.bonus:g} for the symbol's rating)"
    if reading.act == "OPEN":
        why = "" if reading.signal == "SCORE" else f" by the signal {reading.signal}"
        score = long if reading.side == "LONG" else short
        return f"→ {reading.side}{why} with {score:.2f}: a scan would ask the account to enter. {least}."
    if reading.reason == SCORE_TOO_LOW and long == short:
        return f"→ no entry: both sides have {long:.2f}, and nobody trades a tie. {least}."
    if reading.reason == SCORE_TOO_LOW:
        side, score = ("LONG", long) if long > short else ("SHORT", short)
        needed = reading.least_long if long > short else reading.least_short
        return (
            f"→ no entry: {side} leads with {score:.2f} and lacks {needed - score:.2f} points "
            f"({reading.reason}). {least}; only the leading side may trade."
        )
    side = f"{reading.side}, but " if reading.side != "-" else ""
    return f"→ no entry: {side}{_WHY.get(reading.reason, reading.reason)} ({reading.reason}). {least}."


def _with_coins(data: list[Path] | None, symbol: str) -> list[str] | None:
    """The symbol and those of the four coins that the data have; None (all) where file names do not tell."""
    found = {source.symbol for source in find(data or [])}
    return None if symbol not in found else sorted({symbol} | (found & set(BIG4)))


def _tape(data: list[Path] | None, symbols: list[str] | None, instruments: Path | None) -> Tape:
    if not data:
        raise InputError("name a folder or files with 1-minute bars", field="--data")
    known = read_instruments(instruments, None) if instruments else bundled(None)
    tape = read_tape(data, symbols=symbols, instruments=known)
    for warning in tape.warnings:
        notice(f"warning: {warning}")
    return tape


def positions(
    database: DatabaseOption = None,
    version: Annotated[str | None, typer.Option("--version", help="Such as v2; default: all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The live positions of the score versions, from futures_positions."""
    from perpdesk.adapters.sqlstore import SqlStore

    if database is None:
        raise InputError("name the database", field="--database")

    async def found() -> list[dict[str, object]]:
        async with await SqlStore.open(database) as store:
            rows = await store.positions(PositionQuery(signal_version=version, statuses=LIVE_STATUSES))
        return [
            {
                "id": row.id,
                "account": row.account_id,
                "version": row.signal_version,
                "symbol": row.symbol,
                "side": row.position_side.value,
                "status": row.status.value,
                "quantity": str(row.quantity),
                "entry": "-" if row.avg_entry_price is None else str(row.avg_entry_price.normalize()),
                "score": "-" if row.entry_score is None else f"{row.entry_score} of {row.entry_max}",
                "open": "-" if row.open_ms is None else minute(row.open_ms),
            }
            for row in rows
            if row.entry_max is not None and row.entry_max > 1
        ]

    rows = asyncio.run(found())
    if as_json:
        print_json({"positions": rows})
    elif not rows:
        out.print("no live position")
    else:
        out.print(table("live positions", list(rows[0]), [[str(v) for v in row.values()] for row in rows]))
