"""A whole live desk with its radar, on the simulated exchange, in virtual time: what a person would start.

The exchange's own server answers the real client (requests and streams without sockets), the store is a real
SQLite file, the desk is the one that ``perpdesk live`` assembles. A test moves prices and open interest, and
looks. Time passes only when the test lets it pass.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perpdesk.adapters.binance.account import PlaceOf
from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.adapters.build import build_hash
from perpdesk.adapters.folder import MemoryDisk, MemoryFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.config.load import Loaded, load
from perpdesk.domain.books import Missing, TradingMode
from perpdesk.domain.kill import Rung
from perpdesk.domain.ownership import LeaseClaim
from perpdesk.engine.live.desk import LiveDesk
from perpdesk.engine.ownership import Ownership
from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.server import RunningServer, ServeOptions, actor
from perpdesk.exchange.server.app import build
from perpdesk.exchange.server.details import OpenInterest
from perpdesk.kernel.records import MINUTE_MS, bar_dt, zeros
from perpdesk.live import assemble, plan, write_down
from perpdesk.market.interest import InterestRows, recorded
from perpdesk.market.universe import Universe
from perpdesk.service.oi_radar import RadarRun, Settings, keep_polling
from perpdesk.service.oi_trading import InterestTrading, interest_member
from perpdesk.simulation.clock import ProcessClock, WorldClock
from perpdesk.simulation.database import DatabaseFile, Files, drive
from perpdesk.simulation.loop import OWNER, Incarnation, Loop, new_loop
from perpdesk.simulation.network import URL, Network
from perpdesk.simulation.subject import API_KEY, API_SECRET
from perpdesk.simulation.trace import Trace

ACCOUNT_ID = 1
START_MS = 1_747_440_000_000
BEST = ("1.6", "1.4", "3.5", "1.0")
ENDPOINTS = (
    "topLongShortPositionRatio", "takerlongshortRatio", "topLongShortAccountRatio", "globalLongShortAccountRatio",
)  # fmt: skip


class OpenRungs:
    """Nobody has pulled the kill ladder."""

    def now(self) -> Rung:
        return Rung.NORMAL


@dataclass
class Process:
    """One life of the desk's process."""

    incarnation: Incarnation
    clock: ProcessClock
    desk: LiveDesk | None = None
    radar: RadarRun | None = None
    trading: InterestTrading | None = None
    error: BaseException | None = None
    is_over: bool = False


