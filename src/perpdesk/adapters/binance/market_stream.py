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
from perpdesk.adapters.binance.sockets import Dial
from perpdesk.adapters.binance.stream_events import KlineBar, KlineEvent, MarkPrice
from perpdesk.ports import Clock

# Binance allows 1,024 streams on a connection and 10 messages a second to it; names go into the address.
SHARD = 200
STALE_MS, PING_MS = 15_000, 30_000


class MarketStream:
    """``run`` until cancelled. on_bar(symbol, bar): a closed 1-minute bar; on_marks: after a batch of marks.

    marks: symbol → (price text, exchange ms), the newest.
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
        self.marks: dict[str, tuple[str, int]] = {}
        self._symbols = frozenset(symbols)
        self._on_bar, self._on_marks = on_bar, on_marks
        ordered = [f"{symbol.lower()}@kline_1m" for symbol in symbols]
        shards = [ordered[i : i + SHARD] for i in range(0, len(ordered), SHARD)]
        self.lines = [
            self._line(f"market stream {i}", names, hosts, clock, dial, on_gap)
            for i, names in enumerate([["!markPrice@arr@1s"], *shards])
        ]

    async def run(self) -> None:
        """Keep all shards."""
        async with asyncio.TaskGroup() as tasks:
            for line in self.lines:
                tasks.create_task(line.run(), name=line.name)

    def _line(
        self,
        name: str,
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
            name,
            clock=clock,
            dial=dial,
            url=url,
            on_frame=self._frame,
            on_gap=on_gap,
            stale_ms=STALE_MS,
            ping_ms=PING_MS,
            only_messages_count=True,
        )

    def _frame(self, raw: bytes) -> None:
        frame = parse.frame(raw)
        if frame is None:
            return
        marked = False
        for event in frame.events:
            if isinstance(event, MarkPrice):
                # arrays carry the rows of COIN-M too (market 2)
                if event.market != 2 and event.symbol in self._symbols:
                    kept = self.marks.get(event.symbol)
                    if kept is None or kept[1] <= event.event_ms:
                        self.marks[event.symbol] = (event.mark, event.event_ms)
                        marked = True
            elif isinstance(event, KlineEvent) and event.bar.is_closed and event.bar.interval == "1m":
                self._on_bar(event.symbol, event.bar)
        if marked:
            self._on_marks()
