"""Orphans of ours are found; foreign orders, young ones and the last protection are never among them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.reconcile.scenes import ACCOUNT, CODE, NOW_MS, order, own_id

from perpdesk.engine.reconcile.compare import LivePosition
from perpdesk.engine.reconcile.sweep import Swept, Why, sweep
from perpdesk.kernel.records import LIMIT, STOP, TRAILING
from perpdesk.ports import OpenOrder

LONG_SIDE_EXITS = (0, -1)


def swept(
    *orders: OpenOrder,
    lots: int | None = 10,
    wanted: Iterable[str] = (),
    pending: bool = False,
    held: int | None = None,
    external: int = 0,
) -> Swept:
    """lots: of the live position CODE (None: there is none); held: long lots on the exchange."""
    live = {} if lots is None else {CODE: LivePosition(CODE, 0, "s2", lots, pending)}
    on_exchange = (lots or 0) if held is None else held
    return sweep(
        orders,
        account_id=ACCOUNT,
        versions={"s2", "s3"},
        positions=live,
        is_wanted=set(wanted).__contains__,
        closable={LONG_SIDE_EXITS: on_exchange} if on_exchange else {},
        unowned={LONG_SIDE_EXITS: external} if external else {},
        now_ms=NOW_MS,
    )


def reasons(found: Swept) -> list[tuple[str, Why]]:
    return [(orphan.order.client_id, orphan.why) for orphan in found.orphans]


STOP_ID, NEW_STOP_ID, TP_ID, ENTRY_ID = own_id("xs"), own_id("xs", attempt=1), own_id("s4"), own_id("e1")


@pytest.mark.parametrize(
    "client_id",
    [
        "web_123",
        "",
        "s2-8-abc00-xs-0",  # another account of ours
        "s9-7-abc00-xs-0",  # a version that is not configured: its position may be guarded still
        "s2-7-abc00-zz-0",
        "s2-7-abc00-xs",
        "x-HNA2TXFJ-s2-7-abc00-xs-0",
        "autoclose-1",
    ],
)
def test_foreign_orders_are_never_touched(client_id: str) -> None:
    found = swept(order(client_id), lots=None)
    assert found.orphans == ()
    assert [one.client_id for one in found.foreign] == [client_id]


def test_orders_of_a_position_that_is_gone_are_orphans() -> None:
    found = swept(
        order(STOP_ID),
        order(TP_ID, kind=LIMIT),
        order(ENTRY_ID, kind=LIMIT, side=1, reduce_only=False),
        lots=None,
    )
    assert reasons(found) == [(one, Why.POSITION_GONE) for one in (STOP_ID, TP_ID, ENTRY_ID)]


def test_a_stop_of_a_lost_position_stays_while_lots_that_nobody_owns_are_there() -> None:
    orders = [order(STOP_ID), order(TP_ID, kind=LIMIT), order(own_id("xs", attempt=1), side=1)]
    found = swept(*orders, lots=None, held=10, external=10)
    assert [one.client_id for one in found.kept] == [STOP_ID]
    assert {name for name, _ in reasons(found)} == {TP_ID, NEW_STOP_ID}


def test_young_orders_are_left_alone() -> None:
    assert swept(order(STOP_ID, age_ms=9_999), lots=None).orphans == ()
    assert swept(order(STOP_ID, age_ms=10_000), lots=None).orphans != ()


def test_exits_of_a_flat_position_are_orphans_unless_an_entry_is_on_its_way() -> None:
    assert reasons(swept(order(STOP_ID), lots=0)) == [(STOP_ID, Why.FLAT_EXIT)]
    # an unwanted stop of a position without lots protects nothing
    assert reasons(swept(order(STOP_ID), lots=0, pending=True)) == [(STOP_ID, Why.LEG_NOT_WANTED)]
    assert swept(order(STOP_ID), lots=0, pending=True, wanted=[STOP_ID]).orphans == ()


def test_wanted_orders_stay() -> None:
    assert swept(order(STOP_ID), order(TP_ID), wanted=[STOP_ID, TP_ID]) == Swept((), (), ())


def test_an_older_attempt_goes_when_the_newer_one_covers() -> None:
    found = swept(order(STOP_ID), order(NEW_STOP_ID), wanted=[NEW_STOP_ID])
    assert reasons(found) == [(STOP_ID, Why.DUPLICATE)]
    assert found.kept == ()


@pytest.mark.parametrize("covers", [0, 9])
def test_protection_is_not_thinned(covers: int) -> None:
    """The newer stop has fewer lots than the position: the old one stays."""
    others = [order(NEW_STOP_ID, lots=covers)] if covers else []
    found = swept(order(STOP_ID), *others, wanted=[NEW_STOP_ID])
    assert found.orphans == ()
    assert [one.client_id for one in found.kept] == [STOP_ID]


def test_of_two_unwanted_stops_one_stays() -> None:
    found = swept(order(STOP_ID), order(NEW_STOP_ID))
    assert reasons(found) == [(STOP_ID, Why.DUPLICATE)]
    assert [one.client_id for one in found.kept] == [NEW_STOP_ID]


def test_a_stop_of_another_position_or_side_covers_nothing() -> None:
    other = order(own_id("xs", code="zzz00", attempt=1))
    wrong_side = order(NEW_STOP_ID, side=1)
    assert swept(order(STOP_ID), other, wanted=[other.client_id]).kept[0].client_id == STOP_ID
    assert swept(order(STOP_ID), wrong_side, wanted=[NEW_STOP_ID]).kept[0].client_id == STOP_ID


def test_a_take_profit_nobody_wants_goes() -> None:
    found = swept(order(TP_ID, kind=LIMIT), order(STOP_ID), wanted=[STOP_ID])
    assert reasons(found) == [(TP_ID, Why.LEG_NOT_WANTED)]
    assert reasons(swept(order(own_id("xt"), kind=TRAILING), order(STOP_ID), wanted=[STOP_ID])) != []


def disaster(attempt: int = 0, **more: object) -> OpenOrder:
    client_id = own_id("dz", version="grd", code=f"d{attempt}", attempt=attempt)
    return order(client_id, close_position=True, **more)  # type: ignore[arg-type]


def test_a_disaster_stop_without_a_position_is_an_orphan() -> None:
    stop = disaster()
    assert reasons(swept(stop, lots=None, held=0)) == [(stop.client_id, Why.FLAT_EXIT)]
    assert swept(stop, lots=10).orphans == ()
    assert swept(stop, lots=None, held=5).orphans == ()  # external lots are behind it too
    wrong_side = disaster(side=1)
    assert reasons(swept(wrong_side, lots=10)) == [(wrong_side.client_id, Why.FLAT_EXIT)]


def test_of_two_disaster_stops_the_newest_stays() -> None:
    old, new = disaster(5, age_ms=60_000), disaster(1, age_ms=20_000)  # attempts begin again with a code
    assert reasons(swept(old, new)) == [(old.client_id, Why.DUPLICATE)]
    assert reasons(swept(old, new, wanted=[old.client_id])) == []


def test_a_forgotten_canary_is_taken_back() -> None:
    young, old = own_id("cn", version="grd"), own_id("cn", version="grd", attempt=1)
    found = swept(order(young, age_ms=59_999), order(old, age_ms=60_000))
    assert reasons(found) == [(old, Why.CANARY)]


legs = st.sampled_from(["e1", "xs", "xm", "xt", "s4", "s5"])
some_orders = st.lists(
    st.builds(
        lambda name, code, attempt, lots, kind, age_ms, side: order(
            own_id(name, code=code, attempt=attempt), lots=lots, kind=kind, age_ms=age_ms, side=side
        ),
        legs,
        st.sampled_from([CODE, "gone0"]),
        st.integers(0, 3),
        st.integers(1, 12),
        st.sampled_from([STOP, LIMIT, TRAILING]),
        st.integers(0, 20_000),
        st.sampled_from([-1, 1]),
    ),
    max_size=8,
    unique_by=lambda one: one.client_id,
)


@given(
    some_orders,
    st.integers(1, 12),
    st.lists(st.integers(0, 7), max_size=4),
    st.lists(st.text(max_size=8), max_size=3),
)
def test_a_sweep_never_takes_cover_wanted_or_foreign_orders_away(
    orders: list[OpenOrder], lots: int, wanted: list[int], strangers: list[str]
) -> None:
    keep = {orders[i].client_id for i in wanted if i < len(orders)}
    foreign = [order(f"web_{name}") for name in strangers]
    found = swept(*orders, *foreign, lots=lots, wanted=keep)
    gone = {orphan.order.client_id for orphan in found.orphans}
    live = {one.client_id for one in orders if f"-{CODE}-" in one.client_id}
    assert not gone & keep & live
    assert not gone & {one.client_id for one in foreign}

    def cover(those: list[OpenOrder]) -> int:
        return sum(
            one.lots for one in those if one.kind == STOP and one.side == -1 and f"-{CODE}-" in one.client_id
        )

    before, after = cover(orders), cover([one for one in orders if one.client_id not in gone])
    assert after >= min(before, lots)
    assert len(found.orphans) + len(found.kept) + len(found.foreign) <= len(orders) + len(foreign)
