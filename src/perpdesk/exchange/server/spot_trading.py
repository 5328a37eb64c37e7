"""Spot orders and order lists (reference §15)."""

from __future__ import annotations

from collections.abc import Callable

from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.numbers import integer
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.call import Answer, Call, Table, by_symbol
from perpdesk.exchange.server.spot_call import (
    account_of,
    book_of,
    endpoint,
    limit_of,
    side_of,
    time_of,
)
from perpdesk.exchange.spot import checks, entry, views
from perpdesk.exchange.spot import refusals as spot_no
from perpdesk.exchange.spot.book import Book
from perpdesk.exchange.spot.orders import NewList, Order, OrderList

DAY_MS = 86_400_000
ONLY_NEW, ONLY_PARTIAL = "ONLY_NEW", "ONLY_PARTIALLY_FILLED"


def place(call: Call) -> Answer:
    """POST order."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    new = checks.order(book, call.params)
    if isinstance(new, Refusal):
        return new
    usual = "FULL" if new.type in ("LIMIT", "MARKET") else "ACK"
    response = checks.response_type(call.params, usual)
    if isinstance(response, Refusal):
        return response
    world = side_of(call).world
    made = entry.place(world, account_of(call), book.pair, new, call.now_ms)
    if isinstance(made, Refusal):
        return made
    return views.placed_row(world, made, response, call.now_ms)


def test(call: Call) -> Answer:
    """POST order/test."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    new = checks.order(book, call.params)
    return new if isinstance(new, Refusal) else {}


def _found(call: Call, missing: Refusal, id_names: tuple[str, ...]) -> Order | Refusal:
    """The order that a request names; of one client id the open order, else the newest."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    order_id = checks.order_id(call.params)
    if isinstance(order_id, Refusal):
        return order_id
    account = account_of(call)
    name = next((call.params[one] for one in id_names if call.params.get(one)), "")
    if order_id is None and not name:
        return no.either("origClientOrderId", "orderId")
    if order_id is not None:
        order = account.orders.get(order_id)
        if order is not None and name and order.client_id != name:
            order = None
    else:
        order = account.client_ids.get(name) or account.last_by_client_id.get(name)
    if order is None or order.pair != book.pair.index:
        return missing
    return order


def query(call: Call) -> Answer:
    """GET order."""
    order = _found(call, no.NO_ORDER, ("origClientOrderId",))
    return order if isinstance(order, Refusal) else views.order_row(call.server.spot.world, order)


def cancel(call: Call) -> Answer:
    """DELETE order. Of a list: all of it ends."""
    order = _found(call, no.UNKNOWN_ORDER, ("origClientOrderId",))
    if isinstance(order, Refusal):
        return order
    cancel_id = checks.client_id(call.params, "newClientOrderId")
    if isinstance(cancel_id, Refusal):
        return cancel_id
    if not order.is_open:
        return no.UNKNOWN_ORDER
    only = call.params.get("cancelRestrictions", "")
    if only not in ("", ONLY_NEW, ONLY_PARTIAL):
        return Refusal(-1145, "`cancelRestrictions` has to be either `ONLY_NEW` or `ONLY_PARTIALLY_FILLED`.")
    if only and order.status != ("NEW" if only == ONLY_NEW else "PARTIALLY_FILLED"):
        return Refusal(-2011, "Order was not canceled due to cancel restrictions.")
    world = call.server.spot.world
    cancel_id = cancel_id or world.made_client_id()
    entry.cancel(world, order, call.now_ms, cancel_id)
    if order.list is not None:
        return views.canceled_list(world, order.list, cancel_id, call.now_ms)
    return views.canceled_row(world, order, cancel_id, call.now_ms)


def cancel_all(call: Call) -> Answer:
    """DELETE openOrders of a symbol."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    account, world = account_of(call), call.server.spot.world
    alive = [order for order in account.open.values() if order.pair == book.pair.index]
    if not alive:
        return no.UNKNOWN_ORDER
    rows = []
    for order in alive:
        if not order.is_open:
            continue
        cancel_id = world.made_client_id()
        entry.cancel(world, order, call.now_ms, cancel_id)
        of = order.list
        rows.append(
            views.canceled_row(world, order, cancel_id, call.now_ms)
            if of is None
            else views.canceled_list(world, of, cancel_id, call.now_ms)
        )
    return rows


