"""The Alpha-like market: tokens with multipliers and a fee of 0.01 %, whose SELL the venue itself sizes.

In one process it is used as it is: ``AlphaMarket`` has no addresses, weights or signatures, and takes typed
orders. The server offers the same tokens as Spot pairs (lists by ``orderList/opo``).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perpdesk.exchange.core.depth import mixed
from perpdesk.exchange.spot import matching
from perpdesk.exchange.spot.book import Level
from perpdesk.exchange.spot.pairs import ALPHA_FEE_PPM, E8, PPM, Pair
from perpdesk.exchange.spot.world import SpotWorld

QUOTE = "USDT"
# A quote of no stated size is as deep as any order here.
UNLIMITED_E8 = 10**9 * E8
_TOKENS = (("KOGE", "ALPHA_22", "1", 4_800_000_000), ("AOP", "ALPHA_382", "4", 22_690_469))


def token(
    name: str, symbol: str, *, multiplier: str | None = "1", chain: str = "BSC", contract: str = "",
    tick_e8: int = 1, step_e8: int = 1_000_000, notional_min_e8: int = 5 * E8,
) -> Pair:  # fmt: skip
    """A token as a pair against USDT. symbol: as it is ordered, such as ALPHA_22USDT."""
    return Pair(
        0,
        symbol,
        symbol.removesuffix(QUOTE),
        QUOTE,
        tick_e8,
        step_e8,
        notional_min_e8=notional_min_e8,
        maker_ppm=ALPHA_FEE_PPM,
        taker_ppm=ALPHA_FEE_PPM,
        pays_from_free=False,
        is_alpha=True,
        token=name,
        chain=chain,
        contract=contract or _contract(symbol),
        multiplier=multiplier,
    )


def _contract(symbol: str) -> str:
    """An invented address, the same for the same symbol."""
    words = [mixed(i, *symbol.encode()) for i in range(3)]
    return "0x" + "".join(f"{word:016x}" for word in words)[:40]


def default_tokens() -> list[tuple[Pair, int]]:
    """KOGE with multiplier 1 and AOP with 4, each with a price to begin with (1e-8)."""
    return [(token(name, f"{alpha}{QUOTE}", multiplier=m), price) for name, alpha, m, price in _TOKENS]


@dataclass(frozen=True, slots=True)
class QuotePoint:
    """What the rest of the world says at one time. Sizes None: as deep as need be."""

    ms: int
    bid_e8: int
    ask_e8: int
    last_e8: int
    bid_qty_e8: int | None = None
    ask_qty_e8: int | None = None


def random_walk(
    seed: int, pair: Pair, start_e8: int, *, from_ms: int, step_ms: int, points: int, swing_ppm: int = 300
) -> Iterable[QuotePoint]:
    """A seeded path: each step moves the price by up to ``swing_ppm``; bid and ask are a tick apart."""
    price = start_e8
    for i in range(points):
        draw = mixed(seed, pair.index, i) % (2 * swing_ppm + 1) - swing_ppm
        price = max(2 * pair.tick_e8, price + price * draw // PPM) // pair.tick_e8 * pair.tick_e8
        yield QuotePoint(from_ms + i * step_ms, price, price + pair.tick_e8, price)


def quote(world: SpotWorld, pair: Pair, point: QuotePoint) -> None:
    """The market of a pair moves there."""
    bid_qty = UNLIMITED_E8 if point.bid_qty_e8 is None else point.bid_qty_e8
    ask_qty = UNLIMITED_E8 if point.ask_qty_e8 is None else point.ask_qty_e8
    bids, asks = [Level(point.bid_e8, bid_qty)], [Level(point.ask_e8, ask_qty)]
    matching.quoted(world, world.books[pair.index], bids, asks, point.last_e8, point.ms)


class Paths:
    """Price paths of many pairs, played in the order of their times."""

    def __init__(self, world: SpotWorld) -> None:
        self._world = world
        self._heap: list[tuple[int, int, QuotePoint, int]] = []
        self._paths: list[tuple[Pair, Sequence[QuotePoint]]] = []

    def add(self, pair: Pair, points: Iterable[QuotePoint]) -> None:
        """A path, in the order of its times."""
        listed = list(points)
        self._paths.append((pair, listed))
        if listed:
            heapq.heappush(self._heap, (listed[0].ms, len(self._paths) - 1, listed[0], 0))

    @property
    def next_ms(self) -> int | None:
        """When the next price comes; None: none will."""
        return self._heap[0][0] if self._heap else None

    def play(self, until_ms: int) -> int:
        """Let everything happen up to then; how many points that was."""
        played = 0
        while self._heap and self._heap[0][0] <= until_ms:
            _, path, point, i = heapq.heappop(self._heap)
            pair, points = self._paths[path]
            quote(self._world, pair, point)
            played += 1
            if i + 1 < len(points):
                heapq.heappush(self._heap, (points[i + 1].ms, path, points[i + 1], i + 1))
        return played
