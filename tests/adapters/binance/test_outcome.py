"""What every answer proves, as a table: every code that the protocol reference names."""

from __future__ import annotations

import pytest

from perpdesk.adapters.binance.outcome import REFUSALS, Then, classify
from perpdesk.ports import Outcome

# Codes that prove that an order was not taken.
REFUSED = """
-1002 -1003 -1013 -1014 -1015 -1020 -1021 -1022 -1099 -1100 -1101 -1102 -1103 -1104 -1105 -1106
-1108 -1109 -1110 -1111 -1112 -1114 -1115 -1116 -1117 -1118 -1121 -1122 -1128 -1130 -1136 -2010
-2014 -2015 -2017 -2018 -2019 -2020 -2021 -2022 -2023 -2024 -2025 -2026 -2027 -2028 -4001 -4002
-4003 -4004 -4005 -4006 -4007 -4013 -4014 -4015 -4016 -4020 -4023 -4024 -4029 -4030 -4031 -4045
-4060 -4061 -4062 -4082 -4084 -4087 -4088 -4104 -4109 -4116 -4118 -4120 -4130 -4131 -4135 -4137
-4138 -4139 -4140 -4141 -4142 -4144 -4164 -4183 -4184 -4192 -4210 -4211 -4400 -4401 -4402 -4509
-5021 -5022 -5028 -5037 -5038 -5039 -5040 -5041
"""
# Codes that say that the outcome is unknown, that belong to other requests, or that no order should get.
NO_PROOF = """
-1000 -1001 -1004 -1005 -1006 -1007 -1010 -1011 -1016 -1023 -1113 -1119 -1120 -1125 -1126 -1127
-2011 -2012 -2013 -2016 -4000 -4008 -4009 -4010 -4011 -4012 -4017 -4018 -4019 -4021 -4022 -4025
-4026 -4027 -4028 -4032 -4033 -4044 -4046 -4047 -4048 -4049 -4050 -4051 -4052 -4053 -4054 -4055
-4056 -4057 -4058 -4059 -4067 -4068 -4083 -4085 -4086 -4114 -4115 -4117 -4161 -4165 -4167 -4168
-4169 -4170 -4171 -4172 -4202 -4203 -4205 -4206 -4208 -4209 -4403 -5024 -5025 -5026 -5027 -5029
-5043 -5047 -1 -9999 0 1
"""


@pytest.mark.parametrize("code", [int(code) for code in REFUSED.split()])
def test_codes_that_prove_a_refusal(code: int) -> None:
    for status in (400, 401, 403):
        assert classify(status, code, "text").outcome is Outcome.REFUSED
    assert classify(200, code, "text", in_batch=True).outcome is Outcome.REFUSED
    for status in (200, 404, 408, 500, 502, 503, 504, None):
        assert classify(status, code, "text").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("code", [int(code) for code in NO_PROOF.split()])
def test_codes_that_prove_nothing(code: int) -> None:
    for status in (400, 401, 403, 408, 500, 503, None):
        assert classify(status, code, "text").outcome is Outcome.UNKNOWN


def test_the_white_list_holds_what_the_table_says_and_no_more() -> None:
    assert set(REFUSALS) == {int(code) for code in REFUSED.split()}


UNKNOWN_ERROR = "Unknown error, please check your request or try again later."
INTERNAL = "Internal error; unable to process your request. Please try again."
THROTTLED = (
    "Request throttled by system-level protection. "
    "Reduce-only/close-position orders are exempt. Please try again."
)


@pytest.mark.parametrize(
    ("status", "code", "text", "outcome"),
    [
        (503, None, UNKNOWN_ERROR, Outcome.UNKNOWN),
        (503, -1000, UNKNOWN_ERROR, Outcome.UNKNOWN),
        (503, None, "Service Unavailable.", Outcome.REFUSED),
        (503, 0, "Service Unavailable.", Outcome.REFUSED),
        (503, -1008, THROTTLED, Outcome.REFUSED),
        (503, -1001, INTERNAL, Outcome.UNKNOWN),
        # a gateway's own page is not the exchange's word
        (503, None, "<html>503 Service Unavailable</html>", Outcome.UNKNOWN),
        (503, None, "Service Unavailable", Outcome.UNKNOWN),
        (502, None, "Service Unavailable.", Outcome.UNKNOWN),
        (500, -1008, THROTTLED, Outcome.UNKNOWN),
        (403, None, "<html>blocked</html>", Outcome.UNKNOWN),
        (408, -1007, "Timeout waiting for response from backend server.", Outcome.UNKNOWN),
        (429, -1003, "Too many requests", Outcome.REFUSED),
        (429, None, "", Outcome.REFUSED),
        (418, -1003, "Way too many requests", Outcome.REFUSED),
        (None, None, "ServerDisconnectedError", Outcome.UNKNOWN),
        (302, None, "", Outcome.UNKNOWN),
        (200, None, "", Outcome.ACCEPTED),
        (200, 200, "success", Outcome.ACCEPTED),
    ],
)
def test_statuses_and_the_four_meanings_of_503(
    status: int | None, code: int | None, text: str, outcome: Outcome
) -> None:
    assert classify(status, code, text).outcome is outcome


def test_not_found_refuses_a_cancel_and_nothing_else() -> None:
    verdict = classify(400, -2011, "Unknown order sent.", cancelling=True)
    assert (verdict.outcome, verdict.then) == (Outcome.REFUSED, Then.REREAD)
    assert classify(400, -2011, "Unknown order sent.").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("code", "then"),
    [
        (-1021, Then.RESYNC),
        (-5028, Then.RESYNC),
        (-1022, Then.HALT),
        (-2015, Then.HALT),
        (-2021, Then.CLOSE_NOW),
        (-2022, Then.REREAD),
        (-4116, Then.ADOPT),
        (-1111, Then.REFRESH),
        (-2019, Then.GIVE_UP),
    ],
)
def test_what_follows_a_refusal(code: int, then: Then) -> None:
    assert classify(400, code, "").then is then