@dataclass
class Stage:
    """settings: what ``--config`` would say; history: minutes of quiet bars before the start, or the bars."""

    loop: Loop
    file: DatabaseFile
    server: RunningServer
    network: Network
    loaded: Loaded
    history: np.ndarray
    interest: InterestRows | None = None
    with_radar: bool = True
    symbols: tuple[str, ...] = ()
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    lives: list[Process] = field(default_factory=list)
    venue_class: type[BinanceVenue] = BinanceVenue
    alarms: list[str] = field(default_factory=list)
    is_silent: bool = False  # no marks, no candles
    traded: int = 0  # of the exchange's symbols, 0: all

    # -- the process -------------------------------------------------------------------------

    @property
    def process(self) -> Process:
        return self.lives[-1]

    @property
    def desk(self) -> LiveDesk:
        desk = self.process.desk
        assert desk is not None, self.process.error
        return desk

    @property
    def books(self) -> Any:
        return self.desk.engine.books

    async def start(self, within_ms: int = 60_000) -> None:
        """Start a process; returns when it is ready."""
        number = len(self.lives) + 1
        incarnation = Incarnation(f"process {number}", number, None)
        incarnation.born_us = self.loop.now_us
        one = Process(incarnation, ProcessClock(self.loop))
        self.lives.append(one)
        context = contextvars.copy_context()
        context.run(OWNER.set, incarnation)
        self.loop.create_task(self._life(one), name=incarnation.name, context=context)
        until_ms = self.loop.now_ms + within_ms
        while one.desk is None or not one.desk.is_ready:
            assert not one.is_over, one.error
            assert self.loop.now_ms < until_ms, "the desk did not become ready"
            await self.loop.pause(100)
        await self.loop.pause(1)

    async def kill(self) -> None:
        """kill -9."""
        self.loop.kill(self.process.incarnation)
        await self.loop.pause(10)

    async def restart(self, within_ms: int = 60_000) -> None:
        """Dead, and started again by whoever watches over it."""
        await self.kill()
        await self.start(within_ms)

    async def _life(self, one: Process) -> None:
        drive(self.file, one.incarnation)
        try:
            await self._run(one)
        except Exception as error:
            one.error = error
        one.is_over = True

    async def _run(self, one: Process) -> None:
        clock, universe = one.clock, self.universe
        async with await SqlStore.open(self.file.url) as store:
            end_ms = self.server.now_ms() // MINUTE_MS * MINUTE_MS
            bars, begin_ms = self._history(end_ms)
            interest = self.interest
            if interest is None:
                rows = await store.oi_snapshots(begin_ms, end_ms + MINUTE_MS)
                told = await store.oi_anomalies(begin_ms, end_ms + MINUTE_MS)
                interest = recorded(rows, told, universe.symbols)
            made = plan(self.loaded, ["oi_breakout"], universe, bars, begin_ms, interest)
            await write_down(made, store, clock.now_ms())
            if isinstance(await store.trading_control(ACCOUNT_ID), Missing):
                await store.set_trading_control(ACCOUNT_ID, True, "stage", clock.now_ms())
            number = one.incarnation.number
            claim = LeaseClaim(
                account_id=ACCOUNT_ID, owner=f"stage/{number}", host="stage", pid=number,
                build_hash=build_hash(), params_hash=made.snapshot.params_hash,
            )  # fmt: skip
            folder = MemoryFolder(self.disk)
            one.incarnation.on_death.append(folder.crash)
            owner = Ownership(claim=claim, leases=store, folder=folder, clock=clock)
            await owner.acquire()
            gateway = Gateway(simulated(URL), clock)
            rest = gateway.rest(Credentials(API_KEY, API_SECRET), "main", owner.lease_end_ms)
            rest.entry_end_ms = owner.entry_end_ms

            def venue_of(place_of: PlaceOf) -> BinanceVenue:
                return self.venue_class(
                    universe=universe, rest=rest, clock=clock, dial=self.network.dial, place_of=place_of,
                    patience_ms=20_000,
                )  # fmt: skip

            member = interest_member(made)
            assert member is not None
            account = gateway.governor.account("main")
            trading = one.trading = InterestTrading(
                member, made.setup.books, universe, gateway.server.now_ms,
                conditional_orders=lambda: len(account.conditional),
            )  # fmt: skip
            one.desk = desk = assemble(
                made, venue_of=venue_of, store=store, clock=clock, owner=owner, rungs=OpenRungs(),
                account_id=ACCOUNT_ID, build_hash=claim.build_hash, seed=number, mode=TradingMode.TESTNET,
                with_canary=False, notifiers=[Heard(self.alarms)], signal=trading.why_not,
            )  # fmt: skip
            trading.again = desk.again
            beside = []
            if self.with_radar:
                radar = one.radar = RadarRun(
                    simulated(URL), clock, Settings(self.loaded.path, ()), store, trading.seen, gateway=gateway,
                    held=lambda: universe.symbols, also_asks=trading.asks, on_settings=trading.take_settings,
                )  # fmt: skip
                beside.append(asyncio.ensure_future(keep_polling(radar, clock)))
            try:
                await desk.run()
            finally:
                for task in beside:
                    task.cancel()

    def _history(self, end_ms: int) -> tuple[np.ndarray, int]:
        """Closed minutes before now: what the exchange tells, and before that what the test made up."""
        minutes = len(self.history)
        begin_ms = end_ms - minutes * MINUTE_MS
        bars = self.history.copy()
        there = bars["open_ms"] >= 0
        bars["open_ms"] = begin_ms + MINUTE_MS * np.arange(minutes)[:, None]
        bars["open_ms"][~there] = -1
        for i, candles in enumerate(self.server.publisher.candles[: bars.shape[1]]):
            for row in candles.rows("1m", begin_ms, end_ms - 1, minutes, self.server.now_ms()):
                bars[(row[0] - begin_ms) // MINUTE_MS, i] = row[:6]
        return bars, begin_ms

    @property
    def universe(self) -> Universe:
        """What the desk trades: the exchange's first symbols."""
        world, n = self.server.world.universe, self.traded or len(self.server.world.markets)
        most = tuple(int(market.last) * 16 for market in self.server.world.markets)
        return Universe(
            world.symbols[:n], world.instruments[:n], world.price_digits[:n], world.lot_step[:n], most[:n]
        )

    # -- the world ---------------------------------------------------------------------------

    async def pulse(self) -> None:
        """Marks every second, klines when a minute is over and now and then."""
        while True:
            await self.loop.pause(1_000 - self.loop.now_ms % 1_000)
            self.server.pass_time(self.loop.now_ms)
            if not self.is_silent:
                # a tape's driver closes its candles itself
                self.show(klines=self.server.replay is None or self.loop.now_ms % MINUTE_MS >= 1_000)

    def show(self, *, klines: bool = True) -> None:
        """Everybody who listens sees marks and candles."""
        publisher, now_ms = self.server.publisher, self.server.now_ms()
        for stream in sorted(self.server.hub.listeners):
            if stream.startswith("!markPrice") or "@kline" in stream and klines and now_ms % 10_000 < 1_000:
                publisher.send(stream, now_ms)

    async def passes(self, ms: int) -> None:
        """Time passes."""
        await self.loop.pause(ms)

    async def until(self, is_so: Callable[[], bool], within_ms: int = 120_000) -> None:
        """Time passes until something is so."""
        until_ms = self.loop.now_ms + within_ms
        while not is_so():
            assert not self.process.is_over, self.process.error
            assert self.loop.now_ms < until_ms, "it did not come about"
            await self.loop.pause(100)

    async def minute(self, after_ms: int = 0) -> None:
        """To the next whole minute, and so much further."""
        await self.loop.pause(MINUTE_MS - self.loop.now_ms % MINUTE_MS + after_ms)

    def price(self, symbol: str, price: str) -> None:
        """The market walks there."""
        self.server.tick(symbol, price, walk=True)

    def jump(self, symbol: str, price: str) -> None:
        """The market is there at once."""
        self.server.tick(symbol, price)

    def person(self, action: str, **arguments: Any) -> list[Any]:
        """Somebody does something in the app."""
        done: list[Any] = actor.act(self.server, {"action": action, **arguments})["done"]
        return done

    def interest_is(self, symbol: str, amount: float | None, ratios: Sequence[str] | None = BEST) -> None:
        """What the exchange tells of open interest and ratios from now on. None: nothing."""
        told = self.server.options.open_interest[symbol]
        assert isinstance(told, Told)
        told.amount = amount
        grid = self.loop.now_ms // 300_000 * 300_000
        for place, name in enumerate(ENDPOINTS):
            told.ratios[name] = {} if ratios is None else {grid: ratios[place]}

    # -- what is seen ------------------------------------------------------------------------

    @property
    def account(self) -> Any:
        return self.server.world.accounts[0]

    def held(self, symbol: str) -> int:
        """Signed lots at the exchange."""
        i = self.server.contract(symbol).index
        return sum(one.lots for one in self.account.held(i))

    def lots(self, symbol: str) -> int:
        """Signed lots in our books."""
        return int(self.books.positions["lots"][0, self.universe.symbols.index(symbol)])

    def code(self, symbol: str) -> str:
        """What the strategy said to the symbol's newest row with news."""
        from perpdesk.strategies.oi_breakout import CODE_NAMES

        mind = self.desk.engine.sleeves[0].mind
        return CODE_NAMES[int(mind.states[self.universe.symbols.index(symbol)].code)]

    def conditionals(self, symbol: str) -> list[tuple[str, int, str, bool]]:
        """(type, lots, trigger, whole position) of the open conditional orders of a symbol."""
        contract = self.server.contract(symbol)
        return sorted(
            (one.type, one.lots, contract.price_text(one.trigger or one.activation), one.close_position)
            for one in self.account.open_algos.values()
            if one.contract == contract.index and one.is_open
        )

    def fills(self, symbol: str) -> list[Any]:
        i = self.server.contract(symbol).index
        return [one for one in self.account.fills if one["contract"] == i]


@dataclass
class Heard:
    """A Notifier that writes down."""

    alarms: list[str]

    async def notify(self, alarm: Any, *rest: Any) -> None:
        self.alarms.append(str(getattr(alarm, "code", alarm)))


def quiet(prices: Mapping[str, int], minutes: int) -> np.ndarray:
    """Minutes in which nothing happens."""
    bars = zeros((minutes, len(prices)), bar_dt)
    for s, price in enumerate(prices.values()):
        for name in ("open", "high", "low", "close"):
            bars[name][:, s] = price
    bars["volume_lots"] = 1_000
    bars["open_ms"] = 0
    return bars


@contextmanager
def stage(
    files: Files, loaded: Loaded, options: Callable[[WorldClock], ServeOptions], *, seed: int = 1,
    start_ms: int = START_MS,
) -> Iterator[Stage]:  # fmt: skip
    """A stage, empty of processes. Run what happens with ``play``."""
    loop = new_loop(seed, start_ms, shuffled=False)
    trace = Trace(loop)
    try:
        with files.one(loop, trace, seed) as file:
            server = build(options(WorldClock(loop)))
            server.gate.keys.clear()
            server.gate.add(Keys(0, API_KEY, "HMAC", API_SECRET))
            for contract in server.world.contracts:
                server.world.accounts[0].of(contract.index).isolated = True
            network = Network(loop, server, trace, seed)
            network.weather.latency_ms = network.weather.jitter_ms = 0
            loop.connect = network.connect
            prices = {
                c.symbol: int(m.last)
                for c, m in zip(server.world.contracts, server.world.markets, strict=True)
            }
            yield Stage(loop, file, server, network, loaded, quiet(prices, 140))
    finally:
        loop.bury()


def play(one: Stage, story: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    """Let a story happen."""

    async def whole() -> None:
        pulse = one.loop.create_task(one.pulse(), name="pulse")
        await story(one)
        pulse.cancel()

    one.loop.run(whole())


@dataclass
class Told(OpenInterest):
    """Open interest that is always of now, until a story says otherwise."""

    amount: float | None = 1e5

    def at(self, now_ms: int) -> tuple[int, str] | None:
        return None if self.amount is None else (now_ms, repr(self.amount))


def interest_of(symbols: Sequence[str]) -> dict[str, OpenInterest]:
    """Open interest that stands still, for a story to go on with."""
    return {symbol: Told() for symbol in symbols}


PRICES = {"BTCUSDT": "50000", "ETHUSDT": "2500", "SOLUSDT": "150"}
CONFIG = """
account: {balance_usdt: 10000, leverage: 6, margin_mode: isolated}
oi: {initial_balance_usdt: 8000}
"""


@contextmanager
def theatre(
    kept: Files, folder: Path, config: str = CONFIG, prices: Mapping[str, str] = PRICES
) -> Iterator[Stage]:
    """A stage whose prices and open interest move only as a story says."""
    path = folder / "desk.yaml"
    path.write_text(config)

    def options(clock: WorldClock) -> ServeOptions:
        return ServeOptions(
            clock=clock, prices=prices, accounts=1, open_interest=interest_of(tuple(prices)), control=True,
            rules=Rules(depth_level_usdt=500_000),
        )  # fmt: skip

    with stage(kept, load(path), options) as made:
        yield made
