"""The guardian of both scorers dies, or stands still: nothing is opened, positions keep their stops, exits
come back, nothing is doubled.

In one process the guardian and the openers live and die together; what an opener of another process sees of
a dead one is its heartbeat. A guardian that stands still beside openers that live is seen by them at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.simulation.scene import Scene, played

from perpdesk.app import sleeves_of
from perpdesk.config.load import loads
from perpdesk.domain.ownership import Heartbeat
from perpdesk.engine.heartbeat import STALE_MS, is_fresh
from perpdesk.engine.live.protection import ROUND_MS, Protection
from perpdesk.simulation.database import Files
from perpdesk.simulation.desk import DeskSubject
from perpdesk.simulation.lineup import _ACCOUNT, _SCORES, SCORES, lineup
from perpdesk.simulation.subject import Life

pytestmark = pytest.mark.slow
BTC, ETH = 0, 1
MINUTE_MS = 60_000
CONFIG = _ACCOUNT % (6, 8000) + _SCORES
TIMEOUT_MS = 8 * MINUTE_MS  # of the lineup's positions


class Restartable(DeskSubject):
    """A desk that is started again only when somebody lets it."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, lineup(SCORES))
        self.may_start = True

    async def live(self, life: Life) -> None:
        while not self.may_start:
            await life.clock.sleep_until(life.clock.now_ms() + 500)
        await super().live(life)


class Stage(Scene):
    """Both symbols, and what an opener of another process would look at."""

    def desk(self) -> Restartable:
        assert isinstance(self.it.subject, Restartable)
        return self.it.subject

    def entries(self) -> int:
        """Entry orders that have reached the exchange."""
        return self.it.observer.entries

    def is_beating(self) -> bool:
        """Would an opener rest on the newest heartbeats?"""
        rows = self.it.file.read("SELECT * FROM guardian_heartbeat")
        now_ms = self.it.loop.now_ms
        beats = [Heartbeat(**{name: row[name] for name in Heartbeat.__struct_fields__}) for row in rows]
        return bool(beats) and all(is_fresh(beat, now_ms) for beat in beats)

    def reasons(self, symbol: str) -> list[str | None]:
        """Why rows of a symbol were closed, None: live."""
        found = self.it.file.read(
            "SELECT close_reason FROM futures_positions WHERE symbol = ? ORDER BY id", symbol
        )
        return [row["close_reason"] for row in found]


def play(folder: Files, script: Callable[[Stage], Awaitable[None]], minutes: int) -> None:
    async def run(scene: Scene) -> None:
        await script(Stage(scene.it))

    played(folder, Restartable, run, minutes=minutes)


