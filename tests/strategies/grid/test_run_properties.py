"""Whole grid runs over random markets: caps, balance, losses, one result however bars are skipped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.balance import check_books
from tests.strategies.grid.running import USDT, GridRun, minutes, random_walk

from perpdesk.kernel.records import BUY, FAR, MINUTE_MS, NONE, SELL
from perpdesk.kernel.replay import fills_hash
from perpdesk.strategies.grid.machine import ACTIVE, CLOSING, DRAWDOWN, EXPIRED, IDLE, MANUAL, ZONE_BREAK
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import LONG, NEUTRAL, SHORT
from perpdesk.strategies.grid.stops import equity_e8, level_of, slope_ppm, stop_levels
from perpdesk.strategies.grid.strategy import held_lots, order_start, used_e8

BOTH = ExecutorParams(short_budget_e8=1000 * USDT)


def automatic(variant=NEUTRAL, *, skip=True, share=0, executor=BOTH, **record):
    return GridRun(
        executor=executor, auto_start=True, variant=variant, step_ppm=5000, skip=skip, volume_share_ppm=share,
        restart_after_ms=0, **record,
    )  # fmt: skip


@pytest.mark.parametrize("variant", [LONG, SHORT, NEUTRAL])
def test_skipping_bars_changes_nothing(variant):
    fills = runs = 0
    for seed in range(6):
        rows = random_walk(seed, 1500, reach=45)
        results = []
        for skip in (True, False):
            run = automatic(variant, skip=skip)
            run.feed(*rows)
            state = (run.state.grid, run.state.runs, run.state.peak_e8, run.state.reason, run.profit_e8())
            results.append((fills_hash(run.replay.all_fills()), state, len(run.replay.all_fills())))
        assert results[0] == results[1]
        fills += results[0][2]
        runs += results[0][1][1]
    assert fills > 500
    assert runs > 6


def test_skipping_skips():
    run = automatic()
    run.feed(*random_walk(3, 1500, reach=15, jump=0.0))
    assert run.replay.counters[0].walked < 0.8 * run.replay.counters[0].bars


def invariants(run):
    books, state, params = run.replay.books, run.state, run.replay.mind.params[0].of[0]
    check_books(books)
    used_long, used_short = used_e8(params, state, run.slots)
    assert used_long <= params.long_cap_e8
    assert used_short <= params.short_cap_e8
    if state.grid == ACTIVE:
        levels = [(state.levels[k], run.slots[4 + k]) for k in range(state.count)]
        assert sum(level.side * held_lots(level, slot) for level, slot in levels) == run.position.lots
        for k in range(state.count):
            level, slot = state.levels[k], run.slots[4 + k]
            held = held_lots(level, slot)
            assert 0 <= held <= level.lots
            if slot.kind != NONE and slot.side != level.side:
                assert slot.lots == held  # an exit covers what is held, never more
                assert slot.price == level.leave
            elif slot.kind != NONE:
                assert (slot.lots, slot.price) == (level.lots - held, level.entry)
            else:
                assert held == 0  # whatever is held has its exit
    elif state.grid == IDLE:
        assert run.position.lots == 0
    if state.grid in (IDLE, CLOSING):
        assert all(slot.kind == NONE for slot in run.slots[4:])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([LONG, SHORT, NEUTRAL]),
    st.sampled_from([0, 50_000]),
    st.integers(150, 2000),
)
def test_the_ladder_is_whole_after_every_step(seed, variant, share, cap):
    executor = ExecutorParams(max_position_e8=cap * USDT, short_budget_e8=cap * USDT)
    run = automatic(variant, share=share, executor=executor)
    rng = np.random.default_rng(seed)
    for row in random_walk(seed, 150):
        before, state = abs(int(run.position.lots)), int(run.state.grid)
        run.feed((*row, int(rng.integers(0, 40_000))))
        invariants(run)
        if state == CLOSING and run.state.grid == CLOSING:
            assert abs(int(run.position.lots)) <= before


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([LONG, SHORT]), st.sampled_from([100, 250]))
def test_loss_is_bounded(seed, variant, step):
    """Never more than the drawdown limit, the gap beyond the stop of that moment, and two ticks."""
    run = GridRun(executor=BOTH)
    run.start(step=step, variant=variant)
    state = run.state
    for row in random_walk(seed, 100, reach=150, jump=0.03):
        run.feed(row)
        if state.grid != ACTIVE:
            break
    else:
        worth = equity_e8(1000 * USDT + run.profit_e8(), 0, 0, 0, 1000, 1250) + unrealised(run)
        assert worth > 900 * USDT
        return
    *entered, out = run.replay.all_fills()
    lots = int(out.lots)
    assert (run.position.lots, abs(sum(int(f.side * f.lots) for f in entered))) == (0, lots)
    base = 1000 * USDT - sum(int(f.side * f.price * f.lots) * 1000 + int(f.fee_e8) for f in entered)
    inventory = (lots, 0) if variant == LONG else (0, lots)
    lo, hi = stop_levels(
        base, *inventory, 1000, 1250, state.peak_e8, state.limit_e8, state.lo_stop, state.hi_stop
    )
    gap = lots * max(0, int(lo) - row[0], row[0] - int(hi)) * 1000
    assert run.profit_e8() >= state.peak_e8 - 1000 * USDT - (100 * USDT + gap + 2 * lots * 1000)


def unrealised(run):
    """What the inventory would bring now, exit costs paid (a few hundredths less: each is rounded up)."""
    position = run.position
    last = int(run.replay.books.heads[0, 0].last)
    side = 1 if position.lots > 0 else -1
    value = int(position.lots) * last * 1000
    return value - side * int(position.cost_e8) - abs(value) * 1250 // 10**6


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 20_000), st.integers(0, 20_000), st.integers(50 * USDT, 2000 * USDT),
    st.integers(-2000 * USDT, 2000 * USDT), st.integers(0, 20_000), st.booleans(),
)  # fmt: skip
def test_levels_are_the_first_price(long_lots, short_lots, target, base, exit_ppm, below):
    slope = slope_ppm(long_lots, short_lots, exit_ppm)
    if slope == 0 or abs(target - base) > abs(slope) * 10**4:  # no price below ten million
        return
    args = (target, base, long_lots, short_lots, 1000, exit_ppm, below)
    price = level_of(*args)

    def holds(at):
        worth = equity_e8(base, long_lots, short_lots, at, 1000, exit_ppm)
        return worth <= target if below else worth >= target

    towards_market = 1 if (slope > 0) == below else -1
    if price >= 0:
        assert holds(price)
        assert price + towards_market < 0 or not holds(price + towards_market)
    else:
        assert not any(holds(at) for at in (0, 1, 100, 10_000, 10**6))


def test_long_and_short_are_mirror_images():
    """Same fills at mirrored prices; sizes differ, so drawdown is out of the way."""
    calm = ExecutorParams(
        short_budget_e8=1000 * USDT,
        stop_drawdown_ppm=500_000,
        order_size_e8=50 * USDT,
        zone_break_buffer_ppm=0,
    )
    for seed in range(20):
        rows = [row for row in random_walk(seed, 200, jump=0.0) if row[0] != row[3]]
        long_run, short_run = GridRun(executor=calm), GridRun(executor=calm)
        long_run.start(variant=LONG)
        short_run.start(variant=SHORT)
        fills = long_run.feed(*rows)
        image = short_run.feed(
            *[(20_000 - o, 20_000 - low, 20_000 - high, 20_000 - c) for o, high, low, c in rows]
        )
        resting = [
            ([(s, p) for s, p, _ in fills if p % 100 == 0]),
            ([(-s, 20_000 - p) for s, p, _ in image if p % 100 == 0]),
        ]
        assert resting[0] == resting[1]
        assert long_run.state.reason == short_run.state.reason


def test_the_scale_of_prices_changes_no_run():
    """Prices, tick and unit ten times as fine: the same fills, and the same money to the last digit.

    Drawdown is out of the way: right behind a fill a price of the path may lie between two ticks.
    """
    calm = ExecutorParams(short_budget_e8=1000 * USDT, stop_drawdown_ppm=500_000)
    for seed in range(6):
        rows = random_walk(seed, 400)
        one, fine = automatic(executor=calm), automatic(executor=calm, unit_e8=100)
        one_fills = one.feed(*rows)
        fine.replay.mind.params[0].of[0].tick = 10
        fine.replay.books.instruments["tick"] = 10
        fine_fills = fine.feed(*[tuple(price * 10 for price in row) for row in rows])
        assert len(one_fills) > 30
        assert [(side, price * 10, lots) for side, price, lots in one_fills] == fine_fills
        assert one.profit_e8() == fine.profit_e8()


def test_a_drawdown_stop_is_on_the_tick():
    """Where prices are finer than the tick, the stop is the tick nearest the market at which it holds."""
    for inventory in ((5_000, 0), (0, 5_000)):
        arguments = (900 * USDT, *inventory, 100, 1250, 1000 * USDT, 100 * USDT, -FAR, FAR)
        (lo, hi), (on_lo, on_hi) = stop_levels(*arguments), stop_levels(*arguments, 10)
        if inventory[0]:
            assert (on_lo, on_hi) == (lo // 10 * 10, FAR)
        else:
            assert (on_lo, on_hi) == (-FAR, -(-hi // 10) * 10)


def test_costs_never_help():
    """The same fills with higher fees earn less; a wider slippage makes no forced exit better."""
    calm = {"short_budget_e8": 1000 * USDT, "stop_drawdown_ppm": 500_000}
    for seed in range(6):
        rows = random_walk(seed, 300, jump=0.0)
        profits = []
        for taker_ppm, slippage_ppm in ((500, 750), (500, 2000), (900, 2000)):
            run = automatic(executor=ExecutorParams(**calm), slippage_ppm=slippage_ppm)
            run.replay.books.instruments["taker_ppm"] = taker_ppm
            run.feed(*rows)
            profits.append(run.profit_e8())
        assert profits[0] > profits[1] > profits[2]


def test_a_bar_without_volume_fills_nothing():
    run = GridRun(volume_share_ppm=100_000)
    run.start()
    assert run.feed((10_000, 10_000, 9850, 9850, 0)) == []
    assert run.feed((9850, 9850, 9840, 9850, 10_000)) == [(BUY, 9900, 1000)]


def test_minutes_that_are_missing_are_jumped_over():
    """Orders rest through a hole; what the price crossed meanwhile fills at its own price at the next open."""
    run = GridRun()
    run.start()
    run.at_ms += 30 * MINUTE_MS
    assert run.feed((9790, 9800, 9790, 9795)) == [(BUY, 9900, 1010), (BUY, 9800, 1020)]


def test_a_run_ends_by_hand_or_by_age():
    run = GridRun(executor=ExecutorParams(max_run_ms=5 * MINUTE_MS))
    run.start()
    run.feed((10_000, 10_000, 9850, 9850))
    run.state.close_asked = 1
    run.feed((9850, 9850, 9850, 9850))
    assert (run.state.grid, run.wanted()) == (CLOSING, [(SELL, 0, 1010)])
    run.feed((9850, 9850, 9850, 9850))
    assert (run.state.grid, run.state.reason, run.position.lots) == (IDLE, MANUAL, 0)
    run.start(9850)
    assert run.feed(*[(9850, 9850, 9850, 9850)] * 4) == []
    assert run.state.grid == ACTIVE
    run.feed(*[(9850, 9850, 9850, 9850)] * 2)
    assert (run.state.grid, run.state.reason) == (IDLE, EXPIRED)


def test_a_second_plan_is_refused_while_one_runs():
    run = GridRun()
    run.start()
    with pytest.raises(ValueError, match="not idle"):
        run.start()


def test_a_step_from_the_average_range_waits_for_a_hundred_bars():
    rows = [(10_000, 10_063, 9937, 10_000), *[(10_000,) * 4] * 239]
    run = GridRun(executor=BOTH, auto_start=True, variant=LONG)
    run.feed(*rows * 100)
    assert run.state.grid == ACTIVE
    assert run.state.step == 101  # 0.8 × 126, half up
    short = GridRun(executor=BOTH, auto_start=True, variant=LONG)
    short.feed(*(rows * 100)[:-1])
    assert (short.state.grid, short.state.runs) == (IDLE, 0)


def test_flat_market_never_starts():
    run = GridRun(executor=BOTH, auto_start=True)
    run.replay.feed(minutes([(10_000,) * 4] * 240 * 101), run.at_ms)
    assert run.state.runs == 0


def test_automatic_starts_are_checked():
    with pytest.raises(ValueError, match="short_budget"):
        automatic(NEUTRAL, executor=ExecutorParams())
    with pytest.raises(ValueError, match="arithmetic"):
        automatic(LONG, executor=ExecutorParams(spacing="geometric"))


def test_a_geometric_plan_runs():
    run = GridRun(executor=ExecutorParams(spacing="geometric"))
    run.start()
    assert run.wanted()[0] == (BUY, 9901, 1009)
    assert run.feed((10_000, 10_000, 9900, 9900)) == [(BUY, 9901, 1009)]


def test_stop_reasons_are_told():
    assert {int(automatic_reason(seed)) for seed in range(8)} == {DRAWDOWN, ZONE_BREAK}


def automatic_reason(seed):
    run = GridRun(executor=BOTH)
    run.start(step=100 if seed % 2 else 250)
    run.feed(*[(top, top, top - 50, top - 50) for top in range(10_000, 7000, -50)])
    return run.state.reason


def test_order_start_refuses_a_refused_plan():
    run = GridRun()
    with pytest.raises(ValueError, match="STEP_TOO_SMALL"):
        run.start(step=3)
    assert order_start.__doc__
