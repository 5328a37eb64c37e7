"""Backtest = paper on real market data, and the runs that are shown with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from tests.app.markets import configured

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.app import Market, backtest, paper
from perpdesk.cli.options import MarketOptions, load_market
from perpdesk.parity import compare

pytestmark = pytest.mark.real_data


def usdm(folder: Path, from_text: str | None = None, to_text: str | None = None) -> Market:
    """The 14 USDⓈ-M symbols with their funding rates and marks; rows before ``from_text`` warm up."""
    return load_market(
        MarketOptions(
            [folder / "klines_1m" / "usdm"],
            funding=[folder / "funding" / "binance_usdm_20sym_2025-03_2025-06.parquet"],
            mark=[folder / "mark_price" / "binance_usdm_20sym_8h_mark_klines_2025-03_2025-06.parquet"],
            from_text=from_text,
            to_text=to_text,
        )
    )


def crash(folder: Path, from_text: str, to_text: str) -> Market:
    """BTC and ETH spot in March 2020, with a real outage of 128 minutes."""
    files = sorted((folder / "klines_1m" / "spot").glob("*crash2020-03*"))
    return load_market(MarketOptions(files, from_text=from_text, to_text=to_text))


def test_sma_cross_on_five_days_of_fourteen_symbols(real_data: Path) -> None:
    market = usdm(real_data, "2025-05-20", "2025-05-25")
    receipt = compare(configured("sma_cross.positions_max=14"), ["sma_cross"], market)
    assert receipt.first_difference is None
    assert receipt.fills >= 1_000
    assert receipt.symbols == 14
    assert receipt.bars == 14 * 5 * 1440


def test_sma_cross_in_a_crash_with_stops_that_are_jumped_over(real_data: Path) -> None:
    market = crash(real_data, "2020-03-08", "2020-03-14")
    receipt = compare(configured("sma_cross.stop=0.004"), ["sma_cross"], market)
    assert receipt.first_difference is None
    assert receipt.gap_stops >= 1
    assert receipt.fills > 100


def test_sma_cross_through_an_outage(real_data: Path) -> None:
    market = crash(real_data, "2020-03-04", "2020-03-05")
    assert ((market.bars["open_ms"] < 0).sum(axis=0) == 128).all()
    receipt = compare(configured(), ["sma_cross"], market, every_point=True)
    assert receipt.first_difference is None
    assert receipt.fills > 10


def test_score_v2_on_four_days(real_data: Path) -> None:
    receipt = compare(configured(), ["score_v2"], usdm(real_data, "2025-05-24", "2025-05-28"))
    assert receipt.first_difference is None
    assert receipt.fills > 0


def test_score_v2_with_every_fill_of_a_month(real_data: Path) -> None:
    market = usdm(real_data)
    receipt = compare(configured(), ["score_v2"], market)
    assert receipt.first_difference is None
    assert receipt.fills > 0
    result, _, _ = backtest(configured(), ["score_v2"], market)
    assert result.fills == receipt.fills
    assert result.funding_e8 != 0


def test_a_planted_fee_is_found_at_the_first_fill(real_data: Path) -> None:
    market = usdm(real_data, "2025-05-24", "2025-05-26")
    for strategy in ("sma_cross", "score_v2"):
        receipt = compare(configured(), [strategy], market, venue_taker_ppm=499)
        assert not receipt.identical
        difference = receipt.first_difference
        assert difference is not None
        assert (difference.where, difference.index, difference.field) == ("fill", 0, "fee_e8")
        assert int(difference.engine) < int(difference.replay)


async def test_paper_on_four_days_keeps_positions_that_a_person_can_query(
    real_data: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'desk.db'}"
    upgrade(url)
    market = usdm(real_data, "2025-05-24", "2025-05-28")
    result = await paper(configured(), ["score_v2"], market, database=url)
    connection = sqlite3.connect(tmp_path / "desk.db")
    rows = connection.execute(
        "SELECT symbol, status, close_reason, open_time FROM futures_positions WHERE signal_version = 'v2'"
    ).fetchall()
    connection.close()
    assert len(rows) == result.versions[0].round_trips + result.open_positions
    assert len(rows) > 0
    for _, status, reason, opened in rows:
        assert "2025-05-24" <= opened < "2025-05-28"
        assert (reason is None) == (status in ("building", "open", "closing"))
