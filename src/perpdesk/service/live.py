"""One account's desk as a process: from refusing what must not start to the line that says what stays open.

Order of a start: words that a person must have said → vault → compiled code → exchange and key rights → lease
→ contracts and warm-up, meanwhile a stop behind every naked position → the desk, whose start is a recovery.
Whatever goes wrong unexpectedly ends the process with its exit code; the next start goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.account import PlaceOf
from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.errors import (
    ExchangeRefused,
    ExchangeUnreachable,
    KeyRefused,
    LeaseTooShort,
    Throttled,
)
from perpdesk.adapters.binance.history import (
    read_brackets,
    read_contracts,
    read_marks,
    read_minutes,
    requests_for,
    universe_of,
)
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.key_rights import require_harmless_key
from perpdesk.adapters.binance.modes import margin_types
from perpdesk.adapters.binance.outcome import REFUSALS, Then
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.adapters.build import build_hash
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import DiskFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.adapters.vault import AccountEntry, Credential
from perpdesk.app import frozen, sleeves_of
from perpdesk.config import records
from perpdesk.config.load import Loaded
from perpdesk.config.oi_records import NAME as INTEREST
from perpdesk.domain.account_books import AccountRow, AccountStatus
from perpdesk.domain.books import NewRun, RunMode, StoreFailed, TradingControl, TradingMode
from perpdesk.domain.errors import LeaseHeld, PerpdeskError, Refused
from perpdesk.domain.kill import Rung
from perpdesk.domain.ownership import LeaseClaim, SeenDead
from perpdesk.engine.control_file import ControlJournal
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.live.desk import LiveDesk
from perpdesk.engine.ownership import Ownership
from perpdesk.live import Plan, assemble, plan, prepare, refuse_paper_only, write_down
from perpdesk.market.interest import InterestRows, recorded
from perpdesk.market.radar.radar import Seen
from perpdesk.service.first_cover import cover_first
from perpdesk.service.metrics_file import MetricsFile, write_for_ever
from perpdesk.service.oi_radar import RadarRun, Settings, keep_polling
from perpdesk.service.oi_status import figures as radar_figures
from perpdesk.service.oi_status import tell_for_ever
from perpdesk.service.oi_trading import InterestTrading, interest_member
from perpdesk.service.ratings import begin_ratings, follow_ratings
from perpdesk.service.rehearsal import rehearse
from perpdesk.service.rungs import SpokenRungs
from perpdesk.service.stopping import Stop, is_flat, what_stays

LOG = logging.getLogger(__name__)

KEY_CHECK_MS = 3_600_000
KEY_AGAIN_MS = 60_000
JOURNAL_MS = 2_000
FLATTEN_MS = 60_000
# So much history is read while the lease already runs; more is read before it is taken.
SHORT_WARMUP_MINUTES = 5_000
# A warm-up of more requests than this is announced: it takes minutes.
MANY_REQUESTS = 200
RADAR_DOWN = "RADAR_DOWN"
_KEY_RIGHTS, _EXIT = "KEY_RIGHTS", "FLATTEN_ON_EXIT"


@dataclass(frozen=True)
class LiveOptions:
    """What a person has asked for. ``dead``: the last owner, if it was seen dead when this process began.
    ``say``: a sentence for them. ``config``, ``settings``: what ``loaded`` was made of, to read it again.
    ``redis``: the radar's cache."""

    loaded: Loaded
    strategies: Sequence[str]
    symbols: Sequence[str]
    database: str
    entry: AccountEntry
    credential: Credential
    hosts: Hosts
    folder: DiskFolder
    config: Path | None = None
    settings: Sequence[str] = ()
    redis: str | None = None
    flatten_on_exit: bool = False
    with_canary: bool = True
    key_check_ms: int = KEY_CHECK_MS
    dead: SeenDead | None = None
    say: Callable[[str], None] = LOG.warning


