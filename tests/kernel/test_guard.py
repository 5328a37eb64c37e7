"""Protective exits: the judged rules, the levels at which the path stops, and what rests on the exchange."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.kernel.actors import EXIT_NOW
from tests.kernel.tables import (
    START_MS,
    bars_of,
    desk,
    guard_record,
    instrument_records,
    rows,
    script_params,
)

from perpdesk.kernel import guard as rules
from perpdesk.kernel.matching import DONE, FIRE, begin, step_path
from perpdesk.kernel.records import (
    BUY,
    FAR,
    MARKET,
    NONE,
    SELL,
    SLOT_ENTRY,
    SLOT_EXIT,
    SLOT_STOP,
    SLOT_TRAIL,
    STOP,
    TAG_SIGNAL,
    TRAILING,
    position_dt,
    tag_name,
    walk_dt,
    zeros,
)

MINUTES = 60_000
SCORE = {
    "fixed_stop": -0.03,
    "timed": ((10 * MINUTES, -0.025), (30 * MINUTES, -0.035), (60 * MINUTES, -0.04)),
    "trailing_activation": 0.03,
    "trailing_retrace": 0.015,
    "trailing_floor": 0.0015,
}
TIMEOUT_MS = 180 * MINUTES


def verdict(move, age_ms, peak=0.0, **changes):
    record = guard_record(**{**SCORE, **changes})[0]
    tag = rules.judge(record, move, peak, age_ms, TIMEOUT_MS)
    return "none" if tag == 0 else tag_name(tag)


@pytest.mark.parametrize(
    ("move", "age_ms", "peak", "expected"),
    [
        (-0.025, 600_000, 0.0, "FAST_10M"),
        (-0.025, 600_001, 0.0, "none"),
        (-0.03, 600_001, 0.0, "FIXED_STOP"),
        (-0.032, 300_000, 0.0, "FIXED_STOP"),
        (-0.041, 300_000, 0.01, "FIXED_STOP"),
    ],
)
def test_stops_vector_17(move, age_ms, peak, expected):
    assert verdict(move, age_ms, peak) == expected


@pytest.mark.parametrize(
    ("move", "peak", "activation", "expected"),
    [
        (0.015, 0.03, 0.03, "TRAILING"),
        (0.0151, 0.03, 0.03, "none"),
        (0.02, 0.0299, 0.03, "none"),  # not armed
        (-0.01, 0.032, 0.03, "TRAILING"),  # a gap below its level
        (0.035, 0.05, 0.03, "TRAILING"),
        (0.0351, 0.05, 0.03, "none"),
        (0.0012, 0.016, 0.016, "TRAILING"),  # the level is the floor
        (0.0016, 0.016, 0.016, "none"),
    ],
)
def test_trailing_vector_18(move, peak, activation, expected):
    assert verdict(move, 4_000_000, peak, trailing_activation=activation) == expected


@pytest.mark.parametrize(("age_ms", "expected"), [(10_800_000, "TIMEOUT"), (10_799_999, "none")])
def test_timeout_vector_18(age_ms, expected):
    assert verdict(0.001, age_ms) == expected


def test_the_order_of_the_rules():
    """FIXED_STOP, then FAST with the shorter window first, TRAILING, FIXED_TP, TIMEOUT."""
    loose = {"fixed_stop": -0.05, "timed": ((30 * MINUTES, -0.02), (10 * MINUTES, -0.01))}
    assert verdict(-0.05, 0, 0.04, **loose) == "FIXED_STOP"
    assert verdict(-0.02, 0, 0.04, **loose) == "FAST_10M"
    assert verdict(-0.02, 600_001, 0.04, **loose) == "FAST_30M"
    assert verdict(-0.02, 1_800_001, 0.04, **loose) == "TRAILING"
    assert verdict(0.06, TIMEOUT_MS, 0.08, fixed_tp=0.06) == "TRAILING"
    assert verdict(0.07, TIMEOUT_MS, 0.08, fixed_tp=0.06) == "FIXED_TP"
    assert verdict(0.05, TIMEOUT_MS, 0.0, fixed_tp=0.06) == "TIMEOUT"


def test_a_rule_at_zero_is_off():
    record = guard_record()[0]
    assert rules.judge(record, -0.99, 0.0, 10**12, 0) == 0
    assert rules.judge(record, 9.0, 9.0, 10**12, 0) == 0


ages = st.integers(0, 4_000_000)
levels = st.integers(-90, -1).map(lambda permille: permille / 1000)


@st.composite
def stops(draw):
    timed = draw(st.lists(st.tuples(st.integers(1, 60).map(lambda m: m * MINUTES), levels), max_size=4))
    return guard_record(fixed_stop=draw(st.one_of(st.just(0.0), levels)), timed=timed)[0]


@given(stops(), ages, ages)
def test_the_effective_stop_never_rises_with_age(record, one, other):
    young, old = sorted((one, other))
    tight, wide = rules.stop_level(record, young), rules.stop_level(record, old)
    assert wide == 0.0 or (tight != 0.0 and wide <= tight)  # 0: no stop is active


@given(stops(), ages, st.integers(-100, 100).map(lambda permille: permille / 1000))
def test_a_stop_acts_exactly_below_the_effective_level(record, age_ms, move):
    level = rules.stop_level(record, age_ms)
    assert (rules.judge(record, move, 0.0, age_ms, 0) != 0) == (level != 0.0 and move <= level)


@given(stops(), ages, st.integers(-100, 0).map(lambda permille: permille / 1000), levels)
def test_a_closer_fixed_stop_never_keeps_a_position_longer(record, age_ms, move, closer):
    assume(closer > record.fixed_stop or record.fixed_stop == 0.0)
    acts = rules.judge(record, move, 0.0, age_ms, 0) != 0
    record.fixed_stop = closer
    assert rules.judge(record, move, 0.0, age_ms, 0) != 0 or not acts


peaks = st.integers(0, 2_000).map(lambda unit: unit / 10_000)


@given(peaks, peaks, st.integers(-500, 2_000).map(lambda unit: unit / 10_000))
def test_the_trailing_level_never_falls_as_the_peak_rises(one, other, move):
    low, high = sorted((one, other))
    record = guard_record(**{**SCORE, "timed": ()})[0]
    if rules.judge(record, move, low, 0, 0):
        assert rules.judge(record, move, high, 0, 0)


averages = st.floats(10.0, 1e7, allow_nan=False).map(lambda value: round(value, 3))


@given(st.sampled_from([BUY, SELL]), averages, st.integers(-500, 500).map(lambda unit: unit / 1_000))
def test_levels_are_the_exact_prices_at_which_the_move_is_reached(side, average, move):
    """The first price, coming from profit (loss), at or below (above) the move: one unit before it is not."""
    loss = rules.loss_level(side, average, move)
    assert rules.move_of(side, loss, average) <= move < rules.move_of(side, loss + side, average)
    profit = rules.profit_level(side, average, move)
    assert rules.move_of(side, profit, average) >= move > rules.move_of(side, profit - side, average)


@given(st.floats(-1, 1, allow_nan=False))
def test_moves_are_compared_at_nine_decimals(x):
    assert rules.q9(x) == math.floor(x * 1e9 + 0.5) / 1e9
    assert abs(rules.q9(x) - x) <= 0.5e-9 + 1e-15


# --- what rests on the exchange
@pytest.mark.parametrize(
    ("side", "away_ppm", "price"),
    [
        (BUY, -40_000, 61_558_5),
        (SELL, -40_000, 66_688_3),
        (BUY, 1_500, 64_219_6),
        (SELL, 1_500, 64_027_2),
    ],
)
def test_triggers_are_rounded_in_the_positions_favour_vector_23(side, away_ppm, price):
    """Entry 64,123.4 with tick 0.1: longs up, shorts down."""
    instrument = instrument_records(unit_e8=10_000)[0]
    position = zeros(1, position_dt)[0]
    position.lots, position.cost_e8 = side * 3, 3 * 641_234 * 10_000
    assert rules.trigger_price(position, instrument, away_ppm, side) == price


@pytest.mark.parametrize(("side", "price"), [(BUY, 61_600_0), (SELL, 66_600_0)])
def test_triggers_are_on_a_coarse_tick(side, price):
    instrument = instrument_records(unit_e8=10_000, tick=1000)[0]
    position = zeros(1, position_dt)[0]
    position.lots, position.cost_e8 = side * 3, 3 * 641_234 * 10_000
    assert rules.trigger_price(position, instrument, -40_000, side) == price


def holding(lots=10, price=1000, **options):
    """A desk whose guard has seen the position at one step, at its entry price."""
    guard, leverage = options.pop("guard"), options.pop("leverage", 5)
    run = desk(last=price, guard=guard_record(**guard), **options)
    run.hold(lots, price, leverage=leverage)
    run.head().next_ms = 0
    return run.rest(price)


@pytest.mark.parametrize(("lots", "stop", "side"), [(10, 960, SELL), (-10, 1040, BUY)])
def test_the_exchange_stop_rests_from_the_first_reaction(lots, stop, side):
    run = holding(lots, guard={"stop_ppm": 40_000})
    slot = run.slot(SLOT_STOP)
    assert (slot.kind, slot.price, slot.side, slot.lots, slot.reduce_only) == (STOP, stop, side, 10, 1)


def test_an_entry_is_protected_on_the_path_right_after_its_fill():
    """Filled at the open, stopped in the same bar."""
    run = desk(
        last=1000,
        plan={0: 1},
        guard=guard_record(stop_ppm=40_000),
        params=script_params(notional_e8=10_000_000),
    )
    run.play("1000 1001 999 1000\n1000 1010 950 970")
    assert run.fills() == ["1 +0s entry BUY 10 @ 1000 taker", "1 +40s stop SELL 10 @ 960 taker"]


@pytest.mark.parametrize(
    ("lots", "bar", "price"), [(10, "1000 1040 999 1030", 1002), (-10, "1000 1001 960 970", 998)]
)
def test_the_ratchet_moves_the_stop_beyond_the_entry_once_armed(lots, bar, price):
    run = holding(lots, guard={**SCORE, "timed": (), "stop_ppm": 40_000, "ratchet_ppm": 1_500})
    assert run.slot(SLOT_STOP).price == (960 if lots > 0 else 1040)
    run.play(bar)
    assert run.position().armed == 1
    assert run.slot(SLOT_STOP).price == price
    run.play("1030 1030 1025 1025" if lots > 0 else "970 975 970 975")
    assert run.slot(SLOT_STOP).price == price


def test_the_resting_trail_is_resized_with_the_position_and_starts_over():
    run = holding(guard={"trail_activation_ppm": 30_000, "trail_callback_ppm": 20_000})
    trail = run.slot(SLOT_TRAIL)
    assert (trail.kind, trail.activation, trail.lots, trail.extreme) == (TRAILING, 1030, 10, 0)
    run.want("TAKE_PROFIT SELL 4 @ 1060")
    run.play("1000 1050 999 1045\n1045 1070 1040 1065")
    assert run.fills() == ["1 +40s a SELL 4 @ 1060 taker"]
    assert (trail.lots, trail.extreme) == (6, 1070)


# --- the path stops exactly at the level
def walk_to_fire(run, table):
    """(price, ms) at which the walk of the next bar stops for the guard, or None."""
    walk = zeros(1, walk_dt)[0]
    begin(walk, run.head().last, bars_of(table)[0, 0], 0)
    while True:
        code = step_path(run.books.slots[0, 0], run.head(), walk, False)
        if code == FIRE:
            return walk.cursor, walk.ms - START_MS
        if code == DONE:
            return None


@pytest.mark.parametrize(
    ("lots", "table", "stops_at"),
    [
        (10, "1000 1001 970 980", (970, 40_000)),
        (10, "1000 1001 900 980", (970, 40_000)),
        (10, "1000 1001 971 980", None),
        (10, "960 965 950 955", (960, 0)),
        (-10, "1000 1030 999 1010", (1030, 40_000)),
        (-10, "1000 1200 999 1010", (1030, 40_000)),
        (-10, "1000 1029 999 1010", None),
        (-10, "1050 1051 1040 1045", (1050, 0)),
        (10, "1000 1060 999 1050", (1060, 40_000)),
        (10, "1000 1059 999 1050", None),
        (-10, "1000 1001 940 950", (940, 40_000)),
    ],
)
def test_the_walk_stops_exactly_at_the_level(lots, table, stops_at):
    run = holding(lots, guard={"fixed_stop": -0.03, "fixed_tp": 0.06})
    assert walk_to_fire(run, table) == stops_at


@given(
    st.sampled_from([1, -1]),
    st.integers(900, 1100),
    st.integers(1, 80),
    st.lists(st.integers(850, 1150), min_size=4, max_size=4),
)
def test_a_software_stop_sells_at_its_level_or_at_a_worse_open(side, entry, permille, prices):
    run = holding(10 * side, entry, guard={"fixed_stop": -permille / 1000}, leverage=1)
    open_, close = prices[:2]
    run.play(f"{open_} {max(prices)} {min(prices)} {close}")
    level = rules.loss_level(side, float(entry), -permille / 1000)
    worst = min(prices) if side > 0 else max(prices)
    if (worst - level) * side > 0:
        assert run.fills() == []
    else:
        (fill,) = run.replay.all_fills()
        assert fill.slot == SLOT_EXIT
        assert fill.price == (level if (open_ - level) * side > 0 else open_)


# --- ages count whole steps, never inside a bar
def test_a_timed_stop_ends_with_its_window_at_a_step():
    """−2.5 % within ten minutes. The position is opened at the open of bar 1; its age at the step that closes
    bar 10 is ten minutes: still inside. At the next step the window is over: bar 12 is free down to −3 %."""
    guard = guard_record(fixed_stop=-0.03, timed=((10 * MINUTES, -0.025),))
    quiet = "1000 1000 1000 1000\n"
    for dip, exits in ((11, ["11 +40s exit SELL 10 @ 975 taker"]), (12, [])):
        run = desk(last=1000, plan={0: 1}, guard=guard, params=script_params(notional_e8=10_000_000))
        run.play(quiet * dip + "1000 1001 971 990")
        assert run.fills() == ["1 +0s entry BUY 10 @ 1000 taker", *exits]


def test_a_timeout_leaves_at_the_open_after_its_step():
    run = desk(
        last=1000,
        plan={0: 1},
        guard=guard_record(timeout_ms=5 * MINUTES),
        params=script_params(notional_e8=10_000_000),
    )
    run.play("1000 1000 1000 1000\n" * 10)
    assert run.fills() == ["1 +0s entry BUY 10 @ 1000 taker", "6 +0s exit SELL 10 @ 1000 taker"]
    assert [tag_name(fill.tag) for fill in run.replay.all_fills()] == ["ENTRY", "TIMEOUT"]


def test_a_candidates_own_timeout_goes_before_the_guards():
    params = script_params(notional_e8=10_000_000, timeout_ms=3 * MINUTES)
    run = desk(last=1000, plan={0: 1}, guard=guard_record(timeout_ms=5 * MINUTES), params=params)
    run.play("1000 1000 1000 1000\n" * 10)
    assert run.fills()[1] == "4 +0s exit SELL 10 @ 1000 taker"


# --- the peak
def test_the_peak_counts_from_the_last_entry_fill():
    """The first lots see +3.5 %; more lots reset the peak, so the trail is not armed any more."""
    run = holding(10, guard={**SCORE, "timed": ()})
    run.play("1000 1035 1000 1030")
    assert (run.position().armed, run.position().best) == (1, 1035)
    run.want("MARKET BUY 10")
    run.play("1030 1031 1016 1020")
    assert (run.position().armed, run.position().best) == (0, 1030)
    assert run.fills() == ["1 +0s a BUY 10 @ 1030 taker"]


@pytest.mark.parametrize(
    ("table", "exit_row"),
    [
        ("1000 1040 999 1030\n1030 1031 1000 1010", "1 +40s exit SELL 10 @ 1025 taker"),
        ("1000 1040 999 1030\n1030 1060 1029 1030", "1 +59.999s exit SELL 10 @ 1045 taker"),
        ("1000 1029 999 1028\n1028 1029 1000 1010", None),
        ("1000 1040 999 1030\n1010 1011 1000 1005", "1 +0s exit SELL 10 @ 1010 taker"),
    ],
)
def test_the_trail_follows_the_peak(table, exit_row):
    """Armed at 3 %, 1.5 points behind the peak."""
    run = holding(10, guard={**SCORE, "timed": ()})
    assert run.play(table).fills() == ([exit_row] if exit_row else [])


def test_the_trails_floor_bounds_its_trigger():
    run = holding(10, guard={**SCORE, "timed": (), "trailing_activation": 0.016})
    run.play("1000 1016 1000 1010\n1010 1011 990 1000")
    assert run.fills() == [
        "1 +40s exit SELL 10 @ 1001 taker"
    ]  # 0.15 % is 1001.5: the first price at or below


def test_an_armed_trail_survives_a_rounded_average():
    """Lots of a tiny unit: a partial close rounds the average up, and the peak of +3 % reads +2.9975 %.

    Where the path stops for the trail, the guard must leave, or let the path go on."""
    run = desk(
        last=1017,
        instruments=instrument_records(unit_e8=1, maker_ppm=0, taker_ppm=0),
        guard=guard_record(**{**SCORE, "timed": (), "fixed_stop": -0.05}),
    )
    run.hold(1, 1016)
    run.hold(2, 1018)
    run.head().next_ms = 0
    run.rest(1017).play("1017 1048 1017 1048")
    assert run.position().armed == 1
    run.want("STOP SELL 1 @ 1040")
    run.play("1048 1048 1036 1040")
    assert run.fills() == ["1 +40s a SELL 1 @ 1040 taker"]
    level = int(run.head().fire_lo)
    run.react(level)
    assert run.slot(SLOT_EXIT).kind == MARKET or run.head().fire_lo < level


def test_a_fill_price_does_not_arm_the_trail():
    """Peaks are marks of the market: what slippage made of our own fill is not one."""
    trail = {"trailing_activation": 0.01, "trailing_retrace": 0.006, "trailing_floor": 0.0015}
    run = holding(10, guard=trail, slippage_ppm=10_000)
    run.want("MARKET BUY 10")
    run.play("1020 1021 1019 1020")  # filled at 1031: average 1015.5, peak 1.53 %, the market at 0.44 %
    assert run.fills()[0] == "0 +0s a BUY 10 @ 1031 taker"
    assert (run.position().armed, run.slot(SLOT_EXIT).kind) == (0, NONE)


def test_a_slipped_fill_is_no_peak():
    """As above, then armed at 1026: the peak is 1.03 %, not the 1.53 % of the fill; 0.6 points behind it is 1019."""
    trail = {"trailing_activation": 0.01, "trailing_retrace": 0.006, "trailing_floor": 0.0015}
    run = holding(10, guard=trail, slippage_ppm=10_000)
    run.want("MARKET BUY 10")
    run.play("1020 1021 1019 1020\n1020 1026 1020 1021")
    assert (run.position().armed, run.position().best) == (1, 1026)
    assert run.head().fire_lo == 1019


def test_an_exit_that_waits_for_volume_freezes_the_trail():
    """What a leaving position would have done must not depend on how often somebody looks at it."""
    guard = {**SCORE, "timed": (), "ratchet_ppm": 1_500, "stop_ppm": 40_000, "timeout_ms": MINUTES}
    states = []
    for skip in (True, False):
        run = holding(10, guard=guard, skip=skip, volume_share_ppm=100_000)
        run.play("1000 1001 999 1000 20\n1000 1040 990 1000 0\n1000 1001 1000 1000 20")
        assert run.slot(SLOT_EXIT).kind == MARKET
        states.append((run.fills(), run.position().armed, run.position().best, run.slot(SLOT_STOP).price))
    assert states[0] == states[1]
    assert states[0][1:] == (0, 1000, 960)


# --- exits and entries do not work against each other
ENTRY_HALF_DONE = {
    "plan": {0: 1},
    "volume_share_ppm": 100_000,
    "params": script_params(notional_e8=20_000_000),
}


def test_an_exit_cancels_the_rest_of_the_entry():
    """The entry has 3 of 20 lots when its stop triggers in the same bar; what is left must not be bought."""
    run = desk(last=1000, guard=guard_record(stop_ppm=20_000), **ENTRY_HALF_DONE)
    run.play("1000 1000 1000 1000 0\n1000 1001 970 975 30\n975 976 974 975 200\n975 976 974 975 200")
    assert run.fills() == ["1 +0s entry BUY 3 @ 1000 taker", "2 +0s stop SELL 3 @ 975 taker"]


def test_a_software_exit_cancels_the_rest_of_the_entry():
    run = desk(last=1000, guard=guard_record(fixed_stop=-0.02), **ENTRY_HALF_DONE)
    run.play("1000 1000 1000 1000 0\n1000 1001 970 975 30\n975 976 974 975 200\n975 976 974 975 200")
    assert run.fills() == ["1 +0s entry BUY 3 @ 1000 taker", "2 +0s exit SELL 3 @ 975 taker"]


def test_a_strategys_exit_cancels_the_rest_of_the_entry():
    run = desk(last=1000, **{**ENTRY_HALF_DONE, "plan": {0: 1, 1: EXIT_NOW}})
    run.play(
        "1000 1000 1000 1000 0\n1000 1000 1000 1000 30\n1000 1000 1000 1000 200\n1000 1000 1000 1000 200"
    )
    assert run.fills() == ["1 +0s entry BUY 3 @ 1000 taker", "2 +0s exit SELL 3 @ 1000 taker"]
    assert [tag_name(fill.tag) for fill in run.replay.all_fills()] == ["ENTRY", "SIGNAL"]


def test_a_flat_position_takes_no_rest_of_its_entry():
    """Three of twenty lots, sold again by a limit that the next opening jumps over: before the open, where the
    entry would go on, the position is flat."""
    run = desk(last=1000, **ENTRY_HALF_DONE)
    run.play("1000 1000 1000 1000 0\n1000 1000 1000 1000 30")
    run.want("LIMIT SELL 3 @ 1010 reduce")
    run.play("1015 1016 1014 1015 200\n1015 1016 1014 1015 200")
    assert run.fills() == ["1 +0s entry BUY 3 @ 1000 taker", "2 +0s a SELL 3 @ 1010 maker"]
    assert run.slot(SLOT_ENTRY).kind == NONE


@pytest.mark.parametrize("side", [1, -1])
def test_a_reversal_at_the_same_cost_turns_the_stop_around(side):
    """The cost of the new position is the old one's to the last digit."""
    run = holding(10 * side, guard={"stop_ppm": 40_000})
    assert run.slot(SLOT_STOP).price == 1000 - 40 * side
    run.want(f"LIMIT {'SELL' if side > 0 else 'BUY'} 20 @ 1000")
    run.play(f"1000 {1010 if side > 0 else 1001} {990 if side < 0 else 999} 1000")
    stop = run.slot(SLOT_STOP)
    assert (run.position().lots, run.position().cost_e8) == (-10 * side, 10_000_000)
    assert (stop.price, stop.side, stop.lots) == (1000 + 40 * side, side, 10)


