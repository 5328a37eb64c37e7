"""The scanner: one scan of the last 4-hour boundary, its zones, once."""

from __future__ import annotations

from decimal import Decimal

from perpdesk.config import grid_records
from perpdesk.domain import units
from perpdesk.domain.grid_books import GridScan
from perpdesk.domain.signal_books import GridZone
from perpdesk.grid_desk.place import Place
from perpdesk.strategies.grid.chain import SCAN_MS, scan_at
from perpdesk.strategies.grid.scanner import Scan
from perpdesk.strategies.grid.snapshot import canonical_json, decimal_text, snapshot_hash, text_hash
from perpdesk.strategies.grid.zones import SUPPORT, Zone


async def scan_once(place: Place, now_ms: int) -> tuple[Scan, int]:
    """Scan as of the last boundary at ``now_ms``; returns the scan and how many zones were new.

    Doing it again changes nothing. Raises BooksContradiction if the same data now give another scan.
    """
    as_of_ms = now_ms // SCAN_MS * SCAN_MS
    params = grid_records.scanner_params(place.block)
    found = scan_at(place.minutes.frames, as_of_ms, params, place.symbol, place.params_hash)
    from_ms = max(place.minutes.start_ms, as_of_ms - params.lookback_bars * SCAN_MS)
    process_id = await place.process("scanner", from_ms, as_of_ms)
    document = canonical_json(document_of(place, found))
    created_ms = place.clock.now_ms()
    assert place.lease is not None
    async with place.store.unit() as unit:
        await unit.fence_grid_lease(place.lease, created_ms + place.lease_ms)
        await unit.record_grid_scan(
            GridScan(
                symbol=place.symbol,
                as_of_ms=as_of_ms,
                params_hash=place.params_hash,
                status=found.status,
                reason=found.reason[:300],
                document=document,
                document_hash=text_hash(document),
                process_id=process_id,
                created_ms=created_ms,
            )
        )
        new = await unit.record_grid_zones([_row(place, zone, as_of_ms, created_ms) for zone in found.zones])
    return found, new


def document_of(place: Place, found: Scan) -> dict[str, object]:
    """What is stored of a scan."""
    return {**found.snapshot(), "tick": place.tick}


def _row(place: Place, zone: Zone, as_of_ms: int, created_ms: int) -> GridZone:
    return GridZone(
        id=zone.id,
        symbol=zone.symbol,
        as_of_ms=as_of_ms,
        kind=zone.kind,
        side="SUPPORT" if zone.side == SUPPORT else "RESISTANCE",
        center=price_of(place, zone.centre),
        lo=price_of(place, zone.lo),
        hi=price_of(place, zone.hi),
        strength=units.decimal_of(decimal_text(zone.strength)),
        confidence=zone.confidence,
        ma_adjusted=zone.ma_adjusted,
        kmeans_ok=zone.kmeans_ok,
        valid_from_ms=zone.valid_from_ms,
        expires_ms=zone.expires_ms,
        params_hash=zone.params_hash,
        created_ms=created_ms,
    )


def price_of(place: Place, ticks: int) -> Decimal:
    """A price in ticks as the venue writes it."""
    digits = place.minutes.market.universe.price_digits[0]
    return units.price_of(ticks * int(place.minutes.instrument.tick), digits)


def scan_json(place: Place, found: Scan) -> dict[str, object]:
    """What ``--json`` prints."""
    value: dict[str, object] = {
        "command": "scanner",
        "status": "ok" if found.findings is not None else "incomplete",
        "scan_status": found.status,
        "reason": found.reason,
        "symbol": place.symbol,
        "as_of_ms": found.as_of_ms,
        "complete": found.complete,
        "params_hash": place.params_hash,
        "scan_hash": snapshot_hash(document_of(place, found)),
        "zones": [
            {
                "id": zone.id,
                "kind": zone.kind,
                "lo": units.plain(price_of(place, zone.lo)),
                "hi": units.plain(price_of(place, zone.hi)),
                "strength": round(zone.strength, 6),
                "confidence": zone.confidence,
                "expires_ms": zone.expires_ms,
            }
            for zone in found.zones
        ],
    }
    if found.findings is not None:
        value["price"] = units.plain(price_of(place, found.findings.price))
        value["atr_ticks"] = decimal_text(found.findings.atr)
        value["squeeze_bars"] = found.findings.squeeze_bars
        value["confidence"] = round(found.findings.confidence, 6)
    return value
