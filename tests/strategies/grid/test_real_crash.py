"""A grid in the crash of 2020-03: what the specification's reference run did, bar by bar."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.strategies.grid.running import USDT, GridRun

from perpdesk.kernel.indicators.atr import atr_window
from perpdesk.kernel.intervals import resample
from perpdesk.kernel.records import DAY_MS, MINUTE_MS, NONE, bar_dt, zeros
from perpdesk.strategies.grid.machine import ACTIVE, DRAWDOWN, IDLE
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, grid_step

pytestmark = pytest.mark.real_data

CRASH_MS = 1_583_971_200_000  # 2020-03-12 00:00 UTC
FIRST_MS, LAST_MS = CRASH_MS - 7 * DAY_MS, CRASH_MS + 5 * DAY_MS - MINUTE_MS
UNIT_E8 = 1  # tick 0.01 × lot 1e-6
A0, ATR = 793_452, 19_009.20


@pytest.fixture(scope="module")
def march(real_data):
    """Spot BTCUSDT minutes of 2020-03-05 to 03-16 in ticks and lots, without a hole."""
    path = real_data / "klines_1m" / "spot" / "BTCUSDT_1m_crash2020-03_2020-03-01_2020-03-31.parquet"
    frame = pl.read_parquet(path).filter(pl.col("open_time").cast(pl.Int64).is_between(FIRST_MS, LAST_MS))
    bars = zeros((len(frame), 1), bar_dt)
    bars["open_ms"][:, 0] = frame["open_time"].cast(pl.Int64).to_numpy()
    for name in ("open", "high", "low", "close"):
        bars[name][:, 0] = np.rint(frame[name].cast(pl.Float64).to_numpy() * 100)
    bars["volume_lots"][:, 0] = np.rint(frame["volume"].cast(pl.Float64).to_numpy() * 1e6)
    assert (np.diff(bars["open_ms"][:, 0]) == MINUTE_MS).all()
    return bars


def test_22_drawdown_in_the_crash(march):
    run = GridRun(unit_e8=UNIT_E8, volume_share_ppm=100_000)
    step = int(grid_step(ATR, 800_000, 1))
    assert step == 15_207
    run.at_ms = CRASH_MS - MINUTE_MS
    run.start(A0, step, LONG)
    assert run.state.lo_stop == 637_415
    run.replay.feed(march[7 * 1440 :], CRASH_MS)
    *entered, out = run.replay.all_fills()
    assert (run.state.grid, run.state.reason, run.position.lots) == (IDLE, DRAWDOWN, 0)
    assert len([fill for fill in entered if fill.side > 0]) == 10
    assert (out.price, out.lots) == (637_814, 141_414)
    assert (int(out.ms) - CRASH_MS) // MINUTE_MS == 10 * 60 + 44
    assert round(run.position.fees_e8 / 1e8, 4) == 0.6510
    assert round(run.profit_e8() / 1e8, 4) == -98.6561


@pytest.mark.parametrize("variant", [LONG, NEUTRAL])
@pytest.mark.parametrize("hours", range(24, 73, 4))
def test_grids_started_in_the_crash_end_flat(march, variant, hours):
    """Started by hand at a 4-hour boundary: closed by the drawdown rule within its bound, or still above it."""
    first = (CRASH_MS - int(march["open_ms"][0, 0])) // MINUTE_MS + (hours - 48) * 60
    before = resample(march[:first, 0], 240 * MINUTE_MS)[-100:]
    highs, lows, closes = (np.ascontiguousarray(before[name]) for name in ("high", "low", "close"))
    step = int(grid_step(atr_window(highs, lows, closes, 14), 800_000, 1))
    a0 = int(march[first - 1, 0]["close"])
    run = GridRun(
        unit_e8=UNIT_E8, volume_share_ppm=100_000, executor=ExecutorParams(short_budget_e8=1000 * USDT)
    )
    run.at_ms = int(march["open_ms"][first - 1, 0])
    run.start(a0, step, variant)
    run.replay.feed(march[first:], int(march["open_ms"][first, 0]))
    loss = -run.profit_e8() / 1e8
    if hours == 72:  # after the fall
        assert (run.state.grid, loss < 0) == (ACTIVE, True)
    else:
        assert (run.state.grid, run.state.reason, run.position.lots) == (IDLE, DRAWDOWN, 0)
        assert 92 < loss <= 100
        assert (run.slots.kind == NONE).all()
