"""Spot rows and events as JSON: amounts with eight places, as Binance writes them."""

from __future__ import annotations

from typing import Any

from perpdesk.exchange.core.numbers import fixed
from perpdesk.exchange.spot.events import Deposit, Event, ListReport, Position, Report
from perpdesk.exchange.spot.orders import BUY, CONDITIONAL, SIDE_NAMES, Fill, Order, OrderList
from perpdesk.exchange.spot.world import SpotWorld

Row = dict[str, Any]


def amount(value_e8: int) -> str:
    """Eight places."""
    return fixed(value_e8, 8)


def order_row(world: SpotWorld, order: Order) -> Row:
    """GET order."""
    return {
        "symbol": world.pair(order).symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "price": amount(order.price_e8),
        "origQty": amount(order.qty_e8),
        "executedQty": amount(order.filled_e8),
        "cummulativeQuoteQty": amount(order.quote_e8),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.type,
        "side": SIDE_NAMES[order.side],
        "stopPrice": amount(order.stop_e8),
        "icebergQty": amount(0),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.working_ms >= 0,
        "workingTime": order.working_ms,
        "origQuoteOrderQty": amount(order.quote_qty_e8),
        "selfTradePreventionMode": order.stp,
    }


def placed_row(world: SpotWorld, order: Order, response: str, now_ms: int, *, pending: bool = False) -> Row:
    """What a placement answers. pending: as it was when the list was taken, whatever came of it since."""
    row: Row = {
        "symbol": world.pair(order).symbol,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "transactTime": now_ms,
    }
    if response == "ACK":
        return row
    bought = order.list is not None and order.list.pays
    row |= {
        "price": amount(order.price_e8),
        "origQty": amount(0 if pending and bought else order.qty_e8),
        "executedQty": amount(0 if pending else order.filled_e8),
        "origQuoteOrderQty": amount(order.quote_qty_e8),
        "cummulativeQuoteQty": amount(0 if pending else order.quote_e8),
        "status": "PENDING_NEW" if pending else order.status,
        "timeInForce": order.tif,
        "type": order.type,
        "side": SIDE_NAMES[order.side],
        "workingTime": -1 if pending else order.working_ms,
        "selfTradePreventionMode": order.stp,
    }
    if order.type in CONDITIONAL:
        row["stopPrice"] = amount(order.stop_e8)
    if response == "FULL":
        made = [] if pending else [one for one in world.accounts[order.account].fills if one.order is order]
        row["fills"] = [
            {
                "price": amount(fill.price_e8),
                "qty": amount(fill.qty_e8),
                "commission": amount(fill.commission_e8),
                "commissionAsset": fill.commission_asset,
                "tradeId": fill.id,
            }
            for fill in made
        ]
    return row


def canceled_row(world: SpotWorld, order: Order, cancel_id: str, now_ms: int) -> Row:
    """What a cancellation answers."""
    row = {
        "symbol": world.pair(order).symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "clientOrderId": cancel_id,
        "transactTime": now_ms,
        "price": amount(order.price_e8),
        "origQty": amount(order.qty_e8),
        "executedQty": amount(order.filled_e8),
        "origQuoteOrderQty": amount(order.quote_qty_e8),
        "cummulativeQuoteQty": amount(order.quote_e8),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.type,
        "side": SIDE_NAMES[order.side],
        "selfTradePreventionMode": order.stp,
    }
    return row | ({"stopPrice": amount(order.stop_e8)} if order.type in CONDITIONAL else {})


def list_row(world: SpotWorld, one: OrderList) -> Row:
    """GET orderList."""
    done = one.is_done
    return {
        "orderListId": one.id,
        "contingencyType": one.kind,
        "listStatusType": "ALL_DONE" if done else "EXEC_STARTED",
        "listOrderStatus": "ALL_DONE" if done else "EXECUTING",
        "listClientOrderId": one.client_id,
        "transactionTime": one.created_ms,
        "symbol": world.pairs[one.pair].symbol,
        "orders": [
            {
                "symbol": world.pairs[one.pair].symbol,
                "orderId": order.id,
                "clientOrderId": order.client_id,
            }
            for order in one.orders
        ],
    }


