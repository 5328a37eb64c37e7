"""Kernel integers to the exchange's decimal text and back, exactly, by the filters of each symbol.

Nothing is rounded silently: a price between two ticks goes to the tick that is never worse for its order
(limits), or that acts earlier (triggers); a quantity is whole lots.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from msgspec import UnsetType

from perpdesk.adapters.binance.payloads import Filter, SymbolRow
from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import BUY, LIMIT, STOP, TAKE_PROFIT, TRAILING


@dataclass(frozen=True, slots=True)
class Rules:
    """What the exchange's filters say about one symbol, in kernel units of this run.

    tick: price units per tick; step: lots per quantity step, market_step for market orders. percent_*_ppm: a
    limit buys at most at mark × up and sells at least at mark × down.
    """

    symbol: str
    quote: str
    status: str
    price_digits: int
    lot_step: Decimal
    tick: int
    price_min: int
    price_max: int
    step: int
    market_step: int
    lots_min: int
    lots_max: int
    market_lots_min: int
    market_lots_max: int
    notional_min_e8: int
    unit_e8: int
    percent_up_ppm: int = 1_000_000
    percent_down_ppm: int = 1_000_000

    # -- out ---------------------------------------------------------------------------------------

    def price_text(self, price: int) -> str:
        """A price in units as the exchange reads it."""
        return plain_text(price, self.price_digits)

    def quantity_text(self, lots: int) -> str:
        """A quantity in lots as the exchange reads it."""
        return _quantity_text(lots, self.lot_step)

    def order_price(self, kind: int, side: int, price: int) -> int:
        """The tick for the price (limit or trigger) of an order of this kind and side.

        A limit goes away from the market (a buy down, a sell up): never worse than asked. A stop's trigger
        goes towards the market, and so does a take-profit's: never later than asked.
        """
        if kind in (LIMIT, STOP):
            up = side != BUY
        elif kind in (TAKE_PROFIT, TRAILING):
            up = side == BUY
        else:
            raise InputError("has no price", field=f"order kind {kind}")
        return self.on_tick(price, up=up)

    def on_tick(self, price: int, *, up: bool) -> int:
        """The nearest tick at or above (``up``) or at or below the price."""
        return -(-price // self.tick) * self.tick if up else price // self.tick * self.tick

    def refusal(self, lots: int, price: int, *, is_market: bool, reduce_only: bool) -> str | None:
        """Why the filters would refuse this order, None if they would not. price: for the notional."""
        step = self.market_step if is_market else self.step
        least = self.market_lots_min if is_market else self.lots_min
        most = self.market_lots_max if is_market else self.lots_max
        if lots < max(1, least):
            return f"-4004: quantity {self.quantity_text(lots)} is less than {self.quantity_text(least)}"
        if lots > most:
            return f"-4005: quantity {self.quantity_text(lots)} is greater than {self.quantity_text(most)}"
        if lots % step:
            return f"-4023: quantity {self.quantity_text(lots)} is not on the step"
        if price and not is_market and self.price_max and not self.price_min <= price <= self.price_max:
            return f"-4002: price {self.price_text(price)} is outside the price filter"
        if price and not reduce_only and price * lots * self.unit_e8 < self.notional_min_e8:
            least_text = units.plain(units.money_of(self.notional_min_e8))
            return f"-4164: notional is smaller than {least_text}"
        return None

    # -- in ----------------------------------------------------------------------------------------

    def price_units(self, text: str) -> int:
        """A price of the exchange in units. Raises InputError if it is finer than this run's scale."""
        return units.price_to_units(text, self.price_digits, f"{self.symbol} price")

    def price_near(self, text: str) -> int:
        """A mark or average price, which has more digits than any order's, in units, half away from zero."""
        value = units.half_away(units.decimal_of(text, f"{self.symbol} price"), self.price_digits)
        return units.price_to_units(value, self.price_digits)

    def lots(self, text: str) -> int:
        """A quantity of the exchange in lots (unsigned). Raises InputError if it is not whole lots."""
        return units.lots_of(text.removeprefix("-"), self.lot_step, f"{self.symbol} quantity")

    def signed_lots(self, text: str) -> int:
        """A position of the exchange in lots, signed."""
        lots = self.lots(text)
        return -lots if text.startswith("-") else lots


