"""WebSocket connections: routes, subscriptions, control messages, and bounded sending (reference §10)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from perpdesk.exchange.server.heartbeat import beating, socket_for
from perpdesk.exchange.server.limits import Bucket

if TYPE_CHECKING:
    from perpdesk.exchange.faults import Plan
    from perpdesk.exchange.server.listen import ListenKeys
    from perpdesk.exchange.server.options import ServeOptions

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_STREAMS_MAX, _INCOMING_MAX, _QUEUE_MAX = 1_024, 10, 50_000
_PUBLIC = ("bookTicker", "depth", "rpiDepth", "trade")
_DAY_MS = 86_400_000
_CLOSE_POLICY, _CLOSE_GOING_AWAY = 1008, 1001
encode = msgspec.json.Encoder().encode


def canonical(stream: str) -> str:
    """One spelling per stream: symbols in lower case."""
    if stream.startswith("!"):
        return stream
    symbol, at, rest = stream.partition("@")
    return symbol.lower() + at + rest


def route_of(stream: str) -> frozenset[str]:
    """The routes on which a stream flows."""
    kind = stream.rpartition("@")[0] and stream.split("@")[1] or stream.lstrip("!")
    name = kind.rstrip("0123456789") if kind.startswith("depth") else kind
    if name == "trade":
        return frozenset({"public", "market"})
    return frozenset({"public"}) if name in _PUBLIC else frozenset({"market"})


@dataclass(eq=False)
class Connection:
    """One socket. ``streams``: canonical name → the name that the client used."""

    socket: web.WebSocketResponse
    route: str
    combined: bool
    opened_ms: int
    streams: dict[str, str] = field(default_factory=dict)
    keys: dict[str, frozenset[str] | None] = field(default_factory=dict)
    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(_QUEUE_MAX))
    incoming: Bucket = field(default_factory=lambda: Bucket(1_000))
    silent: bool = False
    closing: int = 0
    held: bytes | None = None

    def send(self, message: bytes) -> None:
        """Queue a message; a reader that is too slow is cut off."""
        if self.silent or self.closing:
            return
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.close(_CLOSE_POLICY)

    def speak(self) -> None:
        """The silence is over; what was said meanwhile is lost."""
        self.silent = False

    def close(self, code: int) -> None:
        """End the connection from our side."""
        self.closing = code
        if not self.queue.full():
            self.queue.put_nowait(None)
        else:
            self.queue.get_nowait()
            self.queue.put_nowait(None)


class Host(Protocol):
    """Whose events these are: the futures or the Spot half of a server."""

    options: ServeOptions
    listen_keys: ListenKeys

    @property
    def faults(self) -> Plan: ...
    def now_ms(self) -> int: ...
    def session_ms(self) -> int: ...


class Hub:
    """Who listens to what."""

    def __init__(self, server: Host) -> None:
        self._server = server
        self.connections: set[Connection] = set()
        self.listeners: dict[str, set[Connection]] = {}
        self.users: dict[str, set[Connection]] = {}

    def subscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Add market streams and listen keys; a stream of another route is accepted and stays silent."""
        for name in names:
            if name in self._server.listen_keys.owners or (len(name) == 64 and "@" not in name):
                connection.keys.setdefault(name, None)
                connection.streams[name] = name
                if self._may_user(connection):
                    self.users.setdefault(name, set()).add(connection)
                continue
            stream = canonical(name)
            connection.streams[stream] = name
            if self._may(connection, stream):
                self.listeners.setdefault(stream, set()).add(connection)

    def _may(self, connection: Connection, stream: str) -> bool:
        routes = route_of(stream)
        if connection.route == "legacy":
            return self._server.options.ws_legacy == "full" or "public" in routes
        return connection.route in routes

    def _may_user(self, connection: Connection) -> bool:
        legacy = connection.route == "legacy" and self._server.options.ws_legacy == "full"
        return legacy or connection.route == "private"

    def unsubscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Take streams away."""
        for name in names:
            for key in (name, canonical(name)):
                connection.streams.pop(key, None)
                connection.keys.pop(key, None)
                for table in (self.listeners, self.users):
                    if key in table:
                        table[key].discard(connection)
                        if not table[key]:
                            del table[key]

    def drop(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self.unsubscribe(connection, [*connection.streams, *connection.keys])

    def end_old(self, now_ms: int) -> None:
        """No connection lives longer than a day."""
        for connection in tuple(self.connections):
            if now_ms - connection.opened_ms >= _DAY_MS:
                connection.close(_CLOSE_GOING_AWAY)

    def publish(self, stream: str, payload: object) -> None:
        """Send a market message to everybody who listens to this stream."""
        listeners = self.listeners.get(stream)
        if not listeners:
            return
        raw = encode(payload)
        for connection in tuple(listeners):
            message = wrapped(connection, connection.streams.get(stream, stream), raw)
            self._deliver(connection, stream, message)

    def is_heard(self, account: int) -> bool:
        """Does any socket listen to the account's events?"""
        key = self._server.listen_keys.active.get(account)
        return key is not None and key in self.users

    def publish_user(self, account: int, event: dict[str, Any]) -> bool:
        """Send a user event to the sockets of the account's listen key; False: there is none to hear it."""
        key = self._server.listen_keys.active.get(account)
        if key is None or key not in self.users:
            return False
        self.send_user(key, event)
        return True

    def send_user(self, key: str, event: dict[str, Any]) -> None:
        """Send to one listen key, as far as the connection asked for such events."""
        raw: bytes | None = None
        for connection in tuple(self.users.get(key, ())):
            wanted = connection.keys.get(key)
            if wanted is not None and event["e"] not in wanted:
                continue
            raw = encode(event) if raw is None else raw
            self._deliver(connection, f"user:{event['e']}", wrapped(connection, key, raw))

    def _deliver(self, connection: Connection, route: str, message: bytes) -> None:
        """Send, unless the plan has a fault for it."""
        if connection.held is not None:
            held, connection.held = connection.held, None
            connection.send(message)
            connection.send(held)
            return
        plan = self._server.faults
        fault = plan.message(route, self._server.now_ms()) if plan.faults else None
        if fault is None:
            connection.send(message)
            return
        loop = asyncio.get_running_loop()
        if fault.kind == "ws-dup":
            connection.send(message)
            connection.send(message)
        elif fault.kind == "ws-reorder":
            connection.held = message
        elif fault.kind == "ws-lag":
            loop.call_later(fault.ms / 1000, connection.send, message)
        elif fault.kind == "ws-silent":
            connection.silent = True
            if fault.ms:
                loop.call_later(fault.ms / 1000, connection.speak)
        elif fault.kind == "ws-close":
            connection.close(fault.code or 1006)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One stream connection from handshake to end."""
        route, combined, streams, keys = parse_path(request.path, request.rel_url.raw_query_string)
        socket = socket_for(1 << 20)
        await socket.prepare(request)
        connection = Connection(socket, route, combined, self._server.session_ms())
        self.connections.add(connection)
        for key, events in keys:
            connection.keys[key] = events
            connection.streams[key] = key
            if self._may_user(connection):
                self.users.setdefault(key, set()).add(connection)
        self.subscribe(connection, streams)
        writer = asyncio.ensure_future(write_out(connection))
        try:
            async with beating(socket, self._server.options) as texts:
                async for text in texts:
                    now_ms = self._server.options.clock.now_ms()
                    if connection.incoming.add(1, now_ms) > _INCOMING_MAX:
                        connection.close(_CLOSE_POLICY)
                        break
                    self._control(connection, text)
        finally:
            self.drop(connection)
            if not connection.closing:
                writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return socket

    def _control(self, connection: Connection, text: str) -> None:
        connection.send(encode(self._answer(connection, text)))

    def _answer(self, connection: Connection, text: str) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return _error(3, "Invalid JSON: expected value at line 1 column 1", None)
        if not isinstance(request, dict):
            return _error(2, "Invalid request: expected an object at line 1 column 1", None)
        request_id = request.get("id")
        if isinstance(request_id, (bool, float, list, dict)) or (
            isinstance(request_id, int) and request_id < 0
        ):
            return _error(2, "Invalid request: request ID must be an unsigned integer", None)
        if "method" not in request:
            return _error(
                2, f"Invalid request: missing field `method` at line 1 column {len(text)}", request_id
            )
        method = request["method"]
        if method not in _METHODS:
            listed = ", ".join(f"`{one}`" for one in _METHODS)
            problem = (
                f"Invalid request: unknown variant {method}, expected one of {listed} at line 1 column 28"
            )
            return _error(2, problem, request_id)
        params = request.get("params", [])
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not isinstance(params, list) or not all(isinstance(one, str) for one in params):
                return _error(2, "Invalid request: property name must be a string", request_id)
            if method == "UNSUBSCRIBE":
                self.unsubscribe(connection, params)
            elif len({*connection.streams, *params}) > _STREAMS_MAX:
                return _error(2, "Invalid request: too many parameters", request_id)
            else:
                self.subscribe(connection, params)
            return {"result": None, "id": request_id}
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(connection.streams.values()), "id": request_id}
        return _property(connection, method, params, request_id)


def _property(connection: Connection, method: str, params: object, request_id: object) -> dict[str, Any]:
    count = 2 if method == "SET_PROPERTY" else 1
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        return _error(2, "Invalid request: property name must be a string", request_id)
    if len(params) > count:
        return _error(2, "Invalid request: too many parameters", request_id)
    if params[0] != "combined":
        return _error(0, "Unknown property", request_id)
    if method == "GET_PROPERTY":
        return {"result": connection.combined, "id": request_id}
    if len(params) < count or not isinstance(params[1], bool):
        return _error(1, "Invalid value type: expected Boolean", request_id)
    connection.combined = params[1]
    return {"result": None, "id": request_id}


def _error(code: int, message: str, request_id: object) -> dict[str, Any]:
    return {"error": {"code": code, "msg": message}, "id": request_id}


def wrapped(connection: Connection, stream: str, raw: bytes) -> bytes:
    """A payload as this connection wants it: raw, or with the name of its stream."""
    if not connection.combined:
        return raw
    return b'{"stream":' + encode(stream) + b',"data":' + raw + b"}"


async def write_out(connection: Connection) -> None:
    """Send what is queued until the connection is closed."""
    while True:
        message = await connection.queue.get()
        if message is None:
            await connection.socket.close(code=connection.closing)
            return
        try:
            await connection.socket.send_str(message.decode())
        except (ConnectionError, RuntimeError):
            return  # the other side has gone: the reading half ends the connection


Keys = list[tuple[str, frozenset[str] | None]]


def parse_path(path: str, query: str) -> tuple[str, bool, list[str], Keys]:
    """(route, combined, streams, listen keys with their event filters) of a stream URL."""
    parts = [part for part in path.split("/") if part]
    route = parts.pop(0) if parts and parts[0] in ("public", "market", "private") else "legacy"
    combined = bool(parts) and parts.pop(0) == "stream"
    streams: list[str] = []
    keys: Keys = []
    for part in parts:
        if "@" in part or part.startswith("!") or len(part) == 64:
            streams.append(part)
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "streams":
            streams += [one for one in value.split("/") if one]
        elif name == "listenKey":
            keys.append((value, None))
        elif name == "events" and keys:
            keys[-1] = (keys[-1][0], frozenset(value.split("/")))
    return route, combined, streams, keys
