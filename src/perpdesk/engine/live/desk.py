"""One account, traded for real: the parts, the order of a start, the tasks, the end.

Crash-only: a start is a recovery (lease → streams → replay of the rows → reconciliation → trading), and
whatever goes wrong unexpectedly ends the process. Positions and their stops stay on the exchange; the next
start goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from perpdesk.domain.books import WHOLE_STRATEGY, StateRow, StoreFailed, TradingControl
from perpdesk.domain.errors import LeaseHeld, PerpdeskError
from perpdesk.domain.ownership import SymbolTaken
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.canary import Canary, CanaryResult, Perch, StreamSightings
from perpdesk.engine.clock_watch import watch_clock
from perpdesk.engine.close_ladder import IN_THE_WAY
from perpdesk.engine.delivery import Delivery
from perpdesk.engine.guardian.breaker import Breaker, LossLimits
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.guardian.limits import COMPILED_IN, Ceilings, WireLimits
from perpdesk.engine.guardian.naked import figures
from perpdesk.engine.guardian.staleness import AgeLimits, Freshness
from perpdesk.engine.guardian.throttle import (
    RELEASES,
    REPEATED_EXECUTION,
    RepeatThrottle,
    releases_of,
    repeats_of,
)
from perpdesk.engine.guardian.throttle import STATE as THROTTLE
from perpdesk.engine.heartbeat import GUARDIAN_STALE, Pulse, beat_for_ever
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.live.money import Money
from perpdesk.engine.live.outside import OutsideBooks
from perpdesk.engine.live.protection import Protection
from perpdesk.engine.live.recovery import Recovered, Recovery
from perpdesk.engine.live.sink import EngineSink
from perpdesk.engine.live_engine import LiveEngine
from perpdesk.engine.metrics import Metrics
from perpdesk.engine.ownership import Ownership
from perpdesk.engine.reconcile.history import backfill
from perpdesk.engine.reconcile.loop import Reconciler, Report
from perpdesk.engine.recording import StoreRecorder
from perpdesk.engine.sleeve import Sleeve
from perpdesk.engine.wire import Rungs, WireGate
from perpdesk.kernel.records import NONE, SLOT_ENTRY, STOP
from perpdesk.kernel.replay import Books
from perpdesk.market.universe import Universe
from perpdesk.ports import (
    AccountSettings,
    Answer,
    Clock,
    LiveVenue,
    Message,
    NewOrder,
    Notifier,
    Outcome,
    StepClosed,
    StepOver,
    Store,
    Traded,
)

LOG = logging.getLogger(__name__)

SWITCH_MS = 2_000
SWITCH_STALE_MS = 15_000
FLUSH_AGAIN_MS = 500
RECONCILE_MS = 30_000
# A round that could not be completed is repeated after this, then after twice as long, and so on.
RECONCILE_AGAIN_MS = 1_000
# Reconciling again after a doubt waits at least this long.
RECONCILE_GAP_MS = 2_000
START_AGAIN_MS = 1_000
# Whoever brings rows from beside the feed waits so long for the entries made of them.
ENTRIES_OUT_MS = 1_000
# The first read of a recovery is asked again after so long, then after twice as long, and so on.
WALLET_S, WALLET_MOST_S = 2.0, 20.0
# The first answers of a start come within this, or a person is told.
START_LATE_MS = 5_000
_WIND_DOWN_MS = 8_000


class LiveFeed(LiveVenue, Protocol):
    """A venue that also tells what happens."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def messages(self) -> AsyncIterator[Message]: ...


@dataclass(frozen=True)
class LiveLimits:
    """What a run may do, from its configuration."""

    disaster: DisasterRule
    loss: LossLimits
    ages: AgeLimits = AgeLimits()
    ceilings: Ceilings = COMPILED_IN


@dataclass(frozen=True)
class Checks:
    """What the desk can ask about the account besides positions and orders. None: it is not checked.

    settings: modes, leverages, margin types; wanted: as they must be. facts: what the canary compares;
    expected: what must be so. stream: what the account's stream said of an order. routes: when each stream
    route last delivered (our ms); route_ms: the longest silence of each that is no failure.
    """

    settings: Callable[[], Awaitable[AccountSettings]] | None = None
    wanted: AccountSettings | None = None
    facts: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    stream: StreamSightings | None = None
    routes: Callable[[], Mapping[str, int]] = dict
    route_ms: Callable[[], Mapping[str, int]] = dict


