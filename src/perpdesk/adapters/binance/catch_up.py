"""REST after a silence: what the stream may not have told, asked for and told once.

Fills of every symbol that could have traded (ours, those with a position, those that the wallet's bookings
name), bookings of funding, and the end of orders that are in neither book any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.rest import Rest

PAGE = 1_000
# REST may lag behind the stream: look so much further back.
OVERLAP_MS = 10_000


@dataclass(frozen=True, slots=True)
class Caught:
    """What REST says about the time since the silence began. positions: all that are not flat."""

    trades: list[p.UserTrade]
    bookings: list[p.Income]
    positions: list[p.PositionRisk]


async def catch_up(
    rest: Rest, since_ms: int, symbols: Iterable[str], wanted: Callable[[str], bool]
) -> Caught:
    """Everything since ``since_ms`` (exchange's time) less an overlap.

    symbols: those that surely concern us; more are found. wanted: is this symbol within the universe?
    Raises ExchangeUnreachable or ExchangeRefused: then nothing was told, and it has to be asked again.
    """
    start_ms = since_ms - OVERLAP_MS
    positions: list[p.PositionRisk] = await rest.ask(to.POSITIONS, (), Lane.QUERY)
    bookings = await _bookings(rest, start_ms)
    names = set(symbols)
    names |= {row.symbol for row in positions}
    names |= {row.symbol for row in bookings if isinstance(row.symbol, str) and row.symbol}
    trades: list[p.UserTrade] = []
    for symbol in sorted(name for name in names if wanted(name)):
        trades += await trades_since(rest, symbol, start_ms)
    trades.sort(key=lambda trade: (trade.time, trade.symbol, trade.id))
    return Caught(trades, bookings, positions)


async def trades_since(rest: Rest, symbol: str, start_ms: int) -> list[p.UserTrade]:
    """All fills of a symbol from a time on, page by page."""
    found: list[p.UserTrade] = []
    params: tuple[tuple[str, str | int], ...] = (("symbol", symbol), ("startTime", start_ms), ("limit", PAGE))
    while True:
        page: list[p.UserTrade] = await rest.ask(to.USER_TRADES, params, Lane.QUERY)
        found += page
        if len(page) < PAGE:
            return found
        params = (("symbol", symbol), ("fromId", page[-1].id + 1), ("limit", PAGE))


async def _bookings(rest: Rest, start_ms: int) -> list[p.Income]:
    found: dict[tuple[str, str], p.Income] = {}
    while True:
        page: list[p.Income] = await rest.ask(
            to.INCOME, (("startTime", start_ms), ("limit", PAGE)), Lane.QUERY
        )
        fresh = {(row.income_type, f"{row.tran_id} {row.symbol}"): row for row in page}
        is_more = len(page) >= PAGE and not fresh.keys() <= found.keys()
        found |= fresh
        if not is_more:
            return sorted(found.values(), key=lambda row: row.time)
        start_ms = page[-1].time
