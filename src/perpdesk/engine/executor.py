"""Wanted slots against open orders: equal → keep, different → replace, absent → cancel.

The mirror is what we believe is open at the venue, slot by slot. Syncing is a set difference, so doing
it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from perpdesk.domain.errors import InternalError
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.recorder import Entry, Recorder
from perpdesk.engine.sleeve import Sleeve
from perpdesk.kernel import venue as doors
from perpdesk.kernel.records import NONE, SLOT_ENTRY, SLOT_OWN, plan_dt, slot_dt, zeros
from perpdesk.kernel.replay import Books
from perpdesk.ports import NewOrder, Outcome, Venue

Place = tuple[int, int, int]  # sleeve, symbol, slot


PLAN_FIELDS = tuple(plan_dt.names or ())


def plan_json(plan: np.void) -> dict[str, int]:
    """An entry's plan as the books keep it: what a restart goes on from."""
    return {name: int(plan[name]) for name in PLAN_FIELDS}


@dataclass
class Executor:
    """Delivers the wanted orders of all sleeves of one account."""

    books: Books
    sleeves: list[Sleeve]
    venue: Venue
    recorder: Recorder
    ids: ClientIds
    open: dict[Place, NewOrder] = field(default_factory=dict)
    codes: dict[tuple[int, int], str] = field(default_factory=dict)
    filled: set[str] = field(default_factory=set)
    plans: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        v, n, k = self.books.slots.shape
        self.mirror = zeros((v, n, k), slot_dt)
        self._changed = np.zeros(k, np.int64)
        self._attempts: dict[tuple[str, int], int] = {}

    async def sync(self, v: int, s: int, now_ms: int) -> None:
        """Make the venue's orders of one sleeve and symbol equal to the wanted ones."""
        await self.follow_plan(v, s, now_ms)
        await self._sync_orders(v, s, now_ms)
        await self.follow_plan(v, s, now_ms)

    async def follow_plan(self, v: int, s: int, now_ms: int) -> None:
        """An entry in batches has its row from its approval on, and loses its plan when that is over."""
        plan, code = self.books.heads[v, s].plan, self.codes.get((v, s))
        if plan.lots and code is None:
            code = self.ids.position_code(now_ms)
            entry = self._entry(v, s, code, int(plan.side), int(plan.lots), now_ms)
            if await self.recorder.plan_approved(entry, plan_json(plan)):
                self.codes[v, s] = code
                self.plans[v, s] = plan_json(plan)
            else:
                plan.lots = 0
                self.books.slots[v, s, SLOT_ENTRY].kind = NONE
        elif (v, s) in self.plans and code is not None:
            if plan.lots:
                if (seen := plan_json(plan)) != self.plans[v, s]:
                    self.plans[v, s] = seen
                    self.recorder.plan_went_on(code, seen, now_ms)
            elif not self._entry_may_fill(v, s):
                del self.plans[v, s]
                if code in self.filled:
                    self.recorder.plan_over(code, now_ms)
                else:
                    del self.codes[v, s]
                    await self.recorder.entry_dead(code, None, now_ms)

    def resume_plan(self, v: int, s: int, plan: Mapping[str, int]) -> None:
        """Go on with an entry in batches of an earlier process: what has filled since is booked at a step."""
        record = self.books.heads[v, s].plan
        for name in PLAN_FIELDS:
            record[name] = int(plan[name])
        self.books.heads[v, s].next_ms = 0
        self.plans[v, s] = plan_json(record)

    def _entry_may_fill(self, v: int, s: int) -> bool:
        """Is an entry order out?"""
        return (v, s, SLOT_ENTRY) in self.open

    def is_batch(self, v: int, s: int, k: int) -> bool:
        """Does an order of this slot belong to an entry in batches?"""
        return k == SLOT_ENTRY and (v, s) in self.plans

    async def _sync_orders(self, v: int, s: int, now_ms: int) -> None:
        count = doors.differences(self.books.slots, self.mirror, v, s, self._changed)
        for k in self._changed[:count].tolist():
            old = self.open.pop((v, s, k), None)
            if old is not None:
                await self._cancel(old, now_ms)
            if self.books.slots[v, s, k].kind != NONE:
                await self._place(v, s, k, now_ms)
        if self.venue.traits.watches_levels:
            await self.venue.watch(s, *doors.levels(self.books.heads, s))

    async def _cancel(self, order: NewOrder, now_ms: int) -> None:
        answer = await self.venue.cancel(order.symbol, order.client_id)
        self.mirror[order.sleeve, order.symbol, order.slot].kind = NONE
        reason = "CANCELED" if answer.outcome is Outcome.ACCEPTED else f"GONE: {answer.reason}"
        await self.recorder.order_gone(order, reason, now_ms)
        code = self.codes.get((order.sleeve, order.symbol))
        if self.is_batch(order.sleeve, order.symbol, order.slot):
            await self.recorder.batch_dead(order.client_id, now_ms)
        elif order.slot == SLOT_ENTRY and code is not None and code not in self.filled:
            del self.codes[order.sleeve, order.symbol]
            await self.recorder.entry_dead(code, order.client_id, now_ms)

    async def _place(self, v: int, s: int, k: int, now_ms: int) -> None:
        slot = self.books.slots[v, s, k]
        position = self.books.positions[v, s]
        batch = self.is_batch(v, s, k)
        opening = k == SLOT_ENTRY and position.lots == 0 and not batch
        code = self.codes.get((v, s))
        levels = code is None and k >= SLOT_OWN and self.sleeves[v].mind.strategy.opens
        if opening or levels:
            code = self.codes[v, s] = self.ids.position_code(now_ms)
        if code is None:
            raise InternalError(f"an order is wanted for symbol {s} without a position or an approved entry")
        order = self._order(v, s, k, code)
        if batch:
            await self.recorder.batch_approved(code, order, now_ms)
        entry = self._entry(v, s, code, order.side, order.lots, now_ms)
        if opening and not await self.recorder.entry_approved(entry, order):
            slot.kind = NONE
            del self.codes[v, s]
            return
        self.sent += 1
        answer = await self.venue.place(order)
        if answer.outcome is Outcome.ACCEPTED:
            self._is_open(order)
            await self.recorder.order_sent(order, code, int(slot.tag), now_ms)
            return
        if opening and answer.outcome is Outcome.REFUSED:
            slot.kind = NONE
            del self.codes[v, s]
            await self.recorder.entry_dead(code, order.client_id, now_ms)
            return
        if batch and answer.outcome is Outcome.REFUSED:
            slot.kind = NONE
            await self.recorder.batch_dead(order.client_id, now_ms)
            return
        raise InternalError(f"order {order.client_id} {answer.outcome.value}: {answer.reason}")

    def _order(self, v: int, s: int, k: int, code: str) -> NewOrder:
        """The wanted order of a slot, as the next attempt of its leg."""
        slot = self.books.slots[v, s, k]
        attempt = self._attempts.get((code, k), 0)
        self._attempts[code, k] = attempt + 1
        batch = int(self.books.heads[v, s].plan.filled) if self.is_batch(v, s, k) else 0
        return NewOrder(
            client_id=self.ids.order(self.sleeves[v].code, code, k, attempt, batch),
            symbol=s,
            sleeve=v,
            slot=k,
            kind=int(slot.kind),
            side=int(slot.side),
            price=int(slot.price),
            lots=int(slot.lots),
            reduce_only=bool(slot.reduce_only),
            activation=int(slot.activation),
            callback_ppm=int(slot.callback_ppm),
            leverage=int(self.books.positions[v, s].leverage),
        )

    def _is_open(self, order: NewOrder) -> None:
        """The venue has this order now: it is what its slot is compared with."""
        place = (order.sleeve, order.symbol, order.slot)
        self.open[place] = order
        for name in ("kind", "side", "price", "lots", "reduce_only", "activation", "callback_ppm"):
            self.mirror[place][name] = getattr(order, name)

    def _entry(self, v: int, s: int, code: str, side: int, lots: int, now_ms: int) -> Entry:
        position = self.books.positions[v, s]
        return Entry(
            sleeve=v,
            symbol=s,
            position_code=code,
            side=side,
            lots=lots,
            price=int(self.books.heads[v, s].last),
            leverage=int(position.leverage),
            score=float(position.entry_score),
            score_max=float(position.entry_score_max),
            stop_ppm=int(position.entry_stop_ppm),
            timeout_ms=int(position.entry_timeout_ms),
            ms=now_ms,
        )

    def end_position(self, v: int, s: int) -> None:
        """A position is flat and nothing of it is open: its code is history."""
        code = self.codes.pop((v, s), None)
        self.plans.pop((v, s), None)
        if code is not None:
            self.filled.discard(code)

    def follow(self, v: int, s: int, k: int) -> None:
        """After a fill or trigger: the venue's order now is what our own slot was updated to, or gone."""
        slot = self.books.slots[v, s, k]
        mirror = self.mirror[v, s, k]
        mirror.lots = slot.lots
        mirror.kind = slot.kind
        mirror.price = slot.price
        mirror.activation = slot.activation
        mirror.callback_ppm = slot.callback_ppm
        if slot.kind == NONE:
            self.open.pop((v, s, k), None)

    def forget_symbol(self, s: int) -> list[NewOrder]:
        """The exchange cancelled every order of a symbol; answers which ones we thought open."""
        gone = [place for place in self.open if place[1] == s]
        self.mirror["kind"][:, s, :] = NONE
        return [self.open.pop(place) for place in gone]
