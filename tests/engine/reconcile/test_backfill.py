"""Fills folded into round trips, and the sums that must agree."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.reconcile.scenes import BOTH, fill

from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.backfill import (
    DAY_MS,
    absent,
    fold,
    gaps,
    income_sums,
    sums_differ,
    unique_income,
    wallet_differs,
)
from perpdesk.ports import Income, VenueFill

WINDOW_MS = 1_000


def history(*lots: int, first: int = 1, **more: object) -> list[VenueFill]:
    return [
        fill(first + k, size, ms=WINDOW_MS + (first + k) * 1_000, fee_e8=10, realised_e8=100, **more)  # type: ignore[arg-type]
        for k, size in enumerate(lots)
    ]


def trips(fills: list[VenueFill], held: int) -> list[tuple[str, bool, int, int]]:
    """(key, is it closed, lots now, number of pieces)."""
    found = fold("BTCUSDT", fills, {BOTH: held}, WINDOW_MS)
    return [(one.key, one.closed_ms is not None, one.held, len(one.pieces)) for one in found]


def test_a_round_trip_is_named_by_its_first_fill() -> None:
    assert trips(history(10, -4, -6), 0) == [("BTCUSDT_LONG_1", True, 0, 3)]
    assert trips(history(-3, 3, 5), 5) == [("BTCUSDT_SHORT_1", True, 0, 2), ("BTCUSDT_LONG_3", False, 5, 1)]


def test_a_flip_is_split_in_two() -> None:
    found = fold("BTCUSDT", history(4, -10), {BOTH: -6}, WINDOW_MS)
    assert [one.key for one in found] == ["BTCUSDT_LONG_1", "BTCUSDT_SHORT_2"]
    closing, opening = found[0].pieces[1], found[1].pieces[0]
    assert (closing.lots, closing.opens, opening.lots, opening.opens) == (4, False, 6, True)
    assert (closing.fee_e8, opening.fee_e8) == (4, 6)
    assert (closing.realised_e8, opening.realised_e8) == (100, 0)
    assert found[0].closed_ms == found[1].opened_ms


def test_what_was_open_before_the_window_has_an_unknown_key() -> None:
    found = fold("BTCUSDT", history(-4, -6, 2), {BOTH: 2}, WINDOW_MS)
    assert [(one.key, one.is_whole) for one in found] == [
        ("BTCUSDT_LONG_unknown_1000", False),
        ("BTCUSDT_LONG_3", True),
    ]


def test_a_break_even_close_is_a_close() -> None:
    even = [fill(1, 5, ms=2_000), fill(2, -5, ms=3_000, realised_e8=0)]
    assert trips(even, 0) == [("BTCUSDT_LONG_1", True, 0, 2)]


def test_hedge_legs_are_folded_apart() -> None:
    long, short = PositionSide.LONG, PositionSide.SHORT
    fills = [*history(5, -5, side=long), *history(-3, first=8, side=short)]
    found = fold("BTCUSDT", fills, {short: -3}, WINDOW_MS)
    assert [one.key for one in found] == ["BTCUSDT_LONG_1", "BTCUSDT_SHORT_8"]
    with pytest.raises(InputError, match="fills are missing"):
        fold("BTCUSDT", history(5, -9, side=long), {long: -4}, WINDOW_MS)


def test_one_id_with_two_contents_is_an_error() -> None:
    with pytest.raises(InputError, match="two contents"):
        fold("BTCUSDT", [fill(1, 5), fill(1, 6)], {BOTH: 11}, WINDOW_MS)


moves = st.lists(st.integers(-9, 9).filter(bool), min_size=1, max_size=20)


@given(moves, st.integers(-9, 9), st.integers(0, 99))
def test_nothing_is_lost_and_folding_twice_is_folding_once(lots: list[int], before: int, seed: int) -> None:
    fills = history(*lots)
    held = before + sum(lots)
    found = fold("BTCUSDT", fills, {BOTH: held}, WINDOW_MS)
    mixed = [*fills, *fills]
    random.Random(seed).shuffle(mixed)
    assert fold("BTCUSDT", mixed, {BOTH: held}, WINDOW_MS) == found
    pieces = [piece for trip in found for piece in trip.pieces]
    for one in fills:
        own = [piece for piece in pieces if piece.fill is one or piece.fill == one]
        assert sum(piece.lots for piece in own) == one.lots
        assert sum(piece.fee_e8 for piece in own) == one.fee_e8
        assert sum(piece.realised_e8 for piece in own) == one.realised_e8
    assert len({trip.key for trip in found}) == len(found)
    assert sum(trip.held for trip in found) == (held if pieces else 0)
    assert all(trip.closed_ms is not None for trip in found[:-1])


@given(moves, moves)
def test_a_key_does_not_change_when_the_history_goes_on(first: list[int], then: list[int]) -> None:
    early = fold("BTCUSDT", history(*first), {BOTH: sum(first)}, WINDOW_MS)
    late = fold("BTCUSDT", history(*first, *then), {BOTH: sum(first) + sum(then)}, WINDOW_MS)
    assert [trip.key for trip in early] == [trip.key for trip in late][: len(early)]


def test_a_second_run_finds_nothing_new() -> None:
    fills = history(10, -4)
    new = absent([*fills, *fills], [])
    assert new == fills
    assert absent(fills, [(one.symbol, one.trade_id) for one in new]) == []


def test_orders_whose_fills_do_not_add_up_are_gaps() -> None:
    fills = [
        fill(1, 4, order_id=90),
        fill(2, 6, order_id=90),
        fill(2, 6, order_id=90),
        fill(3, -5, order_id=91),
    ]
    assert gaps(fills, {90: 10, 91: 5}) == {}
    assert gaps(fills, {90: 12, 91: 5, 92: 3}) == {90: 2, 92: 3}
    assert gaps(fills, {91: 4}) == {91: -1}


def income(
    key: str, kind: str, amount_e8: int, ms: int = 0, symbol: str = "BTCUSDT", asset: str = "USDT"
) -> Income:
    return Income(key, kind, symbol, asset, amount_e8, None, ms)


BOOKINGS = [
    income("1", "REALIZED_PNL", 500, 1),
    income("1", "COMMISSION", -20, 1),
    income("2", "COMMISSION", -30, DAY_MS),
    income("3", "TRANSFER", 10_000, 2, symbol=""),
    income("4", "COMMISSION", -7, 3, asset="BNB"),
]


def test_bookings_are_summed_once_by_kind_asset_and_day() -> None:
    assert income_sums([*BOOKINGS, *BOOKINGS]) == {
        ("REALIZED_PNL", "USDT", 0): 500,
        ("COMMISSION", "USDT", 0): -20,
        ("COMMISSION", "USDT", 1): -30,
        ("TRANSFER", "USDT", 0): 10_000,
        ("COMMISSION", "BNB", 0): -7,
    }
    with pytest.raises(InputError, match="two contents"):
        unique_income([*BOOKINGS, income("1", "COMMISSION", -21, 1)])


def test_a_difference_of_one_unit_is_found() -> None:
    booked = {
        ("REALIZED_PNL", "USDT", 0): 500,
        ("COMMISSION", "USDT", 0): -20,
        ("COMMISSION", "USDT", 1): -30,
    }
    booked |= {("COMMISSION", "BNB", 0): -7}
    assert sums_differ(BOOKINGS, booked) == {}
    assert sums_differ(BOOKINGS, booked | {("REALIZED_PNL", "USDT", 0): 499}) == {
        ("REALIZED_PNL", "USDT", 0): 1
    }
    assert sums_differ(BOOKINGS, booked | {("COMMISSION", "USDT", 9): -1}) == {("COMMISSION", "USDT", 9): 1}
    del booked["COMMISSION", "USDT", 1]
    assert sums_differ(BOOKINGS, booked) == {("COMMISSION", "USDT", 1): -30}


def test_the_wallet_is_its_opening_and_all_bookings_of_its_asset() -> None:
    assert wallet_differs(1_000, BOOKINGS, 1_000 + 500 - 20 - 30 + 10_000, "USDT") == 0
    assert wallet_differs(1_000, [*BOOKINGS, *BOOKINGS], 11_451, "USDT") == 1
