"""Delivery: entries at most once, protection until it is seen, exits one at a time (reliability R1, R3, R12)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.live.bench import FEE, PRICE, STOP, bench
from tests.engine.live.scripted import ACCEPTED, UNKNOWN, refused, short
from tests.kernel.tables import rows

from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.delivery import DENIED_MS
from perpdesk.engine.ids import parse
from perpdesk.kernel.book import put_limit, put_market, put_trailing, put_trigger
from perpdesk.kernel.records import (
    LIMIT,
    MARKET,
    NONE,
    SLOT_ENTRY,
    SLOT_EXIT,
    SLOT_OWN,
    SLOT_STOP,
    SLOT_TRAIL,
    TAG_SIGNAL,
    TAG_TAKE_PROFIT,
    TAG_TRAILING,
    TAKE_PROFIT,
)
from perpdesk.ports import Answer, Fate, NewOrder, OrderGone

ENTRY = "place t0 e1-0 MARKET BUY 10"


# -- entries: at most once ----------------------------------------------------------------------------


async def test_an_entry_is_written_down_sent_once_and_protected_when_it_fills() -> None:
    async with bench() as one:
        await one.enter()
        assert one.venue.said() == [ENTRY]
        assert one.recorder.said() == rows("""
            intent t0 e1-0 MARKET BUY 10
            flying t0 e1-0
            sent t0 e1-0
        """)
        await one.traded("t0 e1")
        assert one.venue.said() == [f"place t0 xs-0 STOP SELL 10 @ {STOP}"]
        assert one.lots() == 10
        one.check_lots()


async def test_an_entry_without_an_answer_is_not_sent_again_however_long_it_takes() -> None:
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        for _ in range(20):
            await one.advance(2_500)
            await one.react()
        assert one.venue.said() == [ENTRY]
        assert one.delivery.entries_are_out
        assert one.delivery.has_entry_on_its_way(0, 0)


async def test_a_lost_answer_and_a_living_order() -> None:
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        one.venue.prove("t0 e1-0", Fate.ALIVE)
        await one.idle()
        assert one.recorder.said()[-2:] == [f"unknown t0 e1-0 until {UNKNOWN.fence_ms}", "sent t0 e1-0"]
        await one.traded("t0 e1", lots=4)
        await one.traded("t0 e1", lots=6)
        assert one.lots() == 10
        assert [row for row in one.venue.said() if " e1" in row] == [ENTRY]


async def test_a_lost_answer_and_a_dead_order_make_room_for_another() -> None:
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        one.venue.prove("t0 e1-0", Fate.ABSENT)
        await one.idle()
        assert one.recorder.said()[-2:] == ["refused t0 e1-0 proven absent", "dead t0 e1-0"]
        assert one.slot(SLOT_ENTRY).kind == NONE
        await one.advance(120_000)
        assert one.venue.said() == [ENTRY], "the signal is stale: nobody sends it again by himself"
        first = one.venue.order("t0 e1").client_id
        await one.enter()
        assert one.venue.said() == [ENTRY]
        assert one.venue.order("t0 e1").client_id != first


async def test_a_lost_answer_of_an_order_that_ended_with_a_fill() -> None:
    """The stream was silent: the history tells the fill, and the position is the sleeve's."""
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        order = one.venue.order("t0 e1")
        one.happened(order.client_id, 0, 1, 10, PRICE, FEE, None)
        one.venue.prove("t0 e1-0", Fate.ENDED)
        await one.idle()
        assert one.venue.catching_up == 2, "of the symbol at once, and of everything"
        assert await one.import_all() == 1
        assert one.lots() == 10
        assert one.venue.said() == [ENTRY, f"place t0 xs-0 STOP SELL 10 @ {STOP}"]
        one.check_lots()


async def test_the_rest_of_an_ended_entry_is_the_sleeves_though_it_was_closed_meanwhile() -> None:
    """Of 10 lots 4 were known when the position was closed; the others are read afterwards."""
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        order = one.venue.order("t0 e1")
        first = one.happened(order.client_id, 0, 1, 4, PRICE, FEE, None)
        await one.engine.import_fill(first)
        one.venue.prove("t0 e1-0", Fate.ENDED)
        await one.idle()
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        await one.traded("t0 xm")
        assert one.lots() == 0
        await one.react()
        second = one.happened(order.client_id, 0, 1, 6, PRICE, FEE, None)
        await one.engine.import_fill(second)
        await one.idle()
        assert (one.lots(), int(one.engine.external[0])) == (6, 0)
        assert one.outside.alarms == []
        assert [row for row in one.alive if "xs" in row] == [f"t0 xs-1 STOP SELL 6 @ {STOP}"]
        one.check_lots()


async def test_a_lost_answer_of_an_order_that_ended_without_a_fill() -> None:
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        one.venue.prove("t0 e1-0", Fate.UNFILLED)
        await one.idle()
        assert one.recorder.said()[-1] == "dead t0 e1-0"
        assert not one.delivery.has_entry_on_its_way(0, 0)


async def test_an_accepted_entry_whose_fill_is_not_told_is_read() -> None:
    """WS-07: a market order trades at once; a silent stream is not waited for."""
    async with bench() as one:
        await one.enter()
        await one.advance(900)
        assert one.venue.catching_up == 2
        await one.traded("t0 e1")
        await one.advance(30_000)
        assert one.venue.catching_up == 2
        assert [row for row in one.venue.said() if " e1" in row] == [ENTRY]


