"""An outsider downloads recorded data from the server and gets the file's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def interest_rows(real_data: Path, kind: str) -> pl.DataFrame:
    """One symbol's rows of a file, in time order."""
    file = next((real_data / "open_interest").glob(f"binance_usdm_5sym_{kind}_*.parquet"))
    return pl.read_parquet(file).filter(pl.col("symbol") == "BTCUSDT").sort("time")


def interest_server(real_data: Path, at_ms: int) -> Any:
    """A server that replays BTC from a time on, with both files of open interest."""
    interest = open_interest(sorted((real_data / "open_interest").glob("binance_usdm_5sym_*")), ["BTCUSDT"])
    bars = real_data / "klines_1m" / "usdm" / "BTCUSDT_1m_2025-05-04_2025-06-03.parquet"
    tape = read_tape([bars], cached=False)
    step = (at_ms - tape.start_ms) // MINUTE_MS
    return running(tape=tape, start_step=step, lockstep=True, recv_window_mode="skip", open_interest=interest)


@pytest.mark.real_data
async def test_polled_open_interest_at_each_rows_time(real_data: Path) -> None:
    """A client that asks at the moments of the tape gets every polled row, with the row's own time."""
    polled = interest_rows(real_data, "polled")[:150]
    times = polled["time"].to_list()
    got: dict[int, float] = {}
    async with interest_server(real_data, times[0]) as wire:
        replay = wire.server.replay
        assert replay is not None
        while wire.server.now_ms() < times[-1]:
            for now_ms in replay.points():
                row = (await wire.get("/fapi/v1/openInterest", symbol="BTCUSDT")).body
                if now_ms >= times[0]:
                    assert 0 <= now_ms - row["time"] < 90_000
                    got[row["time"]] = float(row["openInterest"])
    assert {ms: got[ms] for ms in times} == dict(zip(times, polled["sum_open_interest"], strict=True))


@pytest.mark.real_data
async def test_hourly_open_interest_is_the_file(real_data: Path) -> None:
    """openInterestHist downloaded in pages: the file's rows of the newest thirty days, quantity and value."""
    hourly = interest_rows(real_data, "1h")
    async with interest_server(real_data, int(hourly["time"][-1]) + 1) as wire:
        now_ms = wire.server.now_ms()
        start_ms, rows = now_ms - 30 * DAY * MINUTE_MS, []
        while True:
            page = (
                await wire.get(
                    "/futures/data/openInterestHist",
                    symbol="BTCUSDT", period="1h", startTime=start_ms, limit=500,
                )
            ).body  # fmt: skip
            if not page:
                break
            rows += page
            start_ms = page[-1]["timestamp"] + 1
        shown = hourly.filter(pl.col("time") >= now_ms - 30 * DAY * MINUTE_MS)
        assert len(rows) > 500
        assert [row["timestamp"] for row in rows] == shown["time"].to_list()
        for name in ("sum_open_interest", "sum_open_interest_value"):
            key = "sumOpenInterest" if name == "sum_open_interest" else "sumOpenInterestValue"
            assert [float(row[key]) for row in rows] == shown[name].to_list()
