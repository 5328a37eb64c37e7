"""A paper run that keeps its records, and everything that its database holds afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpdesk import app
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.app import Desk, Market
from perpdesk.config.load import Loaded
from perpdesk.domain.books import (
    FillQuery,
    FillRow,
    JournalCheck,
    OrderRow,
    PositionQuery,
    PositionRow,
    RunRow,
    VersionTotals,
)
from perpdesk.research.result import RunResult


@dataclass(frozen=True)
class Kept:
    """The desk as it ended, and its rows. ``file`` can be asked anything in SQL."""

    one: Desk
    result: RunResult
    file: Path
    run: RunRow
    positions: list[PositionRow]
    orders: list[OrderRow]
    fills: list[FillRow]
    totals: list[VersionTotals]
    journal: JournalCheck

    def sql(self, statement: str) -> list[Any]:
        """Rows of a statement, as a person would ask."""
        connection = sqlite3.connect(self.file)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def money(self, amount_e8: Any) -> Decimal:
        """An amount of the books."""
        return Decimal(int(amount_e8)).scaleb(-8)


def kept_run(folder: Path, loaded: Loaded, strategies: list[str], market: Market) -> Kept:
    """Run paper into a fresh SQLite file and read everything back."""
    file = folder / "books.db"
    upgrade(f"sqlite:///{file}")
    return asyncio.run(_kept_run(file, loaded, strategies, market))


async def _kept_run(file: Path, loaded: Loaded, strategies: list[str], market: Market) -> Kept:
    desks: list[Desk] = []
    make = app.desk

    def noted(*args: Any, **options: Any) -> Desk:
        desks.append(make(*args, **options))
        return desks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "desk", noted)
        result = await app.paper(loaded, strategies, market, database=f"sqlite:///{file}")
    async with await SqlStore.open(f"sqlite:///{file}") as store:
        (run,) = await store.runs()
        account = run.account_id
        return Kept(
            one=desks[0],
            result=result,
            file=file,
            run=run,
            positions=await store.positions(PositionQuery(account_id=account)),
            orders=await store.orders(account),
            fills=await store.fills(FillQuery(account_id=account)),
            totals=await store.version_totals(account),
            journal=await store.verify_journal(),
        )
