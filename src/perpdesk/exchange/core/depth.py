"""The synthetic order book: seeded sizes on every tick around the market price.

A level's size depends on the seed, the contract, the price and the number of the market's tick, so the
same run shows the same book. What takers have eaten stays eaten until the market moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.orders import BUY

_MASK = (1 << 64) - 1


def mixed(*words: int) -> int:
    """64 well-mixed bits of some integers."""
    state = 0x9E3779B97F4A7C15
    for word in words:
        state = (state ^ (word & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state ^= state >> 29
        state = state * 0x94D049BB133111EB & _MASK
        state ^= state >> 32
    return state


@dataclass(slots=True)
class Depth:
    """One contract's synthetic levels. ``level_e8``: the usual notional on one level."""

    contract: Contract
    seed: int
    level_e8: int
    levels_max: int
    centre: int = 0
    tick_number: int = 0
    eaten: dict[int, int] = field(default_factory=dict)
    overrides: dict[int, int] | None = None
    sizes: dict[int, int] = field(default_factory=dict)  # drawn since the market last moved

    def move(self, centre: int) -> None:
        """A new market price: the book is laid anew around it."""
        self.centre = centre
        self.tick_number += 1
        self.eaten.clear()
        self.sizes.clear()

    def best(self, taker_side: int) -> int:
        """The best synthetic price that a taker of this side meets."""
        bid = max(self.contract.tick, self.centre // self.contract.tick * self.contract.tick)
        return bid + self.contract.tick if taker_side == BUY else bid

    def lots_at(self, price: int) -> int:
        """What is left at a price."""
        if self.overrides is not None:
            size = self.overrides.get(price, 0)
        else:
            size = self.sizes.get(price, 0)
            if size == 0:
                usual = max(1, self.level_e8 // max(1, price * self.contract.unit_e8))
                draw = mixed(self.seed, self.contract.index, price, self.tick_number) & 1023
                size = self.sizes[price] = max(1, usual * (512 + draw) // 1024)
        return max(0, size - self.eaten.get(price, 0))

    def eat(self, price: int, lots: int) -> None:
        """A taker took so many lots at a price."""
        self.eaten[price] = self.eaten.get(price, 0) + lots

    def levels(self, taker_side: int) -> Iterator[tuple[int, int]]:
        """(price, lots) that a taker of this side meets, best first; empty levels are left out."""
        if self.centre <= 0:
            return
        if self.overrides is not None:
            edge = self.best(taker_side)
            for price in sorted(self.overrides, reverse=taker_side != BUY):
                if (price - edge) * taker_side >= 0 and self.lots_at(price) > 0:
                    yield price, self.lots_at(price)
            return
        price = self.best(taker_side)
        for _ in range(self.levels_max):
            if not self.contract.price_min <= price <= self.contract.price_max:
                return
            lots = self.lots_at(price)
            if lots > 0:
                yield price, lots
            price += taker_side * self.contract.tick
