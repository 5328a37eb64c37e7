"""What the radar writes: snapshots into the table of each row's day, anomalies, holes; old days go."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from perpdesk.domain.books import JournalEntry
from perpdesk.domain.days import utc_day
from perpdesk.domain.signal_books import OiAnomaly, OiSnapshot
from perpdesk.domain.units import half_away
from perpdesk.kernel.records import DAY_MS
from perpdesk.market.radar.judge import Decision, Judge
from perpdesk.market.radar.poll import Poll
from perpdesk.market.radar.source import FUNDING_HOURS
from perpdesk.strategies.oi_breakout.window import WINDOW_MS

# Tomorrow's table is made this long before the day, and old ones go this long after midnight.
_AHEAD_MS, _AFTER_MS = 600_000, 600_000


class InterestBooks(Protocol):
    """The part of the store that the radar uses."""

    async def create_oi_day(self, day: str) -> bool: ...
    async def oi_days(self) -> list[str]: ...
    async def drop_old_oi_days(self, today: str, ms: int, keep_days: int = 20) -> list[str]: ...
    async def record_oi(self, snapshots: Sequence[OiSnapshot]) -> int: ...
    async def oi_snapshots(
        self, from_ms: int, until_ms: int, symbol: str | None = None
    ) -> list[OiSnapshot]: ...
    async def record_oi_anomalies(self, anomalies: Sequence[OiAnomaly]) -> int: ...
    async def oi_anomalies(
        self, from_ms: int | None = None, until_ms: int | None = None, symbol: str | None = None
    ) -> list[OiAnomaly]: ...
    async def append_journal(self, entries: Sequence[JournalEntry]) -> None: ...


class Recorder:
    """Writes polls and decisions into the books."""

    def __init__(self, books: InterestBooks, keep_days: int) -> None:
        self.books, self.keep_days = books, keep_days
        self._days: set[str] = set()
        self._swept = ""

    async def remember(self, judge: Judge, now_ms: int) -> None:
        """Fill the windows from the last two hours' rows, and know what was recorded lately."""
        for row in await self.books.oi_snapshots(now_ms - WINDOW_MS - DAY_MS // 24, now_ms + 1):
            judge.replay_row(row.symbol, row.received_ms, row.open_interest, row.mark_price)
        judge.remember_recorded(await self.books.oi_anomalies(now_ms - WINDOW_MS, now_ms + 1))

    async def write(self, poll: Poll, decisions: Sequence[Decision], judge: Judge) -> int:
        """One poll, and what was decided on it. Returns how many snapshots were new."""
        snapshots = [
            OiSnapshot(
                symbol=row.symbol,
                open_interest=half_away(row.amount, 8),
                received_ms=row.received_ms,
                poll_ms=poll.slot_ms,
                sum_open_interest=None if row.mark is None else half_away(row.amount * row.mark.price, 8),
                mark_price=None if row.mark is None else half_away(row.mark.price, 12),
                funding_rate=_rate(None if row.mark is None else row.mark.rate),
                funding_interval_h=judge.funding_hours.get(row.symbol, FUNDING_HOURS),
            )
            for row in poll.rows
            if row.amount is not None
        ]
        for day in {utc_day(one.received_ms) for one in snapshots}:
            await self._make(day)
        new = await self.books.record_oi(snapshots)
        anomalies = [one for decision in decisions for one in decision.anomalies]
        if anomalies:
            await self.books.record_oi_anomalies(anomalies)
        return new

    async def note_hole(self, kind: str, now_ms: int, **what: object) -> None:
        """A hole in what was recorded: skipped slots, symbols without an answer, a list that changed."""
        await self.books.append_journal([JournalEntry(ms=now_ms, kind=kind, payload=what)])

    async def keep_house(self, now_ms: int) -> list[str]:
        """Make tomorrow's table in time, drop days that are too old. Returns the days that were dropped."""
        await self._make(utc_day(now_ms + _AHEAD_MS))
        today = utc_day(now_ms)
        if self._swept == today or now_ms % DAY_MS < _AFTER_MS:
            return []
        dropped = await self.books.drop_old_oi_days(today, now_ms, self.keep_days)
        self._swept = today
        return dropped

    async def _make(self, day: str) -> None:
        if day not in self._days:
            await self.books.create_oi_day(day)
            self._days.add(day)


def _rate(rate: Decimal | None) -> Decimal | None:
    return None if rate is None else half_away(rate, 8)
