"""Whole runs of a strategy that acts at random: books that balance at every step, and one result however the
run is cut, skipped or repeated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.actors import ACTOR, DICE, LADDER, actor_params
from tests.kernel.balance import check_books, check_levels
from tests.kernel.markets import random_bars, random_funding
from tests.kernel.tables import (
    START_MS,
    as_bytes,
    bars_of,
    desk,
    guard_record,
    instrument_records,
    script_params,
)

from perpdesk.kernel import replay
from perpdesk.kernel.records import (
    ABSENT_MS,
    CROSS,
    ISOLATED,
    MINUTE_MS,
    NONE,
    TAG_LIQUIDATION,
    VERDICT_NAMES,
    fill_dt,
    funding_dt,
    tag_name,
    zeros,
)
from perpdesk.kernel.replay import fills_hash

GUARDS = {
    "none": {},
    "resting": {"stop_ppm": 30_000, "trail_activation_ppm": 5_000, "trail_callback_ppm": 8_000},
    "levels": {
        "fixed_stop": -0.02,
        "timed": ((4 * MINUTE_MS, -0.01), (9 * MINUTE_MS, -0.03)),
        "trailing_activation": 0.012,
        "trailing_retrace": 0.006,
        "trailing_floor": 0.0015,
        "fixed_tp": 0.03,
    },
    "both": {
        "fixed_stop": -0.02,
        "stop_ppm": 25_000,
        "trailing_activation": 0.01,
        "trailing_retrace": 0.006,
        "trailing_floor": 0.0015,
        "ratchet_ppm": 1_500,
        "timeout_ms": 7 * MINUTE_MS,
    },
}
BRACKETS = ((5 * 10**8, 100, 5_000, 0), (2 * 10**9, 50, 10_000, 2_500_000), (10**17, 20, 25_000, 32_500_000))


def dice_desk(
    seed, *, skip=True, guard="both", mode=ISOLATED, free=1, leverage=20, symbols=2, minutes=60, **account
):
    run = desk(
        ACTOR,
        actor_params(DICE, activity=60, lots_max=30, leverage=leverage, stop_ppm=20_000, free=free),
        symbols=symbols,
        skip=skip,
        guard=guard_record(**GUARDS[guard]),
        instruments=instrument_records(symbols, unit_e8=1000, tick=5, brackets=BRACKETS),
        funding=random_funding(seed + 1, minutes, symbols),
        **{"cash": 20, "margin_mode": mode, "slippage_ppm": 500, "daily_loss_ppm": 20_000, **account},
    )
    run.replay.mind.states["seed"] = [seed + s for s in range(symbols)]
    run.books.positions["leverage"] = leverage
    return run


def ended(run):
    """Everything that a run leaves behind."""
    books = run.books
    slots = books.slots.copy()
    for name in set(slots.dtype.names) - {"bought", "sold", "last_ms"}:
        slots[name][books.slots["kind"] == NONE] = 0  # what an order was that is wanted no more
    return (
        fills_hash(run.replay.all_fills()),
        as_bytes(books.account),
        as_bytes(books.positions),
        as_bytes(slots),
        as_bytes(run.replay.mind.states),
    )


worlds = st.fixed_dictionaries(
    {
        "guard": st.sampled_from(sorted(GUARDS)),
        "mode": st.sampled_from([ISOLATED, CROSS]),
        "free": st.integers(0, 1),
        "leverage": st.sampled_from([1, 5, 20, 50]),
        "volume_share_ppm": st.sampled_from([0, 100_000]),
        "symbols": st.integers(1, 3),
    }
)


def check_step(run, bars):
    """The books against the records, the fills and the last closes."""
    books = run.books
    account = books.account[0]
    check_books(books)
    if account.margin_mode == ISOLATED:
        check_levels(books)
    fills = run.replay.all_fills()
    assert (fills["fee_e8"].sum(), fills["realised_e8"].sum()) == (account.fees_e8, account.realised_e8)
    assert len(fills) == account.fills
    unrealised = 0
    for s in range(bars.shape[1]):
        mine = fills[fills["symbol"] == s]
        position = books.positions[0, s]
        assert (mine["side"] * mine["lots"]).sum() == position.lots
        seen = bars[bars["open_ms"][:, s] != ABSENT_MS, s]
        if position.lots != 0:
            assert books.heads[0, s].last == seen[-1].close
            side = 1 if position.lots > 0 else -1
            unrealised += position.lots * seen[-1].close * 1000 - side * position.cost_e8
    assert account.equity_e8 == account.cash_e8 + unrealised
    assert account.equity_peak_e8 >= account.equity_e8


@given(st.integers(0, 10**6), st.integers(1, 60), worlds)
@settings(max_examples=25)
def test_the_books_balance_after_every_step(seed, minutes, world):
    run = dice_desk(seed, minutes=minutes, **world)
    bars = random_bars(seed, minutes, world["symbols"])
    for t in range(minutes):
        run.replay.feed(bars[t : t + 1], START_MS + t * MINUTE_MS)
        check_step(run, bars[: t + 1])


@given(st.integers(0, 10**6), st.integers(1, 200), worlds)
@settings(max_examples=60)
def test_skipping_changes_nothing(seed, minutes, world):
    bars = random_bars(seed, minutes, world["symbols"])
    one, other = (dice_desk(seed, minutes=minutes, skip=skip, **world) for skip in (True, False))
    one.replay.feed(bars, START_MS)
    other.replay.feed(bars, START_MS)
    assert one.fills() == other.fills()
    assert ended(one) == ended(other)
    assert one.replay.counters[0].walked <= other.replay.counters[0].walked
    assert one.replay.counters[0].bars == other.replay.counters[0].bars


@given(st.integers(0, 10**6), st.lists(st.integers(0, 50), min_size=1, max_size=6), worlds)
@settings(max_examples=40)
def test_cutting_changes_nothing_and_a_rerun_is_the_same(seed, pieces, world):
    minutes = sum(pieces) + 1
    bars = random_bars(seed, minutes, world["symbols"])
    whole, again, cut = (dice_desk(seed, minutes=minutes, **world) for _ in range(3))
    whole.replay.feed(bars, START_MS)
    again.replay.feed(bars, START_MS)
    at = 0
    for piece in (*pieces, 1):
        cut.replay.feed(bars[at : at + piece], START_MS + at * MINUTE_MS)
        at += piece
    assert ended(whole) == ended(again) == ended(cut)


def test_the_random_runs_meet_everything():
    """Otherwise the properties above prove little: fills of every kind, liquidations, refusals, both sides."""
    tags, slots, sides, verdicts, partial, liquidations, flips = set(), set(), set(), set(), 0, 0, 0
    for seed in range(12):
        guard = sorted(GUARDS)[seed % 4]
        run = dice_desk(
            seed,
            guard=guard,
            leverage=(5, 50)[seed % 2],
            volume_share_ppm=100_000,
            minutes=300,
            daily_loss_ppm=5_000,
        )
        run.replay.feed(random_bars(seed, 300), START_MS)
        fills = run.replay.all_fills()
        tags |= {tag_name(tag) for tag in fills["tag"]}
        slots |= set(fills["slot"].tolist())
        sides |= set(fills["side"].tolist())
        verdicts |= {VERDICT_NAMES[i] for i, count in enumerate(run.account.verdicts) if count}
        liquidations += int(run.account.liquidations)
        partial += int((fills["lots"] == 1).sum())
        for s in (0, 1):
            held = fills[fills["symbol"] == s]["held_lots"]
            flips += int((held[:-1] * held[1:] < 0).sum())
    wanted = {
        "ENTRY",
        "EXCHANGE_STOP",
        "TRAILING",
        "FIXED_STOP",
        "FAST_4M",
        "FIXED_TP",
        "TIMEOUT",
        "SIGNAL",
        "LADDER",
    }
    assert wanted | {"LIQUIDATION"} <= tags
    assert slots == set(range(10))
    assert sides == {1, -1}
    assert {"APPROVED", "DAILY_LOSS"} <= verdicts
    assert liquidations > 0
    assert partial > 0
    assert flips > 0


# --- funding in a run
@pytest.mark.parametrize(
    ("minute", "rate", "mark", "paid"),
    [
        (2, 10_000, 0, -1_010),  # on the close of the step: 10 × 1010 × 1000 × 0.01 %
        (2, 10_000, 2000, -2_000),  # on the given mark
        (2, -10_000, 1000, 1_000),
        (3, 10_000, 0, -1_020),
        (9, 10_000, 1000, 0),  # after the last bar
        (0, 10_000, 1000, 0),  # before the position
    ],
)
def test_funding_is_paid_at_its_minute_by_who_holds(minute, rate, mark, paid):
    funding = zeros(1, funding_dt)
    funding[0] = (START_MS + minute * MINUTE_MS, 0, rate, mark)
    run = desk(last=1000, plan={0: 1}, params=script_params(notional_e8=10_000_000), funding=funding)
    run.play("1000 1000 1000 1000\n1000 1010 1000 1010\n1010 1020 1010 1020")
    assert run.position().lots == 10
    assert run.account.funding_e8 == paid
    check_books(run.books)


def test_a_flat_position_pays_no_funding():
    funding = zeros(1, funding_dt)
    funding[0] = (START_MS + MINUTE_MS, 0, 10_000, 1000)
    run = desk(last=1000, funding=funding).play("1000 1000 1000 1000\n1000 1000 1000 1000")
    assert run.account.funding_e8 == 0


def test_funding_can_liquidate_an_isolated_position_at_the_next_open():
    funding = zeros(1, funding_dt)
    funding[0] = (START_MS + MINUTE_MS, 0, 9_600_000, 1000)  # 9.6 % of the notional, the margin is 10 %
    run = desk(last=1000, funding=funding)
    run.hold(10, 1000, leverage=10)
    run.play("1000 1000 1000 1000\n1000 1001 999 1000")
    assert run.fills() == ["1 +0s stop SELL 10 @ 1000 taker"]
    assert run.replay.all_fills()[0].tag == TAG_LIQUIDATION
    check_books(run.books)


# --- the buffer of fills
def ladder_desk():
    """A ladder on which one bar makes many fills."""
    return desk(ACTOR, actor_params(LADDER, top=10_000, step=1, levels=6, lots=1), last=10_010).rest(10_010)


def test_fills_never_leave_their_buffer():
    """A bar with more fills than rows is an error, never a write behind the buffer."""
    run = ladder_desk()
    mind, books = run.replay.mind, run.books
    bars = bars_of("10010 10020 9900 10020")  # six bought, six sold
    whole = zeros(40, fill_dt)
    whole["ms"] = 77
    module = mind.strategy.compiled()
    with pytest.raises(OverflowError):
        module._walk_bar(
            mind.params[0], mind.guards[0], mind.shared[0], mind.states[0], books.account[0], books.instruments[0],
            books.positions[0, 0], books.slots[0, 0], books.heads[0, 0], books.walks[0], 0, bars[0, 0],
            whole[:5], 0, False, books.instruments, books.positions, books.slots, books.heads,
        )  # fmt: skip
    assert (whole["ms"][5:] == 77).all()
    assert (whole["ms"][:5] != 77).all()


def test_a_full_buffer_is_emptied_between_two_steps(monkeypatch):
    """Many more fills than one buffer holds, in one feed."""
    bars = bars_of("10010 10010 9900 9950\n9950 10020 9940 10010\n" * 50)
    plain = ladder_desk()
    plain.replay.feed(bars, START_MS)
    monkeypatch.setattr(replay, "_FILLS_AT_ONCE", 20)
    tight = ladder_desk()
    tight.replay.feed(bars, START_MS)
    assert len(plain.replay.all_fills()) == 50 * 12
    assert len(plain.replay.fills) < len(tight.replay.fills)
    assert ended(plain) == ended(tight)
