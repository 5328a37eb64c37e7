"""The radar at scale: hundreds of symbols polled every minute of a simulated day, beside a desk that trades.

    python bench/oi_scale.py --symbols 600 --hours 24 --traded 6

Everything is the real thing (client, limits, radar, store, desk, the exchange's own server); only time is
virtual. Printed as JSON: coverage, polls, skipped slots, the largest weight used in a minute as a share of
the limit, resident memory by hour, entries, and the machine time from the last input (sentiment included) to
the entry at the wire. A breakout is made every few minutes.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.oi.stage import Stage, Told, play, quiet, stage

from perpdesk.config.load import load
from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.server import ServeOptions
from perpdesk.market.instruments import contract
from perpdesk.simulation.clock import WorldClock
from perpdesk.simulation.database import files
from perpdesk.simulation.network import ADDRESS

CONFIG = """
account: {balance_usdt: 1000000, leverage: 6, margin_mode: isolated}
risk: {positions_max: 20, max_total_notional_usdt: 1000000}
oi:
  initial_balance_usdt: 10000
  max_monitored_symbols: max
  timeout_min: 10
  cooldown_s: 0
  max_positions: 20
"""
EVERY_MINUTES = 5


def resident_mb() -> float:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


async def breakouts(one: Stage, names: list[str]) -> None:
    """Every few minutes a traded symbol breaks out, and comes back slowly afterwards."""
    at = 0
    while True:
        await one.minute(20_000)
        await one.passes((EVERY_MINUTES - 1) * 60_000)
        name = names[at % len(names)]
        at += 1
        market = one.server.world.markets[one.server.contract(name).index]
        told = one.server.options.open_interest[name]
        assert isinstance(told, Told)
        one.interest_is(name, (told.amount or 1e5) * 1.04)
        up = at % (2 * len(names)) < len(names)
        one.price(name, str(round(market.last / 100 * (1.02 if up else 1.012), 2)))
        await one.minute(20_000)
        await one.passes(3 * 60_000)
        one.price(name, "100")


async def run(one: Stage, hours: int, names: list[str], said: dict[str, object]) -> None:
    memory: list[float] = []
    weights: list[int] = []
    await one.start(600_000)
    making = one.loop.create_task(breakouts(one, names), name="breakouts")
    limit = one.server.options.weight_limit
    for _ in range(hours):
        for _ in range(3_600):
            await one.passes(1_000)
            weights.append(one.server.limits.used(ADDRESS, one.loop.now_ms))
        memory.append(resident_mb())
        print(
            f"hour {len(memory)}: {memory[-1]} MB, weight {max(weights[-3600:])}", file=sys.stderr, flush=True
        )
    making.cancel()
    assert one.process.radar is not None
    radar = one.process.radar.radar
    assert radar is not None
    figures = radar.figures
    send = one.desk.metrics.snapshot()
    said.update(
        symbols=len(radar.symbols),
        polls=figures.polls,
        skipped=figures.skipped,
        unwritten=figures.unwritten,
        coverage=round(figures.coverage, 6),
        weight_max=max(weights),
        weight_share=round(max(weights) / limit, 4),
        memory_mb=memory,
        entries=sum(row["buyer"] for row in one.account.fills),
        refusals=figures.refusals,
        signal_to_send_us={k: v for k, v in send.items() if "signal_to_send" in k},
        alarms=sorted(set(one.alarms)),
    )


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--traded", type=int, default=6)
    chosen = parser.parse_args()
    names = [f"X{n:03d}USDT" for n in range(chosen.symbols)]
    known = {
        name: contract(
            name, price_tick=Decimal("0.01"), lot_step=Decimal("0.01"), qty_min=Decimal("0.01"),
            qty_max=Decimal(1_000_000), market_qty_max=Decimal(1_000_000), notional_min=Decimal(5),
        )
        for name in names
    }  # fmt: skip
    said: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, files() as kept:
        path = Path(folder) / "desk.yaml"
        path.write_text(CONFIG)

        def options(clock: WorldClock) -> ServeOptions:
            return ServeOptions(
                clock=clock, prices=dict.fromkeys(names, "100"), instruments=known, accounts=1,
                balance="1000000", open_interest={name: Told() for name in names},
                rules=Rules(depth_level_usdt=5_000_000),
            )  # fmt: skip

        began = time.perf_counter()
        with stage(kept, load(path), options) as one:
            one.traded = chosen.traded
            one.history = quiet(dict.fromkeys(names[: chosen.traded], 10_000), 140)
            play(one, lambda made: run(made, chosen.hours, names[: chosen.traded], said))
        said["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
