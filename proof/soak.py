"""Does memory grow? Many accounts, each with its own desk and database, trade for hours of venue time.

One process: the desks as they run live (``live.assemble``: engine, guardian, reconciliation, real store on a
SQLite file each), and the simulated exchange with all accounts behind it, on a clock that jumps from event to
event. No faults, no people; every account asks from an address of its own. What grows in the exchange (its
ledger, its orders) stands in the same process and is measured with the rest, so the slope is an upper bound
of the desks'.
"""

from __future__ import annotations

import argparse
import contextvars
import gc
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from perpdesk.adapters.binance.connect import Gateway  # noqa: E402
from perpdesk.adapters.binance.hosts import simulated  # noqa: E402
from perpdesk.adapters.binance.signing import Credentials  # noqa: E402
from perpdesk.adapters.binance.venue import BinanceVenue  # noqa: E402
from perpdesk.adapters.build import build_hash  # noqa: E402
from perpdesk.adapters.folder import MemoryDisk, MemoryFolder  # noqa: E402
from perpdesk.adapters.sqlstore import SqlStore  # noqa: E402
from perpdesk.app import sleeves_of  # noqa: E402
from perpdesk.config.load import loads  # noqa: E402
from perpdesk.domain.books import TradingMode  # noqa: E402
from perpdesk.domain.ownership import LeaseClaim  # noqa: E402
from perpdesk.engine.live.desk import LiveDesk  # noqa: E402
from perpdesk.engine.ownership import Ownership  # noqa: E402
from perpdesk.exchange.core.accounts import Keys  # noqa: E402
from perpdesk.exchange.server import ServeOptions  # noqa: E402
from perpdesk.exchange.server.app import build  # noqa: E402
from perpdesk.live import assemble, plan, write_down  # noqa: E402
from perpdesk.market.instruments import bundled  # noqa: E402
from perpdesk.market.universe import Universe  # noqa: E402
from perpdesk.service.rungs import SpokenRungs  # noqa: E402
from perpdesk.simulation.clock import ProcessClock, WorldClock  # noqa: E402
from perpdesk.simulation.database import DatabaseFile, Files, drive, files  # noqa: E402
from perpdesk.simulation.loop import OWNER, Incarnation, new_loop  # noqa: E402
from perpdesk.simulation.market import Market  # noqa: E402
from perpdesk.simulation.network import ADDRESS, URL, Network  # noqa: E402
from perpdesk.simulation.run import EPOCH_MS  # noqa: E402
from perpdesk.simulation.trace import Trace  # noqa: E402

CONFIG = """
account: {{balance_usdt: 1000000, leverage: 5, margin_mode: isolated}}
risk: {{positions_max: {symbols}, max_total_notional_usdt: {total}, worst_case_fraction: 0.9}}
sma_cross:
  fast: 2
  slow: 3
  notional_usdt: 1000
  positions_max: {symbols}
  stop: 0.02
  trail_activation: 0.02
  trail_callback: 0.008
  take_profit: 0.015
  take_profit_share: 0.5
  cooldown_s: 0
"""
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
# Memory grows while caches fill and positions open; the line is fitted to what comes after.
SETTLING = 0.25


class Streets(Network):
    """Every account asks from an address of its own."""

    def address_of(self, sender: Incarnation | None) -> str:
        return ADDRESS if sender is None else f"127.0.0.{sender.number + 1}"


