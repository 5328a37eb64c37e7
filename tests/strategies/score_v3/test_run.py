"""score_v3 in whole runs: backtest and paper are one, alone and beside score_v2, and nothing looks ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.app.markets import DAY, SCORE_WARMUP, configured, shortened, synthetic

from perpdesk.app import Market, backtest, desk, run_desk, set_up, sleeves_of
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.parity import compare

BOTH = ("score.versions.v2.params.min_score_to_trade=30",)
EAGER = ("score.versions.v3.params={min_score_long: 12, min_score_short: 12}",)
NAMES = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
WARMUP = 32 * 60


def named(market: Market, names: tuple[str, ...]) -> Market:
    """The same market under these symbols."""
    return replace(market, universe=replace(market.universe, symbols=names))


@pytest.fixture(scope="module")
def market() -> Market:
    return named(synthetic(DAY, symbols=5, warmup=WARMUP), NAMES)


def test_backtest_and_paper_are_one(market: Market) -> None:
    receipt = compare(configured(*EAGER), ["score_v3"], market)
    assert receipt.first_difference is None
    assert receipt.fills > 20


def test_backtest_and_paper_are_one_with_signals_and_holes(market: Market) -> None:
    bars = market.bars.copy()
    for s in range(bars.shape[1]):
        bars[80 + 11 * s :: 300, s] = np.zeros((), bars.dtype)
        bars["open_ms"][80 + 11 * s :: 300, s] = -1
    signals = [f"score.versions.v3.params.{name}=true" for name in ("sudden_move", "pull_back")]
    receipt = compare(configured(*EAGER, *signals), ["score_v3"], replace(market, bars=bars))
    assert receipt.first_difference is None
    assert receipt.fills > 20


@pytest.fixture(scope="module")
def long_market() -> Market:
    return named(synthetic(DAY, symbols=5, warmup=SCORE_WARMUP), NAMES)


def test_two_versions_on_one_account_replay_and_paper_are_one(long_market: Market) -> None:
    receipt = compare(configured(*EAGER, *BOTH), ["score_v2", "score_v3"], long_market)
    assert receipt.first_difference is None
    assert receipt.fills > 40


@pytest.mark.parametrize("mode", ["ladder", "confirm_5m"])
def test_entries_that_wait_are_one_in_replay_and_paper(long_market: Market, mode: str) -> None:
    modes = [f"score.versions.{name}.entry_mode={mode}" for name in ("v2", "v3")]
    receipt = compare(configured(*EAGER, *BOTH, *modes), ["score_v2", "score_v3"], long_market)
    assert receipt.first_difference is None
    assert receipt.fills > (10 if mode == "ladder" else 1)
    alone = compare(configured(*EAGER, *modes), ["score_v3"], long_market)
    assert alone.first_difference is None


def test_without_the_coins_nothing_is_entered(market: Market) -> None:
    other = named(market, ("AUSDT", "BUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"))
    result, setup, fills = backtest(configured(*EAGER), ["score_v3"], other)
    assert (len(fills), result.fills) == (0, 0)
    assert (setup.minds[0].states["refused_unknown"] > 100).all()


def test_a_warm_start_knows_what_a_continuous_run_knows(market: Market) -> None:
    loaded = configured(*EAGER)
    minutes = 600
    continuous = desk(loaded, ["score_v3"], shortened(market, minutes))
    run_desk(continuous)
    later = replace(
        market,
        warmup=np.concatenate([market.warmup, market.bars[:minutes]]),
        bars=market.bars[minutes:],
        from_ms=market.from_ms + minutes * MINUTE_MS,
    )
    warm = set_up(loaded, sleeves_of(loaded, ["score_v3"]), later)
    (ours,), (theirs,) = warm.minds, continuous.setup.minds
    assert ours.states.tobytes() == theirs.states.tobytes()
    assert ours.shared.tobytes() == theirs.shared.tobytes()
    assert ours.shared.regime_ms[0] > 0


@pytest.mark.parametrize("cut", [1, 301, 905, 1215])
def test_the_future_changes_nothing(market: Market, cut: int) -> None:
    """Later rows absent, or others: for the traded symbols and for the coins."""
    loaded = configured(*EAGER)
    whole = backtest(loaded, ["score_v3"], market)[2]
    before = whole[whole["ms"] < market.from_ms + cut * MINUTE_MS].tobytes()
    assert backtest(loaded, ["score_v3"], shortened(market, cut))[2].tobytes() == before
    bars = market.bars.copy()
    for name in ("open", "high", "low", "close"):
        bars[name][cut:] = np.maximum(1, bars[name][cut:] * 1.2)
    changed = backtest(loaded, ["score_v3"], replace(market, bars=bars))[2]
    assert changed[changed["ms"] < market.from_ms + cut * MINUTE_MS].tobytes() == before
    assert len(whole) > 20


def test_two_versions_hold_the_same_symbol_with_books_of_their_own(market: Market) -> None:
    versions = (
        "score.versions=[{name: v3, scorer: v3, params: {min_score_long: 12, min_score_short: 12}},"
        " {name: late, scorer: v3, start_offset_s: 60, params: {min_score_long: 12, min_score_short: 12}}]"
    )
    one = desk(configured(versions), ["score_v3", "score_late"], market)
    run_desk(one)
    fills = one.engine.fills()
    held = {(v, s): np.zeros(len(fills), np.int64) for v in range(2) for s in range(5)}
    for (v, s), lots in held.items():
        mine = (fills["sleeve"] == v) & (fills["symbol"] == s)
        lots[mine] = fills["held_lots"][mine]
        at = np.maximum.accumulate(np.where(mine, np.arange(len(fills)), 0))
        lots[:] = np.where(np.cumsum(mine) > 0, lots[at], 0)
    both = [np.sign(held[0, s]) * np.sign(held[1, s]) for s in range(5)]
    assert max(together.max() for together in both) == 1
    assert min(together.min() for together in both) >= 0  # never against each other
