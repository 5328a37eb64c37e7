"""score run: the versions of the score trader together, as `paper`, `live` or `backtest` would run them."""

from __future__ import annotations

from typing import Annotated

import typer

from perpdesk.cli.live import ExchangeUrlOption, VaultOption, live
from perpdesk.cli.options import (
    BalanceOption,
    BracketsOption,
    ConfigOption,
    DataOption,
    FromOption,
    FundingOption,
    InstrumentsOption,
    JsonOption,
    MarkOption,
    SetOption,
    SymbolsOption,
    ToOption,
    load_config,
)
from perpdesk.cli.places import ControlDirOption, DatabaseOption
from perpdesk.cli.run import backtest_command, paper_command
from perpdesk.cli.score_names import VersionsOption, version_names
from perpdesk.domain.errors import InputError

MODES = ("paper", "live", "replay")


def score_run(
    mode: Annotated[str, typer.Option("--mode", help="paper, live or replay (the backtest).")] = "paper",
    versions: VersionsOption = None,
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
    speed: Annotated[
        str | None, typer.Option("--speed", help="Paper: max, or how many times faster than life.")
    ] = None,
    database: DatabaseOption = None,
    account: Annotated[str | None, typer.Option("--account", help="Live: its name in the vault.")] = None,
    is_live: Annotated[bool, typer.Option("--live", help="Live: yes, real orders.")] = False,
    confirm: Annotated[str | None, typer.Option("--confirm", help="Live: the account's name again.")] = None,
    exchange_url: ExchangeUrlOption = None,
    flatten_on_exit: Annotated[
        bool, typer.Option("--flatten-on-exit", help="Live: close everything when it is stopped.")
    ] = False,
    vault: VaultOption = None,
    control_dir: ControlDirOption = None,
    as_json: JsonOption = False,
) -> int:
    """Run the versions together on one account, on recorded data or live."""
    if mode not in MODES:
        raise InputError(f"{mode!r} is not a mode: choose from {', '.join(MODES)}", field="--mode")
    quiet = load_config(config, settings, balance, [])
    strategies = version_names(quiet, versions)
    if mode == "live":
        if account is None:
            raise InputError("name the account to trade", field="--account")
        if database is None:
            raise InputError("live trading keeps its books: name the database", field="--database")
        return live(
            account=account, database=database, strategy=strategies, symbols=symbols, is_live=is_live,
            confirm=confirm, exchange_url=exchange_url, config=config, settings=settings,
            flatten_on_exit=flatten_on_exit, vault=vault, control_dir=control_dir,
        )  # fmt: skip
    if mode == "replay":
        backtest_command(
            strategy=strategies, data=data, symbols=symbols, from_text=from_text, to_text=to_text,
            config=config, settings=settings, balance=balance, instruments=instruments, brackets=brackets,
            funding=funding, mark=mark, as_json=as_json,
        )  # fmt: skip
        return 0
    paper_command(
        strategy=strategies, data=data, symbols=symbols, from_text=from_text, to_text=to_text, config=config,
        settings=settings, balance=balance, instruments=instruments, brackets=brackets, funding=funding,
        mark=mark, speed=speed, database=database, as_json=as_json,
    )  # fmt: skip
    return 0
