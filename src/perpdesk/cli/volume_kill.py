"""volume kill halt|reduce|cancel|flatten|resume: a person's word about volume's users, without a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.cli.console import out, print_json
from perpdesk.cli.options import JsonOption
from perpdesk.cli.places import ByOption, ControlDirOption, folder_of, speaker
from perpdesk.domain.kill import Rung
from perpdesk.engine.control_file import control_name, say
from perpdesk.engine.volume.ladder import control_id

_ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept beside the word.")]
_UserOption = Annotated[int | None, typer.Option("--user", min=1, help="One user; default: everybody.")]
_MEANINGS = {
    Rung.HALT: "No new pair; live ones run to their end. The run halts: `volume resume` lets it go on.",
    Rung.REDUCE: "The same as halt: a pair's SELL is what reduces.",
    Rung.CANCEL: "And BUY legs are taken back; SELL legs stay.",
    Rung.FLATTEN: "And every live pair is cancelled and sold out.",
    Rung.NORMAL: "Trade again as configured; halted users need `volume resume` too.",
}


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="Stop volume's users, step by step, without a database.")
    for rung, meaning in _MEANINGS.items():
        group.command("resume" if rung is Rung.NORMAL else rung.word, help=meaning)(_command(rung))
    application.add_typer(group, name="kill")


def _command(rung: Rung) -> Callable[..., None]:
    def command(
        reason: _ReasonOption,
        user: _UserOption = None,
        by: ByOption = None,
        control_dir: ControlDirOption = None,
        as_json: JsonOption = False,
    ) -> None:
        folder = folder_of(control_dir, make=True)
        number = control_id(user)
        action = say(folder, number, rung, reason, by=speaker(by), ms=SystemClock().now_ms())
        path = str(folder.path / control_name(number))
        who = "everybody" if user is None else f"user {user}"
        if as_json:
            print_json({"user": user, "rung": rung.word, "seq": action.seq, "control_file": path})
        else:
            out.print(f"{who}: {rung.word} (word {action.seq}) in {path}", markup=False)

    return command
