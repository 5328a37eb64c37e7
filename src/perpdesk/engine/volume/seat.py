"""Who runs what, and what all users of one token share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpdesk.domain.volume_books import VolumePair
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.metrics import Metrics
from perpdesk.engine.volume import records
from perpdesk.engine.volume.lanes import Lanes
from perpdesk.engine.volume.ledger import Ledger
from perpdesk.engine.volume.market import Market
from perpdesk.engine.volume.purse import Group, Losses, Slots
from perpdesk.engine.volume.timers import Timers
from perpdesk.engine.volume.venue import OtoVenue
from perpdesk.ports import Clock

if TYPE_CHECKING:
    from perpdesk.engine.volume.user import UserRun


@dataclass(frozen=True, slots=True)
class Shared:
    """What all users of one token share. state_of: RUN or a rung of the kill ladder, None unreadable."""

    clock: Clock
    venue: OtoVenue
    market: Market
    lanes: Lanes
    ledger: Ledger
    timers: Timers
    losses: Losses
    slots: Slots
    group: Group
    alarms: Alarms
    metrics: Metrics
    lease_left_ms: Callable[[], int | None]
    lease_epoch: Callable[[], int]
    state_of: Callable[[int], str | None]
    on_change: Callable[[UserRun], None]
    load_pair: Callable[[str], Awaitable[VolumePair | None]]


@dataclass(frozen=True, slots=True)
class Seat:
    """Who runs what."""

    run_id: int
    strategy_id: str
    user_id: int
    token_key: str
    created_ms: int

    def pair_id(self, seq: int) -> str:
        """The client id of the run's pair with this number."""
        return records.pair_id(self.user_id, self.run_id, self.created_ms, seq)


@dataclass(frozen=True, slots=True)
class Birth:
    """Where a pair belongs."""

    run_id: int
    seq: int
    created_ms: int
