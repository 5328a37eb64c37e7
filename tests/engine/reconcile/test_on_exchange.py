"""The rounds against the simulated exchange's server: people, liquidations, and answers that lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.adapters.binance.test_truth import by_hand, forced, strike
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.contract.venue_suite import START, order
from tests.engine.reconcile.desk import Desk, JumpClock
from tests.engine.reconcile.scenes import own_id

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.limits import Lane
from perpdesk.engine.reconcile.backfill import fold, wallet_differs
from perpdesk.engine.reconcile.compare import LivePosition, MirrorOrder
from perpdesk.engine.reconcile.loop import Reconciler, Report
from perpdesk.kernel.records import BUY, MARKET, SELL, STOP
from perpdesk.ports import Outcome, Traded

V2, V3 = own_id("e1"), own_id("e1", version="s3", code="def00")
DAY_MS = 86_400_000


class Real:
    """A venue on the server, small books, and the reconciler between them."""

    def __init__(self, desk: BinanceDesk) -> None:
        self.exchange, self.books, self.clock = desk, Desk(), JumpClock()
        self.reconciler = Reconciler(
            account_id=7,
            venue=desk.venue,
            clock=self.clock,
            sink=self.books,
            symbols=["BTCUSDT"],
            since_ms=desk.server.now_ms() - 60_000,
            settings=desk.venue.settings,
            full_every=1,
        )

    async def place(self, client_id: str, side: int, lots: int, **more: Any) -> None:
        answer = await self.exchange.venue.place(order(client_id, MARKET, side, lots=lots, **more))
        assert answer.outcome is Outcome.ACCEPTED, answer.reason
        await self.pause()

    async def pause(self) -> None:
        """The exchange's clock goes on: what follows is not in the same millisecond."""
        await asyncio.sleep(0.003)

    async def once(self) -> Report:
        await self.pause()
        return await self.reconciler.once()

    def on_exchange(self) -> int:
        held = self.exchange.server.world.accounts[0].held()
        return sum(position.lots for position in held)

    def balanced(self) -> None:
        """I2: sleeves and external lots are what the exchange holds."""
        assert sum(self.books.held[0]) + self.books.outside[0] == self.on_exchange()


@asynccontextmanager
async def real(**options: Any) -> AsyncIterator[Real]:
    async with binance_desk(**options) as desk:
        yield Real(desk)


async def test_two_versions_on_one_position_survive_people_and_the_exchange() -> None:
    async with real() as scene:
        await scene.place(V2, BUY, 10)
        await scene.place(V3, BUY, 5)
        assert (await scene.once()).is_clean
        assert scene.books.held == [[10, 5]]
        for side, lots, held, outside in (
            ("SELL", 6, [6, 3], 0),
            ("BUY", 4, [6, 3], 4),
            ("SELL", 5, [5, 3], 0),  # external first, then pro rata
        ):
            await by_hand(scene.exchange, side, lots, f"web_{lots}")
            assert (await scene.once()).is_clean
            assert (scene.books.held, scene.books.outside) == ([held], [outside])
            scene.balanced()
        forced(scene.exchange, "adl_autoclose", 4)
        assert (await scene.once()).is_clean
        assert scene.books.held == [[2, 2]]  # 2.5 and 1.5: a tie, the lower sleeve gives one more
        await by_hand(scene.exchange, "SELL", 9, "web_turn")
        assert (await scene.once()).is_clean
        assert (scene.books.held, scene.books.outside) == ([[0, 0]], [-5])
        scene.balanced()


async def test_a_liquidation_and_a_settlement_end_all() -> None:
    async with real(balance="100") as scene:
        await scene.place(V2, BUY, 10)
        await scene.place(V3, BUY, 5)
        await scene.once()
        await scene.exchange.move(START, 430_000)
        assert (await scene.once()).is_clean
        assert (scene.books.held, scene.on_exchange()) == ([[0, 0]], 0)
    async with real() as scene:
        await scene.place(V2, SELL, 10)
        await by_hand(scene.exchange, "SELL", 2)
        await scene.once()
        forced(scene.exchange, "settlement_autoclose-3", 12)
        assert (await scene.once()).is_clean
        assert (scene.books.held, scene.books.outside) == ([[0, 0]], [0])


async def test_the_disaster_stop_takes_from_all() -> None:
    async with real() as scene:
        await scene.place(V2, BUY, 10)
        await by_hand(scene.exchange, "BUY", 4)
        await scene.once()
        await scene.exchange.venue.close_position_stop(0, own_id("dz", version="grd"), SELL, START - 3_000)
        await scene.exchange.move(START - 3_500)
        assert (await scene.once()).is_clean
        assert (scene.books.held, scene.books.outside, scene.on_exchange()) == ([[0, 0]], [0], 0)


async def test_what_happened_while_the_process_was_dead_is_imported_once() -> None:
    async with real() as scene:
        await scene.place(V2, BUY, 10)
        await scene.exchange.venue.place(
            order(own_id("xs"), STOP, SELL, START - 2_000, lots=4, slot=1, reduce_only=True)
        )
        await scene.exchange.move(START - 2_500)
        for _ in range(3):
            assert (await scene.once()).is_clean
        assert scene.books.held == [[6, 0]]
        imported = [what for what in scene.books.done() if what[0] == "import"]
        assert len(imported) == len(set(imported)) == 2


