"""The Spot client against the simulated server: lists, outcomes, reads, events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable, MalformedAnswer
from perpdesk.adapters.binance.hosts import LIVE, simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.spot import SpotAccount, SpotGateway
from perpdesk.adapters.binance.spot_events import SpotKnown, SpotListStatus, SpotReport
from perpdesk.adapters.binance.spot_orders import SpotLeg, SpotListRequest, limit_pair, list_params
from perpdesk.adapters.binance.spot_user_stream import socket_of
from perpdesk.adapters.binance.stream_events import Stranger
from perpdesk.adapters.clocks import SystemClock
from perpdesk.domain.errors import InputError
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import RunningServer, ServeOptions, serve
from perpdesk.exchange.server.spot_control import ACTIONS
from perpdesk.ports import Outcome

BTC, KOGE = "BTCUSDT", "ALPHA_22USDT"
NAMES = ("pv-1", "pv-1-b", "pv-1-s")
D = Decimal


@dataclass
class Desk:
    """A server and a client of its first account."""

    server: RunningServer
    account: SpotAccount
    told: list[SpotKnown | Stranger] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)

    def do(self, action: str, **arguments: Any) -> Any:
        return ACTIONS[action](self.server, arguments)

    async def place(self, buy: str = "49000", sell: str = "51000", qty: str = "0.01", **more: Any) -> Any:
        request = limit_pair(BTC, NAMES, D(qty), D(buy), D(sell), more.pop("sell_qty", D(qty)))
        return await self.account.orders.place_list(request, **more)

    async def statuses(self, *names: str) -> list[object]:
        orders = [await self.account.reads.order(BTC, name) for name in names or NAMES[1:]]
        return [None if one is None else one.status for one in orders]

    async def until(self, count: int) -> None:
        """Until so many events have come."""
        async with asyncio.timeout(20):
            while len(self.told) < count:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def desk(**options: Any) -> AsyncIterator[Desk]:
    clock = SystemClock()
    async with serve(ServeOptions(clock=clock, control=True, **options)) as server:
        keys = server.accounts[0]
        gateway = SpotGateway(simulated(server.rest_url), clock)
        account = gateway.account(Credentials(keys.api_key, keys.secret), "spot")
        try:
            yield Desk(server, account)
        finally:
            await account.close()


@asynccontextmanager
async def listening(one: Desk) -> AsyncIterator[None]:
    """The account's events, from when the exchange has confirmed."""
    stream = one.account.stream(one.told.append, one.gaps.append)
    task = asyncio.create_task(stream.run())
    try:
        async with asyncio.timeout(20):
            while not one.gaps:
                await asyncio.sleep(0.002)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_pair_lives_and_everything_that_is_read_agrees() -> None:
    async with desk() as one, listening(one):
        reads = one.account.reads
        one.do("spot_deposit", asset="BTC", amount="0.01")
        assert (await one.place()).outcome is Outcome.ACCEPTED
        found = await reads.order_list(NAMES[0])
        assert found is not None
        assert (found.list_order_status, [row.client_order_id for row in found.orders]) == (
            "EXECUTING",
            [*NAMES[1:]],
        )
        assert [row.list_client_order_id for row in await reads.open_lists()] == [NAMES[0]]
        one.do("spot_quote", symbol=BTC, bid="48990", ask="48999")
        assert await one.statuses() == ["FILLED", "NEW"]
        one.server.tick(BTC, "51001")
        assert await one.statuses() == ["FILLED", "FILLED"]
        balances = await reads.balances()
        assert balances["USDT"] == (D("10019.49"), D(0))
        order = await reads.order(BTC, NAMES[1])
        assert order is not None
        (fill,) = await reads.fills_of_order(BTC, order.order_id)
        assert (fill.quote_qty, fill.commission, fill.commission_asset) == (
            "490.00000000",
            "0.00001000",
            "BTC",
        )
        volume = await reads.volume(BTC, one.server.now_ms() // 86_400_000)
        assert (volume.bought, volume.sold, volume.is_complete) == (D("490"), D("510"), True)
        await one.until(12)
        reports = [event for event in one.told if isinstance(event, SpotReport)]
        assert [(event.name, event.happened, event.status) for event in reports] == [
            (NAMES[1], "NEW", "NEW"),
            (NAMES[2], "NEW", "PENDING_NEW"),
            (NAMES[1], "TRADE", "FILLED"),
            (NAMES[2], "NEW", "NEW"),
            (NAMES[2], "TRADE", "FILLED"),
        ]
        lists = [event for event in one.told if isinstance(event, SpotListStatus)]
        assert [event.order_status for event in lists] == ["EXECUTING", "ALL_DONE"]
        assert reports[2].commission_asset == "BTC"


async def test_the_venue_sizes_the_sell_of_a_paying_list() -> None:
    async with desk() as one:
        request = limit_pair(KOGE, NAMES, D("2"), D("48.1"), D("47.9"), None)
        assert (await one.account.orders.place_list(request)).outcome is Outcome.ACCEPTED
        sell = await one.account.reads.order(KOGE, NAMES[2])
        assert sell is not None
        assert (sell.status, sell.orig_qty) == ("FILLED", "1.99000000")


async def test_two_alternatives() -> None:
    async with desk() as one:
        one.do("spot_deposit", asset="BTC", amount="0.01")
        request = SpotListRequest(
            BTC,
            "l",
            SpotLeg("b", "BUY", "LIMIT", D("0.01"), D("50100"), tif="GTC"),
            (
                SpotLeg("p", "SELL", "LIMIT_MAKER", D("0.01"), D("52000")),
                SpotLeg("s", "SELL", "STOP_LOSS", D("0.01"), stop_price=D("48000")),
            ),
        )
        assert (await one.account.orders.place_list(request)).outcome is Outcome.ACCEPTED
        one.server.tick(BTC, "47999")
        assert await one.statuses("b", "p", "s") == ["FILLED", "EXPIRED", "FILLED"]


async def test_cancelling_and_what_it_proves() -> None:
    async with desk() as one, listening(one):
        await one.place()
        assert (await one.account.orders.cancel_list(BTC, NAMES[0])).outcome is Outcome.ACCEPTED
        assert await one.statuses() == ["CANCELED", "CANCELED"]
        again = await one.account.orders.cancel_list(BTC, NAMES[0])
        assert (again.outcome, again.code) == (Outcome.REFUSED, -2011)
        await one.until(8)
        gone = [e for e in one.told if isinstance(e, SpotReport) and e.happened == "CANCELED"]
        assert [event.name for event in gone] == [*NAMES[1:]]
        await one.place()
        assert (await one.account.orders.cancel(BTC, NAMES[2])).outcome is Outcome.ACCEPTED
        assert await one.statuses() == ["CANCELED", "CANCELED"]


async def test_an_exit_sells_what_is_left() -> None:
    async with desk() as one:
        one.do("spot_deposit", asset="BTC", amount="0.01")
        exit_leg = SpotLeg("x1", "SELL", "LIMIT", D("0.01"), D("49750"), tif="IOC")
        assert (await one.account.orders.place(BTC, exit_leg)).outcome is Outcome.ACCEPTED
        assert await one.statuses("x1") == ["FILLED"]
        with pytest.raises(InputError):
            await one.account.orders.place(BTC, SpotLeg("x2", "SELL", "MARKET", None))


@pytest.mark.parametrize(
    ("fault", "outcome", "lives"),
    [
        ({"kind": "drop-req"}, Outcome.UNKNOWN, False),
        ({"kind": "drop-resp"}, Outcome.UNKNOWN, True),
        (
            {"kind": "reply", "http": 503, "body": "Service Unavailable.", "executes": True},
            Outcome.UNKNOWN,
            True,
        ),
        ({"kind": "reply", "http": 503, "body": "Service Unavailable."}, Outcome.UNKNOWN, False),
        ({"kind": "reply", "http": 400, "code": -1006, "msg": "?", "executes": True}, Outcome.UNKNOWN, True),
        (
            {"kind": "reply", "http": 400, "code": -2010, "msg": "Duplicate order sent."},
            Outcome.UNKNOWN,
            False,
        ),
        (
            {"kind": "reply", "http": 400, "code": -1013, "msg": "Filter failure: LOT_SIZE"},
            Outcome.REFUSED,
            False,
        ),
        ({"kind": "garble", "form": "truncate"}, Outcome.UNKNOWN, True),
        ({"kind": "garble", "form": "html"}, Outcome.UNKNOWN, True),
        ({"kind": "garble", "form": "empty"}, Outcome.UNKNOWN, True),
        ({"kind": "late-exec", "ms": 1}, Outcome.UNKNOWN, True),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else str(value),
)
async def test_only_the_white_list_is_a_refusal(fault: dict[str, Any], outcome: Outcome, lives: bool) -> None:
    async with desk() as one:
        one.server.faults.add(Fault(route="POST /api/v3/orderList/oto", **fault))
        answer = await one.place()
        assert answer.outcome is outcome
        assert (answer.fence_ms > 0) == (outcome is Outcome.UNKNOWN)
        if fault["kind"] == "late-exec":
            async with asyncio.timeout(20):
                while await one.account.reads.order_list(NAMES[0]) is None:
                    await asyncio.sleep(0.002)
        found = await one.account.reads.order_list(NAMES[0])
        assert (found is not None) == lives
        assert await one.statuses() == (["NEW", "PENDING_NEW"] if lives else [None, None])


async def test_refusals_carry_their_code() -> None:
    async with desk() as one:
        for code, more in ((-2010, {"qty": "5", "buy": "49000"}), (-1013, {"qty": "0.0001"})):
            answer = await one.place(**more)
            assert (answer.outcome, answer.code, answer.fence_ms) == (Outcome.REFUSED, code, 0)
        assert (await one.place()).outcome is Outcome.ACCEPTED
        assert (await one.place()).outcome is Outcome.UNKNOWN  # a duplicate: ours, perhaps
        ACTIONS["spot_cancel_all"](one.server, {})
        one.server.gate.keys.clear()
        assert (await one.place()).code == -2015
        refused = await one.place()  # the key is known to be refused: nothing is sent
        assert (refused.outcome, refused.code) == (Outcome.REFUSED, None)


async def test_a_read_that_fails_is_never_empty() -> None:
    async with desk() as one:
        day = one.server.now_ms() // 86_400_000
        for kind, kinds in (
            ({"kind": "drop-req"}, ExchangeUnreachable),
            ({"kind": "garble", "form": "html"}, MalformedAnswer),
            ({"kind": "reply", "http": 400, "code": -1003, "msg": "?"}, ExchangeRefused),
        ):
            one.server.faults.add(Fault(route="GET /api/v3/*", **kind))
            with pytest.raises(kinds):
                await one.account.reads.volume(BTC, day)
            one.server.faults.add(Fault(route="GET /api/v3/*", **kind))
            with pytest.raises(kinds):
                await one.account.reads.order(BTC, "x")


async def test_volume_is_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as one:
        monkeypatch.setattr("perpdesk.adapters.binance.spot_reads.PAGE", 3)
        for i in range(8):
            leg = SpotLeg(f"m{i}", "BUY" if i % 2 == 0 else "SELL", "MARKET", D("0.001"))
            one.do("spot_deposit", asset="BTC", amount="0.001")
            assert (await one.account.orders.place(BTC, leg)).outcome is Outcome.ACCEPTED
        day = one.server.now_ms() // 86_400_000
        volume = await one.account.reads.volume(BTC, day)
        assert (volume.bought, volume.sold) == (D("200.0004"), D("200.0000"))
        assert volume.is_complete
        monkeypatch.setattr("perpdesk.adapters.binance.spot_reads.PAGES_MAX", 2)
        assert not (await one.account.reads.volume(BTC, day)).is_complete
        assert (await one.account.reads.volume(BTC, day - 1)).bought == 0


async def test_rules_and_limits_come_from_the_exchange() -> None:
    async with desk() as one:
        rules = await one.account.reads.rules(BTC)
        assert (rules.tick, rules.step, rules.min_qty, rules.min_notional) == (
            D("0.1"),
            D("0.001"),
            D("0.001"),
            D(5),
        )
        assert rules.oto_allowed
        assert "EXPIRE_TAKER" in rules.stp_modes
        assert rules.buy_band == (D("0.2"), D(5))
        assert (await one.account.reads.commission(BTC)).standard_commission.taker == "0.00100000"
        quote = await one.account.reads.quote(BTC)
        assert D(quote.bid_price) < D(quote.ask_price)
        assert await one.account.reads.last_price(BTC) == 50000
        assert len(await one.account.reads.seconds(BTC)) == 60
        await one.account.rest.sync_time()
        used = one.account.rest.governor.used_fraction()
        assert 0 < used < 0.1


async def test_the_stream_comes_back_after_a_cut_and_says_so() -> None:
    async with desk() as one, listening(one):
        one.server.faults.add(Fault(kind="ws-close", route="user:*", code=1001))
        await one.place()
        async with asyncio.timeout(20):
            while len(one.gaps) < 2:
                await asyncio.sleep(0.002)
        assert one.gaps[0] == 0
        assert one.gaps[1] > 0
        before = len(one.told)
        await one.account.orders.cancel_list(BTC, NAMES[0])
        await one.until(before + 4)


async def test_a_key_that_is_refused_never_counts_as_a_stream() -> None:
    async with desk() as one:
        one.server.gate.keys.clear()
        stream = one.account.stream(one.told.append, one.gaps.append)
        task = asyncio.create_task(stream.run())
        async with asyncio.timeout(20):
            while not one.server.spot.limits.used("127.0.0.1", one.server.session_ms()):
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert one.gaps == []
        assert not stream.line.state.is_open


def test_lists_that_no_endpoint_takes() -> None:
    leg = SpotLeg("b", "BUY", "LIMIT", D(1), D(1), tif="GTC")
    sized, unsized = SpotLeg("s", "SELL", "LIMIT", D(1), D(2)), SpotLeg("t", "SELL", "LIMIT", None, D(2))
    for pending in ((), (sized, unsized), (sized, sized, sized), (sized, SpotLeg("u", "BUY", "LIMIT", D(1)))):
        with pytest.raises(InputError):
            list_params(SpotListRequest(BTC, "l", leg, pending))
    endpoint, params = list_params(SpotListRequest(BTC, "l", leg, (unsized,)))
    assert endpoint.path.endswith("/opo")
    assert "pendingQuantity" not in dict(params)


def test_where_the_events_come_from() -> None:
    assert socket_of(LIVE).startswith("wss://ws-api.binance.com")
    assert socket_of(simulated("http://127.0.0.1:5")) == "ws://127.0.0.1:5/ws-api/v3"