def test_a_reversal_gets_its_own_stop():
    """The long's stop has triggered without volume and waits; then an order of the strategy turns the position.

    The short must have its own stop from that moment on, in the same bar."""
    for skip in (True, False):
        run = holding(10, guard={"stop_ppm": 20_000}, skip=skip, volume_share_ppm=100_000)
        run.play("1000 1001 980 990 0")
        assert (run.slot(SLOT_STOP).kind, run.slot(SLOT_STOP).side) == (MARKET, SELL)
        run.want("LIMIT SELL 20 @ 985")
        run.play("990 991 989 990 200")  # the limit comes first, and there is volume for it alone
        assert run.fills() == ["1 +0s a SELL 20 @ 990 taker"]
        stop = run.slot(SLOT_STOP)
        assert (run.position().lots, stop.kind, stop.side, stop.price, stop.lots) == (
            -10,
            STOP,
            BUY,
            1009,
            10,
        )


def test_a_reversal_forgets_the_exit_of_the_old_position():
    """A timeout of the long waits for volume; then an order of the strategy turns the position: the short stays."""
    run = holding(10, guard={"timeout_ms": 2 * MINUTES}, volume_share_ppm=100_000)
    run.play("1000 1001 999 1000 0\n1000 1001 999 1000 0")
    assert (run.slot(SLOT_EXIT).kind, run.slot(SLOT_EXIT).side) == (MARKET, SELL)
    run.want("LIMIT SELL 20 @ 995")
    run.play("1000 1001 999 1000 200")
    assert run.fills() == ["2 +0s a SELL 20 @ 1000 taker"]
    assert (run.position().lots, run.slot(SLOT_EXIT).kind) == (-10, NONE)


