"""Named alarms: at once in the log, within seconds in the journal and at whoever is to be told (L6: ≤ 5 s).

``sound`` is synchronous and cheap; ``run`` carries alarms out. A condition that goes on is told once, and
again every five minutes with its count. Everything is bounded: what no longer fits is dropped, the least
serious first, and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from perpdesk.domain.books import JournalEntry
from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.redaction import redacted
from perpdesk.ports import Clock, Notice, Notifier

LOG = logging.getLogger(__name__)

REPEAT_MS = 300_000
STANDING_MAX = 1_000
QUEUE_MAX = 256
# L6 leaves 5 s: whoever takes longer is not waited for.
NOTIFY_TIMEOUT_S = 4.0
JOURNAL_AGAIN_S = 5.0
JOURNAL_KIND = "alarm"
TEXT_MAX = 500

WARNING, ERROR, CRITICAL = "warning", "error", "critical"
_LEVELS = {WARNING: logging.WARNING, ERROR: logging.ERROR, CRITICAL: logging.CRITICAL}

# What each named condition means to the one who is woken by it. Others are errors.
SEVERITIES: dict[str, str] = {
    "UNPROTECTED": CRITICAL,
    "MUST_CLOSE": CRITICAL,
    "FIGHT_LIMIT": CRITICAL,
    "DAILY_LOSS": CRITICAL,
    "LEASE_LOST": CRITICAL,
    "BOOKS_DIFFER": CRITICAL,
    "LATE_FILL": CRITICAL,
    "LIQUIDATION": CRITICAL,
    "CANARY": CRITICAL,
    "STOP_BEYOND_LIQUIDATION": CRITICAL,
    "NO_DISASTER_STOP": ERROR,
    "REPEATED_EXECUTION": ERROR,
    "GUARDIAN_STALE": ERROR,
    "UNREACHABLE": ERROR,
    "STORE_UNHEALTHY": ERROR,
    "STALE_PRICE": WARNING,
    "FROZEN_PRICE": WARNING,
    "STALE_BARS": WARNING,
    "STALE_USER_STREAM": ERROR,
    "CLOCK_ERROR": ERROR,
    "ORDER_RATE": WARNING,
}


class AlarmJournal(Protocol):
    """Where alarms are written down."""

    async def append_journal(self, entries: Sequence[JournalEntry]) -> None: ...


@dataclass
class Alarms:
    """The alarms of one process. notifiers: each is asked, with a time limit."""

    clock: Clock
    journal: AlarmJournal | None = None
    notifiers: Sequence[Notifier] = ()
    repeat_ms: int = REPEAT_MS
    sounded: int = 0
    dropped: int = 0
    failures: int = 0
    _standing: dict[tuple[str, str], Notice] = field(default_factory=dict)
    _told_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    _queue: deque[Notice] = field(default_factory=deque)
    _unwritten: list[JournalEntry] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def sound(self, code: str, text: str, *, key: str = "", severity: str | None = None) -> bool:
        """A condition holds. code: its name; key: which symbol, strategy, order. True: it was told now,
        False: it had been told already and is counted only."""
        now_ms = self.clock.now_ms()
        place = (code, key)
        level = severity or SEVERITIES.get(code, ERROR)
        known = self._standing.get(place)
        notice = Notice(
            code, key, level, redacted(text)[:TEXT_MAX], now_ms, 1 if known is None else known.count + 1
        )
        self._standing[place] = notice
        is_worse = known is not None and _LEVELS[level] > _LEVELS[known.severity]
        if known is not None and not is_worse and now_ms - self._told_ms[place] < self.repeat_ms:
            return False
        self._told_ms[place] = now_ms
        self._trim()
        self.sounded += 1
        LOG.log(_LEVELS[level], "%s%s: %s", code, f" {key}" if key else "", notice.text)
        self._enqueue(notice)
        return True

    def clear(self, code: str, key: str = "") -> bool:
        """The condition is over; its next occurrence is told at once. False: it did not stand."""
        known = self._standing.pop((code, key), None)
        self._told_ms.pop((code, key), None)
        if known is None:
            return False
        LOG.info("%s%s: over after %d", code, f" {key}" if key else "", known.count)
        self._enqueue(replace(known, text="over", ms=self.clock.now_ms(), is_over=True))
        return True

    def standing(self) -> list[Notice]:
        """Conditions that hold, the most serious first, then the newest."""
        return sorted(self._standing.values(), key=lambda n: (-_LEVELS[n.severity], -n.ms, n.code, n.key))

    async def run(self) -> None:
        """Carry alarms out until cancelled; what the journal did not take is tried again every 5 s."""
        while True:
            if self._unwritten:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), JOURNAL_AGAIN_S)
            else:
                await self._wake.wait()
            await self.carry_out()

    async def carry_out(self) -> int:
        """Write and tell everything that waits, all at the same time: a journal or notifier that fails or
        hangs is counted and logged, and never stops or delays the others. Returns how many there were."""
        self._wake.clear()
        batch = list(self._queue)
        self._queue.clear()
        self._unwritten += [_entry(notice) for notice in batch]
        await asyncio.gather(self._write(), *(self._tell(notifier, batch) for notifier in self.notifiers))
        return len(batch)

    async def _write(self) -> None:
        if self.journal is None or not self._unwritten:
            self._unwritten.clear()
            return
        entries = list(self._unwritten)
        self._unwritten.clear()
        try:
            await asyncio.wait_for(self.journal.append_journal(entries), NOTIFY_TIMEOUT_S)
        except (PerpdeskError, TimeoutError) as error:
            self.failures += 1
            kept = [*entries, *self._unwritten][-QUEUE_MAX:]
            self.dropped += len(entries) + len(self._unwritten) - len(kept)
            self._unwritten = kept
            LOG.error("alarms could not be written to the journal: %s", error or "no answer")

    async def _tell(self, notifier: Notifier, batch: Sequence[Notice]) -> None:
        for notice in batch:
            try:
                await asyncio.wait_for(notifier.notify(notice), NOTIFY_TIMEOUT_S)
            except TimeoutError:
                self.failures += 1
                LOG.error("a notifier does not answer: the alarms from %s on were not told", notice.code)
                return
            except Exception as error:
                self.failures += 1
                LOG.error("nobody was told of %s: %s", notice.code, type(error).__name__)

    def _enqueue(self, notice: Notice) -> None:
        self._queue.append(notice)
        if len(self._queue) > QUEUE_MAX:
            least = min(self._queue, key=lambda n: _LEVELS[n.severity])
            self._queue.remove(least)
            self.dropped += 1
        self._wake.set()

    def _trim(self) -> None:
        while len(self._standing) > STANDING_MAX:
            place = min(self._standing, key=lambda one: _LEVELS[self._standing[one].severity])
            del self._standing[place]
            self._told_ms.pop(place, None)
            self.dropped += 1


def _entry(notice: Notice) -> JournalEntry:
    return JournalEntry(
        ms=notice.ms,
        kind=JOURNAL_KIND,
        payload={
            "code": notice.code,
            "key": notice.key,
            "severity": notice.severity,
            "text": notice.text,
            "count": notice.count,
            "is_over": notice.is_over,
        },
    )
