"""The simulated Alpha-like market as a venue of the runner: in this process, seeded, on a driven clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import TypeVar

from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.config.volume_tokens import Listing
from perpdesk.domain.units import to_units
from perpdesk.engine.volume.desk import Desk
from perpdesk.engine.volume.venue import (
    Fact,
    FillSeen,
    Instrument,
    OrderSeen,
    Price,
    StreamDown,
    StreamUp,
    Unread,
)
from perpdesk.exchange.faults import Plan
from perpdesk.exchange.spot.alpha import QuotePoint, default_tokens, quote, random_walk
from perpdesk.exchange.spot.events import Event, Report
from perpdesk.exchange.spot.inprocess import InProcessSpot, Latency, OrderView, ReadFailed
from perpdesk.exchange.spot.orders import BUY, SELL, NewList, NewOrder
from perpdesk.exchange.spot.pairs import PPM, Pair
from perpdesk.exchange.spot.world import SpotWorld
from perpdesk.ports import Answer, Clock
from perpdesk.strategies.volume_target.facts import Fill, Seen
from perpdesk.strategies.volume_target.modes import CountSide, VolumeVenue
from perpdesk.strategies.volume_target.pair_events import PlaceExit, PlaceOto
from perpdesk.strategies.volume_target.prices import TokenRules
from perpdesk.strategies.volume_target.volume import day_of

T = TypeVar("T")
STP = "EXPIRE_TAKER"
WINDOW_MAX_S = 600
STEP_MS = 1_000
_E8 = Decimal("1e-8")
SEEN = {
    "NEW": Seen.LIVE,
    "PARTIALLY_FILLED": Seen.LIVE,
    "PENDING_NEW": Seen.LIVE,
    "FILLED": Seen.FILLED,
    "CANCELED": Seen.CANCELED,
    "REJECTED": Seen.REJECTED,
    "EXPIRED": Seen.EXPIRED,
    "EXPIRED_IN_MATCH": Seen.EXPIRED_IN_MATCH,
}


def amount(value_e8: int) -> Decimal:
    """1e-8 units as a Decimal."""
    return value_e8 * _E8


def e8(value: Decimal) -> int:
    """A Decimal as 1e-8 units, exactly."""
    return to_units(value, 8)


class SimulatedMarket:
    """Tokens whose prices walk at random, step by step, and accounts that are opened as users come.

    clock: a VirtualClock where ``drive`` moves it, any other where its owner calls ``play``.
    swing_ppm: how far a price may move in one second. usdt: what each account begins with. history_max and
    market_max bound the memory of long runs.
    """

    key: str
    recv_window_ms = 5_000
    queue_ms = 0

    def __init__(
        self,
        clock: Clock,
        *,
        tokens: Sequence[tuple[Pair, int]] | None = None,
        seed: int = 7,
        swing_ppm: int = 600,
        usdt: Decimal = Decimal(10_000),
        latency: Latency | None = None,
        plan: Plan | None = None,
        history_max: int | None = None,
    ) -> None:
        listed = default_tokens() if tokens is None else list(tokens)
        self.clock, self.seed, self._usdt_e8 = clock, seed, e8(usdt)
        self.world = SpotWorld(
            [pair for pair, _ in listed],
            seed=seed,
            says_positions=False,
            history_max=history_max,
            market_max=None if history_max is None else 4,
        )
        self.spot = InProcessSpot(self.world, clock, plan or Plan(seed), latency or Latency(), seed=seed)
        # a world ends with its process: its tokens are no other world's
        self.key = f"sim-{seed}-{clock.now_ms()}"
        self.accounts: dict[int, int] = {}
        self._seen: dict[str, deque[tuple[int, int]]] = {}
        self._walks: list[tuple[Pair, Iterator[QuotePoint]]] = []
        self._next_ms = clock.now_ms() - WINDOW_MAX_S * STEP_MS
        for pair, price_e8 in listed:
            walk = random_walk(
                seed,
                pair,
                price_e8,
                from_ms=self._next_ms,
                step_ms=STEP_MS,
                points=1 << 40,
                swing_ppm=swing_ppm,
            )
            self._walks.append((pair, iter(walk)))
            self._seen[pair.symbol] = deque(maxlen=WINDOW_MAX_S + 1)
        self.play()

    # -- the market -------------------------------------------------------------------------------------

    def play(self) -> None:
        """Let prices walk up to now."""
        while self._next_ms <= self.clock.now_ms():
            for pair, walk in self._walks:
                self.quote(pair, next(walk))
            self._next_ms += STEP_MS
        self.spot.flush()

    @property
    def next_ms(self) -> int:
        """When prices move next."""
        return self._next_ms

    def quote(self, pair: Pair, point: QuotePoint) -> None:
        """The market of a token goes there."""
        quote(self.world, pair, point)
        self._seen[pair.symbol].append((point.ms, point.last_e8))

    def hold(self, ask_qty: Decimal | None = None) -> None:
        """Prices stay where they are from now on, quoted again every second, with so much to buy."""
        size = None if ask_qty is None else e8(ask_qty)
        self.follow(lambda _, last: _standing(last, size))

    def follow(self, path: Callable[[Pair, QuotePoint], Iterator[QuotePoint]]) -> None:
        """Prices go another way at once; path: a token and the point to begin at."""
        ms = self._next_ms - STEP_MS
        self._walks = [(pair, path(pair, replace(next(walk), ms=ms))) for pair, walk in self._walks]
        for pair, walk in self._walks:
            self.quote(pair, next(walk))

    def account(self, user_id: int) -> int:
        """The user's account, opened when first asked for."""
        found = self.accounts.get(user_id)
        if found is None:
            account = self.world.open_account({"USDT": self._usdt_e8}, self.clock.now_ms(), managed=True)
            found = self.accounts[user_id] = account.index
        return found

    # -- the venue --------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The driven clock's."""
        return self.clock.now_ms()

    def rate_ok(self) -> bool:
        """No limits here."""
        return True

    async def listings(self) -> Sequence[Listing]:
        """The tokens with their multipliers as the venue writes them."""
        return [
            Listing(VolumeVenue.SIM.value, pair.chain, pair.token, pair.contract, pair.multiplier)
            for pair in self.world.pairs
        ]

    def pair_of(self, token: Listing) -> Pair:
        """The pair behind a listing."""
        return next(pair for pair in self.world.pairs if pair.contract == token.contract)

    async def instrument(self, token: Listing) -> Instrument:
        """Rules as the market has them."""
        pair = self.pair_of(token)
        rules = TokenRules(
            tick=amount(pair.tick_e8),
            step=amount(pair.step_e8),
            min_qty=amount(pair.qty_floor_e8),
            max_qty=amount(pair.qty_max_e8),
            min_notional=amount(pair.notional_min_e8),
            taker_fee=Decimal(pair.taker_ppm) / PPM,
            pending_by_venue=True,
            max_notional=amount(pair.notional_max_e8),
        )
        is_ok = pair.status == "TRADING" and pair.oto_allowed and STP in pair.stp_modes
        return Instrument(rules, is_ok)

    async def price(self, token: Listing) -> Price:
        """The book ticker."""
        try:
            bid, ask, last, ms = await self.spot.quote(self.pair_of(token).symbol)
        except ReadFailed as error:
            raise Unread(str(error), error.code) from error
        if not (bid and ask and last):
            raise Unread(f"{token.symbol} has no book")
        return Price(amount(bid), amount(ask), amount(last), ms, self.now_ms())

    async def window(self, token: Listing, seconds: int) -> tuple[Decimal, Decimal] | None:
        """From the prices of the last seconds."""
        seen = self._seen[self.pair_of(token).symbol]
        if len(seen) <= seconds:
            return None
        prices = [price for _, price in islice(reversed(seen), seconds + 1)]
        return amount(min(prices)), amount(max(prices))

    def user(self, user_id: int, token: Listing) -> SimulatedUser:
        """A user's account."""
        return SimulatedUser(self, self.account(user_id), self.pair_of(token))


