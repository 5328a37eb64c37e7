"""When score_v3 scores, scans and proposes, minute by minute."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.score_v3.desks import BTC, SYMBOLS, TRADED, UP, Desk, steps
from tests.strategies.score_v3.series import QUARTER_MS, without

from perpdesk.kernel.intervals import HOUR_MS, MINUTES_MISSING, resample
from perpdesk.kernel.records import APPROVED, MAX_POSITIONS, MINUTE_MS
from perpdesk.strategies.score_rules.scan import timeout_ms
from perpdesk.strategies.score_v3 import SIGNAL_NAMES, params_record, score_v3
from perpdesk.strategies.score_v3.regime import BEAR, BULL, NEUTRAL, UNKNOWN
from perpdesk.strategies.score_v3.strategy import choose

WARM = 30 * 60  # the first regime; the first score comes five hours earlier
SCAN_MS = 300_000
ANY = {"min_score_long": 0.5, "min_score_short": 0.5}


@pytest.fixture(scope="module")
def rising():
    return steps(WARM + 240)


@pytest.fixture
def warm(rising):
    """A desk with a score and a regime at 06:00, that would trade any score."""
    desk = Desk(**ANY)
    desk.feed(rising[:WARM])
    return desk


def first_ms(market, minute):
    return int(market["open_ms"][minute, TRADED])


def test_the_cached_score_is_the_vectorised_score_of_the_built_bars(rising):
    desk = Desk()
    seen, directions, strengths = [], [], []
    for count, bars in enumerate(rising, 1):
        desk.step(bars)
        if count % 15 == 0:
            directions.append(int(desk.shared.direction))
            strengths.append(float(desk.shared.strength))
            if count >= 1500:
                seen.append(desk.states["score"].tobytes())
    traded = np.ascontiguousarray(rising[:, TRADED])
    expected = score_v3(
        resample(traded, QUARTER_MS), resample(traded, HOUR_MS), np.array(directions), np.array(strengths)
    )
    assert seen == [score.tobytes() for score in expected]
    assert len(expected) == len(rising) // 15 - 99
    assert len({float(score.long_score) for score in expected}) > 15


def test_no_score_before_25_hours(rising):
    desk = Desk(**ANY)
    desk.feed(rising[:1499])
    assert desk.status == "INSUFFICIENT_HISTORY"
    desk.feed(rising[1499:1500])
    assert desk.status != "INSUFFICIENT_HISTORY"
    assert desk.state.score.long_score > 0


def test_no_entry_before_the_regime_is_known(rising):
    desk = Desk(**ANY)
    assert desk.feed(rising[: WARM - 1]) == []
    assert desk.status == "REGIME_UNKNOWN"
    assert desk.state.refused_unknown > 50
    desk.feed(rising[WARM - 1 : WARM + 14])
    assert desk.status == "OK"


def test_scans_fall_on_the_grid(warm, rising):
    asked = warm.feed(rising[WARM : WARM + 240])
    grid = [first_ms(rising, WARM) + SCAN_MS * k for k in range(1, 49)]
    assert set(asked) <= set(grid)
    assert len(asked) > 30


def test_scan_interval_and_offset_are_parameters(rising):
    desk = Desk(**ANY, scan_interval_ms=600_000, scan_offset_ms=120_000)
    asked = desk.feed(rising[: WARM + 120])
    assert len(asked) > 6
    assert {(ms // MINUTE_MS) % 10 for ms in asked} == {2}


def test_a_scan_minute_without_a_bar_is_not_made_up_for(warm, rising):
    market = without(rising, [WARM + 9], TRADED)
    asked = warm.feed(market[WARM : WARM + 20])
    assert first_ms(rising, WARM + 10) not in asked
    assert all(ms % SCAN_MS == 0 for ms in asked)


def test_a_low_score_is_not_proposed(rising):
    desk = Desk(min_score_long=42.0, min_score_short=42.0)
    assert desk.feed(rising) == []
    assert desk.status == "OK"
    assert (desk.state.refused_veto, desk.state.side) == (0, 0)


def proposing(desk, market):
    """Step on until something is proposed."""
    for bars in market:
        if desk.step(bars) and desk.want():
            return desk.now_ms
    raise AssertionError("nothing was proposed")


def test_the_proposal(warm, rising):
    proposing(warm, rising[WARM:])
    state, head = warm.state, warm.head
    side = 1 if state.score.long_score > state.score.short_score else -1
    score = max(state.score.long_score, state.score.short_score)
    assert head.cand_side == side == state.side
    assert SIGNAL_NAMES[state.signal] == "SCORE"
    assert (head.cand_score, head.cand_score_max) == (score, 42)
    assert head.cand_notional_e8 == 2000 * 10**8
    assert head.cand_leverage == 5
    assert head.cand_stop_ppm == 40_000
    assert head.cand_timeout_ms == timeout_ms(warm.params, score, 42.0) > 0


def test_mirrored_prices_propose_the_other_side(rising):
    other = rising.copy()
    for s in range(len(SYMBOLS)):
        pivot = 2 * int(rising["close"][:, s].max())
        for name, source in (("open", "open"), ("close", "close"), ("high", "low"), ("low", "high")):
            other[name][:, s] = pivot - rising[source][:, s]
    # A mirrored rise is a fall of a falling price: shares of it are larger, so only the sides are compared.
    desks = [Desk(**ANY), Desk(**ANY)]
    assert all([proposing(desk, market) for desk, market in zip(desks, (rising, other), strict=True)])
    assert [desk.regime for desk in desks] == ["BULL", "BEAR"]
    assert desks[0].state.score.groups_up == desks[1].state.score.groups_down


def test_asking_again_gives_the_same_proposal_and_changes_nothing(warm, rising):
    proposing(warm, rising[WARM:])
    before = warm.states.tobytes(), warm.shareds.tobytes(), warm.head.tobytes(), warm.slots.tobytes()
    assert warm.want()
    after = warm.states.tobytes(), warm.shareds.tobytes(), warm.head.tobytes(), warm.slots.tobytes()
    assert after == before


def test_nothing_is_proposed_off_the_grid_in_the_path_or_while_held(warm, rising):
    at = (proposing(warm, rising[WARM:]) - first_ms(rising, 0)) // MINUTE_MS
    assert warm.want(in_path=1) == 0
    warm.position.lots = -3
    assert warm.want() == 0
    warm.position.lots = 0
    assert warm.want() != 0
    warm.step(rising[at])
    assert warm.want() == 0


def test_one_approval_per_newest_bar(warm, rising):
    approved_ms = proposing(warm, rising[WARM:])
    warm.judge(APPROVED)
    assert warm.want() == 0
    at = (approved_ms - first_ms(rising, 0)) // MINUTE_MS
    asked = warm.feed(rising[at:])
    assert asked
    assert asked[0] >= approved_ms - approved_ms % QUARTER_MS + QUARTER_MS


def test_a_fill_since_the_bar_closed_is_an_attempt_too(warm, rising):
    """After a restart the approval is forgotten, the fill is not."""
    warm.position.opened_ms = proposing(warm, rising[WARM:])
    assert warm.want() == 0


def test_a_refusal_is_proposed_again_at_every_scan(warm, rising):
    asked = []
    for bars in rising[WARM : WARM + 240]:
        if warm.step(bars) and warm.want():
            warm.judge(MAX_POSITIONS)
            asked.append(warm.now_ms)
    assert max(np.bincount([ms // QUARTER_MS - asked[0] // QUARTER_MS for ms in asked])) == 3


def test_without_the_last_quarter_the_score_is_stale_then_the_window_has_a_gap(warm, rising):
    market = without(rising, slice(WARM, WARM + 30), TRADED)
    warm.feed(market[WARM : WARM + 30])
    assert warm.feed(market[WARM + 30 : WARM + 35]) == []
    assert warm.status == "STALE_BARS"
    warm.feed(market[WARM + 35 : WARM + 45])
    assert warm.status == "GAP"


def test_a_quarter_with_missing_minutes_is_a_quarter(warm, rising):
    market = without(rising, slice(WARM + 2, WARM + 9), TRADED)
    warm.feed(market[WARM : WARM + 15])
    assert warm.status == "OK"
    assert warm.state.m15[-1, MINUTES_MISSING] == 7


def test_a_bad_minute_is_left_out_and_stops_the_score_for_the_window(warm, rising):
    spoiled = rising.copy()
    spoiled["low"][WARM + 3, TRADED] = -1
    assert warm.feed(spoiled[WARM : WARM + 15])[2:] == []
    assert warm.status == "BAD_BAR"
    assert warm.state.m15[-1, MINUTES_MISSING] == 1
    assert warm.feed(spoiled[WARM + 15 :]) == []


def against(name, market, **params):
    """A desk after these steps, and whether it ever proposed that side."""
    desk = Desk(**ANY, **params)
    sides = set()
    for bars in market:
        if desk.step(bars) and desk.want():
            sides.add(int(desk.head.cand_side))
    assert desk.regime == name
    return desk, sides


def test_nothing_is_entered_against_a_strong_regime():
    desk, sides = against("BULL", steps(WARM + 240, slope=-UP))
    assert sides <= {1}
    assert desk.state.refused_veto > 10
    free, sides = against("NEUTRAL", steps(WARM + 240, coin_slope=None, slope=-UP))
    assert sides >= {-1}
    assert free.state.refused_veto == 0


def test_a_veto_ends_with_the_regime(rising):
    """The score of the bar is kept, the regime is that of the scan."""
    desk = Desk(min_score_long=42.0, min_score_short=0.5)
    market = steps(WARM + 240, slope=-UP)
    desk.feed(market[:WARM])
    at = WARM
    while desk.status != "BIG4_VETO" or desk.now_ms % QUARTER_MS:
        desk.feed(market[at : at + 1])
        at += 1
    refused = int(desk.state.refused_veto)
    score = float(desk.state.score.short_score)
    desk.shared.direction, desk.shared.strength = BEAR, 20.0
    proposed = desk.feed(market[at : at + 5])
    assert proposed == [first_ms(market, at) + SCAN_MS]
    assert desk.state.refused_veto == refused
    assert desk.status == "OK"
    assert desk.state.score.short_score == score + 5


def test_the_regime_is_lost_with_the_coin(warm, rising):
    gone = without(rising, slice(WARM, None), BTC)
    warm.feed(gone[WARM : WARM + 16])
    refused = int(warm.state.refused_unknown)
    assert warm.feed(gone[WARM + 16 : WARM + 40]) == []
    assert warm.state.refused_unknown > refused


@pytest.mark.parametrize(
    ("scores", "sudden", "pulled", "side", "signal"),
    [
        ((28.0, 5.0), 0, 0, 1, "SCORE"),
        ((27.5, 5.0), 0, 0, 0, "NONE"),
        ((5.0, 22.0), 0, 0, -1, "SCORE"),
        ((27.5, 22.0), 0, 0, 0, "NONE"),  # never against the higher score
        ((20.0, 5.0), 1, 0, 1, "SUDDEN_MOVE"),
        ((20.0, 5.0), 0, 1, 1, "PULL_BACK"),
        ((20.0, 5.0), 1, 1, 1, "SUDDEN_MOVE"),
        ((5.0, 20.0), -1, 1, -1, "SUDDEN_MOVE"),
        ((5.0, 20.0), 1, -1, -1, "PULL_BACK"),
        ((20.0, 5.0), -1, -1, 0, "NONE"),
        ((20.0, 20.0), 1, 1, 0, "NONE"),
        ((30.0, 5.0), -1, -1, 1, "SCORE"),
    ],
)
def test_what_a_score_and_the_signals_would_trade(scores, sudden, pulled, side, signal):
    found, why = choose(params_record()[0], *scores, sudden, pulled, 0.0)
    assert (found, SIGNAL_NAMES[why]) == (side, signal)


@pytest.mark.parametrize("name", ["sudden_move", "pull_back"])
def test_optional_signals_are_off_by_default_and_keep_the_true_score(name):
    market = steps(WARM + 240, coin_slope=None, slope=None)
    jump = np.zeros(len(market), np.int64)
    if name == "sudden_move":
        jump[WARM + 10 :] = 8_000
        market["volume_lots"][WARM + 10, TRADED] = 20_000
    else:
        rise = np.linspace(0, 14_000, 75).astype(np.int64)
        jump[WARM : WARM + 75] = rise
        jump[WARM + 75 : WARM + 90] = 14_000 - np.linspace(0, 9_000, 15).astype(np.int64)
        jump[WARM + 90 :] = 5_000 + np.linspace(0, 3_000, len(market) - WARM - 90).astype(np.int64)
    for field in ("open", "high", "low", "close"):
        market[field][:, TRADED] += jump
    never = {"min_score_long": 42.0, "min_score_short": 42.0}
    assert Desk(**never).feed(market) == []
    desk = Desk(**never, **{name: True})
    proposing(desk, market)
    assert SIGNAL_NAMES[desk.state.signal] == name.upper()
    assert desk.head.cand_side == 1
    assert desk.head.cand_score == desk.state.score.long_score < 42


@pytest.mark.parametrize(
    ("score", "minutes_open"),
    [(42, 360), (37.8, 360), (37.5, 300), (33.6, 300), (33.5, 240), (29.4, 240), (29, 180), (22, 180)],
)
def test_a_better_score_may_stay_longer(score, minutes_open):
    assert timeout_ms(params_record()[0], score, 42.0) == minutes_open * MINUTE_MS


def test_no_timeout():
    assert timeout_ms(params_record(timeouts=((0.0, 0),))[0], 40.0, 42.0) == 0


def test_the_codes_of_a_regime_are_sides():
    assert (BULL, BEAR, UNKNOWN) == (1, -1, 0)
    assert NEUTRAL not in (1, -1, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("margin_e8", 0),
        ("leverage", 21),
        ("min_score_long", 0.0),
        ("min_score_long", 42.5),
        ("min_score_short", float("nan")),
        ("scan_interval_ms", 90_000),
        ("scan_offset_ms", 300_000),
        ("stop_ppm", 0),
        ("coins", (0, 1, 2)),
        ("coins", (0, 1, 2, -2)),
        ("coins", (0, 1, 2, 2)),
        ("timeouts", ()),
        ("timeouts", ((0.5, 60_000),)),
        ("timeouts", ((0.0, 60_000), (0.5, 60_000))),
        ("timeouts", ((0.0, -1),)),
    ],
)
def test_params_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"score_v3 {name} = "):
        params_record(**{name: value})
