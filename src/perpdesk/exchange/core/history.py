"""What the queries still see: retention of orders and fills, windows and limits (§6.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.checks import Params
from perpdesk.exchange.core.numbers import integer
from perpdesk.exchange.core.orders import Conditional, Order
from perpdesk.exchange.core.refusals import Refusal

DAY_MS = 86_400_000
_UNFILLED_DAYS, _ALL_DAYS = 3, 90

Row = TypeVar("Row")


def is_visible(order: Order, now_ms: int) -> bool:
    """Unfilled and ended: three days. Everything: ninety days."""
    age = now_ms - order.created_ms
    if age > _ALL_DAYS * DAY_MS:
        return False
    gone = order.status in ("CANCELED", "EXPIRED", "EXPIRED_IN_MATCH") and order.filled == 0
    return not (gone and age > _UNFILLED_DAYS * DAY_MS)


def is_algo_visible(algo: Conditional, now_ms: int) -> bool:
    """The same rule for conditional orders."""
    age = now_ms - algo.created_ms
    gone = algo.status in ("CANCELED", "EXPIRED", "REJECTED")
    return age <= (_UNFILLED_DAYS if gone else _ALL_DAYS) * DAY_MS


def limit_of(params: Params, default: int, largest: int) -> int | Refusal:
    """The ``limit`` parameter."""
    text = params.get("limit", "")
    if not text:
        return default
    value = integer(text)
    if value is None or not 1 <= value <= largest:
        return no.invalid_value("limit")
    return value


def window(params: Params, now_ms: int, days_max: int, days_default: int) -> tuple[int, int] | Refusal:
    """[start, end] of a query in ms, both inclusive."""
    bounds: list[int | None] = []
    for name in ("startTime", "endTime"):
        text = params.get(name, "")
        value = integer(text) if text else None
        if text and value is None:
            return no.mandatory(name)
        bounds.append(value)
    start, end = bounds
    if start is not None and end is not None:
        if start > end:
            return no.START_AFTER_END
        if days_max and end - start > days_max * DAY_MS:
            return no.too_long(days_max)
        return start, end
    if start is not None:
        return start, min(now_ms, start + days_default * DAY_MS) if days_max else now_ms
    if end is not None:
        return end - days_default * DAY_MS, end
    return now_ms - days_default * DAY_MS, now_ms


def page(rows: Iterable[Row], limit: int, *, from_start: bool, key: Callable[[Row], Any]) -> list[Row]:
    """At most ``limit`` rows, oldest first: the first ones, or the newest."""
    ordered = sorted(rows, key=key)
    return ordered[:limit] if from_start else ordered[-limit:]
