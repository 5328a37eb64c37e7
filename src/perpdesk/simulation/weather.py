"""Which faults a seed has, how often, and when: each seed enables a random part of the catalogue (a swarm).

Names begin with the id of the fault in the catalogue, and ``fired`` counts by them. Faults that strike one
request or message at a time are in the exchange's own plan, with probabilities; those that last are episodes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import RunningServer
from perpdesk.simulation.clock import ProcessClock
from perpdesk.simulation.database import DatabaseFile
from perpdesk.simulation.loop import Incarnation, Loop
from perpdesk.simulation.network import Network

_PPM = 1_000_000
_ORDER, _ALGO = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
_ORDERS, _CANCEL = "POST /fapi/v1/*rder", "DELETE /fapi/v1/*rder*"
_WRITES, _READS = "[PD][OE]* /fapi/v1/*rder*", "GET /fapi/*"
_TEXT_A = "Unknown error, please check your request or try again later."
_TEXT_B = "Service Unavailable."


def _reply(name: str, route: str, http: int, code: int, msg: str, executes: bool) -> dict[str, Any]:
    return {
        "kind": "reply", "name": name, "route": route, "http": http, "code": code, "msg": msg,
        "executes": executes,
    }  # fmt: skip


def _plain(name: str, http: int, body: str, executes: bool) -> dict[str, Any]:
    return {"kind": "reply", "name": name, "route": _WRITES, "http": http, "body": body, "executes": executes}


_TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_UNEXPECTED = "An unexpected response was received from the message bus. Execution status unknown."
_DISCONNECTED = "Internal error; unable to process your request. Please try again."

# What may strike a request that changes something.
WRITE_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "drop-req", "name": "NET-01 request lost", "route": _WRITES},
    {"kind": "drop-resp", "name": "NET-02 answer lost", "route": _WRITES},
    {"kind": "late-exec", "name": "NET-03 executes late", "route": _ORDERS, "ms": (50, 5_000)},
    {"kind": "garble", "name": "NET-04 truncated answer", "route": _WRITES, "form": "truncate"},
    {"kind": "garble", "name": "NET-05 HTML answer", "route": _WRITES, "form": "html"},
    {"kind": "garble", "name": "NET-05 empty answer", "route": _WRITES, "form": "empty"},
    {"kind": "slow", "name": "NET-09 slow request", "route": _WRITES, "ms": (500, 12_000)},
    {"kind": "slow", "name": "NET-09 slow answer", "route": _WRITES, "ms": (500, 12_000), "form": "answer"},
    _reply("API-01 -1001 executed", _WRITES, 503, -1001, _DISCONNECTED, True),
    _reply("API-01 -1001", _WRITES, 503, -1001, _DISCONNECTED, False),
    _reply("API-04 -1006 executed", _WRITES, 503, -1006, _UNEXPECTED, True),
    _reply("API-04 -1006", _WRITES, 503, -1006, _UNEXPECTED, False),
    _reply("API-05 -1007 executed", _WRITES, 408, -1007, _TIMEOUT, True),
    _reply("API-05 -1007", _WRITES, 408, -1007, _TIMEOUT, False),
    _reply("API-06 -1008 throttled", _WRITES, 503, -1008, "Server is currently overloaded.", False),
    _plain("API-07 503 A executed", 503, _TEXT_A, True),
    _plain("API-07 503 A", 503, _TEXT_A, False),
    _plain("API-08 503 B", 503, _TEXT_B, False),
    _reply(
        "API-09 -1015",
        _ORDERS,
        429,
        -1015,
        "Too many new orders; current limit is 300 orders per TEN_SECONDS.",
        False,
    ),
    _reply(
        "API-10 -1021", _WRITES, 400, -1021, "Timestamp for this request is outside of the recvWindow.", False
    ),
    _reply(
        "API-11 -5028",
        _ORDERS,
        400,
        -5028,
        "Timestamp for this request is outside of the ME recvWindow.",
        False,
    ),
    _reply("API-13 -2011 while live", _CANCEL, 400, -2011, "Unknown order sent.", False),
    _reply("API-16 -2019", _ORDER, 400, -2019, "Margin is insufficient.", False),
    _reply("API-19 -2023", _ORDER, 400, -2023, "User in liquidation mode now.", False),
    _reply(
        "API-21 -4131",
        _ORDER,
        400,
        -4131,
        "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
        False,
    ),
    _reply(
        "API-24 -4400",
        _ORDER,
        400,
        -4400,
        "Futures Trading Quantitative Rules violated, only reduceOnly order is allowed.",
        False,
    ),
    _reply("ALG-08 -4045", _ALGO, 400, -4045, "Reach max stop order limit.", False),
)
# After these nobody knows whether the order was placed.
_LATE = ("NET-02 answer lost", "NET-03 executes late", "NET-09 slow answer")
_UNTOLD = ("NET-01", "NET-04", "NET-05", "API-01", "API-04", "API-05", "API-07")
# What may strike a read.
READ_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "drop-resp", "name": "NET-02 read unanswered", "route": _READS},
    {"kind": "garble", "name": "NET-04 truncated read", "route": _READS, "form": "truncate"},
    {"kind": "garble", "name": "NET-05 HTML read", "route": _READS, "form": "html"},
    {"kind": "garble", "name": "API-31 strange words", "route": _READS, "form": "schema"},
    {"kind": "slow", "name": "NET-09 slow read", "route": _READS, "ms": (500, 12_000)},
    {"kind": "empty", "name": "API-28 empty answer", "route": "GET /fapi/v?/[pabo]*"},
    _reply("API-07 503 on a read", _READS, 503, -1000, _TEXT_A, False),
)
STREAM_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "ws-skip", "name": "WS-07 event lost", "route": "user:*"},
    {"kind": "ws-dup", "name": "WS-08 event twice", "route": "user:*"},
    {"kind": "ws-reorder", "name": "WS-09 out of order", "route": "user:*"},
    {"kind": "ws-lag", "name": "WS-09 late event", "route": "user:*", "ms": (50, 8_000)},
    {"kind": "ws-skip", "name": "WS-17 kline lost", "route": "*@kline*"},
    {"kind": "ws-lag", "name": "WS-13 market lags", "route": "*@*", "ms": (500, 5_000)},
)

Episode = Callable[[], Awaitable[None]]


class Faults:
    """The faults of one seed. share: 0 none … 1 every request. ``unreachable_until_us``: for a ban."""

    def __init__(
        self,
        loop: Loop,
        server: RunningServer,
        network: Network,
        database: DatabaseFile,
        seed: int,
        share: float,
        living: Callable[[], list[Incarnation]],
        clocks: Callable[[], list[ProcessClock]],
        sharp: bool = False,
    ) -> None:
        self._loop, self._server, self._network = loop, server, network
        self._database, self._share, self._living = database, share, living
        self._clocks = clocks
        self._random = random.Random(f"weather {seed}")
        self.fired: Counter[str] = Counter()
        self.banned_until_us = 0
        self._is_calm = share == 0
        self._plan(WRITE_FAULTS, share)
        self._plan(READ_FAULTS, share / 4)
        self._plan(STREAM_FAULTS, share / 4)
        if sharp:
            self._sharpen()
        self.episodes = self._chosen_episodes()
        if share and self._random.random() < 0.4:
            database.faults.error_ppm = int(share * self._random.choice((500, 2_000, 10_000)))
            database.faults.after_commit_ppm = int(share * self._random.choice((1_000, 5_000, 20_000)))
            database.faults.busy_ppm = int(share * self._random.choice((1_000, 10_000)))
            database.faults.slow_ppm = int(share * self._random.choice((1_000, 10_000)))
        if share:
            network.weather.jitter_ms = self._random.choice((5, 10, 50, 300))
            network.weather.reset_ppm = int(share * self._random.choice((0, 0, 20_000)))

    def _plan(self, faults: tuple[dict[str, Any], ...], share: float) -> None:
        if not share:
            return
        chosen = [fault for fault in faults if self._random.random() < 0.35]
        weights = [self._random.random() for _ in chosen]
        total = sum(weights) or 1.0
        share = share * self._random.choice((0.25, 0.6, 1.0))
        for fault, weight in zip(chosen, weights, strict=True):
            low, high = fault.get("ms", (0, 0))
            ms = self._random.randrange(low, high) if high else 0
            ppm = min(_PPM, int(_PPM * share * weight / total))
            self._server.faults.add(Fault(**{**fault, "ms": ms, "count": -1, "probability_ppm": ppm}))

    def _sharpen(self) -> None:
        """Every third order that is placed is executed late, or answered late or never; and some others are
        answered by something that tells nothing."""
        late = [fault for fault in WRITE_FAULTS if fault["name"] in _LATE]
        untold = [fault for fault in WRITE_FAULTS if fault["name"].startswith(_UNTOLD)]
        for kinds, share in ((late, _PPM // 3), (untold, _PPM // 6)):
            fault = self._random.choice(kinds)
            low, high = fault.get("ms", (0, 0))
            ms = self._random.randrange(low, high) if high else 0
            self._server.faults.add(
                Fault(**{**fault, "route": _ORDER, "ms": ms, "count": -1, "probability_ppm": share})
            )

    def _chosen_episodes(self) -> list[Episode]:
        every: list[Episode] = [
            self._outage,
            self._streams_down,
            self._requests_down,
            self._silence,
            self._sockets_close,
            self._key_expires,
            self._hidden,
            self._hidden_stop,
            self._stale,
            self._empty,
            self._ban,
            self._throttled,
            self._frozen,
            self._clock_steps,
            self._clock_drifts,
            self._database_down,
            self._keep_alive_dies,
        ]
        chosen = [episode for episode in every if self._random.random() < 0.4]
        return chosen or [self._random.choice(every)]

    async def run(self) -> None:
        """Episodes, one after another, until ``calm``."""
        while not self._is_calm:
            await self._loop.pause(self._random.randrange(5_000, int(40_000 + 120_000 * (1 - self._share))))
            if self._is_calm:
                return
            await self._random.choice(self.episodes)()

    def calm(self) -> None:
        """The faults stop."""
        self._is_calm = True
        self._server.faults.clear()
        weather = self._network.weather
        weather.is_down = weather.streams_down = weather.requests_down = False
        weather.reset_ppm, weather.jitter_ms = 0, 10
        for connection in self._network.connections():
            connection.silent = False
        self._database.faults.stop()
        self.banned_until_us = 0

    def is_unreachable(self) -> bool:
        """Can the account not reach the venue just now, whatever it does?"""
        weather = self._network.weather
        return weather.is_down or weather.requests_down or self._loop.now_us < self.banned_until_us

    def is_wire_down(self) -> bool:
        """Does nothing get through, in either direction?"""
        return self._network.weather.is_down

    def count(self) -> Counter[str]:
        """Everything that struck, by name."""
        return self.fired + self._server.faults.fired + self._network.fired + self._database.faults.fired

    # -- episodes --------------------------------------------------------------------------------

    def _some_ms(self, low: int, high: int) -> int:
        return int(low * (high / low) ** self._random.random())

    async def _outage(self) -> None:
        self.fired["NET-07 outage"] += 1
        self._network.weather.is_down = True
        self._network.cut_all()
        await self._loop.pause(self._some_ms(1_000, 120_000))
        self._network.weather.is_down = False

    async def _streams_down(self) -> None:
        self.fired["NET-08 streams down"] += 1
        self._network.weather.streams_down = True
        await self._loop.pause(self._some_ms(1_000, 60_000))
        self._network.weather.streams_down = False

    async def _requests_down(self) -> None:
        self.fired["NET-08 requests down"] += 1
        self._network.weather.requests_down = True
        await self._loop.pause(self._some_ms(1_000, 60_000))
        self._network.weather.requests_down = False

    async def _silence(self) -> None:
        self.fired["WS-01 silent socket"] += 1
        chosen = [one for one in self._network.connections() if self._random.random() < 0.7]
        for connection in chosen:
            connection.silent = True
        await self._loop.pause(self._some_ms(2_000, 90_000))
        for connection in chosen:
            connection.speak()

    async def _sockets_close(self) -> None:
        self.fired["WS-02 sockets close"] += 1
        for connection in self._network.connections():
            if self._random.random() < 0.7:
                connection.close(1006)

    async def _key_expires(self) -> None:
        silently = self._random.random() < 0.5
        self.fired["WS-04 key expires silently" if silently else "WS-03 key expires"] += 1
        self._server.expire_listen_key(0, silently=silently)

    async def _hidden(self) -> None:
        ms = self._some_ms(1_000, 120_000)
        self._lasting(
            Fault(kind="hide", name="API-14 order hidden", route="GET /fapi/v1/order", count=-1, ms=ms)
        )
        await self._loop.pause(ms)

    async def _hidden_stop(self) -> None:
        ms = self._some_ms(1_000, 120_000)
        self._lasting(
            Fault(
                kind="hide", name="ALG-01 stop hidden", route="[GD]E[TL]* /fapi/v1/algoOrder", count=-1, ms=ms
            )
        )
        await self._loop.pause(ms)

    async def _stale(self) -> None:
        ms = self._some_ms(1_000, 10_000)
        self._lasting(
            Fault(kind="stale", name="API-27 stale read", route="GET /fapi/v?/[paou]*", count=-1, ms=ms)
        )
        await self._loop.pause(ms)

    async def _empty(self) -> None:
        ms = self._some_ms(1_000, 30_000)
        fault = Fault(kind="empty", name="API-28 empty answers", route="GET /fapi/v?/[paou]*", count=-1)
        self._lasting(fault)
        await self._loop.pause(ms)
        self._over(fault)

    async def _ban(self) -> None:
        ms = self._some_ms(5_000, 120_000)
        until_ms = self._server.now_ms() + ms
        msg = f"Way too many requests; IP banned until {until_ms}. Please use the websocket for live updates."
        fault = Fault(kind="reply", name="API-03 banned", route="*", count=-1, http=418, code=-1003, msg=msg)
        self._server.faults.faults.insert(0, fault)
        self.banned_until_us = self._loop.now_us + ms * 1000
        await self._loop.pause(ms)
        self._over(fault)

    async def _throttled(self) -> None:
        ms = self._some_ms(1_000, 20_000)
        msg = "Too many requests; current limit is 2400 requests per minute."
        fault = Fault(kind="reply", name="API-02 429", route="*", count=-1, http=429, code=-1003, msg=msg)
        self._server.faults.faults.insert(0, fault)
        # a client that was told so waits for the next minute
        end_us = (self._loop.now_us // 60_000_000 + 1) * 60_000_000
        self.banned_until_us = max(self.banned_until_us, end_us, self._loop.now_us + ms * 1000)
        await self._loop.pause(ms)
        self._over(fault)

    async def _frozen(self) -> None:
        living = self._living()
        if not living:
            return
        self.fired["CLK-04 process frozen"] += 1
        self._loop.freeze(self._random.choice(living), self._some_ms(500, 60_000))

    async def _clock_steps(self) -> None:
        clocks = self._clocks()
        if not clocks:
            return
        ms = self._random.choice((-4_000, -1_500, 1_500, 4_000) * 3 + (-600_000, 600_000))
        self.fired["CLK-02 clock steps" if abs(ms) > 60_000 else "CLK-01 clocks part"] += 1
        clock = self._random.choice(clocks)
        clock.step(ms)
        await self._loop.pause(self._some_ms(5_000, 60_000))
        clock.step(-ms)

    async def _clock_drifts(self) -> None:
        clocks = self._clocks()
        if not clocks:
            return
        self.fired["CLK-01 clock drifts"] += 1
        self._random.choice(clocks).drift(self._random.choice((-500, -100, 100, 500)))

    async def _database_down(self) -> None:
        self._database.faults.down = True
        await self._loop.pause(self._some_ms(500, 30_000))
        self._database.faults.down = False

    async def _keep_alive_dies(self) -> None:
        self.fired["NET-10 resting connections die"] += 1
        self._network.break_resting()

    def _lasting(self, fault: Fault) -> None:
        self._server.faults.faults.insert(0, fault)

    def _over(self, fault: Fault) -> None:
        if fault in self._server.faults.faults:
            self._server.faults.faults.remove(fault)
