"""The watch: a second process that takes the place of a silent owner, to protect and to close.

It owns nothing while the owner lives. When the owner is silent for longer than anything it signed can live,
it looks at the account over REST; only if something must be done does it take over (file lock, next epoch),
and it lets go again as soon as everything is covered, so that the desk can come back. The database is not
needed; what people said is journalled when it answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.rescue import RescueVenue
from perpdesk.adapters.build import build_hash
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import DiskFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.adapters.vault import Credential
from perpdesk.domain.books import JournalEntry, StoreFailed
from perpdesk.domain.errors import InputError, LeaseHeld, PerpdeskError
from perpdesk.domain.ownership import LeaseClaim
from perpdesk.engine.control_file import ControlJournal
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.guardian.rescue import Need, Rescue
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.ownership import OwnerBeat, Ownership, OwnerState, read_owner, state_of
from perpdesk.service.metrics_file import MetricsFile, write_for_ever
from perpdesk.service.rungs import SpokenRungs

LOG = logging.getLogger(__name__)

LOOK_MS = 1_000  # at the owner's file
ASK_MS = 10_000  # the exchange, while nobody owns the account
ACT_MS = 2_500  # the exchange, while we do
QUIET_LOOKS = 2  # so many looks in a row that found nothing to do, then we let go


async def watch_all(watches: Sequence[Watch]) -> None:
    """Several accounts by one process, which counts its requests together. What ends one of them unexpectedly
    ends the process: it is started again, for all of them."""
    shared: dict[Hosts, Gateway] = {}
    for one in watches:
        one.gateway = shared.setdefault(one.hosts, one.gateway)
    try:
        async with asyncio.TaskGroup() as tasks:
            for one in watches:
                tasks.create_task(one.run())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group


@dataclass
class Watch:
    """One account. ``say``: a sentence for the operator. ``over``: set it to end the watch."""

    account_id: int
    name: str
    hosts: Hosts
    credential: Credential
    folder: DiskFolder
    rule: DisasterRule
    database: str | None = None
    say: Callable[[str], None] = LOG.warning
    clock: SystemClock = field(default_factory=SystemClock)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    state: OwnerState = OwnerState.ABSENT
    take_overs: int = 0
    doing: str = "watching"
    problem: str = ""
    _asked_ms: int = 0

    def __post_init__(self) -> None:
        self.started_ms = self.clock.now_ms()
        self.gateway = Gateway(self.hosts, self.clock)
        self.rungs = SpokenRungs(self.folder, self.account_id)

    async def run(self) -> None:
        """Watch until told to end. Raises LeaseHeld if another watch runs."""
        alone = self.folder.lock(f"{self.account_id}.watch.lock")
        if alone is None:
            raise LeaseHeld(self.name, "another watch of this machine", self.clock.now_ms())
        figures = asyncio.create_task(write_for_ever(self.folder, self.clock, self.figures))
        watching = asyncio.create_task(self._watch())
        ending = asyncio.create_task(self.over.wait())
        try:
            await asyncio.wait({watching, ending, figures}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            for task in (figures, watching, ending):
                task.cancel()
            await asyncio.gather(figures, watching, ending, return_exceptions=True)
            alone.release()

    async def _watch(self) -> None:
        while True:
            now_ms = self.clock.now_ms()
            beat = read_owner(self.folder, self.account_id)
            state = state_of(beat, now_ms)
            if state is not self.state:
                by = f" ({beat.owner})" if isinstance(beat, OwnerBeat) else ""
                self.say(f"the owner of account {self.name}{by} is {state.value}")
                self.state, self._asked_ms = state, 0
            if state is OwnerState.STALE and now_ms - self._asked_ms >= ASK_MS:
                self._asked_ms = now_ms
                try:
                    await self._mind()
                    self.problem = ""
                except LeaseHeld as error:
                    LOG.info("not taken over: %s", error)
                except PerpdeskError as error:
                    self.problem = str(error)
                    LOG.warning("the account could not be looked at: %s", error)
            await self.clock.sleep_until(now_ms + LOOK_MS)

    async def _mind(self) -> None:
        """Look; take over if something must be done."""
        rest = self.gateway.rest(self.credential.signing(), self.name)
        try:
            await rest.sync_time()
            venue = RescueVenue(rest)
            rescue = self._rescue(venue)
            need = await self._look(venue, rescue)
            if not need:
                # An order of ours on a flat symbol is gone only after a second look (rule R8).
                await self.clock.sleep_until(self.clock.now_ms() + ACT_MS)
                need = await self._look(venue, rescue)
        finally:
            await rest.close()
        if need and state_of(read_owner(self.folder, self.account_id), self.clock.now_ms()) is self.state:
            await self._take_over(need)

    async def _take_over(self, need: Need) -> None:
        owner = self._ownership()
        await owner.take_over()
        self.take_overs += 1
        self.doing = "; ".join(need.why)
        self.say(f"taking over account {self.name} with epoch {owner.epoch}: {self.doing}")
        keeping = asyncio.create_task(owner.run())
        rest = self.gateway.rest(self.credential.signing(), self.name, owner.lease_end_ms)
        try:
            await self._journal("WatchTookOver", {"epoch": owner.epoch, "why": list(need.why)})
            await self.clock.sleep_until(owner.from_ms)
            await rest.sync_time()
            await self._act(owner, RescueVenue(rest))
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await owner.release()
            await rest.close()
            self.doing = "watching"
        self.say(f"account {self.name} is covered: let go, a desk may take it")

    async def _act(self, owner: Ownership, venue: RescueVenue) -> None:
        rescue = self._rescue(venue).with_stops()
        quiet = 0
        while quiet < QUIET_LOOKS and owner.lost is None:
            began_ms = self.clock.now_ms()
            try:
                legs, orders = await venue.read()
                rescue.meter.reach(True, began_ms)
                self._number(venue, rescue)
                need = rescue.look(legs, orders, self.rungs.now())
                quiet = 0 if need else quiet + 1
                if need:
                    LOG.warning("account %s: %s", self.name, "; ".join(need.why))
                    await rescue.act(need, legs, orders)
                self.problem = ""
            except PerpdeskError as error:
                rescue.meter.reach(False, began_ms)
                self.problem, quiet = str(error), 0
                LOG.warning("account %s: %s", self.name, error)
            await self.clock.sleep_until(began_ms + ACT_MS)
        if owner.lost is not None:
            self.say(f"account {self.name}: {owner.lost}")

    async def _look(self, venue: RescueVenue, rescue: Rescue) -> Need:
        legs, orders = await venue.read()
        self._number(venue, rescue)
        return rescue.look(legs, orders, self.rungs.now())

    def _rescue(self, venue: RescueVenue) -> Rescue:
        ids = ClientIds(self.account_id, self.clock.now_ms() + os.getpid())
        return Rescue(venue, ids, self.clock, self.rule)

    @staticmethod
    def _number(venue: RescueVenue, rescue: Rescue) -> None:
        names = [rule.symbol for rule in venue.rules]
        if names != rescue.names:
            rescue.names, rescue.ticks = names, [rule.tick for rule in venue.rules]

    def _ownership(self) -> Ownership:
        host, pid, now_ms = platform.node() or "unknown", os.getpid(), self.clock.now_ms()
        claim = LeaseClaim(
            account_id=self.account_id,
            owner=f"watch/{host}/{pid}/{now_ms}",
            host=host,
            pid=pid,
            build_hash=build_hash(),
        )
        owner = Ownership(claim=claim, leases=None, folder=self.folder, clock=self.clock, name=self.name)
        owner.obeys(self.rungs.obeyed)
        return owner

    async def _journal(self, kind: str, payload: dict[str, object]) -> None:
        """Best effort: the account comes first, and the database may be what is down."""
        if self.database is None:
            return
        now_ms = self.clock.now_ms()
        try:
            async with asyncio.timeout(5), await SqlStore.open(self.database) as store:
                await ControlJournal(self.folder, self.account_id).catch_up(store, now_ms)
                entry = JournalEntry(ms=now_ms, kind=kind, payload={"account_id": self.account_id, **payload})
                await store.append_journal([entry])
        except (StoreFailed, InputError, TimeoutError) as error:
            LOG.warning("not journalled: %s", error)

    def figures(self) -> MetricsFile:
        """What `status` shows of the watch."""
        return MetricsFile(
            account_id=self.account_id,
            role="watch",
            pid=os.getpid(),
            ms=self.clock.now_ms(),
            started_ms=self.started_ms,
            figures={"owner": self.state.value, "take_overs": self.take_overs, "doing": self.doing},
            lines=[self.problem] if self.problem else [],
        )
