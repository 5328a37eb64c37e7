"""Carries out the plan for the disaster stops, step by step, and says what needs more than that."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perpdesk.engine.guardian.disaster import (
    CODE_EXISTS,
    CODE_WOULD_TRIGGER,
    Act,
    DisasterRule,
    Step,
    plan,
)
from perpdesk.engine.guardian.throttle import FightLimit
from perpdesk.engine.ids import ClientIds
from perpdesk.ports import Answer, Clock, Leg, LiveVenue, OpenOrder, Outcome

LOG = logging.getLogger(__name__)

Key = tuple[int, int]  # symbol, direction


@dataclass(frozen=True, slots=True)
class Tended:
    """What came of one step. answer: to the placing, None if nothing was placed.

    must_close: the price is past the place already, close at the market. is_fight: somebody takes the stop
    away again and again; it was not put back, close or halt by policy.
    """

    step: Step
    answer: Answer | None = None
    must_close: bool = False
    is_fight: bool = False


@dataclass
class DisasterStops:
    """The disaster stops of one account: ``tend`` after every audit, and at once after a first fill."""

    venue: LiveVenue
    ids: ClientIds
    clock: Clock
    rule: DisasterRule
    ticks: Sequence[int]
    fights: FightLimit = field(default_factory=FightLimit)
    codes: dict[Key, str] = field(default_factory=dict)
    placed: int = 0
    _attempts: dict[Key, int] = field(default_factory=dict)
    _stood: set[Key] = field(default_factory=set)

    async def tend(
        self,
        legs: Iterable[Leg],
        orders: Iterable[OpenOrder],
        sleeve_stops: Mapping[Key, Sequence[int]],
        *,
        absent: Iterable[int] = (),
    ) -> list[Tended]:
        """Make the stops stand where they belong. Arguments as in ``disaster.plan``.

        Returns every step that did or found something. Errors of the venue pass through: what was not done
        is found again by the next audit. An UNKNOWN answer is not waited for either: a second stop of one
        direction cannot come into being, the exchange refuses it (-4130), and the one there is adopted.
        """
        legs, orders, flat = list(legs), list(orders), set(absent)
        steps = plan(legs, orders, sleeve_stops, self.ticks, self.rule, absent=flat)
        done: list[Tended] = []
        for step in steps:
            key = (step.symbol, step.direction)
            if step.act is Act.PLACE and key in self._stood and not self.fights.may(key, self.clock.now_ms()):
                done.append(Tended(step, is_fight=True))
                continue
            tended = await self._carry_out(step, orders)
            if tended is not None:
                done.append(tended)
        self._remember(legs, orders, flat)
        return done

    async def _carry_out(self, step: Step, orders: Sequence[OpenOrder]) -> Tended | None:
        for client_id in step.cancel:
            await self.venue.cancel(step.symbol, client_id)
        if step.act not in (Act.PLACE, Act.REPLACE):
            return Tended(step) if step.cancel or step.problem or step.adopted else None
        client_id = self._next_id((step.symbol, step.direction), orders)
        answer = await self.venue.close_position_stop(step.symbol, client_id, step.side, step.price)
        self.placed += answer.outcome is not Outcome.REFUSED
        if answer.outcome is Outcome.REFUSED and answer.code == CODE_EXISTS:
            LOG.info("a disaster stop stands on symbol %d already; the next audit adopts it", step.symbol)
        return Tended(step, answer, must_close=answer.code == CODE_WOULD_TRIGGER)

    def _next_id(self, key: Key, orders: Sequence[OpenOrder]) -> str:
        """A client id that no earlier attempt had, in this process or before."""
        if key not in self.codes:
            self.codes[key] = self.ids.position_code(self.clock.now_ms())
            self._attempts[key] = 0
        attempt = self._attempts[key]
        self._attempts[key] = attempt + 1
        client_id = self.ids.disaster(self.codes[key], attempt)
        if any(order.client_id == client_id for order in orders):
            return self._next_id(key, orders)
        return client_id

    def _remember(self, legs: Sequence[Leg], orders: Sequence[OpenOrder], flat: set[int]) -> None:
        """Which stops were seen standing: only one that was seen, of a leg still held, can be taken."""
        self._stood &= {(leg.symbol, 1 if leg.lots > 0 else -1) for leg in legs if leg.lots != 0}
        for leg in legs:
            if leg.symbol < 0 or leg.lots == 0:
                continue
            direction = 1 if leg.lots > 0 else -1
            if any(o.symbol == leg.symbol and o.close_position and o.side == -direction for o in orders):
                self._stood.add((leg.symbol, direction))
        for key in [key for key in self.codes if key[0] in flat]:
            self.codes.pop(key, None)
            self._attempts.pop(key, None)
            self.fights.forget(key)
