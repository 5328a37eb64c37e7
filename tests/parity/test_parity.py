"""Backtest = paper: the compiled loop and the engine on the in-process venue agree to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from tests.app.markets import (
    DAY,
    SCORE_WARMUP,
    configured,
    drawn,
    started_at,
    synthetic,
    with_drops,
    with_holes,
)

from perpdesk import app, parity
from perpdesk.app import Market, backtest, desk, run_desk
from perpdesk.kernel.records import SLOT_ENTRY, TAG_LIQUIDATION
from perpdesk.kernel.replay import fills_hash
from perpdesk.parity import compare

CROSS = "account.margin_mode=cross"
FEW_LOTS = "paper.volume_share=0.000005"
HIGH_LEVERAGE = ("account.leverage=20", "sma_cross.stop=0.015")
EAGER = "score.versions.v2.params.min_score_to_trade=35"


@dataclass(frozen=True)
class Case:
    """A strategy, a market, settings, and what must have happened for the case to mean anything."""

    strategy: str
    market: Market
    happened: str
    settings: tuple[str, ...] = field(default=())


def _cases() -> dict[str, Case]:
    sma, score = "sma_cross", "score_v2"
    plain = synthetic(2 * DAY)
    scored = synthetic(DAY, warmup=SCORE_WARMUP)
    crash = with_drops(plain, 0.10, every=200)
    deep = with_drops(plain, 0.15, every=300)
    poor = ("account.balance_usdt=700", "sma_cross.notional_usdt=2000", "risk.daily_loss_limit=null")
    tight = "score.guardian.fixed_stop=-0.004"
    return {
        "sma: isolated margin, with funding": Case(sma, plain, "funding"),
        "sma: cross margin, with funding": Case(sma, plain, "funding", (CROSS,)),
        "sma: partial fills": Case(sma, plain, "partial fills", (FEW_LOTS,)),
        "sma: partial fills, cross margin": Case(sma, plain, "partial fills", (FEW_LOTS, CROSS)),
        "sma: liquidations": Case(sma, crash, "liquidations", HIGH_LEVERAGE),
        "sma: a wallet is liquidated": Case(sma, deep, "liquidations", (CROSS, *HIGH_LEVERAGE, *poor)),
        "sma: stops jumped over": Case(
            sma, with_drops(plain, 0.03, every=200), "gap stops", ("sma_cross.stop=0.004",)
        ),
        "sma: minutes without bars": Case(sma, with_holes(plain, every=200, length=15), "fills"),
        "sma: timeouts and a daily limit": Case(
            sma, plain, "TIMEOUT", ("sma_cross.timeout_minutes=17", "risk.daily_loss_limit=0.001")
        ),
        "sma: trailing orders": Case(
            sma, plain, "TRAILING", ("sma_cross.trail_activation=0.002", "sma_cross.trail_callback=0.002")
        ),
        "sma: after a warm-up": Case(sma, started_at(plain, DAY + 77), "fills"),
        "score: isolated margin, with funding": Case(score, scored, "funding", (EAGER,)),
        "score: cross margin": Case(score, scored, "fills", (EAGER, CROSS)),
        "score: partial fills": Case(score, scored, "partial fills", (EAGER, FEW_LOTS)),
        "score: fixed stops on the path": Case(score, scored, "FIXED_STOP", (EAGER, tight)),
        "score: trailing and take-profit on the path": Case(
            score,
            scored,
            "TRAILING",
            (EAGER, "score.guardian.trailing={activation: 0.003, retrace: 0.002, floor: 0.0015}"),
        ),
        "score: drops beyond every stop": Case(
            score, with_drops(scored, 0.06, every=150), "gap stops", (EAGER,)
        ),
        "score: liquidations": Case(
            score,
            with_drops(scored, 0.30, every=150),
            "liquidations",
            (EAGER, "score.versions.v2.leverage=8"),
        ),
    }


CASES = _cases()


def facts(case: Case) -> dict[str, int]:
    """How often things happened in the backtest of a case."""
    result, _, fills = backtest(configured(*case.settings), [case.strategy], case.market)
    entries = fills[fills["slot"] == SLOT_ENTRY]
    grown = abs(entries["held_lots"]) > entries["lots"]
    return {
        "fills": len(fills),
        "funding": abs(result.funding_e8),
        "partial fills": int(grown.sum()),
        "liquidations": int((fills["tag"] == TAG_LIQUIDATION).sum()),
    } | result.versions[0].exits


@pytest.mark.parametrize("name", CASES)
def test_backtest_and_paper_are_one(name: str) -> None:
    case = CASES[name]
    receipt = compare(configured(*case.settings), [case.strategy], case.market)
    assert receipt.first_difference is None
    assert receipt.identical
    assert receipt.fills_hash == receipt.engine_fills_hash
    happened = facts(case) | {"gap stops": receipt.gap_stops}
    assert happened.get(case.happened, 0) > 0, happened


def test_nothing_is_left_out_of_the_comparison() -> None:
    """The same without parity.compare: every fill, every field of the books, the venue's own figures."""
    loaded = configured(FEW_LOTS, *HIGH_LEVERAGE)
    market = with_drops(synthetic(DAY), 0.10, every=200)
    _, replayed, fills = backtest(loaded, ["sma_cross"], market)
    one = desk(loaded, ["sma_cross"], market)
    run_desk(one)
    assert len(fills) > 40
    assert fills.tobytes() == one.engine.fills().tobytes()
    for name in ("account", "positions", "slots", "heads"):
        ours, theirs = getattr(replayed.books, name), getattr(one.setup.books, name)
        differing = [field for field in ours.dtype.names if not np.array_equal(ours[field], theirs[field])]
        assert differing == [], name
    assert replayed.minds[0].states.tobytes() == one.setup.minds[0].states.tobytes()
    account = replayed.books.account[0]
    assert one.venue.wallet_now_e8() == account.cash_e8
    assert one.engine.steps == len(market.bars)
    assert one.engine.bars == market.bar_count


