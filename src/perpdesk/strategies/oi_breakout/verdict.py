"""One decision per symbol and poll: score, confidence, and the first rule that refuses."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from perpdesk.kernel.guard import q9
from perpdesk.strategies.oi_breakout import codes as no
from perpdesk.strategies.oi_breakout.codes import LONG, NEUTRAL
from perpdesk.strategies.oi_breakout.points import (
    are_ratios_known,
    chase_distance,
    confidence,
    funding_points,
    sentiment_points,
    total,
)

_OI_MAX, _PRICE_MAX = 0.20, 0.15
_DIVERGENT_OI, _DIVERGENT_PRICE = 0.08, 0.01
_MISALIGNED = 0.05
_STRENGTH_MEDIUM = 5.0

# primary: place of the period that decides (-1: none). score NaN: refused before there is one.
# chase NaN: the two-hour window is not complete.
verdict_dt = np.dtype(
    [(name, "i8") for name in ("code", "side", "primary", "degraded", "chased", "known_ratios")]
    + [
        (name, "f8")
        for name in (
            "oi_points",
            "price_points",
            "sentiment",
            "funding",
            "bonus",
            "penalty",
            "score",
            "confidence",
            "chase",
            "low",
            "high",
        )
    ],
    align=True,
)


@njit(cache=True)
def hard_reject(period_count, periods):
    """The code of the first of the three rules that no score can outweigh, over all triggered periods."""
    for rule in range(3):
        for p in range(period_count):
            one = periods[p]
            if not one.triggered:
                continue
            size, price = abs(one.d_oi), abs(one.price_change)
            if rule == 0 and size > _OI_MAX:
                return no.OI_OVEREXTENDED
            if rule == 1 and price > _PRICE_MAX:
                return no.PRICE_OVEREXTENDED
            if rule == 2 and size > _DIVERGENT_OI and price < _DIVERGENT_PRICE:
                return no.OI_PRICE_DIVERGENCE
    return no.PASSED


@njit(cache=True)
def primary_of(period_count, periods):
    """The triggered period with a direction that has most points; of equal ones the shorter. -1: none."""
    best = -1
    most = 0.0
    for p in range(period_count):
        one = periods[p]
        if one.triggered and one.direction != NEUTRAL:
            points = q9(one.oi_points + one.price_points)
            if best < 0 or points > most:
                best, most = p, points
    return best


@njit(cache=True)
def bonus_of(params, periods, primary):
    """For every further triggered period that says the same."""
    further = 0
    for p in range(params.period_count):
        if p != primary and periods[p].triggered and periods[p].direction == periods[primary].direction:
            further += 1
    return min(params.bonus_cap, further * params.bonus_step)


@njit(cache=True)
def is_price_lacking(period_count, periods):
    """Has a triggered period no price to compare?"""
    for p in range(period_count):  # noqa: SIM110 (numba compiles no generators)
        if periods[p].triggered and math.isnan(periods[p].price_change):
            return True
    return False


@njit(cache=True)
def needs_sentiment(params, periods):
    """Could the ratios still make a difference? Only these symbols are asked for."""
    return (
        hard_reject(params.period_count, periods) == no.PASSED
        and primary_of(params.period_count, periods) >= 0
    )


@njit(cache=True)
def judge(params, periods, ratios, r8_e8, price, low, high, is_complete, verdict):
    """Write the verdict on one symbol's newest row; returns its code.

    periods: [8] of period_dt, at least one triggered; ratios: [4] top positions, takers, top accounts,
    crowd, NaN where missing; r8_e8: funding per 8 hours; price: the mark; low, high, is_complete: the
    two-hour window.
    """
    count = params.period_count
    verdict.side = NEUTRAL
    verdict.degraded = verdict.chased = 0
    verdict.oi_points = verdict.price_points = verdict.sentiment = 0.0
    verdict.funding = verdict.bonus = verdict.penalty = 0.0
    verdict.score = verdict.confidence = verdict.chase = math.nan
    verdict.low, verdict.high = low, high
    verdict.known_ratios = 1 if are_ratios_known(ratios[0], ratios[1], ratios[2], ratios[3]) else 0
    verdict.primary = primary_of(count, periods)
    verdict.code = hard_reject(count, periods)
    if verdict.primary >= 0:
        one = periods[verdict.primary]
        verdict.side = one.direction
        verdict.oi_points = one.oi_points
        verdict.price_points = one.price_points
        verdict.bonus = bonus_of(params, periods, verdict.primary)
        verdict.funding = funding_points(verdict.side, r8_e8)
        if is_complete:
            verdict.chase = chase_distance(verdict.side, price, low, high)
            if verdict.chase > params.chase_penalty_from:
                verdict.chased = 1
                verdict.penalty = params.chase_penalty
        if verdict.known_ratios:
            verdict.sentiment = sentiment_points(verdict.side, ratios[0], ratios[1], ratios[2], ratios[3])
    if verdict.code != no.PASSED:
        return verdict.code
    verdict.code = _refused_before_score(params, periods, ratios, verdict)
    if verdict.code != no.PASSED:
        return verdict.code
    verdict.degraded = 0 if verdict.known_ratios else 1
    verdict.score = total(
        verdict.oi_points,
        verdict.price_points,
        verdict.sentiment,
        verdict.funding,
        verdict.bonus,
        verdict.penalty,
        verdict.degraded,
    )
    present = 4 if verdict.known_ratios else 1
    verdict.confidence = confidence(verdict.score, present, periods[verdict.primary].severity)
    verdict.code = _refused_after_score(params, verdict)
    return verdict.code


@njit(cache=True)
def _refused_before_score(params, periods, ratios, verdict):
    if verdict.primary < 0:
        lacking = is_price_lacking(params.period_count, periods)
        return no.PRICE_MISSING if lacking else no.DIRECTION_NEUTRAL
    if verdict.side != LONG and not params.allow_short:
        return no.DIRECTION_NOT_ALLOWED
    if not verdict.known_ratios and not params.rescale:
        return no.SENTIMENT_UNAVAILABLE
    top = ratios[0]
    if verdict.known_ratios and (top < 1.0 if verdict.side == LONG else top > 1.0):
        return no.TOP_TRADERS_OPPOSED
    one = periods[verdict.primary]
    if q9(abs(abs(one.d_oi) - one.move)) > _MISALIGNED:
        return no.PRICE_OI_MISALIGNED
    return no.PASSED


@njit(cache=True)
def _refused_after_score(params, verdict):
    if verdict.score < params.score_floor:
        return no.SCORE_FLOOR
    if verdict.score < params.min_score:
        return no.SIGNAL_SCORE_TOO_LOW
    least = params.min_confidence_degraded if verdict.degraded else params.min_confidence
    if verdict.confidence < least:
        return no.CONFIDENCE_TOO_LOW
    return no.STRENGTH_TOO_LOW if verdict.score < _STRENGTH_MEDIUM else no.PASSED


@njit(cache=True)
def entry_refusal(params, is_degraded, is_complete, chase):
    """The radar's own gates of an entry, asked with the price of now: PASSED or a code."""
    if is_degraded:
        return no.POLL_DEGRADED
    if not is_complete:
        return no.CHASE_WINDOW_INCOMPLETE
    return no.PASSED if chase <= params.chase_reject_above else no.CHASE_LIMIT
