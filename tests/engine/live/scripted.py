"""A live venue that answers as it is told, writes one row for each request, and nets like an exchange."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.ids import parse
from perpdesk.kernel.exact import mul_div_half
from perpdesk.kernel.records import STOP
from perpdesk.ports import (
    AccountSettings,
    Answer,
    Clock,
    Fate,
    Income,
    Leg,
    Message,
    NewOrder,
    OpenOrder,
    Outcome,
    VenueFill,
    VenuePosition,
    VenueTraits,
)

ACCEPTED = Answer(Outcome.ACCEPTED)
UNKNOWN = Answer(Outcome.UNKNOWN, "no answer", fence_ms=6_000)
KINDS = ("-", "MARKET", "LIMIT", "STOP", "TP", "TRAIL")


def refused(code: int | None = None, reason: str = "no") -> Answer:
    """A proof that the request was not taken."""
    return Answer(Outcome.REFUSED, reason, code=code)


def short(client_id: str) -> str:
    """``t0 xs-0``: version, leg and attempt of a client id of ours; anybody else's as it is."""
    named = parse(client_id)
    return client_id if named is None else f"{named.version} {named.leg}-{named.attempt}"


def on(symbol: int) -> str:
    return f"s{symbol} " if symbol else ""


def row_of(order: NewOrder) -> str:
    """An order as a text row."""
    side = "BUY" if order.side > 0 else "SELL"
    level = order.price or order.activation
    price = f" @ {level}" if level else ""
    free = "" if order.reduce_only or order.slot == 0 else " free"
    return f"{on(order.symbol)}{short(order.client_id)} {KINDS[order.kind]} {side} {order.lots}{price}{free}"


@dataclass
class Netted:
    """One contract as the exchange nets it: signed lots at an average price, and what it calls realised."""

    unit_e8: int
    lots: int = 0
    cost_e8: int = 0
    realised_e8: int = 0
    fees_e8: int = 0

    def fill(self, side: int, price: int, lots: int, fee_e8: int = 0) -> int:
        """Net one fill; answers what it realised."""
        realised, held = 0, abs(self.lots)
        closing = min(lots, held) if self.lots * side < 0 else 0
        if closing:
            cost = mul_div_half(self.cost_e8, closing, held)
            realised = -side * (closing * price * self.unit_e8 - cost)
            self.cost_e8 -= cost
        self.cost_e8 += (lots - closing) * price * self.unit_e8
        self.lots += side * lots
        self.realised_e8 += realised
        self.fees_e8 += fee_e8
        return realised


async def _at_once(order: NewOrder) -> None:
    return None