async def test_an_entry_that_cannot_be_prepared_is_not_written_and_not_sent() -> None:
    """CP-24: its leverage could not be set."""
    async with bench() as one:
        one.venue.problem = "LEVERAGE"
        await one.enter()
        assert (one.venue.said(), one.recorder.said()) == ([], [])
        one.venue.problem = None
        await one.enter()
        assert one.venue.said() == [ENTRY]


@pytest.mark.parametrize("answer", [UNKNOWN, None], ids=["no answer", "accepted"])
async def test_a_fill_before_the_answer_is_booked_and_protected(answer) -> None:
    """WS-10: the stream knows first, whatever the answer says later."""
    async with bench() as one:

        async def fills(order: NewOrder) -> None:
            if order.slot == SLOT_ENTRY:
                await one.traded("t0 e1")

        one.venue.before_answer = fills
        if answer is not None:
            one.venue.will("e1", answer)
        await one.enter()
        await one.idle()
        assert one.lots() == 10
        assert one.alive[-1] == f"t0 xs-0 STOP SELL 10 @ {STOP}"
        assert not one.delivery.has_entry_on_its_way(0, 0), "it has filled: nothing of it is in doubt"
        assert not [row for row in one.recorder.rows if row.startswith("unknown")], "FILLED is the end"
        one.check_lots()


async def test_part_of_a_fill_before_an_answer_that_never_comes() -> None:
    async with bench() as one:

        async def fills(order: NewOrder) -> None:
            if order.slot == SLOT_ENTRY:
                await one.traded("t0 e1", lots=4)

        one.venue.before_answer = fills
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        await one.idle()
        assert "t0 xs-0 STOP SELL 4 @ 9600" in one.alive
        one.venue.prove("t0 e1-0", Fate.ALIVE)
        await one.idle()
        await one.traded("t0 e1", lots=6)
        assert one.lots() == 10
        assert one.alive[-1] == f"t0 xs-1 STOP SELL 10 @ {STOP}"
        assert [row for row in one.venue.said() if " e1" in row] == [ENTRY]


async def test_a_stop_does_not_wait_for_the_answer_of_its_entry() -> None:
    """The fill is told at once, the answer takes ten seconds: a timeout long, the position would be naked."""
    async with bench() as one:

        async def slow(order: NewOrder) -> None:
            if order.slot == SLOT_ENTRY:
                await one.clock.sleep_until(one.clock.now_ms() + 10_000)

        one.venue.before_answer = slow
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        await one.traded("t0 e1")
        assert one.venue.said() == [ENTRY, f"place t0 xs-0 STOP SELL 10 @ {STOP}"]
        await one.advance(20_000)
        assert one.venue.said() == []


async def test_a_fill_while_in_doubt_ends_the_doubt() -> None:
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        await one.traded("t0 e1")
        assert one.lots() == 10
        assert not one.delivery.has_entry_on_its_way(0, 0)
        one.venue.prove("t0 e1-0", Fate.ENDED)
        await one.idle()
        assert one.alive == [f"t0 xs-0 STOP SELL 10 @ {STOP}"]


async def test_a_fill_after_the_proof_of_absence_is_nobodys_and_alarms() -> None:
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        one.venue.prove("t0 e1-0", Fate.ABSENT)
        await one.idle()
        await one.react()
        await one.traded("t0 e1")
        assert one.outside.alarms == ["LATE_FILL"]
        assert (one.lots(), int(one.engine.external[0])) == (0, 10)
        one.check_lots()


async def test_a_wish_that_went_stale_in_doubt_keeps_its_name() -> None:
    """The wanted entry is dropped after a minute, the doubt is not: a fill is still the sleeve's."""
    async with bench() as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter()
        one.slot(SLOT_ENTRY).kind = NONE  # stale, or taken back by the kill ladder
        await one.react()
        await one.traded("t0 e1")
        assert one.outside.alarms == []
        assert (one.lots(), int(one.engine.external[0])) == (10, 0)
        assert one.alive == [f"t0 xs-0 STOP SELL 10 @ {STOP}"]


async def test_an_entry_taken_back_too_late_is_still_the_sleeves() -> None:
    """Its cancel is refused because it has filled; the fill is told afterwards."""
    async with bench(sleeves=2) as one:
        await one.enter()
        one.venue.will("cancel", *[refused(-2011)] * 9)
        one.slot(SLOT_ENTRY).kind = NONE
        one.delivery.wake(0)
        await one.idle()
        await one.react()
        await one.traded("t0 e1")
        assert one.outside.alarms == []
        assert one.lots() == 10
        assert one.alive[-1] == f"t0 xs-0 STOP SELL 10 @ {STOP}"


async def test_a_refused_cancel_is_asked_again_in_its_own_time_only() -> None:
    """API-13 for a minute: whatever wakes the worker meanwhile, one request each two seconds."""
    async with bench() as one:
        await one.hold()
        one.venue.will("cancel", *[refused(-2011)] * 999)
        await one.foreign(-4)  # a smaller stop is placed, the old one is to leave
        before = len(asyncio.all_tasks())
        for _ in range(80):
            one.delivery.nudge(0)
            await one.advance(250)
        asked = [row for row in one.venue.said() if row.startswith("cancel")]
        assert 9 <= len(asked) <= 12
        assert len(asyncio.all_tasks()) <= before + 2


