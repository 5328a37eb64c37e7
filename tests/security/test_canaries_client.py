"""SEC-01, I20: no key, secret, signature or listen key in what the exchange client says, whatever goes wrong.

Logs are taken at DEBUG and before the redacting filter: what holds here is the first net alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from tests.contract.binance_desk import binance_desk
from tests.security.sinks import Sinks, echo, echoing_exchange

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.sockets import dial_with
from perpdesk.adapters.clocks import SystemClock
from perpdesk.domain.errors import PerpdeskError
from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import RunningServer, ServeOptions, serve

API_KEY = "CANARYkey" + "k7Q2" * 13 + "end"
SECRET = "CANARYsecret" + "s9X4" * 12 + "last"
LISTEN_KEY = "CANARYlisten" + "z3" * 26
ORDER = (
    ("symbol", "BTCUSDT"),
    ("side", "BUY"),
    ("type", "LIMIT"),
    ("timeInForce", "GTC"),
    ("quantity", "0.01"),
)
ORDER_PARAMS = (*ORDER, ("price", "40000"), ("newClientOrderId", "canary-1"))
REQUESTS: tuple[tuple[Endpoint, Any], ...] = (
    (to.ACCOUNT, ()),
    (to.ORDER, ORDER_PARAMS),
    (to.ORDER_QUERY, (("symbol", "BTCUSDT"), ("origClientOrderId", "canary-1"))),
    (to.ORDER_CANCEL, (("symbol", "BTCUSDT"), ("origClientOrderId", "canary-1"))),
    (to.LISTEN_START, ()),
    (to.LISTEN_KEEP, ()),
    (to.KEY_RIGHTS, ()),
)


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every signature that is made."""
    made: set[str] = set()
    real = Credentials.sign

    def sign(self: Credentials, text: bytes) -> str:
        signature = real(self, text)
        made.add(signature)
        return signature

    monkeypatch.setattr(Credentials, "sign", sign)
    return made


@pytest.fixture
def sinks() -> Iterator[Sinks]:
    found = Sinks()
    root = logging.getLogger()
    level = root.level
    root.addHandler(found)
    root.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(found)
    root.setLevel(level)


def credentials() -> Credentials:
    return Credentials(API_KEY, SECRET)


def register(server: RunningServer) -> None:
    server.gate.add(Keys(0, API_KEY, "HMAC", SECRET))


def nothing() -> None:
    """No fault."""


async def ask_all(
    url: str, sinks: Sinks, strike: Callable[[], None] = nothing, clear: Callable[[], None] = nothing
) -> int:
    """Each request on a fresh connection (a ban ends nothing but its own); returns how many failed."""
    failed = 0
    for endpoint, params in REQUESTS:
        gateway = Gateway(simulated(url), SystemClock())
        rest = gateway.rest(credentials(), "canary")
        rest.timeout_ms = 1_000
        try:
            await rest.sync_time(1)
            strike()
            async with asyncio.timeout(5):
                await rest.ask(endpoint, params)
        except (PerpdeskError, TimeoutError) as error:
            failed += 1
            sinks.error(f"{endpoint.method} {endpoint.path}", error)
            logging.getLogger("desk").error("it failed: %s", error, exc_info=error)
        finally:
            clear()
            sinks.text("repr", f"{rest!r} {vars(rest)!r} {credentials()!r} {gateway!r}")
            await rest.close()
    return failed


FAULTS = [
    Fault(kind="drop-req"),
    Fault(kind="drop-resp"),
    Fault(kind="late-exec", ms=20),
    Fault(kind="hide"),
    Fault(kind="stale", ms=50),
    Fault(kind="empty"),
    Fault(kind="slow", ms=20),
    *(Fault(kind="garble", form=form) for form in ("truncate", "html", "empty", "schema", "binary")),
    *(Fault(kind="reply", http=http, code=code, msg="no") for http, code in ((400, -1021), (400, -1022), (401, -2014), (401, -2015), (400, -1121), (403, -1), (408, -1007), (500, -1000), (503, -1008))),
    Fault(kind="reply", http=429, code=-1003, msg="Too many requests"),
    Fault(kind="reply", http=418, code=-1003, msg="Way too many requests; IP banned until 9999999999999."),
    Fault(kind="reply", http=502, body="<html>bad gateway</html>"),
]  # fmt: skip


