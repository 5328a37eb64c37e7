"""What Spot endpoints have in common: the pair and the wallet of a call, its time window, its table rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.numbers import integer, number
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.call import Answer, Call, Endpoint, Weight
from perpdesk.exchange.server.security import Gate
from perpdesk.exchange.server.spot_side import SpotSide
from perpdesk.exchange.spot import refusals as spot_no
from perpdesk.exchange.spot.book import Book
from perpdesk.exchange.spot.wallets import Account

WINDOW_MAX_MS = 60_000
HISTORY_LIMIT, HISTORY_MAX = 500, 1_000
_WINDOW_DIGITS = 3
_MICROSECONDS = 10**15


def endpoint(
    answer: Callable[[Call], Answer], security: str = "NONE", weight: Weight = 1, orders: int = 0
) -> Endpoint:
    """A row of a Spot table. orders: how many unfilled orders it counts."""
    return Endpoint(answer, security, weight, (orders, orders) if orders else None, side="spot")


def side_of(call: Call) -> SpotSide:
    """The Spot half, up to date."""
    call.server.spot.follow()
    return call.server.spot


def account_of(call: Call) -> Account:
    """The caller's wallet."""
    return call.server.spot.account(call.account.index)


def book_of(call: Call) -> Book | Refusal:
    """The ``symbol`` parameter."""
    symbol = call.params.get("symbol", "")
    if not symbol:
        return no.mandatory("symbol")
    side = side_of(call)
    pair = side.pair(symbol)
    return no.BAD_SYMBOL if pair is None else side.world.books[pair.index]


def window(gate: Gate, params: Mapping[str, str], now_ms: int) -> Refusal | None:
    """Spot's time window: at most a minute, thousandths of milliseconds and microseconds are understood."""
    text = params.get("recvWindow", "")
    if text:
        value = number(text)
        if value is None or value < 0:
            return no.mandatory("recvWindow")
        if value > WINDOW_MAX_MS:
            return spot_no.WINDOW_TOO_LONG
        text = str(int(value))
    stamp = integer(params.get("timestamp", ""))
    if stamp is None:
        return no.mandatory("timestamp")
    stamp = stamp // 1_000 if stamp >= _MICROSECONDS else stamp
    return gate.window({"recvWindow": text, "timestamp": str(stamp)}, now_ms)


def limit_of(params: Mapping[str, str], usual: int = HISTORY_LIMIT, most: int = HISTORY_MAX) -> int | Refusal:
    """``limit``: more than the most is the most."""
    text = params.get("limit", "")
    if not text:
        return usual
    value = integer(text)
    return no.mandatory("limit") if value is None or value < 1 else min(value, most)


def time_of(params: Mapping[str, str], name: str) -> int | None | Refusal:
    """``startTime`` or ``endTime`` in milliseconds, if it was sent."""
    text = params.get(name, "")
    if not text:
        return None
    value = integer(text)
    return no.mandatory(name) if value is None or value < 0 else value
