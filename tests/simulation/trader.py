"""A small trader to test the simulation with: entries at most once, stops at least once, crash-only.

``wrong``: what it does wrong on purpose (doubles, naked, opens).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import Delivery, IntentState, NewIntent, StateRow
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.ids import ClientIds
from perpdesk.kernel.records import MARKET, SLOT_ENTRY, SLOT_EXIT, SLOT_STOP, STOP
from perpdesk.ports import NewOrder, Outcome
from perpdesk.simulation.database import DatabaseFile
from perpdesk.simulation.observer import Limits
from perpdesk.simulation.subject import ACCOUNT_ID, Life

VERSION = "tst"
AUDIT_MS, THINK_MS = 1_000, 20_000


class Trader:
    """A Subject."""

    keeps_books = False
    sleeves = 1

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.limits = Limits(leverage=20)

    def acts(self, database: DatabaseFile) -> dict[str, Callable[[], Awaitable[None]]]:
        return {}

    def watched_by(self, watch) -> None:
        pass

    def leaves(self) -> list[bytes]:
        return []

    def calm(self, database: DatabaseFile) -> None:
        pass

    async def live(self, life: Life) -> None:
        store = await SqlStore.open(life.database.url)
        rest = life.gateway().rest(life.credentials, "simulated")
        venue = BinanceVenue(universe=life.universe, rest=rest, clock=life.clock, dial=life.dial)
        params_hash = await store.save_params_snapshot('{"a":1}', life.clock.now_ms())
        await venue.start()
        work = _Work(self.wrong, life, store, venue, rest, params_hash)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(work.drain())
            tasks.create_task(work.protect())
            tasks.create_task(work.trade())


class _Work:
    def __init__(self, wrong, life, store, venue, rest, params_hash) -> None:
        self.wrong, self.life, self.store, self.venue, self.rest = wrong, life, store, venue, rest
        self.params_hash = params_hash
        self.ids = ClientIds(ACCOUNT_ID, life.seed + life.incarnation.number)
        self.codes: dict[int, str] = {}
        self.attempts = life.incarnation.number * 10_000

    def now_ms(self) -> int:
        return self.life.clock.now_ms()

    async def sleep(self, ms: int) -> None:
        await self.life.clock.sleep_until(self.now_ms() + ms)

    async def drain(self) -> None:
        async for _ in self.venue.messages():
            pass

    async def code_of(self, s: int) -> str | None:
        if s not in self.codes:
            row = await self.store.load_state(ACCOUNT_ID, VERSION, self.life.universe.symbols[s])
            if row is None:
                return None
            self.codes[s] = row.state["code"]
        return self.codes[s]

    def order(
        self, client_id: str, s: int, slot: int, kind: int, side: int, lots: int, price: int = 0
    ) -> NewOrder:
        return NewOrder(
            client_id=client_id, symbol=s, sleeve=0, slot=slot, kind=kind, side=side, price=price, lots=lots,
            reduce_only=slot != SLOT_ENTRY, activation=0, callback_ppm=0, leverage=5,
        )  # fmt: skip

    async def protect(self) -> None:
        if self.wrong == "naked":
            return
        while True:
            with contextlib.suppress(PerpdeskError):
                for held in await self.venue.positions():
                    if held.lots:
                        await self.cover(held.symbol, held.lots)
            await self.sleep(AUDIT_MS)

    async def cover(self, s: int, lots: int) -> None:
        code = await self.code_of(s)
        if code is None:
            return
        symbol = self.life.universe.symbols[s]
        algos = await self.rest.ask(to.OPEN_ALGOS, (("symbol", symbol),))
        side = -1 if lots > 0 else 1
        covered = sum(
            self.venue.rules[s].lots(row.quantity)
            for row in algos
            if row.side == ("SELL" if side < 0 else "BUY")
        )
        if covered >= abs(lots):
            return
        last = self.mark(s)
        if last is None:
            return
        price = last + side * last // 50
        tick = self.venue.rules[s].tick
        self.attempts += 1
        client_id = self.ids.order(VERSION, code, SLOT_STOP, self.attempts)
        order = self.order(client_id, s, SLOT_STOP, STOP, side, abs(lots) - covered, price // tick * tick)
        answer = await self.venue.place(order)
        if answer.outcome is Outcome.REFUSED and "-2021" in answer.reason:
            self.attempts += 1
            client_id = self.ids.order(VERSION, code, SLOT_EXIT, self.attempts)
            await self.venue.place(self.order(client_id, s, SLOT_EXIT, MARKET, side, abs(lots)))

    def mark(self, s: int) -> int | None:
        told = self.venue.market.marks.get(self.life.universe.symbols[s])
        return None if told is None else self.venue.rules[s].price_near(told.price)

    async def trade(self) -> None:
        for intent in await self.store.pending_intents(ACCOUNT_ID):
            if intent.state is IntentState.LIVE:
                await self.store.mark_intent(intent.client_id, IntentState.FILLED, self.now_ms())
                continue
            await self.settle(
                self.life.universe.symbols.index(intent.symbol), intent.client_id, intent.created_ms + 60_000
            )
        while True:
            await self.sleep(self.life.random.randrange(THINK_MS // 2, THINK_MS))
            s = self.life.random.randrange(len(self.life.universe))
            try:
                held = {one.symbol: one.lots for one in await self.venue.positions()}
                if held.get(s):
                    await self.close(s, held[s])
                elif not await self.venue.open_client_ids(s):
                    await self.enter(s)
            except ExchangeUnreachable:
                continue

    async def close(self, s: int, lots: int) -> None:
        code = await self.code_of(s)
        if code is None or self.life.random.random() < 0.6:
            return
        self.attempts += 1
        client_id = self.ids.order(VERSION, code, SLOT_EXIT, self.attempts)
        await self.venue.place(self.order(client_id, s, SLOT_EXIT, MARKET, -1 if lots > 0 else 1, abs(lots)))

    async def enter(self, s: int) -> None:
        price = self.mark(s)
        if price is None:
            return
        record = self.life.universe.records()[s]
        lots = max(int(record.lots_min), 300 * 10**8 // (price * int(record.unit_e8)))
        code = self.ids.position_code(self.now_ms())
        symbol = self.life.universe.symbols[s]
        client_id = self.ids.order(VERSION, code, SLOT_ENTRY, 0)
        state = StateRow(
            account_id=ACCOUNT_ID, strategy=VERSION, symbol=symbol, state={"code": code},
            params_hash=self.params_hash, updated_ms=self.now_ms(),
        )  # fmt: skip
        intent = NewIntent(
            account_id=ACCOUNT_ID, symbol=symbol, leg="e1", attempt=0, client_id=client_id, delivery=Delivery.ONCE,
            request={}, params_hash=self.params_hash, created_ms=self.now_ms(),
        )  # fmt: skip
        async with self.store.unit() as books:
            await books.save_state(state)
            await books.record_intent(intent)
        self.codes[s] = code
        side = self.life.random.choice((1, -1))
        reduce = SLOT_ENTRY
        answer = await self.venue.place(self.order(client_id, s, reduce, MARKET, side, lots))
        if answer.outcome is Outcome.UNKNOWN and self.wrong == "doubles":
            again = self.ids.order(VERSION, code, SLOT_ENTRY, 1)
            await self.venue.place(self.order(again, s, SLOT_ENTRY, MARKET, side, lots))
        if answer.outcome is Outcome.UNKNOWN:
            await self.settle(s, client_id, answer.fence_ms)
        else:
            done = IntentState.FILLED if answer.outcome is Outcome.ACCEPTED else IntentState.DEAD
            await self.store.mark_intent(client_id, done, self.now_ms())

    async def settle(self, s: int, client_id: str, fence_ms: int) -> None:
        while True:
            try:
                found = await self.venue.settle(s, client_id, fence_ms)
                break
            except PerpdeskError:
                await self.sleep(1_000)
        word = getattr(found, "standing", found).value
        state = IntentState.DEAD if word == "absent" else IntentState.FILLED
        await self.store.mark_intent(client_id, state, self.now_ms())
