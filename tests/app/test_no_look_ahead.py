"""What is decided before a minute does not depend on anything after it: the later rows may be absent, or others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.app.markets import DAY, SCORE_WARMUP, configured, shortened, synthetic

from perpdesk.app import Market, backtest, desk, run_desk
from perpdesk.cli.options import MarketOptions, load_market
from perpdesk.config.load import Loaded
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.tape import Tape
from perpdesk.market.writing import write_parquet

EAGER = configured(
    "score.versions.v2.params.min_score_to_trade=45",
    "sma_cross.trail_activation=0.002",
    "sma_cross.trail_callback=0.002",
)


def replay_fills(loaded: Loaded, strategies: list[str], market: Market) -> np.ndarray:
    return backtest(loaded, strategies, market)[2]


def engine_fills(loaded: Loaded, strategies: list[str], market: Market) -> np.ndarray:
    one = desk(loaded, strategies, market)
    run_desk(one)
    return one.engine.fills()


def before(fills: np.ndarray, market: Market, minutes: int) -> bytes:
    """The fills before so many minutes have passed."""
    return fills[fills["ms"] < market.from_ms + minutes * MINUTE_MS].tobytes()


@pytest.fixture(scope="module")
def market() -> Market:
    return synthetic(DAY, warmup=SCORE_WARMUP)


@pytest.mark.parametrize("strategy", ["sma_cross", "score_v2"])
def test_a_backtest_without_the_future(strategy: str, market: Market) -> None:
    whole = replay_fills(EAGER, [strategy], market)
    assert len(whole) > 20

    @settings(max_examples=25)
    @given(cut=st.integers(1, DAY - 1), factor=st.sampled_from([0.5, 1.01, 3.0]))
    def check(cut: int, factor: float) -> None:
        absent = replay_fills(EAGER, [strategy], shortened(market, cut))
        assert absent.tobytes() == before(whole, market, cut)
        bars = market.bars.copy()
        for name in ("open", "high", "low", "close"):
            bars[name][cut:] = np.maximum(1, bars[name][cut:] * factor)
        changed = replay_fills(EAGER, [strategy], replace(market, bars=bars))
        assert before(changed, market, cut) == before(whole, market, cut)

    check()


@pytest.mark.parametrize("strategies", [["sma_cross"], ["score_v2"], ["sma_cross", "score_v2"]])
def test_paper_without_the_future(strategies: list[str], market: Market) -> None:
    whole = engine_fills(EAGER, strategies, market)
    assert len(whole) > 20

    @settings(max_examples=5)
    @given(cut=st.integers(1, DAY - 1))
    def check(cut: int) -> None:
        absent = engine_fills(EAGER, strategies, shortened(market, cut))
        assert absent.tobytes() == before(whole, market, cut)

    check()


def test_files_without_the_future(tmp_path: Path) -> None:
    """The same through the files: later rows cut off, or left out with --to."""
    whole = synthetic(600, symbols=2)
    folders = [tmp_path / "whole", tmp_path / "cut"]
    for folder, minutes in zip(folders, (600, 377), strict=True):
        tape = Tape(whole.universe, whole.bars[:minutes], whole.from_ms, minutes * 2)
        write_parquet(tape, folder)
    until = str(whole.from_ms + 377 * MINUTE_MS)
    found = [
        replay_fills(EAGER, ["sma_cross"], load_market(options))
        for options in (
            MarketOptions([folders[0]]),
            MarketOptions([folders[0]], to_text=until),
            MarketOptions([folders[1]]),
        )
    ]
    assert len(found[1]) > 5
    assert before(found[0], whole, 377) == found[1].tobytes() == found[2].tobytes()
