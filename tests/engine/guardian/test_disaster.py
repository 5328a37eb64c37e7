"""Where the disaster stop stands, and what is done so that it stands there."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.engine.guardian.cases import DISASTER, STRANGER, disaster, leg

from perpdesk.config.schema import Disaster
from perpdesk.engine.guardian.disaster import (
    Act,
    DisasterRule,
    Problem,
    estimated_liquidation,
    must_move,
    plan,
    spot,
)

RULE = DisasterRule.of(Disaster())  # 10 % away, 80 % of the way to liquidation
NEXT = "grd-1-p0aa-dz-1"


def where(lots: int, entry: int, liq: int, *stops: int, tick: int = 1, mark: int | None = None):
    return spot(leg(lots, entry=entry, liq=liq, mark=entry if mark is None else mark), stops, tick, RULE)


# score.md vector 23, prices in tenths
VECTORS = [
    (1, 1050, 850, (960, 1056), 945),
    (1, 1000, 805, (960,), 900),
    (1, 1000, 880, (960,), 904),
    (-1, 1000, 1195, (1040,), 1100),
]


@pytest.mark.parametrize(("lots", "entry", "liq", "stops", "price"), VECTORS)
def test_vectors(lots: int, entry: int, liq: int, stops: tuple[int, ...], price: int) -> None:
    found = where(lots, entry, liq, *stops)
    assert (found.price, found.problem) == (price, Problem.NONE)


def test_a_sleeves_stop_beyond_the_guard_is_named_and_the_guard_wins() -> None:
    found = where(1, 1100, 960, 960)  # guard 98.8
    assert (found.price, found.problem) == (988, Problem.STOP_BEYOND_LIQUIDATION)


def test_open_interest_vectors_with_their_own_distance() -> None:
    """oi.md vectors 18 and 19: the same place with at most 12 % and no sleeve's stop."""
    rule = DisasterRule(120_000, 800_000)
    long = leg(69, entry=43_210_000, liq=36_400_000)
    assert spot(long, (), 10_000, rule).price == 38_030_000
    assert spot(leg(10, entry=10_000, liq=8_400), (), 1, rule).price == 8_800
    assert spot(leg(10, entry=10_000, liq=8_583), (), 1, rule).price == 8_867
    assert spot(leg(-10, entry=10_000, liq=11_590), (), 1, rule).price == 11_200


def test_without_a_liquidation_price_the_distance_alone_counts() -> None:
    assert where(1, 1000, 0, 960).price == 900
    assert where(-1, 1000, 0).price == 1100


def test_rounded_in_the_positions_favour() -> None:
    assert where(1, 1003, 0, tick=10).price == 910  # 902.7 → up
    assert where(-1, 1003, 0, tick=10).price == 1100  # 1103.3 → down


def test_a_coarse_tick_never_reaches_a_sleeves_stop() -> None:
    """891 rounds up to 900, where the sleeve's stop is: one tick further away then."""
    found = where(1, 1000, 0, 900, tick=100)
    assert (found.price, found.problem) == (800, Problem.NONE)


def test_no_room_between_stop_and_liquidation() -> None:
    assert where(1, 1000, 805, 1000, tick=1000).problem is Problem.NO_ROOM


def test_margin_taken_away_counts_from_the_mark() -> None:
    """Liquidation above the entry of a long: the way to it starts at the mark."""
    found = where(1, 1000, 1010, mark=1110)
    assert 1010 < found.price < 1110
    assert where(1, 1000, 1010, mark=1005).problem is Problem.NO_ROOM


def test_the_estimate_before_the_exchange_tells_one() -> None:
    assert estimated_liquidation(1000, 1, 5, 25_000) == 825
    assert estimated_liquidation(1000, -1, 5, 25_000) == 1175


prices = st.integers(100, 10**9)


