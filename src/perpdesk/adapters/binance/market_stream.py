"""Market streams of many symbols: shards of one socket each, closed bars passed on, marks kept newest only.

Queues never grow with the market: of the marks only the last of each symbol is kept, and of the bars only
closed ones are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.line import Line
from perpdesk.adapters.binance.parse import Mark
from perpdesk.adapters.binance.sockets import Dial
from perpdesk.adapters.binance.stream_events import KlineBar, KlineEvent, MarkPrice
from perpdesk.ports import Clock

# Binance allows 1,024 streams on a connection and 10 messages a second to it; names go into the address.
SHARD = 200
STALE_MS, PING_MS = 15_000, 30_000


class MarketStream:
    """``run`` until cancelled. on_bar(symbol, bar): a closed 1-minute bar; on_marks: after a batch of marks.

    marks: the newest mark of each symbol. delivered_ms: our time of each route's newest message (-1: none).
    """

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        hosts: Hosts,
        clock: Clock,
        dial: Dial,
        on_bar: Callable[[str, KlineBar], None],
        on_marks: Callable[[], None],
        on_gap: Callable[[int], None],
    ) -> None:
        self.marks: dict[str, Mark] = {}
        self._symbols = frozenset(symbols)
        self._on_bar, self._on_marks = on_bar, on_marks
        ordered = [f"{symbol.lower()}@kline_1m" for symbol in symbols]
        shards = [ordered[i : i + SHARD] for i in range(0, len(ordered), SHARD)]
        self._clock = clock
        routes = {"marks": ["!markPrice@arr@1s"]}
        routes |= {f"klines {i}": names for i, names in enumerate(shards, 1)}
        self.delivered_ms = dict.fromkeys(routes, -1)
        self.lines = [self._line(route, names, hosts, clock, dial, on_gap) for route, names in routes.items()]

    async def run(self) -> None:
        """Keep all shards."""
        async with asyncio.TaskGroup() as tasks:
            for line in self.lines:
                tasks.create_task(line.run(), name=line.name)

    def _line(
        self,
        route: str,
        streams: list[str],
        hosts: Hosts,
        clock: Clock,
        dial: Dial,
        on_gap: Callable[[int], None],
    ) -> Line:
        address = f"{hosts.streams}/market/stream?streams={'/'.join(streams)}"

        async def url() -> str:
            return address

        return Line(
            f"market stream {route}",
            clock=clock,
            dial=dial,
            url=url,
            on_frame=lambda raw: self._frame(raw, route),
            on_gap=on_gap,
            stale_ms=STALE_MS,
            ping_ms=PING_MS,
            only_messages_count=True,
        )

    def _frame(self, raw: bytes, route: str) -> None:
        marks = parse.marks(raw)
        if marks is not None:
            self.delivered_ms[route] = self._clock.now_ms()
            self._mark(marks)
            return
        frame = parse.frame(raw)
        if frame is None:
            return
        if any(isinstance(event, (MarkPrice, KlineEvent)) for event in frame.events):
            self.delivered_ms[route] = self._clock.now_ms()
        told = [event for event in frame.events if isinstance(event, MarkPrice)]
        if told:
            self._mark([Mark(one.symbol, one.mark, one.event_ms, one.market or 1) for one in told])
        for event in frame.events:
            if isinstance(event, KlineEvent) and event.bar.is_closed and event.bar.interval == "1m":
                self._on_bar(event.symbol, event.bar)

    def _mark(self, rows: list[Mark]) -> None:
        kept, symbols = self.marks, self._symbols
        for row in rows:
            symbol = row.symbol
            if symbol in symbols and row.market != 2:  # arrays carry the rows of COIN-M too (market 2)
                before = kept.get(symbol)
                if before is None or before.event_ms <= row.event_ms:
                    kept[symbol] = row
        self._on_marks()
