"""How the orders of a list depend on each other, and how any order ends.

A pending order leaves PENDING_NEW when the working order is *fully* filled, never before. Alternatives (OCO
legs) share one lock; the first that trades or triggers takes it, and the others expire. Taking back any
order of a list takes back the list.
"""

from __future__ import annotations

from perpdesk.exchange.spot import fills
from perpdesk.exchange.spot.book import Book
from perpdesk.exchange.spot.orders import BUY, CONDITIONAL, PROFIT_TYPES, Order, OrderList
from perpdesk.exchange.spot.world import SpotWorld

POOR, TAKES, TRIGGERS, TOO_SMALL = (
    "INSUFFICIENT_BALANCES",
    "WOULD_MATCH_IMMEDIATELY",
    "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY",
    "NONE",
)


def crosses(book: Book, side: int, price_e8: int) -> bool:
    """Would an order of this side and price take something now?"""
    best = book.best(side)
    return best > 0 and (price_e8 - best) * side >= 0


def would_trigger(book: Book, order_type: str, side: int, stop_e8: int) -> bool:
    """Is a conditional order's level already reached by the last price?"""
    rises = (side == BUY) != (order_type in PROFIT_TYPES)
    return book.last_e8 > 0 and (book.last_e8 >= stop_e8 if rises else book.last_e8 <= stop_e8)


def need_of(world: SpotWorld, order: Order) -> int:
    """What an order has to lock: base of a SELL, quote of a BUY."""
    if order.side != BUY:
        return order.qty_e8
    price = order.price_e8 or order.stop_e8
    if price:
        return fills.lock_of(price, order.qty_e8)
    return order.quote_qty_e8 or world.book(order).cost_e8(BUY, order.qty_e8)


def ended(
    world: SpotWorld,
    order: Order,
    status: str,
    now_ms: int,
    *,
    happened: str = "",
    reason: str = "NONE",
    cancel_id: str = "",
) -> None:
    """An order is over without being filled, and what follows from it for its list."""
    _end(world, order, status, now_ms, happened or status, reason, cancel_id)
    one = order.list
    if one is None or one.is_done:
        return
    follows = status if status in ("CANCELED", "REJECTED") else "EXPIRED"
    for other in one.orders:
        if other.is_open:
            _end(world, other, follows, now_ms, follows, reason, cancel_id)
    finish(world, one, now_ms)


def _end(
    world: SpotWorld, order: Order, status: str, now_ms: int, happened: str, reason: str, cancel_id: str
) -> None:
    world.book(order).remove(order)
    fills.release(world, order)
    order.status = status
    world.close(order)
    world.report(order, happened, now_ms, reason=reason, cancel_id=cancel_id)


def claims(world: SpotWorld, order: Order, now_ms: int) -> None:
    """An alternative begins to trade: the lock of all is its own, the others expire."""
    one = order.list
    if one is None or order is one.working or len(one.pending) < 2:
        return
    order.locked_e8 += one.shared_e8
    one.shared_e8 = 0
    for other in one.pending:
        if other is not order and other.is_open:
            _end(world, other, "EXPIRED", now_ms, "EXPIRED", "NONE", "")


def traded(world: SpotWorld, order: Order, now_ms: int) -> None:
    """An order has traded, perhaps to its end."""
    one = order.list
    if one is None or order.status != "FILLED":
        return
    if order is one.working:
        _activate(world, one, now_ms)
    elif not any(other.is_open for other in one.orders):
        finish(world, one, now_ms)


def finish(world: SpotWorld, one: OrderList, now_ms: int) -> None:
    """Nothing of the list is left to happen: what it holds becomes free."""
    account, pair = world.accounts[one.account], world.pairs[one.pair]
    if one.received_e8:
        account.lock(pair.base, -one.received_e8)
        one.received_e8 = 0
    if one.shared_e8:
        asset = fills.held_asset(pair, one.pending[0])
        account.lock(asset, -one.shared_e8)
        one.shared_e8 = 0
    one.is_done = True
    account.open_lists.pop(one.id, None)
    world.report_list(one, "ALL_DONE", "ALL_DONE", now_ms)


def _activate(world: SpotWorld, one: OrderList, now_ms: int) -> None:
    """The working order is filled: the pending ones go to the book, or are rejected there."""
    account, pair = world.accounts[one.account], world.pairs[one.pair]
    if one.pays:
        qty = one.received_e8 // pair.step_e8 * pair.step_e8
        account.lock(pair.base, -one.received_e8)
        one.received_e8 = 0
        for order in one.pending:
            order.qty_e8 = qty
    one.is_active = True
    reason = _refused(world, one)
    if reason is not None:
        ended(world, one.pending[0], "REJECTED", now_ms, reason=reason)
        return
    begin(world, one, now_ms)


def begin(world: SpotWorld, one: OrderList, now_ms: int) -> None:
    """Lock what the pending orders need, and let them go."""
    account, pair = world.accounts[one.account], world.pairs[one.pair]
    need = max(need_of(world, order) for order in one.pending)
    account.lock(fills.held_asset(pair, one.pending[0]), need)
    if len(one.pending) > 1:
        one.shared_e8 = need
    else:
        one.pending[0].locked_e8 = need
    one.is_active = True
    # those that wait for a price first: the other may trade at once and end them
    for order in sorted(one.pending, key=lambda leg: leg.type not in CONDITIONAL):
        order.status = "NEW"
        go(world, order, now_ms)


def go(world: SpotWorld, order: Order, now_ms: int) -> None:
    """Tell that the order is there; it starts to work, or to wait for its price, right after."""
    if order.type in CONDITIONAL:
        world.book(order).conditional.append(order)
        world.report(order, "NEW", now_ms)
        return
    order.working_ms = now_ms
    order.on_book = False
    world.report(order, "NEW", now_ms)
    world.to_start.append(order)


def _refused(world: SpotWorld, one: OrderList) -> str | None:
    """Why the pending orders cannot go to the book, None if they can."""
    account, pair, book = world.accounts[one.account], world.pairs[one.pair], world.books[one.pair]
    for order in one.pending:
        if order.qty_e8 < pair.qty_floor_e8:
            return TOO_SMALL
        price = order.price_e8 or order.stop_e8 or book.last_e8
        if one.pays and fills.quote_of(price, order.qty_e8) < pair.notional_min_e8:
            return TOO_SMALL
        if order.type == "LIMIT_MAKER" and crosses(book, order.side, order.price_e8):
            return TAKES
        if order.type in CONDITIONAL and would_trigger(book, order.type, order.side, order.stop_e8):
            return TRIGGERS
    need = max(need_of(world, order) for order in one.pending)
    return None if account.has(fills.held_asset(pair, one.pending[0]), need) else POOR
