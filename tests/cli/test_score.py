"""score scan|explain|report, rating list|set: answers for people and programs, and what bad input gets."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.conftest import Books, Perpdesk

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import NewPosition, PositionEnd, StrategyVersion
from perpdesk.domain.order import PositionSide
from perpdesk.domain.position import PositionStatus
from perpdesk.market.synthetic import synthetic_market
from perpdesk.market.writing import write_market

D = Decimal
HOUR_MS = 3_600_000
T0 = 1_748_044_800_000  # 2025-05-24
ACCOUNT = 1_000_007
# Vector 24: (gross, fee, funding), an hour apart.
V2 = [("10", "0.4", "0"), ("-4", "0.4", "-0.1"), ("3", "0.4", "0.05"), ("-6", "0.4", "0")]
V3 = [("2", "0.4", "0"), ("1", "0.4", "0"), ("-2.5", "0.4", "0")]


@pytest.fixture
def traded(books: Books) -> Books:
    """Finished positions of both versions, one of them liquidated, and an entry that never filled."""

    async def write() -> None:
        async with await SqlStore.open(books.url) as store:
            sha = await store.save_params_snapshot("{}", T0)
            for version, rows in (("v2", V2), ("v3", V3)):
                await store.save_strategy_version(
                    StrategyVersion(name=version, scorer=version, params={}, params_hash=sha, created_ms=T0)
                )
                for k, figures in enumerate([*rows, None]):
                    code = await store.open_position(
                        NewPosition(
                            account_id=ACCOUNT, symbol="BTCUSDT", position_side=PositionSide.LONG,
                            signal_version=version, quantity=D(1), notional_value=D(100), margin=D(20),
                            leverage=5, params_hash=sha, created_ms=T0 + k * HOUR_MS,
                        ),
                        None,
                    )  # fmt: skip
                    gross, fee, funding = (D(figure) for figure in figures or ("0", "0", "0"))
                    if figures:
                        await store.update_position(
                            code, T0 + k * HOUR_MS, open_ms=T0 + k * HOUR_MS, status=PositionStatus.OPEN
                        )
                    last = version == "v2" and k == 3
                    await store.close_position(
                        code,
                        T0 + k * HOUR_MS + 1_800_000,
                        PositionEnd(
                            close_reason="LIQUIDATION" if last else "TIMEOUT" if figures else "ENTRY_ABORTED",
                            close_ms=T0 + k * HOUR_MS + 1_800_000,
                            realized_pnl=gross, commission=fee, funding=funding,
                            exit_price=D(100) if figures else None,
                            status=PositionStatus.LIQUIDATED if last else PositionStatus.CLOSED,
                        ),
                    )  # fmt: skip

    asyncio.run(write())
    return books


def report(perpdesk: Perpdesk, books: Books, *words: object) -> dict[str, object]:
    answer = perpdesk("score", "report", *words, "--account", ACCOUNT, "--database", books.url, "--json")
    assert answer.code == 0, answer.err
    return answer.json


def test_compare_is_vector_24(perpdesk: Perpdesk, traded: Books) -> None:
    found = report(perpdesk, traded, "compare", "--versions", "v2,v3", "--hours", "24")
    v2, v3 = found["versions"]["v2"], found["versions"]["v3"]  # type: ignore[index]
    assert (v2["trades"], v2["net"], v2["fee_share"], v2["profit_factor"]) == (4, "1.35", 0.1231, 1.1239)
    assert (v2["max_drawdown"], v2["win_rate"], v2["liquidated"]) == ("8.25", 0.5, 1)
    assert (v3["trades"], v3["net"], v3["fee_share"], v3["net_win_rate"]) == (3, "-0.70", 0.4, 0.6667)
    pair = found["pairs"]["v2 - v3"]  # type: ignore[index]
    assert (pair["hours"], pair["same_bars"], pair["difference"]) == (4, 3, "2.05000000")
    assert pair["p_value"] == 0.875  # of sixteen signs two come nearer to nothing


def test_daily_and_plain_sql_say_the_same(perpdesk: Perpdesk, traded: Books) -> None:
    found = report(perpdesk, traded, "daily", "--version", "v2", "--days", "7")
    (day,) = found["days"]  # type: ignore[misc]
    text = (Path(__file__).parents[2] / "docs" / "strategies" / "score.md").read_text()
    statement = text.partition("-- daily\n")[2].partition(";")[0]
    connection = sqlite3.connect(traded.path)
    values = {"account": ACCOUNT, "from": "2025-05-17", "until": "2025-05-25"}
    (row,) = connection.execute(statement, values).fetchall()
    statement = text.partition("-- compare\n")[2].partition(";")[0]
    both = connection.execute(statement, values).fetchall()
    connection.close()
    assert row == ("2025-05-24", 4, 2, 0.5, 0.75, 3.0, 1.6, -0.05, 1.35)
    assert [day[name] for name in ("day", "trades", "wins", "win_rate")] == list(row[:4])
    assert [D(day[name]) for name in ("avg_pnl", "total_pnl", "commission", "funding", "net")] == [
        D(str(value)) for value in row[4:]
    ]
    assert both == [("v2", 4, 0.5, 3.0, 1.35, 0.34, 0.1231), ("v3", 3, 0.6667, 0.5, -0.7, -0.23, 0.4)]


def test_a_version_that_never_ran_is_named(perpdesk: Perpdesk, traded: Books) -> None:
    words = ("score", "report", "daily", "--version", "v9", "--account", ACCOUNT)
    answer = perpdesk(*words, "--database", traded.url)
    assert (answer.code, "unknown version 'v9'" in answer.err) == (2, True)
    answer = perpdesk("score", "report", "compare", "--versions", "v2,v2", "--database", traded.url)
    assert answer.code == 2


def test_rating_by_hand(perpdesk: Perpdesk, books: Books) -> None:
    words = ("rating", "set", "btcusdt", 3, "--database", books.url, "--by", "ann", "--reason", "delisted")
    answer = perpdesk(*words, "--json")
    assert (answer.json["level"], answer.json["margin"], answer.json["before"]) == (3, 0.0, None)
    answer = perpdesk(
        "rating", "set", "BTCUSDT", 1, "--database", books.url, "--reason", "back", "--by", "ann"
    )
    assert answer.code == 0
    (row,) = perpdesk("rating", "list", "--database", books.url, "--json").json["ratings"]
    assert (row["level"], row["before"], row["reason"]) == (1, 3, "ann: back")
    assert books.counts()["journal"] == 2
    assert perpdesk("rating", "set", "BTCUSDT", 4, "--database", books.url, "--reason", "x").code == 2


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three symbols, less than an hour: nobody can score it."""
    return write_market(synthetic_market(7, 3, 50), tmp_path_factory.mktemp("short")) / "klines_1m"


