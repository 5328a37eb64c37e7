"""CP-23: whatever dies while keys are added, replaced or sealed anew, every account opens afterwards."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.adapters.vault.vaults import NOW_MS, Place, credential, died_at, ring_text, same

from perpdesk.adapters.vault import store
from perpdesk.adapters.vault.records import LastCheck
from perpdesk.adapters.vault.store import Vault
from perpdesk.domain.errors import Refused

ACCOUNTS = 3


def deaths(tmp_path: Path, act: Callable[[Place], object], after: Callable[[Place], None]) -> int:
    """Let ``act`` die at its first call of the system, its second, and so on; ``after`` looks at each wreck."""
    for call in itertools.count(1):
        folder = tmp_path / str(call)
        folder.mkdir()
        place = Place(folder)
        place.filled(ACCOUNTS)
        died = died_at(call, lambda place=place: act(place))  # type: ignore[misc]
        after(place)
        if not died:
            return call - 1
    raise AssertionError


def opens(place: Place, name: str, *wanted: object) -> object:
    """Which of the wanted credentials the account has; one of them it must have."""
    found = place.vault().credential(name)
    (which,) = (seed for seed in wanted if same(found, credential(seed)))
    return which


def nothing_in_clear(place: Place) -> None:
    assert place.holds_in_clear(*(credential(seed) for seed in (0, 1, 2, "new"))) == []


def test_adding(tmp_path: Path) -> None:
    counts = set()

    def after(place: Place) -> None:
        for i in range(ACCOUNTS):
            opens(place, f"a{i}", i)
        counts.add(len(place.vault().entries()))
        nothing_in_clear(place)
        if len(place.vault().entries()) == ACCOUNTS:  # what did not happen can be done again
            place.vault().add("new", "binance", credential("new"), now_ms=NOW_MS)
        opens(place, "new", "new")

    died = deaths(
        tmp_path, lambda place: place.vault().add("new", "binance", credential("new"), now_ms=NOW_MS), after
    )
    assert died >= 12
    assert counts == {ACCOUNTS, ACCOUNTS + 1}


def test_replacing_a_credential(tmp_path: Path) -> None:
    """One of the two works; never neither, never plaintext."""
    seen = set()

    def after(place: Place) -> None:
        seen.add(opens(place, "a1", 1, "new"))
        opens(place, "a0", 0)
        opens(place, "a2", 2)
        nothing_in_clear(place)
        place.vault().replace("a1", credential("new"), now_ms=NOW_MS)
        opens(place, "a1", "new")

    died = deaths(
        tmp_path, lambda place: place.vault().replace("a1", credential("new"), now_ms=NOW_MS), after
    )
    assert died >= 12
    assert seen == {1, "new"}


def rotate(vault: Vault, *, forget: bool = False) -> None:
    vault.new_master_key()
    vault.reseal()
    vault.verify()
    if forget:
        vault.forget_old_master_keys()


def test_rotating_the_master_key(tmp_path: Path) -> None:
    """Killed at each row and at each call in between, it goes on where it stopped, with the key that it made."""
    waiting = set()

    def after(place: Place) -> None:
        for i in range(ACCOUNTS):
            opens(place, f"a{i}", i)
        nothing_in_clear(place)
        ring = place.ring()
        assert len(ring.keys) in (1, 2)
        waiting.add(len(place.vault().old_seals()))
        finished = len(ring.keys) == 2 and not place.vault().old_seals()
        if not finished:
            rotate(place.vault())
        assert len(place.ring().keys) == 2
        assert place.vault().old_seals() == []
        assert {entry.master_key_id for entry in place.vault().entries()} == {place.ring().newest.key_id}
        for i in range(ACCOUNTS):
            opens(place, f"a{i}", i)

    died = deaths(tmp_path, lambda place: rotate(place.vault()), after)
    assert died >= 40
    assert waiting == {0, 1, 2, 3}


@pytest.mark.slow
def test_forgetting_old_master_keys(tmp_path: Path) -> None:
    seen = set()

    def after(place: Place) -> None:
        for i in range(ACCOUNTS):
            opens(place, f"a{i}", i)
        seen.add(len(place.ring().keys))
        nothing_in_clear(place)

    deaths(tmp_path, lambda place: rotate(place.vault(), forget=True), after)
    assert seen == {1, 2}


def test_old_keys_are_not_forgotten_while_they_are_needed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    vault = place.filled(2)
    vault.new_master_key()
    with pytest.raises(Refused, match="a0, a1 are sealed with an older key"):
        vault.forget_old_master_keys()
    assert len(place.ring().keys) == 2


def test_a_fresh_data_key_for_each_sealing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    before = place.filled(2).entries()
    rotate(place.vault(), forget=True)
    for old, new in zip(before, place.vault().entries(), strict=True):
        assert old.box != new.box
        assert old.data_key_box != new.data_key_box
    text = place.key_file.read_text()
    assert ring_text("k1").strip() not in text
    assert text.count(":") == 1


def test_the_environments_ring_is_sealed_with_what_was_appended(tmp_path: Path) -> None:
    """Where perpdesk cannot write the ring, the operator appends, and the same command goes on."""
    place = Place(tmp_path)
    place.filled(2)
    place.key_file.write_text(ring_text("k1", "k2"))
    vault = place.vault()
    assert vault.new_master_key() == "k2"
    assert vault.reseal() == 2
    assert {entry.master_key_id for entry in place.vault().entries()} == {"k2"}
    assert len(place.ring().keys) == 2


def test_rotating_under_load(tmp_path: Path) -> None:
    """Readers open every account all the time, a checker writes between the rows."""
    place = Place(tmp_path)
    place.filled(ACCOUNTS)
    problems: list[BaseException] = []
    over = threading.Event()
    opened = [0]

    def read() -> None:
        try:
            while not over.is_set():
                for i in range(ACCOUNTS):
                    opens(place, f"a{i}", i)
                    opened[0] += 1
        except BaseException as error:  # told by the assertion below
            problems.append(error)

    def note() -> None:
        try:
            for i in itertools.count():
                if over.is_set():
                    return
                place.vault().note_check(f"a{i % ACCOUNTS}", LastCheck(NOW_MS + i, "ok"), 1)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=act) for act in (read, read, note)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        rotate(place.vault())
    over.set()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert opened[0] > 0
    assert len(place.ring().keys) == 6
    assert all(entry.last_check is not None for entry in place.vault().entries())


def test_what_is_named_is_on_the_disk_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut loses what was not flushed: the bytes before the name, the name before the answer."""
    place = Place(tmp_path)
    vault = place.filled(1)
    told: list[str] = []
    paths: dict[int, str] = {}
    for name in ("open", "write", "fsync", "replace"):
        real = getattr(os, name)

        def act(
            *arguments: object, name: str = name, real: Callable[..., object] = real, **options: object
        ) -> object:
            found = real(*arguments, **options)
            if name == "open":
                paths[found] = Path(str(arguments[0])).name  # type: ignore[index]
            elif name == "replace":
                told.append(f"replace {Path(str(arguments[0])).name} {Path(str(arguments[1])).name}")
            else:
                told.append(f"{name} {paths[arguments[0]]}")  # type: ignore[index]
            return found

        monkeypatch.setattr(os, name, act)
    vault.remove("a0")
    assert told == [
        "write vault.json.new",
        "fsync vault.json.new",
        "replace vault.json.new vault.json",
        "fsync data",
    ]


def test_the_deaths_would_find_a_write_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a writer without the second file and the rename."""

    def in_place(path: Path, content: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o600)
        os.write(descriptor, content)
        os.fsync(descriptor)
        os.close(descriptor)

    monkeypatch.setattr(store, "write_private", in_place)
    with pytest.raises(Exception, match="cannot be read"):
        test_replacing_a_credential(tmp_path)
