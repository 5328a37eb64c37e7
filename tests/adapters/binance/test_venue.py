"""The client over the simulated exchange when things go wrong, and what only Binance has."""

from __future__ import annotations

import pytest
from tests.adapters.binance.scripted import until
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.contract.venue_suite import START, order, trades

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import standing
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.limits import Cost, Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.errors import ConfigError
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import RunningServer
from perpdesk.kernel.records import BUY, FAR, LIMIT, MARKET, MINUTE_MS, SELL, STOP
from perpdesk.ports import (
    ExternalTraded,
    Fate,
    ForcedClose,
    FundingCharged,
    OrderGone,
    Outcome,
    Traded,
    Triggered,
)


async def balances(desk: BinanceDesk) -> None:
    """Our view of wallet, position and fees is the server's ledger, to the last digit."""
    ledger = desk.server.ledger(0)
    assert await desk.venue.wallet_e8() == ledger["wallet_e8"]
    held = await desk.venue.positions()
    assert sum(position.realised_e8 for position in held) == ledger["realised_e8"]
    assert sum(position.fees_e8 for position in held) == ledger["fees_e8"]
    assert sum(position.funding_e8 for position in held) == ledger["funding_e8"]
    lots = {position.lots for position in held if position.lots}
    assert lots == set(ledger["positions"].values())


async def test_fills_of_an_outage_are_told_once_by_rest() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", LIMIT, BUY, START - 1_000))
        await desk.venue.place(order("stop", STOP, SELL, START - 2_000, slot=1, reduce_only=True))
        await desk.wire.cut()
        desk.server.tick("BTCUSDT", "49850", walk=True)
        desk.server.tick("BTCUSDT", "49750", walk=True)
        assert desk.told == []
        desk.wire.is_cut = False
        await desk.until(lambda: len(trades(desk.told)) == 2)
        await desk.until(lambda: any(isinstance(message, Triggered) for message in desk.told))
        await desk.all_told()
        assert [fill.client_id for fill in trades(desk.told)] == ["entry", "stop"]
        assert [fill.slot for fill in trades(desk.told)] == [0, 1]
        await balances(desk)


@pytest.mark.parametrize("kind", ["drop-resp", "hide"])
async def test_a_fill_whose_order_cannot_be_read_is_nobody_elses(kind: str) -> None:
    """Told by REST, without a client id, and the question whose it is fails: it is asked again, and neither
    external nor in the way of others."""
    async with binance_desk() as desk:
        await desk.venue.place(order("stop", STOP, SELL, START - 1_000, slot=1, reduce_only=True))
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.all_told()
        await desk.wire.cut()
        fault = Fault(kind=kind, route="GET /fapi/v1/order", count=-1, ms=3_600_000)
        desk.server.faults.add(fault)
        desk.server.tick("BTCUSDT", "49850", walk=True)
        desk.wire.is_cut = False
        await desk.until(lambda: desk.venue.untold > 0)
        await desk.venue.place(order("second", MARKET, BUY))
        await desk.until(lambda: "second" in [fill.client_id for fill in trades(desk.told)])
        assert not [one for one in desk.told if isinstance(one, ExternalTraded)]
        desk.server.faults.clear()
        await desk.until(lambda: "stop" in [fill.client_id for fill in trades(desk.told)])
        assert desk.venue.untold == 0
        assert not [one for one in desk.told if isinstance(one, ExternalTraded)]
        await balances(desk)


async def test_a_stream_that_says_nothing_is_found_out_by_the_sweep() -> None:
    async with binance_desk(sweep_ms=50) as desk:
        desk.wire.is_deaf = True
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.until(lambda: trades(desk.told))
        desk.wire.is_deaf = False
        sweeps = desk.venue.catch_ups
        await desk.until(lambda: desk.venue.catch_ups > sweeps + 3)
        assert [fill.client_id for fill in trades(desk.told)] == ["entry"]
        await balances(desk)


async def test_a_stream_that_stammers_tells_nothing_twice() -> None:
    async with binance_desk(sweep_ms=50) as desk:
        desk.wire.stammers = True
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.venue.place(order("stop", STOP, SELL, START - 2_000, slot=1, reduce_only=True))
        told = await desk.move(START - 2_500)
        assert [fill.client_id for fill in trades(told)] == ["entry", "stop"]
        assert sum(isinstance(message, Triggered) for message in told) == 1
        await balances(desk)


