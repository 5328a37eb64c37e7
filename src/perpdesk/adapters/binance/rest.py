"""Requests and answers. A request is signed once and sent once: nothing here repeats it.

``send`` never raises for what the network or the exchange does: a lost answer is a Reply without a status,
because the caller of an order must not mistake it for a failure. ``ask`` is for reads, and raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.errors import (
    ExchangeRefused,
    ExchangeUnreachable,
    KeyRefused,
    LeaseTooShort,
    MalformedAnswer,
)
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.limits import Governor, Lane
from perpdesk.adapters.binance.outcome import REFUSALS, Then
from perpdesk.adapters.binance.payloads import Refusal
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials, Param, query, signed_query
from perpdesk.domain.errors import InternalError
from perpdesk.ports import Clock

RECV_WINDOW_MS = 5_000
TIMEOUT_MS = 10_000
_TEXT_MAX = 300
_REFUSAL = parse.decoder(Refusal)
_NO_HEADERS: Mapping[str, str] = CIMultiDict()
Params = Sequence[tuple[str, Param]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. status None: nothing did, and the request may have been obeyed.

    code and text: from a refusal's body, or the network's error. fence_ms: our time after which the exchange
    cannot accept this request any more (0: it was not signed).
    """

    status: int | None
    code: int | None
    text: str
    body: bytes
    headers: Mapping[str, str]
    fence_ms: int

    @property
    def is_success(self) -> bool:
        """A 200 without an error code: its body still has to be readable."""
        return self.status == 200 and self.code in (None, 200)


