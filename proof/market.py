"""Recorded minutes for the market of a proof: real data where there are some, else the synthetic market."""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from perpdesk.domain.units import plain, price_of
from perpdesk.exchange.server.sources import path_of
from perpdesk.kernel.records import ABSENT_MS
from perpdesk.market.instruments import bundled
from perpdesk.market.synthetic import synthetic_tape
from perpdesk.market.tape import Tape, read_tape

_ROOT = Path(__file__).resolve().parent.parent
_MINUTES = 20_000
_NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "LTCUSDT", "LINKUSDT", "AVAXUSDT")


class Recorded:
    """``prices``: where it begins. ``points``: for ever onwards, {symbol: price} along each minute's path."""

    def __init__(self, symbols: int, start: int, *, synthetic: bool = False) -> None:
        self.tape, self.source = _tape(symbols, synthetic)
        self.start = start % max(1, self.tape.steps - _MINUTES // 2)
        self.symbols = list(self.tape.universe.symbols)
        self._ticks = {symbol: bundled()[symbol].price_tick for symbol in self.symbols}
        self.prices = next(self.points())

    def points(self) -> Iterator[dict[str, str]]:
        """Four a minute: open, nearer extreme, other extreme, close."""
        step = self.start
        while True:
            bars = self.tape.bars[step % self.tape.steps].tolist()
            paths = [path_of(*bar[1:5]) if bar[0] != ABSENT_MS else None for bar in bars]
            for i in range(4):
                yield {
                    symbol: self._text(k, path[i])
                    for k, (symbol, path) in enumerate(zip(self.symbols, paths, strict=True))
                    if path is not None
                }
            step += 1

    def _text(self, k: int, price: int) -> str:
        symbol = self.symbols[k]
        exact = price_of(price, self.tape.universe.price_digits[k])
        tick = self._ticks[symbol]
        return plain(max(tick, Decimal(round(exact / tick)) * tick))


def _tape(symbols: int, synthetic: bool) -> tuple[Tape, str]:
    folder = Path(os.environ.get("PERPDESK_DATA") or _ROOT.parent / "shared" / "data") / "klines_1m" / "usdm"
    files = [path for name in _NAMES for path in sorted(folder.glob(f"{name}_1m_*.parquet"))[:1]]
    if synthetic or not files:
        return synthetic_tape(7, symbols, _MINUTES), "the synthetic market, seed 7"
    chosen = files[:symbols]
    return read_tape(chosen), "recorded minutes of " + ", ".join(path.name.split("_")[0] for path in chosen)
