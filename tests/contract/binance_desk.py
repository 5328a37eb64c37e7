"""The client over the simulated exchange's own server, with a market that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.limits import Governor, Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.sockets import Dial, Socket, dial_with
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.adapters.clocks import SystemClock
from perpdesk.domain import units
from perpdesk.exchange.server import RunningServer, ServeOptions, serve
from perpdesk.market.instruments import bundled
from perpdesk.market.universe import Universe
from perpdesk.ports import Clock, Message, PriceReached, StepClosed, StepOver

SYSTEM_CLOCK = SystemClock()
FENCE = "ETHUSDT"  # its leverage is what tells that everything before it has arrived


class Wire:
    """The sockets of a client, which a test can cut, make deaf, or make stammer."""

    def __init__(self, dial: Dial) -> None:
        self.is_cut = self.is_deaf = self.stammers = False
        self.heard: list[bytes] = []  # every message of every socket, as it came
        self._dial = dial
        self._open: set[_Wired] = set()

    async def dial(self, url: str) -> Socket:
        """Dials for a venue."""
        if self.is_cut:
            raise ExchangeUnreachable("the wire is cut")
        socket = _Wired(self, await self._dial(url))
        self._open.add(socket)
        return socket

    async def cut(self) -> None:
        """Close everything; nothing can be opened until ``is_cut`` is False again."""
        self.is_cut = True
        for socket in tuple(self._open):
            await socket.close()
        self._open.clear()


class _Wired:
    def __init__(self, wire: Wire, inner: Socket) -> None:
        self._wire, self._inner = wire, inner
        self._again: bytes | None = None

    async def receive(self) -> bytes | None:
        if self._again is not None:
            message, self._again = self._again, None
            return message
        while True:
            message = await self._inner.receive()
            if self._wire.is_cut:
                return None
            if message and self._wire.is_deaf:
                continue
            if message:
                self._wire.heard.append(message)
            if message and self._wire.stammers:
                self._again = message
            return message

    async def send(self, text: str) -> None:
        await self._inner.send(text)

    async def ping(self) -> None:
        await self._inner.ping()

    async def close(self) -> None:
        await self._inner.close()


class BinanceDesk:
    """A started venue, its server, and everything that it has told."""

    def __init__(self, server: RunningServer, venue: BinanceVenue, rest: Rest, wire: Wire) -> None:
        self.server, self.venue, self.rest, self.wire = server, venue, rest, wire
        self.told: list[Message] = []
        self.levels: list[PriceReached] = []
        self.steps: list[StepClosed] = []
        self._fences = 0
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.venue.messages():
            if isinstance(message, PriceReached):
                self.levels.append(message)
            elif isinstance(message, StepClosed):
                self.steps.append(message)
            elif not isinstance(message, StepOver):
                self.told.append(message)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; a reader that failed says why."""
        async with asyncio.timeout(20):
            while not condition():
                if self._reader.done():
                    await self._reader
                await asyncio.sleep(0.001)

    async def all_told(self) -> None:
        """Wait until the user stream has delivered all that has happened so far."""
        self._fences += 1
        leverage = 2 + self._fences % 2
        self.venue.leverages.pop(FENCE, None)
        params = (("symbol", FENCE), ("leverage", leverage))
        await self.rest.ask(to.LEVERAGE, params, Lane.QUERY)
        await self.until(lambda: self.venue.leverages.get(FENCE) == leverage and not self.venue.untold)

    async def move(self, *prices: int) -> list[Message]:
        """Walk the price there; what was told since the last call of this."""
        for price in prices:
            self.server.tick("BTCUSDT", units.plain(units.price_of(price, 1)), walk=True)
        await self.all_told()
        told, self.told = self.told, []
        return told

    async def close(self) -> None:
        await self.venue.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


async def nothing(server: RunningServer, rest: Rest) -> None:
    """No preparation."""


@asynccontextmanager
async def binance_desk(
    *,
    sweep_ms: int = 3_600_000,
    place_of: Callable[[str], tuple[int, int] | None] = lambda _: None,
    prepare: Callable[[RunningServer, Rest], Awaitable[None]] = nothing,
    clock: Clock = SYSTEM_CLOCK,
    over_socket: bool = False,
    credentials: Credentials | None = None,
    **options: Any,
) -> AsyncIterator[BinanceDesk]:
    """A server, and a started venue on its first account.

    clock: of both; prepare: before the start; credentials: instead of the first account's own; options: of
    the server.
    """
    async with serve(ServeOptions(clock=clock, **options)) as server:
        instrument = bundled()["BTCUSDT"]
        universe = Universe(("BTCUSDT",), (instrument,), (1,), (instrument.lot_step,), (10**7,))
        keys = server.accounts[0]
        own = ServerClock(clock)
        rest = Rest(
            hosts=simulated(server.rest_url),
            clock=clock,
            server=own,
            governor=Governor(clock, own),
            credentials=credentials or Credentials(keys.api_key, keys.secret),
            account="test",
        )
        wire = Wire(dial_with(lambda: rest.session))
        venue = BinanceVenue(
            universe=universe,
            rest=rest,
            clock=clock,
            dial=wire.dial,
            sweep_ms=sweep_ms,
            place_of=place_of,
            over_socket=over_socket,
        )
        await prepare(server, rest)
        await venue.start()
        desk = BinanceDesk(server, venue, rest, wire)
        try:
            await desk.until(lambda: venue.catch_ups)
            yield desk
        finally:
            await desk.close()
