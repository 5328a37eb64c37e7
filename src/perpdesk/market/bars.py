"""One table of 1-minute bars → integer records per symbol, with every check on the way.

Prices become integers at the fewest decimal places that show every bar (and the tick) exactly, volumes
become whole lots. A file is refused at its first row that breaks a rule; a hole in time is not an error
but a gap, which the tape turns into a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from perpdesk.domain import units
from perpdesk.domain.errors import DataError
from perpdesk.kernel.records import MINUTE_MS, bar_dt
from perpdesk.market.columns import NUMBER, TEXT, TIME, Batch, Layout, batches
from perpdesk.market.findings import utc_text
from perpdesk.market.sources import Source

# A numpy record array: its fields are attributes, which no stub describes.
Records: TypeAlias = Any

PRICES = ("open", "high", "low", "close")
PRICE_DIGITS_MAX = 8
# Larger integers would leave too little of 62 bits for quantity and money.
PRICE_UNITS_MAX = 99_999_999
# Above 2^53 a float64 no longer counts by ones.
_LOTS_MAX = 1 << 53
_BLOCK_ROWS = 16_384

LAYOUT = Layout(
    required={"open_time": TIME, **dict.fromkeys((*PRICES, "volume"), NUMBER)},
    optional={"symbol": TEXT},
    aliases={},
    positional=(
        "open_time",
        *PRICES,
        "volume",
        "close_time",
        "quote_volume",
        "count",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "ignore",
    ),
)


class Gap(msgspec.Struct, frozen=True):
    """No bars from ``from_ms`` (inclusive) until data row ``row``, which opens at ``to_ms``."""

    row: int
    from_ms: int
    to_ms: int


class BarsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one symbol's bars in one table without looking at them again."""

    symbol: str
    rows: int
    first_row: int
    rows_are_consecutive: bool
    first_ms: int
    last_ms: int
    price_digits: int
    lot_step: Decimal
    price_max: int
    off_tick: int
    off_lot: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class Scale:
    """The instrument's price tick and lot step: what a symbol's bars are converted with."""

    price_tick: Decimal
    lot_step: Decimal


def convert(source: Source, scales: Mapping[str, Scale]) -> Iterator[tuple[BarsFacts, Records]]:
    """Every symbol of the table with its bars: a recarray of bar_dt, in time order, present bars only.

    A symbol without a row in ``scales`` takes its scale from the data. Raises DataError naming file, row
    and rule.
    """
    builders: dict[str, _Builder] = {}
    for batch in batches(source, LAYOUT):
        for symbol, first_row, row_numbers, columns in _by_symbol(source, batch):
            builder = builders.get(symbol)
            if builder is None:
                expected = batch.table_size if row_numbers is None else None
                expected = batch.size if expected is None else expected
                builder = builders[symbol] = _Builder(source, symbol, scales.get(symbol), expected)
            for start in range(0, columns["open"].size, _BLOCK_ROWS):
                block = slice(start, start + _BLOCK_ROWS)
                builder.add(
                    first_row + start,
                    None if row_numbers is None else row_numbers[block],
                    {name: column[block] for name, column in columns.items()},
                )
    for symbol in sorted(builders):
        yield builders[symbol].finish()


def _by_symbol(
    source: Source, batch: Batch
) -> Iterator[tuple[str, int, NDArray[np.int64] | None, Mapping[str, NDArray[Any]]]]:
    """(symbol, number of its first row, row numbers unless they are consecutive, columns)"""
    if "symbol" not in batch.texts:
        yield source.symbol, batch.row, None, batch.values
        return
    codes, names = batch.texts["symbol"]
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], codes.size], strict=True):
        rows = order[start:stop]
        if not names[int(ordered[start])]:
            raise DataError("symbol is empty", file=source, row=batch.row + int(rows[0]), rule="value")
        columns = {name: column[rows] for name, column in batch.values.items()}
        yield names[int(ordered[start])], batch.row + int(rows[0]), batch.row + rows, columns


