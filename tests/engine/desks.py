"""Desks put together by hand: the strategies of tests on the engine and the in-process venue, or on a venue
that only writes down what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tests.app.markets import configured
from tests.kernel.actors import ACTOR
from tests.kernel.tables import fill_row, guard_record, script_params, sleeve_records

from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.app import Market, Setup, set_up
from perpdesk.config.load import Loaded
from perpdesk.config.records import Sleeve as Configured
from perpdesk.engine.engine import Engine, Switch, always_on
from perpdesk.engine.executor import Executor
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.recorder import Booked, Entry, Forgetful, Recorder
from perpdesk.engine.sleeve import Sleeve
from perpdesk.exchange.inprocess import InProcessVenue
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.kernel.records import VERDICT_NAMES
from perpdesk.kernel.replay import Replay
from perpdesk.kernel.strategy import Strategy
from perpdesk.ports import Answer, NewOrder, Outcome, StepOver, VenuePosition, VenueTraits

ENTER_LONG, ENTER_SHORT, LEAVE = 1, -1, 2
NO_SLIP = "paper.slippage=0"


@dataclass(frozen=True)
class Acting(Configured):
    """A sleeve of a test's strategy, and what its symbols' states begin with."""

    plan: Mapping[int, int] = field(default_factory=dict)
    seed: int = 0

    def begin(self, states: np.recarray) -> None:
        """Write the plan (score 50 of 100) or the seed into fresh states."""
        if "plan" in (states.dtype.names or ()):
            states["score"] = 50.0
            for t, todo in self.plan.items():
                states["plan"][:, t] = todo
        else:
            states["seed"] = self.seed + np.arange(len(states))


def scripted(plan: Mapping[int, int], *, guard: np.recarray | None = None, **params: int) -> Acting:
    """A sleeve that does at its n-th bar what the plan says: ENTER_LONG, ENTER_SHORT or LEAVE."""
    return acted(ACTOR, script_params(**params), plan=plan, guard=guard)


def acted(
    strategy: Strategy,
    params: np.recarray,
    *,
    guard: np.recarray | None = None,
    plan: Mapping[int, int] | None = None,
    seed: int = 0,
    cooldown_ms: int = 0,
) -> Acting:
    """A sleeve of any strategy. Without a guard no rule protects its positions."""
    limits = sleeve_records(cooldown_ms=cooldown_ms)
    return Acting(
        "test", strategy, params, guard_record() if guard is None else guard, limits, plan or {}, seed
    )


def prepared(market: Market, *sleeves: Acting, loaded: Loaded | None = None) -> Setup:
    """Books and minds, the plans of scripts written into their states."""
    setup = set_up(configured(NO_SLIP) if loaded is None else loaded, list(sleeves), market)
    for sleeve, mind in zip(sleeves, setup.minds, strict=True):
        sleeve.begin(mind.states)
    return setup


def replayed(market: Market, sleeve: Acting, *, loaded: Loaded | None = None) -> Replay:
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
    *sleeves: Acting,
    loaded: Loaded | None = None,
    recorder: Recorder | Callable[[Setup], Recorder] | None = None,
    switch: Switch = always_on,
    every_point: bool = False,
) -> HandDesk:
    """As app.desk, for any strategy."""
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
    members = [Sleeve(v, sleeves[v].name, f"t{v}", mind) for v, mind in enumerate(setup.minds)]
    told = Forgetful() if recorder is None else recorder(setup) if callable(recorder) else recorder
    executor = Executor(books, members, venue, told, ClientIds(1, 0))
    return HandDesk(setup, venue, executor, Engine(books, members, executor, told, switch, every_point))


def leg(client_id: str) -> str:
    """Leg and attempt of a client id: ``xs-0``."""
    return client_id.split("-", 3)[3]


def row_of(order: NewOrder) -> str:
    """An order as a text row."""
    kind = ("-", "MARKET", "LIMIT", "STOP", "TP", "TRAIL")[order.kind]
    side = "BUY" if order.side > 0 else "SELL"
    price = f" @ {order.price}" if order.price else ""
    return f"s{order.symbol} {leg(order.client_id)} {kind} {side} {order.lots}{price}"


@dataclass
class NotedVenue:
    """A venue that takes every order (or answers as it is told) and writes one row for each request."""

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
        self.rows.append(f"place {row_of(order)}")
        answer = self._answer()
        if answer.outcome is Outcome.ACCEPTED:
            assert order.client_id not in self.alive
            self.alive[order.client_id] = order
        return answer

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.rows.append(f"cancel s{symbol} {leg(client_id)}")
        self.alive.pop(client_id, None)
        return self._answer()

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        self.rows.append(f"watch s{symbol} {fire_lo} {fire_hi} {peak_lo} {peak_hi}")

    async def open_client_ids(self, symbol: int) -> set[str]:
        return {order.client_id for order in self.alive.values() if order.symbol == symbol}

    async def positions(self) -> list[VenuePosition]:
        return []

    async def wallet_e8(self) -> int:
        return 0

    def said(self) -> list[str]:
        """What was asked for since the last time."""
        rows, self.rows = self.rows, []
        return rows


@dataclass
class NotedRecorder(Forgetful):
    """Writes one row for each fact. refuses: symbols whose entries the books of record turn down."""

    refuses: frozenset[int] = frozenset()
    rows: list[str] = field(default_factory=list)

    async def entry_approved(self, entry: Entry, order: NewOrder) -> bool:
        taken = order.symbol in self.refuses
        self.rows.append(f"{'refused' if taken else 'approved'} {row_of(order)}")
        return not taken

    async def entry_refused(self, sleeve: int, symbol: int, side: int, verdict: int, ms: int) -> None:
        self.rows.append(f"no s{symbol} {VERDICT_NAMES[verdict]}")

    async def entry_dead(self, position_code: str, client_id: str, ms: int) -> None:
        self.rows.append(f"dead {leg(client_id)}")

    async def order_sent(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        self.rows.append(f"sent {row_of(order)}")

    async def order_gone(self, order: NewOrder, reason: str, ms: int) -> None:
        self.rows.append(f"gone {leg(order.client_id)} {reason}")

    async def booked(self, booked: Booked) -> None:
        fill = booked.fill
        end = " opened" if booked.opened else " closed" if booked.closed else ""
        self.rows.append(f"booked s{fill['symbol']} {fill['lots']} @ {fill['price']}{end}")
