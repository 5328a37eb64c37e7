"""The folder of control files: on disk, and in memory for simulations.

What is in it must be read and obeyed with the database down: control files of `perpdesk kill`, heartbeats of
owners, locks. The locks are the kernel's (flock): a process that dies, however it dies, has let them go.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perpdesk.domain.errors import InputError

FOLDER_VARIABLE = "PERPDESK_CONTROL_DIR"
SIZE_MAX = 1 << 20


def control_folder(given: Path | None, environment: Mapping[str, str]) -> Path:
    """Where control files are: as given, else PERPDESK_CONTROL_DIR, else the user's state folder.

    Everybody who runs or stops an account must mean the same folder.
    """
    if given is not None:
        return given
    if named := environment.get(FOLDER_VARIABLE):
        return Path(named)
    state = environment.get("XDG_STATE_HOME")
    if state:
        return Path(state) / "perpdesk" / "control"
    home = environment.get("HOME")
    if not home:
        raise InputError(f"name a folder, or set {FOLDER_VARIABLE}", field="--control-dir")
    return Path(home) / ".local" / "state" / "perpdesk" / "control"


class DiskLock:
    """A lock that this process holds."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let it go. Twice is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class DiskFolder:
    """A folder on disk (``ports.Folder``)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def made(cls, path: Path) -> DiskFolder:
        """The folder, made (for its owner only) if it is not there. Raises InputError if it cannot be."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path} cannot be made: {error.strerror}", field="--control-dir") from None
        return cls(path)

    def read(self, name: str) -> bytes | None:
        """The content, None if there is no such file. Raises OSError, also for a file beyond SIZE_MAX."""
        try:
            with open(self.path / name, "rb") as file:
                content = file.read(SIZE_MAX + 1)
        except FileNotFoundError:
            self._check_there()
            return None
        if len(content) > SIZE_MAX:
            raise OSError(f"{name} is larger than {SIZE_MAX} bytes")
        return content

    def stamp(self, name: str) -> tuple[int, ...] | None:
        """Inode, time of change and size: every replacement has another."""
        try:
            found = os.stat(self.path / name)
        except FileNotFoundError:
            self._check_there()
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def replace(self, name: str, content: bytes, *, durable: bool = True) -> None:
        """Write a file beside it, then rename: never half of one."""
        beside = self.path / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            try:
                _write_all(descriptor, content)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(beside, self.path / name)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        if durable:
            self._sync()

    def append(self, name: str, line: bytes) -> None:
        """Add a line. It begins one of its own even after a line that a power cut left unfinished."""
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _write_all(descriptor, b"\n" + line + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._sync()

    def lock(self, name: str) -> DiskLock | None:
        """flock: it ends with the process. None: another holder has it."""
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return DiskLock(descriptor)

    def _check_there(self) -> None:
        # Without the folder nothing is known: that is not the same as "no such file".
        if not self.path.is_dir():
            raise NotADirectoryError(f"{self.path} is not there")

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


@dataclass
class MemoryDisk:
    """What processes of one simulated machine share. ``broken``: nothing can be read or written; ``full``:
    nothing can be written."""

    files: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    locks: dict[str, MemoryFolder] = field(default_factory=dict)
    broken: bool = False
    full: bool = False

    def put(self, name: str, content: bytes) -> None:
        """Write behind everybody's back."""
        self.files[name] = content
        self.versions[name] = self.versions.get(name, 0) + 1


class MemoryLock:
    """A lock on a simulated machine."""

    def __init__(self, disk: MemoryDisk, name: str, holder: MemoryFolder) -> None:
        self._disk, self._name, self._holder = disk, name, holder

    def release(self) -> None:
        """Let it go. Twice is fine."""
        if self._disk.locks.get(self._name) is self._holder:
            del self._disk.locks[self._name]


class MemoryFolder:
    """One simulated process's view of its machine's folder. ``crash`` lets its locks go, as a death does."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk

    def crash(self) -> None:
        """The process died."""
        for name in [name for name, holder in self.disk.locks.items() if holder is self]:
            del self.disk.locks[name]

    def read(self, name: str) -> bytes | None:
        """The content, None if there is no such file."""
        self._check()
        return self.disk.files.get(name)

    def stamp(self, name: str) -> tuple[int, ...] | None:
        """The number of the file's version."""
        self._check()
        return (self.disk.versions[name],) if name in self.disk.files else None

    def replace(self, name: str, content: bytes, *, durable: bool = True) -> None:
        """Put a whole file in place of the old one."""
        self._check_space()
        self.disk.put(name, content)

    def append(self, name: str, line: bytes) -> None:
        """Add a line."""
        self._check_space()
        self.disk.put(name, self.disk.files.get(name, b"") + b"\n" + line + b"\n")

    def lock(self, name: str) -> MemoryLock | None:
        """Take a lock, None if it is held."""
        self._check()
        if name in self.disk.locks:
            return None
        self.disk.locks[name] = self
        return MemoryLock(self.disk, name, self)

    def _check(self) -> None:
        if self.disk.broken:
            raise OSError("the disk does not answer")

    def _check_space(self) -> None:
        self._check()
        if self.disk.full:
            raise OSError("no space is left on the disk")
