"""The trigger: closed 15-minute bars and zones in, signals out, each naming its bar, zone, rule and numbers.

Pure: the result of a bar does not depend on when it is looked at. The command ``perpdesk grid trigger``
and the backtest's chain feed it the bars in order and keep the strength events it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perpdesk.kernel.intervals import CLOSE, HIGH, LOW, OPEN_MS, VOLUME_LOTS
from perpdesk.kernel.records import zeros
from perpdesk.strategies.grid.params import TriggerParams
from perpdesk.strategies.grid.snapshot import snapshot_hash
from perpdesk.strategies.grid.vsa import (
    HISTORY_BARS,
    LONG_NAMES,
    SHORT_NAMES,
    STRENGTH,
    TRADABLE,
    vsa,
    vsa_params_dt,
    vsa_short,
)
from perpdesk.strategies.grid.zones import RESISTANCE, SUPPORT, Zone

BAR_MS = 15 * 60_000
PENDING, CONFIRMED, REJECTED, EXPIRED, USED = "PENDING", "CONFIRMED", "REJECTED", "EXPIRED", "USED"
NOTHING, SIGNAL, CONFLICT, WARM_UP, GAP = "NOTHING", "SIGNAL", "CONFLICT", "WARM_UP", "GAP"


@dataclass(frozen=True)
class Signal:
    """One signal. side +1 long, -1 short; rule is its name, mask every rule it matched.

    range_sum, volume_sum: the sums over the average_bars before the bar that its rules were measured
    against; range_ticks, volume_lots: the bar's own.
    """

    id: str
    symbol: str
    bar_close_ms: int
    side: int
    rule: str
    mask: int
    zone: Zone
    low: int
    high: int
    close: int
    range_ticks: int
    volume_lots: int
    range_sum: int
    volume_sum: int
    expires_ms: int
    params_hash: str

    @property
    def tradable(self) -> bool:
        """May a grid be started on it, or does it only arm a later test?"""
        return bool(self.mask & TRADABLE)

    def matched(self) -> tuple[str, ...]:
        """The names of all rules matched."""
        names = LONG_NAMES if self.side > 0 else SHORT_NAMES
        return tuple(name for bit, name in enumerate(names) if self.mask >> bit & 1)


@dataclass(frozen=True)
class Event:
    """A bar of strength: a later test looks back at it. extreme: its low (long) or high (short)."""

    open_ms: int
    side: int
    extreme: int


@dataclass(frozen=True)
class Judgement:
    """What one bar said: an outcome, the signal if it is SIGNAL, and the strength events to remember."""

    outcome: str
    signal: Signal | None = None
    events: tuple[Event, ...] = ()


def vsa_record(params: TriggerParams) -> np.recarray:
    """The compiled rules' parameters (shape (1,))."""
    record = zeros(1, vsa_params_dt)
    for name in vsa_params_dt.names or ():
        record[name] = getattr(params, name)
    return record


def signal_id(symbol: str, bar_close_ms: int, side: int, params_hash: str) -> str:
    """64 hex digits: one bar and side has one signal under one set of parameters."""
    return snapshot_hash(
        {"bar_close_ms": bar_close_ms, "params_hash": params_hash, "side": side, "symbol": symbol}
    )


def _recent(events: tuple[Event, ...], side: int, last_open_ms: int, last: int) -> np.ndarray:
    rows = [
        (last - (last_open_ms - event.open_ms) // BAR_MS, event.extreme)
        for event in events
        if event.side == side
    ]
    return np.array(rows, np.int64).reshape(len(rows), 2)


def judge_bar(
    rows: np.ndarray,
    zones: tuple[Zone, ...],
    events: tuple[Event, ...],
    params: TriggerParams,
    *,
    symbol: str,
    params_hash: str,
) -> Judgement:
    """Judge the newest of closed 15-minute rows (int64 [n, 7], kernel.intervals columns).

    zones: those of the scan that counts for this bar; expired ones and ones below min_zone_confidence are
    left out here. events: earlier strength events of the symbol, in any order. Fewer than 60 rows: WARM_UP;
    a hole in the last 60: GAP.
    """
    if len(rows) < HISTORY_BARS:
        return Judgement(WARM_UP)
    rows = np.ascontiguousarray(rows[-HISTORY_BARS:])
    if (np.diff(rows[:, OPEN_MS]) != BAR_MS).any():
        return Judgement(GAP)
    last = HISTORY_BARS - 1
    bar = rows[last]
    open_ms, high, low, close = (int(bar[column]) for column in (OPEN_MS, HIGH, LOW, CLOSE))
    close_ms = open_ms + BAR_MS
    record = vsa_record(params)[0]
    hits: list[tuple[Zone, int]] = []
    strong = set()
    for zone in zones:
        if not zone.holds_at(close_ms) or zone.confidence < params.min_zone_confidence:
            continue
        rule = vsa if zone.side == SUPPORT else vsa_short
        mask = int(rule(rows, last, zone.lo, zone.hi, _recent(events, zone.side, open_ms, last), record))
        if mask:
            hits.append((zone, mask))
            if mask & STRENGTH:
                strong.add(zone.side)
    found = tuple(Event(open_ms, side, low if side == SUPPORT else high) for side in sorted(strong))
    if not hits:
        return Judgement(NOTHING)
    if len({zone.side for zone, _ in hits}) == 2:
        return Judgement(CONFLICT, events=found)
    zone, mask = min(
        hits,
        key=lambda hit: (-hit[0].confidence, abs(hit[0].centre - close), hit[0].kind.endswith("2")),
    )
    names = SHORT_NAMES if zone.side == RESISTANCE else LONG_NAMES
    before = rows[last - params.average_bars : last]
    signal = Signal(
        id=signal_id(symbol, close_ms, zone.side, params_hash),
        symbol=symbol,
        bar_close_ms=close_ms,
        side=zone.side,
        rule=next(name for bit, name in enumerate(names) if mask >> bit & 1),
        mask=mask,
        zone=zone,
        low=low,
        high=high,
        close=close,
        range_ticks=high - low,
        volume_lots=int(bar[VOLUME_LOTS]),
        range_sum=int((before[:, HIGH] - before[:, LOW]).sum()),
        volume_sum=int(before[:, VOLUME_LOTS].sum()),
        expires_ms=close_ms + params.signal_life_bars * BAR_MS,
        params_hash=params_hash,
    )
    return Judgement(SIGNAL, signal, found)


def confirm(signal: Signal, next_close: int) -> str:
    """CONFIRMED if the next bar's close does not take back the signal's bar, else REJECTED."""
    holds = next_close >= signal.low if signal.side > 0 else next_close <= signal.high
    return CONFIRMED if holds else REJECTED


def status_at(signal: Signal, next_close: int | None, now_ms: int) -> str:
    """What the signal is worth at a time; next_close: the close of the bar after it, None until it closed.

    A signal found late gets its true status: it is never revived.
    """
    if now_ms < signal.bar_close_ms + BAR_MS or next_close is None:
        return PENDING if now_ms < signal.expires_ms else EXPIRED
    confirmed = confirm(signal, next_close)
    return EXPIRED if confirmed == CONFIRMED and now_ms >= signal.expires_ms else confirmed
