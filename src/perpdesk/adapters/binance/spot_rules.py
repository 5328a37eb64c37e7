"""What a pair allows, from exchangeInfo, exactly. A filter that is missing where it is needed is an error."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpdesk.adapters.binance.errors import MalformedAnswer
from perpdesk.adapters.binance.spot_payloads import SpotFilter, SpotSymbol
from perpdesk.domain import units
from perpdesk.domain.errors import InputError


@dataclass(frozen=True, slots=True)
class SpotRules:
    """Prices in quote, quantities in base. Bands are multiples of the venue's reference price."""

    symbol: str
    base: str
    quote: str
    is_trading: bool
    oto_allowed: bool
    opo_allowed: bool
    stp_modes: tuple[str, ...]
    tick: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal
    max_notional: Decimal | None
    buy_band: tuple[Decimal, Decimal] | None
    sell_band: tuple[Decimal, Decimal] | None


def rules_of(row: SpotSymbol) -> SpotRules:
    """Raises MalformedAnswer for a pair that does not say what an order needs to know."""
    filters = {one.filter_type: one for one in row.filters}
    try:
        price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
        worth = filters.get("NOTIONAL") or filters["MIN_NOTIONAL"]
        modes = row.allowed_self_trade_prevention_modes
        band = filters.get("PERCENT_PRICE_BY_SIDE")
        return SpotRules(
            row.symbol,
            row.base_asset,
            row.quote_asset,
            row.status == "TRADING",
            row.oto_allowed,
            row.opo_allowed,
            tuple(modes) if isinstance(modes, list) else (),
            _positive(price.tick_size, "tickSize"),
            _positive(lot.step_size, "stepSize"),
            units.decimal_of(lot.min_qty, "minQty"),
            _positive(lot.max_qty, "maxQty"),
            units.decimal_of(worth.min_notional, "minNotional"),
            _positive(worth.max_notional, "maxNotional") if isinstance(worth.max_notional, str) else None,
            _band(band, "bid"),
            _band(band, "ask"),
        )
    except (KeyError, InputError) as error:
        raise MalformedAnswer(f"exchangeInfo of {row.symbol}: {error}") from error


def _positive(text: object, name: str) -> Decimal:
    value = units.decimal_of(text, name)
    if value <= 0:
        raise InputError(f"must be positive, was {value}", field=name)
    return value


def _band(one: SpotFilter | None, side: str) -> tuple[Decimal, Decimal] | None:
    if one is None:
        return None
    down, up = (
        (one.bid_multiplier_down, one.bid_multiplier_up)
        if side == "bid"
        else (one.ask_multiplier_down, one.ask_multiplier_up)
    )
    return units.decimal_of(down, "multiplierDown"), units.decimal_of(up, "multiplierUp")