def test_a_flat_position_wants_nothing_of_the_shared_slots():
    run = holding(
        10, guard={**SCORE, "stop_ppm": 40_000, "trail_activation_ppm": 30_000, "trail_callback_ppm": 9_000}
    )
    run.play("1000 1001 900 950")
    assert run.position().lots == 0
    assert [run.slot(k).kind for k in (SLOT_ENTRY, SLOT_STOP, SLOT_EXIT, SLOT_TRAIL)] == [NONE] * 4
    head = run.head()
    assert (head.fire_lo, head.fire_hi, head.peak_lo, head.peak_hi) == (-FAR, FAR, -FAR, FAR)
    assert (head.lo, head.hi) == (-FAR, FAR)


def test_a_triggered_stop_is_left_to_finish():
    run = holding(10, guard={"stop_ppm": 20_000}, volume_share_ppm=100_000)
    run.play("1000 1001 975 990 40\n990 991 985 990 40\n990 991 985 990 40")
    assert run.fills() == rows(
        """
        0 +40s stop SELL 4 @ 980 taker
        1 +0s stop SELL 4 @ 990 taker
        2 +0s stop SELL 2 @ 990 taker
        """
    )


def test_a_pending_exit_keeps_its_reason_and_its_size():
    run = holding(10, guard={"fixed_stop": -0.02, "timeout_ms": MINUTES}, volume_share_ppm=100_000)
    run.play("1000 1001 975 990 40\n990 991 985 990 0")
    leave = run.slot(SLOT_EXIT)
    assert (leave.kind, leave.lots, leave.side, tag_name(leave.tag)) == (MARKET, 6, SELL, "FIXED_STOP")
    assert leave.tag != TAG_SIGNAL
