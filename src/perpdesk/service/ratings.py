"""The symbol ratings of a live desk: begun from the books, followed while it runs, changed by persons."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from perpdesk.domain import units
from perpdesk.domain.books import PositionQuery, PositionRow, StoreFailed
from perpdesk.domain.position import PositionStatus
from perpdesk.domain.signal_books import SymbolRating
from perpdesk.live import new_rating
from perpdesk.market.universe import Universe
from perpdesk.ports import Clock, Store
from perpdesk.strategies.score_rules.rating_book import WINDOW_MS, Closing, RatingBook

LOG = logging.getLogger(__name__)

AGAIN_MS = 5_000
_HARD_REASONS = ("FIXED_STOP", "EXCHANGE_STOP", "DISASTER_STOP", "LIQUIDATION")
_FINISHED = (PositionStatus.CLOSED, PositionStatus.LIQUIDATED)


def closing_of(row: PositionRow) -> Closing | None:
    """A finished row as the ratings count it; None for one that never had a fill."""
    if row.open_ms is None or row.close_ms is None or row.close_reason is None:
        return None
    hard = row.close_reason in _HARD_REASONS or row.close_reason.startswith("FAST_")
    return Closing(row.close_ms, units.money_e8(row.net_pnl), hard)


async def begin_ratings(
    book: RatingBook,
    store: Store,
    universe: Universe,
    account_id: int,
    versions: Sequence[str],
    now_ms: int,
) -> None:
    """Take levels and closed rows of the last seven days over; a symbol without a row gets level 0.

    Raises StoreFailed: without ratings nothing is opened.
    """
    known = await store.ratings()
    query = PositionQuery(account_id=account_id, statuses=_FINISHED, from_ms=now_ms - 2 * WINDOW_MS)
    closed: dict[str, list[Closing]] = {}
    for row in await store.positions(query):
        one = closing_of(row) if row.signal_version in versions else None
        if one is not None:
            closed.setdefault(row.symbol, []).append(one)
    for s, symbol in enumerate(universe.symbols):
        rating = known.get(symbol)
        if rating is None:
            await store.save_rating(new_rating(symbol, 0, book.rules, now_ms))
        level = 0 if rating is None else rating.rating_level
        changed_ms = 0 if rating is None else rating.level_changed_ms or 0
        book.begin(s, level, changed_ms, closed.get(symbol, []))


async def follow_ratings(
    book: RatingBook, store: Store, universe: Universe, clock: Clock, unrated: set[int]
) -> None:
    """Take over what persons say, until cancelled. unrated: is told whose rating is not known (all of them
    while the ratings cannot be read): those take no entries."""
    seen = await _ratings(store) or {}
    while True:
        await clock.sleep_until(clock.now_ms() + AGAIN_MS)
        now = await _ratings(store)
        unknown = {s for s, symbol in enumerate(universe.symbols) if now is None or symbol not in now}
        if unknown - unrated:
            names = ", ".join(universe.symbols[s] for s in sorted(unknown))
            LOG.warning("no entries in %s: the rating is not known", names)
        unrated.clear()
        unrated |= unknown
        for symbol, rating in (now or {}).items():
            before = seen.get(symbol)
            changed = before is None or rating.level_changed_ms != before.level_changed_ms
            if changed and symbol in universe.symbols:
                s = universe.index(symbol)
                if rating.rating_level != int(book.levels[s]):
                    LOG.warning("%s is rated level %d: %s", symbol, rating.rating_level, rating.reason)
                    book.set_level(s, rating.rating_level, rating.level_changed_ms or clock.now_ms())
        seen = seen if now is None else now


async def _ratings(store: Store) -> dict[str, SymbolRating] | None:
    try:
        return await store.ratings()
    except StoreFailed as error:
        LOG.warning("ratings cannot be read: %s", error)
        return None
