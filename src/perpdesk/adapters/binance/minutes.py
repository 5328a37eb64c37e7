"""Closed 1-minute bars of all symbols, minute by minute: from the stream, and what it did not tell over REST.

A minute is told once, in order. It waits for every symbol, but not longer than the grace; then the missing
bars are asked for. A symbol that the exchange has no bar of is absent; one that could not be asked is absent
too, and counted, because the run cannot wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import numpy as np

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.quantise import Rules
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.stream_events import KlineBar
from perpdesk.domain import units
from perpdesk.domain.errors import PerpdeskError
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, bar_dt, zeros
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
GRACE_MS = 2_500
ASK_AGAIN_MS = 1_000
ASKS_MAX = 5
LIMIT = 1_000

Row = tuple[int, int, int, int, int, int]


class Minutes:
    """``run`` until cancelled; emit(now_ms, bars [N] of bar_dt) for every closed minute, in order."""

    def __init__(
        self, rules: list[Rules], rest: Rest, clock: Clock, emit: Callable[[int, np.ndarray], None]
    ) -> None:
        self.missing = 0  # bars that could not be asked for
        self._rules, self._rest, self._clock, self._emit = rules, rest, clock, emit
        self._place = {rule.symbol: i for i, rule in enumerate(rules)}
        self._rows: dict[int, dict[int, Row]] = {}
        self._told = asyncio.Event()
        self._next_ms = 0

    def told(self, symbol: str, bar: KlineBar) -> None:
        """A closed bar of the stream; one that was told before is ignored."""
        i = self._place.get(symbol)
        if i is None or bar.open_ms < self._next_ms:
            return
        row = self._row(i, bar.open_ms, bar.open, bar.high, bar.low, bar.close, bar.volume)
        self._rows.setdefault(bar.open_ms, {}).setdefault(i, row)
        self._told.set()

    async def run(self) -> None:
        """Tell minutes, beginning with the one that is under way."""
        server = self._rest.server
        self._next_ms = server.now_ms() // MINUTE_MS * MINUTE_MS
        while True:
            close_ms = self._next_ms + MINUTE_MS
            await self._wait(server.local_ms(close_ms + GRACE_MS))
            await self._fill_gaps(server.now_ms())
            self._emit(close_ms, self._bars(self._rows.pop(self._next_ms, {})))
            self._next_ms = close_ms
            for late_ms in [ms for ms in self._rows if ms < close_ms]:
                del self._rows[late_ms]

    async def _wait(self, until_ms: int) -> None:
        while len(self._rows.get(self._next_ms, ())) < len(self._rules) and self._clock.now_ms() < until_ms:
            self._told.clear()
            waits = {
                asyncio.ensure_future(self._clock.sleep_until(until_ms)),
                asyncio.ensure_future(self._told.wait()),
            }
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _fill_gaps(self, now_ms: int) -> None:
        for asked in range(ASKS_MAX):
            have = self._rows.setdefault(self._next_ms, {})
            lacking = [i for i in range(len(self._rules)) if i not in have]
            if not lacking:
                return
            if asked:
                await self._clock.sleep_until(self._clock.now_ms() + ASK_AGAIN_MS)
            answers = await asyncio.gather(*(self._ask(i, now_ms) for i in lacking))
            if all(answers):
                return
        lost = len(self._rules) - len(self._rows.get(self._next_ms, ()))
        self.missing += lost
        LOG.warning("%d bars of minute %d could not be asked for", lost, self._next_ms)

    async def _ask(self, i: int, now_ms: int) -> bool:
        """Fetch a symbol's closed bars from the next minute on. True: the exchange answered."""
        count = min(LIMIT, max(1, (now_ms - self._next_ms) // MINUTE_MS))
        params = (
            ("symbol", self._rules[i].symbol),
            ("interval", "1m"),
            ("startTime", self._next_ms),
            ("limit", count),
        )
        try:
            rows: list[p.Kline] = await self._rest.ask(to.klines(count), params, Lane.QUERY)
            for row in rows:
                open_ms = int(row[p.KLINE_OPEN_MS])
                if int(row[p.KLINE_CLOSE_MS]) < now_ms and open_ms >= self._next_ms:
                    values = [str(row[at]) for at in range(p.KLINE_OPEN, p.KLINE_VOLUME + 1)]
                    self._rows.setdefault(open_ms, {}).setdefault(i, self._row(i, open_ms, *values))
        except (PerpdeskError, IndexError, ValueError) as error:
            LOG.warning("klines of %s: %s", self._rules[i].symbol, error)
            return False
        return True

    def _row(self, i: int, open_ms: int, opened: str, high: str, low: str, close: str, volume: str) -> Row:
        rule = self._rules[i]
        prices = [rule.price_near(text) for text in (opened, high, low, close)]
        lots = units.lots_floor(volume, rule.lot_step, f"{rule.symbol} volume")
        return (open_ms, prices[0], prices[1], prices[2], prices[3], lots)

    def _bars(self, rows: dict[int, Row]) -> np.ndarray:
        bars = zeros(len(self._rules), bar_dt)
        bars.open_ms = ABSENT_MS
        for i, row in rows.items():
            bars[i] = row
        return bars
