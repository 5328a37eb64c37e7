"""The guardian's round, every second or two: cover, disaster stops, escalation, the rung of the kill ladder.

It stands behind the sleeves' own stops. It looks at what the stream has told, so it costs the exchange
nothing; the reconciler confirms the same orders over REST.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.kill import Rung
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.guardian.coverage import Claim, Coverage, CoverageAudit, Sighting
from perpdesk.engine.guardian.disaster import (
    CODE_EXISTS,
    CODE_WOULD_TRIGGER,
    Act,
    DisasterRule,
    Problem,
    Step,
    estimated_liquidation,
    plan,
)
from perpdesk.engine.guardian.naked import Escalation, NakedMeter
from perpdesk.engine.guardian.throttle import FightLimit
from perpdesk.engine.ids import LEG_FLATTEN, ClientIds, parse
from perpdesk.engine.live_engine import LiveEngine
from perpdesk.engine.wire import Rungs
from perpdesk.kernel.records import (
    FAR,
    MARKET,
    NONE,
    SLOT_ENTRY,
    STOP,
    TAG_COMMAND,
    TAG_DISASTER_STOP,
    TAG_UNPROTECTED,
)
from perpdesk.ports import Clock, Leg, LiveVenue, NewOrder, OpenOrder, Outcome

LOG = logging.getLogger(__name__)

ROUND_MS = 1_000
# The stream's word for an order is believed for so long without the exchange's list.
CONFIRMED_MS = 180_000
# A disaster stop that was refused or not answered is tried again after this.
DISASTER_AGAIN_MS = 2_000


@dataclass
class Protection:
    """One account's guardian. ``round`` is synchronous; what must be sent, it spawns.

    ticks: by symbol. external_price: entry price of a symbol's external lots, 0 if not known. spawn: runs a
    task under the desk's supervision. reconcile_soon: asks for a reconciliation now.
    """

    engine: LiveEngine
    venue: LiveVenue
    clock: Clock
    ids: ClientIds
    rungs: Rungs
    alarms: Alarms
    rule: DisasterRule
    ticks: Sequence[int]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    reconcile_soon: Callable[[], None]
    meter: NakedMeter = field(default_factory=NakedMeter)
    audit: CoverageAudit = field(default_factory=lambda: CoverageAudit(confirmed_ms=CONFIRMED_MS))
    legs: dict[int, Leg] = field(default_factory=dict)  # as the exchange last showed them
    seen_ms: dict[str, int] = field(default_factory=dict)  # when an order was last confirmed
    disasters: dict[str, OpenOrder] = field(default_factory=dict)  # disaster stops that stand
    shown_ms: int = -1
    fights: FightLimit = field(default_factory=FightLimit)
    rounds: int = 0
    last_ms: int = 0
    _busy: dict[int, int] = field(default_factory=dict)  # symbol → not before (ms)
    _flat_since: dict[int, int] = field(default_factory=dict)
    _rung: Rung = Rung.NORMAL
    _was_reachable: bool = True
    _leaving: set[str] = field(default_factory=set)  # disaster stops that we take back ourselves

    # -- what the desk tells -----------------------------------------------------------------

    def exchange_showed(self, legs: Sequence[Leg], orders: Sequence[OpenOrder]) -> None:
        """A complete REST read of positions and orders."""
        now_ms = self.clock.now_ms()
        self.legs = {leg.symbol: leg for leg in legs if leg.symbol >= 0}
        self.shown_ms = now_ms
        for leg in legs:
            if leg.symbol < 0:
                self.alarms.sound("OUTSIDE_POSITION", f"{leg.name} is held and not in this run", key=leg.name)
        self.orders_showed(orders)

    def orders_showed(self, orders: Sequence[OpenOrder]) -> None:
        """A complete REST read of open orders, whatever became of the positions' one: a stop that stands does
        not stand less because another question was not answered."""
        now_ms = self.clock.now_ms()
        listed = {order.client_id for order in orders}
        for order in orders:
            self.seen_ms[order.client_id] = now_ms
            if order.close_position and order.kind == STOP and order.client_id not in self.disasters:
                self.disasters[order.client_id] = order
        for client_id in [one for one in self.disasters if one not in listed]:
            del self.disasters[client_id]
        self._leaving &= listed
        self.seen_ms = {key: ms for key, ms in self.seen_ms.items() if now_ms - ms < 2 * CONFIRMED_MS}

    def filled(self, v: int, s: int) -> None:
        """A sleeve's position changed: its stop is due, or nothing is."""
        code = self.engine.executor.codes.get((v, s))
        lots = int(self.engine.books.positions[v, s].lots)
        if code is not None and lots != 0:
            self.meter.filled(code, self.clock.now_ms())
        elif code is not None:
            self.meter.flat(code, self.clock.now_ms())

    def disaster_gone(self, client_id: str) -> None:
        """The exchange, or somebody, ended a disaster stop. It is put back, but not for ever (HUM-05)."""
        order = self.disasters.pop(client_id, None)
        if client_id in self._leaving:
            self._leaving.discard(client_id)  # we have asked for it: nobody fights
            return
        if order is None or self.net_lots(order.symbol) == 0:
            return
        if not self.fights.may(order.symbol, self.clock.now_ms()):
            self.alarms.sound(
                "FIGHT_LIMIT", f"the disaster stop of symbol {order.symbol} is taken away again"
            )
            self._close(order.symbol, TAG_UNPROTECTED)

    def disaster_ids(self) -> set[str]:
        """Client ids of ours that stand as disaster stops."""
        return {one for one in self.disasters if parse(one) is not None}

    # -- the round ---------------------------------------------------------------------------

    async def run(self) -> None:
        """A round every second, until cancelled."""
        while True:
            self.round()
            await self.clock.sleep_until(self.clock.now_ms() + ROUND_MS)

    def is_working(self, now_ms: int) -> bool:
        """Does the guardian's own work go on?"""
        return now_ms - self.last_ms < 10 * ROUND_MS

    def round(self) -> list[Coverage]:
        """Look once, and set in motion what is needed."""
        now_ms = self.clock.now_ms()
        self.rounds += 1
        reachable = self.venue.reachable()
        self.meter.reach(reachable, now_ms)
        if reachable and not self._was_reachable:
            self.reconcile_soon()
            for s in range(len(self.ticks)):
                self.engine.delivery.nudge(s)
        self._was_reachable = reachable
        self._obey(self.rungs.now(), now_ms)
        legs = self.book_legs()
        covers = self.audit.judge(legs, self._sightings(now_ms), now_ms=now_ms, claims=self._claims())
        self._read_unheard(legs)
        self._escalate(covers, now_ms)
        self._disasters(legs, now_ms)
        self.last_ms = now_ms
        return covers

    def _read_unheard(self, legs: Sequence[Leg]) -> None:
        """A stop that has triggered, or that the mark has passed, has probably traded. What the stream has
        not told of it is read before anybody believes that it did not act: a close beside it would take
        somebody else's lots."""
        held = {leg.symbol: leg for leg in legs}
        delivery = self.engine.delivery
        suspects = set()
        for order in delivery.held_orders():
            leg, sent = held.get(order.symbol), delivery.orders.get(order.client_id)
            if order.kind != STOP or leg is None or sent is None or not leg.mark_price:
                continue
            if sent.was_triggered or -order.side * (order.price - leg.mark_price) >= 0:
                suspects.add(order.symbol)
        for s in sorted(suspects):
            self.venue.catch_up(s)

    def book_legs(self) -> list[Leg]:
        """What our books hold, as the exchange would show it, with its newest marks."""
        found = []
        for s in range(len(self.ticks)):
            lots = self.net_lots(s)
            if lots == 0:
                continue
            mark = self.venue.mark(s)[0]
            shown = self.legs.get(s)
            entry = self._entry_price(s) or (shown.entry_price if shown is not None else mark)
            direction = 1 if lots > 0 else -1
            same = shown is not None and shown.lots * direction > 0
            liquidation = shown.liquidation_price if shown is not None and same else 0
            if not liquidation:
                liquidation = self._estimated(s, entry, direction)
            margin = shown.margin_e8 if shown is not None and same else 0
            isolated = shown.isolated if shown is not None else None
            found.append(Leg(s, "", lots, entry, mark, liquidation, isolated, margin, self.clock.now_ms()))
        return found

    def net_lots(self, s: int) -> int:
        """What our books hold of a symbol, external lots included."""
        return sum(self.engine.sleeve_lots(s)) + int(self.engine.external[s])

    def unrealised_e8(self) -> int:
        """Of everything held, at the newest marks, beside what the exchange has called realised."""
        total = -int(self.engine.drift_e8.sum())
        for leg in self.book_legs():
            unit = int(self.engine.books.instruments[leg.symbol].unit_e8)
            total += leg.lots * (leg.mark_price - leg.entry_price) * unit if leg.mark_price else 0
        return total

    def _entry_price(self, s: int) -> int:
        """The sleeves' average entry; 0 if none holds."""
        positions = self.engine.books.positions[:, s]
        lots = int(abs(positions["lots"]).sum())
        unit = int(self.engine.books.instruments[s].unit_e8)
        return int(positions["cost_e8"].sum()) // (lots * unit) if lots else 0

    def _estimated(self, s: int, entry: int, direction: int) -> int:
        instrument = self.engine.books.instruments[s]
        leverage = int(self.engine.books.positions["leverage"][:, s].max())
        if leverage <= 0 or entry <= 0:
            return 0
        mmr = int(instrument.bracket_mmr_ppm[0])
        return estimated_liquidation(entry, direction, leverage, mmr)

    def _claims(self) -> list[Claim]:
        engine = self.engine
        return [
            Claim(s, (engine.version_codes[v], code), int(engine.books.positions[v, s].lots))
            for (v, s), code in engine.executor.codes.items()
            if engine.books.positions[v, s].lots != 0
        ]

    def _sightings(self, now_ms: int) -> list[Sighting]:
        """Stops that stand, as far as the stream and our own requests tell."""
        delivery = self.engine.delivery
        found = []
        for order in delivery.held_orders():
            sent = delivery.orders.get(order.client_id)
            if sent is None or order.kind != STOP:
                continue
            status = "TRIGGERING" if sent.was_triggered else "NEW"
            shown = _shown(order, sent.left, status)
            found.append(Sighting(shown, max(sent.sent_ms, self.seen_ms.get(order.client_id, 0))))
        for stop in self.disasters.values():
            found.append(Sighting(stop, max(stop.placed_ms, self.seen_ms.get(stop.client_id, 0))))
        return found

    # -- escalation --------------------------------------------------------------------------

    def _escalate(self, covers: Sequence[Coverage], now_ms: int) -> None:
        keys: set[Any] = set()
        for cover in covers:
            unit = int(self.engine.books.instruments[cover.symbol].unit_e8)
            price = cover.mark_price or int(self.engine.books.heads["last"][:, cover.symbol].max())
            open_lots = max(cover.uncovered_lots, cover.bare_lots)
            keys.add(cover.key)
            # at the first look of a process the position may be older than the process
            since_ms = self._last_fill_ms(cover.symbol) if self.rounds == 1 else None
            self.meter.observe(cover.key, open_lots * price * unit, now_ms, since_ms=since_ms)
            self._acknowledge(cover, now_ms)
            if cover.is_protected:
                self.alarms.clear("UNPROTECTED", str(cover.symbol))
                self.alarms.clear("MUST_CLOSE")
            if cover.must_close:
                self.alarms.sound("MUST_CLOSE", f"a stop of {cover.name or cover.symbol} did not act")
                self._close(cover.symbol, TAG_UNPROTECTED)
        self.meter.observed(keys, now_ms)
        for key, what in self.meter.due(now_ms).items():
            assert isinstance(key, tuple)
            s = int(key[0])
            if what is Escalation.CLOSE:
                self.alarms.sound(
                    "UNPROTECTED", f"symbol {s} stood naked too long: closed at market", key=str(s)
                )
                self._close(s, TAG_UNPROTECTED)
            else:
                self.engine.delivery.nudge(s)

    def _last_fill_ms(self, s: int) -> int | None:
        last = int(self.engine.books.positions["last_fill_ms"][:, s].max())
        return last or None

    def _acknowledge(self, cover: Coverage, now_ms: int) -> None:
        for (v, s), code in self.engine.executor.codes.items():
            if s != cover.symbol:
                continue
            lots = abs(int(self.engine.books.positions[v, s].lots))
            covered = cover.by_owner.get((self.engine.version_codes[v], code), 0)
            if lots and covered >= lots:
                self.meter.acknowledged(code, now_ms)

    def _close(self, s: int, tag: int) -> None:
        """Everything on a symbol out at market: the sleeves', and what nobody owns."""
        for v in range(len(self.engine.sleeves)):
            self.engine.delivery.exit_now(v, s, tag)

    # -- disaster stops ----------------------------------------------------------------------

    def _disasters(self, legs: Sequence[Leg], now_ms: int) -> None:
        held = {leg.symbol for leg in legs}
        for s in range(len(self.ticks)):
            if s in held:
                self._flat_since.pop(s, None)
            else:
                self._flat_since.setdefault(s, now_ms)
        absent = [s for s, since in self._flat_since.items() if self._is_flat(s, since, now_ms)]
        stops: dict[tuple[int, int], list[int]] = {}
        for order in self.engine.delivery.held_orders():
            if order.kind == STOP and order.reduce_only:
                stops.setdefault((order.symbol, -order.side), []).append(order.price)
        steps = plan(legs, self.disasters.values(), stops, self.ticks, self.rule, absent=absent)
        for step in steps:
            if step.problem is not Problem.NONE:
                self.alarms.sound(
                    step.problem.value, f"the disaster stop of symbol {step.symbol}", key=str(step.symbol)
                )
            if step.act is not Act.KEEP and self._busy.get(step.symbol, 0) <= now_ms:
                self._busy[step.symbol] = FAR
                self.spawn(self._carry_out(step))

    def _is_flat(self, s: int, since_ms: int, now_ms: int) -> bool:
        """Flat in our books for a while, and in what the exchange has shown since (R8)."""
        shown = self.legs.get(s)
        return (
            now_ms - since_ms >= DISASTER_AGAIN_MS
            and self.shown_ms > since_ms
            and (shown is None or shown.lots == 0)
        )

    async def _carry_out(self, step: Step) -> None:
        again_ms = 0
        try:
            for client_id in step.cancel:
                self._leaving.add(client_id)
                answer = await self.venue.cancel(step.symbol, client_id)
                if answer.outcome is Outcome.UNKNOWN:
                    again_ms = DISASTER_AGAIN_MS
                    return
                self.disasters.pop(client_id, None)
            if step.act in (Act.PLACE, Act.REPLACE):
                again_ms = await self._place(step)
        except PerpdeskError as error:
            LOG.warning("the disaster stop of symbol %d: %s", step.symbol, error)
            again_ms = DISASTER_AGAIN_MS
        finally:
            self._busy[step.symbol] = self.clock.now_ms() + again_ms

    async def _place(self, step: Step) -> int:
        now_ms = self.clock.now_ms()
        client_id = self.ids.disaster(self.ids.position_code(now_ms), 0)
        answer = await self.venue.close_position_stop(step.symbol, client_id, step.side, step.price)
        if answer.outcome is Outcome.ACCEPTED:
            self.disasters[client_id] = OpenOrder(
                client_id, step.symbol, STOP, step.side, step.price, 0, True, 0, 0, True, True, "NEW",
                self.clock.now_ms(),
            )  # fmt: skip
            return 0
        if answer.code == CODE_WOULD_TRIGGER:
            self.alarms.sound("MUST_CLOSE", f"the price of symbol {step.symbol} is past its disaster stop")
            self._close(step.symbol, TAG_DISASTER_STOP)
        elif answer.code == CODE_EXISTS or answer.outcome is Outcome.UNKNOWN:
            self.reconcile_soon()  # it is there, or may be: read before the next try
        else:
            LOG.warning("the disaster stop of symbol %d was refused: %s", step.symbol, answer.reason)
        return DISASTER_AGAIN_MS

    # -- the kill ladder ---------------------------------------------------------------------

    def _obey(self, rung: Rung, now_ms: int) -> None:
        if rung is not self._rung:
            LOG.warning("the account is at rung %s", rung.name)
            self._rung = rung
        if not rung.takes_entries_back:
            return
        slots, delivery = self.engine.books.slots, self.engine.delivery
        for v in range(slots.shape[0]):
            for s in range(slots.shape[1]):
                changed = False
                for k in range(slots.shape[2]):
                    slot = slots[v, s, k]
                    if slot.kind == NONE or (
                        slot.reduce_only and not self._is_extra_exit(rung, k, slot.kind)
                    ):
                        continue
                    slot.kind, changed = NONE, True
                if changed:
                    delivery.wake(s)
                if rung.closes:
                    delivery.exit_now(v, s, TAG_COMMAND)
        if rung.closes:
            self._flatten_external(now_ms)

    def _is_extra_exit(self, rung: Rung, k: int, kind: int) -> bool:
        """A resting take-profit: taken back at CANCEL. Stops stay until the position is flat."""
        return rung.takes_exits_back and k > SLOT_ENTRY and kind not in (STOP, MARKET)

    def _flatten_external(self, now_ms: int) -> None:
        """Close what nobody owns, one order at a time."""
        for s in range(len(self.ticks)):
            lots = int(self.engine.external[s])
            if lots and not any(self.engine.sleeve_lots(s)) and self._busy.get(-1 - s, 0) <= now_ms:
                self._busy[-1 - s] = FAR
                self.spawn(self._close_external(s, lots))

    async def _close_external(self, s: int, lots: int) -> None:
        try:
            code = self.ids.position_code(self.clock.now_ms())
            side = -1 if lots > 0 else 1
            await self.venue.place(
                NewOrder(
                    self.ids.guardian(LEG_FLATTEN, code), s, -1, -1, MARKET, side, 0, abs(lots), True, 0, 0, 1
                )
            )
        except PerpdeskError as error:
            LOG.warning("external lots of symbol %d could not be closed: %s", s, error)
        finally:
            self._busy[-1 - s] = self.clock.now_ms() + 6_000  # its fill is told before the next try


def _shown(order: NewOrder, left: int, status: str) -> OpenOrder:
    return OpenOrder(
        order.client_id, order.symbol, order.kind, order.side, order.price, left, order.reduce_only,
        order.activation, order.callback_ppm, False, True, status, 0,
    )  # fmt: skip
