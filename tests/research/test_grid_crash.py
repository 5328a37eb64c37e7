"""The bundled crash: every grid of it ends flat within its bound, or still stands."""

from __future__ import annotations

from tests.grid_desk.places import loaded, market

from perpdesk.config import grid_records
from perpdesk.research.grid_crash import Outcome, bundled_crash_test


def outcomes() -> list[Outcome]:
    config = loaded("grid.executor.initial_levels=0", "grid.executor.atr_multiplier=0.8").config
    maker_ppm, taker_ppm = grid_records.fees_ppm(config)
    instruments = market().universe.records(maker_ppm=maker_ppm, taker_ppm=taker_ppm)
    return bundled_crash_test(config, "AAAUSDT", instruments)


def test_grids_in_the_bundled_crash():
    found = outcomes()
    assert not [one.refused for one in found if one.refused]
    assert all(one.ok for one in found)
    stopped = [one for one in found if one.reason in ("DRAWDOWN", "ZONE_BREAK")]
    assert len(stopped) >= 6
    assert any(one.gap_e8 > 0 for one in found)
    for one in found:
        assert one.net_e8 == one.price_e8 + one.slippage_e8 + one.fees_e8 + one.funding_e8
        assert one.slippage_e8 <= 0
        assert one.fees_e8 <= 0
