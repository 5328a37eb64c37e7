"""Price-time priority over client orders and the synthetic book, with self-trade prevention."""

from __future__ import annotations

from collections.abc import Iterator

from perpdesk.exchange.core import settling
from perpdesk.exchange.core.contracts import PPM
from perpdesk.exchange.core.orders import (
    BUY,
    ER_IOC,
    ER_IOC_SELF_TRADE,
    ER_MARKET,
    ER_REDUCE_ONLY,
    ER_SELF_TRADE,
    Order,
)
from perpdesk.exchange.core.world import Market, Print, World

_STP_TIFS = ("GTC", "IOC", "GTD")


def take_bound(market: Market, side: int) -> int:
    """The worst price a market order may trade at."""
    ppm = market.contract.take_bound_ppm
    return market.mark * (PPM + side * ppm) // PPM


def fillable(market: Market, side: int, limit: int, lots: int) -> bool:
    """Could so many lots trade at once within the limit? (Fill-or-kill may meet own orders too.)"""
    found = 0
    for price, here in market.depth.levels(side):
        if (price - limit) * side > 0 or found >= lots:
            break
        found += here
    for order in market.asks if side == BUY else market.bids:
        if (order.price - limit) * side > 0 or found >= lots:
            break
        found += order.left
    return found >= lots


def execute(world: World, order: Order, now_ms: int) -> None:
    """Match an accepted order; what is left rests or expires by its time in force."""
    if world.walks is not None:
        world.walks.enter(order, now_ms)
        return
    market = world.market_of(order)
    limit = order.price if order.type != "MARKET" else take_bound(market, order.side)
    self_traded = _cross(world, market, order, limit, now_ms)
    if not order.is_open:
        settling.finish_algo(world, order, now_ms)
        return
    if order.type == "MARKET":
        settling.end_order(
            world, order, "EXPIRED", "EXPIRED", ER_SELF_TRADE if self_traded else ER_MARKET, now_ms
        )
    elif order.tif in ("IOC", "FOK"):
        settling.end_order(world, order, "EXPIRED", "EXPIRED", ER_IOC, now_ms)
    elif order.is_open:
        market.rest(order)


def _cross(world: World, market: Market, order: Order, limit: int, now_ms: int) -> bool:
    """Trade until nothing matches; True: an own order stood in the way."""
    levels = market.depth.levels(order.side)
    level = next(levels, None)
    met_self = False
    while order.is_open and order.left > 0:
        maker = _resting(market, order)
        if level is None and maker is None:
            break
        by_maker = level is None or (maker is not None and (maker.price - level[0]) * order.side < 0)
        price = maker.price if by_maker and maker is not None else level[0] if level is not None else 0
        if (price - limit) * order.side > 0:
            break
        lots = _allowed(world, order)
        if lots == 0:
            settling.end_order(world, order, "EXPIRED", "EXPIRED", ER_REDUCE_ONLY, now_ms)
            break
        if by_maker and maker is not None:
            if _prevented(world, order, maker, now_ms):
                met_self = True
                continue
            room = _allowed(world, maker)
            if room == 0:
                settling.end_order(world, maker, "EXPIRED", "EXPIRED", ER_REDUCE_ONLY, now_ms)
                continue
            trade(world, market, order, maker, price, min(lots, room), now_ms)
        elif level is not None:
            lots = min(lots, level[1])
            market.depth.eat(price, lots)
            trade(world, market, order, None, price, lots, now_ms)
            level = _rest_of(levels, level, lots)
    return met_self


def _rest_of(levels: Iterator[tuple[int, int]], level: tuple[int, int], lots: int) -> tuple[int, int] | None:
    return (level[0], level[1] - lots) if lots < level[1] else next(levels, None)


def _resting(market: Market, order: Order) -> Order | None:
    side = market.asks if order.side == BUY else market.bids
    return side[0] if side else None


def _allowed(world: World, order: Order) -> int:
    """Lots it may trade now: all that is left, or what its position still has."""
    if not (order.reduce_only or order.closes):
        return order.left
    account = world.accounts[order.account]
    return min(order.left, settling.closable(account, order.contract, order.position_side, order.side))


def _prevented(world: World, taker: Order, maker: Order, now_ms: int) -> bool:
    """Would the account trade with itself? Then the taker's mode says who expires."""
    if taker.account != maker.account or taker.stp == "NONE":
        return False
    if taker.type != "MARKET" and taker.tif not in _STP_TIFS:
        return False
    if taker.stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
        settling.end_order(world, maker, "EXPIRED_IN_MATCH", "EXPIRED", ER_SELF_TRADE, now_ms)
    if taker.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
        reason = ER_IOC_SELF_TRADE if taker.tif == "IOC" else ER_SELF_TRADE
        settling.end_order(world, taker, "EXPIRED_IN_MATCH", "EXPIRED", reason, now_ms)
    return True


def trade(
    world: World, market: Market, taker: Order | None, maker: Order | None, price: int, lots: int, now_ms: int
) -> None:
    """One trade. The side that is None is the synthetic market."""
    market.trade_id += 1
    market.update_id += 1
    trade_id = market.trade_id
    one = taker if taker is not None else maker
    if one is None:
        return
    taker_side = taker.side if taker is not None else -one.side
    public = Print(trade_id, market.contract.index, price, lots, taker_side != BUY, now_ms)
    market.prints.append(public)
    world.prints.append(public)
    if taker is None or maker is None:
        world.house_lots[market.contract.index] -= one.side * lots
        world.house_cash_e8 += one.side * market.contract.notional_e8(price, lots)
    for order in (maker, taker):
        if order is not None:
            settling.book_fill(world, order, price, lots, trade_id, order is maker, now_ms)
    for order in (maker, taker):
        if order is not None:
            account = world.accounts[order.account]
            settling.tidy(world, account, order.contract, order.position_side, now_ms)
            if order is maker:
                settling.finish_algo(world, order, now_ms)
