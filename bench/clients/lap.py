"""One lap of a client: market orders, in turn bought and sold, at a concurrency; wall, CPU and latency."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SYMBOL, QUANTITY = "BTCUSDT", "0.004"

# Sends one order with this client id, "BUY" or "SELL", and raises if it was not accepted.
Place = Callable[[str, str], Awaitable[Any]]


def options() -> argparse.Namespace:
    """What every client is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--orders", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=16)
    return parser.parse_args()


def memory_mb() -> int:
    """The process's largest resident memory so far (getrusage counts what the parent had at the fork)."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


async def serve(name: str, told: argparse.Namespace, place: Place) -> None:
    """Say that we are ready; then one lap for every line on standard input."""
    print(json.dumps({"client": name, "memory_mb": memory_mb()}), flush=True)
    loop = asyncio.get_running_loop()
    lap = 0
    while await loop.run_in_executor(None, sys.stdin.readline):
        result = await run(f"l{lap}", told.orders, told.concurrency, place)
        print(json.dumps(result), flush=True)
        lap += 1


async def run(prefix: str, orders: int, concurrency: int, place: Place) -> dict[str, float]:
    """Place ``orders`` orders, ``concurrency`` at a time."""
    latencies: list[float] = []
    numbers = iter(range(orders))

    async def worker() -> None:
        for number in numbers:
            client_id = f"{prefix}-{number}"
            began = time.perf_counter()
            await place(client_id, "SELL" if number % 2 else "BUY")
            latencies.append(time.perf_counter() - began)

    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return figures(orders, wall, cpu, latencies)


def serve_blocking(name: str, told: argparse.Namespace, place: Callable[[str, str], Any]) -> None:
    """As ``serve``, for a client whose calls block: a thread for each order in flight."""
    print(json.dumps({"client": name, "memory_mb": memory_mb()}), flush=True)
    lap = 0
    with ThreadPoolExecutor(told.concurrency) as threads:
        while sys.stdin.readline():
            print(
                json.dumps(run_blocking(f"l{lap}", told.orders, told.concurrency, place, threads)), flush=True
            )
            lap += 1


def run_blocking(
    prefix: str, orders: int, concurrency: int, place: Callable[[str, str], Any], threads: ThreadPoolExecutor
) -> dict[str, float]:
    """Place ``orders`` orders, ``concurrency`` at a time."""
    latencies: list[float] = []
    numbers = iter(range(orders))

    def worker() -> None:
        for number in numbers:  # the interpreter's lock keeps a list's iterator whole
            began = time.perf_counter()
            place(f"{prefix}-{number}", "SELL" if number % 2 else "BUY")
            latencies.append(time.perf_counter() - began)

    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for done in [threads.submit(worker) for _ in range(concurrency)]:
        done.result()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return figures(orders, wall, cpu, latencies)


def figures(orders: int, wall: float, cpu: float, latencies: list[float]) -> dict[str, float]:
    """One lap in numbers."""
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "orders": orders,
        "seconds": wall,
        "cpu_seconds": cpu,
        "orders_per_second": orders / wall,
        "orders_per_cpu_second": orders / cpu,
        "place_p50_ms": cuts[49] * 1000,
        "place_p99_ms": cuts[98] * 1000,
    }