async def test_every_request_fault(sinks: Sinks, signatures: set[str]) -> None:
    async with serve(ServeOptions(clock=SystemClock(), accounts=1)) as server:
        register(server)
        keys = set()

        def strike(fault: Fault) -> Callable[[], None]:
            def now() -> None:
                keys.update(server.listen_keys.active.values())
                server.faults.clear()
                server.faults.add(Fault(**{name: getattr(fault, name) for name in Fault.__struct_fields__}))
                server.faults.faults[-1].count = -1

            return now

        failed = 0
        for fault in FAULTS:
            failed += await ask_all(server.rest_url, sinks, strike(fault), server.faults.clear)
        server.gate.keys.pop(API_KEY)
        failed += await ask_all(server.rest_url, sinks)
    assert failed > 80
    assert len(signatures) > 80
    assert keys
    assert sinks.leaks({API_KEY, SECRET, *signatures, *keys}) == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda head, body: (502, f"<html>{echo(head, body)}</html>"),
        lambda head, body: (400, json.dumps({"code": -1100, "msg": echo(head, body)})),
        lambda head, body: (400, json.dumps({"code": -1022, "msg": body or head.split(" ")[1]})),
        lambda head, body: (
            401,
            json.dumps({"code": -2015, "msg": f"Invalid API-key {API_KEY}, request ip: 1.2.3.4"}),
        ),
        lambda head, body: (429, json.dumps({"code": -1003, "msg": echo(head, body)})),
        lambda head, body: (503, json.dumps({"msg": echo(head, body)})),
        lambda head, body: (200, json.dumps({"listenKey": LISTEN_KEY})[:-2]),
        lambda head, body: (200, json.dumps({"listenKey": [LISTEN_KEY]})),
        lambda head, body: (200, json.dumps([LISTEN_KEY])),
        lambda head, body: (200, f'"{body or head}"'),
        lambda head, body: (200, json.dumps({"totalWalletBalance": {"key": API_KEY}, "secret": SECRET})),
    ],
)
async def test_an_answer_that_repeats_what_was_sent(
    sinks: Sinks, signatures: set[str], answer: Callable[[str, str], tuple[int, str]]
) -> None:
    """A proxy's error page shows the request: what is kept of it must not show the key."""
    async with echoing_exchange(answer) as url:
        failed = await ask_all(url, sinks)
    assert failed
    assert sinks.leaks({API_KEY, SECRET, LISTEN_KEY, *signatures}) == []


@pytest.mark.parametrize("status", [200, 401, 403, 404, 502])
async def test_a_socket_that_is_refused(sinks: Sinks, status: int) -> None:
    """The listen key stands in the socket's address, and libraries put addresses into their errors."""
    async with (
        echoing_exchange(lambda head, body: (status, echo(head, body))) as url,
        aiohttp.ClientSession() as session,
    ):
        dial = dial_with(lambda: session)
        for target in (url, "http://127.0.0.1:1", "http://127.0.0.1:99999"):
            address = f"ws{target.removeprefix('http')}/private/ws?listenKey={LISTEN_KEY}"
            with pytest.raises((PerpdeskError, ValueError)) as raised:
                await dial(address)
            sinks.error("dial", raised.value)
            logging.getLogger("desk").error("no socket", exc_info=raised.value)
    assert sinks.leaks({LISTEN_KEY}) == []


STREAM_FAULTS = [
    Fault(kind="ws-skip", route="user:*", count=2),
    Fault(kind="ws-dup", route="user:*", count=2),
    Fault(kind="ws-reorder", route="user:*"),
    Fault(kind="ws-lag", route="user:*", ms=20),
    Fault(kind="ws-silent", route="*", ms=50),
    Fault(kind="ws-close", route="user:*"),
    Fault(kind="garble", form="truncate", route="* /fapi/v1/listenKey", count=2),
    Fault(
        kind="reply",
        http=400,
        code=-1125,
        msg="This listenKey does not exist.",
        route="PUT /fapi/v1/listenKey",
    ),
]


async def started(server: RunningServer, rest: Rest) -> None:
    register(server)


@pytest.mark.parametrize("over_socket", [False, True])
async def test_a_venue_under_stream_faults(sinks: Sinks, signatures: set[str], over_socket: bool) -> None:
    keys: set[str] = set()
    async with binance_desk(
        credentials=credentials(), prepare=started, accounts=1, control=True, over_socket=over_socket
    ) as desk:
        logging.getLogger("desk").debug("%r %r", desk.venue, vars(desk.venue))

        async def act(what: Callable[[], Awaitable[object]]) -> None:
            keys.update(desk.server.listen_keys.active.values())
            try:
                async with asyncio.timeout(2):
                    await what()
            except (PerpdeskError, TimeoutError) as error:
                sinks.error("venue", error)

        for fault in STREAM_FAULTS:
            desk.server.faults.add(fault)
            await act(
                lambda: desk.rest.ask(to.LEVERAGE, (("symbol", "ETHUSDT"), ("leverage", 5)), Lane.QUERY)
            )
            await act(lambda: desk.rest.ask(to.LISTEN_KEEP, (), Lane.PROTECT))
            desk.server.faults.clear()
        desk.server.expire_listen_key(0, silently=False)
        await act(lambda: desk.until(lambda: desk.server.listen_keys.active.get(0)))
        await desk.wire.cut()
        await asyncio.sleep(0.3)
        desk.wire.is_cut = False
        await act(lambda: desk.until(lambda: desk.server.listen_keys.active.get(0)))
        desk.server.gate.keys.pop(API_KEY)
        desk.server.expire_listen_key(0, silently=False)
        await act(lambda: desk.rest.ask(to.ACCOUNT, ()))
        await asyncio.sleep(0.3)
        for task in asyncio.all_tasks():
            sinks.text("task", repr(task))
        for message in desk.told:
            sinks.text("told", repr(message))
    assert keys
    assert len(signatures) > 3
    assert len(sinks.texts) > 5
    assert sinks.leaks({API_KEY, SECRET, *signatures, *keys}) == []


async def test_the_search_finds_a_planted_leak(sinks: Sinks) -> None:
    logging.getLogger("desk").debug("asking %s", f"/x?signature={SECRET}")
    with suppress(RuntimeError):
        try:
            raise ValueError(API_KEY)
        except ValueError as error:
            sinks.error("inner", RuntimeError("outer"))
            planted = RuntimeError("outer")
            planted.__cause__ = error
            sinks.error("outer", planted)
    found = sinks.leaks({API_KEY, SECRET})
    assert any(leak.startswith("log of desk") for leak in found)
    assert any(leak.startswith("outer: traceback") for leak in found)
