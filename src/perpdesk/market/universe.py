"""The universe of a run: which symbols, in which order, and the integers their bars are counted in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpdesk.domain import units
from perpdesk.domain.errors import InputError, ScaleError
from perpdesk.domain.instrument import Instrument
from perpdesk.kernel.records import BRACKETS_MAX, instrument_dt, zeros
from perpdesk.market.bars import PRICE_UNITS_MAX, BarsFacts, Records
from perpdesk.market.findings import DataWarning
from perpdesk.market.instruments import PRICE_ROOM, instrument_from_data


@dataclass(frozen=True)
class Universe:
    """The symbols of a run in their fixed order (sorted), and per symbol: the instrument, the decimal
    places of a price unit, the lot, and the largest price in the data (in units)."""

    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    price_digits: tuple[int, ...]
    lot_step: tuple[Decimal, ...]
    price_max: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.symbols)

    def index(self, symbol: str) -> int:
        """Where a symbol stands. Raises InputError, naming near matches, if it is not here."""
        try:
            return self.symbols.index(symbol)
        except ValueError:
            raise unknown_symbol(symbol, self.symbols) from None

    def records(self, *, maker_ppm: int | None = None, taker_ppm: int | None = None) -> Records:
        """instrument_dt per symbol: what the kernel knows of it. Fees default to the instrument's own.

        The largest quantities are cut where a notional could reach 2^62 (at ``PRICE_ROOM`` times the largest
        price). Raises ScaleError if not even the smallest order fits, InputError for a tick or quantity that
        cannot be counted.
        """
        out = zeros(len(self), instrument_dt)
        for i, instrument in enumerate(self.instruments):
            record, symbol, step = out[i], self.symbols[i], self.lot_step[i]
            record.tick = units.to_units(instrument.price_tick, self.price_digits[i], f"{symbol}.price_tick")
            record.unit_e8 = units.unit_e8(self.price_digits[i], step, symbol)
            lots_min = units.lots_floor(instrument.qty_min, step)
            record.lots_min = max(1, lots_min + (units.qty_of(lots_min, step) < instrument.qty_min))
            price_max = self.price_max[i] * PRICE_ROOM
            units.refuse_overflow(price_max, int(record.lots_min), int(record.unit_e8), symbol)
            fitting = (units.LIMIT - 1) // (price_max * int(record.unit_e8))
            record.lots_max = min(units.lots_floor(instrument.qty_max, step), fitting)
            record.market_lots_max = min(units.lots_floor(instrument.market_qty_max, step), fitting)
            record.notional_min_e8 = units.money_e8(instrument.notional_min)
            record.maker_ppm = units.ppm_of(instrument.maker_fee_fraction) if maker_ppm is None else maker_ppm
            record.taker_ppm = units.ppm_of(instrument.taker_fee_fraction) if taker_ppm is None else taker_ppm
            record.liquidation_fee_ppm = units.ppm_of(instrument.liquidation_fee_fraction)
            # beyond the last bracket kept no leverage is allowed, so dropping the largest is the safe side
            brackets = instrument.brackets[:BRACKETS_MAX]
            record.bracket_count = len(brackets)
            for j, bracket in enumerate(brackets):
                record.bracket_cap_e8[j] = units.money_e8(bracket.notional_max)
                record.bracket_leverage[j] = bracket.leverage_max
                record.bracket_mmr_ppm[j] = units.ppm_of(bracket.mmr_fraction)
                record.bracket_cum_e8[j] = units.money_e8(bracket.cum)
        return out


def unknown_symbol(symbol: str, known: Sequence[str], *, field: str = "--symbols") -> InputError:
    """The error for a symbol that is not among ``known``, with the names that it may have meant."""
    near = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(known)[:10])}"
    return InputError(
        f"unknown symbol {symbol!r}, not among the {len(known)} found: {hint}", field=field, rule="symbol"
    )


def build(
    facts: Mapping[str, Sequence[BarsFacts]], instruments: Mapping[str, Instrument]
) -> tuple[Universe, list[DataWarning]]:
    """The universe of the symbols in ``facts`` (what their tables hold), and a warning for each symbol
    without an instrument: its scale and lot come from the data.

    Raises ScaleError, naming the symbol and its largest price, where the common scale does not fit.
    """
    symbols = tuple(sorted(facts))
    rows, digits, steps, largest = [], [], [], []
    warnings = []
    for symbol in symbols:
        parts = facts[symbol]
        instrument = instruments.get(symbol)
        price_digits = max(one.price_digits for one in parts)
        price_max = max(one.price_max * 10 ** (price_digits - one.price_digits) for one in parts)
        if instrument is not None:
            price_digits, floor = max(price_digits, units.digits_of(instrument.price_tick)), price_digits
            price_max *= 10 ** (price_digits - floor)
        if price_max > PRICE_UNITS_MAX:
            raise ScaleError(
                f"price {units.plain(units.price_of(price_max, price_digits))} with the {price_digits} "
                f"decimal places that its bars need is above {PRICE_UNITS_MAX} units",
                field=symbol,
            )
        if instrument is None:
            # one price unit times one lot must be at least 1e-8 of the quote currency
            finest = units.from_units(1, units.MONEY_DIGITS - price_digits)
            step = max(finest, min(one.lot_step for one in parts))
            instrument = instrument_from_data(symbol, price_digits, step, price_max)
            warnings.append(
                DataWarning(
                    rule="instrument",
                    message=f"no instrument row: price unit {units.plain(instrument.price_tick)} and lot "
                    f"{units.plain(step)} are taken from the data",
                    symbol=symbol,
                )
            )
        units.unit_e8(price_digits, instrument.lot_step, symbol)
        rows.append(instrument)
        digits.append(price_digits)
        steps.append(instrument.lot_step)
        largest.append(price_max)
    return Universe(symbols, tuple(rows), tuple(digits), tuple(steps), tuple(largest)), warnings


def wanted(found: Iterable[str], symbols: Iterable[str] | None) -> set[str]:
    """The symbols of a run: all that were found, or those asked for. Raises InputError for one that is
    asked for and not there, and if none is left."""
    known = sorted(set(found))
    if symbols is None:
        chosen = set(known)
    else:
        chosen = set(symbols)
        for symbol in sorted(chosen):
            if symbol not in known:
                raise unknown_symbol(symbol, known)
    if not chosen:
        raise InputError("the universe is empty: no symbol is left", field="--symbols", rule="universe")
    return chosen
