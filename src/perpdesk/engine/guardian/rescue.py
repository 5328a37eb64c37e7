"""What a rescuer must do about an account whose owner is silent: protect, obey, never increase.

It knows no books: a position is safe when a disaster stop (or stops over all of its lots) stands. Entries of
the silent owner are taken back, since nobody would protect what they buy.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.kill import Rung
from perpdesk.engine.guardian.coverage import Coverage, CoverageAudit, sightings
from perpdesk.engine.guardian.disaster import Act, DisasterRule, plan
from perpdesk.engine.guardian.disaster_stops import DisasterStops
from perpdesk.engine.guardian.naked import Escalation, NakedMeter
from perpdesk.engine.ids import LEG_DISASTER, LEG_FLATTEN, ClientIds, parse
from perpdesk.kernel.records import MARKET, NONE, STOP
from perpdesk.ports import Answer, Clock, Leg, LiveVenue, OpenOrder, Outcome

LOG = logging.getLogger(__name__)
# Flat in two reads at least so far apart is flat (rule R8).
FLAT_MS = 2_000


class Rescued(Protocol):
    """What can be asked of the account and done to it: ``adapters/binance/rescue.py``."""

    async def cancel(self, symbol: int, client_id: str) -> Answer: ...

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer: ...

    async def close(self, symbol: int, client_id: str, side: int, lots: int) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Need:
    """What one look found. ``why`` says it for people; empty: nothing is to be done."""

    close: tuple[int, ...] = ()
    take_back: tuple[OpenOrder, ...] = ()
    stops: bool = False
    why: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.close or self.take_back or self.stops)


@dataclass
class Rescue:
    """Looks and acts. ticks: by symbol, as the venue numbers them now."""

    venue: Rescued
    ids: ClientIds
    clock: Clock
    rule: DisasterRule
    meter: NakedMeter = field(default_factory=NakedMeter)
    audit: CoverageAudit = field(default_factory=CoverageAudit)
    names: list[str] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    stops: DisasterStops | None = None
    covers: list[Coverage] = field(default_factory=list)
    _flat_since: dict[int, int] = field(default_factory=dict)

    def look(self, legs: Sequence[Leg], orders: Sequence[OpenOrder], rung: Rung) -> Need:
        """Judge a complete read. Does nothing by itself."""
        now_ms = self.clock.now_ms()
        self.covers = self.audit.judge(legs, sightings(orders, now_ms), now_ms=now_ms)
        why: list[str] = []
        close: set[int] = set()
        naked: set[Hashable] = set()
        for cover in self.covers:
            is_bare = cover.bare_lots > 0
            naked.add(cover.key)
            self.meter.observe(cover.key, cover.bare_lots * max(1, cover.mark_price), now_ms)
            if is_bare:
                why.append(f"{self._name(cover.symbol)} stands without a stop over {cover.bare_lots} lots")
            if cover.must_close:
                why.append(f"a stop of {self._name(cover.symbol)} did not act")
                close.add(cover.symbol)
        self.meter.observed(naked, now_ms)
        for key, what in self.meter.due(now_ms).items():
            if what is Escalation.CLOSE:
                symbol = int(cast(tuple[int, int], key)[0])
                why.append(f"{self._name(symbol)} stood naked too long")
                close.add(symbol)
        held = {leg.symbol for leg in legs if leg.lots and leg.symbol >= 0}
        if rung.closes and held:
            why.append("flatten was said")
            close |= held
        absent = self._absent(held, now_ms)
        take_back = [one for one in orders if self._must_go(one, rung, held, absent)]
        why += [f"{one.client_id} is taken back" for one in take_back]
        steps = plan(legs, orders, self._sleeve_stops(orders), self.ticks, self.rule, absent=absent)
        missing = [step for step in steps if step.act is not Act.KEEP]
        why += [f"the disaster stop of {self._name(step.symbol)}: {step.act.value}" for step in missing]
        return Need(tuple(sorted(close)), tuple(take_back), bool(missing), tuple(why))

    async def act(self, need: Need, legs: Sequence[Leg], orders: Sequence[OpenOrder]) -> None:
        """Do what was found: close first, then stops, then what is to be taken back. Errors are found again
        by the next look."""
        closed = set()
        for leg in legs:
            if leg.symbol in need.close and leg.lots and await self._close(leg):
                closed.add(leg.symbol)
        if need.stops and self.stops is not None:
            self.stops.ticks = self.ticks
            # A closed one needs no stop; what its order left over is found by the next look.
            held = [leg for leg in legs if leg.symbol not in closed]
            absent = [s for s in self._flat_since if self._is_flat(s, self.clock.now_ms())]
            tended = await self.stops.tend(held, orders, self._sleeve_stops(orders), absent=absent)
            for one in tended:
                if one.must_close or one.is_fight:
                    for leg in legs:
                        if leg.symbol == one.step.symbol and leg.lots:
                            await self._close(leg)
        for order in need.take_back:
            try:
                await self.venue.cancel(order.symbol, order.client_id)
            except PerpdeskError as error:
                LOG.warning("%s could not be taken back: %s", order.client_id, error)

    def with_stops(self) -> Rescue:
        """Ready to act, not only to look."""
        self.stops = DisasterStops(cast(LiveVenue, self.venue), self.ids, self.clock, self.rule, self.ticks)
        return self

    async def _close(self, leg: Leg) -> bool:
        code = self.ids.position_code(self.clock.now_ms())
        side = -1 if leg.lots > 0 else 1
        answer = await self.venue.close(leg.symbol, self.ids.guardian(LEG_FLATTEN, code), side, abs(leg.lots))
        if answer.outcome is not Outcome.ACCEPTED:
            LOG.warning("closing %s: %s %s", self._name(leg.symbol), answer.outcome.value, answer.reason)
        return answer.outcome is Outcome.ACCEPTED

    def _must_go(self, order: OpenOrder, rung: Rung, held: set[int], absent: Sequence[int]) -> bool:
        """Ours, and an entry, a take-profit on the rungs that take those back, or left of a flat symbol."""
        named = parse(order.client_id)
        if named is None or named.leg == LEG_DISASTER:  # the plan of the disaster stops minds those
            return False
        if not (order.reduce_only or order.close_position):
            return True
        if order.symbol not in held:
            return order.symbol in absent
        return rung.takes_exits_back and order.kind not in (STOP, MARKET, NONE)

    def _sleeve_stops(self, orders: Sequence[OpenOrder]) -> dict[tuple[int, int], list[int]]:
        found: dict[tuple[int, int], list[int]] = {}
        for order in orders:
            if order.kind == STOP and order.reduce_only and not order.close_position:
                found.setdefault((order.symbol, -order.side), []).append(order.price)
        return found

    def _absent(self, held: set[int], now_ms: int) -> list[int]:
        for s in range(len(self.ticks)):
            if s in held:
                self._flat_since.pop(s, None)
            else:
                self._flat_since.setdefault(s, now_ms)
        return [s for s in self._flat_since if self._is_flat(s, now_ms)]

    def _is_flat(self, s: int, now_ms: int) -> bool:
        since_ms = self._flat_since.get(s)
        return since_ms is not None and now_ms - since_ms >= FLAT_MS

    def _name(self, symbol: int) -> str:
        return self.names[symbol] if 0 <= symbol < len(self.names) else f"symbol {symbol}"


__all__ = ["Need", "Rescue", "Rescued"]
