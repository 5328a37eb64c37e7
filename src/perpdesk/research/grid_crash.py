"""Grids started by hand in the worst hours: each ends flat within its bound, or still stands above its stop.

The loss of a run may reach the drawdown limit, what a jump of the price took beyond the stop, and two price
units per lot of rounding. Fees and slippage are inside the worth that the limit watches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from perpdesk.config import grid_records
from perpdesk.config.schema import Config
from perpdesk.kernel.indicators.atr import atr_window
from perpdesk.kernel.records import (
    ABSENT_MS,
    FAR,
    MINUTE_MS,
    SLOT_OWN,
    bar_dt,
    funding_dt,
    guard_dt,
    sleeve_dt,
    zeros,
)
from perpdesk.kernel.replay import Replay, new_books, new_mind
from perpdesk.strategies.grid import strategy
from perpdesk.strategies.grid.chain import frames_of
from perpdesk.strategies.grid.conduct import in_units
from perpdesk.strategies.grid.machine import ACTIVE, EVENT_NAMES, IDLE, STATE_NAMES
from perpdesk.strategies.grid.params import PPM
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, SHORT, VARIANT_NAMES, grid_step, make_plan
from perpdesk.strategies.grid.stops import stop_levels

FOUR_HOURS_MS = 4 * 3_600_000
ATR_BARS, ATR_PERIOD = 100, 14
ATR_LEAST_BARS = 20


@dataclass(frozen=True)
class Outcome:
    """One start. Money 1e-8 (losses negative): net = price + slippage + fees + funding, exactly."""

    variant: str
    begun_ms: int
    a0: int
    step: int
    state: str
    reason: str
    ended_ms: int
    net_e8: int
    price_e8: int
    slippage_e8: int
    fees_e8: int
    funding_e8: int
    bound_e8: int
    gap_e8: int
    fills: int
    refused: str = ""

    @property
    def ok(self) -> bool:
        """Refused, flat within the bound, or still standing."""
        if self.refused:
            return True
        return -self.net_e8 <= self.bound_e8 and self.state in (STATE_NAMES[IDLE], STATE_NAMES[ACTIVE])


def start_times(first_ms: int, last_ms: int) -> list[int]:
    """The 4-hour boundaries within [first_ms, last_ms]."""
    return list(range(-(-first_ms // FOUR_HOURS_MS) * FOUR_HOURS_MS, last_ms + 1, FOUR_HOURS_MS))


def crash_test(
    config: Config,
    symbol: str,
    minutes: np.ndarray,
    first_ms: int,
    instrument: np.recarray,
    funding: np.recarray,
    times: Sequence[int],
    variants: Sequence[int] = (LONG, NEUTRAL),
) -> list[Outcome]:
    """A grid of each variant at each time over one symbol's minutes [T] from first_ms. instrument: [1]."""
    outcomes = []
    for begun_ms in times:
        for variant in variants:
            outcomes.append(_start(config, symbol, minutes, first_ms, instrument, funding, begun_ms, variant))
    return outcomes


def _start(
    config: Config,
    symbol: str,
    minutes: np.ndarray,
    first_ms: int,
    instrument: np.recarray,
    funding: np.recarray,
    begun_ms: int,
    variant: int,
) -> Outcome:
    block = config.grid.for_symbol(symbol)
    params = grid_records.executor_params(block)
    if variant != LONG and params.short_budget_e8 == 0:
        params = replace(params, short_budget_e8=params.max_position_e8)
    record = grid_records.symbol_record(block, instrument[0], auto_start=False)
    record["of"]["short_cap_e8"][0, 0] = params.short_budget_e8
    tick, unit_e8 = int(instrument.tick[0]), int(instrument.unit_e8[0])
    at = (begun_ms - first_ms) // MINUTE_MS
    four = frames_of(minutes[:at], tick).four[-ATR_BARS:]
    there = np.flatnonzero(minutes[:at]["open_ms"] != ABSENT_MS)
    if len(four) < ATR_LEAST_BARS or not len(there) or at >= len(minutes):
        return _refused(variant, begun_ms, f"{len(four)} bars of 4 hours before, {ATR_LEAST_BARS} are needed")
    last = int(minutes["close"][there[-1]])
    a0 = last // tick
    columns = [np.ascontiguousarray(four[name]) for name in ("high", "low", "close")]
    step = int(grid_step(float(atr_window(*columns, ATR_PERIOD)), params.atr_multiplier_ppm, 1))
    market = grid_records.market_of(instrument[0])
    plan = make_plan(variant, a0, step, a0 - step, a0 + step, params, market)
    if plan.refusals:
        return _refused(variant, begun_ms, f"{plan.refusals[0].code}: {plan.refusals[0].detail}")
    mind = new_mind(strategy.STRATEGY, record, zeros(1, guard_dt), 1)
    limits = zeros(1, sleeve_dt)
    slots = SLOT_OWN + len(plan.levels)
    books = new_books(grid_records.account_of(config), limits, instrument, slots)
    books.heads["last"] = last
    strategy.order_start(mind.states[0], in_units(plan, tick))
    replay = Replay(mind, books, funding=funding[funding["ms"] > begun_ms].copy().view(np.recarray))
    replay.feed(minutes[at:].reshape(-1, 1), begun_ms)
    state, position, fills = mind.states[0], books.positions[0, 0], replay.all_fills()
    slipped, gap = _costs(fills, state, record[0]["of"][0], int(books.account.slippage_ppm[0]), unit_e8)
    realised, fees, paid = int(position.realised_e8), int(position.fees_e8), int(position.funding_e8)
    worth = realised - fees + paid
    if state.grid != IDLE:
        worth += int(position.lots) * int(books.heads[0, 0].last) * unit_e8
        worth -= int(np.sign(position.lots)) * int(position.cost_e8)
    largest = int(np.abs(fills["held_lots"]).max()) if len(fills) else 0
    limit = params.allocated_capital_e8 * params.stop_drawdown_ppm // PPM
    over = state.grid == IDLE
    return Outcome(
        variant=VARIANT_NAMES[variant],
        begun_ms=begun_ms,
        a0=a0,
        step=step,
        state=STATE_NAMES[int(state.grid)],
        reason=EVENT_NAMES[int(state.reason)] if over else "",
        ended_ms=int(state.ended_ms) if over else 0,
        net_e8=worth,
        price_e8=worth + fees - paid + slipped,
        slippage_e8=-slipped,
        fees_e8=-fees,
        funding_e8=paid,
        bound_e8=limit + gap + 2 * largest * unit_e8 * tick,
        gap_e8=gap,
        fills=len(fills),
    )


