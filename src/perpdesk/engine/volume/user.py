"""One user's run on one token: messages in; rows, then requests out.

Every message is handled to its end before the next: the state machines move, what they say is put into the
ledger, and before anything that can place or take back an order goes out, the ledger has it. Requests run in
tasks of their own and come back as messages, so no wait of one delays an event of another.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from perpdesk.config.volume import Effective
from perpdesk.config.volume_terms import pair_plan, pair_terms, run_terms
from perpdesk.config.volume_tokens import Token
from perpdesk.domain.errors import Refused
from perpdesk.domain.volume_books import VolumeHalt, VolumePair, VolumeReading
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.metrics import Metrics
from perpdesk.engine.volume import records
from perpdesk.engine.volume import requests as r
from perpdesk.engine.volume.lanes import Lanes
from perpdesk.engine.volume.ledger import Ledger
from perpdesk.engine.volume.market import Market
from perpdesk.engine.volume.purse import Group, Losses, Slots
from perpdesk.engine.volume.timers import Timers
from perpdesk.engine.volume.venue import (
    Fact,
    FillSeen,
    OrderSeen,
    OtoVenue,
    Price,
    StreamDown,
    StreamUp,
    UserVenue,
)
from perpdesk.ports import Clock
from perpdesk.strategies.volume_target import pair_events as e
from perpdesk.strategies.volume_target import run as v
from perpdesk.strategies.volume_target.arithmetic import ZERO
from perpdesk.strategies.volume_target.guards import (
    Answer,
    Reason,
    Verdict,
    View,
    may_start_pair,
    price_is_fresh,
    spread_allows,
    volatility_allows,
)
from perpdesk.strategies.volume_target.losses import day_loss, residue
from perpdesk.strategies.volume_target.modes import CountSide, TargetScope
from perpdesk.strategies.volume_target.pair import (
    EXITS_LIMIT,
    Outcome,
    Pair,
    PairState,
    is_failure,
    next_pair,
    next_pair_ms,
    planned,
)
from perpdesk.strategies.volume_target.prices import (
    PairPlan,
    TokenRules,
    clamp,
    exit_price,
    spend_with_fee,
)
from perpdesk.strategies.volume_target.run import Run, RunState, next_run, next_run_ms
from perpdesk.strategies.volume_target.volume import day_of, remaining, v_star

LOG = logging.getLogger(__name__)
# While a pair is on its way: how often its loss is looked at, and how often it is asked for.
WATCH_MS = 1_000
POLL_MS = 5_000
_RECENT = 3
_WIRE = (e.PlaceOto, e.PlaceExit, e.CancelList)
_TRIED_NOT = (Outcome.NOT_SENT, Outcome.STOPPED)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all users of one token share. state_of: RUN or a rung of the kill ladder, None unreadable."""

    clock: Clock
    venue: OtoVenue
    market: Market
    lanes: Lanes
    ledger: Ledger
    timers: Timers
    losses: Losses
    slots: Slots
    group: Group
    alarms: Alarms
    metrics: Metrics
    lease_left_ms: Callable[[], int | None]
    lease_epoch: Callable[[], int]
    state_of: Callable[[int], str | None]
    on_change: Callable[[UserRun], None]
    load_pair: Callable[[str], Awaitable[VolumePair | None]]


@dataclass(frozen=True, slots=True)
class Seat:
    """Who runs what."""

    run_id: int
    strategy_id: str
    user_id: int
    token_key: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Birth:
    """Where a pair belongs."""

    run_id: int
    seq: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class _Due:
    """A deadline has come."""


@dataclass(frozen=True, slots=True)
class _Flatten:
    """No grace any more."""


_Inbox = r.Message | v.RunEvent | Fact | _Due | _Flatten


