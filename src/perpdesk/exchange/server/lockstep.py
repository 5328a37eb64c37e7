"""The tape with the kernel's fills: it stands still at every event until the client has answered.

One minute is a series of stops. Symbols are walked one after another in universe order, each at its events
(fill, trigger, open, level, point, liquidation); then all bars are closed (``close``), funding is charged
(``funding``, if anything was), and the step is ``over``. What a client sends while the path stands still acts
on the rest of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from perpdesk.exchange.core import market as market_rules
from perpdesk.exchange.core.walks import Stop, Walks
from perpdesk.exchange.server.running import RunningServer
from perpdesk.exchange.server.sources import Replay
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS


class LockstepReplay(Replay):
    """A tape whose minutes are walked stop by stop. ``every_point``: also stop at each point of the path."""

    def __init__(self, server: RunningServer, start_step: int = 0) -> None:
        super().__init__(server, start_step)
        world = server.world
        self.walks = Walks(world, server.options.volume_share_ppm, world.rules.slippage_ppm)
        world.walks = self.walks
        for market in world.markets:
            if market.last:
                self.walks.closes[market.contract.index] = market.last
        world.charges_by_rows = self._funding is not None
        self.every_point = False
        self._under_way: Iterator[Stop] | None = None

    @property
    def is_over(self) -> bool:
        """Nothing left to play, and the last minute was answered to its end."""
        return self._under_way is None and super().is_over

    def next_stop(self) -> Stop | None:
        """Go on to the next place where the path stands still; None: the tape has ended."""
        if self._under_way is None:
            if self.is_over:
                return None
            self._under_way = self._minute()
        stop = next(self._under_way)
        if stop.at == "over":
            self._under_way = None
        return stop

    def play_step(self) -> bool:
        """A whole minute (or the rest of one), however often it would stand still."""
        while (stop := self.next_stop()) is not None:
            if stop.at == "over":
                return True
        return False

    def _minute(self) -> Iterator[Stop]:
        server, world, walks = self._server, self._server.world, self.walks
        open_ms = self._tape.start_ms + self.step * MINUTE_MS
        close_ms = open_ms + MINUTE_MS
        bars = self._tape.bars[self.step]
        world.now_ms = max(world.now_ms, open_ms)
        for contract in world.contracts:
            bar = bars[contract.index]
            if bar.open_ms == ABSENT_MS:
                continue
            walks.begin(contract.index, bar, self.every_point)
            while (stop := walks.go_on(contract.index, self.every_point)) is not None:
                world.now_ms = max(world.now_ms, stop.ms)
                walks.tell_activations()
                server.flush()
                yield stop
            walks.end(contract.index, bar)
            world.markets[contract.index].updated_ms = close_ms
        walks.tell_activations()
        self.step += 1
        for candles in server.publisher.candles:
            candles.close_recorded(self.step)
        server.pass_time(close_ms)
        yield Stop("close", "", 0, close_ms)
        if self._charge(close_ms):
            server.flush()
            yield Stop("funding", "", 0, close_ms)
        walks.relevel_all()
        server.flush()
        yield Stop("over", "", 0, close_ms)

    def _charge(self, now_ms: int) -> bool:
        """Recorded rates of this minute, at the row's mark or the close; True: somebody paid or received."""
        rows, paid = self._funding, False
        while rows is not None and self._next_funding < len(rows):
            row = rows[self._next_funding]
            if int(row.ms) > now_ms:
                break
            self._next_funding += 1
            if int(row.ms) != now_ms:
                continue
            market = self._server.world.markets[int(row.symbol)]
            market.rate_e8 = int(row.rate_e8)
            before = self._server.world.funding_count
            market_rules.settle_funding(self._server.world, market, now_ms, int(row.mark))
            paid = paid or self._server.world.funding_count > before
        self.walks.relevel_all()
        return paid
