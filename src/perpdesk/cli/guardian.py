"""guardian status: who owns an account, and when its guardians last beat."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import DiskFolder, control_folder
from perpdesk.cli.console import notice, out, print_json, table
from perpdesk.cli.options import JsonOption
from perpdesk.cli.places import AccountOption, ControlDirOption, DatabaseOption, account_of, opened
from perpdesk.domain.ownership import Heartbeat, LeaseRow
from perpdesk.engine.control_file import ControlFile
from perpdesk.engine.heartbeat import is_fresh
from perpdesk.engine.ownership import OwnerBeat, OwnerState, read_owner, state_of


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="The guardian and the owner of an account.")
    group.command("status")(status)
    group.callback()(lambda: None)
    application.add_typer(group, name="guardian")


def status(
    account: AccountOption,
    control_dir: ControlDirOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """The owner's beat in the control folder; lease and heartbeats in the database, with their ages."""
    answer = asyncio.run(_status(account, control_dir, database))
    if as_json:
        print_json(answer)
        return
    owner, lease, beats = answer["owner"], answer["lease"], answer["heartbeats"]
    assert isinstance(owner, dict)
    assert isinstance(beats, list)
    detail = "".join(f", {key} {value}" for key, value in owner.items() if key != "state")
    out.print(f"account {answer['account']}: owner {owner['state']}{detail}; kill ladder {answer['rung']}")
    if isinstance(lease, dict):
        out.print("lease: " + ", ".join(f"{key} {value}" for key, value in lease.items()), markup=False)
    if beats:
        rows = [[str(value) for value in beat.values()] for beat in beats]
        out.print(table("heartbeats", list(beats[0]), rows))
    elif database is not None:
        out.print("heartbeats: none, so openers refuse")


async def _status(account: str, control_dir: Path | None, database: str | None) -> dict[str, object]:
    path = control_folder(control_dir, os.environ)
    folder = DiskFolder(path) if path.is_dir() else None
    account_id = await account_of(account, folder, database)
    lease: LeaseRow | None = None
    beats: list[Heartbeat] = []
    if database is not None:
        store, problem = await opened(database)
        if store is None:
            notice(f"the database is left out: {problem}")
        else:
            async with store:
                lease, beats = await store.lease(account_id), await store.heartbeats(account_id)
    now_ms = SystemClock().now_ms()
    return {
        "account": account_id,
        "owner": {"state": OwnerState.ABSENT.value} if folder is None else _owner(folder, account_id, now_ms),
        "rung": "normal" if folder is None else ControlFile(folder, account_id).rung().word,
        "lease": None if lease is None else _lease(lease, now_ms),
        "heartbeats": [_beat(beat, now_ms) for beat in beats],
    }


def _owner(folder: DiskFolder, account_id: int, now_ms: int) -> dict[str, object]:
    beat = read_owner(folder, account_id)
    answer: dict[str, object] = {"state": state_of(beat, now_ms).value}
    if isinstance(beat, OwnerBeat):
        answer |= {"age_ms": now_ms - beat.ms, "epoch": beat.epoch, "host": beat.host, "pid": beat.pid}
        answer |= {"obeys_seq": beat.obeys_seq, "rung": beat.rung}
    return answer


def _lease(lease: LeaseRow, now_ms: int) -> dict[str, object]:
    return {
        "owner": lease.owner,
        "epoch": lease.epoch,
        "ends_in_ms": lease.expires_ms - now_ms,
        "build_hash": lease.build_hash,
        "params_hash": lease.params_hash,
    }


def _beat(beat: Heartbeat, now_ms: int) -> dict[str, object]:
    return {
        "strategy": beat.strategy,
        "age_ms": now_ms - beat.beat_ms,
        "fresh": is_fresh(beat, now_ms),
        "epoch": beat.epoch,
        "instance": beat.instance,
    }
