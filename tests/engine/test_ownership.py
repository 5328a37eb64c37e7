"""One sender per account: whatever clocks, crashes, freezes and databases do, no two owners' requests overlap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpdesk.adapters.dead_owner import dead_owner
from perpdesk.adapters.folder import MemoryDisk, MemoryFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import LeaseHeld, NeedsPerson
from perpdesk.domain.ownership import Held, Lease, LeaseClaim, LeaseRow, SeenDead
from perpdesk.engine.ownership import (
    OwnerBeat,
    Ownership,
    OwnerState,
    owner_name,
    read_owner,
    stale_from_ms,
    state_of,
)

T0 = 1_748_044_800_000
TTL, RECV, ERROR = 20_000, 5_000, 500
ACCOUNT = 7
ACCOUNTS = count(1_000)


@dataclass
class World:
    """The true time, and whether the database answers."""

    now_ms: int = T0
    database_down: bool = False
    spans: list[tuple[str, int, int]] = field(default_factory=list)


class Skewed:
    """A clock that is off."""

    def __init__(self, world: World, skew_ms: int) -> None:
        self.world, self.skew_ms = world, skew_ms

    def now_ms(self) -> int:
        return self.world.now_ms + self.skew_ms

    async def sleep_until(self, ms: int) -> None:
        raise AssertionError("nothing here waits")


class Database:
    """The real store's leases, behind a switch."""

    def __init__(self, store: SqlStore, world: World) -> None:
        self._store, self._world = store, world

    def _check(self) -> None:
        if self._world.database_down:
            raise StoreFailed("down")

    async def take_lease(self, claim: LeaseClaim, now_ms: int, **given: int) -> Lease | Held:
        self._check()
        return await self._store.take_lease(claim, now_ms, **given)

    async def renew_lease(self, lease: Lease, now_ms: int, *, ttl_ms: int) -> Lease | None:
        self._check()
        return await self._store.renew_lease(lease, now_ms, ttl_ms=ttl_ms)

    async def release_lease(self, lease: Lease, free_ms: int) -> bool:
        self._check()
        return await self._store.release_lease(lease, free_ms)

    async def lease(self, account_id: int) -> LeaseRow | None:
        return await self._store.lease(account_id)


@dataclass
class Process:
    """A process that wants the account, on a machine, with a clock of its own. It may die and be born anew."""

    name: str
    world: World
    database: Database
    disk: MemoryDisk
    skew_ms: int
    clock_error_ms: int = ERROR
    account_id: int = ACCOUNT
    life: int = 0
    seen: SeenDead | None = None

    def __post_init__(self) -> None:
        self.born()

    def born(self) -> None:
        self.life += 1
        self.seen = None
        self.folder = MemoryFolder(self.disk)
        self.clock = Skewed(self.world, self.skew_ms)
        self.owning = Ownership(
            claim=LeaseClaim(
                account_id=self.account_id,
                owner=f"{self.name}.{self.life}",
                host=self.name,
                pid=self.life,
                build_hash="b",
            ),
            leases=self.database,
            folder=self.folder,
            clock=self.clock,
            ttl_ms=TTL,
            clock_error_ms=self.clock_error_ms,
            recv_window_ms=RECV,
            arms=self.name != "c",
        )

    def die(self) -> None:
        self.folder.crash()
        self.born()

    def may(self, end_ms: int) -> bool:
        """What Rest asks before it signs."""
        return end_ms >= self.clock.now_ms() + RECV

    def sign(self, *, entry: bool) -> bool:
        end_ms = self.owning.entry_end_ms() if entry else self.owning.lease_end_ms()
        may = self.may(end_ms) and self.owning.arm()
        if may:
            now_ms = self.world.now_ms  # the exchange's time: the stamp is corrected to it
            self.world.spans.append((f"{self.name}.{self.life}", now_ms, now_ms + RECV))
        return may


def overlaps(spans: list[tuple[str, int, int]]) -> list[tuple[object, object]]:
    """Requests of different owners that the exchange could accept at the same time."""
    return [(a, b) for a in spans for b in spans if a[0] < b[0] and a[1] < b[2] and b[1] < a[2]]


# What each of the three does at an instant, in this order. `want` and `take` also sign if they get it.
DEEDS = ["freeze", "freeze", "live", "live", "live", "beat", "renew", "sign", "want", "want", "take"]
RARE = ["die", "release", "database", "full", "see", "see"]
MOMENT = st.tuples(
    st.sampled_from([0, 1, 400, 999, 1_000, 4_500, 5_001, 6_000, 9_000, 20_001, 21_000, 26_001]),
    st.tuples(*[st.sampled_from(DEEDS * 3 + RARE)] * 3),
)
STEPS = st.lists(MOMENT, min_size=10, max_size=50)
SKEWS = st.tuples(*[st.sampled_from([-ERROR, -ERROR + 1, 0, 37, ERROR - 1, ERROR])] * 3)


