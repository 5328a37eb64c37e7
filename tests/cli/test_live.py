"""live, watch, status: what is refused before anything is sent, and a whole life on a simulated exchange."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.cli.conftest import Answer, Books, Perpdesk
from tests.cli.exchanges import Exchange, exchange

from perpdesk.adapters.folder import DiskFolder
from perpdesk.adapters.vault import Credential, Vault
from perpdesk.domain.books import Failed, Missing
from perpdesk.domain.kill import Rung
from perpdesk.domain.secret import Secret
from perpdesk.service.metrics_file import MetricsFile, read_metrics, write_metrics
from perpdesk.service.rungs import SpokenRungs


@pytest.fixture(scope="module")
def venue() -> Iterator[Exchange]:
    with exchange() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: Exchange) -> Path:
    """A vault with the account `main` of the simulated exchange and `real` of the live one."""
    venue.rights(0, enableWithdrawals=False)
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr("keyring.core._keyring_backend", None)
    monkeypatch.setenv("PERPDESK_VAULT", str(made / "vault.json"))
    monkeypatch.setenv("PERPDESK_CONTROL_DIR", str(made / "control"))
    monkeypatch.setenv("PERPDESK_MASTER_KEY_FILE", str(made / "master.key"))
    for name in ("PERPDESK_DATABASE", "PERPDESK_MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)
    (made / "master.key").touch(0o600)
    (made / "master.key").write_text("k1:" + base64.b64encode(random.Random("k1").randbytes(32)).decode())
    vault = Vault(made / "vault.json")
    api_key, secret = venue.key(0)
    vault.add("main", "simulated", Credential(Secret(api_key), Secret(secret)), now_ms=1)
    vault.add("real", "binance", Credential(Secret("r" * 64), Secret("s" * 64)), now_ms=1)
    return made


def live(perpdesk: Perpdesk, account: str, *more: object, confirm: str | None = None) -> Answer:
    said = ("--live", "--confirm", account if confirm is None else confirm)
    start = ("live", "--account", account, "--strategy", "sma_cross", "--symbols", "BTCUSDT")
    return perpdesk(*start, *said, *more)


def with_row(perpdesk: Perpdesk, books: Books, venue: Exchange) -> tuple[object, ...]:
    """The account's row, and the options that reach both."""
    at = ("--database", books.url, "--exchange-url", venue.url)
    assert perpdesk("accounts", "check", "main", *at).code == 0
    return at


def test_real_orders_need_two_words(perpdesk: Perpdesk, home: Path, books: Books) -> None:
    start = ("live", "--account", "main", "--strategy", "sma_cross", "--database", books.url)
    silent = perpdesk(*start)
    assert (silent.code, "NOT_LIVE" in silent.err, "--live" in silent.err) == (3, True, True)
    half = perpdesk(*start, "--live")
    assert (half.code, "NOT_CONFIRMED" in half.err) == (3, True)
    other = live(perpdesk, "main", "--database", books.url, confirm="real")
    assert (other.code, "'real'" in other.err) == (3, True)
    unsure = perpdesk(*start, "--confirm", "main")
    assert unsure.code == 3
    assert not (home / "control").exists()


def test_a_live_key_goes_to_the_live_exchange_alone(
    perpdesk: Perpdesk, home: Path, books: Books, venue: Exchange
) -> None:
    answer = live(perpdesk, "real", "--database", books.url, "--exchange-url", venue.url)
    assert (answer.code, "LIVE_KEY" in answer.err) == (3, True)
    away = live(perpdesk, "main", "--database", books.url, "--exchange-url", "http://exchange.example:80")
    assert (away.code, "loopback" in away.err) == (2, True)


def test_what_is_not_known_is_refused(perpdesk: Perpdesk, home: Path, books: Books, venue: Exchange) -> None:
    nobody = live(perpdesk, "nobody", "--database", books.url)
    assert (nobody.code, "main, real" in nobody.err) == (2, True)
    at = ("--database", books.url, "--exchange-url", venue.url)
    no_row = live(perpdesk, "main", *at)
    assert (no_row.code, "ACCOUNT_UNKNOWN" in no_row.err) == (3, True)
    with_row(perpdesk, books, venue)
    wrong = perpdesk(
        "live", "--account", "main", "--live", "--confirm", "main", "--strategy", "none",
        "--symbols", "BTCUSDT", *at,
    )  # fmt: skip
    assert (wrong.code, "unknown strategy" in wrong.err) == (2, True)
    none = perpdesk(
        "live", "--account", "main", "--live", "--confirm", "main", "--strategy", "sma_cross", *at
    )
    assert (none.code, "--symbols" in none.err) == (2, True)
    unknown = live(perpdesk, "main", *at, "--symbols", "BTCUSDD")
    assert (unknown.code, "did you mean BTCUSDT" in unknown.err) == (2, True)


