"""Test vector 19, and what holds for every record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.strategies.score_rules.ratings import (
    BONUS_PPM,
    HARD_STOPS,
    MULTIPLIER_PPM,
    NET_E8,
    level_reached,
    rating_next,
)


@pytest.mark.parametrize(
    ("level", "trades", "hard_stops", "net", "wins", "expected"),
    [
        (0, 2, 2, -500, 0, 0),
        (0, 3, 3, -10, 0, 1),
        (0, 9, 8, -50, 2, 3),
        (0, 10, 2, -250, 4, 2),
        (1, 5, 5, -90, 1, 2),
        (1, 10, 0, 50, 6, 0),
        (1, 10, 0, 49.99, 10, 1),
        (2, 10, 0, 80, 6, 1),
        (2, 10, 0, 80, 5, 2),
        (3, 50, 0, 500, 40, 3),
        (0, 10, 0, -99.99, 3, 0),
    ],
)
def test_19_the_next_level(level, trades, hard_stops, net, wins, expected):
    assert rating_next(level, trades, hard_stops, round(net * 10**8), wins) == expected


RECORDS = st.tuples(
    st.integers(0, 3),
    st.integers(0, 30),
    st.integers(0, 12),
    st.integers(-(10**11), 10**11),
    st.integers(0, 30),
)


@given(RECORDS)
def test_one_level_up_at_most_and_never_out_of_a_ban(record):
    level = record[0]
    after = rating_next(*record)
    assert after >= level - 1
    assert level < 3 or after == 3


@given(RECORDS, st.integers(0, 5), st.integers(0, 10**11))
def test_a_worse_record_never_gives_a_better_level(record, stops, loss_e8):
    level, trades, hard_stops, net_e8, wins = record
    worse = rating_next(level, trades, hard_stops + stops, net_e8 - loss_e8, wins)
    assert worse >= rating_next(*record)


@given(RECORDS)
def test_the_job_run_again_changes_nothing(record):
    """At a change of level the window restarts, so it holds no trades."""
    level = record[0]
    after = rating_next(*record)
    if after != level:
        assert rating_next(after, 0, 0, 0, 0) == after
    else:
        assert rating_next(after, *record[1:]) == after


def test_levels_are_ordered():
    assert list(MULTIPLIER_PPM) == sorted(MULTIPLIER_PPM, reverse=True)
    assert MULTIPLIER_PPM[3] == 0
    assert list(BONUS_PPM[:3]) == sorted(BONUS_PPM[:3])
    assert [level_reached(3, stops, 0, HARD_STOPS, NET_E8) for stops in HARD_STOPS] == [0, 1, 2, 3]
    assert [level_reached(3, 0, net, HARD_STOPS, NET_E8) for net in NET_E8[1:]] == [1, 2, 3]
    assert [level_reached(3, 0, net + 1, HARD_STOPS, NET_E8) for net in NET_E8[1:]] == [0, 1, 2]