def open_orders(call: Call) -> Answer:
    """GET openOrders."""
    wanted: Book | None = None
    if call.params.get("symbol"):
        book = book_of(call)
        if isinstance(book, Refusal):
            return book
        wanted = book
    world = side_of(call).world
    return [
        views.order_row(world, order)
        for order in account_of(call).open.values()
        if wanted is None or order.pair == wanted.pair.index
    ]


def all_orders(call: Call) -> Answer:
    """GET allOrders: from an id or a time on, else the newest; oldest first."""
    book, limit = book_of(call), limit_of(call.params)
    if isinstance(book, Refusal) or isinstance(limit, Refusal):
        return book if isinstance(book, Refusal) else limit
    first, span = checks.order_id(call.params), span_of(call)
    if isinstance(first, Refusal) or isinstance(span, Refusal):
        return first if isinstance(first, Refusal) else span
    start_ms, end_ms = span
    rows = [
        order
        for order in account_of(call).orders.values()
        if order.pair == book.pair.index
        and (first is None or order.id >= first)
        and (first is not None or start_ms <= order.created_ms <= end_ms)
    ]
    from_start = first is not None or bool(call.params.get("startTime"))
    chosen = rows[:limit] if from_start else rows[-limit:]
    return [views.order_row(call.server.spot.world, order) for order in chosen]


def span_of(call: Call) -> tuple[int, int] | Refusal:
    """startTime to endTime, at most 24 hours apart where both are sent."""
    start, end = time_of(call.params, "startTime"), time_of(call.params, "endTime")
    if isinstance(start, Refusal) or isinstance(end, Refusal):
        return start if isinstance(start, Refusal) else end  # type: ignore[return-value]  # one of them is
    if start is not None and end is not None:
        if start > end:
            return no.START_AFTER_END
        if end - start > DAY_MS:
            return spot_no.TOO_MANY_HOURS
    return start or 0, call.now_ms if end is None else end


def _list_placer(checked: Callable[[Book, Call], NewList | Refusal]) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        book = book_of(call)
        if isinstance(book, Refusal):
            return book
        new = checked(book, call)
        if isinstance(new, Refusal):
            return new
        response = checks.response_type(call.params, "RESULT")
        if isinstance(response, Refusal):
            return response
        world = call.server.spot.world
        made = entry.place_list(world, account_of(call), book.pair, new, call.now_ms)
        return made if isinstance(made, Refusal) else views.placed_list(world, made, response, call.now_ms)

    return answer


def _triggering(*, pays: bool, pair_of: bool) -> Callable[[Call], Answer]:
    return _list_placer(lambda book, call: checks.oto(book, call.params, pays=pays, pair_of=pair_of))


def _list(call: Call, name: str, missing: Refusal) -> OrderList | Refusal:
    """The list that a request names; of one client id the open list, else the newest."""
    account, text = account_of(call), call.params.get("orderListId", "")
    named = call.params.get(name, "")
    if not text and not named:
        return no.either(name, "orderListId")
    if text:
        list_id = integer(text)
        if list_id is None:
            return no.mandatory("orderListId")
        one = account.lists.get(list_id)
    else:
        alive = [one for one in account.open_lists.values() if one.client_id == named]
        one = alive[0] if alive else account.last_list_by_client_id.get(named)
    return missing if one is None else one


