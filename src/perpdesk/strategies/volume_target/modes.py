"""The choices a strategy makes by name, and what each does to a volume.

A venue's counter shows real volume times its multiplier ``m``. What the target is compared with is an
explicit choice, because a silent one is wrong by up to m².
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from perpdesk.domain.errors import InputError, Refused
from perpdesk.domain.units import decimal_of
from perpdesk.strategies.volume_target.arithmetic import ZERO, exact


class MulPointMode(StrEnum):
    """What the target counts."""

    REAL = "REAL"  # real USDT that changed hands
    CREDITED = "CREDITED"  # the number that the venue shows
    LEGACY_V22 = "legacy_v22"  # the documents' own table: divides the unit, trades up to m² too much


class PriceMode(StrEnum):
    """Where the SELL of a pair stands."""

    PROFIT_ON_BUY = "profit_on_buy"
    DISCOUNT_ON_BUY = "discount_on_buy"
    DISCOUNT_ON_MARKET = "discount_on_market"


class CountSide(StrEnum):
    """Which side's fills the venue counts."""

    BUY = "buy"
    SELL = "sell"
    BOTH = "both"

    @property
    def sides(self) -> int:
        """How often one pair is counted."""
        return 2 if self is CountSide.BOTH else 1


class TargetScope(StrEnum):
    """Whose volume the target is compared with."""

    PER_USER = "per_user"
    ALL_USERS = "all_users"


class OnUnconfirmed(StrEnum):
    """What to do when the counter does not confirm the volume that the fills prove."""

    STOP = "stop"
    REBASE = "rebase"


class OnDayRollover(StrEnum):
    """What to do when the UTC day, and with it the counter, begins anew."""

    STOP = "stop"
    RESTART = "restart"


class VolumeVenue(StrEnum):
    """Where pairs are traded."""

    SIM = "sim"
    BINANCE_SPOT = "binance_spot"


def mul_point(value: object, token: str) -> Decimal:
    """The multiplier of a token as the venue lists it.

    Raises Refused (MUL_POINT_UNKNOWN) for missing, null, zero, negative and what is no number: 1 is never
    assumed.
    """
    try:
        found = decimal_of(value, "mul_point")
    except InputError as error:
        raise Refused("MUL_POINT_UNKNOWN", f"the venue lists {value!r} as multiplier of {token}") from error
    if found <= 0:
        raise Refused("MUL_POINT_UNKNOWN", f"the venue lists {value!r} as multiplier of {token}")
    return found


@exact
def convert(mode: MulPointMode, displayed: Decimal, m: Decimal) -> Decimal:
    """V(D): the displayed volume in the unit of the target."""
    _refuse(m)
    match mode:
        case MulPointMode.REAL:
            return displayed / m
        case MulPointMode.CREDITED | MulPointMode.LEGACY_V22:
            return displayed


@exact
def unit(mode: MulPointMode, amount: Decimal, m: Decimal, sides: int) -> Decimal:
    """u: what one pair of ``amount`` adds to V. ``sides`` is 1, or 2 where both sides count."""
    _refuse(m)
    match mode:
        case MulPointMode.REAL:
            return amount * sides
        case MulPointMode.CREDITED:
            return amount * sides * m
        case MulPointMode.LEGACY_V22:
            if sides != 1:
                raise InputError("must be buy or sell with mul_point_mode legacy_v22", field="count_side")
            return amount / m


@exact
def local_volume(mode: MulPointMode, quote: Decimal, m: Decimal) -> Decimal:
    """The quote of our own counted fills in the unit of the target."""
    _refuse(m)
    match mode:
        case MulPointMode.REAL:
            return quote
        case MulPointMode.CREDITED:
            return quote * m
        case MulPointMode.LEGACY_V22:
            return quote / m


def _refuse(m: Decimal) -> None:
    if not (m.is_finite() and m > ZERO):
        raise Refused("MUL_POINT_UNKNOWN", f"a multiplier must be above zero, was {m}")
