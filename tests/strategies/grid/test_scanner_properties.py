"""What a scan keeps whatever the market does, and what it answers to bars that are not right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies.grid.series import AS_OF_MS, HASH, QUARTER_MS, frames_of, generated, mirrored

from perpdesk.kernel.intervals import rows as rows_of
from perpdesk.kernel.records import MINUTE_MS, bar_dt, zeros
from perpdesk.strategies.grid.box import find_box
from perpdesk.strategies.grid.chain import frames_of as chain_frames
from perpdesk.strategies.grid.chain import scan_at
from perpdesk.strategies.grid.clustering import cluster, price_clusters
from perpdesk.strategies.grid.params import ScannerParams
from perpdesk.strategies.grid.profile import bucket_width, smooth, spread
from perpdesk.strategies.grid.scanner import scan

PARAMS = ScannerParams()
OPPOSITE = {"S1": "R1", "S2": "R2", "R1": "S1", "R2": "S2"}


def scanned(frames, params=PARAMS, as_of_ms=AS_OF_MS):
    return scan(*frames, params, symbol="BTCUSDT", as_of_ms=as_of_ms, params_hash=HASH)


def market(seed):
    rng = np.random.default_rng(seed)
    targets = sorted(int(target) for target in rng.integers(9200, 10_800, 4))
    return frames_of(generated(targets, int(rng.integers(10, 60)), int(rng.integers(1, 10**6))))


ORDER = ("S2", "S1", "R1", "R2")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_box_order_and_zones(seed):
    """S2 < S1 < price < R1 < R2, as far as they are there."""
    result = scanned(market(seed))
    found = result.findings
    centres = [zone.centre for zone in result.zones]
    assert centres == sorted(set(centres))
    assert [zone.kind for zone in result.zones] == [
        kind for kind in ORDER if kind in {zone.kind for zone in result.zones}
    ]
    assert result.complete == (len(result.zones) == 4)
    for zone in result.zones:
        assert (zone.centre < found.price) == zone.kind.startswith("S") == (zone.side > 0)
        assert abs(zone.centre - found.price) >= 0.005 * found.price
        assert zone.lo < zone.centre < zone.hi
        assert 0 < zone.strength <= 1
        assert 0 <= zone.confidence <= 100
        assert (zone.valid_from_ms, zone.expires_ms) == (AS_OF_MS, AS_OF_MS + 6 * 3_600_000)
    for names in (("S1", "S2"), ("R1", "R2")):
        pair = [zone.centre for zone in result.zones if zone.kind in names]
        assert len(pair) < 2 or abs(pair[0] - pair[1]) >= found.apart - 1  # half ticks are rounded


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_the_mirror_image_has_mirrored_zones(seed):
    frames = market(seed)
    result = scanned(frames)
    price = result.findings.price
    image = scanned([mirrored(bars, price) for bars in frames])
    expected = [
        (OPPOSITE[zone.kind], 2 * price - zone.centre, zone.strength, zone.confidence, zone.ma_adjusted)
        for zone in reversed(result.zones)
    ]
    assert [(z.kind, z.centre, z.strength, z.confidence, z.ma_adjusted) for z in image.zones] == expected
    assert image.findings.confidence == result.findings.confidence
    assert image.findings.band_width == result.findings.band_width


@pytest.mark.parametrize("factor", [2, 1024])
def test_the_unit_of_volume_changes_nothing(factor):
    frames = market(3)
    scaled = [bars.copy() for bars in frames]
    for bars in scaled:
        bars.volume_lots *= factor
    assert scanned(scaled).hash() == scanned(frames).hash()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 10, 25, 1000]))
def test_the_scale_of_prices_changes_nothing(seed, factor):
    """A contract quoted in other units, its tick with it: the same zones, in ticks."""
    rng = np.random.default_rng(seed)
    rows = zeros(20 * 1440, bar_dt)
    steps = rng.integers(-3, 4, len(rows))
    close = 10_000 + np.cumsum(steps) - np.cumsum(steps).min()
    rows.open_ms = AS_OF_MS - MINUTE_MS * np.arange(len(rows), 0, -1)
    rows.close, rows.open = close, close - steps
    rows.high, rows.low = np.maximum(rows.open, close) + 2, np.minimum(rows.open, close) - 2
    rows.volume_lots = rng.integers(1, 50, len(rows))
    scaled = rows.copy()
    for name in ("open", "high", "low", "close"):
        scaled[name] *= factor
    one = scan_at(chain_frames(rows, 1), AS_OF_MS, PARAMS, "BTCUSDT", HASH)
    other = scan_at(chain_frames(scaled, factor), AS_OF_MS, PARAMS, "BTCUSDT", HASH)
    assert one.status == "OK"
    assert one.hash() == other.hash()


def test_equal_input_gives_equal_hashes_and_old_bars_do_not_count():
    frames = market(1)
    longer = frames_of(generated((9400, 9800, 10_200, 10_600), 30, 11), lookback=301)
    shorter = frames_of(generated((9400, 9800, 10_200, 10_600), 30, 11), lookback=300)
    assert scanned(longer).hash() == scanned(shorter).hash() != scanned(frames).hash()


def ranks(frames_profile, first, price, width):
    """Levels by volume among all tops, highest first."""
    wide = ScannerParams(min_peak_strength_ppm=0, separation_min_ppm=0, separation_max_ppm=0, near_ppm=0)
    box = find_box(smooth(frames_profile), first, price, width, 0.0, wide)
    return box


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=20, max_size=60), st.floats(0.1, 100.0), st.data())
def test_more_volume_at_a_level_never_lowers_its_rank(counts, extra, data):
    price, width = 10_000, 11
    first = -(len(counts) // 2)
    profile = np.array(counts, float)
    before = ranks(profile, first, price, width)
    if not before.levels():
        return
    level = data.draw(st.sampled_from(before.levels()))
    offset = level.centre - price
    if offset % width:
        return  # the centre of an even plateau lies between two buckets
    more = profile.copy()
    more[offset // width - first] += extra
    after = ranks(more, first, price, width)
    side = after.supports if offset < 0 else after.resistances
    old_side = before.supports if offset < 0 else before.resistances
    found = next(one for one in side if one.centre == level.centre)
    old_rank = sum(one.volume > level.volume for one in old_side)
    assert sum(one.volume > found.volume for one in side) <= old_rank


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(-300, 300), min_size=4, max_size=9), st.data(), st.integers(1, 4))
def test_clustering_is_the_brute_force_optimum(points, data, k):
    xs = np.array(sorted(points), float)
    weights = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(xs), max_size=len(xs))), float)

    def cost(first, end):
        mean = np.average(xs[first:end], weights=weights[first:end])
        return float((weights[first:end] * (xs[first:end] - mean) ** 2).sum())

    best = min(
        sum(cost(first, end) for first, end in itertools.pairwise((0, *cuts, len(xs))))
        for cuts in itertools.combinations(range(1, len(xs)), k - 1)
    )
    centres, squares = cluster(xs, weights, int(weights.sum()), k, k, 1.0)
    assert squares == pytest.approx(best, abs=1e-6)
    assert len(centres) == k
    assert (np.diff(centres) > 0).all()


def test_too_few_prices_cannot_be_clustered():
    prices = np.full(300, 10_000)
    assert (
        price_clusters(prices, prices, prices, prices, centre=10_000, bucket_width=11, k_min=4, k_max=8)
        is None
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10**6), st.integers(200, 10_000))
def test_buckets_are_odd_and_cover_all_volume(price, bucket_ppm):
    width = bucket_width(price, bucket_ppm)
    assert width % 2 == 1
    assert abs(width - price * bucket_ppm / 1e6) <= 1
    rows = np.array([[0, price, price + 37, max(1, price - 20), price, 12, 0]], np.int64)
    share = np.zeros(200)
    assert spread(rows, price, width, -100, share) == 12
    assert share.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda f: [f[0][:-1], f[1], f[2]], "BAR_NOT_READY"),
        (lambda f: [f[0], np.delete(f[1], 50).view(np.recarray), f[2]], "GAP"),
        (lambda f: [f[0], f[1], f[2][-99:]], "WARM_UP"),
        (lambda f: [f[0], f[1], with_column(f[2], "volume_lots", 0)], "NO_VOLUME"),
        (lambda f: [f[0], with_column(f[1], "volume_lots", -1), f[2]], "BAD_BAR"),
        (lambda f: [with_column(f[0], "low", 0), f[1], f[2]], "BAD_BAR"),
        (lambda f: [with_column(f[0], "high", 5), f[1], f[2]], "BAD_BAR"),
    ],
)
def test_bars_that_are_not_right_make_no_zones(change, status):
    result = scanned(change(market(0)))
    assert (result.status, result.zones, result.complete) == (status, (), False)
    assert result.reason
    assert result.snapshot()["status"] == status


def with_column(bars, name, value):
    out = bars.copy()
    out[name] = value
    return out


def test_all_volume_at_one_price_is_an_incomplete_box():
    rows = [(10_000, 10_000, 10_000, 10_000, 5)] * 4800
    result = scanned(frames_of(rows))
    assert (result.status, result.zones, result.complete) == ("OK", (), False)
    assert result.findings.atr == 0.0
    assert rows_of(frames_of(rows)[0])[-1, 0] == AS_OF_MS - QUARTER_MS
