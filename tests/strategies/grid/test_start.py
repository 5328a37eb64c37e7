"""Why a grid may not be started: the first reason of a fixed order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perpdesk.strategies.grid.chain import Ground, Offer
from perpdesk.strategies.grid.machine import ACTIVE, DRAWDOWN, IDLE, MANUAL
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, SHORT, Market
from perpdesk.strategies.grid.start import Rules, View, may_start_run
from perpdesk.strategies.grid.trigger import Signal
from perpdesk.strategies.grid.zones import RESISTANCE, SUPPORT, Zone

HOUR = 3_600_000
NOW = 100 * HOUR
USDT = 10**8
MARKET = Market(unit_e8=1000)
PARAMS = ExecutorParams(short_budget_e8=1000 * USDT)


def zone(kind="S1", centre=10_000, confidence=70):
    side = SUPPORT if kind.startswith("S") else RESISTANCE
    return Zone(
        f"{kind}{centre}", "TUSDT", kind, side, centre, centre - 50, centre + 50, 1.0, confidence, False, True,
        NOW - 2 * HOUR, NOW + 4 * HOUR, "p",
    )  # fmt: skip


def offer(at=None, *, confirmed_ms=NOW, squeezed=True, complete=True, name="a"):
    where = at or zone()
    zones = (where, zone("S1", 9900), zone("R1", 10_200)) if at is None else (where,)
    signal = Signal(
        name, "TUSDT", confirmed_ms - HOUR // 4, where.side, "SPRING", 4, where, 9960, 10_010, 10_000, 50, 10, 1,
        1, confirmed_ms + HOUR // 2, "p",
    )  # fmt: skip
    return Offer(signal, Ground(NOW - 2 * HOUR, 125.4, complete, squeezed, zones), confirmed_ms)


VIEW = View(now_ms=NOW, last=10_000, grid=IDLE, offers=(offer(zone()),), balance_e8=2000 * USDT)


def ask(rules=None, params=PARAMS, **changes):
    return may_start_run(replace(VIEW, **changes), rules or Rules(), params, MARKET)


def test_go_with_a_plan_of_the_signals_side():
    answer = ask()
    assert (answer.reason, answer.plan.variant, answer.plan.step) == ("GO", LONG, 100)
    short = ask(offers=(offer(zone("R1")),))
    assert (short.reason, short.plan.variant) == ("GO", SHORT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_running": False, "has_lease": False}, "ACCOUNT_STATE"),
        ({"has_lease": False, "grid": ACTIVE}, "NO_LEASE"),
        ({"grid": ACTIVE, "offers": ()}, "NOT_IDLE"),
        ({"ended_ms": NOW - HOUR // 5, "end_reason": MANUAL, "offers": ()}, "COOLDOWN"),
        ({"ended_ms": NOW - 3 * HOUR, "end_reason": DRAWDOWN}, "COOLDOWN"),
        ({"ended_ms": NOW - HOUR, "end_reason": MANUAL}, "GO"),
        ({"offers": ()}, "NO_SIGNAL"),
        ({"used": frozenset("a"), "has_backtest": False}, "NO_SIGNAL"),
        ({"now_ms": NOW + HOUR // 2}, "NO_SIGNAL"),
        ({"has_backtest": False, "runs": 9}, "NO_BACKTEST"),
        ({"runs": 3, "is_trading": False}, "MAX_RUNS"),
        ({"is_trading": False, "is_taken": True}, "SYMBOL_NOT_TRADING"),
        ({"is_taken": True, "last": 0}, "SYMBOL_TAKEN"),
        ({"last": 0}, "PRICE_STALE"),
        ({"price_age_ms": 2001}, "PRICE_STALE"),
        ({"last": 10_151}, "SIGNAL_TOO_FAR"),
        ({"last": 10_150}, "GO"),
        ({"last": 9849}, "SIGNAL_TOO_FAR"),
        ({"balance_e8": 999 * USDT}, "BALANCE"),
        ({"free_stop_slots": 3}, "NO_STOP_SLOTS"),
        ({"free_stop_slots": 4}, "GO"),
    ],
)
def test_the_first_reason(changes, reason):
    assert ask(**changes).reason == reason


def test_after_a_stop_a_newer_scan_is_needed():
    stopped = {"ended_ms": NOW - 5 * HOUR, "end_reason": DRAWDOWN}
    assert ask(**stopped).reason == "GO"  # the scan of two hours ago is newer
    late = {"now_ms": NOW + 3 * HOUR, "ended_ms": NOW - HOUR, "end_reason": DRAWDOWN}
    assert ask(**late, offers=(offer(zone(), confirmed_ms=NOW + 3 * HOUR),)).reason == "NEED_NEWER_SCAN"


def test_a_zone_that_has_ended():
    late = offer(zone(), confirmed_ms=NOW + 4 * HOUR)
    assert ask(now_ms=NOW + 4 * HOUR, offers=(late,)).reason == "ZONE_EXPIRED"


def test_the_earliest_confirmed_then_the_surer_zone():
    early = offer(zone(confidence=41), confirmed_ms=NOW - 60_000, name="early")
    sure = offer(zone(confidence=99), name="sure")
    assert ask(offers=(sure, early)).offer is early
    assert ask(offers=(offer(zone()), sure)).offer is sure


def test_two_sided_only_in_a_squeezed_range():
    neutral = Rules(neutral=True)
    ranged = offer()
    assert ask(neutral, offers=(ranged,)).plan.variant == NEUTRAL
    assert ask(neutral, offers=(offer(squeezed=False),)).reason == "NOT_A_RANGE"
    assert ask(neutral, offers=(offer(complete=False),)).reason == "NOT_A_RANGE"


def test_a_short_needs_a_budget():
    assert ask(params=ExecutorParams(), offers=(offer(zone("R1")),)).reason == "SHORT_BUDGET_REQUIRED"
