"""The limit: the rule alone as one compiled loop over integer columns, no ledger, no guard, no gate.

What a hand-written loop reaches on this machine; perpdesk's own figure is read against it. Fills are the
same as perpdesk's as long as nothing but the rule refuses an entry.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numba import njit
from peers.lap import Lap, Prepared, main
from peers.work import (
    ARM_FRACTION,
    FAST,
    FEE_FRACTION,
    NOTIONAL,
    POSITIONS_MAX,
    RETRACE_FRACTION,
    SLIPPAGE_FRACTION,
    SLOW,
    STOP_FRACTION,
    TIMEOUT_MINUTES,
    count,
    price_digits,
    read,
)

PPM = 1_000_000
FAR = 1 << 60
STOP, ARM, RETRACE, FEE, SLIPPAGE = (
    round(fraction * PPM)
    for fraction in (STOP_FRACTION, ARM_FRACTION, RETRACE_FRACTION, FEE_FRACTION, SLIPPAGE_FRACTION)
)


@njit
def bought(price):
    """A market buy after slippage, rounded up."""
    return -(-price * (PPM + SLIPPAGE) // PPM)


@njit
def sold(price):
    """A market sell after slippage, rounded down."""
    return price * (PPM - SLIPPAGE) // PPM


@njit
def exit_in_bar(open_, high, low, close, stop, arm, peak):
    """Walk open → nearer extreme → other extreme → close; (exit price or 0, peak or 0 if not armed)."""
    if open_ <= stop:
        return open_, peak
    low_first = open_ - low < high - open_ or (open_ - low == high - open_ and close >= open_)
    at = open_
    for leg in range(3):
        end = close if leg == 2 else low if (leg == 0) == low_first else high
        level = stop if peak == 0 else max(stop, peak - peak * RETRACE // PPM)
        if end <= level:
            return min(at, level), peak
        if end > peak and (peak > 0 or end >= arm):
            peak = end
        at = end
    return 0, peak


@njit
def one_symbol(open_, high, low, close, notional):
    """W1 → (fills, cash made)."""
    fills = 0
    cash = 0
    lots = 0
    stop = -FAR
    arm = FAR
    peak = 0
    lo = -FAR
    hi = FAR
    above = False
    wanted = 0
    fast = 0
    slow = 0
    for i in range(SLOW):
        slow += close[i]
        if i >= SLOW - FAST:
            fast += close[i]
    above = fast * SLOW > slow * FAST
    for i in range(SLOW, close.shape[0]):
        if wanted != 0:
            if wanted > 0:
                price = bought(open_[i])
                lots = notional // price
                stop = -(-price * (PPM - STOP) // PPM)
                arm = -(-price * (PPM + ARM) // PPM)
                peak = 0
                lo = stop
                hi = arm
                cash -= lots * price + lots * price * FEE // PPM
            else:
                price = sold(open_[i])
                cash += lots * price - lots * price * FEE // PPM
                lots = 0
                lo = -FAR
                hi = FAR
            fills += 1
            wanted = 0
        if low[i] <= lo or high[i] >= hi:
            price, peak = exit_in_bar(open_[i], high[i], low[i], close[i], stop, arm, peak)
            if price > 0:
                price = sold(price)
                cash += lots * price - lots * price * FEE // PPM
                lots = 0
                fills += 1
                lo = -FAR
                hi = FAR
            elif peak > 0:
                lo = max(stop, peak - peak * RETRACE // PPM)
                hi = peak + 1
        fast += close[i] - close[i - FAST]
        slow += close[i] - close[i - SLOW]
        now_above = fast * SLOW > slow * FAST
        if now_above != above:
            above = now_above
            if above and lots == 0:
                wanted = 1
            elif not above and lots > 0:
                wanted = -1
    return fills, cash


@njit
def many_symbols(open_, high, low, close, notional, positions_max, timeout):
    """W2 over arrays [bars, symbols] → (fills, cash made)."""
    symbols = close.shape[1]
    fills = 0
    cash = 0
    held = 0
    lots = np.zeros(symbols, np.int64)
    stop = np.full(symbols, -FAR)
    arm = np.full(symbols, FAR)
    peak = np.zeros(symbols, np.int64)
    lo = np.full(symbols, -FAR)
    hi = np.full(symbols, FAR)
    due = np.full(symbols, FAR)
    wanted = np.zeros(symbols, np.int64)
    fast = np.zeros(symbols, np.int64)
    slow = np.zeros(symbols, np.int64)
    above = np.zeros(symbols, np.bool_)
    for s in range(symbols):
        for i in range(SLOW):
            slow[s] += close[i, s]
            if i >= SLOW - FAST:
                fast[s] += close[i, s]
        above[s] = fast[s] * SLOW > slow[s] * FAST
    candidates = np.zeros(symbols, np.int64)
    for i in range(SLOW, close.shape[0]):
        candidate_count = 0
        for s in range(symbols):
            if wanted[s] != 0:
                if wanted[s] > 0:
                    price = bought(open_[i, s])
                    lots[s] = notional[s] // price
                    stop[s] = -(-price * (PPM - STOP) // PPM)
                    arm[s] = -(-price * (PPM + ARM) // PPM)
                    peak[s] = 0
                    lo[s] = stop[s]
                    hi[s] = arm[s]
                    due[s] = i + timeout - 1
                    cash -= lots[s] * price + lots[s] * price * FEE // PPM
                else:
                    price = sold(open_[i, s])
                    cash += lots[s] * price - lots[s] * price * FEE // PPM
                    lots[s] = 0
                    held -= 1
                    lo[s] = -FAR
                    hi[s] = FAR
                    due[s] = FAR
                fills += 1
                wanted[s] = 0
            if low[i, s] <= lo[s] or high[i, s] >= hi[s]:
                price, peak[s] = exit_in_bar(
                    open_[i, s], high[i, s], low[i, s], close[i, s], stop[s], arm[s], peak[s]
                )
                if price > 0:
                    price = sold(price)
                    cash += lots[s] * price - lots[s] * price * FEE // PPM
                    lots[s] = 0
                    held -= 1
                    fills += 1
                    lo[s] = -FAR
                    hi[s] = FAR
                    due[s] = FAR
                elif peak[s] > 0:
                    lo[s] = max(stop[s], peak[s] - peak[s] * RETRACE // PPM)
                    hi[s] = peak[s] + 1
            fast[s] += close[i, s] - close[i - FAST, s]
            slow[s] += close[i, s] - close[i - SLOW, s]
            now_above = fast[s] * SLOW > slow[s] * FAST
            if now_above != above[s]:
                above[s] = now_above
                if now_above and lots[s] == 0:
                    candidates[candidate_count] = s
                    candidate_count += 1
                elif not now_above and lots[s] > 0:
                    wanted[s] = -1
            if i >= due[s]:
                wanted[s] = -1
        for k in range(candidate_count):  # universe order, as the gate does with equal scores
            if held < positions_max:
                held += 1
                wanted[candidates[k]] = 1
    return fills, cash


def prepare(work: str, folder: Path, days: int) -> Prepared:
    """Integer columns; for W2 time-major."""
    market = read(folder, days)
    digits = [price_digits(columns) for columns in market.values()]
    arrays = [
        np.ascontiguousarray(
            np.stack(
                [
                    np.rint(getattr(columns, name) * 10.0**d).astype(np.int64)
                    for columns, d in zip(market.values(), digits, strict=True)
                ],
                axis=1,
            )
        )
        for name in ("open", "high", "low", "close")
    ]
    notional = np.array([round(NOTIONAL * 10**d) * 1_000 for d in digits])  # lots of one thousandth

    def run() -> Lap:
        started = time.perf_counter()
        if work == "w1":
            fills, _ = one_symbol(*columns, notional[0])
        else:
            fills, _ = many_symbols(*arrays, notional, POSITIONS_MAX[work], TIMEOUT_MINUTES[work])
        return Lap(time.perf_counter() - started, fills)

    columns = [np.ascontiguousarray(array[:, 0]) for array in arrays]
    return Prepared(count(market), run)


if __name__ == "__main__":
    main("bare numba loop", prepare)
