"""What the account holds, as REST says it, in kernel units: for recovery and reconciliation.

Every read is complete or raises: a page that fails, a row that cannot be read, fills that do not add up to
their order are errors, never a short answer. An empty answer is handed on as empty; it proves nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable, MalformedAnswer
from perpdesk.adapters.binance.facts import text
from perpdesk.adapters.binance.known_orders import KnownOrders
from perpdesk.adapters.binance.limits import Cost
from perpdesk.adapters.binance.quantise import Rules, money_near_e8
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.signing import Param
from perpdesk.adapters.binance.standing import order_by_id
from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide
from perpdesk.kernel.records import BUY, LIMIT, MARKET, NONE, SELL, STOP, TAKE_PROFIT, TRAILING
from perpdesk.ports import AccountSettings, Income, Leg, OpenOrder, VenueFill

PAGE: Final = 1_000
WINDOW_MS: Final = 7 * 86_400_000
# Kinds of income of which one millisecond may have many.
CROWDING: Final = (
    "REALIZED_PNL",
    "COMMISSION",
    "FUNDING_FEE",
    "INSURANCE_CLEAR",
    "TRANSFER",
    "COMMISSION_REBATE",
    "REFERRAL_KICKBACK",
    "API_REBATE",
)
# Client ids of orders that were asked for once, the newest so many.
REMEMBERED_MAX: Final = 10_000
# Quantities of contracts outside the universe are told in units of 10^-8.
OUTSIDE_PLACES: Final = 8

Row = TypeVar("Row")
Out = TypeVar("Out")

ALL_ALGOS: Final = Endpoint("GET", "/fapi/v1/allAlgoOrders", Cost(5), signed=True)
_KINDS: Final = {
    "MARKET": MARKET,
    "LIMIT": LIMIT,
    "STOP_MARKET": STOP,
    "TAKE_PROFIT_MARKET": TAKE_PROFIT,
    "TRAILING_STOP_MARKET": TRAILING,
}
_SIDES: Final = {"BUY": BUY, "SELL": SELL}
_CLOSING: Final = {("SELL", "LONG"), ("BUY", "SHORT")}


class AccountTruth:
    """The reads of one account. rules: by symbol index; known: what this process has placed."""

    def __init__(self, rest: Rest, rules: list[Rules], known: KnownOrders) -> None:
        self._rest, self._rules, self._known = rest, rules, known
        self._place = {rule.symbol: i for i, rule in enumerate(rules)}
        self._quote = rules[0].quote
        self._client_ids: OrderedDict[tuple[str, int], str] = OrderedDict()

    async def open_orders(self) -> list[OpenOrder]:
        """Both books, symbols of the universe. An order that triggers between the two reads is not lost.

        kind NONE: a kind that we do not place (a stop-limit). price 0: a trailing stop's trigger moves.
        """
        algos: list[p.AlgoOrder] = await self._rest.ask(to.OPEN_ALGOS_ALL, ())
        orders: list[p.Order] = await self._rest.ask(to.OPEN_ORDERS_ALL, ())
        found: dict[tuple[str, bool], OpenOrder] = {}
        for algo in algos:
            i = self._place.get(text(algo.symbol, ""))
            if i is not None:
                found[algo.client_algo_id, True] = _reading(self._algo, i, algo)
        for order in orders:
            i = self._place.get(order.symbol)
            if i is not None:
                found.pop((order.client_order_id, True), None)  # it has triggered meanwhile
                found[order.client_order_id, False] = _reading(self._order, i, order)
        return list(found.values())

    async def legs(self) -> list[Leg]:
        """Every position that is not flat. Outside the universe: symbol -1, lots in 10^-8 of the asset."""
        rows: list[p.PositionRisk] = await self._rest.ask(to.POSITIONS, ())
        legs: dict[tuple[str, PositionSide], Leg] = {}
        for row in rows:
            leg = _reading(self._leg, self._place.get(row.symbol, -1), row)
            if leg.lots == 0:
                continue
            if (row.symbol, leg.position_side) in legs:
                raise MalformedAnswer(f"two rows for the position of {row.symbol} {leg.position_side}")
            legs[row.symbol, leg.position_side] = leg
        return list(legs.values())

    async def fills_since(self, symbol: int, since_ms: int) -> list[VenueFill]:
        """The fills of a symbol from since_ms (exchange time) on, oldest first, each with its client id.

        Raises MalformedAnswer if they do not add up to what their orders have executed: pages are missing.
        """
        name = self._rules[symbol].symbol
        trades = await self._trades(name, since_ms)
        client_ids = await self._owners(name, trades, since_ms)
        prices: dict[str, str] = {}
        for asset in {trade.commission_asset for trade in trades.values()} - {self._quote, ""}:
            prices[asset] = await self._price_of(asset)
        ordered = sorted(trades.values(), key=lambda trade: (trade.time, trade.id))

        def fill(i: int, row: p.UserTrade) -> VenueFill:
            return self._fill(i, row, client_ids[row.order_id], prices)

        return [_reading(fill, symbol, trade) for trade in ordered]

    async def income_since(self, since_ms: int) -> list[Income]:
        """The wallet's bookings from since_ms (exchange time) on, oldest first, each once."""
        found: dict[tuple[str, str, str], p.Income] = {}
        now_ms = self._rest.server.now_ms()
        start_ms = since_ms
        while start_ms <= now_ms:
            end_ms = min(start_ms + WINDOW_MS - 1, now_ms)
            params = (("startTime", start_ms), ("endTime", end_ms), ("limit", PAGE))
            page: list[p.Income] = await self._rest.ask(to.INCOME, params)
            for row in page:
                found[row.income_type, text(row.symbol, ""), str(row.tran_id)] = row
            if len(page) < PAGE:
                start_ms = end_ms + 1
                continue
            newest_ms = max(row.time for row in page)
            if newest_ms <= start_ms:
                for row in await self._crowded(start_ms):
                    found[row.income_type, text(row.symbol, ""), str(row.tran_id)] = row
                newest_ms = start_ms + 1
            start_ms = newest_ms  # again: this very millisecond may have more
        rows = sorted(found.items(), key=lambda one: (one[1].time, one[0]))
        return [_reading(_income, 0, row) for _, row in rows]

    async def _crowded(self, ms: int) -> list[p.Income]:
        """A millisecond with more bookings than a page holds, kind by kind and symbol by symbol."""
        rows: list[p.Income] = []
        at: tuple[tuple[str, str | int], ...] = (("startTime", ms), ("endTime", ms), ("limit", PAGE))
        for kind in CROWDING:
            page: list[p.Income] = await self._rest.ask(to.INCOME, (("incomeType", kind), *at))
            if len(page) < PAGE:
                rows += page
                continue
            for rules in self._rules:
                narrow = (("symbol", rules.symbol), ("incomeType", kind), *at)
                page = await self._rest.ask(to.INCOME, narrow)
                if len(page) == PAGE:
                    raise MalformedAnswer(f"{PAGE} bookings of {rules.symbol} at {ms}: more cannot be read")
                rows += page
        return rows

    async def settings(self) -> AccountSettings:
        """Modes, and leverage and margin type of the universe's symbols."""
        config: p.AccountConfig = await self._rest.ask(to.ACCOUNT_CONFIG, ())
        rows: list[p.SymbolConfig] = await self._rest.ask(to.SYMBOL_CONFIG, ())
        ours = [(self._place[row.symbol], row) for row in rows if row.symbol in self._place]
        return AccountSettings(
            hedge=config.dual_side_position,
            multi_assets=config.multi_assets_margin,
            leverages={i: row.leverage for i, row in ours},
            isolated={i: row.margin_type.upper() == "ISOLATED" for i, row in ours},
        )

    # -- fills -------------------------------------------------------------------------------------

    async def _trades(self, name: str, since_ms: int) -> dict[int, p.UserTrade]:
        """By id: windows of seven days until the first page with something, then by id to the newest."""
        start_ms = since_ms
        while True:
            now_ms = self._rest.server.now_ms()
            end_ms = max(start_ms, min(start_ms + WINDOW_MS - 1, now_ms))
            page = await self._page(name, startTime=start_ms, endTime=end_ms)
            if page or end_ms >= now_ms:
                break
            start_ms = end_ms + 1
        found = {trade.id: trade for trade in page}
        has_more = bool(page) and (len(page) == PAGE or end_ms < now_ms)
        while has_more:
            newest = max(found)
            page = await self._page(name, fromId=newest + 1)
            found.update((trade.id, trade) for trade in page)
            has_more = len(page) == PAGE
            if has_more and max(found) == newest:
                raise MalformedAnswer(f"fills of {name} after {newest} are the ones before it")
        return {key: trade for key, trade in found.items() if trade.time >= since_ms}

    async def _page(self, name: str, **bounds: int) -> list[p.UserTrade]:
        params: list[tuple[str, Param]] = [("symbol", name), *bounds.items(), ("limit", PAGE)]
        page: list[p.UserTrade] = await self._rest.ask(to.USER_TRADES, params)
        for trade in page:
            if trade.symbol != name or trade.side not in _SIDES:
                raise MalformedAnswer(f"asked for fills of {name}, got {trade.symbol} {trade.side}")
        return page

    async def _owners(self, name: str, trades: dict[int, p.UserTrade], since_ms: int) -> Mapping[int, str]:
        """The client id of each fill's order. ``trades`` gains what came meanwhile, if an order says so."""
        owners: dict[int, str] = {}
        strangers: list[int] = []
        for order_id in sorted({trade.order_id for trade in trades.values()}):
            known = self._known.by_order_id(order_id)
            told = known.order.client_id if known is not None else self._client_ids.get((name, order_id))
            if told is None:
                strangers.append(order_id)
            else:
                owners[order_id] = told
        if not strangers:
            return owners
        children = await self._children(name, since_ms)
        for order_id in strangers:
            order = await self._order_of(name, order_id)
            await self._require_all(name, order, trades, since_ms)
            owners[order_id] = children.get(order_id, order.client_order_id)
            self._client_ids[name, order_id] = owners[order_id]
            while len(self._client_ids) > REMEMBERED_MAX:
                self._client_ids.popitem(last=False)
        missing = {trade.order_id for trade in trades.values()} - owners.keys()
        for order_id in missing:
            owners[order_id] = (await self._order_of(name, order_id)).client_order_id
        return owners

    async def _order_of(self, name: str, order_id: int) -> p.Order:
        try:
            found = await order_by_id(self._rest, name, order_id)
        except ExchangeRefused as error:  # it has traded, so it exists: the answer is wrong, or late
            raise ExchangeUnreachable(
                f"order {order_id} of {name} has fills and is denied: {error}"
            ) from error
        if found.order_id != order_id or found.symbol != name:
            raise MalformedAnswer(
                f"asked for order {order_id} of {name}, got {found.order_id} {found.symbol}"
            )
        return found

    async def _require_all(
        self, name: str, order: p.Order, trades: dict[int, p.UserTrade], since_ms: int
    ) -> None:
        """An order from within the time read has as many lots as its fills (fault API-29)."""
        if not isinstance(order.time, int) or order.time < since_ms:
            return
        rules = self._rules[self._place[name]]
        executed = rules.lots(text(order.executed_qty))
        if self._traded(rules, order.order_id, trades) < executed:  # it has gone on since
            for trade in await self._page(name, fromId=max(trades) + 1):
                trades[trade.id] = trade
        traded = self._traded(rules, order.order_id, trades)
        if traded < executed:
            raise MalformedAnswer(
                f"order {order.order_id} of {name} has executed {executed} lots, its fills say {traded}"
            )

    def _traded(self, rules: Rules, order_id: int, trades: Mapping[int, p.UserTrade]) -> int:
        return sum(rules.lots(trade.qty) for trade in trades.values() if trade.order_id == order_id)

    async def _children(self, name: str, since_ms: int) -> dict[int, str]:
        """The conditional order behind each order that one became, by that order's number."""
        now_ms = self._rest.server.now_ms()
        start_ms = max(since_ms - WINDOW_MS // 7, now_ms - WINDOW_MS + 1)
        params = (("symbol", name), ("startTime", start_ms), ("endTime", now_ms), ("limit", PAGE))
        rows: list[p.AlgoOrder] = await self._rest.ask(ALL_ALGOS, params)
        return {
            int(row.actual_order_id): row.client_algo_id
            for row in rows
            if isinstance(row.actual_order_id, (str, int)) and str(row.actual_order_id).isdecimal()
        }

    async def _price_of(self, asset: str) -> str:
        premium: p.PremiumIndex = await self._rest.ask(
            to.PREMIUM_INDEX, (("symbol", f"{asset}{self._quote}"),)
        )
        return premium.mark_price

    # -- rows --------------------------------------------------------------------------------------

    def _fill(self, symbol: int, row: p.UserTrade, client_id: str, prices: Mapping[str, str]) -> VenueFill:
        rules = self._rules[symbol]
        fee = units.decimal_of(row.commission, "commission")
        if row.commission_asset in prices:
            fee *= units.decimal_of(prices[row.commission_asset], f"{row.commission_asset} mark price")
        return VenueFill(
            symbol=symbol,
            trade_id=row.id,
            order_id=row.order_id,
            client_id=client_id,
            side=_SIDES[row.side],
            price=rules.price_near(row.price),
            lots=rules.lots(row.qty),
            is_maker=row.maker is True,
            fee_e8=units.money_e8(units.half_away(fee, units.MONEY_DIGITS)),
            realised_e8=money_near_e8(row.realized_pnl, "realizedPnl"),
            ms=row.time,
            position_side=PositionSide(text(row.position_side, "BOTH")),
        )

    def _leg(self, symbol: int, row: p.PositionRisk) -> Leg:
        position_side = PositionSide(text(row.position_side, "BOTH"))
        updated_ms = row.update_time if isinstance(row.update_time, int) else 0
        margin_e8 = money_near_e8(text(row.isolated_wallet)) or money_near_e8(text(row.initial_margin))
        if symbol < 0:
            amount = units.half_away(units.decimal_of(row.position_amt, "positionAmt"), OUTSIDE_PLACES)
            lots = units.to_units(amount, OUTSIDE_PLACES)
            return Leg(-1, row.symbol, lots, 0, 0, 0, _isolated(row), margin_e8, updated_ms, position_side)
        rules = self._rules[symbol]
        return Leg(
            symbol=symbol,
            name=row.symbol,
            lots=rules.signed_lots(row.position_amt),
            entry_price=rules.price_near(row.entry_price or "0"),
            mark_price=rules.price_near(text(row.mark_price)),
            liquidation_price=max(0, rules.price_near(text(row.liquidation_price))),
            isolated=_isolated(row),
            margin_e8=margin_e8,
            updated_ms=updated_ms,
            position_side=position_side,
        )

    def _order(self, symbol: int, row: p.Order) -> OpenOrder:
        rules = self._rules[symbol]
        return OpenOrder(
            client_id=row.client_order_id,
            symbol=symbol,
            kind=_KINDS.get(text(row.type, ""), NONE),
            side=_SIDES[row.side],
            price=rules.price_near(text(row.price)),
            lots=rules.lots(text(row.orig_qty)) - rules.lots(text(row.executed_qty)),
            reduce_only=_flag(row.reduce_only) or (row.side, text(row.position_side, "")) in _CLOSING,
            activation=0,
            callback_ppm=0,
            close_position=_flag(row.close_position),
            is_conditional=False,
            status=row.status,
            placed_ms=row.time if isinstance(row.time, int) else 0,
        )

    def _algo(self, symbol: int, row: p.AlgoOrder) -> OpenOrder:
        rules = self._rules[symbol]
        kind = _KINDS.get(text(row.order_type, ""), NONE)
        side = text(row.side, "")
        return OpenOrder(
            client_id=row.client_algo_id,
            symbol=symbol,
            kind=kind,
            side=_SIDES[side],
            price=0 if kind == TRAILING else rules.price_near(text(row.trigger_price)),
            lots=rules.lots(text(row.quantity)),
            reduce_only=_flag(row.reduce_only) or (side, text(row.position_side, "")) in _CLOSING,
            activation=rules.price_near(text(row.activate_price)) if kind == TRAILING else 0,
            callback_ppm=int(units.decimal_of(text(row.callback_rate), "callbackRate") * 10_000),
            close_position=_flag(row.close_position),
            is_conditional=True,
            status=text(row.algo_status, ""),
            placed_ms=row.create_time if isinstance(row.create_time, int) else 0,
        )


def _reading(read: Callable[[int, Row], Out], symbol: int, row: Row) -> Out:
    """A row that cannot be read makes the whole answer unreadable."""
    try:
        return read(symbol, row)
    except (InputError, KeyError, ValueError) as error:
        raise MalformedAnswer(f"a row cannot be read: {error}: {row}") from error


def _income(_: int, row: p.Income) -> Income:
    trade_id = str(row.trade_id) if isinstance(row.trade_id, (int, str)) else ""
    return Income(
        key=str(row.tran_id),
        kind=row.income_type,
        symbol=text(row.symbol, ""),
        asset=row.asset,
        amount_e8=money_near_e8(row.income, "income"),
        trade_id=int(trade_id) if trade_id.isdecimal() else None,
        ms=row.time,
    )


def _flag(value: p.Flag) -> bool:
    return value is True or value == "true"


def _isolated(row: p.PositionRisk) -> bool | None:
    """v2 says it; v3 shows an isolated wallet."""
    told = text(row.margin_type, "")
    if told:
        return told.lower() == "isolated"
    wallet = text(row.isolated_wallet, "")
    return units.decimal_of(wallet, "isolatedWallet") != 0 if wallet else None
