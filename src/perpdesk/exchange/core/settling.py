"""What a fill does: position and wallet by the kernel's ledger, history, events, orders without sense."""

from __future__ import annotations

from perpdesk.exchange.core import events
from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.orders import BUY, ER_GTE, ER_REDUCE_ONLY, SIDE_NAMES, Conditional, Order
from perpdesk.exchange.core.world import World
from perpdesk.kernel import ledger
from perpdesk.kernel.records import TAG_NONE

_BNB_SHARE_PPM = 900_000


def warm_up(world: World) -> None:
    """Let the kernel's functions be compiled before the first client waits for them; books nothing."""
    account, position = Account(0, 10**12, 0), Position(0, "BOTH")
    record, price = world.contracts[0].record, world.contracts[0].tick
    position.record.leverage = 1
    for side in (1, -1):
        ledger.settle(account.record, position.record, record, side, price, 1, 0, TAG_NONE, 0)
    ledger.pay_funding(account.record, position.record, record, 0, price)
    ledger.maintenance_e8(record, ledger.fee_e8(price, 1))


def closable(account: Account, contract: int, position_side: str, side: int) -> int:
    """Lots of the position that an order of this side can close."""
    position = account.positions.get((contract, position_side))
    return max(0, -side * position.lots) if position is not None else 0


def commission_e8(contract: Contract, notional_e8: int, maker: bool) -> int:
    """The fee of a fill; negative: a rebate."""
    ppm = contract.maker_ppm if maker else contract.taker_ppm
    fee = int(ledger.fee_e8(notional_e8, abs(ppm)))
    return fee if ppm >= 0 else -fee


def commission_in_bnb_e8(world: World, account: Account, fee_e8: int) -> int:
    """The commission in 1e-8 BNB, ten percent off; 0: it is paid in USDT (no feeBurn, or too little BNB)."""
    if not account.fee_burn or fee_e8 <= 0:
        return 0
    price = world.bnb_price_e8
    amount = (2 * fee_e8 * _BNB_SHARE_PPM * 100 + price) // (2 * price)
    return amount if 0 < amount <= account.bnb_e8 else 0


def book_fill(
    world: World,
    order: Order,
    price: int,
    lots: int,
    trade_id: int,
    maker: bool,
    now_ms: int,
    fee_e8: int | None = None,
) -> int:
    """Book one side of a trade, with its events; returns the realised profit."""
    account, contract = world.accounts[order.account], world.contracts[order.contract]
    position = account.position(order.contract, order.position_side)
    notional = contract.notional_e8(price, lots)
    fee = commission_e8(contract, notional, maker) if fee_e8 is None else fee_e8
    bnb = commission_in_bnb_e8(world, account, fee) if fee_e8 is None else 0
    if bnb:
        account.bnb_e8 -= bnb
        fee = 0
    before = position.lots
    closing = min(lots, abs(before)) if before * order.side < 0 else 0
    position.record.leverage = account.of(order.contract).leverage
    realised = int(
        ledger.settle(
            account.record, position.record, contract.record, order.side, price, lots, fee, TAG_NONE, now_ms
        )
    )
    if closing:
        position.fees_open_e8 = position.fees_open_e8 * (abs(before) - closing) // abs(before)
    if lots > closing:
        position.fees_open_e8 += fee * (lots - closing) // lots
    position.updated_ms = now_ms
    order.filled += lots
    order.quote_e8 += notional
    order.realised_e8 += realised
    order.status = "FILLED" if order.left == 0 else "PARTIALLY_FILLED"
    order.updated_ms = now_ms
    _write_history(world, account, order, price, lots, trade_id, maker, fee, realised, now_ms, bnb)
    if not order.is_open:
        close_order(world, order)
    events.trade_lite(world, order, price, lots, trade_id, maker, now_ms)
    events.account_update(world, account, "ORDER", now_ms, order.contract, bnb=bool(bnb))
    events.order_update(
        world,
        order,
        "TRADE",
        now_ms,
        lots=lots,
        price=price,
        fee_e8=bnb or fee,
        fee_asset="BNB" if bnb else "",
        trade_id=trade_id,
        maker=maker,
        realised_e8=realised,
    )
    return realised


