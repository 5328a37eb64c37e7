"""What the commands about accounts share: the control folder, the account, who is speaking."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from perpdesk.adapters.folder import DiskFolder, control_folder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import InputError
from perpdesk.engine.ownership import OwnerBeat, read_owner

AccountOption = Annotated[str, typer.Option("--account", help="The account's number, or its name.")]
ControlDirOption = Annotated[
    Path | None,
    typer.Option(
        "--control-dir", help="Folder of control files; default: PERPDESK_CONTROL_DIR, else the user's state."
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]
ByOption = Annotated[str | None, typer.Option("--by", help="Who says so; default: the user's name.")]


def folder_of(given: Path | None, *, make: bool = False) -> DiskFolder:
    """The control folder, made if asked. Raises InputError if it is not there."""
    path = control_folder(given, os.environ)
    if make:
        return DiskFolder.made(path)
    if not path.is_dir():
        raise InputError(f"{path} is not there: no account was ever run with it", field="--control-dir")
    return DiskFolder(path)


def speaker(given: str | None) -> str:
    """Who is at the keyboard."""
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"uid {os.getuid()}"


async def account_of(account: str, folder: DiskFolder | None, database: str | None) -> int:
    """The number of an account that is named by number, by its owner file, or in the database."""
    if account.isascii() and account.isdigit():
        return int(account)
    if folder is not None:
        for path in sorted(folder.path.glob("*.owner.json")):
            number = path.name.partition(".")[0]
            if number.isdigit():
                beat = read_owner(folder, int(number))
                if isinstance(beat, OwnerBeat) and beat.name == account:
                    return beat.account_id
    if database is not None:
        async with await SqlStore.open(database) as store:
            found = await store.account(account)
        if found is not None:
            return found.account_id
    raise InputError(
        f"no account is named {account!r} here: give its number, or --database where its name is",
        field="--account",
    )


async def opened(database: str) -> tuple[SqlStore | None, str]:
    """The store, or None and why it cannot be reached: what works without a database goes on without it."""
    try:
        return await SqlStore.open(database), ""
    except (InputError, StoreFailed) as error:
        return None, str(error)
