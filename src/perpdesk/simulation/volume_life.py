"""volume_target in the seeded loop: lives of its process that end before any await, a market that goes on.

``run`` plays one scene: the real runner, store and state machines, and the in-process Spot market, which is
the world's and does not die. A process that has died is started again until its lease is free and its run is
over. At the end ``problems`` says what does not hold: a user not flat, a list twice, volume bought beyond one
pair, a figure of the ledger that is not the venue's.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.config.volume import VolumeConfig, read_volume
from perpdesk.domain.errors import LeaseHeld
from perpdesk.exchange.faults import Fault, Plan
from perpdesk.exchange.spot.alpha import QuotePoint
from perpdesk.exchange.spot.inprocess import Latency
from perpdesk.exchange.spot.orders import BUY
from perpdesk.exchange.spot.pairs import E8, Pair
from perpdesk.simulation.clock import ProcessClock
from perpdesk.simulation.database import DatabaseFile, Files, drive
from perpdesk.simulation.loop import OWNER, WORLD, Deadlock, Incarnation, Loop, Stuck, new_loop, wake
from perpdesk.simulation.trace import Trace
from perpdesk.volume_run.sim import SimulatedMarket
from perpdesk.volume_run.start import fixed_configs, sim_desk

START_MS = 1_763_640_000_000
KOGE = "ALPHA_22USDT"
LATENCY = Latency((5, 40), (5, 40), (5, 90))
CALM_MS = 600_000
SECOND_MS = 1_000
_AGAIN_MS = (500, 5_000)
_LIVES_MAX = 40
_END_MS = 4 * 3_600_000
CONFIG = """
global_settings:
  volume_check_delay_seconds: 5
  order_timeout_seconds: {timeout}
  max_consecutive_failures: 100
  max_loss_per_trade_usdt: 50
  max_loss_per_day_usdt: 5000
  max_loss_per_day_all_users_usdt: 50000
  max_spread_percentage: 10
strategies:
  - strategy_id: boost
    strategy_name: Boost
    enabled: true
    target_token: KOGE
    target_chain: BSC
    target_volume: {target}
    single_trade_amount_usdt: 30
    sell_profit_percentage: {profit}
    price_mode: {mode}
    on_day_rollover: {rollover}
    confirm_attempts: 20
    user_ids: [{users}]
