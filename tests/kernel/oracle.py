"""The fill rules again, written for the eye and not for speed: the price moves one unit at a time.

Independent of kernel.matching: plain Python, no events, no bands, no distances. One symbol, no guard.
"""

from __future__ import annotations

from dataclasses import dataclass

SECONDS = {1: 20, 2: 40, 3: 59.999}


@dataclass
class Order:
    name: str
    kind: str
    side: int
    lots: int
    price: int = 0
    reduce: bool = False
    callback_ppm: int = 0
    extreme: int = 0
    crossing: bool = False

    def sees(self, price):
        """A trailing order arms and follows."""
        if self.kind != "TRAILING":
            return
        if self.extreme:
            self.extreme = max(self.extreme, price) if self.side < 0 else min(self.extreme, price)
        elif (price >= self.price) if self.side < 0 else (price <= self.price):
            self.extreme = price

    def acts(self, price):
        if self.kind == "MARKET" or self.crossing:
            return True
        if self.kind == "LIMIT":
            return price < self.price if self.side > 0 else price > self.price
        if self.kind == "STOP":
            return price >= self.price if self.side > 0 else price <= self.price
        if self.kind == "TAKE_PROFIT":
            return price <= self.price if self.side > 0 else price >= self.price
        if not self.extreme:
            return False
        back = self.extreme * self.callback_ppm // 1_000_000
        return price >= self.extreme + back if self.side > 0 else price <= self.extreme - back

    def is_marketable(self, price):
        return self.price >= price if self.side > 0 else self.price <= price


@dataclass
class Oracle:
    """Walks bars (open, high, low, close, volume) and writes its fills as the rows of tables.py."""

    orders: list
    last: int
    held: int
    tick: int
    slippage_ppm: int
    share_ppm: int

    def __post_init__(self):
        self.rows = []
        for order in self.orders:
            order.crossing = order.kind == "LIMIT" and order.is_marketable(self.last)
            order.sees(self.last)

    def run(self, bars):
        for number, bar in enumerate(bars):
            self._bar(number, *bar)
        return self.rows

    def _bar(self, number, open_, high, low, close, volume):
        self.number = number
        self.budget = 10**18
        if self.share_ppm:
            self.budget = max(1, volume * self.share_ppm // 1_000_000) if volume else 0
        to_low, to_high = open_ - low, high - open_
        low_first = to_low < to_high or (to_low == to_high and close >= open_)
        self._jump(open_)
        for order in self.orders:
            if order.crossing and not order.is_marketable(open_):
                order.crossing = False
            order.sees(open_)
        here, when = open_, 0
        for leg, end in enumerate((low, high, close) if low_first else (high, low, close), 1):
            step = 1 if end >= here else -1
            for price in range(here, end + step, step):
                if price != here:
                    when = SECONDS[leg]
                self._at(price, when)
            here, when = end, SECONDS[leg]
        self.last = close

    def _jump(self, open_):
        """Resting limits that the gap has crossed, the nearest first."""
        crossed = [
            order
            for order in self.orders
            if order.kind == "LIMIT"
            and not order.crossing
            and not order.acts(self.last)
            and order.acts(open_)
        ]
        for order in sorted(crossed, key=lambda order: abs(order.price - self.last)):
            if self.budget:
                self._fill(order, order.price, 0, "maker")

    def _at(self, price, when):
        """Everything that acts at one price: limits before the others, then by slot."""
        for limits in (True, False):
            again = True
            while again:
                again = False
                for order in list(self.orders):
                    if (order.kind == "LIMIT") != limits or not order.acts(price):
                        continue
                    if order.kind in ("MARKET", "LIMIT") and not self.budget:
                        continue
                    if order.kind == "LIMIT" and not order.crossing:
                        self._fill(order, order.price, when, "maker")
                    else:
                        self._fill(order, self._slipped(order, price), when, "taker")
                    again = True
                    break
        for order in self.orders:
            order.sees(price)

    def _slipped(self, order, price):
        if order.side > 0:
            slipped = -(-price * (1_000_000 + self.slippage_ppm) // 1_000_000)
            slipped = -(-slipped // self.tick) * self.tick
            return min(slipped, order.price) if order.kind == "LIMIT" else slipped
        slipped = price * (1_000_000 - self.slippage_ppm) // 1_000_000 // self.tick * self.tick
        return max(slipped, order.price) if order.kind == "LIMIT" else max(slipped, self.tick)

    def _fill(self, order, price, when, taker):
        lots = order.lots
        if order.reduce:
            lots = min(lots, max(0, -order.side * self.held))
        lots = min(lots, self.budget)
        if lots:
            self.budget -= lots
            self.held += order.side * lots
            order.lots -= lots
            side = "BUY" if order.side > 0 else "SELL"
            self.rows.append(f"{self.number} +{when:g}s {order.name} {side} {lots} @ {price} {taker}")
        if order.lots == 0 or (order.reduce and -order.side * self.held <= 0):
            self.orders.remove(order)
        elif order.kind not in ("MARKET", "LIMIT"):
            order.kind = "MARKET"
