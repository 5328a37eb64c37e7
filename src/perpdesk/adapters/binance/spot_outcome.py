"""What an answer to a Spot order proves. The white-list of the volume rules; everything else is unknown.

A duplicate is unknown too: an order with that name may live, and it may be an earlier attempt of ours.
"""

from __future__ import annotations

from perpdesk.adapters.binance.outcome import REFUSALS, Then, Verdict
from perpdesk.ports import Outcome

_REFUSING = frozenset(
    {-1013, -1021, -1022, -1111, -1121, -2010, -2014, -2015, *range(-1106, -1099)}
)  # -1100 … -1106
_LIMITS = frozenset({-1003, -1015})
_PROVING_STATUS = (400, 401, 403)
UNKNOWN_ORDER = -2011


def classify(status: int | None, code: int | None, text: str, *, cancelling: bool = False) -> Verdict:
    """status: HTTP, None if no answer came; code and text: from the body. A cancel that finds nothing
    (-2011) is refused with REREAD: that the order is not open proves nothing of what became of it."""

    def verdict(outcome: Outcome, then: Then) -> Verdict:
        return Verdict(outcome, then, code, text)

    if status == 200 and code is None:
        return verdict(Outcome.ACCEPTED, Then.GO_ON)
    if status == 418 or (status == 429 and code in _LIMITS):
        return verdict(Outcome.REFUSED, Then.BACK_OFF)
    if status in _PROVING_STATUS and code is not None:
        if code == -2010 and "duplicate" in text.lower():
            return verdict(Outcome.UNKNOWN, Then.SETTLE)
        if cancelling and code == UNKNOWN_ORDER:
            return verdict(Outcome.REFUSED, Then.REREAD)
        if code in _REFUSING:
            return verdict(Outcome.REFUSED, REFUSALS.get(code, Then.GIVE_UP))
    return verdict(Outcome.UNKNOWN, Then.SETTLE)
