"""Instruments: what may be ordered and what it costs, as the exchange describes it.

Values are Decimal in the units of the exchange; ``perpdesk.domain.units`` turns them into the kernel's
integers. Status and contract type stay the exchange's own words, so a word that is new to us survives.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise

import msgspec

from perpdesk.domain import units
from perpdesk.domain.errors import InputError

# Binance's regular tier without the BNB discount.
MAKER_FEE_FRACTION = Decimal("0.0002")
TAKER_FEE_FRACTION = Decimal("0.0005")
# For the rows of exchangeInfo that carry no liquidationFee of their own.
LIQUIDATION_FEE_FRACTION = Decimal("0.0125")

# A notional that no account reaches, yet far below 2^62 in 1e-8 units.
CAP_UNLIMITED = Decimal(10_000_000_000)


class Bracket(msgspec.Struct, frozen=True):
    """One leverage bracket: up to ``notional_max`` at most ``leverage_max`` may be used, and the maintenance
    margin is notional × mmr_fraction − cum (both in quote currency)."""

    notional_max: Decimal
    leverage_max: int
    mmr_fraction: Decimal
    cum: Decimal


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One contract. Prices and notionals are in quote currency, quantities in base currency."""

    symbol: str
    base: str
    quote: str
    status: str
    contract_type: str
    price_tick: Decimal
    lot_step: Decimal
    qty_min: Decimal
    qty_max: Decimal
    market_qty_max: Decimal
    notional_min: Decimal
    liquidation_fee_fraction: Decimal
    maker_fee_fraction: Decimal
    taker_fee_fraction: Decimal
    brackets: tuple[Bracket, ...]

    @property
    def is_trading(self) -> bool:
        """Does the exchange take new orders for it?"""
        return self.status == "TRADING"


def _bracket(notional_max: int, leverage_max: int, mmr: str, cum: int) -> Bracket:
    return Bracket(Decimal(notional_max), leverage_max, Decimal(mmr), Decimal(cum))


# Snapshot of 2026-09, cut where the source was cut: beyond the last cap no leverage is allowed.
DEFAULT_BRACKETS: Mapping[str, tuple[Bracket, ...]] = {
    "BTCUSDT": (
        _bracket(300_000, 150, "0.004", 0),
        _bracket(800_000, 100, "0.005", 300),
        _bracket(3_000_000, 75, "0.0065", 1_500),
        _bracket(12_000_000, 50, "0.01", 12_000),
        _bracket(70_000_000, 25, "0.02", 132_000),
        _bracket(100_000_000, 20, "0.025", 482_000),
    ),
    "ETHUSDT": (
        _bracket(300_000, 150, "0.004", 0),
        _bracket(800_000, 100, "0.005", 300),
        _bracket(3_000_000, 75, "0.0065", 1_500),
        _bracket(12_000_000, 50, "0.01", 12_000),
        _bracket(50_000_000, 25, "0.02", 132_000),
        _bracket(65_000_000, 20, "0.025", 382_000),
    ),
    "SOLUSDT": (
        _bracket(50_000, 100, "0.005", 0),
        _bracket(400_000, 75, "0.0065", 75),
        _bracket(1_000_000, 50, "0.01", 1_475),
        _bracket(4_000_000, 25, "0.02", 11_475),
    ),
    "DOGEUSDT": (
        _bracket(80_000, 75, "0.0065", 0),
        _bracket(150_000, 50, "0.01", 280),
        _bracket(750_000, 40, "0.0125", 655),
    ),
}
FALLBACK_BRACKETS = (Bracket(CAP_UNLIMITED, 20, Decimal("0.025"), Decimal(0)),)


def brackets_for(symbol: str, table: Mapping[str, tuple[Bracket, ...]] | None = None) -> tuple[Bracket, ...]:
    """The brackets of a symbol: from ``table``, else the snapshot, else one bracket of 20× and 2.5 %."""
    if table is not None and symbol in table:
        return table[symbol]
    return DEFAULT_BRACKETS.get(symbol, FALLBACK_BRACKETS)


