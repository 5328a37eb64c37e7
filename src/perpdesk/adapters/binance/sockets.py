"""One WebSocket, as little of it as the streams need: frames, signs of life, an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp

from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance.errors import ExchangeUnreachable

ALIVE = b""


class Socket(Protocol):
    """An open connection."""

    async def receive(self) -> bytes | None:
        """The next message; ALIVE for a ping or pong; None once it is closed."""
        ...

    async def send(self, text: str) -> None:
        """Send a control message. Raises ExchangeUnreachable if the connection is gone."""
        ...

    async def ping(self) -> None:
        """Ask the other side for a sign of life. Raises ExchangeUnreachable if the connection is gone."""
        ...

    async def close(self) -> None: ...


# Opens a connection, or raises ExchangeUnreachable.
Dial = Callable[[str], Awaitable[Socket]]


class AiohttpSocket:
    """A Socket over aiohttp. Pings are answered, and counted as signs of life."""

    def __init__(self, inner: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._inner = inner

    async def receive(self) -> bytes | None:
        message = await self._inner.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            data = message.data
            return data if isinstance(data, bytes) else data.encode()
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is aiohttp.WSMsgType.PING:
            await self._inner.pong(message.data)
            return ALIVE
        if message.type is aiohttp.WSMsgType.PONG:
            return ALIVE
        return None

    async def send(self, text: str) -> None:
        try:
            await self._inner.send_str(text)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ExchangeUnreachable(f"socket: {type(error).__name__}") from error

    async def ping(self) -> None:
        try:
            await self._inner.ping()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ExchangeUnreachable(f"socket: {type(error).__name__}") from error

    async def close(self) -> None:
        await self._inner.close()


def dial_with(session: Callable[[], aiohttp.ClientSession], close_timeout_s: float = 2.0) -> Dial:
    """A Dial over an aiohttp session (asked for when needed: it belongs to a running loop)."""

    async def dial(url: str) -> Socket:
        try:
            inner = await session().ws_connect(
                url,
                autoping=False,
                max_msg_size=parse.SIZE_MAX,
                timeout=aiohttp.ClientWSTimeout(ws_close=close_timeout_s),
                decode_text=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            status = getattr(error, "status", "")
            # Without the cause: it quotes the address, and a listen key stands in that.
            raise ExchangeUnreachable(f"socket: {type(error).__name__} {status}") from None
        return AiohttpSocket(inner)

    return dial
