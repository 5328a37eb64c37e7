"""A score as a trader reads it: every component with its inputs, its rule and the points of both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpdesk.domain import units
from perpdesk.kernel.intervals import CLOSE
from perpdesk.market.universe import Universe
from perpdesk.strategies.score_v3.regime import BIG4, REGIME_NAMES, WEIGHTS_PERCENT


@dataclass(frozen=True, slots=True)
class Line:
    """One component. level 0 is a dimension whose points count; level 1 is what it is made of."""

    level: int
    name: str
    inputs: str
    long: float
    short: float
    most: float


@dataclass(frozen=True)
class Scale:
    """Prices and volumes of one symbol in the units people know."""

    price_digits: int
    lot_step: Decimal

    @classmethod
    def of(cls, universe: Universe, s: int) -> Scale:
        """The scale of the universe's s-th symbol."""
        return cls(universe.price_digits[s], universe.lot_step[s])

    def price(self, price: float) -> str:
        """A price (or a mean of prices) with the places that the data have."""
        return f"{price / 10**self.price_digits:,.{self.price_digits}f}"

    def volume(self, lots: float) -> str:
        """A volume in coins, of many without their parts."""
        coins = float(units.qty_of(round(lots), self.lot_step))
        return f"{coins:,.0f}" if coins >= 1_000 else f"{coins:,.6g}"


def lines_v2(state: Any, scale: Scale) -> Iterator[Line]:
    """The five dimensions of a V2 score (``state_dt`` with a score)."""
    one = state.score
    yield Line(
        0,
        "Trend",
        "averages of 7, 25 and 99 closes: in order 8 points, the two short ones alone 4",
        one.trend_long,
        one.trend_short,
        30,
    )
    held = ((state.h1[:, CLOSE], 200), (state.h4_close, state.h4_held), (state.d1_close, state.d1_held))
    for (closes, count), key, name in zip(
        held, ("1h", "4h", "1d"), ("1 hour", "4 hours", "1 day"), strict=True
    ):
        known = closes[len(closes) - min(len(closes), int(count)) :]
        yield Line(1, name, _averages(known, scale), one[f"trend_{key}_long"], one[f"trend_{key}_short"], 8)
    agreed = "all three point the same way" if one.agreement_long or one.agreement_short else "no agreement"
    yield Line(1, "agreement", agreed, one.agreement_long, one.agreement_short, 6)
    yield Line(
        0,
        "Position",
        f"close {scale.price(one.close)} stands at {100 * one.position_ratio:.1f} % of the 72-hour range "
        f"{scale.price(one.lowest)} to {scale.price(one.highest)} "
        "(at 30 % or lower LONG has 20, at 70 % none; SHORT mirrored)",
        one.position_long,
        one.position_short,
        20,
    )
    yield Line(
        0,
        "Momentum",
        "how far the last hours went, and which way it turns",
        one.momentum_long,
        one.momentum_short,
        20,
    )
    yield Line(
        1,
        "RSI 14",
        f"{one.rsi:.2f} for LONG, mirrored {one.rsi_mirror:.2f} for SHORT (30 to 50: 10 points, to 60: 6, "
        "below 30: 4)",
        one.rsi_points_long,
        one.rsi_points_short,
        10,
    )
    unit, places = 10**scale.price_digits, scale.price_digits + 3
    yield Line(
        1,
        "MACD 12/26/9",
        f"histogram {one.histogram / unit:+,.{places}f}, an hour before "
        f"{one.histogram_before / unit:+,.{places}f}: "
        f"{'above' if one.histogram > 0 else 'below'} zero and "
        f"{'rising' if one.histogram > one.histogram_before else 'falling'}",
        one.macd_points_long,
        one.macd_points_short,
        10,
    )
    yield Line(
        0, "Volume", "is there more than usual, and on whose side?", one.volume_long, one.volume_short, 15
    )
    ratio = f"{one.volume_recent / one.volume_usual:.2f}" if one.volume_usual else "no volume"
    yield Line(
        1,
        "change",
        f"mean of 6 hours / mean of 48 hours = {ratio} (1 or more: 2 points, 1.2: 5, 1.5: 8)",
        one.volume_change_points,
        one.volume_change_points,
        8,
    )
    whole = one.volume_whole or 1
    yield Line(
        1,
        "agreement",
        f"of 24 hours' volume {100 * one.volume_up / whole:.1f} % in rising, "
        f"{100 * one.volume_down / whole:.1f} % in falling hours (half or more: 4 points, 60 %: 7)",
        one.volume_points_long,
        one.volume_points_short,
        7,
    )
    yield Line(0, "Volatility", "both sides alike", one.volatility, one.volatility, 15)
    yield Line(
        1,
        "ATR 14",
        f"{100 * one.atr_ratio:.3f} % of the price (0.5 % to 3 % is best)",
        one.atr_points,
        one.atr_points,
        8,
    )
    yield Line(
        1,
        "Bollinger width",
        f"wider than {one.width_rank:.1f} % of the last 100 hours (20 % to 80 % is best)",
        one.width_points,
        one.width_points,
        7,
    )


