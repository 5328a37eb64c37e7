"""The vault: what it keeps, what it refuses, and what never stands in its file."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.vault.vaults import NOW_MS, Place, credential, ring_text, same

from perpdesk.adapters.vault.master_key import load_ring
from perpdesk.adapters.vault.records import Credential, LastCheck
from perpdesk.adapters.vault.store import Vault, default_path
from perpdesk.domain.errors import InputError, NeedsPerson, Refused
from perpdesk.domain.secret import Secret


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def without_ring() -> Any:
    raise Refused("MASTER_KEY", "there is none")


def test_a_key_comes_back(place: Place) -> None:
    pem = Credential(
        Secret("k" * 64), Secret("-----BEGIN PRIVATE KEY-----\nabc\n"), Secret("pw"), any_ip=True
    )
    entry = place.vault().add("main", "binance", pem, now_ms=NOW_MS)
    assert (entry.account_id, entry.key_version, entry.key_hint, entry.vault_ref) == (1, 1, "kkkk", "vault:1")
    found = place.vault().credential("main")
    assert same(found, pem)
    assert found.password is not None
    assert found.password.reveal() == "pw"
    assert found.any_ip


def test_listing_needs_no_master_key(place: Place) -> None:
    place.filled(2)
    vault = Vault(place.path, without_ring)
    assert [(entry.name, entry.created_ms - NOW_MS) for entry in vault.entries()] == [("a0", 0), ("a1", 1)]
    with pytest.raises(Refused, match="there is none"):
        vault.credential("a0")
    with pytest.raises(Refused, match="there is none"):
        vault.add("b", "binance", credential("b"), now_ms=NOW_MS)
    vault.remove("a0")
    assert [entry.name for entry in place.vault().entries()] == ["a1"]


def test_nothing_stands_in_clear_and_the_file_is_private(place: Place) -> None:
    vault = place.filled(3)
    vault.replace("a1", credential("new"), now_ms=NOW_MS)
    vault.note_check("a0", LastCheck(NOW_MS, "ok"), 1)
    vault.remove("a2")
    assert place.holds_in_clear(*(credential(seed) for seed in (0, 1, 2, "new"))) == []
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.path.parent.stat().st_mode) == 0o700
    assert {path.name for path in place.path.parent.iterdir()} == {"vault.json", "vault.json.lock"}


def test_names(place: Place) -> None:
    vault = place.filled(1)
    for name in ("", "-a", "a b", "a/b", "a" * 33, "ä", "a\n", credential(0).api_key.reveal()):
        with pytest.raises(InputError, match="name: must be up to 32 letters") as error:
            vault.add(name, "binance", credential(7), now_ms=NOW_MS)
        assert len(name) < 3 or name not in str(error.value)
    with pytest.raises(InputError, match="an account 'a0' exists"):
        vault.add("a0", "binance", credential(7), now_ms=NOW_MS)
    with pytest.raises(InputError, match="no such account; it has: a0"):
        vault.credential("b")


def test_one_key_is_one_account(place: Place) -> None:
    vault = place.filled(2)
    with pytest.raises(Refused, match="account 'a0' has this API key"):
        vault.add("b", "binance", credential(0), now_ms=NOW_MS)
    with pytest.raises(Refused, match="account 'a0' has this API key"):
        vault.replace("a1", credential(0), now_ms=NOW_MS)
    vault.replace("a0", credential(0), now_ms=NOW_MS)  # its own again: a secret mistyped the first time


def test_numbers_are_not_given_twice(place: Place) -> None:
    """The books of a removed account keep its number."""
    vault = place.filled(2)
    vault.remove("a1")
    vault.remove("a0")
    assert vault.add("a1", "binance", credential("new"), now_ms=NOW_MS).account_id == 3
    assert vault.add("a0", "binance", credential(0), now_ms=NOW_MS).account_id == 4


def test_another_user_has_no_such_account(place: Place) -> None:
    place.vault().add("main", "binance", credential(0), now_ms=NOW_MS, user_id=2)
    with pytest.raises(InputError):
        place.vault().credential("main", user_id=1)
    assert same(place.vault().credential("main", user_id=2), credential(0))


def test_replacing(place: Place) -> None:
    vault = place.filled(2)
    check = LastCheck(NOW_MS, "ok", ("fine",))
    entry = vault.replace("a0", credential("new"), now_ms=NOW_MS + 9, check=check)
    assert (entry.account_id, entry.key_version, entry.created_ms, entry.changed_ms) == (
        1,
        2,
        NOW_MS,
        NOW_MS + 9,
    )
    assert place.vault().entry("a0").last_check == check
    assert same(place.vault().credential("a0"), credential("new"))
    assert same(place.vault().credential("a1"), credential(1))


def test_a_check_of_an_older_key_is_not_noted(place: Place) -> None:
    vault = place.filled(1)
    vault.replace("a0", credential("new"), now_ms=NOW_MS)
    vault.note_check("a0", LastCheck(NOW_MS, "refused"), key_version=1)
    assert place.vault().entry("a0").last_check is None
    vault.note_check("a0", LastCheck(NOW_MS, "ok"), key_version=2)
    assert place.vault().entry("a0").last_check == LastCheck(NOW_MS, "ok")


# -- somebody else's hands -------------------------------------------------------------------------


def changed(place: Place, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    records = json.loads(place.path.read_bytes())
    change(records["accounts"])
    place.path.write_text(json.dumps(records))


def swap(field: str) -> Callable[[list[dict[str, Any]]], None]:
    def act(accounts: list[dict[str, Any]]) -> None:
        accounts[0][field], accounts[1][field] = accounts[1][field], accounts[0][field]

    return act


@pytest.mark.parametrize(
    "change",
    [
        swap("box"),
        swap("data_key_box"),
        lambda accounts: (swap("box")(accounts), swap("data_key_box")(accounts)),
        swap("name"),
        swap("account_id"),
        lambda accounts: accounts[0].update(exchange="simulated"),
        lambda accounts: accounts[0].update(user_id=2),
        lambda accounts: accounts[0].update(key_version=2),
        lambda accounts: accounts[0].update(box=accounts[0]["box"][:-8]),
    ],
)
def test_rows_cannot_be_swapped_or_relabelled(
    place: Place, change: Callable[[list[dict[str, Any]]], Any]
) -> None:
    place.filled(2)
    changed(place, change)
    with pytest.raises(NeedsPerson, match="does not open"):
        place.vault().verify()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"accounts": [{}]}', "cannot be read"),
        (b'{"format": 2}', "format 2"),
        (b'{"format": 1, "surplus": 1}', "cannot be read"),
    ],
)
def test_a_broken_file_is_not_overwritten(place: Place, content: bytes, words: str) -> None:
    place.filled(1)
    place.path.write_bytes(content)
    for act in (
        lambda: place.vault().entries(),
        lambda: place.vault().add("b", "binance", credential(7), now_ms=NOW_MS),
        lambda: place.vault().reseal(),
    ):
        with pytest.raises(NeedsPerson, match=words):
            act()
    assert place.path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda accounts: accounts.append(accounts[0]), "names an account twice"),
        (lambda accounts: accounts[0].update(name="a1"), "names an account twice"),
        (lambda accounts: accounts[1].update(account_id=1), "names an account twice"),
        (lambda accounts: accounts[1].update(account_id=99), "would give an account number twice"),
    ],
)
def test_a_contradictory_file(
    place: Place, change: Callable[[list[dict[str, Any]]], Any], words: str
) -> None:
    place.filled(2)
    changed(place, change)
    with pytest.raises(NeedsPerson, match=words):
        place.vault().entries()


def test_a_vault_that_others_may_use_is_refused(place: Place) -> None:
    place.filled(1)
    place.path.chmod(0o660)
    with pytest.raises(
        Refused, match=r"the vault .* has mode 0660: others may use it, `chmod 600 .*vault.json`"
    ):
        place.vault().entries()


def test_the_wrong_master_key(place: Place) -> None:
    place.filled(1)
    place.key_file.write_text(ring_text("k2"))
    with pytest.raises(Refused, match="sealed with master key 'k1', .* has only k2: bring that key back"):
        place.vault().credential("a0")


def test_a_folder_that_cannot_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    place.filled(1)
    before = place.path.read_bytes()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Refused, match="cannot be written .No space left on device."):
        place.vault().remove("a0")
    assert place.path.read_bytes() == before


def test_where_it_lies() -> None:
    assert default_path({"HOME": "/h"}) == Path("/h/.local/share/perpdesk/vault.json")
    assert default_path({"HOME": "/h", "XDG_DATA_HOME": "/d"}) == Path("/d/perpdesk/vault.json")
    assert default_path({"HOME": "/h", "PERPDESK_VAULT": "/v/my.json"}) == Path("/v/my.json")


# -- several processes -----------------------------------------------------------------------------


def add_many(folder: str, who: int, count: int) -> None:
    from perpdesk.adapters.vault.master_key import FileSource

    place = Path(folder)
    vault = Vault(
        place / "data" / "vault.json", lambda: load_ring([FileSource(place / "config" / "master.key")])
    )
    for i in range(count):
        vault.add(f"p{who}-{i}", "binance", credential((who, i)), now_ms=NOW_MS)


@pytest.mark.slow
def test_processes_do_not_lose_each_others_changes(place: Place) -> None:
    context = get_context("spawn")
    workers = [context.Process(target=add_many, args=(str(place.folder), who, 8)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    entries = place.vault().entries()
    assert sorted(entry.account_id for entry in entries) == list(range(1, 25))
    assert place.vault().verify() == 24
