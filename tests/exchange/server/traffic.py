"""Random but seeded clients for the exchange's core, and what must hold after every step."""

from __future__ import annotations

from perpdesk.exchange.core import margin, market, matching
from perpdesk.exchange.core.contracts import contracts_of, universe_of
from perpdesk.exchange.core.world import Rules, World
from perpdesk.market.instruments import bundled

START_MS = 1_763_640_000_000
PRICES = {"BTCUSDT": 500_000, "SOLUSDT": 15_000}  # in ticks of 0.1 and 0.01


def new_world(accounts: int = 3, balance_e8: int = 10_000 * 10**8, fund_e8: int = 10**17) -> World:
    """Two contracts, some accounts, an insurance fund."""
    table = bundled()
    universe = universe_of([table[symbol] for symbol in PRICES])
    world = World(universe, contracts_of(universe), Rules(insurance_e8=fund_e8))
    world.now_ms = START_MS
    for _ in range(accounts):
        world.open_account(balance_e8, START_MS)
    for contract in world.contracts:
        market.tick(world, contract.index, PRICES[contract.symbol], START_MS)
    return world


def check_books(world: World) -> None:
    """Money and lots are conserved; no list disagrees with another."""
    for account in world.accounts:
        total = account.total_e8("initial") + account.total_e8("realised")
        total += account.total_e8("funding") - account.total_e8("fees")
        assert account.cash_e8 == total
        for asset, held in (("USDT", account.cash_e8), ("BNB", account.bnb_e8)):
            assert held == sum(row["amount_e8"] for row in account.income if row["asset"] == asset)
        assert set(account.open_orders) == {one.id for one in account.orders.values() if one.is_open}
        assert set(account.open_algos) == {one.id for one in account.algos.values() if one.is_open}
        assert len(account.open_client_ids) == len(account.open_orders)
        locked = sum(p.margin_e8 for p in account.held() if account.of(p.contract).isolated)
        assert locked == margin.isolated_wallets_e8(account)
        for order in account.orders.values():
            assert 0 <= order.filled <= order.lots
            assert order.status != "FILLED" or order.left == 0
        assert not account.liquidating
    for place in world.markets:
        index = place.contract.index
        positions = [p for account in world.accounts for p in account.held(index)]
        assert sum(p.lots for p in positions) + world.house_lots[index] == 0
        resting = {id(one) for one in (*place.bids, *place.asks)}
        listed = {
            id(one)
            for account in world.accounts
            for one in account.open_orders.values()
            if one.contract == index
        }
        assert resting == listed
        prices = [one.price for one in place.bids]
        assert prices == sorted(prices, reverse=True)
        prices = [one.price for one in place.asks]
        assert prices == sorted(prices)
        if place.bids and place.asks:
            assert place.bids[0].price < place.asks[0].price
    check_sum(world)


def check_sum(world: World) -> None:
    """What the clients won, the synthetic counterparty lost, to the last unit; the fund pays what is beyond."""
    assert world.fund_e8 >= 0
    total = world.house_cash_e8 - world.insurance_e8
    for place in world.markets:
        total += world.house_lots[place.contract.index] * place.last * place.contract.unit_e8
    for account in world.accounts:
        total += account.total_e8("realised")
        for position in account.held():
            place = world.markets[position.contract]
            sign = 1 if position.lots > 0 else -1
            total += position.lots * place.last * place.contract.unit_e8 - sign * position.cost_e8
    assert total == 0
    funding = sum(account.total_e8("funding") for account in world.accounts)
    assert funding == -world.funding_paid_e8
    assert matching.take_bound(world.markets[0], 1) >= world.markets[0].mark
