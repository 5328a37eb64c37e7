"""From polls to anomalies, scores and refusals: the same compiled body as the strategy's, for all symbols."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from perpdesk.domain.signal_books import OiAnomaly
from perpdesk.domain.units import half_away, rate_e8
from perpdesk.kernel.records import zeros
from perpdesk.market.radar.poll import Poll, Row
from perpdesk.market.radar.source import FUNDING_HOURS, NO_RATIOS, Ratios
from perpdesk.strategies.oi_breakout import (
    CODE_NAMES,
    DIRECTION_NAMES,
    SEVERITY_NAMES,
    decide,
    see_price,
    sight_dt,
    take,
)
from perpdesk.strategies.oi_breakout.codes import PASSED
from perpdesk.strategies.oi_breakout.points import FUNDING_MISSING, normalised_funding_e8
from perpdesk.strategies.oi_breakout.verdict import entry_refusal, needs_sentiment
from perpdesk.strategies.oi_breakout.window import ROWS_MAX, extremes, put

RATIO_AGE_MAX_MS = 600_000
# Symbols of one poll get group numbers of their own below this.
_GROUPS = 10_000


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on one symbol in one poll. score None: it was refused before there was one."""

    symbol: str
    slot_ms: int
    code: str
    direction: str
    score: float | None
    confidence: float | None
    change: float
    anomalies: tuple[OiAnomaly, ...]


