"""A live desk on the exchange's tape, in lockstep: the path of a bar waits for the desk's answer.

The exchange walks its tape with the kernel's fills (``--fills kernel --lockstep``) and stands still at every
event. The desk is the one of ``tests.oi.stage``: real client, real store, real radar. What it wants to be told of, and
which order goes first at one price, it says by the exchange's control words ``watch`` and ``rank``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tests.oi.stage import Stage

from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.exchange.core.walks import Walks
from perpdesk.exchange.server import RunningServer
from perpdesk.exchange.server.lockstep import LockstepReplay
from perpdesk.kernel import matching as kernel
from perpdesk.kernel import venue as doors
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.ports import Answer, NewOrder


def venue_on(server: RunningServer, slots: int) -> type[BinanceVenue]:
    """A venue that tells the exchange its levels and ranks."""

    class LockstepVenue(BinanceVenue):
        @property
        def walks(self) -> Walks:
            return cast(Walks, server.world.walks)

        async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
            await super().watch(symbol, fire_lo, fire_hi, peak_lo, peak_hi)
            levels = {"fire_lo": fire_lo, "fire_hi": fire_hi, "peak_lo": peak_lo, "peak_hi": peak_hi}
            self.walks.watch(0, symbol, levels)

        async def place(self, order: NewOrder) -> Answer:
            self.walks.rank(0, {order.client_id: order.sleeve * slots + order.slot})
            return await super().place(order)

    return LockstepVenue


class Driver:
    """Plays the tape minute by minute. on_stop is told each place where the path stood still."""

    def __init__(self, one: Stage, on_stop: Callable[[Any], None] = lambda stop: None) -> None:
        self.one, self.on_stop = one, on_stop
        self.stops = 0
        self.waits = 0
        server = one.server
        assert isinstance(server.replay, LockstepReplay)
        self.replay = server.replay
        self.world = server.world
        loop = one.loop
        # between two events the exchange's time goes on as everybody's does
        server.now_ms = lambda: max(self.world.now_ms, loop.now_ms)  # type: ignore[method-assign]

    async def minute(self) -> None:
        """One minute of the tape, from its open to the answer to its close."""
        one, walks, server = self.one, self.replay.walks, self.one.server
        tape = server.options.tape
        assert tape is not None
        open_ms = tape.start_ms + self.replay.step * MINUTE_MS
        bars = tape.bars[self.replay.step]
        await self._until(open_ms)
        for contract in self.world.contracts:
            bar = bars[contract.index]
            if bar.open_ms == ABSENT_MS:
                continue
            walks.begin(contract.index, bar)
            while True:
                await self._until(self._next_ms(contract.index))
                stop = walks.go_on(contract.index, False)
                if stop is None:
                    break
                walks.tell_activations()
                server.flush()
                one.show(klines=False)
                self.on_stop(stop)
                await self._answered()
            walks.end(contract.index, bar)
            self.world.markets[contract.index].updated_ms = open_ms + MINUTE_MS
        walks.tell_activations()
        await self._until(open_ms + MINUTE_MS)
        self.replay.step += 1
        for candles in server.publisher.candles:
            candles.close_recorded(self.replay.step)
        server.pass_time(open_ms + MINUTE_MS)
        walks.relevel_all()
        server.flush()
        for stream in sorted(server.hub.listeners):
            if stream.startswith("!markPrice") or "@kline" in stream:
                server.publisher.send(stream, server.now_ms())
        await self._answered()

    def _next_ms(self, contract: int) -> int:
        """When the path will stand still next: nobody may see before that what has happened then. 0: never."""
        times = [0]
        for lane in self.replay.walks.by_symbol.get(contract, ()):
            heads, walks, slots = lane.heads.copy(), lane.walks.copy(), lane.slots.copy()
            if kernel.step_path(slots, heads[0], walks[0], False) != kernel.DONE:
                times.append(int(walks[0].ms))
        return max(times)

    async def _until(self, ms: int) -> None:
        if ms > self.one.loop.now_ms:
            await self.one.loop.pause(ms - self.one.loop.now_ms)
        self.world.now_ms = max(self.world.now_ms, ms)

    async def _answered(self) -> None:
        """The desk has done what it can do now."""
        self.stops += 1
        await self.one.loop.pause(1)
        for _ in range(5_000):
            if self._is_settled():
                return
            self.waits += 1
            await self.one.loop.pause(10)
        raise AssertionError(f"the desk does not come to rest: {self._why}")

    _why = ""

    def _is_settled(self) -> bool:
        desk = self.one.process.desk
        if desk is None or not desk.is_ready:
            return True
        delivery, books = desk.delivery, desk.engine.books
        venue = cast(Any, desk.venue)
        if venue.untold or delivery._aside or delivery._following:
            self._why = f"{venue.untold} facts, {delivery._aside}"
            return False
        for place, line in delivery.lines.items():
            if line.flying is not None or not line.is_quiet:
                self._why = f"{place} {line}"
                return False
        for v, s in {(p[0], p[1]) for p in delivery.lines}:
            if doors.differences(books.slots, delivery.mirror, v, s, delivery._changed):
                self._why = f"{v} {s} is not as wanted"
                return False
        return not desk._turn.locked()
