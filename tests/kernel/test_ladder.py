"""Test vector 20 and the order of the ladder's reasons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.kernel.ladder import (
    NOTHING,
    REASON_NAMES,
    baseline,
    ladder_lots,
    ladder_next,
    nearest_rank,
)


def climb(closes, quartile, median, side=1, lots=100):
    """Fill at each close that asks for it: [(age in s, reason)], average price of all fills."""
    batches = ladder_lots(lots, int(closes[0]), 10**8, 1)
    filled, last_ms, first, held, cost = 0, 0, 0, 0, 0
    events = []
    for minute, price in enumerate(closes):
        age_ms = 60_000 * minute
        if filled == 3:
            break
        reason = ladder_next(
            side, filled, age_ms, age_ms - last_ms, int(price), first, held, cost, quartile, median
        )
        if reason != NOTHING:
            events.append((age_ms // 1000, REASON_NAMES[reason]))
            first = first or int(price)
            held += batches[filled]
            cost += batches[filled] * int(price)
            last_ms = age_ms
            filled += 1
    return events, cost / held


# Prices in tenths.
CASES = [
    ([10_100] * 30, 10_000, 10_200, ["FORCED", "FORCED", "NEAR_AVG"], [900, 1200, 1380], 10_100),
    (
        [10_100 + 10 * i for i in range(31)],
        10_000,
        10_050,
        ["FORCED", "FORCED", "ELAPSED"],
        [900, 1200, 1680],
        10_317,
    ),
    (
        [10_000, 9_990, 9_980, 9_969, 9_975, 9_970, 9_980],
        10_000,
        10_100,
        ["P25", "PULLBACK", "NEAR_AVG"],
        [0, 180, 360],
        9_982.7,
    ),
    ([10_100] * 30, 0, 0, ["FORCED_NO_BASELINE", "ELAPSED", "NEAR_AVG"], [600, 1200, 1380], 10_100),
]


@pytest.mark.parametrize(("closes", "quartile", "median", "reasons", "ages", "average"), CASES)
def test_20_batches(closes, quartile, median, reasons, ages, average):
    events, found = climb(closes, quartile, median)
    assert events == list(zip(ages, reasons, strict=True))
    assert found == pytest.approx(average, abs=1e-9)


@pytest.mark.parametrize(
    ("lots", "batches"), [(100, (30, 30, 40)), (4, (1, 1, 2)), (11, (3, 3, 5)), (3, (0, 0, 0))]
)
def test_20_lots(lots, batches):
    assert ladder_lots(lots, 1000, 1, 0) == batches


@pytest.mark.parametrize(("least", "batches"), [(30_000, (30, 30, 40)), (30_001, (0, 0, 0))])
def test_a_batch_below_the_least_notional_is_no_ladder(least, batches):
    assert ladder_lots(100, 1000, 1, least) == batches


@given(st.integers(0, 10**9))
def test_no_lot_is_lost(lots):
    batches = ladder_lots(lots, 1, 1, 0)
    assert sum(batches) in (0, lots)
    assert (sum(batches) == 0) == (lots < 4)


@pytest.mark.parametrize(("percent", "value"), [(25, 15), (50, 30), (75, 45), (1, 1), (100, 60), (26, 16)])
def test_nearest_rank(percent, value):
    assert nearest_rank(np.arange(1, 61), percent) == value


def test_the_baseline_needs_half_an_hour():
    closes = np.random.default_rng(1).permutation(np.arange(1, 61))
    assert baseline(closes, 1) == (15, 30)
    assert baseline(closes, -1) == (45, 30)
    assert baseline(np.arange(1, 31), 1) == (8, 15)
    assert baseline(np.arange(1, 30), 1) == (0, 0)


@pytest.mark.parametrize(
    ("side", "filled", "age_s", "since_s", "price", "reason"),
    [
        # SHORT: at or above the quartile, 0.3 % above the first fill, at least the average less 0.3 %
        (-1, 0, 0, 0, 10_500, "P25"),
        (-1, 0, 0, 0, 10_499, "NOTHING"),
        (-1, 1, 200, 180, 10_030, "PULLBACK"),
        (-1, 1, 200, 180, 10_029, "NOTHING"),
        (-1, 2, 400, 180, 9_970, "NEAR_AVG"),
        (-1, 2, 400, 180, 9_969, "P50"),
        # never within three minutes of the last batch, however good the price
        (1, 1, 200, 179, 1, "NOTHING"),
        (1, 2, 400, 179, 1, "NOTHING"),
        (1, 1, 200, 180, 1, "PULLBACK"),
        # the end of the window comes before everything
        (1, 0, 1800, 0, 99_999, "WINDOW_END"),
        (1, 2, 1800, 60, 99_999, "WINDOW_END"),
        (1, 2, 1799, 180, 99_999, "FORCED"),
        (1, 2, 1679, 479, 99_999, "NOTHING"),
        (1, 2, 1679, 480, 99_999, "ELAPSED"),
    ],
)
def test_edges(side, filled, age_s, since_s, price, reason):
    quartile, median = (10_500, 9_900) if side < 0 else (9_500, 9_900)
    found = ladder_next(
        side, filled, 1000 * age_s, 1000 * since_s, price, 10_000, 30, 300_000, quartile, median
    )
    assert REASON_NAMES[found] == reason


@given(st.lists(st.integers(9_000, 11_000), min_size=31, max_size=31), st.integers(9_000, 11_000))
def test_whatever_the_price_does_all_three_batches_are_sent_inside_the_window(closes, quartile):
    events, _ = climb(closes, quartile, 10_000)
    assert len(events) == 3
    ages = [age for age, _ in events]
    assert ages[-1] <= 1800
    assert all(later - earlier >= 180 for earlier, later in zip(ages, ages[1:], strict=False) if later < 1800)
