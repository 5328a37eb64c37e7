"""What a running breakout desk shows: a line every two minutes for people, figures for machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from perpdesk.domain import units
from perpdesk.engine.live.desk import LiveDesk
from perpdesk.market.radar.radar import Radar
from perpdesk.ports import Clock

STATUS_MS = 120_000


def figures(radar: Radar | None, now_ms: int) -> dict[str, Any]:
    """The radar's own; ages in ms, coverage as a fraction. Without a radar: that there is none."""
    if radar is None:
        return {"radar_is_up": False}
    done = radar.figures
    age_ms = now_ms - done.last_slot_ms if done.last_slot_ms else None
    return {
        "radar_is_up": True,
        "radar_symbols": len(radar.symbols),
        "radar_polls": done.polls,
        "radar_skipped": done.skipped,
        "radar_degraded": done.degraded,
        "radar_unwritten": done.unwritten,
        "radar_coverage": round(done.coverage, 6),
        "radar_poll_took_ms": done.last_took_ms,
        "radar_poll_age_ms": age_ms,
        "radar_anomalies": done.anomalies,
        "radar_refusals": dict(done.refusals),
    }


def line(radar: Radar | None, desk: LiveDesk, now_ms: int) -> str:
    """Radar · configuration · breaker · positions · why nothing was bought."""
    told = figures(radar, now_ms)
    if radar is None:
        parts = ["radar DOWN"]
    else:
        age_ms = told["radar_poll_age_ms"]
        ago = "never" if age_ms is None else f"{age_ms // 1000} s ago"
        parts = [
            f"radar {told['radar_symbols']} symbols, last poll {ago}, coverage {told['radar_coverage']:.1%}, "
            f"{told['radar_skipped']} slots skipped",
            f"config {radar.terms.config_hash[:12]}",
        ]
    breaker = desk.money.breaker
    said = "TRIPPED" if breaker.is_tripped else "open"
    parts.append(f"breaker {said}, day {units.money_of(breaker.pnl_e8):.2f} USDT")
    held = [
        _position(desk, s) for s in np.flatnonzero(desk.engine.books.positions["lots"].any(axis=0)).tolist()
    ]
    parts.append(", ".join(held) if held else "no position")
    if radar is not None and radar.figures.refusals:
        codes = sorted(radar.figures.refusals.items(), key=lambda one: -one[1])[:3]
        parts.append("decisions " + ", ".join(f"{code} {count}" for code, count in codes))
    return " · ".join(parts)


def _position(desk: LiveDesk, s: int) -> str:
    books, unit = desk.engine.books, int(desk.engine.books.instruments[s].unit_e8)
    v = int(np.flatnonzero(books.positions["lots"][:, s])[0])
    position, mark = books.positions[v, s], desk.venue.mark(s)[0]
    lots, cost = int(position.lots), int(position.cost_e8)
    name = f"{desk.universe.symbols[s]} {'LONG' if lots > 0 else 'SHORT'}"
    if not mark:
        return f"{name} without a mark price"
    profit_e8 = lots * mark * unit - (cost if lots > 0 else -cost)
    roi = profit_e8 / cost * int(position.leverage) if cost else 0.0
    return f"{name} {units.money_of(profit_e8):.2f} USDT ({roi:+.1%} of margin)"


async def tell_for_ever(
    radar: Callable[[], Radar | None], desk: LiveDesk, clock: Clock, say: Callable[[str], None]
) -> None:
    """Say the line every two minutes until cancelled."""
    while True:
        await clock.sleep_until(clock.now_ms() + STATUS_MS)
        say(line(radar(), desk, clock.now_ms()))
