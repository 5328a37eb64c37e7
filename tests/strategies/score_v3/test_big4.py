"""The regime of the four coins, minute by minute."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.score_v3.desks import BTC, COINS, ETH, SYMBOLS, UP, Desk, steps
from tests.strategies.score_v3.series import QUARTER_MS, without

from perpdesk.kernel.intervals import HOUR_MS, resample, rows
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.strategies.score_v3 import coins_of, regime
from perpdesk.strategies.score_v3.big4 import known_regime
from perpdesk.strategies.score_v3.regime import (
    BIG4,
    BULL,
    UNKNOWN,
    coin_score,
    fives_dominance,
    hours_dominance,
    quarters_dominance,
)

WARM = 30 * 60  # minutes until the first regime


@pytest.fixture(scope="module")
def rising():
    return steps(WARM + 120)


@pytest.fixture
def warm(rising):
    desk = Desk()
    desk.feed(rising[:WARM])
    return desk


def test_where_the_coins_are():
    assert COINS == (1, 2, 0, 3)
    assert [SYMBOLS[place] for place in COINS] == list(BIG4)
    assert coins_of(("AUSDT", "ETHUSDT")) == (-1, 1, -1, -1)


def test_the_regime_is_that_of_the_built_bars(rising):
    desk = Desk()
    seen = {}
    for bars in rising:
        desk.step(bars)
        if desk.shared.regime_ms == desk.now_ms:
            seen[desk.now_ms] = int(desk.shared.direction), float(desk.shared.strength)
    assert len(seen) == len(rising) // 15
    known = {ms: found for ms, found in seen.items() if found[0] != UNKNOWN}
    assert len(known) == 9
    for closed_ms, found in known.items():
        scores = []
        for place in COINS:
            minutes = rising[rising["open_ms"][:, place] < closed_ms, place]
            h1, m15, m5 = (resample(minutes, n * MINUTE_MS) for n in (60, 15, 5))
            scores.append(
                coin_score(
                    hours_dominance(rows(h1[-30:])),
                    quarters_dominance(rows(m15[-30:])),
                    fives_dominance(rows(m5[-3:])),
                )
            )
        assert regime(np.array(scores), np.ones(4, np.int64)) == found
    assert {direction for direction, _ in known.values()} >= {BULL}


def test_no_regime_before_30_hours(rising):
    desk = Desk()
    desk.feed(rising[: WARM - 1])
    assert desk.regime == "UNKNOWN"
    desk.feed(rising[WARM - 1 : WARM])
    assert desk.regime == "BULL"
    assert desk.shared.strength > 15
    assert [int(coin.present) for coin in desk.shared.coins] == [1, 1, 1, 1]


@pytest.mark.parametrize(("slope", "name"), [(-UP, "BEAR"), (None, "NEUTRAL")])
def test_other_ways_to_go(slope, name):
    desk = Desk()
    desk.feed(steps(WARM, coin_slope=slope))
    assert desk.regime == name


def test_between_two_closes_the_regime_stays(warm, rising):
    before = warm.shared.regime_ms
    warm.feed(rising[WARM : WARM + 14])
    assert warm.shared.regime_ms == before
    warm.feed(rising[WARM + 14 : WARM + 15])
    assert warm.shared.regime_ms == before + QUARTER_MS


@pytest.mark.parametrize(
    ("coins", "name"),
    [
        ((1, 2, -1, -1), "BULL"),
        ((1, -1, 0, 3), "BULL"),
        ((-1, 2, 0, 3), "UNKNOWN"),
        ((1, -1, 0, -1), "UNKNOWN"),
        ((-1, -1, -1, -1), "UNKNOWN"),
    ],
)
def test_coins_that_the_universe_does_not_have(rising, coins, name):
    desk = Desk(coins=coins)
    desk.feed(rising[:WARM])
    assert desk.regime == name


def test_a_coin_whose_last_minute_is_missing_may_come_a_minute_later(warm, rising):
    before = warm.shared.regime_ms
    late = without(rising, [WARM + 14], BTC)
    warm.feed(late[WARM : WARM + 15])
    assert warm.shared.regime_ms == before
    warm.feed(late[WARM + 15 : WARM + 16])
    assert warm.shared.regime_ms == before + QUARTER_MS
    assert warm.regime == "BULL"


def test_a_coin_that_stops_is_absent(warm, rising):
    gone = without(rising, slice(WARM, None), BTC)
    warm.feed(gone[WARM : WARM + 15])
    assert warm.regime == "BULL"
    warm.feed(gone[WARM + 15 : WARM + 16])
    assert warm.regime == "UNKNOWN"
    assert [int(coin.present) for coin in warm.shared.coins] == [0, 1, 1, 1]


@pytest.mark.parametrize("length", [15, 61])
def test_a_hole_makes_a_coin_absent_while_it_is_in_a_window(length):
    """A hole of 15 minutes stays in the 15-minute window for 30 quarters, one of an hour for 30 hours."""
    begin = 60
    market = without(steps(WARM + 480), slice(begin, begin + length), ETH)
    desk = Desk()
    regimes = []
    for bars in market:
        desk.step(bars)
        regimes.append(int(desk.shared.coins[1].present))
    first = next((at for at, present in enumerate(regimes) if present), None)
    # the hour of the long hole is gone when 30 hours follow it
    assert first == (WARM - 1 if length == 15 else begin + 60 + WARM - 1)


def test_a_bad_minute_makes_a_coin_absent(warm, rising):
    spoiled = rising.copy()
    spoiled["low"][WARM + 3, BTC] = -1
    warm.feed(spoiled[WARM : WARM + 15])
    assert warm.regime == "UNKNOWN"
    assert not warm.shared.coins[0].present


def test_a_step_without_any_bar_changes_nothing(warm, rising):
    before = warm.shareds.tobytes()
    empty = rising[WARM].copy()
    empty["open_ms"] = ABSENT_MS
    warm.step(empty.view(type(rising[WARM])))
    assert warm.shareds.tobytes() == before


def test_an_old_regime_is_none(warm):
    closed_ms = int(warm.shared.regime_ms)
    assert known_regime(warm.shared, closed_ms + HOUR_MS)[0] == BULL
    assert known_regime(warm.shared, closed_ms + HOUR_MS + 1) == (UNKNOWN, 0.0)
