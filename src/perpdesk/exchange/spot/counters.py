"""The volume counter of the Alpha-like market: it multiplies, it lags, it starts again at midnight UTC.

What it shows is a binary float, as the venue serves it; the money beneath is exact.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from perpdesk.exchange.spot.orders import BUY, Fill
from perpdesk.exchange.spot.pairs import E8, Pair

DAY_MS = 86_400_000
COUNTED = ("buy", "sell", "both")


@dataclass(slots=True)
class Shown:
    """One account, one token, one day. waiting: (visible from ms, is a buy, quote in 1e-8)."""

    day: int
    buy: float = 0.0
    sell: float = 0.0
    buy_e8: int = 0
    sell_e8: int = 0
    waiting: deque[tuple[int, bool, int]] = field(default_factory=deque)


class Counters:
    """All counters of a world. A frozen account's counters stand still; a forgotten one starts at 0."""

    def __init__(self) -> None:
        self._shown: dict[tuple[int, int], Shown] = {}
        self.frozen: set[int] = set()

    def count(self, pair: Pair, fill: Fill) -> None:
        """An execution; it belongs to the UTC day of its own time."""
        key = (fill.order.account, pair.index)
        one = self._of(key, fill.ms // DAY_MS)
        one.waiting.append((fill.ms + pair.counter_lag_ms, fill.order.side == BUY, fill.quote_e8))

    def displayed(self, account: int, pair: Pair, now_ms: int, side: str = "buy") -> float:
        """What the venue shows for today. side: buy, sell or both."""
        one = self._settled(account, pair, now_ms)
        return {"buy": one.buy, "sell": one.sell, "both": one.buy + one.sell}[side]

    def real_e8(self, account: int, pair: Pair, now_ms: int, side: str = "buy") -> int:
        """The money behind ``displayed``, without multiplier and noise."""
        one = self._settled(account, pair, now_ms)
        return {"buy": one.buy_e8, "sell": one.sell_e8, "both": one.buy_e8 + one.sell_e8}[side]

    def forget(self, account: int, pair: Pair, now_ms: int) -> None:
        """The counter shows 0 all of a sudden; what comes later is counted."""
        self._settled(account, pair, now_ms)
        self._shown[account, pair.index] = Shown(now_ms // DAY_MS)

    def _of(self, key: tuple[int, int], day: int) -> Shown:
        one = self._shown.get(key)
        if one is None or one.day < day:
            one = self._shown[key] = Shown(day)
        return one

    def _settled(self, account: int, pair: Pair, now_ms: int) -> Shown:
        one = self._of((account, pair.index), now_ms // DAY_MS)
        if account in self.frozen:
            return one
        # a token without a multiplier is shown as it is; that it has none stands in the token list
        factor = float(pair.multiplier or "1")
        while one.waiting and one.waiting[0][0] <= now_ms:
            _, is_buy, quote_e8 = one.waiting.popleft()
            if is_buy:
                one.buy_e8 += quote_e8
                one.buy += quote_e8 / E8 * factor
            else:
                one.sell_e8 += quote_e8
                one.sell += quote_e8 / E8 * factor
        return one
