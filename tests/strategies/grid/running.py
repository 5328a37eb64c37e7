"""One symbol run through the compiled step: a started grid, bars as rows, fills as rows."""

from __future__ import annotations

import numpy as np
from tests.kernel.tables import START_MS, account_record, guard_record, instrument_records, sleeve_records

from perpdesk.kernel.records import MINUTE_MS, bar_dt, zeros
from perpdesk.kernel.replay import Replay, new_books, new_mind
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import LONG, Market, make_plan
from perpdesk.strategies.grid.strategy import STRATEGY, order_start, params_record

UNIT_E8 = 1000  # tick 0.01 × lot 0.001
USDT = 10**8


def minutes(rows, first_ms=START_MS):
    """[T, 1] bars of (open, high, low, close[, lots traded]) rows."""
    bars = zeros((len(rows), 1), bar_dt)
    for t, row in enumerate(rows):
        bars[t, 0] = (first_ms + t * MINUTE_MS, *row[:4], row[4] if len(row) > 4 else 10**9)
    return bars


class GridRun:
    """A grid over one symbol; the first bar only sets the last price."""

    def __init__(self, *, skip=True, slippage_ppm=750, volume_share_ppm=0, unit_e8=UNIT_E8, **record):
        executor = record.pop("executor", ExecutorParams())
        slots = 4 + 2 * executor.grid_levels + executor.initial_levels
        mind = new_mind(STRATEGY, params_record(executor, unit_e8=unit_e8, **record), guard_record(), 1)
        books = new_books(
            account_record(100_000, slippage_ppm=slippage_ppm, volume_share_ppm=volume_share_ppm),
            sleeve_records(),
            instrument_records(unit_e8=unit_e8),
            slots,
        )
        self.replay = Replay(mind, books, skip=skip)
        self.executor, self.unit_e8, self.at_ms = executor, unit_e8, START_MS

    @property
    def state(self):
        return self.replay.mind.states[0]

    @property
    def position(self):
        return self.replay.books.positions[0, 0]

    @property
    def slots(self):
        return self.replay.books.slots[0, 0]

    def start(self, a0=10_000, step=100, variant=LONG, zone=None):
        """Order a run around a0 and let one flat minute begin it."""
        zone_lo, zone_hi = zone or (a0 - step, a0 + step)
        plan = make_plan(variant, a0, step, zone_lo, zone_hi, self.executor, Market(self.unit_e8))
        order_start(self.state, plan)
        return self.feed((a0, a0, a0, a0))

    def feed(self, *rows):
        """Run more minutes; answers the fills they made as (side, price, lots)."""
        before = len(self.replay.all_fills())
        self.replay.feed(minutes(rows, self.at_ms), self.at_ms)
        self.at_ms += len(rows) * MINUTE_MS
        return [(int(f.side), int(f.price), int(f.lots)) for f in self.replay.all_fills()[before:]]

    def profit_e8(self):
        """Cash won or lost since the start of everything, 1e-8 USDT."""
        account = self.replay.books.account[0]
        return int(account.cash_e8 - account.initial_e8)

    def wanted(self):
        """(side, price, lots) of every order resting, highest first."""
        rows = [(int(s.side), int(s.price), int(s.lots)) for s in self.slots if s.kind]
        return sorted(rows, key=lambda row: -row[1])


def random_walk(seed, count, *, start=10_000, reach=60, jump=0.01):
    """Rows of a walk with now and then a jump of up to 12 percent."""
    rng = np.random.default_rng(seed)
    rows, close = [], start
    for _ in range(count):
        opening = close
        if rng.random() < jump:
            opening = max(100, int(close * rng.uniform(0.88, 1.1)))
        close = max(100, opening + int(rng.integers(-reach, reach + 1)))
        high = max(opening, close) + int(rng.integers(0, reach))
        low = max(50, min(opening, close) - int(rng.integers(0, reach)))
        rows.append((opening, high, low, close))
    return rows
