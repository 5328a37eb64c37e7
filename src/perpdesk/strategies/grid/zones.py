"""Zones: what the scanner hands to the trigger, each with its strength, confidence, life and identity.

Rows of ``grid_zones`` are made from these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from perpdesk.kernel.guard import q9
from perpdesk.strategies.grid.box import Box
from perpdesk.strategies.grid.params import PPM, ScannerParams
from perpdesk.strategies.grid.snapshot import decimal_text, snapshot_hash

HOUR_MS = 3_600_000
SUPPORT, RESISTANCE = 1, -1  # the side that a signal at the zone trades


@dataclass(frozen=True)
class Zone:
    """A price range [lo, hi] in ticks. It counts at times t with valid_from_ms < t < expires_ms."""

    id: str
    symbol: str
    kind: str
    side: int
    centre: int
    lo: int
    hi: int
    strength: float
    confidence: int
    ma_adjusted: bool
    kmeans_ok: bool
    valid_from_ms: int
    expires_ms: int
    params_hash: str

    def holds_at(self, now_ms: int) -> bool:
        """May the zone be used at this time?"""
        return self.valid_from_ms < now_ms < self.expires_ms

    def snapshot(self) -> dict[str, object]:
        """The zone as a canonical value (snapshot.canonical_json)."""
        return {
            "center": self.centre,
            "confidence": self.confidence,
            "expires_ms": self.expires_ms,
            "hi": self.hi,
            "id": self.id,
            "kind": self.kind,
            "kmeans_ok": self.kmeans_ok,
            "lo": self.lo,
            "ma_adjusted": self.ma_adjusted,
            "params_hash": self.params_hash,
            "strength": decimal_text(self.strength),
            "symbol": self.symbol,
            "valid_from_ms": self.valid_from_ms,
        }


def zone_from(value: dict[str, Any]) -> Zone:
    """The zone of a stored snapshot."""
    kind = str(value["kind"])
    return Zone(
        id=value["id"],
        symbol=value["symbol"],
        kind=kind,
        side=SUPPORT if kind.startswith("S") else RESISTANCE,
        centre=value["center"],
        lo=value["lo"],
        hi=value["hi"],
        strength=float(value["strength"]),
        confidence=value["confidence"],
        ma_adjusted=value["ma_adjusted"],
        kmeans_ok=value["kmeans_ok"],
        valid_from_ms=value["valid_from_ms"],
        expires_ms=value["expires_ms"],
        params_hash=value["params_hash"],
    )


def zone_id(symbol: str, kind: str, centre: int, as_of_ms: int, params_hash: str) -> str:
    """16 hex digits: one zone has one name, however often it is scanned."""
    return snapshot_hash(
        {
            "as_of_ms": as_of_ms,
            "center_ticks": centre,
            "kind": kind,
            "params_hash": params_hash,
            "symbol": symbol,
        }
    )[:16]


def half_width(price: int, bucket_width: int, params: ScannerParams) -> int:
    """Ticks from a zone's centre to its edge."""
    return max(bucket_width, (2 * price * params.zone_half_width_ppm + PPM) // (2 * PPM))


def zone_confidence(strength: float, kmeans_ok: bool, ma_adjusted: bool, squeeze_confidence: float) -> int:
    """0 … 100: half by its volume, 20 and 15 for the two confirmations, 15 by how calm the market is."""
    return (
        math.floor(q9(50 * strength))
        + 20 * kmeans_ok
        + 15 * ma_adjusted
        + math.floor(q9(15 * squeeze_confidence))
    )


def make_zones(
    box: Box,
    confirmed: dict[str, bool],
    *,
    symbol: str,
    as_of_ms: int,
    half: int,
    squeeze_confidence: float,
    params: ScannerParams,
    params_hash: str,
) -> tuple[Zone, ...]:
    """The zones of a box, ascending. confirmed: by level name, whether clustering agrees."""
    return tuple(
        Zone(
            id=zone_id(symbol, level.kind, level.centre, as_of_ms, params_hash),
            symbol=symbol,
            kind=level.kind,
            side=SUPPORT if level.kind.startswith("S") else RESISTANCE,
            centre=level.centre,
            lo=level.centre - half,
            hi=level.centre + half,
            strength=level.strength,
            confidence=zone_confidence(
                level.strength, confirmed[level.kind], level.ma_adjusted, squeeze_confidence
            ),
            ma_adjusted=level.ma_adjusted,
            kmeans_ok=confirmed[level.kind],
            valid_from_ms=as_of_ms,
            expires_ms=as_of_ms + params.zone_valid_hours * HOUR_MS,
            params_hash=params_hash,
        )
        for level in box.levels()
    )