async def test_events_in_any_order_give_the_same_books() -> None:
    async with binance_desk(event_order="shuffled") as desk:
        told = []
        for i in range(8):
            side = BUY if i % 2 == 0 else SELL
            await desk.venue.place(order(f"m{i}", MARKET, side, lots=10 + i))
            await desk.venue.place(
                order(f"s{i}", STOP, -side, START - side * 3_000, lots=5, slot=1, reduce_only=True)
            )
            told += await desk.move(START - side * 3_500, START)
        ids = [fill.trade_id for fill in trades(told)]
        assert len(ids) == len(set(ids))
        assert {f"m{i}" for i in range(8)} <= {fill.client_id for fill in trades(told)}
        await balances(desk)


BY_HAND = Endpoint("POST", "/fapi/v1/order", Cost(0), signed=True)
BUY_BY_HAND = (("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "MARKET"), ("quantity", "0.005"))


async def test_a_fill_that_no_sleeve_ordered_is_external() -> None:
    async with binance_desk() as desk:
        await desk.rest.send(BY_HAND, [*BUY_BY_HAND, ("newClientOrderId", "web_123")], Lane.QUERY)
        (told,) = await desk.move(START)
        assert isinstance(told, ExternalTraded)
        assert (told.client_id, told.side, told.lots) == ("web_123", BUY, 5)
        await balances(desk)


async def test_a_fill_of_an_order_from_before_this_process_finds_its_slot() -> None:
    def place_of(client_id: str) -> tuple[int, int] | None:
        return (0, 7) if client_id.startswith("s2-") else None

    async with binance_desk(place_of=place_of) as desk:
        await desk.rest.send(BY_HAND, [*BUY_BY_HAND, ("newClientOrderId", "s2-1-abc-e1-0")], Lane.QUERY)
        (told,) = await desk.move(START)
        assert isinstance(told, Traded)
        assert (told.client_id, told.sleeve, told.slot) == ("s2-1-abc-e1-0", 0, 7)


async def test_what_was_before_the_start_is_not_told() -> None:
    async def trade(server: RunningServer, rest: Rest) -> None:
        await rest.sync_time()
        await rest.send(BY_HAND, BUY_BY_HAND, Lane.QUERY)
        server.skip_time(100)
        await rest.sync_time()

    async with binance_desk(prepare=trade) as desk:
        assert await desk.move(START) == []
        (held,) = await desk.venue.positions()
        assert (held.lots, held.fees_e8) == (5, 0)


async def test_orders_that_a_person_cancels_are_told_as_gone() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        await desk.venue.place(order("stop", STOP, BUY, START + 1_000, slot=1))
        for endpoint in (to.CANCEL_OPEN, to.CANCEL_OPEN_ALGOS):
            await desk.rest.send(endpoint, (("symbol", "BTCUSDT"),), Lane.QUERY)
        told = await desk.move(START)
        assert [
            (one.client_id, one.slot, one.reason.split()[0]) for one in told if isinstance(one, OrderGone)
        ] == [
            ("rest", 0, "CANCELED"),
            ("stop", 1, "CANCELED"),
        ]
        assert desk.rest.governor.conditional_free("test", Lane.CLOSE) == 200


async def test_orders_canceled_during_an_outage_are_found_gone() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        await desk.wire.cut()
        await desk.rest.send(to.CANCEL_OPEN, (("symbol", "BTCUSDT"),), Lane.QUERY)
        desk.wire.is_cut = False
        await desk.until(lambda: any(isinstance(one, OrderGone) for one in desk.told))
        await desk.all_told()
        assert [one.client_id for one in desk.told if isinstance(one, OrderGone)] == ["rest"]


async def test_our_own_cancel_is_not_told_as_gone() -> None:
    async with binance_desk() as desk:
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        await desk.venue.cancel(0, "rest")
        assert await desk.move(START) == []


async def test_funding_is_told_as_the_exchange_booked_it() -> None:
    async with binance_desk(sweep_ms=50) as desk:
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.move(START)
        desk.server.set_funding("BTCUSDT", "0.0001")
        desk.server.skip_time(8 * 3_600_000)
        await desk.until(lambda: any(isinstance(one, FundingCharged) for one in desk.told))
        (charged,) = [one for one in desk.told if isinstance(one, FundingCharged)]
        assert charged.rate_e8 == 10_000
        assert charged.amount_e8 == desk.server.ledger(0)["funding_e8"] < 0
        await balances(desk)


async def test_a_liquidation_is_a_forced_close() -> None:
    async with binance_desk(balance="100") as desk:
        await desk.venue.place(order("entry", MARKET, BUY, lots=15))
        told = await desk.move(START)
        assert trades(told)
        told = await desk.move(430_000)
        forced = [one for one in told if isinstance(one, ForcedClose)]
        assert sum(one.lots for one in forced) == 15
        assert {one.side for one in forced} == {SELL}
        assert desk.server.ledger(0)["positions"] == {}


@pytest.mark.parametrize("event_order", ["live", "shuffled"])
async def test_a_liquidation_in_steps_says_what_is_left_of_the_position(event_order: str) -> None:
    """A large position goes bracket by bracket: a forced close is not the end of it."""
    async with binance_desk(balance="45000", event_order=event_order) as desk:
        desk.server.contract("BTCUSDT").liquidation_fee_ppm = 100
        desk.server.set_book("BTCUSDT", {"50000.1": "20", "49999.9": "20"})
        await desk.venue.place(order("entry", MARKET, BUY, lots=8_000))
        desk.server.set_book("BTCUSDT", None)
        await desk.move(START)
        price = 450_000
        forced: list[ForcedClose] = []
        while not forced:
            price -= 100
            told = await desk.move(price)
            forced = [one for one in told if isinstance(one, ForcedClose)]
        (held,) = desk.server.world.accounts[0].held()
        assert 0 < held.lots < 8_000
        assert forced[-1].lots_left == held.lots == 8_000 - sum(one.lots for one in forced)
        told = await desk.move(price - 40_000)
        assert [one.lots_left for one in told if isinstance(one, ForcedClose)][-1] == 0
        assert desk.server.ledger(0)["positions"] == {}


async def test_a_forced_fill_that_only_rest_tells_asks_what_is_left() -> None:
    async with binance_desk(balance="45000") as desk:
        desk.server.contract("BTCUSDT").liquidation_fee_ppm = 100
        desk.server.set_book("BTCUSDT", {"50000.1": "20", "49999.9": "20"})
        await desk.venue.place(order("entry", MARKET, BUY, lots=8_000))
        desk.server.set_book("BTCUSDT", None)
        await desk.move(START)
        await desk.wire.cut()
        price = 450_000
        while (lots := desk.server.world.accounts[0].held()[0].lots) == 8_000:
            price -= 100
            desk.server.tick("BTCUSDT", str(price // 10), walk=True)
        desk.wire.is_cut = False
        await desk.until(lambda: any(isinstance(one, ForcedClose) for one in desk.told))
        (forced,) = [one for one in desk.told if isinstance(one, ForcedClose)]
        assert forced.lots_left == lots == 8_000 - forced.lots


STOP_BY_HAND = (
    ("algoType", "CONDITIONAL"),
    ("symbol", "ETHUSDT"),
    ("side", "BUY"),
    ("type", "STOP_MARKET"),
    ("triggerPrice", "2600"),
    ("quantity", "0.100"),
)


async def test_conditional_orders_from_before_the_start_hold_their_slots() -> None:
    async def place(server: RunningServer, rest: Rest) -> None:
        await rest.sync_time()
        for client_id in ("old-1", "old-2"):
            await rest.send(to.ALGO, [*STOP_BY_HAND, ("clientAlgoId", client_id)], Lane.QUERY)

    def free(desk: BinanceDesk) -> int:
        return desk.rest.governor.conditional_free("test", Lane.CLOSE)

    async with binance_desk(prepare=place) as desk:
        assert free(desk) == 198
        await desk.venue.place(order("stop", STOP, BUY, START + 1_000))
        await desk.rest.send(to.ALGO, [*STOP_BY_HAND, ("clientAlgoId", "app-1")], Lane.QUERY)
        await desk.all_told()
        assert free(desk) == 196
        await desk.rest.send(to.ALGO_CANCEL, (("clientAlgoId", "old-1"),), Lane.QUERY)
        await desk.all_told()
        assert free(desk) == 197
        await desk.wire.cut()
        await desk.rest.send(to.ALGO_CANCEL, (("clientAlgoId", "old-2"),), Lane.QUERY)
        await desk.rest.send(to.ALGO_CANCEL, (("clientAlgoId", "app-1"),), Lane.QUERY)
        desk.wire.is_cut = False
        await desk.until(lambda: free(desk) == 199)
        assert desk.venue.untold == 0


async def test_hedge_mode_holds_both_legs() -> None:
    async def hedge(server: RunningServer, rest: Rest) -> None:
        await rest.sync_time()
        endpoint = Endpoint("POST", "/fapi/v1/positionSide/dual", Cost(1), signed=True)
        await rest.ask(endpoint, (("dualSidePosition", "true"),))

    async with binance_desk(prepare=hedge) as desk:
        await desk.venue.place(order("long", MARKET, BUY))
        await desk.venue.place(order("short", MARKET, SELL, lots=4))
        await desk.move(START)
        assert sorted(position.lots for position in await desk.venue.positions()) == [-4, 10]
        answer = await desk.venue.place(order("stop", STOP, SELL, START - 1_000, slot=1, reduce_only=True))
        assert answer.outcome is Outcome.ACCEPTED
        told = await desk.move(START - 1_100)
        assert [fill.client_id for fill in trades(told)] == ["stop"]
        assert [position.lots for position in await desk.venue.positions()] == [-4]


async def test_multi_assets_mode_is_refused_at_the_start() -> None:
    async def switch(server: RunningServer, rest: Rest) -> None:
        await rest.sync_time()
        endpoint = Endpoint("POST", "/fapi/v1/multiAssetsMargin", Cost(1), signed=True)
        await rest.send(endpoint, (("multiAssetsMargin", "true"),), Lane.QUERY)

    with pytest.raises(ConfigError, match="multi-assets"):
        async with binance_desk(prepare=switch):
            raise AssertionError("started")


async def test_marks_wake_the_engine_at_its_levels_once() -> None:
    async with binance_desk() as desk:
        await desk.venue.watch(0, START - 1_000, FAR, -FAR, FAR)
        desk.server.tick("BTCUSDT", "49850", walk=True)
        await desk.until(lambda: desk.levels)
        assert desk.levels[0].price <= START - 1_000


@pytest.mark.parametrize("deaf", [False, True])
async def test_minutes_come_in_order_also_when_the_streams_are_silent(deaf: bool) -> None:
    first_ms = 1_763_640_000_000
    clock = VirtualClock(first_ms + 10_000)
    async with binance_desk(clock=clock) as desk:
        desk.wire.is_deaf = deaf
        prices = iter(range(50_000, 500_000, 10))

        async def seconds_pass() -> None:
            clock.advance_to(clock.now_ms() + 500)
            desk.server.tick("BTCUSDT", str(next(prices)))

        await until(lambda: len(desk.steps) >= 3, seconds_pass)
        assert [step.now_ms for step in desk.steps[:3]] == [first_ms + i * MINUTE_MS for i in (1, 2, 3)]
        bars = [step.bars[0] for step in desk.steps[:3]]
        assert [int(bar["open_ms"]) for bar in bars] == [first_ms + i * MINUTE_MS for i in range(3)]
        assert all(bar["low"] <= bar["open"] < bar["close"] <= bar["high"] for bar in bars)
        assert desk.venue.minutes is not None
        assert desk.venue.minutes.missing == 0


async def test_an_order_that_was_never_sent_is_proven_absent_after_its_fence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "LOOK_AGAIN_MS", 50)
    async with binance_desk() as desk:
        fence_ms = desk.rest.server.local_ms(desk.server.now_ms()) - 60_000
        assert (await desk.venue.settle(0, "never", fence_ms)) is Fate.ABSENT
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        assert (await desk.venue.settle(0, "rest", fence_ms)) is Fate.ALIVE
        await desk.venue.cancel(0, "rest")
        assert (await desk.venue.settle(0, "rest", fence_ms)) is Fate.UNFILLED


async def test_an_order_of_zeros_only_is_no_proof_that_it_did_not_fill() -> None:
    """API-28: FILLED, and executed 0 of 0. Whoever believed it would leave a position without a stop."""
    async with binance_desk() as desk:
        fence_ms = desk.rest.server.local_ms(desk.server.now_ms()) - 60_000
        await desk.venue.place(order("filled", MARKET, BUY))
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        await desk.venue.cancel(0, "rest")
        desk.server.faults.add(Fault(kind="empty", route="GET /fapi/v1/order", count=-1))
        for client_id in ("filled", "rest"):
            with pytest.raises(ExchangeUnreachable, match="zeros only"):
                await desk.venue.settle(0, client_id, fence_ms)
        desk.server.faults.clear()
        assert (await desk.venue.settle(0, "filled", fence_ms)) is Fate.ENDED
        assert (await desk.venue.settle(0, "rest", fence_ms)) is Fate.UNFILLED
