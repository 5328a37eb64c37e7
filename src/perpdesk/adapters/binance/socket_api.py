"""Requests of one account over the WebSocket API: signed once, sent once, answered by their id.

The same promises as ``Rest``: a lost answer is a Reply without a status. What the socket cannot do, and
everything while it is not open, goes over REST: nothing was sent then. An Ed25519 key logs on once for each
connection; HMAC and RSA keys sign every request. No user events come this way.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.limits import Cost, Lane
from perpdesk.adapters.binance.line import Line
from perpdesk.adapters.binance.payloads import Refusal
from perpdesk.adapters.binance.rest import Params, Reply, Rest, read_reply
from perpdesk.adapters.binance.signing import text_of
from perpdesk.adapters.binance.sockets import Dial, Socket
from perpdesk.domain.redaction import quoted
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
STALE_MS, PING_MS = 30_000, 10_000
_TEXT_MAX = 300
_LOGON = Endpoint("WS", "session.logon", Cost(2), signed=True, socket_method="session.logon")
_COUNTS = {("ORDERS", 10): "x-mbx-order-count-10s", ("ORDERS", 1): "x-mbx-order-count-1m"}


class _Count(Struct, rename="camel"):
    rate_limit_type: str = ""
    interval_num: int = 0
    count: int = 0


class _Answer(Struct, rename="camel"):
    id: str | int | None = None
    status: int = 0
    result: Raw | UnsetType = UNSET
    error: Refusal | UnsetType = UNSET
    rate_limits: list[_Count] = []


_ANSWER = msgspec.json.Decoder(_Answer)
_ENCODE = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Asked:
    """A request that waits for its answer, and the socket that it went over."""

    socket: Socket
    answer: asyncio.Future[_Answer]


class SocketApi:
    """``run`` until cancelled; ``send`` and ``ask`` as ``Rest`` has them."""

    def __init__(self, *, rest: Rest, clock: Clock, dial: Dial) -> None:
        self._rest, self._clock = rest, clock
        self._socket: Socket | None = None
        self._asked: dict[str, _Asked] = {}
        self._number = 0
        self.sent = 0  # how many requests went over a socket
        self.line = Line(
            "WebSocket API",
            clock=clock,
            dial=dial,
            url=self._url,
            greet=self._greet,
            on_frame=self._frame,
            on_gap=lambda _: None,
            stale_ms=STALE_MS,
            ping_ms=PING_MS,
        )

    @property
    def is_open(self) -> bool:
        """May requests go over the socket?"""
        return self._socket is not None and self.line.state.is_open

    async def run(self) -> None:
        """Keep a connection; requests that wait when it is over are answered by nobody."""
        try:
            await self.line.run()
        finally:
            self._lose("the connection was closed")

    async def send(
        self, endpoint: Endpoint, params: Params, lane: Lane, deadline_ms: int | None = None
    ) -> Reply:
        """Send one request and say what came back. Raises as ``Rest.send`` does, with nothing sent."""
        if not endpoint.socket_method or not self.is_open:
            return await self._rest.send(endpoint, params, lane, deadline_ms)
        ticket = await self._rest.admit(endpoint, lane, deadline_ms)
        socket = self._socket
        if socket is None or not self.line.state.is_open:  # it ended while we waited for room
            return await self._rest.send(endpoint, params, lane, deadline_ms)
        message, request_id, fence_ms = self._message(endpoint, params, lane)
        answer = await self._exchange(socket, message, request_id)
        if isinstance(answer, str):
            return Reply(None, None, answer, b"", {}, fence_ms)
        headers = _headers(answer)
        self._rest.governor.answered(ticket, headers)
        if answer.status == 200 and isinstance(answer.result, Raw):
            return Reply(200, None, "", bytes(answer.result), headers, fence_ms)
        code, text = _refusal(answer)
        self._rest.refused(ticket, answer.status, code, text, headers)
        return Reply(answer.status or None, code, text, b"", headers, fence_ms)

    async def ask(self, endpoint: Endpoint, params: Params, lane: Lane = Lane.QUERY) -> Any:
        """The typed answer of a read. Raises ExchangeRefused or ExchangeUnreachable."""
        return read_reply(endpoint, await self.send(endpoint, params, lane))

    # -- one request -------------------------------------------------------------------------------

    def _message(self, endpoint: Endpoint, params: Params, lane: Lane) -> tuple[str, str, int]:
        stamped, fence_ms = self._rest.stamped(params, lane)
        key = self._rest.credentials
        said: dict[str, str | int] = {
            name: value if isinstance(value, int) and not isinstance(value, bool) else text_of(value)
            for name, value in stamped
        }
        if not key.can_log_on or endpoint is _LOGON:
            said["apiKey"] = key.api_key
            text = "&".join(f"{name}={said[name]}" for name in sorted(said))
            said["signature"] = key.sign(text.encode())
        self._number += 1
        request_id = f"r{self._number}"
        body = {"id": request_id, "method": endpoint.socket_method, "params": said}
        return _ENCODE(body).decode(), request_id, fence_ms

    async def _exchange(self, socket: Socket, message: str, request_id: str) -> _Answer | str:
        """The answer, or why there is none."""
        waiter: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = _Asked(socket, waiter)
        due = asyncio.ensure_future(self._clock.sleep_until(self._clock.now_ms() + self._rest.timeout_ms))
        try:
            await socket.send(message)
            self.sent += 1
            either: set[asyncio.Future[Any]] = {waiter, due}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return waiter.result() if waiter.done() else "no answer in time"
        except ExchangeUnreachable as error:
            return str(error)
        finally:
            due.cancel()
            waiter.cancel()
            del self._asked[request_id]

    # -- the line's calls --------------------------------------------------------------------------

    async def _url(self) -> str:
        if not self.line.state.is_open:
            self._lose("the connection was lost")
        return self._rest.hosts.requests

    async def _greet(self, socket: Socket) -> None:
        if self._rest.credentials.can_log_on:
            ticket = await self._rest.admit(_LOGON, Lane.PROTECT, None)
            message, request_id, _ = self._message(_LOGON, (), Lane.QUERY)
            answer = await self._exchange(socket, message, request_id)
            if isinstance(answer, str):
                raise ExchangeUnreachable(f"session.logon: {answer}")
            if answer.status != 200:
                code, text = _refusal(answer)
                self._rest.refused(ticket, answer.status, code, text, {})
                raise ExchangeUnreachable(f"session.logon: {code}: {text}")
        self._socket = socket

    def _frame(self, raw: bytes) -> None:
        try:
            answer = _ANSWER.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ExchangeUnreachable(f"WebSocket API: {error}") from error
        asked = self._asked.get(str(answer.id))
        if asked is not None:
            if not asked.answer.done():
                asked.answer.set_result(answer)
            return
        code, text = _refusal(answer)
        LOG.warning("WebSocket API: a message that nobody asked for: %s %s", code, text)

    def _lose(self, why: str) -> None:
        """The socket is gone: whoever waits on it will not be answered. What was asked may be done."""
        lost, self._socket = self._socket, None
        for asked in list(self._asked.values()):
            if asked.socket is lost and not asked.answer.done():
                asked.answer.set_exception(ExchangeUnreachable(why))


def _refusal(answer: _Answer) -> tuple[int | None, str]:
    if not isinstance(answer.error, Refusal):
        return None, "an answer without result and error"
    text = quoted(answer.error.msg, _TEXT_MAX) if isinstance(answer.error.msg, str) else ""
    try:
        return int(answer.error.code), text  # type: ignore[arg-type]  # UNSET is a TypeError
    except (TypeError, ValueError):
        return None, text


def _headers(answer: _Answer) -> dict[str, str]:
    """The counts of an answer as REST would say them."""
    said: dict[str, str] = {}
    for row in answer.rate_limits:
        if row.rate_limit_type == "REQUEST_WEIGHT":
            said["x-mbx-used-weight-1m"] = str(row.count)
        elif (row.rate_limit_type, row.interval_num) in _COUNTS:
            said[_COUNTS[row.rate_limit_type, row.interval_num]] = str(row.count)
    return said