async def play(
    store: SqlStore,
    steps: list[tuple[int, tuple[str, ...]]],
    skews: tuple[int, int, int],
    *,
    machines: int,
    entries: bool,
    faults: bool,
    clock_error_ms: int = ERROR,
) -> World:
    """Live through the steps on an account of its own; what was signed is in the world afterwards."""
    world = World()
    account_id = next(ACCOUNTS)
    disks = [MemoryDisk() for _ in range(machines)]
    database = Database(store, world)
    people = [
        Process(name, world, database, disks[i % machines], skews[i], clock_error_ms, account_id)
        for i, name in enumerate("abc")
    ]
    for ms, deeds in steps:
        world.now_ms += ms
        for one, deed in zip(people, deeds, strict=True):
            try:
                await act(one, deed, machines=machines, faults=faults)
            except (LeaseHeld, StoreFailed, NeedsPerson):
                continue
            if deed in ("live", "sign", "want", "take"):
                one.sign(entry=entries)
    return world


async def act(one: Process, deed: str, *, machines: int, faults: bool) -> None:
    """One deed of one process."""
    owning = one.owning
    if deed in ("beat", "live"):
        owning.beat()
    if deed in ("renew", "live"):
        await owning.renew()
    if deed in ("want", "take") and owning.lost is not None:
        if owning.lost not in ("never acquired", "not acquired", "not taken over"):
            one.die()  # an owner that lost its right ends; the next life may want it again
        if deed == "want":
            await one.owning.acquire(one.seen)
        elif machines == 1:
            await one.owning.take_over()
    if deed == "see":  # what a process looks at before it loads anything
        one.seen = dead_owner(one.folder, one.account_id, one.clock.now_ms())
    if deed == "release":
        await owning.release()
    if deed == "die":
        one.die()
    if deed == "database" and faults:
        one.world.database_down = not one.world.database_down
    if deed == "full":
        one.disk.full = not one.disk.full


@pytest_asyncio.fixture
async def store() -> AsyncIterator[SqlStore]:
    async with await SqlStore.open("sqlite://") as store:
        yield store


MANY = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(steps=STEPS, skews=SKEWS)
async def test_three_machines_never_sign_at_the_same_time(store, steps, skews) -> None:
    world = await play(store, steps, skews, machines=3, entries=False, faults=False)
    assert overlaps(world.spans) == []


@MANY
@given(steps=STEPS, skews=SKEWS)
async def test_three_machines_with_a_failing_database_never_open_at_the_same_time(
    store, steps, skews
) -> None:
    world = await play(store, steps, skews, machines=3, entries=True, faults=True)
    assert overlaps(world.spans) == []


@MANY
@given(steps=STEPS, skews=SKEWS)
async def test_one_machine_with_a_failing_database_never_has_two_senders(store, steps, skews) -> None:
    world = await play(store, steps, skews, machines=1, entries=False, faults=True)
    assert overlaps(world.spans) == []


HAND_OVER: list[tuple[int, tuple[str, ...]]] = [
    (0, ("want", "freeze", "freeze")),
    *[(1_000, ("beat", "freeze", "freeze"))] * 14,
    (999, ("sign", "freeze", "freeze")),
    (4_001, ("freeze", "want", "freeze")),
]


async def test_planted_a_taker_that_forgets_the_clock_error_is_found(store) -> None:
    """The owner's clock is late, the taker's early: without the margin their requests overlap."""
    skews = (-ERROR, ERROR, 0)
    wrong = await play(store, HAND_OVER, skews, machines=2, entries=False, faults=False, clock_error_ms=0)
    assert overlaps(wrong.spans)
    right = await play(store, HAND_OVER, skews, machines=2, entries=False, faults=False)
    assert {name for name, *_ in right.spans} == {"a.1"}


@pytest_asyncio.fixture
async def database(store: SqlStore) -> tuple[World, Database]:
    world = World()
    return world, Database(store, world)


def process(found: tuple[World, Database], name: str, disk: MemoryDisk | None = None) -> Process:
    return Process(name, found[0], found[1], MemoryDisk() if disk is None else disk, 0)


