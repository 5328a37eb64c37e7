"""One user's Spot account on one token, as the runner wants it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TypeVar

from perpdesk.adapters.binance import spot_payloads as p
from perpdesk.adapters.binance.errors import ExchangeRefused, KeyRefused
from perpdesk.adapters.binance.key_rights import judge_spot, read_key_rights
from perpdesk.adapters.binance.spot import SpotAccount
from perpdesk.adapters.binance.spot_events import SpotKnown, SpotPosition, SpotReport
from perpdesk.adapters.binance.spot_orders import SpotLeg, limit_pair
from perpdesk.adapters.binance.stream_events import Stranger
from perpdesk.config.volume_tokens import Listing
from perpdesk.domain import units
from perpdesk.domain.errors import PerpdeskError, Refused
from perpdesk.engine.volume.venue import Fact, FillSeen, OrderSeen, StreamDown, StreamUp, Unread
from perpdesk.ports import Answer, Clock
from perpdesk.strategies.volume_target.facts import Fill, Seen
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.strategies.volume_target.pair_events import PlaceExit, PlaceOto

LOG = logging.getLogger(__name__)
T = TypeVar("T")
QUOTE = "USDT"
REFUSED_KEY = -2015
LOOK_MS = 250
FEE_MS = 3_600_000
WORTH_MS = 60_000
SEEN = {
    "NEW": Seen.LIVE,
    "PARTIALLY_FILLED": Seen.LIVE,
    "PENDING_NEW": Seen.LIVE,
    "PENDING_CANCEL": Seen.LIVE,
    "FILLED": Seen.FILLED,
    "CANCELED": Seen.CANCELED,
    "REJECTED": Seen.REJECTED,
    "EXPIRED": Seen.EXPIRED,
    "EXPIRED_IN_MATCH": Seen.EXPIRED_IN_MATCH,
}


def symbol_of(token: Listing) -> str:
    """The pair's name at the exchange."""
    assert token.contract is not None
    return token.contract


async def reading(what: str, work: Awaitable[T]) -> T:
    """The result of a read of the adapter. Raises Unread for whatever could not be read."""
    try:
        return await work
    except ExchangeRefused as error:
        raise Unread(f"{what}: {error}", error.code) from error
    except KeyRefused as error:  # it was refused before; nothing is asked with it again
        raise Unread(f"{what}: {error}", REFUSED_KEY) from error
    except PerpdeskError as error:
        raise Unread(f"{what}: {error}") from error