@dataclass
class Soak:
    """``points``: (venue ms since the start, resident bytes, positions held, fills of the exchange)."""

    accounts: int
    symbols: int
    minutes: int
    cpu_max_s: float
    points: list[tuple[int, int, int, int]] = field(default_factory=list)
    desks: list[LiveDesk] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    is_over: bool = False

    def run(self, folder: Files) -> dict[str, Any]:
        """All of it; the figures."""
        began = time.process_time()
        loop = self.loop = new_loop(1, EPOCH_MS)
        trace = Trace(loop)
        chosen = [
            name for name, one in sorted(bundled().items())
            if name.endswith("USDT") and "0.001" <= str(one.price_tick) <= "0.01"
        ][: self.symbols]  # fmt: skip
        assert len(chosen) == self.symbols, f"only {len(chosen)} contracts of that tick are known"
        self.server = build(
            ServeOptions(
                clock=WorldClock(loop),
                prices=dict.fromkeys(chosen, "100"),
                accounts=self.accounts,
                balance="1000000",
                control=True,
            )
        )
        self.network = Streets(loop, self.server, trace, 1)
        loop.connect = self.network.connect
        self.market = Market(loop, self.server, 1, events=False)
        self.server.gate.keys.clear()
        for i in range(self.accounts):
            self.server.gate.add(Keys(i, *_key(i)))
            for contract in self.server.world.contracts:
                self.server.world.accounts[i].of(contract.index).isolated = True
        self.loaded = loads(CONFIG.format(symbols=self.symbols, total=2_000 * self.symbols))
        world = self.server.world.universe
        most = tuple(int(market.last) * 16 for market in self.server.world.markets)
        self.universe = Universe(world.symbols, world.instruments, world.price_digits, world.lot_step, most)
        opened = [folder.one(loop, trace, i) for i in range(self.accounts)]
        self.files = [one.__enter__() for one in opened]
        try:
            loop.run(self._watch())
            self.is_over = True  # what is buried below says a last word
        finally:
            for one in opened:
                one.__exit__(None, None, None)
            cpu_s = time.process_time() - began
            loop.bury()
        return self._figures(cpu_s)

    async def _watch(self) -> None:
        loop, began = self.loop, time.process_time()
        running = [loop.create_task(self.market.run()), loop.create_task(self.market.pulse())]
        for i in range(self.accounts):
            incarnation = Incarnation(f"account {i}", i + 1)
            context = contextvars.copy_context()
            context.run(OWNER.set, incarnation)
            loop.create_task(self._live(i, incarnation), context=context)
            await loop.pause(500)  # nobody starts fifty desks in one instant
        while loop.elapsed_ms < self.minutes * MINUTE_MS:
            await loop.pause(MINUTE_MS)
            self._look()
            if self.ends or time.process_time() - began > self.cpu_max_s:
                break
            for task in running:
                if task.done():
                    task.result()

    def _look(self) -> None:
        self._forget()
        if len(self.points) % 5 == 0:
            gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held = sum(1 for account in self.server.world.accounts for one in account.held(None) if one.lots)
        fills = sum(int(desk.metrics.snapshot().get("fills_total", 0)) for desk in self.desks)
        self.points.append((self.loop.elapsed_ms, pages * os.sysconf("SC_PAGE_SIZE"), held, fills))
        minutes = self.loop.elapsed_ms // MINUTE_MS
        print(
            f"soak: minute {minutes}, {pages // 256} MB, {held} positions, {fills} fills",
            file=sys.stderr,
            flush=True,
        )

    def _forget(self) -> None:
        """What only a simulation keeps, to look at deaths and at what was sent: no desk is any of it."""
        self.network.sent.clear()
        self.loop._grave.clear()
        self.loop._tasks = [one for one in self.loop._tasks if not one.done()]

    async def _live(self, i: int, incarnation: Incarnation) -> None:
        drive(self.files[i], incarnation)
        try:
            await self._trade(i, self.files[i])
            self.ends.append(f"account {i} ended")
        except Exception as error:
            if not self.is_over:
                self.ends.append(f"account {i}: {error!r}")
            raise

    async def _trade(self, i: int, file: DatabaseFile) -> None:
        clock, account_id = ProcessClock(self.loop), i + 1
        async with await SqlStore.open(file.url) as store:
            made = plan(self.loaded, sleeves_of(self.loaded, ["sma_cross"]), self.universe)
            await write_down(made, store, clock.now_ms())
            await store.set_trading_control(account_id, True, "soak", clock.now_ms())
            claim = LeaseClaim(
                account_id=account_id, owner=f"soak/{account_id}", host="soak", pid=account_id,
                build_hash=build_hash(), params_hash=made.snapshot.params_hash,
            )  # fmt: skip
            folder = MemoryFolder(MemoryDisk())
            owner = Ownership(claim=claim, leases=store, folder=folder, clock=clock)
            rungs = SpokenRungs(folder, account_id)
            owner.obeys(rungs.obeyed)
            await owner.acquire()
            api_key, _, secret = _key(i)
            rest = Gateway(simulated(URL), clock).rest(
                Credentials(api_key, secret), "soak", owner.lease_end_ms
            )
            rest.entry_end_ms = owner.entry_end_ms
            desk = assemble(
                made,
                venue_of=lambda place_of: BinanceVenue(
                    universe=self.universe, rest=rest, clock=clock, dial=self.network.dial,
                    place_of=place_of, patience_ms=20_000,
                ),
                store=store,
                clock=clock,
                owner=owner,
                rungs=rungs,
                account_id=account_id,
                build_hash=claim.build_hash,
                seed=account_id,
                mode=TradingMode.TESTNET,
            )  # fmt: skip
            self.desks.append(desk)
            await desk.run()

    def _figures(self, cpu_s: float) -> dict[str, Any]:
        span_ms = self.points[-1][0] if self.points else 0
        settled = [one for one in self.points if one[0] >= SETTLING * span_ms]
        return {
            "accounts": self.accounts,
            "symbols": self.symbols,
            "venue_minutes": span_ms // MINUTE_MS,
            "venue_minutes_wanted": self.minutes,
            "cpu_s": round(cpu_s),
            "positions_mean": round(sum(one[2] for one in settled) / max(1, len(settled))),
            "positions_max": max((one[2] for one in self.points), default=0),
            "fills": self.points[-1][3] if self.points else 0,
            "requests": self.network.requests,
            "stream_messages": self.network.messages,
            "rss_first_mb": _mb(self.points[0][1]) if self.points else 0,
            "rss_settled_mb": _mb(settled[0][1]) if settled else 0,
            "rss_last_mb": _mb(self.points[-1][1]) if self.points else 0,
            "settling_minutes": round(SETTLING * span_ms / MINUTE_MS),
            "slope": slope(settled),
            "points": [[ms // MINUTE_MS, _mb(rss), held, fills] for ms, rss, held, fills in self.points],
            "ended_by_itself": self.ends,
        }


def slope(points: list[tuple[int, int, int, int]]) -> dict[str, float]:
    """The line of least squares through (venue time, resident memory): MB per hour, and the root of the mean
    squared distance from it, MB. kb_per_fill: the same growth, over the fills in that time."""
    if len(points) < 3:
        return {"mb_per_hour": 0.0, "scatter_mb": 0.0, "kb_per_fill": 0.0, "points": len(points)}
    x = [one[0] / HOUR_MS for one in points]
    y = [one[1] / 1e6 for one in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    rise = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    per_hour = rise / sum((a - mean_x) ** 2 for a in x)
    rest = sum((b - mean_y - per_hour * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    fills = points[-1][3] - points[0][3]
    return {
        "mb_per_hour": round(per_hour, 2),
        "scatter_mb": round((rest / len(x)) ** 0.5, 2),
        "kb_per_fill": round(per_hour * (x[-1] - x[0]) * 1000 / fills, 2) if fills else 0.0,
        "points": len(points),
    }


def _key(i: int) -> tuple[str, str, str]:
    return f"soak{i:03}".ljust(64, "k"), "HMAC", f"soak{i:03}".ljust(64, "s")


def _mb(size: int) -> int:
    return round(size / 1e6)


def soak(accounts: int, symbols: int, minutes: int, cpu_max_s: float) -> dict[str, Any]:
    """Run it in this process. It stops early, and says so, after cpu_max_s of CPU time."""
    with files() as folder:
        return Soak(accounts, symbols, minutes, cpu_max_s).run(folder)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--minutes", type=int, default=120, help="of venue time")
    parser.add_argument("--cpu-max-s", type=float, default=7_200)
    given = parser.parse_args()
    found = soak(given.accounts, given.symbols, given.minutes, given.cpu_max_s)
    print(json.dumps(found))
    return 1 if found["ended_by_itself"] else 0


if __name__ == "__main__":
    sys.exit(main())
