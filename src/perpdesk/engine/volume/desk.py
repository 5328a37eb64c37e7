"""All strategies and users under one supervisor: start, stop, status, reload.

Each user's run is a task. A task that fails ends that run alone, with an alarm; its stored state is taken up
at the next start. Nothing here knows which venue it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from perpdesk.config.volume import Effective, VolumeConfig, VolumeConfigs, VolumeStrategy
from perpdesk.config.volume_terms import run_terms
from perpdesk.config.volume_tokens import Token, resolve_tokens
from perpdesk.domain.books import BooksContradiction
from perpdesk.domain.errors import InputError, LeaseHeld, PerpdeskError, Refused
from perpdesk.domain.volume_books import VolumePair, VolumeRun
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.metrics import Metrics
from perpdesk.engine.volume import records
from perpdesk.engine.volume.ladder import RUN
from perpdesk.engine.volume.lanes import Lanes
from perpdesk.engine.volume.ledger import Ledger, VolumeBooks
from perpdesk.engine.volume.market import Market
from perpdesk.engine.volume.purse import Group, Losses, Slots
from perpdesk.engine.volume.seat import Seat, Shared
from perpdesk.engine.volume.status import Document, status_of
from perpdesk.engine.volume.terms import NOTICE_HASH
from perpdesk.engine.volume.timers import Timers
from perpdesk.engine.volume.user import UserRun
from perpdesk.engine.volume.venue import OtoVenue, Unread, UserVenue, counter_of
from perpdesk.ports import Clock
from perpdesk.strategies.volume_target import run as v
from perpdesk.strategies.volume_target.guards import Reason
from perpdesk.strategies.volume_target.modes import CountSide, TargetScope, VolumeVenue
from perpdesk.strategies.volume_target.run import Run, RunState, queued
from perpdesk.strategies.volume_target.start import start_plan
from perpdesk.strategies.volume_target.volume import DAY_MS, Day, day_of, shown

LOG = logging.getLogger(__name__)
LEASE_MS = 30_000
RENEW_MS = 10_000
OBEY_MS = 200


@dataclass
class TokenPlace:
    """What all strategies on one token share."""

    key: str
    market: Market
    lanes: Lanes
    epoch: int = 0
    expires_ms: int = 0


@dataclass
class Running:
    """A strategy that was started."""

    strategy: VolumeStrategy
    token: Token
    place: TokenPlace
    group: Group
    runs: dict[int, UserRun] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Does any user's task go on?"""
        return any(not task.done() for task in self.tasks.values())


