"""Nothing is decided with what is not known yet: not with later rows, not with the rest of the open bar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.kernel.actors import ACTOR, LADDER, PEEK, SEER, actor_params
from tests.kernel.markets import random_bars
from tests.kernel.tables import MONEY, START_MS, bars_of, desk
from tests.kernel.test_replay import dice_desk

from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, SLOT_OWN, zeros

MINUTES = 60


def dice(bars):
    return dice_desk(7, symbols=bars.shape[1], minutes=MINUTES, volume_share_ppm=100_000)


def ladder(bars):
    params = actor_params(LADDER, top=10_000, step=60, levels=5, lots=2)
    return desk(ACTOR, params, symbols=bars.shape[1], last=10_000)


def crowd(bars):
    return desk(SEER, zeros(1, SEER.params_dt), symbols=bars.shape[1], last=10_000)


def peek(bars, ahead=1):
    """The cheat: its shared record is filled from the file it is about to trade."""
    params = zeros(1, SEER.params_dt)
    params["role"], params["ahead"], params["notional_e8"] = PEEK, ahead, MONEY
    run = desk(SEER, params, symbols=1, last=10_000)
    closes = bars[bars["open_ms"][:, 0] != ABSENT_MS, 0]["close"]
    run.replay.mind.shared["closes"][0, : len(closes)] = closes
    return run


def decisions(run):
    """What is decided now: the wanted orders, the levels, the next time, the gate's answers."""
    books = run.books
    return books.slots.tobytes(), books.heads.tobytes(), books.positions.tobytes()


def check_cut(make_run, bars, cut):
    """Decisions before the cut are the same whether later rows exist or not."""
    cut_ms = START_MS + cut * MINUTE_MS
    whole = make_run(bars)
    whole.replay.feed(bars[:cut], START_MS)
    at_cut = decisions(whole)
    whole.replay.feed(bars[cut:], cut_ms)
    at_once = make_run(bars)
    at_once.replay.feed(bars, START_MS)

    early = bars[:cut].copy()
    alone = make_run(early)
    alone.replay.feed(early, START_MS)
    assert decisions(alone) == at_cut
    fills = alone.replay.all_fills()
    for other in (whole, at_once):
        before = other.replay.all_fills()
        before = before[before["ms"] < cut_ms]
        assert before.tobytes() == fills.tobytes()


@pytest.mark.parametrize("make_run", [dice, ladder, crowd])
@given(st.integers(0, 10**6), st.integers(1, MINUTES - 1))
@settings(max_examples=20)
def test_later_rows_change_nothing(make_run, seed, cut):
    check_cut(make_run, random_bars(seed, MINUTES, 2), cut)


def check_cuts(make_run, bars):
    for cut in range(10, MINUTES, 5):
        check_cut(make_run, bars, cut)


@pytest.mark.parametrize("ahead", [1, 5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_strategy_that_peeks_is_caught(seed, ahead):
    bars = random_bars(seed, MINUTES, 1, absent=0.0)
    with pytest.raises(AssertionError):
        check_cuts(lambda given_bars: peek(given_bars, ahead), bars)


def test_the_same_strategy_without_peeking_passes():
    """Otherwise the check above could be red for another reason."""
    bars = random_bars(1, MINUTES, 1, absent=0.0)
    check_cuts(lambda given_bars: peek(given_bars, 0), bars)


# --- inside the bar
def later(bars, t, s, further, close):
    """The same bars with another end of bar t: a wider second extreme and another close."""
    changed = bars.copy().view(np.recarray)
    bar = changed[t, s]
    if bar.open - bar.low < bar.high - bar.open:
        bar.high += further
    else:
        bar.low = max(1, bar.low - further)
    bar.close = bar.low + close % (bar.high - bar.low + 1)
    return changed


@pytest.mark.parametrize("make_run", [dice, ladder, crowd])
@given(
    st.integers(0, 10**6), st.integers(1, 39), st.integers(0, 1), st.integers(0, 200), st.integers(0, 10**6)
)
@settings(max_examples=25)
def test_the_end_of_a_bar_is_not_known_before_it(make_run, seed, t, s, further, close):
    bars = random_bars(seed, t + 1, 2, absent=0.0)
    bar = bars[t, s]
    assume(bar.open - bar.low != bar.high - bar.open)  # on a tie the close decides the path
    runs = []
    for version in (bars, later(bars, t, s, further, close)):
        run = make_run(version)
        run.replay.feed(version, START_MS)
        fills = run.replay.all_fills()
        runs.append(
            fills[(fills["symbol"] == s) & (fills["ms"] <= START_MS + t * MINUTE_MS + 20_000)].tobytes()
        )
    assert runs[0] == runs[1]


@pytest.mark.parametrize("make_run", [dice, ladder, crowd])
@given(st.integers(0, 10**6), st.integers(1, 39), st.integers(0, 10**6))
@settings(max_examples=25)
def test_another_symbols_bar_is_not_known_inside_the_minute(make_run, seed, t, other_seed):
    """Symbol 1 has another minute t; symbol 0 trades the same (the margin is isolated)."""
    bars = random_bars(seed, t + 1, 2)
    other = bars.copy().view(np.recarray)
    other[t, 1] = random_bars(other_seed, 1, 2, absent=0.0)[0, 1]
    other[t, 1].open_ms = START_MS + t * MINUTE_MS
    runs = []
    for version in (bars, other):
        run = make_run(version)
        run.replay.feed(version, START_MS)
        fills = run.replay.all_fills()
        fills["cash_e8"] = 0  # the wallet is shared
        runs.append(fills[fills["symbol"] == 0].tobytes())
    assert runs[0] == runs[1]


@pytest.mark.parametrize("breadth", [1005, 995])
def test_observe_is_not_known_inside_the_bar(breadth):
    """Symbol 1 rises or falls in bar 1; the order that symbol 0 places after its fill at the open of bar 1 is
    priced by what was observed of bar 0 (nobody rose): it leaves at once."""
    run = crowd(bars_of("-", "-"))
    run.books.heads["last"] = 1000
    run.play("1000 1001 999 1000\n1000 1020 990 995", f"1000 1001 999 1000\n1000 1010 990 {breadth}")
    assert run.fills()[:2] == ["1 +0s a BUY 2 @ 1000 taker", "1 +0s a SELL 2 @ 1000 taker"]
    assert run.slot(SLOT_OWN).bought == 2


def test_observe_is_known_at_the_step():
    """At the step of bar 1 everybody knows bar 1, the first symbol too."""
    run = crowd(bars_of("-", "-"))
    run.books.heads["last"] = 1000
    run.play("1000 1001 999 1000", "1000 1010 990 1005")
    assert run.replay.mind.shared[0].breadth == 1
