"""A bench that keeps its books in a database, and can die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.engine.live.bench import ACCOUNT, Bench, assembled, flat_market
from tests.engine.live.scripted import ScriptedVenue

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.app import Market
from perpdesk.domain.books import StoreFailed, StrategyVersion
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.guardian.breaker import Booking
from perpdesk.engine.live.outside import OutsideBooks
from perpdesk.engine.live.recovery import Recovered, Recovery
from perpdesk.engine.recording import StoreRecorder
from perpdesk.kernel.records import STOP
from perpdesk.ports import NewOrder, OpenOrder

VERSIONS = ("v0", "v1")


@dataclass
class Kept:
    """One account's life over several processes. one: the process that lives."""

    market: Market
    store: SqlStore
    sha: str
    clock: VirtualClock
    venue: ScriptedVenue
    sleeves: int
    lives: int = 0
    one: Bench = field(init=False)
    recovery: Recovery = field(init=False)
    bookings: list[Booking] = field(default_factory=list)
    gate: Any = field(default_factory=lambda: SimpleNamespace(blocked={}))

    def born(self) -> Bench:
        """A new process: nothing is known yet."""
        alarms = Alarms(self.clock, self.store)
        self.alarms = alarms

        def recorder(setup: Any) -> StoreRecorder:
            return StoreRecorder(
                store=self.store,
                universe=self.market.universe,
                books=setup.books,
                versions=VERSIONS[: self.sleeves],
                account_id=ACCOUNT,
                params_hash=self.sha,
                guards=[{"stop_ppm": 40_000}] * self.sleeves,
                marks=True,
                on_rows=lambda: None,
            )

        def outside(keeper: Any) -> OutsideBooks:
            return OutsideBooks(
                universe=self.market.universe,
                recorder=keeper,
                store=self.store,
                clock=self.clock,
                alarms=alarms,
                gate=lambda: self.gate,
                account_id=ACCOUNT,
                on_filled=lambda v, s, ms: None,
                on_booking=self.bookings.append,
                on_guardians_order_gone=lambda client_id: None,
                on_statement_moved=lambda: None,
            )

        self.one = assembled(
            self.market, self.sleeves, clock=self.clock, venue=self.venue, recorder=recorder, outside=outside,
            seed=self.lives * 100,
        )  # fmt: skip
        self.one.trades = len(self.venue.history)
        self.lives += 1
        self.recovery = Recovery(
            self.one.engine, self.one.recorder, self.store, self.venue, self.market.universe,
            VERSIONS[: self.sleeves], ACCOUNT, epoch=self.lives,
        )  # fmt: skip
        return self.one

    async def again(self, *, after_ms: int = 1_000) -> Recovered:
        """The process dies as it stands, and the next one recovers."""
        self.clock.advance_to(self.clock.now_ms() + after_ms)
        self.venue.listed = [listed(order) for order in self.venue.alive.values()]
        self.born()
        await self.one.recorder.writer.begin()
        return await self.recovery.run(self.clock.now_ms())

    async def carried(self) -> None:
        """Let the delivery do what is to be done now."""
        wakes = self.one.delivery._wakes
        for _ in range(50):
            await self.one.idle()
            while self.one.delivery._aside:
                await asyncio.sleep(0.001)  # an intent is being written, or sent
            await self.one.idle()
            woken = [s for s, wake in enumerate(wakes) if wake.is_set()]
            if not woken:
                return
            for s in woken:
                wakes[s].clear()
                self.one.delivery.carry(s)

    async def enter(self, side: int = 1, lots: int = 10, v: int = 0, s: int = 0) -> None:
        await self.one.enter(side, lots, v, s)
        await self.carried()

    async def hold(self, lots: int = 10, price: int = 10_000, v: int = 0, s: int = 0) -> None:
        await self.enter(1 if lots > 0 else -1, abs(lots), v, s)
        await self.one.traded(f"t{v} e1", price=price, s=s)
        await self.carried()
        self.venue.said()

    async def flush(self) -> None:
        await self.one.recorder.flush()
        await self.one.outside.write()

    def rows(self) -> dict[str, Any]:
        """What the live rows say, by position code."""
        keeper = self.one.recorder
        return {code: keeper.rows.change(fold) for code, fold in sorted(keeper._positions.items())}


def listed(order: NewOrder) -> OpenOrder:
    """As the exchange lists it."""
    return OpenOrder(
        order.client_id, order.symbol, order.kind, order.side, order.price, order.lots, order.reduce_only,
        order.activation, order.callback_ppm, order.lots == 0, order.kind >= STOP, "NEW", 0,
    )  # fmt: skip


def template(folder: Path) -> Path:
    """An empty database, ready to be copied."""
    file = folder / "empty.db"
    upgrade(f"sqlite:///{file}")
    return file


@asynccontextmanager
async def kept(file: Path, sleeves: int = 1, symbols: int = 1) -> AsyncIterator[Kept]:
    """An account that was never traded."""
    async with await SqlStore.open(f"sqlite:///{file}") as store:
        market = flat_market(symbols)
        clock = VirtualClock(market.from_ms)
        sha = await store.save_params_snapshot("{}", 0)
        for name in (*VERSIONS, "old"):
            await store.save_strategy_version(
                StrategyVersion(name=name, scorer="test", params={}, params_hash=sha, created_ms=0)
            )
        life = Kept(market, store, sha, clock, ScriptedVenue(clock, symbols), sleeves)
        life.born()
        yield life


class Breaking:
    """A store that fails at the n-th call of a method. after: the call was carried out, its answer is lost."""

    def __init__(self, store: SqlStore, **failing: int) -> None:
        self._store, self._left = store, dict(failing)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in self._left:
            return found

        async def counted(*args: Any, **options: Any) -> Any:
            self._left[name] -= 1
            if self._left[name] == 0:
                raise StoreFailed(f"{name}: the database does not answer")
            return await found(*args, **options)

        return counted
