"""The options that every run shares, and the market and configuration that they load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from perpdesk.app import Market, cut
from perpdesk.cli.console import notice
from perpdesk.config import Loaded, lint, load, refuse_errors
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import funding_dt, zeros
from perpdesk.market import funding as funding_files
from perpdesk.market.instruments import bundled, read_brackets, read_instruments
from perpdesk.market.interest import read as read_interest
from perpdesk.market.tape import read_tape

DataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="Folder or file with 1-minute bars (parquet, CSV, zip); repeatable.",
        show_default=False,
    ),
]
InstrumentsOption = Annotated[
    Path | None, typer.Option("--instruments", help="exchangeInfo JSON (.gz too); default: built-in table.")
]
BracketsOption = Annotated[Path | None, typer.Option("--brackets", help="leverageBracket JSON (.gz too).")]
FundingOption = Annotated[list[Path] | None, typer.Option("--funding", help="Funding rates; repeatable.")]
MarkOption = Annotated[
    list[Path] | None, typer.Option("--mark", help="Mark price klines for funding; repeatable.")
]
OiOption = Annotated[
    list[Path] | None, typer.Option("--oi", help="Recorded open interest (parquet, CSV); repeatable.")
]
SymbolsOption = Annotated[
    str | None, typer.Option("--symbols", help="Only these symbols, separated by commas.")
]
FromOption = Annotated[
    str | None, typer.Option("--from", help="First minute of the run (UTC date or time, or ms).")
]
ToOption = Annotated[str | None, typer.Option("--to", help="End of the run, exclusive.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Default: config/perpdesk.yaml if present.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")]
BalanceOption = Annotated[str | None, typer.Option("--balance", help="Starting balance in USDT.")]
StrategyOption = Annotated[
    list[str] | None,
    typer.Option("--strategy", help="sma_cross, score_v2, score_v3, grid, oi_breakout; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@dataclass(frozen=True)
class MarketOptions:
    """Where the market comes from."""

    data: list[Path] | None
    symbols: str | None = None
    instruments: Path | None = None
    brackets: Path | None = None
    funding: list[Path] | None = None
    mark: list[Path] | None = None
    from_text: str | None = None
    to_text: str | None = None
    interest: list[Path] | None = None


def time_ms(text: str | None, field: str) -> int | None:
    """UTC milliseconds of ``2025-05-24``, ``2025-05-24T10:00``, or a number of ms. Raises InputError."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text!r} is not a date such as 2025-05-24 or 2025-05-24T10:00", field=field
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def load_config(
    config: Path | None, settings: list[str] | None, balance: str | None, strategies: list[str]
) -> Loaded:
    """The configuration, linted for the strategies that run: errors refuse, findings go to stderr."""
    chosen = list(settings or [])
    if balance is not None:
        chosen.append(f"account.balance_usdt={balance}")
    loaded = load(config, options=chosen)
    sections = {name.partition("_")[0] if name.startswith(("score", "oi")) else name for name in strategies}
    findings = lint(loaded.config, strategies=sections)
    refuse_errors(findings)
    for finding in findings:
        notice(str(finding))
    return loaded


def load_market(options: MarketOptions) -> Market:
    """Read and check the market files; warnings go to stderr."""
    if not options.data:
        raise InputError("name a folder or files with 1-minute bars", field="--data")
    brackets = read_brackets(options.brackets) if options.brackets else None
    instruments = (
        read_instruments(options.instruments, brackets) if options.instruments else bundled(brackets)
    )
    from_ms = time_ms(options.from_text, "--from")
    to_ms = time_ms(options.to_text, "--to")
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise InputError("--to must be after --from", field="--to")
    wanted = None
    if options.symbols is not None:
        wanted = [part.strip().upper() for part in options.symbols.split(",") if part.strip()]
    tape = read_tape(options.data, symbols=wanted, end_ms=to_ms, instruments=instruments)
    for warning in tape.warnings:
        notice(f"warning: {warning}")
    known = bool(options.funding)
    rates = (
        funding_files.read(options.funding, tape.universe, marks=options.mark or ())
        if options.funding
        else zeros(0, funding_dt)
    )
    notes = [str(note) for note in tape.notes]
    if not known:
        notes.append("funding: no rates given, counted as 0")
    market = cut(tape, from_ms, np.asarray(rates).view(np.recarray), known, notes)
    if not options.interest:
        return market
    rows = read_interest(options.interest, tape.universe.symbols)
    for text in rows.warnings:
        notice(f"warning: {text}")
    return replace(market, interest=rows)
