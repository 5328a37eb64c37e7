"""The page of a backtest: pictures that are pictures, and runs with their true ends."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ElementTree

import pytest
from tests.grid_desk.places import database, market, place_of

from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.grid_desk.gate import make_report
from perpdesk.grid_desk.ran import OPEN, held_fraction, runs_of
from perpdesk.grid_desk.report import page

# More signals, both sides, short runs.
MANY = (
    "grid.executor.max_run_hours=6",
    "grid.executor.short_budget_usdt=4000",
    "grid.trigger.min_zone_confidence=0",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    async def made():
        async with await SqlStore.open(database(tmp_path_factory.mktemp("report"))) as store:
            return await make_report(place_of(store, *MANY, whole=market(seed=5, days=30)))

    return asyncio.run(made())


def test_every_picture_is_well_formed_and_shows_what_it_says(report):
    found = page(report)
    pictures = [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", found, flags=re.S)]
    labels = [one.get("aria-label") for one in pictures]
    assert labels == ["price, zones, levels and fills", "equity", "drawdown"]
    assert len(pictures[0].findall("circle")) == len(report.fills) > 0
    assert len(pictures[0].findall("rect")) > 0
    for one in pictures:
        words = [text.text for text in one.findall("text")]
        assert any("2025-01-" in str(word) for word in words)  # dates below
        assert len(words) >= 4
    for word in ("result after all costs, USDT", "runs by how they ended", "round trips of levels"):
        assert word in found


def test_a_run_is_told_with_its_own_end_and_what_it_made(report):
    runs = runs_of(report.setup, report.fills)
    assert len(runs) >= 2
    for one, following in zip(runs, runs[1:], strict=False):
        assert one.ended_ms is not None
        assert one.start.ms < one.ended_ms <= following.start.ms
        assert one.reason in ("EXPIRED", "ZONE_BREAK", "DRAWDOWN")
    assert any(one.ended_ms < following.start.ms for one, following in zip(runs, runs[1:], strict=False))
    account = report.setup.books.account[0]
    if runs[-1].reason != OPEN:  # every run is over: their sums are the account's
        assert sum(one.net_e8 for one in runs) == int(account.cash_e8 - account.initial_e8)
    assert sum(one.fills for one in runs) == len(report.fills)
    assert 0 < held_fraction(report.market, report.fills) <= 1