def query_list(call: Call) -> Answer:
    """GET orderList."""
    side_of(call)
    one = _list(call, "origClientOrderId", spot_no.NO_LIST)
    return one if isinstance(one, Refusal) else views.list_row(call.server.spot.world, one)


def cancel_list(call: Call) -> Answer:
    """DELETE orderList."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    one = _list(call, "listClientOrderId", no.UNKNOWN_ORDER)
    if isinstance(one, Refusal):
        return one
    if one.pair != book.pair.index:
        return no.UNKNOWN_ORDER
    cancel_id = checks.client_id(call.params, "newClientOrderId")
    if isinstance(cancel_id, Refusal):
        return cancel_id
    world = call.server.spot.world
    cancel_id = cancel_id or world.made_client_id()
    refused = entry.cancel_list(world, one, call.now_ms, cancel_id)
    return refused or views.canceled_list(world, one, cancel_id, call.now_ms)


def all_lists(call: Call) -> Answer:
    """GET allOrderList: from an id or a time on, else the newest; oldest first."""
    side_of(call)
    limit, span = limit_of(call.params), span_of(call)
    if isinstance(limit, Refusal) or isinstance(span, Refusal):
        return limit if isinstance(limit, Refusal) else span
    first = integer(call.params.get("fromId", ""))
    if call.params.get("fromId") and first is None:
        return no.mandatory("fromId")
    if first is not None and (call.params.get("startTime") or call.params.get("endTime")):
        return no.BAD_COMBINATION
    rows = [
        one
        for one in account_of(call).lists.values()
        if (one.id >= first if first is not None else span[0] <= one.created_ms <= span[1])
    ]
    from_start = first is not None or bool(call.params.get("startTime"))
    chosen = rows[:limit] if from_start else rows[-limit:]
    return [views.list_row(call.server.spot.world, one) for one in chosen]


def open_lists(call: Call) -> Answer:
    """GET openOrderList."""
    world = side_of(call).world
    return [views.list_row(world, one) for one in account_of(call).open_lists.values()]


_V3 = "/api/v3"
TABLE: Table = {
    ("POST", f"{_V3}/order"): endpoint(place, "SIGNED", 1, 1),
    ("POST", f"{_V3}/order/test"): endpoint(test, "SIGNED", 1),
    ("GET", f"{_V3}/order"): endpoint(query, "SIGNED", 4),
    ("DELETE", f"{_V3}/order"): endpoint(cancel, "SIGNED", 1),
    ("GET", f"{_V3}/openOrders"): endpoint(open_orders, "SIGNED", by_symbol(6, 80)),
    ("DELETE", f"{_V3}/openOrders"): endpoint(cancel_all, "SIGNED", 1),
    ("GET", f"{_V3}/allOrders"): endpoint(all_orders, "SIGNED", 20),
    ("POST", f"{_V3}/orderList/oco"): endpoint(
        _list_placer(lambda book, call: checks.oco(book, call.params)), "SIGNED", 1, 2
    ),
    ("POST", f"{_V3}/orderList/oto"): endpoint(_triggering(pays=False, pair_of=False), "SIGNED", 1, 2),
    ("POST", f"{_V3}/orderList/otoco"): endpoint(_triggering(pays=False, pair_of=True), "SIGNED", 1, 3),
    ("POST", f"{_V3}/orderList/opo"): endpoint(_triggering(pays=True, pair_of=False), "SIGNED", 1, 2),
    ("POST", f"{_V3}/orderList/opoco"): endpoint(_triggering(pays=True, pair_of=True), "SIGNED", 1, 3),
    ("GET", f"{_V3}/orderList"): endpoint(query_list, "SIGNED", 4),
    ("DELETE", f"{_V3}/orderList"): endpoint(cancel_list, "SIGNED", 1),
    ("GET", f"{_V3}/allOrderList"): endpoint(all_lists, "SIGNED", 20),
    ("GET", f"{_V3}/openOrderList"): endpoint(open_lists, "SIGNED", 6),
}
