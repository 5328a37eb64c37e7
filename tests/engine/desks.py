"""Desks put together by hand: the strategies of tests on the engine and the in-process venue, or on a venue
that only writes down what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.app.markets import configured
from tests.kernel.actors import SCRIPT
from tests.kernel.tables import fill_row, guard_record, script_params, sleeve_records

from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.app import Market, Setup, set_up
from perpdesk.config.load import Loaded
from perpdesk.config.records import Sleeve as Configured
from perpdesk.engine.engine import Engine, Switch, always_on
from perpdesk.engine.executor import Executor
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.recorder import Forgetful, Recorder
from perpdesk.engine.sleeve import Sleeve
from perpdesk.exchange.inprocess import InProcessVenue
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.kernel.records import SLOT_ENTRY
from perpdesk.kernel.replay import Replay, new_mind
from perpdesk.kernel.strategy import Strategy
from perpdesk.ports import Answer, NewOrder, Outcome, StepOver, VenueTraits

ENTER_LONG, ENTER_SHORT, LEAVE = 1, -1, 2
NO_SLIP = "paper.slippage=0"


def scripted(plan: dict[int, int], *, guard: np.recarray | None = None, **params: int) -> Configured:
    """A sleeve that does at its n-th bar what the plan says: ENTER_LONG, ENTER_SHORT or LEAVE."""
    return acted(SCRIPT, script_params(**params), plan=plan, guard=guard)


def acted(
    strategy: Strategy,
    params: np.recarray,
    *,
    guard: np.recarray | None = None,
    plan: dict[int, int] | None = None,
    name: str = "test",
) -> Configured:
    """A sleeve of any strategy. Without a guard no rule protects its positions."""
    sleeve = Configured(name, strategy, params, guard_record() if guard is None else guard, sleeve_records())
    PLANS[id(sleeve.params)] = plan or {}
    return sleeve


PLANS: dict[int, dict[int, int]] = {}


def prepared(market: Market, *sleeves: Configured, loaded: Loaded | None = None) -> Setup:
    """Books and minds, the plans of scripts written into their states."""
    setup = set_up(configured(NO_SLIP) if loaded is None else loaded, list(sleeves), market)
    for sleeve, mind in zip(sleeves, setup.minds, strict=True):
        for t, todo in PLANS[id(sleeve.params)].items():
            mind.states["plan"][:, t] = todo
            mind.states["score"] = 50.0
    return setup


def replayed(market: Market, sleeve: Configured, *, loaded: Loaded | None = None) -> Replay:
    """The compiled loop over the market."""
    setup = prepared(market, sleeve, loaded=loaded)
    replay = Replay(setup.minds[0], setup.books, funding=market.funding)
    replay.feed(market.bars, market.from_ms)
    return replay


@dataclass
class HandDesk:
    """An engine on the in-process venue."""

    setup: Setup
    venue: InProcessVenue
    executor: Executor
    engine: Engine

    @property
    def books(self) -> Any:
        return self.setup.books

    async def run(self, after_step: Callable[[int], None] = lambda now_ms: None) -> list[str]:
        """Trade to the end; answers the fills as text rows."""
        async for message in self.venue.messages():
            await self.engine.handle(message)
            if isinstance(message, StepOver):
                after_step(message.now_ms)
        return self.fills()

    def fills(self) -> list[str]:
        return [fill_row(fill) for fill in self.engine.fills()]


def desk_of(
    market: Market,
    *sleeves: Configured,
    loaded: Loaded | None = None,
    recorder: Recorder | Callable[[Setup], Recorder] | None = None,
    switch: Switch = always_on,
    every_point: bool = False,
    every_answer: Callable[[InProcessVenue], Any] = lambda venue: venue,
) -> HandDesk:
    """As app.desk, for any strategy. every_answer may wrap the venue that orders go to."""
    setup = prepared(market, *sleeves, loaded=loaded)
    books = setup.books
    venue = InProcessVenue(
        account=books.account,
        instruments=books.instruments,
        market=RecordedMinutes(market.chunks(), VirtualClock(market.from_ms), SystemClock()),
        funding=market.funding,
        sleeves=len(sleeves),
        slots=books.slots.shape[2],
        last_prices=books.heads["last"].max(axis=0),
        every_point=every_point,
    )
    members = [Sleeve(v, sleeve.name, f"t{v}", mind) for v, (sleeve, mind) in enumerate(zip(sleeves, setup.minds, strict=True))]
    told = Forgetful() if recorder is None else recorder(setup) if callable(recorder) else recorder
    executor = Executor(books, members, every_answer(venue), told, ClientIds(1, 0))
    return HandDesk(setup, venue, executor, Engine(books, members, executor, told, switch, every_point))


@dataclass
class NotedVenue:
    """A venue that takes every order and writes one row for each request."""

    watches: bool = False
    answers: list[Answer] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    alive: dict[str, NewOrder] = field(default_factory=dict)

    @property
    def traits(self) -> VenueTraits:
        return VenueTraits("noted", self.watches, True)

    def _answer(self) -> Answer:
        return self.answers.pop(0) if self.answers else Answer(Outcome.ACCEPTED)

    async def place(self, order: NewOrder) -> Answer:
        kind = ("-", "MARKET", "LIMIT", "STOP", "TP", "TRAIL")[order.kind]
        side = "BUY" if order.side > 0 else "SELL"
        self.rows.append(f"place s{order.symbol} {order.client_id[-5:]} {kind} {side} {order.lots} @ {order.price}")
        answer = self._answer()
        if answer.outcome is Outcome.ACCEPTED:
            assert order.client_id not in self.alive
            self.alive[order.client_id] = order
        return answer

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.rows.append(f"cancel s{symbol} {client_id[-5:]}")
        self.alive.pop(client_id, None)
        return self._answer()

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        self.rows.append(f"watch s{symbol} {fire_lo} {fire_hi} {peak_lo} {peak_hi}")

    def said(self) -> list[str]:
        """What was asked for since the last time."""
        rows, self.rows = self.rows, []
        return rows


def entry_of(books: Any, s: int = 0, v: int = 0) -> Any:
    return books.slots[v, s, SLOT_ENTRY]
