"""Test vector 25, the confirming bar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.kernel.intervals import CLOSE, COLUMNS, HIGH, LOW, OPEN, VOLUME_LOTS
from perpdesk.strategies.score_rules.confirm import confirms


def bars(opening, close, volume, before=100):
    rows = np.zeros((4, COLUMNS), np.int64)
    rows[:, [OPEN, HIGH, LOW, CLOSE]] = opening
    rows[3, CLOSE] = close
    rows[:, VOLUME_LOTS] = [before, before, before, volume]
    return rows


@pytest.mark.parametrize(
    ("close", "volume", "yes"), [(10_031, 120, True), (10_030, 120, False), (10_031, 119, False)]
)
def test_25_confirm(close, volume, yes):
    assert confirms(bars(10_000, close, volume), 1) == yes


@pytest.mark.parametrize(("close", "yes"), [(9_970, True), (9_971, False)])
def test_the_other_side(close, yes):
    assert confirms(bars(10_000, close, 120), -1) == yes


@given(st.integers(9_000, 11_000), st.integers(0, 300), st.integers(0, 300))
def test_a_bar_confirms_at_most_its_own_colour(close, volume, before):
    rows = bars(10_000, close, volume, before)
    assert not (confirms(rows, 1) and close <= 10_000)
    assert not (confirms(rows, -1) and close >= 10_000)


@given(st.integers(-600, 600), st.integers(0, 300), st.integers(0, 300))
def test_mirrored_prices_confirm_the_other_side(body, volume, before):
    """Mirrored at the newest close."""
    one, other = bars(10_000 - body, 10_000, volume, before), bars(10_000 + body, 10_000, volume, before)
    assert confirms(one, 1) == confirms(other, -1)
