"""One symbol as the radar and the strategy know it: its window, its last poll's periods and verdict."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from perpdesk.strategies.oi_breakout.anomaly import detect, period_dt, recorded_dt, remember
from perpdesk.strategies.oi_breakout.codes import NO_ANOMALY
from perpdesk.strategies.oi_breakout.params import PERIODS_MAX
from perpdesk.strategies.oi_breakout.verdict import judge, verdict_dt
from perpdesk.strategies.oi_breakout.window import extremes, put, window_dt

RATIOS = 4
# poll_ms: the grid time of the newest poll that had open interest. fresh: how many of its anomalies are news.
sight_dt = np.dtype(
    [
        ("poll_ms", "i8"),
        ("fresh", "i8"),
        ("complete", "i8"),
        ("price", "f8"),
        ("low", "f8"),
        ("high", "f8"),
        ("window", window_dt),
        ("recorded", recorded_dt),
        ("verdict", verdict_dt),
        ("periods", period_dt, (PERIODS_MAX,)),
    ],
    align=True,
)


@njit(cache=True)
def see_price(sight, ms, mark):
    """A mark price without open interest: it only feeds the two-hour window."""
    return put(sight.window, ms, math.nan, mark)


@njit(cache=True)
def take(params, sight, ms, poll_ms, oi, mark):
    """A poll's row of this symbol; returns how many anomalies are news (then ``decide`` must follow).

    ms: receipt, ascending; poll_ms: the poll's time on the grid; oi, mark: NaN where missing.
    """
    sight.fresh = 0
    sight.verdict.code = NO_ANOMALY
    for p in range(PERIODS_MAX):
        sight.periods[p].known = sight.periods[p].triggered = sight.periods[p].fresh = 0
    if not put(sight.window, ms, oi, mark) or not oi > 0.0:
        return 0
    sight.poll_ms = poll_ms
    sight.price = mark
    sight.low, sight.high, complete = extremes(sight.window, ms, params.interval_ms)
    sight.complete = 1 if complete else 0
    sight.fresh = detect(params, sight.window, sight.recorded, poll_ms, sight.periods)
    return sight.fresh


@njit(cache=True)
def decide(params, sight, ratios, r8_e8):
    """The one decision on a row with news, and that its anomalies have been recorded. Returns the code.

    ratios: [4] top positions, takers, top accounts, crowd; NaN where missing.
    """
    code = judge(
        params,
        sight.periods,
        ratios,
        r8_e8,
        sight.price,
        sight.low,
        sight.high,
        sight.complete,
        sight.verdict,
    )
    remember(params, sight.recorded, sight.poll_ms, sight.periods)
    return code