def _refused(variant: int, begun_ms: int, why: str) -> Outcome:
    return Outcome(VARIANT_NAMES[variant], begun_ms, 0, 0, "IDLE", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, why)


def _costs(
    fills: np.recarray, state: np.record, rules: np.record, slippage_ppm: int, unit_e8: int
) -> tuple[int, int]:
    """(what slippage took of market orders, what a jump took beyond the stop)."""
    slipped = gap = 0
    for fill in fills:
        if not fill.taker or fill.slot >= SLOT_OWN:
            continue
        price, lots = int(fill.price), int(fill.lots)
        if fill.side < 0:
            reference = -(-price * PPM // (PPM - slippage_ppm))
        else:
            reference = price * PPM // (PPM + slippage_ppm)
        slipped += abs(reference - price) * lots * unit_e8
        if fill.ms % MINUTE_MS == 0:  # at an open
            lo, hi = stop_levels(
                int(state.base_e8), int(state.long_lots), int(state.short_lots), int(rules["unit_e8"]),
                int(rules["exit_ppm"]), int(state.peak_e8), int(state.limit_e8), int(state.lo_stop),
                int(state.hi_stop), int(rules["tick"]),
            )  # fmt: skip
            beyond = lo - reference if fill.side < 0 else reference - hi
            if abs(lo if fill.side < 0 else hi) < FAR:
                gap += max(0, beyond) * lots * unit_e8
    return slipped, gap


def bundled_crash(start_ms: int, *, price: int = 1_000_000, seed: int = 20200312) -> tuple[np.ndarray, int]:
    """Thirty seeded days of minutes [T] with a day that loses half, one minute of it opening 12 % lower.

    Returns the rows and the index of the crash day's first minute. Prices in units, plenty of volume.
    """
    rng = np.random.default_rng(seed)
    day = 1440
    calm, after = 20 * day, 9 * day
    drift = np.concatenate(
        [np.zeros(calm), np.full(day, (np.log(0.5) - np.log(0.88)) / day), np.zeros(after)]
    )
    moves = drift + rng.normal(0, 0.0006, len(drift))
    gap_at = calm + 13 * 60
    moves[gap_at] = np.log(0.88)
    closes = np.maximum(1000, (price * np.exp(np.cumsum(moves))).astype(np.int64))
    opens = np.concatenate([[price], closes[:-1]])
    opens[gap_at] = int(opens[gap_at] * 0.88)
    reach = rng.integers(0, 1 + price // 1500, (2, len(drift)))
    bars = zeros(len(drift), bar_dt)
    bars["open_ms"] = start_ms + np.arange(len(drift)) * MINUTE_MS
    bars["open"], bars["close"] = opens, closes
    bars["high"] = np.maximum(opens, closes) + reach[0]
    bars["low"] = np.maximum(500, np.minimum(opens, closes) - reach[1])
    bars["volume_lots"] = 1_000_000_000
    return np.asarray(bars), calm


def bundled_crash_test(config: Config, symbol: str, instrument: np.recarray) -> list[Outcome]:
    """The crash that parameters must survive before they may trade, at the contract's own scale."""
    tick, unit_e8 = int(instrument.tick[0]), int(instrument.unit_e8[0])
    size_e8 = grid_records.executor_params(config.grid.for_symbol(symbol)).order_size_e8
    # a price at which a level holds some hundred lots, so that rounding plays no part
    price = max(20_000, min(size_e8 // (unit_e8 * 400), 1 << 30)) // tick * tick
    start_ms = 1_583_020_800_000
    bars, crash_at = bundled_crash(start_ms, price=max(price, 20_000 * tick))
    begun = start_ms + crash_at * MINUTE_MS
    record = instrument.copy().view(np.recarray)
    record.notional_min_e8 = 0
    times = start_times(begun - FOUR_HOURS_MS, begun + 6 * FOUR_HOURS_MS)
    variants = (LONG, NEUTRAL, SHORT)
    return crash_test(config, symbol, bars, start_ms, record, zeros(0, funding_dt), times, variants)
