"""Placing and taking back: funds are locked before anything lives, and a refusal has changed nothing."""

from __future__ import annotations

from perpdesk.exchange.core.refusals import UNKNOWN_ORDER, Refusal
from perpdesk.exchange.spot import fills, lists, matching
from perpdesk.exchange.spot import refusals as no
from perpdesk.exchange.spot.orders import CONDITIONAL, NewList, NewOrder, Order, OrderList
from perpdesk.exchange.spot.pairs import Pair
from perpdesk.exchange.spot.wallets import Account
from perpdesk.exchange.spot.world import SpotWorld


def place(world: SpotWorld, account: Account, pair: Pair, new: NewOrder, now_ms: int) -> Order | Refusal:
    """One order by itself. A Refusal has changed nothing."""
    world.now_ms = max(world.now_ms, now_ms)
    refused = _room(account, pair, (new,), lists_more=0) or _stands(world, pair, new)
    if refused is not None:
        return refused
    if new.quote_qty_e8:
        new.qty_e8 = world.books[pair.index].qty_for_e8(new.side, new.quote_qty_e8)
        if new.qty_e8 < pair.qty_floor_e8:
            return no.rejected("Order book liquidity is less than `LOT_SIZE` filter minimum quantity.")
    order = _made(world, account, pair, new, now_ms)
    need = lists.need_of(world, order)
    asset = fills.held_asset(pair, order)
    if not account.has(asset, need):
        return no.BALANCE
    account.lock(asset, need)
    order.locked_e8 = need
    world.add(order)
    lists.go(world, order, now_ms)
    matching.settle(world, now_ms)
    return order


def place_list(
    world: SpotWorld, account: Account, pair: Pair, new: NewList, now_ms: int
) -> OrderList | Refusal:
    """A list: working order and pending ones, or a pair of alternatives. A Refusal has changed nothing.

    Only the working order locks funds; what the pending ones need is looked for when they go to the book.
    """
    world.now_ms = max(world.now_ms, now_ms)
    legs = (*([] if new.working is None else [new.working]), *new.pending)
    refused = _room(account, pair, legs, lists_more=1)
    if refused is None and any(one.client_id == new.client_id for one in account.open_lists.values()):
        refused = no.DUPLICATE if new.client_id else None
    first = new.pending if new.working is None else (new.working,)
    for leg in first:
        refused = refused or _stands(world, pair, leg)
    if refused is not None:
        return refused
    kind = "OCO" if new.working is None else "OTO"
    client_id = new.client_id or world.made_client_id()
    orders = [_made(world, account, pair, leg, now_ms) for leg in legs]
    working = None if new.working is None else orders[0]
    pending = orders if working is None else orders[1:]
    need = max(lists.need_of(world, order) for order in (pending if working is None else [working]))
    asset = fills.held_asset(pair, orders[0])
    if not account.has(asset, need):
        return no.BALANCE
    one = OrderList(
        world.next_list_id(), account.index, pair.index, kind, client_id, now_ms, working, pending
    )
    one.pays = new.pays
    for order in orders:
        order.list = one
        world.add(order)
    world.add_list(one)
    if working is None:
        lists.begin(world, one, now_ms)
        world.report_list(one, "EXEC_STARTED", "EXECUTING", now_ms)
    else:
        account.lock(asset, need)
        working.locked_e8 = need
        lists.go(world, working, now_ms)
        for order in pending:
            order.status = "PENDING_NEW"
            world.report(order, "NEW", now_ms)
        world.report_list(one, "EXEC_STARTED", "EXECUTING", now_ms)
    matching.settle(world, now_ms)
    return one


def cancel(world: SpotWorld, order: Order, now_ms: int, cancel_id: str = "") -> None:
    """Take one order back, and with it its list."""
    world.now_ms = max(world.now_ms, now_ms)
    lists.ended(world, order, "CANCELED", now_ms, cancel_id=cancel_id or world.made_client_id())
    matching.settle(world, now_ms)


def cancel_list(world: SpotWorld, one: OrderList, now_ms: int, cancel_id: str = "") -> Refusal | None:
    """Take a whole list back."""
    alive = next((order for order in one.orders if order.is_open), None)
    if alive is None:
        return UNKNOWN_ORDER
    cancel(world, alive, now_ms, cancel_id)
    return None


def _made(world: SpotWorld, account: Account, pair: Pair, new: NewOrder, now_ms: int) -> Order:
    return Order(
        world.next_order_id(),
        account.index,
        pair.index,
        new.side,
        new.type,
        new.tif,
        new.price_e8,
        new.qty_e8,
        new.stop_e8,
        new.quote_qty_e8,
        new.client_id or world.made_client_id(),
        new.stp,
        now_ms,
        now_ms,
    )


def _room(account: Account, pair: Pair, legs: tuple[NewOrder, ...], *, lists_more: int) -> Refusal | None:
    """Names that are free, and limits on how much may be open."""
    if pair.status != "TRADING":
        return no.CLOSED
    named = [leg.client_id for leg in legs if leg.client_id]
    if len(set(named)) < len(named) or any(name in account.client_ids for name in named):
        return no.DUPLICATE
    if len(account.open) + len(legs) > min(pair.orders_max, pair.conditional_max):
        mine = [order for order in account.open.values() if order.pair == pair.index]
        if len(mine) + len(legs) > pair.orders_max:
            return no.filter_failure("MAX_NUM_ORDERS")
        waiting = sum(order.type in CONDITIONAL for order in mine)
        more = sum(leg.type in CONDITIONAL for leg in legs)
        if more and waiting + more > pair.conditional_max:
            return no.filter_failure("MAX_NUM_ALGO_ORDERS")
    if lists_more and len(account.open_lists) >= pair.lists_max:
        mine_lists = sum(one.pair == pair.index for one in account.open_lists.values())
        if mine_lists + lists_more > pair.lists_max:
            return no.filter_failure("MAX_NUM_ORDER_LISTS")
    return None


def _stands(world: SpotWorld, pair: Pair, new: NewOrder) -> Refusal | None:
    """What the market says to an order that goes to the book now."""
    book = world.books[pair.index]
    if new.type == "LIMIT_MAKER" and lists.crosses(book, new.side, new.price_e8):
        return no.WOULD_TAKE
    if new.type in CONDITIONAL and lists.would_trigger(book, new.type, new.side, new.stop_e8):
        return no.WOULD_TRIGGER
    return None
