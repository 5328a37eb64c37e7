"""Keeping the lease of an account: nothing is signed that could be accepted after it has passed to another.

While the store does not answer, renewal is tried on. Entries stop with the lease; orders that reduce may go
on as long as renewals are being tried and fail for the store's sake alone: nobody can take the account in a
store that is down. A process that was frozen has not tried, and sends nothing until a renewal succeeds.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import Refused
from perpdesk.domain.ownership import (
    CLOCK_ERROR_MS,
    LEASE_RENEW_MS,
    LEASE_TTL_MS,
    Held,
    Lease,
    LeaseClaim,
)
from perpdesk.ports import Clock, Leases

LOG = logging.getLogger(__name__)
TRY_AGAIN_MS = 1_000


class LeaseHeld(Refused):
    """Another process trades this account. Stop it, or wait until its lease has ended."""

    def __init__(self, held: Held) -> None:
        super().__init__(
            "LEASE_HELD",
            f"account is traded by {held.by} (pid {held.pid} on {held.host}, build {held.build_hash[:12]}) "
            f"until {held.until_ms}",
        )
        self.held = held


class LeaseLost(Refused):
    """Another process has taken the account over. This one stops; its stops stay on the exchange."""

    def __init__(self, account_id: int) -> None:
        super().__init__("LEASE_LOST", f"account {account_id} was taken over by another process")


@dataclass
class LeaseKeeper:
    """The lease of one process. recv_window_ms: how long a signed request may live."""

    leases: Leases
    claim: LeaseClaim
    clock: Clock
    ttl_ms: int = LEASE_TTL_MS
    renew_ms: int = LEASE_RENEW_MS
    recv_window_ms: int = 5_000
    lease: Lease | None = None
    is_lost: bool = False
    failing_since_ms: int | None = None
    _tried_ms: int = field(default=0)

    @property
    def epoch(self) -> int:
        """Of the lease; 0 without one."""
        return 0 if self.lease is None else self.lease.epoch

    async def take(self, *, above_epoch: int = 0, dead_owner: str | None = None) -> Lease:
        """Take the account and wait until the lease begins. Raises LeaseHeld, StoreFailed."""
        now_ms = self.clock.now_ms()
        answer = await self.leases.take_lease(
            self.claim,
            now_ms,
            ttl_ms=self.ttl_ms,
            above_epoch=above_epoch,
            dead_owner=dead_owner,
            recv_window_ms=self.recv_window_ms,
        )
        if isinstance(answer, Held):
            raise LeaseHeld(answer)
        self.lease, self._tried_ms = answer, now_ms
        return answer

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeaseLost."""
        while True:
            await self.clock.sleep_until(self.clock.now_ms() + self._pause_ms())
            await self.renew()

    async def renew(self) -> None:
        """Renew once. Raises LeaseLost; a store that does not answer is only noted."""
        assert self.lease is not None, "take it first"
        now_ms = self._tried_ms = self.clock.now_ms()
        try:
            renewed = await self.leases.renew_lease(self.lease, now_ms, ttl_ms=self.ttl_ms)
        except StoreFailed as error:
            if self.failing_since_ms is None:
                self.failing_since_ms = now_ms
            LOG.warning("the lease could not be renewed: %s", error)
            return
        self.failing_since_ms = None
        if renewed is None:
            self.is_lost = True
            raise LeaseLost(self.claim.account_id)
        self.lease = renewed

    async def release(self) -> None:
        """Let it go when nothing that was signed under it can be accepted any more."""
        if self.lease is None or self.is_lost:
            return
        try:
            await self.leases.release_lease(self.lease, self.clock.now_ms() + self.recv_window_ms)
        except StoreFailed as error:
            LOG.warning("the lease could not be released, it lapses by itself: %s", error)
        self.lease = None

    def has_room(self, now_ms: int) -> bool:
        """Would a request signed now be dead before the lease ends? (what entries ask)"""
        if self.lease is None or self.is_lost or now_ms < self.lease.from_ms:
            return False
        return self.lease.end_ms - now_ms >= self.recv_window_ms + CLOCK_ERROR_MS

    def end_ms(self) -> int:
        """Until when a signed request may live (what the connection asks before it signs anything)."""
        now_ms = self.clock.now_ms()
        if self.lease is None or self.is_lost or now_ms < self.lease.from_ms:
            return 0
        is_trying = self.failing_since_ms is not None and now_ms - self._tried_ms <= 2 * self.renew_ms
        if is_trying:
            return max(self.lease.end_ms, now_ms + 2 * (self.recv_window_ms + CLOCK_ERROR_MS))
        return self.lease.end_ms

    def _pause_ms(self) -> int:
        return TRY_AGAIN_MS if self.failing_since_ms is not None else self.renew_ms
