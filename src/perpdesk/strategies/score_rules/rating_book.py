"""The ratings of a universe, kept from closed positions: the same book in backtest, paper and live.

A step tells it what has closed; the level that follows holds from the next step on. The window of a symbol's
record goes back seven days, and never beyond its last change of level.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from perpdesk.kernel.records import (
    DAY_MS,
    RATING_DAILY_MS,
    TAG_DISASTER_STOP,
    TAG_EXCHANGE_STOP,
    TAG_FAST_STOP,
    TAG_FIXED_STOP,
    TAG_LIQUIDATION,
    TAG_MINUTES,
)
from perpdesk.strategies.score_rules.ratings import (
    BONUS_PPM,
    HARD_STOPS,
    LEVEL_BEST,
    MULTIPLIER_PPM,
    NET_E8,
    rating_next,
)

WINDOW_MS = 7 * DAY_MS
HARD_TAGS = (TAG_FIXED_STOP, TAG_FAST_STOP, TAG_EXCHANGE_STOP, TAG_DISASTER_STOP, TAG_LIQUIDATION)
_PPM = 1_000_000


def is_hard_stop(tag: int) -> bool:
    """Did a stop, or the exchange by force, close it?"""
    return tag % TAG_MINUTES in HARD_TAGS


@dataclass(frozen=True, slots=True)
class RatingRules:
    """What a level costs and when it is reached; by level 0 to 3."""

    multiplier_ppm: tuple[int, ...] = MULTIPLIER_PPM
    bonus_ppm: tuple[int, ...] = BONUS_PPM
    hard_stops: tuple[int, ...] = HARD_STOPS
    net_e8: tuple[int, ...] = NET_E8


@dataclass(frozen=True, slots=True)
class Closing:
    """One closed position of a symbol."""

    ms: int
    net_e8: int
    is_hard: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A symbol's level changed, over a window with this record."""

    symbol: int
    level: int
    before: int
    ms: int
    trades: int
    hard_stops: int
    net_e8: int
    wins: int
    loss_e8: int
    profit_e8: int
    from_ms: int


@dataclass
class RatingBook:
    """sleeves: those that are rated, all together. heads, positions: the books' arrays [V, N].

    on_change hears of every change of level.
    """

    heads: np.ndarray
    positions: np.ndarray
    sleeves: Sequence[int]
    rules: RatingRules = field(default_factory=RatingRules)
    on_change: Callable[[Change], None] = lambda change: None
    levels: np.ndarray = field(init=False)
    changed_ms: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        n = self.heads.shape[1]
        self.levels = np.zeros(n, np.int64)
        self.changed_ms = np.zeros(n, np.int64)
        self._closings: list[deque[Closing]] = [deque() for _ in range(n)]
        self._trips = self.positions["round_trips"].copy()
        self._totals = self._net().copy()

    def _net(self) -> np.ndarray:
        """Net result of every place since the run's start; a flat place's figure does not move."""
        total: np.ndarray = (
            self.positions["realised_e8"] - self.positions["fees_e8"] + self.positions["funding_e8"]
        )
        return total

    def begin(self, s: int, level: int, changed_ms: int, closings: Sequence[Closing]) -> None:
        """Go on with what is stored of a symbol."""
        self.levels[s], self.changed_ms[s] = level, changed_ms
        self._closings[s] = deque(sorted(closings, key=lambda one: one.ms))
        self._write(s)

    def set_level(self, s: int, level: int, ms: int) -> None:
        """A person's word: the window begins anew."""
        if level != self.levels[s]:
            self.levels[s], self.changed_ms[s] = level, ms
            self._write(s)

    def rest(self, v: int, s: int) -> None:
        """What a place's figures say now is the past: they were put there, not traded in this run."""
        self._trips[v, s] = self.positions["round_trips"][v, s]
        self._totals[v, s] = self._net()[v, s]

    def after_step(self, now_ms: int) -> None:
        """Take what has closed since the last step; once a day look at every symbol again."""
        closed = np.argwhere(self.positions["round_trips"] != self._trips)
        if len(closed):
            totals = self._net()
            for v, s in closed.tolist():
                self._trips[v, s] = self.positions["round_trips"][v, s]
                net_e8 = int(totals[v, s] - self._totals[v, s])
                self._totals[v, s] = totals[v, s]
                if v in self.sleeves:
                    position = self.positions[v, s]
                    tag, ms = int(position["closed_tag"]), int(position["closed_ms"])
                    self._closings[s].append(Closing(ms, net_e8, is_hard_stop(tag)))
            for s in sorted({int(s) for v, s in closed if v in self.sleeves}):
                self._rate(s, now_ms)
        if now_ms % DAY_MS == RATING_DAILY_MS:
            for s in range(len(self.levels)):
                self._rate(s, now_ms)

    def _rate(self, s: int, now_ms: int) -> None:
        from_ms = max(now_ms - WINDOW_MS, int(self.changed_ms[s]))
        closings = self._closings[s]
        while closings and closings[0].ms <= from_ms:
            closings.popleft()
        level = int(self.levels[s])
        hard = sum(one.is_hard for one in closings)
        net_e8 = sum(one.net_e8 for one in closings)
        wins = sum(one.net_e8 > 0 for one in closings)
        rules = self.rules
        found = rating_next(level, len(closings), hard, net_e8, wins, rules.hard_stops, rules.net_e8)
        if found == level:
            return
        self.levels[s], self.changed_ms[s] = found, now_ms
        self._write(s)
        losses = sum(-one.net_e8 for one in closings if one.net_e8 < 0)
        self.on_change(
            Change(
                s,
                int(found),
                level,
                now_ms,
                len(closings),
                hard,
                net_e8,
                wins,
                losses,
                net_e8 + losses,
                from_ms,
            )
        )

    def _write(self, s: int) -> None:
        """What the level means, into the heads of the rated sleeves."""
        level = int(self.levels[s])
        for v in self.sleeves:
            self.heads[v, s].margin_cut_ppm = _PPM - self.rules.multiplier_ppm[level]
            self.heads[v, s].bonus_ppm = self.rules.bonus_ppm[level]

    def counts(self) -> dict[int, int]:
        """How many symbols stand at each level above 0."""
        return {
            level: int((self.levels == level).sum())
            for level in range(LEVEL_BEST + 1, 4)
            if (self.levels == level).any()
        }
