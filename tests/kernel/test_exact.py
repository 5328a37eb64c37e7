"""Multiply-divide without overflow, against Python's own integers."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from perpdesk.kernel.exact import mul_div_ceil, mul_div_floor, mul_div_half, round_down, round_up

LIMIT = 1 << 62
# Small numbers, huge ones and everything between are equally likely.
numbers = st.one_of(
    st.integers(0, 1000),
    st.integers(0, LIMIT - 1),
    st.integers(0, 61).map(lambda bit: 1 << bit),
    st.integers(1, 61).map(lambda bit: (1 << bit) - 1),
)
divisors = numbers.filter(lambda c: c > 0)


@given(numbers, numbers, divisors)
@example(LIMIT - 1, LIMIT - 1, LIMIT - 1)
@example(0, LIMIT - 1, 1)
@example(LIMIT - 1, 1, 1)
@example(LIMIT - 1, 2, 3)
@example(3_000_000_000, 3_074_457_345, 1)  # just above 2^63, as a product
@settings(max_examples=500)
def test_multiply_divide_is_exact(a, b, c):
    assume(a * b // c < LIMIT)
    floor, remainder = divmod(a * b, c)
    assert mul_div_floor(a, b, c) == floor
    assert mul_div_ceil(a, b, c) == floor + (remainder > 0)
    assert mul_div_half(a, b, c) == floor + (2 * remainder >= c)


@pytest.mark.parametrize(
    ("a", "b", "c", "floor", "half", "ceil"),
    [
        (7, 1, 2, 3, 4, 4),
        (5, 1, 2, 2, 3, 3),  # half goes up
        (6, 1, 4, 1, 2, 2),
        (5, 1, 4, 1, 1, 2),
        (8, 1, 4, 2, 2, 2),
        (10**17, 500, 1_000_000, 5 * 10**13, 5 * 10**13, 5 * 10**13),
        (10**18, 1_070_000, 1_000_000, 1_070_000_000_000_000_000, 1_070_000_000_000_000_000, 1_070_000_000_000_000_000),
    ],
)  # fmt: skip
def test_roundings(a, b, c, floor, half, ceil):
    assert (mul_div_floor(a, b, c), mul_div_half(a, b, c), mul_div_ceil(a, b, c)) == (floor, half, ceil)


@given(st.integers(0, 10**12), st.integers(1, 10**6))
def test_rounding_to_a_step(value, step):
    up, down = round_up(value, step), round_down(value, step)
    assert up % step == 0
    assert down % step == 0
    assert down <= value <= up
    assert up - down in (0, step)
