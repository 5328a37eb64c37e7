"""Redis → SQL → exchange: what the radar asks rarely, read where it is cheapest, asked for once at a time.

A level that does not know, does not answer or knows it wrongly is passed over; what the exchange says is
written back. Open interest and marks are never read from here: they are asked for now.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.signal_books import OiAnomaly
from perpdesk.market.radar.source import Contract, Interest, InterestSource, Mark, Ratios

LOG = logging.getLogger(__name__)
RATIOS_AGE_MS, LIST_AGE_MS = 300_000, 7_200_000
_LIST, _HOURS = "contracts", "funding_hours"


class Kept(msgspec.Struct, frozen=True):
    """A value as a cache keeps it: its own key and time are inside, so that a mix-up is seen."""

    key: str
    as_of_ms: int
    data: Any


class Cache(Protocol):
    """A cache. Neither method raises, and neither takes long: what it cannot do it does not do."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, ttl_ms: int) -> None: ...


class AnomalyBooks(Protocol):
    """The recorded anomalies, which carry the ratios that were asked for."""

    async def oi_anomalies(
        self, from_ms: int | None = None, until_ms: int | None = None, symbol: str | None = None
    ) -> list[OiAnomaly]: ...


@dataclass
class ReadThrough:
    """An InterestSource in front of another one. books None: no database level. counts: reads by level."""

    source: InterestSource
    cache: Cache
    books: AnomalyBooks | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _flying: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    def now_ms(self) -> int:
        return self.source.now_ms()

    async def sleep_until(self, ms: int) -> None:
        await self.source.sleep_until(ms)

    async def marks(self) -> Mapping[str, Mark]:
        return await self.source.marks()

    async def open_interest(self, symbol: str, deadline_ms: int) -> Interest:
        return await self.source.open_interest(symbol, deadline_ms)

    async def mark_minutes(self, symbol: str, count: int) -> Sequence[tuple[int, Decimal]]:
        return await self.source.mark_minutes(symbol, count)

    async def contracts(self) -> Sequence[Contract]:
        found: list[Contract] = await self._read(
            _LIST, LIST_AGE_MS, list[Contract], lambda: self.source.contracts()
        )
        return found

    async def funding_hours(self) -> Mapping[str, int]:
        found: dict[str, int] = await self._read(
            _HOURS, LIST_AGE_MS, dict[str, int], lambda: self.source.funding_hours()
        )
        return found

    async def ratios(self, symbol: str, deadline_ms: int) -> Ratios:
        async def ask() -> Ratios:
            written = await self._written(symbol)
            return written or await self.source.ratios(symbol, deadline_ms)

        found: Ratios = await self._read(f"ratios:{symbol}", RATIOS_AGE_MS, Ratios, ask)
        return found

    async def _written(self, symbol: str) -> Ratios | None:
        """The newest ratios that the database has, if they are young enough."""
        if self.books is None:
            return None
        now_ms = self.now_ms()
        try:
            rows = await self.books.oi_anomalies(now_ms - RATIOS_AGE_MS, now_ms + 1, symbol)
        except PerpdeskError as error:
            LOG.warning("ratios of %s could not be read from the database: %s", symbol, error)
            return None
        for one in reversed(rows):
            four = (one.ratio_top_position, one.ratio_taker, one.ratio_top_account, one.ratio_global)
            if all(ratio is not None for ratio in four):
                self.counts["sql"] += 1
                return Ratios(*four, one.poll_ms)
        return None

    async def _read(self, key: str, age_max_ms: int, kind: Any, ask: Callable[[], Awaitable[Any]]) -> Any:
        """One flight a key: who comes while it is on its way waits for it."""
        flying = self._flying.get(key)
        if flying is None:
            flying = asyncio.ensure_future(self._fetch(key, age_max_ms, kind, ask))
            self._flying[key] = flying
            flying.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flying)

    def _landed(self, key: str, done: asyncio.Task[Any]) -> None:
        self._flying.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may have waited to the end

    async def _fetch(self, key: str, age_max_ms: int, kind: Any, ask: Callable[[], Awaitable[Any]]) -> Any:
        kept = _opened(await self.cache.get(key), key, kind)
        if kept is not None and 0 <= self.now_ms() - kept.as_of_ms < age_max_ms:
            self.counts["cache"] += 1
            return kept.data
        data = await ask()
        self.counts["asked"] += 1
        as_of_ms = self.now_ms()
        value = msgspec.json.encode(Kept(key, as_of_ms, data))
        await self.cache.put(key, value, age_max_ms)
        return data


def _opened(raw: bytes | None, key: str, kind: Any) -> Kept | None:
    """None for what is not there, not readable, or another key's."""
    if raw is None:
        return None
    try:
        kept = msgspec.json.decode(raw, type=Kept)
        return Kept(kept.key, kept.as_of_ms, msgspec.convert(kept.data, kind)) if kept.key == key else None
    except (msgspec.MsgspecError, ValueError):
        LOG.warning("the cache holds something unreadable under %s", key)
        return None
