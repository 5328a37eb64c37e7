"""State is derived, not remembered: a run that starts at D with earlier rows knows what a continuous run knows."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.app.markets import DAY, SCORE_WARMUP, configured, shortened, started_at, synthetic

from perpdesk.app import Market, backtest, cut, desk, run_desk, set_up, sleeves_of
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import MINUTE_MS, funding_dt, zeros
from perpdesk.kernel.replay import Mind
from perpdesk.market.tape import Tape
from perpdesk.ports import StepOver

EAGER = configured("score.versions.v2.params.min_score_to_trade=35")
STRATEGIES = ["sma_cross", "score_v2"]


def known(mind: Mind) -> tuple[bytes, bytes]:
    """Everything a strategy has in mind."""
    return mind.states.tobytes(), mind.shared.tobytes()


@pytest.mark.parametrize("minutes", [1, 600, 777, DAY])
def test_a_warm_start_knows_what_a_continuous_run_knows(minutes: int) -> None:
    market = synthetic(2 * DAY, warmup=SCORE_WARMUP)
    continuous = desk(EAGER, STRATEGIES, shortened(market, minutes))
    run_desk(continuous)
    later = started_at(market, minutes)
    warm = set_up(EAGER, sleeves_of(EAGER, STRATEGIES), later)
    for ours, theirs in zip(warm.minds, continuous.setup.minds, strict=True):
        assert known(ours) == known(theirs)
    assert (warm.books.heads["last"] == continuous.setup.books.heads["last"]).all()
    assert (warm.books.heads["step_ms"] == continuous.setup.books.heads["step_ms"]).all()


def flat_minutes(market: Market, strategy: str) -> list[int]:
    """Steps of a continuous run at whose end nothing is held or on its way."""
    one = desk(EAGER, [strategy], market)
    found = []

    async def go() -> None:
        async for message in one.venue.messages():
            await one.engine.handle(message)
            if isinstance(message, StepOver) and not one.engine.executor.codes:
                found.append(one.engine.steps)

    asyncio.run(go())
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_from_a_flat_minute_on_a_warm_start_trades_alike(strategy: str) -> None:
    """Nothing but the wallet differs: what was traded before the start is not in it."""
    market = synthetic(DAY, symbols=1, seed=11, warmup=SCORE_WARMUP)
    _, _, whole = backtest(EAGER, [strategy], market)
    flat = [m for m in flat_minutes(market, strategy) if 100 < m < DAY - 300]
    assert flat
    minutes = flat[len(flat) // 2]
    later = started_at(market, minutes)
    one = desk(EAGER, [strategy], later)
    run_desk(one)
    expected = whole[whole["ms"] >= later.from_ms]
    assert len(expected) > 2
    assert len(one.engine.fills()) == len(expected)
    for name in expected.dtype.names:
        if name != "cash_e8":
            assert np.array_equal(one.engine.fills()[name], expected[name]), name
    assert np.array_equal(np.diff(one.engine.fills()["cash_e8"]), np.diff(expected["cash_e8"]))


def test_nothing_is_traded_in_the_warm_up() -> None:
    market = started_at(synthetic(2 * DAY), DAY)
    setup = set_up(EAGER, sleeves_of(EAGER, ["sma_cross"]), market)
    account = setup.books.account[0]
    assert account.cash_e8 == account.initial_e8
    assert account.fills == 0
    assert not account.gate_shut
    assert (account.verdicts == 0).all()
    assert (setup.books.slots["kind"] == 0).all()
    assert (setup.books.heads["approved_ms"] == 0).all()
    assert (setup.books.heads["cand_side"] == 0).all()


def test_without_earlier_rows_score_waits_for_its_history() -> None:
    cold = synthetic(DAY)
    result, _, _ = backtest(EAGER, ["score_v2"], cold)
    assert result.fills == 0
    warm = synthetic(DAY, warmup=SCORE_WARMUP)
    result, _, _ = backtest(EAGER, ["score_v2"], warm)
    assert result.fills > 0


def tape_of(minutes: int) -> Tape:
    market = synthetic(minutes)
    return Tape(market.universe, market.bars, market.from_ms, market.bars.size)


def test_a_tape_is_cut_at_whole_minutes() -> None:
    tape = tape_of(60)
    none = zeros(0, funding_dt)
    for given_ms, warmup in (
        (None, 0),
        (0, 0),
        (tape.start_ms, 0),
        (tape.start_ms + 1, 1),
        (tape.start_ms + 90_000, 2),
    ):
        market = cut(tape, given_ms, none, True, ["a note"])
        assert (len(market.warmup), len(market.bars)) == (warmup, 60 - warmup)
        assert market.from_ms == tape.start_ms + warmup * MINUTE_MS
        assert market.to_ms == tape.end_ms
        assert market.warmup_ms == tape.start_ms
        assert market.notes == ("a note",)
    with pytest.raises(InputError, match="no bars at or after"):
        cut(tape, tape.end_ms, none, True, [])