class SpotUser:
    """account: with the user's own key, and nobody else's."""

    def __init__(
        self, account: SpotAccount, clock: Clock, user_id: int, token: Listing, *, needs_ip_list: bool
    ) -> None:
        self._account, self._clock, self._needs_ip_list = account, clock, needs_ip_list
        self._base, self._symbol = token.symbol, symbol_of(token)
        self._name = f"user {user_id}"
        self._order_ids: dict[str, int] = {}
        self._fee: tuple[int, Decimal] | None = None
        self._worth: dict[str, tuple[int, Decimal]] = {}
        self._free: Decimal | None = None
        self._is_heard = False

    # -- reads -------------------------------------------------------------------------------------------

    async def volume(self, day: int, side: CountSide) -> Decimal:
        """Quote of the day's executions."""
        found = await reading("volume", self._account.reads.volume(self._symbol, day))
        if not found.is_complete:
            raise Unread("volume: the list of executions has no end")
        match side:
            case CountSide.BUY:
                return found.bought
            case CountSide.SELL:
                return found.sold
            case CountSide.BOTH:
                return found.bought + found.sold

    async def free_usdt(self) -> Decimal:
        """As the stream told last; while it does not flow, as the exchange says."""
        if self._free is not None and self._is_heard:
            return self._free
        self._free = None
        held = await reading("balance", self._account.reads.balances())
        found = held.get(QUOTE, (Decimal(0), Decimal(0)))[0]
        if self._free is None:  # else the stream has told meanwhile, which is newer
            self._free = found
        return self._free

    async def taker_fee(self) -> Decimal | None:
        """The largest fraction that an execution can cost this account."""
        now_ms = self._clock.now_ms()
        if self._fee is None or now_ms - self._fee[0] > FEE_MS:
            found = await reading("commission", self._account.reads.commission(self._symbol))
            self._fee = (now_ms, fee_of(found))
        return self._fee[1]

    async def check_key(self) -> None:
        """May the key do what it must, and nothing that it need not? Raises Refused, Unread."""
        rights = await reading("key rights", read_key_rights(self._account.rest))
        report = judge_spot(rights, self._account.rest.server.now_ms(), needs_ip_list=self._needs_ip_list)
        for warning in report.warnings:
            LOG.warning("%s: %s", self._name, warning)
        if report.problems:
            raise Refused("KEY_RIGHTS", "; ".join(report.problems))

    async def order(self, client_id: str) -> OrderSeen | None:
        """As a query shows it."""
        found = await reading("order", self._account.reads.order(self._symbol, client_id))
        if found is None:
            return None
        if not isinstance(found.status, str) or found.status not in SEEN:
            raise Unread(f"order {client_id}: unknown status {found.status!r}")
        self._order_ids[client_id] = found.order_id
        traded = _decimal(found.executed_qty, "executedQty")
        return OrderSeen(client_id, SEEN[found.status], traded, str(found.order_id))

    async def fills(self, client_id: str) -> tuple[Fill, ...]:
        """With running quantities, and the worth of commissions in a third asset."""
        number = self._order_ids.get(client_id)
        if number is None:
            if await self.order(client_id) is None:
                return ()
            number = self._order_ids[client_id]
        rows = await reading("executions", self._account.reads.fills_of_order(self._symbol, number))
        made: list[Fill] = []
        traded = Decimal(0)
        for row in sorted(rows, key=lambda one: one.id):
            qty = _decimal(row.qty, "qty")
            traded += qty
            paid = _decimal(row.commission, "commission")
            made.append(
                Fill(
                    row.id,
                    traded,
                    qty,
                    _decimal(row.price, "price"),
                    _decimal(row.quote_qty, "quoteQty"),
                    row.time,
                    paid,
                    in_base=row.commission_asset == self._base,
                    commission_usdt=await self._worth_of(paid, row.commission_asset),
                )
            )
        return tuple(made)

    async def _worth_of(self, paid: Decimal, asset: str) -> Decimal | None:
        if asset in (self._base, QUOTE):
            return None
        now_ms = self._clock.now_ms()
        known = self._worth.get(asset)
        if known is None or now_ms - known[0] > WORTH_MS:
            price = await reading(f"price of {asset}", self._account.reads.last_price(f"{asset}{QUOTE}"))
            known = self._worth[asset] = (now_ms, price)
        return paid * known[1]

    # -- orders ------------------------------------------------------------------------------------------

    async def place_oto(self, order: PlaceOto) -> Answer:
        """Sent once; the SELL's quantity is given with it."""
        names = (order.list_id, order.buy_id, order.sell_id)
        request = limit_pair(
            self._symbol, names, order.qty, order.buy_price, order.sell_price, order.sell_qty
        )
        return await self._account.orders.place_list(request)

    async def place_exit(self, order: PlaceExit) -> Answer:
        """Immediate-or-cancel, or at market."""
        if order.limit is None:
            leg = SpotLeg(order.client_id, "SELL", "MARKET", order.qty)
        else:
            leg = SpotLeg(order.client_id, "SELL", "LIMIT", order.qty, order.limit, tif="IOC")
        return await self._account.orders.place(self._symbol, leg)

    async def cancel(self, list_id: str) -> Answer:
        """Take a list back."""
        return await self._account.orders.cancel_list(self._symbol, list_id)

    # -- events ------------------------------------------------------------------------------------------

    def open_stream(self, on_fact: Callable[[Fact], None]) -> Callable[[], None]:
        """Reports of this pair's orders, from when the exchange has confirmed the subscription."""

        def on_gap(_: int) -> None:
            if self._is_heard:  # it was lost and found between two looks
                self._lost(on_fact)
            self._is_heard = True
            on_fact(StreamUp())

        stream = self._account.stream(lambda event: self._heard(event, on_fact), on_gap)

        async def look() -> None:
            while True:
                await self._clock.sleep_until(self._clock.now_ms() + LOOK_MS)
                if self._is_heard and not stream.line.state.is_open:
                    self._lost(on_fact)

        tasks = [asyncio.ensure_future(stream.run()), asyncio.ensure_future(look())]
        for task in tasks:
            task.add_done_callback(lambda one: self._ended(one, on_fact))

        def close() -> None:
            for task in tasks:
                task.cancel()

        return close

    def _lost(self, on_fact: Callable[[Fact], None]) -> None:
        self._is_heard, self._free = False, None
        on_fact(StreamDown())

    def _ended(self, task: asyncio.Task[None], on_fact: Callable[[Fact], None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("%s: the stream has ended: %s", self._name, error)
            self._lost(on_fact)  # queries go on without it

    def _heard(self, event: SpotKnown | Stranger, on_fact: Callable[[Fact], None]) -> None:
        try:
            self._tell(event, on_fact)
        except Unread as error:  # queries will tell what this event could not
            LOG.warning("%s: an event was skipped: %s", self._name, error)

    def _tell(self, event: SpotKnown | Stranger, on_fact: Callable[[Fact], None]) -> None:
        if isinstance(event, SpotPosition):
            for row in event.balances:
                if row.asset == QUOTE:
                    self._free = _decimal(row.free, "free")
        if not isinstance(event, SpotReport) or event.symbol != self._symbol:
            return
        self._order_ids[event.name] = event.order_id
        traded = _decimal(event.filled_qty, "z")
        if event.trade_id >= 0:
            on_fact(FillSeen(event.name, self._fill_of(event, traded)))
        if event.status in SEEN:
            on_fact(OrderSeen(event.name, SEEN[event.status], traded, str(event.order_id)))
        else:
            LOG.warning("%s: order %s has the unknown status %s", self._name, event.name, event.status)

    def _fill_of(self, event: SpotReport, traded: Decimal) -> Fill:
        paid = None if event.commission is None else _decimal(event.commission, "n")
        if event.commission_asset not in (self._base, QUOTE):
            paid = None  # its worth must be asked for: the execution is complete when a query has told
        return Fill(
            event.trade_id,
            traded,
            _decimal(event.last_qty, "l"),
            _decimal(event.last_price, "L"),
            _decimal(event.last_quote, "Y"),
            event.ms,
            paid,
            in_base=event.commission_asset == self._base,
        )

    async def close(self) -> None:
        """Close the connections. Closing twice is fine."""
        await self._account.close()


def fee_of(found: p.SpotCommission) -> Decimal:
    """The taker's fraction in all; a discount that is paid in another asset is not counted on."""
    kinds = (found.standard_commission, found.tax_commission, found.special_commission)
    return sum((_decimal(one.taker, "taker") for one in kinds if isinstance(one, p.SpotFees)), Decimal(0))


def _decimal(text: object, name: str) -> Decimal:
    try:
        return units.decimal_of(text, name)
    except PerpdeskError as error:
        raise Unread(f"{name}: {error}") from error
