"""What the exchange, the clock and people get wrong, row by row of the specification's table.

The rest of it: nonsense, late and old answers, lost marks, ratios (test_radar), settings (tests/service/test_oi_radar,
tests/config/test_oi), the account's answers (tests/oi/test_lying_account), prices and timeouts (tests/oi/test_session).
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.contract.store_databases import database, kind, store, untouched, upgraded_once  # noqa: F401
from tests.market.radar.exchanges import MINUTE_MS, START_MS, Exchange, Lost, contract, minutes, radar_of

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.market.radar.poll import NOT_A_NUMBER, OTHER_SYMBOL, poll
from perpdesk.market.radar.recorder import Recorder
from perpdesk.market.radar.source import Interest, Mark


async def test_another_symbols_answer_is_nobodys() -> None:
    exchange = Exchange("AAAUSDT")

    async def wrong(symbol: str, deadline_ms: int) -> Interest:
        return Interest("BBBUSDT", Decimal(1000), exchange.now_ms())

    exchange.open_interest = wrong  # type: ignore[method-assign]
    found = await poll(exchange, ("AAAUSDT",), START_MS, MINUTE_MS, 40)
    assert (found.rows[0].amount, found.rows[0].missing) == (None, OTHER_SYMBOL)


async def test_an_impossible_amount_spoils_its_own_row_only(store: SqlStore) -> None:  # noqa: F811
    """Larger than anything: missing. Large, as of the cheapest coins: kept, with its exact notional."""
    exchange = Exchange("AAAUSDT", "BBBUSDT", "CCCUSDT")
    exchange.amounts.update(AAAUSDT=1e30, BBBUSDT=123_456_789_012_345.0)
    radar = await radar_of(exchange, Recorder(store, 20))
    (seen,) = await minutes(radar, exchange, 1)
    assert [row.missing for row in seen.poll.rows] == [NOT_A_NUMBER, "", ""]
    assert radar.figures.unwritten == 0
    rows = await store.oi_snapshots(0, exchange.now_ms() + 1)
    assert {row.symbol: row.sum_open_interest for row in rows} == {
        "BBBUSDT": Decimal(12_345_678_901_234_500), "CCCUSDT": Decimal(100_000)
    }  # fmt: skip


async def test_a_mark_that_lacks_leaves_its_symbol_without_a_score() -> None:
    exchange = Exchange("AAAUSDT", "BBBUSDT")
    radar = await radar_of(exchange)
    await minutes(radar, exchange, 70)
    for symbol in ("AAAUSDT", "BBBUSDT"):
        exchange.amounts[symbol], exchange.prices[symbol] = 1040.0, 102.0
    del exchange.prices["BBBUSDT"]
    (seen,) = await minutes(radar, exchange, 1)
    assert {one.symbol: one.code for one in seen.decisions} == {
        "AAAUSDT": "PASSED",
        "BBBUSDT": "PRICE_MISSING",
    }


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
async def test_a_mark_that_is_none_is_missing(price: str) -> None:
    exchange = Exchange("AAAUSDT")

    async def marks() -> dict[str, Mark]:
        return {"AAAUSDT": Mark(Decimal(price), None)}

    exchange.marks = marks  # type: ignore[method-assign]
    assert (await poll(exchange, ("AAAUSDT",), START_MS, MINUTE_MS, 40)).rows[0].mark is None


async def test_one_absurd_point_is_suspect_and_buys_nothing() -> None:
    """+80 % in a minute, then back: both recorded as suspect, neither a signal."""
    exchange = Exchange("AAAUSDT")
    radar = await radar_of(exchange)
    await minutes(radar, exchange, 70)
    codes = []
    for amount in (1800.0, 1000.0):
        exchange.amounts["AAAUSDT"], exchange.prices["AAAUSDT"] = amount, 102.0
        (seen,) = await minutes(radar, exchange, 1)
        (decision,) = seen.decisions
        codes.append(decision.code)
        if amount > 1000:
            assert [one.suspect for one in decision.anomalies if one.period_seconds == 60] == [True]
    assert codes == ["OI_OVEREXTENDED", "OI_OVEREXTENDED"]


async def test_a_clock_that_steps_back_writes_no_poll_twice(store: SqlStore) -> None:  # noqa: F811
    """The same slot again, with other amounts: the first word holds, in the window and in the table."""
    exchange = Exchange("AAAUSDT")
    radar = await radar_of(exchange, Recorder(store, 20))
    await minutes(radar, exchange, 70)
    slot = -(-exchange.now_ms() // MINUTE_MS) * MINUTE_MS
    exchange.clock.advance_to(slot)
    await radar.poll_once(slot)
    exchange.amounts["AAAUSDT"], exchange.prices["AAAUSDT"] = 1040.0, 102.0
    again = await radar.poll_once(slot)
    assert again.decisions == ()
    rows = await store.oi_snapshots(slot, slot + 1)
    assert [row.open_interest for row in rows] == [1000]


async def test_a_symbol_that_disappears_is_dropped_and_the_others_go_on(store: SqlStore) -> None:  # noqa: F811
    exchange = Exchange("AAAUSDT", "BBBUSDT")
    radar = await radar_of(exchange, Recorder(store, 20), refresh_ms=60_000)
    await minutes(radar, exchange, 2)
    exchange.listed = [contract("AAAUSDT"), contract("BBBUSDT", status="SETTLING")]
    exchange.amounts["BBBUSDT"] = Lost("delisted")
    await minutes(radar, exchange, 2)
    assert radar.symbols == ("AAAUSDT",)
    (seen,) = await minutes(radar, exchange, 1)
    assert [row.symbol for row in seen.poll.rows] == ["AAAUSDT"]
    assert not seen.poll.is_degraded
    assert "BBBUSDT" not in radar.judge.sights
    assert (await store.verify_journal()).rows >= 1, "the list's change is written down with its date"


async def test_a_held_symbol_stays_whatever_became_of_it() -> None:
    exchange = Exchange("AAAUSDT", "BBBUSDT")
    radar = await radar_of(exchange, refresh_ms=60_000)
    radar._held = lambda: ("BBBUSDT",)
    exchange.listed = [contract("AAAUSDT"), contract("BBBUSDT", status="SETTLING")]
    await minutes(radar, exchange, 2)
    assert radar.symbols == ("AAAUSDT", "BBBUSDT")
