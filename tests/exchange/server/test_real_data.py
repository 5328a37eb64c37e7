"""An outsider downloads recorded data from the server and gets the file's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conformance.wire import running

from perpdesk.exchange.server.details import candle_details, open_interest
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.tape import read_tape

DAY = 1440


async def download(wire, symbol: str, start_ms: int, end_ms: int) -> list[list]:
    """All 1m klines of [start, end) in pages."""
    rows: list[list] = []
    while start_ms < end_ms:
        page = (
            await wire.get(
                "/fapi/v1/klines",
                symbol=symbol,
                interval="1m",
                startTime=start_ms,
                endTime=end_ms - 1,
                limit=1500,
            )
        ).body
        if not page:
            break
        rows += page
        start_ms = page[-1][0] + 1
    return rows


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "symbol", "file"),
    [
        ("usdm", "BTCUSDT", "BTCUSDT_1m_2025-05-04_2025-06-03.parquet"),
        ("usdm_full", "ALGOUSDT", "ALGOUSDT_1m_2026-02.parquet"),
    ],
)
async def test_a_day_of_klines_is_the_file(real_data: Path, folder: str, symbol: str, file: str) -> None:
    path = real_data / "klines_1m" / folder / file
    table = pl.read_parquet(path)
    columns = [name for name in table.columns if name not in ("symbol", "open_time")]
    tape = read_tape([path], cached=False)
    details = candle_details([path], [symbol])
    async with running(
        tape=tape, start_step=3 * DAY, lockstep=True, recv_window_mode="skip", candle_details=details
    ) as wire:
        start_ms = tape.start_ms + 2 * DAY * MINUTE_MS
        rows = await download(wire, symbol, start_ms, start_ms + DAY * MINUTE_MS)
        expected = table.filter(
            (pl.col("open_time") >= start_ms) & (pl.col("open_time") < start_ms + DAY * MINUTE_MS)
        )
        assert [row[0] for row in rows] == expected["open_time"].to_list()
        places = {
            "open": 1,
            "high": 2,
            "low": 3,
            "close": 4,
            "volume": 5,
            "quote_volume": 7,
            "count": 8,
            "taker_buy_volume": 9,
            "taker_buy_quote_volume": 10,
        }
        for name in columns:
            served = np.array([float(row[places[name]]) for row in rows])
            assert (served == expected[name].to_numpy()).all(), name


@pytest.mark.real_data
async def test_open_interest_at_its_times(real_data: Path) -> None:
    folder = real_data / "open_interest"
    files = [
        folder / "binance_usdm_5sym_1h_2025-04_2025-05.parquet",
        folder / "binance_usdm_5sym_polled_2025-05.parquet",
    ]
    hourly, polled = (
        pl.read_parquet(file).filter(pl.col("symbol") == "BTCUSDT").sort("time") for file in files
    )
    interest = open_interest(files, ["BTCUSDT"])
    bars = real_data / "klines_1m" / "usdm" / "BTCUSDT_1m_2025-05-04_2025-06-03.parquet"
    tape = read_tape([bars], cached=False)
    first = int(polled["time"][100])
    step = (first - tape.start_ms) // MINUTE_MS
    async with running(
        tape=tape, start_step=step, lockstep=True, recv_window_mode="skip", open_interest=interest
    ) as wire:
        replay = wire.server.replay
        assert replay is not None
        for _ in range(10):
            replay.play_step()
            row = (await wire.get("/fapi/v1/openInterest", symbol="BTCUSDT")).body
            both = pl.concat([hourly, polled]).filter(pl.col("time") <= wire.server.now_ms()).sort("time")
            assert row["time"] == both["time"][-1]
            assert (
                float(row["openInterest"]) in both.filter(pl.col("time") == row["time"])["sum_open_interest"]
            )
        rows = (
            await wire.get("/futures/data/openInterestHist", symbol="BTCUSDT", period="1h", limit=500)
        ).body
        now_ms = wire.server.now_ms()
        shown = hourly.filter((pl.col("time") <= now_ms) & (pl.col("time") >= now_ms - 30 * DAY * MINUTE_MS))[
            -500:
        ]
        assert [row["timestamp"] for row in rows] == shown["time"].to_list()
        assert [float(row["sumOpenInterest"]) for row in rows] == shown["sum_open_interest"].to_list()
        assert [float(row["sumOpenInterestValue"]) for row in rows] == shown[
            "sum_open_interest_value"
        ].to_list()
