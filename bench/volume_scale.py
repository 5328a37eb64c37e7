"""1,000 users on 1,000 tokens, a pair a second each, in one process on the simulated market.

    python bench/volume_scale.py [--users 1000] [--seconds 300]

A tenth of the users have keys that are refused, a twentieth streams that die. Prints pairs a second of venue
time and of this machine's, processor time, memory, and how long pairs take in venue time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.config.volume import VolumeConfig, read_volume
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.spot.alpha import token
from perpdesk.exchange.spot.inprocess import Latency
from perpdesk.volume_run.sim import SimulatedMarket, drive, driven
from perpdesk.volume_run.start import fixed_configs, sim_desk

START_MS = 1_763_640_000_000


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


async def measure(users: int, seconds: int) -> dict[str, object]:
    """Run them for so many seconds of venue time."""
    tokens = [(token(f"T{i}", f"ALPHA_{i}USDT", step_e8=10_000), 22_690_469) for i in range(1, users + 1)]
    market = SimulatedMarket(
        VirtualClock(START_MS),
        tokens=tokens,
        latency=Latency((5, 25), (5, 25), (5, 25)),
        history_max=8,
    )
    loaded = configuration(users)
    async with await SqlStore.open("sqlite://") as books:
        desk = sim_desk(market, fixed_configs(loaded), books)
        desk.open()
        for i in range(1, users // 10 + 1):
            market.spot.revoked.add(market.account(i))
        begun = time.perf_counter()

        async def start() -> None:
            for name in loaded.strategies:
                await desk.start_strategy(name)

        await driven(market, desk, start())
        started = time.perf_counter() - begun
        dying = {run: one for one in desk.running.values() for run in one.runs.values()}
        market.spot.plan.add(Fault(kind="ws-close", count=users // 20))
        first_ms, first = market.now_ms(), time.perf_counter()
        cpu = time.process_time()
        end_ms = first_ms + seconds * 1_000
        await drive(market, desk, lambda: market.now_ms() >= end_ms, quantum_ms=10)
        wall, cpu = time.perf_counter() - first, time.process_time() - cpu
        flat = [run.run.pairs for run in dying if run.seat.user_id > users // 10]
        shown = desk.metrics.snapshot()
        pairs = sum(flat)
        crosses = len(market.world.crosses)
        halted = sum(run.run.state.value == "HALTED" for run in dying)
        await desk.abandon()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "users": users,
        "venue_seconds": seconds,
        "start_seconds": round(started, 1),
        "pairs": pairs,
        "pairs_per_venue_second": round(pairs / seconds, 1),
        "pairs_per_second_here": round(pairs / wall, 1),
        "cpu_seconds": round(cpu, 1),
        "memory_mib": round(memory),
        "pair_ms": shown.get("volume_pair_ms"),
        "fewest_and_most_pairs_of_a_user": [min(flat), max(flat)],
        "halted": halted,
        "streams_lost": market.spot.plan.fired.total(),
        "crosses": crosses,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=300)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.users, given.seconds)), indent=1))


if __name__ == "__main__":
    main()
