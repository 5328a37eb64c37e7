"""Scanner and trigger over a stretch of minutes: what the executor may start on, and when.

Zones depend on bars, signals on bars and zones; neither on what a grid does. So a backtest finds all of them
first, each from nothing but the bars closed by its own time, and the executor meets them at their minute.
The commands do the same with one scan, or the newest bars, at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perpdesk.kernel.intervals import CLOSE, COLUMNS, OPEN_MS, interval_bar_dt, resample
from perpdesk.kernel.records import ABSENT_MS
from perpdesk.strategies.grid.params import ScannerParams, TriggerParams
from perpdesk.strategies.grid.scanner import FRAMES_MS, OK, Scan, scan
from perpdesk.strategies.grid.snapshot import decimal_text
from perpdesk.strategies.grid.squeeze import ACTIVE_BARS
from perpdesk.strategies.grid.trigger import (
    BAR_MS,
    CONFIRMED,
    EXPIRED,
    PENDING,
    SIGNAL,
    Event,
    Judgement,
    Signal,
    judge_bar,
    status_at,
)
from perpdesk.strategies.grid.vsa import HISTORY_BARS
from perpdesk.strategies.grid.zones import Zone, zone_from

SCAN_MS = FRAMES_MS[2]
# A strength event is looked back at for at most so many bars.
EVENTS_KEPT_BARS = 97


@dataclass(frozen=True)
class Frames:
    """The closed bars of the three frames (interval_bar_dt), prices in ticks."""

    quarter: np.recarray
    hour: np.recarray
    four: np.recarray

    def until(self, ms: int, count: int) -> Frames:
        """The newest ``count`` bars of each frame that were closed at ``ms``."""
        parts = []
        for bars, frame_ms in zip((self.quarter, self.hour, self.four), FRAMES_MS, strict=True):
            end = int(np.searchsorted(bars["open_ms"], ms - frame_ms, side="right"))
            parts.append(bars[max(0, end - count) : end].view(np.recarray))
        return Frames(*parts)


def frames_of(minutes: np.ndarray, tick: int = 1) -> Frames:
    """Frames of one symbol's minutes (bar_dt [T], absent ones allowed); tick: price units per tick."""
    present = minutes[minutes["open_ms"] != ABSENT_MS]
    return Frames(*(_in_ticks(resample(present, frame_ms), tick) for frame_ms in FRAMES_MS))


def _in_ticks(bars: np.recarray, tick: int) -> np.recarray:
    if tick == 1:
        return bars
    bars = bars.copy()
    for name in ("open", "high", "low", "close"):
        bars[name] = (2 * bars[name] + tick) // (2 * tick)
    return bars


def rows_of(bars: np.recarray) -> np.ndarray:
    """Bars as int64 rows (kernel.intervals columns)."""
    plain = np.ascontiguousarray(np.asarray(bars).astype(interval_bar_dt, copy=False))
    return plain.view(np.int64).reshape(len(plain), COLUMNS)


def scan_at(frames: Frames, as_of_ms: int, params: ScannerParams, symbol: str, params_hash: str) -> Scan:
    """The scan of a 4-hour boundary."""
    cut = frames.until(as_of_ms, params.lookback_bars)
    return scan(
        cut.quarter, cut.hour, cut.four, params, symbol=symbol, as_of_ms=as_of_ms, params_hash=params_hash
    )


@dataclass(frozen=True)
class Ground:
    """What a run needs of a scan: its time, the average true range in ticks (nine places), its zones."""

    as_of_ms: int
    atr: float
    complete: bool
    squeezed: bool
    zones: tuple[Zone, ...]


def ground_of(found: Scan) -> Ground | None:
    """The ground of a scan; None if it could not be made."""
    if found.findings is None:
        return None
    return Ground(
        found.as_of_ms,
        float(decimal_text(found.findings.atr)),
        found.complete,
        found.findings.squeezed,
        found.zones,
    )


def ground_from(document: dict[str, Any]) -> Ground | None:
    """The ground of a stored scan (``Scan.snapshot``)."""
    if document["status"] != OK:
        return None
    zones = tuple(zone_from(zone) for zone in document["zones"])
    squeezed = int(document["squeeze_bars"]) >= ACTIVE_BARS
    return Ground(document["as_of_ms"], float(document["atr"]), document["complete"], squeezed, zones)


@dataclass(frozen=True)
class Offer:
    """A confirmed signal with the scan whose zone it was seen at: a grid may start on it.

    Usable at times t with confirmed_ms <= t < signal.expires_ms.
    """

    signal: Signal
    scan: Ground
    confirmed_ms: int

    def usable_at(self, now_ms: int) -> bool:
        """May it be acted on at this time?"""
        return self.confirmed_ms <= now_ms < self.signal.expires_ms


