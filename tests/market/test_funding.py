"""Funding rates and marks as records."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.market.conftest import MINUTE_MS, START_MS

from perpdesk.domain.errors import DataError, InputError
from perpdesk.market import funding
from perpdesk.market.instruments import bundled
from perpdesk.market.universe import Universe

TABLE = bundled()
SYMBOLS = ("BTCUSDT", "ETHUSDT")
UNIVERSE = Universe(
    SYMBOLS,
    tuple(TABLE[symbol] for symbol in SYMBOLS),
    (1, 2),
    (Decimal("0.001"), Decimal("0.001")),
    (10**6, 10**6),
)
EIGHT_HOURS = 480 * MINUTE_MS


def write(path: Path, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_rates_are_exact_sorted_and_on_the_minute(tmp_path: Path) -> None:
    path = write(
        tmp_path / "funding.parquet",
        symbol=["ETHUSDT", "BTCUSDT", "XRPUSDT", "BTCUSDT", "ETHUSDT"],
        funding_time=[
            START_MS + 16,
            START_MS,
            START_MS,
            START_MS + EIGHT_HOURS + 59_999,
            START_MS + EIGHT_HOURS,
        ],
        funding_rate=[0.0001, -0.00023499, 0.5, 0.00000001, 0.0],
    )
    found = funding.read([path], UNIVERSE)
    later = START_MS + EIGHT_HOURS
    assert found.tolist() == [
        (START_MS, 0, -23_499, 0),
        (START_MS, 1, 10_000, 0),
        (later, 0, 1, 0),
        (later, 1, 0, 0),
    ]
    assert found.rate_e8[0] == -23_499


def test_mark_is_the_open_of_the_mark_kline_in_price_units(tmp_path: Path) -> None:
    rates = write(
        tmp_path / "funding.parquet",
        symbol=["BTCUSDT", "ETHUSDT", "BTCUSDT"],
        funding_time=[START_MS + 3, START_MS, START_MS + EIGHT_HOURS],
        funding_rate=[0.0001, 0.0001, 0.0001],
    )
    marks = write(
        tmp_path / "mark.parquet",
        symbol=["BTCUSDT", "ETHUSDT"],
        open_time=[START_MS, START_MS],
        open=[97_123.46, 1_834.56789],
        close=[1.0, 1.0],
    )
    found = funding.read([rates], UNIVERSE, marks=[marks])
    assert found.mark.tolist() == [971_235, 183_457, 0]


def test_the_files_own_mark_price_comes_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "BTCUSDT.parquet",
        fundingTime=[START_MS],
        fundingRate=[0.0001],
        markPrice=["97000.10000000"],
    )
    assert funding.read([path], UNIVERSE).mark.tolist() == [970_001]


def test_symbol_from_the_file_name_wherever_it_stands(tmp_path: Path) -> None:
    path = write(
        tmp_path / "binance_usdm_ETHUSDT_2025.parquet", funding_time=[START_MS], funding_rate=[0.0001]
    )
    assert funding.read([path], UNIVERSE).symbol.tolist() == [1]


def test_binances_own_monthly_csv(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-fundingRate-2025-05.csv"
    path.write_text(f"calc_time,funding_interval_hours,last_funding_rate\n{START_MS + 4},8,0.00003745\n")
    assert funding.read([path], UNIVERSE).tolist() == [(START_MS, 0, 3_745, 0)]
    path.write_text(f"{START_MS + 4},8,0.00003745\n")
    assert funding.read([path], UNIVERSE).tolist() == [(START_MS, 0, 3_745, 0)]


def test_range_is_half_open(tmp_path: Path) -> None:
    times = [START_MS + i * EIGHT_HOURS for i in range(4)]
    path = write(tmp_path / "BTCUSDT.parquet", funding_time=times, funding_rate=[0.0001] * 4)
    found = funding.read([path], UNIVERSE, start_ms=times[1], end_ms=times[3])
    assert found.ms.tolist() == times[1:3]


@pytest.mark.parametrize("rate", [0.000000001, float("nan"), 1.5, float("inf")])
def test_rate_that_is_not_one_is_named(tmp_path: Path, rate: float) -> None:
    path = write(
        tmp_path / "BTCUSDT.parquet",
        funding_time=[START_MS, START_MS + EIGHT_HOURS],
        funding_rate=[0.0001, rate],
    )
    with pytest.raises(DataError, match=r"BTCUSDT\.parquet, row 2: funding rate"):
        funding.read([path], UNIVERSE)


def test_the_same_minute_twice_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "BTCUSDT_a.parquet", funding_time=[START_MS], funding_rate=[0.0001])
    write(
        tmp_path / "BTCUSDT_b.parquet",
        funding_time=[START_MS + EIGHT_HOURS, START_MS + 5],
        funding_rate=[0.0001] * 2,
    )
    with pytest.raises(DataError, match=r"BTCUSDT_b\.parquet, row 2: BTCUSDT: .* stands twice"):
        funding.read([tmp_path], UNIVERSE)


def test_mark_below_zero_is_named(tmp_path: Path) -> None:
    rates = write(tmp_path / "BTCUSDT.parquet", funding_time=[START_MS], funding_rate=[0.0001])
    (tmp_path / "mark").mkdir()
    marks = write(tmp_path / "mark" / "BTCUSDT.parquet", open_time=[START_MS], open=[0.0])
    with pytest.raises(DataError, match=r"row 1: open .* must be above zero"):
        funding.read([rates], UNIVERSE, marks=[marks])


def test_no_rows_and_no_files(tmp_path: Path) -> None:
    path = write(tmp_path / "XRPUSDT.parquet", funding_time=[START_MS], funding_rate=[0.0001])
    assert isinstance(funding.read([path], UNIVERSE), np.recarray)
    assert len(funding.read([path], UNIVERSE)) == 0
    with pytest.raises(InputError, match="--funding"):
        funding.read([tmp_path / "nowhere"], UNIVERSE)
