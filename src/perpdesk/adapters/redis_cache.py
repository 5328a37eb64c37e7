"""Redis as a cache and nothing more: slow, empty, gone or garbled, the caller reads elsewhere."""

from __future__ import annotations

import asyncio
import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from perpdesk.domain.errors import InputError
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
TIMEOUT_S = 0.1
# After a failure nobody waits for it for so long.
LEFT_ALONE_MS = 2_000
_PREFIX = "perpdesk:"


class RedisCache:
    """Made with a URL (``redis://``, ``rediss://``, ``unix://``); ``close`` it."""

    def __init__(self, url: str, clock: Clock) -> None:
        try:
            self._redis = Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None
            )
        except ValueError as error:
            raise InputError(f"must be a Redis URL: {error}", field="--redis") from error
        self._clock = clock
        self._alone_until_ms = 0
        self.failures = 0

    async def get(self, key: str) -> bytes | None:
        """The value, None if it is not there or cannot be read now."""
        if self._is_left_alone():
            return None
        try:
            async with asyncio.timeout(2 * TIMEOUT_S):
                found = await self._redis.get(_PREFIX + key)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        return found if isinstance(found, bytes) else None

    async def put(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Keep it for so long, if possible."""
        if self._is_left_alone():
            return
        try:
            async with asyncio.timeout(2 * TIMEOUT_S):
                await self._redis.set(_PREFIX + key, value, px=ttl_ms)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)

    async def close(self) -> None:
        """Let go of the connections."""
        try:
            await self._redis.aclose()
        except (RedisError, OSError):
            LOG.info("Redis was gone already")

    def _is_left_alone(self) -> bool:
        return self._clock.now_ms() < self._alone_until_ms

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._alone_until_ms = self._clock.now_ms() + LEFT_ALONE_MS
        LOG.warning("Redis does not answer (%s): read elsewhere", type(error).__name__)
