"""Real files: the whole USDⓈ-M group, the outage of March 2020, funding with marks, real exchangeInfo."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.market import funding
from perpdesk.market.instruments import read_instruments
from perpdesk.market.tape import read_tape, stream_tape

DATA = Path(os.environ.get("PERPDESK_DATA") or Path(__file__).parents[3] / "shared" / "data")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real data: set PERPDESK_DATA"),
]

USDM_BARS = {
    "ADAUSDT": 43_199,
    "AVAXUSDT": 43_199,
    "BCHUSDT": 43_199,
    "BNBUSDT": 43_199,
    "BTCUSDT": 43_199,
    "ENAUSDT": 43_200,
    "ETCUSDT": 43_199,
    "ETHUSDT": 60_191,
    "LINKUSDT": 43_200,
    "LTCUSDT": 43_199,
    "SOLUSDT": 43_200,
    "SUIUSDT": 43_199,
    "XLMUSDT": 43_200,
    "XRPUSDT": 43_199,
}


def test_all_fourteen_symbols_load_together() -> None:
    folder = DATA / "klines_1m" / "usdm"
    tape = read_tape([folder])
    assert tape.universe.symbols == tuple(USDM_BARS)
    present = (tape.bars.open_ms != ABSENT_MS).sum(axis=0)
    assert dict(zip(tape.universe.symbols, present.tolist(), strict=True)) == USDM_BARS
    assert tape.bar_count == sum(USDM_BARS.values())
    # the files have no holes, every symbol is in the bundled table, one SOL bar lies off the tick
    assert tape.warnings == ()
    assert [str(note) for note in tape.notes] == ["SOLUSDT: 1 bars off the tick"]
    assert tape.universe.records(maker_ppm=200, taker_ppm=500).unit_e8.min() >= 1
    streamed = np.concatenate([bars.copy() for _, bars in stream_tape([folder], 5000)])
    assert np.array_equal(streamed, tape.bars)


def test_the_outage_of_march_2020_is_a_gap() -> None:
    files = sorted((DATA / "klines_1m" / "spot").glob("*crash2020-03*"))
    tape = read_tape(files)
    gaps = [warning for warning in tape.warnings if warning.rule == "gap"]
    assert [(gap.symbol, gap.row) for gap in gaps] == [("BTCUSDT", 4883), ("ETHUSDT", 4883)]
    for gap, file in zip(gaps, files, strict=True):
        assert gap.file == str(file)
        assert ((gap.to_ms or 0) - (gap.from_ms or 0)) // MINUTE_MS == 128
        assert "2020-03-04 09:22Z to 2020-03-04 11:30Z" in str(gap)
    assert tape.bar_count == 2 * 44_512
    assert tape.steps == 44_640


def test_funding_with_marks() -> None:
    universe = read_tape([DATA / "klines_1m" / "usdm"]).universe
    rates = funding.read([DATA / "funding"], universe, marks=[DATA / "mark_price"])
    assert len(rates) > 4_000
    assert set(rates.symbol.tolist()) == set(range(14))
    btc = rates[rates.symbol == universe.index("BTCUSDT")]
    day = btc[btc.ms == 1_746_374_400_000]  # 2025-05-04 16:00
    assert (day.rate_e8.tolist(), day.mark.tolist()) == ([3_745], [954_211])


@pytest.mark.parametrize(
    "name", ["fapi_exchangeInfo_mainnet_2021-07-21.json.gz", "fapi_exchangeInfo_testnet_2026-04-08.json.gz"]
)
def test_real_exchange_info(name: str) -> None:
    table = read_instruments(DATA / "api_json" / name)
    assert len(table) > 100
    tape = read_tape([DATA / "klines_1m" / "usdm"], symbols=["BTCUSDT", "ETHUSDT"], instruments=table)
    records = tape.universe.records()
    assert (records.tick >= 1).all()
    assert not tape.warnings
