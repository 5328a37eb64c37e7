"""Requests that make no sense: the exchange answers with a code, never crashes, never moves money by mistake."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.exchange.server.nonsense import NAMES, words
from tests.exchange.server.traffic import START_MS, check_books

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.app import ENDPOINTS, build
from perpdesk.exchange.server.call import Call
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.sockets import parse_path
from perpdesk.exchange.server.wsapi import Session, respond

ROUTES = sorted(ENDPOINTS)


def assault(seed: int, requests: int) -> dict[int, int]:
    """So many random requests against every endpoint, with a moving market; returns codes and their counts."""
    rng = random.Random(seed)
    clock = VirtualClock(START_MS)
    server = build(ServeOptions(clock=clock, accounts=3, weight_limit=1 << 40))
    codes: dict[int, int] = {}
    symbols = list(server.world.by_symbol)
    for i in range(requests):
        method, path = rng.choice(ROUTES)
        endpoint = ENDPOINTS[method, path]
        params = {name: words(rng, name) for name in rng.sample(NAMES, rng.randrange(1, 12))}
        if rng.random() < 0.7:
            for name in (
                "symbol",
                "side",
                "type",
                "quantity",
                "timeInForce",
                "price",
                "algoType",
                "triggerPrice",
            ):
                params.setdefault(name, words(rng, name))
        call = Call(server, params, server.now_ms())
        if endpoint.security != "NONE":
            call.account_or_none = server.world.accounts[rng.randrange(3)]
        endpoint.weight_of(params)
        found = endpoint.answer(call)
        code = found.code if isinstance(found, Refusal) else 0
        codes[code] = codes.get(code, 0) + 1
        if i % 20 == 0:
            symbol = rng.choice(symbols)
            market = server.world.markets[server.contract(symbol).index]
            price = max(market.contract.tick, market.last + market.last * rng.randrange(-100, 101) // 10_000)
            server.tick(symbol, market.contract.price_text(price), walk=rng.random() < 0.5)
        if i % 500 == 0:
            server.skip_time(rng.choice([1, 1000, 60_000, 3_600_000]))
            check_books(server.world)
        server.flush()
    check_books(server.world)
    return codes


@pytest.mark.parametrize("seed", [1, 2])
def test_random_requests(seed: int) -> None:
    codes = assault(seed, 4_000)
    assert codes[0] > 500
    assert len(codes) > 15


@pytest.mark.slow
def test_a_hundred_thousand_random_requests() -> None:
    assert len(assault(3, 100_000)) > 30


@pytest.mark.parametrize("seed", range(3))
def test_random_socket_requests(seed: int) -> None:
    rng = random.Random(seed)
    server = build(ServeOptions(clock=VirtualClock(START_MS), weight_limit=1 << 40))
    session = Session(server, "127.0.0.1", True, START_MS)
    texts = [
        "",
        "[]",
        "null",
        "1",
        '"x"',
        "{}",
        '{"method":1}',
        '{"id":{},"method":"order.place","params":[]}',
    ]
    for _ in range(500):
        params = {name: words(rng, name) for name in rng.sample(NAMES, 5)} | {
            "apiKey": server.accounts[0].api_key
        }
        text = rng.choice(texts)
        if rng.random() < 0.7:
            method = rng.choice(["order.place", "depth", "ticker.price", "session.logon", "v3/x", ""])
            text = msgspec.json.encode({"id": rng.random(), "method": method, "params": params}).decode()
        assert respond(session, text)["status"] in (200, 400, 401)


def test_random_paths() -> None:
    rng = random.Random(5)
    pieces = ["ws", "stream", "public", "market", "private", "btcusdt@depth", "!x", "", "a" * 64, "@", "0"]
    for _ in range(2_000):
        path = "/" + "/".join(rng.choices(pieces, k=rng.randrange(6)))
        query = "&".join(
            rng.choices(["streams=a@b/", "listenKey=x", "events=A/B", "=", "%zz"], k=rng.randrange(4))
        )
        route, _, streams, keys = parse_path(path, query)
        assert route in ("public", "market", "private", "legacy")
        assert all(isinstance(one, str) for one in streams)
        assert all(isinstance(one[0], str) for one in keys)
