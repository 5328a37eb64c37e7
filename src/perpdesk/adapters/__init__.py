"""The world behind the ports.

- ``sqlstore``: the books in SQLite, PostgreSQL, MariaDB or MySQL.
"""
