"""Files that belong to one user alone: read only if they do, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perpdesk.domain.errors import Refused

_SIZE_MAX = 16 * 1024 * 1024
_OTHERS = 0o077


def read_private(path: Path, what: str) -> bytes | None:
    """The bytes of a file that only its owner, who is us, can read; None if it is not there.

    Raises Refused, saying how to correct it, for a file of another user, one that others may read or write,
    a link or anything that is no plain file. what: how messages call it (``the vault``).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused("FILE_MODE", f"{what} {path} cannot be read: {error.strerror}") from None
    try:
        # Of the open file, not of its name: between two looks a name may change.
        found = os.fstat(descriptor)
        problem = _problem(found)
        if problem is not None:
            raise Refused("FILE_MODE", f"{what} {path} {problem.format(path=path)}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _problem(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    if found.st_uid != os.geteuid():
        return (
            f"belongs to user {found.st_uid}, perpdesk runs as {os.geteuid()}: run it as that user, or give "
            "the file to this one"
        )
    if found.st_mode & _OTHERS:
        return f"has mode {stat.S_IMODE(found.st_mode):04o}: others may use it, `chmod 600 {{path}}`"
    if found.st_size > _SIZE_MAX:
        return f"has {found.st_size} bytes: it is something else"
    return None


def write_private(path: Path, content: bytes) -> None:
    """Put these bytes there with mode 0600, so that after a crash at any moment the old or the new ones are
    there, whole. Call it under ``locked``: writers share the name of the new file.

    Raises OSError (no space, no right): then the old bytes are there.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # left by a crash; it may have another owner's mode
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with this file among all processes; waits for the one that holds it. Makes its folder (0700)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # ends the lock, as a kill does
