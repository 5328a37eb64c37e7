"""Is the database what this version needs? Asked at every start, before anything is written.

A constraint that is not there (dropped by hand, lost in a restore) would let two live positions exist where
one may: that is not found out by trading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedIndex

from perpdesk.adapters.sqlstore.migrations import HEAD
from perpdesk.adapters.sqlstore.schema import METADATA, PARTIAL_UNIQUES, PartialUnique
from perpdesk.domain.books import SchemaIncomplete
from perpdesk.domain.errors import DatabaseNotMigrated

_LITERAL = re.compile(r"'([^']*)'")
_NEGATION = re.compile(r"\bNOT\b|<>|!=", re.IGNORECASE)
# What SQLite calls its schema, word for word, where it was found complete: the same words say the same.
_COMPLETE: set[str] = set()


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
    words = _words(connection)
    if words is not None and words in _COMPLETE:
        return
    missing = list(_Found(connection).missing())
    if missing:
        raise SchemaIncomplete(
            "the database lacks " + "; ".join(missing) + ": trading without it could double a position. "
            "Restore it (it was there after `perpdesk db upgrade`), or move the rows to a new database"
        )
    if words is not None:
        _COMPLETE.add(words)


def _words(connection: sa.Connection) -> str | None:
    """All statements that a SQLite schema is made of (None: another database)."""
    if connection.dialect.name != "sqlite":
        return None
    rows = connection.execute(sa.text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))
    return ";".join(rows.scalars())


class _Found:
    """What the database has, by table: read at once, since a start waits for it."""

    def __init__(self, connection: sa.Connection) -> None:
        inspector = sa.inspect(connection)
        self.has_partial_indexes = connection.dialect.name not in ("mysql", "mariadb")
        self.columns = _by_table(inspector.get_multi_columns())
        self.keys = _by_table(inspector.get_multi_pk_constraint())
        self.uniques = _by_table(inspector.get_multi_unique_constraints())
        self.indexes = _by_table(inspector.get_multi_indexes())

    def missing(self) -> Iterable[str]:
        for table in METADATA.sorted_tables:
            if table.name not in self.columns:
                yield f"table {table.name}"
                continue
            there = {column["name"] for column in self.columns[table.name]}
            wanted = [column.name for column in table.columns if column.name not in there]
            yield from (f"column {table.name}.{name}" for name in wanted)
            for constraint in table.constraints:
                if isinstance(constraint, (sa.PrimaryKeyConstraint, sa.UniqueConstraint)):
                    names = [column.name for column in constraint.columns]
                    if frozenset(names) not in self._unique_sets(table.name):
                        yield f"the unique key of {table.name} ({', '.join(names)})"
        for place in PARTIAL_UNIQUES:
            if place.table.name in self.columns and not self._has_partial(place):
                columns = ", ".join(place.columns)
                yield f"unique index {place.name} on {place.table.name} ({columns}) where {place.where}"

    def _unique_sets(self, table: str) -> set[frozenset[str | None]]:
        """The column sets that are unique over the whole table."""
        sets = [self.keys[table]["constrained_columns"]]
        sets += [unique["column_names"] for unique in self.uniques.get(table, [])]
        sets += [
            index["column_names"]
            for index in self.indexes.get(table, [])
            if index["unique"] and _condition(index) is None
        ]
        return {frozenset(names) for names in sets}

    def _has_partial(self, place: PartialUnique) -> bool:
        if not self.has_partial_indexes:
            columns = {column["name"]: column for column in self.columns[place.table.name]}
            computed = columns.get(place.key_column, {}).get("computed")
            if computed is None or not _same_condition(computed["sqltext"], place.where):
                return False
            return frozenset((*place.columns, place.key_column)) in self._unique_sets(place.table.name)
        return any(
            index["unique"]
            and tuple(index["column_names"]) == place.columns
            and _same_condition(_condition(index), place.where)
            and _negations(_condition(index)) == _negations(place.where)
            for index in self.indexes.get(place.table.name, [])
        )


def _by_table(found: Mapping[tuple[str | None, str], Any]) -> dict[str, Any]:
    return {name: parts for (_, name), parts in found.items()}


def _condition(index: ReflectedIndex) -> str | None:
    """The WHERE of a partial index."""
    options = index.get("dialect_options", {})
    found = [options[name] for name in ("postgresql_where", "sqlite_where") if options.get(name) is not None]
    return str(found[0]) if found else None


def _same_condition(found: str | None, wanted: str) -> bool:
    """Databases write a condition back in their own words; its literals stay."""
    return found is not None and set(_LITERAL.findall(found)) == set(_LITERAL.findall(wanted))


def _negations(condition: str | None) -> int:
    """How often it says not: literals alone do not tell a condition from its opposite."""
    return len(_NEGATION.findall(_LITERAL.sub("", condition or "")))
