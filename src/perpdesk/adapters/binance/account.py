"""The account's facts as messages: each once, with its owner, its cost, and its place in our books.

Reports of the user stream and what REST tells after a silence meet here. A fill is held until its owner and
its cost are known; an order that ended without us is told as gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from msgspec import UnsetType

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.catch_up import catch_up, trades_since
from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable
from perpdesk.adapters.binance.facts import FORCED, Fill, Seen, fill_of_report, fill_of_trade, text
from perpdesk.adapters.binance.known_orders import Known, KnownOrders, is_final
from perpdesk.adapters.binance.quantise import Rules, money_near_e8
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.standing import Standing, look, order_by_id
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
# Fills that are missed in a hurry are looked for so far back, by at most so many requests at a time.
HURRY_MS, HURRIES_MAX = 60_000, 3
# A fill that REST tells and the stream has not told for so long: the stream is silent, whatever it says.
LATE_MS = 5_000
STATUSES_MAX = 1_000
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


class OwnerUnknown(PerpdeskError):
    """Whose a fill is could not be read: it has to be asked again."""


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
        self.statuses: OrderedDict[str, str] = OrderedDict()
        self.quote = rules[0].quote
        self._rest, self._clock, self._known = rest, clock, known
        self._rules, self._leverages = rules, leverages
        self._put, self._doubt, self._place_of, self._sweep_ms = put, doubt, place_of, sweep_ms
        self._place = {rule.symbol: i for i, rule in enumerate(rules)}
        self.margin_types: dict[str, str] = {}  # ISOLATED or CROSSED, as the exchange last told it
        self._held: dict[tuple[str, str], tuple[int, int]] = {}  # (symbol, leg): (time, lots) of the stream
        self._recount = True  # what the stream tells of slots is complete only after a count over REST
        self._seen = Seen()
        self._wanted = asyncio.Event()
        self._hurries: dict[int, set[asyncio.Task[None]]] = {}
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
            self._positions_told(event)
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

    def _positions_told(self, event: ev.AccountUpdate) -> None:
        rows = event.account.positions
        for row in rows if isinstance(rows, list) else ():
            i = self._place.get(row.symbol)
            key = (row.symbol, text(row.position_side, "BOTH"))
            if i is not None and event.ms >= self._held.get(key, (0, 0))[0]:
                self._held[key] = (event.ms, self._rules[i].lots(row.amount))
            if isinstance(row.margin_type, str):
                self.margin_types[row.symbol] = "ISOLATED" if row.margin_type == "isolated" else "CROSSED"

    def _held_since(self, fill: Fill) -> int | None:
        """Lots of the fill's position, if the stream has told them at its time or later."""
        ms, lots = self._held.get((fill.symbol, fill.position_side), (-1, 0))
        return lots if ms >= fill.ms else None

    async def _left(self, fill: Fill) -> int | None:
        """Lots that a forced fill has left of its position; None if neither stream nor REST says it."""
        found = fill.lots_left if fill.lots_left is not None else self._held_since(fill)
        if found is not None:
            return found
        with suppress(PerpdeskError):
            rows: list[p.PositionRisk] = await self._rest.ask(to.POSITIONS, (("symbol", fill.symbol),))
            for row in rows:
                is_fresh = isinstance(row.update_time, int) and row.update_time >= fill.ms
                if row.symbol == fill.symbol and text(row.position_side, "BOTH") == fill.position_side:
                    return self._rules[self._place[fill.symbol]].lots(row.position_amt) if is_fresh else None
        return None

    def _heard(self, client_id: str, status: str) -> None:
        """Remember the newest word of the stream about an order."""
        self.statuses[client_id] = status
        self.statuses.move_to_end(client_id)
        if len(self.statuses) > STATUSES_MAX:
            self.statuses.popitem(last=False)

    def _order_told(self, report: ev.OrderReport) -> None:
        self._heard(report.client_id, report.status)
        known = self._known.get(report.client_id) or self._known.by_order_id(report.order_id)
        if known is not None and known.order_id is None:
            self._known.number(known, report.order_id)
        if known is not None and known.is_conditional:
            self._triggered(known, report.traded_ms)
        fill = fill_of_report(report)
        if fill is not None:
            self._book(replace(fill, lots_left=self._held_since(fill)) if fill.is_forced else fill)
        if known is not None and is_final(report.status) and not known.has_ended:
            self.end(known)
            if report.status != "FILLED" and not known.is_canceling:
                reason = f"{report.status} {text(report.expiry_reason, '')}".strip()
                self._gone(known, reason, report.traded_ms)

    def _algo_told(self, report: ev.AlgoReport, ms: int) -> None:
        self._heard(report.client_id, text(report.status, ""))
        known = self._known.get(report.client_id)
        if known is None:
            self._slot_told(report.client_id, report.status)
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

    def _slot_told(self, client_id: str, status: str) -> None:
        """A conditional order of somebody else, or from before this process, takes a slot too."""
        if status == "NEW":
            self._rest.governor.occupy_conditional(self._rest.account, client_id)
        elif status in TRIGGER_WORDS or is_final(status):
            self._rest.governor.free_conditional(self._rest.account, client_id)

    async def count_slots(self) -> None:
        """Read which conditional orders are open, and count exactly these and those on their way.

        Raises ExchangeUnreachable, ExchangeRefused: then the count is as it was.
        """
        before = {known.order.client_id for known in self._known.open() if known.is_waiting}
        rows: list[p.AlgoOrder] = await self._rest.ask(to.OPEN_ALGOS_ALL, ())
        waiting = {known.order.client_id for known in self._known.open() if known.is_waiting}
        self._rest.governor.recount_conditional(
            self._rest.account, {row.client_algo_id for row in rows} | before | waiting
        )

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
        """What a fill means for the engine: asked when it is read, because REST may have to say.

        Raises OwnerUnknown; nothing has been counted then.
        """
        i = self._place[fill.symbol]
        rules, sums = self._rules[i], self.sums[i]
        client_id, known = await self._owner(fill)
        side = BUY if fill.side == "BUY" else SELL
        price, lots = rules.price_near(fill.price), rules.lots(fill.qty)
        fee_e8 = await self._fee_e8(fill)
        sums.has_traded = True
        sums.lots += side * lots
        sums.fees_e8 += fee_e8
        realised_e8 = money_near_e8(fill.realized, "realized profit")
        sums.realised_e8 += realised_e8
        if client_id.startswith(FORCED):
            left = await self._left(fill)
            return ForcedClose(
                i, side, price, lots, fee_e8, fill.ms, price, fill.trade_id,
                lots_left=left, client_id=client_id, venue_realised_e8=realised_e8,
            )  # fmt: skip
        taker = int(not fill.is_maker)
        if known is not None:
            known.lots_left -= lots
            order = known.order
            # the guardian's own orders belong to no sleeve
            place: tuple[int, int] | None = (order.sleeve, order.slot) if order.sleeve >= 0 else None
        else:
            place = self._place_of(client_id)
        if place is None:
            return ExternalTraded(
                client_id, i, side, price, lots, fee_e8, fill.ms, fill.trade_id, realised_e8, fill.is_maker
            )
        return Traded(
            client_id, i, *place, side, price, lots, taker, fee_e8, fill.ms, False, price, fill.trade_id,
            realised_e8,
        )  # fmt: skip

    async def _owner(self, fill: Fill) -> tuple[str, Known | None]:
        """The client id of a fill's order, and the order if this process placed it. Raises OwnerUnknown: what
        could not be read belongs to nobody yet, and surely not to somebody else."""
        known = self._known.get(fill.client_id) or self._known.by_order_id(fill.order_id)
        if known is not None:
            return known.order.client_id, known
        client_id = fill.client_id
        try:
            if not client_id:
                order = await order_by_id(self._rest, fill.symbol, fill.order_id)
                client_id = order.client_order_id
                known = self._known.get(client_id)
            if known is None:
                known = await self._parent(fill)
        except (ExchangeRefused, ExchangeUnreachable) as error:  # it has traded, so it exists: ask again
            raise OwnerUnknown(f"whose fill {fill.trade_id} of {fill.symbol} is: {error}") from error
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
        self._recount = True
        self._wanted.set()

    def hurry(self, symbol: int, since_ms: int | None = None) -> None:
        """A fill of this symbol must have happened and was not told: read its fills now. since_ms: from then
        on, although this process started later (an entry of the one before it)."""
        mine = self._hurries.setdefault(symbol, set())
        if len(mine) < HURRIES_MAX:
            task = asyncio.create_task(self._hurry(symbol, since_ms))
            mine.add(task)
            task.add_done_callback(mine.discard)

    async def _hurry(self, symbol: int, before_ms: int | None) -> None:
        start_ms = self._start_ms if before_ms is None else before_ms
        since_ms = start_ms
        if before_ms is None:
            since_ms = max(start_ms, self._rest.server.now_ms() - HURRY_MS)
        with suppress(PerpdeskError, ValueError):  # whoever is in a hurry asks again
            for trade in await trades_since(self._rest, self._rules[symbol].symbol, since_ms):
                if trade.time >= start_ms:
                    self._book(fill_of_trade(trade))

    async def run(self) -> None:
        """Catch up when asked and now and then, until cancelled."""
        try:
            await self._run()
        finally:
            for tasks in self._hurries.values():
                for task in tasks:
                    task.cancel()

    async def _run(self) -> None:
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
        if self._recount:
            await self.count_slots()
            self._recount = False
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
