"""From fills to round trips: each from the first fill out of flat to the fill that is flat again."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.kernel.records import (
    SLOT_ENTRY,
    TAG_ENTRY,
    TAG_EXCHANGE_STOP,
    TAG_FAST_STOP,
    TAG_LIQUIDATION,
    TAG_MINUTES,
    TAG_NAMES,
    TAG_SIGNAL,
    fill_dt,
    zeros,
)
from perpdesk.research.round_trips import RoundTrip, round_trips


def fills_of(table: str) -> np.ndarray:
    """Rows ``ms sleeve symbol BUY|SELL lots @ price [reason] [realised] [fee]``; what is held is counted."""
    lines = dedent(table).strip().splitlines()
    fills = zeros(len(lines), fill_dt)
    held: dict[tuple[int, int], int] = {}
    for fill, line in zip(fills, lines, strict=True):
        words = line.split()
        place = (int(words[1]), int(words[2]))
        side = 1 if words[3] == "BUY" else -1
        fill.ms, fill.sleeve, fill.symbol = int(words[0]), *place
        fill.side, fill.lots, fill.price = side, int(words[4]), int(words[6])
        fill.tag = TAG_NAMES.index(words[7]) if len(words) > 7 else TAG_ENTRY
        fill.realised_e8 = int(words[8]) if len(words) > 8 else 0
        fill.fee_e8 = int(words[9]) if len(words) > 9 else 1
        fill.slot = SLOT_ENTRY
        held[place] = held.get(place, 0) + side * fill.lots
        fill.held_lots = held[place]
    return fills


def shown(trip: RoundTrip) -> str:
    side = "long" if trip.side > 0 else "short"
    return (
        f"{trip.sleeve}/{trip.symbol} {side} {trip.lots} {trip.opened_ms}..{trip.closed_ms} "
        f"{trip.entry_price:g} -> {trip.exit_price:g} {trip.net_e8} {trip.reason}"
    )


def trips_of(table: str) -> list[str]:
    return [shown(trip) for trip in round_trips(fills_of(table))]


def test_in_and_out() -> None:
    assert trips_of("""
        10 0 0 BUY 5 @ 100
        20 0 0 SELL 5 @ 110 SIGNAL 50 2
    """) == ["0/0 long 5 10..20 100 -> 110 47 SIGNAL"]


def test_in_parts_and_out_in_parts() -> None:
    assert trips_of("""
        10 0 0 SELL 2 @ 100
        20 0 0 SELL 2 @ 110
        30 0 0 BUY 1 @ 90 TRAILING 15
        40 0 0 SELL 1 @ 120
        50 0 0 BUY 4 @ 95 TIMEOUT 60
    """) == ["0/0 short 5 10..50 108 -> 94 70 TIMEOUT"]


def test_sleeves_and_symbols_are_kept_apart_and_ends_are_in_order() -> None:
    assert trips_of("""
        10 0 0 BUY 5 @ 100
        11 1 0 SELL 5 @ 100
        12 0 1 BUY 5 @ 200
        20 1 0 BUY 5 @ 90 SIGNAL
        21 0 0 SELL 5 @ 90 EXCHANGE_STOP
    """) == ["1/0 short 5 11..20 100 -> 90 -2 SIGNAL", "0/0 long 5 10..21 100 -> 90 -2 EXCHANGE_STOP"]


def test_what_is_still_open_is_no_round_trip() -> None:
    assert trips_of("10 0 0 BUY 5 @ 100\n20 0 0 SELL 4 @ 110 SIGNAL") == []
    assert round_trips(zeros(0, fill_dt)) == []


def test_a_fill_that_turns_a_position_around_ends_one_and_begins_the_next() -> None:
    assert trips_of("""
        10 0 0 BUY 5 @ 100
        20 0 0 SELL 8 @ 110 LADDER 50 3
        30 0 0 BUY 3 @ 105 SIGNAL 15 1
    """) == [
        "0/0 long 5 10..20 100 -> 110 46 LADDER",
        "0/0 short 3 20..30 110 -> 105 14 SIGNAL",
    ]


def test_reasons_carry_their_minutes() -> None:
    fills = fills_of("10 0 0 BUY 5 @ 100\n20 0 0 SELL 5 @ 90 SIGNAL")
    for tag, reason in (
        (TAG_SIGNAL, "SIGNAL"),
        (TAG_EXCHANGE_STOP, "EXCHANGE_STOP"),
        (TAG_LIQUIDATION, "LIQUIDATION"),
        (TAG_FAST_STOP + 10 * TAG_MINUTES, "FAST_10M"),
    ):
        fills[1]["tag"] = tag
        assert round_trips(fills)[0].reason == reason


@given(
    moves=st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(0, 1), st.sampled_from(["BUY", "SELL"]), st.integers(1, 9), st.integers(50, 150)
        ),
        max_size=40,
    )
)  # fmt: skip
def test_nothing_is_lost_and_nothing_counted_twice(moves: list[tuple[int, int, str, int, int]]) -> None:
    table = "\n".join(
        f"{i} {v} {s} {side} {lots} @ {price} SIGNAL {i * 7 - 50} {i}"
        for i, (v, s, side, lots, price) in enumerate(moves)
    )
    if not moves:
        return
    fills = fills_of(table)
    trips = round_trips(fills)
    for v in range(2):
        for s in range(2):
            own = fills[(fills["sleeve"] == v) & (fills["symbol"] == s)]
            closed = [trip for trip in trips if (trip.sleeve, trip.symbol) == (v, s)]
            held = np.append(0, own["held_lots"])
            ends = np.flatnonzero((held[:-1] != 0) & (held[:-1] * held[1:] <= 0))
            assert [trip.closed_ms for trip in closed] == own["ms"][ends].tolist()
            finished = own[: ends[-1] + 1] if len(ends) else own[:0]
            assert sum(trip.realised_e8 for trip in closed) == finished["realised_e8"].sum()
            assert sum(trip.fees_e8 for trip in closed) == finished["fee_e8"].sum()
    assert [trip.closed_ms for trip in trips] == sorted(trip.closed_ms for trip in trips)
