"""serve(): a running exchange as an async context manager, and the path of one REST request."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.exchange.core import market as market_rules
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core import settling
from perpdesk.exchange.core.contracts import contracts_of, universe_of
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import World
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import (
    accounting,
    control,
    public,
    restrictions,
    spot_account,
    spot_alpha,
    spot_public,
    spot_trading,
    spot_wsapi,
    trading,
    wsapi,
)
from perpdesk.exchange.server.call import Answer, Call, Endpoint
from perpdesk.exchange.server.garbling import emptied, garbled
from perpdesk.exchange.server.lockstep import LockstepReplay
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.pausing import pause
from perpdesk.exchange.server.running import RunningServer
from perpdesk.exchange.server.security import public_key, signed_text
from perpdesk.exchange.server.sources import Replay
from perpdesk.exchange.server.spot_call import window as spot_window
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.instruments import bundled

ENDPOINTS = {**public.TABLE, **trading.TABLE, **accounting.TABLE, **restrictions.TABLE}
ENDPOINTS |= {**spot_public.TABLE, **spot_trading.TABLE, **spot_account.TABLE, **spot_alpha.TABLE}
_JSON = "application/json"
_BODY_MAX = 1 << 20
_FLAT_MINUTES = 1_500  # of history where prices stand by themselves
_WITHOUT_TIME = re.compile(r"&?(timestamp|signature|recvWindow)=[^&]*")
LATE = Refusal(
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    408,
)
encode = msgspec.json.Encoder().encode


def build(options: ServeOptions) -> RunningServer:
    """A server that does not listen yet. Raises InputError for prices and symbols that do not fit."""
    if options.rules.fills == "kernel" and (options.tape is None or not options.lockstep):
        raise InputError("kernel needs a tape and --lockstep: the path waits for the client", field="--fills")
    if options.tape is not None:
        universe = options.tape.universe
    else:
        known = options.instruments if options.instruments is not None else bundled()
        missing = [symbol for symbol in options.prices if symbol not in known]
        if missing:
            raise InputError(f"no instrument describes {', '.join(missing)}", field="prices")
        universe = universe_of([known[symbol] for symbol in options.prices])
    world = World(universe, contracts_of(universe), options.rules)
    settling.warm_up(world)
    server = RunningServer(options, world)
    start_ms = options.tape.start_ms if options.tape is not None else options.clock.now_ms()
    world.now_ms = start_ms
    for _ in range(options.accounts):
        server.add_account()
    for i, (api_key, pem) in enumerate(options.public_keys):
        server.gate.add(public_key(min(i, options.accounts - 1), api_key, pem))
    for account, pem in options.key_files:
        if not 0 <= account < options.accounts:
            raise InputError(f"there is no account {account}: they are 0 to {options.accounts - 1}",
                             field="--public-key")  # fmt: skip
        signer = public_key(account, secrets.token_hex(32), pem)
        server.gate.add(signer)
        server.signed_keys.append(signer)
    if options.tape is None:
        for symbol, price in options.prices.items():
            contract = world.by_symbol[symbol]
            price_units = units.price_to_units(price, contract.price_digits)
            past_ms = start_ms - _FLAT_MINUTES * MINUTE_MS
            server.publisher.candles[contract.index].see(price_units, 0, True, past_ms)
            market_rules.tick(world, contract.index, price_units, start_ms)
    if options.tape is not None:
        kernel_fills = options.rules.fills == "kernel"
        server.replay = (LockstepReplay if kernel_fills else Replay)(server, options.start_step)
    server.spot.open_market(start_ms)
    server.flush()
    return server


@asynccontextmanager
async def serve(options: ServeOptions) -> AsyncIterator[RunningServer]:
    """Listen on ``options.host`` and ``options.port`` (0: any free one) until the block is left."""
    server = build(options)
    application = web.Application(client_max_size=_BODY_MAX)
    application.on_response_prepare.append(_mark)

    async def entrance(request: web.Request) -> web.StreamResponse:
        return await answer(server, request)

    application.router.add_route("*", "/{path:.*}", entrance)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port, ssl_context=options.tls)
    await site.start()
    port = runner.addresses[0][1]
    tls = "s" if options.tls is not None else ""
    server.rest_url = f"http{tls}://{options.host}:{port}"
    server.ws_url = f"ws{tls}://{options.host}:{port}"
    tasks = [asyncio.ensure_future(_pulse(server))]
    if server.replay is not None and options.speed is not None and not options.lockstep:
        tasks.append(asyncio.ensure_future(server.replay.play(options.speed)))
    for task in tasks:
        task.add_done_callback(_tell_failure)
    try:
        yield server
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in (*server.hub.connections, *server.spot.hub.connections):
            connection.close(1001)
        await runner.cleanup()


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    """Say on every answer, handshakes too, that this is no real exchange: live clients refuse it by this."""
    response.headers["X-Perpdesk-Simulated"] = "1"


def _tell_failure(task: asyncio.Task[None]) -> None:
    """A market that stops by itself is a bug: say so at once."""
    if task.cancelled() or task.exception() is None:
        return
    context = {"message": "the exchange's market has stopped", "exception": task.exception(), "task": task}
    task.get_loop().call_exception_handler(context)


async def _pulse(server: RunningServer) -> None:
    """Timers and periodic streams, in machine time."""
    while True:
        await pause(server.options.pulse_ms)
        if not server.follows_tape:
            server.pass_time(server.now_ms())
        server.publisher.pulse(int(time.perf_counter() * 1000))


async def answer(server: RunningServer, request: web.Request) -> web.StreamResponse:
    """REST, WebSocket or control, by path."""
    path = request.path
    if request.headers.get("Upgrade", "").lower() == "websocket":
        if path.startswith("/ws-api/"):
            return await spot_wsapi.serve(server, request)
        if any(key in request.path_qs for key in server.spot.listen_keys.owners):
            return await server.spot.hub.serve(request)
        if path.startswith("/ws-fapi/"):
            return await wsapi.serve(server, request)
        return await server.hub.serve(request)
    if path == "/control" and server.options.control and request.method == "POST":
        return await control.answer(server, request)
    endpoint = ENDPOINTS.get((request.method, path))
    if endpoint is None:
        server.unknown_paths.append(f"{request.method} {path}")
        return web.Response(status=404)
    body = (await request.read()).decode("utf-8", "replace")
    asked = Asked(request, endpoint, request.raw_path.partition("?")[2], body)
    route = f"{request.method} {path}"
    fault = server.faults.request(route, server.now_ms()) if server.faults.faults else None
    if fault is not None:
        return await _faulty(server, asked, fault, route)
    return _respond(server, asked, carry_out(server, asked))


@dataclass(slots=True)
class Asked:
    """One request as it came in, and what is learned of it on the way."""

    request: web.Request
    endpoint: Endpoint
    query: str
    body: str
    account: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


async def _faulty(server: RunningServer, asked: Asked, fault: Fault, route: str) -> web.StreamResponse:
    """The same request with something going wrong on purpose."""
    kind = fault.kind
    if kind == "slow" and fault.form != "answer":
        await pause(fault.ms)
    if kind == "late-exec":
        asyncio.get_running_loop().call_later(fault.ms / 1000, carry_out, server, asked)
        return _respond(server, asked, LATE)
    executes = kind not in ("drop-req", "hide", "stale") and (kind != "reply" or fault.executes)
    found = carry_out(server, asked) if executes else None
    if kind == "slow":
        await pause(fault.ms if fault.form == "answer" else 0)
        return _respond(server, asked, found)
    if kind in ("drop-req", "drop-resp"):
        transport = asked.request.transport
        if transport is not None:
            transport.abort()
        return web.Response(status=499)
    if kind == "reply":
        if fault.body is not None:
            return web.Response(status=fault.http, text=fault.body, content_type="text/plain")
        return _respond(server, asked, Refusal(fault.code, fault.msg, fault.http))
    if kind == "hide":
        return _respond(server, asked, no.UNKNOWN_ORDER if route.startswith("DELETE") else no.NO_ORDER)
    if kind == "stale":
        old = server.last_answers.get(route + "?" + _WITHOUT_TIME.sub("", asked.query))
        if old is not None:
            return web.Response(status=200, body=old, content_type=_JSON)
        return _respond(server, asked, carry_out(server, asked))
    if kind == "empty":
        return _respond(server, asked, found if isinstance(found, Refusal) else emptied(found))
    body, content_type = garbled(found.body() if isinstance(found, Refusal) else found, fault.form)
    return web.Response(status=200, body=body, content_type=content_type)


def parse_params(query: str, body: str) -> dict[str, str]:
    """Query and body together; a name in both: the query's value."""
    params = dict(parse_qsl(body, keep_blank_values=True)) if body else {}
    params.update(parse_qsl(query, keep_blank_values=True))
    return params


