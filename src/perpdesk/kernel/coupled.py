"""The coupled replay: several strategies on one account, by the compiled doors and without an engine.

What an engine on the in-process venue does with messages, this does with calls: the exchange's side (one
netted position and one book of all sleeves' orders per symbol) is walked event by event, each event settles
in the sleeve whose order it was, and who may be concerned is asked. A single strategy has the compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np

from perpdesk.kernel import venue as doors
from perpdesk.kernel.matching import DONE, LIQUIDATION
from perpdesk.kernel.records import (
    ABSENT_MS,
    APPROVED,
    FAR,
    MINUTE_MS,
    NONE,
    SLOT_STOP,
    TAG_LIQUIDATION,
    bar_dt,
    fill_dt,
    funding_dt,
    head_dt,
    position_dt,
    slot_dt,
    walk_dt,
    zeros,
)
from perpdesk.kernel.replay import Books, Mind

_ORDER_FIELDS = ("kind", "side", "price", "lots", "reduce_only", "activation", "callback_ppm")


@dataclass
class CoupledReplay:
    """A backtest under way: one mind per sleeve of the books.

    feed() may be called again with the bars that follow; the result does not depend on the cuts.
    """

    minds: list[Mind]
    books: Books
    after_step: Callable[[int], None] | None = None
    funding: np.recarray = field(default_factory=lambda: zeros(0, funding_dt))
    next_funding: int = 0
    _rows: list[np.void] = field(default_factory=list)

    def __post_init__(self) -> None:
        v, n, k = self.books.slots.shape
        self._compiled = [mind.strategy.compiled() for mind in self.minds]
        self._asked = [np.zeros(n, np.int64) for _ in range(v)]
        self._acted: set[int] = set()
        # the exchange's own side
        self._account = self.books.account.copy()
        self._positions = zeros((1, n), position_dt)
        self._orders = zeros((1, n, v * k), slot_dt)
        self._heads = zeros((1, n), head_dt)
        for name in ("lo", "fire_lo", "peak_lo", "liquidation_lo"):
            self._heads[name] = -FAR
        for name in ("hi", "fire_hi", "peak_hi", "liquidation_hi", "next_ms"):
            self._heads[name] = FAR
        self._heads["last"][0] = self.books.heads["last"].max(axis=0)
        self._walks = zeros(n, walk_dt)
        self._mirror = zeros((v, n, k), slot_dt)
        self._changed = np.zeros(k, np.int64)
        self._touched = np.zeros(n, np.int64)

    def compile(self) -> None:
        """Compile (or load from the cache) what every minute needs, on a copy, without running a step."""
        scratch = CoupledReplay(deepcopy(self.minds), deepcopy(self.books))
        n = len(self.books.instruments)
        bars = zeros((1, n), bar_dt)
        bars["open_ms"] = ABSENT_MS
        scratch.feed(bars, 0)
        for v in range(len(self.minds)):
            scratch._react(v, 0, 1, 0, in_path=1, market=1)

    def feed(self, bars: np.ndarray, first_ms: int) -> None:
        """Run bars [T, N] (one row per minute from first_ms) through the step."""
        for t in range(len(bars)):
            self._minute(bars[t], first_ms + (t + 1) * MINUTE_MS)

    def all_fills(self) -> np.recarray:
        """Every fill so far, in the order of the run."""
        if not self._rows:
            return zeros(0, fill_dt)
        return np.array(self._rows, fill_dt).view(np.recarray)

    def _minute(self, bars: np.ndarray, now_ms: int) -> None:
        done = 0
        count = doors.touched(self._heads, bars, False, self._touched)
        for s in self._touched[:count].tolist():
            doors.close_bars(self._heads, bars, done, s, now_ms)
            done = s
            doors.open_bar(self._account, self._heads, self._walks, bars, s)
            while self._event(s):
                pass
        doors.close_bars(self._heads, bars, done, len(bars), now_ms)
        self._close_step(bars, now_ms)

    # -- inside a bar ------------------------------------------------------------------------

    def _event(self, s: int) -> bool:
        """Settle the next event of a symbol's path and ask who is concerned; False at its end."""
        code, side, price, lots, taker, fee, ms, jump, cursor = doors.next_event(
            self._account, self.books.instruments, self._positions, self._orders, self._heads, self._walks, s,
            False,
        )  # fmt: skip
        if code == DONE:
            return False
        self._acted.add(s)
        if code == LIQUIDATION:
            self._liquidated(s, price, lots, fee, ms)
        elif code >= 0:
            v, k = divmod(code, self.books.slots.shape[2])
            if lots == 0:
                books = self.books
                self._compiled[v].book_trigger(books.positions, books.slots, books.heads, v, s, k)
                self._follow(v, s, k)
                return True
            self._filled(v, s, k, side, price, lots, taker, fee, ms)
            if not jump:  # inside a jump nobody can act: one reaction at the open
                self._react(v, s, cursor, int(self.books.heads[v, s].step_ms), in_path=1, market=cursor)
            return True
        for v in range(len(self.minds)):
            self._react(v, s, cursor, int(self.books.heads[v, s].step_ms), in_path=1, market=cursor)
        return True

    def _filled(
        self, v: int, s: int, k: int, side: int, price: int, lots: int, taker: int, fee: int, ms: int
    ) -> None:
        books = self.books
        tag = int(books.slots[v, s, k].tag)
        realised = self._compiled[v].book_fill(
            books.account, books.instruments, books.positions, books.slots, books.heads,
            v, s, k, side, price, lots, fee, tag, ms,
        )  # fmt: skip
        self._follow(v, s, k)
        self._record(ms, v, s, k, side, price, lots, taker, tag, fee, realised)

    def _liquidated(self, s: int, price: int, lots: int, fee: int, ms: int) -> None:
        """The exchange closed the netted position: each sleeve bears its share, the last one the rest."""
        books = self.books
        self._mirror["kind"][:, s, :] = NONE
        holders = [v for v in range(len(self.minds)) if books.positions[v, s].lots]
        fee_left = fee
        for v in holders:
            before = int(books.positions[v, s].lots)
            part = fee_left if v == holders[-1] else fee * abs(before) // lots
            fee_left -= part
            realised = self._compiled[v].book_liquidation(
                books.account, books.instruments, books.positions, books.slots, books.heads, v, s, price,
                part, ms,
            )  # fmt: skip
            if v == holders[-1]:
                whole = int(self._positions[0, s].realised_e8)
                difference = whole - int(books.positions["realised_e8"][:, s].sum())
                self._compiled[v].book_difference(books.account, books.positions, v, s, difference)
                realised += difference
            side = -1 if before > 0 else 1
            self._record(ms, v, s, SLOT_STOP, side, price, abs(before), 1, TAG_LIQUIDATION, part, realised)

    def _record(
        self,
        ms: int,
        v: int,
        s: int,
        k: int,
        side: int,
        price: int,
        lots: int,
        taker: int,
        tag: int,
        fee: int,
        realised: int,
    ) -> None:
        held = int(self.books.positions[v, s].lots)
        cash = int(self.books.account.cash_e8[0])
        record = zeros(1, fill_dt)
        record[0] = (ms, v, s, k, side, price, lots, taker, tag, fee, realised, held, cash)
        self._rows.append(record[0])

    def _react(self, v: int, s: int, price: int, now_ms: int, *, in_path: int, market: int) -> bool:
        """Ask one sleeve and bring its orders to the exchange; has it a candidate entry?"""
        books, mind = self.books, self.minds[v]
        candidate = self._compiled[v].react(
            mind.params, mind.guards, mind.shared, mind.states, books.instruments, books.positions,
            books.slots, books.heads, v, s, price, now_ms, in_path,
        )  # fmt: skip
        self._deliver(v, s, market)
        return bool(candidate)

    def _deliver(self, v: int, s: int, market: int) -> None:
        """Make the exchange's orders of one sleeve and symbol equal to the wanted ones."""
        books = self.books
        count = doors.differences(books.slots, self._mirror, v, s, self._changed)
        for k in self._changed[:count].tolist():
            place = v * books.slots.shape[2] + k
            mirror, slot = self._mirror[v, s, k], books.slots[v, s, k]
            if mirror.kind != NONE:
                doors.withdraw(self._orders, self._heads, s, place)
            for name in _ORDER_FIELDS:
                mirror[name] = slot[name]
            if slot.kind != NONE:
                doors.accept(
                    self._orders, self._heads, s, place, int(slot.kind), int(slot.side), int(slot.price),
                    int(slot.lots), int(slot.reduce_only), int(slot.activation), int(slot.callback_ppm),
                    int(books.positions[v, s].leverage), self._positions, market,
                )  # fmt: skip
        doors.watch(self._orders, self._heads, s, *doors.levels(books.heads, s))

    def _follow(self, v: int, s: int, k: int) -> None:
        """After a fill or trigger the exchange's order is what our own slot was updated to."""
        for name in ("lots", "kind", "price", "activation", "callback_ppm"):
            self._mirror[v, s, k][name] = self.books.slots[v, s, k][name]

    # -- at the end of a minute --------------------------------------------------------------

    def _close_step(self, bars: np.ndarray, now_ms: int) -> None:
        books = self.books
        wanted = set(self._acted)
        for v, (compiled, mind) in enumerate(zip(self._compiled, self.minds, strict=True)):
            compiled.advance_step(
                mind.params, mind.shared, mind.states, books.heads, v, bars, now_ms, self._asked[v]
            )
            if self._asked[v].any():
                wanted.update(np.flatnonzero(self._asked[v]).tolist())
        candidates = []
        for s in sorted(wanted):
            for v in range(len(self.minds)):
                if s in self._acted or self._asked[v][s]:
                    last = int(books.heads[v, s].last)
                    if self._react(v, s, last, now_ms, in_path=0, market=int(self._heads[0, s].last)):
                        candidates.append((v, s))
        self._acted.clear()
        self._charge_funding(now_ms)
        doors.close_minute(self._account, books.instruments, self._positions, self._orders, self._heads)
        compiled = self._compiled[0]
        unrealised = compiled.unrealised_now(books.instruments, books.positions, books.heads)
        compiled.close_step(
            books.account, books.sleeves, books.instruments, books.positions, books.slots, books.heads,
            unrealised, len(candidates), now_ms,
        )  # fmt: skip
        for v, s in candidates:
            if books.heads[v, s].verdict == APPROVED:
                self._deliver(v, s, int(self._heads[0, s].last))
        if self.after_step is not None:
            self.after_step(now_ms)

    def _charge_funding(self, now_ms: int) -> None:
        books = self.books
        while self.next_funding < len(self.funding) and self.funding[self.next_funding].ms <= now_ms:
            row = self.funding[self.next_funding]
            self.next_funding += 1
            s = int(row.symbol)
            if row.ms != now_ms or self._positions[0, s].lots == 0:
                continue
            mark = int(row.mark) or int(self._heads[0, s].last)
            doors.fund(
                self._account, books.instruments, self._positions, self._orders, self._heads, s,
                int(row.rate_e8), mark,
            )  # fmt: skip
            for v, compiled in enumerate(self._compiled):
                if books.positions[v, s].lots:
                    compiled.book_funding(
                        books.account, books.instruments, books.positions, books.slots, books.heads, v, s,
                        int(row.rate_e8), mark,
                    )  # fmt: skip
