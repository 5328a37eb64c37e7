"""Was the last owner of an account dead already when this process began? Looked at first of all.

What a dead process signed can be accepted for some seconds more, and a start takes seconds too: who looks
before anything is loaded waits for both at once. Imports next to nothing for that reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from perpdesk.domain.errors import InputError
from perpdesk.domain.ownership import SeenDead


class _Lock(Protocol):
    def release(self) -> None: ...


class _Folder(Protocol):
    def read(self, name: str) -> bytes | None: ...

    def lock(self, name: str) -> _Lock | None: ...


def dead_owner(folder: _Folder, account_id: int, now_ms: int) -> SeenDead | None:
    """The owner that the account's file names, if nobody holds the account's locks now. None: it is not
    known to be dead. Whoever takes the account compares the file again. Raises nothing."""
    locks = []
    try:
        # A watch in an owner's place holds the second one only.
        for what in ("owner", "takeover"):
            lock = folder.lock(f"{account_id}.{what}.lock")
            if lock is None:
                return None
            locks.append(lock)
        said = json.loads(folder.read(f"{account_id}.owner.json") or b"{}")
        return SeenDead(owner=str(said["owner"]), epoch=int(said["epoch"]), ms=now_ms)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    finally:
        for lock in locks:
            lock.release()


def dead_owner_of(arguments: Sequence[str], environment: Mapping[str, str], now_ms: int) -> SeenDead | None:
    """The same for the account that a command line names. None: it names none, or nothing is known of it."""
    from perpdesk.adapters.folder import DiskFolder, control_folder

    name, given = _value(arguments, "--account"), _value(arguments, "--control-dir")
    try:
        folder = DiskFolder(control_folder(None if given is None else Path(given), environment))
        for path in sorted(folder.path.glob("*.owner.json")):
            number = path.name.partition(".")[0]
            if number.isdigit() and json.loads(path.read_bytes())["name"] == name:
                return dead_owner(folder, int(number), now_ms)
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None
    return None


def _value(arguments: Sequence[str], option: str) -> str | None:
    for i, word in enumerate(arguments):
        if word == option and i + 1 < len(arguments):
            return arguments[i + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None
