"""The books of a real account: every fill once, on a sleeve or on the external ledger, to the last unit."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.live.bench import FEE, PRICE, STOP, Bench, assembled, bench, flat_market, working
from tests.engine.live.scripted import refused

from perpdesk.engine.ids import GUARDIAN
from perpdesk.kernel.records import (
    SLOT_EXIT,
    SLOT_STOP,
    TAG_ADL,
    TAG_DISASTER_STOP,
    TAG_LIQUIDATION,
    TAG_MANUAL,
    TAG_SETTLEMENT,
    TAG_SIGNAL,
)
from perpdesk.ports import NewOrder, OrderGone

DISASTER = f"{GUARDIAN}-5-abc00-dz-0"
UNIT = 10**6  # 1e-8 money of one price unit times one lot


def held(one: Bench, s: int = 0) -> tuple[int, ...]:
    """Lots of every sleeve, the external ones last."""
    one.check_lots()
    return (*one.engine.sleeve_lots(s), int(one.engine.external[s]))


# -- once ---------------------------------------------------------------------------------------------


async def test_a_fill_is_booked_once_whoever_tells_it_and_in_whatever_order() -> None:
    """WS-08, WS-16, NET-02: the stream twice, then the history; and the history before the stream."""
    async with bench() as one:
        await one.enter()
        first = await one.traded("t0 e1", lots=4)
        await one.tell(first)
        assert await one.import_all() == 0
        order = one.venue.order("t0 e1")
        fill = one.happened(order.client_id, 0, 1, 6, PRICE, FEE, None)
        assert await one.import_all() == 1
        await one.tell(one.message_of(fill, 0, 0))
        assert held(one) == (10, 0)
        assert int(one.books.positions[0, 0].fees_e8) == 2 * FEE
        assert len(one.outside.bookings) == 2
        assert one.alive == [f"t0 xs-1 STOP SELL 10 @ {STOP}"]


async def test_an_old_fill_told_again_after_its_position_is_no_alarm() -> None:
    """WS-08: the exchange repeats the last fill of a position that is over."""
    async with bench() as one:
        await one.hold()
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        last = await one.traded("t0 xm", price=10_100)
        await one.react()
        await one.tell(last)
        assert one.outside.alarms == []
        assert held(one) == (0, 0)


async def test_a_foreign_fill_is_booked_once() -> None:
    async with bench() as one:
        message = await one.foreign(5)
        await one.tell(message)
        await one.import_all()
        assert held(one) == (0, 5)
        assert one.outside.said() == ["external +5 held 5 foreign"]


async def test_a_fill_whose_order_is_not_known_yet_waits_for_the_history() -> None:
    async with bench() as one:
        message = await one.foreign(5, client_id="web_2")
        one.engine.external[0] = 0
        one.engine.seen.clear()
        nameless = type(message)("", 0, 1, PRICE, 5, FEE, message.ms, message.trade_id, 0)
        await one.tell(nameless)
        assert int(one.engine.external[0]) == 0
        one.outside.bookings.clear()
        await one.import_all()
        assert held(one) == (0, 5)


async def test_the_same_trade_number_on_another_symbol_is_another_fill() -> None:
    async with bench(symbols=2) as one:
        one.happened("web_1", 0, 1, 3, PRICE, FEE, 77)
        one.happened("web_1", 1, 1, 4, PRICE, FEE, 77)
        assert await one.import_all() == 2
        assert held(one, 0) == (0, 3)
        assert held(one, 1) == (0, 4)


# -- people -------------------------------------------------------------------------------------------


async def test_a_manual_partial_close_is_shared_by_both_sleeves() -> None:
    """HUM-02: pro rata by lots, the largest remainder first; both stops follow."""
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        await one.foreign(-4, price=10_100, fee=9)
        assert held(one) == (7, 4, 0)
        assert one.alive == [f"t0 xs-1 STOP SELL 7 @ {STOP}", f"t1 xs-1 STOP SELL 4 @ {STOP}"]
        fees = [int(fee) - FEE for fee in one.books.positions["fees_e8"][:, 0]]
        assert sum(fees) == 9
        assert [int(tag) for tag in one.engine.fills()["tag"][-2:]] == [TAG_MANUAL, TAG_MANUAL]


async def test_a_manual_close_leaves_nothing_behind() -> None:
    """HUM-01, I26."""
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        await one.foreign(-15, price=10_100)
        await one.advance(5_000)
        assert held(one) == (0, 0, 0)
        assert one.alive == []
        assert {int(one.books.positions[v, 0].closed_tag) for v in (0, 1)} == {TAG_MANUAL}
        assert [row for row in one.venue.said() if row.startswith("place")] == []


async def test_a_person_adds_and_the_strategy_leaves_his_lots_alone() -> None:
    """HUM-03."""
    async with bench() as one:
        await one.hold(10)
        await one.foreign(6)
        assert held(one) == (10, 6)
        assert one.alive == [f"t0 xs-0 STOP SELL 10 @ {STOP}"]
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        assert one.venue.order("t0 xm").lots == 10
        await one.traded("t0 xm")
        assert held(one) == (0, 6)


async def test_what_a_person_sells_is_taken_from_his_own_lots_first() -> None:
    async with bench() as one:
        await one.hold(10)
        await one.foreign(6)
        await one.foreign(-8)
        assert held(one) == (8, 0)


async def test_a_person_reverses_the_position() -> None:
    """HUM-04: ours is closed, the other side is his."""
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        await one.foreign(-20)
        assert held(one) == (0, 0, -5)
        assert one.alive == []
        assert one.outside.said()[-1] == "external -5 held -5 foreign"


# -- the exchange -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_id", "tag"),
    [
        ("autoclose-99", TAG_LIQUIDATION),
        ("adl_autoclose", TAG_ADL),
        ("settlement_autoclose-1", TAG_SETTLEMENT),
    ],
)
async def test_a_forced_close_takes_external_lots_first(client_id: str, tag: int) -> None:
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        await one.foreign(5)
        await one.forced(-8, price=9_000, client_id=client_id)
        assert held(one) == (8, 4, 0)
        assert {int(fill) for fill in one.engine.fills()["tag"][-2:]} == {tag}
        await one.forced(-12, price=8_900, client_id=client_id)
        assert held(one) == (0, 0, 0)
        await one.advance(1_000)
        assert one.alive == []


async def test_the_disaster_stop_closes_sleeves_and_external_lots() -> None:
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        await one.foreign(3)
        fill = one.happened(DISASTER, 0, -1, 18, 9_000, FEE, None)
        await one.tell(one.message_of(fill, -1, -1))
        assert held(one) == (0, 0, 0)
        assert int(one.books.positions[0, 0].closed_tag) == TAG_DISASTER_STOP
        assert one.outside.said()[-1] == "external -3 held 0 disaster_stop"


async def test_the_guardian_hears_of_the_end_of_its_stop() -> None:
    async with bench() as one:
        await one.tell(OrderGone(DISASTER, 0, -1, -1, "CANCELED", one.clock.now_ms()))
        assert one.outside.said() == ["guardian grd dz-0"]


async def test_an_exit_that_came_too_late_takes_from_others_and_alarms() -> None:
    """CON-07: a person has closed a part meanwhile; reduce-only saw the netted position, not the sleeve's."""
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(10, v=1)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        await one.foreign(-8)
        assert held(one) == (6, 6, 0)
        await one.traded("t0 xm", lots=10)
        assert held(one) == (0, 2, 0)
        assert one.outside.alarms == ["OVERCLOSED"]
        assert one.alive == [f"t1 xs-2 STOP SELL 2 @ {STOP}"]


