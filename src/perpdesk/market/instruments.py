"""Instruments of a run: an exchangeInfo file, else the bundled table, else what the data shows.

The bundled table is our own: tick, lot and smallest order of well-known USDⓈ-M contracts, and of the
invented contracts of the synthetic market.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from perpdesk.domain import units
from perpdesk.domain.errors import DataError, InputError
from perpdesk.domain.instrument import (
    LIQUIDATION_FEE_FRACTION,
    MAKER_FEE_FRACTION,
    TAKER_FEE_FRACTION,
    Bracket,
    Instrument,
    brackets_for,
    brackets_from_leverage_bracket,
    instruments_from_exchange_info,
)

# How many times the largest price of the data a notional must still fit into 62 bits at.
PRICE_ROOM = 16

_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD")

# The invented contracts take turns: an expensive coin, a dear one, a cheap one, a middling one.
# Columns as in the bundled file: tick, lot, smallest, largest, largest market order, smallest notional.
_SYNTHETIC_KINDS = (
    ["0.1", "0.001", "0.001", "1000", "120", "100"],
    ["0.01", "0.01", "0.01", "100000", "20000", "20"],
    ["0.0001", "1", "1", "50000000", "10000000", "5"],
    ["0.001", "0.1", "0.1", "2000000", "500000", "5"],
)
_SYNTHETIC_MAX = 1000


def read_instruments(
    path: Path | str, brackets: Mapping[str, tuple[Bracket, ...]] | None = None
) -> dict[str, Instrument]:
    """The instruments of a ``GET /fapi/v1/exchangeInfo`` answer in a JSON file (``.gz`` too).

    Raises DataError if it cannot be read, InputError naming file, symbol and field otherwise.
    """
    try:
        return instruments_from_exchange_info(_json(path), brackets)
    except InputError as error:
        raise _in_file(error, path) from error


def read_brackets(path: Path | str) -> dict[str, tuple[Bracket, ...]]:
    """The brackets of a ``GET /fapi/v1/leverageBracket`` answer in a JSON file (``.gz`` too)."""
    try:
        return brackets_from_leverage_bracket(_json(path))
    except InputError as error:
        raise _in_file(error, path) from error


def bundled(brackets: Mapping[str, tuple[Bracket, ...]] | None = None) -> dict[str, Instrument]:
    """The built-in table: used where no exchangeInfo file is given."""
    return dict(_bundled()) if brackets is None else _contracts(brackets)


@cache
def _bundled() -> dict[str, Instrument]:
    return _contracts(None)


def _contracts(brackets: Mapping[str, tuple[Bracket, ...]] | None) -> dict[str, Instrument]:
    return {
        symbol: contract(
            symbol,
            price_tick=row[0],
            lot_step=row[1],
            qty_min=row[2],
            qty_max=row[3],
            market_qty_max=row[4],
            notional_min=row[5],
            brackets=brackets,
        )
        for symbol, row in _table().items()
    }


def contract(
    symbol: str,
    *,
    price_tick: Decimal,
    lot_step: Decimal,
    qty_min: Decimal,
    qty_max: Decimal,
    market_qty_max: Decimal,
    notional_min: Decimal,
    brackets: Mapping[str, tuple[Bracket, ...]] | None = None,
) -> Instrument:
    """A trading perpetual with regular fees; base and quote are read from its name."""
    quote = next((quote for quote in _QUOTES if symbol.endswith(quote)), "USDT")
    return Instrument(
        symbol=symbol,
        base=symbol.removesuffix(quote),
        quote=quote,
        status="TRADING",
        contract_type="PERPETUAL",
        price_tick=price_tick,
        lot_step=lot_step,
        qty_min=qty_min,
        qty_max=qty_max,
        market_qty_max=market_qty_max,
        notional_min=notional_min,
        liquidation_fee_fraction=LIQUIDATION_FEE_FRACTION,
        maker_fee_fraction=MAKER_FEE_FRACTION,
        taker_fee_fraction=TAKER_FEE_FRACTION,
        brackets=brackets_for(symbol, brackets),
    )


def instrument_from_data(symbol: str, price_digits: int, lot_step: Decimal, price_max: int) -> Instrument:
    """An instrument for a symbol that no table describes: tick and lot as the bars show them, a smallest
    order of 5 quote units, and the largest quantity whose notional fits into 62 bits."""
    unit = units.unit_e8(price_digits, lot_step, symbol)
    lots_max = min(10**12, units.LIMIT // (PRICE_ROOM * price_max * unit))
    qty_max = max(1, lots_max) * lot_step
    return contract(
        symbol,
        price_tick=units.from_units(1, price_digits),
        lot_step=lot_step,
        qty_min=lot_step,
        qty_max=qty_max,
        market_qty_max=qty_max,
        notional_min=Decimal(5),
    )


def synthetic_symbols(count: int) -> tuple[str, ...]:
    """Names of invented contracts: AAAUSDT to ZZZUSDT, then SYN026USDT and on, up to 1,000."""
    if not 1 <= count <= _SYNTHETIC_MAX:
        raise InputError(f"must be 1 to {_SYNTHETIC_MAX}, was {count}", field="symbols")
    letters = [3 * chr(ord("A") + i) + "USDT" for i in range(min(26, count))]
    return (*letters, *(f"SYN{i:03d}USDT" for i in range(26, count)))


@cache
def _table() -> dict[str, tuple[Decimal, ...]]:
    text = resources.files("perpdesk.market").joinpath("bundled/instruments.json").read_bytes()
    table = msgspec.json.decode(text, type=dict[str, list[str]])
    table |= {
        symbol: _SYNTHETIC_KINDS[i % len(_SYNTHETIC_KINDS)]
        for i, symbol in enumerate(synthetic_symbols(_SYNTHETIC_MAX))
    }
    return {
        symbol: tuple(units.decimal_of(value, symbol) for value in row)
        for symbol, row in table.items()
        if symbol != "columns"
    }


def _json(path: Path | str) -> object:
    try:
        raw = Path(path).read_bytes()
        return msgspec.json.decode(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (OSError, EOFError, zlib.error, msgspec.DecodeError) as error:
        raise DataError(f"cannot be read as JSON: {error}", file=path, rule="readable") from error


def _in_file(error: InputError, path: Path | str) -> InputError:
    if error.file is not None:
        return error
    return InputError(error.problem, field=error.field, file=path, row=error.row, rule=error.rule)
