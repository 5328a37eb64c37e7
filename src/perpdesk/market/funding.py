"""Funding rates and the mark prices they are charged at, as the kernel's funding_dt records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpdesk.domain.errors import DataError
from perpdesk.kernel.records import MINUTE_MS, funding_dt
from perpdesk.market.bars import Records
from perpdesk.market.columns import NUMBER, TEXT, TIME, Layout, batches
from perpdesk.market.findings import utc_text
from perpdesk.market.sources import Source, find
from perpdesk.market.universe import Universe

_RATE_FACTOR = 1e8

FUNDING_LAYOUT = Layout(
    required={"funding_time": TIME, "funding_rate": NUMBER},
    optional={"symbol": TEXT, "mark_price": NUMBER},
    aliases={
        "fundingtime": "funding_time",
        "calc_time": "funding_time",
        "fundingrate": "funding_rate",
        "last_funding_rate": "funding_rate",
        "markprice": "mark_price",
    },
    positional=("funding_time", "funding_interval_hours", "funding_rate"),
)
MARK_LAYOUT = Layout(
    required={"open_time": TIME, "open": NUMBER},
    optional={"symbol": TEXT},
    aliases={},
    positional=(
        "open_time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "close_time",
        "quote_volume",
        "count",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "ignore",
    ),
)


@dataclass(frozen=True)
class _Rows:
    """Rows of one table that belong to one symbol of the universe (``symbol`` is its index)."""

    source: Source
    symbol: int
    row: NDArray[np.int64]
    minute_ms: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]

    def refuse(self, at: int, rule: str, problem: str) -> DataError:
        return DataError(problem, file=self.source, row=int(self.row[at]), rule=rule)


def read(
    paths: Iterable[Path | str],
    universe: Universe,
    *,
    marks: Iterable[Path | str] = (),
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> Records:
    """The funding rates of the universe's symbols in [start_ms, end_ms): funding_dt, sorted by (ms, symbol).

    Times are floored to the minute (the exchange books some milliseconds late). ``mark`` is the file's own
    mark price, else the open of the mark kline (``marks``) of that minute, in the symbol's price units
    (nearest, half to even), else 0. Rows of other symbols are left out. Raises DataError naming file and
    row for a rate finer than 1e-8, a mark that is not above zero, or a symbol and minute that stand twice.
    """
    prices = _marks(marks, universe)
    pieces = []
    sources: list[tuple[Source, NDArray[np.int64]]] = []
    for rows in _rows(find(paths, field="--funding"), FUNDING_LAYOUT, "funding_time", universe):
        rate = rows.values["funding_rate"]
        rate_e8 = np.rint(rate * _RATE_FACTOR)
        wrong = ~(rate_e8 / _RATE_FACTOR == rate) | ~(np.abs(rate) < 1)
        if wrong.any():
            at = int(np.argmax(wrong))
            problem = f"funding rate {rate[at]!r} must be a fraction below 1 with at most 8 decimal places"
            raise rows.refuse(at, "rate", problem)
        piece = np.zeros(rate.size, funding_dt)
        piece["ms"] = rows.minute_ms
        piece["symbol"] = rows.symbol
        piece["rate_e8"] = rate_e8
        if "mark_price" in rows.values:
            piece["mark"] = _price_units(rows, "mark_price", universe)
        else:
            known = prices.get(rows.symbol, {})
            piece["mark"] = [known.get(ms, 0) for ms in rows.minute_ms.tolist()]
        pieces.append(piece)
        sources.append((rows.source, rows.row))
    if not pieces:
        return np.zeros(0, funding_dt).view(np.recarray)
    every = np.concatenate(pieces)
    order = np.lexsort((every["symbol"], every["ms"]))
    ordered = every[order]
    same = (np.diff(ordered["ms"]) == 0) & (np.diff(ordered["symbol"]) == 0)
    if same.any():
        at = int(order[int(np.argmax(same)) + 1])
        places = [(source, row) for source, rows_ in sources for row in rows_.tolist()]
        source, row = places[at]
        symbol = universe.symbols[int(every["symbol"][at])]
        raise DataError(
            f"{symbol}: a funding rate of {utc_text(int(every['ms'][at]))} stands twice",
            file=source,
            row=row,
            rule="duplicate",
        )
    keep = np.ones(ordered.size, bool)
    if start_ms is not None:
        keep &= ordered["ms"] >= start_ms
    if end_ms is not None:
        keep &= ordered["ms"] < end_ms
    return ordered[keep].view(np.recarray)


def _marks(paths: Iterable[Path | str], universe: Universe) -> dict[int, dict[int, int]]:
    """Symbol → minute → the open of its mark kline in price units."""
    known: dict[int, dict[int, int]] = {}
    given = list(paths)
    if not given:
        return known
    for rows in _rows(find(given, field="--mark"), MARK_LAYOUT, "open_time", universe):
        units = _price_units(rows, "open", universe)
        known.setdefault(rows.symbol, {}).update(zip(rows.minute_ms.tolist(), units.tolist(), strict=True))
    return known


def _price_units(rows: _Rows, name: str, universe: Universe) -> NDArray[np.int64]:
    price = rows.values[name]
    wrong = ~(price > 0) | ~np.isfinite(price)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise rows.refuse(at, "mark", f"{name} {price[at]!r} must be above zero")
    return np.rint(price * 10.0 ** universe.price_digits[rows.symbol]).astype(np.int64)


def _rows(sources: list[Source], layout: Layout, time: str, universe: Universe) -> Iterator[_Rows]:
    index = {symbol: i for i, symbol in enumerate(universe.symbols)}
    for source in sources:
        for batch in batches(source, layout):
            if "symbol" in batch.texts:
                codes, names = batch.texts["symbol"]
                groups = [(index[name], codes == code) for code, name in enumerate(names) if name in index]
            else:
                symbol = _symbol_in_name(source, index)
                groups = [] if symbol is None else [(index[symbol], np.ones(batch.size, bool))]
            times: NDArray[Any] = batch.values[time]
            for at, chosen in groups:
                yield _Rows(
                    source,
                    at,
                    batch.row + np.flatnonzero(chosen),
                    times[chosen] // MINUTE_MS * MINUTE_MS,
                    {name: column[chosen] for name, column in batch.values.items() if name != time},
                )


def _symbol_in_name(source: Source, index: dict[str, int]) -> str | None:
    """The first part of the file name that is a symbol of the universe."""
    name = (source.member or source.path.name).upper()
    for separator in "_-.":
        name = name.replace(separator, " ")
    return next((part for part in name.split() if part in index), None)
