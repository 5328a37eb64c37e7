"""Ratings, open interest with its daily tables, grid zones, signals and orders."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, Rows, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import BooksContradiction, StoreFailed
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide, Side
from perpdesk.domain.signal_books import (
    Big4Regime,
    GridOrder,
    GridZone,
    OiAnomaly,
    OiSetting,
    OiSnapshot,
    ScoreSignal,
    SymbolRating,
    TradingSignal,
)

DAY_MS = 86_400_000
MIDNIGHT = 1_748_044_800_000  # 2025-05-24


async def test_a_rating_is_replaced_by_the_next(store: SqlStore) -> None:
    first = SymbolRating(
        symbol="BTCUSDT",
        rating_level=0,
        margin_multiplier=Decimal(1),
        score_bonus=Decimal(0),
        updated_ms=T0,
    )
    assert await store.ratings() == {}
    await store.save_rating(first)
    second = msgspec.structs.replace(
        first,
        rating_level=2,
        margin_multiplier=Decimal("0.125"),
        score_bonus=Decimal("0.1"),
        win_rate=Decimal("0.333333"),
        total_loss_amount=Decimal("-200.5"),
        previous_level=0,
        level_changed_ms=T0 + 5,
        level_change_reason="hard stops",
        stats_start_ms=T0 - 7 * DAY_MS,
        stats_end_ms=T0,
    )
    await store.save_rating(second)
    assert await store.ratings() == {"BTCUSDT": second}
    with pytest.raises((BooksContradiction, StoreFailed)):
        await store.save_rating(msgspec.structs.replace(second, rating_level=4))


async def test_a_bar_is_attempted_once_and_refused_as_often_as_it_was(store: SqlStore) -> None:
    rows = await ready(store)
    attempt = ScoreSignal(
        account_id=ACCOUNT,
        version="v2",
        symbol="BTCUSDT",
        side=PositionSide.LONG,
        bar_open_ms=T0,
        score=Decimal("74.6113"),
        other_score=Decimal("25.3887"),
        components={"trend_long": 26},
        act="OPEN",
        reason=None,
        attempted=True,
        params_hash=rows.params_hash,
        created_ms=T0 + 5,
    )
    refused = msgspec.structs.replace(
        attempt, act="NONE", reason="COOLDOWN", attempted=False, created_ms=T0 + 1
    )
    assert await store.record_signals([refused, refused, attempt]) == 3
    assert await store.record_signals([attempt, msgspec.structs.replace(attempt, created_ms=T0 + 9)]) == 0
    other = msgspec.structs.replace(attempt, side=PositionSide.SHORT)
    assert await store.record_signals([other]) == 1
    assert await store.score_signals(ACCOUNT, "v2", "BTCUSDT", T0 + 2) == [attempt, other]
    assert "v2" in await store.version_names()
    assert await store.refusals(ACCOUNT, "v2", T0, T0 + 5) == {"COOLDOWN": 2}
    assert await store.refusals(ACCOUNT, "v3", T0, T0 + 5) == {}


async def test_the_newest_word_on_a_regime_holds(store: SqlStore) -> None:
    first = Big4Regime(
        account_id=ACCOUNT, bar_close_ms=T0, direction="UNKNOWN", strength=Decimal(0), coins={}
    )
    second = msgspec.structs.replace(first, direction="BULL", strength=Decimal("36.0000"), coins={"BTC": 90})
    await store.save_regime(first)
    await store.save_regime(second)
    assert await store.regimes(ACCOUNT, T0, T0 + 1) == [second]
    assert await store.regimes(ACCOUNT, T0 + 1, T0 + 2) == []


def anomaly(**given: object) -> OiAnomaly:
    """Open interest rose by a fifth."""
    values: dict[str, object] = {
        "symbol": "BTCUSDT",
        "period_seconds": 300,
        "poll_ms": T0,
        "group_id": 1,
        "percent_change": Decimal("0.200000001"),
        "oi_before": Decimal("1000.5"),
        "oi_after": Decimal("1200.6"),
        "threshold_value": Decimal("0.03"),
        "severity": "high",
        "config_hash": "c" * 64,
        "score_parts": {"oi": 3.5},
        "signal_direction": "LONG",
        "signal_confidence": Decimal("0.755"),
        "signal_score": Decimal("8.25"),
    }
    return OiAnomaly(**values | given)  # type: ignore[arg-type]


async def test_an_anomaly_is_one_row_per_symbol_period_and_poll(store: SqlStore) -> None:
    rows = [anomaly(), anomaly(period_seconds=900), anomaly(symbol="ETHUSDT", poll_ms=T0 + 60_000)]
    assert await store.record_oi_anomalies(rows) == 3
    assert await store.record_oi_anomalies(rows) == 0
    assert await store.oi_anomalies() == rows
    assert await store.oi_anomalies(T0 + 1) == rows[2:]
    assert await store.oi_anomalies(until_ms=T0 + 1, symbol="BTCUSDT") == rows[:2]
    with pytest.raises((BooksContradiction, StoreFailed)):
        await store.record_oi_anomalies([anomaly(period_seconds=60, severity="huge")])
    assert len(await store.oi_anomalies()) == 3


async def test_settings_of_the_radar_are_kept_as_they_are_written(store: SqlStore) -> None:
    setting = OiSetting(
        config_key="thresholds", config_value='{"60":3}', updated_ms=T0, description="per cent"
    )
    await store.save_oi_setting(setting)
    off = msgspec.structs.replace(setting, is_active=False, updated_ms=T0 + 1)
    await store.save_oi_setting(off)
    assert await store.oi_settings() == [off]


def snapshot(ms: int, symbol: str = "BTCUSDT") -> OiSnapshot:
    """Open interest with everything that is known."""
    return OiSnapshot(
        symbol=symbol,
        open_interest=Decimal("81234.123"),
        sum_open_interest=Decimal("5209876543.21"),
        mark_price=Decimal("64123.4"),
        funding_rate=Decimal("0.0001"),
        funding_interval_h=8,
        received_ms=ms,
        poll_ms=ms // 60_000 * 60_000,
    )


async def test_each_day_has_a_table_of_its_own(store: SqlStore, database: Database) -> None:
    assert await store.oi_days() == []
    with pytest.raises(InputError, match="oi_snapshots_20250524"):
        await store.record_oi([snapshot(MIDNIGHT)])
    assert await store.create_oi_day("20250524")
    assert not await store.create_oi_day("20250524")
    assert await store.create_oi_day("20250523")
    rows = [snapshot(MIDNIGHT - 1), snapshot(MIDNIGHT), snapshot(MIDNIGHT, "ETHUSDT"), snapshot(MIDNIGHT + 5)]
    assert await store.record_oi(rows) == 4
    assert await store.record_oi(rows) == 0
    assert await store.oi_snapshots(0, MIDNIGHT + DAY_MS) == rows
    assert await store.oi_snapshots(MIDNIGHT, MIDNIGHT + 5) == rows[1:3]
    assert await store.oi_snapshots(MIDNIGHT - 9, MIDNIGHT + 9, "BTCUSDT") == [rows[0], rows[1], rows[3]]
    (found,) = database.execute("SELECT count(*) FROM oi_snapshots_20250523")
    assert found[0] == 1
    assert await store.oi_days() == ["20250523", "20250524"]
    async with store.unit() as books:
        assert await books.record_oi([snapshot(MIDNIGHT + 7)]) == 1
        assert not hasattr(books, "create_oi_day")


async def test_twenty_days_stay_and_each_drop_is_journalled(store: SqlStore) -> None:
    days = [f"202505{number:02}" for number in range(1, 25)]
    for day in days:
        await store.create_oi_day(day)
    assert await store.drop_old_oi_days("20250524", T0) == days[:4]
    assert await store.oi_days() == days[4:]
    assert await store.drop_old_oi_days("20250524", T0) == []
    assert (await store.verify_journal()).rows == 4
    assert await store.drop_old_oi_days("20250601", T0, keep_days=9) == days[4:23]
    assert await store.oi_days() == ["20250524"]
    for bad in ("2025-05-24", "20250532", "x; DROP TABLE journal"):
        with pytest.raises(InputError, match="UTC day"):
            await store.create_oi_day(bad)
    with pytest.raises(InputError, match="at least 1"):
        await store.drop_old_oi_days("20250524", T0, keep_days=0)


async def test_the_daily_tables_do_not_hinder_the_next_start(store: SqlStore, database: Database) -> None:
    await store.create_oi_day("20250524")
    async with await SqlStore.open(database.url) as again:
        assert await again.oi_days() == ["20250524"]


def zone(rows: Rows, **given: object) -> GridZone:
    """The nearer support."""
    values: dict[str, object] = {
        "id": "0123456789abcdef",
        "symbol": "BTCUSDT",
        "as_of_ms": T0,
        "kind": "S1",
        "side": "SUPPORT",
        "center": Decimal("64000"),
        "lo": Decimal("63900"),
        "hi": Decimal("64100"),
        "strength": Decimal("0.912345678"),
        "confidence": 81,
        "ma_adjusted": True,
        "kmeans_ok": False,
        "valid_from_ms": T0,
        "expires_ms": T0 + 8 * 3_600_000,
        "params_hash": rows.params_hash,
        "created_ms": T0,
    }
    return GridZone(**values | given)  # type: ignore[arg-type]


def signal(rows: Rows, **given: object) -> TradingSignal:
    """A spring at the zone."""
    values: dict[str, object] = {
        "id": "a" * 64,
        "symbol": "BTCUSDT",
        "bar_close_ms": T0 + 900_000,
        "side": PositionSide.LONG,
        "type": "SPRING",
        "matched_mask": 4,
        "zone_id": "0123456789abcdef",
        "low": Decimal("63880"),
        "high": Decimal("64010"),
        "status": "PENDING",
        "expires_ms": T0 + 4_500_000,
        "params_hash": rows.params_hash,
        "created_ms": T0,
    }
    return TradingSignal(**values | given)  # type: ignore[arg-type]


async def test_zones_are_written_once_and_a_scan_must_be_reproducible(store: SqlStore) -> None:
    rows = await ready(store)
    far = zone(rows, id="f" * 16, kind="S2", center=Decimal(60_000))
    assert await store.record_grid_zones([zone(rows), far]) == 2
    assert await store.record_grid_zones([zone(rows, created_ms=T0 + 9)]) == 0
    with pytest.raises(BooksContradiction, match="not reproducible"):
        await store.record_grid_zones([zone(rows, confidence=80)])
    assert await store.grid_zones("BTCUSDT") == [zone(rows), far]
    assert await store.grid_zones("BTCUSDT", T0) == []  # valid_from is exclusive
    assert len(await store.grid_zones("BTCUSDT", T0 + 1)) == 2
    assert await store.grid_zones("BTCUSDT", T0 + 8 * 3_600_000) == []
    with pytest.raises(BooksContradiction):
        await store.record_grid_zones([zone(Rows("e" * 64), id="e" * 16, kind="R1")])  # an unknown snapshot
    with pytest.raises(InputError, match=r"grid_zones\.params_hash: must be given"):
        await store.record_grid_zones([zone(rows, id="d" * 16, kind="R1", params_hash=None)])


async def test_a_signal_lives_from_pending_to_used(store: SqlStore) -> None:
    rows = await ready(store)
    await store.record_grid_zones([zone(rows)])
    await store.save_signal(signal(rows))
    used = signal(rows, status="CONFIRMED", confirmed_ms=T0 + 1_800_000, run_id=3)
    await store.save_signal(used)
    assert await store.signals("BTCUSDT") == [used]
    assert await store.signals("BTCUSDT", "PENDING") == []
    assert await store.signals("BTCUSDT", "CONFIRMED", T0 + 4_499_999) == [used]
    assert await store.signals("BTCUSDT", "CONFIRMED", T0 + 4_500_000) == []
    with pytest.raises(BooksContradiction):  # one signal per symbol, bar, side and parameters
        await store.save_signal(signal(rows, id="b" * 64))
    with pytest.raises(BooksContradiction):  # of a zone that nobody found
        await store.save_signal(signal(rows, id="b" * 64, bar_close_ms=T0, zone_id="e" * 16))


def order(rows: Rows, **given: object) -> GridOrder:
    """The first level's entry."""
    values: dict[str, object] = {
        "client_id": "pg7-1-3E1",
        "run_id": 1,
        "account_id": ACCOUNT,
        "symbol": "BTCUSDT",
        "level": 3,
        "intent": "ENTRY",
        "attempt": 1,
        "side": Side.BUY,
        "price": Decimal("63950.1"),
        "lots": 40,
        "status": "new",
        "lease_epoch": 5,
        "params_hash": rows.params_hash,
        "created_ms": T0,
        "updated_ms": T0,
    }
    return GridOrder(**values | given)  # type: ignore[arg-type]


