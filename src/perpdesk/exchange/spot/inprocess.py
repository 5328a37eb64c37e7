"""The Spot world as a venue inside this process: no addresses, no limits on requests, and the same accidents.

Requests take a seeded time to get there and back on the injected clock, and the fault plan strikes them
(routes such as ``place_list`` or ``volume``) and the events (``user:Report``), each counted. What is asked
over a lost connection may have been obeyed: that is UNKNOWN, never a refusal. A read that failed raises;
it is never an empty answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from perpdesk.domain.errors import PerpdeskError
from perpdesk.exchange.core.refusals import UNKNOWN_ORDER, Refusal
from perpdesk.exchange.faults import Fault, Plan
from perpdesk.exchange.spot import entry
from perpdesk.exchange.spot.events import Event
from perpdesk.exchange.spot.orders import Fill, NewList, NewOrder, Order
from perpdesk.exchange.spot.pairs import Pair
from perpdesk.exchange.spot.wallets import Account
from perpdesk.exchange.spot.world import SpotWorld
from perpdesk.ports import Answer, Clock, Outcome

RECV_WINDOW_MS = 5_000
KEY_REFUSED = Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
BAD_SYMBOL = Refusal(-1121, "Invalid symbol.")
# HTTP statuses and codes that prove that nothing was taken; any other error leaves it open.
PROVING_STATUS = frozenset({400, 401, 403, 418, 429})
PROVING = frozenset(
    {-1003, -1013, -1015, -1021, -1022, *range(-1106, -1099), -1111, -1121, -2010, -2011, -2014, -2015}
)


class ReadFailed(PerpdeskError):
    """A read came to nothing: the answer is unknown, not empty. code: the venue's, None without an answer."""

    def __init__(self, what: str, code: int | None = None) -> None:
        super().__init__(f"{what}: {'no answer' if code is None else code}")
        self.code = code


class OrderView(NamedTuple):
    """One order as a query shows it. Amounts in 1e-8."""

    id: int
    client_id: str
    list_id: int
    side: int
    status: str
    price_e8: int
    qty_e8: int
    filled_e8: int
    quote_e8: int


@dataclass(eq=False)
class Listener:
    """One account's stream. on_close: it has ended and says nothing any more."""

    account: int
    on_event: Callable[[Event], None]
    on_close: Callable[[], None]
    silent_until_ms: int = 0
    held: Event | None = None


@dataclass(slots=True)
class Latency:
    """Milliseconds, from and to: on the way there, on the way back, and of events."""

    there: tuple[int, int] = (0, 0)
    back: tuple[int, int] = (0, 0)
    events: tuple[int, int] = (0, 0)