def refuse_unconfirmed(is_live: bool, confirm: str | None, account: str) -> None:
    """Raise Refused unless both words were said: that it is real, and on which account."""
    if not is_live:
        raise Refused(
            "NOT_LIVE",
            "this sends real orders for real money: add --live and --confirm ACCOUNT if you mean it",
        )
    if confirm != account:
        said = "is missing" if confirm is None else f"says {confirm!r}"
        raise Refused("NOT_CONFIRMED", f"--confirm {said}: it must name the account, --confirm {account}")


async def known_account(store: SqlStore, entry: AccountEntry) -> AccountRow:
    """The database's row of a vault account. Raises Refused for one that must not be traded with it."""
    row = await store.account(entry.name)
    if row is None:
        raise Refused(
            "ACCOUNT_UNKNOWN",
            f"the database does not know account {entry.name!r}: run `perpdesk accounts check {entry.name}` "
            "with this --database",
        )
    if row.vault_ref != entry.vault_ref or row.exchange != entry.exchange:
        raise Refused(
            "ACCOUNT_UNKNOWN",
            f"the database's account {entry.name!r} is another one ({row.exchange}, {row.vault_ref}): is "
            "this its vault?",
        )
    if row.status is not AccountStatus.ACTIVE:
        raise Refused("ACCOUNT_DISABLED", f"account {entry.name!r} is {row.status.value}")
    return row


async def run_live(options: LiveOptions) -> str:
    """Trade until asked to stop; returns what stays open. Raises what the process ends with."""
    # a wrong name, or one that cannot trade live, is told before anything is touched
    refuse_paper_only(sleeves_of(options.loaded, options.strategies))
    stop = Stop()
    with stop.on_signals(options.say):
        async with await SqlStore.open(options.database) as store:
            row = await known_account(store, options.entry)
            rehearse(options.loaded, sleeves_of(options.loaded, options.strategies))
            return await Life(options, store, row, stop).run()