def carry_out(server: RunningServer, asked: Asked) -> Answer:
    """Judge and do one request; its events go out before its answer is written."""
    now_ms = server.now_ms()
    if not server.follows_tape:
        server.pass_time(now_ms)
    found = _judge(server, asked, parse_params(asked.query, asked.body), now_ms)
    server.flush()
    return found


def _judge(server: RunningServer, asked: Asked, params: dict[str, str], now_ms: int) -> Answer:
    endpoint, request = asked.endpoint, asked.request
    limits = server.limits_of(endpoint)
    charged = limits.charge(
        request.remote or "", endpoint.pool, endpoint.weight_of(params), server.session_ms()
    )
    refusal, wait_s = charged
    if refusal is not None:
        if server.options.retry_after:
            asked.headers["Retry-After"] = str(wait_s)
        return refusal
    call = Call(server, params, now_ms)
    if endpoint.security != "NONE":
        keys = server.gate.key(request.headers.get("X-MBX-APIKEY"))
        if isinstance(keys, Refusal):
            return keys
        asked.account = keys.account
        call.account_or_none = server.world.accounts[keys.account]
        call.api_key = keys.api_key
        if endpoint.security == "SIGNED":
            spot, shown_ms = endpoint.side == "spot", server.shown_ms()
            text = signed_text(asked.query, asked.body)
            wrong = server.gate.signature(keys, params, text, raw_only=spot)
            if wrong is None and spot:
                wrong = spot_window(server.gate, params, shown_ms)
            elif wrong is None:
                wrong = server.gate.window(params, shown_ms)
            if wrong is not None:
                return wrong
    if endpoint.orders is not None and asked.account is not None:
        crowded = limits.count_orders(asked.account, *endpoint.orders, server.session_ms())
        if crowded is not None:
            return crowded
    return endpoint.answer(call)


def _respond(server: RunningServer, asked: Asked, found: Answer) -> web.Response:
    status = 200
    if isinstance(found, Refusal):
        status, found = found.http, found.body()
    now_ms = server.session_ms()
    headers = asked.headers
    limits = server.limits_of(asked.endpoint)
    headers["X-MBX-USED-WEIGHT-1M"] = str(limits.used(asked.request.remote or "", now_ms))
    if asked.endpoint.orders is not None and asked.account is not None:
        ten, long = limits.orders_used(asked.account, now_ms)
        headers["X-MBX-ORDER-COUNT-10S"] = str(ten)
        longer = "1D" if asked.endpoint.side == "spot" else "1M"
        headers[f"X-MBX-ORDER-COUNT-{longer}"] = str(long)
    body = encode(found)
    if status == 200 and asked.request.method == "GET" and server.options.control:
        key = f"GET {asked.request.path}?" + _WITHOUT_TIME.sub("", asked.query)
        server.last_answers[key] = body
    return web.Response(status=status, body=body, content_type=_JSON, headers=headers)


__all__ = ["ENDPOINTS", "answer", "build", "parse_params", "serve"]
