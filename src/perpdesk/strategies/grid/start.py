"""May a grid be started now? The first reason that says no, in a fixed order.

Pure: facts in, an answer out. The conductor of a backtest and the executor command ask it alike; what only a
live desk knows (lease, gate, other people's orders) is a fact with a harmless default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpdesk.strategies.grid.chain import Offer, newest
from perpdesk.strategies.grid.machine import DRAWDOWN, IDLE, ZONE_BREAK
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, SHORT, Market, Plan, grid_step, make_plan

GO = "GO"
ACCOUNT_STATE = "ACCOUNT_STATE"
NO_LEASE = "NO_LEASE"
NOT_IDLE = "NOT_IDLE"
COOLDOWN = "COOLDOWN"
NEED_NEWER_SCAN = "NEED_NEWER_SCAN"
NO_SIGNAL = "NO_SIGNAL"
ZONE_EXPIRED = "ZONE_EXPIRED"
NO_BACKTEST = "NO_BACKTEST"
MAX_RUNS = "MAX_RUNS"
SYMBOL_NOT_TRADING = "SYMBOL_NOT_TRADING"
SYMBOL_TAKEN = "SYMBOL_TAKEN"
PRICE_STALE = "PRICE_STALE"
SIGNAL_TOO_FAR = "SIGNAL_TOO_FAR"
NOT_A_RANGE = "NOT_A_RANGE"
BALANCE = "BALANCE"
NO_STOP_SLOTS = "NO_STOP_SLOTS"

MINUTE_MS = 60_000
STOPS = (DRAWDOWN, ZONE_BREAK)


@dataclass(frozen=True)
class Rules:
    """What the executor keeps to when it starts grids. neutral: every signal starts a two-sided grid."""

    neutral: bool = False
    runs_max: int = 3
    cooldown_stop_ms: int = 240 * MINUTE_MS
    cooldown_ms: int = 15 * MINUTE_MS
    distance_steps: int = 1
    price_max_age_ms: int = 2000


@dataclass(frozen=True)
class View:
    """The facts of one moment. ended_ms, end_reason: the last run's end (0: there was none).

    last: the price in ticks, 0 unknown; free_stop_slots: None where nobody counts them (not live).
    """

    now_ms: int
    last: int
    grid: int
    offers: Sequence[Offer]
    used: frozenset[str] = frozenset()
    ended_ms: int = 0
    end_reason: int = 0
    runs: int = 0
    account_running: bool = True
    has_lease: bool = True
    has_backtest: bool = True
    is_trading: bool = True
    is_taken: bool = False
    price_age_ms: int = 0
    balance_e8: int | None = None
    free_stop_slots: int | None = None


@dataclass(frozen=True)
class Answer:
    """GO with an offer and its plan, or the first reason against. detail is for people."""

    reason: str
    detail: str = ""
    offer: Offer | None = None
    plan: Plan | None = None


def may_start_run(view: View, rules: Rules, params: ExecutorParams, market: Market) -> Answer:
    """The answer for one symbol; prices in ticks."""
    if not view.account_running:
        return Answer(ACCOUNT_STATE, "the account takes no new exposure")
    if not view.has_lease:
        return Answer(NO_LEASE)
    if view.grid != IDLE:
        return Answer(NOT_IDLE)
    stopped = view.ended_ms > 0 and view.end_reason in STOPS
    rest_ms = rules.cooldown_stop_ms if stopped else rules.cooldown_ms
    if view.ended_ms > 0 and view.now_ms < view.ended_ms + rest_ms:
        return Answer(COOLDOWN, f"until {view.ended_ms + rest_ms}")
    offers = [offer for offer in newest(view.offers, view.now_ms) if offer.signal.id not in view.used]
    if stopped:
        newer = [offer for offer in offers if offer.scan.as_of_ms > view.ended_ms]
        if offers and not newer:
            return Answer(NEED_NEWER_SCAN, f"the last run was stopped at {view.ended_ms}")
        offers = newer
    if not offers:
        return Answer(NO_SIGNAL)
    offer = offers[0]
    zone = offer.signal.zone
    if not zone.holds_at(view.now_ms):
        return Answer(ZONE_EXPIRED, f"zone {zone.id} ended at {zone.expires_ms}", offer)
    if not view.has_backtest:
        return Answer(NO_BACKTEST, "no stored backtest under these parameters and this code", offer)
    if view.runs >= rules.runs_max:
        return Answer(MAX_RUNS, f"{view.runs} runs", offer)
    if not view.is_trading:
        return Answer(SYMBOL_NOT_TRADING, "", offer)
    if view.is_taken:
        return Answer(SYMBOL_TAKEN, "the account holds a position or orders of somebody else", offer)
    if view.last <= 0 or view.price_age_ms > rules.price_max_age_ms:
        return Answer(PRICE_STALE, f"age {view.price_age_ms} ms", offer)
    return _plan(view, rules, params, market, offer)


def _plan(view: View, rules: Rules, params: ExecutorParams, market: Market, offer: Offer) -> Answer:
    zone, a0 = offer.signal.zone, view.last
    step = int(grid_step(offer.scan.atr, params.atr_multiplier_ppm, 1))
    if not zone.lo - rules.distance_steps * step <= a0 <= zone.hi + rules.distance_steps * step:
        return Answer(SIGNAL_TOO_FAR, f"{a0} is too far from {zone.lo} … {zone.hi}, step {step}", offer)
    variant = NEUTRAL if rules.neutral else LONG if offer.signal.side > 0 else SHORT
    lo, hi = zone.lo, zone.hi
    if variant == NEUTRAL:
        by_kind = {one.kind: one for one in offer.scan.zones}
        below, above = by_kind.get("S1"), by_kind.get("R1")
        if not offer.scan.complete or below is None or above is None or not offer.scan.squeezed:
            return Answer(NOT_A_RANGE, "the box is incomplete or the market is not squeezed", offer)
        if not below.hi < a0 < above.lo:
            return Answer(NOT_A_RANGE, f"{a0} is not between {below.hi} and {above.lo}", offer)
        lo, hi = below.lo, above.hi
    plan = make_plan(variant, a0, step, lo, hi, params, market)
    if plan.refusals:
        return Answer(plan.refusals[0].code, plan.refusals[0].detail, offer, plan)
    if view.balance_e8 is not None and view.balance_e8 < params.allocated_capital_e8:
        return Answer(BALANCE, "the balance is below allocated_capital_usdt", offer, plan)
    if view.free_stop_slots is not None and view.free_stop_slots < 4:
        detail = f"{view.free_stop_slots} conditional orders are free, 4 are needed"
        return Answer(NO_STOP_SLOTS, detail, offer)
    return Answer(GO, "", offer, plan)
