"""hftbacktest's W4: bars as trades along their path, real resting orders, no latency, the rule compiled.

A down move ends in a seller's trade, an up move in a buyer's; trades of no quantity fill what they go through
and nothing at a touch. What the end of the ladder closes, it closes at the close of the bar, by an order that
crosses. Timed: the run over events in memory.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    EXCH_EVENT,
    GTC,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from ladder import LEVELS, MAKER_FRACTION, NOTIONAL, STEP_FRACTION, TAKER_FRACTION
from lap import Lap, Prepared, main
from numba import njit
from work import Columns, count, price_digits, read

MINUTE_NS = 60_000_000_000
LOT = 1e-3
FILLED = 3
OFFSETS_NS = (1_000, 1_001, 20_000_000_000, 40_000_000_000, 59_000_000_000)


def events_of(columns: Columns) -> np.ndarray:
    """Five trades a bar: the open as both sides' (a jump fills either way), both extremes, close."""
    to_low, to_high = columns.open - columns.low, columns.high - columns.open
    low_first = (to_low < to_high) | ((to_low == to_high) & (columns.close >= columns.open))
    near = np.where(low_first, columns.low, columns.high)
    far = np.where(low_first, columns.high, columns.low)
    points = np.stack([columns.open, columns.open, near, far, columns.close], axis=1)
    up = np.empty(points.shape, bool)
    up[:, 0], up[:, 1] = True, False
    up[:, 2], up[:, 3], up[:, 4] = ~low_first, low_first, columns.close >= far
    times = columns.open_ms[:, None] * 1_000_000 + np.array(OFFSETS_NS)
    events = np.zeros(points.size, event_dtype)
    events["ev"] = np.where(up, BUY_EVENT, SELL_EVENT).ravel() | TRADE_EVENT | EXCH_EVENT | LOCAL_EVENT
    events["exch_ts"] = events["local_ts"] = times.ravel()
    events["px"] = points.ravel()
    return events


@njit
def place(hbt, order_id, buys, price, size):
    """A resting order, or one that crosses."""
    if buys:
        hbt.submit_buy_order(0, order_id, price, size, GTC, LIMIT, False)
    else:
        hbt.submit_sell_order(0, order_id, price, size, GTC, LIMIT, False)


@njit
def ladder(hbt, first_ns, high, low, close, tick):
    """The rule, once a minute; order id = level + 20 × attempt."""
    levels = 2 * LEVELS
    resting = np.zeros(levels, np.int64)  # the order's id
    held = np.zeros(levels, np.float64)
    entry = np.zeros(levels, np.float64)
    leave = np.zeros(levels, np.float64)
    next_id = 1
    lo = hi = 0.0
    traded = 0
    hbt.elapse(1)  # its clock starts with the first event
    hbt.elapse(first_ns + MINUTE_NS - hbt.current_timestamp)
    for i in range(close.shape[0]):
        if i > 0 and hbt.elapse(MINUTE_NS) != 0:
            break
        last = close[i]
        fresh = hi == 0.0
        if not fresh and (low[i] <= lo or high[i] >= hi):
            for k in range(levels):
                if resting[k] and hbt.orders(0).get(resting[k]).cancellable:
                    hbt.cancel(0, resting[k], False)
                resting[k] = 0
            hbt.elapse(1)
            position = hbt.position(0)
            if position != 0.0:
                place(hbt, next_id, position < 0.0, last * (1.1 if position < 0.0 else 0.9), abs(position))
                next_id += 1
            fresh = True
        if fresh:
            step = np.rint(last * STEP_FRACTION / tick) * tick
            lo, hi = last - LEVELS * step, last + LEVELS * step
            for away in range(LEVELS):
                entry[away] = last - (away + 1) * step
                leave[away] = last - away * step
                entry[LEVELS + away] = last + (away + 1) * step
                leave[LEVELS + away] = last + away * step
            held[:] = 0.0
        trades = hbt.state_values(0).num_trades
        if trades == traded and not fresh:
            continue
        traded = trades
        for k in range(levels):
            below = k < LEVELS
            if resting[k] and hbt.orders(0).get(resting[k]).status == FILLED:
                size = hbt.orders(0).get(resting[k]).qty
                held[k] = 0.0 if held[k] else size
                resting[k] = 0
            if resting[k] == 0 and held[k]:
                place(hbt, next_id, not below, leave[k], held[k])
            elif resting[k] == 0 and (entry[k] < last if below else entry[k] > last):
                place(hbt, next_id, below, entry[k], np.floor(NOTIONAL / entry[k] / LOT) * LOT)
            else:
                continue
            resting[k] = next_id
            next_id += 1
        hbt.clear_inactive_orders(0)
    return hbt.state_values(0).num_trades


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Events in memory."""
    market = read(folder, days)
    columns = next(iter(market.values()))
    tick = 10.0 ** -price_digits(columns)
    events = events_of(columns)

    def run() -> Lap:
        asset = (
            BacktestAsset()
            .data(events)
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(MAKER_FRACTION, TAKER_FRACTION)
            .tick_size(tick)
            .lot_size(LOT)
            .last_trades_capacity(0)
        )
        hbt = HashMapMarketDepthBacktest([asset])
        started = time.perf_counter()
        fills = ladder(
            hbt, int(columns.open_ms[0]) * 1_000_000, columns.high, columns.low, columns.close, tick
        )
        seconds = time.perf_counter() - started
        hbt.close()
        return Lap(seconds, int(fills))

    return Prepared(count(market), run)


if __name__ == "__main__":
    main("hftbacktest", prepare)
