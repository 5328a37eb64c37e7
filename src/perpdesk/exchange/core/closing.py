"""Orders of the exchange itself: liquidation, auto-deleveraging, settlement of a delisted contract."""

from __future__ import annotations

from perpdesk.exchange.core import events, settling
from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.orders import Order
from perpdesk.exchange.core.world import Print, World


def order(
    world: World,
    account: Account,
    position: Position,
    lots: int,
    price: int,
    client_id: str,
    now_ms: int,
    *,
    forced: bool = True,
) -> Order:
    """An order that closes so many lots of a position; told as NEW. forced: listed in forceOrders."""
    found = Order(
        id=world.next_order_id(),
        account=account.index,
        contract=position.contract,
        client_id=client_id,
        side=-1 if position.lots > 0 else 1,
        position_side=position.side,
        type="LIQUIDATION" if forced else "MARKET",
        tif="IOC" if forced else "GTC",
        price=price,
        lots=lots,
        reduce_only=not account.hedge,
        closes=account.hedge,
        stp="NONE",
        price_match="NONE",
        good_till_ms=0,
        created_ms=now_ms,
        updated_ms=now_ms,
        seq=world.next_seq(),
        original_type="LIMIT" if forced else "MARKET",
    )
    account.orders[found.id] = found
    account.by_client_id[found.contract, found.client_id] = found
    if forced:
        account.forced.append(found)
        world.forced.append((account.index, {"order": found, "ms": now_ms}))
    events.order_update(world, found, "NEW", now_ms)
    return found


def printed(world: World, contract: int, price: int, lots: int, buyer_maker: bool, now_ms: int) -> int:
    """A public trade; returns its id."""
    market = world.markets[contract]
    market.trade_id += 1
    public = Print(market.trade_id, contract, price, lots, buyer_maker, now_ms)
    market.prints.append(public)
    world.prints.append(public)
    return market.trade_id


def against_market(
    world: World, account: Account, one: Order, price: int, fee_e8: int, now_ms: int, *, silent: bool = False
) -> int:
    """Trade the whole order with the synthetic market at a price; returns what it realised."""
    contract = world.contracts[one.contract]
    lots = one.left
    if silent:
        world.markets[one.contract].trade_id += 1
        trade_id = world.markets[one.contract].trade_id
    else:
        trade_id = printed(world, one.contract, price, lots, one.side < 0, now_ms)
    world.house_lots[one.contract] -= one.side * lots
    world.house_cash_e8 += one.side * contract.notional_e8(price, lots)
    return settling.book_fill(world, one, price, lots, trade_id, False, now_ms, fee_e8)
