"""volume keys add|check|rotate: the Spot keys of volume's users, in the vault as ``volume-N``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpdesk.cli import accounts
from perpdesk.cli.account_checks import spot_hosts_of_new
from perpdesk.cli.options import JsonOption
from perpdesk.volume_run.spot_keys import account_name

UserOption = Annotated[int, typer.Option("--user", min=1, help="The user's number.")]
VaultOption = Annotated[
    Path | None, typer.Option("--vault", help="Default: $PERPDESK_VAULT, else in the user's data folder.")
]
_UrlOption = Annotated[
    str | None,
    typer.Option("--exchange-url", help="A simulated exchange on this machine instead of the live one."),
]
_KeyFileOption = Annotated[
    Path | None,
    typer.Option("--key-file", help="Private file with key and secret, - for stdin; default: asked for."),
]
_AnyIpOption = Annotated[
    bool,
    typer.Option("--allow-no-ip-lock", help="Take a live key that has no list of addresses; journalled."),
]
_DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="Keep the account's row and journal there."),
]


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="The Spot API keys of volume's users (in the vault).")
    for name, command in (("add", add), ("check", check), ("rotate", rotate)):
        group.command(name)(command)
    application.add_typer(group, name="keys")


def add(
    user: UserOption,
    exchange_url: _UrlOption = None,
    key_file: _KeyFileOption = None,
    allow_no_ip_lock: _AnyIpOption = False,
    database: _DatabaseOption = None,
    vault: VaultOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a user's Spot key into the vault, after asking the exchange what it may do."""
    accounts.keep_new(
        account_name(user),
        spot_hosts_of_new(exchange_url),
        exchange_url,
        key_file,
        allow_no_ip_lock,
        database,
        vault,
        as_json,
        user_id=user,
    )


def check(
    user: UserOption,
    exchange_url: _UrlOption = None,
    database: _DatabaseOption = None,
    vault: VaultOption = None,
    as_json: JsonOption = False,
) -> int:
    """Ask the exchange again what the user's key may do. Exit 3: it is refused."""
    return accounts.check(account_name(user), exchange_url, database, vault, as_json)


def rotate(
    user: UserOption,
    exchange_url: _UrlOption = None,
    key_file: _KeyFileOption = None,
    allow_no_ip_lock: _AnyIpOption = False,
    database: _DatabaseOption = None,
    vault: VaultOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a user's key; `volume resume --user N` then lets a halted user go on with it."""
    accounts.rotate(
        name=account_name(user),
        exchange_url=exchange_url,
        key_file=key_file,
        allow_any_ip=allow_no_ip_lock,
        database=database,
        vault=vault,
        as_json=as_json,
    )
