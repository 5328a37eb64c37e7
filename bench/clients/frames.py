"""A 700-symbol mark-price frame decoded and applied, and closed-loop counts of stream messages."""

from __future__ import annotations

import json
import statistics
import time

import msgspec

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.market_stream import MarketStream
from perpdesk.adapters.binance.sockets import Dial
from perpdesk.adapters.clocks import SystemClock

SYMBOLS = [f"S{i:04d}USDT" for i in range(700)]


def mark_frame(ms: int) -> bytes:
    """What ``!markPrice@arr@1s`` sends for 700 symbols, about 115 kB."""
    rows = [
        {
            "e": "markPriceUpdate", "E": ms, "s": symbol, "p": "11794.15000000", "ap": "11794.15000000",
            "P": "11784.25641265", "i": "11784.62659091", "r": "0.00038167", "T": ms + 1_000, "st": 1,
        }
        for symbol in SYMBOLS
    ]  # fmt: skip
    return json.dumps({"stream": "!markPrice@arr@1s", "data": rows}, separators=(",", ":")).encode()


def kline_frame(ms: int, symbol: str = "S0001USDT") -> bytes:
    """An open bar's update, as it comes four times a second for each symbol."""
    bar = {
        "t": ms, "T": ms + 59_999, "s": symbol, "i": "1m", "f": 100, "L": 200, "o": "0.0010",
        "c": "0.0020", "h": "0.0025", "l": "0.0015", "v": "1000", "n": 100, "x": False, "q": "1.0000",
        "V": "500", "Q": "0.5", "B": "0",
    }  # fmt: skip
    data = {"e": "kline", "E": ms, "s": symbol, "k": bar}
    return json.dumps({"stream": f"{symbol.lower()}@kline_1m", "data": data}, separators=(",", ":")).encode()


def microseconds(stream: MarketStream, frames: list[bytes]) -> float:
    """The median time of one frame, decoded and applied."""
    times = []
    for frame in frames:
        began = time.perf_counter()
        stream._frame(frame)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


class Row(msgspec.Struct, rename={"symbol": "s", "mark": "p", "event_ms": "E"}):
    """The three fields that are needed of a mark price."""

    symbol: str
    mark: str
    event_ms: int


class Rows(msgspec.Struct):
    """The frame as plain msgspec would have it."""

    data: list[Row]


def references(frames: list[bytes]) -> dict[str, float]:
    """The same frames merely decoded: by msgspec into structs, by the standard library into dicts."""
    found = {}
    for name, decode in (("msgspec", msgspec.json.Decoder(Rows).decode), ("json", json.loads)):
        times = []
        for frame in frames:
            began = time.perf_counter()
            decode(frame)
            times.append(time.perf_counter() - began)
        found[f"mark_frame_700_{name}_us"] = statistics.median(times) * 1e6
    return found


def measure() -> dict[str, float]:
    """Microseconds a frame."""

    async def no_network(url: str) -> object:
        raise RuntimeError(url)

    dial: Dial = no_network  # type: ignore[assignment]
    stream = MarketStream(
        symbols=SYMBOLS,
        hosts=simulated("http://127.0.0.1:1"),
        clock=SystemClock(),
        dial=dial,
        on_bar=lambda symbol, bar: None,
        on_marks=lambda: None,
        on_gap=lambda ms: None,
    )
    marks = [mark_frame(1_763_640_000_000 + i) for i in range(300)]
    found = {"mark_frame_700_us": microseconds(stream, marks), "mark_frame_bytes": float(len(marks[0]))}
    found |= references(marks)
    assert len(stream.marks) == 700
    assert all(mark.event_ms == 1_763_640_000_299 for mark in stream.marks.values())
    klines = [kline_frame(1_763_640_000_000 + i) for i in range(20_000)]
    return found | {"kline_frame_us": microseconds(stream, klines)}


if __name__ == "__main__":
    print(json.dumps(measure()))
