"""HTTP/1.1 as an order needs it: one request on one connection, sent once, answered or not.

A general client repeats what it holds for harmless and hides which request went over which connection; the
outcome of an order hangs on both. So this one does nothing by itself: it keeps connections alive, frames
answers strictly, and says WireFailed whenever an answer did not come whole. It follows no redirect, knows no
cookie and no proxy, and asks for no compression.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

HEAD_MAX = 64 * 1024
IDLE_MAX = 64
# A connection that rested longer is not trusted with a request: the other side may be closing it just now.
IDLE_S = 20.0
# How often within a timeout it is looked whether an answer is late.
WATCHES = 8


class WireFailed(Exception):
    """No whole answer came. The request may have been obeyed."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer. Header names are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """One connection, one answer at a time. The framing is strict: what is odd is a failure."""

    def __init__(self, size_max: int) -> None:
        self.is_open = False
        self.rested_s = 0.0
        self._size_max = size_max
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answered] | None = None
        self._buffer = bytearray()
        self._status = 0  # 0: the head has not come yet
        self._headers: dict[str, str] = {}
        self._left: int | None = 0  # bytes of the body (or chunk) to come; None: until the other side closes
        self._chunked = False
        self._in_chunk = False
        self._ends_here = False
        self._body: list[bytes] = []
        self._size = 0

    def ask(self, request: bytes) -> asyncio.Future[Answered]:
        """Send a whole request; the future is its answer, or WireFailed."""
        waiter: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        if not self.is_open or self._transport is None:
            waiter.set_exception(WireFailed("the connection was closed before the request"))
            return waiter
        self._waiter, self._status, self._body, self._size = waiter, 0, [], 0
        self._transport.write(request)
        return waiter

    def abort(self) -> None:
        """Close at once; a late answer is not read."""
        self.is_open, self._waiter = False, None
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's calls ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # not every loop's transport is a subclass of asyncio's (uvloop's is not)
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # bytes that nobody asked for
            return
        self._buffer += data
        try:
            self._advance()
        except WireFailed as error:
            self.fail(str(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._waiter is None:
            return
        if error is None and self._status and self._left is None and not self._chunked:
            self._deliver()
        else:
            self.fail(type(error).__name__ if error is not None else "closed before the answer was whole")

    # -- framing -----------------------------------------------------------------------------------

    def _advance(self) -> None:
        while self._status == 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_MAX:
                    raise WireFailed("the answer's head does not end")
                return
            head = self._buffer[:end].decode("latin-1")
            del self._buffer[: end + 4]
            self._read_head(head)
        if self._chunked:
            self._read_chunks()
        elif self._left is None:
            self._take(len(self._buffer))
        else:
            self._left -= self._take(min(self._left, len(self._buffer)))
            if self._left == 0:
                self._deliver()

    def _read_head(self, head: str) -> None:
        lines = head.split("\r\n")
        version, _, rest = lines[0].partition(" ")
        word = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (word.isascii() and word.isdecimal()):
            raise WireFailed("not an HTTP answer")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise WireFailed("a header line is broken")
            name, value = name.lower(), value.strip()
            if name == "content-length" and headers.get(name, value) != value:
                raise WireFailed("two lengths")
            headers[name] = value
        status = int(word)
        if status < 200:
            if status == 101:
                raise WireFailed("another protocol")
            return  # an interim answer; the real one follows
        keeps = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close").lower()
        self._ends_here = keeps != "keep-alive"
        self._chunked = self._in_chunk = False
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise WireFailed(f"transfer encoding {coding[:20]!r}")
            self._chunked, self._left = True, 0
        elif length is not None:
            if not (length.isascii() and length.isdecimal()) or int(length) > self._size_max:
                raise WireFailed(f"length {length[:20]!r}")
            self._left = int(length)
        else:
            self._left = 0 if status in (204, 304) else None
        self._headers, self._status = headers, status

    def _read_chunks(self) -> None:
        while True:
            if self._in_chunk:
                assert self._left is not None
                self._left -= self._take(min(self._left, len(self._buffer)))
                if self._left or len(self._buffer) < 2:
                    return
                if self._buffer[:2] != b"\r\n":
                    raise WireFailed("a chunk is longer than it says")
                del self._buffer[:2]
                self._in_chunk = False
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_MAX:
                    raise WireFailed("a chunk's head does not end")
                return
            word = bytes(self._buffer[:end]).partition(b";")[0].strip().decode("latin-1")
            if not word or len(word) > 8 or not all(digit in "0123456789abcdefABCDEF" for digit in word):
                raise WireFailed("a chunk's length is broken")
            if int(word, 16) == 0:
                if self._buffer[end : end + 4] == b"\r\n\r\n":
                    del self._buffer[: end + 4]
                    self._deliver()
                elif len(self._buffer) >= end + 4:
                    raise WireFailed("trailers after the last chunk")
                return
            del self._buffer[: end + 2]
            self._left, self._in_chunk = int(word, 16), True

    def _take(self, size: int) -> int:
        if size:
            self._size += size
            if self._size > self._size_max:
                raise WireFailed(f"the answer is longer than {self._size_max} bytes")
            self._body.append(bytes(self._buffer[:size]))
            del self._buffer[:size]
        return size

    def _deliver(self) -> None:
        waiter, self._waiter = self._waiter, None
        if self._ends_here or self._buffer or self._left is None:
            self.is_open = False
            if self._transport is not None:
                self._transport.close()
        if waiter is not None and not waiter.done():
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            waiter.set_result(Answered(self._status, self._headers, body))

    def fail(self, why: str) -> None:
        """Whoever waits here learns that no whole answer comes; the connection is given up."""
        waiter = self._waiter
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(WireFailed(why))


class Wire:
    """Connections to one origin (``https://host[:port]``, or http for a simulator on loopback).

    tls: for https, the machine's certificate authorities if None. timeout_ms: for connecting and answering
    together. size_max: the longest body.
    """

    def __init__(
        self, origin: str, *, timeout_ms: int, size_max: int, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(origin)
        self._host = parts.hostname or ""
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls is not None else 80)
        self._timeout_s, self._size_max = timeout_ms / 1000, size_max
        self._resting: deque[Connection] = deque()
        self._asking: dict[Connection, float] = {}  # connections that wait for an answer, and until when
        self._watch: asyncio.TimerHandle | None = None
        self._heads: dict[str, bytes] = {}
        self._netloc = parts.netloc
        self._is_closed = False

    async def request(
        self,
        method: str,
        target: str,
        headers: tuple[str, ...] = (),
        body: bytes | None = None,
        *,
        timeout_ms: int | None = None,
    ) -> Answered:
        """Send one request once. target: path and query as they go on the wire; headers: whole lines.

        Raises WireFailed, also after timeout_ms, of this request or else of the wire (or up to an eighth of
        the wire's later). A cancelled request closes its connection.
        """
        start = f"{method} {target} HTTP/1.1\r\n"
        if body is not None:
            start += f"Content-Length: {len(body)}\r\n"
        message = start.encode("ascii") + self._rest_of_head(headers) + b"\r\n" + (body or b"")
        loop = asyncio.get_running_loop()
        end_s = loop.time() + (self._timeout_s if timeout_ms is None else timeout_ms / 1000)
        connection = self._rested()
        if connection is None:
            try:
                async with asyncio.timeout_at(end_s):
                    connection = await self._connect()
            except TimeoutError:
                raise WireFailed("no answer in time") from None
            except OSError as error:
                raise WireFailed(f"{type(error).__name__} {error.errno or ''}".strip()) from None
        self._asking[connection] = end_s
        if self._watch is None:
            self._watch = loop.call_later(self._timeout_s / WATCHES, self._end_late)
        try:
            answer = await connection.ask(message)
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            del self._asking[connection]
        if connection.is_open:
            self._rest(connection)
        return answer

    def close(self) -> None:
        """Close the connections that rest; those in use close when they are done."""
        self._is_closed = True
        if self._watch is not None and not self._asking:
            self._watch.cancel()
            self._watch = None
        while self._resting:
            self._resting.pop().abort()

    def _end_late(self) -> None:
        """One timer for all requests: an eighth of the timeout is precise enough, and costs them nothing."""
        loop = asyncio.get_running_loop()
        for connection, end_s in list(self._asking.items()):
            if loop.time() >= end_s:
                connection.fail("no answer in time")
        waits = bool(self._asking)
        self._watch = loop.call_later(self._timeout_s / WATCHES, self._end_late) if waits else None

    def _rest_of_head(self, headers: tuple[str, ...]) -> bytes:
        key = "\r\n".join(headers)
        found = self._heads.get(key)
        if found is None:
            lines = [f"Host: {self._netloc}", "Accept: application/json", "User-Agent: perpdesk", *headers]
            found = "".join(f"{line}\r\n" for line in lines).encode("ascii")
            if len(self._heads) < 16:
                self._heads[key] = found
        return found

    def _rested(self) -> Connection | None:
        now_s = asyncio.get_running_loop().time()
        while self._resting:
            connection = self._resting.pop()
            if connection.is_open and now_s - connection.rested_s < IDLE_S:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self._size_max),
            self._host,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls is not None else None,
        )
        return connection

    def _rest(self, connection: Connection) -> None:
        if self._is_closed or len(self._resting) >= IDLE_MAX:
            connection.abort()
            return
        connection.rested_s = asyncio.get_running_loop().time()
        self._resting.append(connection)
