"""Binance as the engine sees it: a Venue and a Feed in kernel units.

Account facts go before market steps. Marks are watched for the levels that the engine names; bars come minute
by minute. ``start`` reads rules, modes and time, opens the streams, and refuses an exchange, a position mode
or a symbol that is not what the run was made for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from msgspec import UnsetType

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.catch_up import catch_up
from perpdesk.adapters.binance.errors import ExchangeUnreachable, MalformedAnswer
from perpdesk.adapters.binance.facts import FORCED, Fill, Seen, fill_of_report, fill_of_trade, text
from perpdesk.adapters.binance.known_orders import Known, KnownOrders, is_final
from perpdesk.adapters.binance.market_stream import MarketStream
from perpdesk.adapters.binance.minutes import Minutes
from perpdesk.adapters.binance.orders import Orders
from perpdesk.adapters.binance.quantise import Rules, money_near_e8, rules_of
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.sockets import Dial, dial_with
from perpdesk.adapters.binance.standing import Found, Standing, look, settle
from perpdesk.adapters.binance.user_stream import UserStream
from perpdesk.domain import units
from perpdesk.domain.errors import ConfigError, InputError, NeedsPerson, PerpdeskError, UnknownSymbol
from perpdesk.kernel.records import BUY, FAR, SELL
from perpdesk.market.universe import Universe
from perpdesk.ports import (
    Answer,
    Clock,
    ExternalTraded,
    ForcedClose,
    FundingCharged,
    Message,
    NewOrder,
    OrderGone,
    PriceReached,
    StepClosed,
    StepOver,
    Traded,
    Triggered,
    VenuePosition,
    VenueTraits,
)

LOG = logging.getLogger(__name__)
# Even if the stream seems well, REST is asked this often: a stream can be silent without a word.
SWEEP_MS = 60_000
CATCH_UP_AGAIN_MS = 1_000
# A fill that REST tells and the stream has not told for so long: the stream is silent, whatever it says.
LATE_MS = 5_000
TRIGGER_WORDS = ("TRIGGERING", "TRIGGERED", "FINISHED")


@dataclass(slots=True)
class Sums:
    """Bookings of one symbol since the start of the session, 1e-8 quote units."""

    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0
    has_traded: bool = False


@dataclass(slots=True)
class Levels:
    """The marks at which the engine wants to be told; told once, then it names new ones."""

    fire_lo: int = -FAR
    fire_hi: int = FAR
    peak_lo: int = -FAR
    peak_hi: int = FAR
    is_armed: bool = False


class BinanceVenue:
    """A Venue and a Feed. Make it, ``await start()``, read ``messages()``, ``await close()``.

    rest: with credentials. with_market: also tell bars and marks (False: account facts only).
    place_of: the (sleeve, slot) of a client id from before this process, None if it is not ours.
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
        place_of: Callable[[str], tuple[int, int] | None] = lambda _: None,
        sweep_ms: int = SWEEP_MS,
    ) -> None:
        self._universe, self._rest, self._clock = universe, rest, clock
        self._dial = dial or dial_with(lambda: rest.session)
        self._with_market = with_market
        self._place_of = place_of
        self._sweep_ms = sweep_ms
        self._place = {symbol: i for i, symbol in enumerate(universe.symbols)}
        self._known = KnownOrders()
        self._seen = Seen()
        self._sums = [Sums() for _ in universe.symbols]
        self._levels = [Levels() for _ in universe.symbols]
        self._facts: deque[Fill | Message] = deque()
        self._steps: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._catch_up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._start_ms = self._since_ms = 0  # exchange's time; what was before the start is not told
        self._failed: BaseException | None = None
        self._is_closed = False
        self.rules: list[Rules] = []
        self.outside: set[str] = set()  # symbols of account facts that the universe does not have
        self.catch_ups = 0
        self.user: UserStream | None = None
        self.market: MarketStream | None = None
        self.minutes: Minutes | None = None
        self._orders: Orders | None = None

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
        await self._rest.sync_time()
        info: p.ExchangeInfo = await self._rest.ask(to.EXCHANGE_INFO, ())
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
        config: p.AccountConfig = await self._rest.ask(to.ACCOUNT_CONFIG, ())
        if config.multi_assets_margin:
            raise ConfigError("the account is in multi-assets mode: switch it off", field="account")
        self._orders = Orders(self._rest, self._known, self.rules, hedge=config.dual_side_position)
        settings: list[p.SymbolConfig] = await self._rest.ask(to.SYMBOL_CONFIG, ())
        self._orders.leverages = {row.symbol: row.leverage for row in settings}
        self._start_ms = self._since_ms = self._rest.server.now_ms()
        self.user = UserStream(
            rest=self._rest, clock=self._clock, dial=self._dial, on_event=self._told, on_gap=self._gap
        )
        self._spawn(self.user.run(), "user stream")
        self._spawn(self._catching_up(), "catch-up")
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
            self._end(known)
        return answer

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        self._levels[symbol] = Levels(fire_lo, fire_hi, peak_lo, peak_hi, True)

    async def open_client_ids(self, symbol: int) -> set[str]:
        """The client ids of both books. Raises if either cannot be read: nothing is known then."""
        params = (("symbol", self.rules[symbol].symbol),)
        orders: list[p.Order] = await self._rest.ask(to.OPEN_ORDERS, params)
        algos: list[p.AlgoOrder] = await self._rest.ask(to.OPEN_ALGOS, params)
        return {row.client_order_id for row in orders} | {row.client_algo_id for row in algos}

    async def positions(self) -> list[VenuePosition]:
        """Every position that is not flat (in hedge mode each leg), and symbols that traded in this session.

        Raises ExchangeUnreachable, ExchangeRefused. A symbol outside the universe is kept in ``outside``.
        """
        rows: list[p.PositionRisk] = await self._rest.ask(to.POSITIONS, ())
        found: list[VenuePosition] = []
        named: set[int] = set()
        for row in rows:
            i = self._place.get(row.symbol)
            if i is None:
                self.outside.add(row.symbol)
                continue
            lots = self.rules[i].signed_lots(row.position_amt)
            if lots == 0:
                continue
            sums = Sums() if i in named else self._sums[i]
            named.add(i)
            found.append(self._position(i, lots, row.entry_price, sums))
        for i, sums in enumerate(self._sums):
            if sums.has_traded and i not in named:
                found.append(self._position(i, 0, "0", sums))
        return found

    async def wallet_e8(self) -> int:
        """The wallet balance of the quote currency. Raises ExchangeUnreachable, also if it is not there."""
        account: p.Account = await self._rest.ask(to.ACCOUNT, ())
        for asset in account.assets:
            if asset.asset == self.quote:
                return money_near_e8(asset.wallet_balance, "walletBalance")
        raise MalformedAnswer(f"the account's answer has no {self.quote}: nothing is known of the wallet")

    async def settle(self, symbol: int, client_id: str, fence_ms: int) -> Found:
        """Prove what became of an order whose answer was UNKNOWN (see ``standing.settle``)."""
        found = await settle(self._rest, self._clock, self.rules[symbol].symbol, client_id, fence_ms)
        known = self._known.get(client_id)
        if known is not None and found.standing is Standing.ABSENT:
            self._end(known)
        return found

    @property
    def leverages(self) -> dict[str, int]:
        """The leverage of each symbol, as the exchange last told it."""
        return self._sender.leverages

    @property
    def untold(self) -> int:
        """How many account facts were heard and wait for the reader of ``messages``."""
        return len(self._facts)

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
                message = await self._message(fact) if isinstance(fact, Fill) else fact
                self._facts.popleft()  # not before it could be told: a fill is never lost
                if message is not None:
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

    # -- account facts -----------------------------------------------------------------------------

    def _told(self, event: ev.Known | ev.Stranger) -> None:
        if isinstance(event, ev.OrderUpdate):
            self._order_told(event.order)
        elif isinstance(event, ev.AlgoUpdate):
            self._algo_told(event.order, event.ms)
        elif isinstance(event, ev.AccountUpdate):
            if event.account.reason == "FUNDING_FEE":
                self._catch_up.set()
        elif isinstance(event, ev.AccountConfigUpdate):
            if isinstance(event.leverage, ev.LeverageChange):
                self._sender.leverages[event.leverage.symbol] = event.leverage.leverage
            else:
                LOG.warning("the account's mode was changed: %s", event)
        elif isinstance(event, ev.MarginCall):
            LOG.error("margin call: the exchange warns of liquidation")
        elif isinstance(event, ev.Stranger):
            LOG.warning("an event that is not known here: %s", event.name)

    def _order_told(self, report: ev.OrderReport) -> None:
        known = self._known.get(report.client_id) or self._known.by_order_id(report.order_id)
        if known is not None and known.order_id is None:
            self._known.number(known, report.order_id)
        if known is not None and known.is_conditional:
            self._triggered(known, report.traded_ms)
        fill = fill_of_report(report)
        if fill is not None:
            self._book(fill)
        if known is not None and is_final(report.status) and not known.has_ended:
            self._end(known)
            if report.status != "FILLED" and not known.is_canceling:
                reason = f"{report.status} {text(report.expiry_reason, '')}".strip()
                self._gone(known, reason, report.traded_ms)

    def _algo_told(self, report: ev.AlgoReport, ms: int) -> None:
        known = self._known.get(report.client_id)
        if known is None:
            return
        child = str(report.order_id) if not isinstance(report.order_id, (UnsetType, type(None))) else ""
        if child.isdecimal() and int(child) > 0:
            self._known.number(known, int(child))
        if report.status in TRIGGER_WORDS:
            self._triggered(known, ms)
        elif is_final(report.status) and not known.has_ended:
            self._end(known)
            if not known.is_canceling:
                self._gone(known, f"{report.status} {text(report.reject_reason, '')}".strip(), ms)

    def _triggered(self, known: Known, ms: int) -> None:
        if known.was_triggered:
            return
        known.was_triggered, known.is_waiting = True, False
        order = known.order
        self._rest.governor.free_conditional(self._rest.account, order.client_id)
        self._put(Triggered(order.client_id, order.symbol, order.sleeve, order.slot, ms))

    def _end(self, known: Known) -> None:
        self._known.end(known)
        self._rest.governor.free_conditional(self._rest.account, known.order.client_id)

    def _gone(self, known: Known, reason: str, ms: int) -> None:
        order = known.order
        self._put(OrderGone(order.client_id, order.symbol, order.sleeve, order.slot, reason, ms))

    def _book(self, fill: Fill) -> bool:
        """Tell a fill if it is new."""
        i = self._place.get(fill.symbol)
        if i is None:
            self.outside.add(fill.symbol)
            LOG.error("a fill of %s, which is outside this run", fill.symbol)
            return False
        if not self._seen.is_new(fill.symbol, fill.trade_id):
            return False
        self._put(fill)
        return True

    def _put(self, fact: Fill | Message) -> None:
        self._facts.append(fact)
        self._wake.set()

    async def _message(self, fill: Fill) -> Message | None:
        i = self._place[fill.symbol]
        rules, sums = self.rules[i], self._sums[i]
        client_id, known = await self._owner(fill)
        side = BUY if fill.side == "BUY" else SELL
        price, lots = rules.price_near(fill.price), rules.lots(fill.qty)
        fee_e8 = await self._fee_e8(fill)
        sums.has_traded = True
        sums.fees_e8 += fee_e8
        sums.realised_e8 += money_near_e8(fill.realized, "realized profit")
        if client_id.startswith(FORCED):
            return ForcedClose(i, side, price, lots, fee_e8, fill.ms, price, fill.trade_id)
        taker = int(not fill.is_maker)
        if known is not None:
            known.lots_left -= lots
            order = known.order
            place: tuple[int, int] | None = (order.sleeve, order.slot)
        else:
            place = self._place_of(client_id)
        if place is None:
            return ExternalTraded(client_id, i, side, price, lots, fee_e8, fill.ms, fill.trade_id)
        return Traded(
            client_id, i, *place, side, price, lots, taker, fee_e8, fill.ms, False, price, fill.trade_id
        )

    async def _owner(self, fill: Fill) -> tuple[str, Known | None]:
        """The client id of a fill's order, and the order if this process placed it."""
        known = self._known.get(fill.client_id) or self._known.by_order_id(fill.order_id)
        if known is not None:
            return known.order.client_id, known
        client_id = fill.client_id
        with suppress(PerpdeskError):
            if not client_id:
                order: p.Order = await self._rest.ask(
                    to.ORDER_QUERY, (("symbol", fill.symbol), ("orderId", fill.order_id))
                )
                client_id = order.client_order_id
                known = self._known.get(client_id)
            if known is None:
                known = await self._parent(fill)
        if known is not None:
            self._known.number(known, fill.order_id)
            return known.order.client_id, known
        return client_id, None

    async def _parent(self, fill: Fill) -> Known | None:
        """The conditional order of ours that became the order of this fill, if one did."""
        for known in self._known.open():
            rules = self.rules[known.order.symbol]
            if known.is_conditional and known.order_id is None and rules.symbol == fill.symbol:
                algo = (await look(self._rest, fill.symbol, known.order.client_id)).algo
                if algo is not None and str(algo.actual_order_id) == str(fill.order_id):
                    return known
        return None

    async def _fee_e8(self, fill: Fill) -> int:
        """The commission in the quote currency: as booked, or (BNB) at the mark price of its asset now.

        While that price cannot be read it waits: the fill is told when its cost is known.
        """
        fee = units.decimal_of(fill.commission, "commission")
        while fill.commission_asset not in (self.quote, ""):
            symbol = f"{fill.commission_asset}{self.quote}"
            try:
                premium: p.PremiumIndex = await self._rest.ask(to.PREMIUM_INDEX, (("symbol", symbol),))
            except ExchangeUnreachable as error:
                LOG.warning("the commission of fill %d waits for %s: %s", fill.trade_id, symbol, error)
                await self._clock.sleep_until(self._clock.now_ms() + CATCH_UP_AGAIN_MS)
                continue
            fee *= units.decimal_of(premium.mark_price, f"{symbol} mark price")
            break
        return units.money_e8(units.half_away(fee, units.MONEY_DIGITS))

    # -- catching up -------------------------------------------------------------------------------

    def _gap(self, last_seen_ms: int) -> None:
        del last_seen_ms  # the time of the last complete catch-up reaches further back
        self._catch_up.set()

    async def _catching_up(self) -> None:
        while True:
            sweep = asyncio.ensure_future(self._clock.sleep_until(self._clock.now_ms() + self._sweep_ms))
            asked = asyncio.ensure_future(self._catch_up.wait())
            try:
                await asyncio.wait({sweep, asked}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sweep.cancel()
                asked.cancel()
            self._catch_up.clear()
            try:
                await self._catch_up_once()
            except (PerpdeskError, ValueError) as error:
                if isinstance(error, NeedsPerson):
                    raise
                LOG.warning("catch-up failed, again soon: %s", error)
                self._catch_up.set()
                await self._clock.sleep_until(self._clock.now_ms() + CATCH_UP_AGAIN_MS)

    async def _catch_up_once(self) -> None:
        started_ms = self._rest.server.now_ms()
        concerned = {self.rules[known.order.symbol].symbol for known in self._known.open()}
        caught = await catch_up(self._rest, self._since_ms, concerned, lambda name: name in self._place)
        late = 0
        for trade in caught.trades:
            if trade.time >= self._start_ms and self._book(fill_of_trade(trade)):
                late += trade.time < started_ms - LATE_MS
        for row in caught.bookings:
            if row.income_type == "FUNDING_FEE" and row.time >= self._start_ms:
                await self._funding(row)
        await self._vanished()
        self._since_ms = started_ms
        self.catch_ups += 1
        if late:
            LOG.warning("%d fills were first told by REST", late)
            if self.user is not None and self.user.line.state.is_open and self.catch_ups > 1:
                self.user.line.renew()  # the stream seemed well and was not

    async def _funding(self, row: p.Income) -> None:
        symbol = row.symbol if isinstance(row.symbol, str) else ""
        i = self._place.get(symbol)
        if i is None or self._seen.has("FUNDING_FEE", f"{symbol} {row.tran_id}"):
            return
        rates: list[p.FundingRate] = await self._rest.ask(
            to.FUNDING_RATE,
            (("symbol", symbol), ("startTime", row.time - 120_000), ("endTime", row.time + 120_000)),
        )
        amount_e8 = money_near_e8(row.income, "funding")
        rate_e8, mark = 0, 0
        for rate in rates:
            rate_e8 = units.rate_e8(units.half_away(units.decimal_of(rate.funding_rate), units.RATE_DIGITS))
            mark = self.rules[i].price_near(text(rate.mark_price))
        self._seen.is_new("FUNDING_FEE", f"{symbol} {row.tran_id}")
        self._sums[i].funding_e8 += amount_e8
        self._put(FundingCharged(i, rate_e8, mark, row.time, amount_e8))

    async def _vanished(self) -> None:
        """Find what became of orders that we hold for open and that neither book shows."""
        by_symbol: dict[int, list[Known]] = {}
        for known in self._known.open():
            by_symbol.setdefault(known.order.symbol, []).append(known)
        for symbol, orders in by_symbol.items():
            open_ids = await self.open_client_ids(symbol)
            for known in orders:
                if known.order.client_id in open_ids or known.has_ended:
                    continue
                found = await look(self._rest, self.rules[symbol].symbol, known.order.client_id)
                if found.order is not None:
                    self._known.number(known, found.order.order_id)
                if found.algo is not None and found.algo.algo_status in TRIGGER_WORDS:
                    self._triggered(known, self._clock.now_ms())
                if found.standing is not Standing.ENDED:
                    continue
                status = found.order.status if found.order is not None else text(
                    found.algo.algo_status if found.algo is not None else None, ""
                )  # fmt: skip
                self._end(known)
                if status not in ("FILLED", "FINISHED") and not known.is_canceling:
                    self._gone(known, status, self._clock.now_ms())

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

    @property
    def _sender(self) -> Orders:
        if self._orders is None:
            raise InputError("is not started: call start() first", field="venue")
        return self._orders

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
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._is_closed:
            LOG.error("%s stopped: %s", task.get_name(), task.exception())
            self._failed = task.exception()
            self._wake.set()
