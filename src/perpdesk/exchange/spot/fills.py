"""What one execution moves: assets, commissions, and what stays locked. Exact to the last 1e-8."""

from __future__ import annotations

from perpdesk.exchange.spot.orders import BUY, Fill, Order
from perpdesk.exchange.spot.pairs import E8, PPM, Pair
from perpdesk.exchange.spot.wallets import Account
from perpdesk.exchange.spot.world import SpotWorld

HOUSE = -1


def quote_of(price_e8: int, qty_e8: int) -> int:
    """Quote of an execution: cut to eight places."""
    return price_e8 * qty_e8 // E8


def lock_of(price_e8: int, qty_e8: int) -> int:
    """What a BUY has to hold: never less than its executions can cost together."""
    return -(-price_e8 * qty_e8 // E8)


def commission_of(amount_e8: int, ppm: int) -> int:
    """A fee on what was received, rounded half up to eight places."""
    return (amount_e8 * ppm + PPM // 2) // PPM


def held_asset(pair: Pair, order: Order) -> str:
    """What an order locks: quote for a BUY, base for a SELL."""
    return pair.quote if order.side == BUY else pair.base


def release(world: SpotWorld, order: Order) -> None:
    """Everything that an ended order still holds becomes free."""
    if order.locked_e8:
        world.accounts[order.account].lock(held_asset(world.pair(order), order), -order.locked_e8)
        order.locked_e8 = 0


def execute(
    world: SpotWorld,
    order: Order,
    price_e8: int,
    qty_e8: int,
    *,
    trade_id: int,
    is_maker: bool,
    against: int,
    now_ms: int,
) -> Fill:
    """Book one execution of one order, with its report. The other side is booked by another call."""
    pair, account = world.pair(order), world.accounts[order.account]
    quote = quote_of(price_e8, qty_e8)
    ppm = pair.maker_ppm if is_maker else pair.taker_ppm
    order.filled_e8 += qty_e8
    order.quote_e8 += quote
    if order.side == BUY:
        commission, asset = commission_of(qty_e8, ppm), pair.base
        _pay(account, order, pair.quote, quote, _still_needed(order, quote))
        _receive_base(account, order, pair, qty_e8, commission)
    else:
        commission, asset = commission_of(quote, ppm), pair.quote
        _pay(account, order, pair.base, qty_e8, order.left_e8)
        account.add(pair.quote, quote - commission)
    world.fees[asset] = world.fees.get(asset, 0) + commission
    if against == HOUSE:
        sign = order.side
        world.house[pair.quote] = world.house.get(pair.quote, 0) + sign * quote
        world.house[pair.base] = world.house.get(pair.base, 0) - sign * qty_e8
    order.status = "FILLED" if order.left_e8 == 0 else "PARTIALLY_FILLED"
    fill = Fill(trade_id, order, price_e8, qty_e8, quote, commission, asset, is_maker, now_ms, against)
    account.fills.append(fill)
    if pair.is_alpha:
        world.counters.count(pair, fill)
    return fill


def _still_needed(order: Order, quote: int) -> int:
    """What a BUY keeps locked after paying."""
    if order.left_e8 == 0:
        return 0
    if order.price_e8:
        return lock_of(order.price_e8, order.left_e8)
    return order.locked_e8 - quote


def _pay(account: Account, order: Order, asset: str, amount: int, keeps: int) -> None:
    account.add_locked(asset, -amount)
    order.locked_e8 -= amount
    if order.locked_e8 > keeps:
        account.lock(asset, keeps - order.locked_e8)
        order.locked_e8 = keeps


def _receive_base(account: Account, order: Order, pair: Pair, qty: int, commission: int) -> None:
    """To the account, or, where the list pays its pending order with it, into the list's keeping."""
    of = order.list
    if of is None or not of.pays or order is not of.working:
        account.add(pair.base, qty - commission)
        return
    if pair.pays_from_free and commission and account.has(pair.base, commission):
        account.add(pair.base, -commission)
        commission = 0
    of.received_e8 += qty - commission
    account.add_locked(pair.base, qty - commission)
