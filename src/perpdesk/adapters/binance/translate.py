"""An order of the engine as the request that Binance wants: ordinary or conditional, one-way or hedge."""

from __future__ import annotations

from dataclasses import dataclass

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.quantise import Rules, callback_text
from perpdesk.adapters.binance.signing import Param
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import BUY, LIMIT, MARKET, STOP, TAKE_PROFIT, TRAILING
from perpdesk.ports import NewOrder

CONDITIONAL = {STOP: "STOP_MARKET", TAKE_PROFIT: "TAKE_PROFIT_MARKET", TRAILING: "TRAILING_STOP_MARKET"}


@dataclass(frozen=True, slots=True)
class Request:
    """What will be sent. is_conditional: to the book of conditional orders, whose 200 slots are counted."""

    endpoint: Endpoint
    params: list[tuple[str, Param]]
    is_conditional: bool
    lane: Lane


def lane_of(order: NewOrder) -> Lane:
    """Closing goes before protecting, protecting before everything else."""
    if not order.reduce_only:
        return Lane.ENTRY
    return Lane.CLOSE if order.kind == MARKET else Lane.PROTECT


def position_side(side: int, reduce_only: bool) -> str:
    """The leg that an order works on in hedge mode."""
    return "LONG" if (side == BUY) != reduce_only else "SHORT"


def request_of(order: NewOrder, rules: Rules, *, hedge: bool) -> Request:
    """The request for an order. Raises InputError with the filter's code if the exchange would refuse it."""
    conditional = CONDITIONAL.get(order.kind)
    price = 0
    if order.kind in (LIMIT, STOP, TAKE_PROFIT):
        price = rules.order_price(order.kind, order.side, order.price)
    problem = rules.refusal(
        order.lots,
        0 if conditional else price,
        is_market=order.kind != LIMIT,
        reduce_only=order.reduce_only,
    )
    if problem is not None:
        raise InputError(problem, field=rules.symbol, rule="filters")
    params: list[tuple[str, Param]] = [
        ("symbol", rules.symbol),
        ("side", "BUY" if order.side == BUY else "SELL"),
    ]
    if hedge:
        params.append(("positionSide", position_side(order.side, order.reduce_only)))
    elif order.reduce_only:
        params.append(("reduceOnly", True))
    params.append(("quantity", rules.quantity_text(order.lots)))
    if conditional is None:
        params.append(("type", "LIMIT" if order.kind == LIMIT else "MARKET"))
        if order.kind == LIMIT:
            params += [("timeInForce", "GTC"), ("price", rules.price_text(price))]
        params += [("newClientOrderId", order.client_id), ("newOrderRespType", "ACK")]
        return Request(to.ORDER, params, False, lane_of(order))
    params += [("algoType", "CONDITIONAL"), ("type", conditional), ("workingType", "CONTRACT_PRICE")]
    if order.kind == TRAILING:
        params.append(("callbackRate", callback_text(order.callback_ppm)))
        if order.activation:
            at = rules.order_price(TRAILING, order.side, order.activation)
            params.append(("activatePrice", rules.price_text(at)))
    else:
        params.append(("triggerPrice", rules.price_text(price)))
    params.append(("clientAlgoId", order.client_id))
    return Request(to.ALGO, params, True, lane_of(order))


def amend_request(order: NewOrder, rules: Rules, *, hedge: bool) -> Request:
    """The request that gives a resting LIMIT order the price and total quantity of ``order``.

    Raises InputError with the filter's code if the exchange would refuse it.
    """
    price = rules.order_price(LIMIT, order.side, order.price)
    problem = rules.refusal(order.lots, price, is_market=False, reduce_only=order.reduce_only)
    if problem is not None:
        raise InputError(problem, field=rules.symbol, rule="filters")
    params: list[tuple[str, Param]] = [
        ("symbol", rules.symbol),
        ("side", "BUY" if order.side == BUY else "SELL"),
        ("quantity", rules.quantity_text(order.lots)),
        ("price", rules.price_text(price)),
        ("origClientOrderId", order.client_id),
    ]
    if order.reduce_only and not hedge:
        params.append(("reduceOnly", True))
    return Request(to.ORDER_AMEND, params, False, lane_of(order))
