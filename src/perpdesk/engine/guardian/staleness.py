"""How old is what we know: stream routes, marks per symbol, closed bars, the user stream. Who may open.

Ages are of our clock, from the moment of receipt; a mark also has the exchange's own time. A feed that goes
on repeating one price is frozen, however punctual it is. Exits are never judged here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perpdesk.kernel.records import MINUTE_MS

STALE_PRICE = "STALE_PRICE"
FROZEN_PRICE = "FROZEN_PRICE"
STALE_BARS = "STALE_BARS"
STALE_USER_STREAM = "STALE_USER_STREAM"
STALE_ROUTE = "STALE_ROUTE"
CLOCK_AHEAD = "CLOCK_AHEAD"
NEVER = -1
# A fact of the future by more than this is no fact.
AHEAD_MS = 2_000


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """The oldest that an entry may rest on. 0 switches a rule off (bar-driven runs have no marks).

    bars_ms counts from the close of the newest bar; user_ms from the last proof that the user stream lives;
    frozen_ms: the same mark for so long, while another symbol's moved (and five times as long, in any case).
    """

    mark_ms: int = 3_000
    bars_ms: int = MINUTE_MS + 15_000
    user_ms: int = 60_000
    routes_ms: Mapping[str, int] = field(default_factory=dict)
    frozen_ms: int = MINUTE_MS


@dataclass(frozen=True, slots=True)
class Ages:
    """In ms, NEVER where nothing was heard. By symbol: marks and bars; by name: routes."""

    marks: tuple[int, ...]
    bars: tuple[int, ...]
    routes: dict[str, int]
    user: int


class Freshness:
    """Hears what arrives and when, and says who may open."""

    def __init__(self, symbols: int, limits: AgeLimits | None = None) -> None:
        self.limits = limits or AgeLimits()
        self._marked_ms = [NEVER] * symbols
        self._mark_time_ms = [NEVER] * symbols
        self._price = [0] * symbols
        self._changed_ms = [NEVER] * symbols
        self._closed_ms = [NEVER] * symbols
        self._user_ms = NEVER
        self._routes_ms: dict[str, int] = {}
        self._any_changed_ms = NEVER

    def marked(self, symbol: int, price: int, exchange_ms: int, now_ms: int) -> None:
        """A mark price of a symbol, stamped by the exchange. An older or repeated stamp is no news."""
        if price <= 0 or exchange_ms <= self._mark_time_ms[symbol]:
            return
        self._mark_time_ms[symbol] = exchange_ms
        self._marked_ms[symbol] = now_ms
        if price != self._price[symbol]:
            self._price[symbol] = price
            self._changed_ms[symbol] = self._any_changed_ms = now_ms

    def bar_closed(self, symbol: int, close_ms: int) -> None:
        """A closed bar that ends at close_ms (exchange time)."""
        self._closed_ms[symbol] = max(self._closed_ms[symbol], close_ms)

    def user_lives(self, now_ms: int) -> None:
        """Proof that the user stream delivers: an event, or an answered ping of its connection."""
        self._user_ms = now_ms

    def heard(self, route: str, now_ms: int) -> None:
        """A stream route delivered something."""
        self._routes_ms[route] = now_ms

    def mark_price(self, symbol: int) -> int:
        """The newest mark; 0 before the first."""
        return self._price[symbol]

    def mark_age_ms(self, symbol: int, now_ms: int) -> int:
        """Since the newest mark; NEVER before the first."""
        heard_ms = self._marked_ms[symbol]
        return NEVER if heard_ms < 0 else now_ms - heard_ms

    def why_not_open(self, symbol: int, now_ms: int) -> str | None:
        """The first rule that what is known of this symbol breaks; None: an entry may rest on it."""
        limits = self.limits
        if limits.mark_ms:
            if _is_old(self._marked_ms[symbol], now_ms, limits.mark_ms):
                return STALE_PRICE
            if self._mark_time_ms[symbol] - now_ms > AHEAD_MS:
                return CLOCK_AHEAD
            if limits.frozen_ms and self._is_frozen(symbol, now_ms):
                return FROZEN_PRICE
        if limits.bars_ms and _is_old(self._closed_ms[symbol], now_ms, limits.bars_ms):
            return STALE_BARS
        if limits.user_ms and _is_old(self._user_ms, now_ms, limits.user_ms):
            return STALE_USER_STREAM
        for route, limit_ms in limits.routes_ms.items():
            if _is_old(self._routes_ms.get(route, NEVER), now_ms, limit_ms):
                return f"{STALE_ROUTE}:{route}"
        return None

    def stale(self, now_ms: int, symbols: Sequence[int] | None = None) -> dict[int, str]:
        """Every symbol (of those given) that may not be opened, with its reason."""
        found = {}
        for symbol in range(len(self._price)) if symbols is None else symbols:
            why = self.why_not_open(symbol, now_ms)
            if why is not None:
                found[symbol] = why
        return found

    def ages(self, now_ms: int) -> Ages:
        """All ages now, for the status and the metrics."""

        def age(heard_ms: int) -> int:
            return NEVER if heard_ms < 0 else max(0, now_ms - heard_ms)

        return Ages(
            marks=tuple(map(age, self._marked_ms)),
            bars=tuple(map(age, self._closed_ms)),
            routes={route: age(heard_ms) for route, heard_ms in self._routes_ms.items()},
            user=age(self._user_ms),
        )

    def _is_frozen(self, symbol: int, now_ms: int) -> bool:
        still_ms = now_ms - self._changed_ms[symbol]
        if still_ms <= self.limits.frozen_ms:
            return False
        others_moved = self._any_changed_ms > self._changed_ms[symbol]
        return others_moved or still_ms > 5 * self.limits.frozen_ms


def _is_old(heard_ms: int, now_ms: int, limit_ms: int) -> bool:
    """Exactly the limit is fresh; never heard is old."""
    return heard_ms < 0 or now_ms - heard_ms > limit_ms
