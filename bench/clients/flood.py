"""30,000 market messages a second beside the user stream: are they all read, how late are account events?

python bench/clients/flood.py [--rate 30000] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from flood_source import USER_S

from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance.line import Line
from perpdesk.adapters.binance.sockets import dial_with
from perpdesk.adapters.binance.stream_events import AccountUpdate, KlineEvent
from perpdesk.adapters.clocks import SystemClock


async def measure(port: int, rate: int, seconds: float) -> dict[str, float]:
    """Counts, delays and memory."""
    read = 0
    sent: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    delays_ms: list[float] = []

    def market(raw: bytes) -> None:
        nonlocal read
        frame = parse.frame(raw)
        if frame is None:
            if not sent.done():
                sent.set_result(json.loads(raw)["result"])
        elif isinstance(frame.events[0], KlineEvent):
            read += 1

    def user(raw: bytes) -> None:
        frame = parse.frame(raw)
        assert frame is not None
        event = frame.events[0]
        assert isinstance(event, AccountUpdate)
        delays_ms.append((time.time_ns() // 1_000 - event.event_ms) / 1_000)

    async with aiohttp.ClientSession() as session:
        dial = dial_with(lambda: session)

        def line(path: str, on_frame: object) -> Line:
            async def url() -> str:
                return f"ws://127.0.0.1:{port}{path}"

            return Line(
                path, clock=SystemClock(), dial=dial, url=url, on_frame=on_frame,  # type: ignore[arg-type]
                on_gap=lambda ms: None, stale_ms=60_000, ping_ms=20_000,
            )  # fmt: skip

        began, cpu = time.perf_counter(), time.process_time()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lines = [line("/user", user), line(f"/market?rate={rate}&seconds={seconds}", market)]
        tasks = [asyncio.create_task(one.run()) for one in lines]
        count = await sent
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    cuts = statistics.quantiles(delays_ms, n=1000)
    return {
        "sent": count,
        "read": read,
        "messages_per_second": read / wall,
        "cpu_fraction": cpu / wall,
        "user_events": len(delays_ms),
        "user_events_expected": seconds / USER_S,
        "user_delay_p50_ms": cuts[499],
        "user_delay_p99_ms": cuts[989],
        "user_delay_p999_ms": cuts[998],
        "memory_growth_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
    }


def main() -> None:
    """Start the source, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=60)
    told = parser.parse_args()
    command = [sys.executable, str(Path(__file__).with_name("flood_source.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        assert source.stdin is not None
        port = int(source.stdout.readline())
        print(json.dumps(asyncio.run(measure(port, told.rate, told.seconds))))
        source.stdin.close()


if __name__ == "__main__":
    main()