@dataclass
class Watch:
    """The trigger's memory of one symbol: zones by scan, strength events, the last bar judged.

    Feeding the same bars in other portions gives the same signals.
    """

    symbol: str
    params: TriggerParams
    params_hash: str
    scans: list[Ground] = field(default_factory=list)
    events: tuple[Event, ...] = ()

    def learn(self, found: Ground | None) -> None:
        """Take a newer scan. One that could not be made leaves the older zones their life."""
        if found is not None:
            self.scans = [*self.scans[-8:], found]

    def scan_for(self, bar_close_ms: int) -> Ground | None:
        """The newest scan that was there before the bar closed."""
        for found in reversed(self.scans):
            if found.as_of_ms < bar_close_ms:
                return found
        return None

    def judge(self, rows: np.ndarray) -> tuple[Judgement, Ground | None]:
        """Judge the newest of these 15-minute rows."""
        open_ms = int(rows[-1, OPEN_MS])
        found = self.scan_for(open_ms + BAR_MS)
        judged = judge_bar(
            rows,
            () if found is None else found.zones,
            self.events,
            self.params,
            symbol=self.symbol,
            params_hash=self.params_hash,
        )
        kept_ms = open_ms - EVENTS_KEPT_BARS * BAR_MS
        self.events = (*(event for event in self.events if event.open_ms >= kept_ms), *judged.events)
        return judged, found


def looked_back_ms(from_ms: int, scanner: ScannerParams) -> int:
    """From where zones and strength events must be known for decisions from from_ms on."""
    return from_ms - 86_400_000 - scanner.zone_valid_hours * 3_600_000


@dataclass(frozen=True)
class Story:
    """All that scanner and trigger said over a stretch: scans, signals, and the offers among them."""

    scans: tuple[Scan, ...]
    signals: tuple[tuple[Signal, str], ...]
    offers: tuple[Offer, ...]


def tell(
    minutes: np.ndarray,
    scanner: ScannerParams,
    trigger: TriggerParams,
    *,
    symbol: str,
    params_hash: str,
    tick: int = 1,
    from_ms: int = 0,
) -> Story:
    """Everything found in one symbol's minutes (bar_dt [T]) from ``from_ms`` on.

    Scans begin one zone's life and 24 hours before from_ms, so that zones and strength events are there.
    """
    frames = frames_of(minutes, tick)
    watch = Watch(symbol, trigger, params_hash)
    rows = rows_of(frames.quarter)
    scans: list[Scan] = []
    signals: list[tuple[Signal, str]] = []
    offers: list[Offer] = []
    begin_ms = looked_back_ms(from_ms, scanner)
    first = int(np.searchsorted(rows[:, OPEN_MS], begin_ms)) if len(rows) else 0
    next_scan_ms = 0
    for i in range(first, len(rows)):
        close_ms = int(rows[i, OPEN_MS]) + BAR_MS
        boundary_ms = (close_ms - 1) // SCAN_MS * SCAN_MS  # the last one before this bar's close
        if boundary_ms >= next_scan_ms:
            next_scan_ms = boundary_ms + SCAN_MS
            found = scan_at(frames, boundary_ms, scanner, symbol, params_hash)
            watch.learn(ground_of(found))
            if boundary_ms >= from_ms:
                scans.append(found)
        judged, seen = watch.judge(rows[max(0, i + 1 - HISTORY_BARS) : i + 1])
        if judged.outcome != SIGNAL or close_ms <= from_ms:
            continue
        signal = judged.signal
        assert signal is not None
        assert seen is not None
        after = i + 1 < len(rows) and int(rows[i + 1, OPEN_MS]) == close_ms
        confirmed_ms = close_ms + BAR_MS
        status = status_at(signal, int(rows[i + 1, CLOSE]), confirmed_ms) if after else PENDING
        signals.append((signal, status if after else EXPIRED))
        if status == CONFIRMED and signal.tradable:
            offers.append(Offer(signal, seen, confirmed_ms))
    return Story(tuple(scans), tuple(signals), tuple(offers))


def newest(offers: Sequence[Offer], now_ms: int) -> list[Offer]:
    """The offers usable now: earliest confirmed first, then the more confident zone."""
    usable = [offer for offer in offers if offer.usable_at(now_ms)]
    return sorted(usable, key=lambda offer: (offer.confirmed_ms, -offer.signal.zone.confidence))
