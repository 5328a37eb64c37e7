"""Scans of live public data, without keys and without trading: warm up once, then minute by minute."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable, Throttled
from perpdesk.adapters.binance.history import read_contracts, read_marks, read_minutes, universe_of
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.quantise import Rules
from perpdesk.adapters.binance.rest import Rest
from perpdesk.app import Market, scanner, sleeves_of
from perpdesk.config.load import Loaded
from perpdesk.kernel.records import MINUTE_MS, funding_dt, zeros
from perpdesk.ports import Clock
from perpdesk.research.scanner import Reading, Scanner

LOG = logging.getLogger(__name__)
REQUEST_TIMEOUT_MS = 5_000
# A minute's bar is asked for so long after its end, and once more if nobody has it.
GRACE_MS = 2_000
_SILENCE = (ExchangeUnreachable, ExchangeRefused, Throttled)


@dataclass
class ScanRun:
    """One process that scans. ``show``: takes the readings of each scan. scans, scored: how many so far."""

    loaded: Loaded
    strategies: Sequence[str]
    symbols: Sequence[str]
    hosts: Hosts
    clock: Clock
    show: Callable[[list[Reading]], None]
    scans: int = 0
    scored: int = 0

    async def run(self, *, once: bool = False, most: int | None = None) -> None:
        """One scan of every version now, or the scans of their grids until cancelled (or so many). Raises
        PerpdeskError where it cannot start."""
        gateway = Gateway(self.hosts, self.clock)
        rest = Rest(
            hosts=self.hosts,
            clock=self.clock,
            server=gateway.server,
            governor=gateway.governor,
            timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await rest.sync_time()
            one, rules, now_ms = await self._begin(rest)
            if once:
                self._tell(one.scan(now_ms))
                return
            while most is None or self.scans < most:
                now_ms = await self._minutes(rest, rules, one, now_ms)
                for v in range(len(one.sleeves)):
                    if one.is_due(v, now_ms) and (most is None or self.scans < most):
                        self._tell(sorted(one.read(v, now_ms), key=lambda r: (-r.best, r.symbol)))
        finally:
            await rest.close()

    async def _begin(self, rest: Rest) -> tuple[Scanner, list[Rules], int]:
        """Everything that the versions must have seen before. Returns the scanner and what it has seen to."""
        count = max(one.strategy.warmup_minutes for one in sleeves_of(self.loaded, self.strategies))
        instruments, rules = await read_contracts(rest, self.symbols)
        marks = await read_marks(rest, rules)
        bars, begin_ms = await read_minutes(rest, self.clock, rules, count)
        now_ms = begin_ms + count * MINUTE_MS
        market = Market(
            universe=universe_of(instruments, marks, bars),
            warmup=bars,
            warmup_ms=begin_ms,
            bars=bars[:0],
            from_ms=now_ms,
            funding=zeros(0, funding_dt),
            funding_known=False,
        )
        return scanner(self.loaded, self.strategies, market), rules, now_ms

    async def _minutes(self, rest: Rest, rules: Sequence[Rules], one: Scanner, seen_ms: int) -> int:
        """Wait for the next closed minute and take in all since seen_ms; a silent exchange is asked again a
        minute later. Returns the time to which the scanner has seen."""
        while True:
            due_ms = max(seen_ms + MINUTE_MS, rest.server.now_ms() // MINUTE_MS * MINUTE_MS) + GRACE_MS
            await self.clock.sleep_until(self.clock.now_ms() + max(0, due_ms - rest.server.now_ms()))
            try:
                await rest.sync_time()
                bars, begin_ms = await self._read(rest, rules, seen_ms)
            except _SILENCE as error:
                LOG.warning("minutes since %d are not known: %s", seen_ms, error)
                await self.clock.sleep_until(self.clock.now_ms() + MINUTE_MS)
                continue
            if len(bars):
                one.feed(bars, begin_ms)
                return begin_ms + len(bars) * MINUTE_MS

    async def _read(self, rest: Rest, rules: Sequence[Rules], seen_ms: int) -> tuple[np.ndarray, int]:
        for last in (False, True):
            count = rest.server.now_ms() // MINUTE_MS - seen_ms // MINUTE_MS
            bars, begin_ms = await read_minutes(rest, self.clock, rules, count)
            if last or (len(bars) and (bars["open_ms"][-1] >= 0).all()):
                break
            await self.clock.sleep_until(self.clock.now_ms() + GRACE_MS)
        return bars, begin_ms

    def _tell(self, readings: list[Reading]) -> None:
        self.scans += 1
        scored = sum(one.long_score is not None for one in readings)
        self.scored += scored
        if not scored:
            LOG.error("not one of %d symbols could be scored", len(readings))
        self.show(readings)
