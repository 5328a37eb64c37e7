"""What may be ordered and what it costs: one contract with its filters, in the kernel's integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpdesk.domain import units
from perpdesk.domain.instrument import Instrument
from perpdesk.exchange.core.numbers import fixed
from perpdesk.market.universe import Universe

HOUR_MS = 3_600_000
FUNDING_MS = 8 * HOUR_MS
PPM = 1_000_000
_PERCENT_PRICE_PPM = 50_000
_TAKE_BOUND_PPM = 50_000
_TRIGGER_PROTECT_PPM = 50_000
_ORDERS_MAX = 200


@dataclass(slots=True)
class Contract:
    """Prices in 10^-price_digits, quantities in lots, money in 1e-8, shares in parts per million.

    ``record`` is the kernel's instrument record of the same contract.
    """

    index: int
    instrument: Instrument
    record: Any
    price_digits: int
    lot_step: Decimal
    tick: int
    unit_e8: int
    lots_min: int
    lots_max: int
    market_lots_max: int
    notional_min_e8: int
    maker_ppm: int
    taker_ppm: int
    liquidation_fee_ppm: int
    brackets: tuple[tuple[int, int, int, int], ...]
    price_min: int
    price_max: int
    price_precision: int
    qty_precision: int
    lot_units: int
    status: str = "TRADING"
    percent_up_ppm: int = PPM + _PERCENT_PRICE_PPM
    percent_down_ppm: int = PPM - _PERCENT_PRICE_PPM
    take_bound_ppm: int = _TAKE_BOUND_PPM
    trigger_protect_ppm: int = _TRIGGER_PROTECT_PPM
    orders_max: int = _ORDERS_MAX
    funding_ms: int = FUNDING_MS
    onboard_ms: int = 1_569_398_400_000

    @property
    def symbol(self) -> str:
        """The exchange's name for it."""
        return self.instrument.symbol

    @property
    def leverage_max(self) -> int:
        """The highest leverage that any bracket allows."""
        return max(bracket[1] for bracket in self.brackets)

    def price_text(self, price: int) -> str:
        """A price in the contract's own places."""
        return fixed(price, self.price_digits)

    def qty_text(self, lots: int) -> str:
        """A quantity in base currency."""
        return fixed(lots * self.lot_units, self.qty_precision)

    def notional_e8(self, price: int, lots: int) -> int:
        """Money of so many lots at a price."""
        return price * lots * self.unit_e8

    def cap_e8(self, leverage: int) -> int:
        """The largest notional at a leverage."""
        caps = [cap for cap, bracket_leverage, _, _ in self.brackets if bracket_leverage >= leverage]
        return caps[-1] if caps else 0


def contracts_of(universe: Universe) -> tuple[Contract, ...]:
    """The contracts of a universe, in its order."""
    records = universe.records()
    return tuple(
        _contract(i, instrument, records[i], universe.price_digits[i], universe.lot_step[i])
        for i, instrument in enumerate(universe.instruments)
    )


def universe_of(instruments: Sequence[Instrument]) -> Universe:
    """A universe without data: scales are the instruments' own."""
    ordered = sorted(instruments, key=lambda one: one.symbol)
    return Universe(
        tuple(one.symbol for one in ordered),
        tuple(ordered),
        tuple(units.digits_of(one.price_tick) for one in ordered),
        tuple(one.lot_step for one in ordered),
        tuple(1 for _ in ordered),
    )


def _contract(index: int, instrument: Instrument, record: Any, digits: int, step: Decimal) -> Contract:
    tick = int(record.tick)
    count = int(record.bracket_count)
    lots_max = int(record.lots_max)
    unit = int(record.unit_e8)
    ceiling = min(units.LIMIT // (4 * lots_max * unit), 10 ** (digits + 7))
    return Contract(
        index=index,
        instrument=instrument,
        record=record,
        price_digits=digits,
        lot_step=step,
        tick=tick,
        unit_e8=unit,
        lots_min=int(record.lots_min),
        lots_max=lots_max,
        market_lots_max=int(record.market_lots_max),
        notional_min_e8=int(record.notional_min_e8),
        maker_ppm=int(record.maker_ppm),
        taker_ppm=int(record.taker_ppm),
        liquidation_fee_ppm=int(record.liquidation_fee_ppm),
        brackets=tuple(
            (
                int(record.bracket_cap_e8[j]),
                int(record.bracket_leverage[j]),
                int(record.bracket_mmr_ppm[j]),
                int(record.bracket_cum_e8[j]),
            )
            for j in range(count)
        ),
        price_min=tick,
        price_max=max(tick, ceiling // tick * tick),
        price_precision=max(2, units.digits_of(instrument.price_tick)),
        qty_precision=units.digits_of(step),
        lot_units=units.to_units(step, units.digits_of(step)),
        status=instrument.status,
    )
