"""backtest, paper, parity: the same step, three drivers."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from perpdesk.app import backtest, paper
from perpdesk.cli.console import notice, out, print_json, progress
from perpdesk.cli.options import (
    BalanceOption,
    BracketsOption,
    ConfigOption,
    DataOption,
    FromOption,
    FundingOption,
    InstrumentsOption,
    JsonOption,
    MarketOptions,
    MarkOption,
    OiOption,
    SetOption,
    StrategyOption,
    SymbolsOption,
    ToOption,
    load_config,
    load_market,
)
from perpdesk.cli.report import minute, print_result
from perpdesk.domain.errors import InputError
from perpdesk.parity import Receipt, compare

_EXIT_DIFFERENT = 1


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    application.command("backtest")(backtest_command)
    application.command("paper")(paper_command)
    application.command("parity")(parity_command)


def backtest_command(
    strategy: StrategyOption = None,
    data: DataOption = None,
    symbols: SymbolsOption = None,
    from_text: FromOption = None,
    to_text: ToOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    balance: BalanceOption = None,
    instruments: InstrumentsOption = None,
    brackets: BracketsOption = None,
    funding: FundingOption = None,
    mark: MarkOption = None,
    interest: OiOption = None,
    no_skip: Annotated[bool, typer.Option("--no-skip", help="Walk every bar; slow, same result.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run one strategy through the compiled loop, or several together on one account."""
    loaded = load_config(config, settings, balance, strategy or [])
    market = load_market(
        MarketOptions(data, symbols, instruments, brackets, funding, mark, from_text, to_text, interest)
    )
    with progress("backtest", len(market.bars), quiet=as_json) as done:
        result, _, _ = backtest(loaded, strategy or [], market, skip=not no_skip, progress=done)
    if as_json:
        print_json(result.to_json())
    else:
        print_result(result)


def paper_command(
    strategy: StrategyOption = None,
    data: DataOption = None,
    symbols: SymbolsOption = None,
    from_text: FromOption = None,
    to_text: ToOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    balance: BalanceOption = None,
    instruments: InstrumentsOption = None,
    brackets: BracketsOption = None,
    funding: FundingOption = None,
    mark: MarkOption = None,
    interest: OiOption = None,
    speed: Annotated[
        str | None, typer.Option("--speed", help="max, or how many times faster than life.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database", envvar="PERPDESK_DATABASE", help="Where to keep records (SQLAlchemy URL)."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Trade on the simulated venue: the engine of live, on recorded minutes."""
    loaded = load_config(config, settings, balance, strategy or [])
    market = load_market(
        MarketOptions(data, symbols, instruments, brackets, funding, mark, from_text, to_text, interest)
    )
    configured = loaded.config.paper.speed
    pace = float(configured or 0) if speed is None else _speed(speed)
    with progress("paper", len(market.bars), quiet=as_json) as done:
        result = asyncio.run(
            paper(loaded, strategy or [], market, database=database, speed=pace, progress=done)
        )
    if result.to_ms < market.to_ms:
        still = f"{result.open_positions} positions stay open with their exchange stops"
        notice(f"stopped at {minute(result.to_ms)} UTC: {still}")
    if as_json:
        print_json(result.to_json())
    else:
        print_result(result)


def parity_command(
    strategy: StrategyOption = None,
    data: DataOption = None,
    symbols: SymbolsOption = None,
    from_text: FromOption = None,
    to_text: ToOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    balance: BalanceOption = None,
    instruments: InstrumentsOption = None,
    brackets: BracketsOption = None,
    funding: FundingOption = None,
    mark: MarkOption = None,
    interest: OiOption = None,
    every_point: Annotated[
        bool, typer.Option("--every-point", help="The engine looks at every path point; slow, same result.")
    ] = False,
    venue_taker_ppm: Annotated[
        int | None, typer.Option("--venue-taker-ppm", help="Plant a difference: the venue charges this fee.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Compare the replay with the engine on the in-process venue, bit by bit. Exit 1: they differ.

    One strategy is replayed by the compiled loop, several on one account by the coupled replay.
    """
    loaded = load_config(config, settings, balance, strategy or [])
    market = load_market(
        MarketOptions(data, symbols, instruments, brackets, funding, mark, from_text, to_text, interest)
    )
    receipt = compare(
        loaded, strategy or [], market, every_point=every_point, venue_taker_ppm=venue_taker_ppm
    )
    if as_json:
        print_json(receipt.to_json())
    else:
        print_receipt(receipt)
    return 0 if receipt.identical else _EXIT_DIFFERENT


def print_receipt(receipt: Receipt) -> None:
    """The receipt as sentences."""
    verdict = "identical" if receipt.identical else "DIFFERENT"
    out.print(
        f"parity {verdict}: {receipt.strategy}, {receipt.fills:,} fills, {receipt.bars:,} bars of "
        f"{receipt.symbols} symbols, {receipt.gap_stops} stops filled beyond their trigger at an open"
    )
    out.print(f"fills hash {receipt.fills_hash}")
    out.print(
        f"replay {receipt.replay_bars_per_second:,.0f} bars/s, "
        f"engine {receipt.engine_bars_per_second:,.0f} bars/s (compiling included)"
    )
    if receipt.first_difference is not None:
        out.print(f"first difference: {receipt.first_difference}", markup=False)


def _speed(text: str) -> float:
    """0 for max. Raises InputError."""
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 < speed <= 1e6:
        raise InputError(f"{text!r} is neither 'max' nor a number above 0", field="--speed")
    return speed
