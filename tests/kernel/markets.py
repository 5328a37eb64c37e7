"""Random minutes: several symbols, jumps, wild bars, absent bars and bars without volume. Seeded."""

from __future__ import annotations

import numpy as np
from tests.kernel.tables import START_MS

from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, bar_dt, funding_dt, zeros


def random_bars(seed, minutes, symbols=2, *, start_ms=START_MS, price=10_000, wild=0.01, absent=0.1, dry=0.1):
    """[minutes, symbols] bars. wild: spread of a minute as a fraction; absent, dry: shares of such bars."""
    draw = np.random.default_rng(seed)
    bars = zeros((minutes, symbols), bar_dt)
    last = np.full(symbols, price)
    for t in range(minutes):
        for s in range(symbols):
            if draw.random() < absent:
                bars[t, s].open_ms = ABSENT_MS
                continue
            jump = draw.normal(0, wild) if draw.random() < 0.3 else 0.0
            four = last[s] * (1 + jump) * (1 + draw.normal(0, wild / 2, 4))
            open_, close, one, other = (max(50, int(value)) for value in four)
            high, low = max(open_, close, one, other), min(open_, close, one, other)
            volume = 0 if draw.random() < dry else int(draw.integers(1, 400))
            bars[t, s] = (start_ms + t * MINUTE_MS, open_, high, low, close, volume)
            last[s] = close
    return bars


def random_funding(seed, minutes, symbols=2, *, start_ms=START_MS, share=0.2):
    """Funding rows, sorted by time and symbol, in a share of the minutes."""
    draw = np.random.default_rng(seed)
    picked = [
        (start_ms + t * MINUTE_MS, s, int(draw.normal(0, 200_000)), int(draw.integers(0, 2)) * 10_000)
        for t in range(minutes)
        for s in range(symbols)
        if draw.random() < share
    ]
    rows = zeros(len(picked), funding_dt)
    for i, row in enumerate(picked):
        rows[i] = row
    return rows
