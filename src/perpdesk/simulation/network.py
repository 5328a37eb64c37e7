"""The wire between the real client and the real exchange, without sockets.

HTTP goes through the client's own framing (``Loop.create_connection`` leads here) to the exchange's own
entrance for requests; streams go from the exchange's own hub to the client's lines. Every message takes time,
in both directions; what the plan of faults breaks is broken by the exchange, what belongs to the wire is
broken here.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.sockets import ALIVE
from perpdesk.exchange.server import RunningServer, app
from perpdesk.exchange.server.listen import ListenKeys
from perpdesk.exchange.server.sockets import Connection, parse_path
from perpdesk.exchange.server.wsapi import Session, encode, respond
from perpdesk.simulation.loop import OWNER, WORLD, Incarnation, Loop
from perpdesk.simulation.trace import Trace

ADDRESS = "127.0.0.1"
URL = f"http://{ADDRESS}:9"
_ABNORMAL = 1006
_REASONS = {200: "OK"}


class NumberedKeys(ListenKeys):
    """Listen keys that a seed repeats."""

    made = 0

    def start(self, account: int, now_ms: int) -> str:
        """As the exchange does it, with a counted key."""
        if account not in self.active:
            self.made += 1
            key = f"{account}x{self.made}".ljust(64, "k")
            self.active[account] = key
            self.owners[key] = account
        return super().start(account, now_ms)


class NumberedConnection(Connection):
    """A connection with a number instead of an address: sets of them are walked."""

    number = 0

    def __hash__(self) -> int:
        return self.number


@dataclass
class Sent:
    """A request that the exchange has seen. us: when it arrived; signed_ms: what it says itself."""

    us: int
    sender: Incarnation | None
    method: str
    path: str
    params: dict[str, str]
    status: int = 0

    @property
    def client_id(self) -> str:
        """Of a new order, "" for anything else."""
        return self.params.get("newClientOrderId") or self.params.get("clientAlgoId") or ""


@dataclass
class Weather:
    """What is wrong with the wire just now. Times in ms."""

    is_down: bool = False
    streams_down: bool = False
    requests_down: bool = False
    latency_ms: int = 5
    jitter_ms: int = 10
    reset_ppm: int = 0  # connections that break in the middle of an answer


class Network:
    """One exchange and all that is connected to it. on_arrival: before a request is carried out; on_request:
    after it is answered."""

    def __init__(self, loop: Loop, server: RunningServer, trace: Trace, seed: int) -> None:
        self.loop, self.server, self.trace = loop, server, trace
        self.random = random.Random(f"network {seed}")
        self.weather = Weather()
        self.fired: Counter[str] = Counter()
        self.sent: deque[Sent] = deque(maxlen=4_000)
        self.senders: dict[str, Incarnation] = {}  # who first used a client id
        self.on_arrival: Callable[[Sent], None] | None = None
        self.on_request: Callable[[Sent, web.Response], None] | None = None
        self.on_heard: Callable[[Sent], None] | None = None  # a process has the whole answer
        self.on_write: Callable[[bytes], None] | None = None  # a request leaves a process
        self.on_told: Callable[[Incarnation | None, bytes], None] | None = None  # a process reads a message
        self.requests = 0
        self.messages = 0
        self._connections = 0
        self._transports: list[Transport] = []
        self._streams: list[Stream] = []
        server.listen_keys = NumberedKeys(server.options.listen_key_ms)

    def address_of(self, sender: Incarnation | None) -> str:
        """Where its requests come from: everybody's limits are one address's."""
        return ADDRESS

    def delay_us(self) -> int:
        """How long something is on the way."""
        weather = self.weather
        return weather.latency_ms * 1000 + self.random.randrange(weather.jitter_ms * 1000 + 1)

    # -- HTTP ----------------------------------------------------------------------------------

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> tuple[Transport, asyncio.Protocol]:
        """A connection for requests. Raises OSError while nothing can be reached."""
        await self.loop.pause(self.delay_us() // 1000)
        if self.weather.is_down or self.weather.requests_down:
            raise ConnectionRefusedError(111, "no route")
        protocol = factory()
        transport = Transport(self, protocol)
        protocol.connection_made(transport)
        self._transports.append(transport)
        return transport, protocol

    def arrive(self, transport: Transport, raw: bytes, sender: Incarnation | None) -> None:
        """A whole request is at the exchange."""
        if self.weather.is_down or self.weather.requests_down:
            self.fired["NET-07 outage"] += 1
            return
        self.loop.create_task(self._serve(transport, raw, sender), name="exchange", context=_world())

    async def _serve(self, transport: Transport, raw: bytes, sender: Incarnation | None) -> None:
        request = Request(raw, self.address_of(sender))
        params = app.parse_params(request.query, request.body)
        sent = Sent(self.loop.now_us, sender, request.method, request.path, params)
        for name in ("newClientOrderId", "clientAlgoId"):
            if sender is not None and name in params:
                self.senders.setdefault(params[name], sender)
        self.requests += 1
        self.sent.append(sent)  # some are carried out long before they are answered
        self.trace.say(
            "request", f"{'-' if sender is None else sender.number} {request.method} {request.target}",
            request.body.encode(),
        )  # fmt: skip
        if self.on_arrival is not None:
            self.on_arrival(sent)
        answer = await app.answer(self.server, request)  # type: ignore[arg-type]
        assert isinstance(answer, web.Response)
        sent.status = answer.status
        if self.on_request is not None:
            self.on_request(sent, answer)
        if request.transport.is_aborted:
            self.trace.say("lost", request.path)
            if self.random.random() < 0.5:  # the connection breaks; else there is silence
                transport.later(transport.break_off)
            return
        body = answer.body if isinstance(answer.body, bytes) else b""
        self.trace.say("answer", f"{answer.status}", body)
        head = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Said')}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items() if name != "Content-Length"]
        head += [f"Content-Length: {len(body)}", "X-Perpdesk-Simulated: 1", "", ""]
        message = "\r\n".join(head).encode() + body
        if self.weather.reset_ppm and self.random.randrange(1_000_000) < self.weather.reset_ppm:
            self.fired["NET-04 connection dies in the body"] += 1
            transport.later(transport.receive, message[: len(message) // 2])
            transport.later(transport.break_off)
        else:
            transport.later(transport.receive, message, sent)

    def longest_inbox(self) -> int:
        """Messages that a client has been sent on one socket and has not read."""
        return max((len(one.inbox) for one in self._streams if not one.is_closed), default=0)

    def open_connections(self) -> int:
        """Of all processes that live: sockets and connections for requests."""
        self._streams = [one for one in self._streams if not one.is_closed]
        self._transports = [one for one in self._transports if not one.is_closing()]
        return len(self._streams) + sum(1 for one in self._transports if not one.is_orphan)

    def cut_all(self) -> None:
        """Every connection breaks now."""
        for transport in self._transports:
            transport.break_off()
        self._transports.clear()
        for connection in self.connections():
            connection.close(_ABNORMAL)

    def break_resting(self) -> None:
        """Connections that carry no request are closed by the other side, unheard."""
        self._transports = [one for one in self._transports if not one.is_closing()]
        for transport in self._transports:
            transport.is_deaf = True

    # -- streams -------------------------------------------------------------------------------

    def connections(self) -> list[Connection]:
        """All open stream connections, in the order of their opening."""
        found = list(self.server.hub.connections)
        return sorted(found, key=lambda one: hash(one))

    async def dial(self, url: str) -> Stream:
        """A client's ``Dial``."""
        await self.loop.pause(self.delay_us() // 500)
        weather = self.weather
        if weather.is_down or weather.streams_down:
            self.fired["NET-08 streams down"] += 1
            raise ExchangeUnreachable("socket: no route")
        parts = urlsplit(url)
        self._connections += 1
        stream = Stream(self, contextvars.copy_context())
        self._streams.append(stream)
        if parts.path.startswith("/ws-fapi/"):
            stream.session = Session(self.server, ADDRESS, True, self.server.session_ms())
            return stream
        route, combined, names, keys = parse_path(parts.path, parts.query)
        connection = NumberedConnection(
            stream,  # type: ignore[arg-type]
            route,
            combined,
            self.server.session_ms(),
            queue=stream,  # type: ignore[arg-type]
        )
        connection.number = self._connections
        stream.connection = connection
        hub = self.server.hub
        hub.connections.add(connection)
        for key, events in keys:
            connection.keys[key] = events
            connection.streams[key] = key
            if route == "private":
                hub.users.setdefault(key, set()).add(connection)
        hub.subscribe(connection, names)
        owner = OWNER.get()
        if owner is not None:
            owner.on_death.append(stream.hang_up)
        return stream


class Transport(asyncio.Transport):
    """The client's end of an HTTP connection. What arrives is handled in the client's own context."""

    def __init__(self, network: Network, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._network, self._protocol = network, protocol
        self._context = contextvars.copy_context()
        self._owner = OWNER.get()
        self._is_closed = False
        self._last_us = 0
        self.is_deaf = False  # the other side has closed it and the client does not know

    def write(self, data: Any) -> None:
        network = self._network
        if self.is_deaf:
            self.later(self.break_off)
            return
        if self._is_closed or (self._owner is not None and self._owner.is_dead):
            return
        if network.on_write is not None:
            network.on_write(bytes(data))
        when_us = network.loop.now_us + network.delay_us()
        network.loop.call_at_us(when_us, network.arrive, self, bytes(data), self._owner, context=_world())

    def later(self, act: Callable[..., None], *args: object) -> None:
        """Let something happen at the client's end, after the way back, in order."""
        loop = self._network.loop
        self._last_us = max(self._last_us + 1, loop.now_us + self._network.delay_us())
        loop.call_at_us(self._last_us, act, *args, context=self._context)

    def receive(self, data: bytes, answered: Sent | None = None) -> None:
        """Bytes for the client. answered: the request that they are the whole answer to."""
        if self._is_closed or self._network.weather.is_down:
            return
        self._protocol.data_received(data)
        if answered is not None and self._network.on_heard is not None:
            self._network.on_heard(answered)

    def break_off(self) -> None:
        """The connection is reset."""
        if not self._is_closed:
            self._is_closed = True
            self._protocol.connection_lost(ConnectionResetError(104, "reset"))

    @property
    def is_orphan(self) -> bool:
        """Has its process died?"""
        return self._owner is not None and self._owner.is_dead

    def close(self) -> None:
        self._is_closed = True

    def abort(self) -> None:
        self._is_closed = True

    def is_closing(self) -> bool:
        return self._is_closed


class _Aborter:
    """The exchange drops a request by aborting its transport."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class Request:
    """A request as the exchange's entrance reads it."""

    def __init__(self, raw: bytes, remote: str = ADDRESS) -> None:
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.path, _, self.query = self.target.partition("?")
        self.raw_path = self.target
        pairs = (line.partition(": ") for line in lines)
        self.headers: CIMultiDict[str] = CIMultiDict((name, value) for name, _, value in pairs)
        self.body = body.decode("utf-8", "replace")
        self._raw_body = body
        self.remote = remote
        self.transport = _Aborter()

    async def read(self) -> bytes:
        """The body."""
        return self._raw_body


class Stream:
    """Both ends of one socket: the client's Socket, and the queue into which the exchange's hub speaks."""

    def __init__(self, network: Network, context: contextvars.Context) -> None:
        self._network, self._context = network, context
        self.connection: Connection | None = None
        self.session: Session | None = None
        self.inbox: deque[bytes | None] = deque()
        self._way: deque[bytes | None] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._last_us = 0
        self.is_closed = False

    # -- the client's end ----------------------------------------------------------------------

    async def receive(self) -> bytes | None:
        """The next message; ALIVE for a pong; None once it is closed."""
        while not self.inbox:
            if self.is_closed:
                return None
            self._waiter = self._network.loop.create_future()
            await self._waiter
        message = self.inbox.popleft()
        if message is None:
            self.is_closed = True
        elif self._network.on_told is not None:
            self._network.on_told(OWNER.get(), message)
        return message

    async def send(self, text: str) -> None:
        """A control message, or a request over the WebSocket API."""
        self._refuse_closed()
        network = self._network
        sender = OWNER.get()
        when_us = network.loop.now_us + network.delay_us()
        network.loop.call_at_us(when_us, self._heard, text, sender, context=_world())

    async def ping(self) -> None:
        """A pong comes back unless the connection is dead."""
        self._refuse_closed()
        loop, delay_us = self._network.loop, self._network.delay_us()
        loop.call_at_us(loop.now_us + delay_us, self._pong, context=_world())

    async def close(self) -> None:
        """Hang up."""
        self.hang_up()
        self._arrive_now(None)

    def hang_up(self) -> None:
        """The client is gone; the exchange notices."""
        if self.connection is not None:
            self._network.server.hub.drop(self.connection)
        self.is_closed = True

    def _refuse_closed(self) -> None:
        weather = self._network.weather
        if self.is_closed or (self.connection is not None and self.connection.closing):
            raise ExchangeUnreachable("socket: closed")
        if weather.is_down or weather.streams_down:
            return  # what is said now is heard by nobody

    # -- the exchange's end: what Connection.queue must do -------------------------------------

    def put_nowait(self, message: bytes | None) -> None:
        """Say something to the client (None: the end)."""
        network = self._network
        weather = network.weather
        if (weather.is_down or weather.streams_down) and message is not None:
            return
        network.messages += 1
        if message is None:
            self.hang_up_by_exchange()
        self._last_us = max(self._last_us + 1, network.loop.now_us + network.delay_us())
        number = 0 if self.connection is None else hash(self.connection)
        network.trace.say("stream", str(number), message or b"closed")
        self._way.append(message)
        network.loop.call_at_us(self._last_us, self._arrive, context=self._context)

    def full(self) -> bool:
        """Never."""
        return False

    def hang_up_by_exchange(self) -> None:
        """It will not be heard any more."""
        if self.connection is not None:
            self._network.server.hub.drop(self.connection)

    def _pong(self) -> None:
        weather = self._network.weather
        connection = self.connection
        if weather.is_down or weather.streams_down or (connection is not None and connection.silent):
            return
        self.put_nowait(ALIVE)

    def _heard(self, text: str, sender: Incarnation | None) -> None:
        network = self._network
        if network.weather.is_down or network.weather.streams_down:
            return
        if self.session is not None:
            network.requests += 1
            network.trace.say("request", f"{'-' if sender is None else sender.number} socket", text.encode())
            self.put_nowait(encode(respond(self.session, text)))
        elif self.connection is not None:
            network.server.hub._control(self.connection, text)

    def _arrive(self) -> None:
        self._arrive_now(self._way.popleft())

    def _arrive_now(self, message: bytes | None) -> None:
        self.inbox.append(message)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _world() -> contextvars.Context:
    """A fresh context of the world's (one context cannot be entered twice)."""
    return WORLD.copy()


__all__ = ["ADDRESS", "URL", "Network", "Sent", "Stream", "Weather"]
