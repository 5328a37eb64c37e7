"""What orders and positions need, what is free, and where a position is liquidated (reference §14.5, §14.6).

The formulas of one position are the kernel's; here they are summed over an account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.contracts import PPM, Contract
from perpdesk.exchange.core.orders import BUY, SELL
from perpdesk.exchange.core.world import World
from perpdesk.kernel import ledger

_BRACKET_TRIES = 8


@dataclass(frozen=True, slots=True)
class Leg:
    """One position in the liquidation formula: sign ±1, money per price unit, entry notional, bracket."""

    sign: int
    size_e8: int
    cost_e8: int
    mmr_ppm: int
    cum_e8: int


def notional_e8(world: World, position: Position) -> int:
    """Signed, at mark."""
    market = world.markets[position.contract]
    return position.lots * market.mark * market.contract.unit_e8


def unrealised_e8(world: World, position: Position) -> int:
    """At mark."""
    sign = 1 if position.lots > 0 else -1
    return notional_e8(world, position) - sign * position.cost_e8 if position.lots else 0


def maintenance_e8(world: World, position: Position) -> int:
    """Maintenance margin at mark."""
    if position.lots == 0:
        return 0
    record = world.contracts[position.contract].record
    return int(ledger.maintenance_e8(record, abs(notional_e8(world, position))))


def initial_e8(world: World, account: Account, position: Position) -> int:
    """Initial margin at mark, rounded up."""
    leverage = account.of(position.contract).leverage
    return -(-abs(notional_e8(world, position)) // leverage)


def assuming_price(world: World, contract: Contract, side: int, price: int) -> int:
    """The price at which an order's margin is counted; ``price`` 0: a market order."""
    market = world.markets[contract.index]
    if side == BUY:
        return price or market.best(BUY) or market.last
    lifted = market.last * (PPM + world.rules.short_assuming_ppm) // PPM
    return max(lifted, market.mark, price)


def opening_notionals_e8(
    world: World, account: Account, contract: int, extra: tuple[int, str, int] | None = None
) -> dict[str, tuple[int, int]]:
    """Per position side: (bids, asks), the open orders' notionals that could increase something.

    ``extra``: (side, position side, notional) of an order that is being judged.
    """
    sums: dict[str, list[int]] = {}
    the = world.contracts[contract]
    for order in account.open_orders.values():
        if order.contract != contract or order.reduce_only or order.closes:
            continue
        price = assuming_price(world, the, order.side, order.price)
        pair = sums.setdefault(order.position_side, [0, 0])
        pair[0 if order.side == BUY else 1] += the.notional_e8(price, order.left)
    if extra is not None:
        side, position_side, amount = extra
        sums.setdefault(position_side, [0, 0])[0 if side == BUY else 1] += amount
    return {name: (pair[0], pair[1]) for name, pair in sums.items()}


