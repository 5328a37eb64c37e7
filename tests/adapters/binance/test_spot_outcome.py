"""The Spot white-list: what is on it is refused, what is not is unknown."""

from __future__ import annotations

import pytest

from perpdesk.adapters.binance.outcome import Then
from perpdesk.adapters.binance.spot_outcome import classify
from perpdesk.ports import Outcome

LISTED = (
    -1013,
    -1021,
    -1022,
    -1100,
    -1101,
    -1102,
    -1103,
    -1104,
    -1105,
    -1106,
    -1111,
    -1121,
    -2010,
    -2014,
    -2015,
)


@pytest.mark.parametrize("code", LISTED)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_listed_codes_refuse(status: int, code: int) -> None:
    assert classify(status, code, "text").outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    "code", [-1000, -1001, -1006, -1007, -1008, -1014, -1016, -1099, -1107, -1130, -2011, -2013, 0]
)
def test_all_else_is_unknown(code: int) -> None:
    assert classify(400, code, "text").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [None, 200, 403, 404, 408, 429, 500, 502, 503, 504])
def test_answers_without_a_code_prove_nothing(status: int | None) -> None:
    proven = classify(status, None, "Service Unavailable.")
    assert proven.outcome is (Outcome.ACCEPTED if status == 200 else Outcome.UNKNOWN)


@pytest.mark.parametrize("code", LISTED)
def test_listed_codes_with_other_statuses_prove_nothing(code: int) -> None:
    assert classify(500, code, "text").outcome is Outcome.UNKNOWN
    assert classify(200, code, "text").outcome is Outcome.UNKNOWN


def test_limits_refuse_and_a_duplicate_may_be_ours() -> None:
    assert classify(418, None, "<html>").outcome is Outcome.REFUSED
    for code in (-1003, -1015):
        assert classify(429, code, "Too many").then is Then.BACK_OFF
    assert classify(429, -1000, "?").outcome is Outcome.UNKNOWN
    assert classify(400, -2010, "Duplicate order sent.").outcome is Outcome.UNKNOWN
    assert classify(400, -2015, "Invalid API-key").then is Then.HALT
    assert classify(400, -1021, "Timestamp").then is Then.RESYNC


def test_a_cancel_that_finds_nothing_says_look() -> None:
    verdict = classify(400, -2011, "Unknown order sent.", cancelling=True)
    assert (verdict.outcome, verdict.then) == (Outcome.REFUSED, Then.REREAD)