def _text(row: Mapping[str, object], key: str, place: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise InputError(f"must be text, was {value!r}", field=f"{place}.{key}")
    return value


def _number(row: Mapping[str, object], key: str, place: str) -> Decimal:
    if key not in row:
        raise InputError("is missing", field=f"{place}.{key}")
    return units.decimal_of_float(row[key], f"{place}.{key}")


def _rows(value: object, place: str) -> list[Mapping[str, object]]:
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise InputError("must be a list of objects", field=place)
    return value


def _common_step(step: Decimal, market_step: Decimal) -> Decimal:
    """The smallest step that is a multiple of both: a lot every order kind accepts."""
    digits = max(units.digits_of(step), units.digits_of(market_step))
    first, second = units.to_units(step, digits), units.to_units(market_step, digits)
    multiple = first
    while multiple % second != 0:
        multiple += first
    return units.from_units(multiple, digits)


def _instrument(row: Mapping[str, object], brackets: Mapping[str, tuple[Bracket, ...]] | None) -> Instrument:
    symbol = _text(row, "symbol", "symbols[]")
    filters = {
        _text(f, "filterType", f"{symbol}.filters[]"): f
        for f in _rows(row.get("filters"), f"{symbol}.filters")
    }

    def of(name: str, key: str) -> Decimal:
        if name not in filters:
            raise InputError("is missing", field=f"{symbol}.{name}")
        return _number(filters[name], key, f"{symbol}.{name}")

    tick = of("PRICE_FILTER", "tickSize")
    if tick == 0:
        # The exchange's way to say "no tick rule": then its price precision is the only limit.
        tick = Decimal((0, (1,), -int(_number(row, "pricePrecision", symbol))))
    step = of("LOT_SIZE", "stepSize")
    market_step = of("MARKET_LOT_SIZE", "stepSize")
    for name, value in (("PRICE_FILTER.tickSize", tick), ("LOT_SIZE.stepSize", step)):
        if value <= 0:
            raise InputError(f"must be above zero, was {units.plain(value)}", field=f"{symbol}.{name}")
    lot_step = step if market_step <= 0 else _common_step(step, market_step)
    fee = row.get("liquidationFee")
    return Instrument(
        symbol=symbol,
        base=_text(row, "baseAsset", symbol),
        quote=_text(row, "quoteAsset", symbol),
        status=_text(row, "status", symbol),
        contract_type=_text(row, "contractType", symbol),
        price_tick=tick,
        lot_step=lot_step,
        qty_min=max(of("LOT_SIZE", "minQty"), lot_step),  # some rows say 0, and nothing is below one lot
        qty_max=of("LOT_SIZE", "maxQty"),
        market_qty_max=of("MARKET_LOT_SIZE", "maxQty"),
        notional_min=of("MIN_NOTIONAL", "notional"),
        liquidation_fee_fraction=(
            LIQUIDATION_FEE_FRACTION if fee is None else _number(row, "liquidationFee", symbol)
        ),
        maker_fee_fraction=MAKER_FEE_FRACTION,
        taker_fee_fraction=TAKER_FEE_FRACTION,
        brackets=brackets_for(symbol, brackets),
    )


def instruments_from_exchange_info(
    decoded: object, brackets: Mapping[str, tuple[Bracket, ...]] | None = None
) -> dict[str, Instrument]:
    """Every instrument of a decoded ``GET /fapi/v1/exchangeInfo`` answer, in its order.

    ``brackets`` (from ``brackets_from_leverage_bracket``) overrides the built-in table per symbol.
    Raises InputError naming the symbol and field that cannot be used, or a symbol that stands there twice.
    """
    if not isinstance(decoded, Mapping):
        raise InputError("must be the object that GET /fapi/v1/exchangeInfo answers", field="exchangeInfo")
    found: dict[str, Instrument] = {}
    for row in _rows(decoded.get("symbols"), "exchangeInfo.symbols"):
        instrument = _instrument(row, brackets)
        if instrument.symbol in found:
            raise InputError("stands there twice", field=f"exchangeInfo.symbols.{instrument.symbol}")
        found[instrument.symbol] = instrument
    return found


def _check_ladder(symbol: str, brackets: tuple[Bracket, ...]) -> None:
    """Raise InputError unless caps ascend, and with them the margin rate but not the leverage."""
    place = f"{symbol}.brackets"
    if not brackets:
        raise InputError("must have at least one bracket", field=place)
    for bracket in brackets:
        if not (bracket.notional_max > 0 and bracket.leverage_max >= 1 and 0 <= bracket.mmr_fraction < 1):
            raise InputError(f"cannot be a bracket: {bracket}", field=place)
    for low, high in pairwise(brackets):
        if high.notional_max <= low.notional_max or high.leverage_max > low.leverage_max:
            raise InputError("caps must ascend and leverage must not", field=place)
        if high.mmr_fraction < low.mmr_fraction:
            raise InputError("maintenance margin must not fall with the notional", field=place)


def brackets_from_leverage_bracket(decoded: object) -> dict[str, tuple[Bracket, ...]]:
    """Brackets by symbol from a decoded ``GET /fapi/v1/leverageBracket`` answer (list, or one object).

    Numbers may be JSON numbers or text. Raises InputError naming the symbol and field.
    """
    rows = [decoded] if isinstance(decoded, Mapping) else _rows(decoded, "leverageBracket")
    found: dict[str, tuple[Bracket, ...]] = {}
    for row in rows:
        symbol = _text(row, "symbol", "leverageBracket[]")
        ladder = []
        for entry in _rows(row.get("brackets"), f"{symbol}.brackets"):
            leverage = _number(entry, "initialLeverage", f"{symbol}.brackets[]")
            ladder.append(
                Bracket(
                    _number(entry, "notionalCap", f"{symbol}.brackets[]"),
                    units.to_units(leverage, 0, f"{symbol}.brackets[].initialLeverage"),
                    _number(entry, "maintMarginRatio", f"{symbol}.brackets[]"),
                    _number(entry, "cum", f"{symbol}.brackets[]"),
                )
            )
        brackets = tuple(sorted(ladder, key=lambda bracket: bracket.notional_max))
        _check_ladder(symbol, brackets)
        if symbol in found:
            raise InputError("stands there twice", field=f"leverageBracket.{symbol}")
        found[symbol] = brackets
    return found