class UserRun:
    """``live`` is the task. day_loss: what the user has lost on this token today."""

    def __init__(
        self, shared: Shared, seat: Seat, run: Run, effective: Effective, token: Token, venue: UserVenue
    ) -> None:
        self.shared, self.seat, self.run, self.effective, self.token = shared, seat, run, effective, token
        self.day_loss: Decimal = ZERO
        self.current: Pair | None = None
        self.late: dict[str, Pair] = {}
        self.error: str | None = None
        self.key_checked_ms: int | None = None
        self.stream_up = False
        self._births: dict[str, Birth] = {}
        self._venue = venue
        self._requests = r.Requests(venue, shared.market, shared.clock, self.post)
        self._recent: OrderedDict[str, Pair] = OrderedDict()
        self._inbox: deque[_Inbox] = deque()
        self._more = asyncio.Event()
        self._armed_ms: int | None = None
        self._close_stream: Callable[[], None] | None = None
        self._blocked_ms: int | None = None
        self._plan: PairPlan | None = None
        self._rules: TokenRules | None = None
        self._watched_ms = 0
        self._polled_ms = 0
        self._booked: dict[str, Decimal] = {}
        self._is_stopped = False
        self._side = CountSide(str(effective["count_side"]))
        shared.group.runs[seat.user_id] = run

    # -- from outside --------------------------------------------------------------------------------

    def post(self, message: _Inbox) -> None:
        """Something has happened."""
        self._inbox.append(message)
        self._more.set()

    def stop(self) -> None:
        """No new pair; the live one ends within its grace."""
        self._is_stopped = True
        self.post(v.StopRun(self._now_ms()))

    def flatten(self) -> None:
        """Like ``stop``, at once."""
        self.stop()
        self.post(_Flatten())

    def take_config(self, effective: Effective) -> None:
        """New values; a live pair keeps its own."""
        self.effective = effective
        self.post(v.Reloaded(self._now_ms(), run_terms(effective, self.token)))

    def adopt(self, row: VolumePair, *, is_current: bool) -> None:
        """A pair that a restart found."""
        pair = records.pair_from(row)
        self._births[pair.client_id] = Birth(row.run_id, row.seq, row.created_ms)
        if is_current:
            self.current = pair
        else:
            self.late[pair.client_id] = pair
        self.shared.lanes.adopt(pair, self.seat.user_id, self._cancel_buy)
        self.post(r.OfPair(pair.client_id, e.Restarted(self._now_ms())))

    @property
    def is_over(self) -> bool:
        """Is there nothing more to do or to wait for?"""
        settled = all(pair.state is PairState.QUARANTINED for pair in self.late.values())
        return self.run.state.is_over and self.current is None and settled

    def _now_ms(self) -> int:
        return self.shared.venue.now_ms()

    # -- the task --------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Until the run is over. Raises what nobody foresaw; what is stored stays as it was."""
        shared = self.shared
        if self.run.holds_slot:
            shared.slots.keep(self)
        elif self.run.state is RunState.QUEUED:
            shared.slots.ask(self, lambda: self.post(v.SlotFree(self._now_ms())))
        self._put_run()
        try:
            while not self.is_over:
                self._schedule()
                await self._more.wait()
                self._more.clear()
                while self._inbox:
                    await self._take(self._inbox.popleft())
            await shared.ledger.settled(self.seat.user_id)
        finally:
            shared.slots.free(self)
            shared.group.settle(self.seat.user_id)
            if self.current is None:  # else its orders may live: nobody may quote against them
                shared.lanes.withdraw(self._next_id())
            if self._close_stream is not None:
                self._close_stream()
            await self._requests.close()
            await self._venue.close()

    def _schedule(self) -> None:
        times = [next_run_ms(self.run)]
        for pair in (self.current, *self.late.values()):
            if pair is not None:
                times.append(next_pair_ms(pair))
                if pair.state in (PairState.BUYING, PairState.SELLING):
                    times.append(self._watched_ms + WATCH_MS)
        due = min((ms for ms in times if ms is not None), default=None)
        if due is None:
            return
        due = max(due, self._now_ms() + 1)
        if self._armed_ms is None or due < self._armed_ms:
            self._armed_ms = due
            at = due - self._now_ms() + self.shared.clock.now_ms()
            self.shared.timers.at(at, self._ring)

    def _ring(self) -> None:
        self._armed_ms = None
        self.post(_Due())

    async def _take(self, message: _Inbox) -> None:
        now_ms = self._now_ms()
        match message:
            case r.OfPair(pair_id=pair_id, event=event):
                await self._pair(pair_id, event)
            case OrderSeen(client_id=client_id, seen=seen, cum_qty=cum_qty, venue_id=venue_id):
                await self._fact(client_id, e.OrderReport(now_ms, client_id, seen, cum_qty, venue_id))
            case FillSeen(client_id=client_id, fill=fill):
                await self._fact(client_id, e.FillReport(now_ms, client_id, fill))
            case _Due():
                await self._due(now_ms)
            case r.Findings():
                await self._judge(message, now_ms)
            case r.Counter(day=day, displayed=displayed):
                self._note_reading(day, displayed, None)
                others = None
                if self.run.terms.scope is TargetScope.ALL_USERS:
                    others = self.shared.group.others(self.seat.user_id)
                await self._run(v.Reading(now_ms, day, displayed, others))
            case r.Unreadable(day=day, error=error):
                self._note_reading(day, None, error)
                await self._run(v.ReadingFailed(now_ms))
            case r.BadKey(text=text):
                await self._run(v.Halt(now_ms, Reason.KEY, text))
            case r.Crashed(error=crash):
                raise crash
            case StreamUp():
                was_down, self.stream_up = not self.stream_up, True
                if was_down and self.current is not None:
                    self._poll(self.current)
            case StreamDown():
                self.stream_up = False
            case _Flatten():
                if self.current is not None:
                    await self._pair(self.current.client_id, e.Stop(now_ms, 0))
            case _:
                await self._run(message)

    async def _due(self, now_ms: int) -> None:
        due = next_run_ms(self.run)
        if due is not None and now_ms >= due:
            await self._run(v.Passed(now_ms))
        for pair in (self.current, *self.late.values()):
            if pair is None:
                continue
            due = next_pair_ms(pair)
            if due is not None and now_ms >= due:
                await self._pair(pair.client_id, e.Tick(now_ms))
        self._watch(now_ms)

    def _watch(self, now_ms: int) -> None:
        """A pair on its way: what would it cost to end it now, and has the stream kept something back?"""
        pair = self.current
        if pair is None or pair.state not in (PairState.BUYING, PairState.SELLING):
            return
        if now_ms < self._watched_ms + WATCH_MS:
            return
        self._watched_ms = now_ms
        if residue(pair.orders) > 0:
            self._requests.quote(pair.client_id, lambda _: True, WATCH_MS // 2)
        if now_ms >= self._polled_ms + (POLL_MS if self.stream_up else WATCH_MS):
            self._poll(pair)

    def _poll(self, pair: Pair) -> None:
        self._polled_ms = self._now_ms()
        ids = tuple(order.client_id for order in pair.orders if not order.is_settled)
        self._requests.query(pair.client_id, ids, ids)

    # -- the run ------------------------------------------------------------------------------------------

    async def _run(self, event: v.RunEvent) -> None:
        before = self.run
        self.run, wanted = next_run(before, event)
        self.shared.group.runs[self.seat.user_id] = self.run
        if self.run.day.day != before.day.day:
            self.day_loss = ZERO
        self._put_run(before)
        for one in wanted:
            await self._do(one)
        if self.run.state is not before.state:
            self.shared.on_change(self)

    async def _do(self, wanted: v.RunWanted) -> None:
        match wanted:
            case v.OpenStream():
                if self._close_stream is None:
                    self._close_stream = self._venue.open_stream(self.post)
            case v.ReadVolume(day=day):
                self._requests.read_volume(day, self._side)
            case v.Judge():
                seconds = int(self.effective.number("volatility_window_seconds"))
                self._requests.look(seconds, self.key_checked_ms)
            case v.StartPair():
                await self._start_pair()
            case v.StopPair(grace_ms=grace_ms):
                if self.current is not None:
                    await self._pair(self.current.client_id, e.Stop(self._now_ms(), grace_ms))
            case v.Release():
                self.shared.slots.free(self)
                self.shared.lanes.withdraw(self._next_id())
                self.shared.group.settle(self.seat.user_id)
                if self.run.state is RunState.HALTED:
                    self._note_halt()
            case v.Notice(code=code):
                LOG.warning("%s user %s: %s", self.seat.strategy_id, self.seat.user_id, code)

    def _next_id(self) -> str:
        seat = self.seat
        return records.pair_id(seat.user_id, seat.run_id, seat.created_ms, self.run.pairs + 1)

    async def _judge(self, found: r.Findings, now_ms: int) -> None:
        self.key_checked_ms = found.key_checked_ms
        if self.run.state is not RunState.BATCH or self.run.pair_live:
            return
        verdict = may_start_pair(self._view(found, now_ms))
        if verdict.answer is Answer.GO:
            plan = self._plan
            assert plan is not None
            clear = self.shared.lanes.ask(
                self._next_id(), self.seat.user_id, plan.buy_price, plan.sell_price, self._cancel_buy
            )
            if not clear:
                verdict = Verdict(Answer.SOFT, Reason.SELF_TRADE_WAIT)
        if verdict.answer is not Answer.GO:
            self.shared.group.settle(self.seat.user_id)
            if verdict.reason is not Reason.SELF_TRADE_WAIT:
                self.shared.lanes.withdraw(self._next_id())
            self.shared.metrics.add("volume_waits_total", reason=verdict.reason.value)
        await self._run(v.Judged(now_ms, verdict))

    def _view(self, found: r.Findings, now_ms: int) -> View:
        run, seat, shared, number = self.run, self.seat, self.shared, self.effective.number
        price, filter_code = found.price, None
        self._plan, self._rules = None, None if found.instrument is None else found.instrument.rules
        fresh = price is not None and price_is_fresh(
            now_ms - price.read_ms, now_ms - price.event_ms, int(number("price_max_age_ms"))
        )
        if price is not None and self._rules is not None:
            try:
                market_price = clamp(price.last, price.bid, price.ask)
                self._plan = pair_plan(self.effective, market_price, self._rules)
            except Refused as error:
                filter_code = error.reason
        calm, self._blocked_ms = volatility_allows(
            found.window, self.effective.fraction("max_price_volatility_percentage"), self._blocked_ms, now_ms
        )
        own = v_star(run.terms.mode, run.day, run.terms.m)
        claim_ok = True
        if run.terms.scope is TargetScope.ALL_USERS:
            own = shared.group.total()
            claim_ok = own is not None and (
                own >= run.terms.target or shared.group.claim(seat.user_id, run.terms.unit, run.terms.target)
            )
        missing = None if own is None else remaining(run.terms.target, own)
        needed = None
        if self._plan is not None and self._rules is not None:
            needed = spend_with_fee(self._plan, self._rules.taker_fee)
        return View(
            account_state=shared.state_of(seat.user_id),
            stopped=self._is_stopped or filter_code == "STOP",
            quarantined=any(one.state is PairState.QUARANTINED for one in self.late.values()),
            late_fill=bool(self.late),
            same_day=day_of(now_ms) == run.day.day,
            failures=run.failures,
            max_failures=run.terms.max_failures,
            day_loss=shared.losses.of(run.day.day, seat.user_id),
            day_loss_all=shared.losses.of_all(run.day.day),
            max_loss_per_trade=number("max_loss_per_trade_usdt"),
            max_loss_per_day=number("max_loss_per_day_usdt"),
            max_loss_per_day_all=number("max_loss_per_day_all_users_usdt"),
            # rules that could not be read are no refusal: they come back as a stale price
            instrument_ok=found.instrument is None or found.instrument.is_ok,
            filter_code=filter_code,
            key_checked_ms_ago=0 if found.key_checked_ms is None else now_ms - found.key_checked_ms,
            missing=missing,
            claim_ok=claim_ok,
            lease_left_ms=shared.lease_left_ms(),
            recv_window_ms=shared.venue.recv_window_ms,
            price_fresh=fresh and self._plan is not None,
            calm=calm,
            spread_ok=price is not None
            and spread_allows(price.bid, price.ask, self.effective.fraction("max_spread_percentage")),
            free_usdt=found.free_usdt,
            needed_usdt=needed,
            self_trade_clear=True,
            rate_ok=shared.venue.rate_ok(),
            # a key that could not be asked about is like a connection that is down
            stream_ok=found.key_checked_ms is not None,
        )

    # -- the pair -----------------------------------------------------------------------------------------

    async def _start_pair(self) -> None:
        seat, now_ms = self.seat, self._now_ms()
        plan, rules = self._plan, self._rules
        assert plan is not None
        assert rules is not None
        venue = self.shared.venue
        recv_ms = venue.recv_window_ms + venue.queue_ms + r.HOLD_MS
        client_id = records.pair_id(seat.user_id, seat.run_id, seat.created_ms, self.run.pairs)
        terms = pair_terms(self.effective, rules, recv_ms)
        pair = planned(client_id, plan, terms, self.effective.config_hash, now_ms)
        self._births[client_id] = Birth(seat.run_id, self.run.pairs, now_ms)
        self.current = pair
        self._put_pair(None, pair)
        self._watched_ms = self._polled_ms = now_ms
        event = e.Withdraw(now_ms) if self._is_stopped else e.Send(now_ms)
        await self._pair(client_id, event)

    async def _fact(self, client_id: str, event: e.PairEvent) -> None:
        pair_id = records.pair_of(client_id)
        if pair_id is not None:
            await self._pair(pair_id, event)

    def _find(self, pair_id: str) -> Pair | None:
        if self.current is not None and self.current.client_id == pair_id:
            return self.current
        return self.late.get(pair_id) or self._recent.get(pair_id)

    async def _load(self, pair_id: str) -> Pair | None:
        """A pair of long ago about which there is news."""
        row = await self.shared.load_pair(pair_id)
        if row is None or (row.user_id, row.token_key) != (self.seat.user_id, self.seat.token_key):
            return None
        self._births[pair_id] = Birth(row.run_id, row.seq, row.created_ms)
        pair = records.pair_from(row)
        self._booked[pair_id] = pair.loss
        return pair

    async def _pair(self, pair_id: str, event: e.PairEvent) -> None:
        before = self._find(pair_id) or await self._load(pair_id)
        if before is None:
            return
        try:
            after, wanted = next_pair(before, event)
        except KeyError:
            LOG.warning("pair %s: an order that is none of its own: %s", pair_id, event)
            return
        is_current = before is self.current
        self._keep(before, after, is_current)
        for day, quote in records.new_counted(before, after, self._side).items():
            await self._run(v.Counted(self._now_ms(), day, quote))
        self.shared.lanes.heard(after)
        if any(isinstance(one, _WIRE) for one in wanted):
            await self.shared.ledger.settled(self.seat.user_id)
        for one in wanted:
            self._carry_out(after, one)
        if after.state is not before.state:
            self.shared.metrics.add("volume_pair_states_total", state=after.state.value)
            if after.state in (PairState.FLAT, PairState.QUARANTINED):
                await self._ended(before, after, is_current)
        await self._reopen()

    def _keep(self, before: Pair, after: Pair, is_current: bool) -> None:
        self._put_pair(before, after)
        if is_current:
            self.current = after
        elif after.is_live or after.late or after.client_id in self.late:
            self.late[after.client_id] = after
            self._recent.pop(after.client_id, None)
        else:
            self._remember(after)

    def _carry_out(self, pair: Pair, wanted: e.PairWanted) -> None:
        pair_id, ask = pair.client_id, self._requests
        match wanted:
            case e.PlaceOto():
                ask.place(pair_id, wanted)
            case e.PlaceExit(limit=limit):
                ask.place_exit(pair_id, wanted, lambda: self._has_room(pair_id, limit))
            case e.CancelList(list_id=list_id):
                ask.cancel(pair_id, list_id)
            case e.Probe(client_id=client_id):
                of_list = client_id == pair_id
                ids = (pair.buy.client_id, pair.sell.client_id) if of_list else (client_id,)
                ask.probe(pair_id, wanted, ids)
            case e.QueryOrders(client_ids=client_ids):
                ask.query(pair_id, client_ids, ())
            case e.QueryFills(client_ids=client_ids):
                ask.query(pair_id, (), client_ids)
            case e.ReadPrice():
                ask.quote(pair_id, lambda price: self._may_exit(pair_id, price))
            case e.Alarm(code=code):
                text = (
                    f"{self.seat.strategy_id} user {self.seat.user_id} pair {pair_id} is {pair.state.value}"
                )
                self.shared.alarms.sound(code, text, key=pair_id)

    def _has_room(self, pair_id: str, limit: Decimal | None) -> bool:
        return self.shared.lanes.room_for_exit(pair_id, self.seat.user_id, limit)

    def _may_exit(self, pair_id: str, price: Price) -> bool:
        """Take the lane before the pair hears the price: an exit follows at once."""
        pair = self._find(pair_id)
        if pair is None or pair.state is not PairState.FLATTENING:
            return True
        last_resort = len(pair.exits) >= EXITS_LIMIT
        return self._has_room(pair_id, None if last_resort else exit_price(price.bid, pair.terms.rules.tick))

    def _cancel_buy(self) -> None:
        """Another account's exit needs the room."""
        pair = self.current
        if pair is not None and not pair.buy.seen.is_terminal and not pair.cancel_buy:
            self.post(r.OfPair(pair.client_id, e.CancelBuys(self._now_ms())))

    async def _ended(self, before: Pair, after: Pair, is_current: bool) -> None:
        now_ms = self._now_ms()
        if after.state is PairState.FLAT:
            self.shared.lanes.withdraw(after.client_id)
            self._book_loss(after)
        if not is_current:
            if after.state is PairState.FLAT and not after.late:
                del self.late[after.client_id]
                self._remember(after)
            return
        self.current = None
        self._remember(after)
        self.shared.group.settle(self.seat.user_id)
        quarantined = after.state is PairState.QUARANTINED
        if after.late:
            self.late[after.client_id] = after
        sent_ms = self._births[after.client_id].created_ms
        self.shared.metrics.observe("volume_pair_ms", now_ms - sent_ms)
        ended = v.PairEnded(
            now_ms,
            quarantined=quarantined,
            failure=is_failure(after, self._side),
            attempted=not quarantined and after.outcome not in _TRIED_NOT,
            breaks_loss_limit=after.breaks_loss_limit,
        )
        await self._run(ended)
        self.shared.on_change(self)

    def _remember(self, pair: Pair) -> None:
        self._recent[pair.client_id] = pair
        self._recent.move_to_end(pair.client_id)
        while len(self._recent) > _RECENT:
            self._births.pop(self._recent.popitem(last=False)[0], None)

    def _book_loss(self, pair: Pair) -> None:
        # a pair that was settled again after late news is booked by what has changed
        day = day_of(pair.now_ms)
        known = self._booked.pop(pair.client_id, ZERO)
        loss = pair.loss - known
        self._booked[pair.client_id] = pair.loss
        while len(self._booked) > _RECENT:
            self._booked.pop(next(iter(self._booked)))
        self.shared.losses.add(day, self.seat.user_id, loss)
        if day == self.run.day.day:
            self.day_loss = day_loss((self.day_loss, loss))
            row = records.day_row(self.run.day, self.day_loss, self.seat.user_id, self.seat.token_key)
            self.shared.ledger.put(self.seat.user_id, row)

    async def _reopen(self) -> None:
        if self.current is not None or self.run.pair_live:
            return
        for pair in list(self.late.values()):
            if pair.state is PairState.FLAT and pair.late:
                await self._pair(pair.client_id, e.Reopen(self._now_ms()))
                return

    # -- rows -----------------------------------------------------------------------------------------------

    def _put_run(self, before: Run | None = None) -> None:
        if before is not None and replace(before, now_ms=self.run.now_ms) == self.run:
            return
        seat, ledger = self.seat, self.shared.ledger
        row = records.run_row(
            self.run,
            run_id=seat.run_id,
            strategy_id=seat.strategy_id,
            user_id=seat.user_id,
            token_key=seat.token_key,
            config_hash=self.effective.config_hash,
            created_ms=seat.created_ms,
            lease_epoch=self.shared.lease_epoch(),
        )
        ledger.put(seat.user_id, row)
        if before is not None and before.day != self.run.day:
            day = records.day_row(self.run.day, self.day_loss, seat.user_id, seat.token_key)
            ledger.put(seat.user_id, day, new=before.day.day != self.run.day.day)

    def _put_pair(self, before: Pair | None, after: Pair) -> None:
        if before is not None and _says_the_same(before, after):
            return
        seat, ledger = self.seat, self.shared.ledger
        birth = self._births[after.client_id]
        row = records.pair_row(
            after,
            run_id=birth.run_id,
            seq=birth.seq,
            user_id=seat.user_id,
            token_key=seat.token_key,
            side=self._side,
            created_ms=birth.created_ms,
        )
        ledger.put(seat.user_id, row, new=before is None)
        known = {} if before is None else {order.client_id: order for order in before.orders}
        for order in after.orders:
            if known.get(order.client_id) != order:
                made = records.order_row(after, order, seat.user_id, seat.token_key)
                ledger.put(seat.user_id, made, new=order.client_id not in known)
        for fill in records.new_fills(before, after, seat.user_id, seat.token_key):
            ledger.put(seat.user_id, fill, new=True)

    def _note_reading(self, day: int, displayed: Decimal | None, error: str | None) -> None:
        seat = self.seat
        row = VolumeReading(
            user_id=seat.user_id,
            token_key=seat.token_key,
            day=day,
            displayed=None if displayed is None else records.stored(displayed),
            read_ms=self._now_ms(),
            error=None if error is None else "".join(c for c in error[:200] if c.isprintable()),
        )
        self.shared.ledger.put(seat.user_id, row, new=True)

    def _note_halt(self) -> None:
        seat, run = self.seat, self.run
        reason = f"{run.reason.value} {run.detail}".strip()[:80]
        row = VolumeHalt(
            strategy_id=seat.strategy_id, user_id=seat.user_id, since_ms=run.now_ms, reason=reason
        )
        self.shared.ledger.put(seat.user_id, row, new=True)
        self.shared.alarms.sound(
            "VOLUME_HALTED",
            f"{seat.strategy_id} user {seat.user_id}: {reason}; `perpdesk volume resume --user "
            f"{seat.user_id}` lets it go on",
            key=f"{seat.strategy_id}/{seat.user_id}",
        )


def _says_the_same(before: Pair, after: Pair) -> bool:
    """Has nothing changed but the time and the last bid, which a restart does not need?"""
    if before is after:
        return True
    return replace(before, now_ms=after.now_ms, bid=after.bid, bid_ms=after.bid_ms) == after
