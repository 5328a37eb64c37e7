"""Which files are data, and which symbol a file name means."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from perpdesk.domain.errors import DataError, InputError
from perpdesk.market.sources import find, symbol_of


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT_1m_2025-05-04_2025-06-03.parquet", "BTCUSDT"),
        ("BTCUSDT-1m-2025-05.zip", "BTCUSDT"),
        ("1000PEPEUSDT-1m-2025-05.csv", "1000PEPEUSDT"),
        ("ethusdt.parquet", "ETHUSDT"),
        ("BTCUSDT_250627_1m.parquet", "BTCUSDT"),
    ],
)
def test_symbol_is_the_first_part_of_the_file_name(name: str, symbol: str) -> None:
    assert symbol_of(name) == symbol


def test_folders_are_searched_deeply_and_other_files_are_left_alone(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for name in ("BUSDT.csv", "AUSDT.parquet", "README.md", "BUSDT.zip.CHECKSUM", ".hidden.csv"):
        (deep / name).write_text("")
    found = find([tmp_path])
    assert [source.path.name for source in found] == ["AUSDT.parquet", "BUSDT.csv"]


def test_a_file_that_is_reached_twice_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "AUSDT.csv"
    file.write_text("")
    assert len(find([tmp_path, file, str(file)])) == 1


def test_missing_path_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: --data: no such file or folder"):
        find([tmp_path / "nowhere"])


def test_unknown_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(InputError, match=r"must be one of \.parquet"):
        find([tmp_path / "x.txt"])


def test_empty_folder_is_an_empty_universe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="universe is empty"):
        find([tmp_path])


def test_broken_zip_and_zip_without_csv(tmp_path: Path) -> None:
    broken = tmp_path / "AUSDT-1m-2025-05.zip"
    broken.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match=r"AUSDT-1m-2025-05\.zip: cannot be read"):
        find([broken])
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(DataError, match=r"holds no \.csv"):
        find([broken])


def test_each_csv_of_a_zip_is_a_table_of_its_own_symbol(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BUSDT-1m-2025-05.csv", "x")
        archive.writestr("AUSDT-1m-2025-05.csv", "x")
    found = find([path])
    assert [source.symbol for source in found] == ["AUSDT", "BUSDT"]
    assert str(found[0]) == f"{path}:AUSDT-1m-2025-05.csv"
