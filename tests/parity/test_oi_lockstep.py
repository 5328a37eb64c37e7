"""Must be so: the live stack, through the exchange's server in lockstep, trades what the compiled backtest trades.

Recorded minutes of four coins, a seeded overlay of open interest and ratios. The radar polls it from the server,
the desk decides, orders go through the client and come back as the account's own stream tells them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tests.oi.stage import Stage, play, stage
from tests.parity.lockstep import Driver, venue_on
from tests.parity.overlay import LOCKSTEP, write_with_moods

from perpdesk.app import Market, backtest, cut
from perpdesk.config.load import Loaded, load
from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.server import ServeOptions
from perpdesk.exchange.server.details import open_interest
from perpdesk.kernel.records import MINUTE_MS, funding_dt, tag_name, zeros
from perpdesk.kernel.replay import fills_hash
from perpdesk.market.interest import read
from perpdesk.market.tape import Tape, read_tape
from perpdesk.parity import _first_fill
from perpdesk.simulation.clock import WorldClock
from perpdesk.simulation.database import files

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
BEGIN_MS = 1_746_662_400_000  # 2025-05-08, the days of a rise
WARMUP = 240
# The whole of it takes minutes: make proofs.
IS_PROOF = "PERPDESK_PROOFS" in os.environ
MINUTES = 1_800 if IS_PROOF else 240


@dataclass(frozen=True)
class Scene:
    """tape: warm-up and run; path: the overlay; planted: how many jumps it has."""

    loaded: Loaded
    tape: Tape
    market: Market
    path: Path
    planted: int


def scene_of(real_data: Path, folder: Path, minutes: int) -> Scene:
    """The recorded minutes from BEGIN_MS on, with their overlay."""
    paths = [next((real_data / "klines_1m/usdm").glob(f"{one}_1m_2025-05*.parquet")) for one in SYMBOLS]
    whole = read_tape(paths, cached=False, end_ms=BEGIN_MS + minutes * MINUTE_MS)
    at = (BEGIN_MS - whole.start_ms) // MINUTE_MS - WARMUP
    tape = replace(whole, start_ms=BEGIN_MS - WARMUP * MINUTE_MS, bars=whole.bars[at:])
    config, path = folder / "desk.yaml", folder / "oi.parquet"
    config.write_text(LOCKSTEP)
    planted = write_with_moods(tape.bars, tape.start_ms, tape.universe.symbols, path, WARMUP + 10)
    market = cut(tape, BEGIN_MS, zeros(0, funding_dt), False, ())
    market = replace(market, interest=read([path], tape.universe.symbols))
    return Scene(load(config), tape, market, path, planted)


@pytest.fixture(scope="module")
def scene(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return scene_of(real_data, tmp_path_factory.mktemp("oi"), MINUTES)


def live_fills(scene: Scene, minutes: int) -> tuple[np.recarray, Driver, Stage]:
    """What the live desk has booked after so many minutes."""
    tape, rows = scene.tape, open_interest([scene.path], SYMBOLS)

    def options(clock: WorldClock) -> ServeOptions:
        return ServeOptions(
            clock=clock, tape=tape, start_step=WARMUP, lockstep=True, speed=None, accounts=1, balance="10000",
            open_interest=rows, control=True, funding=zeros(0, funding_dt),
            rules=Rules(fills="kernel", slippage_ppm=0), volume_share_ppm=0,
        )  # fmt: skip

    found: list[np.recarray] = []
    with files() as kept, stage(kept, scene.loaded, options, start_ms=BEGIN_MS) as one:
        assert scene.market.interest is not None
        one.history = tape.bars[:WARMUP]
        one.interest = replace(
            scene.market.interest,
            rows=tuple(r[r["ms"] <= BEGIN_MS].view(np.recarray) for r in scene.market.interest.rows),
        )
        one.venue_class = venue_on(one.server, 14)
        driver = Driver(one)

        async def story(one: Stage) -> None:
            starting = one.loop.create_task(one.start(), name="start")
            for minute in range(minutes):
                await driver.minute()
                if minute == 0:
                    await starting
            found.append(one.desk.engine.fills())

        play(one, story)
    return found[0], driver, one


@pytest.mark.real_data
@pytest.mark.slow
def test_the_live_stack_and_the_backtest_agree_on_every_fill(scene: Scene) -> None:
    _, _, fills = backtest(scene.loaded, ["oi_breakout"], scene.market)
    got, driver, one = live_fills(scene, MINUTES)
    difference = _first_fill(fills, got, scene.tape.universe.symbols)
    assert difference is None, f"{difference} {one.alarms}"
    assert fills_hash(got) == fills_hash(fills)
    assert len(fills) >= 5
    if IS_PROOF:
        assert scene.planted >= 30
        assert len(fills) >= 100
        tags = {tag_name(int(tag)) for tag in fills["tag"]}
        assert {"ENTRY", "TAKE_PROFIT", "EXCHANGE_STOP", "TRAILING", "TIMEOUT"} <= tags
    seen = {
        "planted": scene.planted,
        "fills": len(fills),
        "stops": driver.stops,
        "fills_hash": fills_hash(got),
    }
    print(seen)  # the receipt, for ``pytest -s``
