"""What the strategies saw when an entry was judged, for the books: components, regime."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from perpdesk.config.records import Sleeve
from perpdesk.domain.signal_books import Big4Regime, Seen
from perpdesk.domain.units import half_away
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.kernel.replay import Mind
from perpdesk.strategies import oi_breakout, score_v2, score_v3
from perpdesk.strategies.score_rules.scan import SIGNAL_NAMES
from perpdesk.strategies.score_v3.regime import BIG4, REGIME_NAMES


def seen_by(sleeves: Sequence[Sleeve], minds: Sequence[Mind]) -> Callable[[int, int, int], Seen | None]:
    """A function of (sleeve, symbol, side): what its score was made of; None for what is no scorer."""

    def seen(v: int, s: int, side: int) -> Seen | None:
        strategy = sleeves[v].strategy
        if strategy is oi_breakout.STRATEGY:
            return _breakout(minds[v].states[s])
        if strategy is not score_v2.STRATEGY and strategy is not score_v3.STRATEGY:
            return None
        module: Any = score_v2 if strategy is score_v2.STRATEGY else score_v3
        state = minds[v].states[s]
        other = state.score.short_score if side > 0 else state.score.long_score
        own = state.score.long_score if side > 0 else state.score.short_score
        return Seen(
            bar_open_ms=int(state.score.bar_ms),
            score=_points(float(own)),
            other_score=_points(float(other)),
            signal=SIGNAL_NAMES[int(state.signal)].lower(),
            components=module.components(state.score),
        )

    return seen


def _breakout(state: Any) -> Seen | None:
    verdict = state.sight.verdict
    if not math.isfinite(float(verdict.score)):
        return None
    parts = ("oi_points", "price_points", "sentiment", "funding", "bonus", "penalty", "confidence", "chase")
    return Seen(
        bar_open_ms=int(state.judged_ms) - MINUTE_MS,
        score=_points(float(verdict.score)),
        other_score=Decimal(0),
        signal="breakout",
        components={name: float(verdict[name]) for name in parts if math.isfinite(float(verdict[name]))},
    )


def regime_of(
    sleeves: Sequence[Sleeve], minds: Sequence[Mind], account_id: int
) -> Callable[[], Big4Regime | None]:
    """A function that gives the newest regime, None where no version looks at one or none was measured."""
    shared = [
        mind.shared[0]
        for sleeve, mind in zip(sleeves, minds, strict=True)
        if sleeve.strategy is score_v3.STRATEGY
    ]

    def regime() -> Big4Regime | None:
        if not shared or int(shared[0].regime_ms) == 0:
            return None
        one = shared[0]
        return Big4Regime(
            account_id=account_id,
            bar_close_ms=int(one.regime_ms),
            direction=REGIME_NAMES[int(one.direction)],
            strength=_points(float(one.strength)),
            coins={
                name: int(coin.score) if coin.present else None
                for name, coin in zip(BIG4, one.coins, strict=True)
            },
        )

    return regime


def _points(score: float) -> Decimal:
    return half_away(Decimal(repr(score)), 4)
