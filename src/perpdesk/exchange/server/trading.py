"""Order, batch and algo endpoints."""

from __future__ import annotations

from typing import Any

import msgspec

from perpdesk.exchange.core import conditional, entry, history, views
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.numbers import integer
from perpdesk.exchange.core.orders import Order
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.call import Answer, Call, Endpoint, Table, by_symbol

_ALL_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
_BATCH_CANCEL_MAX = 10
_COUNTDOWN_MAX_MS = 10 * 86_400_000


def place(call: Call) -> Answer:
    """POST order."""
    return entry.place(call.world, call.account, call.params, call.now_ms)


def test(call: Call) -> Answer:
    """POST order/test."""
    return entry.test(call.world, call.account, call.params, call.now_ms)


def amend(call: Call) -> Answer:
    """PUT order."""
    return entry.amend(call.world, call.account, call.params, call.now_ms)


def cancel(call: Call) -> Answer:
    """DELETE order."""
    return entry.cancel(call.world, call.account, call.params, call.now_ms)


def _items(call: Call) -> list[dict[str, str]] | Refusal:
    text = call.params.get("batchOrders", "")
    if not text:
        return no.mandatory("batchOrders")
    try:
        decoded = msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return no.mandatory("batchOrders")
    return [{name: text_of(value) for name, value in item.items()} for item in decoded]


def text_of(value: object) -> str:
    """A JSON value as the query string would have carried it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value)


def place_batch(call: Call) -> Answer:
    """POST batchOrders."""
    items = _items(call)
    if isinstance(items, Refusal):
        return items
    return entry.batch(
        items,
        lambda item: entry.place(call.world, call.account, item, call.now_ms, entry.STP_BATCH),
    )


def amend_batch(call: Call) -> Answer:
    """PUT batchOrders."""
    items = _items(call)
    if isinstance(items, Refusal):
        return items
    return entry.batch(items, lambda item: entry.amend(call.world, call.account, item, call.now_ms))


def cancel_batch(call: Call) -> Answer:
    """DELETE batchOrders: numbers or client ids, in the spellings that clients send."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    lower = {name.lower(): value for name, value in call.params.items()}
    wanted: list[dict[str, str]] = []
    for name, key in (("orderidlist", "orderId"), ("origclientorderidlist", "origClientOrderId")):
        text = lower.get(name, "").strip('"')
        if not text:
            continue
        try:
            wanted = [
                {key: text_of(one)}
                for one in msgspec.json.decode(text.replace("'", '"'), type=list[int | str])
            ]
        except msgspec.DecodeError:
            return no.invalid_value("orderIdList" if key == "orderId" else "origClientOrderIdList")
        break
    else:
        return no.either("origClientOrderIdList", "orderIdList")
    if not 1 <= len(wanted) <= _BATCH_CANCEL_MAX:
        return no.invalid_value("orderIdList")
    answers = []
    for one in wanted:
        answer = entry.cancel(call.world, call.account, {"symbol": contract.symbol, **one}, call.now_ms)
        answers.append(answer.body() if isinstance(answer, Refusal) else answer)
    return answers


def cancel_all(call: Call) -> Answer:
    """DELETE allOpenOrders."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    entry.cancel_all(call.world, call.account, contract, call.now_ms)
    return dict(_ALL_CANCELLED)


def countdown(call: Call) -> Answer:
    """POST countdownCancelAll: the dead-man switch of a symbol."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    text = call.params.get("countdownTime", "")
    value = integer(text)
    if value is None:
        return no.mandatory("countdownTime")
    if not 0 <= value <= _COUNTDOWN_MAX_MS:
        return no.invalid_value("countdownTime")
    if value == 0:
        call.account.countdowns.pop(contract.index, None)
    else:
        call.account.countdowns[contract.index] = (call.now_ms + value, value)
        call.account.remind(call.now_ms + value)
    return {"symbol": contract.symbol, "countdownTime": str(value)}


def _found(call: Call, open_only: bool) -> Order | Refusal:
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    order = entry.find(call.account, contract, call.params)
    if isinstance(order, Refusal):
        return order
    if order is None or not history.is_visible(order, call.now_ms) or (open_only and not order.is_open):
        return no.NO_ORDER
    return order


def query(call: Call) -> Answer:
    """GET order."""
    order = _found(call, False)
    return order if isinstance(order, Refusal) else views.order_row(call.world, order)


def query_open(call: Call) -> Answer:
    """GET openOrder."""
    order = _found(call, True)
    return order if isinstance(order, Refusal) else views.order_row(call.world, order)


def open_orders(call: Call) -> Answer:
    """GET openOrders, ascending."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    return [
        views.order_row(call.world, order)
        for order in sorted(call.account.open_orders.values(), key=lambda one: one.id)
        if contract is None or order.contract == contract.index
    ]


def all_orders(call: Call) -> Answer:
    """GET allOrders."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 500, 1000)
    if isinstance(limit, Refusal):
        return limit
    first = integer(call.params.get("orderId", ""))
    span = history.window(call.params, call.now_ms, 7, 7)
    if isinstance(span, Refusal):
        return span
    rows = [
        order
        for order in call.account.orders.values()
        if (contract is None or order.contract == contract.index)
        and history.is_visible(order, call.now_ms)
        and (order.id >= first if first is not None else span[0] <= order.created_ms <= span[1])
    ]
    from_start = first is not None or bool(call.params.get("startTime"))
    chosen = history.page(rows, limit, from_start=from_start, key=lambda one: one.id)
    return [views.order_row(call.world, order, with_pair=True) for order in chosen]


