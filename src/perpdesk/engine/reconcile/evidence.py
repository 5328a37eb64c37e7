"""Absence needs evidence (rule R8): what one look may decide, and what only two agreeing looks may.

A look compares what our books hold of one place (symbol and position side) with what the exchange answered.
A failed, stale or contradictory read is no look at all: it decides nothing and forgets nothing. Pure: a doubt
goes in with a look, a doubt and a verdict come out. Times are ms of the caller's clock, lots signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

# Two looks that agree and are at least so far apart.
APART_MS: Final = 2_000
# So long without an explanation: the books and the exchange cannot be brought together by themselves.
UNEXPLAINED_MS: Final = 60_000


class Verdict(Enum):
    """What is known of a place after a look."""

    NO_DECISION = "no_decision"  # the look is not valid
    AGREES = "agrees"
    EXPLAINED = "explained"  # fills that our books lack explain the difference: import them
    FIRST_LOOK = "first_look"  # look again, APART_MS later
    CLOSED = "closed"  # two looks agree that it is flat, and fills explain it: import them
    SURPLUS = "surplus"  # two looks agree that more is there than anybody bought: to the external ledger
    SUSPECT = "suspect"  # two looks agree on less, or on the other side, and no fill explains it
    UNEXPLAINED = "unexplained"  # suspect for UNEXPLAINED_MS: the account stops


@dataclass(frozen=True, slots=True)
class Look:
    """What our books hold, what fills that they lack would change, and what the exchange showed.

    exchange: None where the read was not valid (failed, short, older than the stream).
    """

    ms: int
    held: int
    explained: int
    exchange: int | None
    has_missing: bool = False

    @property
    def expected(self) -> int:
        """What the exchange must show if every fill is known."""
        return self.held + self.explained

    @property
    def is_closing(self) -> bool:
        """Would the books be closed by it?"""
        return self.held != 0 and self.expected == 0 and self.exchange == 0


@dataclass(frozen=True, slots=True)
class Doubt:
    """A difference that was seen and not yet decided. The next look has to agree with it in every figure."""

    first_ms: int
    expected: int
    exchange: int
    is_closing: bool


def judge(doubt: Doubt | None, look: Look) -> tuple[Doubt | None, Verdict]:
    """The verdict of a look in the light of the doubt before it, and the doubt that remains."""
    if look.exchange is None:
        return doubt, Verdict.NO_DECISION
    if look.exchange == look.expected and not look.is_closing:
        return None, Verdict.EXPLAINED if look.has_missing else Verdict.AGREES
    if doubt is None or not _agrees(doubt, look) or look.ms < doubt.first_ms:
        return Doubt(look.ms, look.expected, look.exchange, look.is_closing), Verdict.FIRST_LOOK
    age_ms = look.ms - doubt.first_ms
    if age_ms < APART_MS:
        return doubt, Verdict.FIRST_LOOK
    if look.is_closing:
        return None, Verdict.CLOSED
    if look.exchange * look.expected >= 0 and abs(look.exchange) > abs(look.expected):
        return None, Verdict.SURPLUS
    return doubt, Verdict.UNEXPLAINED if age_ms >= UNEXPLAINED_MS else Verdict.SUSPECT


def _agrees(doubt: Doubt, look: Look) -> bool:
    return (doubt.expected, doubt.exchange, doubt.is_closing) == (
        look.expected,
        look.exchange,
        look.is_closing,
    )


def is_stale(
    *,
    asked_ms: int,
    updated_ms: int | None,
    newest_fill_ms: int,
    newest_trade_id: int,
    read_trade_id: int | None,
    read_since_ms: int = 0,
) -> bool:
    """Is a read older, or shorter, than what the stream told of the symbol already? (faults API-27, API-28)

    asked_ms: exchange time before the read; updated_ms: the position's own, None if it is not there;
    read_trade_id: the newest trade id in the fills read since read_since_ms (0: none; None: not read).
    """
    if newest_fill_ms == 0:
        return False
    if newest_fill_ms >= asked_ms:
        return True
    if updated_ms is not None and 0 < updated_ms < newest_fill_ms:
        return True
    return read_trade_id is not None and newest_fill_ms >= read_since_ms and read_trade_id < newest_trade_id
