"""The client over the simulated exchange's own server, with a market that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.limits import Governor, Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.adapters.clocks import SystemClock
from perpdesk.domain import units
from perpdesk.exchange.server import RunningServer, ServeOptions, serve
from perpdesk.market.instruments import bundled
from perpdesk.market.universe import Universe
from perpdesk.ports import Message, PriceReached, StepClosed, StepOver

FENCE = "ETHUSDT"  # its leverage is what tells that everything before it has arrived


class BinanceDesk:
    """A started venue, its server, and everything that it has told."""

    def __init__(self, server: RunningServer, venue: BinanceVenue, rest: Rest) -> None:
        self.server, self.venue, self.rest = server, venue, rest
        self.told: list[Message] = []
        self._fences = 0
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.venue.messages():
            if not isinstance(message, (PriceReached, StepClosed, StepOver)):
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
        await self.leverage_by_hand(FENCE, leverage)
        await self.until(lambda: self.venue.leverages.get(FENCE) == leverage and not self.venue.untold)

    async def leverage_by_hand(self, symbol: str, leverage: int) -> None:
        """What a person does in the app."""
        await self.rest.ask(to.LEVERAGE, (("symbol", symbol), ("leverage", leverage)), Lane.QUERY)

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


class _Unmarked(Hosts):
    """A server that does not yet say that it is simulated."""

    def check(self, headers: Mapping[str, str]) -> None:
        return None


@asynccontextmanager
async def binance_desk(*, sweep_ms: int = 3_600_000, **options: Any) -> AsyncIterator[BinanceDesk]:
    """A server, and a started venue on its first account. options: of the server."""
    clock = SystemClock()
    async with serve(ServeOptions(clock=clock, **options)) as server:
        instrument = bundled()["BTCUSDT"]
        universe = Universe(("BTCUSDT",), (instrument,), (1,), (instrument.lot_step,), (10**7,))
        keys = server.accounts[0]
        own = ServerClock(clock)
        rest = Rest(
            hosts=_Unmarked(server.rest_url, server.ws_url, False),
            clock=clock,
            server=own,
            governor=Governor(clock, own),
            credentials=Credentials(keys.api_key, keys.secret),
            account="test",
        )
        venue = BinanceVenue(universe=universe, rest=rest, clock=clock, sweep_ms=sweep_ms)
        await venue.start()
        desk = BinanceDesk(server, venue, rest)
        try:
            await desk.until(lambda: venue.catch_ups)
            yield desk
        finally:
            await desk.close()
