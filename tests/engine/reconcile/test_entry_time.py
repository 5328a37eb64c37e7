"""True entry times: the spec's vectors, and what must not change them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perpdesk.domain.books import EntryTimeSource
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.entry_time import (
    Execution,
    Found,
    Match,
    OlderThanWindow,
    PriceMismatch,
    entry_time,
    opened,
)

LONG, SHORT = 1, -1
SINCE_MS = 0


def rows(text: str, prices: tuple[int, ...] = ()) -> list[Execution]:
    """``B10 S4``: trade k at k·1000 ms with id k."""
    found = []
    for k, word in enumerate(text.split(), 1):
        price = prices[k - 1] if prices else 100
        found.append(Execution(k, k * 1000, 1 if word[0] == "B" else -1, int(word[1:]), price))
    return found


@pytest.mark.parametrize(
    ("side", "lots", "text", "trade_id", "flip"),
    [
        (LONG, 10, "B10", 1, 0),
        (LONG, 5, "B10 S10 B5", 3, 0),
        (LONG, 6, "B10 S4", 1, 0),
        (LONG, 7, "B5 B5 S3", 1, 0),
        (LONG, 7, "S5 B12", 2, 5),
        (LONG, 10, "B10 S10 B10 S5 B5", 3, 0),
        (SHORT, 8, "S10 B4 S2", 1, 0),
        (SHORT, 8, "B4 S12", 2, 4),
        (LONG, 5, "B3 B3 S6 B2 S1 B4", 4, 0),
    ],
)
def test_the_opening_fill_is_found(side: int, lots: int, text: str, trade_id: int, flip: int) -> None:
    found = entry_time(side, lots, rows(text), SINCE_MS)
    assert isinstance(found, Found)
    assert (found.ms, found.trade_id, found.flip) == (trade_id * 1000, trade_id, flip)
    assert (found.average, found.match) == (100, Match.UNCHECKED)


@pytest.mark.parametrize(("lots", "text", "unexplained"), [(7, "S3 B2", 8), (5, "", 5)])
def test_what_the_window_does_not_explain_is_older(lots: int, text: str, unexplained: int) -> None:
    assert entry_time(LONG, lots, rows(text), 77) == OlderThanWindow(77, unexplained)


def test_equal_times_are_ordered_by_id() -> None:
    given_rows = [Execution(7, 5000, -1, 10), Execution(6, 5000, 1, 10), Execution(8, 5000, 1, 4)]
    found = entry_time(LONG, 4, given_rows, SINCE_MS)
    assert isinstance(found, Found)
    assert (found.trade_id, found.flip) == (8, 0)


def test_identical_repeats_are_one_and_others_are_an_error() -> None:
    repeated = rows("B10 S4")
    found = entry_time(LONG, 6, [*repeated, repeated[1]], SINCE_MS)
    assert isinstance(found, Found)
    assert found.trade_id == 1
    with pytest.raises(InputError, match="two contents"):
        entry_time(LONG, 6, [*repeated, Execution(2, 2000, -1, 5, 100)], SINCE_MS)


def test_the_legs_of_hedge_mode_are_apart() -> None:
    legs = [
        Execution(1, 1000, 1, 10, 100, PositionSide.LONG),
        Execution(2, 2000, -1, 3, 100, PositionSide.SHORT),
    ]
    long = entry_time(LONG, 10, legs, SINCE_MS, position_side=PositionSide.LONG)
    short = entry_time(SHORT, 3, legs, SINCE_MS, position_side=PositionSide.SHORT)
    assert isinstance(long, Found)
    assert isinstance(short, Found)
    assert (long.trade_id, short.trade_id) == (1, 2)


@pytest.mark.parametrize(("lots", "word"), [(0, "lots: must be positive"), (-3, "lots: must be positive")])
def test_no_lots_are_an_error(lots: int, word: str) -> None:
    with pytest.raises(InputError, match=word):
        entry_time(LONG, lots, rows("B3"), SINCE_MS)
    with pytest.raises(InputError, match="trade 1"):
        entry_time(LONG, 3, [Execution(1, 1, 1, 0)], SINCE_MS)


@pytest.mark.parametrize(
    ("entry_price", "match"), [(Fraction("100.75"), Match.EXACT), (96, Match.ACCEPTED), (95, None)]
)
def test_the_average_is_checked_against_the_exchanges(
    entry_price: Fraction | int, match: Match | None
) -> None:
    found = entry_time(LONG, 8, rows("B10 S4 B2", (100, 110, 103)), SINCE_MS, entry_price=entry_price)
    if match is None:
        assert found == PriceMismatch(Fraction("100.75"), Fraction(95))
    else:
        assert isinstance(found, Found)
        assert (found.trade_id, found.average, found.match) == (1, Fraction("100.75"), match)


def test_what_an_entry_time_is_used_for() -> None:
    found = entry_time(LONG, 10, rows("B10"), SINCE_MS)
    assert opened(found, 99) == (1000, EntryTimeSource.RECONSTRUCTED, None)
    older = entry_time(LONG, 10, [], SINCE_MS)
    assert opened(older, 99) == (None, EntryTimeSource.OLDER_THAN_WINDOW, None)
    ms, source, alarm = opened(entry_time(LONG, 10, rows("B10"), SINCE_MS, entry_price=50), 99)
    assert (ms, source) == (99, EntryTimeSource.FIRST_SEEN)
    assert alarm is not None


fills = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 20), st.integers(90, 110), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


def histories(drawn: list[tuple[int, int, int, int]], start: int = 1) -> list[Execution]:
    """Fills with rising ids and times that are sometimes equal."""
    ms, found = 10_000 * start, []
    for k, (side, lots, price, later) in enumerate(drawn):
        ms += later
        found.append(Execution(start + k, ms, side, lots, price))
    return found


def held_by(history: list[Execution]) -> int:
    return sum(row.side * row.lots for row in history)


@given(fills, st.randoms(use_true_random=False), st.integers(2, 9))
def test_shuffling_repeating_prefixing_and_scaling_change_nothing(
    drawn: list[tuple[int, int, int, int]], random: object, factor: int
) -> None:
    history = histories(drawn, start=100)
    held = held_by(history)
    assume(held != 0)
    side, lots = (1, held) if held > 0 else (-1, -held)
    found = entry_time(side, lots, history, SINCE_MS)
    shuffled = [*history, *history[::2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert entry_time(side, lots, shuffled, SINCE_MS) == found
    flat = histories([(1, 5, 100, 1), (-1, 2, 100, 1), (-1, 3, 100, 1)])
    assert entry_time(side, lots, [*flat, *history], SINCE_MS) == found
    scaled = [Execution(r.trade_id, r.ms, r.side, r.lots * factor, r.price) for r in history]
    again = entry_time(side, lots * factor, scaled, SINCE_MS)
    assert isinstance(found, Found)
    assert isinstance(again, Found)
    assert (again.trade_id, again.flip, again.average) == (found.trade_id, found.flip * factor, found.average)


@given(fills)
def test_replayed_forward_from_the_opening_the_position_is_there(
    drawn: list[tuple[int, int, int, int]],
) -> None:
    history = histories(drawn)
    held = held_by(history)
    assume(held != 0)
    side, lots = (1, held) if held > 0 else (-1, -held)
    found = entry_time(side, lots, history, SINCE_MS)
    assert isinstance(found, Found)
    place = next(i for i, row in enumerate(history) if row.trade_id == found.trade_id)
    running = history[place].side * (history[place].lots - found.flip)
    assert running * side > 0
    for row in history[place + 1 :]:
        running += row.side * row.lots
        assert running * side > 0  # never flat in between: it is this position's opening
    assert running == held
    before = sum(row.side * row.lots for row in history[:place])
    assert before == -side * found.flip
