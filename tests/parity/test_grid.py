"""The grid in the compiled loop and in the engine: the same fills, back to back and on signals."""

from __future__ import annotations

import numpy as np
import pytest
from tests.grid_desk.places import loaded, market, shortened

from perpdesk.parity import compare
from perpdesk.strategies.grid.chain import tell
from perpdesk.strategies.grid.params import ScannerParams, TriggerParams

BOTH = (
    "grid.executor.variant=neutral",
    "grid.executor.short_budget_usdt=4000",
    "grid.executor.initial_levels=0",
)


@pytest.mark.parametrize(
    ("settings", "minutes", "least"),
    [
        (("grid.executor.start=always", *BOTH, "grid.executor.cooldown_minutes=1"), 1440, 40),
        (
            (
                "grid.executor.start=always",
                "grid.executor.initial_levels=0",
                "grid.sim.participation_fraction=0.000003",
                "grid.executor.stop_drawdown_fraction=0.002",
            ),
            1440,
            40,
        ),
        ((), 480, 4),
    ],
    ids=["back to back", "little volume and a near stop", "on signals"],
)
def test_backtest_and_engine_are_one(settings, minutes, least):
    receipt = compare(loaded(*settings), ["grid"], shortened(market(), minutes))
    assert receipt.first_difference is None
    assert receipt.fills >= least


def test_a_planted_fee_is_noticed():
    receipt = compare(loaded(), ["grid"], shortened(market(), 240), venue_taker_ppm=501)
    assert not receipt.identical


def test_nothing_is_decided_with_bars_that_have_not_closed():
    whole = market()
    bars = np.concatenate([whole.warmup, whole.bars])[:, 0]
    told = [
        tell(
            bars[:count], ScannerParams(), TriggerParams(), symbol="AAAUSDT", params_hash="0" * 64,
            from_ms=whole.from_ms,
        )
        for count in (len(bars), len(bars) - 1440)
    ]  # fmt: skip
    longer, shorter = told
    assert shorter.offers == longer.offers[: len(shorter.offers)]
    end_ms = int(bars["open_ms"][-1441]) + 60_000
    assert [one.hash() for one in shorter.scans] == [
        one.hash() for one in longer.scans if one.as_of_ms < end_ms
    ][: len(shorter.scans)]
    assert [one.confirmed_ms for one in longer.offers if one.confirmed_ms <= end_ms] == [
        one.confirmed_ms for one in shorter.offers
    ]
