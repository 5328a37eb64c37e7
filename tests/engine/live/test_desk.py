"""A whole desk on a scripted venue and a real database: start, trade, stop, start again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.app.markets import configured
from tests.engine.desks import ENTER_LONG, NO_SLIP, Acting, scripted
from tests.engine.live.bench import ACCOUNT, PRICE, STOP, flat_market
from tests.engine.live.kept import listed
from tests.engine.live.scripted import ScriptedVenue, refused, short
from tests.kernel.tables import guard_record

from perpdesk import live
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.folder import MemoryDisk, MemoryFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import StrategyVersion, TradingMode
from perpdesk.domain.errors import LeaseHeld, PerpdeskError
from perpdesk.domain.kill import Rung
from perpdesk.domain.ownership import LeaseClaim
from perpdesk.engine.clock_watch import ClockJumped
from perpdesk.engine.live.desk import LiveDesk
from perpdesk.engine.ownership import Ownership
from perpdesk.kernel.records import MINUTE_MS, bar_dt, zeros
from perpdesk.ports import AccountSettings, Leg, StepClosed, StepOver, Traded, VenueFill

LOADED = configured(NO_SLIP)


@dataclass
class Account:
    """One account over several processes."""

    store: SqlStore
    clock: VirtualClock
    venue: ScriptedVenue
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    rung: Rung = Rung.NORMAL
    lives: int = 0

    def now(self) -> Rung:
        return self.rung

    async def until(self, is_so: Callable[[], bool], seconds: int = 60) -> None:
        """Time passes until something is so."""
        for _ in range(seconds * 4):
            if is_so():
                return
            await self.passes(250)
        raise AssertionError("it did not come about")

    async def passes(self, ms: int) -> None:
        until_ms = self.clock.now_ms() + ms
        while self.clock.now_ms() < until_ms:
            self.clock.advance_to(min(until_ms, self.clock.now_ms() + 250))
            for _ in range(3):
                await asyncio.sleep(0.001)

    def step(self, price: int = PRICE) -> None:
        """A minute closes."""
        now_ms = self.clock.now_ms()
        bars = zeros(1, bar_dt)
        bars[0] = (now_ms - MINUTE_MS, price, price, price, price, 1_000_000)
        self.venue.marks[0] = price
        self.venue.stream.put_nowait(StepClosed(now_ms, bars))
        self.venue.stream.put_nowait(StepOver(now_ms))

    def trades(self, name: str, price: int = PRICE) -> None:
        """An order of ours fills whole."""
        order = self.venue.order(name)
        self.venue.alive.pop(order.client_id, None)
        realised = self.venue.netted[0].fill(order.side, price, order.lots)
        fill = VenueFill(
            0, len(self.venue.history) + 1, 0, order.client_id, order.side, price, order.lots, False, 0, realised,
            self.clock.now_ms(),
        )  # fmt: skip
        self.venue.history.append(fill)
        self.shows()
        self.venue.stream.put_nowait(
            Traded(
                order.client_id, 0, order.sleeve, order.slot, order.side, price, order.lots, 1, 0, fill.ms,
                False, price, fill.trade_id, realised,
            )
        )  # fmt: skip

    def shows(self) -> None:
        """The exchange's lists are up to date."""
        lots = self.venue.netted[0].lots
        self.venue.shown = [Leg(0, "AAAUSDT", lots, PRICE, PRICE, 0, True, 0, 0)] if lots else []
        self.venue.listed = [listed(order) for order in self.venue.alive.values()]

    @asynccontextmanager
    async def desk(
        self,
        plan: dict[int, int] | None = None,
        watching: Callable[[], Awaitable[Any]] | None = None,
        settings: Callable[[], Awaitable[AccountSettings]] | None = None,
    ) -> AsyncIterator[LiveDesk]:
        """A process that trades until the block ends; then it is stopped, or has ended itself. watching: in
        place of the watch over the clock, because time is virtual here."""
        self.lives += 1
        made = live.plan(LOADED, [sleeve(plan or {})], flat_market().universe)
        made.setup.sleeves[0].begin(made.setup.minds[0].states)  # type: ignore[attr-defined]
        made.families[:] = ["test"]  # the actor's own name is longer than a column
        sha = await self.store.save_params_snapshot(made.snapshot.json, 0)
        await self.store.save_strategy_version(
            StrategyVersion(name="test", scorer="test", params={}, params_hash=sha, created_ms=0)
        )
        claim = LeaseClaim(
            account_id=ACCOUNT, owner=f"host/{self.lives}", host="host", pid=self.lives, build_hash="b",
            params_hash=made.snapshot.params_hash,
        )  # fmt: skip
        owner = Ownership(claim=claim, leases=self.store, folder=MemoryFolder(self.disk), clock=self.clock)
        await owner.acquire()
        self.venue.stream = asyncio.Queue()
        self.shows()
        desk = live.assemble(
            made, venue_of=lambda place_of: self.venue, store=self.store, clock=self.clock, owner=owner,  # type: ignore[arg-type,return-value]
            rungs=self, account_id=ACCOUNT, build_hash="b", seed=self.lives * 50, mode=TradingMode.TESTNET,
            with_canary=False,
        )  # fmt: skip
        desk._watch_clock = watching or asyncio.Event().wait  # type: ignore[assignment,method-assign]
        if settings is not None:
            desk.checks = replace(desk.checks, settings=settings)
        running = asyncio.ensure_future(desk.run())
        try:
            yield desk
            desk.stop_soon()
            await self.until(running.done)
            running.result()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, PerpdeskError):
                await running


