"""Orders that only an emergency sends: the disaster stop, and a limit that closes where MARKET is refused."""

from __future__ import annotations

from typing import Final

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import ExchangeUnreachable, KeyRefused, LeaseTooShort, Throttled
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.orders import WAIT_MS, Orders
from perpdesk.adapters.binance.outcome import classify
from perpdesk.adapters.binance.quantise import Rules
from perpdesk.adapters.binance.signing import Param
from perpdesk.adapters.binance.translate import Request, position_side
from perpdesk.domain.errors import PerpdeskError
from perpdesk.kernel.records import BUY, LIMIT, STOP
from perpdesk.ports import Answer, NewOrder, Outcome

PPM: Final = 1_000_000
# The limit stays so much of the band's width inside it: the mark moves while the order is on its way.
INSIDE_PPM: Final = 20_000
# The place of orders that belong to no sleeve.
NO_PLACE: Final = (-1, -1)


class LastResort:
    """Sends them over the channel of ``orders``. place: the (sleeve, slot) that their fills are told for."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        """A stop on the mark that closes what is held then. price: of the trigger, rounded to act sooner."""
        rules = self._orders.rules[symbol]
        params = [
            *self._head(rules, side),
            ("algoType", "CONDITIONAL"),
            ("type", "STOP_MARKET"),
            ("workingType", "MARK_PRICE"),
            ("triggerPrice", rules.price_text(rules.order_price(STOP, side, price))),
            ("closePosition", True),
            ("clientAlgoId", client_id),
        ]
        order = NewOrder(client_id, symbol, *NO_PLACE, STOP, side, price, 0, True, 0, 0, 0)
        return await self._send(order, Request(to.ALGO, params, True, Lane.PROTECT))

    async def limit_ioc(
        self, symbol: int, client_id: str, side: int, lots: int, place: tuple[int, int] = NO_PLACE
    ) -> Answer:
        """A reduce-only limit near the edge of the PERCENT_PRICE band, immediate or cancel (rule R12)."""
        rules = self._orders.rules[symbol]
        try:
            price = await self._edge(rules, side)
        except PerpdeskError as error:
            return Answer(Outcome.REFUSED, f"the band is not known: {error}")
        problem = rules.refusal(lots, price, is_market=False, reduce_only=True)
        if problem is not None:
            return Answer(Outcome.REFUSED, problem)
        params = self._head(rules, side)
        if not self._orders.hedge:
            params.append(("reduceOnly", True))
        params += [
            ("type", "LIMIT"),
            ("timeInForce", "IOC"),
            ("quantity", rules.quantity_text(lots)),
            ("price", rules.price_text(price)),
            ("newClientOrderId", client_id),
            ("newOrderRespType", "ACK"),
        ]
        order = NewOrder(client_id, symbol, *place, LIMIT, side, price, lots, True, 0, 0, 0)
        return await self._send(order, Request(to.ORDER, params, False, Lane.CLOSE))

    def _head(self, rules: Rules, side: int) -> list[tuple[str, Param]]:
        params: list[tuple[str, Param]] = [
            ("symbol", rules.symbol),
            ("side", "BUY" if side == BUY else "SELL"),
        ]
        if self._orders.hedge:
            params.append(("positionSide", position_side(side, True)))
        return params

    async def _edge(self, rules: Rules, side: int) -> int:
        """The worst price that the band allows, a little inside it, on the tick."""
        rest = self._orders.rest
        premium: p.PremiumIndex = await rest.ask(to.PREMIUM_INDEX, (("symbol", rules.symbol),), Lane.CLOSE)
        mark = rules.price_near(premium.mark_price)
        if mark <= 0:
            raise ExchangeUnreachable(f"the mark price of {rules.symbol} is {premium.mark_price}")
        width = rules.percent_up_ppm - PPM if side == BUY else PPM - rules.percent_down_ppm
        width = width * (PPM - INSIDE_PPM) // PPM
        price = mark * (PPM + side * width) // PPM
        price = rules.on_tick(price, up=side != BUY)
        return (
            min(price, rules.price_max or price) if side == BUY else max(price, rules.price_min, rules.tick)
        )

    async def _send(self, order: NewOrder, request: Request) -> Answer:
        orders, rest = self._orders, self._orders.rest
        if orders.known(order.client_id) is not None:
            return Answer(Outcome.REFUSED, f"client id {order.client_id} was used in this run")
        if request.is_conditional:
            try:
                rest.governor.hold_conditional(rest.account, order.client_id, request.lane)
            except Throttled as error:
                return Answer(Outcome.REFUSED, str(error))
        known = orders.expect(order, is_conditional=request.is_conditional)
        deadline_ms = rest.server.now_ms() + WAIT_MS[request.lane]
        try:
            reply = await rest.send(request.endpoint, request.params, request.lane, deadline_ms)
        except (Throttled, LeaseTooShort, KeyRefused, ExchangeUnreachable) as error:  # nothing was sent
            orders.drop(order.client_id)
            return Answer(Outcome.REFUSED, str(error))
        return await orders.judge(known, request, reply, classify(reply.status, reply.code, reply.text))