@dataclass
class Judge:
    """The sights of all symbols. params: [1] of the strategy's record; config_hash: what it came from."""

    params: np.recarray
    config_hash: str
    funding_hours: Mapping[str, int] = field(default_factory=dict)
    sights: dict[str, np.recarray] = field(default_factory=dict)

    def sight(self, symbol: str) -> np.recarray:
        """A symbol's records, fresh if it was never seen."""
        if symbol not in self.sights:
            self.sights[symbol] = zeros(1, sight_dt)
        return self.sights[symbol]

    def forget(self, keep: Iterable[str]) -> None:
        """Symbols that are polled no more."""
        kept = set(keep)
        for symbol in [one for one in self.sights if one not in kept]:
            del self.sights[symbol]

    def remember_recorded(self, anomalies: Iterable[OiAnomaly]) -> None:
        """What was recorded before a restart, oldest first: it is no news."""
        places = {int(ms) // 1000: p for p, ms in enumerate(self.params.period_ms[0]) if ms}
        for one in anomalies:
            if one.period_seconds in places:
                recorded = self.sight(one.symbol)[0].recorded
                recorded.poll_ms[places[one.period_seconds]] = one.poll_ms
                recorded.change[places[one.period_seconds]] = float(one.percent_change)

    def replay_row(self, symbol: str, received_ms: int, amount: Decimal | None, mark: Decimal | None) -> None:
        """A row of the past, in order of time: it fills the windows and decides nothing."""
        sight = self.sight(symbol)[0]
        if amount is None:
            see_price(sight, received_ms, _float(mark))
        else:
            take(self.params[0], sight, received_ms, received_ms, float(amount), _float(mark))

    def is_complete(self, symbol: str, now_ms: int) -> bool:
        """Has the symbol's two-hour window enough marks?"""
        window = self.sight(symbol)[0].window
        return bool(extremes(window, now_ms, self.params[0].interval_ms)[2])

    def warm(self, symbol: str, minutes: Sequence[tuple[int, Decimal]]) -> None:
        """Put earlier marks (time, price) in front of what a symbol's window holds."""
        old = self.sight(symbol)
        window = old[0].window
        first = max(0, int(window.count) - ROWS_MAX)
        held = [n % ROWS_MAX for n in range(first, int(window.count))]
        rows = [(int(window.ms[at]), float(window.oi[at]), float(window.mark[at])) for at in held]
        begins_ms = rows[0][0] if rows else None
        fresh = zeros(1, sight_dt)
        for ms, price in sorted(minutes):
            if begins_ms is None or ms < begins_ms:
                see_price(fresh[0], ms, float(price))
        for ms, oi, mark in rows:
            put(fresh[0].window, ms, oi, mark)
        old[0].window = fresh[0].window

    def anomalous(self, poll: Poll) -> list[Row]:
        """Take a poll; the rows with news, the largest change first: ``decide`` must follow for each."""
        news = []
        for row in poll.rows:
            sight = self.sight(row.symbol)[0]
            mark = None if row.mark is None else row.mark.price
            if row.amount is None:
                if mark is not None:
                    see_price(sight, row.received_ms, float(mark))
            elif take(self.params[0], sight, row.received_ms, poll.slot_ms, float(row.amount), _float(mark)):
                news.append(row)
        return sorted(news, key=lambda row: (-self._largest(row.symbol), row.symbol))

    def asks_for_ratios(self, symbol: str) -> bool:
        """Could sentiment still make a difference?"""
        return bool(needs_sentiment(self.params[0], self.sight(symbol)[0].periods))

    def decide(self, row: Row, poll: Poll, ratios: Ratios = NO_RATIOS, place: int = 0) -> Decision:
        """The decision on a row with news. place: the symbol's number in this poll."""
        params, sight = self.params[0], self.sight(row.symbol)[0]
        hours = self.funding_hours.get(row.symbol, FUNDING_HOURS)
        known = ratios if poll.slot_ms - ratios.told_ms <= RATIO_AGE_MAX_MS else NO_RATIOS
        numbers = np.array(
            [_float(x) for x in (known.top_position, known.taker, known.top_account, known.crowd)]
        )
        rate = None if row.mark is None else row.mark.rate
        r8 = FUNDING_MISSING if rate is None else normalised_funding_e8(rate_e8(rate), hours)
        decide(params, sight, numbers, r8)
        verdict = sight.verdict
        code = int(verdict.code)
        if code == PASSED:
            code = int(entry_refusal(params, poll.is_degraded, bool(sight.complete), verdict.chase))
        score = None if math.isnan(verdict.score) else float(verdict.score)
        confidence = None if score is None else float(verdict.confidence)
        anomalies = tuple(
            self._anomaly(row, poll, known, place, p, CODE_NAMES[code], hours)
            for p in range(int(params.period_count))
            if sight.periods[p].fresh
        )
        return Decision(
            row.symbol, poll.slot_ms, CODE_NAMES[code], DIRECTION_NAMES[int(verdict.side)],
            score, confidence, self._largest(row.symbol), anomalies,
        )  # fmt: skip

    def _largest(self, symbol: str) -> float:
        periods = self.sight(symbol)[0].periods
        return max(abs(float(one.d_oi)) for one in periods if one.triggered)

    def _anomaly(
        self, row: Row, poll: Poll, ratios: Ratios, place: int, p: int, code: str, hours: int
    ) -> OiAnomaly:
        sight, params = self.sight(row.symbol)[0], self.params[0]
        one, verdict = sight.periods[p], sight.verdict
        scored = not math.isnan(verdict.score)
        primary = int(verdict.primary)
        return OiAnomaly(
            symbol=row.symbol,
            period_seconds=int(params.period_ms[p]) // 1000,
            poll_ms=poll.slot_ms,
            group_id=poll.slot_ms * _GROUPS + place,
            percent_change=_fixed(one.d_oi, 9),
            oi_before=_fixed(one.oi_before, 8),
            oi_after=_fixed(one.oi_after, 8),
            threshold_value=_fixed(params.threshold[p], 9),
            severity=SEVERITY_NAMES[int(one.severity)],
            config_hash=self.config_hash,
            suspect=bool(one.suspect),
            degraded=bool(verdict.degraded),
            price_before=_maybe(one.price_before, 12),
            price_after=_maybe(one.price_after, 12),
            price_change_percent=_maybe(one.price_change, 9),
            funding_rate=None if row.mark is None else row.mark.rate,
            ratio_top_position=_ratio(ratios.top_position),
            ratio_taker=_ratio(ratios.taker),
            ratio_top_account=_ratio(ratios.top_account),
            ratio_global=_ratio(ratios.crowd),
            primary_period=None if primary < 0 else int(params.period_ms[primary]) // 1000,
            signal_score=_maybe(verdict.score, 4),
            score_parts=_parts(verdict, hours) if primary >= 0 else None,
            signal_confidence=_maybe(verdict.confidence, 3) if scored else None,
            signal_direction=DIRECTION_NAMES[int(verdict.side)],
            reject_code=None if code == CODE_NAMES[PASSED] else code,
            price_2h_low=_maybe(sight.low, 12),
            price_from_2h_low=_maybe(verdict.chase, 9),
        )


def _parts(verdict: np.record, hours: int) -> dict[str, object]:
    """Every component of the score, as it was added up."""
    names = ("oi_points", "price_points", "sentiment", "funding", "bonus", "penalty")
    return {**{name: float(verdict[name]) for name in names}, "funding_interval_h": hours}


def _float(value: Decimal | None) -> float:
    return math.nan if value is None else float(value)


def _fixed(value: float, places: int) -> Decimal:
    return half_away(Decimal(repr(float(value))), places)


def _maybe(value: float, places: int) -> Decimal | None:
    return _fixed(value, places) if math.isfinite(value) else None


def _ratio(value: Decimal | None) -> Decimal | None:
    return None if value is None or not value.is_finite() else half_away(value, 6)


def ranked(decisions: Sequence[Decision]) -> list[Decision]:
    """Those that passed, the best first: total, then the size of the change, then the symbol."""
    passed = [one for one in decisions if one.code == CODE_NAMES[PASSED] and one.score is not None]
    return sorted(passed, key=lambda one: (-(one.score or 0.0), -one.change, one.symbol))
