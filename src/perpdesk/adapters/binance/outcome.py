"""What an answer proves: accepted, refused, or unknown. A white-list; everything else is unknown.

Unknown is not failed: the order may be alive, and only time (``timestamp + recvWindow``) and the exchange's
own books can say more. The four meanings of HTTP 503 are kept apart by code and exact text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from perpdesk.ports import Outcome


class Then(Enum):
    """What the caller should do about an answer."""

    GO_ON = "go on"
    GIVE_UP = "give up"  # this request can never succeed as it is
    BACK_OFF = "back off"  # refused for now: the same attempt may be signed again later
    RESYNC = "resync"  # our time was wrong: measure the offset, then a new attempt
    HALT = "halt"  # the key or signature is refused: no further signed request
    ADOPT = "adopt"  # an order with this client id is alive: it is ours
    REREAD = "reread"  # our picture is old: read positions and orders before the next step
    REFRESH = "refresh"  # the symbol's rules changed: read exchangeInfo again
    CLOSE_NOW = "close now"  # the trigger is behind the market: protection must be a market order
    SETTLE = "settle"  # unknown: look in both books until the fence has passed


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome: what is proven. then: what follows. code and text are the exchange's own."""

    outcome: Outcome
    then: Then
    code: int | None
    text: str

    @property
    def reason(self) -> str:
        """One line for the journal."""
        return f"{self.code}: {self.text}" if self.code is not None else self.text


UNAVAILABLE = "Service Unavailable."

_KEY: tuple[int, ...] = (-1002, -1022, -2014, -2015, -2017, -1099)
_RULES: tuple[int, ...] = (
    -1013,
    -1111,
    -1121,
    -4002,
    -4003,
    -4004,
    -4005,
    -4006,
    -4007,
    -4013,
    -4014,
    -4016,
    -4023,
    -4024,
)
_RULES += (-4029, -4030, -4164, -4183, -4184, -4210, -4211)
_REREAD = (-2022, -2024, -2026, -4045, -2025, -4118, -4130, -4061, -1106, -4509)
_CLOSED = (-1122, -4140, -4141, -4087, -4088, -4109, -4192, -4400, -4401, -4402, -2023, -2027, -4131)
_FORM: tuple[int, ...] = (
    -1014,
    -1020,
    -1100,
    -1101,
    -1102,
    -1103,
    -1104,
    -1105,
    -1108,
    -1112,
    -1114,
    -1115,
    -1116,
    -1117,
    -1118,
)
_FORM += (
    -1128,
    -1130,
    -1136,
    -2010,
    -2018,
    -2019,
    -2020,
    -2028,
    -4015,
    -4020,
    -4031,
    -4060,
    -4062,
    -4082,
    -4104,
)
_FORM += (-4120, -4135, -4137, -4138, -4139, -4144, -5021, -5022, -5037, -5038, -5039, -5040, -5041)
_FORM += (-1109, -1110, -4001, -4084)

# Codes that prove that an order was not taken, when they come with HTTP 400, 401 or 403.
REFUSALS: dict[int, Then] = (
    dict.fromkeys(_KEY, Then.HALT)
    | dict.fromkeys(_RULES, Then.REFRESH)
    | dict.fromkeys(_REREAD, Then.REREAD)
    | dict.fromkeys(_CLOSED, Then.GIVE_UP)
    | dict.fromkeys(_FORM, Then.GIVE_UP)
    | {
        -1003: Then.BACK_OFF,
        -1015: Then.BACK_OFF,
        -1021: Then.RESYNC,
        -5028: Then.RESYNC,
        -2021: Then.CLOSE_NOW,
        -4142: Then.CLOSE_NOW,
        -4116: Then.ADOPT,
    }
)
# Codes by which a cancel is refused: there is no such open order *in that book*.
CANCEL_REFUSALS: dict[int, Then] = REFUSALS | {-2011: Then.REREAD, -2013: Then.REREAD}
# Codes by which an amendment is refused: the order, if it lives, stays as it was.
AMEND_REFUSALS: dict[int, Then] = (
    CANCEL_REFUSALS
    | dict.fromkeys((-5024, -5025, -5026, -5027, -5043, -5047), Then.GIVE_UP)
    | {-5029: Then.REFRESH}
)
_PROVING_STATUS = (400, 401, 403)


def classify(
    status: int | None,
    code: int | None,
    text: str,
    *,
    cancelling: bool = False,
    amending: bool = False,
    in_batch: bool = False,
) -> Verdict:
    """What this answer to an order, a cancel or an amendment proves.

    status: HTTP, None if no answer came. code, text: from the body (code None: no JSON with a code; text
    then the body's beginning, or the network's error). in_batch: one element of a 200 batch answer.
    """

    def verdict(outcome: Outcome, then: Then) -> Verdict:
        return Verdict(outcome, then, code, text)

    if status is None:
        return verdict(Outcome.UNKNOWN, Then.SETTLE)
    if status == 200 and (code is None or code == 200):
        return verdict(Outcome.ACCEPTED, Then.GO_ON)
    if status in (429, 418):
        return verdict(Outcome.REFUSED, Then.BACK_OFF)
    if status == 503 and code == -1008:
        return verdict(Outcome.REFUSED, Then.BACK_OFF)
    if status == 503 and code in (None, 0, 503) and text.strip() == UNAVAILABLE:
        return verdict(Outcome.REFUSED, Then.BACK_OFF)
    if code is not None and (status in _PROVING_STATUS or (in_batch and status == 200)):
        if code == -1008:
            return verdict(Outcome.REFUSED, Then.BACK_OFF)
        table = AMEND_REFUSALS if amending else CANCEL_REFUSALS if cancelling else REFUSALS
        then = table.get(code)
        if then is not None:
            return verdict(Outcome.REFUSED, then)
    return verdict(Outcome.UNKNOWN, Then.SETTLE)
