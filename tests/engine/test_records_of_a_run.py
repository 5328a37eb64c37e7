"""After a paper run the rows in the database are the books, to the last 1e-8."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from decimal import Decimal
from hashlib import sha256
from itertools import accumulate

import pytest
from tests.app.markets import DAY, SCORE_WARMUP, configured, synthetic, with_drops
from tests.engine.keeping import Kept, kept_run

from perpdesk.domain import units
from perpdesk.domain.books import IntentState, RunMode
from perpdesk.domain.order import OrderStatus, PositionSide, Side
from perpdesk.domain.position import PositionStatus
from perpdesk.kernel.records import (
    APPROVED,
    MARKET,
    MINUTE_MS,
    NONE,
    SLOT_ENTRY,
    SLOT_EXIT,
    VERDICT_NAMES,
    tag_name,
)
from perpdesk.research.round_trips import RoundTrip, round_trips

CALM = "score.versions.v2.params.min_score_to_trade=50"
RUNS = {
    "plain": (CALM,),
    "few lots": (CALM, "paper.volume_share=0.000004"),
    "drops": (CALM, "sma_cross.stop=0.01", "account.leverage=20", "risk.daily_loss_limit=null"),
    "drops and few lots": (
        CALM, "sma_cross.stop=0.01", "score.guardian.fixed_stop=-0.006", "account.margin_mode=cross",
        "paper.volume_share=0.000004", "risk.daily_loss_limit=null",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=RUNS)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    market = synthetic(DAY, warmup=SCORE_WARMUP)
    if request.param.startswith("drops"):
        market = with_drops(market, 0.20, every=150)
    folder = tmp_path_factory.mktemp("kept")
    return kept_run(folder, configured(*RUNS[request.param]), ["sma_cross", "score_v2"], market)


def sums(rows: list, *names: str) -> dict[str, Decimal]:  # type: ignore[type-arg]
    return {name: sum((getattr(row, name) for row in rows), Decimal(0)) for name in names}


def test_the_rows_add_up_to_the_account(kept: Kept) -> None:
    account = kept.one.setup.books.account[0]
    realised, fees, funding = (kept.money(account[name]) for name in ("realised_e8", "fees_e8", "funding_e8"))
    assert fees > 0
    assert funding != 0
    assert sums(kept.positions, "realized_pnl", "commission", "funding", "net_pnl") == {
        "realized_pnl": realised,
        "commission": fees,
        "funding": funding,
        "net_pnl": realised - fees + funding,
    }
    assert sums(kept.fills, "realized_pnl_venue", "commission") == {
        "realized_pnl_venue": realised,
        "commission": fees,
    }
    assert kept.money(account.initial_e8) + realised - fees + funding == kept.money(account.cash_e8)


def test_the_fills_are_the_fills(kept: Kept) -> None:
    universe = kept.one.market.universe
    booked = kept.one.engine.fills()
    assert len(kept.fills) == len(booked) > 20
    as_told = sorted(kept.fills, key=lambda row: row.trade_id)
    for row, fill in zip(as_told, booked, strict=True):
        s = int(fill.symbol)
        assert row.symbol == universe.symbols[s]
        assert row.side is Side.of(int(fill.side))
        assert row.qty == units.qty_of(int(fill.lots), universe.lot_step[s])
        assert row.price == units.price_of(int(fill.price), universe.price_digits[s])
        assert row.commission == kept.money(fill.fee_e8)
        assert row.realized_pnl_venue == kept.money(fill.realised_e8)
        assert row.fill_ms == fill.ms
        assert row.is_maker == (not fill.taker)
        assert row.position_id is not None
        assert (row.client_id is None) == (tag_name(fill.tag) == "LIQUIDATION")


def test_a_position_is_what_its_fills_are(kept: Kept) -> None:
    by_position = defaultdict(list)
    for fill in kept.fills:
        by_position[fill.position_id].append(fill)
    assert {position.id for position in kept.positions} >= by_position.keys()
    for position in kept.positions:
        fills = by_position[position.id]
        entry = Side.BUY if position.position_side is PositionSide.LONG else Side.SELL
        bought = [fill for fill in fills if fill.side is entry]
        sold = [fill for fill in fills if fill.side is not entry]
        assert position.realized_pnl == sum(fill.realized_pnl_venue for fill in fills)
        assert position.commission == sum(fill.commission for fill in fills)
        assert position.net_pnl == position.realized_pnl - position.commission + position.funding
        assert {fill.symbol for fill in fills} <= {position.symbol}
        if not fills:
            continue
        size, left = sum(fill.qty for fill in bought), sum(fill.qty for fill in sold)
        assert position.open_ms == fills[0].fill_ms
        assert position.initial_quantity == size
        assert position.avg_entry_price == average(bought)
        if position.status.is_live:
            assert position.quantity == size - left
            assert position.exit_price is None
        else:
            assert size == left
            assert position.exit_price == average(sold)
            assert position.close_ms == fills[-1].fill_ms


def average(fills: list) -> Decimal:  # type: ignore[type-arg]
    paid = sum(fill.qty * fill.price for fill in fills)
    return units.half_away(paid / sum(fill.qty for fill in fills), 12)


def test_the_finished_positions_are_the_round_trips(kept: Kept) -> None:
    ended = [position for position in kept.positions if not position.status.is_live and position.open_ms]
    trips = round_trips(kept.one.engine.fills())
    assert len(trips) > 10
    symbols, versions = kept.one.market.universe.symbols, kept.one.setup.versions

    def picture(trip: RoundTrip) -> tuple[object, ...]:
        side = PositionSide.LONG if trip.side > 0 else PositionSide.SHORT
        realised, fees = kept.money(trip.realised_e8), kept.money(trip.fees_e8)
        place = (versions[trip.sleeve], symbols[trip.symbol], side)
        return (*place, trip.opened_ms, trip.closed_ms, trip.reason, realised, fees)

    assert sorted(map(picture, trips)) == sorted(
        (
            position.signal_version,
            position.symbol,
            position.position_side,
            position.open_ms,
            position.close_ms,
            position.close_reason,
            position.realized_pnl,
            position.commission,
        )
        for position in ended
    )
    for position in ended:
        liquidated = position.close_reason == "LIQUIDATION"
        assert position.status is (PositionStatus.LIQUIDATED if liquidated else PositionStatus.CLOSED)
    by_version = {total.signal_version: total.trades for total in kept.totals}
    assert by_version == Counter(versions[trip.sleeve] for trip in trips)


def test_an_entry_without_a_fill_is_aborted(kept: Kept) -> None:
    for position in kept.positions:
        if position.status.is_live or position.open_ms:
            continue
        assert position.close_reason == "ENTRY_ABORTED"
        assert (position.realized_pnl, position.commission, position.funding) == (0, 0, 0)
        assert position.exit_price is None


def test_live_rows_are_what_is_held_or_on_its_way(kept: Kept) -> None:
    """One row per place, with the status that its orders have now."""
    books, market = kept.one.setup.books, kept.one.market
    live = [position for position in kept.positions if position.status.is_live]
    places = [(p.symbol, p.position_side, p.signal_version) for p in live]
    assert len(places) == len(set(places))
    by_place = {(p.signal_version, p.symbol): p for p in live}
    for v, version in enumerate(kept.one.setup.versions):
        for s, symbol in enumerate(market.universe.symbols):
            record, slots = books.positions[v, s], books.slots[v, s]
            entering = slots[SLOT_ENTRY].kind != NONE
            row = by_place.pop((version, symbol), None)
            assert (row is not None) == (record.lots != 0 or entering)
            if row is None:
                continue
            if slots[SLOT_EXIT].kind == MARKET:
                assert row.status is PositionStatus.CLOSING
            else:
                assert row.status is (PositionStatus.BUILDING if entering else PositionStatus.OPEN)
            if record.lots:
                assert row.quantity == units.qty_of(abs(int(record.lots)), market.universe.lot_step[s])
                assert row.notional_value == kept.money(record.cost_e8)
                assert row.margin == kept.money(record.margin_e8)
                digits = market.universe.price_digits[s]
                level = units.price_of(int(record.liquidation_price), digits) or None
                assert row.liquidation_price == level
    assert by_place == {}


def test_orders_are_final_or_still_open(kept: Kept) -> None:
    still = {order.client_id for order in kept.one.engine.executor.open.values()}
    assert len(kept.orders) == kept.one.engine.executor.sent
    assert len({order.client_id for order in kept.orders}) == len(kept.orders)
    for order in kept.orders:
        assert OrderStatus(order.status).is_final == (order.client_id not in still), order
    fills = defaultdict(list)
    for fill in kept.fills:
        fills[fill.client_id].append(fill)
    for order in kept.orders:
        own = fills[order.client_id]
        assert order.quantity == sum(fill.qty for fill in own)
        assert order.quote_quantity == sum(fill.qty * fill.price for fill in own)
        assert order.commission == sum(fill.commission for fill in own)
        assert order.realized_pnl == sum(fill.realized_pnl_venue for fill in own)
        assert order.position_id in {fill.position_id for fill in own} | {order.position_id}
        if order.status == OrderStatus.FILLED:
            assert order.quantity == order.orig_quantity
        if own:
            assert order.price == average(own)


def test_every_entry_has_an_intent_that_came_to_an_end(kept: Kept) -> None:
    rows = kept.sql("SELECT client_id, state, leg, position_id, request FROM order_intents ORDER BY id")
    entries = {order.client_id: order for order in kept.orders if order.leg == "e1"}
    still = {order.client_id for order in kept.one.engine.executor.open.values()}
    assert {row[0] for row in rows} == entries.keys()
    assert [row[3] for row in rows] == [position.id for position in kept.positions]
    for client_id, state, leg, _, request in rows:
        order = entries[client_id]
        assert leg == "e1"
        assert json.loads(request)["newClientOrderId"] == client_id
        assert json.loads(request)["quantity"] == units.plain(order.orig_quantity.normalize())
        if client_id in still:
            assert state == IntentState.LIVE
        else:
            assert state == (IntentState.FILLED if order.quantity else IntentState.DEAD)


def test_every_row_says_under_which_parameters(kept: Kept) -> None:
    ((sha, text),) = kept.sql("SELECT sha256, params FROM params_snapshots")
    assert sha256(text.encode()).hexdigest() == sha == kept.result.params_hash == kept.run.params_hash
    tables = [
        name
        for (name,) in kept.sql(
            "SELECT name FROM sqlite_master WHERE sql LIKE '%params_hash%' AND type = 'table'"
        )
    ]
    written = {
        "futures_positions",
        "order_records",
        "order_intents",
        "strategy_states",
        "strategy_versions",
    }
    assert written <= set(tables)
    for table in tables:
        found = kept.sql(f"SELECT params_hash, count(*) FROM {table} GROUP BY params_hash")
        assert [row[0] for row in found] == [sha] or (table not in written and not found), table


def test_the_journal_is_intact_and_complete(kept: Kept) -> None:
    assert kept.journal.is_intact
    told = Counter(dict(kept.sql("SELECT kind, count(*) FROM journal GROUP BY kind")))
    assert told.total() == kept.journal.rows
    tags = Counter(tag_name(tag) for tag in kept.one.engine.fills()["tag"])
    assert told["Liquidated"] == tags["LIQUIDATION"]
    assert told["OrderFilled"] == len(kept.fills) - tags["LIQUIDATION"]
    assert told["OrderAccepted"] == len(kept.orders)
    verdicts = dict(zip(VERDICT_NAMES, kept.one.setup.books.account.verdicts[0].tolist(), strict=True))
    refused = kept.sql("SELECT payload FROM journal WHERE kind = 'EntryRefused'")
    assert Counter(json.loads(payload)["verdict"] for (payload,) in refused) == {
        name: count for name, count in verdicts.items() if count and name not in ("NONE", "APPROVED")
    }
    assert verdicts[VERDICT_NAMES[APPROVED]] == len(kept.positions)
    paid = kept.sql("SELECT payload FROM journal WHERE kind = 'FundingPaid'")
    amounts = [Decimal(json.loads(payload)["amount"]) for (payload,) in paid]
    assert sum(amounts) == kept.money(kept.one.setup.books.account.funding_e8[0])
    times = [ms for (ms,) in kept.sql("SELECT ms FROM journal ORDER BY seq")]
    # a bar's path is told symbol by symbol, so times go back within a minute, never further
    assert all(ms > latest - MINUTE_MS for ms, latest in zip(times, accumulate(times, max), strict=True))


def test_the_journal_says_why_a_position_was_opened(kept: Kept) -> None:
    rows = kept.sql("SELECT payload FROM journal WHERE kind = 'EntryApproved' ORDER BY seq")
    told = [json.loads(payload) for (payload,) in rows]
    assert [(row["version"], row["symbol"]) for row in told] == [
        (position.signal_version, position.symbol) for position in kept.positions
    ]
    for row, position in zip(told, kept.positions, strict=True):
        assert Decimal(str(row["score"])).quantize(Decimal("0.0001")) == position.entry_score
        assert row["leverage"] == position.leverage


def test_the_run_says_how_it_ended(kept: Kept) -> None:
    assert kept.run.mode is RunMode.PAPER
    assert kept.run.strategies == ["sma_cross", "v2"]
    assert kept.run.ended_ms is not None
    assert kept.run.summary == kept.result.to_json() | {"database_account": kept.run.account_id}
    assert kept.sql("SELECT trading_enabled, updated_by FROM trading_control") == [(1, "run:paper")]


def test_what_strategies_knew_is_kept(kept: Kept) -> None:
    rows = kept.sql("SELECT strategy, symbol, length(state_base64) > 0 FROM strategy_states ORDER BY 1, 2")
    symbols = kept.one.market.universe.symbols
    assert rows == [(name, symbol, 1) for name in ("sma_cross", "v2") for symbol in symbols]
