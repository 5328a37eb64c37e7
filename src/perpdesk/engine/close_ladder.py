"""Other ways where an exit or a trailing stop is refused (reliability.md R12). All of them are reduce-only.

A trailing order whose activation price is past already: without one, it follows from here on. A market exit
outside the price band: a limit at its edge, at once or not at all. In the way of somebody else's orders
(-4118: the exchange counts what rests on our side against the position): as many lots as there is room for,
and where there is none, a conditional order right at the market. It is judged when it triggers and not when
it is placed, so resting orders do not stop it. The orders of others are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from perpdesk.kernel.records import MARKET, STOP, TRAILING
from perpdesk.ports import Answer, LiveVenue, NewOrder, Outcome

WOULD_TRIGGER: Final = -2021
OUTSIDE_BAND: Final = -4131
IN_THE_WAY: Final = -4118
# A conditional exit stands for so long, and so far from the mark; then the plain one is tried again.
STANDS_MS, STANDS_PPM, LOOK_MS = 10_000, 1_000, 1_000
_PPM = 1_000_000

# Makes the next attempt of an order's leg, known to whoever hears of its fills before its answer.
Attempt = Callable[[NewOrder], NewOrder]


@dataclass
class CloseLadder:
    """ticks, lots_min: by symbol."""

    venue: LiveVenue
    ticks: Sequence[int]
    lots_min: Sequence[int]

    async def down(
        self, order: NewOrder, code: int | None, attempt: Attempt
    ) -> tuple[NewOrder, Answer] | None:
        """Try the next ways after an order was refused. The first that was not refused, with its answer;
        None: there is none now."""
        if order.kind == TRAILING and code == WOULD_TRIGGER and order.activation:
            return await self._sent(attempt(replace(order, activation=0)))
        if order.kind != MARKET:
            return None
        if code == OUTSIDE_BAND:
            limited = attempt(order)
            answer = await self.venue.limit_ioc(limited.symbol, limited.client_id, limited.side, limited.lots)
            return None if answer.outcome is Outcome.REFUSED else (limited, answer)
        return await self._beside(order, attempt) if code == IN_THE_WAY else None

    async def _beside(self, order: NewOrder, attempt: Attempt) -> tuple[NewOrder, Answer] | None:
        lots = order.lots // 2
        while lots >= max(1, self.lots_min[order.symbol]):
            part = attempt(replace(order, lots=lots))
            answer = await self.venue.place(part)
            if answer.outcome is not Outcome.REFUSED:
                return part, answer
            if answer.code != IN_THE_WAY:
                return None
            lots //= 2
        price = self.at_market(order)
        if price <= 0:
            return None
        return await self._sent(attempt(replace(order, kind=STOP, price=price)))

    async def _sent(self, order: NewOrder) -> tuple[NewOrder, Answer] | None:
        answer = await self.venue.place(order)
        return None if answer.outcome is Outcome.REFUSED else (order, answer)

    def at_market(self, order: NewOrder) -> int:
        """The trigger next to the mark; 0 while no mark is known."""
        mark, tick = self.venue.mark(order.symbol)[0], self.ticks[order.symbol]
        if mark <= 0:
            return 0
        return (mark - 1) // tick * tick if order.side < 0 else (mark // tick + 1) * tick

    def is_near(self, order: NewOrder, age_ms: int) -> bool:
        """Does a conditional exit still stand where it should, and not for too long?"""
        mark = self.venue.mark(order.symbol)[0]
        return age_ms < STANDS_MS and (mark <= 0 or abs(mark - order.price) * _PPM <= mark * STANDS_PPM)