class _Builder:
    """One symbol's growing records, and what the checks must remember between blocks."""

    def __init__(self, source: Source, symbol: str, scale: Scale | None, rows: int) -> None:
        self.source = source
        self.symbol = symbol
        self.tick = None if scale is None else scale.price_tick
        self.lot_step = None if scale is None else scale.lot_step
        self.price_digits = 0 if scale is None else units.digits_of(scale.price_tick)
        self.lot_digits = 0 if scale is None else units.digits_of(scale.lot_step)
        self.lot_is_rough = False
        self.bars: Records = np.empty(rows, bar_dt).view(np.recarray)
        self.count = 0
        self.rescaled: list[tuple[int, int, int]] = []  # (rows before, price factor, lots factor)
        self.first = 0
        self.rows: NDArray[np.int64] | None = None
        self.first_row = 0
        self.next_row = 0
        self.is_consecutive = True
        self.last_ms = 0
        self.shortest_ms = 0
        self.gaps: list[Gap] = []
        self.off_tick = 0
        self.off_lot = 0
        self.price_max = 0

    def refuse(self, at: int, rule: str, problem: str) -> DataError:
        row = self.first + at if self.rows is None else int(self.rows[at])
        return DataError(f"{self.symbol}: {problem}", file=self.source, row=row, rule=rule)

    def add(self, first: int, rows: NDArray[np.int64] | None, columns: Mapping[str, NDArray[Any]]) -> None:
        self.first, self.rows = first, rows
        size = columns["open"].size
        self._rows(size)
        self._times(columns["open_time"])
        self._values(columns)
        if self.count + size > self.bars.size:
            grown = np.empty(max(2 * self.bars.size, self.count + size), bar_dt).view(np.recarray)
            grown[: self.count] = self.bars[: self.count]
            self.bars = grown
        out = self.bars[self.count : self.count + size]
        out.open_ms = columns["open_time"]
        self._prices(columns, out)
        self._volumes(columns["volume"], out)
        self.count += size

    def _rows(self, size: int) -> None:
        """Remember whether the symbol's rows stand side by side, so that a row can be named later."""
        first, last = (
            (self.first, self.first + size - 1) if self.rows is None else self.rows[[0, -1]].tolist()
        )
        if self.count == 0:
            self.first_row = self.next_row = first
        self.is_consecutive &= first == self.next_row and last - first + 1 == size
        self.next_row = last + 1

    def _times(self, times: NDArray[np.int64]) -> None:
        """In order, no minute twice, on the minute, one minute apart (but for gaps)."""
        first = int(times[0])
        if self.count == 0:
            self.last_ms = first - MINUTE_MS
        steps = np.diff(times, prepend=self.last_ms)
        if first % MINUTE_MS == 0 and bool((steps == MINUTE_MS).all()):
            if self.count > 0 or steps.size > 1:
                self.shortest_ms = MINUTE_MS
            self.last_ms = int(times[-1])
            return
        if self.count == 0:
            steps[0] = MINUTE_MS
        for at in np.flatnonzero((steps <= 0) | (times % MINUTE_MS != 0))[:1]:
            now, step = int(times[at]), int(steps[at])
            before = utc_text(now - step)
            if step == 0:
                raise self.refuse(at, "duplicate", f"the minute {before} stands in the row before as well")
            if step < 0:
                raise self.refuse(at, "time_order", f"{utc_text(now)} comes after {before}")
            raise self.refuse(
                at, "minute", f"open_time {now} is not on a UTC minute: only 1m bars can be read"
            )
        between = steps if self.count else steps[1:]
        if between.size:
            shortest = int(between.min())
            self.shortest_ms = min(self.shortest_ms, shortest) if self.shortest_ms else shortest
        if self.shortest_ms > MINUTE_MS and self.count + times.size >= 3:
            minutes = self.shortest_ms // MINUTE_MS
            raise self.refuse(0, "interval", f"the interval is {minutes} minutes: only 1m bars can be read")
        for at in np.flatnonzero(steps > MINUTE_MS):
            row = self.first + int(at) if self.rows is None else int(self.rows[at])
            now = int(times[at])
            self.gaps.append(Gap(row, now - int(steps[at]) + MINUTE_MS, now))
        self.last_ms = int(times[-1])

    def _values(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Every comparison is written so that NaN fails it."""
        opened, high, low, close, volume = (columns[name] for name in (*PRICES, "volume"))
        if (
            bool((high >= np.maximum(opened, close)).all())
            and bool((low <= np.minimum(opened, close)).all())
            and low.min() > 0
            and high.max() < np.inf
            and volume.min() >= 0
            and volume.max() < np.inf
        ):
            return
        finite = np.ones(opened.size, bool)
        for column in (opened, high, low, close, volume):
            finite &= np.isfinite(column)
        rules = (
            (finite, "finite", "a price or the volume is not a finite number"),
            (low > 0, "positive", "low must be above zero"),
            (high >= np.maximum(opened, close), "high", "high must be at least open and close"),
            (low <= np.minimum(opened, close), "low", "low must be at most open and close"),
            (volume >= 0, "volume", "volume must not be negative"),
        )
        at = min(int(np.flatnonzero(~holds)[0]) for holds, _, _ in rules if not holds.all())
        rule, problem = next((rule, problem) for holds, rule, problem in rules if not holds[at])
        shown = ", ".join(f"{name} {columns[name][at]:.15g}" for name in (*PRICES, "volume"))
        raise self.refuse(at, rule, f"{problem} ({shown})")

    def _prices(self, columns: Mapping[str, NDArray[Any]], out: Records) -> None:
        while True:
            factor = 10.0**self.price_digits
            inexact = [at for name in PRICES if (at := _to_units(columns[name], factor, out, name)) >= 0]
            if not inexact:
                break
            self._finer_prices(columns, min(inexact))
        largest = int(out.high.max())
        if largest > PRICE_UNITS_MAX:
            at = int(np.argmax(out.high > PRICE_UNITS_MAX))
            raise self.refuse(
                at,
                "price_scale",
                f"high {columns['high'][at]:.15g} with the {self.price_digits} decimal places that the bars "
                f"need is above {PRICE_UNITS_MAX} units",
            )
        self.price_max = max(self.price_max, largest)
        if self.tick is not None:
            tick = units.to_units(self.tick, self.price_digits)
            if tick > 1:
                off = (out.open % tick != 0) | (out.high % tick != 0)
                off |= (out.low % tick != 0) | (out.close % tick != 0)
                self.off_tick += int(np.count_nonzero(off))

    def _finer_prices(self, columns: Mapping[str, NDArray[Any]], at: int) -> None:
        """Raise price_digits until the block's rest from row ``at`` on is exact, or refuse the row."""
        digits = self.price_digits
        rest = np.concatenate([columns[name][at:] for name in PRICES])
        while rest.size:
            if digits == PRICE_DIGITS_MAX:
                name = next(n for n in PRICES if not _is_exact(columns[n][at:], 10.0**digits).all())
                at += int(np.argmin(_is_exact(columns[name][at:], 10.0**digits)))
                raise self.refuse(
                    at,
                    "price_scale",
                    f"{name} {columns[name][at]!r} needs more than {PRICE_DIGITS_MAX} decimal places",
                )
            digits += 1
            rest = rest[~_is_exact(rest, 10.0**digits)]
        factor = 10 ** (digits - self.price_digits)
        self.rescaled.append((self.count, factor, 1))
        self.price_max *= factor
        self.price_digits = digits

    def _volumes(self, volume: NDArray[np.float64], out: Records) -> None:
        largest = float(volume.max())
        if self.lot_step is None:
            self._finer_lots(volume, largest)
            step, factor = 1, 10.0**self.lot_digits
        else:
            step, factor = units.to_units(self.lot_step, self.lot_digits), 10.0**self.lot_digits
        if largest * factor / step >= _LOTS_MAX:
            raise self.refuse(int(np.argmax(volume)), "volume", f"volume {largest:.15g} is too large")
        scaled = volume * factor
        if step != 1:
            scaled /= step
        lots = np.rint(scaled)
        off = np.count_nonzero(lots * step / factor != volume)
        self.off_lot += int(off)
        np.copyto(out.volume_lots, lots, casting="unsafe")

    def _finer_lots(self, volume: NDArray[np.float64], largest: float) -> None:
        """Without an instrument: as many decimal places as the volumes have, while float64 can tell."""
        if self.lot_is_rough:
            return
        digits = self.lot_digits
        rest = volume[~_is_exact(volume, 10.0**digits)]
        while rest.size:
            if digits == PRICE_DIGITS_MAX or largest * 10.0 ** (digits + 1) >= _LOTS_MAX:
                self.lot_is_rough = True
                break
            digits += 1
            rest = rest[~_is_exact(rest, 10.0**digits)]
        if digits != self.lot_digits:
            self.rescaled.append((self.count, 1, 10 ** (digits - self.lot_digits)))
            self.lot_digits = digits

    def finish(self) -> tuple[BarsFacts, Records]:
        bars = self.bars[: self.count]
        for rows, price_factor, lots_factor in self.rescaled:
            if price_factor != 1:
                for name in PRICES:
                    bars[name][:rows] *= price_factor
            if lots_factor != 1:
                bars.volume_lots[:rows] *= lots_factor
        facts = BarsFacts(
            symbol=self.symbol,
            rows=self.count,
            first_row=self.first_row,
            rows_are_consecutive=self.is_consecutive,
            first_ms=int(bars.open_ms[0]),
            last_ms=self.last_ms,
            price_digits=self.price_digits,
            lot_step=units.from_units(1, self.lot_digits) if self.lot_step is None else self.lot_step,
            price_max=self.price_max,
            off_tick=self.off_tick,
            off_lot=self.off_lot,
            gaps=tuple(self.gaps),
        )
        return facts, bars


def _is_exact(values: NDArray[np.float64], factor: float) -> NDArray[np.bool_]:
    exact: NDArray[np.bool_] = np.rint(values * factor) / factor == values
    return exact


def _to_units(values: NDArray[np.float64], factor: float, out: Records, name: str) -> int:
    """Write round(values × factor) into the field; the first row where that is not exact, or -1."""
    scaled = values * factor
    np.rint(scaled, out=scaled)
    np.copyto(out[name], scaled, casting="unsafe")
    scaled /= factor
    exact = scaled == values
    return -1 if bool(exact.all()) else int(np.argmin(exact))
