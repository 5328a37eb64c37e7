"""One grid, replayed from its start on the engine and the simulated venue.

A paper run keeps no memory between two calls: its bars, its plan and what was told to it (a close, the
account's switch) give the same orders and fills every time, so a crash anywhere is a replay.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from perpdesk.app import Desk, Market, Setup, desk, sleeves_of, with_funding
from perpdesk.config import grid_records
from perpdesk.domain.errors import InternalError
from perpdesk.engine.recorder import Booked, Entry, Forgetful
from perpdesk.grid_desk.place import Place
from perpdesk.kernel.records import FAR, MINUTE_MS, SLOT_OWN, tag_name
from perpdesk.kernel.replay import new_books, new_mind
from perpdesk.ports import NewOrder, StepOver
from perpdesk.research import grid_run
from perpdesk.strategies.grid.conduct import in_units
from perpdesk.strategies.grid.machine import EVENT_NAMES, IDLE, STATE_NAMES
from perpdesk.strategies.grid.plan import Level, Plan
from perpdesk.strategies.grid.stops import equity_e8
from perpdesk.strategies.grid.strategy import order_start

Words = list[dict[str, Any]]
ENTRY, EXIT, CLOSE = "ENTRY", "EXIT", "CLOSE"


@dataclass
class Sent:
    """An order of the run as it stands."""

    order: NewOrder
    level: int
    intent: str
    sent_ms: int
    updated_ms: int
    cum_lots: int = 0
    status: str = "NEW"
    terminal: bool = False


@dataclass
class Filled:
    """A fill of the run. money in 1e-8 of the quote currency."""

    trade_id: int
    client_id: str
    level: int
    side: int
    lots: int
    price: int
    fee_e8: int
    realised_e8: int
    is_maker: bool
    reason: str
    ms: int


@dataclass
class Ledger(Forgetful):
    """The recorder of a replay: orders and fills with the levels that they belong to."""

    plan: Plan
    sent: dict[str, Sent] = field(default_factory=dict)
    filled: list[Filled] = field(default_factory=list)
    funding: list[tuple[int, int]] = field(default_factory=list)

    def _place_of(self, order: NewOrder) -> tuple[int, str]:
        if order.slot < SLOT_OWN:
            return 0, CLOSE
        level: Level = self.plan.levels[order.slot - SLOT_OWN]
        return level.number, ENTRY if order.side == level.kind else EXIT

    async def entry_approved(self, entry: Entry, order: NewOrder) -> bool:
        raise InternalError("a grid opens from its levels, not through the gate")

    async def order_sent(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        level, intent = self._place_of(order)
        self.sent[order.client_id] = Sent(order, level, intent, ms, ms)

    async def order_gone(self, order: NewOrder, reason: str, ms: int) -> None:
        known = self.sent.get(order.client_id)
        if known is not None and not known.terminal:
            known.status, known.terminal, known.updated_ms = "CANCELED", True, ms

    async def booked(self, booked: Booked) -> None:
        fill = booked.fill
        known = self.sent.get(booked.client_id)
        if known is not None:
            known.cum_lots += int(fill["lots"])
            known.updated_ms = int(fill["ms"])
            known.terminal = known.cum_lots >= known.order.lots
            known.status = "FILLED" if known.terminal else "PARTIALLY_FILLED"
        self.filled.append(
            Filled(
                trade_id=len(self.filled) + 1,
                client_id=booked.client_id,
                level=0 if known is None else known.level,
                side=int(fill["side"]),
                lots=int(fill["lots"]),
                price=int(fill["price"]),
                fee_e8=int(fill["fee_e8"]),
                realised_e8=int(fill["realised_e8"]),
                is_maker=not fill["taker"],
                reason=tag_name(int(fill["tag"])),
                ms=int(fill["ms"]),
            )
        )

    async def funded(
        self, sleeve: int, symbol: int, position_code: str, rate_e8: int, paid_e8: int, ms: int
    ) -> None:
        self.funding.append((ms, paid_e8))


@dataclass
class Told:
    """What was said to a run, by minute: {"ms", "close": true} or {"ms", "entries": bool}, in order."""

    words: list[dict[str, Any]]
    due_ms: int = 0
    entries: bool = True

    def __post_init__(self) -> None:
        self.due_ms = min((int(word["ms"]) for word in self.words), default=FAR)

    def look(self, now_ms: int, states: np.recarray, heads: np.recarray, cash_e8: int) -> None:
        """Pass on what is due."""
        for word in self.words:
            if int(word["ms"]) <= now_ms:
                if word.get("close"):
                    states["close_asked"] = 1
                if "entries" in word:
                    self.entries = bool(word["entries"])
        self.due_ms = min((int(word["ms"]) for word in self.words if int(word["ms"]) > now_ms), default=FAR)

    async def is_on(self) -> bool:
        """The account's switch as this run was told."""
        return self.entries


