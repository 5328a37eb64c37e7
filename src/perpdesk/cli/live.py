"""live: trade an account with real orders, until asked to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from perpdesk.adapters.vault import Vault, default_path
from perpdesk.cli import first_look
from perpdesk.cli.account_checks import hosts_of
from perpdesk.cli.console import notice, out
from perpdesk.cli.options import ConfigOption, SetOption, StrategyOption, SymbolsOption, load_config
from perpdesk.cli.places import ControlDirOption, folder_of
from perpdesk.domain.errors import InputError
from perpdesk.service.live import LiveOptions, refuse_unconfirmed, run_live

AccountNameOption = Annotated[str, typer.Option("--account", help="The account's name in the vault.")]
VaultOption = Annotated[
    Path | None, typer.Option("--vault", help="Default: $PERPDESK_VAULT, else in the user's data folder.")
]
ExchangeUrlOption = Annotated[
    str | None,
    typer.Option(
        "--exchange-url", help="Where a simulated account's exchange is; a live key goes nowhere else."
    ),
]
RedisOption = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar="PERPDESK_REDIS",
        help="A cache for what the radar asks rarely, redis://… or unix://…",
    ),
]
_DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]

EXIT_AT_ONCE = 1


def add_to(application: typer.Typer) -> None:
    """Hang this command into the tree."""
    application.command("live")(live)


def live(
    account: AccountNameOption,
    database: _DatabaseOption,
    strategy: StrategyOption = None,
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
    """Trade an account. Needs --live, --confirm ACCOUNT, and for entries `perpdesk control enable`.

    SIGTERM or Ctrl-C: no new entries, unfilled ones taken back, positions and their exchange stops stay.
    """
    refuse_unconfirmed(is_live, confirm, account)
    chosen = sorted({part.strip().upper() for part in (symbols or "").split(",") if part.strip()})
    if not chosen:
        raise InputError("name the contracts to trade, separated by commas", field="--symbols")
    loaded = load_config(config, settings, None, strategy or [])
    keys = Vault(default_path() if vault is None else vault)
    entry = keys.entry(account)
    hosts = hosts_of(entry, exchange_url)
    options = LiveOptions(
        loaded=loaded,
        strategies=strategy or [],
        symbols=chosen,
        database=database,
        entry=entry,
        credential=keys.credential(account),
        hosts=hosts,
        folder=folder_of(control_dir, make=True),
        config=config,
        settings=settings or [],
        redis=redis,
        flatten_on_exit=flatten_on_exit,
        dead=first_look.dead,
        say=notice,
    )
    try:
        out.print(asyncio.run(run_live(options)), markup=False)
    except asyncio.CancelledError:  # the second signal
        notice("ended at once: what is open stays with its exchange stops, the next start goes on")
        return EXIT_AT_ONCE
    return 0
