"""The ledger's tables come to a database that has rows already, and carry a run on every kind of database."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from tests.adapters.sqlstore.test_migrate import at_revision
from tests.contract.store_databases import Database
from tests.volume_run.sims import bought_of, config, hold_true, new_desk, new_market, run_to_end

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.domain.books import BooksContradiction
from perpdesk.volume_run.sim import driven

BEFORE = "0002"
JSON = '{"a":1}'
HASH = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


async def test_rows_survive_the_upgrade_and_a_run_ends_on_the_new_tables(untouched: Database) -> None:
    at_revision(untouched, BEFORE)
    untouched.execute(
        f"INSERT INTO params_snapshots (sha256, params, created_ms) VALUES ('{HASH}', '{JSON}', 7)"
    )
    assert upgrade(untouched.url) != BEFORE
    assert untouched.execute("SELECT params, created_ms FROM params_snapshots") == [(JSON, 7)]
    async with await SqlStore.open(untouched.url) as books:
        market = new_market()
        desk = new_desk(market, config(user_ids="[1]", target_volume=50, sell_profit_percentage=1), books)
        await driven(market, desk, desk.start_strategy("boost"))
        await run_to_end(market, desk)
        assert Decimal(50) <= bought_of(market, 1) <= 80
        await desk.close()
        await hold_true(market, books)
        rows = await books.volume_pairs()
        assert [(pair.state, pair.outcome) for pair in rows] == [("FLAT", "COMPLETED")] * 2
        [run] = await books.volume_runs()
        live = msgspec.structs.replace(run, state="CHECKING", ended_ms=None)
        await books.start_volume_run(live)
        with pytest.raises(BooksContradiction, match="boost already"):
            await books.start_volume_run(live)
