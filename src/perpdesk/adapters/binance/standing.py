"""What became of an order whose answer was lost: both books, its fills, and the fence.

"Does not exist" proves nothing before ``timestamp + recvWindow`` has passed, and little after it: absence
needs two agreeing looks, at least two seconds apart, at the right book, at the list of orders and at the
fills, and no fill since then whose order is denied too.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable
from perpdesk.adapters.binance.known_orders import is_final
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.domain import units
from perpdesk.ports import Clock

LOOK_AGAIN_MS = 2_000
# Beyond the fence: the exchange's own clock and the way back.
MARGIN_MS = 1_000
_NOT_FOUND = (-2011, -2013)
LISTED_MAX = 1_000


class Standing(Enum):
    """What is proven."""

    ALIVE = "alive"
    ENDED = "ended"
    ABSENT = "absent"  # proven: it was never accepted, and cannot be any more
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Found:
    """An order as one of the books shows it. order: ordinary; algo: conditional."""

    standing: Standing
    order: p.Order | None = None
    algo: p.AlgoOrder | None = None


async def look(rest: Rest, symbol: str, client_id: str, *, lane: Lane = Lane.QUERY) -> Found:
    """Look in both books once. UNKNOWN: neither has it. Raises ExchangeUnreachable (also if an answer is well
    formed and all zeros: fault API-28), ExchangeRefused."""
    algo = await _or_none(rest, to.ALGO_QUERY, (("clientAlgoId", client_id),), lane)
    order = await _or_none(rest, to.ORDER_QUERY, (("symbol", symbol), ("origClientOrderId", client_id)), lane)
    if order is not None:
        ended = is_final(order.status)
        if ended and _is_hollow(order):
            raise ExchangeUnreachable(f"order {client_id} of {symbol} is {order.status} with zeros only")
    elif algo is not None:
        ended = is_final(p_text(algo.algo_status))
    else:
        return Found(Standing.UNKNOWN)
    return Found(Standing.ENDED if ended else Standing.ALIVE, order, algo)


def _is_hollow(order: p.Order) -> bool:
    """Does an ended order deny what it must have: a quantity, and what it filled if it has filled?"""
    asked, filled = _amount(order.orig_qty), _amount(order.executed_qty)
    return filled == 0 and (asked == 0 or order.status == "FILLED")


def _amount(value: object) -> Decimal | None:
    """A quantity, None if it was not told."""
    return units.decimal_of(value) if isinstance(value, str) else None


async def settle(rest: Rest, clock: Clock, symbol: str, client_id: str, fence_ms: int) -> Found:
    """Wait until it is proven whether the order exists. Raises ExchangeUnreachable if nobody answers.

    fence_ms: from the Answer that said UNKNOWN. ABSENT is told only after the fence and two looks.
    """
    absent_ms: int | None = None
    looks = 0
    while True:
        found = await look(rest, symbol, client_id)
        if found.standing is not Standing.UNKNOWN:
            return found
        now_ms = clock.now_ms()
        since_ms = rest.server.now_ms() - (now_ms - fence_ms) - 2 * rest.recv_window_ms
        if looks and (order := await _listed(rest, symbol, client_id, since_ms)) is not None:
            return Found(Standing.ENDED if is_final(order.status) else Standing.ALIVE, order)
        looks += 1
        if now_ms > fence_ms + MARGIN_MS:
            if absent_ms is None:
                absent_ms = now_ms
            elif now_ms - absent_ms >= LOOK_AGAIN_MS:
                order = await _traded(rest, symbol, client_id, since_ms)
                if order is None:
                    return Found(Standing.ABSENT)
                return Found(Standing.ENDED if is_final(order.status) else Standing.ALIVE, order)
        await clock.sleep_until(now_ms + LOOK_AGAIN_MS)


async def _traded(rest: Rest, symbol: str, client_id: str, since_ms: int) -> p.Order | None:
    """The order with this client id among those that traded since, None if none did. Raises
    ExchangeUnreachable if one that traded is denied: it may be this one."""
    rows = await rest.ask(to.USER_TRADES, (("symbol", symbol), ("startTime", since_ms)), Lane.QUERY)
    for order_id in sorted({row.order_id for row in rows}):
        try:
            order = await order_by_id(rest, symbol, order_id)
        except ExchangeRefused as error:
            raise ExchangeUnreachable(
                f"order {order_id} of {symbol} has traded and is denied: {error}"
            ) from error
        if order.client_order_id == client_id:
            return order
    return None


async def order_by_id(rest: Rest, symbol: str, order_id: int) -> p.Order:
    """An order that exists, by the exchange's number: from the list of orders if the query denies it (fault
    API-14). Raises ExchangeRefused if both do, ExchangeUnreachable."""
    try:
        found: p.Order = await rest.ask(
            to.ORDER_QUERY, (("symbol", symbol), ("orderId", order_id)), Lane.QUERY
        )
    except ExchangeRefused as error:
        if error.code not in _NOT_FOUND:
            raise
        params = (("symbol", symbol), ("orderId", order_id), ("limit", 1))
        rows: list[p.Order] = await rest.ask(to.ALL_ORDERS, params, Lane.QUERY)
        if not rows or rows[0].order_id != order_id:
            raise
        found = rows[0]
    return found


async def _listed(rest: Rest, symbol: str, client_id: str, since_ms: int) -> p.Order | None:
    """The order in the list of those made since, None if it is not there. One that says it has filled and
    denies its fill is no answer."""
    params = (("symbol", symbol), ("startTime", since_ms), ("limit", LISTED_MAX))
    rows: list[p.Order] = await rest.ask(to.ALL_ORDERS, params, Lane.QUERY)
    for order in rows:
        if order.client_order_id == client_id:
            if is_final(order.status) and _is_hollow(order):
                raise ExchangeUnreachable(f"order {client_id} of {symbol} is {order.status} with zeros only")
            return order
    return None


async def _or_none(
    rest: Rest, endpoint: to.Endpoint, params: tuple[tuple[str, str | int], ...], lane: Lane
) -> Any:
    try:
        return await rest.ask(endpoint, params, lane)
    except ExchangeRefused as error:
        if error.code in _NOT_FOUND:
            return None
        raise


def p_text(value: object) -> str:
    """A field that may be missing."""
    return value if isinstance(value, str) else ""
