"""Database URLs: what people write, what the driver needs, and what may be shown."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from perpdesk.domain.errors import InputError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}
_FORMS = (
    "write sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME "
    "(a password's special characters percent-encoded)"
)


def parse(url: str) -> sa.URL:
    """The URL with our driver in it. Raises InputError, which does not show it: it may hold a password."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(f"is not a database URL: {_FORMS}", field="--database") from None
    backend = parsed.drivername.partition("+")[0]
    if backend not in _DRIVERS:
        raise InputError(f"unknown kind of database {backend!r}: {_FORMS}", field="--database")
    if backend != "sqlite" and not parsed.database:
        raise InputError(f"names no database: {_FORMS}", field="--database")
    return parsed.set(drivername=_DRIVERS[backend])


def shown(url: sa.URL) -> str:
    """The URL as it may be printed and typed again: without the driver, the password hidden."""
    backend = url.drivername.partition("+")[0]
    return url.set(drivername=backend).render_as_string(hide_password=True)


def without_secrets(text: str, url: sa.URL) -> str:
    """A driver's message with the URL's password and query (which may carry one) masked."""
    secrets = [] if not url.password else [str(url.password)]
    for value in url.query.values():
        secrets += [value] if isinstance(value, str) else list(value)
    for secret in secrets:
        if len(secret) > 3 or secret == url.password:
            text = text.replace(secret, "***")
    return text


def is_memory(url: sa.URL) -> bool:
    """Is it SQLite without a file?"""
    return url.drivername.startswith("sqlite") and url.database in (None, "", ":memory:")
