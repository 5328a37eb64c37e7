"""Starts grids between two steps: offers and states in, plans into the states out.

The same object stands beside the compiled loop, the engine and the executor command, so that a run starts at
the same minute in all of them. It knows only what has been confirmed by the time it looks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from perpdesk.kernel.records import FAR, MINUTE_MS
from perpdesk.strategies.grid.chain import Offer, Story
from perpdesk.strategies.grid.machine import IDLE
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import Market, Plan
from perpdesk.strategies.grid.start import GO, NO_SIGNAL, NOT_IDLE, Rules, View, may_start_run
from perpdesk.strategies.grid.strategy import order_start

_STARTING = -1  # a state that is not idle any more


@dataclass(frozen=True)
class Start:
    """A run that was begun: when, on which symbol, on which offer, with which plan."""

    ms: int
    symbol: int
    offer: Offer
    plan: Plan


@dataclass(frozen=True)
class Lane:
    """One symbol: how its grids are made and the offers that come. tick: price units per tick."""

    params: ExecutorParams
    market: Market
    tick: int
    offers: tuple[Offer, ...]


@dataclass
class Conductor:
    """lanes: one per symbol of the universe. due_ms: the end of the step at which it wants to look next.

    ends: when and why the runs have ended that another one of their symbol came after, by their place in
    starts; of a symbol's last run its state tells.
    """

    lanes: list[Lane]
    rules: Rules
    due_ms: int = 0
    stories: list[Story] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    _left: list[list[Offer]] = field(default_factory=list)
    _used: set[str] = field(default_factory=set)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._left = [sorted(lane.offers, key=lambda one: -one.confirmed_ms) for lane in self.lanes]

    def look(self, now_ms: int, states: np.recarray, heads: np.recarray, cash_e8: int) -> None:
        """Decide at the end of a step. states [N]; heads [N] of the sleeve."""
        busy = int(((states["grid"] != IDLE) | (states["go"] != 0)).sum())
        soon_ms = FAR
        for s, lane in enumerate(self.lanes):
            left = self._left[s]  # the next one stands last
            while left and left[-1].signal.expires_ms <= now_ms:
                left.pop()
            usable = [one for one in left[-8:] if one.usable_at(now_ms) and one.signal.id not in self._used]
            later = min((one.confirmed_ms for one in left[-8:] if one.confirmed_ms > now_ms), default=FAR)
            soon_ms = min(soon_ms, later, now_ms + MINUTE_MS if usable else FAR)
            if usable and heads[s].entries_on:
                busy += self._start(now_ms, s, lane, usable, states[s], heads[s], busy, cash_e8)
        self.due_ms = soon_ms

    def _start(
        self,
        now_ms: int,
        s: int,
        lane: Lane,
        usable: list[Offer],
        state: np.record,
        head: np.record,
        busy: int,
        cash_e8: int,
    ) -> int:
        view = View(
            now_ms=now_ms,
            last=int(head.last) // lane.tick,
            grid=_STARTING if state.go else int(state.grid),
            offers=usable,
            ended_ms=int(state.ended_ms),
            end_reason=int(state.reason),
            runs=busy,
            balance_e8=cash_e8,
        )
        answer = may_start_run(view, self.rules, lane.params, lane.market)
        if answer.reason == GO:
            assert answer.plan is not None
            assert answer.offer is not None
            before = [number for number, start in enumerate(self.starts) if start.symbol == s]
            if before:
                self.ends[before[-1]] = int(state.ended_ms), int(state.reason)
            order_start(state, in_units(answer.plan, lane.tick))
            self._used.add(answer.offer.signal.id)
            self.starts.append(Start(now_ms, s, answer.offer, answer.plan))
            return 1
        if answer.reason not in (NOT_IDLE, NO_SIGNAL):
            key = (answer.reason, usable[0].signal.id)
            if key not in self._told:
                self._told.add(key)
                self.refused[answer.reason] += 1
        return 0


def in_units(plan: Plan, tick: int) -> Plan:
    """A plan in ticks as one in price units."""
    if tick == 1:
        return plan
    return replace(
        plan,
        a0=plan.a0 * tick,
        step=plan.step * tick,
        prices=tuple(price * tick for price in plan.prices),
        levels=tuple(
            replace(level, entry=level.entry * tick, exit=level.exit * tick) for level in plan.levels
        ),
        lo_stop=None if plan.lo_stop is None else plan.lo_stop * tick,
        hi_stop=None if plan.hi_stop is None else plan.hi_stop * tick,
    )