@given(
    lots=st.sampled_from([-7, 7]),
    entry=prices,
    away=st.integers(1, 900_000),
    stops=st.lists(st.integers(1, 400_000), max_size=3),
    tick=st.sampled_from([1, 5, 10, 100]),
)
def test_between_the_stops_and_liquidation(
    lots: int, entry: int, away: int, stops: list[int], tick: int
) -> None:
    """Whatever is held: behind every sleeve's stop, before liquidation, on a tick; or it says why not."""
    sign = 1 if lots > 0 else -1
    liq = entry - sign * (entry * away // 1_000_000)
    assume(liq > 0 and liq != entry)
    levels = [entry - sign * (entry * ppm // 1_000_000) for ppm in stops]
    found = where(lots, entry, liq, *levels, tick=tick)
    if found.problem is Problem.NO_ROOM:
        return
    assert found.price % tick == 0
    if found.problem is Problem.NONE:
        assert all(sign * (level - found.price) > 0 for level in levels)
        assert sign * (found.price - liq) > 0
    else:
        guard = entry * 1_000_000 - sign * 800_000 * abs(entry - liq)
        assert any(sign * (level * 1_000_000 - guard) <= 0 for level in levels)
        assert sign * (found.price * 1_000_000 - guard) >= 0 or tick > 1


@given(entry=prices, away=st.integers(1_000, 900_000), stop=st.integers(1, 90_000))
def test_mirror(entry: int, away: int, stop: int) -> None:
    """A short is a long in the mirror of its entry."""
    distance, near = entry * away // 1_000_000, entry * stop // 1_000_000
    assume(distance > 0 and near > 0)
    long = spot(leg(1, entry=entry, liq=entry - distance), (), 1, RULE)
    short = spot(leg(-1, entry=entry, liq=entry + distance), (), 1, RULE)
    assert entry - long.price == short.price - entry


# ---- what is done ----------------------------------------------------------------------------------


def planned(*orders, lots: int = 7, stops=(960,), absent=(), entry: int = 1000, liq: int = 805):
    legs = [leg(lots, entry=entry, liq=liq)] if lots else []
    sleeve_stops = {(0, 1 if lots > 0 else -1): stops}
    return plan(legs, orders, sleeve_stops, [1], RULE, absent=absent)


def test_placed_where_none_stands() -> None:
    (step,) = planned()
    assert (step.act, step.side, step.price, step.cancel) == (Act.PLACE, -1, 900, ())


def test_kept_where_it_is_near_enough() -> None:
    assert not must_move(1000, 1005, RULE)
    assert must_move(1000, 1006, RULE)
    (step,) = planned(disaster("sell", 904))
    assert (step.act, step.cancel) == (Act.KEEP, ())


def test_moved_when_it_is_too_far_off() -> None:
    (step,) = planned(disaster("sell", 880))
    assert (step.act, step.price, step.cancel) == (Act.REPLACE, 900, (DISASTER,))


def test_one_that_is_near_but_not_behind_every_stop_moves() -> None:
    (step,) = planned(disaster("sell", 944), stops=(944,), liq=0, entry=1040)
    assert step.act is Act.REPLACE
    assert step.price < 944


def test_a_second_one_of_ours_is_taken_back() -> None:
    (step,) = planned(disaster("sell", 900), disaster("sell", 901, NEXT))
    assert (step.act, step.cancel) == (Act.CANCEL, (NEXT,))


def test_one_left_on_the_other_side_after_a_reverse_is_taken_back() -> None:
    (step,) = planned(disaster("buy", 1100))
    assert (step.act, step.price, step.cancel) == (Act.REPLACE, 900, (DISASTER,))


def test_a_humans_close_position_stop_is_adopted_and_never_taken_back() -> None:
    (step,) = planned(disaster("sell", 870, STRANGER))
    assert (step.act, step.adopted, step.cancel, step.problem) == (Act.KEEP, True, (), Problem.NONE)
    (bad,) = planned(disaster("sell", 800, STRANGER))
    assert (bad.act, bad.cancel, bad.problem) == (Act.KEEP, (), Problem.STOP_BEYOND_LIQUIDATION)


def test_taken_back_only_when_flat_beyond_doubt() -> None:
    """A leg that is not in the answer may just not have been read (API-28)."""
    assert planned(disaster("sell", 900), lots=0) == []
    (step,) = planned(disaster("sell", 900), lots=0, absent=(0,))
    assert (step.act, step.cancel) == (Act.CANCEL, (DISASTER,))
    assert planned(disaster("sell", 900, STRANGER), lots=0, absent=(0,)) == []
    (held,) = planned(disaster("sell", 900), absent=(0,))
    assert held.act is Act.KEEP


def test_a_triggering_one_is_left_alone() -> None:
    (step,) = planned(disaster("sell", 800, status="TRIGGERING"))
    assert step.act is Act.KEEP


def test_a_leg_outside_the_universe_has_no_step() -> None:
    assert plan([leg(3, symbol=-1)], [], {}, [1], RULE) == []


@given(price=st.integers(1, 2000), lots=st.sampled_from([-3, 3]))
def test_what_was_carried_out_needs_nothing_more(price: int, lots: int) -> None:
    """Planning again after doing what was planned keeps everything."""
    sign = 1 if lots > 0 else -1
    side = "sell" if lots > 0 else "buy"
    liq = 1000 - sign * 195
    (step,) = planned(disaster(side, price), lots=lots, stops=(1000 - sign * 40,), liq=liq)
    stands = step.price if step.act in (Act.PLACE, Act.REPLACE) else price
    (again,) = planned(disaster(side, stands, NEXT), lots=lots, stops=(1000 - sign * 40,), liq=liq)
    assert (again.act, again.cancel) == (Act.KEEP, ())
