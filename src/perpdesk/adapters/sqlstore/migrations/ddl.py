"""What revisions are written with: the databases differ in how they say a few things.

SQLite and PostgreSQL change their schema in a transaction. MariaDB and MySQL do not, so an upgrade that died
half way must be able to go on: there, what exists already is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateTable

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def resumes() -> bool:
    """Must a revision expect to find what it makes?"""
    return op.get_bind().dialect.name in ("mysql", "mariadb")


class Tables:
    """The tables of one revision."""

    def __init__(self) -> None:
        self.metadata = sa.MetaData(naming_convention=NAMES)
        self._earlier: set[str] = set()

    def add(self, name: str, *parts: sa.schema.SchemaItem) -> None:
        """Declare a table."""
        sa.Table(
            name,
            self.metadata,
            *parts,
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )

    def refer_to(self, name: str, key: sa.Column[Any]) -> None:
        """Let foreign keys point at a table of an earlier revision, by its key."""
        sa.Table(name, self.metadata, key)
        self._earlier.add(name)

    def partial_unique(self, name: str, table: str, columns: Sequence[str], where: str, key: str) -> None:
        """Make ``columns`` unique among the rows for which ``where`` holds.

        MariaDB and MySQL: by the generated column ``key``, which is 1 or NULL.
        """
        target = self.metadata.tables[table]
        if resumes():
            computed = sa.Computed(f"CASE WHEN {where} THEN 1 END", persisted=True)
            target.append_column(sa.Column(key, sa.SmallInteger, computed))
            target.append_constraint(sa.UniqueConstraint(*columns, key, name=name))
        else:
            condition = sa.text(where)
            picked = [target.c[column] for column in columns]
            sa.Index(name, *picked, unique=True, postgresql_where=condition, sqlite_where=condition)

    def create(self) -> None:
        """Create the tables and their indexes, parents first."""
        bind = op.get_bind()
        there = set(sa.inspect(bind).get_table_names()) if resumes() else set()
        for table in self.metadata.sorted_tables:
            if table.name in self._earlier:
                continue
            if table.name not in there:
                bind.execute(CreateTable(table))
            for index in sorted(table.indexes, key=lambda one: str(one.name)):
                index.create(bind, checkfirst=resumes())


def exact(precision: int, scale: int) -> sa.types.TypeEngine[Any]:
    """DECIMAL; canonical text on SQLite, which has no decimals."""
    return sa.Numeric(precision, scale).with_variant(sa.Text(), "sqlite")


def utc_ms() -> sa.types.TypeEngine[Any]:
    """A UTC date and time with milliseconds, without a zone."""
    return (
        sa.DateTime()
        .with_variant(sa.Text(), "sqlite")
        .with_variant(postgresql.TIMESTAMP(precision=3), "postgresql")
        .with_variant(mysql.DATETIME(fsp=3), "mysql", "mariadb")
    )


def big_id() -> sa.types.TypeEngine[Any]:
    """A 64-bit id that the database counts up."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def long_text() -> sa.types.TypeEngine[Any]:
    """Text of any length."""
    return sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def one_of(column: str, *values: str) -> sa.CheckConstraint:
    """Only these texts (or NULL)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)
