"""The recorded polls of May 2025, served by the simulated exchange and polled through our own client."""

from __future__ import annotations

import math
from bisect import bisect_right
from pathlib import Path

import polars as pl
import pytest

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.interest import BinanceInterest
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.config import loads
from perpdesk.config.oi_records import params
from perpdesk.exchange.server import ServeOptions, serve
from perpdesk.exchange.server.details import open_interest
from perpdesk.market.radar.radar import Radar, Terms

MINUTE_MS = 60_000
FILE = "open_interest/binance_usdm_5sym_polled_2025-05.parquet"
THRESHOLDS = {60: 0.003, 120: 0.004, 300: 0.005, 900: 0.008}
CONFIG = 'oi: {thresholds: {"60": 0.3, "120": 0.4, "300": 0.5, "900": 0.8}}'
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "DOGEUSDT")


def told(path: Path, slots: list[int]) -> dict[str, dict[int, float]]:
    """By symbol: the newest row at each slot, if it is not older than 90 s."""
    found: dict[str, dict[int, float]] = {}
    for (symbol,), rows in pl.read_parquet(path).sort("time").group_by("symbol"):
        times, values = rows["time"].to_list(), rows["sum_open_interest"].to_list()
        at = {slot: bisect_right(times, slot) - 1 for slot in slots}
        found[str(symbol)] = {
            slot: values[i] for slot, i in at.items() if i >= 0 and slot - times[i] <= 90_000
        }
    return found


def expected(rows: dict[str, dict[int, float]]) -> set[tuple[str, int, int, float]]:
    """(symbol, period, slot, change) of every anomaly that is news: computed apart, in a few lines."""
    anomalies = set()
    for symbol, values in rows.items():
        last: dict[int, tuple[int, float]] = {}
        for slot in sorted(values):
            for period, threshold in THRESHOLDS.items():
                base = values.get(slot - period * 1000)
                change = math.nan if base is None else math.floor((values[slot] / base - 1) * 1e9 + 0.5) / 1e9
                before = last.get(period, (-(10**15), 0.0))
                known = slot - before[0] <= period * 1000 and abs(change - before[1]) < 0.02
                if abs(change) >= threshold and not known:
                    anomalies.add((symbol, period, slot, change))
                    last[period] = (slot, change)
    return anomalies


@pytest.mark.real_data
@pytest.mark.slow
async def test_the_anomalies_are_those_of_an_independent_computation(real_data: Path) -> None:
    path = real_data / FILE
    times = sorted({ms // MINUTE_MS * MINUTE_MS for ms in pl.read_parquet(path)["time"]})
    slots = sorted({ms + i * MINUTE_MS for ms in times for i in range(1, 4)})
    clock = VirtualClock(slots[0])
    options = ServeOptions(
        clock=clock, prices=dict.fromkeys(SYMBOLS, "100"), open_interest=open_interest([path], SYMBOLS)
    )
    got = set()
    oi = loads(CONFIG).config.oi
    terms = Terms(MINUTE_MS, None, 40, 10**12, (), params(oi), "0" * 64)
    async with serve(options) as server:
        gateway = Gateway(simulated(server.rest_url), clock)
        rest = gateway.rest()
        await rest.sync_time(1)
        radar = Radar(BinanceInterest(rest, clock), terms)
        await radar.start()
        assert set(radar.symbols) == set(SYMBOLS)
        for slot in slots:
            clock.advance_to(slot)
            server.pass_time(slot)
            for decision in (await radar.poll_once(slot)).decisions:
                assert decision.code in ("DIRECTION_NEUTRAL", "OI_PRICE_DIVERGENCE")
                got |= {
                    (one.symbol, one.period_seconds, one.poll_ms, float(one.percent_change))
                    for one in decision.anomalies
                }
        await radar.close()
        await rest.close()
    rows = told(path, slots)
    assert got == expected(rows)
    assert len(got) > 100
    assert radar.figures.valid == sum(map(len, rows.values()))
    assert radar.figures.valid < radar.figures.asked, "holes are missing"
