"""The guardian's round: cover, disaster stops, escalation, the kill ladder (I4, I16, R11, HUM-05)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.engine.live.bench import PRICE, STOP, Bench, bench
from tests.engine.live.kept import listed
from tests.engine.live.scripted import ACCEPTED, UNKNOWN, refused

from perpdesk.domain.kill import Rung
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.live.protection import Protection
from perpdesk.kernel.book import put_limit, put_market, put_trigger
from perpdesk.kernel.records import SLOT_ENTRY, SLOT_OWN, TAG_ENTRY, TAG_TAKE_PROFIT, TAKE_PROFIT
from perpdesk.ports import Fate, Leg

RULE = DisasterRule(max_ppm=100_000, liq_share_ppm=700_000)
DISASTER = 9_000  # a tenth below the entry, and before liquidation


@dataclass
class Watch:
    """A bench and its guardian; what the guardian spawns runs beside."""

    one: Bench
    rung: Rung = Rung.NORMAL
    doubts: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    it: Protection = field(init=False)

    def __post_init__(self) -> None:
        one = self.one
        one.venue.marks = dict.fromkeys(range(one.venue.symbols), PRICE)
        ticks = [int(tick) for tick in one.books.instruments["tick"]]
        self.alarms = Alarms(one.clock)
        self.it = Protection(
            one.engine, one.venue, one.clock, ClientIds(5, 500), self, self.alarms, RULE, ticks, self.spawn,
            self.doubt,
        )  # fmt: skip
        one.outside.filled = lambda v, s, ms: self.it.filled(v, s)
        one.outside.guardians_order_gone = self.it.disaster_gone

    def now(self) -> Rung:
        return self.rung

    def doubt(self) -> None:
        self.doubts += 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def rounds(self, count: int = 1) -> None:
        """So many seconds, one round each."""
        for _ in range(count):
            await self.one.advance(1_000)
            self.it.round()
            await self.one.idle()

    def shows(self, lots: int = 0, liquidation: int = 0) -> None:
        """A complete read of the exchange: its position, and every order that stands."""
        legs = [Leg(0, "AAAUSDT", lots, PRICE, PRICE, liquidation, True, 0, 0)] if lots else []
        self.it.exchange_showed(legs, [listed(order) for order in self.one.venue.alive.values()])

    def sounds(self) -> set[str]:
        return {code for code, _ in self.alarms._standing}


@asynccontextmanager
async def watch(sleeves: int = 1) -> AsyncIterator[Watch]:
    async with bench(sleeves) as one:
        yield Watch(one)


# -- disaster stops -----------------------------------------------------------------------------------


async def test_a_position_gets_one_disaster_stop_and_keeps_it() -> None:
    async with watch() as w:
        await w.one.hold()
        await w.rounds(5)
        assert w.one.venue.said() == [f"disaster SELL @ {DISASTER}"]
        assert len(w.it.disaster_ids()) == 1
        assert all("-dz-" in client_id for client_id in w.it.disaster_ids())
        assert w.it.round()[0].is_protected


async def test_a_short_position_gets_one_above() -> None:
    async with watch() as w:
        await w.one.hold(-10)
        await w.rounds(2)
        assert w.one.venue.said() == [f"disaster BUY @ {2 * PRICE - DISASTER}"]


async def test_it_moves_when_liquidation_comes_nearer_the_old_one_first() -> None:
    """The exchange takes no second closePosition stop of a side."""
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        w.one.venue.said()
        w.shows(10, liquidation=9_000)
        await w.rounds(2)
        assert w.one.venue.said() == ["cancel grd dz-0", "disaster SELL @ 9300"]
        assert len(w.it.disaster_ids()) == 1


async def test_it_goes_only_when_books_and_exchange_are_flat() -> None:
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        w.shows(10)
        await w.one.traded("t0 xs", price=STOP)
        w.one.venue.said()
        await w.rounds(10)
        assert w.one.venue.said() == [], "the exchange has not shown that it is flat"
        w.shows(10)
        await w.rounds(3)
        assert w.one.venue.said() == []
        w.shows(0)
        await w.rounds(2)
        assert w.one.venue.said() == ["cancel grd dz-0"]


async def test_a_read_from_before_the_close_proves_nothing() -> None:
    async with watch() as w:
        w.shows(0)
        await w.one.hold()
        await w.rounds(2)
        await w.one.traded("t0 xs", price=STOP)
        w.one.venue.said()
        await w.rounds(10)
        assert w.one.venue.said() == []


async def test_a_cancel_without_an_answer_is_repeated() -> None:
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        await w.one.traded("t0 xs", price=STOP)
        w.one.venue.said()
        w.one.venue.will("cancel", UNKNOWN, UNKNOWN)
        await w.rounds(2)
        await w.one.advance(1)
        w.shows(0)
        await w.rounds(9)
        assert w.one.venue.said() == ["cancel grd dz-0"] * 3
        assert w.it.disaster_ids() == set()


async def test_one_that_would_act_at_once_means_close_now() -> None:
    async with watch() as w:
        await w.one.hold()
        w.one.venue.will("dz", refused(-2021))
        await w.rounds(1)
        assert "place t0 xm-0 MARKET SELL 10" in w.one.venue.said()
        assert "MUST_CLOSE" in w.sounds()


@pytest.mark.parametrize("answer", [UNKNOWN, refused(-4130)], ids=["no answer", "exists"])
async def test_one_that_may_be_there_is_looked_for_before_the_next_try(answer) -> None:
    async with watch() as w:
        await w.one.hold()
        w.one.venue.will("dz", answer)
        await w.rounds(1)
        assert w.doubts == 1
        assert w.one.venue.said() == [f"disaster SELL @ {DISASTER}"]
        await w.rounds(3)
        assert w.one.venue.said() == [f"disaster SELL @ {DISASTER}"]


async def test_a_refused_one_is_tried_again_at_leisure() -> None:
    async with watch() as w:
        await w.one.hold()
        w.one.venue.will("dz", *[refused(-1008)] * 3)
        await w.rounds(10)
        assert w.one.venue.said() == [f"disaster SELL @ {DISASTER}"] * 4


async def test_one_taken_away_is_put_back_three_times_and_then_the_position_closes() -> None:
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        for left in (2, 1, 0):
            w.one.venue.said()
            (client_id,) = w.it.disaster_ids()
            w.it.disaster_gone(client_id)
            await w.rounds(3)
            assert w.one.venue.said() == [f"disaster SELL @ {DISASTER}"], left
        (client_id,) = w.it.disaster_ids()
        w.it.disaster_gone(client_id)
        await w.one.idle()
        assert "place t0 xm-0 MARKET SELL 10" in w.one.venue.said()
        assert "FIGHT_LIMIT" in w.sounds()


async def test_one_that_we_take_back_ourselves_is_no_fight() -> None:
    """The stream tells its end before our cancel is answered, or instead of the answer."""
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        for i in range(6):
            (client_id,) = w.it.disaster_ids()
            w.one.venue.will("cancel", UNKNOWN if i % 2 else ACCEPTED)

            async def told(client_id: str = client_id) -> None:
                w.it.disaster_gone(client_id)

            w.one.venue.before_cancel = told
            w.shows(10, liquidation=9_000 + 100 * (i % 2 - i // 2))  # it has to move
            await w.rounds(6)
        assert "FIGHT_LIMIT" not in w.sounds()
        assert len(w.it.disaster_ids()) == 1
        assert [row for row in w.one.venue.said() if "xm" in row] == []


async def test_the_list_of_the_exchange_holds() -> None:
    """One that it does not list is gone; one of an earlier process that it lists stands."""
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        (client_id,) = w.it.disaster_ids()
        w.shows(10)
        assert w.it.disaster_ids() == {client_id}
        del w.one.venue.alive[client_id]
        w.shows(10)
        assert w.it.disaster_ids() == set()
        w.one.venue.said()
        await w.rounds(3)
        assert w.one.venue.said() == [f"disaster SELL @ {DISASTER}"]


async def test_external_lots_have_the_disaster_stop_alone() -> None:
    async with watch() as w:
        await w.one.foreign(6)
        w.shows(6)
        await w.rounds(2)
        assert [row.split()[0] for row in w.one.venue.said()] == ["disaster"]
        assert w.it.round()[0].uncovered_lots == 0


# -- escalation ---------------------------------------------------------------------------------------


async def naked(w: Watch) -> None:
    """A position whose stops are not answered, nor found."""
    w.one.venue.will("xs", *[UNKNOWN] * 99)
    await w.one.enter()
    await w.one.traded("t0 e1")


async def test_a_naked_position_is_closed_before_twenty_seconds() -> None:
    async with watch() as w:
        await naked(w)
        w.it.round()
        await w.rounds(14)
        assert [row for row in w.one.venue.said() if " xm" in row] == []
        assert "UNPROTECTED" not in w.sounds()
        await w.rounds(1)
        assert [row for row in w.one.venue.said() if " xm" in row] == ["place t0 xm-0 MARKET SELL 10"]
        assert "UNPROTECTED" in w.sounds()


async def test_time_without_a_connection_does_not_count() -> None:
    async with watch() as w:
        await naked(w)
        w.it.round()
        await w.rounds(5)
        w.one.venue.is_reachable = False
        w.it.round()
        await w.rounds(120)
        w.one.venue.is_reachable = True
        w.it.round()
        assert w.doubts == 1, "back again: compare with the exchange"
        await w.rounds(9)
        assert [row for row in w.one.venue.said() if " xm" in row] == []
        await w.rounds(1)
        assert [row for row in w.one.venue.said() if " xm" in row] == ["place t0 xm-0 MARKET SELL 10"]


async def test_from_three_seconds_on_the_delivery_is_asked_to_hurry() -> None:
    async with watch() as w:
        await naked(w)
        nudged: list[int] = []
        began = w.one.clock.now_ms()
        nudge = w.one.delivery.nudge
        w.one.delivery.nudge = lambda s: (nudged.append(w.one.clock.now_ms() - began), nudge(s))  # type: ignore[method-assign]
        w.it.round()
        await w.rounds(9)
        assert nudged == [3_000, 6_000, 9_000]


async def test_a_stop_that_is_proven_alive_ends_the_alarm() -> None:
    async with watch() as w:
        await naked(w)
        await w.rounds(4)
        assert w.it.meter.report(w.one.clock.now_ms()).now_naked == 1
        w.one.venue.prove("t0 xs-0", Fate.ALIVE)
        await w.rounds(2)
        report = w.it.meter.report(w.one.clock.now_ms())
        assert report.now_naked == 0
        assert report.stops == 1
        assert 4_000 <= report.stop_ms_max <= 6_000


async def test_a_stop_that_the_mark_has_passed_is_no_stop() -> None:
    """ALG-02, ALG-11: it stands and does not act."""
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        w.one.venue.said()
        w.one.venue.marks[0] = STOP - 100
        await w.rounds(4)
        assert w.one.venue.catching_up >= 4, "it may have traded, unheard: its fills are read first"
        assert [row for row in w.one.venue.said() if " xm" in row] == []
        await w.rounds(3)
        assert [row for row in w.one.venue.said() if " xm" in row] == ["place t0 xm-0 MARKET SELL 10"]
        assert "MUST_CLOSE" in w.sounds()


async def test_a_stop_stuck_in_triggering_is_given_up() -> None:
    async with watch() as w:
        await w.one.hold()
        await w.rounds(2)
        await w.one.triggered("t0 xs")
        w.one.venue.said()
        await w.rounds(4)
        assert w.one.venue.said() == []
        await w.rounds(3)
        assert "place t0 xm-0 MARKET SELL 10" in w.one.venue.said()


# -- the kill ladder ----------------------------------------------------------------------------------


async def loaded(w: Watch) -> None:
    """Sleeve 0 holds with a stop, a conditional and a resting take-profit; sleeve 1 waits for its entry."""
    one = w.one
    await one.hold(10, v=0)
    put_trigger(one.slot(SLOT_OWN), TAKE_PROFIT, -1, 10_500, 4, TAG_TAKE_PROFIT)
    put_limit(one.slot(SLOT_OWN + 1), -1, 10_600, 4, 1, TAG_TAKE_PROFIT, PRICE)
    one.delivery.wake(0)
    await one.enter(v=1)
    await w.rounds(2)
    one.venue.said()


async def test_halt_takes_nothing_back() -> None:
    async with watch(2) as w:
        await loaded(w)
        w.rung = Rung.HALT
        await w.rounds(3)
        assert w.one.venue.said() == []


async def test_reduce_takes_entries_back() -> None:
    async with watch(2) as w:
        await loaded(w)
        w.rung = Rung.REDUCE
        await w.rounds(3)
        assert w.one.venue.said() == ["cancel t1 e1-0"]


async def test_cancel_takes_take_profits_back_and_leaves_the_stops() -> None:
    async with watch(2) as w:
        await loaded(w)
        w.rung = Rung.CANCEL
        await w.rounds(3)
        assert sorted(w.one.venue.said()) == ["cancel t0 s4-0", "cancel t0 s5-0", "cancel t1 e1-0"]
        assert [row for row in w.one.alive if row.startswith("t0")] == [f"t0 xs-0 STOP SELL 10 @ {STOP}"]


async def test_flatten_closes_everything_the_stops_last() -> None:
    async with watch(2) as w:
        await loaded(w)
        await w.one.foreign(6)
        w.one.venue.said()
        w.rung = Rung.FLATTEN
        await w.rounds(2)
        said = w.one.venue.said()
        assert "place t0 xm-0 MARKET SELL 10" in said
        assert not [row for row in said if "cancel t0 xs" in row]
        assert not [row for row in said if "fl-0" in row], "what is ours first: one netted position"
        await w.one.traded("t0 xm")
        await w.rounds(2)
        said = w.one.venue.said()
        assert said.count("cancel t0 xs-0") == 1
        assert [row for row in said if "fl-0" in row] == ["place grd fl-0 MARKET SELL 6"]
        await w.rounds(3)
        assert [row for row in w.one.venue.said() if "fl-0" in row] == [], "one at a time"


async def test_flatten_goes_on_until_it_is_flat() -> None:
    async with watch() as w:
        await w.one.hold()
        w.rung = Rung.FLATTEN
        w.one.venue.will("xm", *[refused(-1008)] * 6)
        await w.rounds(12)
        assert "t0 xm-6 MARKET SELL 10" in w.one.alive


async def test_an_entry_wished_for_under_a_rung_is_dropped() -> None:
    async with watch() as w:
        w.rung = Rung.REDUCE
        put_market(w.one.slot(SLOT_ENTRY), 1, 10, 0, TAG_ENTRY)
        await w.rounds(1)
        assert w.one.venue.said() == []
        assert w.one.slot(SLOT_ENTRY).kind == 0


# -- figures ------------------------------------------------------------------------------------------


async def test_unrealised_is_of_everything_held_at_the_marks() -> None:
    async with watch(2) as w:
        await w.one.hold(10, 10_000, v=0)
        await w.one.hold(5, 10_300, v=1)
        w.one.venue.marks[0] = 10_400
        assert w.it.unrealised_e8() == (10 * 400 + 5 * 100) * 10**6
        await w.one.foreign(-3, 10_400)
        account = w.one.books.account[0]
        net = w.one.venue.netted[0]
        equity = int(account.cash_e8) + w.it.unrealised_e8()
        wallet = int(account.initial_e8) + net.realised_e8 - net.fees_e8
        truth = wallet + net.lots * 10_400 * 10**6 - net.cost_e8
        assert abs(equity - truth) < 12 * 10**6, "but for the rounding of one price"


async def test_a_position_outside_the_run_is_told() -> None:
    async with watch() as w:
        w.it.exchange_showed([Leg(-1, "XYZUSDT", 5, 1, 1, 0, True, 0, 0)], [])
        assert "OUTSIDE_POSITION" in w.sounds()
        await w.rounds(2)
        assert w.one.venue.said() == []
