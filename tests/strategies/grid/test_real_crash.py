"""A grid in the crash of 2020-03: what the specification's reference run did, bar by bar."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.strategies.grid.running import GridRun

from perpdesk.kernel.records import MINUTE_MS, bar_dt, zeros
from perpdesk.strategies.grid.machine import DRAWDOWN, IDLE
from perpdesk.strategies.grid.plan import LONG, grid_step

pytestmark = pytest.mark.real_data

CRASH_MS = 1_583_971_200_000  # 2020-03-12 00:00 UTC
UNIT_E8 = 1  # tick 0.01 × lot 1e-6
A0, ATR = 793_452, 19_009.20


@pytest.fixture(scope="module")
def crash(real_data):
    """Spot BTCUSDT minutes of 2020-03-12 in ticks and lots."""
    path = real_data / "klines_1m" / "spot" / "BTCUSDT_1m_crash2020-03_2020-03-01_2020-03-31.parquet"
    frame = pl.read_parquet(path).filter(
        pl.col("open_time").cast(pl.Int64).is_between(CRASH_MS, CRASH_MS + 1439 * MINUTE_MS)
    )
    bars = zeros((len(frame), 1), bar_dt)
    bars["open_ms"][:, 0] = frame["open_time"].cast(pl.Int64).to_numpy()
    for name in ("open", "high", "low", "close"):
        bars[name][:, 0] = np.rint(frame[name].cast(pl.Float64).to_numpy() * 100)
    bars["volume_lots"][:, 0] = np.rint(frame["volume"].cast(pl.Float64).to_numpy() * 1e6)
    assert (np.diff(bars["open_ms"][:, 0]) == MINUTE_MS).all()
    return bars


def test_22_drawdown_in_the_crash(crash):
    run = GridRun(unit_e8=UNIT_E8, volume_share_ppm=100_000)
    step = int(grid_step(ATR, 800_000, 1))
    assert step == 15_207
    run.at_ms = CRASH_MS - MINUTE_MS
    run.start(A0, step, LONG)
    assert run.state.lo_stop == 637_415
    run.replay.feed(crash, CRASH_MS)
    *entered, out = run.replay.all_fills()
    assert (run.state.grid, run.state.reason, run.position.lots) == (IDLE, DRAWDOWN, 0)
    assert len([fill for fill in entered if fill.side > 0]) == 10
    assert (out.price, out.lots) == (637_814, 141_414)
    assert (int(out.ms) - CRASH_MS) // MINUTE_MS == 10 * 60 + 44
    assert round(run.position.fees_e8 / 1e8, 4) == 0.6510
    assert round(run.profit_e8() / 1e8, 4) == -98.6561
