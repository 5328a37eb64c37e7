"""Where prices come from: a tape, minute by minute along each bar's path, paced or step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from perpdesk.exchange.core import market as market_rules
from perpdesk.exchange.server.running import RunningServer
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS

_OFFSETS_MS = (0, 20_000, 40_000, 59_999)
_PPM = 1_000_000


def path_of(opening: int, high: int, low: int, close: int) -> tuple[int, int, int, int]:
    """open → nearer extreme → other extreme → close; on a tie a rising bar goes low first."""
    to_low, to_high = opening - low, high - opening
    low_first = to_low < to_high or (to_low == to_high and close >= opening)
    return (opening, low, high, close) if low_first else (opening, high, low, close)


class Replay:
    """The tape of a server. ``step`` is the next minute to play."""

    def __init__(self, server: RunningServer, start_step: int = 0) -> None:
        tape = server.options.tape
        assert tape is not None
        self._server = server
        self._tape = tape
        self.step = start_step
        self._funding = server.options.funding
        self._next_funding = 0
        for candles in server.publisher.candles:
            candles.close_recorded(start_step)
        start_ms = tape.start_ms + start_step * MINUTE_MS
        server.world.now_ms = start_ms
        self._open(start_ms)

    @property
    def is_over(self) -> bool:
        """Nothing left to play."""
        return self.step >= self._tape.steps

    def _open(self, start_ms: int) -> None:
        """Give every symbol the last price before the start, or its first one."""
        for contract in self._server.world.contracts:
            bars = self._tape.bars[:, contract.index]
            before = bars[max(0, self.step - 1440) : self.step]
            known = before[before["open_ms"] >= 0]
            if len(known):
                price = int(known[-1]["close"])
            else:
                later = bars[self.step : self.step + 1440]
                known = later[later["open_ms"] >= 0]
                price = int(known[0]["open"]) if len(known) else 0
            if price:
                market_rules.tick(self._server.world, contract.index, price, start_ms)
        self._server.flush()

    def points(self) -> Iterator[int]:
        """Play one minute; stops after each of its four moments and gives the time."""
        server, world = self._server, self._server.world
        open_ms = self._tape.start_ms + self.step * MINUTE_MS
        bars = self._tape.bars[self.step].tolist()
        share = server.options.volume_share_ppm
        paths = [path_of(bar[1], bar[2], bar[3], bar[4]) if bar[0] != ABSENT_MS else None for bar in bars]
        for i, offset_ms in enumerate(_OFFSETS_MS):
            now_ms = open_ms + offset_ms
            for index, path in enumerate(paths):
                if path is None:
                    continue
                volume = bars[index][5]
                lots = volume * share // _PPM // len(_OFFSETS_MS) if share else None
                if i == 0 or path[i] != path[i - 1]:
                    extra = {} if lots is None else {"lots": max(1, lots)}
                    move = market_rules.tick if i == 0 else market_rules.walk
                    move(world, index, path[i], now_ms, **extra)
            market_rules.advance(world, now_ms)
            server.flush()
            yield now_ms
        self._rates(open_ms + MINUTE_MS)
        self.step += 1
        for candles in server.publisher.candles:
            candles.close_recorded(self.step)
        server.pass_time(open_ms + MINUTE_MS)

    def _rates(self, now_ms: int) -> None:
        """Recorded funding rates that settle by now become the contracts' rates."""
        rows = self._funding
        while rows is not None and self._next_funding < len(rows):
            row = rows[self._next_funding]
            if int(row.ms) > now_ms:
                return
            self._next_funding += 1
            market = self._server.world.markets[int(row.symbol)]
            market.rate_e8 = int(row.rate_e8)
            market.next_funding_ms = int(row.ms)

    def play_step(self) -> bool:
        """One whole minute at once; False: the tape has ended."""
        if self.is_over:
            return False
        for _ in self.points():
            pass
        return True

    async def play(self, speed: float) -> None:
        """To the end. speed 0: as fast as possible; 60: an hour in a minute."""
        clock = self._server.options.clock
        wall_start = clock.now_ms()
        first_ms = self._tape.start_ms + self.step * MINUTE_MS
        while not self.is_over:
            for now_ms in self.points():
                if speed > 0:
                    await clock.sleep_until(wall_start + int((now_ms - first_ms) / speed))
                else:
                    await asyncio.sleep(0)
