"""May a pair start: the first line that fails decides; what is not known never lets one start."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from tests.strategies.volume_target.build import D

from perpdesk.strategies.volume_target.guards import (
    GO,
    Answer,
    Reason,
    Verdict,
    View,
    may_start_pair,
    spread_allows,
)

FINE = View(
    account_state="RUN",
    stopped=False,
    quarantined=False,
    late_fill=False,
    same_day=True,
    failures=0,
    max_failures=5,
    day_loss=D(19),
    day_loss_all=D(199),
    max_loss_per_trade=D(1),
    max_loss_per_day=D(20),
    max_loss_per_day_all=D(200),
    instrument_ok=True,
    filter_code=None,
    key_checked_ms_ago=3_600_000,
    missing=D(1),
    claim_ok=True,
    lease_left_ms=5_500,
    recv_window_ms=5_000,
    price_fresh=True,
    calm=True,
    spread_ok=True,
    free_usdt=D(30),
    needed_usdt=D(30),
    self_trade_clear=True,
    rate_ok=True,
    stream_ok=True,
)

# one change, and what it leads to, in the order of the rules
LINES = [
    ({"account_state": "HALT"}, Answer.HARD, Reason.HALTED),
    ({"account_state": None}, Answer.HARD, Reason.HALTED),
    ({"stopped": True}, Answer.HARD, Reason.STOP),
    ({"quarantined": True}, Answer.HARD, Reason.QUARANTINE),
    ({"same_day": False}, Answer.HARD, Reason.DAY),
    ({"failures": 5}, Answer.HARD, Reason.FAILURES),
    ({"day_loss": D("19.10")}, Answer.HARD, Reason.LOSS_DAY),
    ({"day_loss": None}, Answer.HARD, Reason.LOSS_DAY),
    ({"day_loss_all": D("199.01")}, Answer.HARD, Reason.LOSS_DAY),
    ({"instrument_ok": False}, Answer.HARD, Reason.INSTRUMENT),
    ({"filter_code": "FILTER_MIN_QTY"}, Answer.HARD, Reason.FILTER),
    ({"key_checked_ms_ago": 3_600_001}, Answer.HARD, Reason.KEY),
    ({"key_checked_ms_ago": None}, Answer.HARD, Reason.KEY),
    ({"missing": D(0)}, Answer.HARD, Reason.TARGET_REACHED),
    ({"lease_left_ms": 5_499}, Answer.SOFT, Reason.LEASE),
    ({"lease_left_ms": None}, Answer.SOFT, Reason.LEASE),
    ({"late_fill": True}, Answer.SOFT, Reason.LATE_FILL),
    ({"missing": None}, Answer.SOFT, Reason.READING_MISSING),
    ({"claim_ok": False}, Answer.SOFT, Reason.READING_MISSING),
    ({"price_fresh": False}, Answer.SOFT, Reason.PRICE_STALE),
    ({"calm": False}, Answer.SOFT, Reason.VOLATILITY),
    ({"spread_ok": False}, Answer.SOFT, Reason.SPREAD),
    ({"free_usdt": D("29.99")}, Answer.SOFT, Reason.BALANCE),
    ({"free_usdt": None}, Answer.SOFT, Reason.BALANCE),
    ({"needed_usdt": None}, Answer.SOFT, Reason.BALANCE),
    ({"self_trade_clear": False}, Answer.SOFT, Reason.SELF_TRADE_WAIT),
    ({"rate_ok": False}, Answer.SOFT, Reason.RATE),
    ({"stream_ok": False}, Answer.SOFT, Reason.STREAM_DOWN),
]


def test_at_every_limit_a_pair_may_start() -> None:
    assert may_start_pair(FINE) == GO


@pytest.mark.parametrize(("change", "answer", "reason"), LINES, ids=lambda value: str(value)[:40])
def test_one_line_is_enough(change: dict[str, object], answer: Answer, reason: Reason) -> None:
    verdict = may_start_pair(replace(FINE, **change))  # type: ignore[arg-type]
    assert (verdict.answer, verdict.reason) == (answer, reason)


def test_the_first_of_two_lines_wins() -> None:
    for i, (first, answer, reason) in enumerate(LINES):
        for second, _, _ in LINES[i + 1 :]:
            verdict = may_start_pair(replace(FINE, **{**second, **first}))  # type: ignore[arg-type]
            assert (verdict.answer, verdict.reason) == (answer, reason)


def test_every_part_of_the_view_can_stop_a_pair() -> None:
    limits = {
        "max_failures",
        "max_loss_per_trade",
        "max_loss_per_day",
        "max_loss_per_day_all",
        "recv_window_ms",
    }
    tried = {name for change, _, _ in LINES for name in change}
    assert {field.name for field in fields(View)} == tried | limits


def test_the_reason_names_the_filter() -> None:
    found = may_start_pair(replace(FINE, filter_code="FILTER_MIN_QTY"))
    assert found == Verdict(Answer.HARD, Reason.FILTER, "FILTER_MIN_QTY")


@pytest.mark.parametrize(
    ("bid", "ask", "allowed"),
    [
        ("99.5", "100.5", True),
        ("99.5", "100.51", False),
        ("100", "100", False),
        ("101", "100", False),
        ("0", "1", False),
    ],
)
def test_the_spread(bid: str, ask: str, allowed: bool) -> None:
    assert spread_allows(D(bid), D(ask), D("0.01")) is allowed
    assert not spread_allows(None, D(ask), D("0.01"))
    assert not spread_allows(D(bid), None, D("0.01"))
