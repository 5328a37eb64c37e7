"""The client against the exchange's own faults: nothing doubled, nothing lost, unknown never taken for failed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.adapters.binance.test_venue import balances
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.contract.venue_suite import START, order, trades

from perpdesk.adapters.binance import standing
from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.exchange.faults import Fault
from perpdesk.kernel.records import BUY, LIMIT, MARKET, SELL, STOP
from perpdesk.ports import Fate, Outcome

POST = "POST /fapi/v1/order"
TROUBLED = "Unknown error, please check your request or try again later."


@pytest.fixture(autouse=True)
def quick_second_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a second look waits is tested with a virtual clock; here the clock is the machine's."""
    monkeypatch.setattr(standing, "LOOK_AGAIN_MS", 50)


def strike(desk: BinanceDesk, kind: str, route: str = POST, **more: Any) -> None:
    desk.server.faults.add(Fault(kind=kind, route=route, **more))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("drop-resp", {}),
        ("late-exec", {"ms": 150}),
        ("reply", {"http": 503, "body": TROUBLED, "executes": True}),
        ("reply", {"http": 503, "code": -1001, "msg": "Internal error", "executes": True}),
        ("reply", {"http": 400, "code": -1006, "msg": "Execution status unknown.", "executes": True}),
        ("reply", {"http": 502, "body": "<html>bad gateway</html>", "executes": True}),
        ("garble", {"form": "truncate"}),
        ("garble", {"form": "html"}),
        ("garble", {"form": "empty"}),
        ("garble", {"form": "binary"}),
    ],
)
async def test_an_order_whose_answer_is_lost_is_unknown_and_its_fill_finds_its_slot(
    kind: str, more: dict[str, Any]
) -> None:
    async with binance_desk() as desk:
        strike(desk, kind, **more)
        answer = await desk.venue.place(order("entry", MARKET, BUY, slot=4))
        assert answer.outcome is Outcome.UNKNOWN
        assert answer.fence_ms > 0
        await desk.until(lambda: trades(desk.told))
        assert [(fill.client_id, fill.slot) for fill in trades(desk.told)] == [("entry", 4)]
        assert (await desk.venue.settle(0, "entry", answer.fence_ms)) is Fate.ENDED
        await desk.all_told()
        assert len(trades(desk.told)) == 1
        await balances(desk)


@pytest.mark.parametrize(
    ("kind", "more"), [("drop-req", {}), ("reply", {"http": 503, "body": TROUBLED, "executes": False})]
)
async def test_an_order_that_never_arrived_is_unknown_until_it_is_proven_absent(
    kind: str, more: dict[str, Any]
) -> None:
    async with binance_desk() as desk:
        strike(desk, kind, **more)
        answer = await desk.venue.place(order("entry", MARKET, BUY))
        assert answer.outcome is Outcome.UNKNOWN
        long_ago_ms = answer.fence_ms - 3_600_000
        assert (await desk.venue.settle(0, "entry", long_ago_ms)) is Fate.ABSENT
        assert await desk.move(START) == []
        assert desk.server.ledger(0)["positions"] == {}


@pytest.mark.parametrize(
    "more",
    [
        {"http": 503, "code": -1008, "msg": "Request throttled by system-level protection."},
        {"http": 503, "body": "Service Unavailable."},
        {"http": 400, "code": -4192, "msg": "Trade forbidden due to Cooling-off Period."},
    ],
)
async def test_a_proven_refusal_lets_the_next_attempt_go(more: dict[str, Any]) -> None:
    async with binance_desk() as desk:
        strike(desk, "reply", **more)
        assert (await desk.venue.place(order("one", MARKET, BUY))).outcome is Outcome.REFUSED
        assert (await desk.venue.place(order("two", MARKET, BUY))).outcome is Outcome.ACCEPTED
        assert [fill.client_id for fill in trades(await desk.move(START))] == ["two"]


async def test_a_stop_that_queries_deny_is_found_alive() -> None:
    """ALG-01: accepted, and "does not exist" for a while."""
    async with binance_desk() as desk:
        strike(desk, "drop-resp", "POST /fapi/v1/algoOrder")
        strike(desk, "hide", "GET /fapi/v1/algoOrder", ms=1_000, count=-1)
        answer = await desk.venue.place(order("stop", STOP, BUY, START + 1_000))
        assert answer.outcome is Outcome.UNKNOWN
        assert (await desk.venue.settle(0, "stop", answer.fence_ms)) is Fate.ALIVE
        assert [fill.client_id for fill in trades(await desk.move(START + 1_100))] == ["stop"]


@pytest.mark.parametrize("kind", ["ws-skip", "ws-dup", "ws-reorder", "ws-lag", "ws-close"])
async def test_broken_user_events_change_no_book(kind: str) -> None:
    async with binance_desk(sweep_ms=100) as desk:
        more = {"ms": 120} if kind == "ws-lag" else {}
        strike(desk, kind, "user:*", count=-1, probability_ppm=400_000, **more)
        told = []
        for i in range(5):
            side = BUY if i % 2 == 0 else SELL
            await desk.venue.place(order(f"m{i}", MARKET, side, lots=4 + i))
            await desk.venue.place(order(f"l{i}", LIMIT, side, START - side * 500, lots=3, slot=1))
            desk.server.tick("BTCUSDT", str((START - side * 600) // 10), walk=True)
            desk.server.tick("BTCUSDT", str(START // 10), walk=True)
        await desk.until(lambda: len({fill.client_id for fill in trades(desk.told)}) == 10)
        desk.server.faults.clear()
        sweeps = desk.venue.catch_ups
        await desk.until(lambda: desk.venue.catch_ups > sweeps + 1 and not desk.venue.untold)
        told = trades(desk.told)
        assert len({fill.trade_id for fill in told}) == len(told)
        assert sum(fill.side * fill.lots for fill in told) == desk.server.world.accounts[0].held()[0].lots
        await balances(desk)


async def test_an_empty_answer_closes_no_position() -> None:
    """API-28: well-formed, and empty."""
    async with binance_desk() as desk:
        await desk.venue.place(order("entry", MARKET, BUY))
        await desk.move(START)
        strike(desk, "empty", "GET /fapi/v3/positionRisk")
        with pytest.raises(ExchangeUnreachable, match="disagree"):
            await desk.venue.positions()
        assert [position.lots for position in await desk.venue.positions()] == [10]
        strike(desk, "empty", "GET /fapi/v3/account")
        with pytest.raises(ExchangeUnreachable):
            await desk.venue.wallet_e8()


async def test_slow_answers_are_waited_for() -> None:
    async with binance_desk() as desk:
        strike(desk, "slow", ms=200)
        assert (await desk.venue.place(order("entry", MARKET, BUY))).outcome is Outcome.ACCEPTED
