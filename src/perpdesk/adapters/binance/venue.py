"""Binance as the engine sees it: a Venue and a Feed in kernel units.

Account facts go before market steps. Marks are watched for the levels that the engine names; bars come minute
by minute. ``start`` reads rules, modes and time, opens the streams, and refuses an exchange, a position mode
or a symbol that is not what the run was made for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.account import (
    SWEEP_MS,
    AccountFacts,
    OwnerUnknown,
    PlaceOf,
    Sums,
    open_ids_of,
)
from perpdesk.adapters.binance.batches import Batches
from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable, MalformedAnswer
from perpdesk.adapters.binance.facts import Fill
from perpdesk.adapters.binance.known_orders import KnownOrders
from perpdesk.adapters.binance.live import LiveSide
from perpdesk.adapters.binance.market_stream import MarketStream
from perpdesk.adapters.binance.minutes import Minutes
from perpdesk.adapters.binance.orders import Orders
from perpdesk.adapters.binance.quantise import Rules, money_near_e8, rules_of
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.socket_api import SocketApi
from perpdesk.adapters.binance.sockets import Dial, dial_with
from perpdesk.adapters.binance.truth import AccountTruth
from perpdesk.adapters.binance.user_stream import UserStream
from perpdesk.domain import units
from perpdesk.domain.errors import ConfigError, InputError, UnknownSymbol
from perpdesk.kernel.records import FAR
from perpdesk.market.universe import Universe
from perpdesk.ports import (
    Answer,
    Clock,
    Message,
    NewOrder,
    Outcome,
    PriceReached,
    StepClosed,
    StepOver,
    VenuePosition,
    VenueTraits,
)

LOG = logging.getLogger(__name__)
T = TypeVar("T")
_ASK_AGAIN_MS = 500
# By how much a clock may be wrong before it was measured.
_UNMEASURED_MS = 2_000
# Refusals that pass by themselves: throttled, busy, a clock that is being measured.
_PASSING = (-1000, -1001, -1003, -1008, -1021)


@dataclass(slots=True)
class Levels:
    """The marks at which the engine wants to be told; told once, then it names new ones."""

    fire_lo: int = -FAR
    fire_hi: int = FAR
    peak_lo: int = -FAR
    peak_hi: int = FAR
    is_armed: bool = False


class BinanceVenue(LiveSide):
    """A Venue and a Feed. Make it, ``await start()``, read ``messages()``, ``await close()``.

    rest: with credentials. with_market: also tell bars and marks (False: account facts only).
    place_of: the (sleeve, slot) of a client id from before this process, None if it is not ours.
    patience_ms: how long ``start`` asks again what was not answered.
    over_socket: orders go over the WebSocket API while it is open, else (and by default) over REST.
    """

    traits = VenueTraits(
        name="binance",
        watches_levels=True,
        replaces_in_place=False,
        checks_orders=True,
        fills_at_once=True,
    )

    def __init__(
        self,
        *,
        universe: Universe,
        rest: Rest,
        clock: Clock,
        dial: Dial | None = None,
        with_market: bool = True,
        place_of: PlaceOf = lambda _: None,
        sweep_ms: int = SWEEP_MS,
        over_socket: bool = False,
        patience_ms: int = 0,
    ) -> None:
        self._universe, self._rest, self._clock = universe, rest, clock
        self._dial = dial or dial_with(lambda: rest.session)
        self._with_market = with_market
        self._place_of = place_of
        self._sweep_ms = sweep_ms
        self._over_socket = over_socket
        self._patience_ms = patience_ms
        self._place = {symbol: i for i, symbol in enumerate(universe.symbols)}
        self._known = KnownOrders()
        self._levels = [Levels() for _ in universe.symbols]
        self._facts: deque[Fill | Message] = deque()
        self._steps: deque[Message] = deque()
        self._strays = 0  # fills whose owner is being asked for
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: BaseException | None = None
        self._is_closed = False
        self.rules: list[Rules] = []
        self.user: UserStream | None = None
        self.market: MarketStream | None = None
        self.minutes: Minutes | None = None
        self.requests: SocketApi | None = None
        self._orders: Orders | None = None
        self._batches: Batches | None = None
        self._account: AccountFacts | None = None
        self._truth: AccountTruth | None = None

    # -- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read what must be known before the first order, and open the streams.

        Raises WrongExchange, UnknownSymbol, ConfigError, ExchangeUnreachable; nothing is left running or open
        then.
        """
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        until_ms = self._clock.now_ms() + self._patience_ms
        await self._patiently(self._rest.sync_time, until_ms)
        info: p.ExchangeInfo = await self._patiently(lambda: self._rest.ask(to.EXCHANGE_INFO, ()), until_ms)
        self._take_limits(info)
        rows = {row.symbol: row for row in info.symbols}
        for i, symbol in enumerate(self._universe.symbols):
            if symbol not in rows:
                raise UnknownSymbol(symbol, field="exchangeInfo", known=len(rows))
            self.rules.append(
                rules_of(rows[symbol], self._universe.price_digits[i], self._universe.lot_step[i])
            )
        if len({rule.quote for rule in self.rules}) > 1:
            raise ConfigError("symbols of one account must have one quote currency", field="symbols")
        config: p.AccountConfig = await self._patiently(
            lambda: self._rest.ask(to.ACCOUNT_CONFIG, ()), until_ms
        )
        if config.multi_assets_margin:
            raise ConfigError("the account is in multi-assets mode: switch it off", field="account")
        if self._over_socket:
            self.requests = SocketApi(rest=self._rest, clock=self._clock, dial=self._dial)
            self._spawn(self.requests.run(), "WebSocket API")
        self._orders = Orders(
            self._rest,
            self._known,
            self.rules,
            hedge=config.dual_side_position,
            channel=self.requests,
        )
        self._batches = Batches(self._orders)
        self._truth = AccountTruth(self._rest, self.rules, self._known)
        settings: list[p.SymbolConfig] = await self._patiently(
            lambda: self._rest.ask(to.SYMBOL_CONFIG, ()), until_ms
        )
        self._orders.leverages = {row.symbol: row.leverage for row in settings}
        self._account = account = AccountFacts(
            rest=self._rest,
            clock=self._clock,
            known=self._known,
            rules=self.rules,
            leverages=self._orders.leverages,
            put=self._put,
            doubt=self._doubt,
            place_of=self._place_of,
            sweep_ms=self._sweep_ms,
        )
        account.margin_types = {row.symbol: row.margin_type.upper() for row in settings}
        await self._patiently(account.count_slots, until_ms)
        self.user = UserStream(
            rest=self._rest, clock=self._clock, dial=self._dial, on_event=account.told, on_gap=account.gap
        )
        self._spawn(self.user.run(), "user stream")
        self._spawn(account.run(), "catch-up")
        if self._with_market:
            self.minutes = Minutes(self.rules, self._rest, self._clock, self._minute)
            self.market = MarketStream(
                symbols=self._universe.symbols,
                hosts=self._rest.hosts,
                clock=self._clock,
                dial=self._dial,
                on_bar=self.minutes.told,
                on_marks=self._marked,
                on_gap=lambda _: None,
            )
            self._spawn(self.market.run(), "market")
            self._spawn(self.minutes.run(), "minutes")

    async def _patiently(self, ask: Callable[[], Awaitable[T]], until_ms: int) -> T:
        """Ask until it is answered, or the time is over: positions may be waiting for their stops."""
        while True:
            try:
                return await ask()
            except ExchangeUnreachable as error:
                reason: Exception = error
            except ExchangeRefused as error:
                if error.code not in _PASSING:
                    raise
                reason = error
            again_ms = self._clock.now_ms() + _ASK_AGAIN_MS
            if banned_until_ms := self._rest.governor.banned_until_ms:  # our clock may be ahead still
                again_ms = max(again_ms, self._rest.server.local_ms(banned_until_ms) + _UNMEASURED_MS)
            if again_ms >= until_ms:
                raise reason
            LOG.warning("asked again at the start: %s", reason)
            await self._clock.sleep_until(again_ms)

    async def close(self) -> None:
        """Stop streams and close connections. Orders and positions stay as they are."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._rest.close()
        self._wake.set()

    # -- Venue -------------------------------------------------------------------------------------

    async def place(self, order: NewOrder) -> Answer:
        return await self._sender.place(order)

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        answer = await self._sender.cancel(symbol, client_id)
        known = self._known.get(client_id)
        if known is not None and answer.outcome.value == "accepted":
            self._facts_of_account.end(known)
        return answer

    async def modify(self, symbol: int, client_id: str, price: int, lots: int) -> Answer:
        """Amend a resting LIMIT order (see ``Orders.modify``)."""
        return await self._sender.modify(symbol, client_id, price, lots)

    async def place_many(self, orders: Sequence[NewOrder]) -> list[Answer]:
        """Send several orders, each with an answer of its own (see ``batches``)."""
        return await self._batch.place(orders)

    async def cancel_many(self, symbol: int, client_ids: Sequence[str]) -> list[Answer]:
        """Take several orders of a symbol back, each with an answer of its own."""
        answers = await self._batch.cancel(symbol, client_ids)
        for client_id, answer in zip(client_ids, answers, strict=True):
            known = self._known.get(client_id)
            if known is not None and answer.outcome is Outcome.ACCEPTED:
                self._facts_of_account.end(known)
        return answers

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        self._levels[symbol] = Levels(fire_lo, fire_hi, peak_lo, peak_hi, True)

    async def open_client_ids(self, symbol: int) -> set[str]:
        """The client ids of both books. Raises if either cannot be read: nothing is known then."""
        return await open_ids_of(self._rest, self.rules[symbol].symbol)

    async def positions(self) -> list[VenuePosition]:
        """Every position that is not flat (in hedge mode each leg), and symbols that traded in this session.

        Raises ExchangeUnreachable, ExchangeRefused. A symbol outside the universe is kept in ``outside``.
        What our fills hold and this answer does not is asked for a second time elsewhere: nothing is closed
        by an empty answer, and two that disagree are ExchangeUnreachable.
        """
        rows: list[p.PositionRisk] = await self._rest.ask(to.POSITIONS, ())
        sums_of = self._facts_of_account.sums
        found: list[VenuePosition] = []
        named: set[int] = set()
        for row in rows:
            i = self._place.get(row.symbol)
            if i is None:
                self._facts_of_account.outside.add(row.symbol)
                continue
            lots = self.rules[i].signed_lots(row.position_amt)
            if lots == 0:
                continue
            sums = Sums() if i in named else sums_of[i]
            named.add(i)
            found.append(self._position(i, lots, row.entry_price, sums))
        doubtful = {i for i, sums in enumerate(sums_of) if sums.lots and i not in named}
        if doubtful:
            await self._refuse_contradiction(doubtful)
        for i, sums in enumerate(sums_of):
            if sums.has_traded and i not in named:
                found.append(self._position(i, 0, "0", sums))
        return found

    async def _refuse_contradiction(self, flat: set[int]) -> None:
        account: p.Account = await self._rest.ask(to.ACCOUNT, ())
        for row in account.positions:
            i = self._place.get(row.symbol)
            if i in flat and isinstance(row.position_amt, str) and self.rules[i].lots(row.position_amt):
                raise ExchangeUnreachable(f"two answers disagree on the position of {row.symbol}")

    async def wallet_e8(self) -> int:
        """The wallet balance of the quote currency. Raises ExchangeUnreachable, also if it is not there."""
        account: p.Account = await self._rest.ask(to.ACCOUNT, ())
        for asset in account.assets:
            if asset.asset == self.quote:
                return money_near_e8(asset.wallet_balance, "walletBalance")
        raise MalformedAnswer(f"the account's answer has no {self.quote}: nothing is known of the wallet")

    @property
    def leverages(self) -> dict[str, int]:
        """The leverage of each symbol, as the exchange last told it."""
        return self._sender.leverages

    @property
    def margin_types(self) -> dict[str, str]:
        """The margin type of each symbol (ISOLATED, CROSSED), as the exchange last told it."""
        return self._facts_of_account.margin_types

    @property
    def catch_ups(self) -> int:
        """How often REST was asked for what the stream may not have told."""
        return self._facts_of_account.catch_ups

    @property
    def outside(self) -> set[str]:
        """Symbols of the account that the run does not have."""
        return self._facts_of_account.outside

    @property
    def untold(self) -> int:
        """How many account facts were heard and wait for the reader of ``messages``."""
        return len(self._facts) + self._strays

    @property
    def quote(self) -> str:
        """The currency of the account."""
        return self.rules[0].quote

    # -- Feed --------------------------------------------------------------------------------------

    async def messages(self) -> AsyncIterator[Message]:
        """Facts of the account first, then steps; until ``close``. Raises what stopped a stream for good."""
        while True:
            while self._facts:
                fact = self._facts[0]
                try:
                    message = await self._facts_of_account.message(fact) if isinstance(fact, Fill) else fact
                except OwnerUnknown as error:  # others need not wait for it
                    LOG.warning("asked again soon: %s", error)
                    self._strays += 1
                    self._spawn(self._put_again(self._facts.popleft()), "stray fill")
                    continue
                self._facts.popleft()  # not before it could be told: a fill is never lost
                yield message
            if self._steps:
                yield self._steps.popleft()
                continue
            if self._failed is not None:
                raise self._failed
            if self._is_closed:
                return
            self._wake.clear()
            await self._wake.wait()

    # -- the market --------------------------------------------------------------------------------

    def _minute(self, now_ms: int, bars: np.ndarray) -> None:
        self._steps.append(StepClosed(now_ms, bars))
        self._steps.append(StepOver(now_ms))
        self._wake.set()

    def _marked(self) -> None:
        if self.market is None:
            return
        for i, levels in enumerate(self._levels):
            if not levels.is_armed:
                continue
            told = self.market.marks.get(self.rules[i].symbol)
            if told is None:
                continue
            mark = self.rules[i].price_near(told.price)
            if (
                mark <= levels.fire_lo
                or mark >= levels.fire_hi
                or mark <= levels.peak_lo
                or mark >= levels.peak_hi
            ):
                levels.is_armed = False
                self._put(PriceReached(i, mark, told.event_ms))

    # -- small things ------------------------------------------------------------------------------

    def _put(self, fact: Fill | Message) -> None:
        self._facts.append(fact)
        self._wake.set()

    async def _put_again(self, fact: Fill | Message) -> None:
        await self._clock.sleep_until(self._clock.now_ms() + _ASK_AGAIN_MS)
        self._strays -= 1
        self._put(fact)

    def _doubt(self) -> None:
        """REST knew fills that the stream should have told: renew it."""
        if self.user is not None and self.user.line.state.is_open:
            self.user.line.renew()

    @property
    def _facts_of_account(self) -> AccountFacts:
        if self._account is None:
            raise InputError("is not started: call start() first", field="venue")
        return self._account

    @property
    def _sender(self) -> Orders:
        if self._orders is None:
            raise InputError("is not started: call start() first", field="venue")
        return self._orders

    @property
    def _batch(self) -> Batches:
        if self._batches is None:
            raise InputError("is not started: call start() first", field="venue")
        return self._batches

    def _position(self, i: int, lots: int, entry_price: str, sums: Sums) -> VenuePosition:
        quantity = units.qty_of(abs(lots), self.rules[i].lot_step)
        cost = units.decimal_of(entry_price, "entryPrice") * quantity
        cost_e8 = units.money_e8(units.half_away(cost, units.MONEY_DIGITS))
        return VenuePosition(i, lots, cost_e8, sums.realised_e8, sums.fees_e8, sums.funding_e8)

    def _take_limits(self, info: p.ExchangeInfo) -> None:
        found = {
            (row.rate_limit_type, row.interval, row.interval_num): row.limit
            for row in (info.rate_limits if isinstance(info.rate_limits, list) else [])
        }
        self._rest.governor.set_limits(
            weight=found.get(("REQUEST_WEIGHT", "MINUTE", 1), 2400),
            orders_10s=found.get(("ORDERS", "SECOND", 10), 300),
            orders_1m=found.get(("ORDERS", "MINUTE", 1), 1200),
        )

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks = [*(one for one in self._tasks if not one.done()), task]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._is_closed:
            LOG.error("%s stopped: %s", task.get_name(), task.exception())
            self._failed = task.exception()
            self._wake.set()
