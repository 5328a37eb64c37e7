"""The external ledger, the account's money and what reconciliation does to the books."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from tests.engine.live.bench import ACCOUNT, PRICE, STOP
from tests.engine.live.kept import Breaking, Kept, kept
from tests.engine.live.scripted import UNKNOWN

from perpdesk.domain.books import PositionQuery, StoreFailed
from perpdesk.domain.order import PositionSide
from perpdesk.engine.guardian.breaker import Breaker, LossLimits
from perpdesk.engine.ids import parse
from perpdesk.engine.live.money import Money
from perpdesk.engine.live.sink import EngineSink
from perpdesk.engine.reconcile.loop import Reconciler
from perpdesk.kernel.records import DAY_MS, SLOT_STOP, TAG_SIGNAL
from perpdesk.ports import Fate, Income, Leg

E8 = 10**8
BLOCKED = {0: "EXTERNAL_LOTS"}


# -- the ledger ---------------------------------------------------------------------------------------


async def test_foreign_lots_block_their_symbol_until_a_person_has_seen_them(file: Path) -> None:
    async with kept(file, symbols=2) as life:
        await life.one.foreign(6)
        assert life.gate.blocked == BLOCKED
        await life.flush()
        seen = await life.store.acknowledge_external(
            ACCOUNT, "AAAUSDT", PositionSide.BOTH, Decimal("0.06"), "ops", 1
        )
        assert seen
        await life.one.outside.look()
        assert life.gate.blocked == {}
        await life.one.foreign(1)
        assert life.gate.blocked == BLOCKED, "more of them is another matter"
        await life.one.foreign(-7)
        assert life.gate.blocked == {}


async def test_another_block_lifted_leaves_this_one(file: Path) -> None:
    async with kept(file) as life:
        await life.one.foreign(6)
        life.gate.blocked.clear()
        life.one.outside.block_again(0)
        assert life.gate.blocked == BLOCKED


async def test_rows_of_the_ledger_wait_for_the_store(file: Path) -> None:
    async with kept(file) as life:
        await life.one.foreign(6)
        life.one.outside._store = Breaking(life.store, save_external=1)
        with pytest.raises(StoreFailed):
            await life.one.outside.write()
        assert life.one.outside.waits
        await life.flush()
        (row,) = await life.store.external_lots(ACCOUNT)
        assert (row.qty, row.avg_price) == (Decimal("0.06"), Decimal(PRICE))


# -- the sink -----------------------------------------------------------------------------------------


def sink_of(life: Kept) -> EngineSink:
    tasks = []

    def spawn(work) -> None:
        tasks.append(asyncio.get_running_loop().create_task(work))

    return EngineSink(
        engine=life.one.engine, venue=life.venue, clock=life.clock, outside=life.one.outside, gate=life.gate,
        alarms=life.alarms, spawn=spawn, guardian_ids=set,
    )  # fmt: skip


async def test_the_books_as_reconciliation_sees_them(file: Path) -> None:
    async with kept(file, sleeves=2) as life:
        await life.hold(10, v=0)
        await life.enter(v=1)
        await life.one.foreign(6)
        local = sink_of(life).local()
        (holding,) = local.holdings
        assert (holding.sleeves, holding.external) == ((10, 0), 6)
        assert {parse(one).leg for one in local.orders} == {"xs", "e1"}
        pending = {one.version: one.entry_pending for one in local.positions.values()}
        assert pending == {"t0": False, "t1": True}


async def test_a_missing_order_is_settled_and_put_back_only_when_it_is_proven_gone(file: Path) -> None:
    async with kept(file) as life:
        await life.hold()
        sink = sink_of(life)
        order = life.venue.order("t0 xs")
        await sink.order_missing(order.client_id, 0)
        await sink.order_missing(order.client_id, 0)
        await life.carried()
        assert life.venue.said() == []
        assert len(life.venue.settling) == 1
        life.venue.prove("t0 xs-0", Fate.ABSENT)
        await life.carried()
        assert life.venue.said() == [f"place t0 xs-1 STOP SELL 10 @ {STOP}"]


async def test_a_missing_order_that_lives_stays(file: Path) -> None:
    async with kept(file) as life:
        await life.hold()
        life.venue.prove("t0 xs-0", Fate.ALIVE)
        await sink_of(life).order_missing(life.venue.order("t0 xs").client_id, 0)
        await life.carried()
        assert life.venue.said() == []
        assert life.one.slot(SLOT_STOP).lots == 10


async def test_lots_that_nothing_explains_go_to_the_ledger(file: Path) -> None:
    async with kept(file) as life:
        await sink_of(life).external((0, PositionSide.BOTH), 4, Leg(0, "", 4, PRICE, PRICE, 0, True, 0, 0))
        assert int(life.one.engine.external[0]) == 4
        assert life.gate.blocked == BLOCKED
        assert ("UNEXPLAINED_LOTS", "0") in life.alarms._standing


async def test_halts_and_stops_are_told_and_the_worse_one_holds(file: Path) -> None:
    async with kept(file) as life:
        sink = sink_of(life)
        await sink.halt_entries("modes")
        assert sink.why_halted() == "modes"
        await sink.stop_account("books differ")
        await sink.halt_entries(None)
        assert sink.why_halted() == "books differ"


async def test_an_empty_answer_closes_nothing(file: Path) -> None:
    """R8, API-28: the position is not on the list, and no fill explains it."""
    async with kept(file) as life:
        await life.hold()
        rounds = Reconciler(
            account_id=ACCOUNT, venue=life.venue, clock=life.clock, sink=sink_of(life),
            symbols=life.market.universe.symbols, since_ms=life.clock.now_ms() - 60_000,
        )  # fmt: skip
        life.venue.shown = []
        for _ in range(3):
            reading = asyncio.ensure_future(rounds.once())
            while not reading.done():
                await life.one.advance(500)
            reading.result()
            await life.one.advance(30_000)
        assert life.one.lots() == 10
        assert f"t0 xs-0 STOP SELL 10 @ {STOP}" in life.one.alive


async def test_a_close_that_the_stream_lost_is_found_in_the_history(file: Path) -> None:
    async with kept(file) as life:
        await life.hold()
        life.one.happened("web_9", 0, -1, 10, PRICE, 3, None)
        rounds = Reconciler(
            account_id=ACCOUNT, venue=life.venue, clock=life.clock, sink=sink_of(life),
            symbols=life.market.universe.symbols, since_ms=life.clock.now_ms() - 60_000,
        )  # fmt: skip
        reading = asyncio.ensure_future(rounds.once())
        while not reading.done():
            await life.one.advance(500)
        reading.result()
        await life.carried()
        assert life.one.lots() == 0
        assert life.one.alive == []
        life.one.check_lots()


# -- money --------------------------------------------------------------------------------------------


def money_of(life: Kept, daily_ppm: int = 20_000) -> Money:
    return Money(
        life.one.engine, life.venue, life.store, life.clock,
        Breaker(ACCOUNT, LossLimits(daily_loss_ppm=daily_ppm, worst_case_ppm=500_000)), life.alarms,
        life.market.universe, ACCOUNT, life.sha, life.one.recorder,
    )  # fmt: skip


def line(key: str, kind: str, amount_e8: int, ms: int, symbol: str = "") -> Income:
    return Income(key, kind, symbol, "USDT", amount_e8, None, ms)


async def test_the_statement_is_imported_once(file: Path) -> None:
    """CP-18."""
    async with kept(file) as life:
        money = money_of(life)
        await money.begin(10_000 * E8)
        now_ms = life.clock.now_ms()
        money.since_ms = now_ms - 1_000
        life.venue.statement = [
            line("1", "TRANSFER", 500 * E8, now_ms), line("2", "FUNDING_FEE", -7, now_ms, "AAAUSDT"),
        ]  # fmt: skip
        assert await money.import_once() == 2
        assert await money.import_once() == 0
        again = money_of(life)
        await again.begin(10_000 * E8)
        again.since_ms = now_ms - 1_000
        assert await again.import_once() == 0
        assert len(await life.store.income(ACCOUNT)) == 2


async def test_funding_is_booked_with_its_line_of_the_statement_and_once(file: Path) -> None:
    """Charged while no process lived, it is booked by the next one; after the close it stands beside the row."""
    async with kept(file) as life:
        await life.hold()
        await life.flush()
        await life.again()
        money = money_of(life)
        await money.begin(10_000 * E8)
        now_ms = life.clock.now_ms()
        money.since_ms = now_ms - 1_000
        symbol = life.market.universe.symbols[0]
        life.venue.statement = [line("2", "FUNDING_FEE", -700, now_ms, symbol)]
        assert await money.import_once() == 1
        assert await money.import_once() == 0
        (row,) = await life.store.live_positions(ACCOUNT)
        assert row.funding == Decimal("-0.000007")
        assert [one.amount for one in await life.store.income(ACCOUNT)] == [Decimal("-0.000007")]
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.one.traded("t0 xm", price=PRICE + 1)
        life.venue.statement.append(line("3", "FUNDING_FEE", -300, now_ms + 1, symbol))
        assert await money.import_once() == 1
        (late,) = await life.store.adjustments(ACCOUNT)
        assert (late.funding, late.position_id) == (Decimal("-0.000003"), None)
        (row,) = await life.store.positions(PositionQuery(account_id=ACCOUNT))
        assert row.funding == Decimal("-0.000007")


async def test_without_a_price_of_what_is_held_the_worst_case_is_not_nothing(file: Path) -> None:
    async with kept(file) as life:
        await life.hold()
        money = money_of(life)
        await money.begin(10_000 * E8)
        money.mark(0)
        order = life.venue.order("t0 xs", 0)
        assert money.why_not(order) is None
        life.one.books.heads["last"] = 0
        life.venue.mark = lambda symbol: (0, 0)
        assert money.why_not(order) == "BREAKER_UNKNOWN"


async def test_a_transfer_is_no_loss(file: Path) -> None:
    """HUM-08: half of the money leaves; nothing trips."""
    async with kept(file) as life:
        money = money_of(life)
        await money.begin(10_000 * E8)
        money.mark(0)
        now_ms = life.clock.now_ms()
        money.since_ms = now_ms - 1_000
        life.venue.statement = [line("1", "TRANSFER", -5_000 * E8, now_ms)]
        life.venue.wallet = 5_000 * E8
        await money.import_once()
        money.mark(0)
        assert not money.breaker.is_tripped
        account = life.one.books.account[0]
        assert int(account.cash_e8) == int(account.initial_e8) == 5_000 * E8


async def test_a_loss_beyond_the_limit_trips_and_stays_tripped_over_a_restart(file: Path) -> None:
    """I9, CP-19: from the exchange's own figures, whoever made the loss."""
    async with kept(file) as life:
        money = money_of(life)
        await money.begin(10_000 * E8)
        money.mark(0)
        for booking in life.bookings:
            money.booked(booking)
        life.bookings.clear()
        await life.one.foreign(30, 10_000)
        await life.one.foreign(-30, 9_200)
        for booking in life.bookings:
            money.booked(booking)
        money.mark(0)
        assert money.breaker.is_tripped
        assert int(life.one.books.account.tripped[0]) == 1
        await life.flush()  # the row of the breaker was not written: the fills were
        await life.again()
        fresh = money_of(life)
        await fresh.begin(9_976 * E8)
        fresh.mark(0)
        assert fresh.breaker.is_tripped
        assert "LOSS" in str(fresh.why_not(life.one.delivery._order(0, 0, 0, "abc00"))).upper()
        assert DAY_MS == 86_400_000


async def test_an_empty_wallet_answer_is_not_believed(file: Path) -> None:
    """API-28."""
    async with kept(file) as life:
        money = money_of(life)
        await money.begin(10_000 * E8)
        life.venue.wallet = 0
        await money.import_once()
        assert int(life.one.books.account.cash_e8[0]) == 10_000 * E8
        money.mark(0)
        assert not money.breaker.is_tripped


async def test_the_worst_case_counts_what_is_open_and_what_is_on_its_way(file: Path) -> None:
    async with kept(file, sleeves=2) as life:
        life.venue.marks = {0: PRICE}
        money = money_of(life)
        await money.begin(10_000 * E8)
        await life.hold(10, v=0)
        alone = money._worst_e8(life.venue.order("t0 e1"))
        life.venue.will("e1", UNKNOWN)
        await life.enter(v=1)
        both = money._worst_e8(life.venue.order("t0 e1"))
        assert both > alone >= 10 * (PRICE - STOP) * 10**6
        await life.one.foreign(1)
        assert money._worst_e8(life.venue.order("t0 e1")) == both + PRICE * 10**6
