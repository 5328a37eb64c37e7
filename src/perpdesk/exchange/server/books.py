"""The book that everybody sees: client orders and synthetic levels together."""

from __future__ import annotations

from perpdesk.exchange.core.orders import BUY
from perpdesk.exchange.core.world import Market

Levels = dict[int, int]


def book_levels(market: Market, taker_side: int, count: int) -> list[tuple[int, int]]:
    """(price, lots) that a taker of this side meets, best first, at most ``count`` levels."""
    found: Levels = {}
    resting = market.asks if taker_side == BUY else market.bids
    for order in resting:
        found[order.price] = found.get(order.price, 0) + order.left
    own = len(found)
    for i, (price, lots) in enumerate(market.depth.levels(taker_side)):
        if i >= count + own:
            break
        found[price] = found.get(price, 0) + lots
    ordered = sorted(found, reverse=taker_side != BUY)
    return [(price, found[price]) for price in ordered[:count]]
