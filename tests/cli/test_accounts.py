"""accounts add|list|check|rotate|remove against a simulated exchange; no key in any output."""

from __future__ import annotations

import base64
import io
import json
import random
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Answer, Books, Perpdesk
from tests.cli.exchanges import Exchange, exchange

from perpdesk.adapters.binance.hosts import LIVE
from perpdesk.adapters.binance.key_rights import KeyReport
from perpdesk.cli import account_checks, accounts, key_input


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    with exchange() as running:
        yield running


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: Exchange) -> Iterator[Path]:
    """A vault and a master key file in an empty folder; afterwards no secret stands anywhere in it."""
    venue.do("clear_faults")
    for i in range(3):
        venue.rights(
            i, ipRestrict=True, enableWithdrawals=False, enableFutures=True, enableInternalTransfer=False
        )
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr("keyring.core._keyring_backend", None)
    monkeypatch.setenv("PERPDESK_VAULT", str(home / "vault.json"))
    monkeypatch.setenv("PERPDESK_MASTER_KEY_FILE", str(home / "master.key"))
    for name in ("PERPDESK_DATABASE", "PERPDESK_MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)
    (home / "master.key").touch(0o600)
    (home / "master.key").write_text("k1:" + base64.b64encode(random.Random("k1").randbytes(32)).decode())
    yield home
    secrets = [value.encode() for i in range(3) for value in venue.key(i)]
    for path in tmp_path.rglob("*"):
        if path.is_file() and "keyfile" not in path.name:
            assert not any(secret in path.read_bytes() for secret in secrets), path


@pytest.fixture
def desk(perpdesk: Perpdesk, venue: Exchange) -> Perpdesk:
    """Runs ``accounts …`` and finds no key or secret in what it said."""

    def run(*arguments: object) -> Answer:
        answer = perpdesk("accounts", *arguments)
        for i in range(3):
            for value in venue.key(i):
                assert value not in answer.out + answer.err
        assert "Traceback" not in answer.err
        return answer

    return run


def key_file(folder: Path, venue: Exchange, account: int, mode: int = 0o600) -> Path:
    path = folder / f"keyfile{account}"
    path.write_text("\n".join(venue.key(account)) + "\n")
    path.chmod(mode)
    return path


def added(desk: Perpdesk, folder: Path, venue: Exchange, account: int, *more: object) -> Answer:
    file = key_file(folder, venue, account)
    return desk("add", f"a{account}", "--exchange-url", venue.url, "--key-file", file, *more)


def test_add_and_list(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    answer = added(desk, place, venue, 0)
    assert answer.code == 0, answer
    assert answer.out == f"account a0 is in the vault: key {venue.key(0)[0][:4]}…, {venue.url}\n"
    assert "delete it once the account is in the vault" in answer.err
    second = added(desk, place, venue, 1, "--json")
    assert second.json["account"]["name"] == "a1"
    found = desk("list", "--json").json["accounts"]
    assert [one["name"] for one in found] == ["a0", "a1"]
    assert set(found[0]) == {
        "name", "exchange", "exchange_url", "created_ms", "changed_ms", "key", "vault_ref", "key_version",
        "master_key_id", "last_check",
    }  # fmt: skip
    assert found[0]["key"] == venue.key(0)[0][:4] + "…"
    assert found[0]["last_check"]["verdict"] == "ok"
    assert found[0]["exchange"] == "simulated"
    text = desk("list").out
    assert "a0" in text
    assert f"{venue.key(0)[0][:4]}…" in text
    assert "k1" in text
    assert (place / "vault.json").stat().st_mode & 0o777 == 0o600


def test_an_empty_list(desk: Perpdesk) -> None:
    assert desk("list").out == "no accounts\n"
    assert desk("list", "--json").json["accounts"] == []


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ({"enableWithdrawals": True}, "withdraw"),
        ({"enableInternalTransfer": True}, "transfer"),
        ({"enableFutures": False}, ""),
    ],
)
def test_a_key_with_wrong_rights_is_refused(
    desk: Perpdesk, place: Path, venue: Exchange, rights: dict[str, bool], words: str
) -> None:
    venue.rights(0, **rights)
    answer = added(desk, place, venue, 0)
    assert answer.code == 3
    assert words in answer.err
    assert desk("list", "--json").json["accounts"] == []