async def test_a_refused_cancel_of_an_entry_is_no_proof() -> None:
    """-2011 may mean filled, gone or forgotten (API-13): it is found out, and the next entry waits for that."""
    async with bench() as one:
        await one.enter()
        one.venue.will("cancel", *[refused(-2011)] * 999)
        one.slot(SLOT_ENTRY).kind = NONE
        one.delivery.wake(0)
        await one.advance(DENIED_MS + 3_000)
        assert set(one.venue.said()) == {ENTRY, "cancel t0 e1-0"}
        await one.enter()
        assert ENTRY not in one.venue.said()
        one.slot(SLOT_ENTRY).kind = NONE
        assert [name for name, _ in one.venue.settling] == ["t0 e1-0"]
        one.venue.prove("t0 e1-0", Fate.UNFILLED)
        await one.idle()
        assert one.recorder.said()[-1] == "dead t0 e1-0"
        await one.enter()
        assert one.venue.said() == [ENTRY]


async def test_an_entry_that_is_not_wanted_any_more_is_taken_back() -> None:
    async with bench() as one:
        await one.enter()
        one.slot(SLOT_ENTRY).kind = NONE
        one.delivery.wake(0)
        await one.idle()
        assert one.venue.said() == [ENTRY, "cancel t0 e1-0"]
        assert one.recorder.said()[-2:] == ["gone t0 e1-0 CANCELED", "dead t0 e1-0"]
        await one.enter()
        assert one.venue.said() == [ENTRY]


async def test_a_stale_wish_is_dropped_by_the_step() -> None:
    """An entry that no gate let through within a minute is not sent later."""
    async with bench() as one:
        one.no = "HALTED"
        await one.enter()
        put_market(one.slot(SLOT_ENTRY), 1, 10, 0, 1)
        one.no = None
        one.books.heads[0, 0].approved_ms = one.clock.now_ms() - 60_001
        mind, books = one.setup.minds[0], one.books
        one.engine.sleeves[0].compiled.react(
            mind.params, mind.guards, mind.shared, mind.states, books.instruments, books.positions, books.slots,
            books.heads, 0, 0, PRICE, one.clock.now_ms(), 0,
        )  # fmt: skip
        one.delivery.wake(0)
        await one.idle()
        assert one.venue.said() == []


async def test_the_venue_ends_an_entry_that_found_nobody() -> None:
    async with bench() as one:
        await one.enter()
        await one.gone("t0 e1")
        assert one.recorder.said()[-2:] == ["gone t0 e1-0 EXPIRED", "dead t0 e1-0"]
        assert one.slot(SLOT_ENTRY).kind == NONE
        await one.enter()
        assert one.venue.said() == [ENTRY, ENTRY]


async def test_the_venue_ends_an_entry_that_was_about_to_be_taken_back() -> None:
    """Nobody wants it any more when its end is told: it is as dead as any."""
    async with bench() as one:
        await one.enter()
        one.slot(SLOT_ENTRY).kind = NONE
        await one.gone("t0 e1")
        assert one.recorder.said()[-1] == "dead t0 e1-0"
        await one.enter()
        assert one.venue.said() == [ENTRY, ENTRY]


async def test_the_rest_of_a_partly_filled_entry_expires() -> None:
    async with bench() as one:
        await one.enter()
        await one.traded("t0 e1", lots=4)
        await one.gone("t0 e1")
        assert one.slot(SLOT_ENTRY).kind == NONE
        assert "dead t0 e1-0" not in one.recorder.rows
        assert one.alive == [f"t0 xs-0 STOP SELL 4 @ {STOP}"]


async def test_a_place_is_free_again_after_a_position_whose_entry_never_filled_whole() -> None:
    """It was closed by a person while the rest of its entry was still there."""
    async with bench() as one:
        await one.enter()
        await one.traded("t0 e1", lots=4)
        one.venue.will("cancel", UNKNOWN)
        await one.foreign(-4)
        await one.advance(5_000)
        assert one.alive == []
        one.venue.said()
        await one.enter()
        assert one.venue.said() == [ENTRY]
        await one.traded("t0 e1")
        assert one.lots() == 10
        assert one.outside.alarms == []


async def test_a_refused_entry_is_dead_and_not_repeated() -> None:
    async with bench() as one:
        one.venue.will("e1", refused(-2019, "margin is insufficient"))
        await one.enter()
        await one.advance(10_000)
        assert one.venue.said() == [ENTRY]
        assert one.recorder.said()[-2:] == ["refused t0 e1-0 margin is insufficient", "dead t0 e1-0"]


async def test_the_gate_says_no_before_anything_is_written() -> None:
    async with bench() as one:
        one.no = "HALTED"
        await one.enter()
        assert (one.venue.said(), one.recorder.said()) == ([], [])
        assert one.slot(SLOT_ENTRY).kind == NONE
        one.no = None
        await one.enter()
        assert one.venue.said() == [ENTRY]


async def test_the_gate_says_no_while_the_intent_was_being_written() -> None:
    """CON-05: whatever trips during the write is seen before the wire."""
    async with bench() as one:
        approve = one.recorder.entry_approved

        async def trips(entry, order) -> bool:
            taken = await approve(entry, order)
            one.no = "DAILY_LOSS"
            return taken

        one.recorder.entry_approved = trips
        await one.enter()
        assert one.venue.said() == []
        assert one.recorder.said() == rows("""
            intent t0 e1-0 MARKET BUY 10
            refused t0 e1-0 not sent: DAILY_LOSS
            dead t0 e1-0
        """)


async def test_without_a_durable_intent_nothing_is_sent() -> None:
    async with bench() as one:
        told: list[StoreFailed] = []
        one.delivery.on_store_failed = told.append
        one.recorder.broken = True
        await one.enter()
        assert one.venue.said() == []
        assert len(told) == 1
        one.recorder.broken = False
        await one.enter()
        assert one.venue.said() == [ENTRY]