def _standing(point: QuotePoint, ask_qty_e8: int | None) -> Iterator[QuotePoint]:
    ms = point.ms
    while True:
        yield QuotePoint(ms, point.bid_e8, point.ask_e8, point.last_e8, ask_qty_e8=ask_qty_e8)
        ms += STEP_MS


class SimulatedUser:
    """One account on one token of the simulated market."""

    def __init__(self, market: SimulatedMarket, account: int, pair: Pair) -> None:
        self._market, self._spot, self._account, self._pair = market, market.spot, account, pair

    async def volume(self, day: int, side: CountSide) -> Decimal:
        """The counter, which is a binary number with its noise."""
        if day != day_of(self._market.now_ms()):
            raise Unread(f"the counter shows another day than {day}")
        try:
            shown = await self._spot.volume(self._account, self._pair.symbol, side.value)
        except ReadFailed as error:
            raise Unread(str(error), error.code) from error
        return Decimal(repr(shown))

    async def place_oto(self, order: PlaceOto) -> Answer:
        """BUY, and a SELL that the venue sizes."""
        buy = NewOrder(BUY, "LIMIT", e8(order.buy_price), e8(order.qty), "GTC", order.buy_id, stp=STP)
        sell = NewOrder(SELL, "LIMIT", e8(order.sell_price), 0, "GTC", order.sell_id, stp=STP)
        return await self._spot.place_list(
            self._account, self._pair.symbol, NewList((sell,), buy, order.list_id, pays=True)
        )

    async def place_exit(self, order: PlaceExit) -> Answer:
        """Immediate-or-cancel, or at market."""
        if order.limit is None:
            new = NewOrder(SELL, "MARKET", 0, e8(order.qty), "GTC", order.client_id, stp=STP)
        else:
            new = NewOrder(SELL, "LIMIT", e8(order.limit), e8(order.qty), "IOC", order.client_id, stp=STP)
        return await self._spot.place(self._account, self._pair.symbol, new)

    async def cancel(self, list_id: str) -> Answer:
        """Take a list back."""
        return await self._spot.cancel_list(self._account, self._pair.symbol, list_id)

    async def order(self, client_id: str) -> OrderSeen | None:
        """As a query shows it."""
        try:
            found: OrderView | None = await self._spot.order(self._account, client_id)
        except ReadFailed as error:
            raise Unread(str(error), error.code) from error
        if found is None:
            return None
        return OrderSeen(client_id, SEEN[found.status], amount(found.filled_e8), str(found.id))

    async def fills(self, client_id: str) -> tuple[Fill, ...]:
        """With running quantities."""
        try:
            made = await self._spot.fills(self._account, client_id)
        except ReadFailed as error:
            raise Unread(str(error), error.code) from error
        found, cum_e8 = [], 0
        for one in made:
            cum_e8 += one.qty_e8
            found.append(
                Fill(
                    one.id,
                    amount(cum_e8),
                    amount(one.qty_e8),
                    amount(one.price_e8),
                    amount(one.quote_e8),
                    one.ms,
                    amount(one.commission_e8),
                    in_base=one.commission_asset == self._pair.base,
                )
            )
        return tuple(found)

    async def free_usdt(self) -> Decimal:
        """USDT that is free."""
        try:
            held = await self._spot.balances(self._account)
        except ReadFailed as error:
            raise Unread(str(error), error.code) from error
        return amount(held.get("USDT", (0, 0))[0])

    async def taker_fee(self) -> Decimal | None:
        """Everybody pays the same."""
        return None

    async def check_key(self) -> None:
        """A revoked account's key is refused."""
        await self.free_usdt()

    def open_stream(self, on_fact: Callable[[Fact], None]) -> Callable[[], None]:
        """Reports of this pair's orders."""
        listener = self._spot.listen(
            self._account,
            lambda event: self._tell(event, on_fact),
            lambda: on_fact(StreamDown()),
        )
        on_fact(StreamUp())
        return lambda: self._spot.leave(listener)

    def _tell(self, event: Event, on_fact: Callable[[Fact], None]) -> None:
        if not isinstance(event, Report) or event.pair != self._pair.index:
            return
        name = event.orig_client_id or event.client_id
        if event.trade_id >= 0:
            fill = Fill(
                event.trade_id,
                amount(event.filled_e8),
                amount(event.last_qty_e8),
                amount(event.last_price_e8),
                amount(event.last_quote_e8),
                event.ms,
                amount(event.commission_e8),
                in_base=event.commission_asset == self._pair.base,
            )
            on_fact(FillSeen(name, fill))
        on_fact(OrderSeen(name, SEEN[event.status], amount(event.filled_e8), str(event.order_id)))

    async def close(self) -> None:
        """Nothing is open."""