def amendments(call: Call) -> Answer:
    """GET orderAmendment."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    order = entry.find(call.account, contract, call.params)
    if isinstance(order, Refusal):
        return order
    limit = history.limit_of(call.params, 50, 100)
    if isinstance(limit, Refusal):
        return limit
    if order is None:
        return no.NO_ORDER
    rows = [
        {
            "amendmentId": one["id"],
            "symbol": contract.symbol,
            "pair": contract.symbol,
            "orderId": order.id,
            "clientOrderId": order.client_id,
            "time": one["time"],
            "amendment": {
                "price": dict(zip(("before", "after"), map(contract.price_text, one["price"]), strict=True)),
                "origQty": dict(zip(("before", "after"), map(contract.qty_text, one["lots"]), strict=True)),
                "count": i,
                "modifyId": one["modify_id"],
            },
        }
        for i, one in enumerate(order.amendments, 1)
    ]
    return rows[-limit:]


def place_algo(call: Call) -> Answer:
    """POST algoOrder."""
    return conditional.place(call.world, call.account, call.params, call.now_ms)


def cancel_algo(call: Call) -> Answer:
    """DELETE algoOrder."""
    return conditional.cancel(call.world, call.account, call.params, call.now_ms)


def query_algo(call: Call) -> Answer:
    """GET algoOrder."""
    algo = conditional.find(call.world, call.account, call.params, call.now_ms, no.NO_ORDER)
    if isinstance(algo, Refusal):
        return algo
    return views.algo_row(call.world, algo) if history.is_algo_visible(algo, call.now_ms) else no.NO_ORDER


def open_algos(call: Call) -> Answer:
    """GET openAlgoOrders."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    wanted = integer(call.params.get("algoId", ""))
    delay = call.world.rules.algo_visibility_delay_ms
    return [
        views.algo_row(call.world, algo, legs=True)
        for algo in call.account.open_algos.values()
        if (contract is None or algo.contract == contract.index)
        and (wanted is None or algo.id == wanted)
        and call.now_ms >= algo.created_ms + delay
    ]


def all_algos(call: Call) -> Answer:
    """GET allAlgoOrders."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 500, 1000)
    if isinstance(limit, Refusal):
        return limit
    span = history.window(call.params, call.now_ms, 7, 7)
    if isinstance(span, Refusal):
        return span
    first = integer(call.params.get("algoId", ""))
    rows = [
        algo
        for algo in call.account.algos.values()
        if algo.contract == contract.index
        and history.is_algo_visible(algo, call.now_ms)
        and (algo.id >= first if first is not None else span[0] <= algo.created_ms <= span[1])
    ]
    from_start = first is not None or bool(call.params.get("startTime"))
    chosen = history.page(rows, limit, from_start=from_start, key=lambda one: one.id)
    return [views.algo_row(call.world, algo, legs=True) for algo in chosen]


def cancel_all_algos(call: Call) -> Answer:
    """DELETE algoOpenOrders."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    conditional.cancel_all(call.world, call.account, contract, call.now_ms)
    return dict(_ALL_CANCELLED)


TABLE: Table = {
    ("POST", "/fapi/v1/order"): Endpoint(place, "SIGNED", 0, (1, 1)),
    ("POST", "/fapi/v1/order/test"): Endpoint(test, "SIGNED", 0),
    ("PUT", "/fapi/v1/order"): Endpoint(amend, "SIGNED", 0, (1, 1)),
    ("DELETE", "/fapi/v1/order"): Endpoint(cancel, "SIGNED", 1),
    ("GET", "/fapi/v1/order"): Endpoint(query, "SIGNED", 1),
    ("POST", "/fapi/v1/batchOrders"): Endpoint(place_batch, "SIGNED", 5, (5, 1)),
    ("PUT", "/fapi/v1/batchOrders"): Endpoint(amend_batch, "SIGNED", 5, (5, 1)),
    ("DELETE", "/fapi/v1/batchOrders"): Endpoint(cancel_batch, "SIGNED", 1),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(cancel_all, "SIGNED", 1),
    ("POST", "/fapi/v1/countdownCancelAll"): Endpoint(countdown, "SIGNED", 10),
    ("GET", "/fapi/v1/openOrder"): Endpoint(query_open, "SIGNED", 1),
    ("GET", "/fapi/v1/openOrders"): Endpoint(open_orders, "SIGNED", by_symbol(1, 40)),
    ("GET", "/fapi/v1/allOrders"): Endpoint(all_orders, "SIGNED", 5),
    ("GET", "/fapi/v1/orderAmendment"): Endpoint(amendments, "SIGNED", 1),
    ("POST", "/fapi/v1/algoOrder"): Endpoint(place_algo, "SIGNED", 0, (1, 1)),
    ("DELETE", "/fapi/v1/algoOrder"): Endpoint(cancel_algo, "SIGNED", 1),
    ("GET", "/fapi/v1/algoOrder"): Endpoint(query_algo, "SIGNED", 1),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(open_algos, "SIGNED", by_symbol(1, 40)),
    ("GET", "/fapi/v1/allAlgoOrders"): Endpoint(all_algos, "SIGNED", 5),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Endpoint(cancel_all_algos, "SIGNED", 1),
}
