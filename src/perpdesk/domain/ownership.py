"""Who may send orders for an account: leases with epochs, heartbeats, and symbols that belong to a strategy.

Times are UTC ms of the speaker's own clock. Every clock is taken to be within CLOCK_ERROR_MS of the truth
(the exchange's time is measured, and a clock that is further off stops entries), so two clocks differ by at
most twice that. The database's own time is never asked.
"""

from __future__ import annotations

import msgspec

from perpdesk.domain.errors import Refused

CLOCK_ERROR_MS = 500
# A signed request lives for at most 5 s; an owner that renews every 5 s survives one lost renewal and more.
LEASE_TTL_MS = 20_000
LEASE_RENEW_MS = 5_000


class LeaseClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What a process says of itself when it wants an account. ``owner`` is unique to the process's life."""

    account_id: int
    owner: str
    host: str
    pid: int
    build_hash: str
    params_hash: str | None = None


class SeenDead(msgspec.Struct, frozen=True, kw_only=True):
    """An owner of this machine whose file lock was seen free at ``ms``: it signed nothing after that."""

    owner: str
    epoch: int
    ms: int


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to send for an account within [from_ms, end_ms) of the holder's clock.

    ``epoch`` rises with every change of hands and never falls: a higher one has always the right.
    """

    account_id: int
    owner: str
    epoch: int
    from_ms: int
    end_ms: int


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The answer "another process has it": who, where, and from when it may be taken (the asker's clock)."""

    by: str
    host: str
    pid: int
    epoch: int
    build_hash: str
    until_ms: int


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """The lease as it is written down. ``expires_ms`` is of the owner's clock."""

    account_id: int
    owner: str
    epoch: int
    expires_ms: int
    taken_ms: int
    renewed_ms: int
    build_hash: str
    params_hash: str | None
    host: str
    pid: int


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A guardian's sign of life for one strategy of an account."""

    account_id: int
    strategy: str
    instance: str
    epoch: int
    seq: int
    beat_ms: int
    build_hash: str
    config_hash: str | None = None


class SymbolOwner(msgspec.Struct, frozen=True, kw_only=True):
    """The one strategy that may trade a symbol on an account (the versions of score count as one)."""

    account_id: int
    symbol: str
    strategy: str
    since_ms: int


class SymbolTaken(Refused):
    """Another strategy of the account trades this symbol. Wait until it frees the symbol."""

    def __init__(self, owner: SymbolOwner) -> None:
        super().__init__(
            "SYMBOL_TAKEN",
            f"{owner.symbol} of account {owner.account_id} belongs to {owner.strategy} "
            f"since {owner.since_ms}",
        )
        self.owner = owner
