"""Between the words of ``domain.books`` and the columns: values are checked going in, typed coming out.

Databases differ in what they let pass (SQLite takes any text into a VARCHAR(30), MariaDB cuts decimals with a
mere note), so the checks are here, where the error can name the column.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from perpdesk.adapters.sqlstore.types import Exact, UtcMs, canonical_json
from perpdesk.domain.errors import InputError

RowType = TypeVar("RowType", bound=msgspec.Struct)

_INT32 = 1 << 31
_INT64 = 1 << 63
# Year 9999, where every database's calendar ends.
_MS_MAX = 253_402_300_799_999


def checked(table: sa.Table, row: msgspec.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """The row's values by column key. Raises InputError, naming table and column, for what would not come
    back as it went in."""
    values = dict(row) if isinstance(row, Mapping) else msgspec.structs.asdict(row)
    for key, value in values.items():
        column = table.columns[key]
        problem = _problem_of(column, value)
        if problem is not None:
            raise InputError(problem, field=f"{table.name}.{column.name}")
        if isinstance(value, Enum):
            values[key] = value.value
    return values


def typed(kind: type[RowType], row: sa.Row[Any]) -> RowType:
    """A database row as the struct whose fields are its columns' keys."""
    values = row._mapping
    return msgspec.convert({field: values[field] for field in kind.__struct_fields__}, kind)


def _problem_of(column: sa.Column[Any], value: Any) -> str | None:
    kind = column.type
    if value is None:
        return None if column.nullable else "must be given"
    if isinstance(kind, Exact):
        return kind.problem_of(value)
    if isinstance(kind, UtcMs):
        return _integer_problem(value, 0, _MS_MAX)
    if isinstance(kind, sa.Boolean):
        return None if isinstance(value, bool) else f"must be true or false, was {value!r}"
    if isinstance(kind, sa.Integer):  # BigInteger is one too
        top = _INT64 if isinstance(kind, sa.BigInteger) else _INT32
        return _integer_problem(value, -top, top - 1)
    if isinstance(kind, sa.JSON):
        return _json_problem(value)
    if isinstance(kind, sa.String):  # Text and CHAR are ones too
        return _text_problem(value, kind.length)
    return None


def _integer_problem(value: Any, low: int, high: int) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"must be an integer, was {type(value).__name__} {value!r}"
    return None if low <= value <= high else f"must be within {low}..{high}, was {value}"


def _text_problem(value: Any, length: int | None) -> str | None:
    if not isinstance(value, str):
        return f"must be text, was {type(value).__name__} {value!r}"
    if length is not None and len(value) > length:
        return f"must have at most {length} characters, was {value!r}"
    if length is not None and not value.isprintable():
        return f"must be printable text, was {value!r}"
    # documents are long and nearly always ASCII
    if "\x00" in value or (not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value)):
        return "must not contain NUL or half characters"
    return None


def _json_problem(value: Any) -> str | None:
    try:
        canonical_json(value)
    except (TypeError, ValueError) as error:
        return f"cannot be written as JSON: {error}"
    return None
