"""What counts as a stop and what only looks like one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.guardian.cases import (
    FAST_OWNER,
    SLOW,
    SLOW_OWNER,
    STRANGER,
    disaster,
    leg,
    order,
    seen,
)

from perpdesk.engine.guardian.coverage import Claim, CoverageAudit, Flaw
from perpdesk.kernel.records import TRAILING
from perpdesk.ports import Leg, OpenOrder

BEHIND = disaster("sell", 80)


def judged(leg_: Leg, *orders: OpenOrder, now_ms: int = 0, seen_ms: int = 0):
    """One audit of one leg by an audit that has seen nothing before."""
    (found,) = CoverageAudit().judge([leg_], seen(*orders, ms=seen_ms), now_ms=now_ms)
    return found


def flaws(coverage) -> list[str]:
    return [finding.flaw.value for finding in coverage.findings]


def test_a_stop_on_the_loss_side_over_all_lots_covers() -> None:
    found = judged(leg(10), order("sell", 95, 10), BEHIND)
    assert (found.covered_lots, found.uncovered_lots, found.bare_lots) == (10, 0, 0)
    assert found.is_protected
    assert flaws(found) == []


def test_a_short_is_covered_from_above() -> None:
    found = judged(leg(-10), order("buy", 105, 6), order("buy", 107, 4), disaster("buy", 120))
    assert found.is_protected


# A long of 10 at mark 100, liquidation 70. What stands there, how many lots are left uncovered, and why.
#   market 100 ─ stops below it cover ─ 70 liquidation ─ nothing below covers
PICTURES = [
    ("nothing", (), 10, ["MISSING"]),
    ("a stop over less", (order("sell", 95, 4),), 6, ["WRONG_QUANTITY"]),
    ("two that add up", (order("sell", 95, 4), order("sell", 90, 6)), 0, []),
    ("a stop that buys", (order("buy", 105, 10),), 10, ["WRONG_SIDE", "MISSING"]),
    ("a stop that could open", (order("sell", 95, 10, reduces=False),), 10, ["NOT_REDUCING", "MISSING"]),
    ("a sell stop above the market", (order("sell", 105, 10),), 10, ["WRONG_SIDE_OF_MARKET", "MISSING"]),
    ("a stop at the market", (order("sell", 100, 10),), 10, ["WRONG_SIDE_OF_MARKET", "MISSING"]),
    ("a stop behind liquidation", (order("sell", 69, 10),), 10, ["BEYOND_LIQUIDATION", "MISSING"]),
    ("a stop at liquidation", (order("sell", 70, 10),), 10, ["BEYOND_LIQUIDATION", "MISSING"]),
    ("a triggered stop", (order("sell", 95, 10, status="TRIGGERED"),), 10, ["NOT_LIVE", "MISSING"]),
    ("a rejected stop", (order("sell", 95, 10, status="REJECTED"),), 10, ["NOT_LIVE", "MISSING"]),
    ("an unknown word", (order("sell", 95, 10, status="PAUSED"),), 10, ["NOT_LIVE", "MISSING"]),
    ("a trailing order", (order("sell", 95, 10, kind=TRAILING),), 10, ["MISSING"]),
]


@pytest.mark.parametrize(("name", "orders", "uncovered", "why"), PICTURES, ids=[p[0] for p in PICTURES])
def test_pictures(name: str, orders: tuple[OpenOrder, ...], uncovered: int, why: list[str]) -> None:
    found = judged(leg(10, liq=70), *orders, BEHIND)
    assert found.uncovered_lots == uncovered
    assert flaws(found) == why


def test_the_disaster_stop_covers_nothing_by_quantity_but_leaves_nothing_bare() -> None:
    with_it = judged(leg(10), BEHIND)
    assert (with_it.uncovered_lots, with_it.bare_lots, with_it.has_disaster) == (10, 0, True)
    without = judged(leg(10), order("sell", 95, 4))
    assert (without.uncovered_lots, without.bare_lots, without.has_disaster) == (6, 6, False)
    assert flaws(without) == ["WRONG_QUANTITY", "NO_DISASTER_STOP"]


def test_a_disaster_stop_of_the_wrong_side_is_none() -> None:
    assert not judged(leg(10), order("sell", 95, 10), disaster("buy", 120)).has_disaster


def test_what_nobody_has_seen_for_a_minute_may_be_gone() -> None:
    fresh = judged(leg(10), order("sell", 95, 10), BEHIND, now_ms=60_000)
    assert fresh.is_protected
    stale = judged(leg(10), order("sell", 95, 10), BEHIND, now_ms=60_001)
    assert flaws(stale) == ["STALE_CONFIRMATION", "STALE_CONFIRMATION", "MISSING", "NO_DISASTER_STOP"]


def test_triggering_is_believed_for_five_seconds() -> None:
    audit, legs = CoverageAudit(), [leg(10, mark=94)]
    hanging = order("sell", 95, 10, status="TRIGGERING")

    def at(now_ms: int):
        return audit.judge(legs, seen(hanging, BEHIND, ms=now_ms), now_ms=now_ms)[0]

    assert at(1_000).is_protected
    assert at(6_000).is_protected
    late = at(6_001)
    assert late.uncovered_lots == 10
    assert late.must_close
    assert Flaw.STUCK_TRIGGERING.value in flaws(late)


def test_a_stop_that_the_mark_passed_has_five_seconds_to_act() -> None:
    audit, stop = CoverageAudit(), order("sell", 1_000, 10)

    def at(now_ms: int, mark: int):
        return audit.judge([leg(10, mark=mark)], seen(stop, BEHIND, ms=now_ms), now_ms=now_ms)[0]

    assert at(0, 1_010).is_protected
    assert at(1_000, 998).is_protected  # 0.2 % beyond: about to trigger
    assert at(20_000, 998).is_protected
    assert at(21_000, 997).is_protected
    assert not at(26_000, 997).must_close
    failed = at(26_001, 997)
    assert failed.must_close
    assert failed.uncovered_lots == 10
    assert at(27_000, 1_001).is_protected  # the price came back: it stands right again


def test_without_a_mark_no_stop_is_judged_by_it() -> None:
    assert judged(leg(10, mark=0), order("sell", 105, 10), BEHIND).is_protected


def test_a_newer_mark_overrides_the_leg() -> None:
    audit = CoverageAudit()
    (found,) = audit.judge([leg(10)], seen(order("sell", 105, 10), BEHIND), now_ms=0, marks={0: 110})
    assert found.is_protected


def test_each_sleeve_needs_its_own_stop() -> None:
    """Twice the lots under one sleeve's stop do not cover the other."""
    claims = [Claim(0, FAST_OWNER, 6), Claim(0, SLOW_OWNER, 4)]
    audit = CoverageAudit()
    (found,) = audit.judge([leg(10)], seen(order("sell", 95, 12), BEHIND), now_ms=0, claims=claims)
    assert found.by_owner == {FAST_OWNER: 6, SLOW_OWNER: 0}
    assert found.uncovered_lots == 4
    both = seen(order("sell", 95, 6), order("sell", 90, 4, client_id=SLOW), BEHIND)
    assert audit.judge([leg(10)], both, now_ms=0, claims=claims)[0].is_protected


