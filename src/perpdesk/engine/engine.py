"""The engine: message → settle → react → execute, and the gate at the end of each step.

The same order of calls as the compiled loop (kernel/loop.py), one message at a time. Nothing here
decides: decisions are in the step, money in the ledger, delivery in the executor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from perpdesk.engine.executor import Executor
from perpdesk.engine.recorder import Booked, Recorder
from perpdesk.engine.sleeve import Sleeve
from perpdesk.kernel.records import (
    ABSENT_MS,
    APPROVED,
    NONE,
    SLOT_ENTRY,
    SLOT_STOP,
    TAG_LIQUIDATION,
    fill_dt,
    zeros,
)
from perpdesk.kernel.replay import Books
from perpdesk.ports import (
    Feed,
    ForcedClose,
    FundingCharged,
    Message,
    PriceReached,
    StepClosed,
    StepOver,
    Traded,
    Triggered,
)

Switch = Callable[[], Awaitable[bool]]


async def always_on() -> bool:
    """The switch of a run without a database."""
    return True


@dataclass
class Engine:
    """Trades one account with its sleeves. books and executor are shared by all sleeves.

    switch: may new exposure be opened? Read before every gate; exits never ask.
    """

    books: Books
    sleeves: list[Sleeve]
    executor: Executor
    recorder: Recorder
    switch: Switch = always_on
    every_point: bool = False
    after_step: Callable[[int], None] | None = None
    steps: int = 0
    bars: int = 0
    _rows: list[np.void] = field(default_factory=list)
    _acted: set[int] = field(default_factory=set)
    _candidates: list[tuple[int, int]] = field(default_factory=list)
    _newest: StepClosed | None = None
    _is_in_step: bool = False
    _came_late: dict[tuple[int, int], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._asks_no_gate = any(sleeve.mind.strategy.opens for sleeve in self.sleeves)

    async def run(self, feed: Feed) -> None:
        """Work until the feed ends."""
        async for message in feed.messages():
            await self.handle(message)

    async def handle(self, message: Message) -> None:
        """Answer one message completely: books settled, slots decided, venue in agreement."""
        if isinstance(message, StepClosed):
            await self._step_closed(message)
        elif isinstance(message, StepOver):
            await self._step_over(message)
        elif isinstance(message, Traded):
            await self._traded(message)
        elif isinstance(message, PriceReached):
            await self._react_in_path(message.symbol, message.price, message.ms)
        elif isinstance(message, Triggered):
            self._acted.add(message.symbol)
            v, s, k = message.sleeve, message.symbol, message.slot
            books = self.books
            self.sleeves[v].compiled.book_trigger(books.positions, books.slots, books.heads, v, s, k)
            self.executor.follow(v, s, k)
        elif isinstance(message, ForcedClose):
            await self._forced_close(message)
        elif isinstance(message, FundingCharged):
            await self._funding_charged(message)

    async def again(self, v: int, symbols: Sequence[int], due_ms: int) -> None:
        """Rows of these symbols, of the time due_ms, have been put where sleeve v's strategy looks for them.

        If their step has been decided already they re-enter it, with its closes, and what they make of it
        goes to the gate together; else the step takes them when it comes.
        """
        if self._newest is None or self._newest.now_ms < due_ms:
            return
        self._came_late.update(dict.fromkeys((v, s) for s in symbols))
        if not self._is_in_step:
            await self._reenter(self._newest)

    async def _reenter(self, step: StepClosed) -> None:
        late, self._came_late = self._came_late, {}
        now_ms = step.now_ms
        for v, sleeve in enumerate(self.sleeves):
            bars = step.bars.copy()
            bars["open_ms"][[s for s in range(len(bars)) if (v, s) not in late]] = ABSENT_MS
            if (bars["open_ms"] == ABSENT_MS).all():
                continue
            mind = sleeve.mind
            sleeve.compiled.advance_step(
                mind.params, mind.shared, mind.states, self.books.heads, v, bars, now_ms, sleeve.asked
            )
            for s in np.flatnonzero(sleeve.asked).tolist():
                await self._ask_at_step(v, s, now_ms)
        if self._candidates:
            await self._through_the_gate(now_ms)

    async def stop(self, now_ms: int) -> list[tuple[int, int]]:
        """Wind down between two steps: entries that have not filled are cancelled, exits stay at the venue.

        Returns the (sleeve, symbol) pairs whose positions stay open.
        """
        entries = self.books.slots["kind"][:, :, SLOT_ENTRY]
        for v, s in np.argwhere(entries != NONE).tolist():
            self.books.slots[v, s, SLOT_ENTRY].kind = NONE
            await self.executor.sync(v, s, now_ms)
        await self._withdraw_levels(now_ms)
        await self.recorder.step_over(now_ms, self.books.account[0])
        return [(v, s) for v, s in np.argwhere(self.books.positions["lots"] != 0).tolist()]

    async def _withdraw_levels(self, now_ms: int) -> None:
        """Strategies whose own slots open take their entries back themselves."""
        books = self.books
        for v, sleeve in enumerate(self.sleeves):
            if not sleeve.mind.strategy.opens:
                continue
            books.heads["entries_on"][v] = 0
            for s in range(len(books.instruments)):
                if not self._has_orders(v, s):
                    continue
                mind = sleeve.mind
                sleeve.compiled.react(
                    mind.params, mind.guards, mind.shared, mind.states, books.instruments, books.positions,
                    books.slots, books.heads, v, s, int(books.heads[v, s].last), now_ms, 0,
                )  # fmt: skip
                await self.executor.sync(v, s, now_ms)

    def fills(self) -> np.recarray:
        """Every fill booked so far."""
        if not self._rows:
            return zeros(0, fill_dt)
        return np.array(self._rows, fill_dt).view(np.recarray)

    # -- inside a bar ------------------------------------------------------------------------

    async def _traded(self, m: Traded) -> None:
        v, s, k = m.sleeve, m.symbol, m.slot
        books = self.books
        tag = int(books.slots[v, s, k].tag)
        before = int(books.positions[v, s].lots)
        realised = self.sleeves[v].compiled.book_fill(
            books.account, books.instruments, books.positions, books.slots, books.heads,
            v, s, k, m.side, m.price, m.lots, m.fee_e8, tag, m.ms,
        )  # fmt: skip
        self.executor.follow(v, s, k)
        fill = self._row(m.ms, v, s, k, m.side, m.price, m.lots, m.taker, tag, m.fee_e8, realised)
        await self._tell(fill, v, s, m.client_id, m.trade_id, before)
        self._acted.add(s)
        if not m.in_jump:  # inside a jump nobody can act: one reaction at the open
            await self._react(v, s, m.cursor, m.ms)

    async def _forced_close(self, m: ForcedClose) -> None:
        s = m.symbol
        books = self.books
        for order in self.executor.forget_symbol(s):
            await self.recorder.order_gone(order, "CANCELED BY EXCHANGE", m.ms)
        holders = [v for v in range(len(self.sleeves)) if books.positions[v, s].lots]
        fee_left = m.fee_e8
        for part, v in enumerate(holders):
            sleeve = self.sleeves[v]
            before = int(books.positions[v, s].lots)
            # the exchange closed one netted position: each sleeve bears its share, the last one the rest
            lots = abs(before)
            last = v == holders[-1]
            fee = fee_left if last else m.fee_e8 * lots // m.lots
            fee_left -= fee
            trade_id = m.trade_id if part == 0 else -(m.trade_id * len(self.sleeves) + part)
            realised = sleeve.compiled.book_liquidation(
                books.account,
                books.instruments,
                books.positions,
                books.slots,
                books.heads,
                v,
                s,
                m.price,
                fee,
                m.ms,
            )
            if last and m.realised_e8 is not None:
                # flat: what the sleeves realised on this symbol in all is what the exchange did
                difference = m.realised_e8 - int(books.positions["realised_e8"][:, s].sum())
                sleeve.compiled.book_difference(books.account, books.positions, v, s, difference)
                realised += difference
            side = -1 if before > 0 else 1
            fill = self._row(m.ms, v, s, SLOT_STOP, side, m.price, lots, 1, TAG_LIQUIDATION, fee, realised)
            await self._tell(fill, v, s, "", trade_id, before)
        await self._react_in_path(s, m.cursor, m.ms)

    async def _tell(self, fill: np.void, v: int, s: int, client_id: str, trade_id: int, before: int) -> None:
        position = self.books.positions[v, s]
        after = int(position.lots)
        code = self.executor.codes[v, s]
        self.executor.filled.add(code)
        await self.recorder.booked(
            Booked(
                fill=fill,
                position_code=code,
                client_id=client_id,
                trade_id=trade_id,
                opened=before == 0,
                closed=after == 0,
                position=position,
            )
        )

    def _row(
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
    ) -> np.void:
        held = int(self.books.positions[v, s].lots)
        cash = int(self.books.account.cash_e8[0])
        record = zeros(1, fill_dt)
        record[0] = (ms, v, s, k, side, price, lots, taker, tag, fee, realised, held, cash)
        row: np.void = record[0]
        self._rows.append(row)
        return row

    async def _react_in_path(self, s: int, price: int, ms: int) -> None:
        self._acted.add(s)
        for v in range(len(self.sleeves)):
            await self._react(v, s, price, ms)

    async def _react(self, v: int, s: int, price: int, ms: int) -> None:
        books, mind = self.books, self.sleeves[v].mind
        self.sleeves[v].compiled.react(
            mind.params, mind.guards, mind.shared, mind.states, books.instruments, books.positions,
            books.slots, books.heads, v, s, price, int(books.heads[v, s].step_ms), 1,
        )  # fmt: skip
        await self.executor.sync(v, s, ms)
        planned = books.heads[v, s].plan.lots != 0
        if books.positions[v, s].lots == 0 and not planned and not self._has_orders(v, s):
            self.executor.end_position(v, s)

    def _has_orders(self, v: int, s: int) -> bool:
        return bool((self.books.slots["kind"][v, s] != NONE).any())

    # -- at the end of a minute --------------------------------------------------------------

    async def _step_closed(self, m: StepClosed) -> None:
        books, now_ms = self.books, m.now_ms
        self._newest, self._is_in_step = m, True
        present = 0
        wanted: set[int] = set(self._acted)
        for v, sleeve in enumerate(self.sleeves):
            mind = sleeve.mind
            present = sleeve.compiled.advance_step(
                mind.params, mind.shared, mind.states, books.heads, v, m.bars, now_ms, sleeve.asked
            )
            wanted.update(np.flatnonzero(sleeve.asked).tolist())
        if self.every_point:
            wanted = set(np.flatnonzero(m.bars["open_ms"] >= 0).tolist())
        for s in sorted(wanted):
            for v, sleeve in enumerate(self.sleeves):
                if not (self.every_point or s in self._acted or sleeve.asked[s]):
                    continue
                await self._ask_at_step(v, s, now_ms)
        self._acted.clear()
        self.bars += present

    async def _ask_at_step(self, v: int, s: int, now_ms: int) -> None:
        books, mind = self.books, self.sleeves[v].mind
        candidate = self.sleeves[v].compiled.react(
            mind.params, mind.guards, mind.shared, mind.states, books.instruments, books.positions,
            books.slots, books.heads, v, s, int(books.heads[v, s].last), now_ms, 0,
        )  # fmt: skip
        if candidate:
            self._candidates.append((v, s))
        await self.executor.sync(v, s, now_ms)

    async def _funding_charged(self, m: FundingCharged) -> None:
        books = self.books
        for v, sleeve in enumerate(self.sleeves):
            if books.positions[v, m.symbol].lots == 0:
                continue
            paid = sleeve.compiled.book_funding(
                books.account,
                books.instruments,
                books.positions,
                books.slots,
                books.heads,
                v,
                m.symbol,
                m.rate_e8,
                m.mark,
            )
            code = self.executor.codes[v, m.symbol]
            await self.recorder.funded(v, m.symbol, code, m.rate_e8, paid, m.ms)
            if sleeve.mind.strategy.opens:  # what it watches may stand elsewhere now
                await self._react(v, m.symbol, int(books.heads[v, m.symbol].last), m.ms)

    async def _step_over(self, m: StepOver) -> None:
        now_ms = m.now_ms
        await self._through_the_gate(now_ms)
        self._is_in_step = False
        if self._came_late and self._newest is not None:
            await self._reenter(self._newest)
        if self.after_step is not None:
            self.after_step(now_ms)
        self.steps += 1
        await self.recorder.step_over(now_ms, self.books.account[0])

    async def _through_the_gate(self, now_ms: int) -> None:
        books = self.books
        if self._candidates or self._asks_no_gate:
            books.account.trading_enabled = int(await self.switch())
        compiled = self.sleeves[0].compiled
        unrealised = compiled.unrealised_now(books.instruments, books.positions, books.heads)
        compiled.close_step(
            books.account, books.sleeves, books.instruments, books.positions, books.slots, books.heads,
            unrealised, len(self._candidates), now_ms,
        )  # fmt: skip
        for v, s in self._candidates:
            head = books.heads[v, s]
            if head.verdict == APPROVED or (v, s) in self.executor.plans:
                await self.executor.sync(v, s, now_ms)
            if head.verdict != APPROVED:
                await self.recorder.entry_refused(v, s, int(head.verdict_side), int(head.verdict), now_ms)
        self._candidates.clear()
