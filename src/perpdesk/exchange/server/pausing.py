"""Waiting in machine time, for what belongs to connections and to faults."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def pause(ms: int) -> None:
    """Wait in machine time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), ms / 1000)