@pytest.mark.parametrize("who", ["books", "strategy"])
async def test_a_place_that_somebody_else_has_is_left_to_him(who: str) -> None:
    async with bench() as one:
        if who == "books":
            one.recorder.refuses = frozenset({0})
        else:
            one.owner = "taken by score"
        await one.enter()
        assert one.venue.said() == []
        assert not one.delivery.has_entry_on_its_way(0, 0)


async def test_two_versions_on_one_symbol_do_not_wait_for_each_other() -> None:
    async with bench(sleeves=2) as one:
        one.venue.will("e1", UNKNOWN)
        await one.enter(v=0)
        await one.enter(v=1)
        assert one.venue.said() == [ENTRY, "place t1 e1-0 MARKET BUY 10"]
        await one.traded("t1 e1")
        assert (one.lots(0), one.lots(1)) == (0, 10)
        assert one.venue.said() == [f"place t1 xs-0 STOP SELL 10 @ {STOP}"]


# -- protection: until it is seen ---------------------------------------------------------------------


async def test_a_new_stop_stands_before_the_old_one_goes() -> None:
    async with bench() as one:
        await one.hold()
        await one.foreign(-4)
        assert one.venue.said() == [f"place t0 xs-1 STOP SELL 6 @ {STOP}", "cancel t0 xs-0"]


async def test_a_refused_replacement_leaves_the_old_stop_standing() -> None:
    async with bench() as one:
        await one.hold()
        one.venue.will("xs", *[refused(-1008)] * 3)
        await one.foreign(-4)
        assert one.alive == [f"t0 xs-0 STOP SELL 10 @ {STOP}"]
        await one.advance(5_000)
        assert one.alive == [f"t0 xs-4 STOP SELL 6 @ {STOP}"]


async def test_a_stop_without_an_answer_gets_others_beside_it_but_three_at_most() -> None:
    async with bench() as one:
        one.venue.will("xs", UNKNOWN, UNKNOWN, UNKNOWN)
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(450)
        assert len(one.venue.said()) == 2, "not at once: the first may stand"
        await one.advance(30_000)
        assert one.venue.said() == [f"place t0 xs-{i} STOP SELL 10 @ {STOP}" for i in (1, 2)]
        one.venue.prove("t0 xs-1", Fate.ABSENT)
        await one.idle()
        assert one.venue.said() == [f"place t0 xs-3 STOP SELL 10 @ {STOP}"]


def _slow(one: Any, leg: str, ms: int, *more: str) -> None:
    """The first order of a leg is answered late, and those of ``more`` too."""
    left = [leg, *more]

    async def waits(order: NewOrder) -> None:
        for name in left:
            if name in short(order.client_id):
                left.remove(name)
                await one.clock.sleep_until(one.clock.now_ms() + ms)
                return

    one.venue.before_answer = waits


async def test_a_stop_that_is_not_answered_in_time_is_not_waited_for() -> None:
    """NET-02, NET-09: an answer may take ten seconds, or never come; the position is naked meanwhile."""
    async with bench() as one:
        _slow(one, "xs", 10_000)
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(900)
        assert one.venue.said() == [ENTRY, f"place t0 xs-0 STOP SELL 10 @ {STOP}"]
        await one.advance(300)
        assert one.venue.said() == [f"place t0 xs-1 STOP SELL 10 @ {STOP}"]
        assert one.alive == [f"t0 xs-1 STOP SELL 10 @ {STOP}"]
        await one.advance(20_000)
        assert one.venue.said() == ["cancel t0 xs-0"], "the late one lives too, and one is enough"
        assert one.alive == [f"t0 xs-1 STOP SELL 10 @ {STOP}"]


async def test_a_late_stop_is_kept_if_it_is_the_only_one() -> None:
    async with bench() as one:
        _slow(one, "xs-0", 3_000)
        one.venue.will("xs", *[refused(-1008)] * 2)
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(60_000)
        assert one.alive in ([f"t0 xs-0 STOP SELL 10 @ {STOP}"], [f"t0 xs-3 STOP SELL 10 @ {STOP}"])


async def test_three_stops_without_an_answer_are_enough() -> None:
    async with bench() as one:
        _slow(one, "xs", 10_000, *["xs"] * 9)
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(9_000)
        assert len([row for row in one.venue.said() if " xs" in row]) == 3
        await one.advance(30_000)
        assert len(one.alive) == 1


async def test_a_late_refusal_is_told_and_does_not_disturb() -> None:
    async with bench() as one:
        _slow(one, "xs-0", 3_000)
        one.venue.will("xs", *[refused(-1008)])
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(30_000)
        assert len(one.alive) == 1
        assert "STOP SELL 10" in one.alive[0]


async def test_while_the_venue_is_out_of_reach_nothing_is_doubled() -> None:
    """A ban holds requests back: they wait in the queue and need no others beside them."""
    async with bench() as one:
        _slow(one, "xs", 60_000)
        await one.enter()
        one.venue.is_reachable = False
        await one.traded("t0 e1")
        await one.advance(50_000)
        assert one.venue.said() == [ENTRY, f"place t0 xs-0 STOP SELL 10 @ {STOP}"]


async def test_a_stop_that_is_too_small_already_is_hardly_waited_for() -> None:
    """The entry fills in parts: the first part's stop is on the wire when the rest fills."""
    async with bench() as one:
        _slow(one, "xs", 10_000)
        await one.enter()
        await one.traded("t0 e1", lots=4)
        await one.traded("t0 e1", lots=6)
        await one.advance(300)
        assert one.venue.said()[1:] == [
            f"place t0 xs-{i} STOP SELL {lots} @ {STOP}" for i, lots in ((0, 4), (1, 10))
        ]
        await one.advance(20_000)
        assert one.alive == [f"t0 xs-1 STOP SELL 10 @ {STOP}"]