def standing(desk: LiveDesk) -> set[str]:
    return {notice.code for notice in desk.alarms.standing()}


def sleeve(plan: dict[int, int]) -> Acting:
    return scripted(plan, guard=guard_record(stop_ppm=40_000), notional_e8=1_000 * 10**8)


@asynccontextmanager
async def account(file: Path) -> AsyncIterator[Account]:
    async with await SqlStore.open(f"sqlite:///{file}") as store:
        clock = VirtualClock(flat_market().from_ms)
        await store.set_trading_control(ACCOUNT, True, "test", clock.now_ms())
        venue = ScriptedVenue(clock)
        venue.marks[0] = PRICE
        yield Account(store, clock, venue)


async def test_a_desk_trades_stops_and_goes_on(file: Path) -> None:
    async with account(file) as one:
        async with one.desk({0: ENTER_LONG}) as desk:
            await one.until(lambda: desk.is_ready)
            await one.passes(3_000)
            one.step()
            await one.until(lambda: bool(one.venue.sent))
            assert one.venue.said() == ["place test e1-0 MARKET BUY 10"]
            assert [len(times) for times in desk.throttle._sent.values()] == [1], (
                "one execution, counted once"
            )
            one.trades("test e1")
            await one.until(lambda: len(one.venue.alive) == 2)
            assert sorted(one.venue.said()) == [
                "disaster SELL @ 9000",
                f"place test xs-0 STOP SELL 10 @ {STOP}",
            ]
            one.shows()
        assert [row for row in one.venue.said() if row.startswith("place")] == []
        assert len(one.venue.alive) == 2, "positions and their stops stay"
        (row,) = await one.store.live_positions(ACCOUNT)
        assert row.quantity == Decimal("0.1")
        async with one.desk() as desk:
            await one.until(lambda: desk.is_ready)
            await one.passes(5_000)
            assert int(desk.engine.books.positions[0, 0].lots) == 10
            assert one.venue.said() == []
            assert desk.recovered is not None
            assert desk.recovered.orders_adopted == 1
            one.trades("test xs", STOP)
            await one.until(lambda: int(desk.engine.books.positions[0, 0].lots) == 0)
        assert await one.store.live_positions(ACCOUNT) == []


@pytest.mark.parametrize("hindrance", ["switch", "rung", "mark", "not reconciled"])
async def test_what_hinders_an_entry(file: Path, hindrance: str) -> None:
    async with account(file) as one:
        if hindrance == "switch":
            await one.store.set_trading_control(ACCOUNT, False, "test", one.clock.now_ms())
        elif hindrance == "rung":
            one.rung = Rung.HALT
        async with one.desk({0: ENTER_LONG}) as desk:
            await one.until(lambda: desk.is_ready)
            await one.passes(3_000)
            if hindrance == "not reconciled":
                assert desk.reconciler is not None
                one.venue.fails, desk.reconciler.last_complete = {"legs"}, None
            one.step()
            if hindrance == "mark":
                one.venue.marks.clear()
            await one.passes(3_000)
            assert one.venue.said() == []
            assert not desk.delivery.has_entry_on_its_way(0, 0)