def _write_history(
    world: World,
    account: Account,
    order: Order,
    price: int,
    lots: int,
    trade_id: int,
    maker: bool,
    fee_e8: int,
    realised_e8: int,
    now_ms: int,
    bnb_e8: int,
) -> None:
    account.fills.append(
        {
            "contract": order.contract,
            "id": trade_id,
            "orderId": order.id,
            "side": SIDE_NAMES[order.side],
            "positionSide": order.position_side,
            "price": price,
            "lots": lots,
            "realised_e8": realised_e8,
            "fee_e8": bnb_e8 or fee_e8,
            "fee_asset": "BNB" if bnb_e8 else world.contracts[order.contract].instrument.quote,
            "time": now_ms,
            "buyer": order.side == BUY,
            "maker": maker,
        }
    )
    symbol = world.contracts[order.contract].symbol
    if realised_e8:
        world.income(account, "REALIZED_PNL", realised_e8, symbol, now_ms, str(trade_id))
    if fee_e8:
        world.income(account, "COMMISSION", -fee_e8, symbol, now_ms, str(trade_id))
    if bnb_e8:
        world.income(account, "COMMISSION", -bnb_e8, symbol, now_ms, str(trade_id), asset="BNB")


def close_order(world: World, order: Order) -> None:
    """Take an ended order out of the book and off the open lists; its algo order is finished with it."""
    account = world.accounts[order.account]
    account.open_orders.pop(order.id, None)
    if account.open_client_ids.get(order.client_id) is order:
        del account.open_client_ids[order.client_id]
    world.market_of(order).withdraw(order)
    if world.walks is not None:
        world.walks.forget(order)


def end_order(world: World, order: Order, status: str, execution: str, reason: int, now_ms: int) -> None:
    """Cancel or expire an open order."""
    order.status = status
    order.expire_reason = reason
    order.updated_ms = now_ms
    close_order(world, order)
    events.order_update(world, order, execution, now_ms)
    finish_algo(world, order, now_ms)


def finish_algo(world: World, order: Order, now_ms: int) -> None:
    """When the child has ended, its algo order is FINISHED (if TRIGGERED was already said)."""
    if order.algo == 0 or order.is_open:
        return
    algo = world.accounts[order.account].algos[order.algo]
    if algo.status == "TRIGGERED":
        algo.status = "FINISHED"
        algo.updated_ms = now_ms
        events.algo_update(world, algo, now_ms)


def end_algo(world: World, algo: Conditional, status: str, now_ms: int) -> None:
    """Cancel or expire a conditional order that has not triggered."""
    algo.status = status
    algo.updated_ms = now_ms
    forget_algo(world, algo)
    events.algo_update(world, algo, now_ms)


def forget_algo(world: World, algo: Conditional) -> None:
    """Off the open lists."""
    world.accounts[algo.account].open_algos.pop(algo.id, None)
    world.open_algos[algo.contract].pop(algo.id, None)
    if world.walks is not None:
        world.walks.forget(algo)


def tidy(world: World, account: Account, contract: int, position_side: str, now_ms: int) -> None:
    """After a position changed: reduce-only orders beyond it are knocked out; with it, GTE orders end."""
    for side in (1, -1):
        if world.walks is not None:
            break  # the bar model cuts an order to the position, or lets it expire, when it acts
        room = closable(account, contract, position_side, side)
        resting = [
            order
            for order in account.open_orders.values()
            if order.contract == contract
            and order.position_side == position_side
            and order.side == side
            and order.reduce_only
        ]
        resting.sort(key=lambda one: (-one.side * one.price, one.seq))
        for order in resting:
            if room <= 0:
                end_order(world, order, "EXPIRED", "EXPIRED", ER_REDUCE_ONLY, now_ms)
            elif order.left > room:
                order.lots = order.filled + room
            room -= order.left
    position = account.position(contract, position_side)
    if position.lots == 0:
        for algo in list(account.open_algos.values()):
            if (algo.contract, algo.position_side) == (
                contract,
                position_side,
            ) and algo.expires_with_position:
                end_algo(world, algo, "EXPIRED", now_ms)
        for order in list(account.open_orders.values()):
            same = (order.contract, order.position_side) == (contract, position_side)
            if same and order.tif == "GTE_GTC":
                end_order(world, order, "EXPIRED", "EXPIRED", ER_GTE, now_ms)
