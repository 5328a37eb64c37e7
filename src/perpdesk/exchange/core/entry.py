"""Place, test, amend and cancel ordinary orders. Answers are Orders or Refusals; nothing half done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perpdesk.exchange.core import checks, events, matching, settling, views
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.checks import Draft, Params
from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.depth import mixed
from perpdesk.exchange.core.numbers import flag, integer, short
from perpdesk.exchange.core.orders import GTC_LIFE_MS, SIDES, Conditional, Order
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import World

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_AUTO_ID_LENGTH = 22
_AMENDMENTS_MAX = 10_000
STP_SINGLE, STP_BATCH = "EXPIRE_MAKER", "NONE"


def auto_client_id(seed: int, number: int) -> str:
    """The id that the exchange gives: 22 characters, the same for the same run."""
    out, word = [], 0
    for i in range(_AUTO_ID_LENGTH):
        if i % 8 == 0:
            word = mixed(seed, number, i)
        word, digit = divmod(word, 62)
        out.append(_BASE62[digit])
    return "".join(out)


def place(
    world: World, account: Account, params: Params, now_ms: int, default_stp: str = STP_SINGLE
) -> dict[str, Any] | Refusal:
    """A new LIMIT or MARKET order; the answer is its ACK or RESULT."""
    draft = checks.draft(world, account, params, now_ms, default_stp)
    if isinstance(draft, Refusal):
        return draft
    order = accept(world, account, draft, now_ms)
    final = draft.type == "MARKET" or draft.tif in ("IOC", "FOK")
    answer = views.ack(world, order)
    matching.execute(world, order, now_ms)
    if draft.response == "RESULT" and (final or order.filled):
        answer = views.ack(world, order)
    return answer


def test(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """The same checks, nothing booked."""
    draft = checks.draft(world, account, params, now_ms, STP_SINGLE)
    if isinstance(draft, Refusal):
        return draft
    return views.tested(world, draft, draft.client_id or auto_client_id(world.rules.seed, 0), now_ms)


def accept(
    world: World, account: Account, draft: Draft, now_ms: int, algo: Conditional | None = None
) -> Order:
    """Give it an id, tell the user NEW. The book has not seen it yet."""
    order_id = world.next_order_id()
    order = Order(
        id=order_id,
        account=account.index,
        contract=draft.contract.index,
        client_id=draft.client_id or auto_client_id(world.rules.seed, order_id),
        side=draft.side,
        position_side=draft.position_side,
        type=draft.type,
        tif=draft.tif,
        price=draft.price,
        lots=draft.lots,
        reduce_only=draft.reduce_only,
        closes=draft.closes,
        stp=draft.stp,
        price_match=draft.price_match,
        good_till_ms=draft.good_till_ms,
        created_ms=now_ms,
        updated_ms=now_ms,
        seq=world.next_seq(),
        original_type=draft.type,
    )
    if algo is not None:
        order.algo = algo.id
        order.original_type = algo.type
        order.trigger = algo.trigger
        order.working_type = algo.working_type
        order.price_protect = algo.price_protect
        order.close_position = algo.close_position
        order.activation = algo.activation
        order.callback = short(algo.callback_ppm, 4) if algo.callback_ppm else ""
        algo.child = order.id
    account.orders[order.id] = order
    account.open_orders[order.id] = order
    account.remind(order.good_till_ms or now_ms + GTC_LIFE_MS)
    account.open_client_ids[order.client_id] = order
    account.by_client_id[order.contract, order.client_id] = order
    events.order_update(world, order, "NEW", now_ms)
    if order.reduce_only:
        _make_room(world, account, order, now_ms)
    return order


def _make_room(world: World, account: Account, order: Order, now_ms: int) -> None:
    """Reduce-only orders behind a new one lose what the position no longer has for them."""
    if world.walks is not None:
        return
    room = settling.closable(account, order.contract, order.position_side, order.side) - order.lots
    behind = [
        other
        for other in account.open_orders.values()
        if other is not order
        and (other.contract, other.position_side, other.side)
        == (order.contract, order.position_side, order.side)
        and other.reduce_only
    ]
    behind.sort(key=lambda one: (-one.side * one.price, one.seq))
    for other in behind:
        if other.left > room:
            settling.end_order(world, other, "EXPIRED", "EXPIRED", 4, now_ms)
        else:
            room -= other.left


def find(account: Account, contract: Contract, params: Params) -> Order | Refusal | None:
    """The order that orderId or origClientOrderId names; None: there is none."""
    order_id, client_id = params.get("orderId", ""), params.get("origClientOrderId", "")
    if not order_id and not client_id:
        return no.either("origClientOrderId", "orderId")
    if order_id:
        number = integer(order_id)
        if number is None:
            return no.mandatory("orderId")
        order = account.orders.get(number)
    else:
        order = account.open_client_ids.get(client_id)
        if order is None or order.contract != contract.index:
            order = account.by_client_id.get((contract.index, client_id))
    return order if order is not None and order.contract == contract.index else None


def cancel(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """Cancel one open order."""
    contract = checks.contract_of(world, params)
    if isinstance(contract, Refusal):
        return contract
    order = find(account, contract, params)
    if isinstance(order, Refusal):
        return order
    if order is None or not order.is_open:
        return no.UNKNOWN_ORDER
    settling.end_order(world, order, "CANCELED", "CANCELED", 0, now_ms)
    return views.ack(world, order)


def cancel_all(world: World, account: Account, contract: Contract, now_ms: int) -> int:
    """Cancel a symbol's ordinary orders; returns how many."""
    found = [order for order in account.open_orders.values() if order.contract == contract.index]
    for order in found:
        if order.is_open:
            settling.end_order(world, order, "CANCELED", "CANCELED", 0, now_ms)
    return len(found)


