"""Owning an account: one sender, with a fence that even a frozen process cannot get over.

Two things make an owner. The **lease** in the database (epoch, end) decides between machines. The **owner
file** in the control folder (epoch, last beat) with a file lock decides on one machine, with the database
down. Nothing is signed that could outlive either: ``lease_end_ms`` is what `Rest` asks before each signature,
``entry_end_ms`` what may increase exposure asks (with the database silent, only exits go on).

What a dead owner signed lives on for seconds, and the next one signs nothing meanwhile. An owner that
``arms`` says in its file when it is about to send the first request that changes something: one that died
before that left nothing on its way, and its successor waits only for whom it was waiting for itself.

A process that wakes after its end finds its end passed. One whose clock was set back, or whose owner file
has another's epoch, has no end at all (0).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

import msgspec

from perpdesk.domain.books import Failed, Missing, StoreFailed
from perpdesk.domain.errors import LeaseHeld, NeedsPerson
from perpdesk.domain.ownership import (
    CLOCK_ERROR_MS,
    LEASE_RENEW_MS,
    LEASE_TTL_MS,
    Held,
    Lease,
    LeaseClaim,
    SeenDead,
)
from perpdesk.ports import Clock, Folder, FolderLock, Leases

BEAT_MS = 1_000
RECV_WINDOW_MS = 5_000
# A renewal that takes longer counts as none.
SILENT_MS = 3_000
SIGNING_MS = 500  # between looking at the lease's end and signing


class OwnerBeat(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's sign of life in the control folder. ``obeys_seq``: the newest word that it has obeyed.

    from_ms: it signed nothing before; is_armed: it may have sent something that changes the account; after:
    dead owners in whose place it is about to be, one of whom may still have the lease (then ms is theirs).
    """

    account_id: int
    owner: str
    host: str
    pid: int
    epoch: int
    ms: int
    ttl_ms: int
    recv_window_ms: int
    obeys_seq: int = 0
    rung: str = "normal"
    name: str = ""
    from_ms: int = 0
    is_armed: bool = True
    after: tuple[str, ...] = ()

    @property
    def seal(self) -> str:
        """Its checksum."""
        text = "\n".join(str(getattr(self, name)) for name in OwnerBeat.__struct_fields__)
        return hashlib.sha256(text.encode()).hexdigest()