async def test_a_stop_waits_for_no_other_answer() -> None:
    """Neither a cancel nor another order of the symbol that hangs on the wire holds it up."""
    async with bench() as one:
        await one.hold()
        put_trigger(one.slot(SLOT_OWN), TAKE_PROFIT, -1, 10_500, 4, TAG_TAKE_PROFIT)
        _slow(one, "s4", 10_000)
        one.venue.hangs_ms = 10_000
        one.delivery.drop(replace(one.venue.order("t0 xs"), client_id=one.venue.order("t0 e1").client_id))
        await one.idle()
        one.venue.said()
        await one.foreign(-4)
        await one.advance(50)
        assert f"place t0 xs-1 STOP SELL 6 @ {STOP}" in one.venue.said()


async def test_a_take_profit_in_doubt_is_not_doubled() -> None:
    async with bench() as one:
        await one.hold()
        one.venue.will("s4", UNKNOWN)
        put_trigger(one.slot(SLOT_OWN), TAKE_PROFIT, -1, 10_500, 4, TAG_TAKE_PROFIT)
        one.delivery.wake(0)
        await one.advance(20_000)
        assert [row for row in one.venue.said() if " s4" in row] == ["place t0 s4-0 TP SELL 4 @ 10500"]
        one.venue.prove("t0 s4-0", Fate.ABSENT)
        await one.idle()
        assert one.venue.said() == ["place t0 s4-1 TP SELL 4 @ 10500"]


async def test_of_several_stops_that_live_one_is_kept() -> None:
    async with bench() as one:
        one.venue.will("xs", UNKNOWN, UNKNOWN)
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(6_000)
        assert len([row for row in one.venue.said() if " xs" in row]) == 3
        one.venue.prove("t0 xs-0", Fate.ALIVE)
        one.venue.prove("t0 xs-1", Fate.ALIVE)
        await one.idle()
        assert one.venue.said() == ["cancel t0 xs-0", "cancel t0 xs-1"]
        assert one.alive == [f"t0 xs-2 STOP SELL 10 @ {STOP}"]


async def test_a_stop_proven_alive_is_the_one_that_is_kept_if_there_is_no_other() -> None:
    async with bench() as one:
        one.venue.will("xs", UNKNOWN)
        await one.enter()
        await one.traded("t0 e1")
        one.venue.prove("t0 xs-0", Fate.ALIVE)
        await one.advance(10_000)
        assert [row for row in one.venue.said() if " xs" in row] == [f"place t0 xs-0 STOP SELL 10 @ {STOP}"]


async def test_a_stop_of_the_wrong_size_proven_alive_is_replaced() -> None:
    async with bench() as one:
        one.venue.will("xs", UNKNOWN)
        await one.enter()
        await one.traded("t0 e1")
        one.venue.said()
        one.venue.prove("t0 xs-0", Fate.ALIVE)
        await one.foreign(-4)
        await one.advance(3_000)
        assert one.venue.said() == [f"place t0 xs-1 STOP SELL 6 @ {STOP}", "cancel t0 xs-0"]


async def test_a_stop_that_would_trigger_at_once_closes_at_market() -> None:
    """API-17: the price has gone past it."""
    async with bench() as one:
        one.venue.will("xs", refused(-2021))
        await one.enter()
        await one.traded("t0 e1")
        assert "place t0 xm-0 MARKET SELL 10" in one.venue.said()
        assert one.refusals == ["t0 xs-0 -2021"]
        await one.traded("t0 xm", price=9_500)
        assert one.lots() == 0


async def test_refusals_back_off_and_never_give_up() -> None:
    async with bench() as one:
        one.venue.will("xs", *[refused(-1008)] * 12)
        await one.enter()
        await one.traded("t0 e1")
        at: list[int] = []
        began = one.clock.now_ms()
        for _ in range(100):
            at += [one.clock.now_ms() - began] * len([row for row in one.venue.said() if " xs" in row])
            await one.advance(250)
        assert at[:6] == [0, 250, 750, 1_750, 3_750, 5_750]
        assert one.alive == [f"t0 xs-12 STOP SELL 10 @ {STOP}"]


async def test_a_nudge_tries_again_at_once() -> None:
    async with bench() as one:
        one.venue.will("xs", *[refused(-1008)] * 4)
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(2_000)
        one.venue.said()
        one.delivery.nudge(0)
        await one.idle()
        assert one.venue.said() == [f"place t0 xs-4 STOP SELL 10 @ {STOP}"]


async def test_an_exit_that_may_not_reduce_asks_for_the_truth_and_stays_reduce_only() -> None:
    """API-18: -2022 says that the position is not what we think."""
    async with bench() as one:
        await one.hold()
        one.venue.will("xm", refused(-2022))
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.advance(1_000)
        assert one.refusals == ["t0 xm-0 -2022"]
        assert one.venue.said() == ["place t0 xm-0 MARKET SELL 10", "place t0 xm-1 MARKET SELL 10"]
        assert all(order.reduce_only for order in one.venue.sent if order.slot == SLOT_EXIT)


async def test_an_exit_outside_the_band_goes_as_a_limit_at_its_edge() -> None:
    """API-21, R12."""
    async with bench() as one:
        await one.hold()
        one.venue.will("xm", refused(-4131))
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.advance(1_000)
        assert one.venue.said() == ["place t0 xm-0 MARKET SELL 10", "ioc t0 xm-1 SELL 10"]


