"""control enable|disable|status|release: the switch of an account in the database, which live needs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import DiskFolder, control_folder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.cli.console import out, print_json
from perpdesk.cli.options import JsonOption
from perpdesk.cli.places import AccountOption, ByOption, ControlDirOption, account_of, opened, speaker
from perpdesk.domain.books import (
    WHOLE_STRATEGY,
    Failed,
    JournalEntry,
    Missing,
    StateRow,
    TradingControl,
)
from perpdesk.domain.errors import InputError, Refused
from perpdesk.engine.control_file import ControlFile, ControlJournal
from perpdesk.engine.guardian.throttle import RELEASES, RepeatThrottle, releases_of
from perpdesk.engine.guardian.throttle import STATE as THROTTLE

_DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]
_ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is journalled.")]


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="The switch that openers need: trading_control.")
    group.command("enable")(enable)
    group.command("disable")(disable)
    group.command("status")(status)
    group.command("release")(release)
    application.add_typer(group, name="control")


def enable(
    account: AccountOption,
    database: _DatabaseOption,
    by: ByOption = None,
    reason: _ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let the account open positions. Written with who and when, and journalled."""
    asyncio.run(_switch(account, database, True, speaker(by), reason, as_json))


def disable(
    account: AccountOption,
    database: _DatabaseOption,
    by: ByOption = None,
    reason: _ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let it open nothing more; positions are managed and closed as always. `kill` needs no database."""
    asyncio.run(_switch(account, database, False, speaker(by), reason, as_json))


async def _switch(account: str, database: str, enabled: bool, by: str, reason: str, as_json: bool) -> None:
    account_id = await account_of(account, None, database)
    ms = SystemClock().now_ms()
    word = "enabled" if enabled else "disabled"
    async with await SqlStore.open(database) as store, store.unit() as books:
        await books.set_trading_control(account_id, enabled, by, ms)
        payload = {"account_id": account_id, "enabled": enabled, "by": by, "reason": reason}
        await books.append_journal([JournalEntry(ms=ms, kind="trading_control", payload=payload)])
    if as_json:
        print_json({"account": account_id, "trading_control": word, "updated_by": by, "updated_ms": ms})
    else:
        out.print(f"account {account_id}: trading is {word} by {by}")


def release(
    strategy: Annotated[str, typer.Argument(help="The version as `control status` names it.")],
    account: AccountOption,
    database: _DatabaseOption,
    by: ByOption = None,
    reason: _ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a strategy open again that the repeated-execution throttle switched off. Needs --reason."""
    ms = asyncio.run(_release(account, database, strategy, speaker(by), reason))
    if as_json:
        print_json({"account": account, "strategy": strategy, "released_ms": ms})
    else:
        out.print(f"{strategy} may open again within seconds", markup=False)


async def _release(account: str, database: str, strategy: str, by: str, reason: str) -> int:
    if not reason.strip():
        raise InputError("say why the strategy may go on; it is journalled", field="--reason")
    account_id = await account_of(account, None, database)
    ms = SystemClock().now_ms()
    async with await SqlStore.open(database) as store:
        off = await _throttled(store, account_id)
        if strategy not in off:
            known = ", ".join(sorted(off)) or "no strategy is"
            raise Refused("NOT_DISABLED", f"{strategy} is not switched off by the throttle ({known})")
        kept = await store.load_state(account_id, RELEASES, WHOLE_STRATEGY)
        words = dict(kept.state) if kept is not None and isinstance(kept.state, dict) else {}
        words[strategy] = {"ms": ms, "by": by, "reason": reason}
        tripped = await store.load_state(account_id, THROTTLE, WHOLE_STRATEGY)
        assert tripped is not None, "it names the strategy"
        row = StateRow(
            account_id=account_id, strategy=RELEASES, symbol=WHOLE_STRATEGY, state=words,
            params_hash=tripped.params_hash, updated_ms=ms,
        )  # fmt: skip
        payload = {"account_id": account_id, "strategy": strategy, "by": by, "reason": reason}
        async with store.unit() as books:
            await books.save_state(row)
            await books.append_journal([JournalEntry(ms=ms, kind="throttle_release", payload=payload)])
    return ms


async def _throttled(books: SqlStore, account_id: int) -> dict[str, int]:
    """Strategies that are switched off, and since when (UTC ms)."""
    kept = await books.load_state(account_id, THROTTLE, WHOLE_STRATEGY)
    words = await books.load_state(account_id, RELEASES, WHOLE_STRATEGY)
    throttle = RepeatThrottle()
    throttle.restore(kept.state if kept is not None and isinstance(kept.state, dict) else None)
    throttle.heed(releases_of(None if words is None else words.state))
    return throttle.disabled


def status(
    account: AccountOption,
    database: _DatabaseOption,
    control_dir: ControlDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """The switch and the rung of the kill ladder, and whether both allow entries."""
    answer = asyncio.run(_status(account, database, control_dir))
    if as_json:
        print_json(answer)
        return
    allowed = "allowed" if answer["entries_allowed"] else "NOT allowed"
    out.print(f"account {answer['account']}: entries are {allowed}")
    out.print(f"trading_control: {answer['trading_control']} ({answer['detail']})", markup=False)
    out.print(f"kill ladder: {answer['rung']} ({answer['why']})", markup=False)
    if answer["throttled"]:
        names = ", ".join(str(name) for name in answer["throttled"])  # type: ignore[attr-defined]
        out.print(f"switched off by the throttle: {names} (`perpdesk control release NAME`)", markup=False)


async def _status(account: str, database: str, control_dir: Path | None) -> dict[str, object]:
    path = control_folder(control_dir, os.environ)
    folder = DiskFolder(path) if path.is_dir() else None
    account_id = await account_of(account, folder, database)
    store, problem = await opened(database)
    found: TradingControl | Missing | Failed = Failed(reason=problem)
    off: list[str] = []
    if store is not None:
        async with store:
            found = await store.trading_control(account_id)
            off = sorted(await _throttled(store, account_id))
            if folder is not None:
                await ControlJournal(folder, account_id).catch_up(store, SystemClock().now_ms())
    switch, detail, updated_ms = _told(found)
    rung, why = "normal", f"{path} is not there: nobody has said anything"
    if folder is not None:
        control = ControlFile(folder, account_id)
        rung, why = control.rung().word, control.why
    return {
        "account": account_id,
        "trading_control": switch,
        "detail": detail,
        "updated_ms": updated_ms,
        "rung": rung,
        "why": why,
        "throttled": off,
        "entries_allowed": switch == "enabled" and rung == "normal",
    }


def _told(found: TradingControl | Missing | Failed) -> tuple[str, str, int | None]:
    if isinstance(found, TradingControl):
        return (
            ("enabled" if found.trading_enabled else "disabled"),
            f"by {found.updated_by}",
            found.updated_ms,
        )
    if isinstance(found, Missing):
        return "missing", "no row: entries are refused until `perpdesk control enable`", None
    return "unreadable", found.reason, None
