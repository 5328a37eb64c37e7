"""One table file, parquet or CSV, as batches of plain numpy columns.

Whatever the file's own types are, a number arrives as float64, a time as int64 UTC milliseconds and a
text as codes into a list of names. Memory is bounded by the batch, not by the file.
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perpdesk.domain.errors import DataError
from perpdesk.market.sources import Source

TIME, NUMBER, TEXT = "time", "number", "text"
BATCH_ROWS = 65_536
_CSV_BLOCK = 4 << 20

# (rows of the whole table if known, our name → the file's name, some rows)
_Rows: TypeAlias = "tuple[int | None, Mapping[str, str], pa.RecordBatch]"

# Between these a number is a time in milliseconds (years 2000 to 2100); times a thousand, microseconds.
_MS_MIN, _MS_MAX = 946_684_800_000, 4_102_444_800_000


@dataclass(frozen=True)
class Layout:
    """The columns a reader wants, by kind. ``aliases`` maps other spellings to ours; ``positional`` names
    the columns of a CSV without a header row. ``nullable``: numbers that may be empty (NaN then)."""

    required: Mapping[str, str]
    optional: Mapping[str, str]
    aliases: Mapping[str, str]
    positional: tuple[str, ...]
    nullable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Batch:
    """Some rows. ``row`` is the number of the first one (from 1, without the header). ``table_size`` is the
    whole table's number of rows, None where only reading would tell. ``texts`` holds (codes, names) per
    text column."""

    row: int
    size: int
    table_size: int | None
    values: Mapping[str, NDArray[Any]]
    texts: Mapping[str, tuple[NDArray[np.int32], list[str]]]


def names_of(source: Source, layout: Layout) -> dict[str, str]:
    """The wanted columns that the file has: our name → the file's name.

    Raises DataError if the file cannot be read or a required column is missing.
    """
    with _readable(source):
        if source.is_parquet:
            return _wanted(source, pq.read_schema(source.path).names, layout)
        with _open(source) as stream:
            return _wanted(source, _csv_names(source, stream, layout)[0], layout)


def batches(source: Source, layout: Layout) -> Iterator[Batch]:
    """The file's rows in order. Raises DataError naming file, row and rule."""
    row = 1
    with _readable(source):
        for size, names, rows in _parquet(source, layout) if source.is_parquet else _csv(source, layout):
            if rows.num_rows:
                yield _batch(source, row, size, rows, names, layout)
            row += rows.num_rows


@contextmanager
def _readable(source: Source, has_header: bool = False) -> Iterator[None]:
    try:
        yield
    except (
        pa.ArrowException,
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        UnicodeDecodeError,
    ) as error:
        text = " ".join(str(error).split())[:300]
        found = re.search(r"Row #(\d+)", text)
        # Arrow counts a CSV's lines
        row = None if found is None else int(found[1]) - int(has_header)
        raise DataError(f"cannot be read: {text}", file=source, rule="readable", row=row) from error


def _wanted(source: Source, found: list[str], layout: Layout) -> dict[str, str]:
    ours: dict[str, str] = {}
    for name in found:
        plain = name.strip().lower()
        plain = layout.aliases.get(plain, plain)
        if plain in layout.required or plain in layout.optional:
            ours.setdefault(plain, name)
    missing = [name for name in layout.required if name not in ours]
    if missing:
        raise DataError(
            f"column {', '.join(missing)} is missing (found: {', '.join(found) or 'none'})",
            file=source,
            rule="columns",
        )
    return ours


def _parquet(source: Source, layout: Layout) -> Iterator[_Rows]:
    with pq.ParquetFile(source.path, memory_map=True) as file:
        names = _wanted(source, file.schema_arrow.names, layout)
        size = int(file.metadata.num_rows)
        texts = [theirs for ours, theirs in names.items() if _kinds(layout)[ours] == TEXT]
        if not texts:
            yield from _parquet_rows(file, size, names)
            return
    with pq.ParquetFile(source.path, memory_map=True, read_dictionary=texts) as file:
        yield from _parquet_rows(file, size, names)


def _parquet_rows(file: pq.ParquetFile, size: int, names: Mapping[str, str]) -> Iterator[_Rows]:
    for rows in file.iter_batches(batch_size=BATCH_ROWS, columns=list(names.values()), use_threads=True):
        yield size, names, rows