def placed_list(world: SpotWorld, one: OrderList, response: str, now_ms: int) -> Row:
    """What the placement of a list answers: the pending orders are told as PENDING_NEW even if the working
    one has filled at once, as Binance does. Query again."""
    row = list_row(world, one) | {
        "listStatusType": "EXEC_STARTED",
        "listOrderStatus": "EXECUTING",
        "transactionTime": now_ms,
    }
    if response != "ACK":
        waits = one.working is not None
        row["orderReports"] = [
            placed_row(world, order, response, now_ms, pending=waits and order is not one.working)
            for order in one.orders
        ]
    return row


def canceled_list(world: SpotWorld, one: OrderList, cancel_id: str, now_ms: int) -> Row:
    """What taking back a list answers."""
    row = list_row(world, one) | {"transactionTime": now_ms}
    row["orderReports"] = [canceled_row(world, order, cancel_id, now_ms) for order in one.orders]
    return row


def fill_row(world: SpotWorld, fill: Fill) -> Row:
    """myTrades."""
    order = fill.order
    return {
        "symbol": world.pair(order).symbol,
        "id": fill.id,
        "orderId": order.id,
        "orderListId": order.list_id,
        "price": amount(fill.price_e8),
        "qty": amount(fill.qty_e8),
        "quoteQty": amount(fill.quote_e8),
        "commission": amount(fill.commission_e8),
        "commissionAsset": fill.commission_asset,
        "time": fill.ms,
        "isBuyer": order.side == BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def event_row(world: SpotWorld, event: Event, now_ms: int) -> Row:
    """A user event as it goes on the wire."""
    if isinstance(event, Report):
        return _report(world, event, now_ms)
    if isinstance(event, ListReport):
        symbol = world.pairs[event.pair].symbol
        return {
            "e": "listStatus",
            "E": now_ms,
            "s": symbol,
            "g": event.list_id,
            "c": event.kind,
            "l": event.status_type,
            "L": event.order_status,
            "r": event.reason,
            "C": event.client_id,
            "T": event.ms,
            "O": [{"s": symbol, "i": order_id, "c": name} for order_id, name in event.orders],
        }
    if isinstance(event, Position):
        rows = [
            {"a": asset, "f": amount(free), "l": amount(locked)} for asset, free, locked in event.balances
        ]
        return {"e": "outboundAccountPosition", "E": now_ms, "u": event.ms, "B": rows}
    assert isinstance(event, Deposit)
    delta = amount(event.amount_e8)
    return {"e": "balanceUpdate", "E": now_ms, "a": event.asset, "d": delta, "T": event.ms}


def _report(world: SpotWorld, event: Report, now_ms: int) -> Row:
    row: Row = {
        "e": "executionReport",
        "E": now_ms,
        "s": world.pairs[event.pair].symbol,
        "c": event.client_id,
        "S": SIDE_NAMES[event.side],
        "o": event.type,
        "f": event.tif,
        "q": amount(event.qty_e8),
        "p": amount(event.price_e8),
        "P": amount(event.stop_e8),
        "F": amount(0),
        "g": event.list_id,
        "C": event.orig_client_id,
        "x": event.happened,
        "X": event.status,
        "r": event.reason,
        "i": event.order_id,
        "l": amount(event.last_qty_e8),
        "z": amount(event.filled_e8),
        "L": amount(event.last_price_e8),
        "n": amount(event.commission_e8) if event.commission_asset else "0",
        "N": event.commission_asset or None,
        "T": event.ms,
        "t": event.trade_id,
        "I": event.order_id,
        "w": event.on_book,
        "m": event.is_maker,
        "M": event.trade_id >= 0,
        "O": event.created_ms,
        "Z": amount(event.quote_e8),
        "Y": amount(event.last_quote_e8),
        "Q": amount(event.quote_qty_e8),
        "V": event.stp,
    }
    return row | ({"W": event.working_ms} if event.working_ms >= 0 else {})
