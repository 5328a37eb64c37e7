"""Ticks, lots and money: the only door between Decimal outside and integers in the kernel.

Inside the kernel a price is an integer count of 10^-price_digits, a quantity an integer count of lots,
money an integer count of 1e-8 of the quote currency, and a share an integer count of parts per million.
Every function here is exact: what would have to be rounded is refused, except where the name says
``floor`` or ``half_away``. Nothing that could reach 2^62 gets in, because int64 wraps silently in
compiled code.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from perpdesk.domain.errors import InputError, ScaleError

LIMIT = 1 << 62
MONEY_DIGITS = 8
PPM_DIGITS = 6
RATE_DIGITS = 8

# What exchanges and people write for numbers: ASCII digits, a point, perhaps an exponent ("1E-8").
# Decimal itself would also take NaN, Infinity, "1_000", " 1 " and the digits of every script.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_LENGTH_MAX = 64
_WIDE = Context(prec=60)


def decimal_of(value: object, field: str = "number") -> Decimal:
    """The number that a text, an int or a Decimal stands for, exactly.

    Raises InputError, naming ``field``, for NaN, Infinity, bool, float, empty text, percent signs,
    blanks, underscores and digits that are not ASCII.
    """
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise InputError(f"must be a finite number, was {value}", field=field)
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InputError(f"must be a number written as text or an integer, was {value!r}", field=field)
    text = str(value)
    if len(text) > _LENGTH_MAX or _NUMBER.fullmatch(text) is None:
        raise InputError(
            f"must be a plain decimal number such as 0.025, was {text[:_LENGTH_MAX]!r}", field=field
        )
    return Decimal(text)


def decimal_of_float(value: object, field: str = "number") -> Decimal:
    """The shortest decimal that a float stands for (0.1 is 0.1): for JSON numbers and float columns."""
    if isinstance(value, float):
        return decimal_of(repr(value), field)
    return decimal_of(value, field)


def _scaled(value: Decimal, digits: int, field: str | None = None) -> tuple[int, bool]:
    """(value × 10^digits cut towards zero, is that exact?) in integers: no context, no rounding."""
    sign, figures, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise InputError(f"must be a finite number, was {value}", field=field)
    too_large = f"{value} with {digits} decimal places does not fit into 62 bits: use a coarser scale"
    coefficient = int("".join(map(str, figures)))
    if coefficient == 0:
        return 0, True
    power = exponent + digits
    if value.adjusted() + digits > 25:
        raise ScaleError(too_large, field=field)
    if power >= 0:
        whole, exact = coefficient * 10**power, True
    elif -power > len(figures):
        whole, exact = 0, False
    else:
        whole, rest = divmod(coefficient, 10**-power)
        exact = rest == 0
    if whole >= LIMIT:
        raise ScaleError(too_large, field=field)
    return (-whole if sign else whole), exact


def to_units(value: object, digits: int, field: str = "number") -> int:
    """value × 10^digits as an integer, exactly. Raises InputError if digits would be lost."""
    number = decimal_of(value, field)
    units, exact = _scaled(number, digits, field)
    if not exact:
        raise InputError(f"must have at most {digits} decimal places, was {plain(number)}", field=field)
    return units


def from_units(units: int, digits: int) -> Decimal:
    """units × 10^-digits, exactly, with that many places."""
    sign = 1 if units < 0 else 0
    return Decimal((sign, tuple(map(int, str(abs(units)))), -digits))


def digits_of(step: Decimal) -> int:
    """Decimal places that a step needs: 0.0010 → 3, 5 → 0, 10 → 0."""
    _, figures, exponent = step.as_tuple()
    if not isinstance(exponent, int):
        raise InputError(f"must be a finite number, was {step}", field="step")
    places = -exponent
    for figure in reversed(figures):
        if figure != 0 or places <= 0:
            break
        places -= 1
    return max(0, places)


def price_to_units(price: object, price_digits: int, field: str = "price") -> int:
    """A price in the data scale 10^-price_digits. Negative prices and lost digits are InputErrors."""
    units = to_units(price, price_digits, field)
    if units < 0:
        raise InputError(f"must not be negative, was {price}", field=field)
    return units


def price_of(units: int, price_digits: int) -> Decimal:
    """The price that so many units are."""
    return from_units(units, price_digits)


def _lots(qty: object, lot_step: Decimal, field: str) -> tuple[int, bool]:
    number = decimal_of(qty, field)
    if number < 0:
        raise InputError(f"must not be negative, was {plain(number)}", field=field)
    if lot_step <= 0:
        raise InputError(f"must be above zero, was {plain(lot_step)}", field="lot_step")
    digits = digits_of(lot_step)
    units, exact = _scaled(number, digits, field)
    lots, rest = divmod(units, _scaled(lot_step, digits)[0])
    return lots, exact and rest == 0


def lots_of(qty: object, lot_step: Decimal, field: str = "quantity") -> int:
    """How many lots a quantity is. Raises InputError if it is not a whole number of lots."""
    lots, exact = _lots(qty, lot_step, field)
    if not exact:
        raise InputError(f"must be a multiple of the lot {plain(lot_step)}, was {qty}", field=field)
    return lots


def lots_floor(qty: object, lot_step: Decimal, field: str = "quantity") -> int:
    """The whole lots in a quantity; what is left over is dropped (an order is never rounded up)."""
    return _lots(qty, lot_step, field)[0]


def qty_of(lots: int, lot_step: Decimal) -> Decimal:
    """The quantity that so many lots are (signed)."""
    digits = digits_of(lot_step)
    return from_units(lots * _scaled(lot_step, digits)[0], digits)


def money_e8(amount: object, field: str = "amount") -> int:
    """An amount of the quote currency in 1e-8 units (signed)."""
    return to_units(amount, MONEY_DIGITS, field)


def money_of(amount_e8: int) -> Decimal:
    """The amount that so many 1e-8 units are, with eight places."""
    return from_units(amount_e8, MONEY_DIGITS)


def ppm_of(fraction: object, field: str = "fraction") -> int:
    """A share in parts per million: 0.0005 → 500. Finer shares are InputErrors."""
    return to_units(fraction, PPM_DIGITS, field)


def fraction_of(ppm: int) -> Decimal:
    """The share that so many parts per million are."""
    return from_units(ppm, PPM_DIGITS)


def rate_e8(rate: object, field: str = "rate") -> int:
    """A funding rate in 1e-8 units: 0.0001 → 10000. Finer rates are InputErrors."""
    return to_units(rate, RATE_DIGITS, field)


def unit_e8(price_digits: int, lot_step: Decimal, symbol: str = "") -> int:
    """Money, in 1e-8 quote units, of one price unit times one lot: notional = price × lots × unit_e8.

    Raises ScaleError if that is not a whole number: then price times quantity would need rounding.
    """
    digits = digits_of(lot_step)
    lot_units = _scaled(lot_step, digits)[0]
    power = MONEY_DIGITS - price_digits - digits
    unit: int
    unit, rest = (lot_units * 10**power, 0) if power >= 0 else divmod(lot_units, 10**-power)
    if rest != 0 or unit < 1:
        raise ScaleError(
            f"one price unit (1e-{price_digits}) times one lot ({plain(lot_step)}) is not a whole number of "
            "1e-8 of the quote currency: use a price scale with fewer digits or a larger lot_step",
            field=symbol or None,
        )
    if unit >= LIMIT:
        raise ScaleError(
            f"lot_step {plain(lot_step)} is too large for 62 bits: use a smaller one", field=symbol or None
        )
    return unit


def refuse_overflow(price_units: int, lots: int, unit: int, symbol: str = "") -> None:
    """Raise ScaleError if price × lots × unit_e8, the largest notional of a run, could reach 2^62."""
    if price_units * lots * unit >= LIMIT:
        raise ScaleError(
            f"price {price_units} units × {lots} lots × unit {unit} can reach 2^62 (1e-8 quote units): "
            "use a price scale with fewer digits, or a smaller largest quantity",
            field=symbol or None,
        )


def plain(value: Decimal) -> str:
    """The number as people write it: no exponent, no digit lost."""
    return format(value, "f")


def half_away(value: Decimal, digits: int) -> Decimal:
    """value rounded to so many places, half away from zero, however large: for tables and reports, never for
    books."""
    if not value.is_finite():
        raise InputError(f"must be a finite number, was {value}")
    try:
        rounded = value.quantize(Decimal((0, (1,), -digits)), rounding=ROUND_HALF_UP, context=_WIDE)
    except InvalidOperation:
        raise ScaleError(f"{value} with {digits} decimal places is larger than anything here") from None
    return rounded if rounded else rounded.copy_abs()
