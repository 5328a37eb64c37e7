"""Database URLs: what people write, what the driver needs, and what may be shown."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from perpdesk.domain.errors import InputError
from perpdesk.domain.redaction import redacted
from perpdesk.domain.secret import Secret

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}
# Kept for the redaction of logs: a server, or a driver's traceback, may repeat a password. A shorter one
# would be found in harmless words.
_passwords: dict[str, Secret] = {}
_KNOWN_MIN = 8
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
    if backend != "sqlite" and url.partition("?")[0].count("@") > 1:
        # Where the password ends would be a guess, and what is taken for the host is shown.
        raise InputError(f"has a second '@', write it as %40: {_FORMS}", field="--database")
    if backend != "sqlite" and not parsed.database:
        raise InputError(f"names no database: {_FORMS}", field="--database")
    if parsed.password and len(str(parsed.password)) >= _KNOWN_MIN:
        _passwords[str(parsed.password)] = Secret(str(parsed.password))
    return parsed.set(drivername=_DRIVERS[backend])


def shown(url: sa.URL) -> str:
    """The URL as it may be printed and typed again: without the driver, passwords hidden."""
    backend = url.drivername.partition("+")[0]
    return redacted(url.set(drivername=backend).render_as_string(hide_password=True))


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
