"""Which files hold the data: folders become files, and file names become symbols.

A source is one table: a parquet file, a CSV file (``.csv``, ``.csv.gz``) or one CSV inside a zip.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from perpdesk.domain.errors import DataError, InputError

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".zip")


@dataclass(frozen=True)
class Source:
    """One table on disk. ``member`` names the CSV inside a zip; ``symbol`` is what the file name says,
    used where the table has no symbol column."""

    path: Path
    symbol: str
    member: str | None = None
    is_only_member: bool = True

    @property
    def is_parquet(self) -> bool:
        return self.path.name.lower().endswith(".parquet")

    def __str__(self) -> str:
        return str(self.path) if self.is_only_member else f"{self.path}:{self.member}"


def symbol_of(file_name: str) -> str:
    """The symbol that a file name starts with, up to the first ``_`` or ``-`` (or the suffix)."""
    return re.split(r"[_\-.]", Path(file_name).name, maxsplit=1)[0].upper()


def find(paths: Iterable[Path | str], *, field: str = "--data") -> list[Source]:
    """Every table under ``paths`` (folders are searched recursively), in the order of their names.

    A file that is reached twice counts once. Raises InputError, naming ``field``, for a path that does
    not exist, a file of an unknown kind, or when nothing was found; DataError for a broken zip.
    """
    files: dict[Path, None] = {}
    given = [Path(path) for path in paths]
    for path in given:
        if path.is_dir():
            for child in sorted(path.rglob("*")):
                if child.is_file() and _is_known(child) and not child.name.startswith("."):
                    files.setdefault(child, None)
        elif not path.is_file():
            raise InputError("no such file or folder", field=field, file=path)
        elif not _is_known(path):
            raise InputError(f"must be one of {', '.join(SUFFIXES)}", field=field, file=path)
        else:
            files.setdefault(path, None)
    once = {path.resolve(): path for path in reversed(files)}
    sources = [source for path in sorted(once.values()) for source in _tables(path)]
    if not sources:
        where = ", ".join(str(path) for path in given) or "nothing"
        raise InputError(
            f"the universe is empty: {where} holds no {', '.join(SUFFIXES)} file",
            field=field,
            rule="universe",
        )
    return sources


def _is_known(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _tables(path: Path) -> list[Source]:
    if path.suffix.lower() != ".zip":
        return [Source(path, symbol_of(path.name))]
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(name for name in archive.namelist() if name.lower().endswith(".csv"))
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"cannot be read: {error}", file=path, rule="readable") from error
    if not members:
        raise DataError("holds no .csv file", file=path, rule="readable")
    if len(members) == 1:
        return [Source(path, symbol_of(path.name), members[0])]
    return [Source(path, symbol_of(name), name, is_only_member=False) for name in members]
