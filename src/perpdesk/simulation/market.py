"""The world's prices: quiet stretches, trends, chop, gaps, spikes, frozen feeds, funding, halts.

All symbols of a seed are moved by one task. Marks and klines go out in virtual time, as often as somebody
listens and no oftener than a client needs.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from perpdesk.exchange.core import closing
from perpdesk.exchange.core import market as market_rules
from perpdesk.exchange.core.accounts import Position
from perpdesk.exchange.server import RunningServer
from perpdesk.simulation.loop import Loop

MINUTE_MS = 60_000
_MOODS = ("quiet", "up", "down", "chop", "wild", *("wave",) * 8)
_PPM = 1_000_000
# Per second, in ppm of the price: drift and noise of each mood.
_DRIFT = {"quiet": 0, "up": 60, "down": -60, "chop": 0, "wild": 0, "wave": 0}
_NOISE = {"quiet": 5, "up": 120, "down": 120, "chop": 300, "wild": 900, "wave": 60}
# A wave goes up for so long and then down for so long, this much a second.
_WAVE_MS, _WAVE_PPM = 120_000, 130


@dataclass
class Mood:
    """What a symbol does just now, and until when."""

    name: str
    until_ms: int


class Market:
    """Moves the prices of one exchange. frozen: symbols whose feed stands still, with the time since when."""

    def __init__(
        self,
        loop: Loop,
        server: RunningServer,
        seed: int,
        *,
        events: bool = True,
        waves: bool = False,
        haste: int = 1,
    ) -> None:
        self._loop, self._server, self._haste = loop, server, haste
        self._random = random.Random(f"market {seed}")
        self._events = events
        self.fired: Counter[str] = Counter()
        self.frozen_ms: dict[str, int] = {}
        until_ms = 1 << 60 if waves else 0
        self._moods = [Mood("wave" if waves else "quiet", until_ms) for _ in server.world.contracts]
        self.marks_until_ms = 0  # until then no marks are told
        self._step_ms = self._random.choice((2_000, 3_000, 5_000))
        self.last_jump_ms = 0
        self._is_calm = False
        self.is_still = False  # no price moves any more

    def calm(self) -> None:
        """No more events; prices go on."""
        self._is_calm = True
        for contract in self._server.world.contracts:
            contract.status = "TRADING"
        self.marks_until_ms = 0
        self.frozen_ms.clear()

    def quiet(self) -> None:
        """Prices hardly move from now on."""
        self._moods = [Mood("quiet", 1 << 60) for _ in self._moods]

    async def run(self) -> None:
        """Move prices for ever."""
        while True:
            await self._loop.pause(self._step_ms)
            now_ms = self._loop.now_ms
            self._server.pass_time(now_ms)
            if self.is_still:
                continue
            for i, contract in enumerate(self._server.world.contracts):
                if contract.status != "TRADING" or contract.symbol in self.frozen_ms:
                    continue
                self._move(i, now_ms)

    async def pulse(self) -> None:
        """Periodic streams: marks every second, klines soon after each minute's end."""
        publisher, hub = self._server.publisher, self._server.hub
        minute = -1
        while True:
            await self._loop.pause(1_000)
            now_ms = self._loop.now_ms
            streams = sorted(hub.listeners)
            klines = now_ms // MINUTE_MS != minute and now_ms % MINUTE_MS < 10_000
            for stream in streams:
                if stream.startswith("!markPrice"):
                    if now_ms >= self.marks_until_ms:
                        publisher.send(stream, now_ms)
                elif "@kline" in stream and (klines or now_ms // 1000 % 10 == 0):
                    symbol = stream.partition("@")[0].upper()
                    if symbol not in self.frozen_ms:
                        publisher.send(stream, now_ms)
            if klines and streams:
                minute = now_ms // MINUTE_MS

    async def events(self) -> None:
        """Now and then something happens that nobody wished for."""
        acts = (
            self._gap,
            self._spike,
            self._freeze,
            self._halt,
            self._liquidity,
            self._funding,
            self._adl,
            self._parted_mark,
            self._settle,
        )
        while self._events:
            await self._loop.pause(self._random.randrange(30_000, 300_000) // self._haste)
            if self._is_calm:
                return
            await self._random.choice(acts)()

    # -- prices ----------------------------------------------------------------------------------

    def _move(self, i: int, now_ms: int) -> None:
        mood = self._moods[i]
        if mood.until_ms <= now_ms:
            mood.name = self._random.choice(_MOODS)
            mood.until_ms = now_ms + self._random.randrange(60_000, 600_000)
        market = self._server.world.markets[i]
        seconds = self._step_ms / 1000
        wave = _WAVE_PPM if (now_ms // _WAVE_MS + i) % 2 else -_WAVE_PPM
        drift = wave if mood.name == "wave" else _DRIFT[mood.name]
        ppm = drift * seconds + self._random.gauss(0, _NOISE[mood.name]) * seconds**0.5
        self._to(i, market.last + int(market.last * ppm / _PPM), walk=True)

    def _to(self, i: int, price: int, *, walk: bool) -> None:
        world, contract = self._server.world, self._server.world.contracts[i]
        price = max(contract.tick * 1000, price // contract.tick * contract.tick)
        if price == world.markets[i].last:
            return
        move = market_rules.walk if walk else market_rules.tick
        lots = max(
            1,
            self._random.randrange(1, 4) * world.markets[i].depth.level_e8 // contract.notional_e8(price, 1),
        )
        move(world, i, price, self._loop.now_ms, lots=lots)
        self._server.flush()

    def _any(self) -> int:
        return self._random.randrange(len(self._server.world.contracts))

    def _held(self) -> Position | None:
        held = self._server.world.accounts[0].held()
        return self._random.choice(held) if held else None

    # -- what may happen ------------------------------------------------------------------------

    async def _gap(self) -> None:
        held = self._held()
        i = held.contract if held is not None else self._any()
        down = held.lots > 0 if held is not None else self._random.random() < 0.5
        ppm = self._random.choice((50_000, 100_000, 300_000))
        last = self._server.world.markets[i].last
        self.fired["MKT-01 gap"] += 1
        self.last_jump_ms = self._loop.now_ms
        self._to(i, last - last * ppm // _PPM if down else last + last * ppm // _PPM, walk=False)

    async def _spike(self) -> None:
        i = self._any()
        last = self._server.world.markets[i].last
        self.fired["MKT-02 spike"] += 1
        self.last_jump_ms = self._loop.now_ms
        self._to(i, last + last * self._random.choice((-80_000, 80_000)) // _PPM, walk=False)
        await self._loop.pause(self._random.randrange(500, 5_000))
        self._to(i, last, walk=False)

    async def _freeze(self) -> None:
        contract = self._server.world.contracts[self._any()]
        self.fired["MKT-03 frozen feed"] += 1
        self.frozen_ms[contract.symbol] = self._loop.now_ms
        ms = self._random.randrange(20_000, 200_000)
        if ms % 2:  # bars go on, marks do not
            self.fired["MKT-03 marks stop"] += 1
            self.marks_until_ms = self._loop.now_ms + ms
        await self._loop.pause(ms)
        self.frozen_ms.pop(contract.symbol, None)

    async def _halt(self) -> None:
        contract = self._server.world.contracts[self._any()]
        self.fired["MKT-09 halt"] += 1
        contract.status = "TRADING_HALT"
        await self._loop.pause(self._random.randrange(10_000, 120_000))
        contract.status = "TRADING"

    async def _liquidity(self) -> None:
        market = self._server.world.markets[self._any()]
        usual = market.depth.level_e8
        self.fired["ALG-04 thin book"] += 1
        market.depth.level_e8 = max(1, usual // 200)
        await self._loop.pause(self._random.randrange(20_000, 120_000))
        market.depth.level_e8 = usual

    async def _funding(self) -> None:
        contract = self._server.world.contracts[self._any()]
        rate = self._random.choice(("0.0001", "-0.0001", "0.002", "-0.002", "0.02"))
        self.fired["MKT-07 funding"] += 1
        self._server.set_funding(contract.symbol, rate, 1)

    async def _adl(self) -> None:
        held = self._held()
        if held is None:
            return
        lots = abs(held.lots) if self._random.random() < 0.5 else max(1, abs(held.lots) // 2)
        self.fired["MKT-06 ADL"] += 1
        self._force(held, lots, f"adl_autoclose-{self._loop.now_ms}")

    async def _parted_mark(self) -> None:
        contract = self._server.world.contracts[self._any()]
        market = self._server.world.markets[contract.index]
        self.fired["ALG-11 mark parts from last"] += 1
        ppm = self._random.choice((-10_000, 10_000))
        mark = (market.last + market.last * ppm // _PPM) // contract.tick * contract.tick
        self._server.set_mark(contract.symbol, contract.price_text(mark))
        await self._loop.pause(self._random.randrange(5_000, 60_000))
        market_rules.set_mark(self._server.world, contract.index, 0, self._loop.now_ms)
        self._server.flush()

    async def _settle(self) -> None:
        if self._random.random() < 0.7:
            return
        held = self._held()
        contract = self._server.world.contracts[held.contract if held is not None else self._any()]
        self.fired["MKT-08 settlement"] += 1
        contract.status = "SETTLING"
        await self._loop.pause(self._random.randrange(1_000, 20_000))
        account = self._server.world.accounts[0]
        for position in account.held(contract.index):
            self._force(position, abs(position.lots), f"settlement_autoclose-{self._loop.now_ms}")
        await self._loop.pause(self._random.randrange(60_000, 180_000))
        contract.status = "TRADING"

    def _force(self, position: Position, lots: int, client_id: str) -> None:
        world, now_ms = self._server.world, self._loop.now_ms
        account, price = world.accounts[0], world.markets[position.contract].mark
        order = closing.order(world, account, position, lots, price, client_id, now_ms)
        closing.against_market(world, account, order, price, 0, now_ms)
        self._server.flush()
