"""kill halt|reduce|cancel|flatten|resume: a person's word about an account, with the database down too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import DiskFolder
from perpdesk.cli.console import notice, out, print_json
from perpdesk.cli.options import JsonOption
from perpdesk.cli.places import (
    AccountOption,
    ByOption,
    ControlDirOption,
    DatabaseOption,
    account_of,
    folder_of,
    opened,
    speaker,
)
from perpdesk.domain.kill import ControlAction, Rung
from perpdesk.engine.control_file import ControlJournal, control_name, say
from perpdesk.engine.ownership import OwnerBeat, OwnerState, read_owner, state_of

EXIT_DONE, EXIT_NEEDS_PERSON = 0, 4
_LOOK_MS = 50

_ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is journalled.")]
_WaitOption = Annotated[
    int, typer.Option("--wait-ms", min=0, max=60_000, help="How long to wait for a living owner to obey.")
]

_MEANINGS = {
    Rung.HALT: "Send no order that could increase exposure; exits and stops go on.",
    Rung.REDUCE: "HALT, and take resting entries back.",
    Rung.CANCEL: "REDUCE, and take resting take-profits back; stops stay until the position is flat.",
    Rung.FLATTEN: "CANCEL, and close every position at market; stops go when flat was seen twice.",
    Rung.NORMAL: "Trade again as configured.",
}


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="Stop an account, step by step; works without a database.")
    for rung, meaning in _MEANINGS.items():
        group.command("resume" if rung is Rung.NORMAL else rung.word, help=meaning)(_command(rung))
    application.add_typer(group, name="kill")


def _command(rung: Rung) -> Callable[..., int]:
    def command(
        account: AccountOption,
        reason: _ReasonOption,
        by: ByOption = None,
        control_dir: ControlDirOption = None,
        database: DatabaseOption = None,
        wait_ms: _WaitOption = 3_000,
        as_json: JsonOption = False,
    ) -> int:
        return asyncio.run(_kill(rung, account, reason, speaker(by), control_dir, database, wait_ms, as_json))

    return command


async def _kill(
    rung: Rung,
    account: str,
    reason: str,
    by: str,
    control_dir: Path | None,
    database: str | None,
    wait_ms: int,
    as_json: bool,
) -> int:
    clock = SystemClock()
    folder = folder_of(control_dir, make=True)
    account_id = await account_of(account, folder, database)
    action = say(folder, account_id, rung, reason, by=by, ms=clock.now_ms())
    state = state_of(read_owner(folder, account_id), clock.now_ms())
    obeyed = state is OwnerState.ALIVE and await _obeyed(folder, action, clock, wait_ms)
    journalled = await _journalled(folder, action, database, clock)
    answer = {
        "account": account_id,
        "rung": rung.word,
        "seq": action.seq,
        "owner": state.value,
        "obeyed": obeyed,
        "journalled": journalled,
        "control_file": str(folder.path / control_name(account_id)),
    }
    if as_json:
        print_json(answer)
    else:
        out.print(f"account {account_id}: {rung.word} (word {action.seq}) in {answer['control_file']}")
    return _judge(rung, state, obeyed)


def _judge(rung: Rung, state: OwnerState, obeyed: bool) -> int:
    if obeyed:
        notice("the owner has obeyed")
        return EXIT_DONE
    if state is OwnerState.ALIVE:
        notice("the owner lives but has not obeyed in time: look at its log, or stop the process")
        return EXIT_NEEDS_PERSON
    if rung.takes_exits_back:
        notice(
            f"no owner obeys (its file says: {state.value}), so nothing was sent: start `perpdesk watch`, "
            "which takes over, or cancel and close on the exchange"
        )
        return EXIT_NEEDS_PERSON
    notice(f"no owner is running (its file says: {state.value}): the next one obeys from its start")
    return EXIT_DONE


async def _obeyed(folder: DiskFolder, action: ControlAction, clock: SystemClock, wait_ms: int) -> bool:
    until_ms = clock.now_ms() + wait_ms
    while True:
        beat = read_owner(folder, action.account_id)
        if isinstance(beat, OwnerBeat) and beat.obeys_seq >= action.seq:
            return True
        if clock.now_ms() >= until_ms:
            return False
        await clock.sleep_until(clock.now_ms() + _LOOK_MS)


async def _journalled(
    folder: DiskFolder, action: ControlAction, database: str | None, clock: SystemClock
) -> bool:
    if database is None:
        return False
    store, problem = await opened(database)
    if store is None:
        notice(f"not journalled now, the owner does it when it can: {problem}")
        return False
    async with store:
        journal = ControlJournal(folder, action.account_id)
        await journal.catch_up(store, clock.now_ms())
    if journal.problem is not None:
        notice(f"not journalled now, the owner does it when it can: {journal.problem}")
    return journal.problem is None