async def test_a_stop_that_fills_after_the_exit_is_nobodys() -> None:
    """CON-06: both traded; the surplus is not a position of the sleeve's."""
    async with bench() as one:
        await one.hold(10)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        await one.traded("t0 xm")
        await one.traded("t0 xs")
        assert held(one) == (0, -10)
        assert one.outside.alarms[-1] in ("LATE_FILL", "OVERCLOSED")


# -- money --------------------------------------------------------------------------------------------


async def test_funding_is_split_by_lots_and_sums_to_the_booking() -> None:
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        await one.foreign(5)
        await one.funding(-1_001)
        assert [int(paid) for paid in one.books.positions["funding_e8"][:, 0]] == [-501, -250]
        assert list(one.outside.bookings.values())[-1] == -1_001
        assert one.recorder.rows[-2:] == ["funded v0 -501", "funded v1 -250"]


async def test_funding_after_the_close_is_told_and_given_to_nobody() -> None:
    async with bench() as one:
        await one.funding(-1_001)
        assert one.outside.alarms == ["LATE_FUNDING"]
        assert list(one.outside.bookings.values()) == [-1_001]


async def test_what_the_sleeves_realised_is_what_the_exchange_realised() -> None:
    """The exchange nets at one average price; the difference is settled when the symbol is flat."""
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0, price=10_000)
        await one.hold(5, v=1, price=10_301)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        await one.traded("t0 xm", price=10_200)
        realised = [int(one.books.positions[v, 0].realised_e8) for v in (0, 1)]
        assert realised == [2_000 * UNIT, 0]
        assert int(one.engine.drift_e8[0]) == one.venue.netted[0].realised_e8 - 2_000 * UNIT != 0
        assert one.realised() == one.venue.netted[0].realised_e8
        one.delivery.exit_now(1, 0, TAG_SIGNAL)
        await one.idle()
        await one.traded("t1 xm", price=10_400)
        assert int(one.engine.drift_e8[0]) == 0
        assert one.realised() == one.venue.netted[0].realised_e8
        account = one.books.account[0]
        assert account.cash_e8 - account.initial_e8 == one.realised() - one.venue.netted[0].fees_e8