def test_a_key_that_the_exchange_does_not_know(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    file = key_file(place, venue, 0)
    file.write_text(f"{'x' * 64}\n{venue.key(0)[1]}")
    answer = desk("add", "a", "--exchange-url", venue.url, "--key-file", file)
    assert (answer.code, "-2015" in answer.err) == (3, True)
    file.write_text(f"{venue.key(0)[0]}\n{'x' * 64}")
    answer = desk("add", "a", "--exchange-url", venue.url, "--key-file", file)
    assert (answer.code, "-1022" in answer.err) == (3, True)
    assert desk("list", "--json").json["accounts"] == []


def test_an_exchange_that_does_not_answer(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    venue.do("fault", fault={"kind": "garble", "form": "truncate", "route": "GET /sapi/*", "count": -1})
    assert added(desk, place, venue, 0).code == 1
    venue.do("clear_faults")
    assert desk("list", "--json").json["accounts"] == []


def test_rights_that_change(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    """SEC-03: what was in order yesterday is refused today."""
    added(desk, place, venue, 0)
    added(desk, place, venue, 1)
    assert desk("check", "--json").json["accounts"][0] == {"name": "a0", "verdict": "ok", "sentences": []}
    venue.rights(0, enableWithdrawals=True)
    answer = desk("check", "--json")
    assert answer.code == 3
    assert [one["verdict"] for one in answer.json["accounts"]] == ["refused", "ok"]
    assert desk("check", "a0").code == 3
    assert desk("check", "a1").code == 0
    assert [one["last_check"]["verdict"] for one in desk("list", "--json").json["accounts"]] == [
        "refused",
        "ok",
    ]
    venue.do("fault", fault={"kind": "reply", "http": 503, "route": "GET /sapi/*", "count": -1})
    answer = desk("check", "--json")
    assert answer.code == 1
    assert [one["verdict"] for one in answer.json["accounts"]] == ["unknown", "unknown"]
    assert desk("check", "a0").code == 1
    assert (
        desk("list", "--json").json["accounts"][0]["last_check"]["verdict"] == "refused"
    )  # the last that is known


def test_rotating_a_credential(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    added(desk, place, venue, 0)
    added(desk, place, venue, 1)
    taken = desk("rotate", "a0", "--key-file", key_file(place, venue, 1))
    assert (taken.code, "account 'a1' has this API key" in taken.err) == (3, True)
    venue.rights(2, enableWithdrawals=True)
    assert desk("rotate", "a0", "--key-file", key_file(place, venue, 2)).code == 3
    venue.rights(2, enableWithdrawals=False)
    answer = desk("rotate", "a0", "--key-file", key_file(place, venue, 2))
    assert answer.code == 0
    assert f"delete the old key {venue.key(0)[0][:4]}…" in answer.out
    found = desk("list", "--json").json["accounts"][0]
    assert (found["key_version"], found["key"], found["vault_ref"]) == (
        2,
        venue.key(2)[0][:4] + "…",
        "vault:1",
    )
    assert desk("check", "a0").code == 0


def test_rotating_the_master_key(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    added(desk, place, venue, 0)
    before = (place / "master.key").read_text().strip()
    answer = desk("rotate", "--master", "--json").json
    assert (answer["sealed"], answer["opened"], answer["kept"], answer["forgotten"]) == (1, 1, ["k1"], [])
    ring = (place / "master.key").read_text().split()
    assert ring[0] == before
    assert ring[1].startswith(answer["master_key_id"] + ":")
    assert ring[1].partition(":")[2] not in json.dumps(answer)
    answer = desk("rotate", "--master", "--forget-old", "--json").json
    assert (answer["sealed"], answer["kept"], len(answer["forgotten"])) == (1, [], 2)
    assert len((place / "master.key").read_text().split()) == 1
    assert desk("check", "a0").code == 0
    text = desk("rotate", "--master")
    assert "older master keys are kept" in text.out
    assert not any(
        entry.partition(":")[2] in text.out for entry in (place / "master.key").read_text().split()
    )


@pytest.mark.parametrize("arguments", [[], ["a0", "--master"], ["a0", "--forget-old"], ["--forget-old"]])
def test_rotate_says_what_it_needs(desk: Perpdesk, arguments: list[str]) -> None:
    answer = desk("rotate", *arguments)
    assert (answer.code, "name an account, or give --master" in answer.err) == (2, True)


def test_remove(desk: Perpdesk, place: Path, venue: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    added(desk, place, venue, 0)
    assert "--confirm: there is no terminal" in desk("remove", "a0").err
    wrong = desk("remove", "a0", "--confirm", "a1")
    assert (wrong.code, "nothing was removed" in wrong.err) == (3, True)
    assert len(desk("list", "--json").json["accounts"]) == 1
    answer = desk("remove", "a0", "--confirm", "a0", "--json")
    assert answer.json["account"]["name"] == "a0"
    assert desk("list", "--json").json["accounts"] == []
    assert desk("remove", "a0", "--confirm", "a0").code == 2
    added(desk, place, venue, 0)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr(accounts.typer, "prompt", lambda text, **_: asked.append(text) or "a0")
    assert desk("remove", "a0").code == 0
    assert asked == ["type a0 to forget its key"]


# -- how a key comes in ----------------------------------------------------------------------------


def test_a_hidden_prompt(
    desk: Perpdesk, place: Path, venue: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = dict(zip(("API key: ", "secret: "), venue.key(0), strict=True))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(key_input, "getpass", lambda prompt: answers[prompt])
    assert desk("add", "a0", "--exchange-url", venue.url).code == 0


def test_stdin(desk: Perpdesk, venue: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    api_key, secret = venue.key(0)
    text = json.dumps(
        {"account": 0, "api_key": api_key, "secret": secret}
    )  # as `perpdesk exchange` prints it
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert desk("add", "a0", "--exchange-url", venue.url, "--key-file", "-").code == 0


def test_without_a_terminal(desk: Perpdesk, venue: Exchange) -> None:
    answer = desk("add", "a0", "--exchange-url", venue.url)
    assert (answer.code, "--key-file: there is no terminal to ask at" in answer.err) == (2, True)


def test_a_key_file_that_others_can_read(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    file = key_file(place, venue, 0, 0o644)
    answer = desk("add", "a0", "--exchange-url", venue.url, "--key-file", file)
    assert (answer.code, "chmod 600" in answer.err) == (3, True)


@pytest.mark.parametrize("content", ["", "CANARYkey1", "CANARYkey1\n", '{"api_key": "CANARYkey1"}', '{"api_key": CANARY',
                                     '{"api_key": "CANARYkey1", "secret": 5}', "CANARY key1\nCANARYsecret",
                                     "CANARYkey1\n-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----"])  # fmt: skip
def test_a_key_file_that_is_none(desk: Perpdesk, place: Path, venue: Exchange, content: str) -> None:
    file = place / "keyfile"
    file.touch(0o600)
    file.write_text(content)
    answer = desk("add", "a0", "--exchange-url", venue.url, "--key-file", file)
    assert answer.code == 2
    assert "CANARY" not in answer.err


def test_keys_as_arguments_are_refused_and_not_repeated(desk: Perpdesk, venue: Exchange) -> None:
    api_key, secret = venue.key(0)
    for arguments in (
        ("add", "a0", api_key, secret),
        ("add", api_key),
        ("add", "a0", f"--secret={secret}"),
        ("add", "a0", "--api-key", api_key),
        ("check", api_key),
        (secret,),
        ("remove", "a0", api_key),
    ):
        assert desk(*arguments).code == 2


# -- which exchange, which master key --------------------------------------------------------------


def test_only_loopback_is_a_simulated_exchange(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    for url in (
        "https://fapi.example",
        "http://10.0.0.1:80",
        "http://127.0.0.1.example:80",
        "ftp://127.0.0.1",
    ):
        answer = desk("add", "a0", "--exchange-url", url, "--key-file", key_file(place, venue, 0))
        assert (answer.code, "loopback" in answer.err) == (2, True)


def test_a_live_key_goes_nowhere_else(
    desk: Perpdesk, place: Path, venue: Exchange, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a URL the pinned hosts are asked, and the key stays theirs."""
    asked = []
    report = KeyReport(("it works from any address: bind it to this machine's address",), ())

    def ask(hosts, credential, name, *, spot=False):  # type: ignore[no-untyped-def]
        asked.append(hosts)
        found = KeyReport((), ()) if credential.any_ip else report
        return found, account_checks.LastCheck(1, "refused" if found.problems else "ok", found.problems)

    monkeypatch.setattr(accounts, "ask_rights", ask)
    file = key_file(place, venue, 0)
    answer = desk("add", "live", "--key-file", file)
    assert answer.code == 3
    assert "this machine's address is " in answer.err
    assert "bind it" in answer.err
    silent = desk("add", "live", "--key-file", file, "--allow-any-ip")
    assert (silent.code, "--allow-any-ip: needs --database" in silent.err) == (2, True)
    done = desk("add", "live", "--key-file", file, "--allow-any-ip", "--database", books.url)
    assert done.code == 0, done.err
    assert asked == [LIVE, LIVE]
    with sqlite3.connect(books.path) as connection:
        rows = [
            json.loads(row[0])
            for row in connection.execute("SELECT payload FROM journal WHERE kind = 'KeyAdded'")
        ]
    assert [(row["account"], row["any_ip"]) for row in rows] == [("live", True)]
    for command in (("check", "live"), ("rotate", "live", "--key-file", file)):
        answer = desk(*command, "--exchange-url", venue.url)
        assert (
            answer.code,
            "is live: it is shown to https://fapi.binance.com and no other" in answer.err,
        ) == (3, True)
    assert len(asked) == 2


def test_without_a_master_key_nothing_is_asked(desk: Perpdesk, place: Path, venue: Exchange) -> None:
    (place / "master.key").chmod(0o640)
    answer = added(desk, place, venue, 0)
    assert (answer.code, "chmod 600" in answer.err) == (3, True)
    (place / "master.key").unlink()
    answer = added(desk, place, venue, 0)
    assert (answer.code, "PERPDESK_MASTER_KEY_FILE: no such file" in answer.err) == (2, True)


def test_no_master_key_anywhere(
    desk: Perpdesk, place: Path, venue: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERPDESK_MASTER_KEY_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "config"))
    answer = added(desk, place, venue, 0)
    assert (answer.code, "there is no master key in" in answer.err) == (3, True)
    monkeypatch.setenv("PERPDESK_MASTER_KEY", (place / "master.key").read_text())
    assert added(desk, place, venue, 0).code == 0
    refused = desk("rotate", "--master")
    assert (refused.code, "append `,NEWID:BASE64`" in refused.err) == (3, True)


# -- the database ----------------------------------------------------------------------------------


def test_the_database_has_references_only(desk: Perpdesk, place: Path, venue: Exchange, books: Books) -> None:
    assert added(desk, place, venue, 0, "--database", books.url).code == 0
    added(desk, place, venue, 1)
    venue.rights(1, enableWithdrawals=True)
    assert desk("check", "--database", books.url).code == 3
    assert desk("remove", "a0", "--confirm", "a0", "--database", books.url).code == 0
    with sqlite3.connect(books.path) as connection:
        rows = connection.execute(
            "SELECT name, exchange, vault_ref, status, last_check_problem FROM accounts ORDER BY account_id"
        ).fetchall()
        kinds = [row[0] for row in connection.execute("SELECT kind FROM journal ORDER BY seq")]
    assert [row[:4] for row in rows] == [
        ("a0", "simulated", "vault:1", "removed"),
        ("a1", "simulated", "vault:2", "active"),
    ]
    assert "withdraw" in rows[1][4]
    assert kinds == ["KeyAdded", "KeyChecked", "KeyChecked", "KeyRemoved"]
    again = added(desk, place, venue, 0, "--database", books.url)
    assert (again.code, "has (or had) an account 'a0'" in again.err) == (3, True)