async def real_pause(ms: int) -> None:
    """Wait on this machine's clock."""
    clock = SystemClock()
    await clock.sleep_until(clock.now_ms() + ms)


def driven_clock(market: SimulatedMarket) -> VirtualClock:
    """The market's clock, which is moved from here."""
    assert isinstance(market.clock, VirtualClock)
    return market.clock


async def drive(
    market: SimulatedMarket,
    desk: Desk,
    until: Callable[[], bool],
    *,
    quantum_ms: int = 1,
    speed: float = 0.0,
) -> None:
    """Move the market's clock from deadline to deadline until ``until`` says so.

    quantum_ms: at least so far at once. speed 0: as fast as this machine can; else venue seconds a second.
    """
    clock = driven_clock(market)
    while not until():
        await settle(desk)
        now_ms = clock.now_ms()
        due = market.next_ms if clock.next_ms is None else min(clock.next_ms, market.next_ms)
        due = max(due, now_ms + quantum_ms)
        if speed > 0:
            await real_pause(int((due - now_ms) / speed))
        clock.advance_to(due)
        market.play()
    await settle(desk)


async def settle(desk: Desk, turns: int = 8) -> None:
    """Let everybody who can do something do it, and the ledger be written."""
    for _ in range(1_000):
        idle = desk.is_idle
        for _ in range(turns):
            await asyncio.sleep(0)
            idle = idle and desk.is_idle
        if idle:
            return
        if not desk.is_idle:
            await real_pause(1)


async def driven(market: SimulatedMarket, desk: Desk, work: Awaitable[T]) -> T:
    """The result of something that waits for the market and the store, with the market's clock moving on
    slowly meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await settle(desk)
        await real_pause(1)
        driven_clock(market).advance_to(market.now_ms() + 5)
        market.play()
    return await task
