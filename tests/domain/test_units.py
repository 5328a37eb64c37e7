"""The door between Decimal and integers: exact both ways, or an error that names the field."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.domain import units
from perpdesk.domain.errors import InputError, ScaleError

BELOW_LIMIT = st.integers(-units.LIMIT + 1, units.LIMIT - 1)
STEPS = st.sampled_from(["1", "10", "0.1", "0.001", "0.00100", "3", "0.0003", "1E+1", "1e-8"]).map(Decimal)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.025", "0.025"),
        ("1E-8", "0.00000001"),
        ("-1.50", "-1.50"),
        (".5", "0.5"),
        ("5.", "5"),
        (7, "7"),
        ("+3e2", "300"),
    ],
)
def test_numbers_that_are_read(text: object, wanted: str) -> None:
    assert units.decimal_of(text) == Decimal(wanted)


@pytest.mark.parametrize(
    "value",
    [
        "NaN", "Infinity", "-inf", "sNaN", "", " ", " 1", "1 ", "1\n", "3%", "1_000", "1,5", "٣", "１２",
        "0x10", "--1", "1e", "1e4000", "9" * 65, True, False, None, 0.5, b"1", [],
        Decimal("NaN"), Decimal("Infinity"),
    ],
)  # fmt: skip
def test_numbers_that_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="leverage: must be a"):
        units.decimal_of(value, "leverage")


def test_floats_enter_only_through_their_own_door() -> None:
    assert units.decimal_of_float(0.1) == Decimal("0.1")
    assert units.decimal_of_float(1e-7) == Decimal("0.0000001")
    for value in (float("nan"), float("inf"), True):
        with pytest.raises(InputError):
            units.decimal_of_float(value)


@given(BELOW_LIMIT, st.integers(0, 12))
def test_units_survive_the_way_out_and_back(amount: int, digits: int) -> None:
    outside = units.from_units(amount, digits)
    assert units.to_units(outside, digits) == amount
    assert units.to_units(units.plain(outside), digits) == amount


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_values_survive_the_way_in_and_back(value: Decimal) -> None:
    assert units.from_units(units.to_units(value, 6), 6) == value


@given(st.integers(0, 10**12), STEPS)
def test_lots_survive_the_way_out_and_back(lots: int, step: Decimal) -> None:
    qty = units.qty_of(lots, step)
    assert qty == lots * step
    assert units.lots_of(qty, step) == lots
    assert units.lots_floor(qty, step) == lots


@given(st.integers(0, 10**9), STEPS, st.integers(1, 99))
def test_a_part_of_a_lot_is_refused_or_dropped_never_rounded_up(lots: int, step: Decimal, part: int) -> None:
    qty = units.qty_of(lots, step) + step * part / 100
    assert units.lots_floor(qty, step) == lots
    with pytest.raises(InputError, match="multiple of the lot"):
        units.lots_of(qty, step)


@given(st.integers(1, 10**10), st.integers(1, 10**6), st.integers(0, 4), STEPS)
def test_unit_e8_makes_notionals_exact(price: int, lots: int, price_digits: int, step: Decimal) -> None:
    exact = units.price_of(price, price_digits) * units.qty_of(lots, step)
    try:
        unit = units.unit_e8(price_digits, step)
    except ScaleError:
        smallest = units.price_of(1, price_digits) * step
        assert smallest * 10**8 % 1 != 0
    else:
        assert Decimal(price * lots * unit).scaleb(-8) == exact


@pytest.mark.parametrize(
    ("price_digits", "step", "unit"),
    [
        (2, "0.001", 1000),
        (1, "0.0001", 1000),
        (7, "1", 10),
        (8, "1", 1),
        (5, "0.001", 1),
        (0, "3", 300_000_000),
    ],
)
def test_unit_e8_vectors(price_digits: int, step: str, unit: int) -> None:
    assert units.unit_e8(price_digits, Decimal(step)) == unit


@pytest.mark.parametrize(("price_digits", "step"), [(8, "0.1"), (6, "0.001"), (9, "1"), (0, "1E+12")])
def test_a_scale_that_cannot_be_exact_says_what_to_change(price_digits: int, step: str) -> None:
    with pytest.raises(ScaleError, match=r"DOGEUSDT: .*use a"):
        units.unit_e8(price_digits, Decimal(step), "DOGEUSDT")


def test_nothing_that_could_reach_two_to_the_62_gets_in() -> None:
    assert units.money_e8(units.money_of(units.LIMIT - 1)) == units.LIMIT - 1
    with pytest.raises(ScaleError):
        units.money_e8(units.money_of(units.LIMIT))
    with pytest.raises(ScaleError, match="balance: .*coarser"):
        units.money_e8("1e900", "balance")
    units.refuse_overflow(units.LIMIT - 1, 1, 1)
    with pytest.raises(ScaleError, match="BTCUSDT"):
        units.refuse_overflow(units.LIMIT // 4, 2, 2, "BTCUSDT")


@pytest.mark.parametrize(
    ("convert", "value"),
    [
        (lambda v: units.price_to_units(v, 1), "100.05"),
        (lambda v: units.price_to_units(v, 1), "-1"),
        (lambda v: units.lots_of(v, Decimal("0.001")), "-0.001"),
        (units.ppm_of, "0.0000001"),
        (units.money_e8, "0.000000001"),
        (units.rate_e8, "0.000000001"),
        (units.money_e8, "1e-99"),
    ],
)
def test_what_would_be_rounded_or_negative_is_refused(convert, value: str) -> None:
    with pytest.raises(InputError):
        convert(value)


def test_named_conversions() -> None:
    assert units.price_to_units("27123.40", 2) == 2_712_340
    assert units.ppm_of("0.0005") == 500
    assert units.fraction_of(500) == Decimal("0.0005")
    assert units.rate_e8("-0.00052757") == -52_757
    assert units.money_e8("-1.5") == -150_000_000
    assert str(units.money_of(-150_000_000)) == "-1.50000000"
    assert units.plain(Decimal("1E-8")) == "0.00000001"


@pytest.mark.parametrize(
    ("step", "digits"),
    [("0.0010", 3), ("1", 0), ("5", 0), ("10", 0), ("1E+2", 0), ("1E-8", 8), ("0.25", 2), ("1.0", 0)],
)
def test_digits_of(step: str, digits: int) -> None:
    assert units.digits_of(Decimal(step)) == digits


@pytest.mark.parametrize(
    ("value", "digits", "wanted"),
    [("0.5", 0, "1"), ("-0.5", 0, "-1"), ("0.49999", 0, "0"), ("2.345", 2, "2.35"), ("-2.345", 2, "-2.35"),
     ("2.3449", 2, "2.34"), ("7", 2, "7.00"), ("1E-30", 2, "0.00")],
)  # fmt: skip
def test_half_away(value: str, digits: int, wanted: str) -> None:
    assert str(units.half_away(Decimal(value), digits)) == wanted


@given(st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-(10**6), max_value=10**6))
def test_half_away_is_the_nearest(value: Decimal) -> None:
    rounded = units.half_away(value, 2)
    assert abs(rounded - value) <= Decimal("0.005")
    assert units.half_away(-value, 2) == -rounded
