"""The backfill: a week of the exchange's history written down where our books lack it. Twice is once.

Only fills from before ``until_ms`` are written: later ones are the reconciler's, which knows whose they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perpdesk.domain import units
from perpdesk.domain.books import FillQuery, FillRow, FillSource
from perpdesk.domain.order import PositionSide, Side
from perpdesk.engine.reconcile.backfill import PAUSE_MS, WINDOW_MS, RoundTrip, absent, fold, gaps
from perpdesk.market.universe import Universe
from perpdesk.ports import Clock, Leg, LiveVenue, Store, VenueFill

# Bookings that name a symbol which was traded.
_TRADED: Final = ("REALIZED_PNL", "COMMISSION")


@dataclass(frozen=True, slots=True)
class Backfilled:
    """The result line. orphans: keys of round trips whose opening is older than the window; gaps: lots that
    the history lacks by the exchange's order number."""

    symbols: tuple[str, ...]
    read: int
    inserted: int
    orphans: tuple[str, ...]
    gaps: dict[int, int]
    round_trips: tuple[RoundTrip, ...]


async def backfill(
    *,
    venue: LiveVenue,
    store: Store,
    clock: Clock,
    universe: Universe,
    account_id: int,
    until_ms: int,
    window_ms: int = WINDOW_MS,
) -> Backfilled:
    """Read the window before now, write down what is absent, and fold it. Times are the exchange's.

    Raises what the venue's reads and the store raise; what was written stays, and a second run goes on.
    """
    start_ms = venue.exchange_ms() - window_ms
    legs = await venue.legs()
    bookings = await venue.income_since(start_ms)
    named = {row.symbol for row in bookings if row.kind in _TRADED} | {leg.name for leg in legs}
    symbols = [s for s, name in enumerate(universe.symbols) if name in named]
    executed = await _executed(store, universe, account_id, start_ms)
    read = inserted = 0
    trips: list[RoundTrip] = []
    lacking: dict[int, int] = {}
    for s in symbols:
        fills = await venue.fills_since(s, start_ms)
        read += len(fills)
        inserted += await _write(store, universe, account_id, fills, start_ms, until_ms)
        lacking |= gaps(fills, executed.get(s, {}))
        trips += fold(universe.symbols[s], fills, _held(legs, s), start_ms)
        await clock.sleep_until(clock.now_ms() + PAUSE_MS)
    orphans = tuple(trip.key for trip in trips if not trip.is_whole)
    names = tuple(universe.symbols[s] for s in symbols)
    return Backfilled(names, read, inserted, orphans, lacking, tuple(trips))


def fill_row(fill: VenueFill, universe: Universe, account_id: int, quote: str) -> FillRow:
    """A fill that no position of ours owns, as the store keeps it. Its fee is in the quote currency."""
    s = fill.symbol
    return FillRow(
        account_id=account_id,
        symbol=universe.symbols[s],
        trade_id=fill.trade_id,
        side=Side.of(fill.side),
        qty=units.qty_of(fill.lots, universe.lot_step[s]),
        price=units.price_of(fill.price, universe.price_digits[s]),
        commission=units.money_of(fill.fee_e8),
        commission_asset=quote,
        fill_ms=fill.ms,
        source=FillSource.BACKFILL,
        is_maker=fill.is_maker,
        realized_pnl_venue=units.money_of(fill.realised_e8),
        client_id=fill.client_id or None,
        order_id=fill.order_id,
    )


async def _write(
    store: Store,
    universe: Universe,
    account_id: int,
    fills: Sequence[VenueFill],
    start_ms: int,
    until_ms: int,
) -> int:
    if not fills:
        return 0
    s = fills[0].symbol
    known = await store.fills(
        FillQuery(account_id=account_id, symbol=universe.symbols[s], from_ms=start_ms - 1)
    )
    # a fill that was split over sleeves has further rows under the negative of its id
    ids = [(s, abs(row.trade_id)) for row in known]
    new = [fill for fill in absent(fills, ids) if fill.ms < until_ms]
    quote = universe.instruments[s].quote
    async with store.unit(durable=False) as books:
        for fill in new:
            await books.record_fill(fill_row(fill, universe, account_id, quote))
    return len(new)


async def _executed(
    store: Store, universe: Universe, account_id: int, start_ms: int
) -> dict[int, dict[int, int]]:
    """Lots that our own orders traded within the window, by symbol and the exchange's order number."""
    found: dict[int, dict[int, int]] = {}
    place = {name: s for s, name in enumerate(universe.symbols)}
    for row in await store.orders(account_id):
        if row.order_id is None or row.order_ms < start_ms or row.symbol not in place or not row.quantity:
            continue
        s = place[row.symbol]
        lots = units.lots_of(row.quantity, universe.lot_step[s], row.symbol)
        orders = found.setdefault(s, {})
        orders[row.order_id] = orders.get(row.order_id, 0) + lots  # a flip is two rows of one order
    return found


def _held(legs: Sequence[Leg], symbol: int) -> dict[PositionSide, int]:
    return {leg.position_side: leg.lots for leg in legs if leg.symbol == symbol}
