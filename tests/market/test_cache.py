"""Converted bars on disk: the same bars, never stale ones, and never a half-written entry."""

from __future__ import annotations

import os
from decimal import Decimal
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from tests.market.conftest import bar, minutes, write_csv, write_parquet, write_zip

from perpdesk.domain.errors import DataError, InputError
from perpdesk.kernel.records import bar_dt
from perpdesk.market import cache, storing
from perpdesk.market.bars import Scale
from perpdesk.market.cache import stored_bars
from perpdesk.market.sources import find
from perpdesk.market.tape import read_tape, stream_tape

LONG_AGO_NS = 1_600_000_000_000_000_000


def test_second_read_maps_the_entry(tmp_path: Path, parses: list[str], cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", [r for i, r in enumerate(minutes(30)) if i != 4])
    first, second = read_tape([path]), read_tape([path])
    assert parses == ["AUSDT.parquet"]
    assert np.array_equal(first.bars, second.bars)
    assert (first.universe, first.warnings, first.notes) == (second.universe, second.warnings, second.notes)
    assert any(cache_folder.rglob("bars.bin"))


def test_one_whole_table_is_used_in_place_and_writing_to_it_stays_private(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(30))
    tape = read_tape([path])
    assert tape.bars.flags.writeable
    assert tape.bars.flags.c_contiguous
    tape.bars.close[3, 0] = 7
    assert read_tape([path]).bars.close[3, 0] != 7


def test_changed_content_is_parsed_again(tmp_path: Path, parses: list[str]) -> None:
    path = tmp_path / "AUSDT-1m-2025-05.csv"
    write_csv(path, [bar(0, 100.0), bar(1, 100.0)])
    before = os.stat(path)
    assert read_tape([path]).bars.open[1, 0] == 1000
    # same length, same modification time: only the content (and the change time) tells
    write_csv(path, [bar(0, 100.0), bar(1, 100.1)])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_size == before.st_size
    assert read_tape([path]).bars.open[1, 0] == 1001
    assert len(parses) == 2


def test_an_old_file_is_not_hashed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(5))
    read_tape([path])
    storing.wait()
    hashed: list[object] = []
    digest = cache.hashlib.file_digest
    monkeypatch.setattr(
        cache.hashlib, "file_digest", lambda file, name: hashed.append(file) or digest(file, name)
    )
    # the memory is younger than two seconds, so it is not trusted
    read_tape([path])
    assert len(hashed) == 1
    # with the memory written much later than the file's last change it is
    (memory,) = (cache.folder() / "seen").iterdir()
    later = os.stat(path).st_ctime_ns + 10_000_000_000
    os.utime(memory, ns=(later, later))
    read_tape([path])
    assert len(hashed) == 1
    # any change of the file ends that
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    read_tape([path])
    assert len(hashed) == 2


def test_another_scale_is_another_entry(tmp_path: Path, parses: list[str]) -> None:
    (source,) = find([write_parquet(tmp_path / "AUSDT.parquet", minutes(5))])
    root = cache.folder()
    for tick in ("0.1", "0.01", "0.1"):
        (stored,) = stored_bars(source, {"AUSDT": Scale(Decimal(tick), Decimal("1"))}, root)
        assert stored.facts.price_digits == len(tick) - 2
        assert int(stored.view().open[0]) == 100 * 10**stored.facts.price_digits
    assert len(parses) == 2


def test_the_same_content_under_another_name_is_another_symbol(tmp_path: Path) -> None:
    a = write_parquet(tmp_path / "AUSDT.parquet", minutes(5))
    b = tmp_path / "BUSDT.parquet"
    b.write_bytes(a.read_bytes())
    assert read_tape([a, b]).universe.symbols == ("AUSDT", "BUSDT")


def test_a_zip_is_cached_too(tmp_path: Path, parses: list[str]) -> None:
    path = write_zip(tmp_path / "AUSDT-1m-2025-05.zip", minutes(20))
    assert np.array_equal(read_tape([path]).bars, read_tape([path]).bars)
    assert len(parses) == 1


def test_a_copy_elsewhere_is_known(tmp_path: Path, parses: list[str]) -> None:
    path = write_parquet(tmp_path / "a" / "AUSDT.parquet", minutes(20))
    want = read_tape([path]).bars
    copy = tmp_path / "b" / "AUSDT.parquet"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert np.array_equal(read_tape([copy]).bars, want)
    assert len(parses) == 1


def test_the_whole_content_counts_not_its_size_and_end(tmp_path: Path, parses: list[str]) -> None:
    tapes = []
    for opened in (100.0, 100.1):
        path = tmp_path / str(opened) / "AUSDT.csv"
        path.parent.mkdir()
        write_csv(path, [bar(0, opened, high=200.0), *minutes(400, first=1)])
        tapes.append(read_tape([path]))
    ends = [one.read_bytes()[-cache._TAIL_BYTES :] for one in sorted(tmp_path.rglob("AUSDT.csv"))]
    assert ends[0] == ends[1]
    assert [int(tape.bars.open[0, 0]) for tape in tapes] == [1000, 1001]
    assert len(parses) == 2


@pytest.mark.parametrize("harm", ["short", "facts", "zeros", "gone"])
def test_a_broken_entry_is_made_again(
    tmp_path: Path, cache_folder: Path, parses: list[str], harm: str
) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(20))
    want = np.array(read_tape([path]).bars)
    storing.wait()
    (bars,) = cache_folder.rglob("bars.bin")
    if harm == "short":
        bars.write_bytes(bars.read_bytes()[:-8])
    elif harm == "facts":
        (bars.parent / "facts.json").write_text("{")
    elif harm == "zeros":
        bars.write_bytes(bytes(20 * bar_dt.itemsize))
    else:
        bars.unlink()
    assert np.array_equal(read_tape([path]).bars, want)
    assert np.array_equal(read_tape([path]).bars, want)
    assert len(parses) == 2


def test_a_refused_file_leaves_nothing_behind(tmp_path: Path, cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", [*minutes(5), bar(5, low=-1.0)])
    with pytest.raises(DataError):
        read_tape([path])
    storing.wait()
    assert not list(cache_folder.rglob("bars.bin"))
    assert not list(cache_folder.rglob("new-*"))


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(5))
    convert = cache.convert
    longer = count(6)

    def meddling(source, scales):  # type: ignore[no-untyped-def]  # passes on what it gets
        yield from convert(source, scales)
        write_parquet(path, minutes(next(longer)))

    monkeypatch.setattr(cache, "convert", meddling)
    with pytest.raises(DataError, match="changed while it was read"):
        read_tape([path])
    with pytest.raises(DataError, match="changed while it was read"):
        stream_tape([path])
    storing.wait()
    assert not list(cache_folder.rglob("bars.bin"))


def test_without_cache_nothing_is_written(tmp_path: Path, cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(20))
    want = read_tape([path], cached=False)
    stream = stream_tape([path], 7, cached=False)
    assert np.array_equal(np.concatenate([bars.copy() for _, bars in stream]), want.bars)
    assert not cache_folder.exists()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "occupied"
    file.write_text("")
    monkeypatch.setenv("PERPDESK_CACHE_DIR", str(file))
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(20))
    tape = read_tape([path])
    assert tape.bar_count == 20
    assert [warning.rule for warning in tape.warnings] == ["cache", "instrument"]
    with pytest.raises(InputError, match="PERPDESK_CACHE_DIR"):
        stream_tape([path])