async def test_a_level_has_one_live_entry_and_one_live_exit(store: SqlStore) -> None:
    rows = await ready(store)
    assert await store.save_grid_order(order(rows))
    second = order(rows, client_id="pg7-1-3E2", attempt=2)
    with pytest.raises(BooksContradiction):
        await store.save_grid_order(second)
    for client_id, change in (
        ("x1", {"intent": "EXIT", "side": Side.SELL}),
        ("x2", {"level": 4}),
        ("x3", {"run_id": 2}),
        ("x4", {"intent": "STOP", "side": Side.SELL, "is_algo": True, "price": None}),
        ("x5", {"intent": "STOP", "side": Side.SELL, "is_algo": True, "price": None}),
    ):
        assert await store.save_grid_order(order(rows, client_id=client_id, **change))
    assert await store.save_grid_order(order(rows, status="canceled", terminal=True))
    assert await store.save_grid_order(second)
    live = [one.client_id for one in await store.grid_orders(1, live_only=True)]
    assert live == ["pg7-1-3E2", "x1", "x4", "x5", "x2"]
    assert len(await store.grid_orders(1)) == 6


async def test_reports_of_grid_orders_never_go_backwards(store: SqlStore) -> None:
    rows = await ready(store)
    partly = order(rows, cum_lots=10, status="partly_filled", venue_order_id=99)
    filled = order(rows, cum_lots=40, status="filled", venue_order_id=99, terminal=True)
    assert await store.save_grid_order(partly)
    assert not await store.save_grid_order(order(rows))
    assert await store.save_grid_order(filled)
    assert not await store.save_grid_order(partly)
    assert not await store.save_grid_order(order(rows, cum_lots=40, status="new", venue_order_id=99))
    assert await store.grid_orders(1) == [filled]
    with pytest.raises(BooksContradiction):  # an exchange's order is one order of ours
        await store.save_grid_order(order(rows, client_id="y", level=9, venue_order_id=99))
