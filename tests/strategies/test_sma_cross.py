"""sma_cross against averages that are computed anew at every bar."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.markets import random_bars
from tests.kernel.tables import MONEY, START_MS, bars_of, desk, guard_record, rows
from tests.kernel.test_no_lookahead import check_cut

from perpdesk.kernel.records import (
    ABSENT_MS,
    BUY,
    MINUTE_MS,
    NONE,
    SELL,
    SLOT_OWN,
    SLOT_STOP,
    tag_name,
)
from perpdesk.strategies import sma_cross


def cross_desk(
    fast=2, slow=3, *, symbols=1, guard=None, notional=10, timeout_ms=0, profit_share_ppm=0, **options
):
    params = sma_cross.params_record(
        fast=fast,
        slow=slow,
        notional_e8=notional * MONEY,
        leverage=5,
        stop_ppm=40_000,
        timeout_ms=timeout_ms,
        profit_share_ppm=profit_share_ppm,
    )
    strategy = sma_cross.STAGED if profit_share_ppm else sma_cross.STRATEGY
    return desk(strategy, params, symbols=symbols, guard=guard, **options)


def closes(*prices):
    """Quiet bars: each opens at the close before it."""
    before = (prices[0], *prices[:-1])
    return "\n".join(f"{a} {max(a, b)} {min(a, b)} {b}" for a, b in zip(before, prices, strict=True))


def test_it_enters_above_and_leaves_below_at_the_next_open():
    # fast 2, slow 3: 1015 above 1010 at bar 4; at bar 6 both are 1030, which is not above
    run = cross_desk(notional=1).play(closes(1000, 1000, 1000, 1000, 1030, 1040, 1020, 990, 980))
    assert run.fills() == rows(
        """
        5 +0s entry BUY 97 @ 1030 taker
        7 +0s exit SELL 97 @ 1020 taker
        """
    )
    assert [tag_name(fill.tag) for fill in run.replay.all_fills()] == ["ENTRY", "SIGNAL"]


def test_a_market_that_is_above_from_the_start_is_not_a_cross():
    assert cross_desk().play(closes(1000, 1010, 1020, 1030, 1040, 1050)).fills() == []


def test_a_cross_is_one_signal():
    """Refused at the cross, it is not asked again while the fast average stays above."""
    run = cross_desk(gate_shut=1).play(closes(1000, 1000, 1000, 1000, 1030, 1040))
    run.books.account["gate_shut"] = 0
    run.play(closes(1040, 1050, 1060, 1070))
    assert run.fills() == []
    assert run.account.verdicts.sum() == 1


def test_the_guards_stop_and_trail_rest_on_the_exchange():
    guard = guard_record(stop_ppm=40_000, trail_activation_ppm=10_000, trail_callback_ppm=20_000)
    run = cross_desk(notional=1, guard=guard).play(closes(1000, 1000, 1000, 1000, 1030, 1100, 1070))
    assert run.fills() == rows("5 +0s entry BUY 97 @ 1030 taker\n6 +40s trail SELL 97 @ 1078 taker")
    run = cross_desk(notional=1, guard=guard).play(closes(1000, 1000, 1000, 1000, 1030, 1031, 950))
    assert run.fills() == rows("5 +0s entry BUY 97 @ 1030 taker\n6 +40s stop SELL 97 @ 989 taker")


def test_a_part_is_sold_once_at_its_profit_and_the_stop_shrinks_with_it():
    guard = guard_record(stop_ppm=40_000)
    guard.stage_ppm[0, 0] = 20_000
    run = cross_desk(notional=1, guard=guard, profit_share_ppm=500_000)
    run.play(closes(1000, 1000, 1000, 1000, 1030, 1060, 1070, 1080))
    own = run.books.slots[0, 0, SLOT_OWN]
    assert (own.kind, run.books.slots[0, 0, SLOT_STOP].lots) == (NONE, 49)
    run.play(closes(1080, 900))
    assert run.fills() == rows(
        """
        5 +0s entry BUY 97 @ 1030 taker
        5 +40s a SELL 48 @ 1051 taker
        9 +40s stop SELL 49 @ 989 taker
        """
    )
    assert tag_name(run.replay.all_fills()[1].tag) == "TAKE_PROFIT"


def test_asked_twice_at_one_step_it_answers_the_same():
    """Late data asks again (DESIGN: want is idempotent)."""
    run = cross_desk(notional=1, gate_shut=1).play(closes(1000, 1000, 1000, 1000))
    mind, books = run.replay.mind, run.books
    bars = bars_of("1000 1030 1000 1030", start_ms=run.at_ms)
    asked = np.zeros(1, np.int64)
    module = mind.strategy.compiled()
    module.advance_step(
        mind.params, mind.shared, mind.states, books.heads, 0, bars[0], run.at_ms + MINUTE_MS, asked
    )
    assert asked[0] == 1
    assert run.react(1030, in_path=0)
    assert run.react(1030, in_path=0)
    assert run.head().cand_side == BUY


def test_a_timeout_closes_a_position_that_never_crosses_back():
    run = cross_desk(notional=1, timeout_ms=2 * MINUTE_MS)
    run.play(closes(1000, 1000, 1000, 1000, 1030, 1040, 1050, 1060, 1070))
    assert run.fills() == rows("5 +0s entry BUY 97 @ 1030 taker\n7 +0s exit SELL 97 @ 1050 taker")


def plain(bars, fast, slow):
    """(minute, side, price) of every fill, from the rule as it is written."""
    fills, seen, held, pending = [], [], False, 0
    for t, bar in enumerate(bars):
        if bar.open_ms == ABSENT_MS:
            continue
        if pending:
            fills.append((t, pending, int(bar.open)))
            held, pending = pending == BUY, 0
        seen.append(int(bar.close))
        if len(seen) <= slow:
            continue
        above, was_above = (
            Fraction(sum(part[-fast:]), fast) > Fraction(sum(part[-slow:]), slow)
            for part in (seen, seen[:-1])
        )
        if above and not was_above and not held:
            pending = BUY
        elif was_above and not above and held:
            pending = SELL
    return fills


@given(st.integers(0, 10**6), st.integers(1, 150), st.integers(1, 8), st.integers(1, 12), st.booleans())
@settings(max_examples=60)
def test_it_trades_the_rule_as_written(seed, minutes, fast, more, skip):
    bars = random_bars(seed, minutes, 2)
    run = cross_desk(fast, fast + more, symbols=2, skip=skip, cash=10_000)
    run.replay.feed(bars, START_MS)
    for s in range(2):
        fills = run.replay.all_fills()
        mine = fills[fills["symbol"] == s]
        done = [((f.ms - START_MS) // MINUTE_MS, f.side, f.price) for f in mine]
        assert done == plain(bars[:, s], fast, fast + more)


@pytest.mark.parametrize("windows", [(1, 2), (20, 511), (510, 511)])
def test_the_longest_windows(windows):
    bars = random_bars(5, 1300, 1, absent=0.0, wild=0.002)
    run = cross_desk(*windows, cash=10_000)
    run.replay.feed(bars, START_MS)
    fills = run.replay.all_fills()
    assert [((f.ms - START_MS) // MINUTE_MS, f.side, f.price) for f in fills] == plain(bars[:, 0], *windows)
    assert len(fills) > 2


@given(st.integers(0, 10**6), st.integers(1, 59))
@settings(max_examples=20)
def test_it_does_not_look_ahead(seed, cut):
    check_cut(lambda bars: cross_desk(2, 5, symbols=2), random_bars(seed, 60, 2), cut)


@pytest.mark.parametrize(("fast", "slow"), [(0, 3), (3, 3), (4, 3), (2, 512), (-1, 5)])
def test_impossible_windows_are_refused(fast, slow):
    with pytest.raises(ValueError, match=f"not {fast} and {slow}"):
        sma_cross.params_record(fast=fast, slow=slow, notional_e8=1, leverage=1, stop_ppm=0, timeout_ms=0)
