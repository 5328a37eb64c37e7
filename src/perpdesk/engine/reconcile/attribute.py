"""Whose lots does a fill move that no sleeve ordered? Exact, and nothing is lost or made.

Lots are integers; what a sleeve or the external ledger holds is signed (> 0 is long). Shares are pro rata by
lots, rounded by the largest remainder, ties to the lower sleeve; the external ledger comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

# The owner of lots that no sleeve holds.
EXTERNAL: Final = -1


class Cause(Enum):
    """Why a fill that no sleeve ordered came about."""

    FOREIGN = "foreign"  # a person, the app, another program
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"
    DISASTER_STOP = "disaster_stop"  # the guardian's stop that closes whatever is held

    @property
    def is_forced(self) -> bool:
        """Did the exchange, or our own last resort, close it, and not a person?"""
        return self is not Cause.FOREIGN


# The exchange's own client ids; a liquidation's has more behind the dash.
_PREFIXES: Final = (
    ("settlement_autoclose-", Cause.SETTLEMENT),
    ("adl_autoclose", Cause.ADL),
    ("autoclose-", Cause.LIQUIDATION),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One owner's part of a fill. owner: a sleeve, or EXTERNAL; lots > 0, on the fill's side.

    opens: the part opens (or adds to) external lots instead of taking from what the owner holds.
    """

    owner: int
    lots: int
    fee_e8: int
    opens: bool = False


def cause_of(client_id: str) -> Cause:
    """What the client id of a fill's order says of its cause (the guardian's own ids are the caller's)."""
    for prefix, cause in _PREFIXES:
        if client_id.startswith(prefix):
            return cause
    return Cause.FOREIGN


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` (>= 0) in whole parts pro rata to ``weights`` (>= 0, not all 0), by the largest remainder.

    The parts sum to ``total``; equal remainders go to the lower place. No part exceeds its weight while
    ``total`` is at most their sum.
    """
    whole = sum(weights)
    if total < 0 or whole <= 0 or min(weights) < 0:
        raise ValueError(f"cannot share {total} by {list(weights)}")
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in order[:left]:
        parts[i] += 1
    return parts


def money_shares(amount_e8: int, weights: Sequence[int]) -> list[int]:
    """Money of any sign pro rata to ``weights``, to the last 1e-8: what ``shares`` does, with its sign."""
    parts = shares(abs(amount_e8), weights)
    return parts if amount_e8 >= 0 else [-part for part in parts]


def attribute(side: int, lots: int, fee_e8: int, sleeves: Sequence[int], external: int) -> list[Part]:
    """The parts of a fill of ``lots`` (> 0) on ``side`` (+1 bought, -1 sold), in the order to book them.

    sleeves: signed lots by sleeve; external: signed lots. Whatever the cause (score.md §12): external lots
    on the other side first, then the sleeves pro rata; what is left opens external lots. The parts' lots sum
    to ``lots``, their fees to ``fee_e8``.
    """
    if lots <= 0 or side not in (1, -1):
        raise ValueError(f"a fill of {lots} lots on side {side}")
    owners = [*range(len(sleeves)), EXTERNAL]
    room = [max(0, -side * held) for held in (*sleeves, external)]
    taken = [0] * len(owners)
    taken[-1] = min(lots, room[-1])
    left, room[-1] = lots - taken[-1], 0
    reducible = min(left, sum(room))
    if reducible:
        for i, part in enumerate(shares(reducible, room)):
            taken[i] += part
        left -= reducible
    found = [(owner, part, False) for owner, part in zip(owners, taken, strict=True) if part]
    found.sort(key=lambda one: one[0])  # external first: it is EXTERNAL = -1
    if left:
        found.append((EXTERNAL, left, True))
    fees = money_shares(fee_e8, [part for _, part, _ in found])
    return [Part(owner, part, fee, opens) for (owner, part, opens), fee in zip(found, fees, strict=True)]


def offset(sleeves: Sequence[int], external: int) -> list[Part]:
    """What stands against each other on a netted account: sleeves' lots that external lots have closed.

    The parts name what each owner gives up (the external ledger last), for which the exchange shows nothing.
    Empty unless external lots are opposite to a sleeve's. Fees are 0: nothing traded.
    """
    if external == 0:
        return []
    sign = 1 if external > 0 else -1
    room = [max(0, -sign * held) for held in sleeves]
    total = min(abs(external), sum(room))
    if total == 0:
        return []
    parts = [Part(i, part, 0) for i, part in enumerate(shares(total, room)) if part]
    return [*parts, Part(EXTERNAL, total, 0)]


def funding_shares(amount_e8: int, sleeves: Sequence[int], external: int) -> list[int]:
    """A booking of funding (> 0 received) by the lots held then: a figure per sleeve, the external one last.

    Opposite lots get theirs with the opposite sign, so that the figures sum to the booking. Raises ValueError
    if the exchange charged funding where nobody holds anything.
    """
    held = [*sleeves, external]
    net = sum(held)
    if net == 0:
        raise ValueError(f"funding of {amount_e8} where the lots sum to nothing")
    sign = 1 if net > 0 else -1
    along = [max(0, sign * one) for one in held]
    against = [max(0, -sign * one) for one in held]
    if not any(against):
        return money_shares(amount_e8, along)
    # what the opposite lots get, they get from those that stand along
    opposite = _rounded(amount_e8 * sum(against), abs(net))
    first = money_shares(amount_e8 + opposite, along)
    second = money_shares(-opposite, against)
    return [a + b for a, b in zip(first, second, strict=True)]


def _rounded(numerator: int, denominator: int) -> int:
    """Half away from zero."""
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))