def test_the_guardian_is_killed_and_stays_away_for_ten_minutes(folder: Files) -> None:
    async def script(stage: Stage) -> None:
        other = Stage(stage.it, ETH)
        held = await stage.both_hold()
        await other.until(lambda: len(other.rows()) == 2, 60, "both hold the other symbol, too")
        theirs = other.rows()
        await other.until(lambda: other.is_whole(**theirs), 30, "under stops of their own")
        await stage.switch(1)
        await stage.it.loop.pause(5_000)
        assert stage.is_beating()

        stage.desk().may_start = False
        (living,) = stage.it.living()
        stage.it.loop.kill(living)
        killed_ms, entries = stage.it.loop.now_ms, stage.entries()
        while stage.is_beating():
            assert stage.it.loop.now_ms - killed_ms <= STALE_MS
            await stage.it.loop.pause(100)

        # the exchange protects: one symbol falls through its stops, the other keeps them
        market = stage.it.market
        last = stage.world.markets[ETH].last
        market._to(ETH, last + other.away * last * 3 // 100, walk=True)
        await other.until(lambda: other.net() == 0, 30, "the exchange's stops close it")
        while stage.it.loop.now_ms - killed_ms < TIMEOUT_MS + 2 * MINUTE_MS:
            assert stage.is_whole(**held)
            assert stage.entries() == entries
            await stage.it.loop.pause(5_000)

        stage.desk().may_start = True
        await stage.until(lambda: stage.rows() == {} and stage.net() == 0, 60, "exits come back")
        assert stage.reasons("BTCUSDT")[:2] == ["TIMEOUT"] * 2
        await other.until(lambda: None not in other.reasons("ETHUSDT")[:2], 30, "the stops are booked")
        assert other.reasons("ETHUSDT")[:2] == ["EXCHANGE_STOP"] * 2
        await stage.until(lambda: stage.entries() > entries, 180, "entries come back")
        assert stage.is_beating()
        await stage.it.loop.pause(100_000)
        stage.check_sums()

    play(folder, script, 32)


@pytest.fixture
def stands_still(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Put something in, and the guardian's rounds stop while the process lives on."""
    still: list[bool] = []

    async def run(self: Protection) -> None:
        while True:
            if not still:
                self.round()
            await self.clock.sleep_until(self.clock.now_ms() + ROUND_MS)

    monkeypatch.setattr(Protection, "run", run)
    return still


def test_a_guardian_that_stands_still_is_seen_within_fifteen_seconds(
    folder: Files, stands_still: list[bool]
) -> None:
    """A scan follows 16 s later: what it wants is refused, and so is everything until a restart."""

    async def script(stage: Stage) -> None:
        stage.it.market.quiet()
        await stage.until(stage.is_beating, 60, "the desk trades")
        await stage.switch(0)
        await stage.it.loop.pause(180_000)
        await stage.it.loop.pause((MINUTE_MS - 20_000 - stage.it.loop.now_ms) % MINUTE_MS)
        await stage.switch(1)
        await stage.it.loop.pause(4_000)
        stands_still.append(True)
        await stage.it.loop.pause(4 * MINUTE_MS)
        assert stage.entries() == 0
        stands_still.clear()
        await stage.restart()
        await stage.until(lambda: stage.entries() > 0, 150, "entries come back")

    play(folder, script, 14)


def test_exits_go_on_while_the_guardian_stands_still(folder: Files, stands_still: list[bool]) -> None:
    async def script(stage: Stage) -> None:
        held = await stage.both_hold()
        await stage.switch(1)
        stands_still.append(True)
        await stage.it.loop.pause(15_000)
        entries = stage.entries()
        assert stage.is_whole(**held)
        await stage.until(lambda: stage.rows() == {} and stage.net() == 0, 600, "they time out")
        assert stage.reasons("BTCUSDT") == ["TIMEOUT"] * 2
        await stage.it.loop.pause(3 * MINUTE_MS)  # the cooldown is long over
        assert stage.entries() == entries
        stands_still.clear()
        await stage.restart()
        await stage.until(lambda: stage.entries() > entries, 180, "entries come back")
        stage.check_sums()

    play(folder, script, 28)


def patient(seed: int) -> DeskSubject:
    """Both scorers, with a cooldown of seven minutes (an hour after a person's close)."""
    known = lineup(SCORES)
    loaded = loads(CONFIG.replace("cooldown_s: 30", "cooldown_s: 420"))
    sleeves = tuple(sleeves_of(loaded, ("score_v2", "score_v3")))
    return DeskSubject(seed, replace(known, loaded=loaded, sleeves=sleeves))


def again(stage: Stage) -> list[tuple[int, int, int, str]]:
    """For each entry that followed another of its version, symbol and side: minutes since that one closed,
    the bars of both entries, why it was closed."""
    rows = stage.it.file.read(
        "SELECT signal_version, symbol, position_side, created_ms, close_reason,"
        " (julianday(close_time) - 2440587.5) * 86400000 AS closed FROM futures_positions ORDER BY id"
    )
    found, last = [], {}
    for row in rows:
        key = row["signal_version"], row["symbol"], row["position_side"]
        bar_ms = 60 * MINUTE_MS if key[0] == "v2" else 15 * MINUTE_MS
        before = last.get(key)
        if before is not None:
            minutes = round(row["created_ms"] - before["closed"]) // MINUTE_MS
            bars = before["created_ms"] // bar_ms, row["created_ms"] // bar_ms
            found.append((minutes, *bars, before["close_reason"]))
        last[key] = row
    return found


def test_a_restart_forgets_neither_the_cooldown_nor_the_bar(folder: Files) -> None:
    """Closed by the exchange's stop, restarted: nobody enters again before seven minutes, nor on the same bar."""

    async def script(scene: Scene) -> None:
        stage = Stage(scene.it)
        await stage.both_hold()
        last = stage.world.markets[BTC].last
        stage.it.market._to(BTC, last + stage.away * last * 3 // 100, walk=True)
        await stage.until(lambda: stage.net() == 0 and stage.rows() == {}, 60, "the stops close it")
        await stage.switch(1)
        await stage.restart()
        await stage.it.loop.pause(25 * MINUTE_MS)
        followed = again(stage)
        assert followed, "somebody enters again, in time"
        for minutes, before, bar, _ in followed:
            assert minutes >= 7
            assert bar > before

    played(folder, patient, script, minutes=36)
