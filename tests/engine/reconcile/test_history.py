"""The backfill into a real store: what is absent is written, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from tests.adapters.binance.test_truth import by_hand
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.engine.reconcile.desk import JumpClock

from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.domain.books import FillQuery, FillSource, OrderEffect, OrderRow, TradingMode
from perpdesk.domain.order import PositionSide, Side
from perpdesk.engine.reconcile.history import Backfilled, backfill, fill_row
from perpdesk.exchange.faults import Fault

ACCOUNT = 7
TRADED = (("BUY", 10), ("SELL", 4), ("SELL", 9), ("BUY", 3))


class Scene:
    def __init__(self, desk: BinanceDesk, store: SqlStore) -> None:
        self.desk, self.store, self.clock = desk, store, JumpClock()
        self.universe = desk.venue._universe

    async def backfill(self, until_ms: int | None = None) -> Backfilled:
        return await backfill(
            venue=self.desk.venue,
            store=self.store,
            clock=self.clock,
            universe=self.universe,
            account_id=ACCOUNT,
            until_ms=self.desk.server.now_ms() + 1 if until_ms is None else until_ms,
        )


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    url = f"sqlite:///{folder / 'books.db'}"
    await asyncio.to_thread(upgrade, url)
    async with binance_desk() as desk, await SqlStore.open(url) as store:
        for i, (side, lots) in enumerate(TRADED):
            await by_hand(desk, side, lots, f"web_{i}")
        await asyncio.sleep(0.003)
        yield Scene(desk, store)


async def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        first = await one.backfill()
        assert (first.symbols, first.read, first.inserted, first.gaps) == (("BTCUSDT",), 4, 4, {})
        assert [trip.held for trip in first.round_trips] == [0, 0]
        assert first.orphans == ()
        rows = await one.store.fills(FillQuery(account_id=ACCOUNT))
        assert [(row.side, row.qty, row.source, row.position_id) for row in rows] == [
            (Side(side), Decimal(lots) / 1000, FillSource.BACKFILL, None) for side, lots in TRADED
        ]
        ledger = one.desk.server.ledger(0)
        assert sum(row.commission for row in rows) == Decimal(ledger["fees_e8"]).scaleb(-8)
        assert sum(row.realized_pnl_venue for row in rows) == Decimal(ledger["realised_e8"]).scaleb(-8)
        second = await one.backfill()
        assert (second.inserted, second.round_trips) == (0, first.round_trips)
        assert await one.store.fills(FillQuery(account_id=ACCOUNT)) == rows


async def test_what_the_reconciler_will_import_is_left_to_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        fills = await one.desk.venue.fills_since(0, one.desk.server.now_ms() - 60_000)
        assert (await one.backfill(until_ms=fills[0].ms)).inserted == 0


async def test_split_and_known_fills_are_not_written_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        fills = await one.desk.venue.fills_since(0, one.desk.server.now_ms() - 60_000)
        row = fill_row(fills[0], one.universe, ACCOUNT, "USDT")
        await one.store.record_fill(row)
        assert (await one.backfill()).inserted == 3


async def test_an_order_that_traded_more_than_its_fills_is_a_gap(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        fills = await one.desk.venue.fills_since(0, one.desk.server.now_ms() - 60_000)
        params = await one.store.save_params_snapshot("{}", 1)
        ms = fills[0].ms
        order = OrderRow(
            account_id=ACCOUNT, trading_mode=TradingMode.LIVE, client_id="s2-7-abc00-e1-0", symbol="BTCUSDT",
            side=Side.BUY, position_side=PositionSide.LONG, order_type=OrderEffect.OPEN, kind="MARKET",
            status="FILLED", orig_quantity=Decimal("0.012"), order_ms=ms, updated_ms=ms, params_hash=params,
            quantity=Decimal("0.012"), quote_quantity=Decimal(600), price=Decimal(50000),
            order_id=fills[0].order_id,
        )  # fmt: skip
        await one.store.record_order(order)
        assert (await one.backfill()).gaps == {fills[0].order_id: 2}


async def test_a_page_that_fails_is_an_error_and_the_next_run_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        one.desk.server.faults.add(Fault(kind="garble", form="truncate", route="GET /fapi/v1/userTrades"))
        with pytest.raises(ExchangeUnreachable):
            await one.backfill()
        assert await one.store.fills(FillQuery(account_id=ACCOUNT)) == []
        assert (await one.backfill()).inserted == 4
