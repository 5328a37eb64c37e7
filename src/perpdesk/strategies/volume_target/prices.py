"""Prices and quantities of a pair, rounded to the venue's grid and checked against its filters.

An order that does not fit is refused; it is never shrunk or enlarged to fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpdesk.domain.errors import Refused
from perpdesk.domain.units import plain
from perpdesk.strategies.volume_target.arithmetic import ONE, ZERO, exact, floor_to
from perpdesk.strategies.volume_target.modes import PriceMode


@dataclass(frozen=True, slots=True)
class Band:
    """The venue's percent-price band, as multiples of its reference price."""

    buy_low: Decimal
    buy_high: Decimal
    sell_low: Decimal
    sell_high: Decimal


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the venue says about a token. Fees are fractions, bounds are inclusive.

    ``pending_by_venue``: the venue itself computes the SELL's quantity when the BUY has filled; else it must
    be given when the pair is placed.
    """

    tick: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    taker_fee: Decimal
    pending_by_venue: bool
    max_notional: Decimal | None = None
    band: Band | None = None


@dataclass(frozen=True, slots=True)
class PairPlan:
    """A pair before it is sent. ``spend`` is quote; ``sell_qty`` what the SELL is placed or expected with."""

    reference: Decimal
    buy_price: Decimal
    sell_price: Decimal
    qty: Decimal
    sell_qty: Decimal
    spend: Decimal


@exact
def clamp(last: Decimal, bid: Decimal, ask: Decimal) -> Decimal:
    """The last price, moved into the book: the documents' "current price" without outliers."""
    return min(max(last, bid), ask)


@exact
def prices(
    mode: PriceMode, p: Decimal, buy_offset: Decimal, sell_profit: Decimal, tick: Decimal
) -> tuple[Decimal, Decimal]:
    """(buy, sell), both rounded down to the tick; the sell is taken from the *rounded* buy.

    Offsets are fractions. Raises Refused: BAD_PRICE, or OFFSET_BELOW_TICK where the tick swallowed the
    offset (the BUY would rest instead of fill).
    """
    buy = floor_to(p * (ONE + buy_offset), tick)
    match mode:
        case PriceMode.PROFIT_ON_BUY:
            sell = floor_to(buy * (ONE + sell_profit), tick)
        case PriceMode.DISCOUNT_ON_BUY:
            sell = floor_to(buy * (ONE - sell_profit), tick)
        case PriceMode.DISCOUNT_ON_MARKET:
            sell = floor_to(p * (ONE - sell_profit), tick)
    if buy <= 0 or sell <= 0:
        raise Refused("BAD_PRICE", f"price {plain(p)} gives buy {plain(buy)} and sell {plain(sell)}")
    if buy_offset > 0 and buy <= p:
        raise Refused(
            "OFFSET_BELOW_TICK",
            f"the tick {plain(tick)} swallows the offset: buy {plain(buy)} is not above {plain(p)}; "
            "raise buy_offset_percentage",
        )
    return buy, sell


@exact
def quantity(amount: Decimal, buy: Decimal, step: Decimal) -> Decimal:
    """How much the amount buys, in whole steps, rounded down."""
    return floor_to(amount / buy, step)


@exact
def pending_quantity(qty: Decimal, taker_fee: Decimal, step: Decimal) -> Decimal:
    """What will be left to sell when the fee is taken from the token, in whole steps, rounded down."""
    return floor_to(qty * (ONE - taker_fee), step)


@exact
def plan_pair(
    mode: PriceMode,
    p: Decimal,
    buy_offset: Decimal,
    sell_profit: Decimal,
    amount: Decimal,
    rules: TokenRules,
    band_reference: Decimal | None = None,
) -> PairPlan:
    """The pair for the price ``p``, or Refused with the filter that it breaks.

    ``band_reference`` is the price that the venue's percent band refers to (None: ``p``).
    """
    buy, sell = prices(mode, p, buy_offset, sell_profit, rules.tick)
    _band(rules.band, p if band_reference is None else band_reference, buy, sell)
    qty = quantity(amount, buy, rules.step)
    sell_qty = pending_quantity(qty, rules.taker_fee, rules.step)
    spend = qty * buy
    if qty < rules.min_qty or qty <= 0:
        raise _filter("MIN_QTY", "quantity", qty, f"at least {plain(rules.min_qty)}")
    if qty > rules.max_qty:
        raise _filter("MAX_QTY", "quantity", qty, f"at most {plain(rules.max_qty)}")
    if spend < rules.min_notional:
        raise _filter("MIN_NOTIONAL", "amount", spend, f"at least {plain(rules.min_notional)} USDT")
    if rules.max_notional is not None and spend > rules.max_notional:
        raise _filter("MAX_NOTIONAL", "amount", spend, f"at most {plain(rules.max_notional)} USDT")
    if sell_qty < rules.min_qty or sell_qty <= 0:
        raise _filter("MIN_QTY", "quantity to sell", sell_qty, f"at least {plain(rules.min_qty)}")
    if sell_qty * sell < rules.min_notional:
        worth = sell_qty * sell
        raise _filter("MIN_NOTIONAL", "amount to sell", worth, f"at least {plain(rules.min_notional)} USDT")
    return PairPlan(p, buy, sell, qty, sell_qty, spend)


def _filter(name: str, noun: str, value: Decimal, allowed: str) -> Refused:
    return Refused(
        f"FILTER_{name}", f"the {noun} must be {allowed}, was {plain(value)}: set single_trade_amount_usdt"
    )


def _band(band: Band | None, reference: Decimal, buy: Decimal, sell: Decimal) -> None:
    if band is None:
        return
    fits = (
        reference * band.buy_low <= buy <= reference * band.buy_high
        and reference * band.sell_low <= sell <= reference * band.sell_high
    )
    if not fits:
        raise Refused(
            "FILTER_PERCENT_PRICE",
            f"buy {plain(buy)} or sell {plain(sell)} is outside the venue's band around {plain(reference)}: "
            "lower the offsets",
        )


@exact
def spend_with_fee(plan: PairPlan, taker_fee: Decimal) -> Decimal:
    """The free USDT that the pair needs."""
    return plan.spend * (ONE + taker_fee)


@exact
def planned_loss(plan: PairPlan, taker_fee: Decimal) -> Decimal:
    """What the pair costs if both legs fill at their limits; what is too small to sell counts as nothing."""
    return plan.spend - plan.sell_qty * plan.sell_price * (ONE - taker_fee)


@exact
def exit_price(bid: Decimal, tick: Decimal) -> Decimal:
    """Limit of a flattening order: half a percent below the bid, rounded down to the tick."""
    return floor_to(bid * Decimal("0.995"), tick)


@exact
def exit_quantity(residue: Decimal, limit: Decimal, rules: TokenRules) -> Decimal:
    """What can be sold of a residue at this limit, in whole steps; zero if the venue would refuse it."""
    if residue <= 0:
        return ZERO
    qty = min(floor_to(residue, rules.step), rules.max_qty)
    sellable = qty > 0 and qty >= rules.min_qty and qty * limit >= rules.min_notional
    return qty if sellable else ZERO
