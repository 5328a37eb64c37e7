"""Planted: whatever constraint is taken away, the store refuses to open and says which."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.contract.store_databases import KINDS, Database

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.adapters.sqlstore.schema import PARTIAL_UNIQUES
from perpdesk.domain.books import SchemaIncomplete

SERVERS = KINDS[1:]
PLAIN = (
    ("fills", "uq_fills_account_id_symbol_trade_id", ("account_id", "symbol", "trade_id")),
    ("order_intents", "uq_order_intents_client_id", ("client_id",)),
    ("trading_control", "uq_trading_control_account_id_trading_type", ("account_id", "trading_type")),
    (
        "income_rows",
        "uq_income_rows_account_id_tran_id_income_type_symbol",
        ("account_id", "tran_id", "income_type", "symbol"),
    ),
    ("position_adjustments", "uq_position_adjustments_account_id_source_key", ("account_id", "source_key")),
    ("accounts", "uq_accounts_name", ("name",)),
)


async def refused(database: Database, *words: str) -> None:
    """Opening must fail, naming these."""
    with pytest.raises(SchemaIncomplete) as error:
        await SqlStore.open(database.url)
    for word in words:
        assert word in str(error.value)


def drop_index(database: Database, table: str, name: str) -> None:
    on = f" ON {table}" if database.kind == "mariadb" else ""
    database.execute(f"DROP INDEX {name}{on}")


def add_index(
    database: Database, table: str, name: str, columns: Sequence[str], where: str = "", unique: str = "UNIQUE"
) -> None:
    condition = f" WHERE {where}" if where else ""
    database.execute(f"CREATE {unique} INDEX {name} ON {table} ({', '.join(columns)}){condition}")


async def test_without_a_partial_unique_index_nothing_opens(untouched: Database) -> None:
    upgrade(untouched.url)
    maria = untouched.kind == "mariadb"
    for place in PARTIAL_UNIQUES:
        name, table = place.name, place.table.name
        columns = (*place.columns, place.key_column) if maria else place.columns
        where = "" if maria else place.where
        if maria:  # a foreign key leans on the index
            add_index(untouched, table, f"leaned_on_{place.key_column}", place.columns, unique="")
        drop_index(untouched, table, name)
        await refused(untouched, name, table, *place.columns)
        # The same name over the same columns is not enough: it must be unique, under the same condition.
        add_index(untouched, table, name, columns, where, unique="")
        await refused(untouched, name)
        drop_index(untouched, table, name)
        if not maria:
            shorter = (
                where.replace("'closing'", "'open'")
                .replace("'filled'", "'sent'")
                .replace("'EXIT'", "'ENTRY'")
                .replace("'DONE'", "'HALTED'")
                .replace("'FLAT'", "'SELLING'")
                .replace("'IDLE'", "'ERROR'")
                .replace("attempted", "NOT attempted")
            )
            assert shorter != where, f"a wrong condition for {name} is wanted here"
            add_index(untouched, table, name, columns, shorter)
            await refused(untouched, name)
            drop_index(untouched, table, name)
        add_index(untouched, table, name, columns, where)
        await (await SqlStore.open(untouched.url)).close()


@pytest.mark.parametrize("kind", SERVERS[1:], indirect=True)
async def test_a_generated_key_of_another_meaning_is_refused(untouched: Database) -> None:
    upgrade(untouched.url)
    untouched.execute(
        "ALTER TABLE futures_positions MODIFY COLUMN live_key SMALLINT "
        "GENERATED ALWAYS AS (CASE WHEN status IN ('building', 'open') THEN 1 END) STORED"
    )
    await refused(untouched, "uq_futures_positions_live")


@pytest.mark.parametrize("kind", SERVERS, indirect=True)
async def test_without_a_plain_unique_key_nothing_opens(untouched: Database) -> None:
    # (SQLite cannot drop a table's own unique keys.)
    upgrade(untouched.url)
    for table, name, columns in PLAIN:
        if untouched.kind == "postgresql":
            untouched.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        else:
            drop_index(untouched, table, name)
        await refused(untouched, table, ", ".join(columns))
        add_index(untouched, table, name, columns)
        await (await SqlStore.open(untouched.url)).close()


async def test_missing_columns_and_tables_are_named(untouched: Database) -> None:
    upgrade(untouched.url)
    untouched.execute("ALTER TABLE fills DROP COLUMN order_id", "DROP TABLE strategy_states")
    await refused(untouched, "column fills.order_id", "table strategy_states")


@pytest.mark.parametrize("kind", SERVERS, indirect=True)
@pytest.mark.parametrize("table", ["account_leases", "symbol_owners", "breaker_days", "external_lots"])
async def test_without_the_key_that_decides_a_race_nothing_opens(untouched: Database, table: str) -> None:
    upgrade(untouched.url)
    constraint = f"CONSTRAINT pk_{table}" if untouched.kind == "postgresql" else "PRIMARY KEY"
    untouched.execute(f"ALTER TABLE {table} DROP {constraint}")
    await refused(untouched, f"the unique key of {table}")
