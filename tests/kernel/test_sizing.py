"""Test vector 22, and what holds for every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.kernel.records import (
    APPROVED,
    MIN_NOTIONAL,
    QTY_ABOVE_MAX,
    QTY_BELOW_MIN,
    QTY_ZERO,
)
from perpdesk.kernel.sizing import entry_lots, size_verdict

USDT = 10**8
BTC = {"price": 641_234, "unit_e8": 10_000}  # 64123.4 in steps of 0.001
ADA = {"price": 4_321, "unit_e8": 10_000}  # 0.4321 in steps of 1


def sized(price, unit_e8, multiplier_ppm, notional_min=100, **changed):
    facts = {
        "margin_e8": 400 * USDT,
        "leverage": 5,
        "lots_min": 1,
        "lots_max": 10**6,
        "notional_min_e8": notional_min * USDT,
    } | changed
    value_e8 = price * unit_e8
    lots = entry_lots(facts["margin_e8"] * facts["leverage"], 1_000_000 - multiplier_ppm, value_e8)
    limits = [facts[name] for name in ("lots_min", "lots_max", "notional_min_e8")]
    verdict = size_verdict(lots, lots * value_e8, *limits)
    return verdict, lots if verdict == APPROVED else 0


@pytest.mark.parametrize(
    ("symbol", "multiplier_ppm", "notional_min", "expected"),
    [
        (BTC, 1_000_000, 100, (APPROVED, 31)),
        (BTC, 250_000, 100, (APPROVED, 7)),
        (BTC, 125_000, 100, (APPROVED, 3)),
        (BTC, 125_000, 200, (MIN_NOTIONAL, 0)),
        (ADA, 250_000, 100, (APPROVED, 1157)),
        (BTC, 0, 100, (QTY_ZERO, 0)),
    ],
)
def test_22_sizes(symbol, multiplier_ppm, notional_min, expected):
    assert sized(**symbol, multiplier_ppm=multiplier_ppm, notional_min=notional_min) == expected


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"lots_min": 31}, APPROVED),
        ({"lots_min": 32}, QTY_BELOW_MIN),
        ({"lots_max": 31}, APPROVED),
        ({"lots_max": 30}, QTY_ABOVE_MAX),
    ],
)
def test_limits(changed, verdict):
    assert sized(**BTC, multiplier_ppm=1_000_000, **changed)[0] == verdict


@given(
    st.integers(1, 1_000_000 * USDT),
    st.sampled_from([1_000_000, 250_000, 125_000, 0]),
    st.integers(1, 20),
    st.integers(1, 99_999_999),
    st.sampled_from([1, 10, 10_000, 10**8]),
)
def test_it_is_the_exact_quotient_rounded_down(margin_e8, multiplier_ppm, leverage, price, unit_e8):
    expected = margin_e8 * multiplier_ppm * leverage // (1_000_000 * price * unit_e8)
    found = sized(
        price,
        unit_e8,
        multiplier_ppm,
        notional_min=0,
        margin_e8=margin_e8,
        leverage=leverage,
        lots_max=10**18,
    )
    assert found == ((APPROVED, expected) if expected else (QTY_ZERO, 0))
