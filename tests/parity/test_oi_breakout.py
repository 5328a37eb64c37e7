"""The recorded minutes of four coins with planted open interest: engine and compiled backtest, bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.app.markets import synthetic

from perpdesk.app import backtest, cut
from perpdesk.config import loads
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import MINUTE_MS, funding_dt, tag_name, zeros
from perpdesk.market.interest import RATIOS, read
from perpdesk.market.tape import read_tape
from perpdesk.parity import compare

END_MS = 1_747_440_000_000  # 2025-05-17
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
BEST = (1.6, 1.4, 3.5, 1.0)
# Exits near enough that all of them happen to coins that move little.
CONFIG = """
oi:
  initial_balance_usdt: 8000
  timeout_min: 60
  disaster_max: 0.012
  breakeven_roi: 0.05
  tp_legs: [{share: 0.3, move: 0.006}, {share: 0.3, move: 0.0138}]
  trailing: {share: 0.4, activation: 0.01, callback: 0.004}
"""


def planted(closes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Open interest of one symbol that breathes, and jumps by 4 % where the price has just risen; and where."""
    draw = np.random.default_rng(seed)
    rises = closes[5:] / closes[:-5] - 1
    interest = 1e6 * np.exp(np.cumsum(draw.normal(0, 2e-4, len(closes))))
    where, last = [], -1000
    for minute in np.flatnonzero((rises >= 0.0055) & (rises <= 0.025)) + 5:
        if minute - last >= 50:
            interest[minute:] *= 1.04
            where.append(minute)
            last = minute
    return interest, np.array(where)


@pytest.fixture(scope="module")
def market(real_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """Four coins, 2025-05-08 to 2025-05-17, the overlay beside them."""
    files = [
        next((real_data / "klines_1m" / "usdm").glob(f"{symbol}_1m_2025-05*.parquet")) for symbol in SYMBOLS
    ]
    tape = read_tape(files, cached=False, end_ms=END_MS)
    frames = []
    count = 0
    for s, symbol in enumerate(tape.universe.symbols):
        closes = pl.Series(tape.bars["close"][:, s]).replace(0, None).forward_fill().backward_fill()
        closes = closes.cast(pl.Float64).to_numpy()
        interest, where = planted(closes, s)
        count += len(where)
        ratios = {name: np.full(len(closes), value) for name, value in zip(RATIOS, BEST, strict=True)}
        times = tape.start_ms + (np.arange(len(closes)) + 1) * MINUTE_MS
        frames.append(
            pl.DataFrame({"symbol": symbol, "time": times, "sum_open_interest": interest, **ratios})
        )
    assert count >= 30
    path = tmp_path_factory.mktemp("oi") / "oi.parquet"
    pl.concat(frames).write_parquet(path)
    whole = cut(tape, tape.start_ms + 4 * 1440 * MINUTE_MS, zeros(0, funding_dt), False, ())
    return replace(whole, interest=read([path], tape.universe.symbols))


@pytest.mark.real_data
@pytest.mark.slow
def test_the_engine_and_the_backtest_agree_on_every_fill(market) -> None:
    receipt = compare(loads(CONFIG), ["oi_breakout"], market)
    assert receipt.first_difference is None
    assert receipt.identical
    assert receipt.fills >= 100


@pytest.mark.real_data
@pytest.mark.slow
def test_the_backtest_uses_every_kind_of_exit_and_skipping_changes_nothing(market) -> None:
    result, setup, fills = backtest(loads(CONFIG), ["oi_breakout"], market)
    _, _, walked = backtest(loads(CONFIG), ["oi_breakout"], market, skip=False)
    assert fills.tobytes() == walked.tobytes()
    tags = {tag_name(int(tag)) for tag in fills["tag"]}
    assert {"ENTRY", "TAKE_PROFIT", "EXCHANGE_STOP", "TRAILING", "TIMEOUT"} <= tags
    assert len(fills) > 100
    assert int(setup.minds[0].states["rows_seen"].min()) > len(market.bars) * 0.99


def test_without_open_interest_it_refuses_to_run() -> None:
    with pytest.raises(InputError, match="--oi"):
        backtest(loads(""), ["oi_breakout"], synthetic(60))
