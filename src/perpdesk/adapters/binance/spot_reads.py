"""Reading a Spot account and its market. An answer that did not come is an error, never an empty one."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from perpdesk.adapters.binance import spot_endpoints as to
from perpdesk.adapters.binance import spot_payloads as p
from perpdesk.adapters.binance.errors import ExchangeRefused, MalformedAnswer
from perpdesk.adapters.binance.limits import Governor, Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.signing import Param
from perpdesk.adapters.binance.spot_rules import SpotRules, rules_of
from perpdesk.domain import units

PAGE = 1_000
PAGES_MAX = 200
DAY_MS = 86_400_000
Named = TypeVar("Named", p.SpotQuote, p.SpotPrice, p.SpotOrder, p.SpotCommission)
# what the exchange says of an order or list that it does not know; a list is missing as -2013, -2018 or -2011
_ABSENT = (-2011, -2013, -2018)
_ORDERS_10S, _ORDERS_A_MINUTE = 10, 6


@dataclass(frozen=True, slots=True)
class DayVolume:
    """Quote of the executions of a UTC day. is_complete False: a page is missing; do not use the figures."""

    bought: Decimal
    sold: Decimal
    is_complete: bool


class SpotReads:
    """Queries of one account (without credentials: public ones only)."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    # -- market --------------------------------------------------------------------------------

    async def rules(self, symbol: str) -> SpotRules:
        """What the pair allows; takes the exchange's limits into the governor on the way."""
        info: p.SpotInfo = await self._rest.ask(to.EXCHANGE_INFO, (("symbol", symbol),), Lane.QUERY)
        take_limits(self._rest.governor, info)
        row = next((one for one in info.symbols if one.symbol == symbol), None)
        if row is None:
            raise MalformedAnswer(f"exchangeInfo does not describe {symbol}")
        return rules_of(row)

    async def quote(self, symbol: str) -> p.SpotQuote:
        """Best bid and ask now."""
        found: p.SpotQuote = await self._rest.ask(to.BOOK_TICKER, (("symbol", symbol),), Lane.QUERY)
        return _of(symbol, found)

    async def last_price(self, symbol: str) -> Decimal:
        """The last price."""
        found: p.SpotPrice = await self._rest.ask(to.PRICE, (("symbol", symbol),), Lane.QUERY)
        return units.decimal_of(_of(symbol, found).price, "price")

    async def seconds(self, symbol: str, count: int = 60) -> list[list[int | str]]:
        """The newest one-second bars, oldest first, in the twelve columns of klines."""
        params: list[tuple[str, Param]] = [("symbol", symbol), ("interval", "1s"), ("limit", count)]
        found: list[list[int | str]] = await self._rest.ask(to.KLINES, params, Lane.QUERY)
        return found

    # -- account -------------------------------------------------------------------------------

    async def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """(free, locked) by asset; an asset that is not named is not held."""
        account: p.SpotAccount = await self._rest.ask(to.ACCOUNT, (("omitZeroBalances", True),), Lane.QUERY)
        return {
            row.asset: (units.decimal_of(row.free, "free"), units.decimal_of(row.locked, "locked"))
            for row in account.balances
        }

    async def commission(self, symbol: str) -> p.SpotCommission:
        """What executions of the pair cost this account."""
        found: p.SpotCommission = await self._rest.ask(to.COMMISSION, (("symbol", symbol),), Lane.QUERY)
        return _of(symbol, found)

    async def order(self, symbol: str, client_id: str) -> p.SpotOrder | None:
        """An order by its client id; None: the exchange says that there is none."""
        params = (("symbol", symbol), ("origClientOrderId", client_id))
        try:
            found: p.SpotOrder = await self._rest.ask(to.ORDER_QUERY, params, Lane.QUERY)
        except ExchangeRefused as error:
            if error.code in _ABSENT:
                return None
            raise
        if found.client_order_id != client_id:
            raise MalformedAnswer(f"asked for {client_id}, was told {found.client_order_id}")
        return _of(symbol, found)

    async def order_list(self, client_id: str) -> p.SpotList | None:
        """A list by its client id; None: the exchange says that there is none."""
        params = (("origClientOrderId", client_id),)
        try:
            found: p.SpotList = await self._rest.ask(to.LIST_QUERY, params, Lane.QUERY)
        except ExchangeRefused as error:
            if error.code in _ABSENT:
                return None
            raise
        if found.list_client_order_id != client_id:
            raise MalformedAnswer(f"asked for {client_id}, was told {found.list_client_order_id}")
        return found

    async def open_lists(self) -> list[p.SpotList]:
        """All open lists of the account."""
        found: list[p.SpotList] = await self._rest.ask(to.LISTS_OPEN, (), Lane.QUERY)
        return found

    async def open_orders(self, symbol: str) -> list[p.SpotOrder]:
        """All open orders of the pair."""
        found: list[p.SpotOrder] = await self._rest.ask(to.ORDERS_OPEN, (("symbol", symbol),), Lane.QUERY)
        return found

    async def fills_of_order(self, symbol: str, order_id: int) -> list[p.SpotFill]:
        """Every execution of one order, oldest first. Raises MalformedAnswer if there are more than fit."""
        params: list[tuple[str, Param]] = [("symbol", symbol), ("orderId", order_id), ("limit", PAGE)]
        found: list[p.SpotFill] = await self._rest.ask(to.FILLS_OF_ORDER, params, Lane.QUERY)
        if len(found) >= PAGE:
            raise MalformedAnswer(f"order {order_id} has {PAGE} executions or more")
        return found

    async def volume(self, symbol: str, day: int) -> DayVolume:
        """Quote bought and sold in a UTC day (days since 1970), page by page until one is short."""
        start_ms = day * DAY_MS
        params: list[tuple[str, Param]] = [("symbol", symbol), ("startTime", start_ms), ("limit", PAGE)]
        bought = sold = Decimal(0)
        for _ in range(PAGES_MAX):
            rows: list[p.SpotFill] = await self._rest.ask(to.FILLS, params, Lane.QUERY)
            for row in rows:
                if row.symbol != symbol:
                    raise MalformedAnswer(f"myTrades of {symbol} tells of {row.symbol}")
                if not start_ms <= row.time < start_ms + DAY_MS:
                    continue
                worth = units.decimal_of(row.quote_qty, "quoteQty")
                if worth < 0:
                    raise MalformedAnswer(f"myTrades of {symbol} tells of a quoteQty of {worth}")
                bought, sold = (bought + worth, sold) if row.is_buyer else (bought, sold + worth)
            if len(rows) < PAGE or rows[-1].time >= start_ms + DAY_MS:
                return DayVolume(bought, sold, True)
            params = [("symbol", symbol), ("fromId", rows[-1].id + 1), ("limit", PAGE)]
        return DayVolume(bought, sold, False)


def _of(symbol: str, found: Named) -> Named:
    if found.symbol != symbol:
        raise MalformedAnswer(f"asked for {symbol}, was told of {found.symbol}")
    return found


def take_limits(governor: Governor, info: p.SpotInfo) -> None:
    """Spot's limits as exchangeInfo tells them. What is not told stays as it was."""
    if not isinstance(info.rate_limits, list):
        return
    told = {(one.rate_limit_type, one.interval, one.interval_num): one.limit for one in info.rate_limits}
    weight, orders = told.get(("REQUEST_WEIGHT", "MINUTE", 1)), told.get(("ORDERS", "SECOND", _ORDERS_10S))
    if weight and orders:
        # the day's limit is far away; a minute holds six times ten seconds
        governor.set_limits(weight=weight, orders_10s=orders, orders_1m=orders * _ORDERS_A_MINUTE)
