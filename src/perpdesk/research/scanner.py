"""Scoring a universe without trading: every version's mind is fed with closed bars, the gate shut, and read.

What is read is the state that backtest, paper and live decide with; nothing is scored a second way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np

from perpdesk.config.records import Sleeve
from perpdesk.kernel.intervals import HOUR_MS
from perpdesk.kernel.replay import Books, Mind, Replay, new_books
from perpdesk.market.universe import Universe
from perpdesk.strategies import score_v2, score_v3
from perpdesk.strategies.score_rules.scan import SIGNAL_NAMES, bonus_points, decide
from perpdesk.strategies.score_v2 import strategy as v2
from perpdesk.strategies.score_v3 import strategy as v3
from perpdesk.strategies.score_v3.scorer import QUARTER_MS

OPEN, NONE = "OPEN", "NONE"
SCORE_TOO_LOW, OK = "SCORE_TOO_LOW", "OK"
_SIDES = {1: "LONG", -1: "SHORT", 0: "-"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one version says of one symbol at one moment.

    status: may the window be scored and, for V3, does the regime allow the side (OK, GAP, BIG4_VETO …)?
    side: the higher score's that reaches its threshold, before the status is asked. act: OPEN, if an entry
    would be proposed to the gate, else NONE with its reason. bar_ms: open time of the newest bar scored.
    """

    version: str
    symbol: str
    now_ms: int
    bar_ms: int | None
    status: str
    long_score: float | None
    short_score: float | None
    score_max: float
    least_long: float
    least_short: float
    bonus: float
    side: str
    signal: str
    act: str
    reason: str

    @property
    def best(self) -> float:
        """The higher score as a share of the highest possible, for ranking; -1 without a score."""
        if self.long_score is None or self.short_score is None:
            return -1.0
        return max(self.long_score, self.short_score) / self.score_max


@dataclass(frozen=True)
class Scorer:
    """How one kind of version is read: its judge, thresholds, highest score and the interval of its bars."""

    judge: object
    score_max: float
    interval_ms: int
    status_names: Sequence[str]


SCORERS = {
    "score_v2": Scorer(v2.judge, 100.0, HOUR_MS, score_v2.STATUS_NAMES),
    "score_v3": Scorer(v3.judge, 42.0, QUARTER_MS, score_v3.STATUS_NAMES),
}


def scorer_of(sleeve: Sleeve) -> Scorer:
    """How this version is read."""
    return SCORERS[sleeve.strategy.name]


def thresholds(sleeve: Sleeve) -> tuple[float, float]:
    """The scores that LONG and SHORT must reach, before a rating's bonus."""
    params = sleeve.params[0]
    if sleeve.strategy is score_v2.STRATEGY:
        return float(params.min_score), float(params.min_score)
    return float(params.min_score_long), float(params.min_score_short)


@dataclass
class Scanner:
    """Minds of some versions over one universe.

    books: the universe's instruments and one row of heads per sleeve; a rating is a head's ``bonus_ppm``.
    """

    sleeves: Sequence[Sleeve]
    minds: Sequence[Mind]
    books: Books
    universe: Universe
    _replays: list[Replay] = field(init=False)

    def __post_init__(self) -> None:
        account = self.books.account.copy()
        account.gate_shut = 1
        self._replays = []
        for v, mind in enumerate(self.minds):
            own = new_books(
                account, self.books.sleeves[v : v + 1], self.books.instruments, self.books.slots.shape[2]
            )
            for name in own.heads.dtype.names or ():
                own.heads[name][0] = self.books.heads[name][v]
            self._replays.append(Replay(mind, own))

    def feed(self, bars: np.ndarray, first_ms: int) -> None:
        """Take the closed bars [T, N] that follow, one row per minute from first_ms."""
        for replay in self._replays:
            replay.feed(bars, first_ms)

    def rate(self, bonuses_ppm: Mapping[str, int]) -> None:
        """Take each symbol's bonus from its rating; symbols that are not named have none."""
        for replay in self._replays:
            for s, symbol in enumerate(self.universe.symbols):
                replay.books.heads[0, s].bonus_ppm = bonuses_ppm.get(symbol, 0)

    def is_due(self, v: int, now_ms: int) -> bool:
        """Is this moment on the version's scan grid?"""
        params = self.sleeves[v].params[0]
        return bool((now_ms - int(params.scan_offset_ms)) % int(params.scan_interval_ms) == 0)

    def read(self, v: int, now_ms: int) -> list[Reading]:
        """What one version says of every symbol at the end of the last bar fed, in universe order."""
        return [self.reading(v, s, now_ms) for s in range(len(self.universe))]

    def scan(self, now_ms: int) -> list[Reading]:
        """All versions, best score first (as a share of the highest), then by symbol and version."""
        found = [reading for v in range(len(self.sleeves)) for reading in self.read(v, now_ms)]
        return sorted(found, key=lambda one: (-one.best, one.symbol, one.version))

    def reading(self, v: int, s: int, now_ms: int) -> Reading:
        """What one version says of one symbol."""
        sleeve, mind = self.sleeves[v], self.minds[v]
        scorer = scorer_of(sleeve)
        state = mind.states[s]
        scorer.judge(mind.params[0], mind.shared[0], state, now_ms)  # type: ignore[operator]
        bonus = bonus_points(self._replays[v].books.heads[0, s], scorer.score_max)
        least_long, least_short = (least + bonus for least in thresholds(sleeve))
        score = state.score
        known = not isnan(score.long_score) and int(score.status) == score_v2.STATUS_NAMES.index(OK)
        status = scorer.status_names[int(state.status)]
        side = int(state.side)
        if side and SIGNAL_NAMES[int(state.signal)] == "SCORE":
            side = decide(float(score.long_score), float(score.short_score), least_long, least_short)
        if status != OK:
            act, reason = NONE, status
        else:
            act, reason = (OPEN, "-") if side else (NONE, SCORE_TOO_LOW)
        return Reading(
            version=sleeve.name,
            symbol=self.universe.symbols[s],
            now_ms=now_ms,
            bar_ms=int(score.bar_ms) or None,
            status=status,
            long_score=float(score.long_score) if known else None,
            short_score=float(score.short_score) if known else None,
            score_max=scorer.score_max,
            least_long=least_long,
            least_short=least_short,
            bonus=bonus,
            side=_SIDES[side],
            signal=SIGNAL_NAMES[int(state.signal)],
            act=act,
            reason=reason,
        )
