"""The databases are fixtures here too."""

from tests.contract.store_databases import kind, untouched, upgraded_once  # noqa: F401 (found by their names)
