"""A guardian's sign of life, and what counts as none."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.books import Failed, Missing, StoreFailed
from perpdesk.domain.ownership import Heartbeat
from perpdesk.engine.heartbeat import Pulse, beat_for_ever, is_fresh

NOW = 1_700_000_000_000


class OneRow:
    """Keeps the newest beat, as the table does: a lower epoch changes nothing."""

    def __init__(self) -> None:
        self.row: Heartbeat | None = None
        self.is_down = False

    async def beat(self, heartbeat: Heartbeat) -> bool:
        if self.is_down:
            raise StoreFailed("down")
        if self.row is not None and (heartbeat.epoch, heartbeat.seq) < (self.row.epoch, self.row.seq):
            return False
        self.row = heartbeat
        return True

    async def heartbeat(self, account_id: int, strategy: str) -> Heartbeat | Missing | Failed:
        if self.is_down:
            return Failed(reason="down")
        return self.row or Missing()


def row(beat_ms: int, epoch: int = 1) -> Heartbeat:
    return Heartbeat(
        account_id=1, strategy="sma", instance="i", epoch=epoch, seq=1, beat_ms=beat_ms, build_hash="b"
    )


@pytest.mark.parametrize(
    ("beat", "fresh"),
    [
        (row(NOW), True),
        (row(NOW - 15_000), True),
        (row(NOW - 15_001), False),
        (row(NOW + 2_000), True),
        (row(NOW + 2_001), False),
        (Missing(), False),
        (Failed(reason="down"), False),
        (None, False),
    ],
)
def test_fresh(beat: Heartbeat | Missing | Failed | None, fresh: bool) -> None:
    assert is_fresh(beat, NOW) is fresh


def test_a_beat_of_another_epoch_vouches_for_nobody() -> None:
    assert is_fresh(row(NOW, epoch=3), NOW, epoch=3)
    assert not is_fresh(row(NOW, epoch=3), NOW, epoch=4)


async def test_what_is_beaten_is_found_by_another_process() -> None:
    books = OneRow()
    guardian, opener = Pulse(1, "sma", "a", "b", epoch=2), Pulse(1, "sma", "c", "b")
    assert opener.judge(NOW) == "GUARDIAN_STALE"
    assert await guardian.beat(books, NOW)
    await opener.look(books)
    assert opener.judge(NOW + 15_000) is None
    assert opener.judge(NOW + 15_001) == "GUARDIAN_STALE"
    assert (opener.age_ms(NOW + 7), guardian.seq) == (7, 1)


async def test_a_beat_that_cannot_be_written_leaves_openers_to_find_it_stale() -> None:
    books = OneRow()
    guardian = Pulse(1, "sma", "a", "b")
    await guardian.beat(books, NOW)
    books.is_down = True
    assert not await guardian.beat(books, NOW + 20_000)
    assert guardian.failures == 1
    assert guardian.judge(NOW + 20_000) == "GUARDIAN_STALE"
    opener = Pulse(1, "sma", "c", "b")
    await opener.look(books)
    assert opener.judge(NOW) == "GUARDIAN_STALE"


async def test_an_old_owner_does_not_beat_over_the_new_one() -> None:
    books = OneRow()
    await Pulse(1, "sma", "new", "b", epoch=5).beat(books, NOW)
    assert not await Pulse(1, "sma", "old", "b", epoch=4).beat(books, NOW + 1)
    assert books.row is not None
    assert books.row.instance == "new"


async def test_no_beat_while_the_guardian_is_stuck() -> None:
    """A timer beside a stuck guardian must not vouch for it."""
    books, clock, works = OneRow(), VirtualClock(NOW), [True]
    pulse = Pulse(1, "sma", "a", "b")
    task = asyncio.create_task(beat_for_ever([pulse], books, clock, lambda _: works[0]))
    for _ in range(3):
        await asyncio.sleep(0)
        clock.advance_to(clock.now_ms() + 5_000)
        await asyncio.sleep(0)
    assert pulse.seq >= 3
    works[0] = False
    before = pulse.seq
    for _ in range(4):
        clock.advance_to(clock.now_ms() + 5_000)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert pulse.seq == before
    assert pulse.judge(clock.now_ms()) == "GUARDIAN_STALE"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
