"""What the radar leaves in the database, over midnight and over a restart."""

from __future__ import annotations

from decimal import Decimal

from tests.contract.store_databases import database, kind, store, untouched, upgraded_once  # noqa: F401
from tests.market.radar.exchanges import MINUTE_MS, Exchange, Lost, minutes, radar_of

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.days import utc_day
from perpdesk.kernel.records import DAY_MS
from perpdesk.market.radar.recorder import Recorder

MIDNIGHT_MS = 1_763_683_200_000


async def test_days_are_made_filled_and_dropped(store: SqlStore) -> None:  # noqa: F811
    exchange = Exchange("AAAUSDT", "BBBUSDT", start_ms=MIDNIGHT_MS - 5 * MINUTE_MS)
    old = utc_day(MIDNIGHT_MS - 30 * DAY_MS)
    await store.create_oi_day(old)
    radar = await radar_of(exchange, Recorder(store, 2))
    assert utc_day(MIDNIGHT_MS) in await store.oi_days(), "tomorrow's table is made before midnight"
    await minutes(radar, exchange, 20)
    rows = await store.oi_snapshots(MIDNIGHT_MS - DAY_MS, MIDNIGHT_MS + DAY_MS)
    assert len(rows) == 40
    assert {utc_day(row.received_ms) for row in rows} == {utc_day(MIDNIGHT_MS - 1), utc_day(MIDNIGHT_MS)}
    assert (rows[0].open_interest, rows[0].mark_price, rows[0].sum_open_interest) == (1000, 100, 100_000)
    assert (rows[0].funding_rate, rows[0].funding_interval_h) == (Decimal("0.0001"), 8)
    assert await store.oi_days() == [utc_day(MIDNIGHT_MS - 1), utc_day(MIDNIGHT_MS)]


async def test_a_restart_remembers_windows_and_what_was_recorded(store: SqlStore) -> None:  # noqa: F811
    exchange = Exchange("AAAUSDT")
    radar = await radar_of(exchange, Recorder(store, 20))
    await minutes(radar, exchange, 70)
    exchange.amounts["AAAUSDT"], exchange.prices["AAAUSDT"] = 1040.0, 102.0
    (first,) = await minutes(radar, exchange, 1)
    again = await radar_of(exchange, Recorder(store, 20))
    before, after = radar.judge.sight("AAAUSDT")[0].recorded, again.judge.sight("AAAUSDT")[0].recorded
    assert list(after.poll_ms) == list(before.poll_ms)
    assert list(after.change) == list(before.change)
    for one in (radar, again):
        slot = -(-exchange.now_ms() // MINUTE_MS) * MINUTE_MS
        exchange.clock.advance_to(slot)
        seen = await one.poll_once(slot)
        assert [a.period_seconds for d in seen.decisions for a in d.anomalies] == []
    stored = await store.oi_anomalies()
    assert [(a.period_seconds, a.signal_score) for a in stored] == [
        (60, Decimal("9.9625")), (120, Decimal("9.9625")), (300, Decimal("9.9625"))
    ]  # fmt: skip
    assert stored[0].reject_code is None
    assert len(first.decisions) == 1


async def test_a_symbols_hole_is_written_down_when_it_is_over(store: SqlStore) -> None:  # noqa: F811
    exchange = Exchange("AAAUSDT", "BBBUSDT")
    radar = await radar_of(exchange, Recorder(store, 20))
    await minutes(radar, exchange, 2)
    exchange.amounts["BBBUSDT"] = Lost("x")
    await minutes(radar, exchange, 3)
    exchange.amounts["BBBUSDT"] = 1000.0
    await minutes(radar, exchange, 1)
    assert (await store.verify_journal()).rows == 1
    assert len(await store.oi_snapshots(0, exchange.now_ms(), "BBBUSDT")) == 3
    assert len(await store.oi_snapshots(0, exchange.now_ms(), "AAAUSDT")) == 6


async def test_a_database_that_fails_costs_no_poll() -> None:
    class Broken(Recorder):
        async def write(self, *_):
            raise Lost("database")

    exchange = Exchange("AAAUSDT")
    radar = await radar_of(exchange)
    radar.recorder = Broken(None, 20)  # type: ignore[arg-type]
    await minutes(radar, exchange, 3)
    assert (radar.figures.polls, radar.figures.unwritten, radar.figures.coverage) == (3, 3, 1.0)
