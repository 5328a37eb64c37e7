"""What a driver raises, as an error that tells the operator what to do."""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa
from sqlalchemy import exc

from perpdesk.adapters.sqlstore import urls
from perpdesk.adapters.sqlstore.schema import PartialUnique
from perpdesk.domain.books import BooksContradiction, StoreBusy, StoreFailed
from perpdesk.domain.errors import InputError, PerpdeskError

# What reaches us from SQLAlchemy and, while connecting, from the drivers themselves.
DRIVER_ERRORS = (exc.SQLAlchemyError, sqlite3.Error, OSError, TimeoutError)

# Somebody else held a lock: PostgreSQL's and MariaDB's codes, SQLite's words.
_BUSY_STATES = frozenset(("40001", "40P01", "55P03"))
_BUSY_NUMBERS = frozenset((1205, 1213))
# A CHECK that failed is an IntegrityError, but for MariaDB and MySQL.
_CHECK_NUMBERS = frozenset((4025, 3819))
_BUSY_WORDS = ("database is locked", "database table is locked")


def translated(error: BaseException, url: sa.URL) -> PerpdeskError:
    """The error to raise instead of a driver's."""
    text = _text(error, url)
    where = urls.shown(url)
    if isinstance(error, exc.TimeoutError) or _is_busy(error):
        return StoreBusy(f"{where} is held by another writer, nothing was written: try again ({text})")
    if isinstance(error, exc.IntegrityError) or _number(error) in _CHECK_NUMBERS:
        return BooksContradiction(f"{where} refused a row that contradicts its others: {text}")
    return StoreFailed(f"{where} failed: {text}")


def at_start(error: BaseException, url: sa.URL) -> PerpdeskError:
    """The error to raise when a database cannot be reached or used at all."""
    return InputError(
        f"{urls.shown(url)} cannot be used: correct the URL, or start the server ({_text(error, url)})",
        field="--database",
    )


def violates(error: exc.IntegrityError, place: PartialUnique) -> bool:
    """Is it this unique index that refused the row? PostgreSQL and MariaDB name it, SQLite its columns."""
    text = str(error.orig)
    columns = ", ".join(f"{place.table.name}.{column}" for column in place.columns)
    return (
        f'"{place.name}"' in text
        or f"{place.name}'" in text
        or text.endswith(f"UNIQUE constraint failed: {columns}")
    )


def _text(error: BaseException, url: sa.URL) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    return urls.without_secrets(f"{type(cause).__name__}: {cause}", url)


def _is_busy(error: BaseException) -> bool:
    if not isinstance(error, exc.DBAPIError) or error.orig is None:
        return False
    cause = error.orig
    state = getattr(cause, "sqlstate", None)
    words = str(cause)
    return (
        state in _BUSY_STATES or _number(error) in _BUSY_NUMBERS or any(word in words for word in _BUSY_WORDS)
    )


def _number(error: BaseException) -> object:
    """The error number that MariaDB's and MySQL's driver gives."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else None
    return cause.args[0] if cause is not None and cause.args else None