async def test_what_only_reduces_is_counted_and_goes_whatever_the_gate_says() -> None:
    """I8: every order that is sent counts against the order rate; exits and stops are not refused by it."""
    async with bench() as one:
        await one.hold()
        assert [parse(code).leg for code in one.judged] == ["e1", "xs"]
        one.no = "ORDER_RATE"
        one.venue.will("xm", refused(-4131))
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.advance(1_000)
        assert one.venue.said()[-2:] == ["place t0 xm-0 MARKET SELL 10", "ioc t0 xm-1 SELL 10"]
        assert [parse(code).leg for code in one.judged] == ["e1", "xs", "xm", "xm"]


async def test_a_limit_at_the_edge_that_is_refused_too_is_tried_again() -> None:
    async with bench() as one:
        await one.hold()
        one.venue.will("xm", refused(-4131), refused(-4131))
        one.venue.will("ioc", refused(-1008))
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.advance(1_000)
        assert one.venue.said() == rows("""
            place t0 xm-0 MARKET SELL 10
            ioc t0 xm-1 SELL 10
            place t0 xm-2 MARKET SELL 10
            ioc t0 xm-3 SELL 10
        """)


async def test_an_exit_that_others_orders_stand_in_the_way_of_goes_in_parts() -> None:
    """-4118: reduce-only beside a resting order of somebody else. What there is room for goes at once."""
    async with bench() as one:
        await one.hold()
        one.venue.will("xm", refused(-4118))
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        assert one.venue.said() == ["place t0 xm-0 MARKET SELL 10", "place t0 xm-1 MARKET SELL 5"]
        one.venue.will("xm", refused(-4118))
        await one.traded("t0 xm-1")
        assert [row for row in one.venue.said() if "xm" in row] == [
            "place t0 xm-2 MARKET SELL 5",
            "place t0 xm-3 MARKET SELL 2",
        ]
        await one.traded("t0 xm-3")
        assert [row for row in one.venue.said() if "xm" in row] == ["place t0 xm-4 MARKET SELL 3"]
        await one.traded("t0 xm-4")
        assert one.lots() == 0
        await one.advance(1_000)
        assert one.alive == []


async def test_where_there_is_no_room_at_all_a_stop_at_the_market_gets_out() -> None:
    """It stands beside the sleeve's own stop and follows the price. Two exits never stand beside each other:
    they could close another version's lots."""
    async with bench() as one:
        one.venue.marks = {0: PRICE}
        await one.hold()
        one.venue.will("xm", *[refused(-4118)] * 4)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        sent = [row for row in one.venue.said() if "xm" in row]
        assert sent == [f"place t0 xm-{i} MARKET SELL {n}" for i, n in enumerate((10, 5, 2, 1))] + [
            "place t0 xm-4 STOP SELL 10 @ 9999"
        ]
        assert one.alive == ["t0 xm-4 STOP SELL 10 @ 9999", f"t0 xs-0 STOP SELL 10 @ {STOP}"]
        await one.advance(2_250)
        assert one.venue.said() == []
        one.venue.marks = {0: 10_100}  # it ran away upwards
        one.venue.will("xm", *[refused(-4118)] * 4)
        await one.advance(1_250)
        sent = [row for row in one.venue.said() if "xm" in row]
        assert (sent[0], sent[1], sent[-1]) == (
            "cancel t0 xm-4",
            "place t0 xm-5 MARKET SELL 10",
            "place t0 xm-9 STOP SELL 10 @ 10099",
        )
        await one.triggered("t0 xm-9")
        await one.traded("t0 xm-9", lots=4, price=10_098)
        await one.advance(15_000)
        assert [row for row in one.venue.said() if "xm" in row] == []
        await one.gone("t0 xm-9", "EXPIRED")
        assert [row for row in one.venue.said() if "xm" in row] == ["place t0 xm-10 MARKET SELL 6"]
        await one.traded("t0 xm-10", price=10_097)
        assert one.lots() == 0
        await one.advance(3_000)
        assert one.alive == []


async def test_when_the_way_is_free_again_the_plain_exit_goes_through() -> None:
    async with bench() as one:
        one.venue.marks = {0: PRICE}
        await one.hold()
        one.venue.will("xm", *[refused(-4118)] * 4)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        one.venue.said()
        await one.advance(11_000)
        assert [row for row in one.venue.said() if "xm" in row] == [
            "cancel t0 xm-4",
            "place t0 xm-5 MARKET SELL 10",
        ]
        await one.traded("t0 xm-5")
        await one.advance(1_000)
        assert one.alive == []


async def test_exits_go_one_at_a_time_and_the_stop_stays() -> None:
    async with bench() as one:
        await one.hold()
        one.venue.will("xm", UNKNOWN)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.advance(20_000)
        assert one.venue.said() == ["place t0 xm-0 MARKET SELL 10"]
        assert one.alive == [f"t0 xs-0 STOP SELL 10 @ {STOP}"]
        one.venue.prove("t0 xm-0", Fate.ABSENT)
        await one.idle()
        assert one.venue.said() == ["place t0 xm-1 MARKET SELL 10"]


async def test_an_exit_that_ended_unheard_is_not_repeated_before_its_fills_are_read() -> None:
    """It has traded; with the stream silent nobody has told. A second one would close another version's lots."""
    async with bench(sleeves=2) as one:
        await one.hold(10, v=0)
        await one.hold(5, v=1)
        one.venue.will("xm", UNKNOWN)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        order = one.venue.order("t0 xm")
        fill = one.happened(order.client_id, 0, -1, 10, PRICE, FEE, None)
        one.venue.prove("t0 xm-0", Fate.ENDED)
        await one.advance(10_000)
        assert [row for row in one.venue.said() if "xm" in row] == ["place t0 xm-0 MARKET SELL 10"]
        assert one.venue.catching_up > 5
        await one.tell(one.message_of(fill, 0, order.slot))
        assert (one.lots(0), one.lots(1)) == (0, 5)
        await one.advance(3_000)
        assert [row for row in one.venue.said() if "xm" in row] == []


