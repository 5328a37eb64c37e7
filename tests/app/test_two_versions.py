"""Two score versions on one symbol and side: one position at the exchange, a book and a stop for each.

Looked at after every minute of a paper run, on both sides: the exchange's own position and orders, and the
database's rows.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from tests.app.markets import DAY, configured, synthetic

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.app import Desk, paper
from perpdesk.kernel.records import STOP

NAMES = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
VERSIONS = (
    "score.versions=[{name: v3, scorer: v3, params: {min_score_long: 12, min_score_short: 12}},"
    " {name: late, scorer: v3, margin_usdt: 250, start_offset_s: 60,"
    " params: {min_score_long: 12, min_score_short: 12}}]"
)


class Look:
    """What the exchange showed: symbol and minute → lots of each version's stop, and of the position."""

    def __init__(self) -> None:
        self.shared: dict[tuple[str, int], tuple[dict[str, int], int]] = {}

    async def __call__(self, desk: Desk, now_ms: int) -> None:
        symbols = desk.market.universe.symbols
        stops: dict[int, dict[str, int]] = {}
        for order in await desk.venue.open_orders():
            if order.kind == STOP:
                version = order.client_id.split("-")[0]
                assert order.reduce_only
                assert version not in stops.setdefault(order.symbol, {}), "two stops of one version"
                stops[order.symbol][version] = -order.side * order.lots
        held = {one.symbol: one.lots for one in await desk.venue.positions() if one.lots}
        for s, by_version in stops.items():
            assert sum(by_version.values()) == held[s], "the stops are over all that the exchange holds"
            if len(by_version) == 2:
                self.shared[symbols[s], now_ms] = by_version, held[s]


async def test_both_hold_one_position_with_books_and_stops_of_their_own(tmp_path: Path) -> None:
    market = synthetic(DAY, symbols=5, warmup=32 * 60)
    market = replace(market, universe=replace(market.universe, symbols=NAMES))
    url, look = f"sqlite:///{tmp_path / 'desk.db'}", Look()
    upgrade(url)
    await paper(configured(VERSIONS), ["score_v3", "score_late"], market, database=url, each_minute=look)
    assert len(look.shared) > 60
    assert all(len(set(lots.values())) == 2 for lots, _ in look.shared.values()), "sizes of their own"

    connection = sqlite3.connect(tmp_path / "desk.db")
    connection.row_factory = sqlite3.Row
    step = {symbol: market.universe.lot_step[s] for s, symbol in enumerate(NAMES)}
    for (symbol, now_ms), (stops, _) in look.shared.items():
        at = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.000")
        # what fills at the open of the next minute has the time of this one's close
        rows = connection.execute(
            "SELECT signal_version, position_side, quantity FROM futures_positions"
            " WHERE symbol = ? AND open_time < ? AND (close_time IS NULL OR close_time >= ?)",
            (symbol, at, at),
        ).fetchall()
        found = {row["signal_version"]: (row["position_side"], row["quantity"]) for row in rows}
        assert len(rows) == len(found) == 2, "never two of one version"
        assert {side for side, _ in found.values()} == {"LONG" if sum(stops.values()) > 0 else "SHORT"}
        kept = {version: Decimal(quantity) for version, (_, quantity) in found.items()}
        assert kept == {version: abs(lots) * step[symbol] for version, lots in stops.items()}
    connection.close()
