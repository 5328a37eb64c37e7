"""Column types that lose nothing: exact decimals, UTC times in milliseconds, canonical JSON.

SQLite has no decimals (its NUMERIC is a float), so there they are canonical text: no exponent, no trailing
zeros. ``net_pnl > 0``, ``= 0`` and ``< 0`` are right on such text; for other comparisons, and to sort,
write ``net_pnl + 0``. PostgreSQL and MariaDB keep real DECIMALs.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH = datetime(1970, 1, 1)

# Wide enough for every column; a digit that would be lost raises.
_EXACT = Context(prec=60, traps=[Inexact])


class Exact(TypeDecorator[Decimal]):
    """DECIMAL(precision, scale) that never rounds: a value with more places is refused, not cut."""

    impl = sa.Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale
        self._place = Decimal((0, (1,), -scale))
        self._limit = Decimal((0, (1,), precision - scale))

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, DECIMAL elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.Numeric(self.precision, self.scale))

    def problem_of(self, value: object) -> str | None:
        """Why this value cannot be kept, or None if it can."""
        if isinstance(value, bool) or not isinstance(value, (Decimal, int)):
            return f"must be a Decimal, was {type(value).__name__} {value!r}"
        number = Decimal(value)
        if not number.is_finite():
            return f"must be a finite number, was {number}"
        if number.copy_abs() >= self._limit:
            return f"must be below 1e{self.precision - self.scale} in size, was {number}"
        try:
            number.quantize(self._place, context=_EXACT)
        except Inexact:
            return f"must have at most {self.scale} decimal places, was {number:f}"
        return None

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """The value as the database takes it."""
        if value is None:
            return None
        problem = self.problem_of(value)
        if problem is not None:
            raise ValueError(problem)
        number = Decimal(value).quantize(self._place, context=_EXACT)
        return _canonical(number) if dialect.name == "sqlite" else number

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """The value with as many places as the column has, on every database."""
        return None if value is None else Decimal(value).quantize(self._place, context=_EXACT)


class UtcMs(TypeDecorator[int]):
    """A UTC date and time with milliseconds in the database (people read it), an integer in Python.

    Without a time zone on every database: what is written is UTC whatever zone a session is in.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, DATETIME(3) or TIMESTAMP(3) elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(precision=3))
        return dialect.type_descriptor(mysql.DATETIME(fsp=3))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        """Milliseconds → datetime, in integers."""
        if value is None:
            return None
        moment = EPOCH + timedelta(milliseconds=value)
        return moment.isoformat(" ", "milliseconds") if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """Datetime → milliseconds, in integers."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        return (moment - EPOCH) // timedelta(milliseconds=1)


def _canonical(number: Decimal) -> str:
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _json_default(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON: {value!r}")


def _refuse_odd_keys(value: object) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a JSON key must be text, was {key!r}")
            _refuse_odd_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_odd_keys(inner)


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no blanks, ASCII, Decimals as text, no NaN or Infinity.

    ``canonical_json(json.loads(canonical_json(x))) == canonical_json(x)``. Raises TypeError or ValueError
    for what JSON cannot hold.
    """
    _refuse_odd_keys(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_json_default)


def json_column() -> TypeEngine[Any]:
    """A JSON column in which Python's None is SQL's NULL."""
    return sa.JSON(none_as_null=True)


def long_text() -> TypeEngine[str]:
    """Text of any length (MariaDB's TEXT ends at 64 KiB)."""
    return sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def big_id() -> TypeEngine[int]:
    """A 64-bit id that the database counts up (SQLite counts only an INTEGER PRIMARY KEY)."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
