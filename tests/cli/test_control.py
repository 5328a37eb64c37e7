"""kill, control, guardian: they work without a database, say whether anybody obeyed, and are journalled."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from tests.cli.conftest import Books, Perpdesk

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import DiskFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import WHOLE_STRATEGY, StateRow
from perpdesk.domain.kill import Rung
from perpdesk.domain.ownership import Heartbeat, LeaseClaim
from perpdesk.engine.control_file import ControlFile
from perpdesk.engine.guardian.throttle import STATE as THROTTLE
from perpdesk.engine.guardian.throttle import RepeatThrottle
from perpdesk.engine.ownership import BEAT_MS, Ownership

ACCOUNT = 7
WHY = ("--reason", "odd fills", "--by", "operator")


@pytest.fixture
def control_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERPDESK_CONTROL_DIR", str(tmp_path / "control"))
    monkeypatch.delenv("PERPDESK_DATABASE", raising=False)
    return tmp_path / "control"


def rung_now(control_dir: Path) -> Rung:
    return ControlFile(DiskFolder(control_dir), ACCOUNT).rung()


class Owner:
    """An owner in a thread of its own, which obeys (or not) until it is stopped."""

    def __init__(self, url: str, control_dir: Path, *, obeys: bool) -> None:
        self.began, self.over = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._live(url, control_dir, obeys)))

    def __enter__(self) -> Owner:
        self.thread.start()
        assert self.began.wait(30)
        return self

    def __exit__(self, *rest: object) -> None:
        self.over.set()
        self.thread.join()

    async def _live(self, url: str, control_dir: Path, obeys: bool) -> None:
        folder = DiskFolder.made(control_dir)
        control = ControlFile(folder, ACCOUNT)
        clock = SystemClock()
        async with await SqlStore.open(url) as store:
            claim = LeaseClaim(account_id=ACCOUNT, owner="o", host="h", pid=1, build_hash="b")
            owning = Ownership(claim=claim, leases=store, folder=folder, clock=clock, name="main")
            if obeys:
                owning.obeys(lambda: (control.seq, control.rung().word))
            await owning.acquire()
            self.began.set()
            while not self.over.is_set():
                control.rung()
                owning.beat()
                await clock.sleep_until(clock.now_ms() + BEAT_MS // 50)
            await owning.release()


@pytest.mark.parametrize("word", ["halt", "reduce"])
def test_a_word_without_an_owner_holds_for_the_next(perpdesk: Perpdesk, control_dir: Path, word: str) -> None:
    answer = perpdesk("kill", word, "--account", ACCOUNT, *WHY, "--json")
    assert answer.code == 0
    assert answer.json == {
        "account": ACCOUNT,
        "rung": word,
        "seq": 1,
        "owner": "absent",
        "obeyed": False,
        "journalled": False,
        "control_file": str(control_dir / "7.control.json"),
    }
    assert "no owner is running" in answer.err
    assert rung_now(control_dir) is Rung.of(word)
    assert perpdesk("kill", "resume", "--account", ACCOUNT, *WHY).code == 0
    assert rung_now(control_dir) is Rung.NORMAL


@pytest.mark.parametrize("word", ["cancel", "flatten"])
def test_what_nobody_carries_out_needs_a_person(perpdesk: Perpdesk, control_dir: Path, word: str) -> None:
    answer = perpdesk("kill", word, "--account", ACCOUNT, *WHY, "--json")
    assert answer.code == 4
    assert answer.json["obeyed"] is False
    assert "no owner obeys" in answer.err
    assert rung_now(control_dir) is Rung.of(word)


def test_a_living_owner_obeys_and_it_is_journalled(
    perpdesk: Perpdesk, books: Books, control_dir: Path
) -> None:
    with Owner(books.url, control_dir, obeys=True):
        answer = perpdesk(
            "kill",
            "flatten",
            "--account",
            "main",
            *WHY,
            "--database",
            books.url,
            "--wait-ms",
            20_000,
            "--json",
        )
        status = perpdesk("guardian", "status", "--account", "main", "--database", books.url, "--json")
    assert (answer.code, answer.json["owner"], answer.json["obeyed"]) == (0, "alive", True)
    assert answer.json["journalled"] is True
    assert books.counts()["journal"] == books.counts()["control_actions"] == 1
    owner = status.json["owner"]
    assert (owner["state"], owner["epoch"], owner["obeys_seq"], owner["rung"]) == ("alive", 1, 1, "flatten")
    assert status.json["lease"]["owner"] == "o"


def test_a_living_owner_that_does_not_obey_needs_a_person(
    perpdesk: Perpdesk, books: Books, control_dir: Path
) -> None:
    with Owner(books.url, control_dir, obeys=False):
        answer = perpdesk("kill", "halt", "--account", ACCOUNT, *WHY, "--wait-ms", 100, "--json")
    assert (answer.code, answer.json["owner"], answer.json["obeyed"]) == (4, "alive", False)
    assert "has not obeyed" in answer.err


def test_kill_works_with_the_database_down(perpdesk: Perpdesk, control_dir: Path) -> None:
    down = "postgresql://u:sekret-word@127.0.0.1:1/desk"
    answer = perpdesk("kill", "halt", "--account", ACCOUNT, *WHY, "--database", down, "--json")
    assert (answer.code, answer.json["journalled"]) == (0, False)
    assert "the owner does it when it can" in answer.err
    assert "sekret-word" not in answer.out + answer.err.replace(down, "")
    assert rung_now(control_dir) is Rung.HALT


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("kill", "resume", "--account", ACCOUNT), "--reason"),
        (("kill", "resume", "--account", ACCOUNT, "--reason", " "), "--reason"),
        (("kill", "halt", "--account", "nobody", *WHY), "--account"),
        (("kill", "halt", *WHY), "--account"),
        (("control", "enable", "--account", ACCOUNT), "--database"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_said(
    perpdesk: Perpdesk, control_dir: Path, arguments: tuple[object, ...], word: str
) -> None:
    answer = perpdesk(*arguments)
    assert answer.code == 2
    assert word in answer.err
    assert not (control_dir / "7.control.json").exists()


def test_the_switch_is_turned_and_journalled(perpdesk: Perpdesk, books: Books, control_dir: Path) -> None:
    at = ("--account", ACCOUNT, "--database", books.url)

    def status() -> tuple[object, object]:
        found = perpdesk("control", "status", *at, "--json").json
        return found["trading_control"], found["entries_allowed"]

    assert status() == ("missing", False)
    enabled = perpdesk("control", "enable", *at, "--by", "operator", "--json")
    assert (enabled.code, enabled.json["trading_control"], enabled.json["updated_by"]) == (
        0,
        "enabled",
        "operator",
    )
    assert status() == ("enabled", True)
    perpdesk("kill", "halt", "--account", ACCOUNT, *WHY)
    assert status() == ("enabled", False)
    perpdesk("kill", "resume", "--account", ACCOUNT, *WHY)
    assert perpdesk("control", "disable", *at, "--reason", "holiday").code == 0
    assert status() == ("disabled", False)
    # Both turns of the switch, and both words (journalled by the first status that saw them).
    assert books.counts()["journal"] == 4


def test_a_switch_that_cannot_be_read_allows_nothing(
    perpdesk: Perpdesk, books: Books, control_dir: Path
) -> None:
    at = ("--account", ACCOUNT, "--database", books.url, "--json")
    perpdesk("control", "enable", *at)
    with sqlite3.connect(books.path) as connection:
        connection.execute("UPDATE trading_control SET trading_enabled = 'no'")
    connection.close()
    found = perpdesk("control", "status", *at).json
    assert (found["trading_control"], found["entries_allowed"]) == ("unreadable", False)
    books.path.unlink()
    found = perpdesk("control", "status", *at)
    assert (found.code, found.json["trading_control"]) == (0, "unreadable")


def test_the_guardians_beats_are_shown_with_their_ages(
    perpdesk: Perpdesk, books: Books, control_dir: Path
) -> None:
    async def beat() -> None:
        async with await SqlStore.open(books.url) as store:
            for strategy, age_ms in (("grid", 0), ("v2", 3_600_000)):
                ms = SystemClock().now_ms() - age_ms
                await store.beat(
                    Heartbeat(
                        account_id=ACCOUNT,
                        strategy=strategy,
                        instance="i",
                        epoch=1,
                        seq=1,
                        beat_ms=ms,
                        build_hash="b",
                    )
                )

    asyncio.run(beat())
    answer = perpdesk("guardian", "status", "--account", ACCOUNT, "--database", books.url, "--json")
    assert answer.code == 0
    assert answer.json["owner"] == {"state": "absent"}
    rows = answer.json["heartbeats"]
    assert [(row["strategy"], row["fresh"]) for row in rows] == [("grid", True), ("v2", False)]
    assert rows[1]["age_ms"] >= 3_600_000
    people = perpdesk("guardian", "status", "--account", ACCOUNT, "--database", books.url)
    assert "grid" in people.out


async def _trip(url: str, since_ms: int) -> None:
    async with await SqlStore.open(url) as store:
        throttle = RepeatThrottle(disabled={"sma_cross": since_ms})
        await store.save_state(
            StateRow(
                account_id=ACCOUNT, strategy=THROTTLE, symbol=WHOLE_STRATEGY, state=throttle.to_state(),
                params_hash=await store.save_params_snapshot("{}", 0), updated_ms=since_ms,
            )
        )  # fmt: skip


def test_a_strategy_that_the_throttle_switched_off_is_released_by_a_person(
    perpdesk: Perpdesk, books: Books, control_dir: Path
) -> None:
    """RTS 6, article 15: until a person says so, with a reason."""
    asyncio.run(_trip(books.url, 5))
    place = ("--account", str(ACCOUNT), "--database", books.url)
    assert perpdesk("control", "status", *place, "--json").json["throttled"] == ["sma_cross"]
    silent = perpdesk("control", "release", "sma_cross", *place)
    assert (silent.code, "--reason" in silent.err) == (2, True)
    assert perpdesk("control", "release", "grid", *place, *WHY).code == 3
    assert perpdesk("control", "release", "sma_cross", *place, *WHY).code == 0
    assert perpdesk("control", "status", *place, "--json").json["throttled"] == []
    assert perpdesk("control", "release", "sma_cross", *place, *WHY).code == 3, "once"
