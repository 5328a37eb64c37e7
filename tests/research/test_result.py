"""The figures of a run: what they are made of, and how they are written for programs."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest
from tests.app.markets import DAY, SCORE_WARMUP, configured, drawn, synthetic, with_drops
from tests.engine.desks import ENTER_LONG, LEAVE, NO_SLIP, replayed, scripted
from tests.kernel.tables import MONEY

from perpdesk.app import Desk, backtest, desk, run_desk
from perpdesk.kernel.records import VERDICT_NAMES
from perpdesk.kernel.replay import fills_hash
from perpdesk.research.result import RunResult, money, summarise


@pytest.fixture(scope="module")
def finished() -> tuple[Desk, RunResult]:
    loaded = configured("score.versions.v2.params.min_score_to_trade=50", "risk.daily_loss_limit=null")
    market = with_drops(synthetic(DAY, warmup=SCORE_WARMUP), 0.25, every=300)
    one = desk(loaded, ["sma_cross", "score_v2"], market)
    return one, run_desk(one)


def test_the_figures_are_the_books(finished: tuple[Desk, RunResult]) -> None:
    one, result = finished
    account = one.setup.books.account[0]
    for ours, theirs in (
        (result.initial_e8, account.initial_e8),
        (result.realised_e8, account.realised_e8),
        (result.fees_e8, account.fees_e8),
        (result.funding_e8, account.funding_e8),
        (result.equity_e8, account.equity_e8),
        (result.liquidations, account.liquidations),
        (result.open_positions, account.open_positions),
        (result.fills, account.fills),
    ):
        assert ours == theirs
    assert result.net_e8 == account.cash_e8 - account.initial_e8
    assert result.equity_e8 == account.cash_e8 + result.unrealised_e8
    assert result.fills_hash == fills_hash(one.engine.fills())
    assert result.liquidations > 0
    assert 0 < result.max_drawdown < 1
    verdicts = dict(zip(VERDICT_NAMES, account.verdicts.tolist(), strict=True))
    assert result.refusals == {n: c for n, c in verdicts.items() if c and n not in ("NONE", "APPROVED")}
    assert (result.from_ms, result.to_ms) == (one.market.from_ms, one.market.to_ms)


def test_the_versions_add_up_to_the_run(finished: tuple[Desk, RunResult]) -> None:
    _, result = finished
    parts = result.versions
    for name in ("fills", "realised_e8", "fees_e8", "funding_e8", "net_e8", "open_positions"):
        assert sum(getattr(part, name) for part in parts) == getattr(result, name), name
    assert sum(part.round_trips for part in parts) == len(result.trips)
    for v, part in enumerate(parts):
        own = [trip for trip in result.trips if trip.sleeve == v]
        assert part.wins == sum(trip.net_e8 > 0 for trip in own)
        assert sum(part.exits.values()) == len(own)


def test_json_keeps_money_as_text_and_ratios_as_numbers(finished: tuple[Desk, RunResult]) -> None:
    _, result = finished
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    for name in ("net_pnl", "realised_pnl", "unrealised_pnl", "fees", "funding", "initial_balance", "equity"):
        assert isinstance(found[name], str), name
        assert Decimal(found[name]).as_tuple().exponent == -8
    assert Decimal(found["net_pnl"]) == (
        Decimal(found["realised_pnl"]) - Decimal(found["fees"]) + Decimal(found["funding"])
    )
    assert Decimal(found["initial_balance"]) + Decimal(found["net_pnl"]) + Decimal(
        found["unrealised_pnl"]
    ) == (Decimal(found["equity"]))
    assert found["max_drawdown"] == result.max_drawdown
    assert found["round_trips"] == len(result.trips)
    for version in found["versions"]:
        assert 0 <= version["win_rate"] <= 1
        assert Decimal(version["net_pnl"]) == (
            Decimal(version["realised_pnl"]) - Decimal(version["fees"]) + Decimal(version["funding"])
        )


def test_money_is_exact() -> None:
    assert [money(e8) for e8 in (0, 1, -1, 123_456_789_012_345_678)] == [
        "0.00000000",
        "0.00000001",
        "-0.00000001",
        "1234567890.12345678",
    ]


def test_a_run_without_a_fill_has_figures_too() -> None:
    result, _, _ = backtest(configured(), ["sma_cross"], drawn("\n".join(["100 100 100 100"] * 5)))
    found = result.to_json()
    assert (found["fills"], found["round_trips"], found["net_pnl"]) == (0, 0, "0.00000000")
    assert found["max_drawdown"] == 0.0
    assert found["versions"][0]["win_rate"] is None  # type: ignore[index]
    assert found["equity"] == found["initial_balance"] == "10000.00000000"


def test_drawdown_is_the_deepest_fall_from_a_peak() -> None:
    """5,000 USDT of a 10,000 account in a symbol that goes 100, 120, 90, 110: from 11,000 down to 9,500."""
    market = drawn("""
        100 100 100 100 90000000
        100 100 100 100 90000000
        120 120 120 120 90000000
         90  90  90  90 90000000
        110 110 110 110 90000000
        110 110 110 110 90000000
    """)
    loaded = configured(NO_SLIP, "account.taker_fee=0", "risk.worst_case_fraction=1")
    replay = replayed(
        market, scripted({0: ENTER_LONG, 4: LEAVE}, notional_e8=5_000 * MONEY, leverage=2), loaded=loaded
    )
    result = summarise(
        mode="backtest",
        strategies=["test"],
        versions=["test"],
        symbols=market.universe.symbols,
        books=replay.books,
        fills=replay.all_fills(),
        bars=6,
        seconds=2.0,
        params_hash="",
        funding_known=True,
        from_ms=market.from_ms,
        to_ms=market.to_ms,
    )
    assert result.max_drawdown == pytest.approx(1_500 / 11_000, rel=1e-15)
    assert result.net_e8 == 500 * MONEY
    assert result.bars_per_second == 3.0
    (trip,) = result.trips
    assert (trip.entry_price, trip.exit_price, trip.net_e8) == (100, 110, 500 * MONEY)
    assert np.array_equal([version.wins for version in result.versions], [1])


def test_a_result_names_the_strategy_as_it_was_asked_for() -> None:
    result, _, _ = backtest(configured(), ["score_v2"], synthetic(10))
    assert result.to_json()["strategy"] == "score_v2"
    assert result.to_json()["mode"] == "backtest"
