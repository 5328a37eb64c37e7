"""Alarms: told once, in time, to everybody, and never more than fit."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.books import JournalEntry, StoreFailed
from perpdesk.engine.alarms import QUEUE_MAX, STANDING_MAX, TEXT_MAX, Alarms
from perpdesk.ports import Notice

NOW = 1_700_000_000_000


@dataclass
class Journal:
    entries: list[JournalEntry] = field(default_factory=list)
    is_down: bool = False

    async def append_journal(self, entries) -> None:
        if self.is_down:
            raise StoreFailed("down")
        self.entries += entries


@dataclass
class Pager:
    told: list[Notice] = field(default_factory=list)
    error: Exception | None = None

    async def notify(self, notice: Notice) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(notice)


def alarms(*pagers: Pager, journal: Journal | None = None) -> tuple[Alarms, VirtualClock]:
    clock = VirtualClock(NOW)
    return Alarms(clock, journal, pagers), clock


async def test_told_to_log_journal_and_person(caplog) -> None:
    journal, pager = Journal(), Pager()
    bell, _ = alarms(pager, journal=journal)
    with caplog.at_level(logging.WARNING):
        assert bell.sound("UNPROTECTED", "no stop for 3 s", key="BTCUSDT")
    assert caplog.messages == ["UNPROTECTED BTCUSDT: no stop for 3 s"]
    assert await bell.carry_out() == 1
    assert journal.entries[0].payload["code"] == "UNPROTECTED"
    assert [(n.code, n.severity, n.ms) for n in pager.told] == [("UNPROTECTED", "critical", NOW)]
    assert await bell.carry_out() == 0


async def test_a_condition_that_goes_on_is_told_every_five_minutes_with_its_count() -> None:
    pager = Pager()
    bell, clock = alarms(pager)
    for _ in range(400):
        bell.sound("STALE_PRICE", "3 s", key="BTCUSDT")
        clock.advance_to(clock.now_ms() + 1_000)
        await bell.carry_out()
    assert [n.count for n in pager.told] == [1, 301]


async def test_each_key_is_its_own_condition_and_clearing_arms_it_again() -> None:
    pager = Pager()
    bell, _ = alarms(pager)
    assert bell.sound("STALE_PRICE", "x", key="A")
    assert bell.sound("STALE_PRICE", "x", key="B")
    assert not bell.sound("STALE_PRICE", "x", key="A")
    assert bell.clear("STALE_PRICE", "A")
    assert not bell.clear("STALE_PRICE", "A")
    assert bell.sound("STALE_PRICE", "x", key="A")
    await bell.carry_out()
    assert [(n.key, n.is_over) for n in pager.told] == [("A", False), ("B", False), ("A", True), ("A", False)]


def test_one_that_grows_worse_is_told_at_once() -> None:
    bell, _ = alarms()
    assert bell.sound("DISK", "80 %", severity="warning")
    assert not bell.sound("DISK", "81 %", severity="warning")
    assert bell.sound("DISK", "99 %", severity="critical")
    assert not bell.sound("DISK", "99 %", severity="critical")


def test_standing_conditions_the_worst_first() -> None:
    bell, _ = alarms()
    for code in ("STALE_PRICE", "UNPROTECTED", "UNREACHABLE"):
        bell.sound(code, "x")
    assert [n.code for n in bell.standing()] == ["UNPROTECTED", "UNREACHABLE", "STALE_PRICE"]


async def test_a_dead_database_or_pager_does_not_silence_the_others() -> None:
    journal, dead, alive = Journal(is_down=True), Pager(error=OSError("unreachable")), Pager()
    bell, _ = alarms(dead, alive, journal=journal)
    bell.sound("UNPROTECTED", "x")
    await bell.carry_out()
    assert len(alive.told) == 1
    assert bell.failures == 2


async def test_what_the_journal_did_not_take_is_written_later_once() -> None:
    journal = Journal(is_down=True)
    bell, _ = alarms(journal=journal)
    bell.sound("UNPROTECTED", "x")
    await bell.carry_out()
    bell.sound("DAILY_LOSS", "x")
    await bell.carry_out()
    journal.is_down = False
    await bell.carry_out()
    await bell.carry_out()
    assert [entry.payload["code"] for entry in journal.entries] == ["UNPROTECTED", "DAILY_LOSS"]


async def test_one_that_hangs_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """L6: a database or pager without an answer is given up, and the others have been told by then."""

    class Hanging(Journal):
        async def append_journal(self, entries) -> None:
            await asyncio.Event().wait()

        async def notify(self, notice: Notice) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("perpdesk.engine.alarms.NOTIFY_TIMEOUT_S", 0.01)
    pager, hanging = Pager(), Hanging()
    bell, _ = alarms(hanging, pager, journal=hanging)  # type: ignore[arg-type]
    for n in range(5):
        bell.sound("UNPROTECTED", "x", key=str(n))
    await bell.carry_out()
    assert len(pager.told) == 5
    assert bell.failures == 2  # the journal once, the pager once


async def test_run_carries_out_what_sounds() -> None:
    pager = Pager()
    bell, _ = alarms(pager)
    task = asyncio.create_task(bell.run())
    bell.sound("UNPROTECTED", "x")
    for _ in range(10):
        await asyncio.sleep(0)
    bell.sound("DAILY_LOSS", "x")
    for _ in range(10):
        await asyncio.sleep(0)
    assert [n.code for n in pager.told] == ["UNPROTECTED", "DAILY_LOSS"]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_everything_is_bounded_and_the_serious_ones_stay() -> None:
    pager = Pager()
    bell, _ = alarms(pager)
    bell.sound("UNPROTECTED", "y" * 10_000)
    for n in range(STANDING_MAX + QUEUE_MAX):
        bell.sound("STALE_PRICE", "x", key=str(n))
    await bell.carry_out()
    assert len(pager.told) == QUEUE_MAX
    assert pager.told[0].code == "UNPROTECTED"
    assert len(pager.told[0].text) == TEXT_MAX
    assert len(bell.standing()) == STANDING_MAX
    assert bell.standing()[0].code == "UNPROTECTED"
    assert bell.dropped > 0


def test_no_secret_leaves_in_an_alarm(caplog) -> None:
    bell, _ = alarms()
    bell.sound("UNREACHABLE", "GET /x?signature=0123456789abcdef0123456789abcdef failed")
    assert "0123456789abcdef" not in caplog.text + bell.standing()[0].text