async def test_the_second_of_one_machine_is_refused_and_told_who_owns(database) -> None:
    disk = MemoryDisk()
    first, second = process(database, "a", disk), process(database, "b", disk)
    await first.owning.acquire()
    assert first.sign(entry=True)
    with pytest.raises(LeaseHeld, match=r"a\.1 \(process 1 on a\)") as refused:
        await second.owning.acquire()
    assert refused.value.exit_code == 5
    assert not second.sign(entry=False)
    assert first.sign(entry=True)


async def test_a_frozen_owner_wakes_without_a_right(database) -> None:
    """Issue: the owner frozen for longer than its lease and woken: no order of its reaches the exchange."""
    world, _ = database
    frozen, heir = process(database, "a"), process(database, "b")
    await frozen.owning.acquire()
    world.now_ms += TTL + 2 * ERROR
    await heir.owning.acquire()
    assert heir.owning.epoch == 2
    assert heir.sign(entry=True)
    assert not frozen.sign(entry=False)  # it has not even looked
    frozen.owning.beat()
    assert not frozen.sign(entry=False)
    await frozen.owning.renew()
    assert frozen.owning.lost == "another process has taken the lease"
    frozen.owning.beat()
    assert not frozen.sign(entry=False)
    assert heir.sign(entry=True)


async def test_a_restart_on_the_same_machine_waits_only_for_the_dead_ones_requests(database) -> None:
    world, _ = database
    one = process(database, "a")
    await one.owning.acquire()
    assert one.sign(entry=True)
    one.owning.beat()
    world.now_ms += 500
    one.die()
    await one.owning.acquire()
    assert one.owning.epoch == 2
    assert one.owning.from_ms == world.now_ms + RECV + 2 * ERROR
    assert not one.sign(entry=False)
    world.now_ms = one.owning.from_ms
    assert one.sign(entry=True)


async def test_who_died_before_it_changed_anything_is_not_waited_for(database) -> None:
    """Three deaths in a row while recovering: only what the first one signed can be under way."""
    world, _ = database
    one = process(database, "a")
    await one.owning.acquire()
    assert one.sign(entry=True)
    world.now_ms += 500
    one.die()
    quiet_ms = world.now_ms + RECV + 2 * ERROR
    for death in range(3):
        await one.owning.acquire()
        assert one.owning.from_ms == quiet_ms + death * 2 * ERROR, "each clock may be off by an error"
        assert one.may(one.owning.lease_end_ms()) is False
        one.die()
        world.now_ms += 1_000
    world.now_ms = quiet_ms + 60_000
    await one.owning.acquire()
    assert one.owning.from_ms == world.now_ms, "it has read for a minute, and signed nothing that changes"
    assert one.sign(entry=True)
    one.die()
    await one.owning.acquire()
    assert one.owning.from_ms == world.now_ms + RECV + 2 * ERROR


async def test_a_death_between_the_lease_and_the_file_does_not_lock_the_account(database) -> None:
    world, _ = database
    one = process(database, "a")
    await one.owning.acquire()
    assert one.sign(entry=True)
    quiet_ms = world.now_ms + RECV + 2 * ERROR
    for death in range(3):
        one.die()
        taking = one.owning._leases.take_lease

        async def taken_and_dead(*given, taking=taking, **more):
            await taking(*given, **more)
            raise StoreFailed("the answer is lost, and then the process")

        one.owning._leases = SimpleNamespace(take_lease=taken_and_dead)
        with pytest.raises(StoreFailed):
            await one.owning.acquire()
        told = read_owner(one.folder, ACCOUNT)
        assert isinstance(told, OwnerBeat)
        assert (told.ms, told.is_armed, len(told.after)) == (T0, False, death + 1), "it is no sign of life"
    one.die()
    await one.owning.acquire()
    assert one.owning.from_ms == quiet_ms + 3 * 2 * ERROR
    assert read_owner(one.folder, ACCOUNT).after == ()


