"""Entries in batches in the live desk: whatever comes between two batches ends in a defined, protected state.

The script moves the prices: at the signal's own price the first batch goes out, 0.4 % cheaper the second
(PULLBACK), and the third when its pause is over (NEAR_AVG).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from tests.simulation.scene import Scene, played

from perpdesk.app import sleeves_of
from perpdesk.config.load import loads
from perpdesk.simulation.database import Files
from perpdesk.simulation.desk import DeskSubject
from perpdesk.simulation.lineup import SCORES, Lineup, lineup
from perpdesk.simulation.run import Simulation

pytestmark = pytest.mark.slow
BTC, _, ETH, SOL = range(4)  # contracts in the order of their names
QUARTER_MS = 900_000
CONFIG = """
account: {balance_usdt: 10000, leverage: 5, margin_mode: isolated}
risk: {positions_max: 8, max_total_notional_usdt: 8000, worst_case_fraction: 0.9, daily_loss_limit: null}
score:
  cooldown_s: 3600
  versions:
    - {name: v3, scorer: v3, scan_interval_s: 60, margin_usdt: 100, leverage: 5, max_positions: 4,
       entry_mode: ladder, params: {min_score_long: 4, min_score_short: 4}}
  guardian:
    fixed_stop: -0.07
    timed_stops: []
    trailing: {activation: 0.07, retrace: 0.02, floor: 0.0015}
    timeouts: [{ratio: 0, minutes: 180}]
"""


@cache
def ladders() -> Lineup:
    """V3, entering in batches."""
    loaded = loads(CONFIG)
    return replace(
        lineup(SCORES), name="ladders", loaded=loaded, sleeves=tuple(sleeves_of(loaded, ("score_v3",)))
    )


@dataclass(frozen=True)
class Row:
    """The version's newest row: its plan in lots, the batches booked, the lots of all its fills."""

    status: str
    side: int
    planned: int
    part: int
    batches: int
    lots: int
    reason: str | None

    @property
    def batch_lots(self) -> list[int]:
        """What has been bought after none, one, two and three batches."""
        return [0, self.part, 2 * self.part, self.planned]


