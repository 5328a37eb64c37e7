"""Splitting fills that no sleeve ordered: exact, nothing lost, nobody on the other side touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.engine.reconcile.attribute import (
    EXTERNAL,
    Cause,
    Part,
    attribute,
    cause_of,
    funding_shares,
    money_shares,
    offset,
    shares,
)

FOREIGN, FORCED = Cause.FOREIGN, [cause for cause in Cause if cause is not Cause.FOREIGN]
BUY, SELL = 1, -1

lots = st.integers(-60, 60)
books = st.tuples(st.lists(lots, min_size=1, max_size=5), lots)


def after(side: int, parts: list[Part], sleeves: list[int], external: int) -> tuple[list[int], int]:
    """What everybody holds when the parts are booked."""
    held = list(sleeves)
    for part in parts:
        if part.owner == EXTERNAL:
            external += side * part.lots
        else:
            held[part.owner] += side * part.lots
    return held, external


@pytest.mark.parametrize(
    ("client_id", "cause"),
    [
        ("autoclose-1763640000123001", Cause.LIQUIDATION),
        ("adl_autoclose", Cause.ADL),
        ("settlement_autoclose-17", Cause.SETTLEMENT),
        ("web_autoclose-1", Cause.FOREIGN),
        ("", Cause.FOREIGN),
        ("s2-1-abc-e1-0", Cause.FOREIGN),
    ],
)
def test_the_exchanges_own_client_ids_say_the_cause(client_id: str, cause: Cause) -> None:
    assert cause_of(client_id) is cause


@pytest.mark.parametrize(
    ("side", "size", "sleeves", "external", "parts"),
    [
        (SELL, 4, [6, 4], 0, [(0, 2, False), (1, 2, False)]),  # 2.4 and 1.6: the larger remainder
        (SELL, 5, [5, 5, 5], 0, [(0, 2, False), (1, 2, False), (2, 1, False)]),  # ties to the lower
        (SELL, 1, [5, 5], 0, [(0, 1, False)]),
        (SELL, 4, [6, 4], 3, [(EXTERNAL, 3, False), (0, 1, False)]),  # external first
        (SELL, 3, [6, 4], 3, [(EXTERNAL, 3, False)]),
        (SELL, 15, [6, 4], 0, [(0, 6, False), (1, 4, False), (EXTERNAL, 5, True)]),  # a reversal
        (SELL, 15, [6, 4], 2, [(EXTERNAL, 2, False), (0, 6, False), (1, 4, False), (EXTERNAL, 3, True)]),
        (BUY, 7, [6, 4], 0, [(EXTERNAL, 7, True)]),  # an addition
        (BUY, 7, [6, 4], -3, [(EXTERNAL, 3, False), (EXTERNAL, 4, True)]),
        (BUY, 3, [-6, 0, -3], 5, [(0, 2, False), (2, 1, False)]),
        (BUY, 2, [], 0, [(EXTERNAL, 2, True)]),
    ],
)
def test_a_foreign_fill_takes_external_lots_then_sleeves_then_opens(
    side: int, size: int, sleeves: list[int], external: int, parts: list[tuple[int, int, bool]]
) -> None:
    found = attribute(side, size, 0, sleeves, external)
    assert [(part.owner, part.lots, part.opens) for part in found] == parts


@pytest.mark.parametrize("cause", FORCED)
@pytest.mark.parametrize(
    ("side", "size", "sleeves", "external", "parts"),
    [
        (SELL, 13, [6, 4], 3, [(EXTERNAL, 3), (0, 6), (1, 4)]),
        (SELL, 6, [6, 4], 2, [(EXTERNAL, 2), (0, 2), (1, 2)]),  # 2.4 and 1.6: the larger remainder
        (SELL, 1, [2, 2], 2, [(EXTERNAL, 1)]),
        (BUY, 4, [-6, 9], -2, [(EXTERNAL, 2), (0, 2)]),  # the other side is not touched
    ],
)
def test_a_forced_close_takes_external_lots_first_as_a_foreign_fill_does(
    cause: Cause, side: int, size: int, sleeves: list[int], external: int, parts: list[tuple[int, int]]
) -> None:
    found = attribute(side, size, 0, sleeves, external)
    assert [(part.owner, part.lots) for part in found] == parts


@given(
    st.sampled_from(list(Cause)),
    st.sampled_from([BUY, SELL]),
    st.integers(1, 200),
    st.integers(-1_000, 1_000_000),
    books,
)
def test_nothing_is_lost_and_nobody_is_turned(
    cause: Cause, side: int, size: int, fee_e8: int, held: tuple[list[int], int]
) -> None:
    sleeves, external = held
    parts = attribute(side, size, fee_e8, sleeves, external)
    assert sum(part.lots for part in parts) == size
    assert sum(part.fee_e8 for part in parts) == fee_e8
    assert all(part.lots > 0 for part in parts)
    now, outside = after(side, parts, sleeves, external)
    assert sum(now) + outside == sum(sleeves) + external + side * size
    for before, lots_now in zip(sleeves, now, strict=True):
        assert before * lots_now >= 0
        assert abs(lots_now) <= abs(before)
    if any(lots_now * side < 0 for lots_now in now):  # a sleeve keeps lots that the fill could have taken
        assert outside * side <= max(0, external * side)


@given(st.sampled_from([BUY, SELL]), st.integers(1, 100), books, st.data())
def test_the_order_of_the_sleeves_matters_by_one_lot_at_most(
    side: int, size: int, held: tuple[list[int], int], data: st.DataObject
) -> None:
    sleeves, external = held
    places = data.draw(st.permutations(range(len(sleeves))))
    now, _ = after(side, attribute(side, size, 0, sleeves, external), sleeves, external)
    moved = [sleeves[i] for i in places]
    again, _ = after(side, attribute(side, size, 0, moved, external), moved, external)
    assert all(abs(again[place] - now[i]) <= 1 for place, i in enumerate(places))


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_shares_are_whole_and_sum_up(total: int, weights: list[int]) -> None:
    if sum(weights) == 0:
        with pytest.raises(ValueError, match="cannot share"):
            shares(total, weights)
        return
    parts = shares(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)
        assert weight > 0 or part == 0
    if total <= sum(weights):
        assert all(part <= weight for part, weight in zip(parts, weights, strict=True))


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_money_is_shared_to_the_last_digit(amount_e8: int, weights: list[int]) -> None:
    parts = money_shares(amount_e8, weights)
    assert sum(parts) == amount_e8
    assert parts == [-part for part in money_shares(-amount_e8, weights)]


@pytest.mark.parametrize(("size", "side"), [(0, 1), (-1, 1), (5, 0)])
def test_a_fill_of_nothing_is_an_error(size: int, side: int) -> None:
    with pytest.raises(ValueError, match="a fill of"):
        attribute(side, size, 0, [1], 0)


@pytest.mark.parametrize(
    ("sleeves", "external", "parts"),
    [
        ([10, 0], -4, [(0, 4), (EXTERNAL, 4)]),
        ([6, 4], -5, [(0, 3), (1, 2), (EXTERNAL, 5)]),
        ([6, 4], -50, [(0, 6), (1, 4), (EXTERNAL, 10)]),
        ([6, 4], 5, []),
        ([-6, 4], 5, [(0, 5), (EXTERNAL, 5)]),
        ([6, 4], 0, []),
    ],
)
def test_what_stands_against_each_other_is_named(
    sleeves: list[int], external: int, parts: list[tuple[int, int]]
) -> None:
    assert [(part.owner, part.lots) for part in offset(sleeves, external)] == parts


@given(st.integers(-(10**10), 10**10), books)
def test_funding_sums_to_the_booking(amount_e8: int, held: tuple[list[int], int]) -> None:
    sleeves, external = held
    net = sum(sleeves) + external
    if net == 0:
        with pytest.raises(ValueError, match="sum to nothing"):
            funding_shares(amount_e8, sleeves, external)
        return
    found = funding_shares(amount_e8, sleeves, external)
    assert sum(found) == amount_e8
    for lots_held, share in zip([*sleeves, external], found, strict=True):
        exact = amount_e8 * lots_held
        assert abs(share * net - exact) <= 2 * abs(net)
