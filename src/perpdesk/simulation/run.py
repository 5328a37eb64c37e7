"""One seed: a world, a desk that lives and dies in it, an observer; then no faults, and all must be well."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine import ids
from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.server import RunningServer, ServeOptions
from perpdesk.exchange.server.app import build
from perpdesk.market.universe import Universe
from perpdesk.simulation.actors import Person
from perpdesk.simulation.books import Books
from perpdesk.simulation.clock import ProcessClock, WorldClock
from perpdesk.simulation.database import DatabaseFile, Files, drive
from perpdesk.simulation.loop import OWNER, Deadlock, Incarnation, Loop, Stuck, new_loop, wake
from perpdesk.simulation.market import Market
from perpdesk.simulation.network import Network, Sent
from perpdesk.simulation.observer import Observer, Violation
from perpdesk.simulation.subject import API_KEY, API_SECRET, OTHER_KEY, OTHER_SECRET, Life, Make, Subject
from perpdesk.simulation.trace import Trace
from perpdesk.simulation.watch import Watch
from perpdesk.simulation.weather import Faults

EPOCH_MS = 1_700_000_000_000 // 3_600_000 * 3_600_000
PRICES = {"BTCUSDT": "50000", "ETHUSDT": "2500", "SOLUSDT": "150", "DOGEUSDT": "0.2"}
CALM_MS = 150_000
# At the very end prices stand still: what fills in the last instant could not be in anybody's books.
STILL_MS = 15_000
_LIVES_MAX = 60
_SLICE_MS = 5_000
# A lease lives for so long, with the clocks' errors; a desk winds down within this.
_LEASE_MS, _WIND_DOWN_MS = 21_000, 10_000
_CLIENT_ID = re.compile(rb"lientOrderId=([^& ]+)|clientAlgoId=([^& ]+)")
_QUICK_US = 10_000_000


@dataclass(frozen=True)
class Options:
    """What a run is. minutes: with faults; then CALM_MS without. crash_at: of the first lives (a list of task
    steps; None in it: not that life); without it the seed chooses. fifo: steps in order (for reading).
    record: keep the place of every step of the first life that is not told to die. waves: all prices go up
    and down, evenly. machines: people start the desk on a second machine, too. haste: people and market
    events come so many times as often. users: of the process, on the exchange.
    sharp: placed orders are struck more often than the rest. first_only: the run is over with the first
    violation. script: what happens besides, in the world's own time. versions: what
    the desks of a swarm run (``swarm.DESKS``)."""

    faults: float = 0.4
    minutes: int = 15
    symbols: int = 2
    people: bool = True
    events: bool = True
    deaths: bool = True
    crash_at: tuple[int | None, ...] = ()
    fifo: bool = False
    record: bool = False
    waves: bool = False
    machines: bool = False
    haste: int = 1
    sharp: bool = False
    users: int = 1
    first_only: bool = False
    script: Callable[[Simulation], Awaitable[None]] | None = None
    versions: str = "one"
    tell: Callable[[str], None] | None = None


@dataclass
class Result:
    """What one run found. naked: (seconds, for each death in it; with death) of each uncovered time."""

    seed: int
    digest: str
    violations: list[Violation]
    doubled: int
    naked: list[tuple[float, bool]]
    fired: Counter[str]
    simulated_ms: int
    steps: int
    lives: int
    entries: int
    orders: int
    fills: int
    requests: int
    commits: int
    life_steps: list[int]
    deaths: list[str]
    excluded_us: Counter[str] = field(default_factory=Counter)  # uncovered while nobody could act, by cause
    cpu_s: float = 0.0
    ends: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


class Simulation:
    """Puts one seed together. Use ``simulate``."""

    def __init__(
        self, seed: int, options: Options, subject: Subject, loop: Loop, file: DatabaseFile, trace: Trace
    ) -> None:
        self.seed, self.options, self.subject = seed, options, subject
        self.loop, self.file, self.trace = loop, file, trace
        self.random = random.Random(f"simulation {seed}")
        self.server = self._server()
        self.network = Network(loop, self.server, trace, seed)
        loop.connect = self.network.connect
        self.market = Market(
            loop, self.server, seed, events=options.events, waves=options.waves, haste=options.haste
        )
        self.faults = Faults(
            loop,
            self.server,
            self.network,
            file,
            seed,
            options.faults,
            self.living,
            self._clocks_of_the_living,
            options.sharp,
        )
        acts = subject.acts(file) | {"HUM-10 kill -9": self._kill_one, "CON-01 started twice": self._second}
        if options.machines:
            acts["CON-02 frozen owner, second machine"] = self._rival
        self.person = Person(loop, self.server, seed, acts, options.haste)
        self.observer = Observer(
            loop=loop, server=self.server, network=self.network, trace=trace, limits=subject.limits,
            unreachable=self.faults.is_unreachable, processes=self.living,
        )  # fmt: skip
        self.watch = Watch(
            self.observer, file, (API_KEY, API_SECRET, OTHER_KEY, OTHER_SECRET), self.faults.is_wire_down
        )
        subject.watched_by(self.watch)
        trace.ear = self.watch.hear
        self.network.on_told = self.observer.told
        self.books = Books(self.observer, file, parts_base=subject.sleeves + 2)
        self.observer.leverage_ms = self.person.leverage_ms
        self.observer.banned_until_us = lambda: self.faults.banned_until_us
        self.observer.deaths = lambda: sum(1 for one in self.lives if one.is_dead)
        self.network.on_arrival = self._arrived
        self.network.on_request = self.observer.answered
        self.network.on_heard = self.observer.heard
        loop.world_step = self.observer.look
        self.universe = _universe(self.server)
        self.lives: list[Incarnation] = []
        self.clocks: dict[int, ProcessClock] = {}
        self._stops: dict[int, list[Callable[[], None]]] = {}
        self._leg = ""
        self._legs: dict[asyncio.Task[object], str] = {}
        self.ends: list[str] = []
        self.places: list[str] = []
        self._is_calm = False
        if options.record:
            loop.life_step = self._record
            self.network.on_write = self._written

    def _server(self) -> RunningServer:
        chosen = dict(list(PRICES.items())[: self.options.symbols])
        rules = Rules(
            seed=self.seed,
            depth_level_usdt=self.random.choice((500, 5_000, 50_000)),
            algo_visibility_delay_ms=self.random.choice((0, 0, 200)),
            insurance_e8=self.random.choice((0, 10**17)),
        )
        server = build(
            ServeOptions(
                clock=WorldClock(self.loop),
                prices=chosen,
                accounts=self.options.users,
                rules=rules,
                control=True,
                event_order=self.random.choice(("live", "shuffled")),
            )
        )
        server.gate.keys.clear()
        server.gate.add(Keys(0, API_KEY, "HMAC", API_SECRET))
        if self.options.users > 1:
            server.gate.add(Keys(1, OTHER_KEY, "HMAC", OTHER_SECRET))
        for contract in server.world.contracts:
            server.set_funding(contract.symbol, "0.0001", 1)
            server.world.accounts[0].of(contract.index).isolated = True
        return server

    def _record(self, incarnation: Incarnation, place: str, task: asyncio.Task[object]) -> None:
        if incarnation.number == len(self.options.crash_at) + 1 and not self._is_calm:
            held = "+" if self.observer.account.held() else ""
            self.places.append(f"{place} @{self._legs.get(task, self._leg)}{held}")

    def _written(self, raw: bytes) -> None:
        """The leg that a task works on: of the order that it was the last to write to the wire."""
        found = _CLIENT_ID.search(raw)
        named = None if found is None else ids.parse((found[1] or found[2]).decode("ascii"))
        if named is not None:
            self._leg = "take back" if raw.startswith(b"DELETE") else named.leg
            if (task := asyncio.current_task()) is not None:
                self._legs[task] = self._leg

    def _arrived(self, sent: Sent) -> None:
        self.observer.arrived(sent)
        self.books.before_the_wire(sent)

    # -- lives ---------------------------------------------------------------------------------

    def living(self) -> list[Incarnation]:
        """Processes that have not died."""
        return [one for one in self.lives if not one.is_dead]

    def _clocks_of_the_living(self) -> list[ProcessClock]:
        return [self.clocks[one.number] for one in self.living()]

    async def supervise(self) -> None:
        """Keep one process alive: whatever dies is started again after half a second to five."""
        quick = 0
        while True:
            incarnation = self._born()
            ends = len(self.ends)
            await self._until_dead(incarnation)
            lived_us = self.loop.now_us - incarnation.born_us
            quick = quick + 1 if lived_us < _QUICK_US and len(self.ends) > ends else 0
            if len(self.lives) > _LIVES_MAX:
                self.observer.violate("CP-21", f"{len(self.lives)} lives: the desk cannot stay alive")
                return
            # one that cannot even start is started less and less often
            await self.loop.pause(
                self.random.randrange(500, 5_000) + min(20_000, 500 << min(quick, 6)) * (quick > 1)
            )

    def _born(self, machine: int = 0) -> Incarnation:
        number = len(self.lives) + 1
        incarnation = Incarnation(f"process {number}", number, self._crash_at(number - 1))
        incarnation.born_us = self.loop.now_us
        self.lives.append(incarnation)
        self.trace.say("born", incarnation.name)
        offset_ms = self.random.choice((0, 0, -300, 700)) if self.options.faults else 0
        clock = self.clocks[number] = ProcessClock(self.loop, offset_ms=offset_ms)
        life = Life(
            self.loop, incarnation, clock, self.file, self.network, self.universe, self.seed, self._is_dead,
            machine, self.options.users,
        )  # fmt: skip
        self._stops[number] = life.on_stop
        context = contextvars.copy_context()
        context.run(OWNER.set, incarnation)
        self.loop.create_task(self._live(life), name=incarnation.name, context=context)
        return incarnation

    def _is_dead(self, number: int) -> bool:
        return self.lives[number - 1].is_dead

    def _crash_at(self, index: int) -> int | None:
        if self.options.crash_at:
            return self.options.crash_at[index] if index < len(self.options.crash_at) else None
        if not self.options.deaths or self._is_calm or self.random.random() < 0.5:
            return None
        return int(10 ** (1 + 3.2 * self.random.random()))

    async def _live(self, life: Life) -> None:
        drive(self.file, life.incarnation)
        why = "returned"
        try:
            await self.subject.live(life)
        except PerpdeskError as error:
            why = f"{type(error).__name__}: {error}"
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            self.trace.say(
                "crashed",
                why,
                "".join(traceback.format_exception(error)).encode() if self.options.tell else b"",
            )
        self.ends.append(why)
        self.loop.kill(life.incarnation)

    async def _until_dead(self, incarnation: Incarnation) -> None:
        dead: asyncio.Future[None] = self.loop.create_future()
        incarnation.on_death.append(lambda: wake(dead))
        await dead
        self.trace.say("died", f"{incarnation.name} {incarnation.steps} {incarnation.last_step}")
        self.books.at_any_time()
        self._leaves()

    def _leaves(self) -> None:
        self.watch.files()
        self.watch.at_rest("what a process said at its end", self.ends)
        self.watch.at_rest("a control file", self.subject.leaves())

    async def _kill_one(self) -> None:
        if living := self.living():
            self.loop.kill(self.random.choice(living))

    async def _second(self) -> None:
        """Somebody starts the program a second time; it is gone after a while."""
        incarnation = self._born()
        await self.loop.pause(self.random.randrange(5_000, 60_000))
        self.loop.kill(incarnation)

    async def _rival(self) -> None:
        """The owner stands still for longer than its lease, a second machine takes over, the owner wakes."""
        if not (living := self.living()):
            return
        self.loop.freeze(living[-1], self.random.randrange(30_000, 60_000))
        await self.loop.pause(_LEASE_MS + self.random.randrange(500, 6_000))
        incarnation = self._born(machine=1)
        await self.loop.pause(self.random.randrange(20_000, 60_000))
        for stop in self._stops[incarnation.number]:
            stop()  # in order: a dead machine's lease would have to run out
        await self.loop.pause(_WIND_DOWN_MS)
        self.loop.kill(incarnation)

    # -- the run -------------------------------------------------------------------------------

    async def run(self) -> None:
        """From the first start to the last look."""
        begin = self.loop.create_task
        work = (self.market.run(), self.market.pulse(), self.supervise(), self.watch.run())
        tasks = [begin(one) for one in work]
        if self.options.events:
            tasks.append(begin(self.market.events()))
        if self.options.faults:
            tasks.append(begin(self.faults.run()))
        if self.options.people:
            tasks.append(begin(self.person.run()))
        if self.options.script is not None:
            tasks.append(begin(self._scripted(self.options.script)))
        for task in tasks:
            task.add_done_callback(self._world_failed)
        if await self._is_over(self.options.minutes * 60_000):
            return
        self._is_calm = True
        self.person.calm()
        self.subject.calm(self.file)
        self.market.calm()
        self.faults.calm()
        if not self.server.gate.keys:
            self.server.gate.add(Keys(0, API_KEY, "HMAC", API_SECRET))
        for incarnation in self.living():
            incarnation.crash_at = None
        self.trace.say("calm", "the faults stop")
        if await self._is_over(CALM_MS - STILL_MS):
            return
        self.market.is_still = True
        if await self._is_over(STILL_MS):
            return
        self.observer.end()
        self._leaves()
        for message, error in self.loop.problems:
            self.observer.violate("I24", f"{message}: {error!r:.200}")
        self.books.at_the_end(whole=self.subject.keeps_books)

    async def _is_over(self, ms: int) -> bool:
        """After so long: is there nothing left to be found?"""
        for _ in range(ms // _SLICE_MS):
            await self.loop.pause(_SLICE_MS)
            if self.options.first_only and self.observer.violations:
                return True
        return False

    async def _scripted(self, script: Callable[[Simulation], Awaitable[None]]) -> None:
        await script(self)

    def _world_failed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]  # a bug of the simulation itself

    def result(self) -> Result:
        """What was found."""
        observer = self.observer
        fired = self.faults.count() + self.market.fired + self.person.fired
        deaths = sum(1 for one in self.lives if one.is_dead)
        if deaths:
            fired["CP crash"] += deaths
        return Result(
            seed=self.seed,
            digest=self.trace.digest,
            violations=observer.violations,
            doubled=len(observer.doubled),
            naked=[(one.seconds_a_death, one.with_death) for one in observer.meter.all()],
            excluded_us=sum((one.causes_us for one in observer.meter.all()), Counter()),
            fired=fired,
            simulated_ms=self.loop.elapsed_ms,
            steps=self.loop.steps,
            lives=len(self.lives),
            entries=observer.entries,
            orders=observer.orders,
            fills=len(observer.account.fills),
            requests=self.network.requests,
            commits=self.file.commits,
            life_steps=[one.steps for one in self.lives],
            deaths=[one.last_step for one in self.lives if one.last_step],
            ends=list(self.ends),
            places=self.places,
        )


def simulate(seed: int, make: Make, files: Files, options: Options | None = None) -> Result:
    """Run one seed. The same seed, options and code give the same digest."""
    options = options or Options()
    began = time.process_time()
    was_on = gc.isenabled()
    gc.disable()  # when it runs is chance
    gc.freeze()  # at the end only what the run has made is looked through
    loop = new_loop(seed, EPOCH_MS + 3_300_000, shuffled=not options.fifo)
    trace = Trace(loop, options.tell)
    try:
        with files.one(loop, trace, seed) as file:
            result = _run(Simulation(seed, options, make(seed), loop, file, trace))
    finally:
        loop.bury()
        gc.unfreeze()
        if was_on:
            gc.enable()
    result.cpu_s = time.process_time() - began
    return result


def _run(simulation: Simulation) -> Result:
    try:
        simulation.loop.run(simulation.run())
    except (Deadlock, Stuck) as error:
        simulation.observer.violate("L5", f"{type(error).__name__}: {error}")
    return simulation.result()


def _universe(server: RunningServer) -> Universe:
    world = server.world.universe
    most = tuple(int(market.last) * 16 for market in server.world.markets)
    return Universe(world.symbols, world.instruments, world.price_digits, world.lot_step, most)