def test_a_key_that_may_withdraw_is_refused(
    perpdesk: Perpdesk, home: Path, books: Books, venue: Exchange
) -> None:
    at = with_row(perpdesk, books, venue)
    venue.rights(0, enableWithdrawals=True)
    answer = live(perpdesk, "main", *at)
    assert (answer.code, "may withdraw" in answer.err) == (4, True)
    assert not list((home / "control").glob("*.owner.json"))


def test_a_server_that_does_not_say_that_it_is_simulated_is_refused(
    perpdesk: Perpdesk, home: Path, books: Books, venue: Exchange
) -> None:
    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"serverTime": 1}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with_row(perpdesk, books, venue)
    server = HTTPServer(("127.0.0.1", 0), Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        answer = live(perpdesk, "main", "--database", books.url, "--exchange-url", url)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (answer.code, "does not say that it is simulated" in answer.err) == (4, True)


def test_status_says_what_the_files_say_when_the_database_is_down(
    perpdesk: Perpdesk, home: Path, books: Books, venue: Exchange
) -> None:
    at = with_row(perpdesk, books, venue)
    account = ("status", "--account", "1")
    before = perpdesk(*account, "--json").json
    assert (before["owner"]["state"], before["rung"]) == ("absent", "normal")
    assert perpdesk("kill", "halt", "--account", "1", "--reason", "test").code == 0
    down = perpdesk(*account, "--database", "sqlite:////nowhere/at/all.sqlite", "--json").json
    assert (down["rung"], down["database"]["state"][:4]) == ("halt", "DOWN")
    people = perpdesk(*account, "--database", "sqlite:////nowhere/at/all.sqlite")
    assert people.code == 0
    assert "kill ladder: halt" in people.out
    assert "database: DOWN" in people.out
    up = perpdesk(*account, *at[:2], "--json").json
    assert up["database"]["state"] == "up"
    assert up["database"]["positions"] == []
    assert up["database"]["trading_control"] == "unknown: no entry is allowed"
    assert perpdesk("status").code == 2


def test_a_watch_needs_a_known_account(perpdesk: Perpdesk, home: Path, venue: Exchange) -> None:
    answer = perpdesk("watch", "--account", "main", "--exchange-url", venue.url)
    assert (answer.code, "--database" in answer.err) == (2, True)
    live_key = perpdesk("watch", "--account", "real", "--exchange-url", venue.url)
    assert (live_key.code, "LIVE_KEY" in live_key.err) == (3, True)


def test_one_watch_stands_behind_several_accounts(
    perpdesk: Perpdesk, home: Path, books: Books, venue: Exchange
) -> None:
    api_key, secret = venue.key(1)
    Vault(home / "vault.json").add(
        "second", "simulated", Credential(Secret(api_key), Secret(secret)), now_ms=1
    )
    at = with_row(perpdesk, books, venue)
    venue.rights(1, enableWithdrawals=False)
    assert perpdesk("accounts", "check", "second", *at).code == 0

    def seen() -> set[str]:
        return {path.name for path in (home / "control").glob("*.watch.metrics.json")}

    def end() -> None:
        for _ in range(600):
            if len(seen()) == 2:
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    ender = threading.Thread(target=end)
    ender.start()
    answer = perpdesk("watch", "--account", "main", "--account", "second", *at)
    ender.join()
    assert (answer.code, "behind these desks" in answer.out) == (0, True)
    assert len(seen()) == 2
    twice = perpdesk("watch", "--account", "main", "--account", "main", *at)
    assert (twice.code, "named twice" in twice.err) == (2, True)


def test_the_strictest_rung_holds(tmp_path: Path, perpdesk: Perpdesk) -> None:
    rungs = SpokenRungs(DiskFolder(tmp_path), 1)
    assert rungs.now() is Rung.NORMAL
    rungs.own["KEY_RIGHTS"] = Rung.HALT
    assert rungs.now() is Rung.HALT
    perpdesk("kill", "cancel", "--account", "1", "--reason", "test", "--control-dir", tmp_path)
    assert rungs.now() is Rung.CANCEL
    rungs.own["FLATTEN_ON_EXIT"] = Rung.FLATTEN
    assert rungs.obeyed() == (1, "flatten")
    rungs.own.clear()
    assert rungs.now() is Rung.CANCEL


def test_figures_survive_and_garbled_ones_are_told(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path)
    assert isinstance(read_metrics(folder, 1, "live"), Missing)
    made = MetricsFile(account_id=1, role="live", pid=2, ms=3, started_ms=1, figures={"a": 1}, lines=["x"])
    write_metrics(folder, made)
    assert read_metrics(folder, 1, "live") == made
    file = tmp_path / "1.live.metrics.json"
    file.write_bytes(json.dumps({"account_id": 1}).encode())
    assert isinstance(read_metrics(folder, 1, "live"), Failed)
