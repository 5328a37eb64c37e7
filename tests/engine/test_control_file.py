"""The control file: obeyed at once, with the database down; whatever is wrong with it stops entries only."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.adapters.folder import DiskFolder, MemoryDisk, MemoryFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import InputError, NeedsPerson, Refused
from perpdesk.domain.kill import ControlAction, Rung
from perpdesk.engine.control_file import (
    ControlFile,
    ControlJournal,
    control_name,
    log_name,
    say,
    spoken,
)

ACCOUNT = 7
NAME = control_name(ACCOUNT)


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def folder(disk: MemoryDisk) -> MemoryFolder:
    return MemoryFolder(disk)


def tell(folder, rung: Rung, reason: str = "odd fills", ms: int = 5) -> ControlAction:
    return say(folder, ACCOUNT, rung, reason, by="operator", ms=ms)


def test_each_word_holds_until_the_next(folder) -> None:
    control = ControlFile(folder, ACCOUNT)
    assert control.rung() is Rung.NORMAL
    for number, rung in enumerate([*Rung, Rung.HALT, Rung.NORMAL, Rung.FLATTEN], 1):
        assert tell(folder, rung).seq == number
        assert control.rung() is rung
        assert control.rung() is rung
        assert control.seq == number
        assert "odd fills" in control.why


def test_a_word_is_about_one_account(folder) -> None:
    tell(folder, Rung.HALT)
    assert ControlFile(folder, ACCOUNT + 1).rung() is Rung.NORMAL


def test_a_new_owner_reads_what_was_said_before_it_began(folder) -> None:
    tell(folder, Rung.FLATTEN)
    assert ControlFile(folder, ACCOUNT).rung() is Rung.FLATTEN


def test_a_look_costs_a_stat_while_nothing_changes(folder) -> None:
    tell(folder, Rung.HALT)
    control = ControlFile(folder, ACCOUNT)
    control.rung()
    reads = []
    folder.read = lambda name: reads.append(name)
    for _ in range(100):
        assert control.rung() is Rung.HALT
    assert reads == []


GARBLED = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"null",
    b'{"rung":"normal"}',
    b'{"account_id":7,"seq":9,"rung":"normal","reason":"","by":"","ms":1,"seal":"0"}',
]


@pytest.mark.parametrize("content", GARBLED)
def test_a_garbled_file_is_a_halt_and_never_a_step_up(folder, disk, content) -> None:
    control = ControlFile(folder, ACCOUNT)
    disk.put(NAME, content)
    assert control.rung() is Rung.HALT
    assert "cannot be read" in control.why
    tell(folder, Rung.NORMAL)
    assert control.rung() is Rung.NORMAL
    for rung in (Rung.REDUCE, Rung.FLATTEN):
        tell(folder, rung)
        assert control.rung() is rung
        disk.put(NAME, content)
        assert control.rung() is rung


@given(st.data())
def test_no_changed_byte_ever_resumes(data) -> None:
    """One byte of a FLATTEN is changed, cut or added: a new owner never takes it for normal."""
    disk = MemoryDisk()
    folder = MemoryFolder(disk)
    tell(folder, Rung.FLATTEN)
    good = disk.files[NAME]
    at = data.draw(st.integers(0, len(good) - 1))
    what = data.draw(st.sampled_from(["change", "cut", "add"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    bad = {"change": good[:at] + byte + good[at + 1 :], "cut": good[:at], "add": good[:at] + byte + good[at:]}
    disk.put(NAME, bad[what])
    rung = ControlFile(folder, ACCOUNT).rung()
    assert rung in (Rung.HALT, Rung.FLATTEN)
    assert not rung.may_increase


def test_a_file_that_goes_away_is_a_halt(folder, disk) -> None:
    """Removing the file is not how an account is resumed."""
    control = ControlFile(folder, ACCOUNT)
    tell(folder, Rung.REDUCE)
    assert control.rung() is Rung.REDUCE
    del disk.files[NAME]
    assert control.rung() is Rung.REDUCE
    assert "is gone" in control.why
    tell(folder, Rung.NORMAL)
    assert control.rung() is Rung.NORMAL
    del disk.files[NAME]
    assert control.rung() is Rung.HALT


def test_an_old_file_put_back_is_a_halt(folder, disk) -> None:
    control = ControlFile(folder, ACCOUNT)
    tell(folder, Rung.NORMAL)
    old = disk.files[NAME]
    assert control.rung() is Rung.NORMAL
    tell(folder, Rung.CANCEL)
    assert control.rung() is Rung.CANCEL
    disk.put(NAME, old)
    assert control.rung() is Rung.CANCEL
    assert "goes back from word 2 to 1" in control.why
    assert tell(folder, Rung.NORMAL).seq == 3
    assert control.rung() is Rung.NORMAL


def test_a_folder_that_does_not_answer_is_a_halt_until_it_does(folder, disk) -> None:
    control = ControlFile(folder, ACCOUNT)
    assert control.rung() is Rung.NORMAL
    disk.broken = True
    assert control.rung() is Rung.HALT
    disk.broken = False
    assert control.rung() is Rung.NORMAL
    tell(folder, Rung.REDUCE)
    assert control.rung() is Rung.REDUCE
    disk.broken = True
    assert control.rung() is Rung.REDUCE
    disk.broken = False
    tell(folder, Rung.NORMAL)
    assert control.rung() is Rung.NORMAL


def test_a_missing_folder_is_not_silence(tmp_path) -> None:
    control = ControlFile(DiskFolder(tmp_path / "nowhere"), ACCOUNT)
    assert control.rung() is Rung.HALT
    (tmp_path / "nowhere").mkdir()
    assert control.rung() is Rung.NORMAL


def test_numbers_go_on_after_a_garbled_file(folder, disk) -> None:
    tell(folder, Rung.HALT)
    tell(folder, Rung.REDUCE)
    disk.put(NAME, b"garbled")
    assert tell(folder, Rung.HALT).seq == 3


def test_a_line_of_the_log_that_a_power_cut_left_unfinished_hides_no_other(folder, disk) -> None:
    first = tell(folder, Rung.HALT)
    disk.put(log_name(ACCOUNT), disk.files[log_name(ACCOUNT)] + b'\n{"account_id":7,"se')
    second = tell(folder, Rung.NORMAL)
    assert spoken(folder, ACCOUNT) == [first, second]


def test_a_word_that_reached_the_file_but_not_the_log_is_known(folder, disk) -> None:
    tell(folder, Rung.HALT)
    log = disk.files[log_name(ACCOUNT)]
    second = tell(folder, Rung.FLATTEN)
    disk.put(log_name(ACCOUNT), log)
    assert spoken(folder, ACCOUNT)[-1] == second
    assert tell(folder, Rung.NORMAL).seq == 3


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "\x1b[31mred", "x" * 301])
def test_a_reason_is_one_printable_line(folder, reason) -> None:
    with pytest.raises(InputError, match="--reason"):
        tell(folder, Rung.NORMAL, reason)
    assert ControlFile(folder, ACCOUNT).rung() is Rung.NORMAL


def test_two_speakers_take_turns(folder, disk) -> None:
    lock = MemoryFolder(disk).lock(f"{ACCOUNT}.control.lock")
    with pytest.raises(Refused, match="CONTROL_BUSY"):
        tell(folder, Rung.HALT)
    assert lock is not None
    lock.release()
    assert tell(folder, Rung.HALT).seq == 1


def test_a_word_that_cannot_be_written_needs_a_person(folder, disk) -> None:
    disk.broken = True
    with pytest.raises(NeedsPerson, match="stop the process"):
        tell(folder, Rung.FLATTEN)


class Silent:
    """A database that does not answer."""

    async def record_control_action(self, action: ControlAction, ms: int) -> bool:
        raise StoreFailed("down")


async def test_what_was_said_with_the_database_down_is_journalled_later_once(folder) -> None:
    journal = ControlJournal(folder, ACCOUNT)
    tell(folder, Rung.HALT)
    tell(folder, Rung.NORMAL, "understood")
    assert await journal.catch_up(Silent(), 10) == 0
    assert journal.problem == "down"
    async with await SqlStore.open("sqlite://") as store:
        assert await journal.catch_up(store, 11) == 2
        assert journal.problem is None
        assert await journal.catch_up(store, 12) == 0
        assert await ControlJournal(folder, ACCOUNT).catch_up(store, 13) == 0
        tell(folder, Rung.CANCEL)
        assert await journal.catch_up(store, 14) == 1
        assert [one.rung for one in await store.control_actions(ACCOUNT)] == ["halt", "normal", "cancel"]
        found = await store.verify_journal()
        assert (found.is_intact, found.rows) == (True, 3)


def test_what_a_rung_means() -> None:
    assert [rung.may_increase for rung in Rung] == [True, False, False, False, False]
    assert [rung.takes_entries_back for rung in Rung] == [False, False, True, True, True]
    assert [rung.takes_exits_back for rung in Rung] == [False, False, False, True, True]
    assert [rung.closes for rung in Rung] == [False, False, False, False, True]
    assert max(Rung.HALT, Rung.CANCEL) is Rung.CANCEL
    assert [Rung.of(rung.word) for rung in Rung] == list(Rung)


def test_the_file_can_be_read_by_people(folder, disk) -> None:
    tell(folder, Rung.HALT)
    said = json.loads(disk.files[NAME])
    assert (said["rung"], said["reason"], said["by"], said["seq"]) == ("halt", "odd fills", "operator", 1)
