"""Auto-deleveraging: who is asked, at which price, and that no money appears or disappears by it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.exchange.server.traffic import PRICES, START_MS, check_books

from perpdesk.exchange.core import adl, entry, margin, market
from perpdesk.exchange.core import settings as configure
from perpdesk.exchange.core.contracts import contracts_of, universe_of
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import Rules, World
from perpdesk.market.instruments import bundled

BTC = "BTCUSDT"
USDT = 10**8
_ROUNDING_E8 = 100  # each partial close rounds its share of cost and margin


def world_of(balances: list[int], fund: int) -> World:
    """Accounts with these balances on an exchange with this fund (whole USDT)."""
    table = bundled()
    universe = universe_of([table[symbol] for symbol in PRICES])
    world = World(universe, contracts_of(universe), Rules(insurance_e8=fund * USDT))
    world.now_ms = START_MS
    for balance in balances:
        world.open_account(balance * USDT, START_MS)
    for contract in world.contracts:
        market.tick(world, contract.index, PRICES[contract.symbol], START_MS)
    return world


def trade(world: World, account: int, side: str, qty: str, leverage: int = 20, kind: str = "CROSSED") -> Any:
    """A market order with a leverage and margin type of its own."""
    one = world.accounts[account]
    configure.set_leverage(world, one, {"symbol": BTC, "leverage": str(leverage)}, START_MS)
    configure.set_margin_type(world, one, {"symbol": BTC, "marginType": kind}, START_MS)
    params = {"symbol": BTC, "side": side, "type": "MARKET", "quantity": qty, "newOrderRespType": "RESULT"}
    answer = entry.place(world, one, params, START_MS)
    world.markets[0].depth.eaten.clear()
    return answer


def wealth_e8(world: World) -> int:
    """Everything that anybody has: wallets, open profit, the fund, the synthetic side, fees taken."""
    total = world.fund_e8 + world.house_cash_e8
    for place in world.markets:
        total += world.house_lots[place.contract.index] * place.last * place.contract.unit_e8
    for account in world.accounts:
        total += account.cash_e8 + account.total_e8("fees")
        for position in account.held():
            place = world.markets[position.contract]
            sign = 1 if position.lots > 0 else -1
            total += position.lots * place.last * place.contract.unit_e8 - sign * position.cost_e8
    return total - world.fund_fees_e8


def events_of(world: World, account: int, kind: str) -> list[dict[str, Any]]:
    return [event for owner, event in world.events if owner == account and event["e"] == kind]


def test_the_queue_is_profit_times_leverage() -> None:
    """Equal entries: the higher leverage is in front; the quantiles are fifths of the queue."""
    world = world_of([10_000] * 6, 0)
    for account, leverage in ((1, 5), (2, 50), (3, 20), (4, 10), (5, 2)):
        trade(world, account, "SELL", "0.02", leverage, "ISOLATED")
    market.tick(world, 0, 498_000, START_MS)
    line = [account.index for account, _ in adl.queue(world, 0, -1)]
    assert line == [2, 3, 4, 1, 5]
    shown = {a.index: adl.quantile(world, a.position(0, "BOTH")) for a in world.accounts}
    assert shown == {0: 0, 2: 4, 3: 3, 4: 2, 1: 1, 5: 0}
    market.tick(world, 0, 505_000, START_MS)  # all lose: divided by leverage, the highest is still in front
    assert [account.index for account, _ in adl.queue(world, 0, -1)] == [2, 3, 4, 1, 5]
    trade(world, 0, "SELL", "0.02", 2, "ISOLATED")  # entered here: it loses nothing, all others do
    assert adl.queue(world, 0, -1)[0][0].index == 0


def test_a_bankrupt_position_is_closed_at_its_bankruptcy_price() -> None:
    """No fund: the queue's first take the position at the price where the loser's wallet is empty."""
    world = world_of([1_000, 10_000, 10_000, 10_000], 0)
    trade(world, 0, "BUY", "0.3", 20)
    for account, leverage, qty in ((1, 10, "0.1"), (2, 50, "0.15"), (3, 5, "0.4")):
        trade(world, account, "SELL", qty, leverage, "ISOLATED")
    loser = world.accounts[0].position(0, "BOTH")
    backing = world.accounts[0].cash_e8
    price = adl.bankruptcy_price(world, loser, backing)
    before = wealth_e8(world)
    world.events.clear()
    market.tick(world, 0, 460_000, START_MS)
    assert wealth_e8(world) == before
    assert world.fund_e8 == 0
    assert loser.lots == 0
    assert 0 <= world.accounts[0].cash_e8 < 3 * 10**6  # what rounding the price to its unit leaves
    for account, left in ((1, 0), (2, 0), (3, -350)):
        assert world.accounts[account].position(0, "BOTH").lots == left
    text = world.contracts[0].price_text(price)
    for account, qty in ((1, "0.100"), (2, "0.150"), (3, "0.050")):
        fills = [e["o"] for e in events_of(world, account, "ORDER_TRADE_UPDATE") if e["o"]["x"] == "TRADE"]
        assert [(o["c"], o["L"], o["l"], o["n"]) for o in fills] == [
            ("adl_autoclose", text, qty, "0.00000000")
        ]
        told = events_of(world, account, "ACCOUNT_UPDATE")
        assert [e["a"]["P"][0]["pa"] for e in told] == ["-0.350" if account == 3 else "0.000"]
        kinds = {row["incomeType"] for row in world.accounts[account].income}
        assert kinds == {"TRANSFER", "COMMISSION", "REALIZED_PNL"}
    assert [e["o"]["c"][:10] for e in events_of(world, 0, "ORDER_TRADE_UPDATE")][:1] == ["autoclose-"]
    check_books(world)


def test_a_fund_that_has_enough_spares_the_other_side() -> None:
    world = world_of([1_000, 10_000], 5_000)
    trade(world, 0, "BUY", "0.3", 20)
    trade(world, 1, "SELL", "0.3", 20)
    market.tick(world, 0, 460_000, START_MS)
    assert world.accounts[1].position(0, "BOTH").lots == -300
    assert 4_700 * USDT < world.fund_e8 < 5_000 * USDT  # 12,000 × 4 − 1,000 of margin, roughly 200
    check_books(world)


def test_without_an_other_side_the_synthetic_market_takes_it() -> None:
    """The fund never goes below nothing."""
    world = world_of([1_000], 0)
    trade(world, 0, "BUY", "0.3", 20)
    before = wealth_e8(world)
    market.tick(world, 0, 460_000, START_MS)
    assert (world.fund_e8, world.accounts[0].position(0, "BOTH").lots) == (0, 0)
    assert world.accounts[0].cash_e8 >= 0
    assert wealth_e8(world) == before


def test_nobody_is_made_bankrupt_by_it() -> None:
    """A short that lives by the profit of another contract is passed over: its wallet could not pay the price."""
    world = world_of([1_000, 120, 10_000], 0)
    sol = world.by_symbol["SOLUSDT"].index
    market.tick(world, 0, 450_000, START_MS)
    trade(world, 1, "SELL", "0.1", 75)
    entry.place(
        world, world.accounts[1],
        {"symbol": "SOLUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}, START_MS,
    )  # fmt: skip
    market.tick(world, sol, 45_000, START_MS)
    market.tick(world, 0, 500_000, START_MS)
    trade(world, 0, "BUY", "0.3", 20)
    assert world.accounts[1].position(0, "BOTH").lots == -100
    before = wealth_e8(world)
    market.tick(world, 0, 460_000, START_MS)
    assert world.accounts[0].position(0, "BOTH").lots == 0
    assert world.accounts[1].position(0, "BOTH").lots == -100
    assert world.accounts[1].cash_e8 > 0
    assert wealth_e8(world) == before
    check_books(world)


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_forced_orders_tell_them_apart(side: str) -> None:
    world = world_of([1_000, 10_000], 0)
    other = "SELL" if side == "BUY" else "BUY"
    trade(world, 0, side, "0.3", 20)
    trade(world, 1, other, "0.3", 20)
    market.tick(world, 0, 460_000 if side == "BUY" else 545_000, START_MS)
    assert [order.client_id for order in world.accounts[1].forced] == ["adl_autoclose"]
    assert [order.client_id[:10] for order in world.accounts[0].forced] == ["autoclose-"]


@settings(max_examples=150, deadline=None)
@given(
    fund=st.integers(0, 3_000),
    orders=st.lists(
        st.tuples(
            st.integers(0, 4), st.sampled_from(["BUY", "SELL"]), st.integers(1, 400),
            st.sampled_from([2, 10, 20, 50, 75]), st.sampled_from(["CROSSED", "ISOLATED"]),
        ),
        min_size=2, max_size=12,
    ),
    jumps=st.lists(st.integers(-150, 150), min_size=1, max_size=4),
)  # fmt: skip
def test_money_is_conserved(fund: int, orders: list[tuple[Any, ...]], jumps: list[int]) -> None:
    """Whatever happens, what everybody has together stays; the fund and cross wallets never go below zero."""
    world = world_of([300, 1_000, 2_000, 5_000, 20_000], fund)
    for account, side, size, leverage, kind in orders:
        assert isinstance(trade(world, account, side, f"0.{size:03d}", leverage, kind), dict | Refusal)
    before = wealth_e8(world)
    # an order's cost does not count its fee: an isolated one may leave a wallet that owes a little of it
    floors = [min(0, margin.cross_wallet_e8(account)) - _ROUNDING_E8 for account in world.accounts]
    for jump in jumps:
        last = world.markets[0].last
        market.tick(world, 0, max(1_000, last + last * jump // 1000), world.now_ms + 1_000)
        assert wealth_e8(world) == before
        assert world.fund_e8 >= 0
        for account, floor in zip(world.accounts, floors, strict=True):
            assert margin.cross_wallet_e8(account) >= floor or account.held()
        check_books(world)
