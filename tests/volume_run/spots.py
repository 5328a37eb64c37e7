"""Runs over the Spot order lists of the simulated server, in this process but through sockets."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.volume_run.sims import config

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.config.volume import VolumeConfig
from perpdesk.engine.volume.desk import Desk
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import RunningServer, ServeOptions, serve
from perpdesk.exchange.server.spot_control import ACTIONS
from perpdesk.volume_run.spot import SpotVenue
from perpdesk.volume_run.start import fixed_configs, spot_desk

SYMBOL = "DOGEUSDT"
SPOT_RIGHTS = {"enableFutures": False, "enableSpotAndMarginTrading": True}
STRATEGY = """
global_settings:
  volume_check_delay_seconds: 0
  trade_interval_seconds: 0.2
  retry_delay_seconds: 0.5
  max_price_volatility_percentage: 50
  volatility_window_seconds: 10
strategies:
  - strategy_id: doge
    strategy_name: Doge
    enabled: true
    venue: binance_spot
    target_token: DOGE
    target_chain: SPOT
    target_volume: 60
    single_trade_amount_usdt: 20
    sell_profit_percentage: 0.5
    price_mode: discount_on_buy
    user_ids: [1, 2]
"""


def spot_config(**changes: Any) -> VolumeConfig:
    """The strategy with changed lines."""
    text = STRATEGY.replace("trade_interval_seconds: 0.2", "default_trade_interval_seconds: 0.2")
    return config(text, **changes)


@dataclass
class Rig:
    """A server, its accounts as users 1, 2, …, a venue and a ledger."""

    server: RunningServer
    venue: SpotVenue
    books: SqlStore
    kept: dict[str, Any] = field(default_factory=dict)

    def lose_answers(self, route: str, count: int) -> None:
        """The next requests are carried out, and nobody hears of it."""
        self.server.faults.add(Fault(kind="drop-resp", route=route, count=count))

    def do(self, action: str, **arguments: Any) -> Any:
        """Something happens on the exchange."""
        return ACTIONS[action](self.server, arguments)

    def quote(self, bid: str, ask: str, **sizes: str) -> None:
        """The market goes there."""
        self.do("spot_quote", symbol=SYMBOL, bid=bid, ask=ask, **sizes)

    def desk(self, loaded: VolumeConfig, **more: Any) -> Desk:
        """A desk that writes."""
        desk = spot_desk(self.venue, fixed_configs(loaded), self.books, owner="test", **more)
        desk.open()
        return desk

    def ledger(self, user: int) -> dict[str, Any]:
        """The exchange's own figures of a user."""
        found: dict[str, Any] = self.do("spot_ledger", account=user - 1)
        return found


@asynccontextmanager
async def rig(folder: Path, **options: Any) -> AsyncIterator[Rig]:
    """Everything, and nothing of it after."""
    clock = SystemClock()
    url = f"sqlite:///{folder / 'spot.sqlite'}"
    upgrade(url)
    accounts = options.pop("accounts", 3)
    made = ServeOptions(clock=clock, control=True, prices={SYMBOL: "0.25000"}, accounts=accounts, **options)
    async with serve(made) as server, await SqlStore.open(url) as books:
        for one in server.accounts:
            server.key_rights[one.api_key] = dict(SPOT_RIGHTS)

        def key_of(user_id: int) -> tuple[Credentials, bool]:
            keys = server.accounts[user_id - 1]
            return Credentials(keys.api_key, keys.secret), False

        venue = SpotVenue(simulated(server.rest_url), clock, key_of)
        await venue.open()
        one = Rig(server, venue, books)
        one.quote("0.25000", "0.25001")
        try:
            yield one
        finally:
            await venue.close()


async def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for it. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


async def hold_true_on_spot(one: Rig, users: tuple[int, ...]) -> None:
    """The ledger is the exchange's to the last digit, everybody is flat, every list has ended."""
    loss: dict[int, Decimal] = defaultdict(Decimal)
    dust: dict[int, Decimal] = defaultdict(Decimal)
    for pair in await one.books.volume_pairs():
        assert pair.state == "FLAT", pair
        loss[pair.user_id] += pair.loss_usdt
        dust[pair.user_id] += pair.dust
    for user in users:
        found = one.ledger(user)
        assert found["open_orders"] == 0
        assert {row["listOrderStatus"] for row in found["lists"]} <= {"ALL_DONE"}
        free = {asset: Decimal(row["free"]) for asset, row in found["balances"].items()}
        assert free["USDT"] == 10_000 - loss[user]
        assert free.get("DOGE", Decimal(0)) == dust[user]
        booked = {
            (fill.trade_id, fill.qty, fill.price) for fill in await one.books.volume_fills(user_id=user)
        }
        assert booked == {(row["id"], Decimal(row["qty"]), Decimal(row["price"])) for row in found["fills"]}
