"""A socket server that sends market messages at a rate, and user events that carry their time of sending."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

from aiohttp import web
from frames import kline_frame

PULSE_S = 0.01
USER_S = 0.02


async def market(request: web.Request) -> web.WebSocketResponse:
    """``rate`` messages a second for ``seconds`` seconds, counted from the first."""
    rate, seconds = int(request.query["rate"]), float(request.query["seconds"])
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    message = kline_frame(1_763_640_000_000).decode()
    began, sent = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        while sent < elapsed * rate:
            await socket.send_str(message)
            sent += 1
        await asyncio.sleep(PULSE_S)
    await socket.send_str(f'{{"result":{sent},"id":1}}')
    await socket.close()
    return socket


async def user(request: web.Request) -> web.WebSocketResponse:
    """An account event every 20 ms; E is the time of sending in microseconds."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    with suppress(ConnectionError):  # the client leaves when it has measured
        while not socket.closed:
            stamp = time.time_ns() // 1_000
            text = f'{{"e":"ACCOUNT_UPDATE","T":1,"E":{stamp},"a":{{"m":"ORDER","B":[],"P":[]}}}}'
            await socket.send_str(text)
            await asyncio.sleep(USER_S)
    return socket


async def main() -> None:
    """Print the port; run until standard input is closed."""
    app = web.Application()
    app.router.add_get("/market", market)
    app.router.add_get("/user", user)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