async def test_a_start_that_cannot_read_the_account_waits(file: Path) -> None:
    async with account(file) as one:
        one.venue.fails = {"wallet"}
        async with one.desk() as desk:
            await one.passes(5_000)
            assert not desk.is_ready
            one.venue.fails = set()
            await one.until(lambda: desk.is_ready)


async def test_a_start_into_an_outage_is_told_within_seconds(file: Path) -> None:
    async with account(file) as one:
        answered = asyncio.Event()
        one.venue.start = answered.wait  # type: ignore[method-assign,assignment]
        async with one.desk() as desk:
            await one.passes(desk.owner.from_ms - one.clock.now_ms() + 4_500)
            assert not standing(desk)
            await one.passes(2_000)
            assert standing(desk) == {"UNREACHABLE"}
            answered.set()
            await one.until(lambda: desk.is_ready)
            await one.passes(1_500)
            assert "UNREACHABLE" not in standing(desk)


async def test_a_start_does_not_wait_long_for_one_lost_answer(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perpdesk.engine.live.desk.WALLET_S", 0.05)
    async with account(file) as one:
        answers, asked = one.venue.wallet_e8, 0

        async def wallet_e8() -> int:
            nonlocal asked
            asked += 1
            if asked == 1:
                await asyncio.Event().wait()
            return await answers()

        one.venue.wallet_e8 = wallet_e8  # type: ignore[method-assign]
        async with one.desk() as desk:
            await one.until(lambda: desk.is_ready)
        assert asked > 1


async def test_a_first_reconciliation_that_fails_is_repeated_at_once(file: Path) -> None:
    async with account(file) as one:
        asked = 0

        async def settings() -> AccountSettings:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise PerpdeskError("a gateway's page")
            return AccountSettings(False, False, {0: 1}, {0: True})

        async with one.desk(settings=settings) as desk:
            await one.until(lambda: desk.is_ready)
            assert desk.reconciler is not None
            assert desk.reconciler.last_complete is None
            await one.passes(3_500)  # a start's missing fills wait for it, and with them their stops
            assert desk.reconciler.last_complete is not None


async def test_a_clock_that_is_set_during_the_start_ends_it(file: Path) -> None:
    async def set_by_somebody() -> None:
        raise ClockJumped(-600_000)

    async with account(file) as one:
        one.venue.start = asyncio.Event().wait  # type: ignore[method-assign,assignment]
        with pytest.raises(ClockJumped):
            async with one.desk(watching=set_by_somebody):
                await one.passes(1_000)


async def test_whoever_lost_the_account_ends_and_sends_nothing(file: Path) -> None:
    async with account(file) as one:
        with pytest.raises(LeaseHeld):  # noqa: PT012
            async with one.desk({0: ENTER_LONG}) as desk:
                await one.until(lambda: desk.is_ready)
                desk.owner._lose("another process has taken it")
                one.step()
                await one.passes(5_000)
        assert one.venue.said() == []


async def test_a_refused_stop_is_told_and_asks_for_the_truth(file: Path) -> None:
    async with account(file) as one:
        one.venue.will("xs", refused(-2022))
        async with one.desk({0: ENTER_LONG}) as desk:
            await one.until(lambda: desk.is_ready)
            await one.passes(3_000)
            one.step()
            await one.until(lambda: bool(one.venue.sent))
            one.trades("test e1")
            await one.until(lambda: "xs-1" in " ".join(map(short, one.venue.alive)))
            assert ("PROTECTION_REFUSED", one.venue.order("test xs-0").client_id) in desk.alarms._standing


def test_a_plan_knows_whose_orders_are_whose() -> None:
    made = live.plan(LOADED, ["score_v2", "score_v3", "sma_cross"], flat_market().universe)
    assert made.families == ["score", "score", "sma_cross"]
    for v, code in enumerate(made.codes):
        assert made.place_of(f"{code}-5-abc00-xs-0") == (v, 1)
    for foreign in ("web_1", "grd-5-abc00-dz-0", f"{made.codes[0]}-5-abc00-s99-0", "zz-5-abc00-xs-0"):
        assert made.place_of(foreign) is None


def test_limits_come_from_the_configuration_and_stay_below_the_programs_own() -> None:
    limits: Any = live.limits_of(
        configured("risk.positions_max=3", "risk.max_total_notional_usdt=6000", "risk.daily_loss_limit=0.02")
    )
    assert limits.ceilings.positions == 3
    assert limits.ceilings.exposure_e8 == 6_000 * 10**8
    assert limits.loss.daily_loss_ppm == 20_000
