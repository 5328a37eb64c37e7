"""Delivery to a venue that does not wait: wanted slots against what is proven to be open, symbol by symbol.

Two classes (reliability.md R1). What increases exposure is sent at most once: a durable intent first, one
attempt, and after an answer that says nothing no other until the first is proven dead. What protects is sent
until it is seen, beside attempts whose fate is not known; the new order comes before the old one goes. Market
exits go one at a time: while the fate of one is open, the resting stop protects.

Each symbol has one worker that decides; what it decides is sent aside, one order of a place at a time, so
that no answer, cancel or unknown outcome holds a stop up. A stop that is not answered soon is in doubt.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.close_ladder import LOOK_MS, WOULD_TRIGGER, CloseLadder
from perpdesk.engine.executor import Executor, Place
from perpdesk.engine.ids import parse
from perpdesk.engine.recorder import Recorder
from perpdesk.kernel import venue as doors
from perpdesk.kernel.records import (
    LIMIT,
    MARKET,
    NONE,
    SLOT_ENTRY,
    SLOT_EXIT,
    SLOT_STOP,
    SLOT_TRAIL,
    STOP,
    TAG_ENTRY,
    TAG_EXCHANGE_STOP,
    TAG_NONE,
    TAG_TRAILING,
    TAKE_PROFIT,
    TRAILING,
)
from perpdesk.ports import Answer, Clock, Fate, LiveVenue, NewOrder, Outcome

LOG = logging.getLogger(__name__)

# Protective orders whose fate is open, at most so many beside each other (all reduce-only).
DOUBTS_MAX = 3
_LEG_TAGS = {SLOT_ENTRY: TAG_ENTRY, SLOT_STOP: TAG_EXCHANGE_STOP, SLOT_TRAIL: TAG_TRAILING}
# Orders that are over are remembered for late fills.
PAST_MAX = 2_000
AGAIN_MS = 250
AGAIN_MAX_MS = 2_000
# A protective order whose answer is not there by then is in doubt: another goes out beside it. One that has
# become too small for its position is waited for no longer than the second.
PATIENCE_MS, TOO_SMALL_MS = 1_000, 250
SETTLE_AGAIN_MS = 2_000
# After an answer that says nothing the next protective order waits so long.
DOUBT_AGAIN_MS = 500
# The fills of a market order that the stream does not tell are read after this, and again.
LISTEN_MS, LISTENS_MAX = 400, 40
# Every so many times everything is read, not only the symbol's fills.
LISTEN_ALL = 5
# A cancel that is answered "unknown order" is tried again for so long, unless a fact tells the order's end.
DENIED_MS, DENIED_AGAIN_MS = 60_000, 2_000

REDUCE_REFUSED: Final = -2022


class LiveRecorder(Recorder, Protocol):
    """What delivery tells beyond a recorder's facts."""

    async def entry_unknown(self, client_id: str, fence_ms: int, ms: int) -> None:
        """An entry was sent and not answered."""
        ...

    def order_flying(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        """An order is about to be sent: a fill may be told before its answer."""
        ...

    def order_refused(self, order: NewOrder, reason: str, ms: int) -> None:
        """It is proven that an order was not taken."""
        ...

    def knows(self, position_code: str) -> bool:
        """Is there a live row with this position code?"""
        ...

    def position_over(self, position_code: str) -> None:
        """Nothing of its entry can fill any more: a row that is flat ends, as its last fill said."""
        ...


# Asked right before an order that increases exposure is sent: None, or why not.
WireJudge = Callable[[NewOrder], str | None]


@dataclass(slots=True)
class Sent:
    """An order of ours. left: lots that no fill has told of; was_triggered: it works as a market order;
    since_ms: of an earlier process's order, the exchange's time from which its fills may be unheard."""

    order: NewOrder
    tag: int
    left: int
    sent_ms: int = 0
    was_triggered: bool = False
    since_ms: int | None = None


@dataclass
class Line:
    """What stands at the venue for one place, besides the order that the executor holds for open.

    flying: sent, its answer has not come. leaving: to be cancelled until they are seen gone. doubts: sent,
    and not known whether they exist. refusals: in a row; the next try waits until wait_until_ms.
    """

    flying: NewOrder | None = None
    flying_ms: int = 0
    is_taking_back: bool = False
    # cancels that were answered "unknown order": since when, and when last
    denied_ms: dict[str, int] = field(default_factory=dict)
    denied_last_ms: dict[str, int] = field(default_factory=dict)
    leaving: list[NewOrder] = field(default_factory=list)
    doubts: dict[str, NewOrder] = field(default_factory=dict)
    refusals: int = 0
    wait_until_ms: int = 0

    @property
    def is_quiet(self) -> bool:
        return not self.leaving and not self.doubts


@dataclass
class Delivery(Executor):
    """An executor whose ``sync`` returns at once; workers carry the orders.

    judge: the gate at the wire; foresee: what it would say, before anything is written down. owns(order):
    makes the symbol its strategy's, or says why not.
    on_refused(order, answer): protection was refused. on_sent(order, answer, ms): for the meters.
    """

    venue: LiveVenue = field(kw_only=True)
    recorder: LiveRecorder = field(kw_only=True)
    clock: Clock = field(kw_only=True)
    judge: WireJudge = field(kw_only=True)
    foresee: WireJudge = field(kw_only=True, default=lambda order: None)
    on_refused: Callable[[NewOrder, Answer], None] = field(kw_only=True)
    on_sent: Callable[[NewOrder, Answer, int], None] = field(kw_only=True, default=lambda o, a, ms: None)
    on_store_failed: Callable[[StoreFailed], None] = field(kw_only=True, default=lambda error: None)
    owns: Callable[[NewOrder], Awaitable[str | None]] = field(kw_only=True)
    lines: dict[Place, Line] = field(default_factory=dict)
    orders: dict[str, Sent] = field(default_factory=dict)  # by client id; what may still act
    past: OrderedDict[str, Sent] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._wakes = [asyncio.Event() for _ in range(self.books.slots.shape[1])]
        self._tasks: set[asyncio.Task[None]] = set()
        self._aside: dict[Place, int] = {}  # what is being sent, by the number of its task
        self._unheard: dict[tuple[int, int], str] = {}  # entries that have ended, before all fills are read
        self._sends = 0
        self._following: set[tuple[int, int]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._is_shut = False
        instruments = self.books.instruments
        self._ladder = CloseLadder(self.venue, instruments["tick"].tolist(), instruments["lots_min"].tolist())

    # -- the engine's side -------------------------------------------------------------------

    async def sync(self, v: int, s: int, now_ms: int) -> None:
        if (self.books.heads[v, s].plan.lots or (v, s) in self.plans) and (v, s) not in self._following:
            self._following.add((v, s))
            self._spawn(self._follow_aside(v, s, now_ms))
        self._wakes[s].set()
        if self.venue.traits.watches_levels:
            await self.venue.watch(s, *doors.levels(self.books.heads, s))

    async def _follow_aside(self, v: int, s: int, now_ms: int) -> None:
        """Write down what became of an entry in batches; without a row it is not begun."""
        try:
            await self.follow_plan(v, s, now_ms)
        except StoreFailed as error:
            self.on_store_failed(error)
            if (v, s) not in self.plans:
                LOG.warning("an entry in batches on symbol %d is not begun: %s", s, error)
                self._end_plan(v, s)
        finally:
            self._following.discard((v, s))
        self.wake(s)

    def _end_plan(self, v: int, s: int) -> None:
        """Nothing more is bought: what a gate refuses ends an entry in batches."""
        self.books.heads[v, s].plan.lots = 0
        self.books.slots[v, s, SLOT_ENTRY].kind = NONE

    def may_still_enter(self, v: int, s: int) -> bool:
        """Can an entry of a sleeve still fill, or are fills of it known to be unheard?"""
        line = self.lines.get((v, s, SLOT_ENTRY))
        may_fill = line is not None and (line.flying is not None or not line.is_quiet)
        if may_fill or (v, s, SLOT_ENTRY) in self._aside or (v, s, SLOT_ENTRY) in self.open:
            return True
        return self._unheard.get((v, s), "") in self.orders

    def wake(self, s: int) -> None:
        """Let a symbol's worker look again."""
        self._wakes[s].set()

    def nudge(self, s: int) -> None:
        """Look again now: whatever waits after a refusal waits no longer."""
        for place, line in self.lines.items():
            if place[1] == s:
                line.wait_until_ms = 0
        self.wake(s)

    def is_slots_order(self, client_id: str, place: Place) -> bool:
        """Is this order the one that its slot stands for now (so that a fill belongs to the slot)?"""
        sent = self.orders.get(client_id)
        slot = self.books.slots[place]
        if sent is None or slot.kind == NONE or slot.side != sent.order.side or slot.lots != sent.left:
            return False
        line = self._line(place)
        candidates = (self.open.get(place), line.flying, *line.doubts.values())
        return any(one is not None and one.client_id == client_id for one in candidates)

    def tag_of(self, client_id: str, place: Place) -> int:
        """Why the order was sent; of one from before this process, what its leg or its slot tells."""
        sent = self.orders.get(client_id) or self.past.get(client_id)
        if sent is not None and sent.tag != TAG_NONE:
            return sent.tag
        return _LEG_TAGS.get(place[2], int(self.books.slots[place].tag))

    def filled_part(self, client_id: str, lots: int) -> None:
        """A fill of an order was told; one that has traded whole is over."""
        sent = self.orders.get(client_id)
        if sent is not None:
            sent.left -= lots
            if sent.left <= 0:
                self.ended(client_id)

    def triggered(self, client_id: str) -> bool:
        """A conditional order triggered. True: it is the one that its slot stands for."""
        sent = self.orders.get(client_id)
        if sent is None or sent.was_triggered:
            return False
        place = (sent.order.sleeve, sent.order.symbol, sent.order.slot)
        is_slots = self.is_slots_order(client_id, place) and self.books.slots[place].kind >= STOP
        sent.was_triggered = True
        return is_slots

    def ended(self, client_id: str) -> NewOrder | None:
        """The venue ended this order: it is not open any more. Answers the order if it was known."""
        sent = self.orders.pop(client_id, None)
        if sent is None:
            return None
        self.past[client_id] = sent
        if len(self.past) > PAST_MAX:
            self.past.popitem(last=False)
        order = sent.order
        place = (order.sleeve, order.symbol, order.slot)
        line = self._line(place)
        line.doubts.pop(client_id, None)
        line.denied_ms.pop(client_id, None)
        line.denied_last_ms.pop(client_id, None)
        line.leaving = [one for one in line.leaving if one.client_id != client_id]
        if (held := self.open.get(place)) is not None and held.client_id == client_id:
            del self.open[place]
            self.mirror[place].kind = NONE
        if order.slot == SLOT_ENTRY:
            self.end_if_flat(order.sleeve, order.symbol)
        self.wake(order.symbol)
        return order

    async def entry_over(self, order: NewOrder) -> None:
        """An entry order has ended: without a fill its position never was."""
        await self._entry_dead(order)

    def end_position(self, v: int, s: int) -> None:
        """A position is flat: its code is history, unless an entry of it may still fill."""
        if not self.may_still_enter(v, s):
            self._end_position(v, s)

    def end_if_flat(self, v: int, s: int) -> None:
        """What was held is closed, and the rest of its entry was all that was waited for: it ends now."""
        is_flat = self.codes.get((v, s)) in self.filled and self.books.positions[v, s].lots == 0
        if is_flat and self.books.heads[v, s].plan.lots == 0:
            self.end_position(v, s)

    def _end_position(self, v: int, s: int) -> None:
        code = self.codes.get((v, s))
        super().end_position(v, s)
        if code is not None:
            self.recorder.position_over(code)

    def forget_symbol(self, s: int) -> list[NewOrder]:
        """The exchange cancelled every order of a symbol; doubts stay until they are proven."""
        gone = super().forget_symbol(s)
        for place, line in self.lines.items():
            if place[1] == s:
                gone += line.leaving
                line.leaving = []
        return gone

    def _is_open(self, order: NewOrder) -> None:
        super()._is_open(order)
        if order.kind == TRAILING and order.activation == 0:  # it is active: that is what the slot wants
            place = (order.sleeve, order.symbol, order.slot)
            self.mirror[place].activation = self.books.slots[place].activation

    def adopt(self, order: NewOrder, tag: int) -> None:
        """An open order of an earlier process, found in its place."""
        self.orders[order.client_id] = Sent(order, tag, order.lots)
        self.venue.adopt(order)
        self._is_open(order)

    def drop(self, order: NewOrder) -> None:
        """An open order that nobody wants: take it back, however often it must be asked for."""
        if self.is_leaving(order.client_id):
            return
        self.orders.setdefault(order.client_id, Sent(order, 0, order.lots))
        self.venue.adopt(order)
        self._line((order.sleeve, order.symbol, order.slot)).leaving.append(order)
        self.wake(order.symbol)

    def is_leaving(self, client_id: str) -> bool:
        """Is it being taken back already?"""
        return any(one.client_id == client_id for line in self.lines.values() for one in line.leaving)

    def doubt(
        self, order: NewOrder, fence_ms: int, tag: int, known_lots: int = 0, since_ms: int | None = None
    ) -> None:
        """It is not known whether this order of an earlier process exists, or what it traded beyond the lots
        that are booked: find out. since_ms: exchange time from which its fills are looked for."""
        self.venue.adopt(order)
        self.orders[order.client_id] = Sent(order, tag, order.lots - known_lots, since_ms=since_ms)
        self._line((order.sleeve, order.symbol, order.slot)).doubts[order.client_id] = order
        self._spawn(self._settle(order, fence_ms))

    def has_entry_on_its_way(self, v: int, s: int) -> bool:
        """Is an entry wanted, sent, or of unknown fate?"""
        line = self.lines.get((v, s, SLOT_ENTRY))
        in_doubt = line is not None and (bool(line.doubts) or line.flying is not None)
        return in_doubt or bool(self.books.slots[v, s, SLOT_ENTRY].kind != NONE)

    def held_orders(self) -> list[NewOrder]:
        """Orders that the venue has accepted and not ended, the leaving ones too."""
        leaving = [order for line in self.lines.values() for order in line.leaving]
        return [*self.open.values(), *leaving]

    @property
    def entries_are_out(self) -> bool:
        """Is an entry on the wire, or of unknown fate?"""
        return any(place[2] == SLOT_ENTRY for place in self._aside) or any(
            place[2] == SLOT_ENTRY and (not line.is_quiet or line.flying is not None)
            for place, line in self.lines.items()
        )

    def placed_ms(self, client_id: str) -> int:
        """Our time of an order's sending (of its adoption: 0)."""
        sent = self.orders.get(client_id)
        return 0 if sent is None else sent.sent_ms

    def begin_attempts(self, code: str, k: int, attempt: int) -> None:
        """Attempts up to this one were made before this process."""
        self._attempts[code, k] = max(self._attempts.get((code, k), 0), attempt + 1)

    # -- workers -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry orders until cancelled. Raises what ends a worker."""
        self._failed = asyncio.get_running_loop().create_future()
        for s in range(len(self._wakes)):
            self._spawn(self._work(s))
        try:
            await self._failed
        finally:
            self._is_shut = True
            for task in self._tasks:
                task.cancel()

    async def _work(self, s: int) -> None:
        while True:
            await self._wakes[s].wait()
            self._wakes[s].clear()
            again_ms = self.carry(s)
            if again_ms is not None:
                self._spawn(self._wake_at(s, again_ms))

    async def _wake_at(self, s: int, ms: int) -> None:
        await self.clock.sleep_until(ms)
        self._wakes[s].set()

    def carry(self, s: int) -> int | None:
        """One pass over a symbol, exits and stops first, entries last. When to look again, None: if woken."""
        again: list[int] = []
        for is_exposure in (False, True):
            for v in range(len(self.sleeves)):
                count = doors.differences(self.books.slots, self.mirror, v, s, self._changed)
                for k in sorted(self._changed[:count].tolist(), key=_urgency):
                    if self._increases(v, s, k) is is_exposure:
                        again += self._tend((v, s, k))
        for place, line in list(self.lines.items()):
            if place[1] != s or not line.leaving:
                continue
            if not self._may_go(place):
                again.append(self.clock.now_ms() + AGAIN_MS)
            elif not line.is_taking_back:
                line.is_taking_back = True
                self._spawn(self._take_back_aside(place, line))
        return min(again) if again else None

    def _may_go(self, place: Place) -> bool:
        """May what leaves this place be taken back? Not before what is wanted stands; nor while the entry
        may have filled beyond what we heard, and only the old stop covers that."""
        v, s, k = place
        if k == SLOT_STOP and self.books.positions[v, s].lots == 0 and self.may_still_enter(v, s):
            return False
        if self.books.slots[place].kind < STOP:
            return True
        stop = (v, s, SLOT_STOP)
        stop_stands = self.books.slots[stop].kind < STOP or self._agrees(stop)
        return stop_stands and self._agrees(place) and not self._entry_works(v, s)

    def _agrees(self, place: Place) -> bool:
        """Does the wanted order of a place stand?"""
        slot, mirror = self.books.slots[place], self.mirror[place]
        names = ("kind", "side", "price", "lots")
        return place in self.open and all(slot[name] == mirror[name] for name in names)

    def _entry_works(self, v: int, s: int) -> bool:
        """Is an entry of this sleeve out, and not heard to have filled or ended?"""
        if self.books.positions[v, s].lots == 0:
            return False
        return any(
            sent.order.slot == SLOT_ENTRY and (sent.order.sleeve, sent.order.symbol) == (v, s)
            for sent in self.orders.values()
        )

    def _increases(self, v: int, s: int, k: int) -> bool:
        slot = self.books.slots[v, s, k]
        return bool(slot.kind != NONE and not slot.reduce_only)

    def _tend(self, place: Place) -> list[int]:
        """Bring one place nearer to what is wanted. When to look again."""
        slot = self.books.slots[place]
        line, held = self._line(place), self.open.get(place)
        now_ms = self.clock.now_ms()
        if slot.kind == NONE:
            self._leave(place)
            return []
        if line.wait_until_ms > now_ms:
            return [line.wait_until_ms]
        if not slot.reduce_only or slot.kind == LIMIT:
            # one at a time: the old one is proven gone before the new one is sent
            if held is not None:
                self._leave(place)
            if line.leaving:
                return []  # its end wakes us
            if line.doubts:
                return []
        elif slot.kind == MARKET:
            if held is not None and (held.kind == MARKET or self._was_triggered(held)):
                return []  # it works; its fills, or its end, will wake us
            if held is not None and place[2] == SLOT_EXIT:  # it gets out where a plain exit cannot
                if self._ladder.is_near(held, now_ms - self.placed_ms(held.client_id)):
                    return [now_ms + LOOK_MS]
                self._leave(place)
            if place[2] == SLOT_EXIT and line.leaving:
                return []  # two exits could close another version's lots
            if line.doubts and (self._can_wait(place) or len(line.doubts) >= DOUBTS_MAX):
                return []
        elif line.doubts and (slot.kind == TAKE_PROFIT or len(line.doubts) >= DOUBTS_MAX):
            return []  # a profit is not taken twice
        if place in self._aside:
            return self._impatient(place, line, now_ms)
        self._sends += 1
        self._aside[place] = self._sends
        self._spawn(self._send_aside(place, self._sends))
        return []

    def _can_wait(self, place: Place) -> bool:
        """May an exit wait for the fate of the one before it? It must, where two could close another
        version's lots; it need not, where no stop protects meanwhile."""
        v, s, _ = place
        lots = self.books.positions["lots"][:, s]
        stop = self.open.get((v, s, SLOT_STOP))
        sent = None if stop is None else self.orders.get(stop.client_id)
        is_guarded = sent is not None and sent.left >= abs(lots[v])
        return is_guarded or bool((lots != 0).sum() > 1)

    def _impatient(self, place: Place, line: Line, now_ms: int) -> list[int]:
        """An order of this place is on the wire. If it protects, it is waited for only so long."""
        flying, slot = line.flying, self.books.slots[place]
        if flying is None or not flying.reduce_only or flying.kind not in (STOP, MARKET):
            return []
        if slot.kind != flying.kind or (flying.kind == MARKET and self._can_wait(place)):
            return []
        is_small = flying.kind != MARKET and slot.lots > flying.lots
        until_ms = line.flying_ms + (TOO_SMALL_MS if is_small else PATIENCE_MS)
        if now_ms < until_ms:
            return [until_ms]
        if not self.venue.reachable():
            return [now_ms + AGAIN_MS]
        line.doubts[flying.client_id], line.flying = flying, None
        del self._aside[place]
        return self._tend(place)

    def _leave(self, place: Place) -> None:
        held = self.open.pop(place, None)
        if held is not None:
            self._line(place).leaving.append(held)
            self.mirror[place].kind = NONE

    async def _send_aside(self, place: Place, number: int) -> None:
        """Send an order while the symbol's worker goes on."""
        try:
            again = await self._send(place) if self.books.slots[place].kind != NONE else []
        finally:
            if self._aside.get(place) == number:  # else it was waited for no longer
                del self._aside[place]
        self.wake(place[1])
        for ms in again:
            self._spawn(self._wake_at(place[1], ms))

    async def _send(self, place: Place) -> list[int]:
        v, s, k = place
        now_ms = self.clock.now_ms()
        slot = self.books.slots[place]
        position = self.books.positions[v, s]
        if k == SLOT_ENTRY and self.books.heads[v, s].plan.lots and (v, s) not in self.plans:
            return [now_ms + AGAIN_MS]  # its row is being written
        batch = self.is_batch(v, s, k)
        opening = k == SLOT_ENTRY and position.lots == 0 and not batch
        if opening and self.codes.get((v, s)) in self.filled:
            self._end_position(v, s)  # flat since: only the rest of its entry was waited for
        if opening and (v, s) in self.codes:
            slot.kind = NONE  # an earlier entry is not over: never two
            return []
        if opening:
            self.codes[v, s] = self.ids.position_code(now_ms)
        code = self.codes.get((v, s))
        if code is None:
            slot.kind = NONE
            LOG.error("symbol %d: an order without a position or an approved entry is not sent", s)
            return []
        order, tag = self._order(v, s, k, code), int(slot.tag)
        self.orders[order.client_id] = Sent(order, tag, order.lots, now_ms)
        if not order.reduce_only:
            refusal = self.foresee(order)
            if refusal is not None:
                await self._not_sent(order, opening, refusal)
                return []
        first = k == SLOT_ENTRY and position.lots == 0
        if first and (problem := await self.venue.prepare(order)) is not None:
            await self._not_sent(order, opening, problem)
            return []
        if (opening or batch) and not await self._is_written(order, now_ms, code):
            return []
        refusal = self.judge(order)  # of what can only reduce it counts, and is not asked for leave
        if refusal is not None and not order.reduce_only:
            # what was written down meanwhile was not sent: it is dead
            if batch:
                self._end_plan(v, s)
            await self._dead(order, opening, f"not sent: {refusal}")
            return []
        self.sent += 1
        line = self._line(place)
        line.flying, line.flying_ms = order, self.clock.now_ms()
        self.wake(s)  # it is looked again when its answer is late
        self.recorder.order_flying(order, code, tag, now_ms)
        answer = await self.venue.place(order)
        self.on_sent(order, answer, self.clock.now_ms())
        if line.flying is not order:
            return await self._answered_late(order, tag, answer)
        line.flying = None
        return await self._answered(order, tag, opening, answer)

    async def _answered_late(self, order: NewOrder, tag: int, answer: Answer) -> list[int]:
        """The answer of an order that was not waited for."""
        line = self._line((order.sleeve, order.symbol, order.slot))
        if line.doubts.pop(order.client_id, None) is None:
            return []  # a fact of the stream was quicker
        if answer.outcome is Outcome.ACCEPTED:
            await self._found(order, tag)
            return []
        return await self._answered(order, tag, False, answer)

    async def _is_written(self, order: NewOrder, now_ms: int, code: str) -> bool:
        """The intent is durable; False if it is not, and then nothing is sent."""
        v, s = order.sleeve, order.symbol
        batch = self.is_batch(v, s, order.slot)
        try:
            taken = await self.owns(order)
            if taken is not None:
                LOG.info("%s is not sent: %s", order.client_id, taken)
            elif batch:
                await self.recorder.batch_approved(code, order, now_ms)
                return True
            else:
                entry = self._entry(v, s, code, order.side, order.lots, now_ms)
                if await self.recorder.entry_approved(entry, order):
                    return True
        except StoreFailed as error:
            self.on_store_failed(error)
            LOG.warning("the entry %s is not sent: %s", order.client_id, error)
        self._give_up(order)
        if batch:
            self._end_plan(v, s)
        else:
            self.codes.pop((v, s), None)
        return False

    async def _answered(self, order: NewOrder, tag: int, opening: bool, answer: Answer) -> list[int]:
        place = (order.sleeve, order.symbol, order.slot)
        line, now_ms = self._line(place), self.clock.now_ms()
        if answer.outcome is Outcome.ACCEPTED:
            line.refusals = line.wait_until_ms = 0
            await self._accepted(order, tag, now_ms)
            if order.kind == MARKET:
                self._spawn(self._listen(order))
            return []
        if answer.outcome is Outcome.UNKNOWN and order.client_id not in self.orders:
            return []  # its fills, or its end, were told while it was on the wire
        if answer.outcome is Outcome.UNKNOWN:
            line.doubts[order.client_id] = order
            if order.slot == SLOT_ENTRY:
                await self.recorder.entry_unknown(order.client_id, answer.fence_ms, now_ms)
            self._spawn(self._settle(order, answer.fence_ms))
            line.wait_until_ms = now_ms + DOUBT_AGAIN_MS
            return [line.wait_until_ms]
        if not order.reduce_only:
            await self._dead(order, opening, answer.reason)
            return []
        return await self._protection_refused(order, tag, line, answer)

    async def _accepted(self, order: NewOrder, tag: int, now_ms: int) -> None:
        """The venue has it. An order of the place that it replaces goes after it (I16)."""
        place = (order.sleeve, order.symbol, order.slot)
        sent = self.orders.get(order.client_id) or self.past.get(order.client_id)
        self._leave(place)
        if sent is not None and order.client_id in self.orders:  # else it filled or ended before its answer
            self._is_open(order)
            mirror = self.mirror[place]
            mirror.lots = sent.left
            if sent.was_triggered:
                mirror.kind, mirror.price, mirror.activation, mirror.callback_ppm = MARKET, 0, 0, 0
        code = self.codes.get((order.sleeve, order.symbol))
        if code is not None and self.recorder.knows(code):
            await self.recorder.order_sent(order, code, tag, now_ms)
        self.wake(order.symbol)

    async def _protection_refused(self, order: NewOrder, tag: int, line: Line, answer: Answer) -> list[int]:
        v, s, k = order.sleeve, order.symbol, order.slot
        self.orders.pop(order.client_id, None)
        line.refusals += 1
        now_ms = self.clock.now_ms()
        self.recorder.order_refused(order, answer.reason, now_ms)
        LOG.warning("%s was refused: %s", order.client_id, answer.reason)
        self.on_refused(order, answer)
        if answer.code == WOULD_TRIGGER and k == SLOT_STOP:
            self.exit_now(v, s, TAG_EXCHANGE_STOP)
        if answer.code == WOULD_TRIGGER and order.kind == TAKE_PROFIT and self._is_still_wanted(order):
            books = self.books  # the price is there already: its lots go at market
            self.sleeves[v].compiled.book_trigger(books.positions, books.slots, books.heads, v, s, k)
            self.wake(s)
            return []
        if (v, s) in self.codes:
            tried: list[NewOrder] = []

            def attempt(wanted: NewOrder) -> NewOrder:
                made = replace(wanted, client_id=self._order(v, s, k, self.codes[v, s]).client_id)
                self.orders[made.client_id] = Sent(made, tag, made.lots, self.clock.now_ms())
                self.judge(made)  # an exit is counted and never refused
                self.recorder.order_flying(made, self.codes[v, s], tag, now_ms)
                tried.append(made)
                return made

            found = await self._ladder.down(order, answer.code, attempt)
            for one in tried:
                if found is None or one is not found[0]:
                    self.orders.pop(one.client_id, None)
                    self.recorder.order_refused(one, answer.reason, now_ms)
            if found is not None:
                return await self._answered(found[0], tag, False, found[1])
        line.wait_until_ms = now_ms + min(AGAIN_MAX_MS, AGAIN_MS << min(line.refusals - 1, 3))
        return [line.wait_until_ms]

    def _is_still_wanted(self, order: NewOrder) -> bool:
        slot = self.books.slots[order.sleeve, order.symbol, order.slot]
        return bool(slot.kind == order.kind and slot.side == order.side and slot.price == order.price)

    def exit_now(self, v: int, s: int, tag: int) -> None:
        """Want everything of a sleeve out at market; its stops stay until it is flat."""
        position = self.books.positions[v, s]
        slot = self.books.slots[v, s, SLOT_EXIT]
        if position.lots == 0 or slot.kind == MARKET:
            return
        slot.kind, slot.side, slot.price = MARKET, (-1 if position.lots > 0 else 1), 0
        slot.lots, slot.reduce_only, slot.activation, slot.callback_ppm = abs(position.lots), 1, 0, 0
        slot.tag = tag
        self.wake(s)

    async def _not_sent(self, order: NewOrder, opening: bool, why: str) -> None:
        """The gate at the wire said no, before anything was written."""
        LOG.info("%s is not sent: %s", order.client_id, why)
        self._give_up(order)
        if self.is_batch(order.sleeve, order.symbol, order.slot):
            self._end_plan(order.sleeve, order.symbol)
            await self.sync(order.sleeve, order.symbol, self.clock.now_ms())
        if opening:
            self.codes.pop((order.sleeve, order.symbol), None)

    async def _dead(self, order: NewOrder, opening: bool, why: str) -> None:
        """Proven: this order does not exist and never will."""
        LOG.info("%s is dead: %s", order.client_id, why)
        self.recorder.order_refused(order, why, self.clock.now_ms())
        self._give_up(order)
        if order.slot == SLOT_ENTRY:
            await self._entry_dead(order)

    async def _entry_dead(self, order: NewOrder) -> None:
        named, place = parse(order.client_id), (order.sleeve, order.symbol)
        code = "" if named is None else named.position_code
        if place in self.plans and self.codes.get(place) == code:
            await self.recorder.batch_dead(order.client_id, self.clock.now_ms())
            await self.sync(*place, self.clock.now_ms())
            return
        if code in self.filled or not self.recorder.knows(code):
            self.end_if_flat(*place)
            return
        if self.codes.get(place) == code:
            del self.codes[place]
        await self.recorder.entry_dead(code, order.client_id, self.clock.now_ms())

    def _give_up(self, order: NewOrder) -> None:
        """Nothing of this order will come: its slot does not want it any more."""
        place = (order.sleeve, order.symbol, order.slot)
        self.orders.pop(order.client_id, None)
        self._line(place).doubts.pop(order.client_id, None)
        slot = self.books.slots[place]
        if slot.kind == order.kind and slot.side == order.side and not slot.reduce_only:
            slot.kind = NONE

    async def _take_back_aside(self, place: Place, line: Line) -> None:
        """Cancel while the symbol's worker goes on."""
        known = list(line.leaving)
        try:
            again = await self._take_back(place, line)
        finally:
            line.is_taking_back = False
        for ms in again:
            self._spawn(self._wake_at(place[1], ms))
        if any(order not in known for order in line.leaving):
            self.wake(place[1])

    async def _take_back(self, place: Place, line: Line) -> list[int]:
        """Cancel what is to leave. What is not seen gone is tried again."""
        again: list[int] = []
        for order in list(line.leaving):
            if order not in line.leaving:
                continue  # its end was told meanwhile
            if not self._may_go(place):
                again.append(self.clock.now_ms() + AGAIN_MS)
                break
            denied_ms = line.denied_last_ms.get(order.client_id, -DENIED_AGAIN_MS)
            if self.clock.now_ms() < denied_ms + DENIED_AGAIN_MS:
                continue  # whatever else wakes the worker: it is woken for this then
            answer = await self.venue.cancel(order.symbol, order.client_id)
            if answer.outcome is Outcome.UNKNOWN:
                again.append(self.clock.now_ms() + AGAIN_MS)
                continue
            taken = answer.outcome is Outcome.ACCEPTED
            now_ms = self.clock.now_ms()
            if not taken and now_ms - line.denied_ms.setdefault(order.client_id, now_ms) < DENIED_MS:
                # "unknown order" proves nothing: it may not be visible yet. A fact tells, or the next try
                line.denied_last_ms[order.client_id] = now_ms
                again.append(now_ms + DENIED_AGAIN_MS)
                continue
            line.denied_ms.pop(order.client_id, None)
            line.denied_last_ms.pop(order.client_id, None)
            self.wake(order.symbol)
            line.leaving = [one for one in line.leaving if one.client_id != order.client_id]
            if not taken and order.slot == SLOT_ENTRY and order.client_id in self.orders:
                # filled, ended or forgotten by the venue: only one of them is a death
                line.doubts[order.client_id] = order
                self._spawn(self._settle(order, now_ms))
                continue
            reason = "CANCELED" if taken else f"GONE: {answer.reason}"
            await self.recorder.order_gone(order, reason, now_ms)
            if taken:
                self.orders.pop(order.client_id, None)
            if taken and order.slot == SLOT_ENTRY:
                await self._entry_dead(order)
        return again

    async def _listen(self, order: NewOrder) -> None:
        """A market order trades at once. What the stream does not tell of it in time is read."""
        for i in range(1, LISTENS_MAX + 1):
            await self.clock.sleep_until(self.clock.now_ms() + LISTEN_MS)
            if order.client_id not in self.orders:
                return
            self._read_fills(order, everything=i % LISTEN_ALL == 0)

    def _read_fills(self, order: NewOrder, *, everything: bool = False) -> None:
        sent = self.orders.get(order.client_id)
        if everything:
            self.venue.catch_up()
        else:
            self.venue.catch_up(order.symbol, None if sent is None else sent.since_ms)

    # -- unknown outcomes --------------------------------------------------------------------

    async def _settle(self, order: NewOrder, fence_ms: int) -> None:
        """Find out what became of an order, however long it takes."""
        place = (order.sleeve, order.symbol, order.slot)
        line = self._line(place)
        opening = order.slot == SLOT_ENTRY
        while order.client_id in line.doubts:
            try:
                fate = await self.venue.settle(order.symbol, order.client_id, fence_ms)
            except PerpdeskError as error:
                LOG.warning("the fate of %s is not known yet: %s", order.client_id, error)
                await self.clock.sleep_until(self.clock.now_ms() + SETTLE_AGAIN_MS)
                continue
            if order.client_id not in line.doubts:
                return  # a fact of the stream was quicker
            del line.doubts[order.client_id]
            line.wait_until_ms = 0
            await self._settled(order, fate, opening)
            self.wake(order.symbol)

    async def _settled(self, order: NewOrder, fate: Fate, opening: bool) -> None:
        place = (order.sleeve, order.symbol, order.slot)
        now_ms = self.clock.now_ms()
        if fate in (Fate.ABSENT, Fate.UNFILLED):
            if not order.reduce_only:
                await self._dead(order, opening, f"proven {fate.value}")
            else:
                self.orders.pop(order.client_id, None)
                self.recorder.order_refused(order, f"proven {fate.value}", now_ms)
            return
        tag = self.tag_of(order.client_id, place)
        if fate is Fate.ENDED:  # its fills are told, or read
            self._read_fills(order)
            self._read_fills(order, everything=True)
            if order.reduce_only and order.kind == MARKET and order.client_id in self.orders:
                # until its fills, or its end, are heard it counts as working: a second one beside it would
                # close another version's lots
                await self._accepted(order, tag, now_ms)
                self._spawn(self._listen(order))
            if opening:
                if order.client_id in self.orders:
                    self._unheard[order.sleeve, order.symbol] = order.client_id
                    self._spawn(self._listen(order))
                slot = self.books.slots[place]
                if slot.kind == MARKET and slot.side == order.side:
                    slot.kind = NONE
            return
        await self._found(order, tag)

    async def _found(self, order: NewOrder, tag: int) -> None:
        """An order that was not known to be open is. One that protects stands, whatever its size, until a
        better one does."""
        place = (order.sleeve, order.symbol, order.slot)
        slot = self.books.slots[place]
        wanted = bool(slot.kind == order.kind and slot.side == order.side)
        if not order.reduce_only:
            wanted = wanted and bool(slot.price == order.price)
        if self.open.get(place) is None and wanted:
            await self._accepted(order, tag, self.clock.now_ms())
        elif order.kind != MARKET or not order.reduce_only:  # an exit at market only ends by itself
            self._line(place).leaving.append(order)
        if order.kind == MARKET:
            self._spawn(self._listen(order))

    # -- small things ------------------------------------------------------------------------

    def _was_triggered(self, order: NewOrder) -> bool:
        sent = self.orders.get(order.client_id)
        return sent is not None and sent.was_triggered

    def _line(self, place: Place) -> Line:
        return self.lines.setdefault(place, Line())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_shut:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        LOG.error("a delivery task failed: %r", error)
        if self._failed is not None and not self._failed.done() and error is not None:
            self._failed.set_exception(error)


def _urgency(k: int) -> tuple[int, int]:
    """Exits first, then stops, then the rest."""
    return (0 if k == SLOT_EXIT else 1 if k == SLOT_STOP else 2, k)


__all__ = ["Delivery", "Line", "LiveRecorder", "WireJudge"]
