"""Auto-deleveraging: when the fund cannot bear a bankrupt position, those who win by it close it (§14.6).

The queue of a side: profit in percent of the entry, times effective leverage (a loss: divided by it), highest
first; equals by account. Both sides trade at the bankruptcy price, without fees. What no client can take, the
synthetic market takes at that price: the fund never pays more than it has.
"""

from __future__ import annotations

from fractions import Fraction

from perpdesk.exchange.core import closing, margin, settling
from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.world import World

CLIENT_ID = "adl_autoclose"
_QUANTILES = 5


def score(world: World, account: Account, position: Position) -> Fraction:
    """The priority of a position: percent of profit × effective leverage; losses are divided by it."""
    profit = margin.unrealised_e8(world, position)
    percent = Fraction(profit, max(1, position.cost_e8))
    if account.of(position.contract).isolated:
        equity = position.margin_e8 + profit
    else:
        equity = margin.cross_wallet_e8(account) + margin.cross_unrealised_e8(world, account)
    leverage = Fraction(max(1, abs(margin.notional_e8(world, position))), max(1, equity))
    return percent * leverage if profit >= 0 else percent / leverage


def queue(world: World, contract: int, sign: int) -> list[tuple[Account, Position]]:
    """All positions of a contract in one direction (sign ±1), who is deleveraged first in front."""
    found = [
        (account, position)
        for account in world.accounts
        for position in account.held(contract)
        if position.lots * sign > 0
    ]
    if len(found) > 1:
        found.sort(key=lambda pair: (-score(world, *pair), pair[0].index, pair[1].side))
    return found


def quantile(world: World, position: Position) -> int:
    """0 to 4: the fifth of its queue that a position stands in; 4 is in front, 0 also for no position."""
    if position.lots == 0:
        return 0
    line = queue(world, position.contract, 1 if position.lots > 0 else -1)
    place = next((i for i, (_, one) in enumerate(line) if one is position), len(line) - 1)
    return _QUANTILES - 1 - place * _QUANTILES // len(line)


def bankruptcy_price(world: World, position: Position, backing_e8: int) -> int:
    """The price at which closing everything costs the whole backing, rounded so that it costs no more."""
    size = abs(position.lots) * world.contracts[position.contract].unit_e8
    backing = max(0, backing_e8)
    if position.lots > 0:
        return max(1, -((backing - position.cost_e8) // size))
    return (position.cost_e8 + backing) // size


def deleverage(world: World, account: Account, position: Position, backing_e8: int, now_ms: int) -> None:
    """Close a bankrupt position at its bankruptcy price against the queue of the other side."""
    contract = position.contract
    price = bankruptcy_price(world, position, backing_e8)
    sign = 1 if position.lots > 0 else -1
    client_id = f"autoclose-{now_ms}{world.next_seq() % 1000:03d}"
    order = closing.order(world, account, position, abs(position.lots), price, client_id, now_ms)
    for other, opposite in queue(world, contract, -sign):
        if order.left == 0:
            break
        if other.liquidating or not _can_bear(world, other, opposite, price):
            continue
        lots = min(order.left, abs(opposite.lots))
        theirs = closing.order(world, other, opposite, lots, price, CLIENT_ID, now_ms)
        trade_id = closing.printed(world, contract, price, lots, order.side < 0, now_ms)
        settling.book_fill(world, order, price, lots, trade_id, False, now_ms, 0)
        settling.book_fill(world, theirs, price, lots, trade_id, False, now_ms, 0)
        settling.tidy(world, other, contract, opposite.side, now_ms)
    if order.left:
        closing.against_market(world, account, order, price, 0, now_ms)
    account.record.liquidations += 1
    settling.tidy(world, account, contract, position.side, now_ms)


def _can_bear(world: World, account: Account, position: Position, price: int) -> bool:
    """Would closing at this price leave the margin behind the position above nothing?"""
    sign = 1 if position.lots > 0 else -1
    value = abs(position.lots) * price * world.contracts[position.contract].unit_e8
    result = sign * (value - position.cost_e8)
    if account.of(position.contract).isolated:
        return position.margin_e8 + result >= 0
    return margin.cross_wallet_e8(account) + result >= 0
