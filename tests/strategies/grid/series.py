"""Made bars for the grid's tests: the generator of the specification, and small hand-made tables."""

from __future__ import annotations

import numpy as np

from perpdesk.kernel.intervals import interval_bar_dt

QUARTER_MS = 15 * 60_000
AS_OF_MS = 1_763_611_200_000
HASH = "b5a0ab7b8f3ee087864673a80553390edd4f451c53229f3b55f528d9ad1a3638"


def bars_of(rows, frame_ms=QUARTER_MS, end_ms=AS_OF_MS):
    """interval bars from (open, high, low, close, volume) rows, the last one ending at end_ms."""
    bars = np.zeros(len(rows), interval_bar_dt).view(np.recarray)
    bars.open_ms = end_ms - frame_ms * np.arange(len(rows), 0, -1)
    for place, name in enumerate(("open", "high", "low", "close", "volume_lots")):
        bars[name] = [row[place] for row in rows]
    return bars


def generated(targets, tail, seed, count=4800):
    """(open, high, low, close, volume) rows of a walk around prices that change every 50 bars."""
    x = seed

    def u(m):
        nonlocal x
        x = (1103515245 * x + 12345) % 2**31
        return (x >> 16) % m

    rows, close = [], targets[0]
    for t in range(count):
        opening = close
        target = 10000 if t >= count - tail else targets[t // 50 % 4]
        close = opening + u(61) - 30 - (opening - target) // 20
        high = max(opening, close) + u(16)
        low = min(opening, close) - u(16)
        rows.append((opening, high, low, close, 100 + u(400)))
    return rows


def grouped(rows, size):
    """Rows of the interval that is ``size`` times as long."""
    groups = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [
        (g[0][0], max(r[1] for r in g), min(r[2] for r in g), g[-1][3], sum(r[4] for r in g)) for g in groups
    ]


def frames_of(rows, lookback=300):
    """The three frames a scan reads."""
    return (
        bars_of(rows[-lookback:]),
        bars_of(grouped(rows, 4)[-lookback:], 4 * QUARTER_MS),
        bars_of(grouped(rows, 16)[-lookback:], 16 * QUARTER_MS),
    )


def mirrored(bars, centre):
    """The bars reflected at a price."""
    out = bars.copy()
    for name in ("open", "close"):
        out[name] = 2 * centre - bars[name]
    out.high = 2 * centre - bars.low
    out.low = 2 * centre - bars.high
    return out
