"""Converted bars on disk, so that a file is parsed once and memory-mapped ever after.

An entry's name is a hash of the file's content, of what it was converted with and of the converting
code: a changed file, another tick or a newer version never meets an old entry. Entries appear whole
(written aside, then renamed). Deleting the folder at any time costs nothing but the next parse.

Entries lie on shelves, named by what is quickly known of the content: where there is no shelf there can be
no entry, and the whole content need not be hashed before the file is read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np

from perpdesk.domain.errors import DataError
from perpdesk.kernel.records import bar_dt
from perpdesk.market import bars as bars_module
from perpdesk.market import columns as columns_module
from perpdesk.market.bars import LAYOUT, BarsFacts, Records, Scale, convert
from perpdesk.market.columns import names_of
from perpdesk.market.sources import Source
from perpdesk.market.storing import Backlog

_FACTS, _BARS = "facts.json", "bars.bin"
_TRUST_AFTER_NS = 2_000_000_000
# The end of a file that its shelf is named by: a parquet's footer, with the place and sum of every column.
_TAIL_BYTES = 16_384
# A folder written aside that is this much older than a new one was left by a process that died.
_ABANDONED_AFTER_NS = 3_600_000_000_000

# A file's device, inode, size, modification and change time.
_Stat: TypeAlias = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class StoredBars:
    """One symbol's bars of one table, in memory or in a cache entry.

    ``is_pending`` says that those in memory are still to be stored and must stay as they are.
    """

    source: Source
    facts: BarsFacts
    memory: Records | None = None
    path: Path | None = None
    offset: int = 0
    is_pending: bool = False

    def view(self) -> Records:
        """All bars. From a cache entry: memory-mapped, private to this process if written to."""
        if self.memory is not None:
            return self.memory
        mapped = np.memmap(self._file, bar_dt, mode="c", offset=self.offset, shape=(self.facts.rows,))
        return np.asarray(mapped).view(np.recarray)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) as plain structs."""
        out = np.empty(stop - start, bar_dt)
        self.read_into(start, out)
        return out

    def read_into(self, start: int, out: np.ndarray) -> None:
        """Fill ``out`` (contiguous bar_dt) with the rows from ``start`` on. The file's pages do not count
        as this process's memory, as mapped ones would."""
        if self.memory is not None:
            out[:] = self.memory[start : start + len(out)].view(bar_dt, np.ndarray)
            return
        buffer = memoryview(out.view(np.uint8).data)
        offset = self.offset + start * bar_dt.itemsize
        file = os.open(self._file, os.O_RDONLY)
        try:
            while buffer:
                got = os.preadv(file, [buffer], offset)
                if got == 0:
                    raise OSError(f"the cache entry {self._file} became shorter while it was read")
                buffer, offset = buffer[got:], offset + got
        finally:
            os.close(file)

    @property
    def _file(self) -> Path:
        assert self.path is not None, "bars are in memory or in a file"
        return self.path


def folder() -> Path:
    """Where converted bars are kept: under ``PERPDESK_CACHE_DIR``, else under the user's cache folder."""
    chosen = os.environ.get("PERPDESK_CACHE_DIR")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "perpdesk") / "bars"


def stored_bars(
    source: Source, scales: Mapping[str, Scale], root: Path | None, backlog: Backlog | None = None
) -> list[StoredBars]:
    """Every symbol of a table: from its entry under ``root``, else converted and, with a root, stored.

    With a ``backlog`` that has room, what was converted stays in memory, and storing it is left to the
    backlog. Raises DataError for a file that breaks a rule or changes meanwhile (nothing is stored then) and
    OSError if the entry cannot be written.
    """
    if root is None:
        return [StoredBars(source, facts, memory=bars) for facts, bars in convert(source, scales)]
    before = _directory_entry(source)
    shelf = root / _shelf_name(source)
    found = _load(source, shelf / _entry_name(source, scales, root)) if shelf.is_dir() else None
    if found is not None:
        return found
    if backlog is not None and backlog.has_room:
        return _convert_now(source, scales, root, before, backlog)
    entry = shelf / _entry_name(source, scales, root)
    if not _store(source, convert(source, scales), entry, before):
        raise _changed(source)
    found = _load(source, entry)
    if found is None:
        raise OSError(f"the cache entry {entry} vanished while it was used")
    return found


def _convert_now(
    source: Source, scales: Mapping[str, Scale], root: Path, before: _Stat, backlog: Backlog
) -> list[StoredBars]:
    """The bars in memory; the backlog will store them."""
    if not backlog:
        _try_to_write(root)
    tables = list(convert(source, scales))
    if _directory_entry(source) != before:
        raise _changed(source)
    size = sum(bars.nbytes for _, bars in tables)
    backlog.add(size, partial(_store_later, source, scales, root, before, tables))
    return [StoredBars(source, facts, memory=bars, is_pending=True) for facts, bars in tables]


