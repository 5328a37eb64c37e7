"""One pair's market: the quotes around which it trades, the clients' resting orders, what has traded.

The quotes are the rest of the world. They stand as levels; what takers eat stays eaten until the next quote.
At equal prices the quotes are ahead of the clients, who could not have been first.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from perpdesk.exchange.core.depth import mixed
from perpdesk.exchange.spot.bars import Bars
from perpdesk.exchange.spot.orders import BUY, SELL, Order
from perpdesk.exchange.spot.pairs import E8, Pair

PRINTS_MAX = 1_000
LEVELS = 20


class Print(NamedTuple):
    """One public execution. buyer_maker: the buyer was resting."""

    id: int
    price_e8: int
    qty_e8: int
    quote_e8: int
    ms: int
    buyer_maker: bool


@dataclass(slots=True)
class Level:
    """What is left of a quote."""

    price_e8: int
    left_e8: int


@dataclass(slots=True)
class Book:
    """One pair's market. bids and asks: best first, then oldest first."""

    pair: Pair
    seed: int
    bids: list[Order] = field(default_factory=list)
    asks: list[Order] = field(default_factory=list)
    conditional: list[Order] = field(default_factory=list)
    quoted: dict[int, list[Level]] = field(default_factory=dict)
    laid: tuple[int, int] | None = None
    last_e8: int = 0
    quoted_ms: int = 0
    quotes: int = 0
    trade_id: int = 0
    prints: deque[Print] = field(default_factory=lambda: deque(maxlen=PRINTS_MAX))
    bars: Bars = field(default_factory=Bars)

    # -- quotes ------------------------------------------------------------------------------

    def levels(self, taker_side: int) -> list[Level]:
        """The quotes that a taker of this side meets, best first."""
        found = self.quoted.get(taker_side)
        if found is None:
            found = self.quoted[taker_side] = (
                [] if self.laid is None else self._ladder(taker_side, *self.laid)
            )
        return found

    def quote(self, bids: list[Level], asks: list[Level]) -> None:
        """New quotes replace the old ones."""
        self.quoted = {BUY: asks, SELL: bids}
        self.quotes += 1

    def lay(self, centre_e8: int, level_e8: int) -> None:
        """Quotes on every tick around a price, each worth about ``level_e8``, sizes from the seed. They are
        made when somebody looks."""
        self.laid = centre_e8, level_e8
        self.quoted = {}
        self.quotes += 1

    def _ladder(self, taker_side: int, centre_e8: int, level_e8: int) -> list[Level]:
        tick = self.pair.tick_e8
        price = max(tick, centre_e8 // tick * tick) + (tick if taker_side == BUY else 0)
        found = []
        lot = self.pair.step_e8
        for _ in range(LEVELS):
            if price <= 0:
                break
            usual = level_e8 * E8 // price
            draw = mixed(self.seed, self.pair.index, price, self.quotes) & 1023
            size = usual * (512 + draw) // 1024 // lot * lot
            found.append(Level(price, max(lot, size)))
            price += taker_side * tick
        return found

    def best_quote(self, taker_side: int) -> Level | None:
        """The best quote with something left."""
        return next((one for one in self.levels(taker_side) if one.left_e8 > 0), None)

    # -- resting orders ----------------------------------------------------------------------

    def resting(self, side: int) -> list[Order]:
        """The clients' orders of a side, best first."""
        return self.bids if side == BUY else self.asks

    def insert(self, order: Order) -> None:
        """Behind its equals."""
        side = order.side
        insort(self.resting(side), order, key=lambda one: -side * one.price_e8)

    def remove(self, order: Order) -> None:
        """Take an order out, wherever it waits."""
        if order.on_book:
            self.resting(order.side).remove(order)
            order.on_book = False
        elif order in self.conditional:
            self.conditional.remove(order)

    def best(self, taker_side: int) -> int:
        """The best price that a taker of this side would meet now; 0: nothing is there."""
        level, resting = self.best_quote(taker_side), self.resting(-taker_side)
        prices = [level.price_e8] if level is not None else []
        prices += [resting[0].price_e8] if resting else []
        if not prices:
            return 0
        return min(prices) if taker_side == BUY else max(prices)

    def cost_e8(self, taker_side: int, qty_e8: int) -> int:
        """What so much costs (or brings) at market now, as far as there is anybody; rounded up."""
        total = 0
        for price, size in self.met(taker_side):
            part = min(size, qty_e8)
            total += -(-price * part // E8)
            qty_e8 -= part
            if qty_e8 == 0:
                break
        return total

    def qty_for_e8(self, taker_side: int, quote_e8: int) -> int:
        """How much so much quote buys (or needs) at market now, in whole steps."""
        found, step = 0, self.pair.step_e8
        for price, size in self.met(taker_side):
            worth = -(-price * size // E8)
            if worth > quote_e8:
                found += quote_e8 * E8 // price
                break
            found += size
            quote_e8 -= worth
        return found // step * step

    def met(self, taker_side: int) -> Iterator[tuple[int, int]]:
        """(price, quantity) that a taker meets, best first."""
        rows = [(level.price_e8, level.left_e8) for level in self.levels(taker_side) if level.left_e8 > 0]
        rows += [(order.price_e8, order.left_e8) for order in self.resting(-taker_side)]
        rows.sort(key=lambda row: row[0] * taker_side)
        return iter(rows)

    # -- what everybody sees -----------------------------------------------------------------

    def shown(self, taker_side: int, count: int) -> list[tuple[int, int]]:
        """(price, quantity) on one side. A client's order that waits for a quote of its own price to be
        passed is left out: a book that is locked with itself is nobody's picture of a market."""
        sizes: dict[int, int] = {}
        for level in self.levels(taker_side):
            if level.left_e8 > 0:
                sizes[level.price_e8] = sizes.get(level.price_e8, 0) + level.left_e8
        other = self.best_quote(-taker_side)
        for order in self.resting(-taker_side):
            if other is not None and (order.price_e8 - other.price_e8) * taker_side <= 0:
                continue
            sizes[order.price_e8] = sizes.get(order.price_e8, 0) + order.left_e8
        ordered = sorted(sizes, reverse=taker_side == SELL)[:count]
        return [(price, sizes[price]) for price in ordered]

    def ticker(self) -> tuple[int, int, int, int]:
        """(bid, its size, ask, its size); 0 where nobody is."""
        bid = (self.shown(SELL, 1) or [(0, 0)])[0]
        ask = (self.shown(BUY, 1) or [(0, 0)])[0]
        return (*bid, *ask)

    def traded(self, price_e8: int, qty_e8: int, quote_e8: int, ms: int, buyer_maker: bool) -> int:
        """Note one execution; gives its id."""
        self.trade_id += 1
        self.prints.append(Print(self.trade_id, price_e8, qty_e8, quote_e8, ms, buyer_maker))
        self.last_e8 = price_e8
        self.bars.see(price_e8, qty_e8, quote_e8, ms, not buyer_maker)
        return self.trade_id
