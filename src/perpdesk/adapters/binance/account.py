"""The account's facts as messages: each once, with its owner, its cost, and its place in our books.

Reports of the user stream and what REST tells after a silence meet here. A fill is held until its owner and
its cost are known; an order that ended without us is told as gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from msgspec import UnsetType

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.catch_up import catch_up
from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.facts import FORCED, Fill, Seen, fill_of_report, fill_of_trade, text
from perpdesk.adapters.binance.known_orders import Known, KnownOrders, is_final
from perpdesk.adapters.binance.quantise import Rules, money_near_e8
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.standing import Standing, look
from perpdesk.domain import units
from perpdesk.domain.errors import NeedsPerson, PerpdeskError
from perpdesk.kernel.records import BUY, SELL
from perpdesk.ports import (
    Clock,
    ExternalTraded,
    ForcedClose,
    FundingCharged,
    Message,
    OrderGone,
    Traded,
    Triggered,
)

LOG = logging.getLogger(__name__)
# Even if the stream seems well, REST is asked this often: a stream can be silent without a word.
SWEEP_MS = 60_000
CATCH_UP_AGAIN_MS = 1_000
# A fill that REST tells and the stream has not told for so long: the stream is silent, whatever it says.
LATE_MS = 5_000
TRIGGER_WORDS = ("TRIGGERING", "TRIGGERED", "FINISHED")

PlaceOf = Callable[[str], tuple[int, int] | None]


@dataclass(slots=True)
class Sums:
    """Bookings of one symbol since the start of the session, 1e-8 quote units; lots: bought less sold."""

    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0
    lots: int = 0
    has_traded: bool = False


class AccountFacts:
    """Hears events, catches up over REST, and puts what is new.

    put: takes a message, or a Fill that ``message`` turns into one when it is read. doubt: called when REST
    knew better than a stream that seemed well. leverages: kept as the exchange tells them.
    """

    def __init__(
        self,
        *,
        rest: Rest,
        clock: Clock,
        known: KnownOrders,
        rules: list[Rules],
        leverages: dict[str, int],
        put: Callable[[Fill | Message], None],
        doubt: Callable[[], None],
        place_of: PlaceOf,
        sweep_ms: int,
    ) -> None:
        self.sums = [Sums() for _ in rules]
        self.outside: set[str] = set()  # symbols of account facts that the run does not have
        self.catch_ups = 0
        self.quote = rules[0].quote
        self._rest, self._clock, self._known = rest, clock, known
        self._rules, self._leverages = rules, leverages
        self._put, self._doubt, self._place_of, self._sweep_ms = put, doubt, place_of, sweep_ms
        self._place = {rule.symbol: i for i, rule in enumerate(rules)}
        self._seen = Seen()
        self._wanted = asyncio.Event()
        # exchange's time; what was before the start is not told
        self._start_ms = self._since_ms = rest.server.now_ms()

    # -- the stream --------------------------------------------------------------------------------

    def told(self, event: ev.Known | ev.Stranger) -> None:
        """One event, perhaps not for the first time."""
        if isinstance(event, ev.OrderUpdate):
            self._order_told(event.order)
        elif isinstance(event, ev.AlgoUpdate):
            self._algo_told(event.order, event.ms)
        elif isinstance(event, ev.AccountUpdate):
            if event.account.reason == "FUNDING_FEE":
                self._wanted.set()
        elif isinstance(event, ev.AccountConfigUpdate):
            if isinstance(event.leverage, ev.LeverageChange):
                self._leverages[event.leverage.symbol] = event.leverage.leverage
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
            self.end(known)
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
            self.end(known)
            if not known.is_canceling:
                self._gone(known, f"{report.status} {text(report.reject_reason, '')}".strip(), ms)

    def _triggered(self, known: Known, ms: int) -> None:
        if known.was_triggered:
            return
        known.was_triggered, known.is_waiting = True, False
        order = known.order
        self._rest.governor.free_conditional(self._rest.account, order.client_id)
        self._put(Triggered(order.client_id, order.symbol, order.sleeve, order.slot, ms))

    def end(self, known: Known) -> None:
        """Nothing more is expected of this order."""
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

    async def message(self, fill: Fill) -> Message:
        """What a fill means for the engine: asked when it is read, because REST may have to say."""
        i = self._place[fill.symbol]
        rules, sums = self._rules[i], self.sums[i]
        client_id, known = await self._owner(fill)
        side = BUY if fill.side == "BUY" else SELL
        price, lots = rules.price_near(fill.price), rules.lots(fill.qty)
        fee_e8 = await self._fee_e8(fill)
        sums.has_traded = True
        sums.lots += side * lots
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
            rules = self._rules[known.order.symbol]
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

    def gap(self, last_seen_ms: int) -> None:
        """A new socket is open: catch up, from the last complete time on (``last_seen_ms`` is later)."""
        del last_seen_ms
        self._wanted.set()

    async def run(self) -> None:
        """Catch up when asked and now and then, until cancelled."""
        while True:
            sweep = asyncio.ensure_future(self._clock.sleep_until(self._clock.now_ms() + self._sweep_ms))
            asked = asyncio.ensure_future(self._wanted.wait())
            try:
                await asyncio.wait({sweep, asked}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sweep.cancel()
                asked.cancel()
            self._wanted.clear()
            try:
                await self._catch_up_once()
            except (PerpdeskError, ValueError) as error:
                if isinstance(error, NeedsPerson):
                    raise
                LOG.warning("catch-up failed, again soon: %s", error)
                self._wanted.set()
                await self._clock.sleep_until(self._clock.now_ms() + CATCH_UP_AGAIN_MS)

    async def _catch_up_once(self) -> None:
        started_ms = self._rest.server.now_ms()
        concerned = {self._rules[known.order.symbol].symbol for known in self._known.open()}
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
            if self.catch_ups > 1:
                self._doubt()

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
            mark = self._rules[i].price_near(text(rate.mark_price))
        self._seen.is_new("FUNDING_FEE", f"{symbol} {row.tran_id}")
        self.sums[i].funding_e8 += amount_e8
        self._put(FundingCharged(i, rate_e8, mark, row.time, amount_e8))

    async def _vanished(self) -> None:
        """Find what became of orders that we hold for open and that neither book shows."""
        by_symbol: dict[int, list[Known]] = {}
        for known in self._known.open():
            by_symbol.setdefault(known.order.symbol, []).append(known)
        for symbol, orders in by_symbol.items():
            open_ids = await open_ids_of(self._rest, self._rules[symbol].symbol)
            for known in orders:
                if known.order.client_id in open_ids or known.has_ended:
                    continue
                found = await look(self._rest, self._rules[symbol].symbol, known.order.client_id)
                if found.order is not None:
                    self._known.number(known, found.order.order_id)
                if found.algo is not None and found.algo.algo_status in TRIGGER_WORDS:
                    self._triggered(known, self._clock.now_ms())
                if found.standing is not Standing.ENDED:
                    continue
                status = found.order.status if found.order is not None else text(
                    found.algo.algo_status if found.algo is not None else None, ""
                )  # fmt: skip
                self.end(known)
                if status not in ("FILLED", "FINISHED") and not known.is_canceling:
                    self._gone(known, status, self._clock.now_ms())


async def open_ids_of(rest: Rest, symbol: str) -> set[str]:
    """The client ids of both books. Raises if either cannot be read: nothing is known then."""
    params = (("symbol", symbol),)
    orders: list[p.Order] = await rest.ask(to.OPEN_ORDERS, params)
    algos: list[p.AlgoOrder] = await rest.ask(to.OPEN_ALGOS, params)
    return {row.client_order_id for row in orders} | {row.client_algo_id for row in algos}