class _Marks(Freshness):
    """Freshness that looks at the venue's newest mark when it is asked."""

    def __init__(self, venue: LiveVenue, clock: Clock, symbols: int, limits: AgeLimits) -> None:
        super().__init__(symbols, limits)
        self._venue, self._clock = venue, clock

    def look(self, now_ms: int) -> None:
        """Take in the newest mark of every symbol: a frozen feed is seen only by looking."""
        for symbol in range(len(self._price)):
            self._look(symbol, now_ms)

    def _look(self, symbol: int, now_ms: int) -> None:
        price, exchange_ms = self._venue.mark(symbol)
        if price:
            age_ms = max(0, self._venue.exchange_ms() - exchange_ms)
            self.marked(symbol, price, exchange_ms, now_ms - age_ms)

    def why_not_open(self, symbol: int, now_ms: int) -> str | None:
        self._look(symbol, now_ms)
        seen_ms = self._venue.user_seen_ms()
        if seen_ms:
            self.user_lives(seen_ms)
        return super().why_not_open(symbol, now_ms)

    def mark_price(self, symbol: int) -> int:
        return self._venue.mark(symbol)[0]


class LiveDesk:
    """Trades one account until it is stopped, or something ends it.

    books and sleeves are warmed up, flat and the desk's own. versions: names of the sleeves as stored;
    families: the strategy that each belongs to (one symbol belongs to one of them). guards: JSON of each
    sleeve's guard. signal: (entry, mark) → why its decision does not hold any more.
    """

    def __init__(
        self,
        *,
        universe: Universe,
        books: Books,
        sleeves: Sequence[Sleeve],
        versions: Sequence[str],
        families: Sequence[str],
        guards: Sequence[Mapping[str, Any]],
        venue: LiveFeed,
        store: Store,
        clock: Clock,
        owner: Ownership,
        rungs: Rungs,
        account_id: int,
        params_hash: str,
        build_hash: str,
        limits: LiveLimits,
        recorder: StoreRecorder,
        checks: Checks | None = None,
        notifiers: Sequence[Notifier] = (),
        seed: int = 0,
        with_backfill: bool = False,
        signal: Callable[[NewOrder, int], str | None] = lambda order, mark: None,
    ) -> None:
        self.venue, self.store, self.clock, self.owner = venue, store, clock, owner
        self.account_id, self.families, self.universe = account_id, families, universe
        self.params_hash = params_hash
        self.metrics = Metrics()
        self.alarms = Alarms(clock, store, notifiers)
        self.checks = checks or Checks()
        self.ids = ClientIds(account_id, seed)
        self.recorder = recorder
        self.recorder.on_rows = self._rows_wait
        codes = [sleeve.code for sleeve in sleeves]
        members = list(sleeves)
        self.delivery = Delivery(
            books=books,
            sleeves=members,
            venue=venue,
            recorder=recorder,
            ids=self.ids,
            clock=clock,
            judge=self._judge,
            foresee=lambda order: self.gate.foresee(order),
            on_refused=self._refused,
            on_sent=self._sent,
            on_store_failed=self._store_failed,
            owns=self._take_symbol,
        )
        self.outside = OutsideBooks(
            universe=universe,
            recorder=recorder,
            store=store,
            clock=clock,
            alarms=self.alarms,
            gate=lambda: self.gate,
            account_id=account_id,
            on_filled=self._filled,
            on_booking=lambda booking: self.money.booked(booking),
            on_guardians_order_gone=lambda client_id: self.protection.disaster_gone(client_id),
            on_statement_moved=lambda: self.money.moved.set(),
        )
        self.engine = LiveEngine(
            books, members, self.delivery, recorder, self._is_on, outside=self.outside, version_codes=codes
        )
        self.money = Money(
            self.engine,
            venue,
            store,
            clock,
            Breaker(account_id, limits.loss),
            self.alarms,
            universe,
            account_id,
            params_hash,
            recorder,
        )
        self.freshness = _Marks(venue, clock, len(universe.symbols), limits.ages)
        self.pulses = [
            Pulse(account_id, version, owner.claim.owner, build_hash, params_hash) for version in versions
        ]
        slots = {name: sleeve.mind.strategy.slots for name, sleeve in zip(versions, sleeves, strict=True)}
        self.throttle = RepeatThrottle(limits={name: repeats_of(n) for name, n in slots.items()})
        self.gate = WireGate(
            clock=clock,
            rungs=rungs,
            has_lease=owner.has_room,
            is_switched_on=self._is_switched_on,
            is_store_healthy=lambda: recorder.writer.failure is None,
            freshness=self.freshness,
            breaker=self.money.why_not,
            pulse=self._why_stale,
            limits=WireLimits(
                list(books.instruments), range(len(universe.symbols)), self._held, limits.ceilings
            ),
            throttle=self.throttle,
            strategies=list(versions),
            protect_only=self._protect_only,
            signal=signal,
        )
        self.protection = Protection(
            self.engine,
            venue,
            clock,
            self.ids,
            rungs,
            self.alarms,
            limits.disaster,
            [int(tick) for tick in books.instruments["tick"]],
            self.spawn,
            self.reconcile_soon,
        )
        self.sink = EngineSink(
            engine=self.engine,
            venue=venue,
            clock=clock,
            outside=self.outside,
            gate=self.gate,
            alarms=self.alarms,
            spawn=self.spawn,
            guardian_ids=self.protection.disaster_ids,
            wanted=self.checks.wanted,
        )
        self.recovery = Recovery(self.engine, recorder, store, venue, universe, versions, account_id)
        self.canary: Canary | None = None
        if self.checks.facts is not None and self.checks.stream is not None:
            self.canary = Canary(
                venue,
                clock,
                self.ids,
                account_id,
                self.checks.stream,
                self._perch,
                self.checks.facts,
                store,
                expected=self.checks.expected,
                routes=self.checks.routes,
                route_ms=self.checks.route_ms,
                params_hash=params_hash,
            )
        self.reconciler: Reconciler | None = None
        self.recovered: Recovered | None = None
        self.is_ready = False
        self._rounds_failed = 0  # of reconciliation, in a row
        self._started_ms: int | None = None  # since when the streams are open
        self._with_backfill = with_backfill
        self._switch_on, self._switch_ms = False, 0
        self._rows = asyncio.Event()
        self._doubt = asyncio.Event()
        self._stop = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._freed: dict[int, str] = {}
        self._signal_ns = 0  # a stopwatch: when the newest minute, or what came late to it, was there
        self._turn = asyncio.Lock()  # of those who bring something to the engine
        self._kept_throttle: dict[str, Any] = self.throttle.to_state()

    # -- life --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start, trade, wind down. Raises LeaseHeld, or what could not be gone on with.

        The account must have been acquired.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._until_stopped(tasks))
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            self._tasks = None
            await self.venue.close()

    def stop_soon(self) -> None:
        """Wind down: no new entries, unfilled ones taken back, positions and their stops stay."""
        self._stop.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task under the desk's supervision: what it raises ends the desk."""
        if self._tasks is None:
            work.close()
            return
        self._tasks.create_task(work)

    async def _until_stopped(self, tasks: asyncio.TaskGroup) -> None:
        early = (self._own(), self.alarms.run(), self._watch_clock(), self._mind_silence())
        running = [tasks.create_task(work) for work in early]
        await self.clock.sleep_until(self.owner.from_ms)
        await self.venue.start()
        self._started_ms = self.clock.now_ms()
        await self._recover()
        running += [
            tasks.create_task(work)
            for work in (
                self._feed(),
                self.delivery.run(),
                self._reconcile(),
                self.protection.run(),
                self._write(),
                self._poll_switch(),
                self._mind_money(),
                self.money.run(),
                beat_for_ever(self.pulses, self.store, self.clock, self.protection.is_working),
            )
        ]
        if self.canary is not None:
            running.append(tasks.create_task(self.canary.run_for_ever(self._canary_told)))
        if self._with_backfill:
            running.append(tasks.create_task(self._backfill()))
        self.is_ready = True
        await self._stop.wait()
        await self._wind_down()
        for task in running:
            task.cancel()

    async def again(self, v: int, symbols: Sequence[int], due_ms: int) -> None:
        """What belongs to a step has come from beside the exchange's feed (see ``Engine.again``).

        Returns when the entries that it made are out, or after a moment: whoever brought it may be busy then.
        """
        async with self._turn:
            self._signal_ns = time.perf_counter_ns()
            await self.engine.again(v, symbols, due_ms)
        until_ms = self.clock.now_ms() + ENTRIES_OUT_MS
        while any(self.delivery.has_entry_on_its_way(v, s) for s in symbols):
            if self.clock.now_ms() >= until_ms:
                break
            await self.clock.sleep_until(self.clock.now_ms() + 2)
        self._rows_wait()

    async def _recover(self) -> None:
        """Books from the store, then what the exchange did meanwhile. Tried until it succeeds."""
        await self.recorder.writer.begin()
        self.recovery.epoch = self.owner.epoch
        for pulse in self.pulses:
            pulse.epoch = self.owner.epoch
        patience_s = WALLET_S
        while True:
            try:
                async with asyncio.timeout(patience_s):  # positions may be waiting for their stops
                    wallet_e8 = await self.venue.wallet_e8()
                self.recovered = await self.recovery.run(self.clock.now_ms())
                break
            except (PerpdeskError, TimeoutError) as error:
                patience_s = min(WALLET_MOST_S, 2 * patience_s)
                if self.engine.executor.codes:
                    raise  # half-built books are not built upon: the next process begins anew
                LOG.warning("recovery is tried again: %r", error)
                await self.clock.sleep_until(self.clock.now_ms() + START_AGAIN_MS)
        await self.money.begin(wallet_e8)
        self.outside.begin(await self.store.external_lots(self.account_id))
        self.money.since_ms = self.recovered.since_ms
        await self.money.keep(self.recovered.since_ms)
        kept = await self.store.load_state(self.account_id, THROTTLE, WHOLE_STRATEGY)
        self.throttle.restore(kept.state if kept is not None and isinstance(kept.state, dict) else None)
        self.reconciler = Reconciler(
            account_id=self.account_id,
            venue=self.venue,
            clock=self.clock,
            sink=self.sink,
            symbols=self.universe.symbols,
            since_ms=self.recovered.since_ms,
            settings=self.checks.settings,
        )
        for s in range(len(self.universe.symbols)):
            if any(self.engine.sleeve_lots(s)):
                price = self.venue.mark(s)[0] or int(self.engine.books.heads["last"][:, s].max())
                if price:
                    await self.engine.react(s, price, self.clock.now_ms())
        await self._reconcile_once()
        for v, s, tag in self.recovered.leaving:
            self.delivery.exit_now(v, s, tag)

    async def _wind_down(self) -> None:
        self.is_ready = False
        slots = self.engine.books.slots
        for v in range(slots.shape[0]):
            for s in range(slots.shape[1]):
                if slots[v, s, SLOT_ENTRY].kind != NONE:
                    slots[v, s, SLOT_ENTRY].kind = NONE
                    self.delivery.wake(s)
        until_ms = self.clock.now_ms() + _WIND_DOWN_MS
        while self.delivery.entries_are_out and self.clock.now_ms() < until_ms:
            await self.clock.sleep_until(self.clock.now_ms() + 100)
        await self.recorder.run_over(self.clock.now_ms())
        await self.outside.write()
        await self.alarms.carry_out()
        await self.owner.release()

    # -- tasks -------------------------------------------------------------------------------

    async def _own(self) -> None:
        """Keep the account. Whoever has lost it sends nothing more, and ends."""
        await self.owner.run()
        if not self._stop.is_set():
            raise LeaseHeld(str(self.account_id), self.owner.lost or "another process", 0)

    async def _feed(self) -> None:
        async for message in self.venue.messages():
            if isinstance(message, StepClosed):
                self._signal_ns = time.perf_counter_ns()
                for s, open_ms in enumerate(message.bars["open_ms"].tolist()):
                    if open_ms >= 0:
                        self.freshness.bar_closed(s, message.now_ms)
            async with self._turn:
                await self.engine.handle(message)
            if isinstance(message, Traded):
                self.metrics.add("fills_total")
            elif isinstance(message, StepOver):
                self.metrics.add("steps_total")
                self._rows_wait()

    async def _reconcile(self) -> None:
        assert self.reconciler is not None
        while True:
            failed = min(self._rounds_failed, 5)
            await self._pause_or(self._doubt, RECONCILE_AGAIN_MS << failed - 1 if failed else RECONCILE_MS)
            self._doubt.clear()
            await self._reconcile_once()
            await self.clock.sleep_until(self.clock.now_ms() + RECONCILE_GAP_MS)

    async def _reconcile_once(self) -> Report:
        assert self.reconciler is not None
        report = await self.reconciler.once()
        self._rounds_failed = 0 if report.is_complete else self._rounds_failed + 1
        try:
            if report.is_complete:
                self.protection.exchange_showed(await self.venue.legs(), await self.venue.open_orders())
            else:
                self.protection.orders_showed(await self.venue.open_orders())
        except PerpdeskError as error:
            LOG.warning("the exchange's list could not be read: %s", error)
        await self.outside.look()
        return report

    async def _backfill(self) -> None:
        """Once: a week of the exchange's history that our books lack, from before this start."""
        assert self.recovered is not None
        try:
            found = await backfill(
                venue=self.venue,
                store=self.store,
                clock=self.clock,
                universe=self.universe,
                account_id=self.account_id,
                until_ms=self.recovered.since_ms,
            )
        except PerpdeskError as error:
            LOG.warning("the backfill is left for the next start: %s", error)
            return
        LOG.info("backfill: %d fills read, %d new, %d gaps", found.read, found.inserted, len(found.gaps))
        if found.gaps:
            self.alarms.sound(
                "HISTORY_GAPS", f"the exchange's history lacks fills of {len(found.gaps)} orders"
            )

    async def _write(self) -> None:
        """Rows go to the store as they come; a store that fails is asked again, and nothing is opened."""
        while True:
            await self._rows.wait()
            self._rows.clear()
            try:
                await self.recorder.flush()
                await self.outside.write()
                await self.money.save()
                await self._free_symbols()
                await self._keep_throttle()
                self.alarms.clear("STORE_UNHEALTHY")
            except StoreFailed as error:
                self._store_failed(error)
                self._rows.set()
                await self.clock.sleep_until(self.clock.now_ms() + FLUSH_AGAIN_MS)

    async def _poll_switch(self) -> None:
        while True:
            answer = await self.store.trading_control(self.account_id)
            self._switch_on = isinstance(answer, TradingControl) and answer.trading_enabled
            self._switch_ms = self.clock.now_ms()
            if self.throttle.disabled:
                await self._heed_releases()
            await self.clock.sleep_until(self._switch_ms + SWITCH_MS)

    async def _heed_releases(self) -> None:
        """A person may have switched a strategy on again."""
        try:
            kept = await self.store.load_state(self.account_id, RELEASES, WHOLE_STRATEGY)
        except PerpdeskError as error:
            LOG.warning("releases of the throttle could not be read: %s", error)
            return
        for name in self.throttle.heed(releases_of(None if kept is None else kept.state)):
            LOG.warning("%s may open again: a person has released it", name)
            self.alarms.clear(REPEATED_EXECUTION, name)
            self._rows_wait()

    async def _mind_money(self) -> None:
        """The breaker sees the marks every second, and its row is kept."""
        while True:
            began_ms = self.clock.now_ms()
            self.money.mark(self.protection.unrealised_e8())
            if not self.money.breaker.is_saved:
                self._rows_wait()
            if self.throttle.to_state() != self._kept_throttle:
                self._throttle_tripped()
            self._measure(began_ms)
            await self.clock.sleep_until(began_ms + 1_000)
            self.metrics.observe("loop_lag_ms", max(0, self.clock.now_ms() - began_ms - 1_000))

    async def _mind_silence(self) -> None:
        """From the first second on: a start that waits for the exchange is told, too."""
        while True:
            now_ms = self.clock.now_ms()
            self.freshness.look(now_ms)
            self._tell_of_silence(now_ms)
            await self.clock.sleep_until(now_ms + 1_000)

    def _tell_of_silence(self, now_ms: int) -> None:
        """A person is told when the exchange or the database is not heard of (L6)."""
        is_late = self._started_ms is None and now_ms - self.owner.from_ms > START_LATE_MS
        unheard = "the exchange does not answer"
        if is_late:
            unheard = "the exchange has not answered what a start asks first"
        told = (
            ("UNREACHABLE", is_late or not self.venue.reachable(), unheard),
            ("STORE_UNHEALTHY", self.owner.database_is_silent, "the lease could not be renewed"),
        )
        for code, holds, text in told:
            if holds:
                self.alarms.sound(code, text, key="silent")
            else:
                self.alarms.clear(code, "silent")
        limit_ms = self.freshness.limits.mark_ms
        symbols = self.universe.symbols
        if self._started_ms is None or now_ms - self._started_ms <= limit_ms:
            return  # no stream could have told of a price yet
        old = [name for s, name in enumerate(symbols) if self.freshness.mark_age_ms(s, now_ms) > limit_ms > 0]
        if old:
            names = ", ".join(old[:5])
            self.alarms.sound("STALE_PRICE", f"no news of {len(old)} of {len(symbols)} prices: {names}")
        else:
            self.alarms.clear("STALE_PRICE")

    async def _watch_clock(self) -> None:
        """When the clock is set, begin anew (CLK-02, CLK-04)."""
        await watch_clock(self.clock)

    def _measure(self, now_ms: int) -> None:
        """Put the gauges that a person looks at first."""
        for name, value in figures(self.protection.meter.report(now_ms)).items():
            self.metrics.put(name, value)
        self.metrics.put("rows_waiting", self.recorder.writer.waiting)
        self.metrics.put("doubts", sum(len(line.doubts) for line in self.delivery.lines.values()))
        last = None if self.reconciler is None else self.reconciler.last_complete
        if last is not None:
            self.metrics.put("reconcile_age_ms", last.age_ms(now_ms))

    async def _pause_or(self, event: asyncio.Event, ms: int) -> None:
        sleep = asyncio.ensure_future(self.clock.sleep_until(self.clock.now_ms() + ms))
        wake = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((sleep, wake), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            wake.cancel()

    # -- what the parts ask ------------------------------------------------------------------

    def reconcile_soon(self) -> None:
        """Something is in doubt: compare with the exchange now."""
        self._doubt.set()

    def _judge(self, order: NewOrder) -> str | None:
        refusal = self.gate.judge(order)
        if refusal is None and order.slot == SLOT_ENTRY and self._signal_ns:
            self.metrics.observe("signal_to_send_us", (time.perf_counter_ns() - self._signal_ns) // 1_000)
        return refusal

    def _why_stale(self, v: int, now_ms: int) -> str | None:
        """Other processes see a dead guardian by its heartbeat; this one need not wait for that."""
        if not self.protection.is_working(now_ms):
            return GUARDIAN_STALE
        return self.pulses[v].judge(now_ms, epoch=self.owner.epoch)

    def _protect_only(self) -> str | None:
        if not self.is_ready:
            return "NOT_READY"
        if self.reconciler is None or self.reconciler.last_complete is None:
            return "NOT_RECONCILED"
        halted = self.sink.why_halted()
        if halted is not None:
            return f"HALTED:{halted}"
        return None if self.canary is None else self.canary.protect_only()

    async def _is_on(self) -> bool:
        return self._is_switched_on(self.clock.now_ms())

    def _is_switched_on(self, now_ms: int) -> bool:
        return self._switch_on and now_ms - self._switch_ms <= SWITCH_STALE_MS

    def _held(self, order: NewOrder) -> tuple[int, int]:
        """Positions that there would be with this order and all pending ones filled, and their notional."""
        books = self.engine.books
        held = books.positions["lots"] != 0
        entering = books.slots["kind"][:, :, SLOT_ENTRY] != NONE
        entering[order.sleeve, order.symbol] = True
        exposure = 0
        for s in range(len(self.universe.symbols)):
            pending = books.slots["lots"][:, s, SLOT_ENTRY] * entering[:, s]
            lots = int(abs(books.positions["lots"][:, s]).sum()) + abs(int(self.engine.external[s]))
            lots += int(pending.sum()) + (order.lots if s == order.symbol else 0)
            if s == order.symbol and books.slots[order.sleeve, s, SLOT_ENTRY].kind != NONE:
                lots -= int(books.slots[order.sleeve, s, SLOT_ENTRY].lots)
            if lots:
                exposure += (
                    lots * self.engine.price_of(s, self.venue.mark(s)[0]) * int(books.instruments[s].unit_e8)
                )
        return int((held | entering).sum()), exposure

    def _refused(self, order: NewOrder, answer: Answer) -> None:
        self.metrics.add("refusals_total")
        if order.reduce_only:
            self.alarms.sound(
                "PROTECTION_REFUSED", f"{order.client_id}: {answer.reason}", key=order.client_id
            )
            self.reconcile_soon()
        if answer.code == IN_THE_WAY:
            symbol = self.universe.symbols[order.symbol]
            self.alarms.sound(
                "ORDERS_IN_THE_WAY",
                f"open orders of somebody else on {symbol} keep an exit from closing it whole: it goes in "
                "parts; take those orders away",
                key=symbol,
            )

    def _sent(self, order: NewOrder, answer: Answer, ms: int) -> None:
        self.metrics.add("orders_total")
        if answer.outcome is Outcome.UNKNOWN:
            self.metrics.add("unknown_total")
        if answer.outcome is Outcome.ACCEPTED and order.kind == STOP and order.reduce_only:
            self._stop_stands(order, ms)

    def _stop_stands(self, order: NewOrder, ms: int) -> None:
        """The exchange has acknowledged a stop: the wait for it ends, if it is over all of the lots."""
        place = (order.sleeve, order.symbol)
        code, held = self.engine.executor.codes.get(place), abs(int(self.engine.books.positions[place].lots))
        if code is not None and 0 < held <= order.lots:
            self.protection.meter.acknowledged(code, ms)

    def _store_failed(self, error: StoreFailed) -> None:
        self.alarms.sound("STORE_UNHEALTHY", f"{error}")

    def _rows_wait(self) -> None:
        self._rows.set()

    def _filled(self, v: int, s: int, ms: int) -> None:
        self.protection.filled(v, s)
        if not any(self.engine.sleeve_lots(s)):
            self._freed[s] = self.families[v]

    async def _take_symbol(self, order: NewOrder) -> str | None:
        """The symbol belongs to this strategy from now on; why not, if it is another's."""
        symbol, family = self.universe.symbols[order.symbol], self.families[order.sleeve]
        try:
            await self.store.take_symbol(self.account_id, symbol, family, self.clock.now_ms())
        except SymbolTaken as error:
            return str(error)
        self._freed.pop(order.symbol, None)
        return None

    async def _free_symbols(self) -> None:
        for s, family in list(self._freed.items()):
            if not any(self.engine.sleeve_lots(s)) and not self._is_entering(s):
                await self.store.free_symbol(self.account_id, self.universe.symbols[s], family)
            self._freed.pop(s, None)

    async def _keep_throttle(self) -> None:
        """What was switched off stays off after a restart."""
        state = self.throttle.to_state()
        if state != self._kept_throttle:
            row = StateRow(
                account_id=self.account_id,
                strategy=THROTTLE,
                symbol=WHOLE_STRATEGY,
                state=state,
                params_hash=self.params_hash,
                updated_ms=self.clock.now_ms(),
            )
            await self.store.save_state(row)
            self._kept_throttle = state

    def _throttle_tripped(self) -> None:
        """A strategy was switched off: told at once, and kept."""
        for name in self.throttle.disabled:
            self.alarms.sound(
                REPEATED_EXECUTION,
                f"{name} executes too often and opens nothing more: find out why, then "
                f"`perpdesk control release {name}`",
                key=name,
            )
        self._rows_wait()

    def _is_entering(self, s: int) -> bool:
        return any(self.delivery.has_entry_on_its_way(v, s) for v in range(len(self.families)))

    def _canary_told(self, result: CanaryResult) -> None:
        if result.is_good:
            self.alarms.clear("CANARY")
        for broken in result.broken:
            self.alarms.sound("CANARY", str(broken))
        for changed in result.changed:
            self.alarms.sound("VENUE_CHANGED", changed, severity="warning")

    def _perch(self) -> Perch | None:
        books = self.engine.books
        for s in range(len(self.universe.symbols)):
            mark = self.venue.mark(s)[0]
            if mark and s not in self.gate.blocked:
                instrument = books.instruments[s]
                unit = int(instrument.unit_e8)
                least = -(-int(instrument.notional_min_e8) * 2 // (mark * unit))
                return Perch(s, mark, int(instrument.tick), max(int(instrument.lots_min), least))
        return None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The reason of a group: what the operator is told."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