@lru_cache(4_096)
def _quantity_text(lots: int, lot_step: Decimal) -> str:
    return units.plain(units.qty_of(lots, lot_step))


@lru_cache(4_096)
def plain_text(value: int, digits: int) -> str:
    """value × 10^-digits in plain decimals."""
    return units.plain(units.price_of(value, digits))


def callback_text(callback_ppm: int) -> str:
    """A callback in parts per million as the exchange's percent: 5000 → "0.5". InputError out of 0.1…20."""
    if not 1_000 <= callback_ppm <= 200_000:
        raise InputError("must be 0.1 % to 20 %", field=f"callback {callback_ppm} ppm", rule="callbackRate")
    whole, rest = divmod(callback_ppm, 10_000)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".")


def money_near_e8(text: str, field: str = "amount") -> int:
    """An amount of the exchange in 1e-8 units, half away from zero where it has more digits."""
    return units.money_e8(units.half_away(units.decimal_of(text, field), units.MONEY_DIGITS), field)


def rules_of(row: SymbolRow, price_digits: int, lot_step: Decimal) -> Rules:
    """The rules of one exchangeInfo row in this run's scale.

    Raises InputError, naming symbol and filter, if a filter is missing or the scale cannot express it.
    """
    filters = {one.filter_type: one for one in _rows(row.filters)}

    def number(name: str, key: str, default: str | None = None) -> Decimal:
        value = getattr(filters.get(name), key, None)
        if isinstance(value, str):
            return units.decimal_of(value, f"{row.symbol}.{name}.{key}")
        if default is not None:
            return Decimal(default)
        raise InputError("is missing", field=f"{row.symbol}.{name}.{key}")

    def lots(name: str, key: str) -> int:
        return units.lots_floor(number(name, key), lot_step, f"{row.symbol}.{name}.{key}")

    def price(key: str) -> int:
        return units.to_units(units.half_away(number("PRICE_FILTER", key), price_digits), price_digits)

    tick = number("PRICE_FILTER", "tick_size")
    if tick == 0:
        places = row.price_precision if isinstance(row.price_precision, int) else price_digits
        tick = units.from_units(1, places)
    tick_units = units.to_units(tick, price_digits, f"{row.symbol}.PRICE_FILTER.tick_size")
    return Rules(
        symbol=row.symbol,
        quote=str(row.quote_asset),
        status=str(row.status),
        price_digits=price_digits,
        lot_step=lot_step,
        tick=tick_units,
        price_min=price("min_price"),
        price_max=price("max_price"),
        step=max(1, lots("LOT_SIZE", "step_size")),
        market_step=max(1, lots("MARKET_LOT_SIZE", "step_size")),
        lots_min=_ceil(number("LOT_SIZE", "min_qty"), lot_step),
        lots_max=lots("LOT_SIZE", "max_qty"),
        market_lots_min=_ceil(number("MARKET_LOT_SIZE", "min_qty"), lot_step),
        market_lots_max=lots("MARKET_LOT_SIZE", "max_qty"),
        notional_min_e8=units.money_e8(number("MIN_NOTIONAL", "notional", "0")),
        unit_e8=units.unit_e8(price_digits, lot_step, row.symbol),
        percent_up_ppm=int(number("PERCENT_PRICE", "multiplier_up", "1") * 1_000_000),
        percent_down_ppm=_ppm_up(number("PERCENT_PRICE", "multiplier_down", "1")),
    )


def _rows(filters: list[Filter] | UnsetType) -> Iterable[Filter]:
    return filters if isinstance(filters, list) else []


def _ppm_up(multiplier: Decimal) -> int:
    return -int(-multiplier * 1_000_000 // 1)


def _ceil(qty: Decimal, lot_step: Decimal) -> int:
    floor = units.lots_floor(qty, lot_step)
    return floor if units.qty_of(floor, lot_step) == qty else floor + 1