class Site(Scene):
    """SOL, bought in batches, and the coins that the regime looks at."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation, SOL)
        self.market = simulation.market
        self.prices = [int(one.last) for one in self.world.markets]
        simulation.market.is_still = True
        self.move(SOL, 0.005)  # the quarter rises: V3 goes long at its close
        self.ticking = simulation.loop.create_task(self._tick())

    async def _tick(self) -> None:
        """Prices stay where the script puts them, a tick up, a tick down: a feed that lives."""
        up = 0
        while True:
            up = 1 - up
            for i, price in enumerate(self.prices):
                self.market._to(i, price + up * self.world.contracts[i].tick, walk=True)
            await self.it.loop.pause(2_000)

    def move(self, symbol: int, share: float) -> None:
        """The price goes so far away from where it is."""
        self.prices[symbol] = int(self.prices[symbol] * (1 + share))

    def cheaper(self, share: float) -> None:
        """SOL goes against the plan's side."""
        row = self.row()
        assert row is not None
        self.move(SOL, -row.side * share)

    def row(self) -> Row | None:
        found = self.it.file.read(
            "SELECT status, position_side, batch_plan, batch_filled, close_reason FROM futures_positions"
            " WHERE symbol = ? ORDER BY id DESC LIMIT 1",
            self.contract.symbol,
        )
        if not found:
            return None
        (row,) = found
        plan: dict[str, Any] = json.loads(row["batch_plan"])
        filled = json.loads(row["batch_filled"]) if row["batch_filled"] else plan
        side = 1 if row["position_side"] == "LONG" else -1
        return Row(
            row["status"], side, plan["lots"], plan["part"], filled["filled"], self.bought(side),
            row["close_reason"],
        )  # fmt: skip

    def bought(self, side: int) -> int:
        """Lots that the exchange has filled of entry orders."""
        return sum(
            row["lots"]
            for row in self.account.fills
            if row["contract"] == SOL and row["side"] == ("BUY" if side > 0 else "SELL")
        )

    def entries(self) -> list[str]:
        """The legs of all entry orders that reached the exchange, in order."""
        found = [one.client_id for one in self.account.orders.values() if one.contract == SOL]
        return [leg for leg in (name.split("-")[3] for name in found) if leg.startswith("e")]

    def stands(self, status: str, batches: int) -> bool:
        """Row, exchange and stop agree on so many batches."""
        row = self.row()
        if row is None or row.status != status:
            return False
        lots = row.batch_lots[batches]
        return row.lots == lots == self.net() == self.stops().get("v3", 0) and self.disasters() == 1

    async def planned(self) -> None:
        """Wait for an approved plan."""
        await self.until(lambda: self.row() is not None, 420, "nothing was approved")

    async def next_quarter(self) -> None:
        """Wait for the regime of the next 15-minute close."""
        left_ms = QUARTER_MS - self.it.loop.now_ms % QUARTER_MS
        await self.it.loop.pause(left_ms + 8_000)

    def regime(self) -> str:
        """The newest that was written down."""
        found = self.it.file.read("SELECT direction FROM big4_regime ORDER BY bar_close_ms DESC LIMIT 1")
        return str(found[0]["direction"])

    def refusals(self) -> set[str]:
        """Why SOL was refused."""
        found = self.it.file.read(
            "SELECT payload FROM journal WHERE kind = 'EntryRefused' AND payload LIKE '%SOLUSDT%'"
        )
        return {json.loads(row["payload"])["verdict"] for row in found}

    def coins_fall(self) -> None:
        """Two of the four coins, 70 % of the weight, lose 2.2 % at once."""
        for coin in (BTC, ETH):
            self.move(coin, -0.022)

    async def batch(self, number: int) -> None:
        """Wait for a batch, booked and covered."""
        last = number == 3
        for _ in range(480):
            row = self.row()
            if row is not None and self.stands("open" if last else "building", number):
                return
            await self.it.loop.pause(1_000)
        raise AssertionError(f"batch {number}: {self.row()} {self.stops()} {self.net()} {self.entries()}")

    async def stays(self, status: str, batches: int, seconds: int = 900) -> None:
        """So it is now, and so it is as long as any batch could still be due."""
        for _ in range(seconds // 30):
            assert self.stands(status, batches), (self.row(), self.stops(), self.net(), self.entries())
            await self.it.loop.pause(30_000)


def play(folder: Files, script: Callable[[Site], Awaitable[None]], minutes: int) -> None:
    async def run(scene: Scene) -> None:
        await script(Site(scene.it))

    played(folder, lambda seed: DeskSubject(seed, ladders()), run, minutes=minutes, symbols=4)


@pytest.mark.parametrize("died_after", [0, 1, 2, 3])
def test_a_crash_after_a_batch(folder: Files, died_after: int) -> None:
    """The next process goes on where the row says: every batch once, the stop over all of them."""

    async def script(site: Site) -> None:
        await site.planned()
        for number in range(4):
            if number:
                await site.batch(number)
            if number == died_after:
                await site.restart()
            if number < 2:
                site.cheaper((0.006, 0.004)[number])
        await site.stays("open", 3, 600)
        assert site.entries() == ["e1", "e2", "e3"]
        site.check_sums()

    play(folder, script, 32)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("died", [False, True], ids=["alive", "and a crash"])
def test_the_switch_goes_off_between_batches(folder: Files, batches: int, died: bool) -> None:
    """Nothing more is bought, not even when it is on again; what is held stays, open, under its stop."""

    async def script(site: Site) -> None:
        await site.planned()
        site.cheaper(0.006)
        await site.batch(1)
        site.cheaper(0.004)
        if batches == 2:
            await site.batch(2)
        await site.switch(0)
        if died:
            await site.restart()
        await site.until(lambda: site.stands("open", batches), 300, "the plan is over")
        await site.switch(1)
        await site.stays("open", batches)
        assert site.entries() == ["e1", "e2"][:batches]
        site.check_sums()

    play(folder, script, 36)


def test_the_switch_goes_off_before_the_first_batch(folder: Files) -> None:
    """A plan without a lot ends as ENTRY_ABORTED, and no order has ever reached the exchange."""

    async def script(site: Site) -> None:
        await site.planned()
        await site.switch(0)
        site.cheaper(0.006)
        await site.it.loop.pause(200_000)
        row = site.row()
        assert row is not None
        assert (row.status, row.reason, row.lots) == ("closed", "ENTRY_ABORTED", 0)
        assert site.entries() == []
        assert site.net() == 0

    play(folder, script, 12)


@pytest.mark.parametrize("died", [False, True], ids=["alive", "and a crash"])
def test_the_four_coins_turn_between_batches(folder: Files, died: bool) -> None:
    """BTC and ETH fall in two quarters running: the regime is BEAR, and a LONG gets no second batch."""

    async def script(site: Site) -> None:
        site.coins_fall()  # one quarter alone is no regime
        await site.planned()
        row = site.row()
        assert row is not None
        assert row.side > 0
        await site.it.loop.pause(480_000)  # the second batch would be due after the quarter's end
        site.cheaper(0.006)
        await site.batch(1)
        site.move(SOL, 0.005)  # dear: no batch but when its time is up
        assert site.regime() == "NEUTRAL"
        site.coins_fall()
        if died:
            await site.restart()
        await site.next_quarter()
        assert site.regime() == "BEAR"
        await site.until(lambda: site.stands("open", 1), 700, "the next batch is asked for and refused")
        await site.stays("open", 1)
        assert site.entries() == ["e1"]
        assert "BIG4_VETO" in site.refusals()
        site.check_sums()

    play(folder, script, 45)
