"""What the tables of ``schema`` are made of: columns of one meaning, one way to declare a table."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, String

from perpdesk.adapters.sqlstore.types import Exact

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

METADATA = sa.MetaData(naming_convention=NAMES)


def table(name: str, *parts: sa.schema.SchemaItem, metadata: sa.MetaData = METADATA) -> sa.Table:
    """A table with binary collation: names that differ in case are different everywhere."""
    return sa.Table(
        name,
        metadata,
        *parts,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )


def one_of(column: str, *values: str) -> CheckConstraint:
    """Only these texts (or NULL)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def sha256(name: str, *parts: Any, nullable: bool = False) -> Column[str]:
    """A hash in hex."""
    return Column(name, sa.CHAR(64), *parts, nullable=nullable)


def params_hash() -> Column[str]:
    """The snapshot under which a row was decided. Never NULL."""
    return sha256("params_hash", ForeignKey("params_snapshots.sha256"))


def ms(name: str, nullable: bool = False) -> Column[int]:
    """UTC milliseconds as an integer."""
    return Column(name, BigInteger, nullable=nullable)


def text(name: str, length: int, *parts: Any, nullable: bool = False, key: str | None = None) -> Column[str]:
    """Printable text of at most ``length`` characters."""
    return Column(name, String(length), *parts, nullable=nullable, key=key or name)


def money(name: str, nullable: bool = False) -> Column[Any]:
    """Quote currency, 8 places."""
    return Column(name, Exact(20, 8), nullable=nullable)


def notional(name: str, nullable: bool = False) -> Column[Any]:
    """Large sums of quote currency or contracts, 8 places."""
    return Column(name, Exact(30, 8), nullable=nullable)


def price(name: str, nullable: bool = True) -> Column[Any]:
    """A price or quantity, 12 places."""
    return Column(name, Exact(30, 12), nullable=nullable)


class PartialUnique(NamedTuple):
    """Rows for which ``where`` holds are unique in ``columns``.

    A partial index on SQLite and PostgreSQL. MariaDB and MySQL have none: there ``key_column`` is generated,
    1 where the condition holds and NULL elsewhere, and part of the unique key (NULLs are never equal).
    """

    name: str
    table: sa.Table
    columns: tuple[str, ...]
    where: str
    key_column: str
