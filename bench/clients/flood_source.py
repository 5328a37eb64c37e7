"""An exchange's streams and nothing else: market messages at a rate, account events that carry their time.

Frames are made once and written in bulk, so that the source is not what is measured. The market starts when
every socket of the client is there. ``GET /sent`` tells how much was sent and how far the client fell behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time
from contextlib import suppress

from aiohttp import web
from frames import SYMBOLS, kline_frame, mark_frame

PULSE_S, USER_S, MARK_S = 0.01, 0.02, 1.0
MARKED = {"x-perpdesk-simulated": "1"}
NOW_MS = 1_763_640_000_000


def framed(payload: bytes) -> bytes:
    """One unmasked text frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size <= 0xFFFF:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Source:
    """What was sent so far, and to whom."""

    def __init__(self, rate: int, seconds: float, sockets: int) -> None:
        self.rate, self.seconds, self.sockets = rate, seconds, sockets
        self.sent = self.users = self.pending_max = self.open = 0
        self.begin = asyncio.Event()
        self.over = asyncio.Event()

    async def listen_key(self, request: web.Request) -> web.Response:
        return web.json_response({"listenKey": "k" * 64}, headers=MARKED)

    async def told(self, request: web.Request) -> web.Response:
        await self.over.wait()
        body = {"sent": self.sent, "user_events": self.users, "pending_max": self.pending_max}
        return web.json_response(body, headers=MARKED)

    async def _opened(self, request: web.Request) -> tuple[web.WebSocketResponse, asyncio.Transport]:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        self.open += 1
        if self.open == self.sockets:
            self.begin.set()
        return socket, request.transport

    async def market(self, request: web.Request) -> web.WebSocketResponse:
        """A shard: its part of the rate in klines; or the marks, once a second."""
        names = request.query["streams"].split("/")
        socket, transport = await self._opened(request)
        reading = asyncio.ensure_future(_answer(socket))
        if names[0].startswith("!markPrice"):
            frames, rate, pulse = [framed(mark_frame(NOW_MS))], 1.0, MARK_S
        else:
            shown = [name.partition("@")[0].upper() for name in names]
            frames = [framed(kline_frame(NOW_MS, symbol)) for symbol in shown]
            rate, pulse = self.rate * len(names) / len(SYMBOLS), PULSE_S
        await self.begin.wait()
        began, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < self.seconds:
            due = int(elapsed * rate) - sent
            if due > 0:
                places = range(sent, sent + due)
                transport.write(b"".join([frames[i % len(frames)] for i in places]))
                sent += due
                self.pending_max = max(self.pending_max, transport.get_write_buffer_size())
            await asyncio.sleep(pulse)
        self.sent += sent
        self.open -= 1
        if self.open == 1:  # only the user's socket is left
            self.over.set()
        await reading
        return socket

    async def user(self, request: web.Request) -> web.WebSocketResponse:
        """An account event every 20 ms while the market flows; E is the time of sending in microseconds."""
        socket, transport = await self._opened(request)
        reading = asyncio.ensure_future(_answer(socket))
        await self.begin.wait()
        while not self.over.is_set() and not transport.is_closing():
            stamp = time.time_ns() // 1_000
            text = f'{{"e":"ACCOUNT_UPDATE","T":1,"E":{stamp},"a":{{"m":"ORDER","B":[],"P":[]}}}}'
            transport.write(framed(text.encode()))
            self.users += 1
            await asyncio.sleep(USER_S)
        await reading
        return socket


async def _answer(socket: web.WebSocketResponse) -> None:
    """Pings are answered until the client leaves."""
    with suppress(ConnectionError):
        async for _ in socket:
            pass


async def main() -> None:
    """Print the port; run until standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--sockets", type=int, required=True)
    told = parser.parse_args()
    source = Source(told.rate, told.seconds, told.sockets)
    app = web.Application()
    app.router.add_route("*", "/fapi/v1/listenKey", source.listen_key)
    app.router.add_get("/sent", source.told)
    app.router.add_get("/market/stream", source.market)
    app.router.add_get("/private/ws", source.user)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
