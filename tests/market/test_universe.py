"""The universe: order, scale, instrument records, and what is refused."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest
from tests.market.conftest import bar, minutes, write_parquet

from perpdesk.domain.errors import DataError, InputError, ScaleError
from perpdesk.domain.instrument import Bracket, Instrument
from perpdesk.kernel.records import BRACKETS_MAX
from perpdesk.market.instruments import (
    bundled,
    contract,
    read_brackets,
    read_instruments,
    synthetic_symbols,
)
from perpdesk.market.tape import read_tape
from perpdesk.market.universe import Universe


def instrument(symbol: str, tick: str, step: str, **changes: str) -> Instrument:
    values = {"qty_min": step, "qty_max": "1000", "market_qty_max": "500", "notional_min": "5"} | changes
    return contract(
        symbol,
        price_tick=Decimal(tick),
        lot_step=Decimal(step),
        **{name: Decimal(value) for name, value in values.items()},
    )


def test_records_hold_the_instrument_in_the_data_scale(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "BTCUSDT.parquet", [bar(0, 97_000.05), bar(1, 97_000.0, close=97_001.0)])
    universe = read_tape([path]).universe
    assert universe.price_digits == (2,)
    (record,) = universe.records(maker_ppm=200, taker_ppm=450)
    assert (record.tick, record.unit_e8) == (10, 1_000)
    assert (record.lots_min, record.lots_max, record.market_lots_max) == (1, 1_000_000, 120_000)
    assert record.notional_min_e8 == 100 * 10**8
    assert (record.maker_ppm, record.taker_ppm, record.liquidation_fee_ppm) == (200, 450, 12_500)
    assert record.bracket_count == 6
    assert (record.bracket_cap_e8[0], record.bracket_leverage[0]) == (300_000 * 10**8, 150)
    assert (record.bracket_mmr_ppm[1], record.bracket_cum_e8[1]) == (5_000, 300 * 10**8)
    (own,) = universe.records()
    assert (own.maker_ppm, own.taker_ppm) == (200, 500)


def test_symbols_are_sorted_and_found(tmp_path: Path) -> None:
    for symbol in ("SOLUSDT", "ADAUSDT", "BTCUSDT"):
        write_parquet(tmp_path / f"{symbol}_1m.parquet", minutes(3))
    universe = read_tape([tmp_path]).universe
    assert universe.symbols == ("ADAUSDT", "BTCUSDT", "SOLUSDT")
    assert (universe.index("BTCUSDT"), len(universe)) == (1, 3)
    with pytest.raises(InputError, match="did you mean SOLUSDT"):
        universe.index("SOLUSD")


def test_symbol_without_a_row_takes_scale_and_lot_from_the_data_and_says_so(tmp_path: Path) -> None:
    rows = [bar(0, 0.1234, 0.2, 0.1, 0.15, 12.25), bar(1, 0.15, 0.2, 0.1, 0.15, 3)]
    tape = read_tape([write_parquet(tmp_path / "NEWUSDT.parquet", rows)])
    assert (tape.universe.price_digits, tape.universe.lot_step) == ((4,), (Decimal("0.01"),))
    assert tape.bars.volume_lots[:, 0].tolist() == [1_225, 300]
    (warning,) = tape.warnings
    assert (warning.rule, warning.symbol) == ("instrument", "NEWUSDT")
    assert str(warning) == (
        "NEWUSDT: no instrument row: price unit 0.0001 and lot 0.01 are taken from the data [instrument]"
    )
    (record,) = tape.universe.records()
    assert (record.tick, record.unit_e8, record.lots_min) == (1, 100, 1)
    assert record.lots_max * tape.universe.price_max[0] * record.unit_e8 * 16 < 2**62


def test_lot_from_the_data_never_makes_a_unit_below_one(tmp_path: Path) -> None:
    rows = [bar(0, 0.123456, 0.2, 0.1, 0.15, 1.2345), bar(1, 0.15, 0.2, 0.1, 0.15, 0.005)]
    tape = read_tape([write_parquet(tmp_path / "NEWUSDT.parquet", rows)])
    assert (tape.universe.price_digits, tape.universe.lot_step) == ((6,), (Decimal("0.01"),))
    assert tape.bars.volume_lots[:, 0].tolist() == [123, 1]
    assert tape.universe.records().unit_e8[0] == 1


def test_price_beyond_the_scale_names_symbol_and_price(tmp_path: Path) -> None:
    write_parquet(tmp_path / "AUSDT_1.parquet", [bar(0, 2_000_000.5), bar(1, 2_000_000.5)])
    write_parquet(tmp_path / "AUSDT_2.parquet", [bar(2, 2_000.125), bar(3, 2_000.5)])
    with pytest.raises(ScaleError, match=r"AUSDT: price 2000002\.000 .* 3 decimal places"):
        read_tape([tmp_path])


def test_tick_and_lot_that_cannot_be_counted_in_money(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "AUSDT.parquet", [bar(0, 0.1234567, 0.2, 0.1, 0.15), bar(1, 0.15, 0.2, 0.1, 0.15)]
    )
    with pytest.raises(ScaleError, match="AUSDT"):
        read_tape([path], instruments={"AUSDT": instrument("AUSDT", "0.0001", "0.01")})


def test_largest_quantity_is_cut_where_money_would_not_fit(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(3))
    table = {"AUSDT": instrument("AUSDT", "0.1", "1", qty_max="1000000000")}
    universe = read_tape([path], instruments=table).universe
    (record,) = universe.records()
    largest = int(record.lots_max) * universe.price_max[0] * 16 * int(record.unit_e8)
    assert 2**61 < largest < 2**62
    assert record.market_lots_max == 500


def test_smallest_order_that_would_not_fit_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(3))
    table = {"AUSDT": instrument("AUSDT", "0.1", "1", qty_min="1000000000", qty_max="1000000000")}
    universe = read_tape([path], instruments=table).universe
    with pytest.raises(ScaleError, match="AUSDT"):
        universe.records()


def test_more_brackets_than_fit_drop_the_largest() -> None:
    ladder = tuple(
        Bracket(Decimal(1000 * (i + 1)), 100 - i, Decimal(i + 1) / 1000, Decimal(0)) for i in range(15)
    )
    one = contract(
        "AUSDT",
        price_tick=Decimal("0.1"),
        lot_step=Decimal("1"),
        qty_min=Decimal("1"),
        qty_max=Decimal("10"),
        market_qty_max=Decimal("10"),
        notional_min=Decimal("5"),
        brackets={"AUSDT": ladder},
    )
    (record,) = Universe(("AUSDT",), (one,), (1,), (Decimal("1"),), (1000,)).records()
    assert record.bracket_count == BRACKETS_MAX
    assert record.bracket_cap_e8[BRACKETS_MAX - 1] == BRACKETS_MAX * 1000 * 10**8


def test_bundled_table_fits_the_kernel() -> None:
    table = bundled()
    assert len(table) > 1_050
    assert {"BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "AAAUSDT", "SYN299USDT"} <= set(table)
    digits = {
        symbol: max(0, -one.price_tick.normalize().as_tuple().exponent) for symbol, one in table.items()
    }
    names = tuple(sorted(table))
    universe = Universe(
        names,
        tuple(table[name] for name in names),
        tuple(digits[name] for name in names),
        tuple(table[name].lot_step for name in names),
        tuple(1_000_000 for _ in names),
    )
    records = universe.records()
    assert (records.tick >= 1).all()
    assert (records.unit_e8 >= 1).all()
    assert (records.lots_max >= records.lots_min).all()


def test_synthetic_names() -> None:
    names = synthetic_symbols(28)
    assert (names[0], names[25], names[26], names[27]) == ("AAAUSDT", "ZZZUSDT", "SYN026USDT", "SYN027USDT")
    with pytest.raises(InputError, match="1 to 1000"):
        synthetic_symbols(0)


EXCHANGE_INFO = {
    "symbols": [
        {
            "symbol": "AUSDT",
            "contractType": "PERPETUAL",
            "status": "TRADING",
            "baseAsset": "A",
            "quoteAsset": "USDT",
            "pricePrecision": 3,
            "liquidationFee": "0.015000",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.050", "minPrice": "0.1", "maxPrice": "1000"},
                {"filterType": "LOT_SIZE", "stepSize": "0.5", "minQty": "1.5", "maxQty": "1000"},
                {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.5", "minQty": "0.5", "maxQty": "100"},
                {"filterType": "MIN_NOTIONAL", "notional": "5"},
            ],
        }
    ]
}
BRACKETS = [
    {
        "symbol": "AUSDT",
        "brackets": [
            {"bracket": 1, "initialLeverage": 25, "notionalCap": 5000, "maintMarginRatio": 0.01, "cum": 0.0},
            {"bracket": 2, "initialLeverage": 10, "notionalCap": 9000, "maintMarginRatio": 0.02, "cum": 50.0},
        ],
    }
]


@pytest.mark.parametrize("packed", [True, False])
def test_instruments_and_brackets_from_files(tmp_path: Path, packed: bool) -> None:
    def write(name: str, value: object) -> Path:
        path = tmp_path / (name + (".gz" if packed else ""))
        raw = json.dumps(value).encode()
        path.write_bytes(gzip.compress(raw) if packed else raw)
        return path

    brackets = read_brackets(write("brackets.json", BRACKETS))
    table = read_instruments(write("info.json", EXCHANGE_INFO), brackets)
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(3))
    tape = read_tape([path], instruments=table)
    (record,) = tape.universe.records()
    assert (tape.universe.price_digits, record.tick) == ((2,), 5)
    assert (record.lots_min, record.lots_max, record.market_lots_max) == (3, 2_000, 200)
    assert record.liquidation_fee_ppm == 15_000
    assert record.bracket_leverage[:2].tolist() == [25, 10]
    # 100.1 and 101.1 lie between ticks of 0.05? no: 0.1 is two ticks
    assert tape.notes == ()


def test_broken_instrument_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "info.json"
    path.write_text("{")
    with pytest.raises(DataError, match=r"info\.json: cannot be read as JSON"):
        read_instruments(path)
    path.write_text('{"symbols": [{"symbol": "AUSDT", "filters": []}]}')
    with pytest.raises(InputError, match=r"info\.json.*AUSDT"):
        read_instruments(path)
