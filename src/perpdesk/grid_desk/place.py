"""What a command works with: database, lease, symbol, minutes, parameters, and its own row in the books."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.app import Market
from perpdesk.config import grid_records
from perpdesk.config.grid import Grid
from perpdesk.config.load import Loaded
from perpdesk.config.snapshot import Snapshot
from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.domain.grid_books import GridLease, GridProcess
from perpdesk.kernel.cache import sources_hash
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.ports import Clock
from perpdesk.strategies.grid.chain import Frames, frames_of
from perpdesk.strategies.grid.plan import Market as VenueMinimums

LEASE_MS = 30_000


@dataclass
class Minutes:
    """One symbol's minutes up to a time: bars [T] (bar_dt) from start_ms, and the contract's integers."""

    market: Market
    symbol: str

    @property
    def bars(self) -> np.ndarray:
        """All rows, absent ones included."""
        return np.concatenate([self.market.warmup, self.market.bars])[:, 0]

    @property
    def start_ms(self) -> int:
        """When the first row opens."""
        return self.market.warmup_ms if len(self.market.warmup) else self.market.from_ms

    @property
    def end_ms(self) -> int:
        """The close of the last row."""
        return self.market.to_ms

    def close_at(self, now_ms: int) -> int:
        """The last close known at a time, in price units; 0: none yet."""
        at = (now_ms - self.start_ms) // MINUTE_MS
        rows = self.all_bars[: max(0, at)]
        there = np.flatnonzero(rows["open_ms"][-1440:] != ABSENT_MS)
        return int(rows["close"][-1440:][there[-1]]) if len(there) else 0

    @cached_property
    def all_bars(self) -> np.ndarray:
        """bars, once."""
        return self.bars

    @cached_property
    def instrument(self) -> np.record:
        """The kernel's record of the contract."""
        record: np.record = self.market.universe.records()[0]
        return record

    @cached_property
    def frames(self) -> Frames:
        """The closed bars of the three frames; ``until`` cuts them at a time."""
        return frames_of(self.all_bars, int(self.instrument.tick))

    def data_hash(self, from_ms: int, to_ms: int) -> str:
        """sha256 of the rows within [from_ms, to_ms)."""
        first = max(0, (from_ms - self.start_ms) // MINUTE_MS)
        last = max(first, (to_ms - self.start_ms) // MINUTE_MS)
        return hashlib.sha256(np.ascontiguousarray(self.all_bars[first:last]).tobytes()).hexdigest()


@dataclass
class Place:
    """One command's surroundings. now_ms is data time: the close of the newest minute that counts."""

    store: SqlStore
    loaded: Loaded
    minutes: Minutes
    clock: Clock
    lease: GridLease | None = None
    lease_ms: int = LEASE_MS
    kept: Snapshot = field(init=False)

    def __post_init__(self) -> None:
        self.kept = grid_records.block_snapshot(self.loaded.config, self.minutes.symbol)

    @property
    def symbol(self) -> str:
        """The symbol's whole name."""
        return self.minutes.symbol

    @property
    def block(self) -> Grid:
        """The parameters of this symbol, overrides merged in."""
        return self.loaded.config.grid.for_symbol(self.symbol)

    @property
    def params_hash(self) -> str:
        """What every row refers to."""
        return self.kept.params_hash

    @property
    def tick(self) -> str:
        """One tick as a price. What is stored in ticks says which: another tick is another price."""
        digits = self.minutes.market.universe.price_digits[0]
        return units.plain(units.price_of(int(self.minutes.instrument.tick), digits))

    @property
    def minimums(self) -> VenueMinimums:
        """What the venue asks of an order, per tick."""
        return grid_records.market_of(self.minutes.instrument)

    async def process(self, command: str, from_ms: int, to_ms: int, status: str = "ok") -> int:
        """Write down, before any result, what runs on which data; returns the row's id."""
        await self.store.save_params_snapshot(self.kept.json, self.clock.now_ms())
        return await self.store.add_grid_process(
            GridProcess(
                command=command,
                symbol=self.symbol,
                params_hash=self.params_hash,
                code_revision=code_revision(),
                kernel_hash=sources_hash(),
                data_from_ms=from_ms,
                data_to_ms=to_ms,
                data_hash=self.minutes.data_hash(from_ms, to_ms),
                status=status,
                created_ms=self.clock.now_ms(),
            )
        )

    @asynccontextmanager
    async def leased(self, command: str) -> AsyncIterator[bool]:
        """Hold the command's lease while the block runs; False: another process holds it."""
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        name = f"grid:{command}:{self.symbol}"
        self.lease = await self.store.take_grid_lease(
            name, owner, sources_hash(), self.clock.now_ms(), self.lease_ms
        )
        try:
            yield self.lease is not None
        finally:
            if self.lease is not None:
                await self.store.release_grid_lease(self.lease)
                self.lease = None

    @property
    def epoch(self) -> int:
        """The fence of what is written."""
        assert self.lease is not None, "a command that writes holds its lease"
        return self.lease.epoch


def whole_symbol(text: str, known: tuple[str, ...] | list[str]) -> str:
    """``btc`` → BTCUSDT: capitals, an exact match first, else with USDT behind. Raises InputError."""
    name = text.upper()
    for candidate in (name, f"{name}USDT"):
        if candidate in known:
            return candidate
    there = ", ".join(sorted(known)[:10])
    raise InputError(
        f"unknown symbol {text!r}: neither {name} nor {name}USDT is there; known: {there}", field="--symbol"
    )


def code_revision() -> str:
    """The commit of the source tree with ``+`` if it was changed; ``package`` where there is no tree."""
    folder = Path(__file__).resolve().parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", str(folder.parent))
    except (OSError, subprocess.SubprocessError):
        return "package"
    return head + ("+" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