@dataclass
class ScriptedVenue:
    """Takes every order unless told otherwise. answers: by leg (``xs``, ``dz``, ``cancel``), used up in order.

    fates: by short name (``t0 e1-0``); who settles waits until one is there. before_answer: what happens while
    an order is on the wire. history, listed, shown, statement: what its reads answer.
    """

    clock: Clock
    symbols: int = 1
    unit_e8: int = 10**6
    answers: dict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))
    rows: list[str] = field(default_factory=list)
    sent: list[NewOrder] = field(default_factory=list)
    alive: dict[str, NewOrder] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    history: list[VenueFill] = field(default_factory=list)
    statement: list[Income] = field(default_factory=list)
    listed: list[OpenOrder] = field(default_factory=list)
    shown: list[Leg] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)
    wallet: int = 10_000 * 10**8
    is_reachable: bool = True
    fails: set[str] = field(default_factory=set)  # reads that find nothing out
    before_answer: Callable[[NewOrder], Awaitable[None]] = _at_once
    before_cancel: Callable[[], Awaitable[None]] | None = None  # what happens before a cancel is answered
    problem: str | None = None  # what an entry needs and does not get
    hangs_ms: int = 0  # how long a cancel takes
    catching_up: int = 0  # how often the history was asked for
    settling: list[tuple[str, int]] = field(default_factory=list)  # who was asked for, and its fence

    def __post_init__(self) -> None:
        self.netted = [Netted(self.unit_e8) for _ in range(self.symbols)]
        self._fates: dict[str, asyncio.Future[Fate]] = {}
        self.stream: asyncio.Queue[Message | None] = asyncio.Queue()

    # -- what a test says --------------------------------------------------------------------

    def will(self, leg: str, *answers: Answer) -> None:
        """The next requests of a leg are answered so; then they are accepted again."""
        self.answers[leg].extend(answers)

    def prove(self, name: str, fate: Fate) -> None:
        """What became of ``t0 e1-0``."""
        future = self._fate_of(name)
        if not future.done():
            future.set_result(fate)

    def order(self, name: str, symbol: int = 0) -> NewOrder:
        """The newest order of ``t0 xs`` (or ``t0 xs-1``) that was sent."""
        for order in reversed(self.sent):
            told = short(order.client_id)
            if order.symbol == symbol and name in (told, told.rpartition("-")[0]):
                return order
        raise AssertionError(f"no order {name} was sent: {[short(one.client_id) for one in self.sent]}")

    def said(self) -> list[str]:
        """What was asked for since the last time."""
        rows, self.rows = self.rows, []
        return rows

    # -- Venue -------------------------------------------------------------------------------

    @property
    def traits(self) -> VenueTraits:
        return VenueTraits("scripted", watches_levels=False, replaces_in_place=False, checks_orders=True)

    def _answer(self, key: str) -> Answer:
        waiting = self.answers[key]
        return waiting.popleft() if waiting else ACCEPTED

    async def place(self, order: NewOrder) -> Answer:
        self.rows.append(f"place {row_of(order)}")
        return await self._taken(order)

    async def _taken(self, order: NewOrder) -> Answer:
        assert order.client_id not in [one.client_id for one in self.sent], "an id is never used again"
        self.sent.append(order)
        await self.before_answer(order)
        named = parse(order.client_id)
        answer = self._answer(named.leg if named is not None else "")
        if answer.outcome is Outcome.ACCEPTED:
            self.alive[order.client_id] = order
        return answer

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.rows.append(f"cancel {on(symbol)}{short(client_id)}")
        if self.before_cancel is not None:
            await self.before_cancel()
        if self.hangs_ms:
            await self.clock.sleep_until(self.clock.now_ms() + self.hangs_ms)
        answer = self._answer("cancel")
        if answer.outcome is Outcome.ACCEPTED:
            self.alive.pop(client_id, None)
        return answer

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        raise AssertionError("a real market watches no levels")

    async def open_client_ids(self, symbol: int) -> set[str]:
        return {order.client_id for order in self.alive.values() if order.symbol == symbol}

    async def positions(self) -> list[VenuePosition]:
        return []

    async def wallet_e8(self) -> int:
        self._read("wallet")
        return self.wallet

    # -- LiveVenue ---------------------------------------------------------------------------

    def _read(self, name: str) -> None:
        if name in self.fails:
            raise PerpdeskError(f"{name} could not be read")

    def _fate_of(self, name: str) -> asyncio.Future[Fate]:
        if name not in self._fates:
            self._fates[name] = asyncio.get_running_loop().create_future()
        return self._fates[name]

    async def settle(self, symbol: int, client_id: str, fence_ms: int) -> Fate:
        self.settling.append((short(client_id), fence_ms))
        self._read("settle")
        return await self._fate_of(short(client_id))

    async def open_orders(self) -> list[OpenOrder]:
        self._read("orders")
        return list(self.listed)

    async def prepare(self, order: NewOrder) -> str | None:
        return self.problem

    def catch_up(self, symbol: int | None = None, since_ms: int | None = None) -> None:
        self.catching_up += 1

    async def legs(self) -> list[Leg]:
        self._read("legs")
        return list(self.shown)

    async def fills_since(self, symbol: int, since_ms: int) -> list[VenueFill]:
        self._read("fills")
        return [fill for fill in self.history if fill.symbol == symbol and fill.ms >= since_ms]

    async def income_since(self, since_ms: int) -> list[Income]:
        self._read("income")
        return [one for one in self.statement if one.ms >= since_ms]

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        self.rows.append(f"disaster {on(symbol)}{'BUY' if side > 0 else 'SELL'} @ {price}")
        answer = self._answer("dz")
        if answer.outcome is Outcome.ACCEPTED:
            self.alive[client_id] = NewOrder(client_id, symbol, -1, -1, STOP, side, price, 0, True, 0, 0, 1)
        return answer

    async def limit_ioc(self, symbol: int, client_id: str, side: int, lots: int) -> Answer:
        self.rows.append(f"ioc {on(symbol)}{short(client_id)} {'BUY' if side > 0 else 'SELL'} {lots}")
        return self._answer("ioc")

    async def free_conditional_slots(self) -> int:
        return 200

    async def settings(self) -> AccountSettings:
        return AccountSettings(False, False, {}, dict.fromkeys(range(self.symbols), True))

    def reachable(self) -> bool:
        return self.is_reachable

    def exchange_ms(self) -> int:
        return self.clock.now_ms()

    def mark(self, symbol: int) -> tuple[int, int]:
        price = self.marks.get(symbol, 0)
        return price, self.clock.now_ms() if price else 0

    def adopt(self, order: NewOrder) -> None:
        self.adopted.append(short(order.client_id))

    def routes(self) -> dict[str, int]:
        return {"marks": self.clock.now_ms(), "user": self.clock.now_ms()}

    def user_seen_ms(self) -> int:
        return self.clock.now_ms()

    # -- a whole desk asks for these, too ----------------------------------------------------

    async def start(self) -> None:
        return None

    async def close(self) -> None:
        self.stream.put_nowait(None)

    async def messages(self) -> AsyncIterator[Message]:
        while (message := await self.stream.get()) is not None:
            yield message
