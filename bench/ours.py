"""perpdesk on the same work, with its whole ledger, guard, gate and funding: the shipped sma_cross.

Run like a peer it times the compiled loop over a tape in memory. With ``--fact`` it measures one thing in
a fresh process: the compilation, the first reading of parquet, or a market streamed from disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from peers.lap import Lap, Prepared, main, peak_rss_mib
from peers.work import (
    ARM_FRACTION,
    BALANCE,
    FAST,
    FEE_FRACTION,
    NOTIONAL,
    POSITIONS_MAX,
    RETRACE_FRACTION,
    SLIPPAGE_FRACTION,
    SLOW,
    STOP_FRACTION,
    TIMEOUT_MINUTES,
)

from perpdesk.config import Config, loads, records
from perpdesk.kernel.records import DAY_MS, SLOT_OWN, funding_dt, guard_dt, zeros
from perpdesk.kernel.replay import Replay, new_books, new_mind
from perpdesk.market import storing
from perpdesk.market.funding import read as read_funding
from perpdesk.market.synthetic import START_MS, synthetic_tape
from perpdesk.market.tape import read_tape, stream_tape
from perpdesk.market.universe import Universe
from perpdesk.strategies.grid import strategy as grid
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import NEUTRAL
from perpdesk.strategies.grid.strategy import params_record

CHUNK_STEPS = 1_440
USDT = 10**8


def config_of(work: str) -> Config:
    """The work's numbers as perpdesk's configuration.

    The daily breaker and the limit to a share of the bar's volume are off: no peer has them.
    """
    return loads(
        f"""
        account: {{balance_usdt: {BALANCE}, taker_fee: {FEE_FRACTION}}}
        risk: {{daily_loss_limit: null}}
        paper: {{slippage: {SLIPPAGE_FRACTION}, volume_share: null}}
        sma_cross:
          fast: {FAST}
          slow: {SLOW}
          notional_usdt: {NOTIONAL}
          positions_max: {POSITIONS_MAX[work]}
          stop: {STOP_FRACTION}
          trail_activation: {ARM_FRACTION}
          trail_callback: {RETRACE_FRACTION}
          timeout_minutes: {TIMEOUT_MINUTES[work]}
        """
    ).config


def funding_of(folder: Path, universe: Universe) -> np.recarray:
    """The market's funding, where it has any."""
    file = folder.parent / "funding.parquet"
    return read_funding([file], universe) if file.exists() else zeros(0, funding_dt)


def replay_of(work: str, universe: Universe, funding: np.recarray) -> Replay:
    """A backtest with fresh books, compiled."""
    config = config_of(work)
    sleeve = records.sma_cross_sleeve(config)
    maker_ppm, taker_ppm = records.fees_ppm(config)
    instruments = universe.records(maker_ppm=maker_ppm, taker_ppm=taker_ppm)
    books = new_books(records.account_record(config), sleeve.limits, instruments, sleeve.strategy.slots)
    replay = Replay(
        new_mind(sleeve.strategy, sleeve.params, sleeve.guard, len(universe)), books, funding=funding
    )
    replay.compile()
    return replay


def ladder_of(universe: Universe) -> Replay:
    """W4: 21 prices 0.5 % apart around the price, 10 buys below and 10 sells above, with counter orders.

    When the price leaves it, it is closed at market and laid out anew. Ledger, stops and caps are on.
    """
    maker_ppm, taker_ppm = 200, 500
    instruments = universe.records(maker_ppm=maker_ppm, taker_ppm=taker_ppm)
    much = 100_000 * USDT
    executor = ExecutorParams(
        order_size_e8=1_000 * USDT,
        allocated_capital_e8=much,
        max_position_e8=much,
        short_budget_e8=much,
        stop_drawdown_ppm=500_000,
        zone_break_buffer_ppm=0,
        max_run_ms=10_000 * 3_600_000,
    )
    params = params_record(
        executor, unit_e8=int(instruments.unit_e8[0]), tick=int(instruments.tick[0]), auto_start=True,
        variant=NEUTRAL, step_ppm=5_000, restart_after_ms=0,
    )  # fmt: skip
    config = config_of("w1")
    sleeve = records.sma_cross_sleeve(config)
    slots = SLOT_OWN + 2 * executor.grid_levels
    books = new_books(records.account_record(config), sleeve.limits, instruments, slots)
    books.account.slippage_ppm = executor.slippage_ppm
    guard = zeros(1, guard_dt).view(np.recarray)
    replay = Replay(new_mind(grid.STRATEGY, params, guard, 1), books)
    replay.compile()
    return replay


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """The tape in memory."""
    tape = read_tape([folder], end_ms=START_MS + days * DAY_MS)
    funding = funding_of(folder, tape.universe)

    def run() -> Lap:
        replay = ladder_of(tape.universe) if work == "w4" else replay_of(work, tape.universe, funding)
        started = time.perf_counter()
        replay.feed(tape.bars, tape.start_ms)
        seconds = time.perf_counter() - started
        return Lap(seconds, len(replay.all_fills()))

    return Prepared(tape.bar_count, run)


def compile_now(work: str) -> float:
    """Seconds to compile the step loop, or to load it from the cache."""
    universe = synthetic_tape(1, 1, 10).universe
    started = time.perf_counter()
    replay_of(work, universe, zeros(0, funding_dt))
    return time.perf_counter() - started


def compile_fact(work: str, folder: Path) -> dict[str, float]:
    """The compilation alone; PERPDESK_CACHE_DIR says whether there is a cache to load from."""
    return {"seconds": compile_now(work)}


def read_fact(work: str, folder: Path) -> dict[str, float]:
    """From files to fills, compiled code ready: reading, checking, converting, running.

    ``stored_seconds`` is when the converted bars are in the cache as well, which a thread sees to.
    """
    compile_now(work)
    started = time.perf_counter()
    tape = read_tape([folder])
    funding = funding_of(folder, tape.universe)
    read_seconds = time.perf_counter() - started
    replay = replay_of(work, tape.universe, funding)
    replay.feed(tape.bars, tape.start_ms)
    seconds = time.perf_counter() - started
    storing.wait()
    return {
        "bars": tape.bar_count,
        "read_seconds": read_seconds,
        "seconds": seconds,
        "stored_seconds": time.perf_counter() - started,
        "fills": len(replay.all_fills()),
        "peak_rss_mib": peak_rss_mib(),
    }


def stream_fact(work: str, folder: Path) -> dict[str, float]:
    """A market that need not fit into memory, a day at a time: converting what is new, then running."""
    compile_now(work)
    started = time.perf_counter()
    stream = stream_tape([folder], CHUNK_STEPS)
    open_seconds = time.perf_counter() - started
    replay = replay_of(work, stream.universe, funding_of(folder, stream.universe))
    started = time.perf_counter()
    for first_ms, bars in stream:
        replay.feed(bars, first_ms)
    seconds = time.perf_counter() - started
    return {
        "bars": stream.bar_count,
        "open_seconds": open_seconds,
        "seconds": seconds,
        "fills": len(replay.all_fills()),
        "peak_rss_mib": peak_rss_mib(),
    }


FACTS = {"compile": compile_fact, "read": read_fact, "stream": stream_fact}

if __name__ == "__main__":
    if "--fact" in sys.argv:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--fact", choices=FACTS)
        parser.add_argument("--work", default="w1")
        parser.add_argument("--data", type=Path, required=True)
        options = parser.parse_args()
        print(json.dumps(FACTS[options.fact](options.work, options.data)))
    else:
        main("perpdesk", prepare)