LIES: list[tuple[str, str, dict[str, Any]]] = [
    ("empty", "GET /fapi/v3/positionRisk", {}),
    ("empty", "GET /fapi/v*", {}),
    ("garble", "GET /fapi/v3/positionRisk", {"form": "html"}),
    ("garble", "GET /fapi/v3/positionRisk", {"form": "empty"}),
    ("garble", "GET /fapi/v1/userTrades", {"form": "truncate"}),
    ("garble", "GET /fapi/v1/openOrders", {"form": "binary"}),
    ("hide", "GET /fapi/v1/order", {"ms": 3_600_000}),
    ("drop-resp", "GET /fapi/v1/openAlgoOrders", {}),
    ("reply", "GET /fapi/v3/positionRisk", {"http": 200, "body": "[]"}),
    ("reply", "GET /fapi/v1/userTrades", {"http": 200, "body": "[]"}),
]


@pytest.mark.parametrize(("kind", "route", "more"), LIES, ids=[f"{k} {r}" for k, r, _ in LIES])
@pytest.mark.parametrize("is_open", [True, False])
async def test_no_answer_closes_a_sleeve_without_fills(
    kind: str, route: str, more: dict[str, Any], is_open: bool
) -> None:
    async with real() as scene:
        await scene.place(V2, BUY, 10)
        assert (await scene.once()).is_clean
        scene.books.done()
        if not is_open:
            await by_hand(scene.exchange, "SELL", 10)
            await scene.pause()
        strike(scene.exchange, kind, route, count=-1, **more)
        before = set(scene.books.seen)
        for _ in range(3):
            await scene.once()
            scene.clock.ms += 30_000
            if scene.books.seen == before:
                assert scene.books.held == [[10, 0]]
                assert scene.books.outside == [0]
        assert not [what for what in scene.books.done() if what[0] in ("external", "cancel")]
        scene.exchange.server.faults.clear()
        scene.reconciler.ask_full()
        assert (await scene.once()).is_clean
        assert scene.books.held == [[10 if is_open else 0, 0]]
        scene.balanced()


async def test_an_old_answer_is_not_believed_against_the_stream() -> None:
    async with real(control=True) as scene:
        await scene.place(V2, BUY, 10)
        assert (await scene.once()).is_clean
        strike(scene.exchange, "stale", "GET /fapi/v3/positionRisk", ms=3_600_000)
        await scene.once()
        await by_hand(scene.exchange, "SELL", 4)
        await scene.pause()
        for fill in await scene.exchange.venue.fills_since(0, scene.exchange.server.now_ms() - DAY_MS):
            scene.books.streamed(fill)
        assert scene.books.held == [[6, 0]]
        scene.books.done()
        report = await scene.once()
        assert not report.is_clean
        assert scene.books.done() == []
        scene.exchange.server.faults.clear()
        assert (await scene.once()).is_clean


async def test_orphans_go_from_both_books_and_foreign_orders_stay() -> None:
    async with real() as scene:
        scene.reconciler = Reconciler(
            account_id=7, venue=scene.exchange.venue, clock=scene.clock, sink=scene.books,
            symbols=["BTCUSDT"], since_ms=scene.exchange.server.now_ms() - 60_000,
        )  # fmt: skip
        await scene.place(V2, BUY, 10)
        names = [own_id("xs"), own_id("xs", code="gone0"), "web_9"]
        for name in names:
            answer = await scene.exchange.venue.place(
                order(name, STOP, SELL, START - 2_000, slot=1, reduce_only=True)
            )
            assert answer.outcome is Outcome.ACCEPTED
        scene.books.positions = {"abc00": LivePosition("abc00", 0, "s2", 10)}
        scene.books.orders = {names[0]: MirrorOrder(names[0], 0, scene.exchange.server.now_ms())}
        await scene.once()
        assert [what for what in scene.books.done() if what[0] == "cancel"] == []  # too young
        scene.exchange.server.skip_time(11_000)
        await scene.exchange.rest.sync_time()
        for cancelled in ([], [("cancel", names[1])]):  # a stop goes at the second look
            await scene.once()
            assert [what for what in scene.books.done() if what[0] == "cancel"] == cancelled


async def test_a_changed_margin_type_halts_entries() -> None:
    async with real() as scene:
        scene.books.settings = await scene.exchange.venue.settings()
        assert (await scene.once()).is_clean
        params = (("symbol", "BTCUSDT"), ("marginType", "ISOLATED"))
        await scene.exchange.rest.ask(to.MARGIN_TYPE, params, Lane.QUERY)
        assert not (await scene.once()).is_clean
        assert scene.books.done() == [("halt", "isolated is True, not False: set it back")]


async def test_round_trips_and_wallet_of_the_exchange_add_up() -> None:
    async with real() as scene:
        scene.exchange.server.skip_time(1_000)
        await scene.exchange.rest.sync_time()
        since_ms = scene.exchange.server.now_ms()
        opening_e8 = await scene.exchange.venue.wallet_e8()
        for side, lots in (("BUY", 10), ("SELL", 4), ("SELL", 9), ("BUY", 3), ("BUY", 2)):
            await by_hand(scene.exchange, side, lots, f"web_{side}_{lots}")
            scene.exchange.server.tick("BTCUSDT", "50010", walk=True)
        scene.exchange.server.deposit(0, "5")
        await scene.pause()
        fills = await scene.exchange.venue.fills_since(0, since_ms)
        found = fold("BTCUSDT", fills, {fills[0].position_side: scene.on_exchange()}, since_ms)
        ledger = scene.exchange.server.ledger(0)
        assert [trip.held for trip in found] == [0, 0, 2]
        assert sum(trip.realised_e8 for trip in found) == ledger["realised_e8"]
        assert sum(trip.fee_e8 for trip in found) == ledger["fees_e8"]
        rows = await scene.exchange.venue.income_since(since_ms)
        assert wallet_differs(opening_e8, rows, await scene.exchange.venue.wallet_e8(), "USDT") == 0
        streamed = [one for one in await scene.exchange.move(START) if isinstance(one, Traded)]
        assert streamed == []  # none was ours
