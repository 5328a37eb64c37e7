"""Requests: sent once as signed, read tolerantly; limits, time, lease and key are watched."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator

import pytest
from tests.adapters.binance.scripted import START, Say, Scripted, scripted, until

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance.errors import (
    ExchangeRefused,
    ExchangeUnreachable,
    KeyRefused,
    LeaseTooShort,
    MalformedAnswer,
    Throttled,
    WrongExchange,
)
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.limits import BAN_MARGIN_MS, Governor, Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.errors import InternalError

ORDER = [("symbol", "BTCUSDT"), ("newClientOrderId", "a:b/c")]
ACK = {"orderId": 1, "symbol": "BTCUSDT", "status": "NEW", "clientOrderId": "a:b/c", "side": "BUY"}


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        script.on("GET", "/fapi/v1/time", Say({"serverTime": START + 700}))
        script.on("POST", "/fapi/v1/order", Say(ACK))
        yield script


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


def rest_of(server: Scripted, clock: VirtualClock, **more: object) -> Rest:
    own = ServerClock(clock)
    return Rest(
        hosts=simulated(server.url),
        clock=clock,
        server=own,
        governor=Governor(clock, own),
        credentials=Credentials("apikey", "secret"),
        account="a",
        **more,  # type: ignore[arg-type]  # test options
    )


@pytest.fixture
async def rest(server: Scripted, clock: VirtualClock) -> AsyncIterator[Rest]:
    one = rest_of(server, clock)
    yield one
    await one.close()


async def test_a_signed_request_goes_out_as_it_was_signed(server: Scripted, rest: Rest) -> None:
    await rest.sync_time()
    reply = await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    assert reply.is_success
    sent = server.of("/fapi/v1/order")[0]
    text, _, signature = sent.text.rpartition("&signature=")
    assert signature == hmac.new(b"secret", text.encode(), hashlib.sha256).hexdigest()
    assert text.startswith("symbol=BTCUSDT&newClientOrderId=a%3Ab%2Fc&recvWindow=5000&timestamp=")
    assert sent.params["timestamp"] == str(START + 700)
    assert sent.headers["X-MBX-APIKEY"] == "apikey"
    # our clock: the exchange's fence, less the offset, plus the error of the estimate
    assert reply.fence_ms == START + 5_000 + rest.server.error_ms


async def test_a_get_keeps_its_encoding_on_the_way(server: Scripted, rest: Rest) -> None:
    server.on("GET", "/fapi/v1/order", Say(ACK))
    await rest.ask(to.ORDER_QUERY, [("symbol", "币安人生USDT"), ("origClientOrderId", "a:b/c")])
    text, _, signature = server.of("/fapi/v1/order")[0].text.rpartition("&signature=")
    assert text.startswith("symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&origClientOrderId=a%3Ab%2Fc&")
    assert signature == hmac.new(b"secret", text.encode(), hashlib.sha256).hexdigest()


async def test_a_post_whose_reused_connection_dies_is_sent_once(server: Scripted, rest: Rest) -> None:
    """NET-10: the library must not repeat it, and the answer is unknown, not failed."""
    server.on("POST", "/fapi/v1/order", Say(ACK), Say(drop=True))
    assert (await rest.send(to.ORDER, ORDER, Lane.ENTRY)).is_success
    reply = await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    assert (reply.status, reply.is_success) == (None, False)
    assert reply.fence_ms > 0
    assert len(server.of("/fapi/v1/order")) == 2


async def test_no_answer_in_time_is_no_status(server: Scripted, clock: VirtualClock) -> None:
    never = asyncio.Event()
    server.on("POST", "/fapi/v1/order", Say(ACK, wait=never))
    rest = rest_of(server, clock, timeout_ms=50)
    reply = await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    assert reply.status is None
    assert "secret" not in reply.text
    assert "signature" not in reply.text
    never.set()
    await rest.close()


async def test_nobody_listening_is_no_status(server: Scripted, clock: VirtualClock) -> None:
    own = ServerClock(clock)
    rest = Rest(
        hosts=simulated("http://127.0.0.1:9"), clock=clock, server=own, governor=Governor(clock, own),
        credentials=Credentials("apikey", "secret"),
    )  # fmt: skip
    reply = await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    assert reply.status is None
    with pytest.raises(ExchangeUnreachable):
        await rest.sync_time()
    await rest.close()


@pytest.mark.parametrize(
    ("say", "code", "text"),
    [
        (Say({"code": -2019, "msg": "Margin is insufficient."}, 400), -2019, "Margin is insufficient."),
        (Say({"code": "-2019", "msg": "x"}, 400), -2019, "x"),
        (Say(raw=b"<html>blocked</html>", status=403), None, "<html>blocked</html>"),
        (Say(raw=b"", status=502), None, ""),
        (Say(raw=b'{"code":-2019,"msg":"tru', status=400), None, '{"code":-2019,"msg":"tru'),
        (Say(raw=b"\xff\xfe\x00\x1b[31m", status=500), None, "\ufffd\ufffd  [31m"),
        (Say({"code": -1, "msg": "a\r\nb\x1b"}, 400), -1, "a  b"),
        (Say([1], 400), None, "[1]"),
    ],
)
async def test_errors_are_read_for_what_they_are(
    server: Scripted, rest: Rest, say: Say, code: int | None, text: str
) -> None:
    server.on("POST", "/fapi/v1/order", say)
    reply = await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    assert (reply.code, reply.text) == (code, text)


async def test_an_answer_without_end_is_cut(
    server: Scripted, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parse, "SIZE_MAX", 1_000)
    rest = rest_of(server, clock)
    server.on("POST", "/fapi/v1/order", Say(raw=b"x" * 5_000))
    assert (await rest.send(to.ORDER, ORDER, Lane.ENTRY)).status is None
    await rest.close()


async def test_reads_say_refused_or_unreachable(server: Scripted, rest: Rest) -> None:
    server.on("GET", "/fapi/v3/account", Say({"code": -2015, "msg": "Invalid API-key"}, 401))
    with pytest.raises(ExchangeRefused, match="-2015"):
        await rest.ask(to.ACCOUNT, ())
    server.on("GET", "/fapi/v3/account", Say({"code": -1001, "msg": "Internal error"}, 503))
    with pytest.raises(ExchangeUnreachable):
        await rest.ask(to.ACCOUNT, ())
    server.on("GET", "/fapi/v3/account", Say(raw=b"{}"))
    with pytest.raises(MalformedAnswer):
        await rest.ask(to.ACCOUNT, ())


async def test_a_refused_time_is_measured_again_before_the_next_signature(
    server: Scripted, rest: Rest
) -> None:
    await rest.sync_time()
    server.on("GET", "/fapi/v1/time", Say({"serverTime": START + 60_000}))
    server.on("POST", "/fapi/v1/order", Say({"code": -1021, "msg": "Timestamp"}, 400), Say(ACK))
    assert (await rest.send(to.ORDER, ORDER, Lane.ENTRY)).code == -1021
    assert (await rest.send(to.ORDER, ORDER, Lane.ENTRY)).is_success
    stamps = [int(sent.params["timestamp"]) for sent in server.of("/fapi/v1/order")]
    assert stamps == [START + 700, START + 60_000]


async def test_waiting_for_leave_to_send_is_no_part_of_the_measured_way(
    server: Scripted, rest: Rest, clock: VirtualClock
) -> None:
    """After a 429 everything waits for the minute to end; the time asked for meanwhile was 42 s off."""
    await rest.sync_time()
    server.on("GET", "/fapi/v1/openOrders", Say({"code": -1003, "msg": "Too many requests"}, 429))
    with pytest.raises(ExchangeRefused):
        await rest.ask(to.OPEN_ORDERS, ())
    before = rest.server.best
    measuring = asyncio.create_task(rest.sync_time())

    async def later() -> None:
        clock.advance_to(clock.now_ms() + 1_000)

    await until(measuring.done, later)
    await measuring
    assert clock.now_ms() > START + 10_000, "it had to wait"
    assert rest.server.best is not None
    assert before is not None
    assert rest.server.best.error_ms <= before.error_ms


async def test_answers_that_take_seconds_measure_nothing(server: Scripted, clock: VirtualClock) -> None:
    rest = rest_of(server, clock)
    measured = ServerClock(clock)
    assert not measured.observe(START, START + 9_000, START + 6_000)
    assert not measured.observe(START, START, START - 1)
    assert measured.best is None
    rest.server.observe = lambda *_: False
    with pytest.raises(ExchangeUnreachable, match="the time is not known"):
        await rest.sync_time()
    await rest.close()


async def test_a_refused_key_stops_openers_and_polls_and_not_closers(server: Scripted, rest: Rest) -> None:
    server.on("POST", "/fapi/v1/order", Say({"code": -1022, "msg": "Signature"}, 400), Say(ACK))
    await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    with pytest.raises(KeyRefused, match="-1022"):
        await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    assert len(server.of("/fapi/v1/order")) == 1
    assert (await rest.send(to.ORDER, ORDER, Lane.CLOSE)).is_success


async def test_nothing_is_signed_that_could_outlive_the_lease(server: Scripted, clock: VirtualClock) -> None:
    lease = [START + 5_000]
    rest = rest_of(server, clock, lease_end_ms=lambda: lease[0])
    await rest.sync_time()
    with pytest.raises(LeaseTooShort):
        await rest.send(to.ORDER, ORDER, Lane.CLOSE)
    assert server.of("/fapi/v1/order") == []
    lease[0] += rest.server.error_ms
    assert (await rest.send(to.ORDER, ORDER, Lane.CLOSE)).is_success
    await rest.close()


async def test_after_418_nothing_is_sent_until_the_ban_ends(
    server: Scripted, rest: Rest, clock: VirtualClock
) -> None:
    ban = {"code": -1003, "msg": f"Way too many requests; IP banned until {START + 300_000}. Please"}
    server.on("POST", "/fapi/v1/order", Say(ban, 418), Say(ACK))
    assert (await rest.send(to.ORDER, ORDER, Lane.ENTRY)).status == 418
    with pytest.raises(Throttled):
        await rest.send(to.ORDER, ORDER, Lane.CLOSE, deadline_ms=START + 299_999)
    assert len(server.of("/fapi/v1/order")) == 1
    clock.advance_to(START + 300_000)
    with pytest.raises(Throttled):
        await rest.send(to.ORDER, ORDER, Lane.CLOSE, deadline_ms=START + 300_000)
    clock.advance_to(START + 300_000 + BAN_MARGIN_MS + rest.server.error_ms)
    assert (await rest.send(to.ORDER, ORDER, Lane.CLOSE)).is_success


async def test_headers_reach_the_governor(server: Scripted, rest: Rest) -> None:
    server.on("GET", "/fapi/v1/time", Say({"serverTime": START}, headers={"x-mbx-used-weight-1m": "1200"}))
    await rest.sync_time(samples=1)
    assert rest.governor.used_fraction() == 0.5


async def test_an_unmarked_exchange_is_refused_as_a_simulator(server: Scripted, rest: Rest) -> None:
    server.marked = False
    with pytest.raises(WrongExchange):
        await rest.sync_time()


async def test_redirects_are_not_followed(server: Scripted, rest: Rest) -> None:
    server.on("POST", "/fapi/v1/order", Say({}, 307, headers={"Location": "/fapi/v1/elsewhere"}))
    assert (await rest.send(to.ORDER, ORDER, Lane.ENTRY)).status == 307
    assert server.of("/fapi/v1/elsewhere") == []


async def test_without_a_key_only_public_endpoints(server: Scripted, clock: VirtualClock) -> None:
    own = ServerClock(clock)
    rest = Rest(hosts=simulated(server.url), clock=clock, server=own, governor=Governor(clock, own))
    await rest.sync_time()
    with pytest.raises(InternalError, match="needs a key"):
        await rest.send(to.ORDER, ORDER, Lane.ENTRY)
    await rest.close()
