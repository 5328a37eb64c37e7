"""Runs of the compiled strategy: the specification's bars, fills and money."""

from __future__ import annotations

import pytest
from tests.strategies.grid.running import USDT, GridRun

from perpdesk.kernel.records import BUY, SELL
from perpdesk.strategies.grid.machine import ACTIVE, DRAWDOWN, IDLE, ZONE_BREAK
from perpdesk.strategies.grid.params import ExecutorParams
from perpdesk.strategies.grid.plan import NEUTRAL, SHORT
from perpdesk.strategies.grid.strategy import used_e8

BOTH = ExecutorParams(short_budget_e8=1000 * USDT)
FLAT = (10_000, 10_000, 10_000, 10_000)


def started(**options):
    start = {name: options.pop(name) for name in ("a0", "step", "variant", "zone") if name in options}
    run = GridRun(**options)
    run.start(**start)
    assert run.state.grid == ACTIVE
    return run


def test_4_saw_tooth_earns_step_less_fees():
    run = started()
    run.feed(
        *[(10_000, 10_000, 9850, 9850), (9850, 10_050, 9850, 10_050), (10_050, 10_050, 10_000, 10_000)] * 3
    )
    assert run.position.round_trips == 3
    assert run.profit_e8() == 290_940_600
    assert run.position.fees_e8 == 12_059_400
    assert run.position.lots == 0


def test_5_short():
    run = started(variant=SHORT, executor=BOTH)
    fills = run.feed((10_000, 10_150, 10_000, 10_150), (10_150, 10_150, 9950, 9950))
    assert fills == [(SELL, 10_100, 990), (BUY, 10_000, 990)]
    assert run.profit_e8() == 95_020_200
    assert run.state.hi_stop == 11_050


@pytest.mark.parametrize(
    ("bar", "fills"),
    [
        ((10_000, 10_000, 9900, 9950), []),
        ((10_000, 10_000, 9899, 9950), [(BUY, 9900, 1010)]),
        ((9890, 9890, 9890, 9890), [(BUY, 9900, 1010)]),
        ((10_000, 10_000, 9790, 9950), [(BUY, 9900, 1010), (BUY, 9800, 1020)]),
    ],
)
def test_6_only_a_trade_through_fills(bar, fills):
    assert started().feed(bar) == fills


@pytest.mark.parametrize(
    ("bar", "sides"),
    [
        ((10_000, 10_150, 9880, 10_000), [BUY, SELL]),
        ((10_000, 10_110, 9850, 10_000), [SELL, BUY]),
        ((10_000, 10_110, 9890, 10_001), [BUY, SELL]),
        ((10_000, 10_110, 9890, 9999), [SELL, BUY]),
        ((10_000, 10_110, 9890, 10_000), [BUY, SELL]),
    ],
)
def test_7_and_8_order_on_the_path(bar, sides):
    run = started(variant=NEUTRAL, executor=BOTH)
    assert [(side, price) for side, price, _ in run.feed(bar)] == [
        (side, 9900 if side == BUY else 10_100) for side in sides
    ]


def test_9_share_of_the_volume():
    run = started(volume_share_ppm=100_000)
    assert run.feed((10_000, 10_000, 9790, 9800, 15_000)) == [(BUY, 9900, 1010), (BUY, 9800, 490)]
    wanted = run.wanted()
    assert (BUY, 9800, 530) in wanted
    assert (SELL, 10_000, 1010) in wanted
    assert (BUY, 9900, 1010) not in wanted


def test_10_exit_through_the_market_takes():
    run = started()
    assert run.feed((10_000, 10_000, 9850, 10_120)) == [(BUY, 9900, 1010)]
    assert run.feed((10_150, 10_150, 10_150, 10_150)) == [(SELL, 10_142, 1010)]
    assert run.replay.all_fills()[-1].taker == 1


def test_11_gap_through_the_whole_grid():
    run = started()
    fills = run.feed((10_000, 10_000, 9450, 9450), (8800, 8850, 8700, 8750))
    assert [price for _, price, _ in fills] == [*range(9900, 8900, -100), 8793]
    assert fills[-1] == (SELL, 8793, 10_586)
    assert run.profit_e8() == -6_929_132_409  # 69.291324
    assert run.position.fees_e8 == 66_530_409  # 0.665304
    assert run.state.reason == ZONE_BREAK
    assert (run.position.lots, run.state.grid, run.wanted()) == (0, IDLE, [])


def test_12_falling_into_the_drawdown():
    run = started(step=250)
    fills = run.feed(*[(top, top, top - 50, top - 50) for top in range(10_000, 7500, -50)])
    assert [price for _, price, _ in fills] == [*range(9750, 7500, -250), 7740]
    assert fills[-1][2] == 10_339
    assert run.profit_e8() == -10_005_146_130  # 100.051461
    assert run.state.reason == DRAWDOWN
    assert run.profit_e8() >= -(100 * USDT + 2 * 10_339 * 1000)
    assert (run.position.lots, run.state.grid) == (0, IDLE)


def test_13_levels_held_from_the_start():
    run = started(executor=ExecutorParams(initial_levels=5))
    fills = run.feed(FLAT)
    assert [lots for _, _, lots in fills] == [1000, 990, 980, 970, 961]
    assert {price for _, price, _ in fills} == {10_008}
    assert run.position.lots == 4901
    params = run.replay.mind.params[0].of[0]
    buys = [(price, lots) for side, price, lots in run.wanted() if side == BUY]
    assert buys == [(9900, 1010), (9800, 1020), (9700, 1030), (9600, 1041), (9500, 1052)]
    assert [price for side, price, _ in run.wanted() if side == SELL] == [*range(10_500, 10_000, -100)]
    resting = sum(price * lots * 1000 for price, lots in buys)
    assert used_e8(params, run.state, run.slots)[0] - resting == 49_980_400_000
    assert (resting + 49_980_400_000 + 1063 * 9400 * 1000) == 109_946_200_000  # the sixth is over


@pytest.mark.parametrize("lots", [2000, -2000])
def test_14_funding(lots):
    run = GridRun()
    books = run.replay.books
    doors = run.replay.mind.strategy.compiled()
    where = (books.account, books.instruments, books.positions, books.slots, books.heads, 0, 0)
    doors.book_fill(*where, 0, 1 if lots > 0 else -1, 10_000, 2000, 0, 0, 0)
    paid = doors.book_funding(*where, 10_000, 10_000)
    assert paid == -2_000_000 * (1 if lots > 0 else -1)
