"""The trigger: every closed 15-minute bar after the last judged one, in order, and the fates of signals.

What it remembers (the last bar, strength events) is one row, written together with the signals found: a
crash between two bars loses nothing and doubles nothing, and the result does not depend on when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from perpdesk.config import grid_records
from perpdesk.domain import units
from perpdesk.domain.books import BooksContradiction, StateRow
from perpdesk.domain.grid_books import GridSignalNumbers
from perpdesk.domain.order import PositionSide
from perpdesk.domain.signal_books import TradingSignal
from perpdesk.grid_desk.place import Place
from perpdesk.grid_desk.scanning import price_of
from perpdesk.kernel.intervals import CLOSE, OPEN_MS
from perpdesk.strategies.grid.chain import (
    SCAN_MS,
    Ground,
    Watch,
    ground_from,
    ground_of,
    looked_back_ms,
    rows_of,
    scan_at,
)
from perpdesk.strategies.grid.snapshot import canonical_json, read_snapshot, text_hash
from perpdesk.strategies.grid.trigger import (
    BAR_MS,
    CONFIRMED,
    EXPIRED,
    PENDING,
    REJECTED,
    SIGNAL,
    Event,
    Signal,
)
from perpdesk.strategies.grid.vsa import HISTORY_BARS

CURSOR = "grid_trigger"
# The cursor belongs to no account: signals are the market's.
NOBODY = 0
BARS_AT_ONCE = 96
LATE_SCAN_MS = 10 * 60_000


@dataclass(frozen=True)
class Watched:
    """One call: bars judged, signals found, whether it waits for a scan, up to when it knows."""

    bars: int
    signals: tuple[Signal, ...]
    conflicts: int
    waits_for_scan_ms: int | None
    known_to_ms: int


async def grounds(place: Place, from_ms: int) -> dict[int, Ground | None]:
    """Stored scans by their boundary; None where one could not be made, or is in ticks of another size.

    Raises BooksContradiction for a scan that was edited by hand.
    """
    found: dict[int, Ground | None] = {}
    for row in await place.store.grid_scans(place.symbol, place.params_hash, from_ms):
        try:
            document = read_snapshot(row.document, row.document_hash)
        except ValueError as error:
            raise BooksContradiction(f"grid_scans {row.symbol} as of {row.as_of_ms}: {error}") from error
        found[row.as_of_ms] = ground_from(document) if document["tick"] == place.tick else None
    return found


async def watch_once(place: Place, now_ms: int) -> Watched:
    """Judge what has closed since the last time, at most 96 bars."""
    rows = rows_of(place.minutes.frames.quarter)
    closes = rows[:, OPEN_MS] + BAR_MS
    kept = await place.store.load_state(NOBODY, CURSOR, place.symbol)
    cursor = _cursor(kept, place.params_hash)
    newest_ms = now_ms // BAR_MS * BAR_MS
    last_ms = cursor[0] if cursor else newest_ms - BAR_MS
    params = grid_records.trigger_params(place.block)
    valid_ms = place.block.scanner.zone_valid_hours * 3_600_000
    scans = await grounds(place, last_ms - valid_ms - SCAN_MS)
    watch = Watch(place.symbol, params, place.params_hash, events=cursor[1] if cursor else ())
    if cursor is None:
        _remember(place, watch, rows, last_ms)
    for as_of_ms in sorted(scans):
        watch.learn(scans[as_of_ms])
    found: list[Signal] = []
    conflicts = judged = 0
    waits = None
    process_id = await place.process("trigger", last_ms - HISTORY_BARS * BAR_MS, now_ms)
    todo = np.flatnonzero((closes > last_ms) & (closes <= now_ms))[:BARS_AT_ONCE]
    for i in todo.tolist():
        close_ms = int(closes[i])
        boundary_ms = (close_ms - 1) // SCAN_MS * SCAN_MS
        if boundary_ms not in scans and now_ms < close_ms + LATE_SCAN_MS:
            waits = boundary_ms
            break
        answer, _ = watch.judge(rows[max(0, i + 1 - HISTORY_BARS) : i + 1])
        last_ms, judged = close_ms, judged + 1
        if answer.outcome == SIGNAL and answer.signal is not None:
            found.append(answer.signal)
        conflicts += answer.outcome == "CONFLICT"
    known_to_ms = last_ms if waits is not None or len(todo) == BARS_AT_ONCE else newest_ms
    await _write(place, watch, found, rows, now_ms, max(last_ms, known_to_ms), process_id)
    return Watched(judged, tuple(found), conflicts, waits, known_to_ms)


def _remember(place: Place, watch: Watch, rows: np.ndarray, last_ms: int) -> None:
    """At the very first call: the zones and strength events of the time before, as a backtest has them.

    What was a signal then is over; only the events count.
    """
    params = grid_records.scanner_params(place.block)
    first = int(np.searchsorted(rows[:, OPEN_MS], looked_back_ms(last_ms, params)))
    next_scan_ms = 0
    for i in range(first, int(np.searchsorted(rows[:, OPEN_MS], last_ms - BAR_MS, side="right"))):
        boundary_ms = (int(rows[i, OPEN_MS]) + BAR_MS - 1) // SCAN_MS * SCAN_MS
        if boundary_ms >= next_scan_ms:
            next_scan_ms = boundary_ms + SCAN_MS
            found = scan_at(place.minutes.frames, boundary_ms, params, place.symbol, place.params_hash)
            watch.learn(ground_of(found))
        watch.judge(rows[max(0, i + 1 - HISTORY_BARS) : i + 1])


def _cursor(kept: StateRow | None, params_hash: str) -> tuple[int, tuple[Event, ...]] | None:
    """(last bar, events); None where nothing is known under these parameters."""
    if kept is None or kept.params_hash != params_hash or not isinstance(kept.state, dict):
        return None
    events = tuple(Event(*one) for one in kept.state["events"])
    return int(kept.state["last_ms"]), events


async def known_to(place: Place) -> int:
    """Up to which minute the trigger has spoken; 0: it never did."""
    cursor = _cursor(await place.store.load_state(NOBODY, CURSOR, place.symbol), place.params_hash)
    return cursor[0] if cursor else 0


async def _write(
    place: Place,
    watch: Watch,
    found: list[Signal],
    rows: np.ndarray,
    now_ms: int,
    last_ms: int,
    process_id: int,
) -> None:
    created_ms = place.clock.now_ms()
    state = {
        "last_ms": last_ms,
        "events": [[one.open_ms, one.side, one.extreme] for one in watch.events],
    }
    assert place.lease is not None
    async with place.store.unit() as unit:
        await unit.fence_grid_lease(place.lease, created_ms + place.lease_ms)
        for signal in found:
            status, confirmed_ms = fate(signal, rows, now_ms)
            await unit.save_signal(_row(place, signal, status, confirmed_ms, created_ms))
            document = canonical_json(_numbers(place, signal))
            await unit.record_signal_numbers(
                GridSignalNumbers(
                    signal_id=signal.id,
                    process_id=process_id,
                    document=document,
                    document_hash=text_hash(document),
                )
            )
        for row in await unit.signals(place.symbol):
            if row.params_hash != place.params_hash or row.status not in (PENDING, CONFIRMED):
                continue
            changed = _aged(place, row, rows, now_ms)
            if changed is not None:
                await unit.save_signal(changed)
        await unit.save_state(
            StateRow(
                account_id=NOBODY,
                strategy=CURSOR,
                symbol=place.symbol,
                state=state,
                params_hash=place.params_hash,
                updated_ms=now_ms,
            )
        )


def fate(signal: _Seen | Signal, rows: np.ndarray, now_ms: int) -> tuple[str, int | None]:
    """(status, when it was confirmed) of a signal at a time, by the bar after it."""
    after_ms = signal.bar_close_ms + BAR_MS
    if now_ms < after_ms:
        return PENDING, None
    at = int(np.searchsorted(rows[:, OPEN_MS], signal.bar_close_ms))
    if at >= len(rows) or rows[at, OPEN_MS] != signal.bar_close_ms:
        return (PENDING if now_ms < signal.expires_ms else EXPIRED), None
    close = int(rows[at, CLOSE])
    if (close < signal.low) if signal.side > 0 else (close > signal.high):
        return REJECTED, None
    return (EXPIRED if now_ms >= signal.expires_ms else CONFIRMED), after_ms


def _aged(place: Place, row: TradingSignal, rows: np.ndarray, now_ms: int) -> TradingSignal | None:
    """A known signal with its fate by now; None if nothing changed."""
    signal = _Seen(
        row.bar_close_ms,
        row.expires_ms,
        1 if row.side is PositionSide.LONG else -1,
        _ticks(place, row.low),
        _ticks(place, row.high),
    )
    status, confirmed_ms = fate(signal, rows, now_ms)
    if status == row.status:
        return None
    return msgspec.structs.replace(row, status=status, confirmed_ms=confirmed_ms)


@dataclass(frozen=True)
class _Seen:
    """As much of a stored signal as its fate depends on."""

    bar_close_ms: int
    expires_ms: int
    side: int
    low: int
    high: int


def _ticks(place: Place, price: object) -> int:
    digits = place.minutes.market.universe.price_digits[0]
    return units.price_to_units(price, digits) // int(place.minutes.instrument.tick)


def _numbers(place: Place, signal: Signal) -> dict[str, object]:
    return {
        "bar_close_ms": signal.bar_close_ms,
        "close": signal.close,
        "high": signal.high,
        "low": signal.low,
        "matched": list(signal.matched()),
        "range": signal.range_ticks,
        "range_sum": signal.range_sum,
        "rule": signal.rule,
        "tick": place.tick,
        "tradable": signal.tradable,
        "volume": signal.volume_lots,
        "volume_sum": signal.volume_sum,
        "zone": signal.zone.snapshot(),
    }


def _row(
    place: Place, signal: Signal, status: str, confirmed_ms: int | None, created_ms: int
) -> TradingSignal:
    return TradingSignal(
        id=signal.id,
        symbol=signal.symbol,
        bar_close_ms=signal.bar_close_ms,
        side=PositionSide.LONG if signal.side > 0 else PositionSide.SHORT,
        type=signal.rule,
        matched_mask=signal.mask,
        zone_id=signal.zone.id,
        low=price_of(place, signal.low),
        high=price_of(place, signal.high),
        status=status,
        expires_ms=signal.expires_ms,
        params_hash=signal.params_hash,
        created_ms=created_ms,
        confirmed_ms=confirmed_ms,
    )
