"""A synthetic market with signals at known days, and places of work on it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import upgrade
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.app import Market
from perpdesk.config.load import Loaded, loads
from perpdesk.grid_desk.executing import Executing
from perpdesk.grid_desk.gate import Verdict
from perpdesk.grid_desk.place import Minutes, Place
from perpdesk.kernel.records import DAY_MS, MINUTE_MS, funding_dt, zeros
from perpdesk.market.synthetic import START_MS, synthetic_market

SEED, DAYS = 3, 23
# The first signal (a SPRING at a support) is confirmed at day 20.5729.
BEGIN_MS = START_MS + 20 * DAY_MS + 12 * 60 * MINUTE_MS
SETTINGS = (
    "grid.executor.atr_multiplier=0.2",
    "grid.executor.initial_levels=3",
    "grid.executor.order_size_usdt=400",
    "grid.executor.allocated_capital_usdt=4000",
    "grid.executor.max_position_usdt=4000",
)
ACCOUNT = 1


def loaded(*more: str) -> Loaded:
    """The defaults with sizes that the synthetic contract takes."""
    return loads("", options=(*SETTINGS, *more))


@cache
def market(seed: int = SEED, days: int = DAYS) -> Market:
    """So many days of one invented symbol; the run begins at BEGIN_MS. Do not write to its arrays."""
    tape = synthetic_market(seed, 1, days * 1440).tape
    at = (BEGIN_MS - START_MS) // MINUTE_MS
    return Market(
        universe=tape.universe,
        warmup=tape.bars[:at],
        warmup_ms=tape.start_ms,
        bars=tape.bars[at:],
        from_ms=BEGIN_MS,
        funding=zeros(0, funding_dt),
        funding_known=False,
    )


def shortened(whole: Market, minutes: int) -> Market:
    """The same with only so many minutes of the run."""
    return replace(whole, bars=whole.bars[:minutes])


def with_bars(whole: Market, bars: np.ndarray) -> Market:
    """The same with other bars of the run."""
    return replace(whole, bars=bars)


def place_of(store: SqlStore, *more: str, whole: Market | None = None, lease_ms: int = 30_000) -> Place:
    """A place of work on the market."""
    found = market() if whole is None else whole
    minutes = Minutes(found, found.universe.symbols[0])
    return Place(store, loaded(*more), minutes, SystemClock(), lease_ms=lease_ms)


def database(folder) -> str:
    """A fresh database in a file."""
    url = f"sqlite:///{folder}/grid.sqlite"
    upgrade(url)
    return url


async def enabled(store: SqlStore) -> None:
    """Let the account trade."""
    await store.set_trading_control(ACCOUNT, True, "test", 1)


async def step(place: Place, now_ms: int, *, what: str = "ste", override: str | None = "test") -> object:
    """One call of each command named (scanner, trigger, executor) at a minute."""
    from perpdesk.grid_desk.scanning import scan_once
    from perpdesk.grid_desk.watching import watch_once

    result: object = None
    if "s" in what:
        async with place.leased("scanner") as mine:
            assert mine
            result = await scan_once(place, now_ms)
    if "t" in what:
        async with place.leased("trigger") as mine:
            assert mine
            result = await watch_once(place, now_ms)
    if "e" in what:
        async with place.leased("executor") as mine:
            assert mine
            executing = Executing(place, ACCOUNT, Verdict(False, "none"), override)
            result = await executing.step_to(now_ms)
    return result