"""


@dataclass(frozen=True)
class Scene:
    """What happens. crash_at: the task step before which each life dies (None: it lives on). then: what the
    world does once, after so many milliseconds. holds: prices stand; a SELL above them never fills."""

    name: str
    crash_at: tuple[int | None, ...] = ()
    faults: tuple[Fault, ...] = ()
    users: int = 1
    target: int = 55
    mode: str = "discount_on_buy"
    profit: str = "0.1"
    timeout: int = 30
    rollover: str = "restart"
    holds: bool = False
    start_ms: int = START_MS
    then: tuple[tuple[int, Callable[[SimulatedMarket], None]], ...] = ()
    heal_ms: int = 120_000
    waits_for_lease: bool = False
    lag_ms: int = 2_000

    def config(self) -> VolumeConfig:
        """As a file would say it."""
        users = ", ".join(str(user) for user in range(1, self.users + 1))
        return read_volume(
            CONFIG.format(
                timeout=self.timeout,
                target=self.target,
                profit=self.profit,
                mode=self.mode,
                rollover=self.rollover,
                users=users,
            )
        )


@dataclass
class Found:
    """What a scene showed. places: where the first life waited before each of its steps. partial: legs that
    ended with a part of their quantity traded."""

    problems: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    quarantined: int = 0
    lives: int = 0
    fired: int = 0
    partial: int = 0
    digest: str = ""


class World:
    """One scene being played."""

    def __init__(self, loop: Loop, file: DatabaseFile, trace: Trace, scene: Scene, seed: int) -> None:
        self.loop, self.file, self.trace, self.scene = loop, file, trace, scene
        self.found = Found()
        self._random = random.Random(f"volume {seed}")
        # a plan counts its faults down: each playing gets its own
        plan = Plan(seed, [msgspec.structs.replace(one) for one in scene.faults])
        self.market = SimulatedMarket(ProcessClock(loop), seed=seed, latency=LATENCY, plan=plan)
        self.market.spot.context = WORLD
        for pair in self.market.world.pairs:
            pair.counter_lag_ms = scene.lag_ms
        if scene.holds:
            self.market.hold()
        self.config = scene.config()
        self._most_open: dict[int, int] = {}

    # -- the world ----------------------------------------------------------------------------------------

    async def _walk(self) -> None:
        while True:
            await self.loop.pause(max(1, self.market.next_ms - self.loop.now_ms))
            self.market.play()

    async def _later(self, ms: int, act: Callable[[SimulatedMarket], None]) -> None:
        await self.loop.pause(ms)
        act(self.market)
        self.market.spot.flush()

    async def _heal(self) -> None:
        await self.loop.pause(self.scene.heal_ms)
        self.market.spot.plan.clear()

    def _look(self) -> None:
        """After every step of the world: a user has at most one list and its exit open."""
        for user, index in self.market.accounts.items():
            account = self.market.world.accounts[index]
            lists = {order.list_id for order in account.open.values() if order.list_id >= 0}
            if len(lists) > 1:
                self.found.problems.append(f"user {user} has {len(lists)} lists open at once")

    def note(self, one: Incarnation, where: str, _: asyncio.Task[None]) -> None:
        """Where the first life waited before this step."""
        if one.number == 1:
            self.found.places.append(where)

    async def play(self) -> None:
        """From the first life to the last look."""
        loop, scene = self.loop, self.scene
        begin = loop.create_task
        tasks = [begin(self._walk()), begin(self._heal())]
        tasks += [begin(self._later(ms, act)) for ms, act in scene.then]
        loop.world_step = self._look
        ended = False
        while not ended and self.found.lives < _LIVES_MAX and loop.elapsed_ms < _END_MS:
            ended = await self._life()
            if not ended:
                await loop.pause(self._random.randint(*_AGAIN_MS))
        if not ended:
            self.found.problems.append(f"not over after {self.found.lives} lives, {loop.elapsed_ms} ms")
        await loop.pause(CALM_MS // 10)
        for task in tasks:
            task.cancel()
        self._judge()

    # -- the process --------------------------------------------------------------------------------------

    async def _life(self) -> bool:
        """One life. Did it come to its own end?"""
        number = self.found.lives
        self.found.lives += 1
        crash_at = self.scene.crash_at[number] if number < len(self.scene.crash_at) else None
        one = Incarnation(f"volume {number + 1}", number + 1, crash_at)
        over: asyncio.Future[None] = self.loop.create_future()
        one.on_death.append(lambda: wake(over))
        context = contextvars.copy_context()
        context.run(OWNER.set, one)
        context.run(drive, self.file, one)
        task = self.loop.create_task(self._process(number), name=one.name, context=context)
        task.add_done_callback(lambda _: wake(over), context=WORLD)
        await over
        if one.is_dead:
            self.trace.say("death", one.last_step)
            return False
        if task.exception() is None:
            return True
        if not isinstance(task.exception(), LeaseHeld):
            self.found.problems.append(f"life {number + 1} ended with {task.exception()!r}")
            return True
        return False

    async def _process(self, number: int) -> None:
        """What `perpdesk volume run` does, without signals and screens."""
        async with await SqlStore.open(self.file.url) as books:
            # another process waits for the lease of the dead one; the same (in its container) goes on
            owner = f"process {number + 1}" if self.scene.waits_for_lease else "process"
            desk = sim_desk(self.market, fixed_configs(self.config), books, owner=owner)
            desk.open()
            try:
                running = await desk.start_strategy("boost")
                await desk.finished()
                for user, text in running.errors.items():
                    self.found.problems.append(f"user {user}: {text}")
            finally:
                await desk.close()

    @property
    def _venue_denies(self) -> bool:
        """Does the venue say of orders that they do not exist? Then nobody can know."""
        return any(one.kind == "hide" for one in self.scene.faults)

    # -- the end ------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        problems, world, read = self.found.problems, self.market.world, self.file.read
        if world.crosses:
            problems.append(f"managed accounts traded with each other {len(world.crosses)} times")
        unit = Decimal(30)
        pairs = read("SELECT * FROM volume_pairs ORDER BY run_id, seq")
        fills = read("SELECT * FROM volume_fills")
        token = world.by_symbol[KOGE]
        sellable_e8 = token.notional_min_e8 * E8 // world.books[token.index].last_e8 * 11 // 10
        for row in pairs:
            if row["state"] == "FLAT" and e8_of(row["dust"]) > sellable_e8:
                problems.append(f"pair {row['pair_id']} is FLAT with {row['dust']}, which can be sold")
            self.found.outcomes[row["outcome"] or row["state"]] = (
                self.found.outcomes.get(row["outcome"] or row["state"], 0) + 1
            )
            if msgspec.json.decode(row["document"])["late_fill"] and not self._venue_denies:
                problems.append(f"pair {row['pair_id']} was taken for over before it was")
            if row["state"] not in ("FLAT", "QUARANTINED"):
                problems.append(f"pair {row['pair_id']} is {row['state']}")
        self.found.quarantined = sum(row["state"] == "QUARANTINED" for row in pairs)
        for row in read("SELECT user_id, state FROM volume_runs ORDER BY run_id"):
            self.found.states[row["user_id"]] = row["state"]
        for user, index in self.market.accounts.items():
            account = world.accounts[index]
            self.found.partial += sum(
                0 < one.filled_e8 < one.qty_e8 for one in account.orders.values() if one.list_id >= 0
            )
            mine = [row for row in pairs if row["user_id"] == user]
            if any(row["state"] == "QUARANTINED" for row in mine):
                continue  # a person looks at it
            if account.open:
                problems.append(f"user {user} has {len(account.open)} orders open")
            named = {row["pair_id"] for row in mine}
            lists = [one.client_id for one in account.lists.values()]
            if len(set(lists)) < len(lists) or not set(lists) <= named:
                problems.append(f"user {user}: lists {lists} of pairs {sorted(named)}")
            theirs = sorted((one.order.client_id, one.id, one.qty_e8, one.quote_e8) for one in account.fills)
            ours = sorted(
                (row["client_id"], row["trade_id"], e8_of(row["qty"]), e8_of(row["quote"]))
                for row in fills
                if row["user_id"] == user
            )
            if theirs != ours:
                problems.append(f"user {user}: the venue has {len(theirs)} fills, the ledger {len(ours)}")
            lost = sum((Decimal(row["loss_usdt"]) for row in mine), Decimal(0))
            if Decimal(account.free["USDT"]) / E8 != 10_000 - lost:
                problems.append(f"user {user}: USDT {account.free['USDT']} and a loss of {lost}")
            held = sum(amount for asset, amount in account.free.items() if asset != "USDT")
            dust = sum((Decimal(row["dust"]) for row in mine), Decimal(0))
            if Decimal(held) / E8 != dust:
                problems.append(f"user {user}: token {held}, dust {dust}")
            by_day: dict[int, Decimal] = {}
            for one in account.fills:
                if one.order.side == 1:
                    day = one.ms // 86_400_000
                    by_day[day] = by_day.get(day, Decimal(0)) + Decimal(one.quote_e8) / E8
            for day, bought in by_day.items():
                if bought > self.scene.target + unit:
                    problems.append(f"user {user}: bought {bought} on day {day} of {self.scene.target}")
            if self.found.states.get(user) == "DONE" and max(by_day.values(), default=Decimal(0)) < (
                self.scene.target
            ):
                problems.append(f"user {user} is DONE with {by_day}")


def e8_of(text: str) -> int:
    """A column of the ledger in 1e-8."""
    return int(Decimal(text).scaleb(8))


def run(files: Files, scene: Scene, seed: int, *, with_places: bool = False) -> Found:
    """Play a scene."""
    loop = new_loop(seed, scene.start_ms)
    trace = Trace(loop)
    with files.one(loop, trace, seed) as file:
        world = World(loop, file, trace, scene, seed)
        if with_places:
            loop.life_step = world.note
        try:
            loop.run(world.play())
        except (Deadlock, Stuck) as error:
            world.found.problems.append(f"{type(error).__name__}: {str(error)[:500]}")
        finally:
            loop.bury()
        world.found.fired = world.market.spot.plan.fired.total()
        world.found.digest = trace.digest
        world.found.problems += [text for text, _ in loop.problems]
        return world.found


def thin(qty: str) -> Callable[[SimulatedMarket], None]:
    """From now on there is only so much to buy each second, at a price that stands."""
    return lambda market: market.hold(Decimal(qty))


def shy(side: int, qty: str) -> Callable[[SimulatedMarket], None]:
    """From now on a BUY (or SELL) finds only so much; while its rest waits, prices keep 2 % away from it."""

    def path(market: SimulatedMarket, pair: Pair, point: QuotePoint) -> Iterator[QuotePoint]:
        book, away_e8 = market.world.books[pair.index], point.last_e8 // 50
        ms, size = point.ms, e8_of(qty)
        while True:
            rests = bool(book.resting(side))
            bid = (point.bid_e8, None) if side == BUY else (point.bid_e8, size)
            ask = (point.ask_e8, size) if side == BUY else (point.ask_e8, None)
            if rests and side == BUY:
                ask = (point.ask_e8 + away_e8, None)
            elif rests:
                bid = (point.bid_e8 - away_e8, None)
            yield QuotePoint(ms, bid[0], ask[0], point.last_e8, bid[1], ask[1])
            ms += SECOND_MS

    return lambda market: market.follow(lambda pair, point: path(market, pair, point))


def crash_points(places: Sequence[str], every: int = 1, offset: int = 0) -> list[int]:
    """Every so many of the steps of a life that nothing has ended."""
    return list(range(offset % every, len(places), every))
