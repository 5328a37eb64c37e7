"""Senseless requests over the wire: the exchange answers all with a code, never stands still, loses nothing.

    python conformance/fuzz.py [--requests 100000] [--seed 1] [--connections 16] [--json]

Signed and unsigned requests of random parameters to every endpoint, random bodies and paths, random messages
on market, user and API sockets; a person and a market that move meanwhile. Prints what came back, how long
a request held the event loop at most (processor time; how late the loop was in all depends on the machine),
and whether the ledgers agree. Exit code 1: a crash, a request that held the loop, or a wrong ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.exchange.server.nonsense import LIKELY, NAMES, words  # noqa: E402
from tests.exchange.server.traffic import check_books  # noqa: E402

from perpdesk.adapters.clocks import SystemClock  # noqa: E402
from perpdesk.exchange.server import RunningServer, ServeOptions, app, limits, serve  # noqa: E402
from perpdesk.exchange.server.actor import ACTIONS  # noqa: E402
from perpdesk.exchange.server.app import ENDPOINTS  # noqa: E402

HELD_MAX_MS = 500
CARRY_OUT = app.carry_out
ROUTES = sorted(ENDPOINTS)
ORDERS = (("POST", "/fapi/v1/order"), ("POST", "/fapi/v1/algoOrder"))
USUAL = ("symbol", "side", "type", "quantity", "timeInForce", "price", "algoType", "triggerPrice")
SOCKETS = ("/market/ws", "/public/stream", "/private/ws?listenKey=x", "/ws-fapi/v1")
METHODS = (
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "order.place",
    "algoOrder.place",
    "account.status",
    "depth",
    "session.logon",
)


class Assault:
    """Everything that is sent, and what is learned of it."""

    def __init__(
        self, server: RunningServer, session: aiohttp.ClientSession, seed: int, requests: int
    ) -> None:
        self.server, self.session = server, session
        self.left, self.seed = requests, seed
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[int] = Counter()
        self.broken: list[str] = []
        self.messages = 0
        self.stall_ms = 0.0
        self.slowest: tuple[float, str] = (0.0, "")
        self.done = False

    async def client(self, number: int) -> None:
        """Sends until nothing is left to send."""
        rng = random.Random(self.seed * 1_000 + number)
        while self.left > 0:
            self.left -= 1
            method, url, body, headers = self._request(rng)
            try:
                async with self.session.request(method, url, data=body, headers=headers) as answer:
                    text = await answer.read()
            except aiohttp.ClientError as error:
                self.broken.append(f"{method} {url}: {type(error).__name__}")
                continue
            self.statuses[answer.status] += 1
            if answer.status >= 500:
                self.broken.append(f"{method} {url}: {answer.status}")
            if answer.status != 404:
                self._count(text)

    def _count(self, text: bytes) -> None:
        try:
            found = json.loads(text)
        except ValueError:
            self.broken.append(f"no JSON: {text[:80]!r}")
            return
        if isinstance(found, dict) and isinstance(found.get("code"), int):
            self.codes[found["code"]] += 1

    def _request(self, rng: random.Random) -> tuple[str, URL, bytes | None, dict[str, str]]:
        draw = rng.random()
        method, path = rng.choice(ROUTES)
        if draw < 0.01:
            path = "/" + "".join(rng.choices("abc/%.0", k=8))
        elif draw < 0.02:
            method = rng.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
        params = {name: words(rng, name) for name in rng.sample(NAMES, rng.randrange(1, 10))}
        if rng.random() < 0.7:
            for name in USUAL:
                params.setdefault(name, words(rng, name))
        if draw > 0.7:  # an order that makes sense but for one thing
            method, path = rng.choice(ORDERS)
            params = {name: rng.choice(LIKELY[name]) for name in USUAL}
        keys = self.server.accounts[rng.randrange(len(self.server.accounts))]
        headers = {"X-MBX-APIKEY": keys.api_key}
        if draw > 0.7:
            self._mend(rng, params, keys.index)
        params["timestamp"] = str(self.server.shown_ms())
        text = urlencode(params)
        if rng.random() < 0.95:
            text += "&signature=" + hmac.new(keys.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        body = None
        if method != "GET" and rng.random() < 0.5:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body, text = (rng.randbytes(40), text) if draw > 0.98 else (text.encode(), "")
        url = URL(f"{self.server.rest_url}{path}?{text}", encoded=True)
        return method, url, body, headers

    def _mend(self, rng: random.Random, params: dict[str, str], account: int) -> None:
        """Prices near the market and the account's own mode; then, now and then, one thing is wrong."""
        symbol = rng.choice(sorted(self.server.world.by_symbol))
        market = self.server.world.markets[self.server.contract(symbol).index]
        params["symbol"] = symbol
        for name in ("price", "triggerPrice"):
            near = market.last + market.last * rng.randrange(-30, 31) // 10_000
            params[name] = market.contract.price_text(max(market.contract.tick, near))
        params["quantity"] = market.contract.qty_text(market.contract.lots_min * rng.randrange(1, 200))
        if "algoType" in params and rng.random() < 0.7:
            params["type"] = rng.choice(("LIMIT", "MARKET", "STOP_MARKET"))
        if self.server.world.accounts[account].hedge:
            params["positionSide"] = rng.choice(("LONG", "SHORT"))
        if rng.random() < 0.3:
            params[rng.choice(NAMES)] = words(rng, rng.choice(NAMES))

    async def talker(self, number: int) -> None:
        """Random messages on a socket; a closed one is opened again."""
        rng = random.Random(self.seed * 7_919 + number)
        while not self.done:
            path = rng.choice(SOCKETS)
            try:
                async with self.session.ws_connect(self.server.ws_url + path) as socket:
                    for _ in range(20):
                        params: Any = [words(rng, "symbol") + "@" + rng.choice(("depth", "trade", "x"))]
                        if path.startswith("/ws-fapi"):
                            params = {name: words(rng, name) for name in rng.sample(NAMES, 6)}
                            params["apiKey"] = self.server.accounts[0].api_key
                        ask = json.dumps(
                            {"id": rng.random(), "method": rng.choice(METHODS), "params": params}
                        )
                        await socket.send_str(ask if rng.random() < 0.8 else ask[: rng.randrange(len(ask))])
                        self.messages += 1
                        await asyncio.sleep(0.1)
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(0.1)

    async def world(self) -> None:
        """Prices move, time passes, a person interferes."""
        rng, control = random.Random(self.seed), f"{self.server.rest_url}/control"
        symbols = sorted(self.server.world.by_symbol)
        while not self.done:
            symbol = rng.choice(symbols)
            market = self.server.world.markets[self.server.contract(symbol).index]
            price = max(market.contract.tick, market.last + market.last * rng.randrange(-100, 101) // 10_000)
            asks: list[dict[str, Any]] = [
                {
                    "do": "tick",
                    "symbol": symbol,
                    "price": market.contract.price_text(price),
                    "walk": rng.random() < 0.5,
                },
                {"do": "skip_time", "ms": rng.choice((1_000, 60_000, 3_600_000))},
                {
                    "do": "actor",
                    "account": rng.randrange(3),
                    "action": rng.choice([one for one in ACTIONS if one != "delete_key"]),
                    "symbol": symbol,
                    "params": {name: words(rng, name) for name in USUAL},
                    "amount": words(rng, "amount"),
                    "leverage": words(rng, "leverage"),
                    "margin_type": words(rng, "marginType"),
                    "hedge": words(rng, "dualSidePosition"),
                },
                {"do": words(rng, "symbol"), "symbol": words(rng, "price")},
            ]
            async with self.session.post(control, json=rng.choices(asks, (6, 1, 4, 1))[0]) as answer:
                if answer.status not in (200, 400):
                    self.broken.append(f"control: {answer.status}")
            await asyncio.sleep(0.01)

    def timed(self, server: RunningServer, asked: app.Asked) -> Any:
        """What one request costs the loop, in this thread's own time (not the machine's)."""
        before = time.thread_time()
        found = CARRY_OUT(server, asked)
        spent = (time.thread_time() - before) * 1000
        self.slowest = max(self.slowest, (spent, f"{asked.request.method} {asked.request.path}"))
        return found

    async def watch(self) -> None:
        """How long the loop stands still."""
        while not self.done:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            self.stall_ms = max(self.stall_ms, (time.perf_counter() - before) * 1000 - 5)


async def assault(requests: int, seed: int, connections: int) -> dict[str, Any]:
    """Send so many requests; the figures."""
    options = ServeOptions(
        clock=SystemClock(), accounts=3, control=True, weight_limit=1 << 40, order_limit_10s=1 << 40,
        order_limit_1m=1 << 40, recv_window_mode="skip",
    )  # fmt: skip
    began = time.perf_counter()
    connector = aiohttp.TCPConnector(limit=0)
    async with serve(options) as server, aiohttp.ClientSession(connector=connector) as session:
        limits._DATA_LIMIT = limits._FUNDING_LIMIT = 1 << 40
        for pool in (server.limits, server.spot.limits):
            pool.weight_limit = pool.order_limit_10s = pool.order_limit_1m = 1 << 40
        run = Assault(server, session, seed, requests)
        app.carry_out = run.timed
        others = [
            asyncio.ensure_future(one) for one in (run.world(), run.watch(), run.talker(0), run.talker(1))
        ]
        await asyncio.gather(*(run.client(i) for i in range(connections)))
        run.done = True
        for done in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(done, BaseException):
                run.broken.append(f"{type(done).__name__}: {done}")
        try:
            check_books(server.world)
            books = "agree"
        except AssertionError as error:
            books = f"disagree: {error}"
        fills = sum(len(account.fills) for account in server.world.accounts)
        orders = sum(len(account.orders) for account in server.world.accounts)
    seconds = time.perf_counter() - began
    return {
        "requests": sum(run.statuses.values()),
        "seconds": round(seconds, 1),
        "requests_per_second": round(requests / seconds),
        "socket_messages": run.messages,
        "statuses": dict(sorted(run.statuses.items())),
        "codes": len(run.codes),
        "refused": sum(run.codes.values()),
        "orders": orders,
        "fills": fills,
        "loop_held_ms_max": round(run.slowest[0], 1),
        "loop_held_by": run.slowest[1],
        "loop_late_ms_max": round(run.stall_ms, 1),
        "ledgers": books,
        "broken": run.broken[:20],
    }


def main() -> int:
    """Print the figures; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = asyncio.run(assault(given.requests, given.seed, given.connections))
    if given.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:20} {value}")
    healthy = not found["broken"] and found["ledgers"] == "agree" and found["loop_held_ms_max"] < HELD_MAX_MS
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
