"""What the account did before: the exchange's fills and bookings folded into round trips, and checked.

Pure, in kernel units. Opening and closing are told by side and running position, never by a profit near zero.
Folding the same fills again, in any order and with repeats, gives the same round trips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.attribute import money_shares
from perpdesk.ports import Income, VenueFill

DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 7 * DAY_MS
# Between two symbols, so that a start does not use up the weight.
PAUSE_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Piece:
    """A fill, or the part of one that flipped a position, as one round trip has it."""

    fill: VenueFill
    lots: int
    opens: bool
    fee_e8: int
    realised_e8: int


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """From flat to flat (closed_ms None: still open). held: signed lots of it now.

    is_whole: its opening is within the window. Sums are the exchange's figures (fees > 0 are paid).
    """

    key: str
    symbol: int
    side: int
    opened_ms: int | None
    closed_ms: int | None
    held: int
    pieces: tuple[Piece, ...]

    @property
    def is_whole(self) -> bool:
        """Is its opening fill known?"""
        return self.opened_ms is not None

    @property
    def realised_e8(self) -> int:
        """Realised profit before fees and funding."""
        return sum(piece.realised_e8 for piece in self.pieces)

    @property
    def fee_e8(self) -> int:
        """Commission."""
        return sum(piece.fee_e8 for piece in self.pieces)


def position_key(name: str, side: int, first_trade_id: int) -> str:
    """What joins live rows with a backfill: ``SYMBOL_SIDE_<first trade id>``."""
    return f"{name}_{'LONG' if side > 0 else 'SHORT'}_{first_trade_id}"


def unknown_key(name: str, side: int, window_start_ms: int) -> str:
    """The key of a position whose opening is older than the window."""
    return f"{name}_{'LONG' if side > 0 else 'SHORT'}_unknown_{window_start_ms}"


def fold(
    name: str,
    fills: Iterable[VenueFill],
    current: Mapping[PositionSide, int],
    window_start_ms: int,
) -> list[RoundTrip]:
    """The round trips of one symbol, oldest first. current: signed lots now, by position side.

    fills: complete since window_start_ms. Raises InputError for one trade id with two contents, and where the
    fills of a hedge leg would turn it to its other side (then fills are missing).
    """
    rows: dict[int, VenueFill] = {}
    for fill in fills:
        if rows.setdefault(fill.trade_id, fill) != fill:
            raise InputError("came with two contents", field=f"{name} trade {fill.trade_id}")
    ordered = sorted(rows.values(), key=lambda fill: (fill.ms, fill.trade_id))
    found: list[RoundTrip] = []
    for position_side in PositionSide:
        chosen = [fill for fill in ordered if fill.position_side == position_side]
        held = current.get(position_side, 0) - sum(fill.side * fill.lots for fill in chosen)
        found += _folded(name, chosen, held, window_start_ms, position_side)
    return sorted(found, key=lambda trip: (trip.pieces[0].fill.ms, trip.pieces[0].fill.trade_id))


def _folded(
    name: str, fills: Sequence[VenueFill], held: int, window_start_ms: int, position_side: PositionSide
) -> list[RoundTrip]:
    done: list[RoundTrip] = []
    pieces: list[Piece] = []
    key, opened_ms = "", None
    side = 1 if held > 0 else -1
    if held:
        key = unknown_key(name, side, window_start_ms)
    for fill in fills:
        closing = min(fill.lots, abs(held)) if held and fill.side != side else 0
        opening = fill.lots - closing
        fees = money_shares(fill.fee_e8, [closing, opening])
        if closing:
            pieces.append(Piece(fill, closing, False, fees[0], fill.realised_e8))
            held += fill.side * closing
            if held == 0:
                done.append(RoundTrip(key, fill.symbol, side, opened_ms, fill.ms, 0, tuple(pieces)))
                pieces, opened_ms = [], None
        if opening:
            if held == 0:
                side = fill.side
                _refuse_other_leg(name, position_side, side, fill)
                key, opened_ms = position_key(name, side, fill.trade_id), fill.ms
            pieces.append(Piece(fill, opening, True, fees[1], 0 if closing else fill.realised_e8))
            held += fill.side * opening
    if pieces:
        done.append(RoundTrip(key, pieces[0].fill.symbol, side, opened_ms, None, held, tuple(pieces)))
    return done


def _refuse_other_leg(name: str, position_side: PositionSide, side: int, fill: VenueFill) -> None:
    wanted = {PositionSide.LONG: 1, PositionSide.SHORT: -1}.get(position_side, side)
    if side != wanted:
        raise InputError(
            f"would turn the {position_side} leg of {name}: fills are missing",
            field=f"trade {fill.trade_id}",
        )


def absent(fills: Iterable[VenueFill], known: Iterable[tuple[int, int]]) -> list[VenueFill]:
    """Those whose (symbol, trade id) is not known, each once: what a second run finds nothing of."""
    seen = set(known)
    found: list[VenueFill] = []
    for fill in fills:
        if (fill.symbol, fill.trade_id) not in seen:
            seen.add((fill.symbol, fill.trade_id))
            found.append(fill)
    return found


def gaps(fills: Iterable[VenueFill], executed: Mapping[int, int]) -> dict[int, int]:
    """Orders whose fills do not add up (fault API-29): lots missing (< 0: too many) by order number.

    executed: lots that have traded by order number, as the orders themselves say.
    """
    sums = dict.fromkeys(executed, 0)
    for trade in {(fill.symbol, fill.trade_id): fill for fill in fills}.values():
        if trade.order_id in sums:
            sums[trade.order_id] += trade.lots
    return {order: executed[order] - lots for order, lots in sums.items() if executed[order] != lots}


# -- the wallet --------------------------------------------------------------------------------------

Booking = tuple[str, str, int]  # income kind, asset, UTC day number


def unique_income(rows: Iterable[Income]) -> list[Income]:
    """Each booking once. Raises InputError for one key with two contents."""
    found: dict[tuple[str, str, str], Income] = {}
    for row in rows:
        if found.setdefault((row.kind, row.symbol, row.key), row) != row:
            raise InputError("came with two contents", field=f"income {row.kind} {row.key}")
    return sorted(found.values(), key=lambda row: (row.ms, row.kind, row.key))


def income_sums(rows: Iterable[Income]) -> dict[Booking, int]:
    """Sums of the exchange's bookings by kind, asset and UTC day, in 1e-8."""
    sums: dict[Booking, int] = {}
    for row in unique_income(rows):
        key = (row.kind, row.asset, row.ms // DAY_MS)
        sums[key] = sums.get(key, 0) + row.amount_e8
    return sums


def sums_differ(rows: Iterable[Income], booked: Mapping[Booking, int]) -> dict[Booking, int]:
    """Where our books' sums differ from the exchange's (I13): theirs less ours, for ``booked``'s kinds."""
    theirs = income_sums(rows)
    kinds = {kind for kind, _, _ in booked}
    keys = {key for key in theirs if key[0] in kinds} | booked.keys()
    differences = {key: theirs.get(key, 0) - booked.get(key, 0) for key in keys}
    return {key: difference for key, difference in sorted(differences.items()) if difference}


def wallet_differs(opening_e8: int, rows: Iterable[Income], wallet_e8: int, asset: str) -> int:
    """The wallet less (opening wallet + all bookings of its asset, transfers included): 0 if I14 holds."""
    return wallet_e8 - opening_e8 - sum(row.amount_e8 for row in unique_income(rows) if row.asset == asset)