@pytest.mark.slow
def test_too_little_history_is_a_status_and_exit_2(perpdesk: Perpdesk, short: Path) -> None:
    answer = perpdesk("score", "scan", "--once", "--data", short, "--json")
    assert answer.code == 2
    assert answer.json["counts"] == {"INSUFFICIENT_HISTORY": 6}
    answer = perpdesk("score", "explain", "AAAUSDT", "--data", short)
    assert answer.code == 2
    assert answer.out.count("INSUFFICIENT_HISTORY: there are not enough closed bars yet") == 2


def test_explain_says_why_the_account_would_not_enter(perpdesk: Perpdesk, traded: Books, short: Path) -> None:
    words = ("score", "explain", "AAAUSDT", "--data", short, "--database", traded.url, "--account", ACCOUNT)
    answer = perpdesk(*words)
    assert answer.code == 2  # nothing could be scored; the account is told all the same
    assert answer.out.count("refused by TRADING_DISABLED") == 2
    assert "the switch is not known (no row)" in answer.out
    (first, _) = perpdesk(*words, "--json").json["versions"]
    assert (first["account"]["refused"], first["account"]["account"]) == ("TRADING_DISABLED", ACCOUNT)
    answer = perpdesk("score", "explain", "AAAUSDT", "--data", short, "--database", traded.url)
    assert (answer.code, "the database has no run" in answer.err) == (2, True)


BAD = [
    (("scan", "--once", "--versions", "v9"), "unknown version 'v9'"),
    (("scan", "--once", "--loop"), "say --once or --loop"),
    (("scan",), "say --once or --loop"),
    (("explain", "NOPEUSDT"), "unknown symbol 'NOPEUSDT'"),
    (("explain", "AAAUSDT", "--at", "2001-01-01"), "no bar had closed by then"),
    (("explain", "AAAUSDT", "--set", "score.versions.v3.params.min_score_long=43"), "[E04]"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input(perpdesk: Perpdesk, short: Path, words: tuple[str, ...], message: str) -> None:
    answer = perpdesk("score", *words, "--data", short)
    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""
