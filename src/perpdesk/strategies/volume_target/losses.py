"""What a pair has cost, and what it would cost to end it now. A loss is positive."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from perpdesk.strategies.volume_target.arithmetic import ONE, ZERO, exact
from perpdesk.strategies.volume_target.facts import Leg, Order


@exact
def residue(orders: Iterable[Order]) -> Decimal:
    """Token that is left: bought − kept as commission − sold (by traded quantity, not by known fills)."""
    left = ZERO
    for order in orders:
        bought = order.leg is Leg.BUY
        left += (order.cum_qty if bought else -order.cum_qty) - order.base_commission
    return left


@exact
def pair_loss(orders: Iterable[Order]) -> Decimal:
    """Bought − sold + commissions in USDT. Dust counts as nothing, so a fee in the token shows up here."""
    loss = ZERO
    for order in orders:
        loss += (order.quote if order.leg is Leg.BUY else -order.quote) + order.quote_commission
    return loss


@exact
def open_loss(
    buy_quote: Decimal,
    sell_quote: Decimal,
    quote_commissions: Decimal,
    inventory: Decimal,
    bid: Decimal,
    taker_fee: Decimal,
) -> Decimal:
    """The loss if what is held were sold at the bid now, fee included."""
    return buy_quote - sell_quote + quote_commissions - inventory * bid * (ONE - taker_fee)


@exact
def open_loss_of(orders: tuple[Order, ...], bid: Decimal, taker_fee: Decimal) -> Decimal:
    """``open_loss`` of a pair's orders. An execution that is not known yet counts at its order's limit."""
    loss = pair_loss(orders)
    for order in orders:
        untold = (order.cum_qty - order.filled_qty) * (order.price or bid)
        loss += untold if order.leg is Leg.BUY else -untold
    return open_loss(loss, ZERO, ZERO, residue(orders), bid, taker_fee)


@exact
def day_loss(losses: Iterable[Decimal]) -> Decimal:
    """Losses of a UTC day folded in order: gains reduce the sum, which never goes below zero."""
    total = ZERO
    for loss in losses:
        total = max(ZERO, total + loss)
    return total


@exact
def loss_allows(day_loss_now: Decimal, max_per_trade: Decimal, max_per_day: Decimal) -> bool:
    """May another pair start? Its own worst case must still fit into the day."""
    return day_loss_now + max_per_trade <= max_per_day