def _try_to_write(root: Path) -> None:
    """Raise OSError now rather than in the background, where nobody could go on without a cache."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(b"perpdesk")


def _store_later(
    source: Source,
    scales: Mapping[str, Scale],
    root: Path,
    before: _Stat,
    tables: list[tuple[BarsFacts, Records]],
) -> None:
    """Store what was converted, unless the file is no longer the one that was."""
    try:
        entry = root / _shelf_name(source) / _entry_name(source, scales, root)
        if _load(source, entry) is None:
            _store(source, tables, entry, before)
    except DataError:
        return  # the file cannot be read any more: nobody will ask for its entry


def _changed(source: Source) -> DataError:
    return DataError("changed while it was read: run again", file=source, rule="readable")


@cache
def _code_hash() -> bytes:
    digest = hashlib.sha256(repr(bar_dt).encode())
    for module in (bars_module, columns_module):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.digest()


def _entry_name(source: Source, scales: Mapping[str, Scale], root: Path) -> str:
    if "symbol" in names_of(source, LAYOUT):
        used = "; ".join(f"{s} {scales[s].price_tick} {scales[s].lot_step}" for s in sorted(scales))
    else:
        scale = scales.get(source.symbol)
        used = f"{source.symbol} {'' if scale is None else f'{scale.price_tick} {scale.lot_step}'}"
    content = _content_hash(source, root)
    suffix = source.path.suffix.lower()
    name = hashlib.sha256(_code_hash() + f"{content}|{suffix}|{source.member}|{used}".encode()).hexdigest()
    return name[:40]


def _shelf_name(source: Source) -> str:
    """What entries of the file's content have in common, from its size and its end."""
    try:
        with open(source.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read(_TAIL_BYTES)
    except OSError as error:
        raise DataError(f"cannot be read: {error}", file=source, rule="readable") from error
    return hashlib.sha256(_code_hash() + f"{size}|".encode() + tail).hexdigest()[:40]


class _Seen(msgspec.Struct, frozen=True):
    """A file's content hash, and what its directory entry was when it was computed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    content: str


def _directory_entry(source: Source) -> _Stat:
    try:
        stat = os.stat(source.path)
    except OSError as error:
        raise DataError(f"cannot be read: {error}", file=source, rule="readable") from error
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _content_hash(source: Source, root: Path) -> str:
    """sha256 of the file, remembered by its directory entry.

    The change time (which no program can set) tells whether the file is still the one that was hashed. A
    memory written within two seconds of that change is not trusted: a further change might have left the
    same time stamp.
    """
    here = _directory_entry(source)
    name = hashlib.sha256(str(source.path.resolve()).encode()).hexdigest()[:40]
    memory = root / "seen" / f"{name}.json"
    with suppress(FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        seen = msgspec.json.decode(memory.read_bytes(), type=_Seen)
        is_same = here == (seen.device, seen.inode, seen.size, seen.mtime_ns, seen.ctime_ns)
        if is_same and os.stat(memory).st_mtime_ns > seen.ctime_ns + _TRUST_AFTER_NS:
            return seen.content
    try:
        with open(source.path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read: {error}", file=source, rule="readable") from error
    memory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=memory.parent, delete=False) as aside:
        aside.write(msgspec.json.encode(_Seen(*here, content)))
    os.replace(aside.name, memory)
    return content


def _load(source: Source, entry: Path) -> list[StoredBars] | None:
    try:
        facts = msgspec.json.decode((entry / _FACTS).read_bytes(), type=list[BarsFacts])
        size = (entry / _BARS).stat().st_size
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    if size != sum(one.rows for one in facts) * bar_dt.itemsize:
        return None
    found, offset = [], 0
    for one in facts:
        found.append(StoredBars(source, one, path=entry / _BARS, offset=offset))
        offset += one.rows * bar_dt.itemsize
    for stored in found:
        ends = [int(stored.read(at, at + 1)["open_ms"][0]) for at in (0, stored.facts.rows - 1)]
        if ends != [stored.facts.first_ms, stored.facts.last_ms]:
            return None
    return found


def _store(source: Source, tables: Iterable[tuple[BarsFacts, Records]], entry: Path, before: _Stat) -> bool:
    """Write the entry; False, and nothing is written, if the file's directory entry is not ``before``."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix="new-", dir=entry.parent))
    try:
        _remove_abandoned(aside)
        facts = []
        with open(aside / _BARS, "wb") as file:
            for one, bars in tables:
                facts.append(one)
                bars.tofile(file)
        (aside / _FACTS).write_bytes(msgspec.json.encode(facts))
        if _directory_entry(source) != before:
            return False
        if entry.exists() and _load(source, entry) is None:
            shutil.rmtree(entry, ignore_errors=True)  # a broken entry, from a crash or a full disk
        try:
            aside.rename(entry)
        except OSError:
            if not entry.exists():  # otherwise another process was faster, and its entry is the same
                raise
        return True
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(aside: Path) -> None:
    """Remove what processes that were killed left beside ``aside``, which is new."""
    oldest_ns = os.stat(aside).st_mtime_ns - _ABANDONED_AFTER_NS
    for other in aside.parent.glob("new-*"):
        with suppress(OSError):
            if os.stat(other).st_mtime_ns < oldest_ns:
                shutil.rmtree(other, ignore_errors=True)
