"""Klines from minutes: recorded ones exactly as the file has them, grown ones from the ticks of this run.

A row is (open_ms, open, high, low, close, lots, quote_e8, trades, taker_buy_lots, taker_buy_quote_e8) in the
contract's integers.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.numbers import money
from perpdesk.exchange.server.details import CandleDetails
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.tape import Tape

Row = tuple[int, ...]

_HOUR, _DAY = 60 * MINUTE_MS, 1440 * MINUTE_MS
INTERVALS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "6h": 6 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
    "1M": 31 * _DAY,
}
_MONDAY_MS = 4 * _DAY  # 1970-01-05
_KEPT = 100_000


def start_of(interval: str, ms: int) -> int:
    """The open time of the bar that a moment belongs to."""
    if interval == "1M":
        day = datetime.fromtimestamp(ms // 1000, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1000
    length = INTERVALS[interval]
    shift = _MONDAY_MS if interval == "1w" else 0
    return (ms - shift) // length * length + shift


def end_of(interval: str, start_ms: int) -> int:
    """The open time of the next bar."""
    if interval == "1M":
        return start_of("1M", start_ms + 32 * _DAY)
    return start_ms + INTERVALS[interval]


def _opened(row: list[int]) -> int:
    return row[0]


class Candles:
    """One contract's minutes."""

    def __init__(self, contract: Contract, tape: Tape | None, details: CandleDetails | None = None) -> None:
        self.contract = contract
        self._details = details
        self._tape = tape
        self._bars: Any = None if tape is None else tape.bars[:, contract.index]
        self.closed_steps = 0
        self.grown: list[list[int]] = []

    def close_recorded(self, steps: int) -> None:
        """So many minutes of the tape are over: from here on the file's rows are shown for them."""
        self.closed_steps = steps
        end_ms = self._tape.start_ms + steps * MINUTE_MS if self._tape is not None else 0
        self.grown = [row for row in self.grown if row[0] >= end_ms]

    def see(self, price: int, lots: int, taker_buys: bool, ms: int) -> None:
        """A trade or a tick."""
        self.fill_to(ms)
        open_ms = ms // MINUTE_MS * MINUTE_MS
        if not self.grown or self.grown[-1][0] < open_ms:
            self.grown.append([open_ms, price, price, price, price, 0, 0, 0, 0, 0])
            del self.grown[:-_KEPT]
        row = self.grown[-1]
        row[2] = max(row[2], price)
        row[3] = min(row[3], price)
        row[4] = price
        if lots:
            quote = self.contract.notional_e8(price, lots)
            row[5] += lots
            row[6] += quote
            row[7] += 1
            if taker_buys:
                row[8] += lots
                row[9] += quote

    def fill_to(self, ms: int) -> None:
        """Minutes without trades are flat ones."""
        if not self.grown or self._tape is not None:
            return
        last = self.grown[-1]
        missing = ms // MINUTE_MS - last[0] // MINUTE_MS
        for i in range(max(1, missing - _KEPT), missing + 1):
            close = last[4]
            self.grown.append([last[0] + i * MINUTE_MS, close, close, close, close, 0, 0, 0, 0, 0])
        del self.grown[:-_KEPT]

    def rows(
        self, interval: str, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int
    ) -> list[Row]:
        """Oldest first: from start_ms on, else the newest ones up to end_ms."""
        self.fill_to(now_ms)
        last_ms = now_ms if end_ms is None else min(end_ms, now_ms)
        length = INTERVALS[interval]
        if start_ms is not None:
            first_ms = -(-start_ms // MINUTE_MS) * MINUTE_MS
            opened = start_of(interval, first_ms)
            first_ms = opened if opened >= start_ms else end_of(interval, opened)
            last_ms = min(last_ms, first_ms + (limit + 1) * length)
        else:
            first_ms = start_of(interval, max(0, last_ms - limit * length))
            earliest = self._earliest()
            if earliest is not None and earliest > last_ms:
                return []
        stop_ms = start_of(interval, last_ms)
        minutes = self._minutes(first_ms, min(end_of(interval, stop_ms), now_ms + 1))
        found = aggregate(minutes, interval)
        return found[:limit] if start_ms is not None else found[-limit:]

    def _earliest(self) -> int | None:
        if self._tape is not None:
            return self._tape.start_ms
        return self.grown[0][0] if self.grown else None

    def _minutes(self, first_ms: int, stop_ms: int) -> list[Row]:
        found: list[Row] = []
        if self._tape is not None and self.closed_steps:
            low = max(0, (first_ms - self._tape.start_ms) // MINUTE_MS)
            high = min(self.closed_steps, -(-(stop_ms - self._tape.start_ms) // MINUTE_MS))
            if high > low:
                bars = self._bars[low:high]
                bars = bars[np.asarray(bars["open_ms"]) >= 0]
                unit = self.contract.unit_e8
                for open_ms, opening, top, bottom, close, lots in bars.tolist():
                    more = None if self._details is None else self._details.at(self.contract, open_ms)
                    rest = (close * lots * unit, 0, 0, 0) if more is None else more
                    found.append((open_ms, opening, top, bottom, close, lots, *rest))
        begin = bisect_left(self.grown, first_ms, key=_opened)  # in order of their opening
        found += [tuple(row) for row in islice(self.grown, begin, None) if row[0] < stop_ms]
        return found

    def newest(self, interval: str, now_ms: int) -> Row | None:
        """The bar under way."""
        found = self.rows(interval, None, None, 1, now_ms)
        return found[0] if found else None


def aggregate(minutes: list[Row], interval: str) -> list[Row]:
    """Higher bars from the minutes that are there."""
    if interval == "1m":
        return minutes
    found: list[Row] = []
    group: list[int] = []
    until = -1
    for row in minutes:
        if row[0] >= until:
            if group:
                found.append(tuple(group))
            start = start_of(interval, row[0])
            until = end_of(interval, start)
            group = [start, *row[1:]]
            continue
        group[2] = max(group[2], row[2])
        group[3] = min(group[3], row[3])
        group[4] = row[4]
        for i in range(5, 10):
            group[i] += row[i]
    if group:
        found.append(tuple(group))
    return found


def json_row(contract: Contract, interval: str, row: Row) -> list[Any]:
    """A kline as REST answers it."""
    price, qty = contract.price_text, contract.qty_text
    return [
        row[0],
        price(row[1]),
        price(row[2]),
        price(row[3]),
        price(row[4]),
        qty(row[5]),
        end_of(interval, row[0]) - 1,
        money(row[6]),
        row[7],
        qty(row[8]),
        money(row[9]),
        "0",
    ]
