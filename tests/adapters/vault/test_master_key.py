"""Where master keys come from, in which order, and what is refused."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

import keyring.backend
import keyring.backends.chainer
import keyring.backends.fail
import keyring.backends.null
import pytest
from keyring.backends import SecretService
from tests.adapters.vault.vaults import ring_text

from perpdesk.adapters.vault import master_key
from perpdesk.adapters.vault.master_key import (
    EnvironmentSource,
    FileSource,
    Keyring,
    KeyringSource,
    default_file,
    load_ring,
    parse_ring,
    sources,
    system_keyring,
)
from perpdesk.domain.errors import InputError, Refused


class Store:
    """A key store in memory."""

    def __init__(self, text: str | None = None) -> None:
        self.kept = {} if text is None else {("perpdesk", "master-key"): text}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


class Locked(Store):
    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked("the collection is locked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise keyring.errors.PasswordSetError("no")


def file_with(folder: Path, text: str, mode: int = 0o600) -> FileSource:
    path = folder / "master.key"
    path.write_text(text)
    path.chmod(mode)
    return FileSource(path)


def of(store: Keyring | None) -> KeyringSource:
    return KeyringSource(lambda: store)


def variable(text: str) -> Mapping[str, str]:
    return {"PERPDESK_MASTER_KEY": text}


# -- order -----------------------------------------------------------------------------------------


def test_keyring_then_file_then_environment(tmp_path: Path) -> None:
    file = file_with(tmp_path, ring_text("file"))
    environment = EnvironmentSource(variable(ring_text("env")))
    missing = FileSource(tmp_path / "none")
    assert load_ring([of(Store(ring_text("os"))), file, environment]).newest.key_id == "os"
    assert load_ring([of(Store()), file, environment]).newest.key_id == "file"
    assert load_ring([of(None), file, environment]).newest.key_id == "file"
    assert load_ring([of(None), missing, environment]).newest.key_id == "env"


def test_without_any_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match="no master key in .*keyring.*file.*PERPDESK_MASTER_KEY.*Make one"
    ) as error:
        load_ring([of(None), FileSource(tmp_path / "none"), EnvironmentSource({"PERPDESK_MASTER_KEY": ""})])
    assert error.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first", ["locked", "mode", "broken"])
def test_a_source_that_is_there_but_unfit_is_not_passed_over(tmp_path: Path, first: str) -> None:
    """Else new keys would be sealed with another master key than yesterday's."""
    place = {
        "locked": of(Locked()),
        "mode": file_with(tmp_path, ring_text("k1"), 0o644),
        "broken": file_with(tmp_path, "nonsense"),
    }[first]
    with pytest.raises(Refused):
        load_ring([place, EnvironmentSource(variable(ring_text("env")))])


def test_the_default_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_keyring", keyring.backends.null.Keyring)
    found = sources({"HOME": str(tmp_path)} | variable(ring_text("env")))
    assert load_ring(found).newest.key_id == "env"
    named = tmp_path / "mine.key"
    with pytest.raises(InputError, match="mine.key: PERPDESK_MASTER_KEY_FILE: no such file"):
        load_ring(sources({"PERPDESK_MASTER_KEY_FILE": str(named)} | variable(ring_text("env"))))
    file_with(tmp_path, ring_text("file")).path.rename(named)
    assert load_ring(sources({"PERPDESK_MASTER_KEY_FILE": str(named)})).newest.key_id == "file"


