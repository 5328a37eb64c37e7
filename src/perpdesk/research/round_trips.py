"""From fills to round trips: each from the first fill out of flat to the fill that is flat again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perpdesk.kernel.records import tag_name


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One closed position. Prices are averages in price units; money is 1e-8 quote, without funding."""

    sleeve: int
    symbol: int
    side: int
    lots: int
    opened_ms: int
    closed_ms: int
    entry_price: float
    exit_price: float
    realised_e8: int
    fees_e8: int
    reason: str

    @property
    def net_e8(self) -> int:
        """Price profit minus commissions."""
        return self.realised_e8 - self.fees_e8


@dataclass
class _Open:
    side: int
    opened_ms: int
    lots_in: int = 0
    lots_out: int = 0
    paid_in: int = 0
    paid_out: int = 0
    realised_e8: int = 0
    fees_e8: int = 0


def round_trips(fills: np.ndarray) -> list[RoundTrip]:
    """All closed round trips in the order of their ends. fills: rows of fill_dt in the order of the run.

    A fill that turns a position around ends one round trip and begins the next with the rest; its
    commission belongs to the one it ends.
    """
    open_by_place: dict[tuple[int, int], _Open] = {}
    closed = []
    for (
        ms,
        sleeve,
        symbol,
        _slot,
        side,
        price,
        lots,
        _taker,
        tag,
        fee,
        realised,
        held,
        _cash,
    ) in fills.tolist():
        place = (sleeve, symbol)
        trip = open_by_place.get(place)
        if trip is None:
            trip = open_by_place[place] = _Open(side, ms)
        leaving = 0
        if side == trip.side:
            trip.lots_in += lots
            trip.paid_in += lots * price
        else:
            leaving = min(lots, trip.lots_in - trip.lots_out)
            trip.lots_out += leaving
            trip.paid_out += leaving * price
        trip.realised_e8 += realised
        trip.fees_e8 += fee
        if trip.lots_out < trip.lots_in:
            continue
        closed.append(
            RoundTrip(
                sleeve=sleeve,
                symbol=symbol,
                side=trip.side,
                lots=trip.lots_in,
                opened_ms=trip.opened_ms,
                closed_ms=ms,
                entry_price=trip.paid_in / trip.lots_in,
                exit_price=trip.paid_out / trip.lots_out,
                realised_e8=trip.realised_e8,
                fees_e8=trip.fees_e8,
                reason=tag_name(tag),
            )
        )
        del open_by_place[place]
        if held != 0:
            open_by_place[place] = _Open(side, ms, lots_in=abs(held), paid_in=abs(held) * price)
    return closed