async def test_an_owner_that_cannot_say_that_it_sends_sends_nothing(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one = process(database, "a", disk)
    await one.owning.acquire()
    disk.full = True
    assert not one.sign(entry=True)
    disk.full = False
    assert one.sign(entry=True)
    told = read_owner(one.folder, ACCOUNT)
    assert isinstance(told, OwnerBeat)
    assert told.is_armed


async def test_planted_an_owner_that_sends_unarmed_is_found(store, monkeypatch) -> None:
    """Its successor would not wait for what it signed."""
    idle = ("freeze", "freeze")
    told = [(0, ("want", *idle)), (1_000, ("live", *idle)), (1, ("die", *idle)), (1, ("want", *idle))]
    right = await play(store, told, (0, 0, 0), machines=1, entries=False, faults=False)
    assert overlaps(right.spans) == []
    monkeypatch.setattr(Ownership, "arm", lambda self: True)
    wrong = await play(store, told, (0, 0, 0), machines=1, entries=False, faults=False)
    assert overlaps(wrong.spans)


async def test_a_death_that_was_seen_early_is_waited_for_from_then_on(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one, heir = process(database, "a", disk), process(database, "b", disk)
    await one.owning.acquire()
    assert dead_owner(heir.folder, ACCOUNT, world.now_ms) is None  # it lives
    assert one.sign(entry=False)
    one.folder.crash()
    seen = dead_owner(heir.folder, ACCOUNT, world.now_ms)
    assert seen == SeenDead(owner="a.1", epoch=1, ms=world.now_ms)
    world.now_ms += 4_000
    await heir.owning.acquire(seen)
    assert heir.owning.from_ms == seen.ms + RECV + 2 * ERROR
    assert not heir.sign(entry=False)
    world.now_ms = heir.owning.from_ms
    assert heir.sign(entry=True)


async def test_a_death_that_was_seen_is_not_another_ones(database) -> None:
    """Between the look and the start somebody else owned the account, and died later."""
    world, _ = database
    disk = MemoryDisk()
    one, other, heir = (process(database, name, disk) for name in "abc")
    await one.owning.acquire()
    one.folder.crash()
    seen = dead_owner(heir.folder, ACCOUNT, world.now_ms)
    world.now_ms += 6_000
    await other.owning.acquire()
    world.now_ms = other.owning.from_ms
    assert other.sign(entry=False)
    other.folder.crash()
    await heir.owning.acquire(seen)
    assert heir.owning.from_ms == world.now_ms + RECV + 2 * ERROR


async def test_a_watch_in_an_owners_place_is_not_seen_dead(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one, watch = process(database, "a", disk), process(database, "w", disk)
    await one.owning.acquire()
    one.folder.crash()
    world.now_ms += TTL + RECV + 2 * ERROR
    await watch.owning.take_over()
    assert dead_owner(process(database, "b", disk).folder, ACCOUNT, world.now_ms) is None


async def test_a_lease_of_another_machine_is_not_taken_for_a_dead_neighbours(database) -> None:
    """The epochs are the same by chance: machine A counted its own while the database was down."""
    world, _ = database
    disk = MemoryDisk()
    one = process(database, "a", disk)
    await one.owning.acquire()
    one.folder.crash()
    world.now_ms += TTL + RECV + 2 * ERROR
    taker = process(database, "t", disk)
    await taker.owning.take_over()
    other = process(database, "b")
    await other.owning.acquire()
    assert taker.owning.epoch == other.owning.epoch == 2
    taker.folder.crash()
    again = process(database, "x", disk)
    with pytest.raises(LeaseHeld, match=r"b\.1"):
        await again.owning.acquire()


async def test_with_the_database_down_only_exits_go_on(database) -> None:
    world, _ = database
    one = process(database, "a")
    await one.owning.acquire()
    world.database_down = True
    for _ in range(60):
        world.now_ms += 1_000
        one.owning.beat()
        await one.owning.renew()
    assert one.owning.database_is_silent
    assert one.sign(entry=False)
    assert not one.sign(entry=True)
    world.database_down = False
    await one.owning.renew()
    assert one.sign(entry=True)
    assert one.owning.epoch == 1


async def test_a_renewal_that_hangs_counts_as_silence(database) -> None:
    world, _ = database
    one = process(database, "a")
    await one.owning.acquire()
    one.owning._asked_ms = world.now_ms
    world.now_ms += TTL
    one.owning.beat()
    assert one.owning.database_is_silent
    assert one.sign(entry=False)
    assert not one.sign(entry=True)


async def test_an_owner_whose_folder_breaks_stops_by_itself(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one = process(database, "a", disk)
    await one.owning.acquire()
    disk.broken = True
    assert not one.sign(entry=False)
    world.now_ms += 1_000
    one.owning.beat()
    disk.broken = False
    assert one.sign(entry=True)
    disk.put(owner_name(ACCOUNT), b"{garbled")
    assert not one.sign(entry=False)
    one.owning.beat()
    assert one.sign(entry=False)


async def test_an_owner_whose_disk_is_full_ends_by_itself(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one = process(database, "a", disk)
    await one.owning.acquire()
    disk.full = True
    for _ in range(TTL // 1_000):
        world.now_ms += 1_000
        one.owning.beat()
        await one.owning.renew()
    assert one.sign(entry=False) is False
    assert one.owning.lost is None
    disk.full = False
    one.owning.beat()
    assert one.sign(entry=True)


async def test_an_owner_that_cannot_beat_ends_before_others_may_take_over(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one, other = process(database, "a", disk), process(database, "b", disk)
    await one.owning.acquire()
    while one.sign(entry=False):
        world.now_ms += 100
        await one.owning.renew()  # the database is well
    last_ms = max(end for _, _, end in world.spans)
    with pytest.raises(LeaseHeld):
        await other.owning.take_over()
    world.now_ms = T0 + TTL + RECV + 2 * ERROR
    assert last_ms <= T0 + TTL
    await other.owning.take_over()
    assert other.sign(entry=False)
    assert not other.sign(entry=True)
    assert not one.sign(entry=False)
    assert one.owning.lost == "b.1 took over with epoch 2"


async def test_of_two_takers_one_takes_over(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one, other, third = (process(database, name, disk) for name in "abc")
    await one.owning.acquire()
    world.now_ms += TTL + RECV + 2 * ERROR
    await other.owning.take_over()
    with pytest.raises(LeaseHeld, match=r"b\.1"):
        await third.owning.take_over()
    with pytest.raises(LeaseHeld):
        await third.owning.acquire()


async def test_a_clock_that_is_set_back_signs_nothing(database) -> None:
    one = process(database, "a")
    await one.owning.acquire()
    assert one.sign(entry=True)
    one.clock.skew_ms = -600_000
    assert not one.sign(entry=False)
    one.owning.beat()
    assert not one.sign(entry=False)
    one.clock.skew_ms = 0
    assert one.sign(entry=True)


async def test_released_is_released(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one, other = process(database, "a", disk), process(database, "b")
    await one.owning.acquire()
    await one.owning.release()
    assert not one.sign(entry=False)
    one.owning.beat()
    await one.owning.renew()
    assert not one.sign(entry=False)
    with pytest.raises(LeaseHeld):
        await other.owning.acquire()
    world.now_ms += RECV + 4 * ERROR
    await other.owning.acquire()
    assert other.sign(entry=True)


async def test_without_a_database_nobody_becomes_an_owner_and_the_lock_is_free_again(database) -> None:
    world, _ = database
    one = process(database, "a")
    world.database_down = True
    with pytest.raises(StoreFailed):
        await one.owning.acquire()
    world.database_down = False
    await one.owning.acquire()
    assert one.sign(entry=True)


async def test_a_garbled_owner_file_needs_a_person(database) -> None:
    disk = MemoryDisk()
    disk.put(owner_name(ACCOUNT), b'{"account_id":7}')
    one = process(database, "a", disk)
    with pytest.raises(NeedsPerson, match="garbled"):
        await one.owning.acquire()
    with pytest.raises(NeedsPerson, match="garbled"):
        await one.owning.take_over()


async def test_the_file_tells_others_what_they_need(database) -> None:
    world, _ = database
    disk = MemoryDisk()
    one = process(database, "a", disk)
    assert state_of(read_owner(one.folder, ACCOUNT), world.now_ms) is OwnerState.ABSENT
    one.owning.obeys(lambda: (12, "halt"))
    await one.owning.acquire()
    beat = read_owner(one.folder, ACCOUNT)
    assert isinstance(beat, OwnerBeat)
    assert (beat.epoch, beat.ms, beat.obeys_seq, beat.rung, beat.pid) == (1, T0, 12, "halt", 1)
    assert state_of(beat, stale_from_ms(beat) - 1) is OwnerState.ALIVE
    assert state_of(beat, stale_from_ms(beat)) is OwnerState.STALE
    content = disk.files[owner_name(ACCOUNT)]
    for bad in (content[:-2], content.replace(b'"epoch":1', b'"epoch":9'), b"", b"\xff"):
        disk.put(owner_name(ACCOUNT), bad)
        assert state_of(read_owner(one.folder, ACCOUNT), world.now_ms) is OwnerState.UNKNOWN


def test_a_lease_shorter_than_a_request_is_refused() -> None:
    claim = LeaseClaim(account_id=1, owner="a", host="h", pid=1, build_hash="b")
    with pytest.raises(ValueError, match="longer than a request"):
        Ownership(
            claim=claim,
            leases=None,
            folder=MemoryFolder(MemoryDisk()),
            clock=Skewed(World(), 0),
            ttl_ms=6_000,
        )
