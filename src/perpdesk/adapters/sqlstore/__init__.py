"""The books in SQLite, PostgreSQL, MariaDB or MySQL.

- ``store``: open a database, read, hand out units. ``unit``: a transaction with all methods.
- ``positions``, ``intents``, ``orders``, ``runs``, ``control``, ``journal``, ``reports``, ``ownership``,
  ``accounts``, ``breaker``, ``signals``, ``oi_days``: the methods. ``keyed``: rows that are found by a key.
- ``schema`` (with ``schema_accounts``, ``schema_signals``, ``columns``): the tables.
- ``types``: exact columns. ``rows``: values checked in, typed out.
- ``migrate``, ``migrations``: `perpdesk db upgrade`. ``check``: refuses a database that is not ready.
- ``connect``, ``urls``, ``faults``: engines, URLs, and what drivers raise.
"""

from perpdesk.adapters.sqlstore.migrate import upgrade
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.adapters.sqlstore.unit import SqlUnit

__all__ = ["SqlStore", "SqlUnit", "upgrade"]
