"""Orders over the WebSocket API: the same outcomes, and unknown where a connection ends in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from tests.adapters.binance.order_bench import new, order_row
from tests.adapters.binance.scripted import START, FakeNet, FakeSocket, settle
from tests.adapters.binance.test_quantise import row
from tests.adapters.binance.test_venue import balances
from tests.contract.binance_desk import binance_desk
from tests.contract.venue_suite import START as PRICE
from tests.contract.venue_suite import order, trades

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.hosts import LIVE, simulated
from perpdesk.adapters.binance.known_orders import KnownOrders
from perpdesk.adapters.binance.limits import Governor, Lane
from perpdesk.adapters.binance.orders import Orders
from perpdesk.adapters.binance.quantise import rules_of
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.socket_api import SocketApi
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.units import decimal_of
from perpdesk.kernel.records import BUY, LIMIT, MARKET, SELL, STOP
from perpdesk.ports import Answer, Outcome


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def public_pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind)


class Talk:
    """Orders over a socket that the test feeds."""

    def __init__(self, secret: str = "secret") -> None:
        self.net, self.clock = FakeNet(), VirtualClock(START)
        own = ServerClock(self.clock)
        self.governor = Governor(self.clock, own)
        self.rest = Rest(
            hosts=simulated("http://127.0.0.1:1"), clock=self.clock, server=own, governor=self.governor,
            credentials=Credentials("apikey", secret), account="a", timeout_ms=5_000,
        )  # fmt: skip
        self.api = SocketApi(rest=self.rest, clock=self.clock, dial=self.net.dial)
        rules = [rules_of(row(), 2, decimal_of("0.001"))]
        self.orders = Orders(self.rest, KnownOrders(), rules, hedge=False, channel=self.api)

    @property
    def socket(self) -> FakeSocket:
        return self.net.last

    def asked(self) -> dict[str, Any]:
        """The last request on the socket."""
        found: dict[str, Any] = json.loads(self.socket.sent[-1])
        return found

    def say(self, **more: Any) -> None:
        self.socket.say({"id": self.asked()["id"], "status": 200, **more})

    async def place(self) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self.orders.place(new()))
        await settle()
        return task


@asynccontextmanager
async def talking(talk: Talk | None = None) -> AsyncIterator[Talk]:
    talk = talk or Talk()
    task = asyncio.create_task(talk.api.run())
    await settle()
    try:
        yield talk
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await talk.rest.close()


async def test_a_request_is_signed_over_its_sorted_parameters() -> None:
    async with talking() as talk:
        placing = await talk.place()
        asked = talk.asked()
        assert asked["method"] == "order.place"
        params = asked["params"]
        signature = params.pop("signature")
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        assert signature == Credentials("apikey", "secret").sign(text.encode())
        assert (params["apiKey"], params["timestamp"], params["recvWindow"]) == ("apikey", START, 5_000)
        assert (params["quantity"], params["price"]) == ("0.010", "50000.00")
        talk.say(result=order_row())
        assert (await placing).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"status": 200, "result": order_row()}, Outcome.ACCEPTED),
        ({"status": 200, "result": order_row("another")}, Outcome.UNKNOWN),
        ({"status": 200, "result": {"orderId": "x"}}, Outcome.UNKNOWN),
        ({"status": 200}, Outcome.UNKNOWN),
        ({"status": 400, "error": {"code": -2019, "msg": "Margin is insufficient."}}, Outcome.REFUSED),
        ({"status": 400, "error": {"code": -9999, "msg": "new"}}, Outcome.UNKNOWN),
        ({"status": 408, "error": {"code": -1007, "msg": "unknown"}}, Outcome.UNKNOWN),
        ({"status": 503, "error": {"code": -1008, "msg": "throttled"}}, Outcome.REFUSED),
        ({"status": 500, "error": {"code": -1000, "msg": "?"}}, Outcome.UNKNOWN),
        ({"status": 429, "error": {"code": -1015, "msg": "Too many new orders"}}, Outcome.REFUSED),
    ],
)
async def test_the_same_white_list_of_outcomes(said: dict[str, Any], outcome: Outcome) -> None:
    async with talking() as talk:
        placing = await talk.place()
        talk.say(**said)
        answer = await placing
        assert answer.outcome is outcome
        assert (answer.fence_ms > 0) is (outcome is Outcome.UNKNOWN)
        assert (talk.orders.known("c1") is None) is (outcome is Outcome.REFUSED)


async def test_a_connection_that_ends_before_the_answer_leaves_it_unknown_and_sends_nothing_again() -> None:
    async with talking() as talk:
        placing = await talk.place()
        first = talk.socket
        first.say(None)
        assert (await placing).outcome is Outcome.UNKNOWN
        await settle()
        assert len(talk.net.sockets) == 2
        assert talk.net.sockets[1].sent == []


async def test_no_answer_in_time_is_unknown_and_a_late_one_is_ignored() -> None:
    async with talking() as talk:
        placing = await talk.place()
        late = talk.asked()["id"]
        talk.clock.advance_to(START + 5_001)
        assert (await placing).outcome is Outcome.UNKNOWN
        talk.socket.say({"id": late, "status": 200, "result": order_row()})
        talk.socket.say({"id": None, "status": 401, "error": {"code": -2015, "msg": "revoked"}})
        talk.socket.say(b"\xff garbage")
        await settle()
        assert talk.api.line.state.bad_frames == 1
        assert talk.api.is_open


async def test_answers_are_matched_by_id_in_any_order() -> None:
    async with talking() as talk:
        tasks = [asyncio.create_task(talk.orders.place(new(name))) for name in ("a", "b", "c")]
        await settle()
        for text in reversed(talk.socket.sent):
            asked = json.loads(text)
            client_id = asked["params"]["newClientOrderId"]
            said: dict[str, Any] = {"id": asked["id"], "status": 200, "result": order_row(client_id)}
            if client_id == "b":
                said = {"id": asked["id"], "status": 400, "error": {"code": -2021, "msg": "would trigger"}}
            talk.socket.say(said)
        outcomes = [answer.outcome for answer in await asyncio.gather(*tasks)]
        assert outcomes == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]


async def test_the_exchanges_counts_reach_the_governor() -> None:
    async with talking() as talk:
        placing = await talk.place()
        counts = [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 2400,
                "count": 1200,
            },
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 299},
        ]
        talk.say(result=order_row(), rateLimits=counts)
        await placing
        assert talk.governor.used_fraction() == 0.5
        assert isinstance(talk.governor.try_take(Lane.ENTRY, to.ORDER.cost, "a"), int)


async def test_an_ed25519_key_logs_on_once_and_then_signs_nothing() -> None:
    async with talking(Talk(pem(ed25519.Ed25519PrivateKey.generate()))) as talk:
        assert talk.asked()["method"] == "session.logon"
        assert "signature" in talk.asked()["params"]
        assert not talk.api.is_open
        talk.say(result={"apiKey": "apikey"})
        await settle()
        assert talk.api.is_open
        placing = await talk.place()
        assert {"signature", "apiKey"} & set(talk.asked()["params"]) == set()
        assert talk.asked()["params"]["timestamp"] == START
        talk.say(result=order_row())
        assert (await placing).outcome is Outcome.ACCEPTED


def test_the_live_address_is_pinned() -> None:
    assert LIVE.requests == "wss://ws-fapi.binance.com/ws-fapi/v1"
    assert LIVE.spot == "https://api.binance.com"


@pytest.mark.parametrize("kind", ["HMAC", "RSA", "ED25519"])
async def test_a_life_over_the_socket(kind: str) -> None:
    keys: dict[str, Any] = {
        "RSA": lambda: rsa.generate_private_key(65_537, 2_048),
        "ED25519": ed25519.Ed25519PrivateKey.generate,
    }
    made = keys[kind]() if kind in keys else None
    own: dict[str, Any] = {}
    if made is not None:
        own = {"credentials": Credentials("k" * 64, pem(made)), "public_keys": [("k" * 64, public_pem(made))]}
    async with binance_desk(over_socket=True, **own) as desk:
        api = desk.venue.requests
        assert api is not None
        await desk.until(lambda: api.is_open)
        before = api.sent
        assert (await desk.venue.place(order("entry", MARKET, BUY))).outcome is Outcome.ACCEPTED
        rest = order("rest", LIMIT, BUY, PRICE - 1_000, slot=1)
        assert (await desk.venue.place(rest)).outcome is Outcome.ACCEPTED
        assert (await desk.venue.modify(0, "rest", PRICE - 900, 12)).outcome is Outcome.ACCEPTED
        status = await api.ask(to.ORDER_QUERY, (("symbol", "BTCUSDT"), ("origClientOrderId", "rest")))
        assert (status.status, status.orig_qty) == ("NEW", "0.012")
        assert (await desk.venue.cancel(0, "rest")).outcome is Outcome.ACCEPTED
        assert (await desk.venue.cancel(0, "rest")).outcome is Outcome.REFUSED
        stop = order("stop", STOP, SELL, PRICE - 2_000, slot=2, reduce_only=True)
        assert (await desk.venue.place(stop)).outcome is Outcome.ACCEPTED
        late = order("late", STOP, SELL, PRICE + 1_000, slot=3, reduce_only=True)
        answer = await desk.venue.place(late)
        assert answer.outcome is Outcome.REFUSED
        assert "-2021" in answer.reason
        told = trades(await desk.move(PRICE - 2_100))
        assert [fill.client_id for fill in told] == ["entry", "stop"]
        assert api.sent - before >= 8
        await balances(desk)


async def test_while_the_socket_is_gone_orders_go_over_rest() -> None:
    async with binance_desk(over_socket=True) as desk:
        api = desk.venue.requests
        assert api is not None
        await desk.until(lambda: api.is_open)
        await desk.wire.cut()
        await desk.until(lambda: not api.is_open)
        before = api.sent
        assert (await desk.venue.place(order("entry", MARKET, BUY))).outcome is Outcome.ACCEPTED
        assert api.sent == before
        desk.wire.is_cut = False
        await desk.until(lambda: trades(desk.told) and api.is_open)
        await balances(desk)