def test_the_default_file_is_not_beside_the_vault() -> None:
    assert default_file({"HOME": "/h"}) == Path("/h/.config/perpdesk/master.key")
    assert default_file({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/perpdesk/master.key")


# -- rings -----------------------------------------------------------------------------------------


def test_reading_a_ring() -> None:
    one, two = ring_text("k1").strip(), ring_text("k2").strip()
    for text in (f"{one}\n{two}\n", f"{one},{two}", f" {one} ,\n {two} "):
        assert [key.key_id for key in parse_ring(text, "here")] == ["k1", "k2"]
    assert parse_ring(one, "here")[0].key_bytes() == base64.b64decode(one.partition(":")[2])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "here: entry 1 must read ID:BASE64"),
        ("canarycanarycanary", "entry 1 must read ID:BASE64"),
        (":" + "A" * 43 + "=", "must read ID:BASE64"),
        ("x" * 33 + ":canary", "must read ID:BASE64"),
        ("k1:canarycanary", "must be 32 bytes in base64"),
        ("k1:" + base64.b64encode(b"canary" * 5).decode(), "must be 32 bytes"),
        ("k1:" + base64.b64encode(b"canary" * 6).decode(), "must be 32 bytes"),
        ("k1:" + base64.b64encode(bytes(32)).decode(), "is not random"),
        ("k1:" + base64.b64encode(b"password" * 4).decode(), "is not random"),
        (ring_text("k1") + ring_text("k1"), "entry 2 has an id that is there already"),
    ],
)
def test_a_broken_ring_is_refused_and_not_shown(text: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as error:
        parse_ring(text, "here")
    for part in text.replace(":", " ").split():
        assert len(part) < 6 or part not in str(error.value)


def test_a_ring_shows_nothing() -> None:
    text = ring_text("k1")
    assert text.partition(":")[2].strip() not in repr(load_ring([EnvironmentSource(variable(text))]))


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(tmp_path: Path, mode: int) -> None:
    assert load_ring([file_with(tmp_path, ring_text("k1"), mode)]).newest.key_id == "k1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Refused, match=rf"mode {mode:04o}.*chmod 600"):
        load_ring([file_with(tmp_path, ring_text("k1"), mode)])


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_with(tmp_path, ring_text("k1"))
    owner = file.path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(Refused, match=f"belongs to user {owner}, perpdesk runs as {owner + 1}"):
        load_ring([file])


def test_links_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    target = file_with(tmp_path, ring_text("k1")).path
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    os.mkfifo(pipe, 0o600)
    for path in (link, pipe, tmp_path):
        with pytest.raises(Refused):
            load_ring([FileSource(path)])


def test_no_text(tmp_path: Path) -> None:
    file = file_with(tmp_path, "")
    file.path.write_bytes(b"\xff\x00")
    with pytest.raises(Refused, match="is no text"):
        load_ring([file])


# -- new keys --------------------------------------------------------------------------------------


def test_a_new_key_is_kept_before_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in (file_with(tmp_path, ring_text("k1")), of(Store(ring_text("k1")))):
        ring = load_ring([source]).with_new_key()
        again = load_ring([source])
        assert [key.key_id for key in again.keys] == ["k1", ring.newest.key_id]
        assert again.newest.key_bytes() == ring.newest.key_bytes() != again.keys[0].key_bytes()
        assert [key.key_id for key in load_ring([source]).with_newest_only().keys] == [ring.newest.key_id]
        assert len(load_ring([source]).keys) == 1
    assert oct(file_with(tmp_path, "").path.stat().st_mode)[-3:] == "600"
    assert capsys.readouterr() == ("", "")


def test_a_store_that_forgets_is_found_out() -> None:
    class Forgetful(Store):
        def set_password(self, service: str, username: str, password: str) -> None:
            pass

    with pytest.raises(Refused, match="did not keep what was written"):
        load_ring([of(Forgetful(ring_text("k1")))]).with_new_key()


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="only be changed by you: append"):
        load_ring([EnvironmentSource(variable(ring_text("k1")))]).with_new_key()
    with pytest.raises(Refused, match="cannot be written"):
        of(Locked()).write("x")
    with pytest.raises(Refused, match="cannot be written"):
        FileSource(Path("/proc/none/master.key")).write("x")


# -- the system's keyring --------------------------------------------------------------------------


class Plain(keyring.backend.KeyringBackend):
    """A backend of somebody else, as keyrings.alt has them."""

    priority = 1.0  # type: ignore[assignment]

    def get_password(self, service: str, username: str) -> str | None:
        return ring_text("k1")

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


def test_a_keyring_of_plain_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_keyring", Plain)
    with pytest.raises(Refused, match="Plain is not the operating system's"):
        KeyringSource(system_keyring).read()
    chain = keyring.backends.chainer.ChainerBackend()
    monkeypatch.setattr(type(chain), "backends", [SecretService.Keyring(), Plain()])
    monkeypatch.setattr(keyring, "get_keyring", lambda: chain)
    with pytest.raises(Refused, match="Plain"):
        system_keyring()


@pytest.mark.parametrize("absent", [keyring.backends.fail.Keyring, keyring.backends.null.Keyring])
def test_no_keyring(monkeypatch: pytest.MonkeyPatch, absent: type[keyring.backend.KeyringBackend]) -> None:
    monkeypatch.setattr(keyring, "get_keyring", absent)
    assert master_key.system_keyring() is None
    assert KeyringSource(system_keyring).read() is None


def test_the_systems_keyring_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SecretService.Keyring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: found)
    assert system_keyring() is found
