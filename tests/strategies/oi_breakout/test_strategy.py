"""The strategy in the step: from polled rows to an entry, stages, break-even, trailing and timeout."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.tables import MONEY, START_MS, desk, guard_record, instrument_records

from perpdesk.kernel.records import (
    MARKET,
    MINUTE_MS,
    SLOT_OWN,
    SLOT_STOP,
    STOP,
    TAKE_PROFIT,
    TRAILING,
    tag_name,
)
from perpdesk.strategies.oi_breakout import CODE_NAMES, STRATEGY, params_record

GOOD = (1.3, 1.15, 1.6, 1.3)


def oi_guard(**fields):
    """The exits of the specification: stages, trailing, break-even at 10 % of the margin, two hours."""
    guard = guard_record(
        stop_ppm=113_331,
        ratchet_ppm=1_500,
        trail_activation_ppm=50_000,
        timeout_ms=7_200_000,
        trailing_activation=0.016666667,
        trailing_retrace=1e6,
        trailing_floor=-1e6,
        **fields,
    )
    guard["stage_ppm"][0] = (70_000, 138_000)
    return guard


def oi_desk(*, notional=10, **options):
    params = params_record(margin_e8=notional * MONEY // 6 + 1)
    return desk(STRATEGY, params, guard=oi_guard(), **options)


def poll(run, minute, oi, ratios=GOOD, *, s=0, degraded=0):
    """Put a row into the inbox: a poll at the close of this minute."""
    state = run.replay.mind.states[s]
    row = state.inbox[state.inbox_end]
    row.ms, row.oi, row.r8_e8, row.degraded = START_MS + (minute + 1) * MINUTE_MS, oi, 10_000, degraded
    row.ratios[:] = ratios
    state.inbox_end += 1


def quiet(minutes, price=10_000, volume=1_000_000):
    return "\n".join([f"{price} {price} {price} {price} {volume}"] * minutes)


def breaking_out(run, *, ratios=GOOD, jump=10_200, before=70, oi=1_040.0, degraded=0):
    """Quiet minutes, then a minute in which price and open interest rise."""
    for minute in range(before):
        poll(run, minute, 1_000.0)
    poll(run, before, oi, ratios, degraded=degraded)
    run.play(quiet(before) + f"\n10000 {jump} 10000 {jump} 1000000")
    return run


def code(run):
    return CODE_NAMES[run.replay.mind.states[0].code]


def test_a_breakout_is_bought_at_the_next_open():
    run = breaking_out(oi_desk()).play("10200 10200 10200 10200 1000000")
    fill = run.replay.all_fills()[0]
    assert (fill.side, fill.price, tag_name(fill.tag)) == (1, 10_200, "ENTRY")
    assert run.position().entry_score == 9.9625  # three periods agree
    assert run.position().entry_timeout_ms == 7_200_000


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ratios": (math.nan, 1.15, 1.6, 1.3)}, "SENTIMENT_UNAVAILABLE"),
        ({"before": 30}, "CHASE_WINDOW_INCOMPLETE"),
        ({"degraded": 1}, "POLL_DEGRADED"),
        ({"oi": 1_250.0}, "OI_OVEREXTENDED"),
        ({"jump": 10_030}, "DIRECTION_NEUTRAL"),
        ({"ratios": (0.9, 1.15, 1.6, 1.3)}, "TOP_TRADERS_OPPOSED"),
    ],
)
def test_refusals_have_their_reason_and_buy_nothing(options, reason):
    run = breaking_out(oi_desk(), **options).play(quiet(2, options.get("jump", 10_200)))
    assert code(run) == reason
    assert run.fills() == []


def test_the_price_that_has_run_too_far_is_not_chased():
    run = oi_desk()
    for minute in range(80):
        poll(run, minute, 1_000.0 if minute < 79 else 1_040.0)
    run.play(quiet(70, 9_400) + "\n" + quiet(9, 10_000) + "\n10000 10200 10000 10200 1000000")
    run.play(quiet(2, 10_200))
    assert run.fills() == []
    assert run.replay.mind.states[0].sight.verdict.chase == 0.085106383
    assert code(run) == "SIGNAL_SCORE_TOO_LOW"  # the penalty alone; without it the gate refuses
    free = desk(STRATEGY, params_record(chase_penalty=0.0), guard=oi_guard())
    for minute in range(80):
        poll(free, minute, 1_000.0 if minute < 79 else 1_040.0)
    free.play(quiet(70, 9_400) + "\n" + quiet(9, 10_000) + "\n10000 10200 10000 10200 1000000")
    assert code(free) == "CHASE_LIMIT"


def holding(lots, price, **options):
    run = oi_desk(last=price, **options)
    run.hold(lots, price, leverage=6)
    run.rest(price).react(price)  # as after a fill
    return run


def own(run):
    """(kind, lots, price or activation) of the own slots that want something."""
    found = []
    for k in range(SLOT_OWN, SLOT_OWN + 3):
        slot = run.slot(k)
        if slot.kind:
            found.append(
                (
                    int(slot.kind),
                    int(slot.lots),
                    int(slot.activation if slot.kind == TRAILING else slot.price),
                )
            )
    return found


def test_18_and_19_the_exit_plan_on_the_tick():
    run = holding(69, 4_321, instruments=instrument_records(1, tick=1))
    assert own(run) == [(TAKE_PROFIT, 20, 4_624), (TAKE_PROFIT, 20, 4_918), (TRAILING, 29, 4_538)]
    assert run.position().ratchet_price == 4_328
    ten = holding(10, 10_000)
    assert own(ten) == [(TAKE_PROFIT, 3, 10_700), (TAKE_PROFIT, 3, 11_380), (TRAILING, 4, 10_500)]
    assert (ten.position().ratchet_price, ten.slot(SLOT_STOP).price) == (10_015, 8_867)
    assert own(holding(3, 10_000)) == [(TRAILING, 3, 10_500)]
    short = holding(-10, 10_000)
    assert own(short) == [(TAKE_PROFIT, 3, 9_300), (TAKE_PROFIT, 3, 8_620), (TRAILING, 4, 9_500)]
    assert short.position().ratchet_price == 9_985


@pytest.mark.parametrize(("mark", "stop"), [(10_166, 8_867), (10_167, 10_015)])
def test_20_break_even_at_ten_percent_of_the_margin(mark, stop):
    run = holding(10, 10_000).play(f"10000 {mark} 10000 {mark} 1000000")
    assert (run.slot(SLOT_STOP).kind, run.slot(SLOT_STOP).price) == (STOP, stop)


@pytest.mark.parametrize(("minutes", "closed"), [(119, False), (120, True)])
def test_20_the_timeout_needs_no_news(minutes, closed):
    run = holding(10, 10_000).play(quiet(minutes + 1))
    assert bool(run.position().lots == 0) is closed
    if closed:
        assert tag_name(run.position().closed_tag) == "TIMEOUT"


def test_stages_fill_in_order_then_the_rest_trails():
    run = holding(10, 10_000).play(
        "10000 10800 10000 10800\n10800 11500 10800 11500\n11500 11500 11000 11000"
    )
    assert [(slot.split()[2], slot.split()[4], slot.split()[6]) for slot in run.fills()] == [
        ("a", "3", "10700"),
        ("b", "3", "11380"),
        ("c", "4", "11155"),
    ]
    assert run.position().lots == 0
    assert own(run) == []


def test_a_gap_over_two_stages_fills_both_at_the_open():
    run = holding(10, 10_000).play("11500 11500 11500 11500")
    assert [(fill.split()[2], fill.split()[4], fill.split()[6]) for fill in run.fills()] == [
        ("a", "3", "11500"),
        ("b", "3", "11500"),
    ]
    assert own(run) == [(TRAILING, 4, 10_500)]


def test_a_manual_partial_close_shrinks_what_rests():
    run = holding(10, 10_000)
    books = run.books
    run.replay.mind.strategy.compiled().book_outside(
        books.account,
        books.instruments,
        books.positions,
        books.slots,
        books.heads,
        0,
        0,
        -1,
        10_000,
        6,
        0,
        0,
        START_MS,
    )
    run.react(10_000, in_path=0)
    assert run.position().lots == 4
    assert sum(lots for _, lots, _ in own(run)) == 4


@settings(max_examples=30, deadline=None)
@given(
    lots=st.integers(1, 50),
    bars=st.lists(
        st.tuples(st.integers(9_000, 12_000), st.integers(0, 300), st.integers(0, 300)), max_size=12
    ),
    volume=st.sampled_from((20, 100, 1_000_000)),
    side=st.sampled_from((1, -1)),
)
def test_what_rests_is_never_more_than_what_is_held(lots, bars, volume, side):
    run = holding(side * lots, 10_000, volume_share_ppm=100_000)
    last = 10_000
    for close, up, down in bars:
        run.play(f"{last} {max(last, close) + up} {min(last, close) - down} {close} {volume}")
        last = close
        held = abs(int(run.position().lots))
        assert sum(int(run.slot(k).lots) for k in range(SLOT_OWN, SLOT_OWN + 3) if run.slot(k).kind) <= held
        if held:
            stop = run.slot(SLOT_STOP)
            assert stop.kind in (STOP, MARKET)
            assert stop.lots <= held


def test_a_second_position_does_not_remember_the_first_ones_stages():
    run = holding(10, 10_000).play(
        "10000 10800 10000 10800\n10800 11500 10800 11500\n11500 11500 11000 11000\n" + quiet(1, 11_000)
    )
    run.hold(10, 10_000, ms=int(run.at_ms))
    run.react(10_000, in_path=0)
    assert [lots for _, lots, _ in own(run)] == [3, 3, 4]


def test_17_the_size_is_never_rounded_up():
    def verdict(price, unit_e8):
        run = desk(
            STRATEGY, params_record(), guard=oi_guard(), instruments=instrument_records(1, unit_e8=unit_e8)
        )
        for minute in range(71):
            poll(run, minute, 1_000.0 if minute < 70 else 1_040.0)
        low = price * 100 // 102
        run.play(quiet(70, low) + f"\n{low} {price} {low} {price} 1000000")
        return int(run.slot(0).lots), int(run.head().verdict)

    assert verdict(4_321, 10**4)[0] == 69
    assert verdict(123_456, 10)[0] == 2_430