class Rest:
    """The REST half of one account (or, without credentials, of public data).

    lease_end_ms: our time at which another process may own the account; nothing is signed that could
    outlive it. Close it when done; one aiohttp session belongs to it.
    """

    def __init__(
        self,
        *,
        hosts: Hosts,
        clock: Clock,
        server: ServerClock,
        governor: Governor,
        credentials: Credentials | None = None,
        account: str = "",
        recv_window_ms: int = RECV_WINDOW_MS,
        timeout_ms: int = TIMEOUT_MS,
        lease_end_ms: Callable[[], int] | None = None,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        self.hosts = hosts
        self.server = server
        self.governor = governor
        self.account = account
        self.recv_window_ms = recv_window_ms
        self.key_refused: str | None = None
        self._clock = clock
        self._credentials = credentials
        self._lease_end_ms = lease_end_ms
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        self._time_refused = False
        self._session: aiohttp.ClientSession | None = None

    # -- life --------------------------------------------------------------------------------------

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, made at first use (it needs a running loop)."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector or aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections. Closing twice is fine."""
        if self._session is not None:
            await self._session.close()

    async def sync_time(self, samples: int = 3) -> None:
        """Measure the exchange's time. Raises ExchangeUnreachable if no sample succeeds."""
        self._time_refused = False
        self.server.forget()
        for _ in range(samples):
            sent_ms = self._clock.now_ms()
            answer = await self.ask(to.TIME, (), Lane.QUERY)
            self.server.observe(sent_ms, answer.server_time, self._clock.now_ms())

    # -- requests ----------------------------------------------------------------------------------

    async def send(
        self, endpoint: Endpoint, params: Params, lane: Lane, deadline_ms: int | None = None
    ) -> Reply:
        """Send one request and say what came back.

        Raises, with nothing sent: Throttled (no room before deadline_ms), LeaseTooShort, KeyRefused (the key
        was refused before, and this would open exposure or only poll). Raises WrongExchange.
        """
        if endpoint.signed and self._time_refused:
            await self.sync_time()
        if self.key_refused is not None and (endpoint.signed or endpoint.keyed) and lane >= Lane.ENTRY:
            raise KeyRefused(f"account {self.account}: {self.key_refused}")
        ticket = await self.governor.take(lane, endpoint.cost, self.account, deadline_ms)
        text, headers, fence_ms = self._prepared(endpoint, params)
        url, data = _url(self.hosts.rest + endpoint.path), None
        if endpoint.method in ("POST", "PUT"):
            data = text.encode("ascii")
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif text:
            url = URL(f"{self.hosts.rest}{endpoint.path}?{text}", encoded=True)
        try:
            async with self.session.request(
                endpoint.method, url, data=data, headers=headers, allow_redirects=False
            ) as answer:
                body = await _body(answer)
                status, got = answer.status, answer.headers
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Reply(None, None, _quiet(error), b"", _NO_HEADERS, fence_ms)
        self.hosts.check(got)
        self.governor.answered(ticket, got)
        if status == 200:
            return Reply(200, None, "", body, got, fence_ms)
        code, message = _refusal(body)
        if status in (429, 418):
            self.governor.refused(ticket, status, code, message, got)
        self._note(code, message)
        return Reply(status, code, message, body, got, fence_ms)

    async def ask(self, endpoint: Endpoint, params: Params, lane: Lane = Lane.QUERY) -> Any:
        """The typed answer of a read, or of a setting that may be set again.

        Raises ExchangeRefused with the exchange's code, or ExchangeUnreachable: then nothing is known.
        """
        reply = await self.send(endpoint, params, lane)
        if reply.is_success:
            return parse.read(endpoint.shape, reply.body)  # type: ignore[arg-type]  # some are unions
        if reply.status is not None and reply.status < 500 and reply.code is not None:
            raise ExchangeRefused(endpoint.path, reply.code, reply.text)
        raise ExchangeUnreachable(f"{endpoint.path}: {reply.status or 'no answer'} {reply.text}")

    def _prepared(self, endpoint: Endpoint, params: Params) -> tuple[str, dict[str, str], int]:
        if not (endpoint.signed or endpoint.keyed):
            return query(params), {}, 0
        if self._credentials is None:
            raise InternalError(f"{endpoint.path} needs a key, and this connection has none")
        headers = {"X-MBX-APIKEY": self._credentials.api_key}
        if not endpoint.signed:
            return query(params), headers, 0
        stamp_ms = self.server.now_ms()
        fence_ms = self.server.local_ms(stamp_ms + self.recv_window_ms) + self.server.error_ms
        if self._lease_end_ms is not None and self._lease_end_ms() < fence_ms:
            raise LeaseTooShort(self._lease_end_ms(), fence_ms)
        stamped = [*params, ("recvWindow", self.recv_window_ms), ("timestamp", stamp_ms)]
        return signed_query(stamped, self._credentials), headers, fence_ms

    def _note(self, code: int | None, text: str) -> None:
        then = None if code is None else REFUSALS.get(code)
        if then is Then.HALT:
            self.key_refused = f"{code}: {text}"
        elif then is Then.RESYNC:
            self._time_refused = True


@cache
def _url(text: str) -> URL:
    return URL(text, encoded=True)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The body, unless it is longer than any answer that we ask for."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > parse.SIZE_MAX:
            answer.close()
            raise aiohttp.ClientPayloadError(f"answer is longer than {parse.SIZE_MAX} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _refusal(body: bytes) -> tuple[int | None, str]:
    """(code, text) of an error's body; (None, its beginning) if it is no JSON with a code."""
    try:
        said = _REFUSAL.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, _printable(body.decode("utf-8", "replace"))
    text = said.msg if isinstance(said.msg, str) else ""
    try:
        return int(said.code), _printable(text)
    except (TypeError, ValueError):
        return None, _printable(text or body.decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """For logs and journals: no control characters, no long pages."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_TEXT_MAX]).strip()


def _quiet(error: BaseException) -> str:
    """What went wrong, without the URL that aiohttp writes into some messages (it carries a signature)."""
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientOSError)) and error.errno is not None:
        return f"{type(error).__name__}: errno {error.errno}"
    return type(error).__name__


__all__ = ["MalformedAnswer", "Params", "Reply", "Rest"]