@dataclass
class Life:
    """One process's life with one account."""

    options: LiveOptions
    store: SqlStore
    row: AccountRow
    stop: Stop
    clock: SystemClock = field(default_factory=SystemClock)
    desk: LiveDesk | None = None
    key_problem: str = ""
    radar: RadarRun | None = None
    started_ms: int = 0

    def __post_init__(self) -> None:
        options = self.options
        self.started_ms = self.clock.now_ms()
        self.rungs = SpokenRungs(options.folder, self.row.account_id)
        host, pid = platform.node() or "unknown", os.getpid()
        claim = LeaseClaim(
            account_id=self.row.account_id,
            owner=f"{host}/{pid}/{self.started_ms}",
            host=host,
            pid=pid,
            build_hash=build_hash(),
            params_hash=frozen(options.loaded).params_hash,
        )
        self.owner = Ownership(
            claim=claim,
            leases=self.store,
            folder=options.folder,
            clock=self.clock,
            name=self.row.name,
            arms=True,
        )
        self.owner.obeys(self.rungs.obeyed)
        self.gateway = Gateway(options.hosts, self.clock)

    # -- from start to end -------------------------------------------------------------------

    async def run(self) -> str:
        """All of it. Returns the line that says what stays open."""
        rest = self._rest()
        try:
            made = await self.stop.unless(self._prepared(rest))
            if made is None:
                await self.owner.release()
                return "stopped before anything was traded; what is open stays as it was"
            return await self._trade(made, rest)
        except (ExchangeRefused, Throttled, LeaseTooShort) as error:
            raise _as_exit(error) from error
        finally:
            await rest.close()

    async def _prepared(self, rest: Rest) -> Plan:
        """Everything that must be known before the desk may start; the lease is held at its end."""
        reads = self.gateway.rest(self.options.credential.signing(), self.row.name)
        try:
            await self._sync_and_check(reads)
            minutes = max(one.strategy.warmup_minutes for one in self._sleeves())
            is_short = minutes <= SHORT_WARMUP_MINUTES
            if is_short:
                await self.owner.acquire(self.options.dead)
            else:
                self._refuse_second()
            async with _kept(self.owner, is_short), self._covered(rest, is_short):
                made = await self._plan(reads, minutes)
            if not is_short:
                await self.owner.acquire(self.options.dead)
        finally:
            await reads.close()
        async with _kept(self.owner, True), self._covered(rest, not is_short):
            await write_down(made, self.store, self.clock.now_ms())
            await self._warn_of_switch()
            await self.clock.sleep_until(self.owner.from_ms)
            if not await self._is_prepared(rest, made):
                await prepare(rest, made)
        return made

    @asynccontextmanager
    async def _covered(self, rest: Rest, is_held: bool) -> AsyncIterator[None]:
        """While the block runs, positions without a stop get one; the block's end waits for that."""
        if not is_held:
            yield
            return
        rule = DisasterRule.of(self.options.loaded.config.risk.disaster)
        seed = self.started_ms + os.getpid()
        covering = asyncio.create_task(cover_first(rest, self.owner, self.clock, rule, seed))
        try:
            yield
            await covering
        finally:
            covering.cancel()
            await asyncio.gather(covering, return_exceptions=True)

    async def _trade(self, made: Plan, rest: Rest) -> str:
        options, account_id = self.options, self.row.account_id
        run = await self.store.start_run(
            NewRun(
                mode=RunMode.LIVE,
                strategies=made.versions,
                params_hash=made.snapshot.params_hash,
                started_ms=self.clock.now_ms(),
                build_hash=self.owner.claim.build_hash,
                account_id=account_id,
            )
        )

        def venue_of(place_of: PlaceOf) -> BinanceVenue:
            return BinanceVenue(
                universe=made.universe, rest=rest, clock=self.clock, place_of=place_of, patience_ms=20_000
            )

        trading = self._trading(made)
        self.desk = desk = assemble(
            made,
            venue_of=venue_of,
            store=self.store,
            clock=self.clock,
            owner=self.owner,
            rungs=self.rungs,
            account_id=account_id,
            build_hash=self.owner.claim.build_hash,
            seed=run.id,
            mode=TradingMode.LIVE if options.hosts.is_live else TradingMode.TESTNET,
            with_canary=options.with_canary,
            with_backfill=True,
            signal=(lambda order, mark: None) if trading is None else trading.why_not,
        )
        if made.ratings is not None:
            await begin_ratings(
                made.ratings, self.store, made.universe, account_id, made.versions, self.clock.now_ms()
            )
        beside = [
            asyncio.create_task(work)
            for work in (
                *self._ratings(made, desk),
                *self._radar(trading, desk),
                self._stop_when_asked(desk),
                self._mind_key(desk),
                self._journal(),
                write_for_ever(options.folder, self.clock, self.figures),
            )
        ]
        try:
            await desk.run()
        except LeaseHeld:
            options.say(f"account {self.row.name} was taken over ({self.owner.lost}): nothing more is sent")
            raise
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        line = what_stays(desk)
        with suppress(StoreFailed):  # the stop was orderly all the same
            await self.store.finish_run(run.id, self.clock.now_ms(), {"stays_open": line})
        return line

    # -- before the desk ---------------------------------------------------------------------

    async def _sync_and_check(self, reads: Rest) -> None:
        await reads.sync_time()
        await self._check_key(reads)

    async def _check_key(self, rest: Rest) -> None:
        credential, is_live = self.options.credential, self.options.hosts.is_live
        report = await require_harmless_key(rest, needs_ip_list=is_live and not credential.any_ip)
        for warning in report.warnings:
            LOG.warning("the API key of %s: %s", self.row.name, warning)

    async def _plan(self, reads: Rest, minutes: int) -> Plan:
        options = self.options
        brackets = await read_brackets(reads)
        instruments, rules = await read_contracts(reads, options.symbols, brackets)
        requests = requests_for(minutes, len(rules))
        if requests > MANY_REQUESTS:
            options.say(f"warm-up: {requests} requests within the exchange's limits, this takes minutes")
        marks = await read_marks(reads, rules)
        bars, begin_ms = await read_minutes(reads, self.clock, rules, minutes)
        universe = universe_of(instruments, marks, bars)
        interest = await self._polls(universe.symbols, begin_ms)
        return plan(options.loaded, options.strategies, universe, bars, begin_ms, interest)

    async def _polls(self, symbols: Sequence[str], from_ms: int) -> InterestRows | None:
        """What the radar recorded in the time of the warm-up."""
        if not any(one.strategy.name == INTEREST for one in self._sleeves()):
            return None
        until_ms = self.clock.now_ms() + 60_000
        rows = await self.store.oi_snapshots(from_ms, until_ms)
        return recorded(rows, await self.store.oi_anomalies(from_ms, until_ms), symbols)

    async def _is_prepared(self, rest: Rest, made: Plan) -> bool:
        """Are modes and margin types as they must be? Two reads; where not, ``prepare`` goes one by one."""
        config: p.AccountConfig = await rest.ask(to.ACCOUNT_CONFIG, ())
        types = await margin_types(rest)
        wanted = "ISOLATED" if made.wants_isolated else "CROSSED"
        return not config.dual_side_position and all(
            types.get(symbol) == wanted for symbol in made.universe.symbols
        )

    async def _warn_of_switch(self) -> None:
        switch = await self.store.trading_control(self.row.account_id)
        if not isinstance(switch, TradingControl) or not switch.trading_enabled:
            self.options.say(
                f"entries are refused until `perpdesk control enable --account {self.row.name}`; positions "
                "are managed and closed"
            )

    def _refuse_second(self) -> None:
        """Another process of this machine would only be found after the long warm-up."""
        lock = self.options.folder.lock(f"{self.row.account_id}.owner.lock")
        if lock is None:
            raise LeaseHeld(self.row.name, "another process of this machine", self.clock.now_ms())
        lock.release()

    def _rest(self) -> Rest:
        rest = self.gateway.rest(self.options.credential.signing(), self.row.name, self.owner.lease_end_ms)
        rest.entry_end_ms, rest.arm = self.owner.entry_end_ms, self.owner.arm
        return rest

    def _sleeves(self) -> list[records.Sleeve]:
        return sleeves_of(self.options.loaded, self.options.strategies)

    # -- beside the desk ---------------------------------------------------------------------

    async def _stop_when_asked(self, desk: LiveDesk) -> None:
        await self.stop.asked.wait()
        if self.options.flatten_on_exit:
            self.rungs.own[_EXIT] = Rung.FLATTEN
            until_ms = self.clock.now_ms() + FLATTEN_MS
            while not await is_flat(desk) and self.clock.now_ms() < until_ms:
                await self.clock.sleep_until(self.clock.now_ms() + 500)
        desk.stop_soon()

    async def _mind_key(self, desk: LiveDesk) -> None:
        """Rights can change while a key is used: one that may withdraw opens nothing more."""
        rest = self.gateway.rest(self.options.credential.signing(), self.row.name)
        wait_ms = self.options.key_check_ms
        try:
            while True:
                await self.clock.sleep_until(self.clock.now_ms() + wait_ms)
                wait_ms = self.options.key_check_ms
                try:
                    await self._check_key(rest)
                except KeyRefused as error:
                    self.key_problem = str(error)
                    self.rungs.own[_KEY_RIGHTS] = Rung.HALT
                    desk.alarms.sound(_KEY_RIGHTS, str(error), severity="critical")
                    wait_ms = min(KEY_AGAIN_MS, wait_ms)
                except PerpdeskError as error:
                    LOG.warning("the key's rights could not be read: %s", error)
                    wait_ms = min(KEY_AGAIN_MS, wait_ms)
                else:
                    self.key_problem = ""
                    self.rungs.own.pop(_KEY_RIGHTS, None)
                    desk.alarms.clear(_KEY_RIGHTS)
        finally:
            await rest.close()

    def _ratings(self, made: Plan, desk: LiveDesk) -> list[Coroutine[Any, Any, None]]:
        if made.ratings is None:
            return []
        unrated = desk.gate.unrated
        return [follow_ratings(made.ratings, self.store, made.universe, self.clock, unrated)]

    def _trading(self, made: Plan) -> InterestTrading | None:
        """Who brings the radar's polls to the strategy that trades them."""
        found = interest_member(made)
        if found is None:
            return None
        account = self.gateway.governor.account(self.row.name)
        return InterestTrading(
            found,
            made.setup.books,
            made.universe,
            self.gateway.server.now_ms,
            conditional_orders=lambda: len(account.conditional),
        )

    def _radar(self, trading: InterestTrading | None, desk: LiveDesk) -> list[Coroutine[Any, Any, None]]:
        if trading is None:
            return []
        trading.again = desk.again
        options = self.options

        async def seen(poll: Seen) -> None:
            await trading.seen(poll)
            desk.alarms.clear(RADAR_DOWN, "radar")

        radar = self.radar = RadarRun(
            options.hosts,
            self.clock,
            Settings(options.config, options.settings),
            self.store,
            seen,
            gateway=self.gateway,
            held=lambda: trading.universe.symbols,
            also_asks=trading.asks,
            on_settings=trading.take_settings,
            redis=options.redis,
        )
        return [
            keep_polling(radar, self.clock, lambda text: desk.alarms.sound(RADAR_DOWN, text, key="radar")),
            tell_for_ever(lambda: radar.radar, desk, self.clock, options.say),
        ]

    async def _journal(self) -> None:
        """What people said while nobody could write it down."""
        journal = ControlJournal(self.options.folder, self.row.account_id)
        while True:
            await journal.catch_up(self.store, self.clock.now_ms())
            await self.clock.sleep_until(self.clock.now_ms() + JOURNAL_MS)

    def figures(self) -> MetricsFile:
        """What `status` shows of this process."""
        desk = self.desk
        lines = [self.key_problem] if self.key_problem else []
        figures: dict[str, object] = {}
        if desk is not None:
            figures = dict(desk.metrics.snapshot())
            figures["is_ready"] = desk.is_ready
            figures["entries_refused"] = dict(desk.gate.refused)
            if self.radar is not None:
                figures |= radar_figures(self.radar.radar, self.gateway.server.now_ms())
            lines += [f"{s} takes no entries: {why}" for s, why in self._blocked(desk)]
            halted = desk.sink.why_halted()
            if halted is not None:
                lines.append(f"no entries: {halted}")
            protect_only = None if desk.canary is None else desk.canary.protect_only()
            if protect_only is not None:
                lines.append(f"no entries: {protect_only}")
        figures["database_is_silent"] = self.owner.database_is_silent
        return MetricsFile(
            account_id=self.row.account_id,
            role="live",
            pid=os.getpid(),
            ms=self.clock.now_ms(),
            started_ms=self.started_ms,
            figures=figures,
            lines=lines,
        )

    @staticmethod
    def _blocked(desk: LiveDesk) -> list[tuple[str, str]]:
        return [(desk.universe.symbols[s], why) for s, why in sorted(desk.gate.blocked.items())]


def _as_exit(error: ExchangeRefused | Throttled | LeaseTooShort) -> PerpdeskError:
    """What ends a desk is worth another start (1), or a person's business (4): never a mere refusal."""
    code = error.code if isinstance(error, ExchangeRefused) else None
    if code is not None and REFUSALS.get(code) is Then.HALT:
        return KeyRefused(str(error))
    return ExchangeUnreachable(str(error))


@asynccontextmanager
async def _kept(owner: Ownership, is_held: bool) -> AsyncIterator[None]:
    """Beat and renew while the block runs."""
    if not is_held:
        yield
        return
    keeping = asyncio.create_task(owner.run())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
