"""The radar on a clock that the test drives: grid, holes, slow symbols, ratios, symbol list, warm-up."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from tests.market.radar.exchanges import (
    MINUTE_MS,
    START_MS,
    Exchange,
    Lost,
    contract,
    minutes,
    radar_of,
    settled,
    terms,
)

from perpdesk.market.radar.poll import FAILED, LATE, NOT_A_NUMBER, OLD, poll
from perpdesk.market.radar.radar import Radar
from perpdesk.market.radar.universe import choose
from perpdesk.strategies.oi_breakout import params_record


async def test_a_breakout_is_seen_scored_and_passes():
    exchange = Exchange("AAAUSDT", "BBBUSDT")
    radar = await radar_of(exchange)
    quiet = await minutes(radar, exchange, 70)
    assert all(not seen.decisions for seen in quiet)
    exchange.amounts["AAAUSDT"], exchange.prices["AAAUSDT"] = 1040.0, 102.0
    (seen,) = await minutes(radar, exchange, 1)
    (decision,) = seen.decisions
    assert (decision.symbol, decision.code, decision.direction, decision.score) == (
        "AAAUSDT",
        "PASSED",
        "LONG",
        9.9625,
    )
    assert [one.period_seconds for one in decision.anomalies] == [60, 120, 300]
    first = decision.anomalies[0]
    assert (first.percent_change, first.price_change_percent) == (
        Decimal("0.040000000"),
        Decimal("0.020000000"),
    )
    assert first.score_parts["sentiment"] == 2.6625
    assert len({one.group_id for one in decision.anomalies}) == 1
    assert exchange.asked.count("ratios BBBUSDT") == 0


async def test_a_symbol_that_hangs_delays_nobody_and_is_missing():
    exchange = Exchange("AAAUSDT", "BBBUSDT", "CCCUSDT")
    exchange.amounts["BBBUSDT"] = asyncio.Event()
    radar = await radar_of(exchange)
    task = asyncio.ensure_future(poll(exchange, radar.symbols, START_MS, MINUTE_MS, 2))
    await settled()
    assert exchange.asked.count("CCCUSDT") == 1, "one hangs, the other place goes on"
    exchange.clock.advance_to(START_MS + 44_999)
    await settled()
    assert not task.done()
    exchange.clock.advance_to(START_MS + 45_000)
    found = await task
    assert {row.symbol: row.missing for row in found.rows} == {"AAAUSDT": "", "BBBUSDT": LATE, "CCCUSDT": ""}
    assert found.is_degraded


@pytest.mark.parametrize(
    ("amount", "missing"),
    [
        (0.0, NOT_A_NUMBER),
        (-5.0, NOT_A_NUMBER),
        (float("nan"), NOT_A_NUMBER),
        (float("inf"), NOT_A_NUMBER),
        (Lost("x"), FAILED),
    ],
)
async def test_nonsense_is_missing_never_zero(amount, missing):
    exchange = Exchange("AAAUSDT")
    exchange.amounts["AAAUSDT"] = amount
    found = await poll(exchange, ("AAAUSDT",), START_MS, MINUTE_MS, 40)
    assert (found.rows[0].amount, found.rows[0].missing) == (None, missing)
    assert exchange.asked.count("AAAUSDT") == (2 if missing == FAILED else 1)


async def test_one_lost_answer_is_asked_for_again():
    exchange = Exchange("AAAUSDT")
    exchange.amounts["AAAUSDT"] = [Lost("x"), 1000.0]
    found = await poll(exchange, ("AAAUSDT",), START_MS, MINUTE_MS, 40)
    assert found.rows[0].amount == 1000


@pytest.mark.parametrize(("age_ms", "missing"), [(90_000, ""), (90_001, OLD)])
async def test_open_interest_of_long_ago_is_missing(age_ms, missing):
    exchange = Exchange("AAAUSDT")
    exchange.told_ms = START_MS - age_ms
    assert (await poll(exchange, ("AAAUSDT",), START_MS, MINUTE_MS, 40)).rows[0].missing == missing


async def test_without_marks_there_is_no_score():
    exchange = Exchange("AAAUSDT")
    radar = await radar_of(exchange)
    await minutes(radar, exchange, 70)
    exchange.marks_fail, exchange.amounts["AAAUSDT"] = True, 1040.0
    (seen,) = await minutes(radar, exchange, 1)
    assert [one.code for one in seen.decisions] == ["PRICE_MISSING"]
    assert seen.decisions[0].score is None
    assert seen.decisions[0].anomalies[0].price_after is None


async def test_a_hole_leaves_its_periods_missing():
    exchange = Exchange("AAAUSDT")
    radar = await radar_of(exchange)
    await minutes(radar, exchange, 10)
    exchange.clock.advance_to(exchange.now_ms() + 20 * MINUTE_MS)
    exchange.amounts["AAAUSDT"] = 1500.0
    (seen,) = await minutes(radar, exchange, 1)
    assert seen.decisions == ()


@pytest.mark.parametrize("texts", [(None, "1.15", "1.6", "1.3"), ("1.3", "0", "1.6", "1.3"), Lost("x")])
async def test_ratios_that_are_lacking_have_a_code_of_their_own(texts):
    exchange = Exchange("AAAUSDT")
    exchange.ratio_texts["AAAUSDT"] = texts
    radar = await radar_of(exchange)
    await minutes(radar, exchange, 70)
    exchange.amounts["AAAUSDT"], exchange.prices["AAAUSDT"] = 1040.0, 102.0
    (seen,) = await minutes(radar, exchange, 1)
    assert [one.code for one in seen.decisions] == ["SENTIMENT_UNAVAILABLE"]


async def test_a_poll_longer_than_its_interval_skips_and_counts_and_never_runs_twice():
    exchange = Exchange("AAAUSDT")
    radar = Radar(exchange, terms(interval_ms=15_000, params=params_record(interval_ms=15_000)))
    await radar.start()
    running = 0
    most = 0
    slow = exchange.open_interest

    async def takes_long(symbol, deadline_ms):
        nonlocal running, most
        running += 1
        most = max(most, running)
        exchange.clock.advance_to(exchange.now_ms() + 40_000)
        running -= 1
        return await slow(symbol, deadline_ms)

    exchange.open_interest = takes_long
    task = asyncio.ensure_future(radar.run(polls=3))
    while not task.done():
        await settled()
        if exchange.clock.next_ms is not None:
            exchange.clock.advance_to(exchange.clock.next_ms)
    assert radar.figures.polls == 3
    assert radar.figures.skipped == 6
    assert most == 1


async def test_polls_fall_on_the_grid_whenever_the_radar_starts():
    exchange = Exchange("AAAUSDT", start_ms=START_MS + 17_321)
    slots = []

    async def seen(one):
        slots.append(one.poll.slot_ms - START_MS)

    radar = Radar(exchange, terms(), on_seen=seen)
    await radar.start()
    task = asyncio.ensure_future(radar.run(polls=3))
    while not task.done():
        await settled()
        if exchange.clock.next_ms is not None:
            exchange.clock.advance_to(exchange.clock.next_ms)
    assert slots == [MINUTE_MS, 2 * MINUTE_MS, 3 * MINUTE_MS]


def test_the_most_traded_first_and_names_exactly():
    rows = [
        contract("AUSDT", 5), contract("BUSDT", 9), contract("CUSDT", 5), contract("BTCUSDT", 99),
        contract("1000BTCUSDT", 7), contract("QUSDC", 50, quote="USDC", margin="USDC"),
        contract("OLDUSDT", 80, status="SETTLING"), contract("FUTUSDT", 80, kind="CURRENT_QUARTER"),
    ]  # fmt: skip
    assert choose(rows, ["BTCUSDT"], 3) == ("BUSDT", "1000BTCUSDT", "AUSDT")
    assert choose(rows, ["BTCUSDT"], None) == ("BUSDT", "1000BTCUSDT", "AUSDT", "CUSDT")
    assert choose(rows, ["BTC"], 1) == ("BTCUSDT",)
    assert choose(rows, [], 1, ["OLDUSDT", "NEVERUSDT"]) == ("BTCUSDT", "OLDUSDT")


async def test_the_list_is_refreshed_and_an_empty_one_changes_nothing():
    exchange = Exchange("AAAUSDT", "BBBUSDT")
    radar = await radar_of(exchange, refresh_ms=120_000)
    exchange.listed.append(contract("CCCUSDT"))
    exchange.amounts["CCCUSDT"] = exchange.prices["CCCUSDT"] = 100.0
    exchange.rates["CCCUSDT"] = "0"
    exchange.listed[0] = contract("AAAUSDT", status="SETTLING")
    await minutes(radar, exchange, 3)
    assert radar.symbols == ("BBBUSDT", "CCCUSDT")
    assert "AAAUSDT" not in radar.judge.sights
    exchange.listed = []
    await minutes(radar, exchange, 4)
    assert radar.symbols == ("BBBUSDT", "CCCUSDT")


async def test_the_two_hour_window_is_warmed_from_stored_bars():
    exchange = Exchange("AAAUSDT")
    exchange.minutes = [(START_MS - i * MINUTE_MS, Decimal(90)) for i in range(60, 0, -1)]
    radar = await radar_of(exchange)
    await minutes(radar, exchange, 5)
    exchange.amounts["AAAUSDT"], exchange.prices["AAAUSDT"] = 1040.0, 102.0
    (seen,) = await minutes(radar, exchange, 1)
    assert seen.decisions[0].anomalies[0].price_2h_low == 90
    assert seen.decisions[0].code == "SIGNAL_SCORE_TOO_LOW", "13 % above the low: three points less"


async def test_other_terms_hold_from_the_next_poll_and_clear_no_history():
    exchange = Exchange("AAAUSDT")
    radar = await radar_of(exchange)
    await minutes(radar, exchange, 10)
    radar.take_terms(terms(params=params_record(thresholds={60: 0.01, 300: 0.01}), config_hash="1" * 64))
    exchange.amounts["AAAUSDT"] = 1015.0
    (seen,) = await minutes(radar, exchange, 1)
    assert [one.period_seconds for one in seen.decisions[0].anomalies] == [60, 300]
    assert seen.decisions[0].anomalies[0].config_hash == "1" * 64
