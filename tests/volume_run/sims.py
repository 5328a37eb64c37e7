"""Desks on the simulated market for tests: configurations as text, runs to their end, and what must hold."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from tests.exchange.spot.market import check

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.config.volume import VolumeConfig, read_volume
from perpdesk.engine.volume.desk import Desk
from perpdesk.exchange.spot.pairs import E8
from perpdesk.volume_run.sim import SimulatedMarket, drive
from perpdesk.volume_run.start import fixed_configs, sim_desk

START_MS = 1_763_640_000_000
HOUR_MS = 3_600_000
KOGE = "ALPHA_22USDT"

STRATEGY = """
global_settings:
  volume_check_delay_seconds: 35
  order_timeout_seconds: 30
strategies:
  - strategy_id: boost
    strategy_name: Boost
    enabled: true
    target_token: KOGE
    target_chain: BSC
    target_volume: 300
    single_trade_amount_usdt: 30
    sell_profit_percentage: 0.1
    price_mode: discount_on_buy
    user_ids: [1, 2, 3]
"""


def config(text: str = STRATEGY, **changes: Any) -> VolumeConfig:
    """The configuration, with lines of the strategy replaced: ``target_volume=100``."""
    lines = text.splitlines()
    for key, value in changes.items():
        where = [i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
        if where:
            indent = " " * (len(lines[where[0]]) - len(lines[where[0]].lstrip()))
            lines[where[0]] = f"{indent}{key}: {value}"
        else:
            lines.insert(next(i for i, x in enumerate(lines) if "user_ids" in x), f"    {key}: {value}")
    return read_volume("\n".join(lines))


def new_market(**more: Any) -> SimulatedMarket:
    """KOGE and AOP."""
    return SimulatedMarket(VirtualClock(START_MS), **more)


def new_desk(market: SimulatedMarket, loaded: VolumeConfig, books: SqlStore, owner: str = "test") -> Desk:
    """A desk that writes."""
    desk = sim_desk(market, fixed_configs(loaded), books, owner=owner)
    desk.open()
    return desk


async def run_to_end(market: SimulatedMarket, desk: Desk, hours: int = 6) -> None:
    """Until every run has ended, or so long of venue time."""
    end_ms = market.now_ms() + hours * HOUR_MS
    await drive(
        market,
        desk,
        lambda: not any(one.is_running for one in desk.running.values()) or market.now_ms() > end_ms,
    )


async def hold_true(market: SimulatedMarket, books: SqlStore, *, usdt: int = 10_000) -> None:
    """Whatever happened: books balance, nobody met, and the ledger is the venue's to the last digit."""
    world = market.world
    check(world)
    assert world.crosses == []
    losses: dict[int, Decimal] = defaultdict(Decimal)
    dust: dict[int, Decimal] = defaultdict(Decimal)
    for pair in await books.volume_pairs():
        assert pair.state in ("FLAT", "QUARANTINED"), pair
        losses[pair.user_id] += pair.loss_usdt
        dust[pair.user_id] += pair.dust
    bought = {fill.user_id: Decimal(0) for fill in await books.volume_fills()}
    for fill in await books.volume_fills():
        bought[fill.user_id] += fill.quote if fill.leg == "buy" else 0
    for user, index in market.accounts.items():
        account = world.accounts[index]
        assert not account.open, "every user is flat: nothing is open"
        assert Decimal(account.free["USDT"]) / E8 == usdt - losses[user]
        tokens = sum(amount for asset, amount in account.free.items() if asset != "USDT")
        assert Decimal(tokens) / E8 == dust[user]
        real = sum(world.counters.real_e8(index, pair, market.now_ms()) for pair in world.pairs)
        lag = sum(
            row[2]
            for pair in world.pairs
            for row in world.counters._of((index, pair.index), market.now_ms() // 86_400_000).waiting
            if row[1]
        )
        assert Decimal(real + lag) / E8 == bought.get(user, Decimal(0))


def bought_of(market: SimulatedMarket, user: int) -> Decimal:
    """Real USDT that a user has bought, whether the counter shows it or not."""
    fills = market.world.accounts[market.accounts[user]].fills
    return Decimal(sum(one.quote_e8 for one in fills if one.order.side == 1)) / E8
