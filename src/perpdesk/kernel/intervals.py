"""Higher intervals built from 1-minute bars, on UTC boundaries.

A bar of an interval is built from the minutes present (open of the first, highest, lowest, close of the
last, volume summed) and says how many were missing; an interval without any minute has no bar. It is
closed exactly when its end is not later than now, and now is the end of the minute pushed: so a minute
may close the interval that it ends, and before that one whose last minutes never came.

Each interval is built from the bars of the one below it, the lowest from minutes: a minute that closes
nothing costs one update, however many intervals there are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, zeros

HOUR_MS = 60 * MINUTE_MS

# The columns of a row. An interval's bars travel as int64 rows: a window of n bars is a slice of n rows.
OPEN_MS, OPEN, HIGH, LOW, CLOSE, VOLUME_LOTS, MINUTES_MISSING = range(7)
COLUMNS = 7

# The same seven numbers by name.
interval_bar_dt = np.dtype(
    [(name, "i8") for name in ("open_ms", "open", "high", "low", "close", "volume_lots", "minutes_missing")]
)

# What push answers for a bar that is not later than the last one.
OUT_OF_ORDER = -1


def builder_dt(intervals_ms: tuple[int, ...]) -> np.dtype:
    """The record of a builder for these intervals; zeroed, it has seen nothing.

    ``closed[k, :closed_count[k]]`` are the rows of interval k that the last push closed, oldest first;
    they are valid only after a push that answered more than 0.

    Raises ValueError unless the intervals are whole minutes, ascending, each a multiple of the one below.
    """
    below = MINUTE_MS
    for place, interval_ms in enumerate(intervals_ms):
        if interval_ms % below or (place > 0 and interval_ms == below) or interval_ms <= 0:
            raise ValueError(
                f"intervals_ms[{place}] = {interval_ms} is not a multiple of {below}: "
                "give whole minutes, ascending, each a multiple of the one below"
            )
        below = interval_ms
    count = len(intervals_ms)
    return np.dtype(
        [
            ("next_ms", "i8"),
            ("end_ms", "i8", (count,)),
            ("running", "i8", (count, COLUMNS)),
            ("closed", "i8", (count, 2, COLUMNS)),
            ("closed_count", "i8", (count,)),
        ],
        align=True,
    )


@njit(cache=True)
def _merge(builder, level, interval_ms, open_ms, first, high, low, close, volume_lots, minutes):
    """Add a minute, or a closed bar of the interval below, to the running bar of ``level``."""
    row = builder.running[level]
    if builder.end_ms[level] == 0:
        begin_ms = open_ms - open_ms % interval_ms
        builder.end_ms[level] = begin_ms + interval_ms
        row[OPEN_MS] = begin_ms
        row[OPEN] = first
        row[HIGH] = high
        row[LOW] = low
        row[VOLUME_LOTS] = 0
        row[MINUTES_MISSING] = interval_ms // MINUTE_MS
    row[HIGH] = max(row[HIGH], high)
    row[LOW] = min(row[LOW], low)
    row[CLOSE] = close
    row[VOLUME_LOTS] += volume_lots
    row[MINUTES_MISSING] -= minutes


@njit(cache=True)
def _close_ended(builder, now_ms, intervals_ms):
    """Close every running bar whose end is not later than ``now_ms``, the lowest interval first."""
    total = 0
    for level in range(len(intervals_ms)):
        if builder.end_ms[level] == 0 or builder.end_ms[level] > now_ms:
            continue
        row = builder.running[level]
        place = builder.closed_count[level]
        for column in range(COLUMNS):
            builder.closed[level, place, column] = row[column]
        builder.closed_count[level] = place + 1
        builder.end_ms[level] = 0
        total += 1
        if level + 1 < len(intervals_ms):
            _merge(
                builder,
                level + 1,
                intervals_ms[level + 1],
                row[OPEN_MS],
                row[OPEN],
                row[HIGH],
                row[LOW],
                row[CLOSE],
                row[VOLUME_LOTS],
                intervals_ms[level] // MINUTE_MS - row[MINUTES_MISSING],
            )
    return total


@njit(cache=True)
def _turn(builder, bar, intervals_ms):
    """The push of a minute that begins or ends a bar of the lowest interval."""
    for level in range(len(intervals_ms)):
        builder.closed_count[level] = 0
    total = _close_ended(builder, bar.open_ms, intervals_ms)
    _merge(
        builder, 0, intervals_ms[0], bar.open_ms, bar.open, bar.high, bar.low, bar.close, bar.volume_lots, 1
    )
    return total + _close_ended(builder, bar.open_ms + MINUTE_MS, intervals_ms)


@njit(cache=True)
def push(builder, bar, intervals_ms):
    """Take the next closed 1-minute bar (``bar_dt``); how many bars of all intervals it closed.

    ``intervals_ms``: the same tuple that gave the record its shape. A bar that is not later than the
    last one changes nothing and answers ``OUT_OF_ORDER``.
    """
    open_ms = bar.open_ms
    if open_ms < builder.next_ms:
        return OUT_OF_ORDER
    builder.next_ms = open_ms + MINUTE_MS
    if open_ms + MINUTE_MS >= builder.end_ms[0]:
        return _turn(builder, bar, intervals_ms)
    running = builder.running
    running[0, HIGH] = max(running[0, HIGH], bar.high)
    running[0, LOW] = min(running[0, LOW], bar.low)
    running[0, CLOSE] = bar.close
    running[0, VOLUME_LOTS] += bar.volume_lots
    running[0, MINUTES_MISSING] -= 1
    return 0


@njit(cache=True)
def shift_in(window, row):
    """Drop the oldest row of a window (int64 [n, 7], contiguous, newest last) and append one."""
    numbers = window.reshape(-1)  # one flat loop: the compiler moves several numbers at once
    kept = len(numbers) - COLUMNS
    for place in range(kept):
        numbers[place] = numbers[place + COLUMNS]
    for column in range(COLUMNS):
        numbers[kept + column] = row[column]


def rows(bars: np.ndarray) -> np.ndarray:
    """``interval_bar_dt`` bars as int64 rows: a view of shape (n, 7) where the bars lie in one piece."""
    plain = np.ascontiguousarray(np.asarray(bars))
    return plain.view(np.int64).reshape(len(plain), COLUMNS)


@njit(cache=True)
def _resample(builder, bars, intervals_ms, built):
    count = 0
    for place in range(len(bars)):
        bar = bars[place]
        if bar.open_ms == ABSENT_MS:
            continue
        answer = push(builder, bar, intervals_ms)
        if answer < 0:
            return -1 - place
        if answer > 0:
            for closed in range(builder.closed_count[0]):
                built[count] = builder.closed[0, closed]
                count += 1
    return count


def resample(bars: np.ndarray, interval_ms: int) -> np.recarray:
    """All closed bars of one interval (``interval_bar_dt``) from 1-minute bars (``bar_dt``, ascending).

    Absent bars are skipped; the last, still open bar is left out.
    Raises ValueError where a bar is not later than the one before.
    """
    intervals_ms = (interval_ms,)
    builder = zeros(1, builder_dt(intervals_ms))
    built = np.empty((len(bars), COLUMNS), np.int64)
    count = _resample(builder[0], bars.view(np.recarray), intervals_ms, built)
    if count < 0:
        raise ValueError(f"bars[{-1 - count}] is not later than the bar before it: sort them by open time")
    return built[:count].reshape(-1).view(interval_bar_dt).view(np.recarray)
