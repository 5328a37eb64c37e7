"""scan: the closed bars of three frames in, zones out. No clock, no storage, no chance.

The command ``perpdesk grid scanner`` and the backtest's chain drive it, once for every four hours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perpdesk.kernel.indicators.atr import atr_window
from perpdesk.kernel.intervals import COLUMNS, HIGH, LOW, interval_bar_dt
from perpdesk.strategies.grid.box import Box, Level, find_box, separation, snap_to_average
from perpdesk.strategies.grid.clustering import price_clusters
from perpdesk.strategies.grid.params import ScannerParams
from perpdesk.strategies.grid.profile import (
    bucket_of,
    bucket_width,
    point_of_control,
    smooth,
    spread,
    sum_between,
    value_area,
    vpvr_rows,
)
from perpdesk.strategies.grid.snapshot import decimal_text, snapshot_hash
from perpdesk.strategies.grid.squeeze import ACTIVE_BARS, WINDOW, confidence, squeeze_state
from perpdesk.strategies.grid.zones import Zone, half_width, make_zones

FRAMES_MS = (15 * 60_000, 60 * 60_000, 240 * 60_000)
FRAME_NAMES = ("15m", "1h", "4h")
ATR_PERIOD = 14

OK = "OK"
BAR_NOT_READY, GAP, WARM_UP, NO_VOLUME, BAD_BAR = "BAR_NOT_READY", "GAP", "WARM_UP", "NO_VOLUME", "BAD_BAR"


@dataclass(frozen=True)
class Vpvr:
    """Volume by price of the last bars, for display: row k spans height ticks from lo + k * height."""

    lo: int
    height: int
    up: np.ndarray
    down: np.ndarray
    poc_row: int
    area_low_row: int
    area_high_row: int


@dataclass(frozen=True)
class Findings:
    """The numbers of one complete scan. Prices and lengths in ticks, shares as fractions."""

    price: int
    bucket_width: int
    atr: float
    average: int
    apart: float
    vpoc: int
    val: int
    vah: int
    value_share: float
    squeeze_bars: int
    band_width: float
    concentration: float | None
    confidence: float
    centres: tuple[float, ...]
    box: Box
    vpvr: Vpvr

    @property
    def squeezed(self) -> bool:
        """Is the squeeze active?"""
        return self.squeeze_bars >= ACTIVE_BARS


@dataclass(frozen=True)
class Scan:
    """One scan. status OK: findings are there (the box may be incomplete). Otherwise no zone was made.

    reason says in words which frame and which bar stood in the way.
    """

    symbol: str
    as_of_ms: int
    status: str
    reason: str = ""
    findings: Findings | None = None
    zones: tuple[Zone, ...] = ()

    @property
    def complete(self) -> bool:
        """Were all four levels found?"""
        return self.findings is not None and self.findings.box.complete

    def snapshot(self) -> dict[str, object]:
        """The scan as a canonical value: equal scans have equal hashes."""
        found = self.findings
        value: dict[str, object] = {
            "as_of_ms": self.as_of_ms,
            "complete": self.complete,
            "reason": self.reason,
            "status": self.status,
            "symbol": self.symbol,
            "zones": [zone.snapshot() for zone in self.zones],
        }
        if found is not None:
            value |= {
                "atr": decimal_text(found.atr),
                "average": found.average,
                "band_width": decimal_text(found.band_width),
                "bucket_width": found.bucket_width,
                "centres": [decimal_text(centre / 3, 2) for centre in found.centres],
                "confidence": decimal_text(found.confidence),
                "price": found.price,
                "squeeze_bars": found.squeeze_bars,
                "vah": found.vah,
                "val": found.val,
                "vpoc": found.vpoc,
            }
        return value

    def hash(self) -> str:
        """sha256 over the canonical JSON of the scan."""
        return snapshot_hash(self.snapshot())


def _utc(ms: int) -> str:
    """A minute as people write it."""
    return f"{np.datetime64(int(ms), 'ms').astype('datetime64[m]')} UTC"


def _problem(bars: np.recarray, name: str, frame_ms: int, as_of_ms: int, min_bars: int) -> tuple[str, str]:
    """(status, reason) of one frame; (OK, "") if nothing is wrong."""
    if len(bars) == 0 or bars.open_ms[-1] != as_of_ms - frame_ms:
        return BAR_NOT_READY, f"{name}: the bar that ends at {_utc(as_of_ms)} is not there"
    steps = np.diff(bars.open_ms)
    if (steps != frame_ms).any():
        before = _utc(bars.open_ms[:-1][steps != frame_ms][0])
        return GAP, f"{name}: after the bar of {before} minutes are missing"
    bad = (
        (bars.low < 1)
        | (bars.high < np.maximum(bars.open, bars.close))
        | (bars.low > np.minimum(bars.open, bars.close))
        | (bars.volume_lots < 0)
    )
    if bad.any():
        return BAD_BAR, f"{name}: the bar of {_utc(bars.open_ms[bad][0])} has impossible prices or volume"
    if len(bars) < min_bars:
        return WARM_UP, f"{name}: {len(bars)} bars, {min_bars} are needed"
    if bars.volume_lots.sum() == 0:
        return NO_VOLUME, f"{name}: no volume in {len(bars)} bars"
    return OK, ""


def _plain(bars: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(bars).view(np.int64).reshape(len(bars), COLUMNS)


def common_profile(
    frames: list[np.ndarray], weights: tuple[float, ...], price: int, width: int
) -> tuple[np.ndarray, int]:
    """(weighted profile of all frames, number of its first bucket); each frame counts 1 before its weight.

    frames: int64 [n, 7] (kernel.intervals columns), each with some volume.
    """
    first = min(int(bucket_of(int(rows[:, LOW].min()), price, width)) for rows in frames)
    last = max(int(bucket_of(int(rows[:, HIGH].max()), price, width)) for rows in frames)
    common = np.zeros(last - first + 1)
    for rows, weight in zip(frames, weights, strict=True):
        share = np.zeros(len(common))
        spread(rows, price, width, first, share)
        common += weight * share
    return common, first


def vpvr(bars: np.recarray, rows: int, last: int) -> Vpvr:
    """Volume of rising and falling bars per price row; last: the price that settles ties."""
    lo = int(bars.low.min())
    height = -(-(int(bars.high.max()) - lo + 1) // rows)
    up, down = vpvr_rows(
        np.ascontiguousarray(bars.open),
        np.ascontiguousarray(bars.close),
        np.ascontiguousarray(bars.low),
        np.ascontiguousarray(bars.high),
        np.ascontiguousarray(bars.volume_lots),
        lo,
        height,
        rows,
    )
    volume = up + down
    middle = 2 * lo + height - 1
    poc = min(range(rows), key=lambda k: (-volume[k], abs(middle + 2 * k * height - 2 * last), k))
    low_row, high_row = poc, poc
    if volume.sum() > 0:
        low_row, high_row, _ = value_area(volume, 0, poc, float(volume.sum()))
    return Vpvr(lo, height, up, down, poc, low_row, high_row)


def _is_confirmed(level: Level, centres: np.ndarray | None, price: int, atr: float) -> bool:
    if centres is None:
        return False
    within = 3 * max(0.005 * price, 0.5 * atr)
    return bool(np.abs(3 * level.centre - centres).min() <= within)


def scan(
    bars_15m: np.recarray,
    bars_1h: np.recarray,
    bars_4h: np.recarray,
    params: ScannerParams,
    *,
    symbol: str,
    as_of_ms: int,
    params_hash: str,
) -> Scan:
    """Zones of one symbol at a 4-hour boundary.

    Bars are ``interval_bar_dt``, ascending, prices in ticks, volume in lots, each frame ending exactly at
    as_of_ms; more than lookback_bars are cut off at the old end. A frame that is short, has a hole, a bad
    bar or no volume gives a Scan without zones that says so.
    """
    frames = [
        np.asarray(bars)[-params.lookback_bars :].astype(interval_bar_dt, copy=False).view(np.recarray)
        for bars in (bars_15m, bars_1h, bars_4h)
    ]
    for bars, name, frame_ms in zip(frames, FRAME_NAMES, FRAMES_MS, strict=True):
        status, reason = _problem(bars, name, frame_ms, as_of_ms, params.min_bars)
        if status != OK:
            return Scan(symbol, as_of_ms, status, reason)
    quarter, hour, four = frames
    price = int(quarter.close[-1])
    width = int(bucket_width(price, params.bucket_ppm))
    weights = tuple(
        milli / 1000 for milli in (params.weight_15m_milli, params.weight_1h_milli, params.weight_4h_milli)
    )
    common, first = common_profile([_plain(bars) for bars in frames], weights, price, width)

    highs, lows, closes = (np.ascontiguousarray(four[name][-WINDOW:]) for name in ("high", "low", "close"))
    atr = float(atr_window(highs, lows, closes, ATR_PERIOD))
    period = params.ma_period
    average = (2 * int(four.close[-period:].sum()) + period) // (2 * period)
    apart = separation(price, atr, params)
    box = snap_to_average(
        find_box(smooth(common), first, price, width, apart, params), average, price, apart, params
    )

    total = float(sum_between(common, first, first, first + len(common) - 1))
    vpoc = int(point_of_control(common, first))
    area_low, area_high, value_share = value_area(common, first, vpoc, total)
    half = half_width(price, width, params)
    nearest_support, nearest_resistance = box.level("S1"), box.level("R1")
    concentration = None
    if nearest_support is not None and nearest_resistance is not None:
        low_bucket = bucket_of(nearest_support.centre - half, price, width)
        high_bucket = bucket_of(nearest_resistance.centre + half, price, width)
        concentration = float(sum_between(common, first, low_bucket, high_bucket)) / total
    squeeze_bars, band_width = squeeze_state(highs, lows, closes, price)
    val = price + int(area_low) * width - (width - 1) // 2
    vah = price + int(area_high) * width + (width - 1) // 2
    calm = float(
        confidence(
            squeeze_bars,
            -1.0 if concentration is None else concentration,
            band_width / price,
            (vah - val + 1) / price,
        )
    )
    centres = price_clusters(
        np.ascontiguousarray(hour.high),
        np.ascontiguousarray(hour.low),
        np.ascontiguousarray(hour.close),
        np.ascontiguousarray(hour.volume_lots),
        centre=price,
        bucket_width=width,
        k_min=params.kmeans_k_min,
        k_max=params.kmeans_k_max,
    )
    findings = Findings(
        price=price,
        bucket_width=width,
        atr=atr,
        average=average,
        apart=apart,
        vpoc=price + vpoc * width,
        val=val,
        vah=vah,
        value_share=float(value_share),
        squeeze_bars=int(squeeze_bars),
        band_width=float(band_width),
        concentration=concentration,
        confidence=calm,
        centres=() if centres is None else tuple(float(centre) for centre in centres),
        box=box,
        vpvr=vpvr(hour[-params.vpvr_bars :].view(np.recarray), params.vpvr_rows, int(hour.close[-1])),
    )
    zones = make_zones(
        box,
        {level.kind: _is_confirmed(level, centres, price, atr) for level in box.levels()},
        symbol=symbol,
        as_of_ms=as_of_ms,
        half=half,
        squeeze_confidence=calm,
        params=params,
        params_hash=params_hash,
    )
    return Scan(symbol, as_of_ms, OK, findings=findings, zones=zones)
