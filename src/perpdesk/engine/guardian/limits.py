"""The last limits before the wire. The ceilings are part of the program: no configuration can raise them.

Money is 1e-8 quote units, prices and lots are integers of the universe. Only orders that may increase
exposure are refused; every order that is sent counts, exits too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from perpdesk.kernel.records import MARKET, MINUTE_MS
from perpdesk.ports import NewOrder

_E8 = 100_000_000
_PPM = 1_000_000

ORDER_NOTIONAL = "ORDER_NOTIONAL"
ORDER_QUANTITY = "ORDER_QUANTITY"
ORDER_PRICE = "ORDER_PRICE"
LEVERAGE_CAP = "LEVERAGE_CAP"
SYMBOL_NOT_LISTED = "SYMBOL_NOT_LISTED"
MAX_POSITIONS = "MAX_POSITIONS"
EXPOSURE_LIMIT = "EXPOSURE_LIMIT"
ORDER_RATE = "ORDER_RATE"
NO_MARK = "NO_MARK"


class Contract(Protocol):
    """What an instrument record (``instrument_dt``) tells here."""

    @property
    def unit_e8(self) -> int: ...

    @property
    def lots_max(self) -> int: ...

    @property
    def market_lots_max(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Largest notional of an order and of the account, distance of a price from the mark, leverage, positions
    (sleeves' and pending ones), orders a minute. The defaults are the program's own."""

    order_notional_e8: int = 2_000_000 * _E8
    exposure_e8: int = 20_000_000 * _E8
    collar_ppm: int = 200_000
    leverage: int = 20
    positions: int = 200
    orders_per_minute: int = 300

    def lowered(self, **wanted: int) -> Ceilings:
        """With limits of the configuration, each cut to the ceiling. A limit below 1 allows nothing."""
        return replace(self, **{name: min(value, getattr(self, name)) for name, value in wanted.items()})


COMPILED_IN = Ceilings()


class WireLimits:
    """Judges orders against ceilings, and counts what was sent.

    listed: the symbols (universe indexes) that may be opened. held: (order) → how many
    positions there would be with this order filled, and their notional; what is pending counts as filled.
    """

    def __init__(
        self,
        contracts: Sequence[Contract],
        listed: Collection[int],
        held: Callable[[NewOrder], tuple[int, int]],
        ceilings: Ceilings = COMPILED_IN,
    ) -> None:
        self.ceilings = COMPILED_IN.lowered(
            **{name: getattr(ceilings, name) for name in Ceilings.__dataclass_fields__}
        )
        self._units = [int(one.unit_e8) for one in contracts]
        self._lots = [int(one.lots_max) for one in contracts]
        self._market_lots = [int(one.market_lots_max) for one in contracts]
        self._listed = frozenset(listed)
        self._held = held
        self._sent: deque[int] = deque()
        self.sent_in_all = 0

    def why_not(self, order: NewOrder, mark_price: int, now_ms: int) -> str | None:
        """The first ceiling that an order to increase exposure would break. mark_price 0: not known."""
        s, ceilings = order.symbol, self.ceilings
        if s not in self._listed:
            return SYMBOL_NOT_LISTED
        if mark_price <= 0:
            return NO_MARK
        most = self._market_lots[s] if order.kind == MARKET else self._lots[s]
        if not 0 < order.lots <= min(most, self._lots[s]):
            return ORDER_QUANTITY
        price = mark_price
        if order.kind != MARKET:
            named = [one for one in (order.price, order.activation) if one != 0]
            reach = mark_price * ceilings.collar_ppm
            if not named or any(one < 0 or abs(one - mark_price) * _PPM > reach for one in named):
                return ORDER_PRICE
            price = max(mark_price, order.price)
        notional_e8 = order.lots * price * self._units[s]
        if notional_e8 > ceilings.order_notional_e8:
            return ORDER_NOTIONAL
        if not 1 <= order.leverage <= ceilings.leverage:
            return LEVERAGE_CAP
        positions, exposure_e8 = self._held(order)
        if positions > ceilings.positions:
            return MAX_POSITIONS
        if exposure_e8 > ceilings.exposure_e8:
            return EXPOSURE_LIMIT
        if self.sent_within_minute(now_ms) >= ceilings.orders_per_minute:
            return ORDER_RATE
        return None

    def sent(self, now_ms: int) -> None:
        """One order goes to the wire, of whatever kind."""
        self._sent.append(now_ms)
        self.sent_in_all += 1

    def sent_within_minute(self, now_ms: int) -> int:
        """Orders of the last 60 s."""
        while self._sent and self._sent[0] <= now_ms - MINUTE_MS:
            self._sent.popleft()
        return len(self._sent)