@dataclass
class InProcessSpot:
    """``world`` as many accounts use it at once. ``revoked``: accounts whose keys are refused."""

    world: SpotWorld
    clock: Clock
    plan: Plan = field(default_factory=lambda: Plan(7))
    latency: Latency = field(default_factory=Latency)
    seed: int = 7
    revoked: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._listeners: dict[int, list[Listener]] = {}
        self._later: set[asyncio.Task[None]] = set()
        # in a simulation: what is the exchange's own goes on when a client dies
        self.context: contextvars.Context | None = None
        self._answers: dict[tuple[object, ...], Any] = {}

    # -- orders --------------------------------------------------------------------------------

    async def place_list(self, account: int, symbol: str, new: NewList) -> Answer:
        """Send a list, once."""
        return await self._ask(
            "place_list",
            account,
            lambda who, pair, ms: entry.place_list(self.world, who, pair, new, ms),
            symbol,
        )

    async def place(self, account: int, symbol: str, new: NewOrder) -> Answer:
        """Send one order, once."""
        return await self._ask(
            "place", account, lambda who, pair, ms: entry.place(self.world, who, pair, new, ms), symbol
        )

    async def cancel_list(self, account: int, symbol: str, client_id: str) -> Answer:
        """Take a list back. REFUSED with -2011: it is not open, which proves nothing more."""

        def do(who: Account, pair: Pair, now_ms: int) -> object:
            alive = [one for one in who.open_lists.values() if one.client_id == client_id]
            return entry.cancel_list(self.world, alive[0], now_ms) if alive else UNKNOWN_ORDER

        return await self._ask("cancel_list", account, do, symbol)

    # -- reads ---------------------------------------------------------------------------------

    async def order(self, account: int, client_id: str) -> OrderView | None:
        """The newest order of that name; None: the venue says that there is none."""

        def look(who: Account) -> OrderView | None:
            found = who.client_ids.get(client_id) or who.last_by_client_id.get(client_id)
            return None if found is None else view_of(found)

        found: OrderView | None = await self._read("order", account, look, client_id, hidden=None)
        return found

    async def fills(self, account: int, client_id: str) -> tuple[Fill, ...]:
        """Every execution of the newest order of that name."""

        def look(who: Account) -> tuple[Fill, ...]:
            found = who.last_by_client_id.get(client_id)
            return () if found is None else tuple(one for one in who.fills if one.order is found)

        made: tuple[Fill, ...] = await self._read("fills", account, look, client_id, hidden=())
        return made

    async def balances(self, account: int) -> dict[str, tuple[int, int]]:
        """(free, locked) of every asset, in 1e-8."""

        def look(who: Account) -> dict[str, tuple[int, int]]:
            return {
                name: (who.free.get(name, 0), who.locked.get(name, 0)) for name in {**who.free, **who.locked}
            }

        found: dict[str, tuple[int, int]] = await self._read("balances", account, look, hidden={})
        return found

    async def volume(self, account: int, symbol: str, side: str = "buy") -> float:
        """What the counter shows for today."""

        def look(who: Account) -> float:
            pair = self.world.by_symbol[symbol]
            return self.world.counters.displayed(who.index, pair, self.clock.now_ms(), side)

        shown: float = await self._read("volume", account, look, symbol, side, hidden=0.0)
        return shown

    async def quote(self, symbol: str) -> tuple[int, int, int, int]:
        """(bid, ask, last, time of the quote): prices in 1e-8, 0 where nobody is."""

        def look() -> tuple[int, int, int, int]:
            book = self.world.books[self.world.by_symbol[symbol].index]
            bid, _, ask, _ = book.ticker()
            return bid, ask, book.last_e8, book.quoted_ms

        found: tuple[int, int, int, int] = await self._read(
            "quote", None, lambda _: look(), symbol, hidden=(0,) * 4
        )
        return found

    # -- events --------------------------------------------------------------------------------

    def listen(
        self, account: int, on_event: Callable[[Event], None], on_close: Callable[[], None] = lambda: None
    ) -> Listener:
        """The account's events from now on."""
        listener = Listener(account, on_event, on_close)
        self._listeners.setdefault(account, []).append(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """No more events. Leaving twice is fine."""
        listeners = self._listeners.get(listener.account, [])
        if listener in listeners:
            listeners.remove(listener)

    def deafen(self, account: int) -> None:
        """End the account's streams."""
        for listener in self._listeners.pop(account, []):
            listener.on_close()

    def flush(self) -> None:
        """Tell what has happened: after the market has moved, and after each request by itself."""
        for account, event in self.world.take_events():
            for listener in tuple(self._listeners.get(account, ())):
                self._tell(listener, event)

    def _tell(self, listener: Listener, event: Event) -> None:
        now_ms = self.clock.now_ms()
        if now_ms < listener.silent_until_ms:
            return
        fault = self.plan.message(f"user:{type(event).__name__}", now_ms) if self.plan.faults else None
        if fault is not None and fault.kind == "ws-reorder" and listener.held is None:
            listener.held = event
            return
        held, listener.held = listener.held, None
        events = [event] if held is None else [event, held]
        if fault is None or fault.kind == "ws-reorder":
            self._deliver(listener, events, self._draw(self.latency.events))
        elif fault.kind == "ws-dup":
            self._deliver(listener, [event, *events], 0)
        elif fault.kind == "ws-lag":
            self._deliver(listener, events, fault.ms)
        elif fault.kind == "ws-silent":
            listener.silent_until_ms = now_ms + fault.ms
        elif fault.kind == "ws-close":
            self.leave(listener)
            listener.on_close()

    def _deliver(self, listener: Listener, events: list[Event], wait_ms: int) -> None:
        if wait_ms == 0:
            for event in events:
                listener.on_event(event)
            return

        async def later() -> None:
            await self.clock.sleep_until(self.clock.now_ms() + wait_ms)
            if listener in self._listeners.get(listener.account, ()):
                for event in events:
                    listener.on_event(event)

        self._spawn(later())

    # -- requests ------------------------------------------------------------------------------

    async def _ask(
        self, route: str, account: int, do: Callable[[Account, Pair, int], object], symbol: str
    ) -> Answer:
        fence_ms = self.clock.now_ms() + RECV_WINDOW_MS

        def carry_out() -> object:
            now_ms = self.clock.now_ms()
            pair = self.world.by_symbol.get(symbol)
            if account in self.revoked:
                return KEY_REFUSED
            done = BAD_SYMBOL if pair is None else do(self.world.accounts[account], pair, now_ms)
            self.flush()
            return done

        fault = await self._sent(route)
        unknown = Answer(Outcome.UNKNOWN, "no answer", fence_ms)
        if fault is None or fault.kind == "slow":
            done = carry_out()
            await self._pause(self.latency.back)
            return _judged(done)
        if fault.kind == "late-exec":
            self._spawn(self._carry_out_later(carry_out, min(fault.ms, RECV_WINDOW_MS)))
            return Answer(Outcome.UNKNOWN, "-1007", fence_ms, -1007)
        if fault.kind in ("drop-resp", "garble", "empty") or (fault.kind == "reply" and fault.executes):
            carry_out()
        await self._pause(self.latency.back)
        if fault.kind == "hide":
            return _judged(UNKNOWN_ORDER)
        if fault.kind == "reply" and fault.http in PROVING_STATUS and fault.code in PROVING:
            return Answer(Outcome.REFUSED, fault.msg, 0, fault.code)
        return unknown

    async def _carry_out_later(self, carry_out: Callable[[], object], ms: int) -> None:
        await self.clock.sleep_until(self.clock.now_ms() + ms)
        carry_out()

    async def _read(
        self, route: str, account: int | None, look: Callable[[Any], object], *key: object, hidden: object
    ) -> Any:
        fault = await self._sent(route)
        if account is not None and account in self.revoked:
            raise ReadFailed(route, KEY_REFUSED.code)
        remembered = (route, account, *key)
        if fault is not None and fault.kind == "reply":
            raise ReadFailed(route, fault.code or fault.http)
        if fault is not None and fault.kind not in ("slow", "hide", "stale", "empty"):
            raise ReadFailed(route)
        if fault is not None and fault.kind == "stale" and remembered in self._answers:
            return self._answers[remembered]
        found = look(None if account is None else self.world.accounts[account])
        if self.plan.faults:
            self._answers[remembered] = found
        await self._pause(self.latency.back)
        return hidden if fault is not None and fault.kind in ("hide", "empty") else found

    async def _sent(self, route: str) -> Fault | None:
        """The request is on its way; what strikes it."""
        fault = self.plan.request(route, self.clock.now_ms()) if self.plan.faults else None
        if fault is not None and fault.kind == "slow":
            await self.clock.sleep_until(self.clock.now_ms() + fault.ms)
        await self._pause(self.latency.there)
        return fault

    async def _pause(self, span_ms: tuple[int, int]) -> None:
        wait_ms = self._draw(span_ms)
        if wait_ms:
            await self.clock.sleep_until(self.clock.now_ms() + wait_ms)

    def _draw(self, span_ms: tuple[int, int]) -> int:
        low, high = span_ms
        return low if low == high else self._random.randint(low, high)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, context=self.context)
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        task.add_done_callback(_tell_failure)

    async def close(self) -> None:
        """End what is still on its way."""
        for task in tuple(self._later):
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        context = {"message": "a late request or event failed", "exception": task.exception(), "task": task}
        task.get_loop().call_exception_handler(context)


def _judged(done: object) -> Answer:
    if isinstance(done, Refusal):
        unproven = done.code == -2010 and "duplicate" in done.msg.lower()
        return Answer(Outcome.UNKNOWN if unproven else Outcome.REFUSED, done.msg, 0, done.code)
    return Answer(Outcome.ACCEPTED)


def view_of(order: Order) -> OrderView:
    """An order as it stands now."""
    return OrderView(
        order.id,
        order.client_id,
        order.list_id,
        order.side,
        order.status,
        order.price_e8,
        order.qty_e8,
        order.filled_e8,
        order.quote_e8,
    )
