"""How long a scan of 300 symbols takes: both versions, scored anew from the closed bars in memory, one core.

    .venv/bin/python bench/score_scan.py [SYMBOLS]

Prints one JSON object. Compiling and the 201 hours of history that come first are not in the figure.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from perpdesk.app import Market, scanner
from perpdesk.config.load import loads
from perpdesk.kernel.intervals import HOUR_MS
from perpdesk.kernel.records import MINUTE_MS, bar_dt, funding_dt, zeros
from perpdesk.market.synthetic import synthetic_market
from perpdesk.market.universe import Universe
from perpdesk.research.scanner import Scanner
from perpdesk.strategies.score_v2 import state as v2
from perpdesk.strategies.score_v3 import state as v3
from perpdesk.strategies.score_v3.regime import BIG4

MINUTES = 201 * 60
ROUNDS = 20


def market(symbols: int) -> Market:
    """So many symbols of 201 hours: one seeded walk, shifted in time for each."""
    made = synthetic_market(7, 2, MINUTES + symbols)
    tape, walk = made.tape, made.tape.bars[:, 1]
    bars = zeros((MINUTES, symbols), bar_dt)
    for s in range(symbols):
        bars[:, s] = walk[s : s + MINUTES]
    bars["open_ms"] = tape.start_ms + MINUTE_MS * np.arange(MINUTES)[:, None]
    names = tuple(sorted((*BIG4, *(f"C{s:03}USDT" for s in range(symbols - len(BIG4))))))
    one = tape.universe
    universe = Universe(
        names,
        (one.instruments[1],) * symbols,
        (one.price_digits[1],) * symbols,
        (one.lot_step[1],) * symbols,
        (one.price_max[1],) * symbols,
    )
    return Market(
        universe=universe,
        warmup=bars,
        warmup_ms=tape.start_ms,
        bars=bars[:0],
        from_ms=tape.start_ms + MINUTES * MINUTE_MS,
        funding=zeros(0, funding_dt),
        funding_known=False,
    )


def score_anew(one: Scanner) -> None:
    """Every symbol's window of both versions, scored again."""
    for state in one.minds[0].states:
        v2.rescore(state)
    params, shared = one.minds[1].params[0], one.minds[1].shared[0]
    for state in one.minds[1].states:
        v3.rescore(params, state, shared.direction, shared.strength)


def main() -> None:
    """Print the figure."""
    symbols = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seen = market(symbols)
    one = scanner(loads(""), ["score_v2", "score_v3"], seen)
    now_ms = seen.from_ms - seen.from_ms % HOUR_MS
    score_anew(one)
    one.scan(now_ms)
    wall, cpu = [], []
    for _ in range(ROUNDS):
        began, began_cpu = time.perf_counter(), time.process_time()
        score_anew(one)
        readings = one.scan(now_ms)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    scored = sum(reading.long_score is not None for reading in readings)
    print(
        json.dumps(
            {
                "symbols": symbols,
                "versions": 2,
                "scored": scored,
                "cpu_ms_median": round(sorted(cpu)[ROUNDS // 2] * 1000, 1),
                "wall_ms_median": round(sorted(wall)[ROUNDS // 2] * 1000, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
