"""Engine against compiled replay: equal to the last bit, or where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpdesk.app import Desk, Market, backtest, desk, run_desk
from perpdesk.config.load import Loaded
from perpdesk.kernel.records import MINUTE_MS, TAG_EXCHANGE_STOP, tag_name
from perpdesk.kernel.replay import fills_hash


@dataclass(frozen=True)
class Difference:
    """The first place where two runs part. where: fill, account, position or venue."""

    where: str
    index: int
    field: str
    replay: str
    engine: str
    context: str = ""

    def __str__(self) -> str:
        values = f"{self.replay} in replay, {self.engine} in the engine"
        return f"{self.where} {self.index}: {self.field} is {values} {self.context}"


@dataclass(frozen=True)
class Receipt:
    """The outcome of a comparison. gap_stops: stops that filled at a bar's open, beyond their trigger."""

    strategy: str
    symbols: int
    bars: int
    fills: int
    gap_stops: int
    fills_hash: str
    engine_fills_hash: str
    params_hash: str
    replay_bars_per_second: float
    engine_bars_per_second: float
    first_difference: Difference | None

    @property
    def identical(self) -> bool:
        return self.first_difference is None

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints."""
        difference = self.first_difference
        return {
            "identical": self.identical,
            "strategy": self.strategy,
            "symbols": self.symbols,
            "bars": self.bars,
            "fills": self.fills,
            "gap_stops": self.gap_stops,
            "fills_hash": self.fills_hash,
            "engine_fills_hash": self.engine_fills_hash,
            "params_hash": self.params_hash,
            "replay_bars_per_second": round(self.replay_bars_per_second),
            "engine_bars_per_second": round(self.engine_bars_per_second),
            "first_difference": None
            if difference is None
            else {
                "where": difference.where,
                "index": difference.index,
                "field": difference.field,
                "replay": difference.replay,
                "engine": difference.engine,
                "context": difference.context,
            },
        }


def compare(
    loaded: Loaded,
    strategies: Sequence[str],
    market: Market,
    *,
    every_point: bool = False,
    venue_taker_ppm: int | None = None,
) -> Receipt:
    """Run strategies, on one account, both ways over a market and compare everything.

    every_point switches the engine's skipping of quiet bars off (slow), the replay keeps it: the results
    must still agree. venue_taker_ppm plants a difference.
    """
    result, replayed, fills = backtest(loaded, strategies, market)
    one = desk(loaded, strategies, market, every_point=every_point, venue_taker_ppm=venue_taker_ppm)
    paper = run_desk(one)
    engine_fills = one.engine.fills()
    difference = (
        _first_fill(fills, engine_fills, market.universe.symbols)
        or _first_field("account", replayed.books.account, one.setup.books.account)
        or _first_field("position", replayed.books.positions.ravel(), one.setup.books.positions.ravel())
        or _venue(one, len(fills))
    )
    opened = fills["ms"] % MINUTE_MS == 0
    return Receipt(
        strategy=result.strategy,
        symbols=len(market.universe.symbols),
        bars=result.bars,
        fills=len(fills),
        gap_stops=int(((fills["tag"] == TAG_EXCHANGE_STOP) & opened).sum()),
        fills_hash=fills_hash(fills),
        engine_fills_hash=fills_hash(engine_fills),
        params_hash=result.params_hash,
        replay_bars_per_second=result.bars_per_second,
        engine_bars_per_second=paper.bars_per_second,
        first_difference=difference,
    )


def _first_fill(a: np.recarray, b: np.recarray, symbols: Sequence[str]) -> Difference | None:
    for i in range(min(len(a), len(b))):
        if a[i].tobytes() == b[i].tobytes():
            continue
        for name in a.dtype.names or ():
            if a[i][name] != b[i][name]:
                return Difference("fill", i, name, str(a[i][name]), str(b[i][name]), _describe(a[i], symbols))
    if len(a) != len(b):
        i = min(len(a), len(b))
        longer = a if len(a) > len(b) else b
        return Difference("fill", i, "count", str(len(a)), str(len(b)), _describe(longer[i], symbols))
    return None


def _describe(fill: np.void, symbols: Sequence[str]) -> str:
    side = "buy" if fill["side"] > 0 else "sell"
    return (
        f"({symbols[fill['symbol']]} {side} {fill['lots']} lots at {fill['price']}, "
        f"{tag_name(fill['tag'])}, {fill['ms']} ms)"
    )


def _first_field(where: str, a: np.ndarray, b: np.ndarray) -> Difference | None:
    for i in range(len(a)):
        for name in a.dtype.names or ():
            if not np.array_equal(a[i][name], b[i][name]):
                return Difference(where, i, name, str(a[i][name]), str(b[i][name]))
    return None


def _venue(one: Desk, fills: int) -> Difference | None:
    """Is the exchange's money ours?

    Of several versions on one symbol it knows the average price only, so that profit moves between realised
    and unrealised, and each fill and payment may round by one unit.
    """
    books, venue = one.setup.books, one.venue
    cash, wallet_e8 = int(books.account.cash_e8[0]), venue.wallet_now_e8()
    if len(one.setup.sleeves) == 1:
        return None if cash == wallet_e8 else Difference("venue", 0, "wallet_e8", str(wallet_e8), str(cash))
    compiled = one.engine.sleeves[0].compiled
    ours = cash + int(compiled.unrealised_now(books.instruments, books.positions, books.heads))
    theirs = wallet_e8 + venue.unrealised_now_e8()
    if abs(ours - theirs) <= len(one.setup.sleeves) * (fills + len(one.market.funding)):
        return None
    return Difference("venue", 0, "equity_e8", str(theirs), str(ours))
