"""score scan|explain|report, rating list|set: answers for people and programs, and what bad input gets."""

from __future__ import annotations

import asyncio
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


async def write_vector_24(url: str) -> None:
    """Finished positions of both versions, one of them liquidated, and an entry that never filled."""
    async with await SqlStore.open(url) as store:
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


@pytest.fixture
def traded(books: Books) -> Books:
    """Both versions have traded."""
    asyncio.run(write_vector_24(books.url))
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
    (("explain", "AAAUSDT", "--set", "score.versions.v2.params.min_score_to_trade=101"), "[E04]"),
    (("explain", "AAAUSDT", "--set", "score.versions.v2.params={trend_weight: 40}"), "trend_weight"),
    (("explain", "AAAUSDT", "--set", "score.big4_weights=[0.5, 0.3, 0.15, 0.15]"), "score.big4_weights"),
    (("explain", "AAAUSDT", "--set", "score.versions.v2.scorer=v9"), "[E02]"),
    (("explain", "AAAUSDT", "--set", "score.versions=[{name: V9, scorer: v2}]"), "[E01]"),
    (("explain", "AAAUSDT", "--set", "score.rating.multipliers=[0.1, 0.2]"), "[E11]"),
    (("scan", "--once", "--live", "--at", "2025-05-24"), "live data are of now"),
]


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three symbols without the four coins, two days; nothing is traded in the last twelve hours."""
    market = synthetic_market(7, 3, 2 * 1440 + 60)
    market.tape.bars["volume_lots"][-720:] = 0
    return write_market(market, tmp_path_factory.mktemp("silent")) / "klines_1m"


def test_hours_without_volume_have_a_score_and_no_points_for_it(perpdesk: Perpdesk, silent: Path) -> None:
    answer = perpdesk("score", "explain", "AAAUSDT", "--versions", "v3", "--data", silent, "--json")
    (version,) = answer.json["versions"]
    parts = version["components"]
    assert version["long_score"] is not None
    assert (parts["volume_long"], parts["volume_short"]) in ((0, 0), (1, 0), (0, 1))
    assert answer.code == 0
    text = perpdesk("score", "explain", "AAAUSDT", "--versions", "v3", "--data", silent).out
    assert "no volume before" in text


def test_coins_that_are_missing_are_named(perpdesk: Perpdesk, silent: Path) -> None:
    text = perpdesk("score", "explain", "AAAUSDT", "--versions", "v3", "--data", silent).out
    for coin in ("BTCUSDT (40 %)", "ETHUSDT (30 %)", "BNBUSDT (15 %)", "SOLUSDT (15 %)"):
        assert f"{coin}: not among the symbols" in text
    settings = ("score.versions.v3.params.min_score_long=1", "score.versions.v3.params.min_score_short=1")
    words = [word for one in settings for word in ("--set", one)]
    answer = perpdesk("score", "scan", "--once", "--versions", "v3", "--data", silent, "--json", *words)
    assert answer.json["counts"] == {"REGIME_UNKNOWN": 3}
    assert answer.code == 0


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input(perpdesk: Perpdesk, short: Path, words: tuple[str, ...], message: str) -> None:
    answer = perpdesk("score", *words, "--data", short)
    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""


def test_run_is_the_general_form_by_another_name(perpdesk: Perpdesk, klines: Path, books: Books) -> None:
    replayed = perpdesk("score", "run", "--mode", "replay", "--data", klines, "--json")
    general = perpdesk(
        "backtest", "--strategy", "score_v2", "--strategy", "score_v3", "--data", klines, "--json"
    )
    assert (replayed.code, replayed.json["strategy"]) == (0, "score_v2+score_v3")
    timing = ("seconds", "bars_per_second")
    assert {k: v for k, v in replayed.json.items() if k not in timing} == {
        k: v for k, v in general.json.items() if k not in timing
    }
    paper = perpdesk("score", "run", "--versions", "v2", "--data", klines, "--database", books.url, "--json")
    assert (paper.code, paper.json["mode"], paper.json["strategy"]) == (0, "paper", "score_v2")
    assert books.counts()["runs"] == 1


RUN_BAD = [
    (("--mode", "swift"), "'swift' is not a mode"),
    (("--versions", "v9"), "unknown version 'v9'"),
    (("--mode", "live", "--database", "sqlite:///x.db"), "name the account to trade"),
    (("--mode", "live", "--account", "main"), "name the database"),
    (("--mode", "live", "--account", "main", "--database", "sqlite:///x.db"), "--live"),
]


@pytest.mark.parametrize(("words", "message"), RUN_BAD, ids=[" ".join(row[0]) for row in RUN_BAD])
def test_run_refuses(perpdesk: Perpdesk, words: tuple[str, ...], message: str) -> None:
    answer = perpdesk("score", "run", *words)
    assert answer.code in (2, 3)
    assert message in answer.err
