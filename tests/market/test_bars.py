"""One table of bars: exact integers, and every rule with the smallest file that breaks it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.market.conftest import (
    MINUTE_MS,
    START_MS,
    Row,
    bar,
    csv_text,
    minutes,
    write_csv,
    write_parquet,
    write_zip,
)

from perpdesk.domain.errors import DataError
from perpdesk.market.bars import BarsFacts, Gap, Records, Scale, convert
from perpdesk.market.sources import find

NAN, INF = float("nan"), float("inf")


def read_one(path: Path, scale: Scale | None = None) -> tuple[BarsFacts, Records]:
    (source,) = find([path])
    (only,) = convert(source, {} if scale is None else {source.symbol: scale})
    return only


def test_prices_and_volumes_become_exact_integers(tmp_path: Path) -> None:
    rows = [bar(0, 0.00012345, 0.0002, 0.0001, 0.00019), bar(1, 0.00019, 0.0002, 0.00018, 0.0002, 0.0)]
    facts, bars = read_one(write_parquet(tmp_path / "AUSDT.parquet", rows))
    assert (facts.symbol, facts.price_digits, facts.lot_step) == ("AUSDT", 8, Decimal("0.1"))
    assert bars.tolist() == [
        (START_MS, 12_345, 20_000, 10_000, 19_000, 15),
        (START_MS + MINUTE_MS, 19_000, 20_000, 18_000, 20_000, 0),
    ]
    assert (facts.rows, facts.first_ms, facts.last_ms) == (2, START_MS, START_MS + MINUTE_MS)
    assert (facts.price_max, facts.off_tick, facts.off_lot) == (20_000, 0, 0)


def test_scale_follows_the_tick_and_off_tick_bars_are_counted(tmp_path: Path) -> None:
    rows = [bar(0, 100.0), bar(1, 100.05, close=100.1), bar(2, 100.1), bar(3, 100.2, low=0.1)]
    path = write_parquet(tmp_path / "AUSDT.parquet", rows)
    facts, bars = read_one(path, Scale(Decimal("0.10"), Decimal("0.5")))
    assert (facts.price_digits, facts.off_tick) == (2, 1)
    assert bars.open.tolist() == [10_000, 10_005, 10_010, 10_020]
    assert bars.low[3] == 10
    facts, _ = read_one(path, Scale(Decimal("0.5"), Decimal("0.5")))
    assert (facts.price_digits, facts.off_tick) == (2, 3)


def test_tick_finer_than_the_bars_sets_the_scale(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(3))
    facts, bars = read_one(path, Scale(Decimal("0.001"), Decimal("1")))
    assert (facts.price_digits, int(bars.open[0])) == (3, 100_000)


def test_scale_that_becomes_finer_on_the_way_rescales_what_came_before(tmp_path: Path) -> None:
    count = 40_000  # several blocks
    rows = [bar(i, 100.0, 102.0, 99.0, 101.0, 3.0) for i in range(count)]
    rows[30_000] = bar(30_000, 100.25, 102.0, 99.0, 101.0, 3.25)
    facts, bars = read_one(write_csv(tmp_path / "AUSDT-1m-2025-05.csv", rows))
    assert (facts.price_digits, facts.lot_step, facts.price_max) == (2, Decimal("0.01"), 10_200)
    assert set(np.unique(bars.open).tolist()) == {10_000, 10_025}
    assert bars.volume_lots[29_999:30_002].tolist() == [300, 325, 300]
    assert np.array_equal(bars.open_ms, START_MS + np.arange(count) * MINUTE_MS)


def test_volume_is_counted_in_whole_lots(tmp_path: Path) -> None:
    rows = [bar(0, volume=0.3), bar(1, volume=0.26), bar(2, volume=0.0), bar(3, volume=123_456.7)]
    facts, bars = read_one(
        write_parquet(tmp_path / "AUSDT.parquet", rows), Scale(Decimal("0.1"), Decimal("0.1"))
    )
    assert bars.volume_lots.tolist() == [3, 3, 0, 1_234_567]
    assert (facts.lot_step, facts.off_lot) == (Decimal("0.1"), 1)
    facts, bars = read_one(
        write_parquet(tmp_path / "AUSDT.parquet", rows), Scale(Decimal("0.1"), Decimal("5"))
    )
    assert bars.volume_lots.tolist() == [0, 0, 0, 24_691]


def test_volume_with_float_noise_without_instrument_still_reads(tmp_path: Path) -> None:
    facts, bars = read_one(
        write_parquet(tmp_path / "AUSDT.parquet", [bar(0, volume=1 / 3), bar(1, volume=2)])
    )
    assert facts.lot_step == Decimal("0.00000001")
    assert bars.volume_lots.tolist() == [33_333_333, 200_000_000]


def break_row(**fields: float) -> Callable[[list[Row]], list[Row]]:
    names = ("open_time", "open", "high", "low", "close", "volume")

    def change(rows: list[Row]) -> list[Row]:
        values = list(rows[4])
        for name, value in fields.items():
            values[names.index(name)] = value
        rows[4] = tuple(values)  # type: ignore[assignment]  # the tests write wrong numbers on purpose
        return rows

    return change


RULES: list[tuple[str, int, Callable[[list[Row]], list[Row]]]] = [
    ("high", 5, break_row(high=100.45, close=100.5)),
    ("high", 5, break_row(open=150.0)),
    ("low", 5, break_row(low=100.45)),
    ("positive", 5, break_row(low=0.0)),
    ("positive", 5, break_row(low=-1.0)),
    ("finite", 5, break_row(close=NAN)),
    ("finite", 5, break_row(open=NAN)),
    ("finite", 5, break_row(low=NAN)),
    ("finite", 5, break_row(high=INF)),
    ("finite", 5, break_row(volume=NAN)),
    ("finite", 5, break_row(volume=INF)),
    ("volume", 5, break_row(volume=-0.5)),
    ("volume", 5, break_row(volume=1e17)),
    ("price_scale", 5, break_row(low=98.123456789)),
    ("price_scale", 5, break_row(high=1e9)),
    ("duplicate", 5, break_row(open_time=START_MS + 3 * MINUTE_MS)),
    ("time_order", 5, break_row(open_time=START_MS + 1 * MINUTE_MS)),
    ("minute", 5, break_row(open_time=START_MS + 4 * MINUTE_MS + 1)),
    ("minute", 2, lambda rows: [(START_MS + i * 1000, *row[1:]) for i, row in enumerate(rows)]),
    ("minute", 1, lambda rows: [(row[0] + 1, *row[1:]) for row in rows]),
    ("interval", 1, lambda rows: [(START_MS + i * 5 * MINUTE_MS, *row[1:]) for i, row in enumerate(rows)]),
    ("time", 5, break_row(open_time=START_MS // 1000)),
    ("time", 5, break_row(open_time=START_MS * 1000)),
    ("time", 1, lambda rows: [(row[0] // 1000, *row[1:]) for row in rows]),
]


@pytest.mark.parametrize(("rule", "row", "change"), RULES)
def test_a_row_that_breaks_a_rule_is_named(
    tmp_path: Path, rule: str, row: int, change: Callable[[list[Row]], list[Row]]
) -> None:
    path = write_parquet(tmp_path / "AUSDT_1m.parquet", change(minutes(8)))
    with pytest.raises(DataError) as caught:
        read_one(path)
    assert (caught.value.file, caught.value.row, caught.value.rule) == (str(path), row, rule)


# Without the rules that every row breaks, and those on the unit of time, which is judged per batch.
@pytest.mark.parametrize(
    ("rule", "row", "change"), [one for one in RULES if one[0] != "time" and one[1] == 5]
)
def test_the_first_bad_row_is_found_deep_in_a_file(
    tmp_path: Path, rule: str, row: int, change: Callable[[list[Row]], list[Row]]
) -> None:
    before = 16_384 * 2 + 7
    rows = minutes(before) + [(r[0] + before * MINUTE_MS, *r[1:]) for r in change(minutes(8))]
    with pytest.raises(DataError) as caught:
        read_one(write_parquet(tmp_path / "AUSDT_1m.parquet", rows))
    assert (caught.value.row, caught.value.rule) == (before + 5, rule)


def test_interval_is_said_in_minutes(tmp_path: Path) -> None:
    rows = [(START_MS + i * 240 * MINUTE_MS, *row[1:]) for i, row in enumerate(minutes(3))]
    with pytest.raises(DataError, match="the interval is 240 minutes: only 1m bars can be read"):
        read_one(write_parquet(tmp_path / "AUSDT_4h.parquet", rows))


def test_gaps_are_kept_with_their_row(tmp_path: Path) -> None:
    rows = [row for i, row in enumerate(minutes(12)) if i not in (2, 3, 7)]
    facts, bars = read_one(write_parquet(tmp_path / "AUSDT.parquet", rows))
    assert facts.gaps == (
        Gap(3, START_MS + 2 * MINUTE_MS, START_MS + 4 * MINUTE_MS),
        Gap(6, START_MS + 7 * MINUTE_MS, START_MS + 8 * MINUTE_MS),
    )
    assert len(bars) == 9


@pytest.mark.parametrize("missing", ["open_time", "high", "volume"])
def test_missing_column_is_named(tmp_path: Path, missing: str) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(3))
    pq.write_table(pq.read_table(path).drop_columns([missing]), path)
    with pytest.raises(DataError, match=f"column {missing} is missing") as caught:
        read_one(path)
    assert caught.value.rule == "columns"


def test_truncated_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(500))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"AUSDT\.parquet: cannot be read") as caught:
        read_one(path)
    assert caught.value.rule == "readable"


def test_parquet_with_broken_pages(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(500))
    raw = bytearray(path.read_bytes())
    raw[4:400] = bytes(396)
    path.write_bytes(raw)
    with pytest.raises(DataError):
        read_one(path)


def test_empty_cell_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(5))
    table = pq.read_table(path)
    volume = pa.array([1.0, 1.0, None, 1.0, 1.0])
    pq.write_table(table.set_column(table.schema.get_field_index("volume"), "volume", volume), path)
    with pytest.raises(DataError, match="volume is empty") as caught:
        read_one(path)
    assert caught.value.row == 3


def test_other_column_types_read_the_same(tmp_path: Path) -> None:
    rows = minutes(6)
    _, want = read_one(write_parquet(tmp_path / "AUSDT.parquet", rows))
    path = tmp_path / "BUSDT.parquet"
    for unit in ("ms", "us", "ns"):
        times = pa.array([row[0] for row in rows], pa.int64()).cast(pa.timestamp("ms", "UTC"))
        texts = {
            name: [repr(row[i]) for row in rows]
            for i, name in enumerate(("open", "high", "low", "close", "volume"), 1)
        }
        pq.write_table(pa.table({"open_time": times.cast(pa.timestamp(unit, "UTC")), **texts}), path)
        _, bars = read_one(path)
        assert np.array_equal(bars, want)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("microseconds", [True, False])
def test_csv_zip_and_parquet_give_the_same_bars(tmp_path: Path, header: bool, microseconds: bool) -> None:
    rows = [row for i, row in enumerate(minutes(40)) if i != 5]
    facts, want = read_one(write_parquet(tmp_path / "AUSDT_1m.parquet", rows))
    how = {"header": header, "microseconds": microseconds}
    packed = tmp_path / "AUSDT.csv.gz"
    packed.write_bytes(gzip.compress(csv_text(rows, **how).encode()))
    for path in (
        write_csv(tmp_path / "AUSDT-1m-2025-05.csv", rows, **how),
        write_zip(tmp_path / "AUSDT-1m-2025-06.zip", rows, **how),
        packed,
    ):
        other, bars = read_one(path)
        assert np.array_equal(bars, want)
        assert other == facts


@pytest.mark.parametrize(
    ("text", "row", "problem"),
    [
        ("", None, "is empty"),
        ("open_time,open,high,low,close\n", None, "column volume is missing"),
        ("{good}{time},1,2,0.5,abc,1,0,0,0,0,0,0\n", 4, "abc"),
        ("{good}{time},1,2,0.5\n", 4, "columns"),
        ("{good}{time},1,2,0.5,,1,0,0,0,0,0,0\n", 4, "close is empty"),
        ("1,2,3,4,5,6,7,8,9,10,11,12,13\n", None, "has no header row"),
    ],
)
def test_broken_csv(tmp_path: Path, text: str, row: int | None, problem: str) -> None:
    path = tmp_path / "AUSDT-1m-2025-05.csv"
    path.write_text(text.format(good=csv_text(minutes(3)), time=START_MS + 3 * MINUTE_MS))
    with pytest.raises(DataError, match=problem) as caught:
        read_one(path)
    assert caught.value.row == row


def test_truncated_zip_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "AUSDT-1m-2025-05.zip", minutes(2000))
    raw = bytearray(path.read_bytes())
    raw[3000:3040] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"2025-05\.zip.*cannot be read"):
        read_one(path)


def test_one_file_of_several_symbols(tmp_path: Path) -> None:
    a, b = minutes(5), [row for i, row in enumerate(minutes(6, first=1)) if i != 3]
    mixed = sorted([(row, "AUSDT") for row in a] + [(row, "BUSDT") for row in b])
    path = write_parquet(
        tmp_path / "universe.parquet", [row for row, _ in mixed], symbol=[name for _, name in mixed]
    )
    (source,) = find([path])
    found = {facts.symbol: (facts, bars) for facts, bars in convert(source, {})}
    _, want_a = read_one(write_parquet(tmp_path / "AUSDT.parquet", a))
    _, want_b = read_one(write_parquet(tmp_path / "BUSDT.parquet", b))
    assert np.array_equal(found["AUSDT"][1], want_a)
    assert np.array_equal(found["BUSDT"][1], want_b)
    gap = found["BUSDT"][0].gaps[0]
    assert mixed[gap.row - 1] == (b[3], "BUSDT")


def test_bad_row_among_several_symbols_is_named(tmp_path: Path) -> None:
    rows = [*minutes(3), *minutes(3), bar(3, low=-1.0)]
    names = ["AUSDT"] * 3 + ["BUSDT"] * 4
    with pytest.raises(DataError, match="BUSDT: low must be above zero") as caught:
        read_one(write_parquet(tmp_path / "all.parquet", rows, symbol=names))
    assert caught.value.row == 7


@st.composite
def walks(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int, int, int, int]]]:
    price_digits, lot_digits = draw(st.integers(0, 8)), draw(st.integers(0, 5))
    price = st.integers(1, 99_999_999)
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        low, *middle, high = sorted(draw(st.lists(price, min_size=4, max_size=4)))
        opened, close = draw(st.permutations(middle))
        rows.append((opened, high, low, close, draw(st.integers(0, 10**12))))
    return price_digits, lot_digits, rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walks())
def test_any_decimals_survive_the_way_through_floats(
    tmp_path: Path, walk: tuple[int, int, list[tuple[int, int, int, int, int]]]
) -> None:
    price_digits, lot_digits, rows = walk
    table = [
        (
            START_MS + i * MINUTE_MS,
            *(value / 10.0**price_digits for value in row[:4]),
            row[4] / 10.0**lot_digits,
        )
        for i, row in enumerate(rows)
    ]
    path = write_parquet(tmp_path / "AUSDT.parquet", table)  # type: ignore[arg-type]  # rows of that shape
    scale = Scale(Decimal(1).scaleb(-price_digits), Decimal(1).scaleb(-lot_digits))
    facts, bars = read_one(path, scale)
    assert (facts.price_digits, facts.off_tick, facts.off_lot) == (price_digits, 0, 0)
    assert [tuple(record)[1:] for record in bars.tolist()] == rows
    facts, bars = read_one(path)
    factor = 10 ** (price_digits - facts.price_digits)
    assert bars.open.tolist() == [row[0] // factor for row in rows]
    assert facts.price_digits <= price_digits