async def test_the_last_unit_of_the_exchanges_rounding_is_booked() -> None:
    """Its profit figures are rounded by its own rules: flat, our sum is its sum."""
    async with bench() as one:
        await one.hold(10)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        fill = one.happened(one.venue.order("t0 xm").client_id, 0, -1, 10, 10_100, FEE, None)
        await one.tell(one.message_of(replace(fill, realised_e8=fill.realised_e8 - 3), 0, SLOT_EXIT))
        assert int(one.books.positions[0, 0].realised_e8) == 1_000 * UNIT - 3
        assert int(one.engine.fills()["realised_e8"][-1]) == 1_000 * UNIT - 3
        assert int(one.engine.drift_e8[0]) == 0


async def test_a_round_trip_after_a_persons_is_settled_like_any() -> None:
    """What external lots made is theirs; the next round trip of the sleeves sums to the exchange's again."""
    async with bench(sleeves=2) as one:
        await one.foreign(6, price=10_000)
        await one.foreign(-6, price=10_500)
        assert held(one) == (0, 0, 0)
        assert int(one.engine.drift_e8[0]) == 0
        assert not one.engine.was_shared[0]
        before = one.venue.netted[0].realised_e8
        await one.hold(10, v=0, price=10_000)
        await one.hold(5, v=1, price=10_301)
        await one.foreign(-7, price=10_203)
        await one.foreign(-8, price=10_207)
        ours = int(one.books.positions["realised_e8"].sum())
        assert ours == one.venue.netted[0].realised_e8 - before
        assert int(one.engine.drift_e8[0]) == 0


async def test_what_external_lots_made_is_told_when_the_symbol_is_flat() -> None:
    """The versions' own sums and that are what the exchange realised, to the last digit."""
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0, price=10_000)
        await one.hold(5, v=1, price=10_301)
        await one.foreign(4, price=10_507)
        await one.forced(-9, price=9_313)
        await one.foreign(3, price=9_500)
        await one.forced(-13, price=9_117)
        assert held(one) == (0, 0, 0)
        ours = int(one.books.positions["realised_e8"][:, 0].sum())
        assert one.outside.realised_outside != 0
        assert ours + one.outside.realised_outside == one.venue.netted[0].realised_e8


async def test_funding_of_external_lots_is_told() -> None:
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        await one.foreign(5)
        assert await one.engine.book_funding(0, -2_001, one.clock.now_ms()) == -500
        assert one.books.positions["funding_e8"][:, 0].tolist() == [-1_001, -500]


async def test_orders_of_an_unknown_version_are_somebody_elses() -> None:
    async with bench() as one:
        await one.foreign(3, client_id="zz-5-abc00-e1-0")
        assert held(one) == (0, 3)


async def test_a_gone_order_of_nobody_changes_nothing() -> None:
    async with bench() as one:
        await one.hold()
        await one.tell(OrderGone("t0-5-abc00-xs-9", 0, 0, 1, "EXPIRED", one.clock.now_ms()))
        assert one.venue.said() == []


async def test_a_trigger_told_twice_or_of_another_order_is_no_trigger() -> None:
    async with bench() as one:
        await one.hold()
        await one.triggered("t0 xs")
        await one.traded("t0 xs", lots=4)
        await one.triggered("t0 xs")
        assert one.slot(SLOT_EXIT).kind == 0
        await one.traded("t0 xs", lots=6)
        assert held(one) == (0, 0)


async def test_what_a_stop_sells_after_its_resizing_is_the_positions() -> None:
    """The old stop fills while the new one is on its way."""
    async with bench() as one:
        await one.hold(10)
        one.venue.will("cancel", *[refused(-2011)] * 50)
        await one.foreign(-4)
        await one.traded("t0 xs-0", lots=6, price=STOP)
        assert held(one) == (0, 0)
        assert one.outside.alarms == []


# -- whatever comes -----------------------------------------------------------------------------------