@dataclass(frozen=True)
class Lived:
    """A run up to a minute. Prices in price units, money 1e-8; ended_ms: when it was flat and over."""

    state: str
    ledger: Ledger
    ended_ms: int | None
    close_reason: str | None
    to_ms: int
    last: int
    long_lots: int
    short_lots: int
    equity_e8: int
    peak_e8: int
    stop_lo: int
    stop_hi: int
    realised_e8: int
    fees_e8: int
    funding_e8: int
    slots: np.ndarray


async def lived(
    place: Place, plan: Plan, begun_ms: int, to_ms: int, run_id: int, account_id: int, words: Words
) -> Lived:
    """Replay a run that was decided at ``begun_ms`` up to ``to_ms`` (or until it is over). plan: in ticks."""
    one, ledger = _prepared(place, plan, begun_ms, to_ms, run_id, account_id, words)
    state = one.setup.minds[0].states[0]
    async for message in one.venue.messages():
        await one.engine.handle(message)
        if isinstance(message, StepOver):
            one.conduct(message.now_ms)
            if state.grid == IDLE and state.go == 0:
                break
    return _summary(one, ledger, plan, to_ms)


def _prepared(
    place: Place, plan: Plan, begun_ms: int, to_ms: int, run_id: int, account_id: int, words: Words
) -> tuple[Desk, Ledger]:
    config, market = place.loaded.config, place.minutes.market
    first = (begun_ms - place.minutes.start_ms) // MINUTE_MS
    count = (to_ms - begun_ms) // MINUTE_MS
    bars = place.minutes.all_bars[first : first + count].reshape(-1, 1)
    cut = replace(market, warmup=bars[:0], warmup_ms=begun_ms, bars=bars, from_ms=begun_ms)
    sleeve = sleeves_of(place.loaded, [grid_records.NAME])[0]
    cut = with_funding(place.loaded, [sleeve], _funding_after(cut, begun_ms))
    symbols = (place.symbol,)
    maker_ppm, taker_ppm = grid_records.fees_ppm(config)
    instruments = cut.universe.records(maker_ppm=maker_ppm, taker_ppm=taker_ppm)
    sleeve = replace(sleeve, params=grid_records.fitted(config, symbols, instruments, signals_only=True))
    account = grid_records.account_of(config)
    books = new_books(account, sleeve.limits, instruments, grid_run.slots_needed(config, symbols))
    books.heads["last"] = place.minutes.close_at(begun_ms)
    books.heads["step_ms"] = begun_ms
    mind = new_mind(sleeve.strategy, sleeve.params, sleeve.guard, 1)
    order_start(mind.states[0], in_units(plan, int(instruments[0].tick)))
    told = Told(words)
    ledger = Ledger(plan)
    one = desk(
        place.loaded, [grid_records.NAME], cut,
        recorder=lambda setup: ledger, switch=told.is_on, seed=run_id, account_id=account_id,
        prepared=Setup([sleeve], books, [mind], told),
    )  # fmt: skip
    return one, ledger


def _funding_after(market: Market, begun_ms: int) -> Market:
    rows = market.funding[market.funding["ms"] > begun_ms].copy().view(np.recarray)
    return replace(market, funding=rows)


def _summary(one: Desk, ledger: Ledger, plan: Plan, to_ms: int) -> Lived:
    books, mind = one.setup.books, one.setup.minds[0]
    state, position = mind.states[0], books.positions[0, 0]
    rules = mind.params[0]["of"][0]
    last = int(books.heads[0, 0].last)
    held = (int(state.long_lots), int(state.short_lots)) if position.lots else (0, 0)
    base = (
        int(rules["capital_e8"])
        + int(position.realised_e8)
        - int(position.fees_e8)
        + int(position.funding_e8)
    )
    base -= int(np.sign(position.lots)) * int(position.cost_e8)
    over = state.grid == IDLE and state.go == 0
    return Lived(
        state=STATE_NAMES[int(state.grid)],
        ledger=ledger,
        ended_ms=int(state.ended_ms) if over else None,
        close_reason=EVENT_NAMES[int(state.reason)] if over else None,
        to_ms=int(books.heads[0, 0].step_ms),
        last=last,
        long_lots=held[0],
        short_lots=held[1],
        equity_e8=int(equity_e8(base, held[0], held[1], last, int(rules["unit_e8"]), int(rules["exit_ppm"]))),
        peak_e8=int(state.peak_e8),
        stop_lo=int(state.fall_lo),
        stop_hi=int(state.fall_hi),
        realised_e8=int(position.realised_e8),
        fees_e8=int(position.fees_e8),
        funding_e8=int(position.funding_e8),
        slots=books.slots[0, 0].copy(),
    )
