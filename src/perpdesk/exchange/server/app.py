"""serve(): a running exchange as an async context manager, and the path of one REST request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.exchange.core import market as market_rules
from perpdesk.exchange.core.contracts import contracts_of, universe_of
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import World
from perpdesk.exchange.server import accounting, public, trading
from perpdesk.exchange.server.call import Answer, Call, Endpoint
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.running import RunningServer
from perpdesk.exchange.server.security import public_key, signed_text
from perpdesk.market.instruments import bundled

ENDPOINTS = {**public.TABLE, **trading.TABLE, **accounting.TABLE}
_JSON = "application/json"
_BODY_MAX = 1 << 20
encode = msgspec.json.Encoder().encode


def build(options: ServeOptions) -> RunningServer:
    """A server that does not listen yet. Raises InputError for prices and symbols that do not fit."""
    if options.tape is not None:
        universe = options.tape.universe
    else:
        known = options.instruments if options.instruments is not None else bundled()
        missing = [symbol for symbol in options.prices if symbol not in known]
        if missing:
            raise InputError(f"no instrument describes {', '.join(missing)}", field="prices")
        universe = universe_of([known[symbol] for symbol in options.prices])
    world = World(universe, contracts_of(universe), options.rules)
    server = RunningServer(options, world)
    start_ms = options.tape.start_ms if options.tape is not None else options.clock.now_ms()
    world.now_ms = start_ms
    for _ in range(options.accounts):
        server.add_account()
    for i, (api_key, pem) in enumerate(options.public_keys):
        server.gate.add(public_key(min(i, options.accounts - 1), api_key, pem))
    if options.tape is None:
        for symbol, price in options.prices.items():
            contract = world.by_symbol[symbol]
            price_units = units.price_to_units(price, contract.price_digits)
            market_rules.tick(world, contract.index, price_units, start_ms)
    server.flush()
    return server


@asynccontextmanager
async def serve(options: ServeOptions) -> AsyncIterator[RunningServer]:
    """Listen on ``options.host`` and ``options.port`` (0: any free one) until the block is left."""
    server = build(options)
    application = web.Application(client_max_size=_BODY_MAX)

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
    pulse = asyncio.ensure_future(_pulse(server))
    try:
        yield server
    finally:
        pulse.cancel()
        with suppress(asyncio.CancelledError):
            await pulse
        for connection in tuple(server.hub.connections):
            connection.close(1001)
        await runner.cleanup()


async def _pulse(server: RunningServer) -> None:
    """Timers and periodic streams, in machine time."""
    step_ms = server.options.pulse_ms
    stopwatch = time.perf_counter
    never = asyncio.Event()
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(never.wait(), step_ms / 1000)
        if not server.follows_tape:
            server.pass_time(server.now_ms())
        server.publisher.pulse(int(stopwatch() * 1000))


async def answer(server: RunningServer, request: web.Request) -> web.StreamResponse:
    """REST or WebSocket, by path."""
    path = request.path
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await server.hub.serve(request)
    endpoint = ENDPOINTS.get((request.method, path))
    if endpoint is None:
        server.unknown_paths.append(f"{request.method} {path}")
        return web.Response(status=404)
    query = request.raw_path.partition("?")[2]
    body = (await request.read()).decode("utf-8", "replace")
    now_ms = server.now_ms()
    if not server.follows_tape:
        server.pass_time(now_ms)
    address = request.remote or ""
    params = parse_params(query, body)
    headers: dict[str, str] = {}
    found, account = _judge(server, request, endpoint, params, (query, body), address, now_ms, headers)
    server.flush()
    return _respond(server, found, address, account, endpoint, now_ms, headers)


def parse_params(query: str, body: str) -> dict[str, str]:
    """Query and body together; a name in both: the query's value."""
    params = dict(parse_qsl(body, keep_blank_values=True)) if body else {}
    params.update(parse_qsl(query, keep_blank_values=True))
    return params


def _judge(
    server: RunningServer,
    request: web.Request,
    endpoint: Endpoint,
    params: dict[str, str],
    raw: tuple[str, str],
    address: str,
    now_ms: int,
    headers: dict[str, str],
) -> tuple[Answer, int | None]:
    refusal, wait_s = server.limits.charge(address, endpoint.pool, endpoint.weight_of(params), now_ms)
    if refusal is not None:
        if server.options.retry_after:
            headers["Retry-After"] = str(wait_s)
        return refusal, None
    call = Call(server, params, now_ms)
    if endpoint.security != "NONE":
        keys = server.gate.key(request.headers.get("X-MBX-APIKEY"))
        if isinstance(keys, Refusal):
            return keys, None
        call.account_or_none = server.world.accounts[keys.account]
        call.api_key = keys.api_key
        if endpoint.security == "SIGNED":
            wrong = server.gate.signature(keys, params, signed_text(*raw))
            wrong = wrong or server.gate.window(params, now_ms)
            if wrong is not None:
                return wrong, None
    account = call.account_or_none.index if call.account_or_none is not None else None
    if endpoint.orders is not None and account is not None:
        crowded = server.limits.count_orders(account, *endpoint.orders, now_ms)
        if crowded is not None:
            return crowded, account
    return endpoint.answer(call), account


def _respond(
    server: RunningServer,
    found: Answer,
    address: str,
    account: int | None,
    endpoint: Endpoint,
    now_ms: int,
    headers: dict[str, str],
) -> web.Response:
    status = 200
    if isinstance(found, Refusal):
        status, found = found.http, found.body()
    headers["X-MBX-USED-WEIGHT-1M"] = str(server.limits.used(address, now_ms))
    if endpoint.orders is not None and account is not None:
        ten, minute = server.limits.orders_used(account, now_ms)
        headers["X-MBX-ORDER-COUNT-10S"] = str(ten)
        headers["X-MBX-ORDER-COUNT-1M"] = str(minute)
    return web.Response(status=status, body=encode(found), content_type=_JSON, headers=headers)


__all__ = ["ENDPOINTS", "answer", "build", "parse_params", "serve"]
