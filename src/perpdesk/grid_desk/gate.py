"""The gate: nothing starts under parameters that were never tried, on code that was never tried.

It asks for a report, not for profit. What it wants of one: the same parameters and code, enough days, hardly
a minute missing, fees and slippage that are not wishes, and the bundled crash survived.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from perpdesk.app import Market, Setup, backtest
from perpdesk.config import grid_records
from perpdesk.domain import units
from perpdesk.domain.grid_books import GridBacktest
from perpdesk.grid_desk.place import Place, code_revision
from perpdesk.grid_desk.ran import by_reason, held_fraction, runs_of
from perpdesk.kernel.cache import sources_hash
from perpdesk.kernel.records import DAY_MS
from perpdesk.research.grid_crash import Outcome, bundled_crash_test
from perpdesk.research.result import RunResult
from perpdesk.strategies.grid.conduct import Conductor
from perpdesk.strategies.grid.snapshot import canonical_json

SLIPPAGE_LEAST = Decimal("0.0005")


@dataclass(frozen=True)
class Verdict:
    """May runs start? detail says why not, or which report is the proof."""

    ok: bool
    detail: str
    backtest_id: int | None = None


@dataclass(frozen=True)
class Report:
    """A stored backtest with what it was made of."""

    row: GridBacktest
    result: RunResult
    setup: Setup
    fills: np.recarray
    market: Market
    crash: list[Outcome]


async def judge_gate(place: Place, *, recorded: bool, start_ms: int) -> Verdict:
    """What the reports on record allow. recorded: fewer days are enough where no more lie before start_ms."""
    gate, sim = place.block.gate, place.block.sim
    if sim.slippage_fraction < SLIPPAGE_LEAST or sim.taker_fee_fraction <= 0 or sim.maker_fee_fraction < 0:
        return Verdict(False, "UNREALISTIC: fees must be above 0 and slippage at least 0.0005")
    days = gate.min_backtest_days
    if recorded:
        days = min(days, max(1, (start_ms - place.minutes.start_ms) // DAY_MS))
    reports = await place.store.grid_backtests(place.symbol, place.params_hash, sources_hash())
    why = "no backtest is stored under these parameters and this code: run `perpdesk grid backtest`"
    for report in reversed(reports):
        if not report.crash_ok:
            why = f"backtest {report.id}: the bundled crash was not survived"
        elif report.days < days:
            why = f"backtest {report.id} covers {report.days} days, {days} are needed"
        elif report.missing_fraction > gate.max_missing_fraction:
            why = f"backtest {report.id}: {report.missing_fraction} of its minutes are missing"
        else:
            return Verdict(True, f"backtest {report.id}", report.id)
    return Verdict(False, why)


def crash_ok(outcomes: list[Outcome]) -> bool:
    """Did every grid of the crash end as it must, and at least one of them run?"""
    return all(one.ok for one in outcomes) and any(not one.refused for one in outcomes)


async def make_report(place: Place, *, store: bool = True) -> Report:
    """Backtest scanner, trigger and executor over the minutes at hand, and store the report."""
    market = place.minutes.market
    result, setup, fills = backtest(place.loaded, [grid_records.NAME], market)
    crash = bundled_crash_test(place.loaded.config, place.symbol, setup.books.instruments)
    bars = market.bars["open_ms"][:, 0]
    missing = Decimal(int((bars < 0).sum())) / Decimal(max(1, len(bars)))
    row = GridBacktest(
        symbol=place.symbol,
        params_hash=place.params_hash,
        kernel_hash=sources_hash(),
        code_revision=code_revision(),
        data_from_ms=market.from_ms,
        data_to_ms=market.to_ms,
        data_hash=place.minutes.data_hash(market.from_ms, market.to_ms),
        days=(market.to_ms - market.from_ms) // DAY_MS,
        missing_fraction=round(missing, 9),
        crash_ok=crash_ok(crash),
        digest=hashlib.sha256(np.ascontiguousarray(fills).tobytes()).hexdigest(),
        metrics=canonical_json(metrics(result, setup, fills, market)),
        created_ms=place.clock.now_ms(),
    )
    if store:
        await place.store.save_params_snapshot(place.kept.json, place.clock.now_ms())
        number = await place.store.add_grid_backtest(row)
        row = msgspec.structs.replace(row, id=number)
    return Report(row, result, setup, fills, market, crash)


def metrics(result: RunResult, setup: Setup, fills: np.recarray, market: Market) -> dict[str, Any]:
    """The report's figures. Money as text in USDT."""
    books, conductor = setup.books, setup.conductor
    runs = int(setup.minds[0].states["runs"].sum())
    told = conductor if isinstance(conductor, Conductor) else None
    refused = {} if told is None else {name: int(count) for name, count in sorted(told.refused.items())}
    found = [] if told is None else told.stories
    gross = units.money_of(int(books.account.realised_e8[0]))
    fees = units.money_of(int(books.account.fees_e8[0]))
    net = gross - fees + units.money_of(int(books.account.funding_e8[0]))
    ran = runs_of(setup, fills)
    trips = sum(one.exits for one in ran) or int(books.positions["round_trips"].sum())
    worst = min((one.net_e8 for one in ran), default=0)
    return {
        "net_usdt": units.plain(net),
        "gross_usdt": units.plain(gross),
        "fees_usdt": units.plain(fees),
        "funding_usdt": units.plain(units.money_of(int(books.account.funding_e8[0]))),
        "fee_share": units.plain(round(fees / abs(gross), 6)) if gross else "0",
        "expectancy_usdt": units.plain(round(net / trips, 8)) if trips else "0",
        "max_drawdown": str(round(Decimal(repr(float(books.account.drawdown_max[0]))), 9)),
        "runs": runs,
        "fills": len(fills),
        "round_trips": trips,
        "runs_by_reason": by_reason(ran),
        "worst_run_usdt": units.plain(units.money_of(worst)),
        "time_in_market": str(held_fraction(market, fills)),
        "scans": sum(len(story.scans) for story in found),
        "scans_complete": sum(one.complete for story in found for one in story.scans),
        "zones": sum(len(one.zones) for story in found for one in story.scans),
        "signals": sum(len(story.signals) for story in found),
        "offers": sum(len(story.offers) for story in found),
        "blocked": refused,
        "notes": list(result.notes),
    }
