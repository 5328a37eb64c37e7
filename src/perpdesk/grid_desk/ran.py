"""The runs of a backtest, one by one: from which signal, until when, why it ended, what it made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from perpdesk.app import Market, Setup
from perpdesk.kernel.records import SLOT_OWN
from perpdesk.strategies.grid.conduct import Conductor, Start
from perpdesk.strategies.grid.machine import EVENT_NAMES, IDLE
from perpdesk.strategies.grid.plan import LONG, SHORT, grid_step, make_plan

OPEN = "OPEN"


@dataclass(frozen=True)
class Ran:
    """One run. ended_ms: None while it is open. net_e8: cash made, with fees and funding (open: so far).

    exits: fills of counter orders, each the end of a level's round trip (or of a part of it).
    """

    start: Start
    ended_ms: int | None
    reason: str
    fills: int
    exits: int
    net_e8: int


def runs_of(setup: Setup, fills: np.recarray) -> list[Ran]:
    """The runs that were begun on signals, in order; [] for runs back to back, which nobody begins."""
    conductor = setup.conductor
    if not isinstance(conductor, Conductor):
        return []
    found = []
    for number, start in enumerate(conductor.starts):
        state = setup.minds[0].states[start.symbol]
        ended_ms, reason = conductor.ends.get(number, (int(state.ended_ms), int(state.reason)))
        is_open = number not in conductor.ends and int(state.grid) != IDLE
        mine = fills["symbol"] == start.symbol
        until_ms = np.iinfo(np.int64).max if is_open else ended_ms
        own = np.flatnonzero(mine & (fills["ms"] > start.ms) & (fills["ms"] <= until_ms))
        kinds = {SLOT_OWN + place: level.kind for place, level in enumerate(start.plan.levels)}
        found.append(
            Ran(
                start=start,
                ended_ms=None if is_open else ended_ms,
                reason=OPEN if is_open else EVENT_NAMES[reason],
                fills=len(own),
                exits=sum(int(fills["side"][i]) == -kinds.get(int(fills["slot"][i]), 0) for i in own),
                net_e8=_made(setup, fills, own),
            )
        )
    return found


def _made(setup: Setup, fills: np.recarray, own: np.ndarray) -> int:
    """What the cash grew by from before the run's first fill to its last."""
    if not len(own):
        return 0
    first, last = int(own[0]), int(own[-1])
    before = int(fills["cash_e8"][first] - fills["realised_e8"][first] + fills["fee_e8"][first])
    if setup.books.positions.shape[1] == 1:
        return int(fills["cash_e8"][last]) - before
    return int((fills["realised_e8"][own] - fills["fee_e8"][own]).sum())  # others' cash is in between


def refused_plans(setup: Setup, close_at: Callable[[int], int]) -> dict[str, str]:
    """What stood in the way of a grid on the newest signals, by code, in the words of its plan."""
    conductor, found = setup.conductor, dict[str, str]()
    if not isinstance(conductor, Conductor):
        return found
    for lane, story in zip(conductor.lanes, conductor.stories, strict=True):
        for offer in reversed(story.offers):
            a0 = close_at(offer.confirmed_ms) // lane.tick
            step = int(grid_step(offer.scan.atr, lane.params.atr_multiplier_ppm, 1))
            zone, variant = offer.signal.zone, LONG if offer.signal.side > 0 else SHORT
            plan = make_plan(variant, a0, step, zone.lo, zone.hi, lane.params, lane.market)
            for refusal in plan.refusals[:1]:
                if refusal.code in conductor.refused:
                    found.setdefault(refusal.code, refusal.detail)
    return found


def by_reason(runs: list[Ran]) -> dict[str, int]:
    """How many ended for which reason."""
    return dict(sorted(Counter(one.reason for one in runs).items()))


def held_fraction(market: Market, fills: np.recarray) -> Decimal:
    """The share of the time in which something was held (of one symbol)."""
    times = np.concatenate([fills["ms"], [market.to_ms]])
    held = int(np.diff(times)[fills["held_lots"] != 0].sum()) if len(fills) else 0
    return round(Decimal(held) / Decimal(max(1, market.to_ms - market.from_ms)), 4)