def _kinds(layout: Layout) -> dict[str, str]:
    return {**layout.optional, **layout.required}


def _open(source: Source) -> IO[bytes]:
    if source.member is not None:
        # the member keeps the archive's file open and closes it with itself
        return zipfile.ZipFile(source.path).open(source.member)
    if source.path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(source.path, "rb"))
    return open(source.path, "rb")


def _csv_names(source: Source, stream: IO[bytes], layout: Layout) -> tuple[list[str], bool]:
    """(column names, does the file have a header row?)"""
    line = stream.readline().decode("utf-8-sig").strip()
    if not line:
        raise DataError("is empty", file=source, rule="readable")
    fields = [field.strip().strip('"') for field in line.split(",")]
    if not re.fullmatch(r"[0-9.+\-eE]+", fields[0]):
        return fields, True
    if len(fields) > len(layout.positional):
        raise DataError(
            f"has no header row and {len(fields)} columns, must have at most {len(layout.positional)}",
            file=source,
            rule="columns",
        )
    return list(layout.positional[: len(fields)]), False


def _csv(source: Source, layout: Layout) -> Iterator[_Rows]:
    kinds = _kinds(layout)
    arrow = {TIME: pa.int64(), NUMBER: pa.float64(), TEXT: pa.string()}
    with _open(source) as stream:
        found, has_header = _csv_names(source, stream, layout)
        names = _wanted(source, found, layout)
        stream.seek(0)
        with _readable(source, has_header):
            for rows in pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(
                    block_size=_CSV_BLOCK, column_names=found, skip_rows=int(has_header), use_threads=False
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=list(names.values()),
                    column_types={theirs: arrow[kinds[ours]] for ours, theirs in names.items()},
                ),
            ):
                yield None, names, rows


def _batch(
    source: Source,
    row: int,
    size: int | None,
    rows: pa.RecordBatch,
    names: Mapping[str, str],
    layout: Layout,
) -> Batch:
    kinds = _kinds(layout)
    values: dict[str, NDArray[Any]] = {}
    texts: dict[str, tuple[NDArray[np.int32], list[str]]] = {}
    for ours, theirs in names.items():
        column = rows.column(theirs)
        if column.null_count and ours not in layout.nullable:
            at = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise DataError(f"{theirs} is empty", file=source, row=row + at, rule="value")
        if kinds[ours] == TEXT:
            coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            texts[ours] = (coded.indices.to_numpy().astype(np.int32), coded.dictionary.to_pylist())
        elif kinds[ours] == NUMBER:
            values[ours] = _as(pa.float64(), column).to_numpy(zero_copy_only=False)
        else:
            values[ours] = _milliseconds(source, row, theirs, column)
    return Batch(row, rows.num_rows, size, values, texts)


def _as(kind: pa.DataType, column: pa.Array) -> pa.Array:
    """The column as another type, left alone where it is that type: the first cast of a process loads
    Arrow's compute module, which takes longer than most files."""
    return column if column.type.equals(kind) else column.cast(kind)


def _milliseconds(source: Source, row: int, name: str, column: pa.Array) -> NDArray[np.int64]:
    """Times as milliseconds, whether the file has milliseconds, microseconds or timestamps."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    times = cast("NDArray[np.int64]", _as(pa.int64(), column).to_numpy())
    first = int(times[0])
    if _MS_MIN <= first < _MS_MAX:
        low, high, unit = _MS_MIN, _MS_MAX, 1
    else:
        low, high, unit = _MS_MIN * 1000, _MS_MAX * 1000, 1000
    if int(times.min()) < low or int(times.max()) >= high:
        at = int(np.flatnonzero((times < low) | (times >= high))[0])
        raise DataError(
            f"{name} must be UTC milliseconds or microseconds, was {int(times[at])}",
            file=source,
            row=row + at,
            rule="time",
        )
    if unit == 1:
        return times
    whole = times // 1000
    if (whole * 1000 != times).any():
        at = int(np.flatnonzero(whole * 1000 != times)[0])
        raise DataError(
            f"{name} must be a whole millisecond, was {int(times[at])} microseconds",
            file=source,
            row=row + at,
            rule="time",
        )
    return whole
