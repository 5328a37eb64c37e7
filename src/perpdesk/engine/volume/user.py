"""One user's run on one token: messages in; rows, then requests out.

Every message is handled to its end before the next: the state machines move, what they say is put into the
ledger, and before anything that can place or take back an order goes out, the ledger has it. Requests run in
tasks of their own and come back as messages, so no wait of one delays an event of another.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from perpdesk.config.volume import Effective
from perpdesk.config.volume_terms import pair_terms, run_terms
from perpdesk.config.volume_tokens import Token
from perpdesk.domain.volume_books import VolumePair
from perpdesk.engine.volume import records
from perpdesk.engine.volume import requests as r
from perpdesk.engine.volume.judgement import Judgement
from perpdesk.engine.volume.rows import Rows
from perpdesk.engine.volume.seat import Birth, Seat, Shared
from perpdesk.engine.volume.shelf import Shelf
from perpdesk.engine.volume.venue import (
    Fact,
    FillSeen,
    OrderSeen,
    Price,
    StreamDown,
    StreamUp,
    UserVenue,
)
from perpdesk.strategies.volume_target import pair_events as e
from perpdesk.strategies.volume_target import run as v
from perpdesk.strategies.volume_target.arithmetic import ZERO
from perpdesk.strategies.volume_target.guards import Answer, Reason, Verdict, may_start_pair
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
from perpdesk.strategies.volume_target.prices import exit_price
from perpdesk.strategies.volume_target.run import Run, RunState, next_run, next_run_ms
from perpdesk.strategies.volume_target.volume import day_of

LOG = logging.getLogger(__name__)
# While a pair is on its way: how often its loss is looked at, and how often it is asked for.
WATCH_MS = 1_000
POLL_MS = 5_000
_WIRE = (e.PlaceOto, e.PlaceExit, e.CancelList)
_TRIED_NOT = (Outcome.NOT_SENT, Outcome.STOPPED)


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
        self.error: str | None = None
        self.key_checked_ms: int | None = None
        self.stream_up = False
        self._venue = venue
        self._requests = r.Requests(venue, shared.market, shared.clock, self.post)
        self._inbox: deque[_Inbox] = deque()
        self._more = asyncio.Event()
        self._armed_ms: int | None = None
        self._close_stream: Callable[[], None] | None = None
        self._watched_ms = 0
        self._polled_ms = 0
        self._is_stopped = False
        self._side = CountSide(str(effective["count_side"]))
        self._shelf, self._judgement = Shelf(), Judgement(shared, seat)
        self._rows = Rows(shared.ledger, shared.alarms, seat, self._side)
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
        pair = self._shelf.take(row)
        if is_current:
            self._shelf.current = pair
        else:
            self._shelf.late[pair.client_id] = pair
        self.shared.lanes.adopt(pair, self.seat.user_id, self._cancel_buy)
        self.post(r.OfPair(pair.client_id, e.Restarted(self._now_ms())))

    @property
    def current(self) -> Pair | None:
        """The pair that occupies the place of (user, token)."""
        return self._shelf.current

    @property
    def is_over(self) -> bool:
        """Is there nothing more to do or to wait for?"""
        return self.run.state.is_over and self._shelf.is_settled

    def obey(self, state: str | None) -> None:
        """A rung of the kill ladder holds: no new pair, and what it means for the live one."""
        if not self.run.state.is_over and self.run.reason is not Reason.HALTED:
            self.post(v.Halt(self._now_ms(), Reason.HALTED, state or "unreadable"))
        if self.current is None:
            return
        if state == "CANCEL":
            self._cancel_buy()
        elif state == "FLATTEN" and self.current.stop_at_ms is None:
            self.post(_Flatten())

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
        for pair in self._shelf.live:
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
                self._rows.reading(day, displayed, None, now_ms)
                others = None
                if self.run.terms.scope is TargetScope.ALL_USERS:
                    others = self.shared.group.others(self.seat.user_id)
                await self._run(v.Reading(now_ms, day, displayed, others))
            case r.Unreadable(day=day, error=error):
                self._rows.reading(day, None, error, now_ms)
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
        for pair in self._shelf.live:
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
                    self._rows.halt(self.run)
            case v.Notice(code=code):
                LOG.warning("%s user %s: %s", self.seat.strategy_id, self.seat.user_id, code)

    def _next_id(self) -> str:
        return self.seat.pair_id(self.run.pairs + 1)

    async def _judge(self, found: r.Findings, now_ms: int) -> None:
        self.key_checked_ms = found.key_checked_ms
        if self.run.state is not RunState.BATCH or self.run.pair_live:
            return
        late = self._shelf.late
        view = self._judgement.view(
            found,
            self.effective,
            self.run,
            stopped=self._is_stopped,
            quarantined=any(one.state is PairState.QUARANTINED for one in late.values()),
            late_fill=bool(late),
            now_ms=now_ms,
        )
        verdict = may_start_pair(view)
        if verdict.answer is Answer.GO:
            plan = self._judgement.plan
            assert plan is not None
            clear = self.shared.lanes.ask(
                self._next_id(),
                self.seat.user_id,
                plan.buy_price,
                plan.sell_price,
                self._cancel_buy,
            )
            if not clear:
                verdict = Verdict(Answer.SOFT, Reason.SELF_TRADE_WAIT)
        if verdict.answer is not Answer.GO:
            self.shared.group.settle(self.seat.user_id)
            if verdict.reason is not Reason.SELF_TRADE_WAIT:
                self.shared.lanes.withdraw(self._next_id())
            self.shared.metrics.add("volume_waits_total", reason=verdict.reason.value)
        await self._run(v.Judged(now_ms, verdict))

    # -- the pair -----------------------------------------------------------------------------------------

    async def _start_pair(self) -> None:
        seat, now_ms = self.seat, self._now_ms()
        plan, rules = self._judgement.plan, self._judgement.rules
        assert plan is not None
        assert rules is not None
        venue = self.shared.venue
        recv_ms = venue.recv_window_ms + venue.queue_ms + r.HOLD_MS
        client_id = seat.pair_id(self.run.pairs)
        terms = pair_terms(self.effective, rules, recv_ms)
        pair = planned(client_id, plan, terms, self.effective.config_hash, now_ms)
        self._shelf.births[client_id] = Birth(seat.run_id, self.run.pairs, now_ms)
        self._shelf.current = pair
        self._put_pair(None, pair)
        self._watched_ms = self._polled_ms = now_ms
        event = e.Withdraw(now_ms) if self._is_stopped else e.Send(now_ms)
        await self._pair(client_id, event)

    async def _fact(self, client_id: str, event: e.PairEvent) -> None:
        pair_id = records.pair_of(client_id)
        if pair_id is not None:
            await self._pair(pair_id, event)

    async def _load(self, pair_id: str) -> Pair | None:
        """A pair of long ago about which there is news."""
        row = await self.shared.load_pair(pair_id)
        if row is None or (row.user_id, row.token_key) != (self.seat.user_id, self.seat.token_key):
            return None
        return self._shelf.load(row)

    async def _pair(self, pair_id: str, event: e.PairEvent) -> None:
        before = self._shelf.find(pair_id) or await self._load(pair_id)
        if before is None:
            return
        try:
            after, wanted = next_pair(before, event)
        except KeyError:
            LOG.warning("pair %s: an order that is none of its own: %s", pair_id, event)
            return
        is_current = before is self.current
        self._put_pair(before, after)
        self._shelf.keep(after, is_current=is_current)
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

    def _carry_out(self, pair: Pair, wanted: e.PairWanted) -> None:
        pair_id, ask = pair.client_id, self._requests
        match wanted:
            case e.PlaceOto():
                ask.place(pair_id, wanted, self._may_send)
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

    def _may_send(self) -> bool:
        return self._judgement.may_send(self.effective, stopped=self._is_stopped, now_ms=self._now_ms())

    def _has_room(self, pair_id: str, limit: Decimal | None) -> bool:
        return self.shared.lanes.room_for_exit(pair_id, self.seat.user_id, limit)

    def _may_exit(self, pair_id: str, price: Price) -> bool:
        """Take the lane before the pair hears the price: an exit follows at once."""
        pair = self._shelf.find(pair_id)
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
                self._shelf.remember(after)
            return
        shelf = self._shelf
        shelf.current = None
        sent_ms = shelf.births[after.client_id].created_ms
        shelf.remember(after)
        self.shared.group.settle(self.seat.user_id)
        quarantined = after.state is PairState.QUARANTINED
        if after.late:
            shelf.late[after.client_id] = after
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

    def _book_loss(self, pair: Pair) -> None:
        day, loss = day_of(pair.now_ms), self._shelf.loss_to_book(pair)
        self.shared.losses.add(day, self.seat.user_id, loss)
        if day == self.run.day.day:
            self.day_loss = day_loss((self.day_loss, loss))
            self._rows.day(self.run.day, self.day_loss)

    async def _reopen(self) -> None:
        if self.current is not None or self.run.pair_live:
            return
        for pair in list(self._shelf.late.values()):
            if pair.state is PairState.FLAT and pair.late:
                await self._pair(pair.client_id, e.Reopen(self._now_ms()))
                return

    # -- rows -----------------------------------------------------------------------------------------------

    def _put_run(self, before: Run | None = None) -> None:
        epoch = self.shared.lease_epoch()
        self._rows.run(before, self.run, self.day_loss, self.effective.config_hash, epoch)

    def _put_pair(self, before: Pair | None, after: Pair) -> None:
        self._rows.pair(before, after, self._shelf.births[after.client_id])
