"""Open interest that is told after its step was decided re-enters that step: the fills are the backtest's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.app.markets import synthetic
from tests.parity.overlay import CONFIG, write

from perpdesk.app import Market, backtest, desk, set_up, sleeves_of
from perpdesk.config import loads
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.interest import Arrivals, InterestRows, read, recorded
from perpdesk.ports import StepClosed, StepOver

LOADED = loads(CONFIG, options=["oi.min_score=4", "oi.min_confidence=0.3"])


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    plain = synthetic(3 * 1440, seed=11, symbols=6, warmup=150)
    path = tmp_path_factory.mktemp("oi") / "oi.parquet"
    bars = np.concatenate([plain.warmup, plain.bars])
    assert write(bars, plain.warmup_ms, plain.universe.symbols, path) > 10
    return replace(plain, interest=read([path], plain.universe.symbols))


def before(rows: InterestRows, ms: int) -> InterestRows:
    """What was known at the start."""
    return InterestRows(tuple(one[one["ms"] <= ms].view(np.recarray) for one in rows.rows))


async def fills_when_told(market: Market, moment: type) -> np.recarray:
    """The engine, with each minute's rows told when a message of this kind has been handled."""
    assert market.interest is not None
    early = replace(market, interest=before(market.interest, market.from_ms))
    prepared = set_up(LOADED, sleeves_of(LOADED, ["oi_breakout"]), early)
    one = desk(LOADED, ["oi_breakout"], early, prepared=prepared)
    arrivals = Arrivals(prepared.minds[0].states)
    async for message in one.venue.messages():
        await one.engine.handle(message)
        if isinstance(message, moment):
            now_ms = message.now_ms  # type: ignore[attr-defined]
            came = []
            for s, rows in enumerate(market.interest.rows):
                for row in rows[(rows["ms"] > now_ms - MINUTE_MS) & (rows["ms"] <= now_ms)]:
                    assert arrivals.put(s, row)
                    came.append(s)
            await one.engine.again(0, came, now_ms)
    return one.engine.fills()


@pytest.mark.parametrize("moment", [StepClosed, StepOver])
async def test_late_rows_give_the_fills_of_the_backtest(market: Market, moment: type) -> None:
    _, _, fills = backtest(LOADED, ["oi_breakout"], market)
    assert len(fills) > 30
    got = await fills_when_told(market, moment)
    assert got.tobytes() == fills.tobytes()


async def test_rows_that_come_before_their_step_wait_for_it(market: Market) -> None:
    """A poll that is answered before the minute's bars."""
    assert market.interest is not None
    early = replace(market, interest=recorded((), (), market.universe.symbols))
    prepared = set_up(LOADED, sleeves_of(LOADED, ["oi_breakout"]), early)
    one = desk(LOADED, ["oi_breakout"], early, prepared=prepared)
    row = market.interest.rows[0][market.interest.rows[0]["ms"] > market.from_ms][0]
    assert Arrivals(prepared.minds[0].states).put(0, row)
    await one.engine.again(0, [0], int(row.ms))
    state = prepared.minds[0].states[0]
    assert int(state.rows_seen) == 0
    async for message in one.venue.messages():
        await one.engine.handle(message)
        if isinstance(message, StepOver):
            break
    assert int(state.rows_seen) == 1
    assert int(state.sight.poll_ms) == int(row.ms)


def test_an_older_row_does_not_go_behind_a_newer_one(market: Market) -> None:
    assert market.interest is not None
    early = replace(market, interest=recorded((), (), market.universe.symbols))
    states = set_up(LOADED, sleeves_of(LOADED, ["oi_breakout"]), early).minds[0].states
    first, second = market.interest.rows[0][:2]
    arrivals = Arrivals(states)
    assert arrivals.put(0, second)
    assert not arrivals.put(0, first)
    assert not arrivals.put(0, second)
    assert int(states[0].inbox_end) == 1
