"""Small markets for whole desks: seeded and synthetic, or drawn by hand, and configurations in one line."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import cache

import numpy as np
from tests.kernel.tables import START_MS, bars_of

from perpdesk.app import Market
from perpdesk.config.load import Loaded, loads
from perpdesk.kernel.records import MINUTE_MS, funding_dt, zeros
from perpdesk.market.instruments import contract
from perpdesk.market.synthetic import synthetic_market
from perpdesk.market.universe import Universe

DAY = 1440
SCORE_WARMUP = 9 * DAY  # score_v2 needs 200 closed hours

_PRICES = ("open", "high", "low", "close")


def configured(*options: str) -> Loaded:
    """The defaults with some options on top (``sma_cross.stop=0.02``)."""
    return loads("", options=options)


@cache
def synthetic(minutes: int, *, seed: int = 7, symbols: int = 3, warmup: int = 0) -> Market:
    """So many traded minutes of a seeded market, after so many of warm-up. Do not write to its arrays."""
    made = synthetic_market(seed, symbols, warmup + minutes)
    return Market(
        universe=made.tape.universe,
        warmup=made.tape.bars[:warmup],
        warmup_ms=made.tape.start_ms,
        bars=made.tape.bars[warmup:],
        from_ms=made.tape.start_ms + warmup * MINUTE_MS,
        funding=made.funding,
        funding_known=True,
    )


def drawn(*tables: str, warmup: int = 0) -> Market:
    """One symbol per candle table (AAAUSDT, BBBUSDT …): prices are whole USDT, a lot is 0.01.

    So a lot at price 100 is worth one USDT.
    """
    bars = bars_of(*tables)
    names = tuple(f"{chr(ord('A') + s) * 3}USDT" for s in range(len(tables)))
    instruments = tuple(
        contract(
            name,
            price_tick=Decimal(1),
            lot_step=Decimal("0.01"),
            qty_min=Decimal("0.01"),
            qty_max=Decimal(100_000),
            market_qty_max=Decimal(100_000),
            notional_min=Decimal("0.01"),
        )
        for name in names
    )
    width = len(names)
    universe = Universe(
        names, instruments, (0,) * width, (Decimal("0.01"),) * width, (int(bars["high"].max()),) * width
    )
    return Market(
        universe=universe,
        warmup=bars[:warmup],
        warmup_ms=START_MS,
        bars=bars[warmup:],
        from_ms=START_MS + warmup * MINUTE_MS,
        funding=zeros(0, funding_dt),
        funding_known=True,
    )


def with_drops(market: Market, share: float, *, every: int, length: int = 20) -> Market:
    """Every so many minutes a symbol opens lower by this share and is back after ``length`` minutes."""
    bars = market.bars.copy()
    for s in range(bars.shape[1]):
        for at in range(every // 2 + 7 * s, len(bars), every):
            for name in _PRICES:
                rows = bars[name][at : at + length, s]
                rows[:] = np.maximum(1, (rows * (1 - share)).astype(np.int64))
    return replace(market, bars=bars)


def with_holes(market: Market, *, every: int, length: int) -> Market:
    """Every so many minutes one symbol has no bars for ``length`` minutes."""
    bars = market.bars.copy()
    for s in range(bars.shape[1]):
        for at in range(every // 3 + 11 * s, len(bars), every):
            bars[at : at + length, s] = np.zeros((), bars.dtype)
            bars["open_ms"][at : at + length, s] = -1
    return replace(market, bars=bars)


def shortened(market: Market, minutes: int) -> Market:
    """The same market, with the rows after so many minutes physically absent."""
    end_ms = market.from_ms + minutes * MINUTE_MS
    funding = market.funding[market.funding["ms"] <= end_ms].copy().view(np.recarray)
    return replace(market, bars=market.bars[:minutes].copy(), funding=funding)


def started_at(market: Market, minutes: int) -> Market:
    """The same market with its first minutes moved to the warm-up."""
    return replace(
        market,
        warmup=np.concatenate([market.warmup, market.bars[:minutes]]),
        bars=market.bars[minutes:],
        from_ms=market.from_ms + minutes * MINUTE_MS,
    )
