"""Bars of a pair: seconds for the last hour, minutes for the last day and more, longer ones from minutes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SECOND_MS, MINUTE_MS = 1_000, 60_000
INTERVALS = {
    "1s": SECOND_MS,
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1_440 * MINUTE_MS,
}
SECONDS_KEPT, MINUTES_KEPT = 3_600, 10_080


@dataclass(slots=True)
class Bar:
    """One bar. taker_*: what buyers took."""

    open_ms: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    qty_e8: int = 0
    quote_e8: int = 0
    count: int = 0
    taker_qty_e8: int = 0
    taker_quote_e8: int = 0

    def take(self, other: Bar) -> None:
        """Join a later bar into this one."""
        self.high_e8, self.low_e8 = max(self.high_e8, other.high_e8), min(self.low_e8, other.low_e8)
        self.close_e8 = other.close_e8
        self.qty_e8 += other.qty_e8
        self.quote_e8 += other.quote_e8
        self.count += other.count
        self.taker_qty_e8 += other.taker_qty_e8
        self.taker_quote_e8 += other.taker_quote_e8


@dataclass(slots=True)
class Bars:
    """Only periods in which the price was seen are kept; the others repeat the close before them."""

    seconds: deque[Bar] = field(default_factory=lambda: deque(maxlen=SECONDS_KEPT))
    minutes: deque[Bar] = field(default_factory=lambda: deque(maxlen=MINUTES_KEPT))

    def see(self, price_e8: int, qty_e8: int, quote_e8: int, ms: int, buyer_took: bool) -> None:
        """An execution, or with qty 0 a price at which nothing was executed."""
        for kept, length in ((self.seconds, SECOND_MS), (self.minutes, MINUTE_MS)):
            open_ms = ms // length * length
            if not kept or kept[-1].open_ms < open_ms:
                # a bar opens where the one before it closed: the price was there all the time
                opening = kept[-1].close_e8 if kept else price_e8
                high, low = max(opening, price_e8), min(opening, price_e8)
                kept.append(Bar(open_ms, opening, high, low, price_e8))
            bar = kept[-1]
            bar.high_e8, bar.low_e8 = max(bar.high_e8, price_e8), min(bar.low_e8, price_e8)
            bar.close_e8 = price_e8
            if qty_e8:
                bar.qty_e8 += qty_e8
                bar.quote_e8 += quote_e8
                bar.count += 1
                if buyer_took:
                    bar.taker_qty_e8 += qty_e8
                    bar.taker_quote_e8 += quote_e8

    def rows(
        self, interval: str, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int
    ) -> list[Bar]:
        """At most ``limit`` bars without gaps: the oldest from start_ms, else the newest up to end_ms.

        Before the first price ever seen the market is taken to have stood at it.
        """
        length = INTERVALS[interval]
        kept = self.seconds if interval == "1s" else self.minutes
        if not kept:
            return []
        last_ms = min(now_ms, now_ms if end_ms is None else end_ms) // length * length
        if start_ms is None:
            first_ms = last_ms - (limit - 1) * length
        else:
            first_ms = -(-start_ms // length) * length
            last_ms = min(last_ms, first_ms + (limit - 1) * length)
        if last_ms < first_ms:
            return []
        seen: dict[int, Bar] = {}
        close = kept[0].open_e8
        for bar in kept:
            open_ms = bar.open_ms // length * length
            if open_ms < first_ms:
                close = bar.close_e8
                continue
            if open_ms > last_ms:
                break
            if open_ms in seen:
                seen[open_ms].take(bar)
            else:
                seen[open_ms] = Bar(open_ms, *_figures(bar))
        found = []
        for open_ms in range(first_ms, last_ms + 1, length):
            one = seen.get(open_ms) or Bar(open_ms, close, close, close, close)
            close = one.close_e8
            found.append(one)
        return found


def bars_of(seconds_max: int) -> Bars:
    """Bars that remember only so many seconds; of minutes as many, at most a week."""
    return Bars(deque(maxlen=seconds_max), deque(maxlen=min(MINUTES_KEPT, seconds_max)))


def _figures(bar: Bar) -> tuple[int, ...]:
    return (
        bar.open_e8,
        bar.high_e8,
        bar.low_e8,
        bar.close_e8,
        bar.qty_e8,
        bar.quote_e8,
        bar.count,
        bar.taker_qty_e8,
        bar.taker_quote_e8,
    )
