"""The Python door to the compiled loop: the books of a run and feeding them bars, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

import numpy as np

from perpdesk.kernel.records import (
    FAR,
    MINUTE_MS,
    bar_dt,
    counters_dt,
    fill_dt,
    funding_dt,
    head_dt,
    position_dt,
    slot_dt,
    walk_dt,
    zeros,
)
from perpdesk.kernel.strategy import Strategy

_FILLS_AT_ONCE = 1 << 15


@dataclass
class Books:
    """Every record of a run. V sleeves share one account; each has its own strategy, positions and slots.

    Shapes: account [1]; sleeves [V]; instruments, walks [N]; positions, heads [V, N]; slots [V, N, K].
    """

    account: np.recarray
    sleeves: np.ndarray
    instruments: np.recarray
    positions: np.recarray
    slots: np.recarray
    heads: np.recarray
    walks: np.recarray


@dataclass
class Mind:
    """What one sleeve decides with: its strategy's parameters, guard, shared and per-symbol state."""

    strategy: Strategy
    params: np.recarray
    guards: np.recarray
    shared: np.recarray
    states: np.recarray


def new_mind(strategy: Strategy, params: np.recarray, guard: np.recarray, symbols: int) -> Mind:
    """A mind that has seen nothing yet."""
    return Mind(strategy, params, guard, zeros(1, strategy.shared_dt), zeros(symbols, strategy.state_dt))


def new_books(account: np.recarray, sleeves: np.ndarray, instruments: np.recarray, slots: int) -> Books:
    """Empty books: no position, no wanted order, every band open."""
    v, n = len(sleeves), len(instruments)
    heads = zeros((v, n), head_dt)
    for name in ("lo", "fire_lo", "peak_lo", "liquidation_lo"):
        heads[name] = -FAR
    for name in ("hi", "fire_hi", "peak_hi", "liquidation_hi", "next_ms"):
        heads[name] = FAR
    heads["entries_on"] = int(account.trading_enabled[0] and not account.gate_shut[0])
    return Books(
        account=account.copy(),
        sleeves=sleeves.copy(),
        instruments=instruments,
        positions=zeros((v, n), position_dt),
        slots=zeros((v, n, slots), slot_dt),
        heads=heads,
        walks=zeros(n, walk_dt),
    )


class Conductor(Protocol):
    """Somebody who may write into the strategy's states between two steps (the grid's starts).

    due_ms: the end of the step at which it wants to look next. It stands beside every driver alike.
    """

    due_ms: int

    def look(self, now_ms: int, states: np.recarray, heads: np.recarray, cash_e8: int) -> None:
        """Called once at the first step's end at or after due_ms. states [N], heads [N] of the sleeve."""
        ...


@dataclass
class Replay:
    """A backtest under way: one strategy, its books, and the fills so far.

    feed() may be called again with the bars that follow; the result does not depend on the cuts. after_step
    is called after some steps, with the account's ``stops_at_close`` after every one that closed a position.
    """

    mind: Mind
    books: Books
    skip: bool = True
    after_step: Callable[[int], None] | None = None
    funding: np.recarray = field(default_factory=lambda: zeros(0, funding_dt))
    fills: list[np.ndarray] = field(default_factory=list)
    next_funding: int = 0
    counters: np.recarray = field(default_factory=lambda: zeros(1, counters_dt))
    conductor: Conductor | None = None
    _buffer: np.ndarray | None = None

    def feed(self, bars: np.ndarray, first_ms: int) -> None:
        """Run bars [T, N] (one row per minute from first_ms) through the step."""
        if self._buffer is None:
            reserved = self.mind.strategy.compiled().fills_reserved(bars.shape[1])
            self._buffer = zeros(_FILLS_AT_ONCE + reserved, fill_dt)
        at = 0
        while at < len(bars):
            end = len(bars)
            if self.conductor is not None:
                due = -(-(self.conductor.due_ms - first_ms) // MINUTE_MS)
                end = min(end, max(at + 1, due))
            at, count = self._run(bars if end == len(bars) else bars[:end], first_ms, at, self._buffer)
            if count:
                self.fills.append(self._buffer[:count].copy())
            now_ms = first_ms + at * MINUTE_MS
            if self.conductor is not None and now_ms >= self.conductor.due_ms:
                cash_e8 = int(self.books.account.cash_e8[0])
                self.conductor.look(now_ms, self.mind.states, self.books.heads[0], cash_e8)
            if self.after_step is not None:
                self.after_step(first_ms + at * MINUTE_MS)

    def compile(self) -> None:
        """Compile (or load from the cache) everything that feed needs, without running a step."""
        self._run(zeros((0, len(self.books.instruments)), bar_dt), 0, 0, zeros(0, fill_dt))

    def _run(self, bars: np.ndarray, first_ms: int, start: int, buffer: np.ndarray) -> tuple[int, int]:
        mind, books = self.mind, self.books
        at, count, self.next_funding = mind.strategy.compiled().run(
            mind.params, mind.guards, mind.shared, mind.states,
            books.account, books.sleeves, books.instruments, books.positions, books.slots, books.heads,
            books.walks, bars, first_ms, self.funding, self.next_funding, buffer, start, self.skip,
            self.counters,
        )  # fmt: skip
        return at, count

    def all_fills(self) -> np.recarray:
        """Every fill so far, in the order of the run."""
        if not self.fills:
            return zeros(0, fill_dt)
        return np.concatenate(self.fills).view(np.recarray)


def warm_up(mind: Mind, books: Books, v: int, bars: np.ndarray, first_ms: int) -> None:
    """Bring sleeve v's strategy state, and its heads in the books, to the end of bars [T, N].

    The history runs through the same step with the gate shut: nothing is traded.
    """
    account = books.account.copy()
    account.gate_shut = 1
    scratch = new_books(account, books.sleeves[v : v + 1], books.instruments, books.slots.shape[2])
    Replay(mind, scratch).feed(bars, first_ms)
    for name in books.heads.dtype.names or ():
        if name == "entries_on":
            continue  # the gate was shut for the history only
        books.heads[name][v] = scratch.heads[name][0]


def fills_hash(fills: np.ndarray) -> str:
    """sha256 over the bytes of the fills: equal hashes mean equal runs."""
    return sha256(np.ascontiguousarray(fills).tobytes()).hexdigest()
