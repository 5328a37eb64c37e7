"""1,000 users on 1,000 tokens, a pair a second each, in one process on the simulated market.

    python bench/volume_scale.py [--users 1000] [--seconds 300] [--no-failures] [--json FILE]

A tenth of the users have keys that are refused (half of them from the start, half from a third of the time
on), a twentieth streams that die. Prints pairs a second of venue time and of this machine's, processor time,
memory, and how long pairs take in venue time, for healthy users and for those without a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.config.volume import VolumeConfig, read_volume
from perpdesk.engine.volume.user import UserRun
from perpdesk.exchange.spot.alpha import token
from perpdesk.exchange.spot.inprocess import Latency
from perpdesk.volume_run.sim import SimulatedMarket, drive, driven
from perpdesk.volume_run.start import fixed_configs, sim_desk

START_MS = 1_763_640_000_000
QUANTUM_MS, TELL_S = 10, 10


def configuration(users: int) -> VolumeConfig:
    """One strategy a token, one user each."""
    lines = [
        "global_settings:",
        f"  max_concurrent_users: {users}",
        "  max_loss_per_day_all_users_usdt: 100000",
        "  max_loss_per_day_usdt: 1000",
        "strategies:",
    ]
    for i in range(1, users + 1):
        lines.append(
            f"  - {{strategy_id: s{i}, strategy_name: S{i}, enabled: true, target_token: T{i}, "
            f"target_chain: BSC, target_volume: 1000000, price_mode: discount_on_buy, user_ids: [{i}]}}"
        )
    return read_volume("\n".join(lines))


def quantile(values: Sequence[int], share: float) -> int | None:
    """The value below which this share lies; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


async def measure(
    users: int, seconds: int, folder: Path, *, failures: bool = True, wall_max_s: float = float("inf")
) -> dict[str, object]:
    """Run them for so many seconds of venue time (or of this machine's), with a database in this folder."""
    bad = users // 10 if failures else 0
    deaf = range(bad + 1, bad + 1 + (users // 20 if failures else 0))
    tokens = [(token(f"T{i}", f"ALPHA_{i}USDT", step_e8=10_000), 22_690_469) for i in range(1, users + 1)]
    market = SimulatedMarket(
        VirtualClock(START_MS),
        tokens=tokens,
        latency=Latency((5, 25), (5, 25), (5, 25)),
        history_max=8,
    )
    loaded = configuration(users)
    database = folder / "scale.sqlite"
    url = f"sqlite:///{database}"
    upgrade(url)
    async with await SqlStore.open(url) as books:
        desk = sim_desk(market, fixed_configs(loaded), books)
        desk.open()
        for i in range(1, bad // 2 + 1):
            market.spot.revoked.add(market.account(i))
        begun = time.perf_counter()

        async def start() -> None:
            await asyncio.gather(*(desk.start_strategy(name) for name in loaded.strategies))

        await driven(market, desk, start())
        started = time.perf_counter() - begun
        runs: dict[int, UserRun] = {
            user: run for one in desk.running.values() for user, run in one.runs.items()
        }
        first_ms, first, cpu = market.now_ms(), time.perf_counter(), time.process_time()

        async def until(ms: int) -> None:
            await drive(
                market,
                desk,
                lambda: market.now_ms() >= ms or time.perf_counter() - begun > wall_max_s,
                quantum_ms=QUANTUM_MS,
            )

        await until(first_ms + 2_000)
        for i in deaf:
            market.spot.deafen(market.account(i))
        await until(first_ms + seconds * 1_000 // 3)
        for i in range(bad // 2 + 1, bad + 1):
            market.spot.revoked.add(market.account(i))
        for second in range(seconds // 3, seconds, TELL_S):
            await until(first_ms + second * 1_000)
            done = sum(run.run.pairs for run in runs.values())
            print(f"{second} s: {done} pairs, {time.process_time() - cpu:.0f} s CPU", file=sys.stderr)
        await until(first_ms + seconds * 1_000)
        seconds = (market.now_ms() - first_ms) // 1_000
        wall, cpu = time.perf_counter() - first, time.process_time() - cpu
        states: dict[str, int] = defaultdict(int)
        for run in runs.values():
            states[run.run.state.value] += 1
        crosses = len(market.world.crosses)
        await desk.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took: dict[int, list[int]] = defaultdict(list)
    with sqlite3.connect(database) as rows:
        for user, ms in rows.execute(
            "SELECT user_id, ended_ms - created_ms FROM volume_pairs WHERE ended_ms IS NOT NULL"
        ):
            took[user].append(ms)
    healthy = [user for user in runs if user > bad and user not in deaf]
    good = [ms for user in healthy for ms in took[user]]
    slow = [ms for user in deaf for ms in took[user]]
    pairs = sum(map(len, took.values()))
    counts = [len(took[user]) for user in healthy]
    return {
        "users": users,
        "venue_seconds": seconds,
        "start_seconds": round(started, 1),
        "pairs": pairs,
        "pairs_per_venue_second": round(pairs / seconds, 1),
        "pairs_per_second_here": round(pairs / wall, 1),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "cpu_ms_per_pair": round(1_000 * cpu / max(1, pairs), 2),
        "memory_mib": round(memory),
        "healthy_users": len(healthy),
        "healthy_pair_ms": {"p50": quantile(good, 0.5), "p99": quantile(good, 0.99), "max": max(good)},
        "deaf_pair_ms": {"p50": quantile(slow, 0.5), "p99": quantile(slow, 0.99)},
        "healthy_pairs_a_user": {
            "least": min(counts),
            "median": statistics.median(counts),
            "most": max(counts),
        },
        "states": dict(states),
        "crosses": crosses,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--no-failures", action="store_true")
    parser.add_argument("--wall-max-seconds", type=float, default=float("inf"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # a hundred refused keys say so
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(given.users, given.seconds, Path(folder), failures=not given.no_failures))
    text = json.dumps(found, indent=1)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
