"""Is the database what this version needs? Asked at every start, before anything is written.

A constraint that is not there (dropped by hand, lost in a restore) would let two live positions exist where
one may: that is not found out by trading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedIndex

from perpdesk.adapters.sqlstore.migrations import HEAD
from perpdesk.adapters.sqlstore.schema import METADATA, PARTIAL_UNIQUES, PartialUnique
from perpdesk.domain.books import SchemaIncomplete
from perpdesk.domain.errors import DatabaseNotMigrated

_LITERAL = re.compile(r"'([^']*)'")


def revision_of(connection: sa.Connection) -> str | None:
    """The revision that the database says it has, None if it has no perpdesk tables."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = sa.table("alembic_version", sa.column("version_num"))
    found: str | None = connection.scalar(sa.select(version.c.version_num))
    return found


def check_revision(connection: sa.Connection, shown_url: str) -> None:
    """Raise DatabaseNotMigrated unless the database has this version's revision."""
    found = revision_of(connection)
    if found != HEAD:
        raise DatabaseNotMigrated(shown_url, found=found, wanted=HEAD)


def check_schema(connection: sa.Connection) -> None:
    """Raise SchemaIncomplete, naming everything that is missing, unless every table, column, primary key
    and unique constraint of ``schema`` is there."""
    missing = list(_missing(sa.inspect(connection)))
    if missing:
        raise SchemaIncomplete(
            "the database lacks " + "; ".join(missing) + ": trading without it could double a position. "
            "Restore it (it was there after `perpdesk db upgrade`), or move the rows to a new database"
        )


def _missing(inspector: sa.Inspector) -> Iterable[str]:
    tables = set(inspector.get_table_names())
    for table in METADATA.sorted_tables:
        if table.name not in tables:
            yield f"table {table.name}"
            continue
        there = {column["name"] for column in inspector.get_columns(table.name)}
        yield from (
            f"column {table.name}.{column.name}" for column in table.columns if column.name not in there
        )
        unique = _unique_columns(inspector, table.name)
        for constraint in table.constraints:
            if isinstance(constraint, (sa.PrimaryKeyConstraint, sa.UniqueConstraint)):
                wanted = frozenset(column.name for column in constraint.columns)
                if wanted not in unique:
                    yield f"the unique key of {table.name} ({', '.join(c.name for c in constraint.columns)})"
    for place in PARTIAL_UNIQUES:
        if place.table.name in tables and not _has_partial(inspector, place):
            columns = ", ".join(place.columns)
            yield f"unique index {place.name} on {place.table.name} ({columns}) where {place.where}"


def _unique_columns(inspector: sa.Inspector, table: str) -> set[frozenset[str]]:
    """The column sets that are unique over the whole table."""
    found = {frozenset(inspector.get_pk_constraint(table)["constrained_columns"])}
    found |= {frozenset(unique["column_names"]) for unique in inspector.get_unique_constraints(table)}
    for index in inspector.get_indexes(table):
        if index["unique"] and _condition(index) is None:
            found.add(frozenset(name for name in index["column_names"] if name is not None))
    return found


def _has_partial(inspector: sa.Inspector, place: PartialUnique) -> bool:
    if inspector.dialect.name in ("mysql", "mariadb"):
        columns = {column["name"]: column for column in inspector.get_columns(place.table.name)}
        key = columns.get(place.key_column)
        computed = None if key is None else key.get("computed")
        condition = None if computed is None else computed["sqltext"]
        is_unique = frozenset((*place.columns, place.key_column)) in _unique_columns(
            inspector, place.table.name
        )
        return is_unique and _same_condition(condition, place.where)
    for index in inspector.get_indexes(place.table.name):
        same_columns = tuple(index["column_names"]) == place.columns
        if index["unique"] and same_columns and _same_condition(_condition(index), place.where):
            return True
    return False


def _condition(index: ReflectedIndex) -> str | None:
    """The WHERE of a partial index."""
    options = index.get("dialect_options", {})
    found = [options[name] for name in ("postgresql_where", "sqlite_where") if options.get(name) is not None]
    return str(found[0]) if found else None


def _same_condition(found: str | None, wanted: str) -> bool:
    """Databases write a condition back in their own words; its literals stay."""
    return found is not None and set(_LITERAL.findall(found)) == set(_LITERAL.findall(wanted))
