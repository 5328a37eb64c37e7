"""The LiveVenue half of the venue: what recovery, reconciliation and the guardian ask."""

from __future__ import annotations

from perpdesk.adapters.binance.account import AccountFacts, PlaceOf
from perpdesk.adapters.binance.known_orders import KnownOrders
from perpdesk.adapters.binance.last_resort import NO_PLACE, LastResort
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.market_stream import MarketStream
from perpdesk.adapters.binance.orders import Orders
from perpdesk.adapters.binance.quantise import Rules
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.standing import Found, Standing, p_text, settle
from perpdesk.adapters.binance.truth import AccountTruth
from perpdesk.adapters.binance.user_stream import UserStream
from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import STOP
from perpdesk.ports import AccountSettings, Answer, Clock, Fate, Income, Leg, NewOrder, OpenOrder, VenueFill

_FATES = {Standing.ALIVE: Fate.ALIVE, Standing.ENDED: Fate.ENDED, Standing.ABSENT: Fate.ABSENT}


class LiveSide:
    """Base of BinanceVenue. Its reads raise ExchangeUnreachable or ExchangeRefused: nothing is known then."""

    _rest: Rest
    _clock: Clock
    _orders: Orders | None
    _account: AccountFacts | None
    _known: KnownOrders
    _truth: AccountTruth | None
    _place_of: PlaceOf
    rules: list[Rules]
    market: MarketStream | None
    user: UserStream | None

    async def open_orders(self) -> list[OpenOrder]:
        """Both books of the whole account, symbols of the universe only."""
        return await self._reads.open_orders()

    async def legs(self) -> list[Leg]:
        """Every position that is not flat. Outside the universe: symbol -1, lots in 10^-8 of the asset."""
        return await self._reads.legs()

    async def fills_since(self, symbol: int, since_ms: int) -> list[VenueFill]:
        """The account's fills of a symbol from since_ms (exchange time) on, oldest first, complete."""
        return await self._reads.fills_since(symbol, since_ms)

    async def income_since(self, since_ms: int) -> list[Income]:
        """The wallet's bookings from since_ms (exchange time) on, oldest first, complete."""
        return await self._reads.income_since(since_ms)

    async def settings(self) -> AccountSettings:
        """The account's modes, and leverage and margin type of the universe's symbols."""
        return await self._reads.settings()

    async def settle(self, symbol: int, client_id: str, fence_ms: int) -> Fate:
        """Prove what became of an order whose answer was UNKNOWN (see ``standing.settle``)."""
        found = await settle(self._rest, self._clock, self.rules[symbol].symbol, client_id, fence_ms)
        known = self._known.get(client_id)
        if known is not None and found.order is not None:
            self._known.number(known, found.order.order_id)
        if known is not None and found.standing is Standing.ABSENT and self._account is not None:
            self._account.end(known)
        if found.standing is Standing.ENDED and _is_unfilled(found):
            return Fate.UNFILLED
        return _FATES[found.standing]

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        """Place the stop that closes whatever is held then (the disaster stop), on the mark price."""
        return await self._last_resort.close_position_stop(symbol, client_id, side, price)

    async def limit_ioc(self, symbol: int, client_id: str, side: int, lots: int) -> Answer:
        """Close with a reduce-only limit at the edge of the allowed band, immediate or cancel (rule R12)."""
        place = self._place_of(client_id) or NO_PLACE
        return await self._last_resort.limit_ioc(symbol, client_id, side, lots, place)

    async def free_conditional_slots(self) -> int:
        """How many conditional orders an entry's legs may still place, counted anew from the exchange."""
        if self._account is None:
            raise InputError("is not started: call start() first", field="venue")
        await self._account.count_slots()
        return self._rest.governor.conditional_free(self._rest.account, Lane.ENTRY)

    def reachable(self) -> bool:
        """Could the account reach the venue just now? Not in a ban, nor after some lost answers in a row."""
        return self._rest.is_reachable

    def exchange_ms(self) -> int:
        """The exchange's time as far as it is known."""
        return self._rest.server.now_ms()

    async def prepare(self, order: NewOrder) -> str | None:
        """Set the leverage that an entry asks for. What went wrong, None if nothing."""
        return await self._sending.set_leverage(order)

    def catch_up(self, symbol: int | None = None, since_ms: int | None = None) -> None:
        """Read soon what the stream may not have told; of one symbol: its fills, at once, also from before
        this start if ``since_ms`` is."""
        if self._account is None:
            return
        if symbol is None:
            self._account.gap(0)
        else:
            self._account.hurry(symbol, since_ms)

    def mark(self, symbol: int) -> tuple[int, int]:
        """The newest mark price and its exchange time; (0, 0) before the first."""
        told = None if self.market is None else self.market.marks.get(self.rules[symbol].symbol)
        return (0, 0) if told is None else (self.rules[symbol].price_near(told.price), told.event_ms)

    def user_seen_ms(self) -> int:
        """Our time of the account stream's last sign of life; 0 before the first."""
        return 0 if self.user is None else self.user.line.state.seen_ms

    def routes(self) -> dict[str, int]:
        """Our time of the newest message of each stream route, -1 where none came yet."""
        found = {} if self.market is None else dict(self.market.delivered_ms)
        found["user"] = -1 if self.user is None else self.user.told_ms
        return found

    def stream_status(self, client_id: str) -> str | None:
        """The newest status word of this client id on the account's stream, None if it was never told."""
        return None if self._account is None else self._account.statuses.get(client_id)

    def adopt(self, order: NewOrder) -> None:
        """An order of an earlier process is ours: its facts are told for its place."""
        if self._known.get(order.client_id) is None:
            self._known.add(order, is_conditional=order.kind >= STOP)

    @property
    def _reads(self) -> AccountTruth:
        if self._truth is None:
            raise InputError("is not started: call start() first", field="venue")
        return self._truth

    @property
    def _last_resort(self) -> LastResort:
        return LastResort(self._sending)

    @property
    def _sending(self) -> Orders:
        if self._orders is None:
            raise InputError("is not started: call start() first", field="venue")
        return self._orders


def _is_unfilled(found: Found) -> bool:
    """Has an order that has ended traded nothing, by its own figure?"""
    if found.order is not None:
        executed = found.order.executed_qty
        return isinstance(executed, str) and units.decimal_of(executed, "executedQty") == 0
    return found.algo is not None and p_text(found.algo.algo_status) in ("CANCELED", "EXPIRED", "REJECTED")
