"""When score_v2 scores, scans and proposes, minute by minute."""

from __future__ import annotations

import numpy as np
import pytest
from tests.strategies.score_v2.series import FOUR_HOURS_MS, minutes

from perpdesk.kernel.intervals import HOUR_MS, MINUTES_MISSING, resample
from perpdesk.kernel.records import (
    APPROVED,
    DAY_MS,
    MAX_POSITIONS,
    MINUTE_MS,
    head_dt,
    position_dt,
    slot_dt,
    zeros,
)
from perpdesk.strategies.score_rules.scan import timeout_ms
from perpdesk.strategies.score_v2 import STATUS_NAMES, STRATEGY, params_record, score_v2

WARM = 200 * 60  # minutes until the first score
SCAN_MS = 600_000


class Desk:
    """One symbol of one sleeve, asked the way the step asks."""

    def __init__(self, **params):
        self.params = params_record(**params)[0]
        self.shared = zeros(1, STRATEGY.shared_dt)[0]
        self.states = zeros(1, STRATEGY.state_dt)
        self.state = self.states[0]
        self.position = zeros(1, position_dt)[0]
        self.slots = zeros(STRATEGY.slots, slot_dt)
        self.head = zeros(1, head_dt)[0]
        self.now_ms = 0

    def advance(self, bar):
        self.now_ms = int(bar.open_ms) + MINUTE_MS
        return STRATEGY.advance(self.params, self.shared, self.state, bar)

    def want(self, in_path=0):
        """The side proposed now, 0 for none."""
        self.head.cand_side = 0
        books = self.position, self.slots, self.head
        STRATEGY.want(self.params, self.shared, self.state, *books, 1, self.now_ms, in_path)
        return int(self.head.cand_side)

    def feed(self, bars):
        """Step through the bars; the times at which it asked and proposed."""
        return [self.now_ms for bar in bars if self.advance(bar) and self.want()]

    def judge(self, verdict):
        """What the gate does with the proposal."""
        self.head.verdict = verdict
        self.head.verdict_ms = self.now_ms
        if verdict == APPROVED:
            self.head.approved_ms = self.now_ms

    @property
    def status(self):
        return STATUS_NAMES[self.state.status]


@pytest.fixture(scope="module")
def bars():
    return minutes(1, 14 * 1440)


@pytest.fixture
def warm(bars):
    """A desk with its first score, at 08:00 of the ninth day, that would trade any score."""
    desk = Desk(min_score=1.0)
    desk.feed(bars[:WARM])
    return desk


def test_the_cached_score_is_the_vectorised_score_of_the_built_bars(bars):
    frames = [resample(bars, interval_ms) for interval_ms in (HOUR_MS, FOUR_HOURS_MS, DAY_MS)]
    expected = score_v2(*frames)
    assert len(expected) == 14 * 24 - 199
    desk = Desk()
    seen = []
    for count, bar in enumerate(bars, 1):
        desk.advance(bar)
        if count % 60 == 0 and desk.status == "OK":
            seen.append(desk.states["score"].tobytes())
    assert seen == [score.tobytes() for score in expected]
    assert len({round(float(score.long_score), 6) for score in expected}) > 50


def test_no_score_before_200_hours(bars):
    desk = Desk(min_score=1.0)
    assert desk.feed(bars[: WARM - 1]) == []
    assert desk.status == "INSUFFICIENT_HISTORY"
    desk.feed(bars[WARM - 1 : WARM])
    assert desk.status == "OK"


def test_scans_fall_on_the_grid(warm, bars):
    asked = warm.feed(bars[WARM : WARM + 240])
    first = int(bars[WARM].open_ms)
    assert asked == [first + 120_000 + SCAN_MS * k for k in range(24)]


def test_scan_interval_and_offset_are_parameters(bars):
    desk = Desk(min_score=1.0, scan_interval_ms=300_000, scan_offset_ms=60_000)
    asked = desk.feed(bars[: WARM + 60])
    assert asked == [int(bars[WARM].open_ms) + 60_000 + 300_000 * k for k in range(12)]


