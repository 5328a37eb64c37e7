"""Market streams: shards, closed bars only, the newest mark of each symbol, COIN-M rows left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.adapters.binance.scripted import START, FakeNet

from perpdesk.adapters.binance.errors import MalformedAnswer
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.market_stream import SHARD, MarketStream
from perpdesk.adapters.binance.stream_events import KlineBar
from perpdesk.adapters.clocks import VirtualClock


class Told:
    """A stream without a network, and what it told."""

    def __init__(self, *symbols: str) -> None:
        self.bars: list[tuple[str, KlineBar]] = []
        self.batches = 0
        self.stream = MarketStream(
            symbols=symbols,
            hosts=simulated("http://127.0.0.1:1"),
            clock=VirtualClock(START),
            dial=FakeNet().dial,
            on_bar=lambda symbol, bar: self.bars.append((symbol, bar)),
            on_marks=self.marked,
            on_gap=lambda ms: None,
        )

    def marked(self) -> None:
        self.batches += 1

    def say(self, stream: str, data: Any) -> None:
        raw = msgspec.json.encode({"stream": stream, "data": data} if stream else data)
        self.stream._frame(raw, "klines 1" if "kline" in stream else "marks")

    @property
    def prices(self) -> dict[str, str]:
        return {symbol: mark.price for symbol, mark in self.stream.marks.items()}


def mark(symbol: str, price: str, ms: int = START, **more: Any) -> dict[str, Any]:
    return {"e": "markPriceUpdate", "E": ms, "s": symbol, "p": price, "i": "1", "r": "0.0001", "T": ms} | more


def kline(symbol: str, *, closed: bool, interval: str = "1m") -> dict[str, Any]:
    bar = {
        "t": START, "T": START + 59_999, "s": symbol, "i": interval, "o": "1", "c": "2", "h": "3", "l": "0.5",
        "v": "10", "x": closed,
    }  # fmt: skip
    return {"e": "kline", "E": START, "s": symbol, "k": bar}


def test_each_route_says_when_it_last_delivered() -> None:
    """The canary asks for it: a route that is open and says nothing has proven nothing."""
    told = Told("AAAUSDT")
    assert told.stream.delivered_ms == {"marks": -1, "klines 1": -1}
    told.say("!markPrice@arr@1s", [mark("AAAUSDT", "1")])
    assert told.stream.delivered_ms == {"marks": START, "klines 1": -1}
    told.say("aaausdt@kline_1m", kline("AAAUSDT", closed=False))
    assert told.stream.delivered_ms == {"marks": START, "klines 1": START}


@pytest.mark.parametrize("stream", ["!markPrice@arr@1s", "!markPrice@arr", ""])
def test_of_marks_the_newest_is_kept_and_coin_margined_rows_are_not(stream: str) -> None:
    told = Told("AAAUSDT", "BBBUSDT")
    told.say(stream, [mark("AAAUSDT", "1", st=1), mark("BBBUSDT", "5"), mark("ZZZUSDT", "9")])
    told.say(stream, [mark("AAAUSDT", "2", START + 1), mark("BBBUSDT", "7", START + 1, st=2)])
    told.say(stream, [mark("AAAUSDT", "0", START - 1)])  # the slower of two sockets
    assert told.prices == {"AAAUSDT": "2", "BBBUSDT": "5"}
    assert told.batches == 3


def test_only_closed_one_minute_bars_are_told() -> None:
    told = Told("AAAUSDT")
    told.say("aaausdt@kline_1m", kline("AAAUSDT", closed=False))
    told.say("aaausdt@kline_5m", kline("AAAUSDT", closed=True, interval="5m"))
    told.say("aaausdt@kline_1m", kline("AAAUSDT", closed=True))
    assert [(symbol, bar.close) for symbol, bar in told.bars] == [("AAAUSDT", "2")]


def test_symbols_are_spread_over_shards_and_each_stands_in_one_address() -> None:
    symbols = [f"S{i:04d}USDT" for i in range(2 * SHARD + 1)]
    lines = Told(*symbols).stream.lines
    assert len(lines) == 4  # one for marks, three for bars


@pytest.mark.parametrize(
    "raw", [b'{"stream":"!markPrice@arr@1s","data":[{"s":1', b'{"stream":"!markPrice@arr@1s","data":[{}]}']
)
def test_a_broken_array_is_a_bad_frame(raw: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        Told("AAAUSDT").stream._frame(raw, "marks")
