"""Pings of the server: every three minutes; ten minutes without a pong end a connection (§10, §13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from perpdesk.exchange.server.limits import Bucket
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.pausing import pause

_PINGS_MAX = 5  # frames of the client in a second
_SECOND_MS = 1_000
_POLICY = 1008


@dataclass(eq=False, slots=True)
class Beat:
    """When a connection last answered, on the event loop's clock."""

    socket: web.WebSocketResponse
    options: ServeOptions
    heard_s: float

    async def run(self) -> None:
        """Ping until the socket is closed; close it when nobody has answered for too long."""
        loop = asyncio.get_running_loop()
        while not self.socket.closed:
            await pause(self.options.ping_ms)
            if (loop.time() - self.heard_s) * 1000 > self.options.pong_ms:
                await self.socket.close(code=_POLICY, message=b"Pong timeout")
                return
            with suppress(ConnectionError, RuntimeError):
                await self.socket.ping(str(self.options.clock.now_ms()).encode())


def socket_for(max_bytes: int) -> web.WebSocketResponse:
    """A socket whose pings and pongs are this module's."""
    return web.WebSocketResponse(autoping=False, max_msg_size=max_bytes)


@asynccontextmanager
async def beating(socket: web.WebSocketResponse, options: ServeOptions) -> AsyncIterator[AsyncIterator[str]]:
    """The texts of a prepared socket, while pings are sent, answered and waited for."""
    beat = Beat(socket, options, asyncio.get_running_loop().time())
    pinger = asyncio.ensure_future(beat.run())
    try:
        async with aclosing(_texts(beat)) as texts:
            yield texts
    finally:
        pinger.cancel()
        await asyncio.gather(pinger, return_exceptions=True)


async def _texts(beat: Beat) -> AsyncGenerator[str, None]:
    pings = Bucket(_SECOND_MS)
    loop = asyncio.get_running_loop()
    async for message in beat.socket:
        if message.type == WSMsgType.TEXT:
            yield message.data
        elif message.type == WSMsgType.PONG:
            beat.heard_s = loop.time()
        elif message.type == WSMsgType.PING:
            if pings.add(1, int(loop.time() * 1000)) > _PINGS_MAX:
                await beat.socket.close(code=_POLICY, message=b"Too many pings")
                return
            with suppress(ConnectionError, RuntimeError):
                await beat.socket.pong(message.data)
