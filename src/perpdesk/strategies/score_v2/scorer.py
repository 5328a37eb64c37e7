"""The score: one compiled body for a single window (live) and for every window of a history.

A score reads exactly the last 200 closed 1-hour bars, and up to 99 closes each of 4 hours and 1 day, and
nothing older: recursive indicators are seeded at the window's first bar.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.kernel.indicators.atr import atr_window
from perpdesk.kernel.indicators.bollinger import width_rank_window
from perpdesk.kernel.indicators.macd import macd_window
from perpdesk.kernel.indicators.rsi import rsi_window
from perpdesk.kernel.intervals import (
    CLOSE,
    HIGH,
    HOUR_MS,
    LOW,
    OPEN,
    OPEN_MS,
    VOLUME_LOTS,
    rows,
)
from perpdesk.kernel.records import DAY_MS, zeros
from perpdesk.strategies.score_v2.points import (
    TREND_SLOW,
    atr_points,
    macd_points,
    position_points,
    position_ratio,
    rsi_points,
    rsi_ratio,
    trend_agreement,
    trend_timeframe,
    volume_agreement_points,
    volume_change_points,
    width_points,
)

WINDOW = 200
CLOSES = TREND_SLOW
FOUR_HOURS_MS = 4 * HOUR_MS
SCORE_MAX = 100.0
PRICE_MAX = 99_999_999  # beyond it sums of squares of 20 prices no longer fit 64 bits
POSITION_BARS = 72
VOLUME_RECENT, VOLUME_USUAL, AGREEMENT_BARS = 6, 48, 24
WIDTHS, BAND = 100, 20

# May the newest window be scored? Zero is what a symbol is before anything is known.
INSUFFICIENT_HISTORY, OK, GAP, STALE_BARS, BAD_BAR = range(5)
STATUS_NAMES = ("INSUFFICIENT_HISTORY", "OK", "GAP", "STALE_BARS", "BAD_BAR")

# One score with everything it was made of. long_score and short_score are NaN unless status is OK.
# position, rsi: ratios p, r and their mirror images. volume_recent and volume_usual are A and B
# (A/B = mean of 6 bars / mean of 48), volume_* of 24 bars in lots. atr_ratio: of the close.
# width_newest: V of the newest band; width_rank: percent of the other 99.
score_dt = np.dtype(
    [("bar_ms", "i8"), ("status", "i8")]
    + [
        (name, "f8")
        for name in (
            "long_score",
            "short_score",
            "trend_long",
            "trend_short",
            "position_long",
            "position_short",
            "momentum_long",
            "momentum_short",
            "volume_long",
            "volume_short",
            "volatility",
        )
    ]
    + [
        (name, "i8")
        for name in (
            "trend_1h_long",
            "trend_1h_short",
            "trend_4h_long",
            "trend_4h_short",
            "trend_1d_long",
            "trend_1d_short",
            "agreement_long",
            "agreement_short",
            "rsi_points_long",
            "rsi_points_short",
            "macd_points_long",
            "macd_points_short",
            "volume_change_points",
            "volume_points_long",
            "volume_points_short",
            "atr_points",
            "width_points",
            "close",
            "highest",
            "lowest",
            "volume_recent",
            "volume_usual",
            "volume_whole",
            "volume_up",
            "volume_down",
            "width_newest",
        )
    ]
    + [
        (name, "f8")
        for name in (
            "position_ratio",
            "position_mirror",
            "rsi",
            "rsi_mirror",
            "histogram",
            "histogram_before",
            "atr_ratio",
            "width_rank",
        )
    ],
    align=True,
)


@njit(cache=True)
def _trend(h1, h4, d1, score):
    score.trend_1h_long, score.trend_1h_short = trend_timeframe(h1[:, CLOSE])
    score.trend_4h_long, score.trend_4h_short = trend_timeframe(h4)
    score.trend_1d_long, score.trend_1d_short = trend_timeframe(d1)
    score.agreement_long = trend_agreement(score.trend_1h_long, score.trend_4h_long, score.trend_1d_long)
    score.agreement_short = trend_agreement(score.trend_1h_short, score.trend_4h_short, score.trend_1d_short)
    score.trend_long = score.trend_1h_long + score.trend_4h_long + score.trend_1d_long + score.agreement_long
    score.trend_short = (
        score.trend_1h_short + score.trend_4h_short + score.trend_1d_short + score.agreement_short
    )


@njit(cache=True)
def _position(h1, score):
    newest = len(h1) - 1
    highest = h1[newest, HIGH]
    lowest = h1[newest, LOW]
    for index in range(newest - POSITION_BARS + 1, newest):
        highest = max(highest, h1[index, HIGH])
        lowest = min(lowest, h1[index, LOW])
    close = h1[newest, CLOSE]
    score.close = close
    score.highest = highest
    score.lowest = lowest
    score.position_ratio = position_ratio(close - lowest, highest - lowest)
    score.position_mirror = position_ratio(highest - close, highest - lowest)
    score.position_long = position_points(score.position_ratio)
    score.position_short = position_points(score.position_mirror)


@njit(cache=True)
def _momentum(h1, score):
    closes = h1[:, CLOSE]
    gain, loss = rsi_window(closes, 14)
    score.rsi = rsi_ratio(gain, loss)
    score.rsi_mirror = rsi_ratio(loss, gain)
    score.rsi_points_long = rsi_points(score.rsi)
    score.rsi_points_short = rsi_points(score.rsi_mirror)
    score.histogram, score.histogram_before = macd_window(closes, 12, 26, 9)
    score.macd_points_long, score.macd_points_short = macd_points(
        score.histogram, score.histogram_before, closes[len(closes) - 1]
    )
    score.momentum_long = score.rsi_points_long + score.macd_points_long
    score.momentum_short = score.rsi_points_short + score.macd_points_short


@njit(cache=True)
def _volume(h1, score):
    volumes = h1[:, VOLUME_LOTS]
    recent = 0
    usual = 0
    whole = 0
    up = 0
    down = 0
    count = len(h1)
    for index in range(count - VOLUME_USUAL, count):
        volume = volumes[index]
        usual += volume
        if index >= count - VOLUME_RECENT:
            recent += volume
        if index >= count - AGREEMENT_BARS:
            whole += volume
            body = h1[index, CLOSE] - h1[index, OPEN]
            if body > 0:
                up += volume
            elif body < 0:
                down += volume
    score.volume_recent = VOLUME_USUAL // VOLUME_RECENT * recent
    score.volume_usual = usual
    score.volume_whole = whole
    score.volume_up = up
    score.volume_down = down
    score.volume_change_points = volume_change_points(score.volume_recent, usual)
    score.volume_points_long = volume_agreement_points(up, whole)
    score.volume_points_short = volume_agreement_points(down, whole)
    score.volume_long = score.volume_change_points + score.volume_points_long
    score.volume_short = score.volume_change_points + score.volume_points_short


@njit(cache=True)
def _volatility(h1, score):
    closes = h1[:, CLOSE]
    score.atr_ratio = q9(atr_window(h1[:, HIGH], h1[:, LOW], closes, 14) / closes[len(closes) - 1])
    score.atr_points = atr_points(score.atr_ratio)
    newest, rank = width_rank_window(closes, WIDTHS, BAND)
    score.width_newest = newest
    score.width_rank = 100 * rank / (2 * (WIDTHS - 1))
    score.width_points = width_points(newest, rank, WIDTHS - 1)
    score.volatility = score.atr_points + score.width_points


@njit(cache=True)
def score_window(h1, h4, d1, score):
    """Fill ``score`` (``score_dt``) from one window; its status becomes OK.

    h1: int64 [200, 7], rows of closed 1-hour bars, newest last. h4, d1: int64, the last closes, newest
    last, at most 99 each. The caller has made sure that they are whole (``window_status``).
    """
    _trend(h1, h4, d1, score)
    _position(h1, score)
    _momentum(h1, score)
    _volume(h1, score)
    _volatility(h1, score)
    score.bar_ms = h1[len(h1) - 1, OPEN_MS]
    score.status = OK
    score.long_score = q9(
        score.trend_long + score.position_long + score.momentum_long + score.volume_long + score.volatility
    )
    score.short_score = q9(
        score.trend_short
        + score.position_short
        + score.momentum_short
        + score.volume_short
        + score.volatility
    )


@njit(cache=True)
def no_score(bar_ms, status, score):
    """Mark ``score`` as unknown, with the reason."""
    score.bar_ms = bar_ms
    score.status = status
    score.long_score = np.nan
    score.short_score = np.nan


@njit(cache=True)
def _span_status(opens_ms, interval_ms, closed_until_ms):
    """The closes of one higher interval: all there, and the newest the one that should be? None is all."""
    if len(opens_ms) == 0:
        return OK
    newest_ms = opens_ms[len(opens_ms) - 1]
    if newest_ms + interval_ms != closed_until_ms - closed_until_ms % interval_ms:
        return STALE_BARS
    return OK if newest_ms - opens_ms[0] == (len(opens_ms) - 1) * interval_ms else GAP


@njit(cache=True)
def window_status(h1, h4_opens_ms, d1_opens_ms):
    """OK, or GAP for a hole in any of the three windows, or STALE_BARS where 4h or 1d lag behind 1h.

    h1: the last 200 rows; the others: open times of the closes that will be scored.
    """
    newest_ms = h1[len(h1) - 1, OPEN_MS]
    if newest_ms - h1[0, OPEN_MS] != (WINDOW - 1) * HOUR_MS:
        return GAP
    status = _span_status(h4_opens_ms, FOUR_HOURS_MS, newest_ms + HOUR_MS)
    if status == OK:
        status = _span_status(d1_opens_ms, DAY_MS, newest_ms + HOUR_MS)
    return status


@njit(cache=True)
def sound(opening, high, low, close, volume_lots):
    """True for a bar that can be: prices within 1..PRICE_MAX, the extremes outermost, volume not negative."""
    # One sign bit instead of seven branches: this runs for every minute of every symbol.
    wrong = (
        (low - 1)
        | (PRICE_MAX - high)
        | (high - opening)
        | (high - close)
        | (opening - low)
        | (close - low)
        | volume_lots
    )
    return wrong >= 0


@njit(cache=True)
def _score_history(h1, h4, h4_closes, d1, d1_closes, scores):
    h4_closed = 0
    d1_closed = 0
    good = 0  # how many bars up to here are sound and in order
    for t in range(len(h1)):
        row = h1[t]
        ordered = t == 0 or row[OPEN_MS] > h1[t - 1, OPEN_MS]
        if ordered and sound(row[OPEN], row[HIGH], row[LOW], row[CLOSE], row[VOLUME_LOTS]):
            good += 1
        else:
            good = 0
        now_ms = row[OPEN_MS] + HOUR_MS
        while h4_closed < len(h4) and h4[h4_closed, OPEN_MS] + FOUR_HOURS_MS <= now_ms:
            h4_closed += 1
        while d1_closed < len(d1) and d1[d1_closed, OPEN_MS] + DAY_MS <= now_ms:
            d1_closed += 1
        if t < WINDOW - 1:
            continue
        score = scores[t - WINDOW + 1]
        window = h1[t - WINDOW + 1 : t + 1]
        h4_first = max(0, h4_closed - CLOSES)
        d1_first = max(0, d1_closed - CLOSES)
        status = BAD_BAR
        if good >= WINDOW:
            status = window_status(window, h4[h4_first:h4_closed, OPEN_MS], d1[d1_first:d1_closed, OPEN_MS])
        if status == OK:
            score_window(window, h4_closes[h4_first:h4_closed], d1_closes[d1_first:d1_closed], score)
        else:
            no_score(row[OPEN_MS], status, score)


def score_v2(h1: np.ndarray, h4: np.ndarray, d1: np.ndarray) -> np.recarray:
    """The score at the close of every 1-hour bar that has 199 before it.

    h1, h4, d1: ``interval_bar_dt`` [n], [m], [k], closed bars, oldest first. For each hour the 4-hour and
    1-day bars closed by then are taken. Gives ``score_dt`` [max(0, n - 199)]; live passes n = 200 and takes
    the last record.
    """
    scores = zeros(max(0, len(h1) - WINDOW + 1), score_dt)
    four, day = rows(h4), rows(d1)
    four_closes, day_closes = four[:, CLOSE].copy(), day[:, CLOSE].copy()
    _score_history(rows(h1), four, four_closes, day, day_closes, scores)
    return scores


def components(score: np.record) -> dict[str, float]:
    """Everything a score was made of, by name: for explanations and for the books."""
    return {name: score[name].item() for name in score_dt.names or () if name not in ("bar_ms", "status")}
