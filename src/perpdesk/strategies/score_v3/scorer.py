"""The score: one compiled body for a single window (live) and for every window of a history.

A score reads exactly the last 100 closed 15-minute bars, the last 25 closed 1-hour bars and the regime, and
nothing older: RSI is seeded at the window's first bar.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.indicators.averages import tail_total
from perpdesk.kernel.indicators.rsi import rsi_window
from perpdesk.kernel.intervals import CLOSE, HIGH, HOUR_MS, LOW, OPEN, OPEN_MS, VOLUME_LOTS, rows
from perpdesk.kernel.records import MINUTE_MS, zeros
from perpdesk.strategies.score_v2.points import rsi_ratio
from perpdesk.strategies.score_v2.scorer import (
    BAD_BAR,
    GAP,
    INSUFFICIENT_HISTORY,
    OK,
    STALE_BARS,
    no_score,
    sound,
)
from perpdesk.strategies.score_v2.scorer import STATUS_NAMES as WINDOW_STATUS_NAMES
from perpdesk.strategies.score_v3.points import (
    FAST,
    GROUP_BARS,
    GROUPS,
    SLOW,
    USUAL_BARS,
    averages_gap,
    band_points,
    band_side,
    count_bars,
    count_groups,
    group_points,
    regime_points,
    rsi_points,
    trend_points,
    volume_points,
)
from perpdesk.strategies.score_v3.regime import BEAR, BULL, UNKNOWN

WINDOW = 100
HOURS = GROUPS * GROUP_BARS
QUARTER_MS = 15 * MINUTE_MS
SCORE_MAX = 42.0
VETO_LEAST = 10

# May the newest window trade? The first five are about the window, the last two about the regime.
BIG4_VETO, REGIME_UNKNOWN = len(WINDOW_STATUS_NAMES), len(WINDOW_STATUS_NAMES) + 1
STATUS_NAMES = (*WINDOW_STATUS_NAMES, "BIG4_VETO", "REGIME_UNKNOWN")

# One score with everything it was made of. long_score and short_score are NaN unless status is OK.
# direction, strength: the regime it was scored with. groups_*, bars_*: how many of the colour.
# volume_before: of the five bars before the newest. total_fast, total_slow: sums of 12 and 26 closes.
# band: -1 below the Bollinger band, +1 above it, 0 inside.
score_dt = np.dtype(
    [("bar_ms", "i8"), ("status", "i8")]
    + [
        (name, "f8")
        for name in (
            "long_score",
            "short_score",
            "big4_long",
            "big4_short",
            "hours_long",
            "hours_short",
            "trend_long",
            "trend_short",
            "volume_long",
            "volume_short",
            "technical_long",
            "technical_short",
            "rsi_points_long",
            "rsi_points_short",
            "averages_points_long",
            "averages_points_short",
            "band_points_long",
            "band_points_short",
            "strength",
            "rsi",
            "rsi_mirror",
        )
    ]
    + [
        (name, "i8")
        for name in (
            "direction",
            "groups_up",
            "groups_down",
            "bars_up",
            "bars_down",
            "open",
            "close",
            "volume",
            "volume_before",
            "total_fast",
            "total_slow",
            "band",
        )
    ],
    align=True,
)


@njit(cache=True)
def veto(side, direction, strength):
    """OK, or why the regime forbids an entry on this side."""
    if direction == UNKNOWN:
        return REGIME_UNKNOWN
    if direction == -side and strength >= VETO_LEAST:
        return BIG4_VETO
    return OK


@njit(cache=True)
def _trends(m15, h1, score):
    score.groups_up, score.groups_down = count_groups(h1)
    score.hours_long = group_points(score.groups_up)
    score.hours_short = group_points(score.groups_down)
    score.bars_up, score.bars_down = count_bars(m15)
    score.trend_long = trend_points(score.bars_up)
    score.trend_short = trend_points(score.bars_down)


@njit(cache=True)
def _volume(m15, score):
    newest = len(m15) - 1
    before = 0
    for index in range(newest - USUAL_BARS, newest):
        before += m15[index, VOLUME_LOTS]
    score.open = m15[newest, OPEN]
    score.close = m15[newest, CLOSE]
    score.volume = m15[newest, VOLUME_LOTS]
    score.volume_before = before
    points = volume_points(score.volume, before)
    score.volume_long = points if score.close > score.open else 0
    score.volume_short = points if score.close < score.open else 0


@njit(cache=True)
def _technical(closes, score):
    gain, loss = rsi_window(closes, 14)
    score.rsi = rsi_ratio(gain, loss)
    score.rsi_mirror = rsi_ratio(loss, gain)
    score.rsi_points_long = rsi_points(score.rsi)
    score.rsi_points_short = rsi_points(score.rsi_mirror)
    gap = averages_gap(closes)
    score.total_fast = tail_total(closes, FAST)
    score.total_slow = tail_total(closes, SLOW)
    score.averages_points_long = 3 if gap > 0 else 0
    score.averages_points_short = 3 if gap < 0 else 0
    score.band = band_side(closes)
    score.band_points_long = band_points(1, score.band)
    score.band_points_short = band_points(-1, score.band)
    score.technical_long = score.rsi_points_long + score.averages_points_long + score.band_points_long
    score.technical_short = score.rsi_points_short + score.averages_points_short + score.band_points_short


@njit(cache=True)
def with_regime(score, direction, strength):
    """Put a regime into a score whose other parts stand, and add all up."""
    score.direction = direction
    score.strength = strength
    score.big4_long = regime_points(BULL, direction, strength)
    score.big4_short = regime_points(BEAR, direction, strength)
    score.long_score = q9(
        score.big4_long + score.hours_long + score.trend_long + score.volume_long + score.technical_long
    )
    score.short_score = q9(
        score.big4_short + score.hours_short + score.trend_short + score.volume_short + score.technical_short
    )


@njit(cache=True)
def score_window(m15, h1, direction, strength, score):
    """Fill ``score`` (``score_dt``) from one window; its status becomes OK.

    m15: int64 [100, 7], h1: int64 [25, 7], rows of closed bars, newest last. direction, strength: the
    regime. The caller has made sure that the windows are whole (``window_status``).
    """
    _trends(m15, h1, score)
    _volume(m15, score)
    _technical(m15[:, CLOSE], score)
    score.bar_ms = m15[len(m15) - 1, OPEN_MS]
    score.status = OK
    with_regime(score, direction, strength)


@njit(cache=True)
def window_status(m15, h1):
    """OK, or GAP for a hole in one of the windows, or STALE_BARS where the hours lag behind."""
    newest_ms = m15[len(m15) - 1, OPEN_MS]
    if newest_ms - m15[0, OPEN_MS] != (WINDOW - 1) * QUARTER_MS:
        return GAP
    closed_ms = newest_ms + QUARTER_MS
    hour_ms = h1[len(h1) - 1, OPEN_MS]
    if hour_ms + HOUR_MS != closed_ms - closed_ms % HOUR_MS:
        return STALE_BARS
    return OK if hour_ms - h1[0, OPEN_MS] == (HOURS - 1) * HOUR_MS else GAP


@njit(cache=True)
def _good_run(bars, t, good):
    """How many bars up to row t are sound and in order, given how many were up to the row before."""
    row = bars[t]
    ordered = t == 0 or row[OPEN_MS] > bars[t - 1, OPEN_MS]
    sane = sound(row[OPEN], row[HIGH], row[LOW], row[CLOSE], row[VOLUME_LOTS])
    return good + 1 if ordered and sane else 0


@njit(cache=True)
def _score_history(m15, h1, directions, strengths, scores):
    closed = 0
    good = 0
    good_hours = 0
    for t in range(len(m15)):
        good = _good_run(m15, t, good)
        now_ms = m15[t, OPEN_MS] + QUARTER_MS
        while closed < len(h1) and h1[closed, OPEN_MS] + HOUR_MS <= now_ms:
            good_hours = _good_run(h1, closed, good_hours)
            closed += 1
        if t < WINDOW - 1:
            continue
        score = scores[t - WINDOW + 1]
        window = m15[t - WINDOW + 1 : t + 1]
        if closed < HOURS:
            no_score(m15[t, OPEN_MS], INSUFFICIENT_HISTORY, score)
            continue
        hours = h1[closed - HOURS : closed]
        status = BAD_BAR
        if good >= WINDOW and good_hours >= HOURS:
            status = window_status(window, hours)
        if status == OK:
            score_window(window, hours, directions[t], strengths[t], score)
        else:
            no_score(m15[t, OPEN_MS], status, score)


def score_v3(m15: np.ndarray, h1: np.ndarray, directions: np.ndarray, strengths: np.ndarray) -> np.recarray:
    """The score at the close of every 15-minute bar that has 99 before it.

    m15, h1: ``interval_bar_dt`` [n], [m], closed bars, oldest first; for each quarter the hours closed by
    then are taken. directions, strengths: [n], the regime at each close (codes of ``regime``). Gives
    ``score_dt`` [max(0, n - 99)]; live passes n = 100 and takes the last record.
    """
    scores = zeros(max(0, len(m15) - WINDOW + 1), score_dt)
    directions = np.asarray(directions, np.int64)
    strengths = np.asarray(strengths, np.float64)
    if not len(m15) == len(directions) == len(strengths):
        raise ValueError(f"{len(m15)} bars need as many directions and strengths")
    _score_history(rows(m15), rows(h1), directions, strengths, scores)
    return scores


def components(score: np.record) -> dict[str, float]:
    """Everything a score was made of, by name: for explanations and for the books."""
    return {name: score[name].item() for name in score_dt.names or () if name not in ("bar_ms", "status")}
