"""What the world does to the exchange: prices, time, funding, liquidation."""

from __future__ import annotations

from perpdesk.exchange.core import conditional, events, matching, settling
from perpdesk.exchange.core import liquidation as forced
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.conditional import next_level
from perpdesk.exchange.core.entry import cancel_all
from perpdesk.exchange.core.numbers import fixed
from perpdesk.exchange.core.orders import BUY, GTC_LIFE_MS, SELL
from perpdesk.exchange.core.world import Market, Print, World
from perpdesk.kernel import ledger
from perpdesk.kernel.records import CROSS, FAR, ISOLATED

_UNLIMITED = 1 << 60


def tick(
    world: World, contract: int, price: int, now_ms: int, *, lots: int = _UNLIMITED, printed: int = 0
) -> None:
    """The market trades at a price: the book moves, what it crosses fills, what waits for it triggers.

    lots: how much of the market's volume resting orders may take. printed: lots of a public trade to show.
    """
    advance(world, now_ms)
    market = world.markets[contract]
    before = market.last
    market.last = price
    if not market.mark_is_own:
        market.mark = price
        market.index = price
    market.depth.move(price)
    world.moved.add(contract)
    market.update_id += 1
    market.updated_ms = now_ms
    if market.next_funding_ms == 0:
        market.next_funding_ms = (now_ms // market.contract.funding_ms + 1) * market.contract.funding_ms
    if printed:
        market.trade_id += 1
        public = Print(market.trade_id, contract, price, printed, price < before, now_ms)
        market.prints.append(public)
        world.prints.append(public)
    fill_crossed(world, market, lots, now_ms)
    conditional.react(world, market, now_ms)
    forced.check(world, market, now_ms)


def set_mark(world: World, contract: int, mark: int, now_ms: int, index: int = 0) -> None:
    """The mark price goes its own way from now on (0: it follows the last price again)."""
    market = world.markets[contract]
    market.mark_is_own = mark > 0
    market.mark = mark or market.last
    market.index = index or market.mark
    conditional.react(world, market, now_ms)
    forced.check(world, market, now_ms)


def walk(
    world: World, contract: int, target: int, now_ms: int, *, lots: int = _UNLIMITED, printed: int = 0
) -> None:
    """The market moves continuously to a price: everything on the way acts at its own level."""
    market = world.markets[contract]
    for _ in range(10_000):
        start = market.last
        if start <= 0 or start == target:
            break
        level = _nearest(world, market, start, target)
        if level == 0 or level == target:
            break
        tick(world, contract, level, now_ms, lots=lots)
    tick(world, contract, target, now_ms, lots=lots, printed=printed)


def _nearest(world: World, market: Market, start: int, target: int) -> int:
    """The nearest level between start (exclusive) and target where something acts; 0: none."""
    down = target < start
    unit = market.contract.tick
    levels = []
    if down and market.bids:
        levels.append(market.bids[0].price - unit)
    if not down and market.asks:
        levels.append(market.asks[0].price + unit)
    for algo in world.open_algos[market.contract.index].values():
        levels.append(next_level(market, algo, start, target))
    between = [one for one in levels if one and (target <= one < start if down else start < one <= target)]
    if not between:
        return 0
    return max(between) if down else min(between)


def fill_crossed(world: World, market: Market, lots: int, now_ms: int) -> None:
    """Resting orders that the market has gone through fill at their own price, best first."""
    for side in (BUY, SELL):
        resting = market.bids if side == BUY else market.asks
        while resting and lots > 0 and (resting[0].price - market.last) * side > 0:
            order = resting[0]
            size = min(order.left, lots)
            if order.reduce_only or order.closes:
                account = world.accounts[order.account]
                size = min(size, settling.closable(account, order.contract, order.position_side, order.side))
            if size == 0:
                settling.end_order(world, order, "EXPIRED", "EXPIRED", 4, now_ms)
                continue
            matching.trade(world, market, None, order, order.price, size, now_ms)
            lots -= size


def advance(world: World, now_ms: int) -> None:
    """Time passes: funding, good-till-date, dead-man switches. Never backwards."""
    if now_ms <= world.now_ms:
        return
    world.now_ms = now_ms
    for market in world.markets:
        while 0 < market.next_funding_ms <= now_ms:
            if not world.charges_by_rows:
                settle_funding(world, market, market.next_funding_ms)
            market.next_funding_ms += market.contract.funding_ms
    for account in world.accounts:
        _timers(world, account, now_ms)


def _timers(world: World, account: Account, now_ms: int) -> None:
    """What is due of an account; then its next time is known again."""
    if now_ms < account.timer_ms:
        return
    account.timer_ms = FAR
    for order in list(account.open_orders.values()):
        till = order.good_till_ms or order.created_ms + GTC_LIFE_MS
        if till <= now_ms and order.is_open:
            settling.end_order(world, order, "EXPIRED", "EXPIRED", 0, now_ms)
        else:
            account.remind(till)
    for algo in list(account.open_algos.values()):
        if algo.good_till_ms and algo.good_till_ms <= now_ms:
            settling.end_algo(world, algo, "EXPIRED", now_ms)
        elif algo.good_till_ms:
            account.remind(algo.good_till_ms)
    for contract, (due_ms, _) in list(account.countdowns.items()):
        if due_ms <= now_ms:
            del account.countdowns[contract]
            cancel_all(world, account, world.contracts[contract], now_ms)
        else:
            account.remind(due_ms)


def settle_funding(world: World, market: Market, now_ms: int, at_mark: int = 0) -> None:
    """Everybody who holds the contract now pays or receives its rate on the mark price (or ``at_mark``)."""
    contract = market.contract
    mark = at_mark or market.mark
    market.funding.append({"rate_e8": market.rate_e8, "ms": now_ms, "mark": mark, "symbol": contract.symbol})
    if market.rate_e8 == 0 or mark <= 0:
        return
    for account in world.accounts:
        for position in account.held(contract.index):
            isolated = account.of(contract.index).isolated
            account.record.margin_mode = ISOLATED if isolated else CROSS
            paid = int(
                ledger.pay_funding(account.record, position.record, contract.record, market.rate_e8, mark)
            )
            position.updated_ms = now_ms
            if paid == 0:
                continue
            world.funding_paid_e8 -= paid
            world.funding_count += 1
            world.income(account, "FUNDING_FEE", paid, contract.symbol, now_ms)
            events.account_update(
                world, account, "FUNDING_FEE", now_ms, contract.index, change_e8=paid, positions=isolated
            )
    forced.check(world, market, now_ms)


def funding_rate_text(market: Market) -> str:
    """Eight places."""
    return fixed(market.rate_e8, 8)
