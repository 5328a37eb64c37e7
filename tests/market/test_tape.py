"""The tape: many files side by side, whole or in chunks."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from tests.market.conftest import (
    MINUTE_MS,
    START_MS,
    Row,
    bar,
    minutes,
    write_csv,
    write_parquet,
    write_zip,
)

from perpdesk.domain.errors import DataError, InputError
from perpdesk.kernel.records import ABSENT_MS
from perpdesk.market.instruments import contract
from perpdesk.market.tape import Tape, read_tape, stream_tape


def chunks(tape: Tape, folder: Path, steps: int, **options: object) -> None:
    """The stream must say and give the same as the tape."""
    stream = stream_tape([folder], steps, **options)  # type: ignore[arg-type]  # passed on
    got = []
    for start_ms, bars in stream:
        assert start_ms == tape.start_ms + sum(map(len, got)) * MINUTE_MS
        assert len(bars) <= steps
        got.append(bars.copy())
    assert np.array_equal(np.concatenate(got), tape.bars)
    assert (stream.universe, stream.start_ms, stream.steps) == (tape.universe, tape.start_ms, tape.steps)
    assert (stream.bar_count, stream.end_ms) == (tape.bar_count, tape.end_ms)
    assert (stream.warnings, stream.notes) == (tape.warnings, tape.notes)


def test_symbols_stand_side_by_side_minute_by_minute(tmp_path: Path) -> None:
    write_parquet(tmp_path / "BUSDT.parquet", minutes(4, first=2))
    write_parquet(tmp_path / "AUSDT.parquet", minutes(3))
    tape = read_tape([tmp_path])
    assert tape.universe.symbols == ("AUSDT", "BUSDT")
    assert (tape.start_ms, tape.steps, tape.bar_count) == (START_MS, 6, 7)
    assert tape.end_ms == START_MS + 6 * MINUTE_MS
    times = [START_MS + i * MINUTE_MS for i in range(6)]
    assert tape.bars.open_ms[:, 0].tolist() == times[:3] + [ABSENT_MS] * 3
    assert tape.bars.open_ms[:, 1].tolist() == [ABSENT_MS] * 2 + times[2:]
    absent = tape.bars[0, 1]
    assert (absent.open, absent.high, absent.low, absent.close, absent.volume_lots) == (0, 0, 0, 0, 0)
    assert not [warning for warning in tape.warnings if warning.rule == "gap"]


def test_same_tape_from_parquet_csv_and_zip(tmp_path: Path) -> None:
    tapes = []
    for kind, write in (("p", write_parquet), ("c", write_csv), ("z", write_zip)):
        folder = tmp_path / kind
        folder.mkdir()
        suffix = {"p": "parquet", "c": "csv", "z": "zip"}[kind]
        write(folder / f"AUSDT-1m-2025-05.{suffix}", minutes(30))
        write(folder / f"AUSDT-1m-2025-06.{suffix}", minutes(20, first=35))
        write(folder / f"BUSDT-1m-2025-05.{suffix}", minutes(10, first=3))
        tapes.append(read_tape([folder]))
    for tape in tapes[1:]:
        assert np.array_equal(tape.bars, tapes[0].bars)
        assert tape.universe == tapes[0].universe
    assert tapes[0].bar_count == 60


def test_a_hole_between_two_files_is_a_gap_at_the_row_that_resumes(tmp_path: Path) -> None:
    write_csv(tmp_path / "AUSDT-1m-2025-05.csv", minutes(3))
    later = write_csv(tmp_path / "AUSDT-1m-2025-06.csv", minutes(3, first=5))
    gaps = [warning for warning in read_tape([tmp_path]).warnings if warning.rule == "gap"]
    (gap,) = gaps
    assert (gap.file, gap.row, gap.symbol) == (str(later), 1, "AUSDT")
    assert (gap.from_ms, gap.to_ms) == (START_MS + 3 * MINUTE_MS, START_MS + 5 * MINUTE_MS)
    assert str(gap) == (
        f"{later}, row 1, AUSDT: 2 minutes missing before this row, "
        "2025-05-04 15:33Z to 2025-05-04 15:35Z [gap]"
    )


def test_files_that_mesh_are_one_symbol_without_gaps(tmp_path: Path) -> None:
    rows = minutes(20)
    odd = write_parquet(tmp_path / "AUSDT_odd.parquet", [rows[i] for i in range(20) if i % 5 in (1, 2)])
    rest = [rows[i] for i in range(20) if i % 5 not in (1, 2) and i != 10]
    write_parquet(tmp_path / "AUSDT_rest.parquet", rest)
    tape = read_tape([tmp_path])
    whole = tmp_path / "whole" / "AUSDT.parquet"
    want = read_tape([write_parquet(whole, [row for i, row in enumerate(rows) if i != 10])])
    assert np.array_equal(tape.bars, want.bars)
    (gap,) = [warning for warning in tape.warnings if warning.rule == "gap"]
    assert (gap.from_ms, gap.to_ms) == (START_MS + 10 * MINUTE_MS, START_MS + 11 * MINUTE_MS)
    assert (gap.file, gap.row) == (str(odd), 5)


@pytest.mark.parametrize("first", [0, 2, 4])
def test_a_minute_that_two_files_hold_is_an_error(tmp_path: Path, first: int) -> None:
    write_parquet(tmp_path / "AUSDT_a.parquet", minutes(5))
    write_parquet(tmp_path / "AUSDT_b.parquet", minutes(5, first=first))
    with pytest.raises(DataError) as caught:
        read_tape([tmp_path])
    error = caught.value
    assert (error.file, error.row, error.rule) == (str(tmp_path / "AUSDT_b.parquet"), 1, "duplicate")
    assert "AUSDT_a.parquet" in error.problem
    with pytest.raises(DataError, match="duplicate"):
        stream_tape([tmp_path])


def test_duplicate_deep_in_a_nested_file_is_found(tmp_path: Path) -> None:
    write_parquet(tmp_path / "AUSDT_a.parquet", [r for i, r in enumerate(minutes(50)) if i not in (20, 22)])
    write_parquet(tmp_path / "AUSDT_b.parquet", [bar(20), bar(21)])
    write_parquet(tmp_path / "AUSDT_c.parquet", [bar(22)])
    with pytest.raises(DataError) as caught:
        read_tape([tmp_path])
    assert (caught.value.file, caught.value.row) == (str(tmp_path / "AUSDT_b.parquet"), 2)


def test_files_of_different_scale_come_to_one(tmp_path: Path) -> None:
    write_parquet(tmp_path / "AUSDT_a.parquet", [bar(0, 100.0, volume=2.0), bar(1, 100.0, volume=3.0)])
    write_parquet(tmp_path / "AUSDT_b.parquet", [bar(2, 100.25, volume=0.125), bar(3, 100.0, volume=1.0)])
    tape = read_tape([tmp_path])
    assert tape.universe.price_digits == (2,)
    assert tape.universe.lot_step == (Decimal("0.001"),)
    assert tape.bars.open[:, 0].tolist() == [10_000, 10_000, 10_025, 10_000]
    assert tape.bars.volume_lots[:, 0].tolist() == [2_000, 3_000, 125, 1_000]
    chunks(tape, tmp_path, 3)
    # what is kept in memory is not rescaled twice
    again = stream_tape([tmp_path], 2, cached=False)
    for _ in range(2):
        assert np.array_equal(np.concatenate([bars.copy() for _, bars in again]), tape.bars)


def test_range_is_half_open_and_on_minutes(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(20))
    whole = read_tape([path])
    tape = read_tape([path], start_ms=START_MS + 3 * MINUTE_MS, end_ms=START_MS + 7 * MINUTE_MS)
    assert (tape.start_ms, tape.steps) == (START_MS + 3 * MINUTE_MS, 4)
    assert np.array_equal(tape.bars, whole.bars[3:7])
    tape = read_tape([path], start_ms=START_MS + 2 * MINUTE_MS + 1, end_ms=START_MS + 6 * MINUTE_MS + 1)
    assert np.array_equal(tape.bars, whole.bars[3:7])
    assert read_tape([path], start_ms=0, end_ms=START_MS * 2).steps == 20
    chunks(
        read_tape([path], start_ms=START_MS + 5 * MINUTE_MS),
        path,
        4,
        start_ms=START_MS + 5 * MINUTE_MS,
    )


def test_range_without_bars_is_an_error(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "AUSDT.parquet", [r for i, r in enumerate(minutes(30)) if not 5 <= i < 20]
    )
    with pytest.raises(InputError, match="data is from 2025-05-04 15:30Z to 2025-05-04 16:00Z"):
        read_tape([path], start_ms=START_MS + 30 * MINUTE_MS)
    with pytest.raises(InputError, match="inside a gap"):
        read_tape([path], start_ms=START_MS + 6 * MINUTE_MS, end_ms=START_MS + 9 * MINUTE_MS)


def test_gap_warnings_outside_the_range_are_left_out(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "AUSDT.parquet", [r for i, r in enumerate(minutes(30)) if i not in (5, 20)]
    )
    tape = read_tape([path], start_ms=START_MS + 10 * MINUTE_MS)
    assert [warning.from_ms for warning in tape.warnings if warning.rule == "gap"] == [
        START_MS + 20 * MINUTE_MS
    ]


def test_chosen_symbols_only(tmp_path: Path) -> None:
    write_parquet(tmp_path / "AUSDT.parquet", minutes(4))
    write_parquet(tmp_path / "BUSDT.parquet", minutes(4))
    (tmp_path / "CUSDT.parquet").write_bytes(b"broken, but nobody asks for it")
    write_parquet(tmp_path / "mixed.parquet", minutes(3), symbol=["DUSDT"] * 3)
    with pytest.raises(DataError, match=r"CUSDT\.parquet"):
        read_tape([tmp_path])
    (tmp_path / "CUSDT.parquet").unlink()
    assert read_tape([tmp_path], symbols=["DUSDT", "BUSDT"]).universe.symbols == ("BUSDT", "DUSDT")
    with pytest.raises(InputError, match=r"--symbols: unknown symbol 'AUSD'.*did you mean AUSDT"):
        read_tape([tmp_path], symbols=["BUSDT", "AUSD"])


def test_empty_table_is_an_empty_universe(tmp_path: Path) -> None:
    write_csv(tmp_path / "AUSDT.csv", [])
    with pytest.raises(InputError, match="universe is empty"):
        read_tape([tmp_path])


def test_notes_count_off_tick_bars_per_symbol(tmp_path: Path) -> None:
    write_parquet(tmp_path / "AUSDT_1.parquet", [bar(0, 100.0), bar(1, 100.25)])
    write_parquet(tmp_path / "AUSDT_2.parquet", [bar(2, 100.0, volume=1.25), bar(3, 100.75)])
    table = {
        "AUSDT": contract(
            "AUSDT",
            price_tick=Decimal("0.5"),
            lot_step=Decimal("0.5"),
            qty_min=Decimal("0.5"),
            qty_max=Decimal("100"),
            market_qty_max=Decimal("100"),
            notional_min=Decimal("5"),
        )
    }
    tape = read_tape([tmp_path], instruments=table)
    assert [str(note) for note in tape.notes] == [
        "AUSDT: 2 bars off the tick",
        "AUSDT: 1 bars with a volume between lots",
    ]


@pytest.mark.parametrize("steps", [1, 7, 64, 1000])
def test_stream_gives_the_same_as_the_whole(tmp_path: Path, steps: int) -> None:
    random = np.random.default_rng(11)

    def holes(count: int, first: int) -> list[Row]:
        present = random.random(count) > 0.1
        return [row for row, is_there in zip(minutes(count, first), present, strict=True) if is_there]

    write_parquet(tmp_path / "AUSDT_1.parquet", holes(90, 0))
    write_parquet(tmp_path / "AUSDT_2.parquet", holes(80, 100))
    write_csv(tmp_path / "BUSDT-1m-2025-05.csv", holes(150, 37))
    write_parquet(tmp_path / "CUSDT.parquet", minutes(200))
    tape = read_tape([tmp_path])
    assert tape.steps == 200
    present = tape.bars.open_ms != ABSENT_MS
    assert int(present.sum()) == tape.bar_count
    expected = tape.start_ms + np.arange(200)[:, None] * MINUTE_MS
    assert (tape.bars.open_ms == np.where(present, expected, ABSENT_MS)).all()
    chunks(tape, tmp_path, steps)
    chunks(tape, tmp_path, steps, cached=False)


def test_stream_can_be_read_again_and_reuses_its_buffer(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(10))
    stream = stream_tape([path], 4)
    first = [bars.copy() for _, bars in stream]
    assert [len(bars) for bars in first] == [4, 4, 2]
    second = list(stream)
    assert np.shares_memory(second[0][1], second[1][1])
    assert np.array_equal(np.concatenate([bars.copy() for _, bars in stream]), np.concatenate(first))


def test_chunk_of_no_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps_per_chunk: must be at least 1"):
        stream_tape([tmp_path], 0)
