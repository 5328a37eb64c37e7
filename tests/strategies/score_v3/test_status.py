"""A window that is not whole has no score, and says why."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.score_v3.series import market

from perpdesk.strategies.score_v3 import STATUS_NAMES, score_v3


def statuses(m15, h1, directions, strengths):
    scores = score_v3(m15, h1, directions, strengths)
    unknown = np.isnan(scores.long_score) & np.isnan(scores.short_score)
    names = [STATUS_NAMES[code] for code in scores.status]
    assert [name != "OK" for name in names] == unknown.tolist()
    return names


def removed(bars, place):
    return np.delete(bars, place).view(np.recarray)


def test_fewer_than_100_quarters_have_no_score():
    m15, h1, directions, strengths = market(1)
    assert len(score_v3(m15[1:], h1, directions[1:], strengths[1:])) == 0
    assert statuses(m15, h1, directions, strengths) == ["OK"]


def test_fewer_than_25_hours_have_no_score():
    m15, h1, *regimes = market(1)
    assert statuses(m15, h1[-25:], *regimes) == ["OK"]
    assert statuses(m15, h1[-24:], *regimes) == ["INSUFFICIENT_HISTORY"]


def test_a_missing_quarter_is_a_gap_as_long_as_it_is_in_the_window():
    m15, h1, directions, strengths = market(2, 250)
    names = statuses(removed(m15, 120), h1, removed(directions, 120), removed(strengths, 120))
    # the first window that bridges the hole ends with the bar after it, the last one begins before it
    assert names == ["OK"] * 21 + ["GAP"] * 99 + ["OK"] * 30


def test_a_missing_hour_is_a_gap():
    m15, h1, *regimes = market(3)
    assert statuses(m15, removed(h1, len(h1) - 15), *regimes) == ["GAP"]


def test_hours_that_lag_behind_are_stale():
    m15, h1, *regimes = market(4)
    assert statuses(m15, h1[:-1], *regimes) == ["STALE_BARS"]


@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("low", 0),
        ("high", 100_000_000),
        ("volume_lots", -1),
        ("close", 10_000_000),
        ("open", 10_000_000),
        ("low", 10_000_000),
        ("high", 1),
    ],
)
def test_a_bar_that_cannot_be_is_bad(frame, name, value):
    series = market(6)
    series[frame][name][-20] = value
    assert statuses(*series) == ["BAD_BAR"]


def test_a_bad_quarter_is_bad_as_long_as_it_is_in_the_window():
    m15, h1, *regimes = market(6, 210)
    m15.low[105] = 0
    assert statuses(m15, h1, *regimes) == ["OK"] * 6 + ["BAD_BAR"] * 100 + ["OK"] * 5


@pytest.mark.parametrize("twice", [104, 50])
def test_a_bar_twice_or_out_of_order_is_bad(twice):
    m15, h1, *regimes = market(7, 110)
    m15.open_ms[105] = m15.open_ms[twice]
    assert statuses(m15, h1, *regimes)[6] == "BAD_BAR"
