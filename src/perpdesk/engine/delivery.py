"""Delivery to a venue that does not wait: wanted slots against what is proven to be open, symbol by symbol.

Two classes (reliability.md R1). What increases exposure is sent at most once: a durable intent first, one
attempt, and after an answer that says nothing no other until the first is proven dead. What protects is sent
until it is seen, beside attempts whose fate is not known; the new order comes before the old one goes. Market
exits go one at a time: while the fate of one is open, the resting stop protects.

Each symbol has one worker, so the orders of a symbol are never sent across each other; symbols do not wait
for one another. Settling an unknown outcome is a task of its own: it never holds a stop up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import PerpdeskError
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
SETTLE_AGAIN_MS = 2_000
# The fills of a market order that the stream does not tell are read after this, and again.
LISTEN_MS, LISTENS_MAX = 1_000, 20
# A cancel that is answered "unknown order" is tried again for so long, unless a fact tells the order's end.
DENIED_MS, DENIED_AGAIN_MS = 60_000, 2_000

WOULD_TRIGGER: Final = -2021
REDUCE_REFUSED: Final = -2022
OUTSIDE_BAND: Final = -4131


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


# Asked right before an order that increases exposure is sent: None, or why not.
WireJudge = Callable[[NewOrder], str | None]


@dataclass(slots=True)
class Sent:
    """An order of ours. left: lots that no fill has told of; was_triggered: it works as a market order."""

    order: NewOrder
    tag: int
    left: int
    sent_ms: int = 0
    was_triggered: bool = False


@dataclass
class Line:
    """What stands at the venue for one place, besides the order that the executor holds for open.

    flying: sent, its answer has not come. leaving: to be cancelled until they are seen gone. doubts: sent,
    and not known whether they exist. refusals: in a row; the next try waits until wait_until_ms.
    """

    flying: NewOrder | None = None
    denied_ms: dict[str, int] = field(default_factory=dict)  # cancels that were answered "unknown order"

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
        self._aside: set[Place] = set()
        self._failed: asyncio.Future[None] | None = None
        self._is_shut = False

    # -- the engine's side -------------------------------------------------------------------

    async def sync(self, v: int, s: int, now_ms: int) -> None:
        self._wakes[s].set()
        if self.venue.traits.watches_levels:
            await self.venue.watch(s, *doors.levels(self.books.heads, s))

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
        line.leaving = [one for one in line.leaving if one.client_id != client_id]
        if (held := self.open.get(place)) is not None and held.client_id == client_id:
            del self.open[place]
            self.mirror[place].kind = NONE
        self.wake(order.symbol)
        return order

    async def entry_over(self, order: NewOrder) -> None:
        """An entry order has ended: without a fill its position never was."""
        await self._entry_dead(order)

    def end_position(self, v: int, s: int) -> None:
        """A position is flat: its code is history, unless an entry of it may still fill."""
        line = self.lines.get((v, s, SLOT_ENTRY))
        may_fill = line is not None and (line.flying is not None or not line.is_quiet)
        if not may_fill and (v, s, SLOT_ENTRY) not in self._aside and (v, s, SLOT_ENTRY) not in self.open:
            super().end_position(v, s)

    def forget_symbol(self, s: int) -> list[NewOrder]:
        """The exchange cancelled every order of a symbol; doubts stay until they are proven."""
        gone = super().forget_symbol(s)
        for place, line in self.lines.items():
            if place[1] == s:
                gone += line.leaving
                line.leaving = []
        return gone

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

    def doubt(self, order: NewOrder, fence_ms: int, tag: int) -> None:
        """It is not known whether this order of an earlier process exists: find out."""
        self.venue.adopt(order)
        self.orders[order.client_id] = Sent(order, tag, order.lots)
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
            again_ms = await self.carry(s)
            if again_ms is not None:
                self._spawn(self._wake_at(s, again_ms))

    async def _wake_at(self, s: int, ms: int) -> None:
        await self.clock.sleep_until(ms)
        self._wakes[s].set()

    async def carry(self, s: int) -> int | None:
        """One pass over a symbol, exits and stops first, entries last. When to look again, None: if woken."""
        again: list[int] = []
        for is_exposure in (False, True):
            for v in range(len(self.sleeves)):
                count = doors.differences(self.books.slots, self.mirror, v, s, self._changed)
                for k in sorted(self._changed[:count].tolist(), key=_urgency):
                    if self._increases(v, s, k) is is_exposure:
                        again += await self._tend((v, s, k))
        for place, line in list(self.lines.items()):
            if place[1] != s or not line.leaving:
                continue
            protects = self.books.slots[place].kind >= STOP
            stop = (place[0], s, SLOT_STOP)
            stop_stands = self.books.slots[stop].kind < STOP or self._agrees(stop)
            if protects and not (stop_stands and self._agrees(place) and not self._entry_works(place[0], s)):
                # What is wanted does not stand yet; or the entry has filled beyond what we heard, and only
                # the old stop covers that.
                again.append(self.clock.now_ms() + AGAIN_MS)
                continue
            again += await self._take_back(line)
        return min(again) if again else None

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

    async def _tend(self, place: Place) -> list[int]:
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
            if line.doubts or place in self._aside:
                return []
            if slot.reduce_only:
                return await self._send(place)
            self._aside.add(place)  # what fills of it before its answer must not wait for its stop
            self._spawn(self._send_aside(place))
            return []
        if slot.kind == MARKET:
            if held is not None and (held.kind == MARKET or self._was_triggered(held)):
                return []  # it works; its fills, or its end, will wake us
            return [] if line.doubts else await self._send(place)
        if len(line.doubts) >= DOUBTS_MAX:
            return []
        return await self._send(place)

    def _leave(self, place: Place) -> None:
        held = self.open.pop(place, None)
        if held is not None:
            self._line(place).leaving.append(held)
            self.mirror[place].kind = NONE

    async def _send_aside(self, place: Place) -> None:
        """Send an order that increases exposure while the symbol's worker goes on."""
        try:
            slot = self.books.slots[place]
            again = await self._send(place) if slot.kind != NONE and not slot.reduce_only else []
        finally:
            self._aside.discard(place)
        self.wake(place[1])
        for ms in again:
            self._spawn(self._wake_at(place[1], ms))

    async def _send(self, place: Place) -> list[int]:
        v, s, k = place
        now_ms = self.clock.now_ms()
        slot = self.books.slots[place]
        position = self.books.positions[v, s]
        opening = k == SLOT_ENTRY and position.lots == 0
        if opening and self.codes.get((v, s)) in self.filled:
            super().end_position(v, s)  # flat since: only the rest of its entry was waited for
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
        if opening and (problem := await self.venue.prepare(order)) is not None:
            await self._not_sent(order, opening, problem)
            return []
        if opening and not await self._is_written(order, now_ms):
            return []
        if not order.reduce_only and (refusal := self.judge(order)) is not None:
            # what was written down meanwhile was not sent: it is dead
            await self._dead(order, opening, f"not sent: {refusal}")
            return []
        self.sent += 1
        line = self._line(place)
        line.flying = order
        self.recorder.order_flying(order, code, tag, now_ms)
        answer = await self.venue.place(order)
        line.flying = None
        self.on_sent(order, answer, self.clock.now_ms())
        return await self._answered(order, tag, opening, answer)

    async def _is_written(self, order: NewOrder, now_ms: int) -> bool:
        """The intent is durable; False if it is not, and then nothing is sent."""
        v, s = order.sleeve, order.symbol
        code = self.codes[v, s]
        try:
            taken = await self.owns(order)
            if taken is not None:
                LOG.info("%s is not sent: %s", order.client_id, taken)
            elif await self.recorder.entry_approved(self._entry(v, s, code, order, now_ms), order):
                return True
        except StoreFailed as error:
            self.on_store_failed(error)
            LOG.warning("the entry %s is not sent: %s", order.client_id, error)
        self._give_up(order)
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
            if opening:
                await self.recorder.entry_unknown(order.client_id, answer.fence_ms, now_ms)
            self._spawn(self._settle(order, answer.fence_ms))
            line.wait_until_ms = now_ms + AGAIN_MAX_MS
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
        if answer.code == OUTSIDE_BAND and order.kind == MARKET:
            limited = self._order(v, s, k, self.codes[v, s])
            self.orders[limited.client_id] = Sent(limited, tag, limited.lots)
            reply = await self.venue.limit_ioc(s, limited.client_id, limited.side, limited.lots)
            if reply.outcome is not Outcome.REFUSED:
                return await self._answered(limited, tag, False, reply)
            self.orders.pop(limited.client_id, None)
        line.wait_until_ms = now_ms + min(AGAIN_MAX_MS, AGAIN_MS << min(line.refusals - 1, 3))
        return [line.wait_until_ms]

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
        if opening:
            self.codes.pop((order.sleeve, order.symbol), None)

    async def _dead(self, order: NewOrder, opening: bool, why: str) -> None:
        """Proven: this order does not exist and never will."""
        LOG.info("%s is dead: %s", order.client_id, why)
        self.recorder.order_refused(order, why, self.clock.now_ms())
        self._give_up(order)
        if opening:
            await self._entry_dead(order)

    async def _entry_dead(self, order: NewOrder) -> None:
        named, place = parse(order.client_id), (order.sleeve, order.symbol)
        code = "" if named is None else named.position_code
        if code in self.filled or not self.recorder.knows(code):
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

    async def _take_back(self, line: Line) -> list[int]:
        """Cancel what is to leave. What is not seen gone is tried again."""
        again: list[int] = []
        for order in list(line.leaving):
            if order not in line.leaving:
                continue  # its end was told meanwhile
            answer = await self.venue.cancel(order.symbol, order.client_id)
            if answer.outcome is Outcome.UNKNOWN:
                again.append(self.clock.now_ms() + AGAIN_MS)
                continue
            taken = answer.outcome is Outcome.ACCEPTED
            now_ms = self.clock.now_ms()
            if not taken and now_ms - line.denied_ms.setdefault(order.client_id, now_ms) < DENIED_MS:
                # "unknown order" proves nothing: it may not be visible yet. A fact tells, or the next try
                again.append(now_ms + DENIED_AGAIN_MS)
                continue
            line.denied_ms.pop(order.client_id, None)
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
        for _ in range(LISTENS_MAX):
            await self.clock.sleep_until(self.clock.now_ms() + LISTEN_MS)
            if order.client_id not in self.orders:
                return
            self.venue.catch_up()

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
            self.venue.catch_up()
            if opening:
                slot = self.books.slots[place]
                if slot.kind == MARKET and slot.side == order.side:
                    slot.kind = NONE
            return
        slot = self.books.slots[place]
        wanted = bool(slot.kind == order.kind and slot.side == order.side)
        if not order.reduce_only:
            wanted = wanted and bool(slot.price == order.price)
        # one that protects stands, whatever its size, until a better one does
        if self.open.get(place) is None and wanted:
            await self._accepted(order, tag, now_ms)
        else:
            self._line(place).leaving.append(order)

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