class _Sealed(OwnerBeat, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sealed: str


_DECODER = msgspec.json.Decoder(_Sealed)


class OwnerState(Enum):
    """What others can tell of an owner."""

    ALIVE = "alive"
    STALE = "stale"
    ABSENT = "absent"
    UNKNOWN = "unknown"


def owner_name(account_id: int) -> str:
    """The owner file of an account."""
    return f"{account_id}.owner.json"


def read_owner(folder: Folder, account_id: int) -> OwnerBeat | Missing | Failed:
    """The last beat in the folder. Never raises."""
    try:
        content = folder.read(owner_name(account_id))
    except OSError as error:
        return Failed(reason=str(error))
    if content is None:
        return Missing()
    try:
        found = _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Failed(reason=f"the owner file of account {account_id} is garbled: {error}")
    beat = OwnerBeat(**{name: getattr(found, name) for name in OwnerBeat.__struct_fields__})
    if found.sealed != beat.seal or beat.account_id != account_id:
        return Failed(reason=f"the owner file of account {account_id} is garbled: wrong checksum or account")
    return beat


def stale_from_ms(beat: OwnerBeat, clock_error_ms: int = CLOCK_ERROR_MS) -> int:
    """From when on nothing that this owner signed can be accepted any more, and another may take over."""
    return beat.ms + beat.ttl_ms + beat.recv_window_ms + 2 * clock_error_ms


def state_of(
    beat: OwnerBeat | Missing | Failed, now_ms: int, clock_error_ms: int = CLOCK_ERROR_MS
) -> OwnerState:
    """Is the owner alive, as far as its file tells?"""
    if isinstance(beat, Missing):
        return OwnerState.ABSENT
    if isinstance(beat, Failed):
        return OwnerState.UNKNOWN
    return OwnerState.STALE if now_ms >= stale_from_ms(beat, clock_error_ms) else OwnerState.ALIVE


class Ownership:
    """This process's right to send for one account. ``lost``: why it has none any more (None: it has)."""

    def __init__(
        self,
        *,
        claim: LeaseClaim,
        leases: Leases | None,
        folder: Folder,
        clock: Clock,
        name: str = "",
        ttl_ms: int = LEASE_TTL_MS,
        renew_ms: int = LEASE_RENEW_MS,
        clock_error_ms: int = CLOCK_ERROR_MS,
        recv_window_ms: int = RECV_WINDOW_MS,
        arms: bool = False,
    ) -> None:
        if ttl_ms <= recv_window_ms + 2 * clock_error_ms + SIGNING_MS:
            raise ValueError("a lease must live longer than a request")
        self._claim = claim
        self._leases = leases
        self._folder = folder
        self._clock = clock
        self._name = name
        self._ttl_ms = ttl_ms
        self._renew_ms = renew_ms
        self._clock_error_ms = clock_error_ms
        self._recv_window_ms = recv_window_ms
        self._arms = arms
        self._is_armed = not arms
        self._locks: list[FolderLock] = []
        self._lease: Lease | None = None
        self._epoch = 0
        self._from_ms = 0
        self._beat_ms = 0
        self._asked_ms: int | None = None
        self._stamp: tuple[int, ...] | None = None
        self._newest_ms = 0
        self._obeys: Callable[[], tuple[int, str]] = lambda: (0, "normal")
        self._silent = False
        self.lost: str | None = "never acquired"

    @property
    def claim(self) -> LeaseClaim:
        """What this process says of itself."""
        return self._claim

    def has_room(self, now_ms: int) -> bool:
        """Would an order that increases exposure, signed now, be dead before another may own the account?"""
        return self.entry_end_ms() - now_ms >= self._recv_window_ms + self._clock_error_ms

    @property
    def epoch(self) -> int:
        """Rises with every change of hands."""
        return self._epoch

    @property
    def from_ms(self) -> int:
        """Nothing may be signed before: a predecessor's request may still be under way."""
        return self._from_ms

    @property
    def database_is_silent(self) -> bool:
        """Has the database not answered the last renewal, or is it taking too long over this one?"""
        asked_ms = self._asked_ms
        return self._silent or (asked_ms is not None and self._clock.now_ms() - asked_ms > SILENT_MS)

    def obeys(self, newest: Callable[[], tuple[int, str]]) -> None:
        """Let the beats tell which word of `perpdesk kill` was obeyed: (its number, the rung)."""
        self._obeys = newest

    # -- what may be signed --------------------------------------------------------------------------

    def lease_end_ms(self) -> int:
        """Our time beyond which no request may live; 0: sign nothing. Never raises."""
        file_end_ms = self._file_end_ms()
        if file_end_ms == 0 or self.database_is_silent:
            return file_end_ms
        return 0 if self._lease is None else min(self._lease.end_ms, file_end_ms)

    def entry_end_ms(self) -> int:
        """The same for what may increase exposure: a lease in the database, silent or not, is needed."""
        file_end_ms = self._file_end_ms()
        return 0 if self._lease is None else min(self._lease.end_ms, file_end_ms)

    def arm(self) -> bool:
        """Ask before each request that changes something, right before it is signed. False: it could not be
        written down that this owner sends, so it may not. An owner that does not ``arms`` is always armed."""
        if self._is_armed or self.lost is not None:
            return self._is_armed
        self._is_armed = True
        try:
            self._is_armed = self._write_beat(durable=True)
        except NeedsPerson:
            self._is_armed = False
        return self._is_armed

    def _file_end_ms(self) -> int:
        if self.lost is not None:
            return 0
        now_ms = self._clock.now_ms()
        if now_ms < self._newest_ms - self._clock_error_ms:
            return 0  # our clock was set back: how old the last beat is cannot be told
        self._newest_ms = max(self._newest_ms, now_ms)
        if now_ms < self._from_ms or not self._is_mine():
            return 0
        return self._beat_ms + self._ttl_ms

    def _is_mine(self) -> bool:
        try:
            if (
                self._stamp is not None
                and self._folder.stamp(owner_name(self._claim.account_id)) == self._stamp
            ):
                return True
        except OSError:
            return False
        found = read_owner(self._folder, self._claim.account_id)
        if isinstance(found, OwnerBeat) and not self._is_own(found):
            self._lose(f"{found.owner} took over with epoch {found.epoch}")
        return False  # what is gone or garbled is written anew by the next beat

    def _is_own(self, beat: OwnerBeat) -> bool:
        return (beat.owner, beat.epoch) == (self._claim.owner, self._epoch)

    def _lose(self, why: str) -> None:
        if self.lost is None:
            self.lost = why

    # -- life ----------------------------------------------------------------------------------------

    async def acquire(self, dead: SeenDead | None = None) -> None:
        """Become the owner. Raises LeaseHeld if another is (or may be), StoreFailed without a database.

        dead: who was seen dead before this call; what it signed dies that much sooner.
        """
        account_id = self._claim.account_id
        assert self._leases is not None, "an owner needs a database"
        try:
            mine = self._lock("owner")
            # Whoever took a stale owner's place holds this one.
            taking = None if mine is None else self._lock("takeover")
            if taking is None:
                raise self._held_by_file(read_owner(self._folder, account_id))
            before = read_owner(self._folder, account_id)
            if isinstance(before, Failed):
                raise NeedsPerson(
                    f"{before.reason}: see that no other process trades account {account_id}, then remove it"
                )
            # The lock was free, so the process that wrote the file is dead.
            known = before if isinstance(before, OwnerBeat) else None
            now_ms = self._clock.now_ms()
            quiet_ms = now_ms if known is None else self._quiet_ms(known, self._died_ms(known, dead, now_ms))
            if known is not None:
                self._announce(known, max(now_ms, quiet_ms))
            found = await self._leases.take_lease(
                self._claim,
                now_ms,
                ttl_ms=self._ttl_ms,
                clock_error_ms=self._clock_error_ms,
                above_epoch=0 if known is None else known.epoch,
                dead_owners=() if known is None else (known.owner, *known.after),
                quiet_ms=quiet_ms,
            )
            if isinstance(found, Held):
                raise LeaseHeld(str(account_id), f"{found.by} on {found.host}", found.until_ms)
            # whom the file names may have owned by its file alone, the database silent
            self._begin(found.epoch, max(found.from_ms, quiet_ms), found)
            self._write_beat(durable=True)
            taking.release()
        except BaseException:
            self._let_go()
            self._lose("not acquired")
            raise

    async def take_over(self) -> None:
        """Take the place of an owner whose beats have stopped, for exits only (no lease is needed).

        Raises LeaseHeld while it may still send, NeedsPerson if that cannot be told.
        """
        account_id = self._claim.account_id
        try:
            if self._lock("takeover") is None:
                raise self._held_by_file(read_owner(self._folder, account_id))
            before = read_owner(self._folder, account_id)
            if isinstance(before, Failed):
                raise NeedsPerson(before.reason)
            now_ms = self._clock.now_ms()
            if isinstance(before, OwnerBeat) and now_ms < stale_from_ms(before, self._clock_error_ms):
                if self._lock("owner") is None:
                    raise self._held_by_file(before)
                from_ms = self._quiet_ms(before, now_ms)  # its process is dead
            else:
                from_ms = now_ms
            epoch = before.epoch + 1 if isinstance(before, OwnerBeat) else 1
            self._begin(epoch, from_ms, None)
            self._silent = True
            self._write_beat(durable=True)
        except BaseException:
            self._let_go()
            self._lose("not taken over")
            raise

    def beat(self) -> None:
        """Tell the folder that we live. Call it every BEAT_MS, whatever the database does."""
        if self.lost is None:
            self._write_beat(durable=False)

    async def renew(self) -> None:
        """Extend the lease. A database that does not answer changes nothing but ``database_is_silent``."""
        if self.lost is not None or self._lease is None or self._leases is None:
            return
        self._asked_ms = now_ms = self._clock.now_ms()
        try:
            renewed = await self._leases.renew_lease(self._lease, now_ms, ttl_ms=self._ttl_ms)
        except StoreFailed:
            self._silent = True
            return
        finally:
            self._asked_ms = None
        if renewed is None:
            self._lose("another process has taken the lease")
            return
        self._silent = False
        self._lease = renewed

    async def run(self) -> None:
        """Beat and renew until it is lost or this task is cancelled. A hanging database stops no beat."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beating())
            group.create_task(self._renewing())

    async def _beating(self) -> None:
        while self.lost is None:
            await self._clock.sleep_until(self._clock.now_ms() + BEAT_MS)
            self.beat()

    async def _renewing(self) -> None:
        while self.lost is None:
            wait_ms = BEAT_MS if self._silent else self._renew_ms
            await self._clock.sleep_until(self._clock.now_ms() + wait_ms)
            await self.renew()

    async def release(self) -> None:
        """Sign nothing more and let the next owner in, once nothing signed can be accepted any more."""
        lease, held = self._lease, self.lost is None
        self._lose("released")
        if held and lease is not None and self._leases is not None:
            free_ms = self._clock.now_ms() + self._recv_window_ms + 2 * self._clock_error_ms
            with suppress(StoreFailed):  # then it ends by itself
                await self._leases.release_lease(lease, free_ms)
        self._let_go()

    # -- inside --------------------------------------------------------------------------------------

    def _begin(self, epoch: int, from_ms: int, lease: Lease | None) -> None:
        self._epoch, self._from_ms, self._lease = epoch, from_ms, lease
        self._is_armed = not self._arms
        self._newest_ms = self._clock.now_ms()
        self._silent = False
        self.lost = None

    def _quiet_ms(self, before: OwnerBeat, died_ms: int) -> int:
        """When nothing that an owner signed, who was dead at that time, can be accepted any more."""
        if not before.is_armed:  # it changed nothing: only what it was waiting for itself can be under way
            own = before.owner == self._claim.owner
            return before.from_ms + (0 if own else 2 * self._clock_error_ms)
        latest_ms = died_ms + self._recv_window_ms + 2 * self._clock_error_ms
        return min(latest_ms, stale_from_ms(before, self._clock_error_ms))

    def _announce(self, known: OwnerBeat, from_ms: int) -> None:
        """Say in a dead owner's file who is about to take its place: a death between the lease and our first
        beat would leave a lease of which no file tells that its owner is dead. It is no sign of life."""
        mine = known.owner == self._claim.owner
        beat = msgspec.structs.replace(
            known,
            owner=self._claim.owner,
            host=self._claim.host,
            pid=self._claim.pid,
            epoch=known.epoch if mine else known.epoch + 1,
            name=self._name,
            from_ms=from_ms,
            is_armed=False,
            after=known.after if mine else (known.owner, *known.after),
        )
        try:
            self._replace(beat, durable=True)
        except OSError as error:
            raise NeedsPerson(f"the owner file cannot be written: {error}") from None

    def _replace(self, beat: OwnerBeat, *, durable: bool) -> None:
        line = msgspec.json.encode(_Sealed(**msgspec.structs.asdict(beat), sealed=beat.seal))
        self._folder.replace(owner_name(beat.account_id), line, durable=durable)

    def _died_ms(self, known: OwnerBeat, dead: SeenDead | None, now_ms: int) -> int:
        seen = dead is not None and (dead.owner, dead.epoch) == (known.owner, known.epoch)
        return min(now_ms, dead.ms) if dead is not None and seen else now_ms

    def _lock(self, what: str) -> FolderLock | None:
        try:
            lock = self._folder.lock(f"{self._claim.account_id}.{what}.lock")
        except OSError as error:
            raise NeedsPerson(f"the control folder cannot be used: {error}") from None
        if lock is not None:
            self._locks.append(lock)
        return lock

    def _let_go(self) -> None:
        for lock in self._locks:
            lock.release()
        self._locks.clear()

    def _write_beat(self, *, durable: bool) -> bool:
        """Beat, unless somebody took over meanwhile. A beat that cannot be written is a beat less: without
        any the right to sign ends by itself. True: it is written."""
        account_id = self._claim.account_id
        now_ms = self._clock.now_ms()
        if now_ms < self._newest_ms - self._clock_error_ms:
            return False
        try:
            alone = self._folder.lock(f"{account_id}.beat.lock")
            if alone is None:
                return False
            try:
                before = read_owner(self._folder, account_id)
                if isinstance(before, OwnerBeat) and not self._is_own(before) and before.epoch >= self._epoch:
                    self._lose(f"{before.owner} took over with epoch {before.epoch}")
                    return False
                self._replace(self._beat(now_ms), durable=durable)
                self._stamp = self._folder.stamp(owner_name(account_id))
                self._beat_ms = now_ms
            finally:
                alone.release()
        except OSError as error:
            if durable:
                raise NeedsPerson(f"the owner file cannot be written: {error}") from None
            return False
        return True

    def _beat(self, now_ms: int) -> OwnerBeat:
        seq, rung = self._obeys()
        return OwnerBeat(
            account_id=self._claim.account_id,
            owner=self._claim.owner,
            host=self._claim.host,
            pid=self._claim.pid,
            epoch=self._epoch,
            ms=now_ms,
            ttl_ms=self._ttl_ms,
            recv_window_ms=self._recv_window_ms,
            obeys_seq=seq,
            rung=rung,
            name=self._name,
            from_ms=self._from_ms,
            is_armed=self._is_armed,
        )

    def _held_by_file(self, beat: OwnerBeat | Missing | Failed) -> LeaseHeld:
        account = str(self._claim.account_id)
        if isinstance(beat, OwnerBeat):
            return LeaseHeld(
                account, f"{beat.owner} (process {beat.pid} on {beat.host})", stale_from_ms(beat)
            )
        return LeaseHeld(account, "a process that has not beaten yet", self._clock.now_ms() + self._ttl_ms)
