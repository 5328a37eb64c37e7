"""Windows, periods and verdicts built from a few numbers, as the specification's vectors give them."""

from __future__ import annotations

import math

from perpdesk.kernel.records import zeros
from perpdesk.strategies.oi_breakout import params_record
from perpdesk.strategies.oi_breakout.anomaly import detect, period_dt, recorded_dt
from perpdesk.strategies.oi_breakout.params import PERIODS_MAX
from perpdesk.strategies.oi_breakout.points import FUNDING_MISSING
from perpdesk.strategies.oi_breakout.verdict import judge, verdict_dt
from perpdesk.strategies.oi_breakout.window import put, window_dt

NOW_MS = 10_000_000
NO_RATIOS = (math.nan,) * 4


def window_of(rows, now=None):
    """A window of (ms, open interest, mark) rows, and one now of 100 and 100."""
    window = zeros(1, window_dt)[0]
    for ms, oi, mark in rows:
        put(window, ms, oi, mark)
    if now is not None:
        put(window, now, 100.0, 100.0)
    return window


def periods_of(changes, params=None, recorded=None, now_ms=NOW_MS):
    """Periods of one poll from {seconds: (d_oi, price then, price now)}; returns (params, periods, news)."""
    params = params_record()[0] if params is None else params
    recorded = zeros(1, recorded_dt)[0] if recorded is None else recorded
    periods = zeros(PERIODS_MAX, period_dt)
    price = next(iter(changes.values()))[2]
    rows = [(now_ms - s * 1000, 1.0 / (1.0 + d), p0) for s, (d, p0, _) in changes.items()]
    window = window_of([*sorted(rows), (now_ms, 1.0, price)])
    news = detect(params, window, recorded, now_ms, periods)
    return params, periods, news


def verdict_of(changes, *, ratios=NO_RATIOS, r8_e8=FUNDING_MISSING, chase=None, **settings):
    """The verdict on such periods. chase: distance from the two-hour low (None: the window is not complete)."""
    params, periods, _ = periods_of(changes, params_record(**settings)[0])
    price = next(iter(changes.values()))[2]
    verdict = zeros(1, verdict_dt)[0]
    low = price / (1.0 + chase) if chase is not None else math.inf
    judge(
        params, periods, ratios, r8_e8, price, low, price * (1.0 + (chase or 0.0)), chase is not None, verdict
    )
    return verdict