async def test_an_exit_that_ended_unfilled_is_repeated_when_it_is_proven_gone() -> None:
    async with bench() as one:
        await one.hold()
        one.venue.will("xm", UNKNOWN)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        one.venue.prove("t0 xm-0", Fate.ENDED)
        await one.advance(3_000)
        await one.gone("t0 xm-0", "VANISHED")
        assert [row for row in one.venue.said() if "xm" in row] == [
            f"place t0 xm-{i} MARKET SELL 10" for i in (0, 1)
        ]


async def test_an_exit_in_doubt_is_repeated_while_no_stop_protects() -> None:
    async with bench() as one:
        one.venue.will("xs", *[refused(-1008)] * 99)
        await one.enter()
        await one.traded("t0 e1")
        one.venue.will("xm", UNKNOWN)
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.advance(1_000)
        exits = [row for row in one.venue.said() if " xm" in row]
        assert exits == [f"place t0 xm-{i} MARKET SELL 10" for i in (0, 1)]
        assert all(order.reduce_only for order in one.venue.sent if order.slot == SLOT_EXIT)


async def test_an_exit_that_works_is_not_repeated() -> None:
    async with bench() as one:
        await one.hold()
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        await one.traded("t0 xm", lots=4)
        await one.advance(10_000)
        assert [row for row in one.venue.said() if " xm" in row] == ["place t0 xm-0 MARKET SELL 10"]
        await one.gone("t0 xm")
        assert [row for row in one.venue.said() if " xm" in row] == ["place t0 xm-1 MARKET SELL 6"]


async def test_a_triggered_stop_is_left_to_finish() -> None:
    async with bench() as one:
        await one.hold()
        await one.triggered("t0 xs")
        assert one.slot(SLOT_STOP).kind == MARKET
        await one.traded("t0 xs", lots=4, price=9_590)
        await one.react(9_590)
        await one.advance(5_000)
        assert one.venue.said() == []
        await one.traded("t0 xs", lots=6, price=9_580)
        assert one.lots() == 0
        assert int(one.books.positions[0, 0].closed_tag) == 2  # EXCHANGE_STOP


async def test_a_triggered_stop_that_dies_is_put_back() -> None:
    """ALG-03, ALG-04: rejected at its trigger, or expired with a rest."""
    async with bench() as one:
        await one.hold()
        await one.triggered("t0 xs")
        await one.traded("t0 xs", lots=4, price=9_590)
        await one.gone("t0 xs", "REJECTED")
        assert one.venue.said() == [f"place t0 xs-1 STOP SELL 6 @ {STOP}"]


@pytest.mark.parametrize("reason", ["EXPIRED", "CANCELED", "REJECTED"])
async def test_a_stop_that_somebody_took_away_is_put_back(reason: str) -> None:
    async with bench() as one:
        await one.hold()
        await one.gone("t0 xs", reason)
        assert one.venue.said() == [f"place t0 xs-1 STOP SELL 10 @ {STOP}"]


async def test_a_fight_over_a_stop_ends_with_the_position() -> None:
    """HUM-05: put back three times in ten minutes, then closed."""
    async with bench() as one:
        await one.hold()
        for _ in range(3):
            await one.gone("t0 xs", "CANCELED")
        assert one.venue.said() == [f"place t0 xs-{i} STOP SELL 10 @ {STOP}" for i in (1, 2, 3)]
        await one.gone("t0 xs", "CANCELED")
        assert "place t0 xm-0 MARKET SELL 10" in one.venue.said()


@pytest.mark.parametrize("answer", [UNKNOWN, ACCEPTED])
async def test_the_end_of_an_order_that_we_asked_for_is_no_fight(answer: Answer) -> None:
    """The stream tells it before the answer to our cancel, or where no answer came."""
    async with bench() as one:
        await one.hold()
        for i in range(6):
            put_limit(one.slot(SLOT_OWN), -1, 10_500 + i, 4, 1, TAG_TAKE_PROFIT, PRICE)
            one.delivery.wake(0)
            await one.idle()
            one.venue.will("cancel", answer)
            order = one.venue.order("t0 s4")
            told = OrderGone(order.client_id, 0, 0, SLOT_OWN, "CANCELED", one.clock.now_ms())
            one.venue.before_cancel = lambda told=told: one.tell(told)
            put_limit(one.slot(SLOT_OWN), -1, 10_600 + i, 4, 1, TAG_TAKE_PROFIT, PRICE)
            one.delivery.wake(0)
            await one.idle()
            one.venue.before_cancel = None
            await one.advance(2_000)
            assert one.venue.order("t0 s4").price == 10_600 + i
        assert one.outside.said() == []
        assert [row for row in one.venue.said() if "xm" in row] == []


async def test_a_stop_is_cut_after_a_partial_take_profit() -> None:
    async with bench() as one:
        await one.hold()
        put_trigger(one.slot(SLOT_OWN), TAKE_PROFIT, -1, 10_500, 4, TAG_TAKE_PROFIT)
        one.delivery.wake(0)
        await one.idle()
        assert one.venue.said() == ["place t0 s4-0 TP SELL 4 @ 10500"]
        await one.traded("t0 s4", price=10_500)
        assert one.venue.said() == [f"place t0 xs-1 STOP SELL 6 @ {STOP}", "cancel t0 xs-0"]
        assert one.slot(SLOT_OWN).kind == NONE


