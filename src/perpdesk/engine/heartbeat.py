"""The guardian's sign of life: a row every 5 s, and whether the last one is fresh enough to open on.

Openers refuse when the row is missing, unreadable, older than 15 s (exactly 15,000 ms is fresh), more than
2 s in the future, or of another epoch than the lease that they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from perpdesk.domain.books import Failed, Missing
from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.ownership import Heartbeat
from perpdesk.ports import Clock

BEAT_MS = 5_000
STALE_MS = 15_000
FUTURE_MS = 2_000
GUARDIAN_STALE = "GUARDIAN_STALE"


class HeartbeatBooks(Protocol):
    """What a store does with heartbeats."""

    async def beat(self, heartbeat: Heartbeat) -> bool: ...

    async def heartbeat(self, account_id: int, strategy: str) -> Heartbeat | Missing | Failed: ...


def is_fresh(row: Heartbeat | Missing | Failed | None, now_ms: int, *, epoch: int | None = None) -> bool:
    """May an opener rest on this heartbeat? epoch: of the lease that must have beaten it (None: any)."""
    if not isinstance(row, Heartbeat):
        return False
    if epoch is not None and row.epoch != epoch:
        return False
    return -FUTURE_MS <= now_ms - row.beat_ms <= STALE_MS


@dataclass
class Pulse:
    """One strategy's heartbeat: the guardian beats it, the opener looks at it.

    ``judge`` is synchronous: it looks at the newest row that ``beat`` wrote or ``look`` read.
    """

    account_id: int
    strategy: str
    instance: str
    build_hash: str
    config_hash: str | None = None
    epoch: int = 0
    seq: int = 0
    newest: Heartbeat | Missing | Failed | None = None
    failures: int = 0

    async def beat(self, books: HeartbeatBooks, now_ms: int) -> bool:
        """Write one beat. False: it could not be written (counted; openers will find it stale), or a higher
        epoch has beaten since: another guardian owns the account."""
        self.seq += 1
        row = Heartbeat(
            account_id=self.account_id,
            strategy=self.strategy,
            instance=self.instance,
            epoch=self.epoch,
            seq=self.seq,
            beat_ms=now_ms,
            build_hash=self.build_hash,
            config_hash=self.config_hash,
        )
        try:
            written = await books.beat(row)
        except PerpdeskError:
            written = False
        if written:
            self.newest = row
        else:
            self.failures += 1
        return written

    async def look(self, books: HeartbeatBooks) -> None:
        """Read the newest row. What cannot be read is not fresh."""
        try:
            self.newest = await books.heartbeat(self.account_id, self.strategy)
        except PerpdeskError as error:
            self.newest = Failed(reason=str(error))

    def judge(self, now_ms: int, *, epoch: int | None = None) -> str | None:
        """GUARDIAN_STALE, or None if an opener may go on."""
        return None if is_fresh(self.newest, now_ms, epoch=epoch) else GUARDIAN_STALE

    def age_ms(self, now_ms: int) -> int | None:
        """Of the newest beat; None if there is none."""
        return now_ms - self.newest.beat_ms if isinstance(self.newest, Heartbeat) else None


async def beat_for_ever(
    pulses: Sequence[Pulse],
    books: HeartbeatBooks,
    clock: Clock,
    is_working: Callable[[int], bool] = lambda _: True,
) -> None:
    """Beat all strategies every 5 s until cancelled.

    is_working: (now_ms) → does the guardian's own work go on? While it does not, nothing is beaten: a timer
    that runs beside a stuck guardian must not vouch for it.
    """
    while True:
        now_ms = clock.now_ms()
        if is_working(now_ms):
            for pulse in pulses:
                await pulse.beat(books, clock.now_ms())
        await clock.sleep_until(now_ms + BEAT_MS)