def test_external_lots_rest_on_the_disaster_stop_alone() -> None:
    claims = [Claim(0, FAST_OWNER, 6)]
    (found,) = CoverageAudit().judge([leg(10)], seen(order("sell", 95, 6), BEHIND), now_ms=0, claims=claims)
    assert found.is_protected
    (bare,) = CoverageAudit().judge([leg(10)], seen(order("sell", 95, 6)), now_ms=0, claims=claims)
    assert (bare.uncovered_lots, bare.bare_lots) == (0, 4)


def test_a_strangers_stop_covers_no_claim() -> None:
    claims = [Claim(0, FAST_OWNER, 10)]
    orders = seen(order("sell", 95, 10, client_id=STRANGER), BEHIND)
    assert CoverageAudit().judge([leg(10)], orders, now_ms=0, claims=claims)[0].uncovered_lots == 10


def test_what_a_sleeve_holds_beyond_the_exchange_needs_no_stop() -> None:
    claims = [Claim(0, FAST_OWNER, 10)]
    (found,) = CoverageAudit().judge([leg(7)], seen(order("sell", 95, 7), BEHIND), now_ms=0, claims=claims)
    assert found.uncovered_lots == 0


def test_a_contract_outside_the_universe_is_told_and_not_judged() -> None:
    (found,) = CoverageAudit().judge([leg(3, symbol=-1)], [], now_ms=0)
    assert (found.symbol, found.name, found.uncovered_lots, found.has_disaster) == (-1, "S-1", 0, False)


def test_a_flat_leg_needs_nothing() -> None:
    assert CoverageAudit().judge([leg(0)], seen(BEHIND), now_ms=0) == []


stops = st.builds(
    order,
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 200),
    st.one_of(st.none(), st.integers(1, 20)),
    client_id=st.sampled_from([f"fast-1-p1aa-xs-{n}" for n in range(30)]),
    status=st.sampled_from(["NEW", "TRIGGERING", "TRIGGERED", "CANCELED"]),
    reduces=st.booleans(),
)

# a client id is unique among open orders
some_stops = st.lists(stops, max_size=6, unique_by=lambda one: one.client_id)


@given(lots=st.integers(-20, 20).filter(bool), liq=st.integers(0, 200), orders=some_stops)
def test_only_what_would_close_a_loss_before_liquidation_counts(
    lots: int, liq: int, orders: list[OpenOrder]
) -> None:
    """The audit never counts more than an independent count of what the mark could trigger."""
    found = judged(leg(lots, liq=liq), *orders)
    direction = 1 if lots > 0 else -1

    def good(one: OpenOrder) -> bool:
        before = liq == 0 or direction * one.price > direction * liq
        right = direction * one.price < direction * 100 or one.status == "TRIGGERING"
        reduces = one.reduce_only or one.close_position
        return one.side == -direction and before and right and reduces and one.status in ("NEW", "TRIGGERING")

    usable = [one for one in orders if good(one)]
    assert found.covered_lots == min(abs(lots), sum(one.lots for one in usable if not one.close_position))
    assert found.has_disaster == any(one.close_position for one in usable)
    assert found.covered_lots + found.uncovered_lots == abs(lots)


@given(lots=st.integers(1, 20), orders=some_stops, extra=stops)
def test_one_more_order_never_uncovers(lots: int, orders: list[OpenOrder], extra: OpenOrder) -> None:
    orders = [one for one in orders if one.client_id != extra.client_id]
    assert judged(leg(lots), *orders, extra).uncovered_lots <= judged(leg(lots), *orders).uncovered_lots


@given(lots=st.integers(1, 20), orders=some_stops)
def test_mirror(lots: int, orders: list[OpenOrder]) -> None:
    """Reflecting prices about the mark and swapping sides changes nothing."""
    mirrored = [replace(one, side=-one.side, price=200 - one.price) for one in orders if one.price < 200]
    straight = judged(leg(lots), *[one for one in orders if one.price < 200])
    assert judged(leg(-lots), *mirrored).covered_lots == straight.covered_lots
