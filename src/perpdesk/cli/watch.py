"""watch: stand behind the desk of an account, and take its place to protect and close when it is silent."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from perpdesk.adapters.vault import Vault, default_path
from perpdesk.cli.account_checks import hosts_of
from perpdesk.cli.console import notice, out
from perpdesk.cli.live import ExchangeUrlOption, VaultOption
from perpdesk.cli.options import ConfigOption, SetOption
from perpdesk.cli.places import ControlDirOption, DatabaseOption, account_of, folder_of
from perpdesk.config import load
from perpdesk.domain.errors import InputError
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.service.stopping import Stop
from perpdesk.service.watch import Watch, watch_all


def add_to(application: typer.Typer) -> None:
    """Hang this command into the tree."""
    application.command("watch")(watch)


def watch(
    account: Annotated[
        list[str],
        typer.Option("--account", help="An account's name in the vault; repeatable: one watch for all."),
    ],
    exchange_url: ExchangeUrlOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    vault: VaultOption = None,
    control_dir: ControlDirOption = None,
) -> None:
    """Watch the owners' beats on this machine. When they stop: missing disaster stops, entries taken back,
    `kill cancel|flatten` obeyed, nothing ever opened; with the database down, too.

    --database only for the account's number at the first start, and for the journal.
    """
    keys = Vault(default_path() if vault is None else vault)
    if len(set(account)) < len(account):
        raise InputError("an account is named twice", field="--account")
    entries = [keys.entry(name) for name in account]
    hosts = [hosts_of(entry, exchange_url) for entry in entries]
    rule = DisasterRule.of(load(config, options=settings or []).config.risk.disaster)
    folder = folder_of(control_dir, make=True)
    credentials = [keys.credential(name) for name in account]

    async def run() -> None:
        stop = Stop()
        watches = [
            Watch(
                account_id=await account_of(entry.name, folder, database),
                name=entry.name,
                hosts=where,
                credential=credential,
                folder=folder,
                rule=rule,
                database=database,
                say=notice,
                over=stop.asked,
            )
            for entry, where, credential in zip(entries, hosts, credentials, strict=True)
        ]
        with stop.on_signals(notice):
            await watch_all(watches)

    asyncio.run(run())
    desks = "the desk" if len(entries) == 1 else "these desks"
    out.print(f"the watch has ended: nobody stands behind {desks} now", markup=False)
