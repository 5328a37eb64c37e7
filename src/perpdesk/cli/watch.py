"""watch: stand behind the desk of an account, and take its place to protect and close when it is silent."""

from __future__ import annotations

import asyncio

import typer

from perpdesk.adapters.vault import Vault, default_path
from perpdesk.cli.account_checks import hosts_of
from perpdesk.cli.console import notice, out
from perpdesk.cli.live import AccountNameOption, ExchangeUrlOption, VaultOption
from perpdesk.cli.options import ConfigOption, SetOption
from perpdesk.cli.places import ControlDirOption, DatabaseOption, account_of, folder_of
from perpdesk.config import load
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.service.stopping import Stop
from perpdesk.service.watch import Watch


def add_to(application: typer.Typer) -> None:
    """Hang this command into the tree."""
    application.command("watch")(watch)


def watch(
    account: AccountNameOption,
    exchange_url: ExchangeUrlOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    vault: VaultOption = None,
    control_dir: ControlDirOption = None,
) -> None:
    """Watch the owner's beats on this machine. When they stop: missing disaster stops, entries taken back,
    `kill cancel|flatten` obeyed, nothing ever opened; with the database down, too.

    --database only for the account's number at the first start, and for the journal.
    """
    keys = Vault(default_path() if vault is None else vault)
    entry = keys.entry(account)
    hosts = hosts_of(entry, exchange_url)
    rule = DisasterRule.of(load(config, options=settings or []).config.risk.disaster)
    folder = folder_of(control_dir, make=True)
    credential = keys.credential(account)

    async def run() -> None:
        account_id = await account_of(account, folder, database)
        one = Watch(
            account_id=account_id,
            name=entry.name,
            hosts=hosts,
            credential=credential,
            folder=folder,
            rule=rule,
            database=database,
            say=notice,
        )
        stop = Stop()
        one.over = stop.asked
        with stop.on_signals(notice):
            await one.run()

    asyncio.run(run())
    out.print("the watch has ended: nobody stands behind the desk now", markup=False)
