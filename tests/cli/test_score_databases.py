"""The reports, and the same by plain SQL, on each of the three databases: test vector 24."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

from tests.cli.conftest import Perpdesk
from tests.cli.test_score import ACCOUNT, write_vector_24
from tests.contract.store_databases import (  # noqa: F401 (fixtures are found by their names)
    Database,
    database,
    kind,
    untouched,
    upgraded_once,
)

D = Decimal
WORDS = {":account": str(ACCOUNT), ":from": "'2025-05-17'", ":until": "'2025-05-25'"}


def statement(name: str) -> str:
    """A statement of the documentation, its values filled in."""
    text = (Path(__file__).parents[2] / "docs" / "strategies" / "score.md").read_text()
    found = text.partition(f"-- {name}\n")[2].partition(";")[0]
    for word, value in WORDS.items():
        found = found.replace(word, value)
    return found


def amounts(row: object, first: int) -> list[Decimal]:
    return [D(str(value)).normalize() for value in list(row)[first:]]  # type: ignore[call-overload]


def test_commands_and_plain_sql_say_the_same(perpdesk: Perpdesk, database: Database) -> None:  # noqa: F811
    asyncio.run(write_vector_24(database.url))
    words = ("--account", ACCOUNT, "--database", database.url, "--json")
    daily = perpdesk("score", "report", "daily", "--version", "v2", "--days", "7", *words)
    assert daily.code == 0, daily.err
    (day,) = daily.json["days"]
    (row,) = database.execute(statement("daily"))
    assert (str(row[0]), row[1], row[2]) == ("2025-05-24", 4, 2) == (day["day"], day["trades"], day["wins"])
    names = ("win_rate", "avg_pnl", "total_pnl", "commission", "funding", "net")
    assert amounts(row, 3) == [D(str(day[name])).normalize() for name in names]

    compared = perpdesk("score", "report", "compare", "--versions", "v2,v3", "--hours", "24", *words)
    assert compared.code == 0, compared.err
    rows = database.execute(statement("compare"))
    assert [row[0] for row in rows] == ["v2", "v3"]
    names = ("trades", "win_rate", "total_pnl", "net", "expectancy", "fee_share")
    for row in rows:
        told = compared.json["versions"][row[0]]
        assert amounts(row, 1) == [D(str(told[name])).normalize() for name in names]

    (shared, *_) = database.execute(statement("moments at which both hold the same symbol and side"))
    assert (shared[0], shared[1], str(shared[2])[:16]) == ("BTCUSDT", "LONG", "2025-05-24 00:00")
