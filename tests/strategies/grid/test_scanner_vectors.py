"""The scanner's numbers of the specification, to their printed digits."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.grid.series import AS_OF_MS, HASH, bars_of, frames_of, generated

from perpdesk.strategies.grid.clustering import cluster
from perpdesk.strategies.grid.params import ScannerParams
from perpdesk.strategies.grid.profile import (
    bucket_of,
    bucket_width,
    plateaus,
    point_of_control,
    smooth,
    value_area,
)
from perpdesk.strategies.grid.scanner import scan, vpvr
from perpdesk.strategies.grid.snapshot import canonical_json, snapshot_hash
from perpdesk.strategies.grid.squeeze import confidence, squeeze_state
from perpdesk.strategies.grid.zones import zone_id


def scanned(rows, **params):
    return scan(
        *frames_of(rows), ScannerParams(**params), symbol="BTCUSDT", as_of_ms=AS_OF_MS, params_hash=HASH
    )


@pytest.mark.parametrize(("price", "width"), [(10_000, 11), (100_000, 101), (999, 1)])
def test_15_bucket_width(price, width):
    assert bucket_width(price, 1000) == width


@pytest.mark.parametrize(
    ("price", "bucket"), [(10_005, 0), (10_006, 1), (9994, -1), (10_016, 1), (10_017, 2)]
)
def test_15_buckets(price, bucket):
    assert bucket_of(price, 10_000, 11) == bucket


def test_16_smoothing_and_peaks():
    smoothed = smooth(np.array([0, 0, 9, 0, 0, 0, 0, 0, 9, 9, 0, 0], float))
    assert smoothed.tolist() == [1, 2, 3, 2, 1, 0, 1, 3, 5, 5, 3, 1]
    assert plateaus(smoothed).tolist() == [[2, 2], [8, 9]]


def test_17_value_area():
    counts = np.array([1, 2, 5, 9, 4, 3, 1], float)
    assert point_of_control(counts, -3) == 0
    low, high, share = value_area(counts, -3, 0, 25.0)
    assert (10_000 + 11 * low - 5, 10_000 + 11 * high + 5, share) == (9984, 10_016, 0.72)


def squeezed(closes, reach):
    closes = np.array(closes)
    return squeeze_state(closes + reach, closes - reach, closes, 10_000)


def test_18_squeeze():
    assert squeezed([10_000, 10_002] * 50, 20) == (81, 4.0)
    bars, width = squeezed(([10_000] * 10 + [10_100] * 10) * 5, 3)
    assert (bars, round(width, 9)) == (0, 200.0)


@pytest.mark.parametrize(("bars", "value"), [(2, 0.586), (3, 0.766), (5, 0.826), (7, 0.886)])
def test_19_confidence(bars, value):
    assert round(confidence(bars, 0.8, 0.03, 0.05), 9) == value


def test_20_clusters():
    points = np.array([base + off for base in (100, 200, 300, 400) for off in (0, 1, 2)], float)
    centres, squares = cluster(points, np.ones(12), 12, 4, 8, 1.0)
    assert (centres.round(9).tolist(), round(squares, 6)) == ([101, 201, 301, 401], 8)


def test_21_vpvr():
    found = vpvr(
        bars_of([(100, 107, 100, 107, 80), (107, 115, 104, 105, 60), (105, 105, 105, 105, 10)]), 4, 105
    )
    assert (found.lo, found.height) == (100, 4)
    assert found.up.tolist() == [40, 45, 0, 0]
    assert found.down.tolist() == [0, 25, 20, 20]
    assert found.poc_row == 1


def test_23_hashes():
    block = {
        "schema": 1,
        "executor": {"grid_levels": 10, "atr_multiplier": "0.8", "order_size_usdt": "100"},
        "fees": {"taker_fraction": "0.0005", "maker_fraction": "0.0002"},
    }
    assert canonical_json(block).startswith('{"executor":{"atr_multiplier":"0.8","grid_levels":10')
    assert snapshot_hash(block) == HASH
    assert zone_id("BTCUSDT", "S1", 9719, AS_OF_MS, HASH) == "efb6083f179bb96e"


def test_25_scan():
    rows = generated((9400, 9800, 10_200, 10_600), 30, 11)
    assert rows[:2] == [(9400, 9409, 9389, 9401, 368), (9401, 9407, 9385, 9392, 170)]
    assert rows[-1] == (10_025, 10_040, 10_012, 10_016, 451)
    assert sum(row[4] for row in rows) == 1_434_618
    result = scanned(rows)
    found = result.findings
    assert (found.price, found.bucket_width, found.average) == (10_016, 11, 9936)
    assert (round(found.atr, 6), round(found.apart, 6)) == (199.955365, 299.933048)
    assert (found.vpoc, found.val, found.vah, round(found.value_share, 6)) == (10_137, 9571, 10_307, 0.704204)
    assert (found.squeeze_bars, round(found.band_width, 6)) == (0, 1153.540359)
    assert (round(found.concentration, 6), round(found.confidence, 6)) == (0.555794, 0.331161)
    assert [round(centre / 3, 2) for centre in found.centres] == [9574.15, 9776.72, 10_109.46, 10_486.76]
    assert [(zone.kind, zone.centre) for zone in result.zones] == [
        ("S2", 9356),
        ("S1", 9719),
        ("R1", 10_148),
        ("R2", 10_500),
    ]
    assert [round(zone.strength, 6) for zone in result.zones] == [0.121665, 0.956501, 1, 0.644916]
    assert [zone.kmeans_ok for zone in result.zones] == [False, True, True, True]
    assert [zone.confidence for zone in result.zones] == [10, 71, 74, 56]
    assert {zone.hi - zone.centre for zone in result.zones} == {50}
    assert result.zones[1].id == "efb6083f179bb96e"
    assert result.complete
    assert found.box.position(found.price) == "in_small"


def test_25_incomplete_box_is_an_answer():
    result = scanned(generated((9300, 9700, 10_300, 10_700), 24, 5))
    assert (result.status, result.complete) == ("OK", False)
    assert (result.findings.price, result.findings.average) == (10_182, 9999)
    assert [(zone.kind, zone.centre, zone.ma_adjusted) for zone in result.zones] == [
        ("S2", 9544, False),
        ("S1", 9999, True),
        ("R1", 10_666, False),
    ]
    assert result.findings.box.position(result.findings.price) is None