@pytest.mark.parametrize("strategy", ["sma_cross", "score_v2"])
def test_skipping_quiet_bars_changes_nothing(strategy: str) -> None:
    """The engine looks at every point of every path, the loop only where something can happen."""
    loaded = configured(EAGER, "sma_cross.trail_activation=0.002", "sma_cross.trail_callback=0.002")
    market = synthetic(400, warmup=SCORE_WARMUP)
    receipt = compare(loaded, [strategy], market, every_point=True)
    assert receipt.first_difference is None
    assert receipt.fills > 5


@pytest.mark.parametrize("steps", [1, 7, 1441])
def test_the_cuts_between_chunks_are_not_seen(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, market = configured(FEW_LOTS), synthetic(600)
    whole = compare(loaded, ["sma_cross"], market)
    monkeypatch.setattr(app, "_CHUNK_STEPS", steps)
    chunked = compare(loaded, ["sma_cross"], market)
    assert chunked.identical
    assert chunked.fills_hash == whole.fills_hash
    assert whole.fills > 10


def test_a_run_again_is_the_same_run() -> None:
    loaded, market = configured(EAGER), synthetic(DAY, warmup=SCORE_WARMUP)
    for strategies in (["sma_cross"], ["score_v2"], ["sma_cross", "score_v2"]):
        first, second = desk(loaded, strategies, market), desk(loaded, strategies, market, seed=99)
        run_desk(first)
        run_desk(second)
        assert len(first.engine.fills()) > 10
        assert fills_hash(first.engine.fills()) == fills_hash(second.engine.fills())
        for name in ("account", "positions", "slots", "heads"):
            ours, theirs = getattr(first.setup.books, name), getattr(second.setup.books, name)
            assert ours.tobytes() == theirs.tobytes()


# One symbol that rises from 100 and falls again: a cross up at the fifth bar, one down later.
WAVE = "\n".join(
    f"{a} {max(a, b) + 1} {min(a, b) - 1} {b} 900000"
    for a, b in zip([100, 100, 100, 100, 104, 108, 110, 104, 98, 95], [100, 100, 100, 104, 108, 110, 104, 98, 95, 95], strict=True)
)  # fmt: skip


def test_a_planted_fee_is_found_at_its_first_fill() -> None:
    loaded = configured("sma_cross.fast=1", "sma_cross.slow=3", "paper.slippage=0")
    market = drawn(WAVE)
    assert compare(loaded, ["sma_cross"], market).identical
    receipt = compare(loaded, ["sma_cross"], market, venue_taker_ppm=700)
    assert not receipt.identical
    difference = receipt.first_difference
    assert difference is not None
    assert (difference.where, difference.index, difference.field) == ("fill", 0, "fee_e8")
    # 961 lots of 1.04 USDT, which is what 1,000 USDT buy, at 0.05 % and at 0.07 %
    assert (difference.replay, difference.engine) == ("49972000", "69960800")
    assert str(difference) == (
        "fill 0: fee_e8 is 49972000 in replay, 69960800 in the engine "
        "(AAAUSDT buy 961 lots at 104, ENTRY, 1735689840000 ms)"
    )
    assert receipt.to_json()["first_difference"] == {
        "where": "fill",
        "index": 0,
        "field": "fee_e8",
        "replay": "49972000",
        "engine": "69960800",
        "context": difference.context,
    }


def test_a_fill_that_only_one_side_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is planted a configuration that holds fewer positions."""
    market = synthetic(DAY)

    def other_desk(loaded, strategies, market, **options):  # type: ignore[no-untyped-def]
        return desk(configured("sma_cross.positions_max=1"), strategies, market, **options)

    monkeypatch.setattr(parity, "desk", other_desk)
    receipt = compare(configured(), ["sma_cross"], market)
    assert not receipt.identical
    difference = receipt.first_difference
    assert difference is not None
    assert difference.where == "fill"
    _, _, fills = backtest(configured(), ["sma_cross"], market)
    _, _, fewer = backtest(configured("sma_cross.positions_max=1"), ["sma_cross"], market)
    shared = min(len(fills), len(fewer))
    first = next((i for i in range(shared) if fills[i].tobytes() != fewer[i].tobytes()), shared)
    assert difference.index == first


def test_a_wallet_that_differs_behind_equal_books_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def luckier_desk(*args, **options):  # type: ignore[no-untyped-def]
        one = desk(*args, **options)
        monkeypatch.setattr(one.venue, "wallet_now_e8", lambda: 123)
        return one

    monkeypatch.setattr(parity, "desk", luckier_desk)
    difference = compare(configured(), ["sma_cross"], drawn(WAVE)).first_difference
    assert difference is not None
    assert (difference.where, difference.field) == ("venue", "wallet_e8")


def test_books_that_differ_behind_equal_fills_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Funding at the end, after the last fill, on one side only: no fill knows of it."""
    market = drawn(WAVE)
    loaded = configured("sma_cross.fast=1", "sma_cross.slow=3")

    def richer_desk(*args, **options):  # type: ignore[no-untyped-def]
        one = desk(*args, **options)
        one.setup.books.account.funding_e8 += 1
        return one

    monkeypatch.setattr(parity, "desk", richer_desk)
    difference = compare(loaded, ["sma_cross"], market).first_difference
    assert difference is not None
    assert (difference.where, difference.field) == ("account", "funding_e8")