def amend(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """New price and quantity for an open LIMIT order; it goes to the end of its queue."""
    contract = checks.contract_of(world, params)
    if isinstance(contract, Refusal):
        return contract
    for name in ("side", "quantity"):
        if not params.get(name):
            return no.mandatory(name)
    if SIDES.get(params["side"]) is None:
        return no.BAD_SIDE
    order = find(account, contract, params)
    if isinstance(order, Refusal):
        return order
    if order is None or not order.is_open:
        return no.NO_ORDER
    new = _amended(world, contract, order, params)
    if isinstance(new, Refusal):
        return new
    price, lots = new
    refusal = _amend_refusal(world, account, contract, order, price, lots)
    if refusal is not None:
        return refusal
    _rewrite(world, order, contract, price, lots, params, now_ms)
    return {**views.ack(world, order), "pair": contract.symbol, "modifyId": order.modify_id}


def _amended(world: World, contract: Contract, order: Order, params: Params) -> tuple[int, int] | Refusal:
    if order.type != "LIMIT":
        return no.AMEND_LIMIT_ONLY
    if contract.status != "TRADING":
        return no.AMEND_SYMBOL
    if SIDES[params["side"]] != order.side:
        return no.BAD_SIDE
    if flag(params.get("reduceOnly", "")) and not order.reduce_only:
        return no.AMEND_REDUCE_ONLY
    if len(order.amendments) >= _AMENDMENTS_MAX:
        return no.AMEND_TOO_OFTEN
    lots = checks.lots(contract, params["quantity"], False)
    if isinstance(lots, Refusal):
        return lots
    matched = params.get("priceMatch", "") or "NONE"
    if matched != "NONE":
        if params.get("price"):
            return no.BAD_COMBINATION
        price: int | Refusal = checks.matched_price(world, contract, order.side, matched)
    elif params.get("price"):
        price = checks.price(contract, params["price"])
    else:
        return no.mandatory("price")
    return price if isinstance(price, Refusal) else (price, lots)


def _amend_refusal(
    world: World, account: Account, contract: Contract, order: Order, price: int, lots: int
) -> Refusal | None:
    if (price, lots) == (order.price, order.lots):
        return no.AMEND_SAME
    wrong = checks.percent_price(world, contract, order.side, price)
    if wrong is not None:
        return wrong
    if lots <= order.filled:
        return None
    if order.reduce_only or order.closes:
        room = settling.closable(account, order.contract, order.position_side, order.side)
        return no.REDUCE_ONLY if lots - order.filled > room else None
    if contract.notional_e8(price, lots) < contract.notional_min_e8:
        return no.amend_notional_too_small(short(contract.notional_min_e8, 8))
    draft = Draft(
        contract, order.side, order.position_side, "LIMIT", order.tif, price, lots - order.filled,
        False, False, "", order.stp, "NONE", 0, "ACK",
    )  # fmt: skip
    del account.open_orders[order.id]
    try:
        return checks.affordable(world, account, draft)
    finally:
        account.open_orders[order.id] = order
        account.open_orders = dict(sorted(account.open_orders.items()))


def _rewrite(
    world: World, order: Order, contract: Contract, price: int, lots: int, params: Params, now_ms: int
) -> None:
    market = world.markets[contract.index]
    order.modify_id = integer(params.get("modifyId", "")) or 0
    best = market.best(order.side)
    crosses = bool(best) and (best - price) * order.side <= 0
    if lots <= order.filled or (order.tif == "GTX" and crosses):
        settling.end_order(world, order, "CANCELED", "CANCELED", 0, now_ms)
        return
    order.amendments.append(
        {
            "id": world.next_seq(),
            "time": now_ms,
            "price": (order.price, price),
            "lots": (order.lots, lots),
            "modify_id": order.modify_id,
        }
    )
    market.withdraw(order)
    order.price, order.lots = price, lots
    order.seq = world.next_seq()
    order.stp = "NONE"
    order.updated_ms = now_ms
    market.update_id += 1
    events.order_update(world, order, "AMENDMENT", now_ms)
    matching.execute(world, order, now_ms)


def batch(
    items: list[dict[str, str]], one: Callable[[dict[str, str]], dict[str, Any] | Refusal]
) -> list[dict[str, Any]] | Refusal:
    """Up to five at once, each answered at its place."""
    if not 1 <= len(items) <= 5:
        return no.BATCH_SIZE
    answers = []
    for item in items:
        answer = one(item)
        answers.append(answer.body() if isinstance(answer, Refusal) else answer)
    return answers