def lines_v3(state: Any, scale: Scale) -> Iterator[Line]:
    """The five parts of a V3 score."""
    one = state.score
    yield Line(
        0,
        "Four coins",
        f"BTC, ETH, BNB, SOL: {REGIME_NAMES[int(one.direction)]}, strength {one.strength:g} "
        "(for the side it goes 2 points, from 5: 3, from 10: 4, from 15: 5)",
        one.big4_long,
        one.big4_short,
        5,
    )
    yield Line(
        0,
        "5-hour trend",
        f"of 5 groups of 5 hours {one.groups_up} rise and {one.groups_down} fall (2: 2 points, 3: 4, 4: 6)",
        one.hours_long,
        one.hours_short,
        6,
    )
    yield Line(
        0,
        "15-minute trend",
        f"of the last 8 bars {one.bars_up} rise and {one.bars_down} fall (3: 4 points, 4: 7, 5: 10, 6: 14)",
        one.trend_long,
        one.trend_short,
        14,
    )
    usual = one.volume_before / 5
    ratio = f"{one.volume / usual:.3f} times the mean of the five before" if usual else "no volume before"
    body = "rises" if one.close > one.open else "falls" if one.close < one.open else "stands still"
    yield Line(
        0,
        "Volume and price",
        f"the newest bar {body} ({scale.price(one.open)} to {scale.price(one.close)}) on "
        f"{scale.volume(one.volume)}, {ratio} (its side has 1 point, 5 above 1.2 times, 9 above 1.5)",
        one.volume_long,
        one.volume_short,
        9,
    )
    yield Line(0, "Technical", "15-minute closes", one.technical_long, one.technical_short, 8)
    yield Line(
        1,
        "RSI 14",
        f"{one.rsi:.2f} for LONG, mirrored {one.rsi_mirror:.2f} for SHORT (30 to 50: 2.5 points, to 60: 1.5)",
        one.rsi_points_long,
        one.rsi_points_short,
        2.5,
    )
    yield Line(
        1,
        "averages",
        f"mean of 12 closes {scale.price(one.total_fast / 12)} "
        f"{_order(26 * one.total_fast, 12 * one.total_slow)} of 26 {scale.price(one.total_slow / 26)} "
        "(above: LONG)",
        one.averages_points_long,
        one.averages_points_short,
        3,
    )
    where = {-1: "below", 0: "inside", 1: "above"}[int(one.band)]
    yield Line(
        1,
        "Bollinger 20/2",
        f"the close is {where} the band (beyond it 2.5 points against the move, inside 1.5 for both)",
        one.band_points_long,
        one.band_points_short,
        2.5,
    )


def coin_lines(shared: Any, coins: tuple[int, ...]) -> Iterator[str]:
    """How the regime came about, one sentence per coin. coins: places in the universe, -1: absent."""
    yield (
        "The four coins (in brackets their weight); 1 h counts 60, 15 m 30, 5 m 10; beyond 30 a coin has a "
        "side:"
    )
    words = {1: "rising", -1: "falling", 0: "no side"}
    for k, name in enumerate(BIG4):
        coin = shared.coins[k]
        if coins[k] < 0:
            yield f"{name} ({WEIGHTS_PERCENT[k]} %): not among the symbols"
        elif not coin.present:
            yield f"{name} ({WEIGHTS_PERCENT[k]} %): bars missing, stale or broken: absent"
        else:
            score = int(coin.score)
            side = "bullish" if score > 30 else "bearish" if score < -30 else "neither"
            yield (
                f"{name} ({WEIGHTS_PERCENT[k]} %): 1 h {words[int(coin.hours)]}, 15 m "
                f"{words[int(coin.quarters)]}, 5 m {words[int(coin.fives)]}: {score:+d}, {side}"
            )


def _order(a: float, b: float) -> str:
    return ">" if a > b else "<" if a < b else "="


def _averages(closes: Any, scale: Scale) -> str:
    count = len(closes)
    if count < 25:
        return f"only {count} closes, 25 are needed"
    means = {n: float(closes[-n:].sum()) / n for n in (7, 25, 99) if count >= n}
    signs = [">" if means[a] > means[b] else "<" if means[a] < means[b] else "=" for a, b in ((7, 25),)]
    text = f"mean of 7 closes {scale.price(means[7])} {signs[0]} of 25 {scale.price(means[25])}"
    if 99 not in means:
        return f"{text} (only {count} closes: 4 points at most)"
    sign = ">" if means[25] > means[99] else "<" if means[25] < means[99] else "="
    return f"{text} {sign} of 99 {scale.price(means[99])}"