async def test_a_trailing_stop_that_is_active_is_resized_without_its_activation() -> None:
    """-2021: its activation price is past. One that stays too large would close another version's lots."""
    async with bench() as one:
        await one.hold()
        put_trailing(one.slot(SLOT_TRAIL), -1, 10, 10_080, 4_000, TAG_TRAILING)
        one.delivery.wake(0)
        await one.idle()
        assert one.venue.said() == ["place t0 xt-0 TRAIL SELL 10 @ 10080"]
        one.venue.will("xt", refused(-2021))
        one.slot(SLOT_TRAIL).lots = 6
        one.delivery.wake(0)
        await one.idle()
        assert one.venue.said() == [
            "place t0 xt-1 TRAIL SELL 6 @ 10080",
            "place t0 xt-2 TRAIL SELL 6",
            "cancel t0 xt-0",
        ]
        await one.advance(5_000)
        assert one.venue.said() == [], "it is what its slot wants"


async def test_a_resting_limit_is_moved_only_after_the_old_one_is_gone() -> None:
    """Two limits of one slot could both fill: the old one goes first."""
    async with bench() as one:
        await one.hold()
        put_limit(one.slot(SLOT_OWN), -1, 10_500, 4, 1, TAG_TAKE_PROFIT, PRICE)
        one.delivery.wake(0)
        await one.idle()
        one.venue.said()
        one.venue.will("cancel", UNKNOWN, UNKNOWN)
        put_limit(one.slot(SLOT_OWN), -1, 10_400, 4, 1, TAG_TAKE_PROFIT, PRICE)
        one.delivery.wake(0)
        await one.advance(1_000)
        assert one.venue.said() == ["cancel t0 s4-0"] * 3 + ["place t0 s4-1 LIMIT SELL 4 @ 10400"]
        assert one.slot(SLOT_OWN).kind == LIMIT


async def test_a_cancel_without_an_answer_is_repeated_at_leisure() -> None:
    """Something waits for the end of the old order: that is no reason to ask a thousand times."""
    async with bench() as one:
        await one.hold()
        put_limit(one.slot(SLOT_OWN), -1, 10_500, 4, 1, TAG_TAKE_PROFIT, PRICE)
        one.delivery.wake(0)
        await one.idle()
        one.venue.said()
        one.venue.will("cancel", *[UNKNOWN] * 999)
        put_limit(one.slot(SLOT_OWN), -1, 10_400, 4, 1, TAG_TAKE_PROFIT, PRICE)
        one.delivery.wake(0)
        await one.advance(1_000)
        assert one.venue.said() == ["cancel t0 s4-0"] * 4


async def test_when_flat_every_order_of_the_position_goes_until_it_is_seen_gone() -> None:
    """L3, both books: the stop and the take-profit; lost answers of cancels are asked again."""
    async with bench() as one:
        await one.hold()
        put_trigger(one.slot(SLOT_OWN), TAKE_PROFIT, -1, 10_500, 4, TAG_TAKE_PROFIT)
        one.delivery.wake(0)
        await one.idle()
        one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await one.idle()
        one.venue.said()
        one.venue.will("cancel", UNKNOWN, UNKNOWN, UNKNOWN)
        one.slot(SLOT_OWN).kind = NONE  # a strategy clears its own slots when it is flat
        await one.traded("t0 xm")
        await one.advance(2_000)
        said = one.venue.said()
        assert sorted(set(said)) == ["cancel t0 s4-0", "cancel t0 xs-0"]
        assert len(said) == 5
        assert one.alive == []
        assert one.delivery.held_orders() == []


async def test_a_cancel_that_is_never_answered_does_not_hold_the_others_up() -> None:
    async with bench() as one:
        await one.hold()
        order = one.venue.order("t0 xs")
        one.delivery.drop(order)
        one.delivery.drop(replace(order, client_id=order.client_id[:-1] + "7"))
        one.venue.will("cancel", UNKNOWN)
        await one.idle()
        assert set(one.venue.said()) == {"cancel t0 xs-0", "cancel t0 xs-7"}


async def test_an_order_without_a_position_is_not_sent() -> None:
    async with bench() as one:
        put_market(one.slot(SLOT_EXIT), -1, 5, 1, TAG_SIGNAL)
        one.delivery.wake(0)
        await one.idle()
        assert one.venue.said() == []
        assert one.slot(SLOT_EXIT).kind == NONE


async def test_settling_goes_on_while_nothing_can_be_read() -> None:
    async with bench() as one:
        one.venue.will("xs", UNKNOWN)
        one.venue.fails = {"settle"}
        await one.enter()
        await one.traded("t0 e1")
        await one.advance(9_000)
        one.venue.fails = set()
        one.venue.prove("t0 xs-0", Fate.ABSENT)
        await one.advance(3_000)
        assert not one.delivery.lines[0, 0, SLOT_STOP].doubts


async def test_what_ends_a_worker_ends_the_delivery() -> None:
    with pytest.raises(PerpdeskError, match="broken"):  # noqa: PT012
        async with bench() as one:

            async def breaks(order: NewOrder) -> None:
                raise PerpdeskError("broken")

            one.venue.before_answer = breaks
            await one.enter()


async def test_ids_are_never_used_twice_and_say_whose_they_are() -> None:
    async with bench(sleeves=2, symbols=2) as one:
        for v in (0, 1):
            for s in (0, 1):
                await one.hold(v=v, s=s)
        names = [short(order.client_id) for order in one.venue.sent]
        assert names.count("t0 e1-0") == 2
        assert len({order.client_id for order in one.venue.sent}) == len(names) == 8