ACTS = ("enter", "exit", "stop", "foreign", "liquidation", "adl", "disaster", "again", "import")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACTS),
        st.integers(0, 1),  # which sleeve
        st.integers(-12, 12).filter(bool),  # lots
        st.integers(9_700, 10_300),  # price
        st.integers(0, 99),  # fee
        st.booleans(),  # told by the stream, or left to the history
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_trades_lots_and_money_are_kept(steps: list[tuple[str, int, int, int, int, bool]]) -> None:
    asyncio.run(_conserved(steps))


async def _conserved(steps: list[tuple[str, int, int, int, int, bool]]) -> None:
    one = assembled(flat_market(), 2)
    async with working(one):
        for act, v, lots, price, fee, streamed in steps:
            await _do(one, act, v, lots, price, fee, streamed)
            if streamed:
                _check(one)
        await one.import_all()
        _check(one)
        await one.advance(2_000)
        for v in (0, 1):
            stops = [o for o in one.venue.alive.values() if o.sleeve == v and o.slot == SLOT_STOP]
            assert sum(_left(one, stop) for stop in stops) == abs(one.lots(v)), (
                "what a sleeve holds, its stop covers"
            )


def _left(one: Bench, order: NewOrder) -> int:
    return order.lots - sum(f.lots for f in one.venue.history if f.client_id == order.client_id)


def _check(one: Bench) -> None:
    """All facts so far are told: compare with the exchange."""
    if len(one.engine.seen) < len(one.venue.history):
        return
    one.check_lots()
    fees = int(one.books.positions["fees_e8"].sum())
    outside = sum(one.outside.bookings.values())
    assert outside == sum(fill.realised_e8 - fill.fee_e8 for fill in one.venue.history)
    account = one.books.account[0]
    assert account.cash_e8 == account.initial_e8 + account.realised_e8 - account.fees_e8
    assert account.realised_e8 == int(one.books.positions["realised_e8"].sum())
    assert account.fees_e8 == fees
    if not one.outside.rows:  # nobody else had a part in it
        assert one.realised() == one.venue.netted[0].realised_e8
        assert fees == one.venue.netted[0].fees_e8


async def _do(one: Bench, act: str, v: int, lots: int, price: int, fee: int, streamed: bool) -> None:
    net = one.venue.netted[0].lots
    if act == "enter" and one.lots(v) == 0:
        same = net == 0 or (lots > 0) == (net > 0)
        await one.enter(1 if (lots > 0) == same else -1, abs(lots), v)
        await _told(one, one.venue.order(f"t{v} e1").client_id, None, price, fee, streamed)
    elif act == "exit" and one.lots(v):
        one.delivery.exit_now(v, 0, TAG_SIGNAL)
        await one.idle()
        await _told(one, one.venue.order(f"t{v} xm").client_id, abs(lots), price, fee, streamed)
    elif act == "stop" and any(o.sleeve == v and o.slot == SLOT_STOP for o in one.venue.alive.values()):
        (client_id, *_) = [i for i, o in one.venue.alive.items() if o.sleeve == v and o.slot == SLOT_STOP]
        await _told(one, client_id, abs(lots), price, fee, streamed)
    elif act == "foreign":
        if streamed:
            await one.foreign(lots, price, fee=fee)
        else:
            one.happened("web_1", 0, 1 if lots > 0 else -1, abs(lots), price, fee, None)
    elif act in ("liquidation", "adl") and net:
        name = "autoclose-1" if act == "liquidation" else "adl_autoclose"
        share = min(abs(lots), abs(net)) * (-1 if net > 0 else 1)
        await one.forced(share, price, client_id=name, fee=fee)
    elif act == "disaster" and net:
        fill = one.happened(DISASTER, 0, -1 if net > 0 else 1, abs(net), price, fee, None)
        await one.tell(one.message_of(fill, -1, -1))
    elif act == "again" and one.venue.history:
        fill = one.venue.history[lots % len(one.venue.history)]
        place = one.engine.place_of(fill.client_id)
        if place is not None:
            await one.tell(one.message_of(fill, *place))
    elif act == "import":
        await one.import_all()


async def _told(one: Bench, client_id: str, lots: int | None, price: int, fee: int, streamed: bool) -> None:
    """A fill of an order of ours, no more than reduce-only lets through."""
    order = one.delivery.orders.get(client_id) or one.delivery.past.get(client_id)
    assert order is not None
    left = _left(one, order.order)
    part = min(left, lots or left)
    if order.order.reduce_only:
        net = one.venue.netted[0].lots
        part = min(part, abs(net)) if net * order.order.side < 0 else 0
    if part <= 0:
        return
    fill = one.happened(client_id, 0, order.order.side, part, price, fee, None)
    if streamed:
        place = one.engine.place_of(client_id)
        assert place is not None
        await one.tell(one.message_of(fill, *place))
