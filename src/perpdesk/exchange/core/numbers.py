"""Text ↔ integers at the edge of the exchange: nothing inside is a float or a Decimal."""

from __future__ import annotations

from decimal import Decimal

from perpdesk.domain import units
from perpdesk.domain.errors import InputError


def number(text: str) -> Decimal | None:
    """The number that a client wrote, or None if it is none."""
    try:
        return units.decimal_of(text)
    except InputError:
        return None


def scaled(value: Decimal, digits: int) -> int | None:
    """value × 10^digits as a whole number; None if it has more places."""
    sign, figures, exponent = value.as_tuple()
    shift = digits + int(exponent)
    amount: int = int("".join(map(str, figures)))
    if shift >= 0:
        amount *= 10**shift
    else:
        amount, rest = divmod(amount, 10**-shift)
        if rest:
            return None
    return -amount if sign else amount


def integer(text: str) -> int | None:
    """A plain integer below 2^63, or None."""
    digits = text[1:] if text[:1] == "-" else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return int(text)


def flag(text: str) -> bool | None:
    """``true`` or ``false`` in any case, or None."""
    return {"true": True, "false": False}.get(text.lower())


def fixed(amount: int, digits: int) -> str:
    """amount × 10^-digits with exactly that many places."""
    if digits <= 0:
        return str(amount) + "0" * -digits
    sign, figures = ("-", str(-amount)) if amount < 0 else ("", str(amount))
    figures = figures.zfill(digits + 1)
    return f"{sign}{figures[:-digits]}.{figures[-digits:]}"


def short(amount: int, digits: int, places_min: int = 0) -> str:
    """amount × 10^-digits without trailing zeros beyond ``places_min``."""
    text = fixed(amount, digits)
    if "." not in text:
        return text
    whole, places = text.split(".")
    places = places.rstrip("0").ljust(places_min, "0")
    return f"{whole}.{places}" if places else whole


def money(amount_e8: int) -> str:
    """Quote currency with eight places."""
    return fixed(amount_e8, 8)


def ratio(numerator: int, denominator: int, digits: int) -> int:
    """numerator / denominator in 10^-digits, rounded half away from zero. denominator > 0."""
    scaled = abs(numerator) * 10**digits
    rounded: int = (2 * scaled + denominator) // (2 * denominator)
    return -rounded if numerator < 0 else rounded
