"""A window that is not whole has no score, and says why."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.score_v2.series import market

from perpdesk.strategies.score_v2 import STATUS_NAMES, score_v2


def statuses(h1, h4, d1):
    scores = score_v2(h1, h4, d1)
    unknown = np.isnan(scores.long_score) & np.isnan(scores.short_score)
    names = [STATUS_NAMES[code] for code in scores.status]
    assert [name != "OK" for name in names] == unknown.tolist()
    return names


def test_fewer_than_200_hours_have_no_score():
    h1, h4, d1 = market(1)
    assert len(score_v2(h1[1:], h4, d1)) == 0
    assert statuses(h1, h4, d1) == ["OK"]


def test_a_missing_hour_is_a_gap_as_long_as_it_is_in_the_window():
    h1, h4, d1 = market(2, 450)
    holed = np.delete(h1, 220).view(type(h1))
    names = statuses(holed, h4, d1)
    # the first window that bridges the hole ends with the bar after it, the last one begins before it
    assert names == ["OK"] * 21 + ["GAP"] * 199 + ["OK"] * 30


@pytest.mark.parametrize("frame", [1, 2])
def test_a_missing_bar_of_a_higher_interval_is_a_gap(frame):
    bars = list(market(3))
    bars[frame] = np.delete(bars[frame], len(bars[frame]) - 15).view(type(bars[0]))
    assert statuses(*bars) == ["GAP"]


@pytest.mark.parametrize("frame", [1, 2])
def test_a_higher_interval_that_lags_behind_is_stale(frame):
    bars = list(market(4))
    bars[frame] = bars[frame][:-1]
    assert statuses(*bars) == ["STALE_BARS"]


@pytest.mark.parametrize("frame", [1, 2])
def test_a_higher_interval_may_be_short_or_empty(frame):
    bars = list(market(5))
    bars[frame] = bars[frame][-3:]
    assert statuses(*bars) == ["OK"]
    bars[frame] = bars[frame][:0]
    assert statuses(*bars) == ["OK"]


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
def test_a_bar_that_cannot_be_is_bad_as_long_as_it_is_in_the_window(name, value):
    h1, h4, d1 = market(6, 410)
    h1[205][name] = value
    assert statuses(h1, h4, d1) == ["OK"] * 6 + ["BAD_BAR"] * 200 + ["OK"] * 5


@pytest.mark.parametrize("twice", [204, 150])
def test_a_bar_twice_or_out_of_order_is_bad(twice):
    h1, h4, d1 = market(7, 210)
    h1.open_ms[205] = h1.open_ms[twice]
    assert statuses(h1, h4, d1)[6] == "BAD_BAR"