def test_a_scan_minute_without_a_bar_is_not_made_up_for(warm, bars):
    present = np.delete(np.arange(WARM, WARM + 30), 11)
    asked = warm.feed(bars[present])
    assert [(ms - int(bars[WARM].open_ms)) // MINUTE_MS for ms in asked] == [2, 22]


def test_a_low_score_is_not_proposed(bars):
    desk = Desk(min_score=100.0)
    assert desk.feed(bars[: WARM + 600]) == []


def test_the_proposal(warm, bars):
    assert warm.feed(bars[WARM : WARM + 2])
    state, head = warm.state, warm.head
    side = 1 if state.score.long_score > state.score.short_score else -1
    score = max(state.score.long_score, state.score.short_score)
    assert head.cand_side == side
    assert (head.cand_score, head.cand_score_max) == (score, 100)
    assert head.cand_notional_e8 == 2000 * 10**8
    assert head.cand_leverage == 5
    assert head.cand_stop_ppm == 40_000
    assert head.cand_timeout_ms == timeout_ms(warm.params, score, 100.0) > 0


def test_mirrored_prices_propose_the_other_side(bars):
    pivot = 2 * int(bars.close[WARM - 1])
    other = bars[: WARM + 2].copy()
    for name, source in (("open", "open"), ("close", "close"), ("high", "low"), ("low", "high")):
        other[name] = pivot - bars[source][: WARM + 2]
    desks = [Desk(min_score=1.0), Desk(min_score=1.0)]
    for desk, minute_bars in zip(desks, (bars[: WARM + 2], other), strict=True):
        assert desk.feed(minute_bars)
    assert desks[0].head.cand_side == -desks[1].head.cand_side != 0
    assert desks[0].head.cand_score == desks[1].head.cand_score


def test_asking_again_gives_the_same_proposal_and_changes_nothing(warm, bars):
    assert warm.feed(bars[WARM : WARM + 2])
    before = warm.states.tobytes(), warm.head.tobytes(), warm.slots.tobytes()
    assert warm.want()
    assert (warm.states.tobytes(), warm.head.tobytes(), warm.slots.tobytes()) == before


def test_nothing_is_proposed_off_the_grid_in_the_path_or_while_held(warm, bars):
    assert warm.feed(bars[WARM : WARM + 2])
    assert warm.want(in_path=1) == 0
    warm.position.lots = -3
    assert warm.want() == 0
    warm.position.lots = 0
    assert warm.want() != 0
    warm.advance(bars[WARM + 2])
    assert warm.want() == 0


def test_one_approval_per_newest_bar(warm, bars):
    assert warm.feed(bars[WARM : WARM + 2])
    warm.judge(APPROVED)
    assert warm.want() == 0
    assert warm.feed(bars[WARM + 2 : WARM + 61]) == []
    # the next hour has closed: a new attempt
    assert warm.feed(bars[WARM + 61 : WARM + 62])


def test_a_fill_since_the_bar_closed_is_an_attempt_too(warm, bars):
    """After a restart the approval is forgotten, the fill is not."""
    warm.feed(bars[WARM : WARM + 2])
    warm.position.opened_ms = warm.now_ms
    assert warm.feed(bars[WARM + 2 : WARM + 61]) == []
    assert warm.feed(bars[WARM + 61 : WARM + 62])


def test_a_refusal_is_proposed_again_at_every_scan(warm, bars):
    asked = []
    for bar in bars[WARM : WARM + 60]:
        if warm.advance(bar) and warm.want():
            warm.judge(MAX_POSITIONS)
            asked.append(warm.now_ms)
    assert len(asked) == 6


def test_the_newest_hour_may_come_one_minute_late(bars):
    """Scans at the full hour: the bar of 60 minutes ago still counts, and is then exactly one hour old."""
    desk = Desk(min_score=1.0, scan_interval_ms=HOUR_MS, scan_offset_ms=0)
    desk.feed(bars[: WARM - 1])
    assert desk.feed(bars[WARM - 1 : WARM]) == [int(bars[WARM].open_ms)]


def test_without_the_last_hour_the_score_is_stale_then_the_window_has_a_gap(warm, bars):
    hour = WARM + 60
    warm.feed(bars[WARM:hour])
    assert warm.status == "OK"
    # one hour without bars; the first minutes after it
    assert warm.feed(bars[hour + 60 : hour + 62]) == []
    assert warm.status == "STALE_BARS"
    assert warm.feed(bars[hour + 62 : hour + 121]) == []
    assert warm.status == "GAP"


def test_an_hour_with_missing_minutes_is_an_hour(warm, bars):
    half = np.r_[WARM : WARM + 20, WARM + 45 : WARM + 62]
    assert warm.feed(bars[half])[-1] == int(bars[WARM + 61].open_ms) + MINUTE_MS
    assert warm.status == "OK"
    assert warm.state.h1[-1, MINUTES_MISSING] == 25


@pytest.mark.parametrize("name", ["low", "volume_lots"])
def test_a_bad_minute_is_left_out_and_stops_the_score_for_the_window(bars, name):
    spoiled = bars.copy()
    spoiled[name][30] = -1
    desk = Desk(min_score=1.0)
    assert desk.feed(spoiled[: WARM + 59]) == []
    assert (desk.status, desk.state.h1[0, MINUTES_MISSING]) == ("BAD_BAR", 1)
    # the hour of the bad minute leaves the window; then comes another
    assert desk.feed(spoiled[WARM + 59 : WARM + 70])
    spoiled[name][WARM + 70] = -1
    assert desk.feed(spoiled[WARM + 70 : WARM + 119])
    assert desk.feed(spoiled[WARM + 119 : WARM + 240]) == []
    assert (desk.status, desk.state.h1[-3, MINUTES_MISSING]) == ("BAD_BAR", 1)


def test_a_minute_twice_is_bad(warm, bars):
    warm.feed(bars[WARM : WARM + 30])
    warm.feed(bars[WARM + 29 : WARM + 60])
    assert warm.status == "BAD_BAR"


@pytest.mark.parametrize(
    ("score", "minutes_open"),
    [(100, 360), (90, 360), (89.999999, 300), (80, 300), (79.9, 240), (70, 240), (69.9, 180), (60, 180)],
)
def test_a_better_score_may_stay_longer(score, minutes_open):
    assert timeout_ms(params_record()[0], score, 100.0) == minutes_open * MINUTE_MS


def test_no_timeout():
    assert timeout_ms(params_record(timeouts=((0.0, 0),))[0], 95.0, 100.0) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("margin_e8", 0),
        ("leverage", 21),
        ("min_score", 0.0),
        ("min_score", float("nan")),
        ("scan_interval_ms", 90_000),
        ("scan_offset_ms", 600_000),
        ("stop_ppm", 0),
        ("timeouts", ()),
        ("timeouts", ((0.5, 60_000),)),
        ("timeouts", ((0.0, 60_000), (0.5, 60_000))),
        ("timeouts", ((0.0, -1),)),
    ],
)
def test_params_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"score_v2 {name} = "):
        params_record(**{name: value})
