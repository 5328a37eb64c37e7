"""The databases are fixtures here."""

from tests.contract.store_databases import (  # noqa: F401 (fixtures are found by their names)
    database,
    kind,
    store,
    untouched,
    upgraded_once,
)
