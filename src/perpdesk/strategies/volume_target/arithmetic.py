"""Decimal arithmetic with named rounding: 34 digits, and nothing that is not a number gets through.

Amounts, prices and quantities of this strategy are ``Decimal``; the strategy is not compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    localcontext,
)
from functools import wraps
from typing import ParamSpec, TypeVar

CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

ZERO = Decimal(0)
ONE = Decimal(1)

_P = ParamSpec("_P")
_R = TypeVar("_R")


def exact(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run the function with 34 digits, whatever context its caller has.

    Only a division can need more than 34 digits here; it is rounded half to even.
    """

    @wraps(function)
    def calculated(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with localcontext(CONTEXT):
            return function(*args, **kwargs)

    return calculated


@exact
def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` that is not above ``value`` (value >= 0, step > 0)."""
    return (value // step) * step


@exact
def ceil_div(amount: Decimal, unit: Decimal) -> int:
    """How many units cover the amount: the quotient rounded up, found without a fraction."""
    whole = amount // unit
    return int(whole) + (1 if whole * unit < amount else 0)
