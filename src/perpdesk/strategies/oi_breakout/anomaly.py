"""Which periods of a symbol's newest row are anomalies, and which of those are news."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.strategies.oi_breakout.codes import NEUTRAL
from perpdesk.strategies.oi_breakout.params import PERIODS_MAX
from perpdesk.strategies.oi_breakout.points import (
    change,
    direction,
    oi_points,
    price_points,
    severity,
    side_move,
)
from perpdesk.strategies.oi_breakout.window import MISSING, ROWS_MAX, base_of

_SUSPECT_CHANGE, _SUSPECT_PERIOD_MS = 0.50, 60_000

# One period of one poll. known: it has a base row. triggered: the change is an anomaly; fresh: it is also
# news (not suppressed). move, oi_points, price_points belong to the direction.
period_dt = np.dtype(
    [(name, "i8") for name in ("known", "triggered", "fresh", "suspect", "severity", "direction", "base_ms")]
    + [
        (name, "f8")
        for name in (
            "d_oi",
            "oi_before",
            "oi_after",
            "price_before",
            "price_after",
            "price_change",
            "move",
            "oi_points",
            "price_points",
        )
    ],
    align=True,
)
# What was recorded last of each period: the poll (0: never) and its change.
recorded_dt = np.dtype(
    [("poll_ms", "i8", (PERIODS_MAX,)), ("change", "f8", (PERIODS_MAX,))],
    align=True,
)


@njit(cache=True)
def is_suppressed(period_ms, interval_ms, since_ms, d_oi, last_d_oi, least_difference):
    """Says an anomaly what the last recorded one has said? since_ms: from that one's poll to this one's."""
    return since_ms <= max(period_ms, interval_ms) and q9(abs(d_oi - last_d_oi)) < least_difference


@njit(cache=True)
def detect(params, window, recorded, poll_ms, periods):
    """Judge every period of the newest row; returns how many anomalies are news.

    The base of a period may be off by half a polling interval, else the period is missing.
    """
    fresh = 0
    at = (window.count - 1) & (ROWS_MAX - 1)
    now_ms = window.ms[at]
    for p in range(params.period_count):
        one = periods[p]
        one.known = one.triggered = one.fresh = one.suspect = one.severity = 0
        one.direction = NEUTRAL
        one.move = one.oi_points = one.price_points = 0.0
        one.base_ms = 0
        one.d_oi = one.price_change = math.nan
        if window.count == 0 or not window.oi[at] > 0.0:
            continue
        base = base_of(window, now_ms, params.period_ms[p], params.interval_ms // 2)
        if base == MISSING:
            continue
        one.known = 1
        one.base_ms = window.ms[base]
        one.oi_before, one.oi_after = window.oi[base], window.oi[at]
        one.price_before, one.price_after = window.mark[base], window.mark[at]
        one.d_oi = change(one.oi_after, one.oi_before)
        one.price_change = change(one.price_after, one.price_before)
        if not abs(one.d_oi) >= params.threshold[p]:
            continue
        one.triggered = 1
        one.severity = severity(one.d_oi, params.severity_medium, params.severity_high)
        if params.period_ms[p] <= _SUSPECT_PERIOD_MS and abs(one.d_oi) > _SUSPECT_CHANGE:
            one.suspect = 1
        one.direction = direction(one.d_oi, one.price_before, one.price_after)
        if one.direction != NEUTRAL:
            one.move = side_move(one.direction, one.price_before, one.price_after)
            one.oi_points = oi_points(one.d_oi, one.severity)
            one.price_points = price_points(one.move, one.d_oi)
        known_before = recorded.poll_ms[p] > 0
        if known_before and is_suppressed(
            params.period_ms[p],
            params.interval_ms,
            poll_ms - recorded.poll_ms[p],
            one.d_oi,
            recorded.change[p],
            params.dedup_difference,
        ):
            continue
        one.fresh = 1
        fresh += 1
    return fresh


@njit(cache=True)
def remember(params, recorded, poll_ms, periods):
    """The anomalies that are news have been recorded."""
    for p in range(params.period_count):
        if periods[p].fresh:
            recorded.poll_ms[p] = poll_ms
            recorded.change[p] = periods[p].d_oi
