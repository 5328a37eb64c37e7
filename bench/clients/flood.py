"""30,000 market messages a second beside the user stream, through the market and user streams of perpdesk.

Seven hundred symbols' klines over four sockets and the frame of all marks once a second over a fifth; an
account event every 20 ms over a sixth. Are all read, how late are the account events, does memory grow?

    python bench/clients/flood.py [--rate 30000] [--seconds 60] [--profile FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from frames import SYMBOLS

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.limits import Governor
from perpdesk.adapters.binance.market_stream import SHARD, MarketStream
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.sockets import dial_with
from perpdesk.adapters.binance.stream_events import AccountUpdate
from perpdesk.adapters.binance.user_stream import UserStream
from perpdesk.adapters.clocks import SystemClock

SOCKETS = 2 + -(-len(SYMBOLS) // SHARD)


def memory_mb() -> float:
    """Resident memory now."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(port: int, seconds: float) -> dict[str, float]:
    """Counts, delays and memory."""
    clock = SystemClock()
    own = ServerClock(clock)
    rest = Rest(
        hosts=simulated(f"http://127.0.0.1:{port}"),
        clock=clock,
        server=own,
        governor=Governor(clock, own),
        credentials=Credentials("key", "secret"),
        timeout_ms=int(seconds * 1_000) + 60_000,
    )
    dial = dial_with(lambda: rest.session)
    delays_ms: list[float] = []
    bars = 0

    def heard(event: object) -> None:
        if isinstance(event, AccountUpdate):
            delays_ms.append((time.time_ns() // 1_000 - event.event_ms) / 1_000)

    def closed(symbol: str, bar: object) -> None:
        nonlocal bars
        bars += 1

    market = MarketStream(
        symbols=SYMBOLS, hosts=rest.hosts, clock=clock, dial=dial, on_bar=closed, on_marks=lambda: None,
        on_gap=lambda ms: None,
    )  # fmt: skip
    user = UserStream(rest=rest, clock=clock, dial=dial, on_event=heard, on_gap=lambda ms: None)
    tasks = [asyncio.create_task(market.run()), asyncio.create_task(user.run())]
    while not all(line.state.is_open for line in (*market.lines, user.line)):
        await asyncio.sleep(0.01)

    def read() -> int:
        return sum(line.state.frames for line in market.lines)

    memory = [memory_mb()]
    began, cpu = time.perf_counter(), time.process_time()
    asking = asyncio.create_task(_sent(rest, port))
    while not asking.done():
        await asyncio.wait({asking}, timeout=1.0)
        memory.append(memory_mb())
    told = asking.result()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    behind = int(told["sent"]) - read()
    while read() < told["sent"] and behind < 10**6:
        await asyncio.sleep(0.01)
    caught_up_s = time.perf_counter() - began - wall
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await rest.close()
    assert len(market.marks) == len(SYMBOLS)
    cuts = statistics.quantiles(delays_ms, n=1000)
    return {
        "sent": told["sent"],
        "read": read(),
        "messages_per_second": told["sent"] / seconds,
        "behind_at_the_end": behind,
        "caught_up_s": caught_up_s,
        "source_buffer_max_bytes": told["pending_max"],
        "cpu_fraction": cpu / wall,
        "user_events_sent": told["user_events"],
        "user_events": len(delays_ms),
        "user_delay_p50_ms": cuts[499],
        "user_delay_p99_ms": cuts[989],
        "user_delay_p999_ms": cuts[998],
        "user_delay_max_ms": max(delays_ms),
        "rss_start_mb": memory[0],
        "rss_after_second_1_mb": memory[min(1, len(memory) - 1)],
        "rss_end_mb": memory[-1],
        "rss_max_mb": max(memory),
    }


async def _sent(rest: Rest, port: int) -> dict[str, float]:
    """What the source says when it is over."""
    async with rest.session.get(f"http://127.0.0.1:{port}/sent") as answer:
        told: dict[str, float] = await answer.json()
        return told


def main() -> None:
    """Start the source, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--profile", help="write a profile of our side to this file")
    told = parser.parse_args()
    command = [sys.executable, str(Path(__file__).with_name("flood_source.py"))]
    command += ["--rate", str(told.rate), "--seconds", str(told.seconds), "--sockets", str(SOCKETS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        assert source.stdin is not None
        port = json.loads(source.stdout.readline())["port"]
        profile = cProfile.Profile() if told.profile else None
        if profile is not None:
            profile.enable()
        result = asyncio.run(measure(port, told.seconds))
        if profile is not None:
            profile.disable()
            profile.dump_stats(told.profile)
        print(json.dumps(result))
        source.stdin.close()


if __name__ == "__main__":
    main()
