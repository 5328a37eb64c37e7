"""Liquidation: margin call, orders end, positions are closed bracket by bracket, the fund behind (§14.6)."""

from __future__ import annotations

from perpdesk.exchange.core import adl, closing, events, margin, settling
from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.contracts import PPM
from perpdesk.exchange.core.orders import ER_LIQUIDATION, Order
from perpdesk.exchange.core.world import Market, World
from perpdesk.kernel import ledger


def check(world: World, market: Market, now_ms: int) -> None:
    """Judge everybody who holds the contract, at its mark. (With the kernel's fills the path judges.)"""
    if world.walks is not None:
        return
    for account in world.accounts:
        if account.liquidating:
            continue
        for position in account.held(market.contract.index):
            if position.lots == 0:
                continue
            if account.of(position.contract).isolated:
                _judge_isolated(world, account, position, now_ms)
            else:
                _judge_cross(world, account, now_ms)


def _judge_isolated(world: World, account: Account, position: Position, now_ms: int) -> None:
    maintenance = margin.maintenance_e8(world, position)
    balance = position.margin_e8 + margin.unrealised_e8(world, position)
    if maintenance < balance:
        _warn(world, account, [position], maintenance, balance, False, now_ms)
        return
    account.liquidating = True
    for order in list(account.open_orders.values()):
        if order.contract == position.contract and order.is_open:
            settling.end_order(world, order, "EXPIRED", "EXPIRED", ER_LIQUIDATION, now_ms)
    while position.lots:
        lots = step_lots(world, position)
        backing = position.margin_e8 * lots // abs(position.lots)
        _take_over(world, account, position, lots, backing, now_ms)
        balance = position.margin_e8 + margin.unrealised_e8(world, position)
        if margin.maintenance_e8(world, position) < balance:
            break
    account.liquidating = False


def _judge_cross(world: World, account: Account, now_ms: int) -> None:
    held = _cross(account)
    if not _is_due(world, account):
        maintenance = sum(margin.maintenance_e8(world, p) for p in held)
        _warn(world, account, held, maintenance, _cross_balance(world, account), True, now_ms)
        return
    account.liquidating = True
    for order in list(account.open_orders.values()):
        if order.is_open:
            settling.end_order(world, order, "EXPIRED", "EXPIRED", ER_LIQUIDATION, now_ms)
    held.sort(key=lambda p: margin.unrealised_e8(world, p))
    for position in held:
        while position.lots and _is_due(world, account):
            lots = step_lots(world, position)
            _take_over(world, account, position, lots, max(0, margin.cross_wallet_e8(account)), now_ms)
    account.liquidating = False


def _cross(account: Account) -> list[Position]:
    return [p for p in account.held() if not account.of(p.contract).isolated]


def _cross_balance(world: World, account: Account) -> int:
    return margin.cross_wallet_e8(account) + margin.cross_unrealised_e8(world, account)


def _is_due(world: World, account: Account) -> bool:
    held = _cross(account)
    needed = sum(margin.maintenance_e8(world, p) for p in held)
    return bool(held) and needed >= _cross_balance(world, account)


def step_lots(world: World, position: Position) -> int:
    """Lots of the next step: down to the bracket below, or everything from the lowest one."""
    market = world.markets[position.contract]
    contract = market.contract
    held = abs(position.lots)
    bracket = margin.bracket_at(contract, contract.notional_e8(market.mark, held))
    if bracket == 0:
        return held
    keep = contract.brackets[bracket - 1][0] // (market.mark * contract.unit_e8)
    return held - keep


def _warn(
    world: World,
    account: Account,
    positions: list[Position],
    maintenance: int,
    balance: int,
    cross: bool,
    now_ms: int,
) -> None:
    near = maintenance * PPM >= balance * world.rules.margin_call_ppm
    if near and not account.margin_called:
        events.margin_call(world, account, positions, cross, now_ms)
    account.margin_called = near


def _take_over(
    world: World, account: Account, position: Position, lots: int, backing_e8: int, now_ms: int
) -> None:
    """Close so many lots at mark with the liquidation fee. A loss beyond their backing is the fund's; if the
    fund has not enough, the whole position goes to the other side at its bankruptcy price."""
    market = world.markets[position.contract]
    contract = market.contract
    loss_before_fee = margin.unrealised_e8(world, position) * lots // abs(position.lots)
    if -(backing_e8 + loss_before_fee) > world.fund_e8:
        whole = position.margin_e8 if account.of(contract.index).isolated else backing_e8
        adl.deleverage(world, account, position, whole, now_ms)
        return
    fee = int(ledger.fee_e8(contract.notional_e8(market.mark, lots), contract.liquidation_fee_ppm))
    fee = max(0, min(fee, backing_e8 + loss_before_fee))
    take_over(world, account, position, lots, market.mark, fee, backing_e8, now_ms)
    world.fund_fees_e8 += fee


def take_over(
    world: World,
    account: Account,
    position: Position,
    lots: int,
    price: int,
    fee_e8: int,
    backing_e8: int,
    now_ms: int,
) -> Order:
    """The liquidation order: it trades with the market at this price, the fund bears what is beyond."""
    contract = world.contracts[position.contract]
    client_id = f"autoclose-{now_ms}{world.next_seq() % 1000:03d}"
    order = closing.order(world, account, position, lots, price, client_id, now_ms)
    realised = closing.against_market(world, account, order, price, fee_e8, now_ms)
    shortfall = -(backing_e8 + realised - fee_e8)
    if shortfall > 0:
        account.record.cash_e8 += shortfall
        account.record.realised_e8 += shortfall
        world.insurance_e8 += shortfall
        world.income(account, "INSURANCE_CLEAR", shortfall, contract.symbol, now_ms)
        events.account_update(
            world, account, "INSURANCE_CLEAR", now_ms, contract.index, change_e8=shortfall, positions=False
        )
    account.record.liquidations += 1
    settling.tidy(world, account, position.contract, position.side, now_ms)
    return order