class Desk:
    """The Python API. ``open`` it before, ``close`` it after; owner names this process in leases.

    state_of: RUN or a rung of the kill ladder for a user, None: unreadable, which is a HALT.
    """

    def __init__(
        self,
        configs: VolumeConfigs,
        venues: Mapping[VolumeVenue, OtoVenue],
        books: VolumeBooks,
        clock: Clock,
        *,
        owner: str,
        alarms: Alarms | None = None,
        metrics: Metrics | None = None,
        state_of: Callable[[int], str | None] | None = None,
        on_change: Callable[[UserRun], None] = lambda _: None,
        needs_acceptance: bool = False,
    ) -> None:
        self.configs, self.books, self.clock = configs, books, clock
        self.ledger, self.timers = Ledger(books), Timers(clock)
        self.losses = Losses()
        self.slots = Slots(lambda: self.configs.current.max_concurrent_users)
        self.alarms = alarms or Alarms(clock)
        self.metrics = metrics or Metrics()
        self.running: dict[str, Running] = {}
        self._venues, self._owner = venues, owner
        self._has_ladder = state_of is not None
        self._state_of = state_of or (lambda _: RUN)
        self._on_change, self._needs_acceptance = on_change, needs_acceptance
        self._places: dict[str, TokenPlace] = {}
        self._loaded_days: set[int] = set()
        self._renewing, self._loading = asyncio.Lock(), asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_idle(self) -> bool:
        """Does nobody wait for the store? A driven clock must not run ahead of it."""
        return self.ledger.is_idle and not self._renewing.locked()

    # -- life -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to write the ledger and to renew leases."""
        self._tasks = [asyncio.ensure_future(self.ledger.run()), asyncio.ensure_future(self._renew())]
        if self._has_ladder:
            self._tasks.append(asyncio.ensure_future(self._obey()))

    async def close(self) -> None:
        """Forget everything that still runs (its state is stored), write what waits, free the leases."""
        tasks = [task for one in self.running.values() for task in one.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.timers.close()
        self.ledger.end()
        async with self._renewing:
            for task in self._tasks[1:]:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ledger.write()
        for place in self._places.values():
            await self.books.free_volume_lease(_lease_name(place.key), self._owner)

    async def abandon(self) -> None:
        """Drop everything where it stands, as a kill would: nothing more is sent, nothing more is begun to be
        written (a commit that is under way is done or not, and no kill can leave it half)."""
        tasks = [task for one in self.running.values() for task in one.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.timers.close()
        async with self._renewing:
            await self.ledger.drop()
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def finished(self, strategy_id: str | None = None) -> None:
        """Until every run (of one strategy) has ended."""
        chosen = [one for name, one in self.running.items() if strategy_id in (None, name)]
        await asyncio.gather(*(task for one in chosen for task in one.tasks.values()), return_exceptions=True)

    # -- commands ---------------------------------------------------------------------------------------

    async def start_strategy(self, strategy_id: str) -> Running:
        """Start or resume every user of a strategy. Raises Refused or InputError if none can be started."""
        strategy = self._strategy(strategy_id)
        known = self.running.get(strategy_id)
        if known is not None and known.is_running:
            raise Refused("RUNNING", f"strategy {strategy_id} is running already")
        if strategy["enabled"] is not True:
            raise Refused("DISABLED", f"strategy {strategy_id} is not enabled: set enabled: true")
        venue = self._venues.get(VolumeVenue(str(strategy["venue"])))
        if venue is None:
            raise Refused("VENUE", f"strategy {strategy_id} trades on {strategy['venue']}: use --live")
        tokens, _ = resolve_tokens(_only(self.configs.current, strategy), await venue.listings())
        token = tokens[strategy_id]
        place = await self._take_place(venue, token)
        running = Running(strategy, token, place, Group())
        self.running[strategy_id] = running
        await self._start_users(running, venue)
        return running

    async def stop_strategy(self, strategy_id: str, user_id: int | None = None) -> None:
        """No new pair; live ones end within their grace. Returns when the runs have ended."""
        running = self._started(strategy_id)
        chosen = [user for user in running.runs if user_id in (None, user)]
        for user in chosen:
            running.runs[user].stop()
        await asyncio.gather(*(running.tasks[user] for user in chosen), return_exceptions=True)

    def stop(self) -> None:
        """``stop_strategy`` for all, without waiting."""
        for one in self.running.values():
            for run in one.runs.values():
                run.stop()

    def flatten(self) -> None:
        """The second stop: no grace."""
        for one in self.running.values():
            for run in one.runs.values():
                run.flatten()

    async def get_strategy_status(self, strategy_id: str) -> Document:
        """What the ledger says, with what this process knows of its tasks."""
        strategy = self._strategy(strategy_id)
        running = self.running.get(strategy_id)
        await self.ledger.write()
        return await status_of(
            self.books,
            strategy,
            self.clock.now_ms(),
            running=running is not None and running.is_running,
            errors=None if running is None else running.errors,
        )

    async def get_all_strategy_status(self) -> list[Document]:
        """Every strategy of the configuration."""
        return [await self.get_strategy_status(name) for name in self.configs.current.strategies]

    async def reload(self) -> VolumeConfig:
        """Read the configuration anew: whole, or not at all. Raises VolumeConfigError, nothing changed."""
        active = frozenset(name for name, one in self.running.items() if one.is_running)
        before = self.configs.current
        fresh = self.configs.reload(active)
        try:
            for name in active & fresh.strategies.keys():
                await self._save_configs(fresh.strategies[name])
        except PerpdeskError:
            self.configs.current = before
            raise
        for name in active:
            running, strategy = self.running[name], fresh.strategies.get(name)
            for user, run in running.runs.items():
                effective = None if strategy is None else strategy.users.get(user)
                if effective is None or effective["enabled"] is not True or strategy["enabled"] is not True:  # type: ignore[index]
                    run.stop()
                else:
                    run.take_config(effective)
            if strategy is not None:
                running.strategy = strategy
        return fresh

    async def resume_user(self, user_id: int) -> list[str]:
        """Start a user again whose run was halted or refused, where its strategy still runs: with its key as
        the vault has it now. A halt must have been cleared in the books before. Returns the strategies."""
        resumed = []
        for name, running in self.running.items():
            effective = running.strategy.users.get(user_id)
            task = running.tasks.get(user_id)
            if effective is None or not running.is_running or (task is not None and not task.done()):
                continue
            before = running.runs.get(user_id)
            if before is None or before.run.state is RunState.HALTED or before.error is not None:
                running.errors.pop(user_id, None)
                venue = self._venues[VolumeVenue(str(running.strategy["venue"]))]
                await self._start_users(running, venue, (user_id,))
                resumed.append(name)
        return resumed

    # -- starting ---------------------------------------------------------------------------------------

    def _strategy(self, strategy_id: str) -> VolumeStrategy:
        found = self.configs.current.strategies.get(strategy_id)
        if found is None:
            names = ", ".join(self.configs.current.strategies) or "none"
            raise InputError(f"there is no strategy {strategy_id}; known: {names}", field="--strategy")
        return found

    def _started(self, strategy_id: str) -> Running:
        running = self.running.get(strategy_id)
        if running is None:
            raise Refused("NOT_RUNNING", f"strategy {strategy_id} was not started here")
        return running

    async def _take_place(self, venue: OtoVenue, token: Token) -> TokenPlace:
        listing = token.listing
        key = f"{venue.key}:{listing.chain}:{listing.contract or listing.symbol}"
        place = self._places.get(key)
        if place is None:
            place = TokenPlace(key, Market(venue, listing), Lanes())
            await self._take_lease(place)
            self._places[key] = place
        return place

    async def _take_lease(self, place: TokenPlace) -> None:
        now_ms = self.clock.now_ms()
        lease = await self.books.take_volume_lease(_lease_name(place.key), self._owner, now_ms, LEASE_MS)
        if lease.owner != self._owner:
            raise LeaseHeld(place.key, lease.owner, lease.expires_ms)
        place.epoch, place.expires_ms = lease.epoch, lease.expires_ms

    async def _renew(self) -> None:
        while True:
            await self.clock.sleep_until(self.clock.now_ms() + RENEW_MS)
            async with self._renewing:
                for place in list(self._places.values()):
                    try:
                        await self._take_lease(place)
                        self.alarms.clear("LEASE_LOST", place.key)
                    except PerpdeskError as error:
                        # what is left of the lease runs out; without it no pair starts
                        self.alarms.sound("LEASE_LOST", str(error), key=place.key)

    async def _obey(self) -> None:
        """Tell runs what the kill ladder says; pairs ask it themselves too, right before they go out."""
        while True:
            await self.clock.sleep_until(self.clock.now_ms() + OBEY_MS)
            for one in list(self.running.values()):
                for user, run in one.runs.items():
                    if not run.is_over and (state := self._state_of(user)) != RUN:
                        run.obey(state)

    async def _save_configs(self, strategy: VolumeStrategy) -> None:
        now_ms = self.clock.now_ms()
        for effective in strategy.users.values():
            await self.books.save_params_snapshot(effective.json, now_ms)

    async def _start_users(
        self, running: Running, venue: OtoVenue, only: Sequence[int] | None = None
    ) -> None:
        strategy, place, now_ms = running.strategy, running.place, venue.now_ms()
        await self._save_configs(strategy)
        today = day_of(now_ms)
        async with self._loading:  # strategies may be started side by side, and none before it is known
            if today not in self._loaded_days:
                self.losses.load(today, await self.books.volume_losses(today))
                self._loaded_days.add(today)
        users = [
            user
            for user, one in strategy.users.items()
            if one["enabled"] is True and (only is None or user in only)
        ]
        if self._needs_acceptance:
            accepted = await self.books.volume_acceptances(NOTICE_HASH)
            for user in [one for one in users if one not in accepted]:
                users.remove(user)
                running.errors[user] = f"run `perpdesk volume accept-notice --user {user}` first"
        for halt in await self.books.volume_halts(strategy.strategy_id):
            if halt.user_id in users:
                users.remove(halt.user_id)
                running.errors[halt.user_id] = (
                    f"halted: {halt.reason}; `perpdesk volume resume --user {halt.user_id}` lets it go on"
                )
        venues: dict[int, UserVenue] = {}
        for user in list(users):
            try:
                venues[user] = venue.user(user, running.token.listing)
            except PerpdeskError as error:
                users.remove(user)
                running.errors[user] = str(error)
        stored = {
            row.user_id: row
            for row in await self.books.volume_runs(strategy_id=strategy.strategy_id, live_only=True)
            if row.token_key == place.key
        }
        pairs: dict[int, list[VolumePair]] = {}
        for pair in await self.books.volume_pairs(live_only=True, token_key=place.key):
            pairs.setdefault(pair.user_id, []).append(pair)
        readings = await self._read_all(running, {user: venues[user] for user in users}, today)
        days = await self._days(running, today)
        fresh = self._planned(running, users, stored, days, readings, today, now_ms)
        for user in users:
            effective = strategy.users[user]
            try:
                seat, run = await self._seat(running, effective, stored.get(user), fresh.get(user), now_ms)
            except BooksContradiction as error:
                running.errors[user] = str(error)
                await venues[user].close()
                continue
            one = UserRun(self._shared(running, venue), seat, run, effective, running.token, venues[user])
            loss = days[user][1] if user in days else Decimal(0)
            one.day_loss = loss
            if user not in days and run.day.day == today:  # a run of yesterday has its row already
                self.ledger.put(user, records.day_row(run.day, loss, user, place.key), new=True)
            running.runs[user] = one
            if user in readings and readings[user] is not None:
                seen = records.reading_row(user, place.key, today, readings[user], None, venue.now_ms())
                self.ledger.put(user, seen, new=True)
            if user in stored:
                one.post(v.Reloaded(now_ms, run_terms(effective, running.token)))
                one.post(v.RunRestarted(now_ms, run.pair_live))
            for row in pairs.get(user, ()):
                one.adopt(row, is_current=run.pair_live and row.run_id == seat.run_id)
        for user, one in running.runs.items():
            if user in users and user not in running.errors:
                running.tasks[user] = asyncio.ensure_future(self._supervised(running, user, one))

    async def _read_all(
        self, running: Running, venues: Mapping[int, UserVenue], day: int
    ) -> dict[int, Decimal | None]:
        side = CountSide(str(running.strategy["count_side"]))

        async def read(venue: UserVenue) -> Decimal | None:
            try:
                return await counter_of(venue, day, side)
            except Unread as error:
                LOG.warning("volume: %s", error)
                return None

        found = await asyncio.gather(*(read(venue) for venue in venues.values()))
        return dict(zip(venues, found, strict=True))

    async def _days(self, running: Running, today: int) -> dict[int, tuple[Day, Decimal]]:
        """What earlier runs of today have left; the counted quote is folded from the executions."""
        key, side = running.place.key, CountSide(str(running.strategy["count_side"]))
        rows = {row.user_id: row for row in await self.books.volume_days(key, today)}
        sums = dict.fromkeys(rows, Decimal(0))
        fills = await self.books.volume_fills(
            token_key=key, from_ms=today * DAY_MS, until_ms=(today + 1) * DAY_MS
        )
        for fill in fills:
            if side is CountSide.BOTH or (fill.leg == "buy") == (side is CountSide.BUY):
                sums[fill.user_id] = sums.get(fill.user_id, Decimal(0)) + fill.quote
        return {
            user: (replace(records.day_from(row), quote=sums[user]), row.loss_usdt)
            for user, row in rows.items()
        }

    def _planned(
        self,
        running: Running,
        users: Sequence[int],
        stored: Mapping[int, VolumeRun],
        days: Mapping[int, tuple[Day, Decimal]],
        readings: Mapping[int, Decimal | None],
        today: int,
        now_ms: int,
    ) -> dict[int, Run]:
        """New runs; who is at the target already is SKIPPED."""
        fresh: dict[int, Run] = {}
        volumes: dict[int, Decimal | None] = {}
        for user in users:
            terms = run_terms(running.strategy.users[user], running.token)
            day, reading = days[user][0] if user in days else Day(today), readings[user]
            if reading is not None:
                day, _ = day.with_reading(reading)
            fresh[user] = queued(terms, day, now_ms)
            volumes[user] = None if reading is None else shown(terms.mode, day, terms.m)
        if not fresh:
            return fresh
        targets = {user: run.terms.target for user, run in fresh.items()}
        scope = TargetScope(str(running.strategy["target_scope"]))
        plan = start_plan(users, volumes, targets, scope)
        for user in plan.skipped:
            if user not in stored:
                fresh[user] = replace(fresh[user], state=RunState.SKIPPED, reason=Reason.TARGET_REACHED)
        return fresh

    async def _seat(
        self, running: Running, effective: Effective, row: VolumeRun | None, fresh: Run | None, now_ms: int
    ) -> tuple[Seat, Run]:
        key, name, user = running.place.key, effective.strategy_id, effective.user_id
        if row is not None:
            return Seat(row.run_id, name, user, key, row.created_ms), records.run_of(row)
        assert fresh is not None
        first = records.run_row(
            fresh,
            run_id=0,
            strategy_id=name,
            user_id=user,
            token_key=key,
            config_hash=effective.config_hash,
            created_ms=now_ms,
            lease_epoch=running.place.epoch,
        )
        return Seat(await self.books.start_volume_run(first), name, user, key, now_ms), fresh

    def _shared(self, running: Running, venue: OtoVenue) -> Shared:
        place = running.place

        async def load_pair(pair_id: str) -> VolumePair | None:
            found = await self.books.volume_pairs(pair_id=pair_id)
            return found[0] if found else None

        return Shared(
            clock=self.clock,
            venue=venue,
            market=place.market,
            lanes=place.lanes,
            ledger=self.ledger,
            timers=self.timers,
            losses=self.losses,
            slots=self.slots,
            group=running.group,
            alarms=self.alarms,
            metrics=self.metrics,
            lease_left_ms=lambda: place.expires_ms - self.clock.now_ms(),
            lease_epoch=lambda: place.epoch,
            state_of=self._state_of,
            on_change=self._on_change,
            load_pair=load_pair,
        )

    async def _supervised(self, running: Running, user: int, one: UserRun) -> None:
        try:
            await one.live()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # one user's failure ends that user's run, and nothing else
            one.error = running.errors[user] = f"{type(error).__name__}: {error}"
            LOG.exception("%s user %s failed", running.strategy.strategy_id, user)
            self.alarms.sound("VOLUME_RUN_FAILED", one.error, key=f"{running.strategy.strategy_id}/{user}")
        self._on_change(one)


def _lease_name(token_key: str) -> str:
    return f"volume:{token_key}"


def _only(config: VolumeConfig, strategy: VolumeStrategy) -> VolumeConfig:
    return VolumeConfig({strategy.strategy_id: strategy}, config.global_settings)


__all__ = ["Desk", "Running"]