def order_margin_e8(
    world: World, account: Account, contract: int, extra: tuple[int, str, int] | None = None
) -> int:
    """openOrderInitialMargin of a symbol: what its open orders (and ``extra``) need beyond the position."""
    leverage = account.of(contract).leverage
    total = 0
    for side, (bids, asks) in opening_notionals_e8(world, account, contract, extra).items():
        held = account.positions.get((contract, side))
        signed = notional_e8(world, held) if held is not None else 0
        need = max(abs(signed + bids), abs(signed - asks)) - abs(signed)
        total += -(-max(0, need) // leverage)
    return total


def isolated_wallets_e8(account: Account) -> int:
    """Money that is locked in isolated positions."""
    return sum(p.margin_e8 for p in account.held() if account.of(p.contract).isolated)


def cross_wallet_e8(account: Account) -> int:
    """The wallet without what is locked in isolated positions."""
    return account.cash_e8 - isolated_wallets_e8(account)


def cross_unrealised_e8(world: World, account: Account) -> int:
    """Unrealised profit of the cross positions."""
    return sum(unrealised_e8(world, p) for p in account.held() if not account.of(p.contract).isolated)


def available_e8(world: World, account: Account) -> int:
    """availableBalance of a single-asset account."""
    used = sum(initial_e8(world, account, p) for p in account.held() if not account.of(p.contract).isolated)
    used += sum(
        order_margin_e8(world, account, contract)
        for contract in {order.contract for order in account.open_orders.values()}
    )
    return max(0, cross_wallet_e8(account) + cross_unrealised_e8(world, account) - used)


def suffices(
    world: World, account: Account, contract: Contract, side: int, position_side: str, price: int, lots: int
) -> bool:
    """May an order of these lots be accepted? price 0: market."""
    assumed = assuming_price(world, contract, side, price)
    extra = (side, position_side, contract.notional_e8(assumed, lots))
    before = order_margin_e8(world, account, contract.index)
    after = order_margin_e8(world, account, contract.index, extra)
    mark = world.markets[contract.index].mark
    open_loss = 0
    if after > before:
        open_loss = max(0, side * (assumed - mark)) * lots * contract.unit_e8 if side == BUY else 0
        if side == SELL and price:
            open_loss = max(0, mark - price) * lots * contract.unit_e8
    needed = after - before + open_loss
    return needed == 0 or needed <= available_e8(world, account)


def exposure_after_e8(
    world: World, account: Account, contract: Contract, side: int, position_side: str, price: int, lots: int
) -> int:
    """|position + open orders| of a symbol and side if this order were accepted."""
    assumed = assuming_price(world, contract, side, price)
    extra = (side, position_side, contract.notional_e8(assumed, lots))
    bids, asks = opening_notionals_e8(world, account, contract.index, extra)[position_side]
    held = account.positions.get((contract.index, position_side))
    signed = notional_e8(world, held) if held is not None else 0
    return abs(signed + bids) if side == BUY else abs(signed - asks)


def liquidation_fraction(wallet_e8: int, legs: Sequence[Leg]) -> tuple[int, int]:
    """The official formula as a fraction (numerator, denominator) in price units; 0 over 1: never.

    wallet_e8: WB − TMM + UPNL. Legs are the positions of one symbol that share it.
    """
    numerator = wallet_e8 + sum(leg.cum_e8 - leg.sign * leg.cost_e8 for leg in legs)
    denominator = sum(leg.size_e8 * (leg.mmr_ppm - leg.sign * PPM) for leg in legs)
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    if denominator == 0 or numerator <= 0:
        return 0, 1
    return numerator * PPM, denominator


def liquidation_price(world: World, account: Account, position: Position) -> tuple[int, int]:
    """The mark price at which this position is liquidated, as a fraction in price units; (0, 1): never."""
    if position.lots == 0:
        return 0, 1
    contract = world.contracts[position.contract]
    if account.of(position.contract).isolated:
        together, wallet = [position], position.margin_e8
    else:
        together = account.held(position.contract)
        others = [p for p in account.held() if p.contract != position.contract]
        others = [p for p in others if not account.of(p.contract).isolated]
        wallet = cross_wallet_e8(account) + sum(
            unrealised_e8(world, p) - maintenance_e8(world, p) for p in others
        )
    brackets = [bracket_at(contract, p.cost_e8) for p in together]
    found = (0, 1)
    for _ in range(_BRACKET_TRIES):
        legs = [
            Leg(
                1 if p.lots > 0 else -1,
                abs(p.lots) * contract.unit_e8,
                p.cost_e8,
                contract.brackets[b][2],
                contract.brackets[b][3],
            )
            for p, b in zip(together, brackets, strict=True)
        ]
        found = liquidation_fraction(wallet, legs)
        again = [bracket_at(contract, leg.size_e8 * found[0] // found[1]) for leg in legs]
        if again == brackets or found[0] == 0:
            break
        brackets = again
    return found


def bracket_at(contract: Contract, amount_e8: int) -> int:
    """Index of the bracket of a notional; the last one has no upper end."""
    for i, bracket in enumerate(contract.brackets[:-1]):
        if amount_e8 <= bracket[0]:
            return i
    return len(contract.brackets) - 1
