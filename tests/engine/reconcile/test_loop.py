"""The rounds: what is read when, what is handed on, and what no answer can make it do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.reconcile.desk import Desk, JumpClock
from tests.engine.reconcile.scenes import ACCOUNT, NOW_MS, fill, leg, order, own_id

from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.reconcile.compare import LivePosition, MirrorOrder, PositionFinding
from perpdesk.engine.reconcile.evidence import Verdict
from perpdesk.engine.reconcile.loop import EVERY_MS, OVERLAP_MS, Reconciler
from perpdesk.kernel.records import LIMIT
from perpdesk.ports import (
    AccountSettings,
    Answer,
    Fate,
    Income,
    Leg,
    NewOrder,
    OpenOrder,
    VenueFill,
    VenuePosition,
    VenueTraits,
)


class Venue:
    """A LiveVenue that answers what a test says. asked: the reads, in order; fails: reads that raise."""

    traits = VenueTraits("scripted", watches_levels=False, replaces_in_place=False)

    def __init__(self) -> None:
        self.held: list[Leg] = []
        self.history: dict[int, list[VenueFill]] = {}
        self.resting: list[OpenOrder] = []
        self.bookings: list[Income] = []
        self.modes = AccountSettings(False, False, {0: 10}, {0: False})
        self.asked: list[str] = []
        self.since: dict[int, int] = {}
        self.fails: set[str] = set()
        self.now = NOW_MS
        self.before: Callable[[str], None] = lambda _: None

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.before(what)
        if what in self.fails:
            raise PerpdeskError(f"{what} did not answer")

    async def open_orders(self) -> list[OpenOrder]:
        self._ask("orders")
        return list(self.resting)

    async def legs(self) -> list[Leg]:
        self._ask("legs")
        return list(self.held)

    async def fills_since(self, symbol: int, since_ms: int) -> list[VenueFill]:
        self._ask(f"fills {symbol}")
        self.since[symbol] = since_ms
        return [one for one in self.history.get(symbol, []) if one.ms >= since_ms]

    async def income_since(self, since_ms: int) -> list[Income]:
        self._ask("income")
        return [one for one in self.bookings if one.ms >= since_ms]

    async def settings(self) -> AccountSettings:
        self._ask("settings")
        return self.modes

    def exchange_ms(self) -> int:
        return self.now

    def reachable(self) -> bool:
        return True

    async def settle(self, symbol: int, client_id: str, fence_ms: int) -> Fate:
        raise NotImplementedError

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        raise NotImplementedError

    async def limit_ioc(self, symbol: int, client_id: str, side: int, lots: int) -> Answer:
        raise NotImplementedError

    async def free_conditional_slots(self) -> int:
        raise NotImplementedError

    async def place(self, order: NewOrder) -> Answer:
        raise NotImplementedError

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        raise NotImplementedError

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        raise NotImplementedError

    async def open_client_ids(self, symbol: int) -> set[str]:
        raise NotImplementedError

    async def positions(self) -> list[VenuePosition]:
        raise NotImplementedError

    async def wallet_e8(self) -> int:
        raise NotImplementedError


class Scene:
    """A reconciler between a scripted venue and small books."""

    def __init__(self, *, with_settings: bool = False, full_every: int = 10, symbols: int = 1) -> None:
        self.venue, self.desk, self.clock = Venue(), Desk(symbols=symbols), JumpClock()
        self.reconciler = Reconciler(
            account_id=ACCOUNT,
            venue=self.venue,
            clock=self.clock,
            sink=self.desk,
            symbols=["BTCUSDT", "ETHUSDT"][:symbols],
            since_ms=NOW_MS - 3_600_000,
            settings=self.venue.settings if with_settings else None,
            full_every=full_every,
        )

    def holds(self, *fills: VenueFill) -> None:
        """Both sides know these."""
        for one in fills:
            self.venue.history.setdefault(one.symbol, []).append(one)
            self.desk.told(one)

    def happens(self, *fills: VenueFill) -> None:
        """Only the exchange knows these."""
        for one in fills:
            self.venue.history.setdefault(one.symbol, []).append(one)

    def verdict(self) -> Verdict:
        assert self.reconciler.last is not None
        (one,) = [each for each in self.reconciler.last.findings if isinstance(each, PositionFinding)]
        return one.verdict


ENTRY = fill(1, 10, client_id=own_id("e1"))
OTHER = fill(2, 5, client_id=own_id("e1", version="s3", code="def00"))


async def test_a_round_where_all_agrees_is_clean_and_asks_for_nothing() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.venue.held = [leg(10)]
    report = await scene.reconciler.once()
    assert (report.is_clean, report.is_complete, scene.desk.done()) == (True, True, [])
    assert report.age_ms(scene.clock.now_ms() + 5) == 5
    assert scene.reconciler.last_complete is report


async def test_two_sleeves_survive_a_manual_partial_close() -> None:
    scene = Scene()
    scene.holds(ENTRY, OTHER)
    scene.happens(fill(3, -6))
    scene.venue.held = [leg(9)]
    report = await scene.reconciler.once()
    assert scene.desk.done() == [("import", 3)]
    assert scene.desk.held == [[6, 3]]
    assert report.is_clean


async def test_a_liquidation_takes_from_all() -> None:
    scene = Scene()
    scene.holds(ENTRY, OTHER, fill(3, 5))
    assert scene.desk.outside == [5]
    scene.happens(fill(4, -20, client_id="autoclose-17"))
    report = await scene.reconciler.once()
    assert (scene.desk.held, scene.desk.outside) == ([[0, 0]], [0])
    assert report.is_clean
    assert scene.venue.asked.count("legs") == 2  # closed only by a second look


async def test_a_reversal_closes_ours_and_leaves_the_foreign_side() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.happens(fill(3, -15))
    scene.venue.held = [leg(-5)]
    await scene.reconciler.once()
    assert (scene.desk.held, scene.desk.outside) == ([[0, 0]], [-5])


async def test_an_empty_answer_closes_nothing_and_stops_the_account_in_the_end() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.venue.history = {}
    report = await scene.reconciler.once()
    assert (scene.verdict(), scene.desk.done(), report.is_clean) == (Verdict.SUSPECT, [("block", 0)], False)
    scene.clock.ms += EVERY_MS
    await scene.reconciler.once()
    assert scene.desk.done() == [("block", 0)]
    scene.clock.ms += EVERY_MS
    await scene.reconciler.once()
    assert scene.desk.done() == [("stop",), ("block", 0)]
    assert scene.desk.held == [[10, 0]]
    scene.venue.held = [leg(10)]
    assert (await scene.reconciler.once()).is_clean
    assert scene.desk.done() == [("unblock", 0)]


async def test_an_empty_answer_that_heals_within_the_round_is_forgotten() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.clock.on_sleep = lambda: scene.venue.held.append(leg(10))
    report = await scene.reconciler.once()
    assert (scene.desk.done(), report.is_clean) == ([], True)


async def test_a_position_nobody_knows_goes_to_the_external_ledger_after_two_looks() -> None:
    scene = Scene()
    scene.venue.held = [leg(7)]
    started_ms = scene.clock.now_ms()
    report = await scene.reconciler.once()
    assert scene.desk.done() == [("external", 0, 7, 7)]
    assert scene.clock.now_ms() - started_ms >= 2_000
    assert report.is_clean
    await scene.reconciler.once()
    assert scene.desk.done() == []


async def test_a_fill_that_the_history_tells_late_is_not_counted_twice() -> None:
    """The position was there, its fill was not: the ledger gives the lots back when the fill is known."""
    for streamed in (False, True):
        scene = Scene(full_every=1)
        late = fill(1, 7, client_id=own_id("e1"))
        scene.venue.held = [leg(7)]
        await scene.reconciler.once()
        assert (scene.desk.held, scene.desk.outside) == ([[0, 0]], [7])
        scene.happens(late)
        if streamed:
            scene.desk.streamed(late)
        for _ in range(2):
            assert (await scene.reconciler.once()).is_clean
            assert (scene.desk.held, scene.desk.outside) == ([[7, 0]], [0])
        scene.venue.now += 10_000
        scene.happens(fill(2, 3, ms=scene.venue.now - 1))  # this one is new
        scene.venue.held = [leg(10)]
        assert (await scene.reconciler.once()).is_clean
        assert scene.desk.outside == [3]


@pytest.mark.parametrize("failing", ["legs", "orders", "fills 0", "income", "settings"])
async def test_a_read_that_fails_decides_nothing(failing: str) -> None:
    scene = Scene(with_settings=True)
    scene.holds(ENTRY)
    scene.happens(fill(3, -10))
    scene.venue.resting = [order("s2-7-gone0-xs-0")]
    scene.venue.fails = {failing}
    for failures in (1, 2, 3):
        report = await scene.reconciler.once()
        assert (report.is_complete, report.is_clean, report.findings) == (False, False, ())
        assert "did not answer" in (report.problem or "")
        assert scene.reconciler.failures == failures
        assert scene.reconciler.needs_person is (failures == 3)
    assert (scene.desk.done(), scene.reconciler.last_complete) == ([], None)
    scene.venue.fails = set()
    assert (await scene.reconciler.once()).is_complete
    assert scene.desk.held == [[0, 0]]
    assert scene.reconciler.failures == 0


async def test_a_second_look_that_fails_decides_nothing() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.happens(fill(3, -10))
    scene.venue.resting = [order("s2-7-gone0-xs-0")]
    scene.clock.on_sleep = lambda: scene.venue.fails.add("legs")
    report = await scene.reconciler.once()
    assert (report.is_complete, scene.desk.done()) == (False, [])
    scene.clock.on_sleep = lambda: None
    scene.venue.fails = set()
    scene.clock.ms += EVERY_MS
    await scene.reconciler.once()
    assert scene.desk.done() == [("import", 3)]
    await scene.reconciler.once()
    assert scene.desk.done() == [("cancel", "s2-7-gone0-xs-0")]


async def test_what_the_stream_tells_during_the_read_makes_it_stale() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.venue.held = [leg(10)]

    def meanwhile(what: str) -> None:
        if what == "orders":
            scene.desk.streamed(fill(3, -4, ms=NOW_MS + 1))

    scene.venue.before = meanwhile
    report = await scene.reconciler.once()
    assert (scene.verdict(), report.is_clean, scene.desk.done()) == (Verdict.NO_DECISION, False, [])


async def test_fills_are_read_where_books_differ_and_everywhere_now_and_then() -> None:
    scene = Scene(full_every=3, symbols=2)
    scene.holds(ENTRY)
    scene.venue.held = [leg(10)]
    scene.venue.bookings = [Income("1", "COMMISSION", "ETHUSDT", "USDT", -5, None, NOW_MS - 100)]
    for expected in (["fills 0", "fills 1"], [], [], ["fills 0", "fills 1"]):
        scene.venue.asked.clear()
        await scene.reconciler.once()
        assert [what for what in scene.venue.asked if what.startswith("fills")] == expected
    scene.venue.asked.clear()
    scene.reconciler.ask_full()
    await scene.reconciler.once()
    assert "fills 1" in scene.venue.asked


async def test_what_was_opened_and_closed_while_nobody_looked_is_found_by_the_bookings() -> None:
    scene = Scene(symbols=2)
    scene.happens(fill(8, 4, symbol=1), fill(9, -4, symbol=1))
    scene.venue.bookings = [Income("1", "REALIZED_PNL", "ETHUSDT", "USDT", -5, None, NOW_MS - 100)]
    await scene.reconciler.once()
    assert scene.desk.done() == [("import", 8), ("import", 9)]


async def test_the_mark_moves_only_past_what_was_decided() -> None:
    scene = Scene(full_every=1)
    scene.holds(ENTRY)
    scene.venue.held = [leg(10)]
    await scene.reconciler.once()
    assert scene.venue.since == {0: NOW_MS - 3_600_000}
    await scene.reconciler.once()
    assert scene.venue.since == {0: NOW_MS - OVERLAP_MS}
    scene.venue.held = []
    scene.venue.now += 500_000
    await scene.reconciler.once()
    await scene.reconciler.once()
    assert scene.venue.since == {0: NOW_MS - OVERLAP_MS}


async def test_orphans_are_cancelled_and_foreign_orders_are_not() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.venue.held = [leg(10)]
    stop = own_id("xs")
    scene.desk.positions = {"abc00": LivePosition("abc00", 0, "s2", 10)}
    scene.desk.orders = {stop: MirrorOrder(stop, 0, NOW_MS - 60_000)}
    entry = order("s2-7-gone0-e1-0", kind=LIMIT, side=1, reduce_only=False)
    scene.venue.resting = [order(stop), order("web_1"), order("s2-7-gone0-xs-0"), entry]
    await scene.reconciler.once()
    assert scene.desk.done() == [("cancel", "s2-7-gone0-e1-0")]
    scene.venue.resting.remove(entry)
    report = await scene.reconciler.once()
    assert scene.desk.done() == [("cancel", "s2-7-gone0-xs-0")]
    assert report.swept is not None
    assert [one.client_id for one in report.swept.foreign] == ["web_1"]


async def test_orders_on_a_symbol_in_doubt_stay() -> None:
    """Also in the round that finds a surplus: it may be ours, from a lost database, with its stop."""
    scene = Scene()
    scene.venue.held = [leg(7)]
    scene.venue.resting = [order("s2-7-gone0-xs-0", lots=7)]
    await scene.reconciler.once()
    assert scene.desk.done() == [("external", 0, 7, 7)]
    scene = Scene()
    scene.holds(ENTRY)
    scene.venue.history = {}
    scene.venue.resting = [order("s2-7-gone0-xs-0")]
    await scene.reconciler.once()
    assert scene.desk.done() == [("block", 0)]


async def test_one_empty_answer_takes_no_stop_away() -> None:
    """A lost database and an empty answer at once: nothing here knows that there is a position."""
    scene = Scene()
    scene.venue.resting = [order("s2-7-gone0-xs-0", lots=7)]
    report = await scene.reconciler.once()
    assert report.swept is not None
    assert len(report.swept.orphans) == 1
    assert scene.desk.done() == []
    scene.venue.held = [leg(7)]
    await scene.reconciler.once()
    assert scene.desk.done() == [("external", 0, 7, 7)]
    for _ in range(3):
        await scene.reconciler.once()
        assert scene.desk.done() == []


async def test_an_order_that_is_gone_is_to_be_settled() -> None:
    scene = Scene()
    scene.desk.orders = {"s2-7-abc00-xs-0": MirrorOrder("s2-7-abc00-xs-0", 0, NOW_MS - 60_000)}
    await scene.reconciler.once()
    assert scene.desk.done() == [("missing", "s2-7-abc00-xs-0")]


async def test_changed_modes_halt_entries_until_they_are_back() -> None:
    scene = Scene(with_settings=True)
    scene.desk.settings = scene.venue.modes
    good = scene.venue.modes
    assert (await scene.reconciler.once()).is_clean
    scene.venue.modes = AccountSettings(True, False, {0: 20}, {0: True})
    assert not (await scene.reconciler.once()).is_clean
    blocked, halted = scene.desk.done()
    assert blocked == ("block", 0)
    assert halted[0] == "halt"
    assert "hedge is True" in str(halted[1])
    assert "isolated is True" in str(halted[1])
    await scene.reconciler.once()
    assert scene.desk.done() == [("block", 0)]
    scene.venue.modes = good
    assert (await scene.reconciler.once()).is_clean
    assert scene.desk.done() == [("unblock", 0), ("halt", None)]


async def test_facts_that_contradict_each_other_stop_the_account() -> None:
    scene = Scene()
    scene.holds(ENTRY)
    scene.happens(fill(3, -4))
    scene.venue.held = [leg(6)]
    scene.desk.contradicts = 3
    await scene.reconciler.once()
    assert scene.desk.done() == [("stop",)]


async def test_two_rounds_at_once_book_a_surplus_once() -> None:
    scene = Scene()
    scene.venue.held = [leg(7)]
    reports = await asyncio.gather(*(scene.reconciler.once() for _ in range(3)))
    assert all(report.is_clean for report in reports)
    assert scene.desk.done() == [("external", 0, 7, 7)]


async def test_rounds_come_every_half_minute() -> None:
    scene = Scene()
    scene.venue.fails = {"legs"}
    starts: list[int] = []

    def begin(what: str) -> None:
        if what == "legs":
            starts.append(scene.clock.now_ms())
            if len(starts) == 4:
                raise asyncio.CancelledError

    scene.venue.before = begin
    with pytest.raises(asyncio.CancelledError):
        await scene.reconciler.run()
    assert [later - earlier for earlier, later in zip(starts, starts[1:], strict=False)] == [EVERY_MS] * 3


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_whatever_is_answered_books_are_closed_by_fills_and_converge(seed: int) -> None:
    """People trade, reads fail, are empty, old or short; in the end books and exchange agree."""
    asyncio.run(_wander(random.Random(seed)))


async def _wander(rng: random.Random) -> None:
    scene = Scene(full_every=3)
    venue, desk = scene.venue, scene.desk
    truth, trade_id, orders_of_ours = 0, 0, 0

    def trade(lots: int, client_id: str, *, told: bool) -> None:
        nonlocal truth, trade_id
        trade_id += 1
        venue.now += 1_000
        one = fill(trade_id, lots, client_id=client_id, ms=venue.now)
        venue.history.setdefault(0, []).append(one)
        truth += lots
        if told:
            desk.streamed(one)

    async def round_of(fault: str) -> None:
        venue.now += 1_000
        history, held = venue.history.get(0, []), [leg(truth, updated_ms=venue.now - 500)] if truth else []
        venue.held, venue.fails = held, set()
        if fault == "fails":
            venue.fails = {rng.choice(["legs", "orders", "fills 0", "income"])}
        elif fault == "empty":
            venue.held, venue.history = [], {}
        elif fault == "flat":
            venue.held = []
        elif fault == "short":
            venue.history = {0: history[:-1]}
        before, seen = [*desk.held[0]], set(desk.seen)
        await scene.reconciler.once()
        scene.clock.ms += EVERY_MS
        venue.history = {0: history}
        if before != desk.held[0]:
            assert desk.seen > seen  # only fills move a sleeve
        assert {one for _, one in desk.seen} <= {one.trade_id for one in history}

    for _ in range(rng.randint(1, 12)):
        for _ in range(rng.randint(0, 2)):
            version = rng.choice(["s2", "s3"])
            if rng.random() < 0.5:
                orders_of_ours += 1
                client_id = own_id("e1", version=version, code=f"p{orders_of_ours}")
                trade(rng.randint(1, 9), client_id, told=rng.random() < 0.6)
            elif truth:
                size = rng.randint(1, 12)
                trade(-size if truth > 0 else size, "web_1", told=rng.random() < 0.4)
        await round_of(rng.choice(["", "", "fails", "empty", "flat", "short"]))
    scene.reconciler.ask_full()
    for _ in range(2):
        await round_of("")
    scene.reconciler.ask_full()
    await round_of("")
    assert sum(desk.held[0]) + desk.outside[0] == truth
    assert {one for _, one in desk.seen} == {one.trade_id for one in venue.history[0]} | set()
    assert scene.reconciler.last is not None
