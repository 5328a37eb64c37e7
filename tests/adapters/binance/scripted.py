"""A server that answers what a test says, and remembers what it was sent; and sockets without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.hosts import SIMULATED_HEADER
from perpdesk.adapters.clocks import VirtualClock

START = 1_763_640_000_000


@dataclass
class Sent:
    """One request as it arrived."""

    method: str
    path: str
    text: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass
class Say:
    """One answer. drop: close the connection instead, after the request was read."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    drop: bool = False
    wait: asyncio.Event | None = None


Answer = Say | Callable[[Sent], Say]


class Scripted:
    """Answers by (method, path): a list is used up from the front, its last entry stays."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.marked = True
        self.url = ""

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """What to answer there from now on."""
        self.answers[method, path] = list(answers)

    def of(self, path: str, method: str | None = None) -> list[Sent]:
        """What was sent there."""
        return [one for one in self.sent if one.path == path and method in (None, one.method)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        text = request.raw_path.partition("?")[2] or body
        sent = Sent(request.method, request.path, text, dict(parse_qsl(text)), dict(request.headers))
        self.sent.append(sent)
        script = self.answers.get((request.method, request.path))
        if not script:
            return web.Response(status=404, headers=self._headers({}))
        answer = script.pop(0) if len(script) > 1 else script[0]
        say = answer if isinstance(answer, Say) else answer(sent)
        if say.wait is not None:
            await say.wait.wait()
        if say.drop:
            assert request.transport is not None
            request.transport.close()
            raise ConnectionResetError
        raw = say.raw if say.raw is not None else msgspec.json.encode(say.body)
        return web.Response(
            status=say.status, body=raw, headers=self._headers(say.headers), content_type="application/json"
        )

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return more | ({SIMULATED_HEADER: "1"} if self.marked else {})


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    """A Scripted server on loopback."""
    script = Scripted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    script.url = f"http://{host}:{port}"
    try:
        yield script
    finally:
        await runner.cleanup()


class FakeSocket:
    """A Socket that a test feeds. pongs: does the other side answer pings?"""

    def __init__(self, url: str, pongs: bool) -> None:
        self.url, self.pongs = url, pongs
        self.sent: list[str] = []
        self.is_closed = False
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def say(self, message: bytes | dict[str, Any] | None) -> None:
        """Deliver a message; None: the other side closes."""
        raw = msgspec.json.encode(message) if isinstance(message, dict) else message
        self._queue.put_nowait(raw)

    async def receive(self) -> bytes | None:
        return await self._queue.get()

    async def send(self, text: str) -> None:
        self.sent.append(text)

    async def ping(self) -> None:
        if self.pongs:
            self._queue.put_nowait(b"")

    async def close(self) -> None:
        self.is_closed = True


class FakeNet:
    """Dials FakeSockets. refuse: how many of the next dials fail."""

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.refuse = 0
        self.pongs = True

    async def dial(self, url: str) -> FakeSocket:
        if self.refuse:
            self.refuse -= 1
            raise ExchangeUnreachable("no way")
        socket = FakeSocket(url, self.pongs)
        self.sockets.append(socket)
        return socket

    @property
    def last(self) -> FakeSocket:
        return self.sockets[-1]


async def settle(rounds: int = 30) -> None:
    """Let everything that is ready run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def pass_time(clock: VirtualClock, ms: int, step_ms: int = 1_000) -> None:
    """Advance a virtual clock in steps, letting everybody act at each."""
    end_ms = clock.now_ms() + ms
    while clock.now_ms() < end_ms:
        clock.advance_to(min(end_ms, clock.now_ms() + step_ms))
        await settle()


async def until(condition: Callable[[], object], act: Callable[[], Awaitable[None]] | None = None) -> None:
    """Wait (on the real network) until a condition holds; the test's own timeout is the limit."""
    async with asyncio.timeout(20):
        while not condition():
            if act is not None:
                await act()
            await asyncio.sleep(0.002)
