"""The live desk as the system under test: put together by the composition root that live trading uses."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import cache

import numpy as np

from perpdesk.adapters.binance.account import PlaceOf
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.adapters.folder import MemoryDisk, MemoryFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.config.load import Loaded, loads
from perpdesk.domain import units
from perpdesk.domain.books import Missing, TradingMode
from perpdesk.domain.kill import Rung
from perpdesk.domain.ownership import LeaseClaim
from perpdesk.engine.ownership import Ownership
from perpdesk.kernel.cache import sources_hash
from perpdesk.kernel.records import MINUTE_MS, bar_dt, zeros
from perpdesk.live import assemble, plan, write_down
from perpdesk.simulation.database import DatabaseFile
from perpdesk.simulation.observer import Limits, Observer
from perpdesk.simulation.subject import ACCOUNT_ID, Life

_HOST = "simulated"
_WARMUP_MINUTES = 30
# Small windows and near levels, so that a short run goes through every path.
_CONFIG = """
account: {balance_usdt: 10000, leverage: 5, margin_mode: isolated}
risk: {positions_max: 3, max_total_notional_usdt: 6000, daily_loss_limit: 0.008, worst_case_fraction: 0.5}
sma_cross:
  fast: 1
  slow: 3
  notional_usdt: 1000
  positions_max: 3
  stop: 0.01
  trail_activation: 0.008
  trail_callback: 0.004
  take_profit: 0.005
  take_profit_share: 0.5
  cooldown_s: 30
"""
# A little more than the limit above allows of the balance.
_LOSS_E8 = 90 * 10**8
_STRATEGIES = ("sma_cross",)


@cache
def _loaded() -> Loaded:
    return loads(_CONFIG)


class Ladder:
    """The rungs that people have named; the file of a real desk outlives its processes, like this."""

    def __init__(self) -> None:
        self.rung = Rung.NORMAL

    def now(self) -> Rung:
        return self.rung


class DeskSubject:
    """A Subject: one account, one strategy, a few symbols."""

    keeps_books = True

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"desk {seed}")
        self._ladder = Ladder()
        self.disk = MemoryDisk()
        self._with_canary = self._random.random() < 0.3
        config = _loaded().config
        self.limits = Limits(
            order_notional_e8=units.money_e8(config.sma_cross.notional_usdt) * 11 // 10,
            exposure_e8=units.money_e8(config.risk.max_total_notional_usdt),
            leverage=5,
            positions=3,
            daily_loss_e8=_LOSS_E8,
        )
        self.observer: Observer | None = None

    async def live(self, life: Life) -> None:
        clock = life.clock
        async with await SqlStore.open(life.database.url) as store:
            warmup, warmup_ms = _history(life)
            made = plan(_loaded(), _STRATEGIES, life.universe, warmup, warmup_ms)
            await write_down(made, store, clock.now_ms())
            if isinstance(await store.trading_control(ACCOUNT_ID), Missing):
                await store.set_trading_control(ACCOUNT_ID, True, "simulation", clock.now_ms())
            claim = LeaseClaim(
                account_id=ACCOUNT_ID,
                owner=f"{_HOST}/{life.incarnation.number}",
                host=_HOST,
                pid=life.incarnation.number,
                build_hash=sources_hash(),
                params_hash=made.snapshot.params_hash,
            )
            folder = MemoryFolder(self.disk)
            life.incarnation.on_death.append(folder.crash)
            owner = Ownership(claim=claim, leases=store, folder=folder, clock=clock)
            await owner.acquire()
            rest = life.gateway().rest(life.credentials, "main", owner.lease_end_ms)
            rest.entry_end_ms = owner.entry_end_ms

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
                rungs=self._ladder,
                account_id=ACCOUNT_ID,
                build_hash=claim.build_hash,
                seed=life.seed * 1_000 + life.incarnation.number,
                mode=TradingMode.TESTNET,
                with_canary=self._with_canary,
            )
            await desk.run()

    def watched_by(self, observer: Observer) -> None:
        """Who is told what a person does to the desk."""
        self.observer = observer

    def acts(self, database: DatabaseFile) -> dict[str, Callable[[], Awaitable[None]]]:
        async def kill() -> None:
            rung = self._random.choice((Rung.HALT, Rung.REDUCE, Rung.CANCEL, Rung.FLATTEN))
            self._ladder.rung = rung
            if self.observer is not None:
                self.observer.killed_us = database.loop.now_us
            await database.loop.pause(self._random.randrange(20_000, 120_000))
            self._ladder.rung = Rung.NORMAL
            if self.observer is not None:
                self.observer.killed_us = None

        async def switch() -> None:
            await _switch(database, 0)
            if self.observer is not None:
                self.observer.switched_off_us = database.loop.now_us
            await database.loop.pause(self._random.randrange(20_000, 120_000))
            if self.observer is not None:
                self.observer.switched_off_us = None
            await _switch(database, 1)

        return {"HUM-13 kill ladder": kill, "HUM-14 trading switch": switch}

    def calm(self, database: DatabaseFile) -> None:
        """Everything is on again."""
        self._ladder.rung = Rung.NORMAL


async def _switch(database: DatabaseFile, enabled: int) -> None:
    await database.write("UPDATE trading_control SET trading_enabled = ?", enabled)


def _history(life: Life) -> tuple[np.ndarray, int]:
    """The closed minutes before now, as klines tell them: [T, N] of bar_dt and the first one's time."""
    server = life.network.server
    end_ms = server.now_ms() // MINUTE_MS * MINUTE_MS
    begin_ms = end_ms - _WARMUP_MINUTES * MINUTE_MS
    bars = zeros((_WARMUP_MINUTES, len(life.universe.symbols)), bar_dt)
    for i, candles in enumerate(server.publisher.candles):
        for row in candles.rows("1m", begin_ms, end_ms - 1, _WARMUP_MINUTES, server.now_ms()):
            bars[(row[0] - begin_ms) // MINUTE_MS, i] = row[:6]
    return bars, begin_ms


def make(seed: int) -> DeskSubject:
    """A desk for one seed."""
    return DeskSubject(seed)
