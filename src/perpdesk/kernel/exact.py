"""Exact integer multiply-divide: a*b/c without overflow, for money and price levels.

All arguments are non-negative and below 2^62, c > 0. int64 wraps silently in compiled code, so a
product that may not fit is built bit by bit instead.
"""

from numba import njit

_FITS = 9.2e18  # a little below 2^63, so that the float estimate of a product errs on the safe side


@njit(cache=True)
def _divide(a, b, c):
    """(quotient, remainder) of a*b by c."""
    if float(a) * float(b) < _FITS:
        product = a * b
        quotient = product // c
        return quotient, product - quotient * c
    quotient = 0
    remainder = 0
    whole = a // c
    part = a % c
    for bit in range(61, -1, -1):
        quotient *= 2
        remainder *= 2
        if remainder >= c:
            remainder -= c
            quotient += 1
        if (b >> bit) & 1:
            quotient += whole
            remainder += part
            if remainder >= c:
                remainder -= c
                quotient += 1
    return quotient, remainder


@njit(cache=True)
def mul_div_floor(a, b, c):
    """floor(a*b/c)."""
    return _divide(a, b, c)[0]


@njit(cache=True)
def mul_div_ceil(a, b, c):
    """ceil(a*b/c)."""
    quotient, remainder = _divide(a, b, c)
    return quotient + 1 if remainder > 0 else quotient


@njit(cache=True)
def mul_div_half(a, b, c):
    """a*b/c rounded half away from zero (arguments are non-negative)."""
    quotient, remainder = _divide(a, b, c)
    return quotient + 1 if remainder >= c - remainder else quotient


@njit(cache=True)
def round_up(value, step):
    """The smallest multiple of step that is not below value."""
    return -((-value) // step) * step


@njit(cache=True)
def round_down(value, step):
    """The largest multiple of step that is not above value."""
    return value // step * step
