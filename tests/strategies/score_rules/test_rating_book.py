"""Ratings kept from closed positions: the window, its restart at a change, the day's look, what reaches the step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.kernel.records import (
    DAY_MS,
    MINUTE_MS,
    TAG_EXCHANGE_STOP,
    TAG_FAST_STOP,
    TAG_FIXED_STOP,
    TAG_MINUTES,
    TAG_TIMEOUT,
    head_dt,
    position_dt,
    zeros,
)
from perpdesk.strategies.score_rules.rating_book import WINDOW_MS, RatingBook, is_hard_stop

USDT = 10**8
START = 20_000 * DAY_MS + 12 * 60 * MINUTE_MS


class Ledger:
    """Two versions of one family and a stranger on three symbols; positions close as they are told."""

    def __init__(self):
        self.heads = zeros((3, 3), head_dt)
        self.positions = zeros((3, 3), position_dt)
        self.changes = []
        self.book = RatingBook(self.heads, self.positions, [0, 1], on_change=self.changes.append)
        self.ms = START

    def close(self, net, *, v=0, s=0, tag=TAG_TIMEOUT, after_ms=MINUTE_MS):
        self.ms += after_ms
        position = self.positions[v, s]
        position.realised_e8 += net * USDT + 1000
        position.fees_e8 += 3000
        position.funding_e8 += 2000
        position.round_trips += 1
        position.closed_ms, position.closed_tag = self.ms - 1000, tag
        self.book.after_step(self.ms)
        return self

    def level(self, s=0):
        return int(self.book.levels[s])


def test_a_symbol_falls_and_what_it_costs_reaches_every_rated_version():
    ledger = Ledger()
    ledger.close(-40).close(-40, v=1)
    assert ledger.level() == 0
    ledger.close(-40)
    assert ledger.level() == 1
    assert ledger.heads["margin_cut_ppm"].tolist() == [[750_000, 0, 0], [750_000, 0, 0], [0, 0, 0]]
    assert ledger.heads["bonus_ppm"][:, 0].tolist() == [50_000, 50_000, 0]
    change = ledger.changes[0]
    assert (change.level, change.before, change.trades, change.hard_stops) == (1, 0, 3, 0)
    assert (change.net_e8, change.wins, change.loss_e8) == (-120 * USDT, 0, 120 * USDT)


def test_other_strategies_do_not_count():
    ledger = Ledger()
    for _ in range(9):
        ledger.close(-100, v=2, tag=TAG_FIXED_STOP)
    assert ledger.level() == 0


def test_eight_hard_stops_ban_and_nothing_lifts_it_but_a_person():
    ledger = Ledger()
    for _ in range(8):
        ledger.close(-1, tag=TAG_FIXED_STOP)
        if ledger.level() == 1:  # the window began anew: from here on it is counted again
            break
    assert ledger.level() == 1
    for _ in range(12):
        ledger.close(-60, tag=TAG_FAST_STOP + 10 * TAG_MINUTES)
    assert ledger.level() == 3
    assert ledger.heads["margin_cut_ppm"][0, 0] == 1_000_000
    for _ in range(20):
        ledger.close(500)
    assert ledger.level() == 3
    ledger.book.set_level(0, 0, ledger.ms)
    assert ledger.heads["margin_cut_ppm"][0, 0] == 0


def test_the_worst_level_is_taken_at_once():
    ledger = Ledger().close(-1).close(-1)
    ledger.close(-500)
    assert [(one.before, one.level) for one in ledger.changes] == [(0, 3)]


def test_a_good_record_leads_one_level_up_and_the_window_begins_anew():
    ledger = Ledger().close(-80).close(-80).close(-80)
    assert ledger.level() == 2
    ledger.close(30).close(30)
    assert ledger.level() == 2
    ledger.close(-5)
    assert ledger.level() == 1  # two of three won, 55 net since the change
    ledger.close(100)
    assert ledger.level() == 1  # one trade since the change is no record


def test_what_is_older_than_a_week_is_forgotten():
    ledger = Ledger().close(-90).close(-1)
    ledger.close(-90, after_ms=WINDOW_MS)
    assert ledger.level() == 0
    ledger.close(-90).close(-90)
    assert ledger.level() == 2


def test_a_stored_level_and_its_record_are_gone_on_with():
    ledger = Ledger().close(-90).close(-90)
    closings = list(ledger.book._closings[0])
    other = Ledger()
    other.book.begin(0, 0, 0, closings)
    other.ms = ledger.ms
    other.close(-90)
    assert other.level() == 2


@pytest.mark.parametrize(
    ("tag", "hard"),
    [
        (TAG_FIXED_STOP, True),
        (TAG_FAST_STOP + 10 * TAG_MINUTES, True),
        (TAG_EXCHANGE_STOP, True),
        (TAG_TIMEOUT, False),
    ],
)
def test_hard_stops(tag, hard):
    assert is_hard_stop(tag) is hard


@given(st.lists(st.tuples(st.integers(-200, 200), st.booleans(), st.integers(1, 3000)), max_size=40))
def test_the_job_twice_in_a_row_changes_nothing(trades):
    ledger = Ledger()
    for net, hard, minutes in trades:
        ledger.close(net, tag=TAG_FIXED_STOP if hard else TAG_TIMEOUT, after_ms=minutes * MINUTE_MS)
        before = ledger.level(), ledger.heads.tobytes()
        ledger.book._rate(0, ledger.ms)
        assert (ledger.level(), ledger.heads.tobytes()) == before
    assert np.array_equal(ledger.heads["margin_cut_ppm"][0], ledger.heads["margin_cut_ppm"][1])
