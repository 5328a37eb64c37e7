"""The radar as a process: configuration, exchange and database put together, settings read again as it runs.

Settings of ``oi_monitoring_config`` pass the file's own validator. All of them hold from the next poll on, or
none: a bad one leaves the old set as it was, is journalled, and raises the alarm CONFIG_REJECTED.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.interest import BinanceInterest
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.redis_cache import RedisCache
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.config.lint import lint, refuse_errors
from perpdesk.config.load import Loaded, load
from perpdesk.config.oi import Oi
from perpdesk.config.oi_records import params
from perpdesk.config.snapshot import snapshot
from perpdesk.domain.books import JournalEntry, StoreFailed
from perpdesk.domain.errors import ConfigError, PerpdeskError
from perpdesk.domain.signal_books import OiSetting
from perpdesk.market.radar.poll import Poll
from perpdesk.market.radar.radar import Radar, Seen, Terms
from perpdesk.market.radar.reading import ReadThrough
from perpdesk.market.radar.recorder import Recorder
from perpdesk.market.radar.source import InterestSource
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
REREAD_MS = 30_000
RESTART_MS = 5_000
REQUEST_TIMEOUT_MS = 5_000
CONFIG_REJECTED = "CONFIG_REJECTED"


def terms_of(oi: Oi) -> Terms:
    """What the radar runs by."""
    return Terms(
        interval_ms=oi.polling_interval_ms,
        most=oi.max_monitored_symbols,
        at_once=oi.max_concurrent_requests,
        refresh_ms=oi.symbol_refresh_interval_ms,
        blacklist=oi.symbol_blacklist,
        params=params(oi),
        config_hash=snapshot(oi).params_hash,
    )


@dataclass
class Settings:
    """The configuration with the database's rows on it, read again and again.

    path, options, environment: as for ``load``. rejected: what is wrong with the rows now ("": nothing).
    """

    path: Path | None
    options: Sequence[str]
    environment: Mapping[str, str] | None = None
    rejected: str = ""
    _known: tuple[tuple[str, str], ...] | None = None

    def load(self, rows: Sequence[OiSetting]) -> Loaded:
        """Raises ConfigError with key, value and rule."""
        self._known = _active(rows)
        loaded = load(self.path, environment=self.environment, options=self.options, rows=self._known)
        refuse_errors(lint(loaded.config, strategies=("oi",)))
        return loaded

    async def reread(self, store: SqlStore, now_ms: int) -> Loaded | None:
        """The new configuration where the rows have changed and all of them are valid; what was wrong is
        journalled and logged once. Raises StoreFailed."""
        rows = await store.oi_settings()
        if _active(rows) == self._known:
            return None
        before = self._known
        try:
            loaded = self.load(rows)
        except ConfigError as error:
            self.rejected = str(error)
            LOG.error("%s: %s; the old settings stand", CONFIG_REJECTED, error)
            entry = {"error": str(error), "field": error.field, "rule": error.rule}
            await store.append_journal([JournalEntry(ms=now_ms, kind="oi_config_rejected", payload=entry)])
            return None
        self.rejected = ""
        frozen = snapshot(loaded.config.oi)
        await store.save_params_snapshot(frozen.json, now_ms)
        changes = {
            "was": dict(before or ()),
            "is": dict(self._known or ()),
            "config_hash": frozen.params_hash,
        }
        await store.append_journal([JournalEntry(ms=now_ms, kind="oi_config", payload=changes)])
        return loaded


def _active(rows: Sequence[OiSetting]) -> tuple[tuple[str, str], ...]:
    return tuple((row.config_key, row.config_value) for row in rows if row.is_active)


@dataclass
class RadarRun:
    """One process of the radar. store None: nothing is kept, and only the file configures.

    gateway: of whoever shares the exchange's limits with it, None for one of its own. held, on_seen and
    also_asks: as for ``Radar``; on_settings is told new settings when they hold. redis: a URL, None for none.
    """

    hosts: Hosts
    clock: Clock
    settings: Settings
    store: SqlStore | None = None
    on_seen: Callable[[Seen], Awaitable[None]] | None = None
    radar: Radar | None = None
    gateway: Gateway | None = None
    held: Callable[[], Sequence[str]] = tuple
    also_asks: Callable[[Poll], Collection[str]] = lambda poll: ()
    on_settings: Callable[[Oi], None] = lambda oi: None
    redis: str | None = None

    async def run(self, polls: int | None = None) -> Radar:
        """Poll until cancelled, or so many times. Raises PerpdeskError where it cannot start."""
        rows = await self.store.oi_settings() if self.store is not None else []
        loaded = self.settings.load(rows)
        self.on_settings(loaded.config.oi)
        gateway = self.gateway or Gateway(self.hosts, self.clock)
        rest = Rest(
            hosts=self.hosts,
            clock=self.clock,
            server=gateway.server,
            governor=gateway.governor,
            timeout_ms=REQUEST_TIMEOUT_MS,
        )
        recorder = None
        if self.store is not None:
            frozen = snapshot(loaded.config.oi)
            await self.store.save_params_snapshot(frozen.json, self.clock.now_ms())
            recorder = Recorder(self.store, loaded.config.oi.snapshot_retention_days)
        cache = None if self.redis is None else RedisCache(self.redis, self.clock)
        try:
            await rest.sync_time()
            source: InterestSource = BinanceInterest(rest, self.clock)
            if cache is not None:
                source = ReadThrough(source, cache, self.store)
            self.radar = Radar(
                source,
                terms_of(loaded.config.oi),
                recorder,
                held=self.held,
                on_seen=self.on_seen,
                also_asks=self.also_asks,
            )
            await self.radar.start()
            rereading = asyncio.ensure_future(self._reread())
            try:
                await self.radar.run(polls)
            finally:
                rereading.cancel()
                with suppress(asyncio.CancelledError):
                    await rereading
                await self.radar.close()
        finally:
            await rest.close()
            if cache is not None:
                await cache.close()
        return self.radar

    async def _reread(self) -> None:
        while self.store is not None:
            await self.clock.sleep_until(self.clock.now_ms() + REREAD_MS)
            await self.reread_once()

    async def reread_once(self) -> None:
        """Look at the settings, and take them if they are good."""
        if self.store is None or self.radar is None:
            return
        try:
            loaded = await self.settings.reread(self.store, self.clock.now_ms())
        except StoreFailed as error:
            LOG.warning("the settings could not be read, the old ones stand: %s", error)
            return
        if loaded is not None:
            self.radar.take_terms(terms_of(loaded.config.oi))
            self.on_settings(loaded.config.oi)
            if self.radar.recorder is not None:
                self.radar.recorder.keep_days = loaded.config.oi.snapshot_retention_days


async def keep_polling(
    run: RadarRun, clock: Clock, trouble: Callable[[str], object] = lambda text: None
) -> None:
    """Run until cancelled: a radar that cannot go on says so and begins anew; positions do not notice."""
    while True:
        try:
            await run.run()
        except PerpdeskError as error:
            LOG.error("the radar begins anew in %d s: %s", RESTART_MS // 1000, error)
            trouble(f"{error}")
        except Exception as error:
            LOG.exception("the radar begins anew in %d s", RESTART_MS // 1000)
            trouble(f"{type(error).__name__}: {error}")
        await clock.sleep_until(clock.now_ms() + RESTART_MS)
