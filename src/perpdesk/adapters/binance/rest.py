"""Requests and answers. A request is signed once and sent once: nothing here repeats it.

``send`` never raises for what the network or the exchange does: a lost answer is a Reply without a status,
because the caller of an order must not mistake it for a failure. ``ask`` is for reads, and raises.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

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
from perpdesk.adapters.binance.limits import Governor, Lane, Ticket
from perpdesk.adapters.binance.outcome import REFUSALS, Then
from perpdesk.adapters.binance.payloads import Refusal
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials, Param, query, signed_query
from perpdesk.adapters.binance.wire import Wire, WireFailed
from perpdesk.domain.errors import InternalError
from perpdesk.domain.redaction import quoted
from perpdesk.ports import Clock

RECV_WINDOW_MS = 5_000
TIMEOUT_MS = 10_000
# What only reads is asked again at little cost; what changes something may take the exchange ten seconds.
READ_TIMEOUT_MS = 4_000
_TEXT_MAX = 300
LOST_MAX = 3
# So long a protective request waits for the exchange's time after a refusal.
RESYNC_PATIENCE_S = 0.5
_REFUSAL = parse.decoder(Refusal)
_FORM = "Content-Type: application/x-www-form-urlencoded"
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
    outlive it. tls: for a simulator's own certificate; None: the machine's authorities. Close it when done.
    """

    time_endpoint = to.TIME

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
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.hosts = hosts
        self.server = server
        self.governor = governor
        self.account = account
        self.recv_window_ms = recv_window_ms
        self.key_refused: str | None = None
        self._lost = 0  # requests in a row that got no answer, or that of a broken server
        self._clock = clock
        self._credentials = credentials
        self._lease_end_ms = lease_end_ms
        # The same for what may increase exposure, where that ends sooner (None: as the rest).
        self.entry_end_ms: Callable[[], int] | None = None
        # asked before each request that changes something is signed; False: it may not be
        self.arm: Callable[[], bool] | None = None
        self._tls = tls
        self.timeout_ms = timeout_ms
        self._wire = Wire(hosts.rest, timeout_ms=timeout_ms, size_max=parse.SIZE_MAX, tls=tls)
        self._spot: Wire | None = None
        self._time_refused = False
        self._resyncing: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    # -- life --------------------------------------------------------------------------------------

    @property
    def session(self) -> aiohttp.ClientSession:
        """For the sockets: made at first use (it needs a running loop)."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections. Closing twice is fine."""
        if self._resyncing is not None:
            self._resyncing.cancel()
        self._wire.close()
        if self._spot is not None:
            self._spot.close()
        if self._session is not None:
            await self._session.close()

    async def sync_time(self, samples: int = 3) -> None:
        """Measure the exchange's time. Raises ExchangeUnreachable if one of the answers does not come, or
        none of them comes soon enough to tell anything."""
        self._time_refused = False
        self.server.forget()
        measured = False
        for _ in range(samples):
            # waiting for leave to send, a ban even, is no part of the way
            ticket = await self.admit(self.time_endpoint, Lane.QUERY, None)
            sent_ms = self._clock.now_ms()
            reply = await self.send(self.time_endpoint, (), Lane.QUERY, ticket=ticket)
            answer = read_reply(self.time_endpoint, reply)
            measured |= self.server.observe(sent_ms, answer.server_time, self._clock.now_ms())
        if not measured:
            raise ExchangeUnreachable(
                f"{self.time_endpoint.path}: every answer took seconds, the time is not known"
            )

    # -- requests ----------------------------------------------------------------------------------

    async def send(
        self,
        endpoint: Endpoint,
        params: Params,
        lane: Lane,
        deadline_ms: int | None = None,
        *,
        ticket: Ticket | None = None,
    ) -> Reply:
        """Send one request and say what came back. ticket: the leave to send it, if it was asked for already.

        Raises, with nothing sent: Throttled (no room before deadline_ms), LeaseTooShort, KeyRefused (the key
        was refused before, and this would open exposure or only poll). Raises WrongExchange.
        """
        ticket = ticket or await self.admit(endpoint, lane, deadline_ms)
        text, headers, fence_ms = self._prepared(endpoint, params, lane)
        target, data = endpoint.path, None
        if endpoint.method == "GET":
            if text:
                target = f"{target}?{text}"
        else:  # what changes something goes into the body: addresses end up in logs on the way
            data = text.encode("ascii")
            headers = (*headers, _FORM)
        try:
            wire = self._spot_wire() if endpoint.on_spot else self._wire
            is_read = endpoint.method == "GET" and (endpoint.signed or endpoint is self.time_endpoint)
            timeout_ms = min(READ_TIMEOUT_MS, self.timeout_ms) if is_read else None
            answer = await wire.request(endpoint.method, target, headers, data, timeout_ms=timeout_ms)
        except WireFailed as error:
            self._lost += 1
            return Reply(None, None, str(error), b"", {}, fence_ms)
        status, got, body = answer.status, answer.headers, answer.body
        self._lost = self._lost + 1 if status >= 500 else 0
        self.hosts.check(got)
        self.governor.answered(ticket, got)
        if status == 200:
            return Reply(200, None, "", body, got, fence_ms)
        code, message = _refusal(body)
        self.refused(ticket, status, code, message, got)
        return Reply(status, code, message, body, got, fence_ms)

    async def ask(self, endpoint: Endpoint, params: Params, lane: Lane = Lane.QUERY) -> Any:
        """The typed answer of a read, or of a setting that may be set again.

        Raises ExchangeRefused with the exchange's code, or ExchangeUnreachable: then nothing is known.
        """
        return read_reply(endpoint, await self.send(endpoint, params, lane))

    # -- what a request needs, whichever way it goes -----------------------------------------------

    async def admit(self, endpoint: Endpoint, lane: Lane, deadline_ms: int | None) -> Ticket:
        """Permission to send now. Raises as ``send`` does, with nothing sent."""
        if endpoint.signed and self._time_refused:
            await self._resync(lane)
        if self.key_refused is not None and (endpoint.signed or endpoint.keyed) and lane >= Lane.ENTRY:
            raise KeyRefused(f"account {self.account}: {self.key_refused}")
        return await self.governor.take(lane, endpoint.cost, self.account, deadline_ms)

    async def _resync(self, lane: Lane) -> None:
        """Measure the time that was refused. What protects does not wait long for that: a refusal for its
        time is proof that it was not taken, and costs nothing."""
        if self._resyncing is None or self._resyncing.done():
            self._resyncing = asyncio.ensure_future(self.sync_time())
            self._resyncing.add_done_callback(_heard)
        if lane <= Lane.PROTECT:
            await asyncio.wait({self._resyncing}, timeout=RESYNC_PATIENCE_S)
        else:
            await asyncio.shield(self._resyncing)

    def stamped(
        self, params: Params, lane: Lane = Lane.QUERY, *, changes: bool = True
    ) -> tuple[list[tuple[str, Param]], int]:
        """The parameters with window and time, and our time after which nobody can accept them any more.

        changes: is it more than a read? Raises LeaseTooShort if another process may own the account before.
        """
        stamp_ms = self.server.now_ms()
        fence_ms = self.server.local_ms(stamp_ms + self.recv_window_ms) + self.server.error_ms
        ends = self.entry_end_ms if lane is Lane.ENTRY and self.entry_end_ms else self._lease_end_ms
        if ends is not None and (end_ms := ends()) < fence_ms:
            raise LeaseTooShort(end_ms, fence_ms)
        if changes and self.arm is not None and not self.arm():
            raise LeaseTooShort(0, fence_ms)
        return [*params, ("recvWindow", self.recv_window_ms), ("timestamp", stamp_ms)], fence_ms

    @property
    def is_reachable(self) -> bool:
        """Does the exchange answer? Not in a ban, nor after LOST_MAX requests in a row without answer."""
        return self._lost < LOST_MAX and self.server.now_ms() >= self.governor.banned_until_ms

    @property
    def credentials(self) -> Credentials:
        """Of this account. Raises InternalError on a connection for public data."""
        if self._credentials is None:
            raise InternalError("this needs a key, and this connection has none")
        return self._credentials

    def refused(
        self, ticket: Ticket, status: int, code: int | None, text: str, headers: Mapping[str, str]
    ) -> None:
        """Take what a refusal says about limits, key and time."""
        if status in (429, 418):
            self.governor.refused(ticket, status, code, text, headers)
        self._note(code, text)

    def _spot_wire(self) -> Wire:
        if self._spot is None:
            self._spot = Wire(
                self.hosts.spot, timeout_ms=self.timeout_ms, size_max=parse.SIZE_MAX, tls=self._tls
            )
        return self._spot

    def _prepared(self, endpoint: Endpoint, params: Params, lane: Lane) -> tuple[str, tuple[str, ...], int]:
        if not (endpoint.signed or endpoint.keyed):
            return query(params), (), 0
        headers = (f"X-MBX-APIKEY: {self.credentials.api_key}",)
        if not endpoint.signed:
            return query(params), headers, 0
        stamped, fence_ms = self.stamped(params, lane, changes=endpoint.method != "GET")
        return signed_query(stamped, self.credentials), headers, fence_ms

    def _note(self, code: int | None, text: str) -> None:
        then = None if code is None else REFUSALS.get(code)
        if then is Then.HALT:
            self.key_refused = f"{code}: {text}"
        elif then is Then.RESYNC:
            self._time_refused = True


def _heard(task: asyncio.Task[None]) -> None:
    """Whoever waited has been told; who did not wait need not know."""
    if not task.cancelled():
        task.exception()


def read_reply(endpoint: Endpoint, reply: Reply) -> Any:
    """The typed answer of a read. Raises ExchangeRefused, ExchangeUnreachable, MalformedAnswer."""
    if reply.is_success:
        return parse.read(endpoint.shape, reply.body)  # type: ignore[arg-type]  # some are unions
    if reply.status is not None and reply.status < 500 and reply.code is not None:
        raise ExchangeRefused(endpoint.path, reply.code, reply.text)
    raise ExchangeUnreachable(f"{endpoint.path}: {reply.status or 'no answer'} {reply.text}")


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
    """For logs and journals: no control characters, no long pages, no key that a proxy's page repeats."""
    return quoted(text, _TEXT_MAX)


__all__ = ["MalformedAnswer", "Params", "Reply", "Rest", "read_reply"]
