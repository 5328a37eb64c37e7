"""Entries written in the background: whole or not at all, and never anything but what the file held."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.market.conftest import bar, minutes, write_parquet

from perpdesk.domain.errors import DataError
from perpdesk.market import cache, storing
from perpdesk.market.storing import Backlog
from perpdesk.market.tape import read_tape, stream_tape


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The background thread stores nothing until this is set."""
    opened = threading.Event()
    store = cache._store_later

    def held(*what):  # type: ignore[no-untyped-def]  # passes on what it gets
        opened.wait()
        store(*what)

    monkeypatch.setattr(cache, "_store_later", held)
    yield opened
    opened.set()
    storing.wait()


def entries(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("facts.json"))


def test_the_bars_do_not_wait_for_their_entry(
    tmp_path: Path, cache_folder: Path, gate: threading.Event, parses: list[str]
) -> None:
    paths = [write_parquet(tmp_path / f"{name}USDT.parquet", minutes(30)) for name in "AB"]
    tape = read_tape(paths)
    assert tape.bar_count == 60
    assert not entries(cache_folder)
    gate.set()
    storing.wait()
    assert len(entries(cache_folder)) == 2
    assert np.array_equal(read_tape(paths).bars, tape.bars)
    assert parses == ["AUSDT.parquet", "BUSDT.parquet"]


@pytest.mark.parametrize("symbols", ["A", "AB"])
def test_writing_to_the_tape_does_not_reach_an_entry_still_to_be_written(
    tmp_path: Path, gate: threading.Event, symbols: str
) -> None:
    paths = [write_parquet(tmp_path / f"{name}USDT.parquet", minutes(30)) for name in symbols]
    tape = read_tape(paths)
    want = np.array(tape.bars)
    tape.bars.close[:] = 7
    gate.set()
    assert np.array_equal(read_tape(paths).bars, want)


def test_a_read_waits_for_what_an_earlier_one_left(
    tmp_path: Path, gate: threading.Event, parses: list[str]
) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(30))
    read_tape([path])
    got: list[int] = []
    later = threading.Thread(target=lambda: got.append(stream_tape([path]).bar_count))
    later.start()
    assert got == []
    gate.set()
    later.join()
    assert got == [30]
    assert len(parses) == 1


def test_a_file_that_changes_before_its_entry_is_written_gets_none(
    tmp_path: Path, cache_folder: Path, gate: threading.Event, parses: list[str]
) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(30))
    read_tape([path])
    write_parquet(path, minutes(31))
    gate.set()
    storing.wait()
    assert not entries(cache_folder)
    assert read_tape([path]).bar_count == 31
    assert len(parses) == 2


def test_a_file_that_is_gone_before_its_entry_is_written_gets_none(
    tmp_path: Path, cache_folder: Path, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(30))
    assert read_tape([path]).bar_count == 30
    path.unlink()
    gate.set()
    storing.wait()
    assert not entries(cache_folder)
    assert not caplog.records


def test_a_read_that_fails_keeps_nothing(tmp_path: Path, cache_folder: Path) -> None:
    write_parquet(tmp_path / "AUSDT.parquet", minutes(5))
    write_parquet(tmp_path / "BUSDT.parquet", [*minutes(5), bar(5, low=-1.0)])
    with pytest.raises(DataError, match=r"BUSDT\.parquet"):
        read_tape([tmp_path])
    storing.wait()
    assert not list(cache_folder.rglob("bars.bin"))


def test_beyond_the_limit_bars_are_stored_before_the_read_goes_on(
    tmp_path: Path, cache_folder: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_parquet(tmp_path / f"{name}USDT.parquet", minutes(30)) for name in "ABC"]
    monkeypatch.setattr(storing, "BACKLOG_BYTES_MAX", 1)
    tape = read_tape(paths)
    assert len(entries(cache_folder)) == 2
    gate.set()
    assert np.array_equal(read_tape(paths).bars, tape.bars)
    assert len(entries(cache_folder)) == 3


def test_a_full_disk_is_said_once(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[Path] = []

    def full(source, tables, entry, before):  # type: ignore[no-untyped-def]  # takes what it gets
        tried.append(entry)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_store", full)
    paths = [write_parquet(tmp_path / f"{name}USDT.parquet", minutes(30)) for name in "AB"]
    tape = read_tape(paths)
    storing.wait()
    assert tape.bar_count == 60
    assert len(tried) == 1
    (record,) = caplog.records
    assert "No space left on device" in record.getMessage()
    assert "PERPDESK_CACHE_DIR" in record.getMessage()
    assert not entries(cache_folder)


def run(code: str, path: Path) -> int:
    """Read the file in a process of its own, after ``code``."""
    script = f"""
import os, sys
from pathlib import Path
from perpdesk.market import cache
from perpdesk.market.tape import read_tape
{code}
read_tape([sys.argv[1]])
"""
    return subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode


def test_a_process_that_ends_after_reading_still_stores(
    tmp_path: Path, cache_folder: Path, parses: list[str]
) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(30))
    slow = """
import time
store = cache._store
def late(*what):
    time.sleep(0.2)
    return store(*what)
cache._store = late
"""
    assert run(slow, path) == 0
    assert len(entries(cache_folder)) == 1
    assert read_tape([path]).bar_count == 30
    assert parses == []


def test_a_process_that_dies_while_storing_leaves_no_entry(
    tmp_path: Path, cache_folder: Path, parses: list[str]
) -> None:
    path = write_parquet(tmp_path / "AUSDT.parquet", minutes(30))
    assert run("Path.write_bytes = lambda self, content: os._exit(9)", path) == 9
    (left,) = cache_folder.rglob("bars.bin")
    assert left.parent.name.startswith("new-")
    assert read_tape([path]).bar_count == 30
    storing.wait()
    assert parses == ["AUSDT.parquet"]
    assert left.exists()  # whoever writes it may still be alive
    (entry,) = entries(cache_folder)
    (entry / "facts.json").unlink()
    os.utime(left.parent, (0, 0))
    assert read_tape([path]).bar_count == 30
    storing.wait()
    assert entries(cache_folder) == [entry]
    assert not left.parent.exists()


def test_one_thread_at_a_time_in_the_order_of_starting() -> None:
    done: list[int] = []
    writers: list[int] = []

    def job(number: int) -> None:
        writers.append(sum(thread.name == "perpdesk-cache" for thread in threading.enumerate()))
        done.append(number)

    for number in range(3):
        backlog = Backlog()
        for _ in range(2):
            backlog.add(1, partial(job, number))
        assert len(backlog) == 2
        backlog.start()
    storing.wait()
    assert done == [0, 0, 1, 1, 2, 2]
    assert writers == [1] * 6
