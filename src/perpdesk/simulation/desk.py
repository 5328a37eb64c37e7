"""The live desk as the system under test: put together by the composition root that live trading uses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import numpy as np

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.account import PlaceOf
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.adapters.build import build_hash
from perpdesk.adapters.folder import MemoryDisk, MemoryFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain import units
from perpdesk.domain.books import Missing, TradingMode
from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.kill import Rung
from perpdesk.domain.ownership import LeaseClaim
from perpdesk.engine.control_file import ControlFile, control_name, say
from perpdesk.engine.guardian.staleness import AgeLimits
from perpdesk.engine.ownership import Ownership
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, bar_dt, zeros
from perpdesk.live import assemble, plan, write_down
from perpdesk.simulation.database import DatabaseFile
from perpdesk.simulation.lineup import (
    LADDERS,
    MADE_UP_BEYOND,
    ONE,
    SCORES,
    TWO,
    Lineup,
    before,
    chosen,
    lineup,
)
from perpdesk.simulation.observer import Limits, Observer
from perpdesk.simulation.subject import ACCOUNT_ID, Life
from perpdesk.simulation.watch import Told, Watch

_HOST = "simulated"
# A little more than the limit above allows of the balance.
_LOSS_E8 = 90 * 10**8


class FileRungs:
    """The rungs that people have named in the control file of a machine."""

    def __init__(self, folder: MemoryFolder) -> None:
        self._control = ControlFile(folder, ACCOUNT_ID)

    def now(self) -> Rung:
        """Read afresh."""
        return self._control.rung()

    def obeyed(self) -> tuple[int, str]:
        """What the beats tell of it."""
        return self._control.seq, self._control.rung().word


class DeskSubject:
    """A Subject: one account, a few symbols, the versions of its lineup."""

    keeps_books = True

    def __init__(self, seed: int, lineup: Lineup) -> None:
        self.lineup = lineup
        self.sleeves = len(lineup.sleeves)
        self._random = random.Random(f"desk {seed}")
        self.disks = (MemoryDisk(), MemoryDisk())  # of two machines
        self._with_canary = self._random.random() < 0.3
        config = lineup.loaded.config
        self.limits = Limits(
            order_notional_e8=lineup.notional_usdt * 10**8 * 11 // 10,
            exposure_e8=units.money_e8(config.risk.max_total_notional_usdt),
            leverage=5,
            positions=config.risk.positions_max,
            daily_loss_e8=_LOSS_E8,
            stale_ms=AgeLimits().mark_ms,
        )
        self.watch: Watch | None = None

    async def live(self, life: Life) -> None:
        clock = life.clock
        async with await SqlStore.open(life.database.url) as store:
            warmup, warmup_ms = _history(life, self.lineup.warmup_minutes)
            made = plan(self.lineup.loaded, self.lineup.sleeves, life.universe, warmup, warmup_ms)
            await write_down(made, store, clock.now_ms())
            if isinstance(await store.trading_control(ACCOUNT_ID), Missing):
                await store.set_trading_control(ACCOUNT_ID, True, "simulation", clock.now_ms())
            claim = LeaseClaim(
                account_id=ACCOUNT_ID,
                owner=f"{_HOST}{life.machine}/{life.incarnation.number}",
                host=f"{_HOST}{life.machine}",
                pid=life.incarnation.number,
                build_hash=build_hash(),
                params_hash=made.snapshot.params_hash,
            )
            folder = MemoryFolder(self.disks[life.machine])
            life.incarnation.on_death.append(folder.crash)
            owner = Ownership(claim=claim, leases=store, folder=folder, clock=clock, arms=True)
            await owner.acquire()
            rungs = FileRungs(folder)
            owner.obeys(rungs.obeyed)
            gateway = life.gateway()
            rest = gateway.rest(life.credentials, "main", owner.lease_end_ms)
            rest.entry_end_ms, rest.arm = owner.entry_end_ms, owner.arm

            def venue_of(place_of: PlaceOf) -> BinanceVenue:
                return BinanceVenue(
                    universe=life.universe,
                    rest=rest,
                    clock=clock,
                    dial=life.dial,
                    place_of=place_of,
                    patience_ms=20_000,
                )

            desk = assemble(
                made,
                venue_of=venue_of,
                store=store,
                clock=clock,
                owner=owner,
                rungs=rungs,
                account_id=ACCOUNT_ID,
                build_hash=claim.build_hash,
                seed=life.seed * 1_000 + life.incarnation.number,
                mode=TradingMode.TESTNET,
                with_canary=self._with_canary,
                notifiers=[] if self.watch is None else [Told(self.watch, life.incarnation.number)],
            )
            life.on_stop.append(desk.stop_soon)
            if life.users == 1:
                await desk.run()
                return
            reading = asyncio.ensure_future(_read(gateway.rest(life.other_credentials, "other"), life))
            try:
                await desk.run()
            finally:
                reading.cancel()

    def watched_by(self, watch: Watch) -> None:
        """Who is told what a person does to the desk, and of its alarms."""
        self.watch = watch

    @property
    def observer(self) -> Observer | None:
        """Who checks the invariants."""
        return None if self.watch is None else self.watch.observer

    def leaves(self) -> list[bytes]:
        """The control files."""
        return [content for disk in self.disks for content in disk.files.values()]

    def acts(self, database: DatabaseFile) -> dict[str, Callable[[], Awaitable[None]]]:
        loop = database.loop

        async def holds(rung: Rung) -> None:
            """For a while; then a person resumes."""
            if self.observer is not None:
                self.observer.rung, self.observer.killed_us = rung, loop.now_us
            await loop.pause(self._random.randrange(20_000, 120_000))
            self._say(Rung.NORMAL, loop.now_ms)
            if self.observer is not None:
                self.observer.rung, self.observer.killed_us = Rung.NORMAL, None

        async def kill() -> None:
            rung = self._random.choice((Rung.HALT, Rung.REDUCE, Rung.CANCEL, Rung.FLATTEN))
            self._say(rung, loop.now_ms)
            await holds(rung)

        async def spoil() -> None:
            """Half a control file: whoever cannot read what a person said opens nothing."""
            for disk in self.disks:
                disk.put(control_name(ACCOUNT_ID), b'{"account_id": 1, "seq"')
            await holds(Rung.HALT)

        async def switch() -> None:
            await _switch(database, 0)
            if self.observer is not None:
                self.observer.switched_off_us = database.loop.now_us
            await database.loop.pause(self._random.randrange(20_000, 120_000))
            if self.observer is not None:
                self.observer.switched_off_us = None
            await _switch(database, 1)

        return {
            "HUM-13 kill ladder": kill,
            "HUM-13 control file garbled": spoil,
            "HUM-14 trading switch": switch,
        }

    def calm(self, database: DatabaseFile) -> None:
        """Everything is on again."""
        self._say(Rung.NORMAL, database.loop.now_ms)
        if self.observer is not None:
            self.observer.rung, self.observer.killed_us = Rung.NORMAL, None

    def _say(self, rung: Rung, ms: int) -> None:
        """`perpdesk kill`, on every machine."""
        for disk in self.disks:
            say(MemoryFolder(disk), ACCOUNT_ID, rung, "simulated", by="a person", ms=ms)


async def _read(rest: Rest, life: Life) -> None:
    """Another user of this process, whose positions are only looked at."""
    while True:
        await life.clock.sleep_until(life.clock.now_ms() + life.random.randrange(2_000, 8_000))
        with suppress(PerpdeskError):
            await rest.ask(to.POSITIONS, ())


async def _switch(database: DatabaseFile, enabled: int) -> None:
    await database.write("UPDATE trading_control SET trading_enabled = ?", enabled)


def _history(life: Life, minutes: int) -> tuple[np.ndarray, int]:
    """The closed minutes before now, as klines tell them: [T, N] of bar_dt and the first one's time.

    A lineup that needs more than the world is old is given made-up minutes from before it.
    """
    server = life.network.server
    end_ms = server.now_ms() // MINUTE_MS * MINUTE_MS
    begin_ms = end_ms - minutes * MINUTE_MS
    bars = zeros((minutes, len(life.universe.symbols)), bar_dt)
    if minutes > MADE_UP_BEYOND:
        first_ms, first = _birth(life, end_ms)
        made = before(life.universe, first, first_ms, minutes)
        bars["open_ms"] = ABSENT_MS
        shift = (first_ms - end_ms) // MINUTE_MS
        bars[: minutes + shift] = made[-shift:]
    for i, candles in enumerate(server.publisher.candles):
        for row in candles.rows("1m", begin_ms, end_ms - 1, minutes, server.now_ms()):
            bars[(row[0] - begin_ms) // MINUTE_MS, i] = row[:6]
    return bars, begin_ms


def _birth(life: Life, end_ms: int) -> tuple[int, list[int]]:
    """The world's first minute, and the price of each symbol at its beginning."""
    server = life.network.server
    firsts = [candles.grown[0] for candles in server.publisher.candles if candles.grown]
    first_ms = min((int(row[0]) for row in firsts), default=end_ms)
    opening = [int(market.last) for market in server.world.markets]
    for i, candles in enumerate(server.publisher.candles):
        if candles.grown:
            opening[i] = int(candles.grown[0][1])
    return min(first_ms, end_ms), opening


def make(seed: int) -> DeskSubject:
    """A desk of one version."""
    return DeskSubject(seed, lineup(ONE))


def mixed(seed: int) -> DeskSubject:
    """A desk for one seed of the swarm, which chooses its lineup."""
    return DeskSubject(seed, lineup(chosen(seed)))


def two(seed: int) -> DeskSubject:
    """A desk of two versions of one strategy."""
    return DeskSubject(seed, lineup(TWO))


def scores(seed: int) -> DeskSubject:
    """A desk of both scorers."""
    return DeskSubject(seed, lineup(SCORES))


def ladders(seed: int) -> DeskSubject:
    """A desk of both scorers, which enter in batches."""
    return DeskSubject(seed, lineup(LADDERS))
