"""Every path of a pair ends FLAT or QUARANTINED, once, with books that agree with the venue."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies.volume_target.build import TERMS, D, new_pair
from tests.strategies.volume_target.model import World, ended

from perpdesk.strategies.volume_target.facts import Fill, Seen
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.strategies.volume_target.pair import (
    Outcome,
    Pair,
    PairState,
    is_failure,
    next_pair,
    next_pair_ms,
)
from perpdesk.strategies.volume_target.pair_events import (
    Acked,
    Alarm,
    CancelBuys,
    CancelDenied,
    CancelList,
    FillReport,
    NoAnswer,
    OrderReport,
    PairEvent,
    PairWanted,
    PlaceExit,
    PlaceOto,
    Probe,
    ProbeEmpty,
    QueryFills,
    QueryOrders,
    Quote,
    Refused,
    Reopen,
    Resolve,
    Restarted,
    Send,
    Stop,
    Tick,
    Withdraw,
)

S = PairState


def fill(qty: str, price: str = "100", trade: int = 1, cum: str | None = None, fee: str | None = "0") -> Fill:
    commission = None if fee is None else D(fee)
    return Fill(trade, D(cum or qty), D(qty), D(price), D(qty) * D(price), 0, commission)


def after(pair: Pair, *events: PairEvent) -> tuple[Pair, list[PairWanted]]:
    wanted: list[PairWanted] = []
    for event in events:
        pair, more = next_pair(pair, event)
        wanted.extend(more)
    return pair, wanted


def buying() -> Pair:
    return after(new_pair(), Send(0), Acked(10, "p1"))[0]


def selling() -> Pair:
    report = OrderReport(20, "p1-b", Seen.FILLED, D("0.298"))
    return after(buying(), FillReport(20, "p1-b", fill("0.298")), report)[0]


# The table, row by row.


def test_a_planned_pair_that_must_not_go_out() -> None:
    for event in (Withdraw(1), Stop(1, 0), CancelBuys(1)):
        pair, wanted = after(new_pair(), event)
        assert (pair.state, pair.outcome, wanted) == (S.FLAT, Outcome.NOT_SENT, [])
        assert not is_failure(pair, CountSide.BUY)
        assert after(pair, Send(2)) == (replace(pair, now_ms=2), [])


def test_it_is_sent_once() -> None:
    pair, wanted = after(new_pair(), Send(5), Send(6), Tick(7), NoAnswer(8, "p1"), Send(9))
    assert [type(wish) for wish in wanted] == [PlaceOto, Probe]
    place = wanted[0]
    assert isinstance(place, PlaceOto)
    assert (place.signed_ms, place.sell_qty) == (5, 0)
    assert pair.state is S.PLACING


def test_the_sell_quantity_is_given_where_the_venue_needs_it() -> None:
    terms = replace(TERMS, rules=replace(TERMS.rules, pending_by_venue=False))
    place = after(new_pair(terms=terms), Send(0))[1][0]
    assert isinstance(place, PlaceOto)
    assert place.sell_qty == D("0.297")


def test_an_order_on_the_stream_is_as_good_as_an_answer() -> None:
    pair, _ = after(new_pair(), Send(0), OrderReport(3, "p1-s", Seen.LIVE, D(0)))
    assert (pair.state, pair.buy_deadline_ms) == (S.BUYING, 300_003)
    # and better than a refusal that comes after it
    assert after(pair, Refused(4, "p1"))[0].state is S.BUYING


def test_a_refusal_ends_it() -> None:
    pair, _ = after(new_pair(), Send(0), Refused(1, "p1", "-2010"))
    assert (pair.state, pair.outcome) == (S.FLAT, Outcome.REFUSED)
    assert is_failure(pair, CountSide.BUY)


def test_absence_needs_two_probes_asked_after_the_fence() -> None:
    fence = 5_000 + 10_000 + 250
    pair, _ = after(new_pair(), Send(0), NoAnswer(1, "p1"))
    # asked before the fence, answered after it
    pair, _ = after(pair, ProbeEmpty(fence + 1, "p1", fence), ProbeEmpty(fence + 9_000, "p1", fence))
    assert pair.state is S.PLACING
    pair, _ = after(pair, ProbeEmpty(fence + 9_000, "p1", fence + 1))
    pair, _ = after(pair, ProbeEmpty(fence + 9_000, "p1", fence + 2_000))
    assert pair.state is S.PLACING
    pair, _ = after(pair, ProbeEmpty(fence + 9_000, "p1", fence + 2_001))
    assert (pair.state, pair.outcome) == (S.FLAT, Outcome.NOT_PLACED)
    assert is_failure(pair, CountSide.BUY)


def test_without_a_verdict_a_person_must_look() -> None:
    pair, wanted = after(new_pair(), Send(0), Tick(119_999))
    assert pair.state is S.PLACING
    pair, wanted = after(pair, Tick(120_000))
    assert (pair.state, wanted) == (S.QUARANTINED, [Alarm("PLACING_UNKNOWN")])
    assert next_pair_ms(pair) is None


def test_each_leg_has_its_own_deadline() -> None:
    pair, wanted = after(buying(), Tick(300_010))
    assert (pair.state, pair.cause, wanted) == (S.CANCELLING, Outcome.BUY_TIMED_OUT, [CancelList("p1")])
    late = after(buying(), OrderReport(200_000, "p1-b", Seen.FILLED, D("0.298")))[0]
    assert (late.state, late.sell_deadline_ms) == (S.SELLING, 500_000)
    assert after(late, Tick(499_999))[0].state is S.SELLING
    assert after(late, Tick(500_000))[0].cause is Outcome.SELL_TIMED_OUT


def test_a_whole_pair() -> None:
    done = OrderReport(30, "p1-s", Seen.FILLED, D("0.298"))
    pair, wanted = after(selling(), FillReport(30, "p1-s", fill("0.298", "101.5")), done)
    assert (pair.state, pair.outcome, wanted) == (S.FLAT, Outcome.COMPLETED, [])
    assert (pair.dust, pair.loss) == (0, D("0.298") * D("-1.5"))
    assert not pair.breaks_loss_limit


def test_a_missing_commission_is_asked_for() -> None:
    untold = fill("0.298", "101.5", fee=None)
    done = OrderReport(30, "p1-s", Seen.FILLED, D("0.298"))
    pair, wanted = after(selling(), FillReport(30, "p1-s", untold), done)
    assert (pair.state, wanted) == (S.RECONCILING, [QueryOrders(("p1-s",)), QueryFills(("p1-s",))])
    assert after(pair, Tick(2_029))[1] == []
    assert after(pair, Tick(2_030))[1] == wanted
    told, _ = after(pair, FillReport(40, "p1-s", fill("0.298", "101.5", fee="0.03")))
    assert (told.state, told.outcome) == (S.FLAT, Outcome.COMPLETED)
    stuck, wanted = after(pair, Tick(60_030))
    assert (stuck.state, wanted) == (S.QUARANTINED, [Alarm("FILLS_UNEXPLAINED")])
    again, _ = after(stuck, Resolve(70_000))
    assert again.state is S.RECONCILING


def test_a_stop_cancels_a_buy_at_once_and_a_sell_after_the_grace() -> None:
    pair, wanted = after(buying(), Stop(50, 5_000))
    assert (pair.state, wanted) == (S.CANCELLING, [CancelList("p1")])
    pair, wanted = after(selling(), Stop(50, 5_000), Tick(5_049))
    assert (pair.state, wanted, next_pair_ms(pair)) == (S.SELLING, [], 5_050)
    assert after(pair, Tick(5_050))[0].cause is Outcome.STOPPED
    # the second Ctrl-C
    assert after(pair, Stop(60, 0))[0].state is S.CANCELLING
    # a stop does not wait longer because it is asked for again
    assert after(pair, Stop(60, 60_000), Tick(5_050))[0].state is S.CANCELLING


def test_a_stop_before_the_answer_acts_when_the_order_is_seen() -> None:
    pair, wanted = after(new_pair(), Send(0), Stop(1, 0))
    assert pair.state is S.PLACING
    pair, wanted = after(pair, Acked(2, "p1"))
    assert (pair.state, wanted) == (S.CANCELLING, [CancelList("p1")])


def test_the_cancel_rung_keeps_sells() -> None:
    assert after(buying(), CancelBuys(50))[0].state is S.CANCELLING
    assert after(selling(), CancelBuys(50), Tick(60))[0].state is S.SELLING


def test_a_loss_is_cut() -> None:
    pair = selling()
    # bought for 29.8: at 96.6 it would cost 1.04 with the fee, at 96.8 0.98
    assert after(pair, Quote(30, D("96.8")))[0].state is S.SELLING
    cut, wanted = after(pair, Quote(30, D("96.6")))
    assert (cut.state, cut.cause, wanted) == (S.CANCELLING, Outcome.ABORTED_LOSS, [CancelList("p1")])
    assert cut.breaks_loss_limit


def test_a_denied_cancel_proves_nothing() -> None:
    pair, wanted = after(buying(), Stop(50, 0), CancelDenied(60))
    assert pair.state is S.CANCELLING
    assert wanted[1:] == [QueryOrders(("p1-b", "p1-s")), QueryFills(("p1-b", "p1-s"))]
    assert CancelList("p1") in after(pair, Tick(5_050))[1]
    stuck, wanted = after(pair, Tick(120_050))
    assert (stuck.state, wanted) == (S.QUARANTINED, [Alarm("CANCEL_UNCONFIRMED")])


def flattening() -> tuple[Pair, list[PairWanted]]:
    ends = [OrderReport(60, name, Seen.CANCELED, D(0)) for name in ("p1-b", "p1-s")]
    return after(selling(), Quote(50, D(100)), Stop(50, 0), *ends)


def test_flattening_sells_what_is_left_one_order_at_a_time() -> None:
    # the BUY was FILLED: a CANCELED that comes later does not undo it
    pair, wanted = flattening()
    assert pair.state is S.FLATTENING
    assert wanted[-1] == PlaceExit("p1-x1", D("0.298"), D("99.5"), 60)
    for attempt in range(1, 7):
        now = 100 * attempt
        assert after(pair, Quote(now, D(100)), Tick(now))[1] == []
        name = f"p1-x{attempt}"
        pair, wanted = after(pair, Quote(now, D(100)), OrderReport(now, name, Seen.EXPIRED, D(0)))
        if attempt < 5:
            assert wanted == [PlaceExit(f"p1-x{attempt + 1}", D("0.298"), D("99.5"), now)]
        elif attempt == 5:
            assert wanted == [PlaceExit("p1-x6", D("0.298"), None, now)]
    assert (pair.state, wanted) == (S.QUARANTINED, [Alarm("NOT_FLAT_AT_MARKET")])


def test_an_exit_that_sold_a_part_leaves_the_rest_to_the_next() -> None:
    pair, _ = flattening()
    part = fill("0.1", "99.9")
    pair, wanted = after(pair, OrderReport(70, "p1-x1", Seen.EXPIRED, D("0.1")))
    assert (pair.state, wanted) == (S.FLATTENING, [])  # the quantity is known, the money is not yet
    pair, wanted = after(pair, FillReport(80, "p1-x1", part))
    assert wanted == [PlaceExit("p1-x2", D("0.198"), D("99.5"), 80)]


def test_a_residue_below_the_smallest_order_is_dust() -> None:
    pair, _ = flattening()
    part = fill("0.26", "99.9")
    pair, wanted = after(
        pair, FillReport(80, "p1-x1", part), OrderReport(80, "p1-x1", Seen.EXPIRED, D("0.26"))
    )
    # 0.038 would be worth 3.8 USDT, the venue takes no order below 5
    assert (pair.state, pair.outcome, pair.dust, wanted) == (S.FLAT, Outcome.STOPPED, D("0.038"), [])
    assert not is_failure(pair, CountSide.BUY)


def test_no_exit_on_a_stale_price() -> None:
    ends = [OrderReport(9_000, name, Seen.CANCELED, D(0)) for name in ("p1-b", "p1-s")]
    pair, wanted = after(selling(), Quote(50, D(100)), Stop(8_990, 0), *ends)
    assert pair.state is S.FLATTENING
    assert [type(wish).__name__ for wish in wanted] == ["CancelList", "ReadPrice"]
    stuck, wanted = after(pair, Tick(129_000))
    assert (stuck.state, wanted) == (S.QUARANTINED, [Alarm("NOT_FLAT_IN_TIME")])


def test_a_late_fill_alarms_once_and_is_settled_when_asked() -> None:
    gone, _ = after(new_pair(), Send(0), Refused(1, "p1"))
    late = FillReport(900, "p1-b", fill("0.1"))
    pair, wanted = after(gone, late, late)
    assert (pair.state, pair.late, pair.late_fill) == (S.FLAT, True, True)
    assert wanted == [Alarm("LATE_FILL"), CancelList("p1")]
    assert next_pair_ms(pair) == 5_900
    pair, wanted = after(pair, Reopen(1_000))
    assert (pair.state, pair.is_live) == (S.RECONCILING, True)
    ends = [OrderReport(1_100, name, Seen.CANCELED, D(0)) for name in ("p1-b", "p1-s")]
    pair, wanted = after(pair, *ends, Quote(1_200, D(100)), Tick(1_300))
    assert PlaceExit("p1-x1", D("0.1"), D("99.5"), 1_200) in wanted
    assert after(gone, Reopen(1_000)) == (replace(gone, now_ms=1_000), [])


def test_a_match_between_managed_accounts_alarms() -> None:
    match = OrderReport(30, "p1-b", Seen.EXPIRED_IN_MATCH, D(0))
    assert Alarm("EXPIRED_IN_MATCH") in after(buying(), match)[1]


def test_a_restart_looks_before_it_does_anything() -> None:
    pair, wanted = after(new_pair(), Restarted(7))
    assert (pair.state, wanted) == (S.PLACING, [Probe("p1", 7)])
    assert after(pair, Send(8))[1] == []
    ids = ("p1-b", "p1-s")
    pair, wanted = after(buying(), Restarted(100))
    assert (pair.state, wanted) == (S.BUYING, [QueryOrders(ids), QueryFills(ids)])
    # the deadline went on while nobody was there
    pair, wanted = after(buying(), Restarted(900_000))
    assert (pair.state, wanted) == (S.CANCELLING, [CancelList("p1")])


def test_an_order_of_another_pair_is_an_error() -> None:
    with pytest.raises(KeyError, match="volume_order"):
        after(buying(), OrderReport(1, "p2-b", Seen.LIVE, D(0)))


# All paths.


def checked(world: World) -> World:
    world.drive()
    assert list(ended(world)) == []
    return world


def test_without_faults() -> None:
    world = checked(World(new_pair(), ()))
    assert (world.pair.outcome, world.placed, world.alarms) == (Outcome.COMPLETED, ["p1"], [])


@pytest.mark.parametrize("crashes", [False, True], ids=["no crashes", "crashes"])
def test_every_short_series_of_faults(crashes: bool) -> None:
    """All series of four choices that begin at the start, at the BUY or at the SELL of a pair."""
    outcomes: Counter[object] = Counter()
    for before, series in product((0, 3, 5), product(range(5), repeat=4)):
        choices = (0,) * before + series
        world = World(new_pair(), choices, crashes)
        checked(world)
        assert world.pair.state is S.FLAT, choices
        if world.pair.late:
            world.resolve()
            assert list(ended(world)) == []
            assert not world.pair.late
        outcomes[world.pair.outcome] += 1
    assert {"COMPLETED", "BUY_TIMED_OUT", "SELL_TIMED_OUT", "REFUSED", "NOT_PLACED"} <= set(outcomes)


@settings(max_examples=400)
@given(st.lists(st.integers(0, 11), max_size=150), st.booleans())
def test_any_series_of_faults(choices: list[int], crashes: bool) -> None:
    world = checked(World(new_pair(), choices, crashes))
    # the faults are over: what is quarantined or late can be settled
    world.choices = ()
    for _ in range(3):
        if world.pair.state is S.QUARANTINED or world.pair.late:
            world.resolve()
            assert list(ended(world)) == []


@settings(max_examples=150)
@given(st.data())
def test_order_repetition_and_loss_leave_no_trace(data: st.DataObject) -> None:
    """The same facts in any order, twice or never, and then the truth by query: the same pair."""
    facts: list[PairEvent] = [
        FillReport(20, "p1-b", fill("0.1", trade=1, cum="0.1")),
        FillReport(20, "p1-b", fill("0.198", trade=2, cum="0.298")),
        OrderReport(20, "p1-b", Seen.LIVE, D("0.1")),
        OrderReport(20, "p1-b", Seen.FILLED, D("0.298")),
        OrderReport(20, "p1-s", Seen.LIVE, D(0)),
        FillReport(20, "p1-s", fill("0.2", "101.5", trade=3, cum="0.2")),
        FillReport(20, "p1-s", fill("0.098", "101.5", trade=3, cum="0.298")),
        OrderReport(20, "p1-s", Seen.LIVE, D("0.2")),
        OrderReport(20, "p1-s", Seen.FILLED, D("0.298")),
    ]
    some = data.draw(st.lists(st.sampled_from(facts), max_size=14))
    truth = data.draw(st.permutations(facts))
    pair, wanted = after(buying(), *some, *truth)
    assert (pair.state, pair.outcome, pair.late) == (S.FLAT, Outcome.COMPLETED, False)
    assert (pair.dust, pair.loss) == (0, D("0.298") * D("-1.5"))
    straight = after(buying(), *facts)[0]
    assert pair.orders == straight.orders
    assert not [wish for wish in wanted if isinstance(wish, (PlaceOto, PlaceExit, Alarm))]


@settings(max_examples=150)
@given(st.lists(st.integers(0, 11), max_size=60))
def test_ticks_before_their_time_change_nothing(choices: list[int]) -> None:
    world = World(new_pair(), choices)
    world.tell(Send(0))
    for _ in range(200):
        due = next_pair_ms(world.pair)
        if due is not None and due > world.now + 1:
            early, wanted = next_pair(world.pair, Tick(due - 1))
            assert wanted == ()
            assert replace(early, now_ms=world.pair.now_ms) == world.pair
        if not world.step():
            break
