"""The books: worked numbers, the exchange's own examples, and identities under random use."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.balance import check_books, check_levels, check_liquidation_level
from tests.kernel.tables import MONEY, START_MS, account_record, instrument_records, sleeve_records

from perpdesk.kernel import ledger
from perpdesk.kernel.records import (
    BUY,
    CROSS,
    DAY_MS,
    FAR,
    ISOLATED,
    SELL,
    TAG_LIQUIDATION,
    TAG_SIGNAL,
    head_dt,
    position_dt,
    zeros,
)
from perpdesk.kernel.replay import Books

# The snapshot of BTCUSDT: (cap, leverage, mmr ppm, cum), in e8.
BTC = tuple(
    (cap * MONEY, leverage, mmr, cum * MONEY)
    for cap, leverage, mmr, cum in (
        (300_000, 150, 4_000, 0),
        (800_000, 100, 5_000, 300),
        (3_000_000, 75, 6_500, 1_500),
        (12_000_000, 50, 10_000, 12_000),
        (70_000_000, 25, 20_000, 132_000),
        (100_000_000, 20, 25_000, 482_000),
    )
)


class Bench:
    """Account, positions and heads without a loop around them."""

    def __init__(self, *, sleeves=1, symbols=1, leverage=10, mode=ISOLATED, cash=10_000, **instrument):
        self.books = Books(
            account=account_record(cash, margin_mode=mode),
            sleeves=sleeve_records(sleeves),
            instruments=instrument_records(symbols, **instrument),
            positions=zeros((sleeves, symbols), position_dt),
            slots=zeros((sleeves, symbols, 1), position_dt),
            heads=zeros((sleeves, symbols), head_dt),
            walks=zeros(symbols, position_dt),
        )
        self.books.positions["leverage"] = leverage
        self.books.heads["liquidation_lo"] = -FAR
        self.books.heads["liquidation_hi"] = FAR

    @property
    def account(self):
        return self.books.account[0]

    def position(self, v=0, s=0):
        return self.books.positions[v, s]

    def relevel(self, v, s):
        books = self.books
        if self.account.margin_mode == CROSS:
            ledger.relevel_all(self.account, books.instruments, books.positions, books.heads)
            if self.position(v, s).lots != 0:
                return
        position = self.position(v, s)
        ledger.relevel(position, books.instruments[s], books.heads[v, s], position.margin_e8)

    def fill(self, side, lots, price, *, fee=0, v=0, s=0, ms=START_MS, tag=TAG_SIGNAL):
        realised = ledger.settle(
            self.account, self.position(v, s), self.books.instruments[s], side, price, lots, fee, tag, ms
        )
        self.relevel(v, s)
        return realised

    def fund(self, rate_e8, mark, v=0, s=0):
        paid = ledger.pay_funding(self.account, self.position(v, s), self.books.instruments[s], rate_e8, mark)
        self.relevel(v, s)
        return paid

    def liquidate(self, price, fee, v=0, s=0):
        realised = ledger.settle_liquidation(
            self.account,
            self.position(v, s),
            self.books.instruments[s],
            price,
            fee,
            TAG_LIQUIDATION,
            START_MS,
        )
        self.relevel(v, s)
        return realised


# --- one fill after the other
def test_open_add_reduce_and_close():
    bench = Bench()
    position = bench.position()
    assert bench.fill(BUY, 10, 1000, fee=5) == 0
    assert (position.lots, position.cost_e8, position.margin_e8) == (10, 10_000_000, 1_000_000)
    assert (position.opened_ms, position.best, bench.account.open_positions) == (START_MS, 1000, 1)
    assert bench.fill(BUY, 10, 1100, fee=5, ms=START_MS + 1) == 0
    assert (position.lots, position.cost_e8, position.margin_e8) == (20, 21_000_000, 2_100_000)
    assert (position.opened_ms, position.last_fill_ms, position.best) == (START_MS, START_MS + 1, 1100)
    assert bench.fill(SELL, 5, 1200, fee=5) == 5 * (1200 - 1050) * 1000
    assert (position.lots, position.cost_e8, position.margin_e8) == (15, 15_750_000, 1_575_000)
    assert bench.fill(SELL, 15, 1000, fee=5, ms=START_MS + 2) == 15 * (1000 - 1050) * 1000
    assert (position.lots, position.cost_e8, position.margin_e8, position.round_trips) == (0, 0, 0, 1)
    assert (position.closed_ms, position.closed_tag, position.closed_side) == (START_MS + 2, TAG_SIGNAL, BUY)
    assert bench.account.cash_e8 == 10_000 * MONEY + 750_000 - 750_000 - 20
    assert (bench.account.fills, bench.account.open_positions, bench.account.margin_e8) == (4, 0, 0)


def test_a_short_earns_when_the_price_falls():
    bench = Bench()
    bench.fill(SELL, 10, 1000)
    assert bench.position().lots == -10
    assert ledger.unrealised_e8(bench.position(), bench.books.instruments[0], 990) == 100_000
    assert bench.fill(BUY, 10, 990) == 100_000
    assert bench.position().closed_side == SELL


def test_a_fill_beyond_the_position_reverses_it():
    bench = Bench()
    bench.fill(BUY, 10, 1000)
    assert bench.fill(SELL, 14, 1100, fee=7, ms=START_MS + 9) == 10 * 100 * 1000
    position = bench.position()
    assert (position.lots, position.cost_e8, position.margin_e8) == (-4, 4_400_000, 440_000)
    assert (position.round_trips, position.closed_side, position.opened_ms) == (1, BUY, START_MS + 9)
    assert (bench.account.open_positions, bench.account.fees_e8) == (1, 7)


def test_a_third_of_an_odd_cost_loses_nothing():
    bench = Bench(unit_e8=1)
    bench.fill(BUY, 3, 333)
    bench.position().cost_e8 += 1  # an average that is no whole number
    first = bench.fill(SELL, 1, 400)
    second = bench.fill(SELL, 2, 400)
    assert first + second == 3 * 400 - 1000


@pytest.mark.parametrize(
    ("notional", "ppm", "fee"),
    [(1_000_000, 500, 500), (1000, 500, 1), (999, 500, 0), (3000, 500, 2), (0, 500, 0)],
)
def test_a_fee_is_rounded_half_away_from_zero(notional, ppm, fee):
    assert ledger.fee_e8(notional, ppm) == fee


@pytest.mark.parametrize(
    ("side", "rate", "paid"),
    [
        (BUY, 10_000, -1_000),
        (BUY, -10_000, 1_000),
        (SELL, 10_000, 1_000),
        (SELL, -10_000, -1_000),
        (BUY, 0, 0),
    ],
)
def test_longs_pay_a_positive_rate_shorts_receive_it(side, rate, paid):
    bench = Bench()
    bench.fill(side, 10, 1000)  # a notional of 1e7: 0.01 % is 1,000
    assert bench.fund(rate, 1000) == paid
    position = bench.position()
    assert (position.funding_e8, bench.account.funding_e8) == (paid, paid)
    assert (position.margin_e8, bench.account.margin_e8) == (1_000_000 + paid, 1_000_000 + paid)
    assert bench.account.cash_e8 == 10_000 * MONEY + paid


def test_funding_is_on_the_mark_and_in_cross_mode_leaves_the_margin():
    bench = Bench(mode=CROSS)
    bench.fill(BUY, 10, 1000)
    assert bench.fund(10_000, 1500) == -1_500
    assert bench.position().margin_e8 == 1_000_000


def test_funding_never_takes_more_than_the_isolated_margin():
    bench = Bench(leverage=125)
    bench.fill(BUY, 10, 1000)
    bench.fund(5_000_000, 1000)
    assert bench.position().margin_e8 == 0
    bench.fund(5_000_000, 1000)
    assert bench.position().margin_e8 == 0
    check_books(bench.books)


# --- brackets
@pytest.mark.parametrize(
    ("notional", "maintenance"),
    [
        (0, 0),
        (300_000, 1_200),
        (800_000, 3_700),
        (3_000_000, 18_000),
        (12_000_000, 108_000),
        (200_000_000, 4_518_000),
    ],
)
def test_maintenance_margin_of_the_published_brackets(notional, maintenance):
    instrument = instrument_records(brackets=BTC)[0]
    assert ledger.maintenance_e8(instrument, notional * MONEY) == maintenance * MONEY


@pytest.mark.parametrize(
    ("notional", "bracket"), [(0, 0), (300_000, 0), (300_001, 1), (800_000, 1), (99_999_999, 5), (10**9, 5)]
)
def test_a_notional_falls_into_the_bracket_whose_cap_it_does_not_pass(notional, bracket):
    assert ledger.bracket_of(instrument_records(brackets=BTC)[0], notional * MONEY) == bracket


@pytest.mark.parametrize(
    ("leverage", "cap"),
    [(1, 100_000_000), (20, 100_000_000), (21, 70_000_000), (75, 3_000_000), (150, 300_000), (151, 0)],
)
def test_the_largest_notional_at_a_leverage(leverage, cap):
    assert ledger.leverage_cap_e8(instrument_records(brackets=BTC)[0], leverage) == cap * MONEY


# --- liquidation
def test_the_exchanges_own_examples_of_the_liquidation_price():
    """Two longs on one cross wallet of 1,535,443.01: ETH 3,683.979 @ 1,456.84, MMR 10 %, cum 135,365, and
    BTC 109.488 @ 32,481.98, MMR 2.5 %, cum 16,300; marks 1,335.18 and 31,967.27."""
    wallet = 1_535_443_01 * MONEY // 100
    eth = instrument_records(unit_e8=1000, brackets=((10**17, 5, 100_000, 135_365 * MONEY),))[0]
    btc = instrument_records(unit_e8=1000, brackets=((10**17, 20, 25_000, 16_300 * MONEY),))[0]
    eth_cost, btc_cost = 3_683_979 * 145_684 * 1000, 109_488 * 3_248_198 * 1000
    btc_side = -71_200_81 * MONEY // 100 + -56_354_57 * MONEY // 100
    assert ledger.liquidation_price(3_683_979, eth_cost, wallet + btc_side, eth) == 115_326
    eth_side = -356_512_508 * MONEY // 1000 + -448_192_89 * MONEY // 100
    assert ledger.liquidation_price(109_488, btc_cost, wallet + eth_side, btc) == 2_631_690  # 26,316.8933, up


def test_the_same_examples_from_the_positions_themselves():
    bench = Bench(symbols=2, mode=CROSS, leverage=5)
    books = bench.books
    for s, (mmr, cum) in enumerate(((100_000, 135_365), (25_000, 16_300))):
        books.instruments["bracket_mmr_ppm"][s, 0] = mmr
        books.instruments["bracket_cum_e8"][s, 0] = cum * MONEY
    books.account["cash_e8"] = 1_535_443_01 * MONEY // 100
    books.heads["last"] = [[133_518, 3_196_727]]
    bench.fill(BUY, 3_683_979, 145_684, s=0)
    bench.fill(BUY, 109_488, 3_248_198, s=1)
    assert bench.position(0, 0).liquidation_price == 115_326
    assert bench.position(0, 1).liquidation_price == 2_631_690
    assert books.heads[0, 0].liquidation_lo == 115_326


lots = st.integers(1, 5_000)
price = st.integers(200, 50_000)


@given(
    st.sampled_from([BUY, SELL]),
    lots,
    price,
    st.integers(1, 125),
    st.integers(1, 3_000),
    st.integers(0, 100_000),
    st.integers(0, 50),
)
def test_the_liquidation_price_is_where_maintenance_eats_the_margin(
    side, held, entry, leverage, unit, mmr, cum
):
    cost = held * entry * unit
    instrument = instrument_records(unit_e8=unit, brackets=((10**17, 125, mmr, cum * cost // 1_000),))[0]
    position = zeros(1, position_dt)[0]
    position.lots, position.cost_e8, position.margin_e8 = side * held, cost, -(-cost // leverage)
    wallet = int(position.margin_e8)
    level = ledger.liquidation_price(position.lots, cost, wallet, instrument)
    position.liquidation_price = level
    check_liquidation_level(position, instrument, wallet)
    exact = (side * cost - wallet - int(instrument.bracket_cum_e8[0])) / (
        held * unit * (side - Fraction(mmr, 1_000_000))
    )
    assert level == (max(0, -(-exact // 1)) if side > 0 else exact // 1)


def test_an_isolated_liquidation_costs_the_margin_and_not_more():
    bench = Bench(leverage=10, cash=1)
    bench.fill(BUY, 10, 1000, fee=5_000)
    before = int(bench.account.cash_e8)
    # at 850 the position has lost 1,500,000 of a margin of 1,000,000
    assert bench.liquidate(850, 100_000) == -900_000
    assert bench.account.cash_e8 == before - 1_000_000
    position = bench.position()
    assert (position.realised_e8, position.fees_e8) == (-900_000, 105_000)
    assert (position.closed_tag, bench.account.liquidations, position.lots) == (TAG_LIQUIDATION, 1, 0)
    check_books(bench.books)


def test_a_liquidation_before_the_margin_is_gone_returns_the_rest():
    bench = Bench(leverage=10, cash=1)
    bench.fill(SELL, 10, 1000)
    assert bench.liquidate(1050, 10_000) == -500_000
    assert bench.account.cash_e8 == MONEY - 510_000


def test_a_cross_liquidation_ends_at_an_empty_wallet():
    bench = Bench(mode=CROSS, leverage=100)
    bench.books.account["cash_e8"] = bench.books.account["initial_e8"] = 300_000
    bench.fill(BUY, 10, 1000)
    bench.liquidate(900, 10_000)
    assert bench.account.cash_e8 == 0
    check_books(bench.books)


# --- random use
class Plain:
    """Average cost, written down plainly: what one position must show."""

    def __init__(self):
        self.lots = self.cost = self.realised = self.fees = self.trips = 0

    def fill(self, side, lots, price, unit, fee):
        self.fees += fee
        if self.lots * side < 0:
            closed = min(lots, abs(self.lots))
            share = Fraction(self.cost * closed, abs(self.lots))
            cost = int(share + Fraction(1, 2))
            self.realised += side * (cost - closed * price * unit)
            self.cost -= cost
            self.lots += side * closed
            self.trips += self.lots == 0
            lots -= closed
        self.lots += side * lots
        self.cost += lots * price * unit


who = st.tuples(st.integers(0, 1), st.integers(0, 1))
moves = st.one_of(
    st.tuples(st.just("fill"), who, st.sampled_from([BUY, SELL]), st.integers(1, 20), st.integers(900, 1100)),
    st.tuples(st.just("fill"), who, st.sampled_from([BUY, SELL]), st.integers(1, 20), st.integers(900, 1100)),
    st.tuples(st.just("fund"), who, st.integers(-3_000_000, 3_000_000), st.integers(900, 1100)),
    st.tuples(st.just("liquidate"), who, st.integers(500, 1500), st.integers(0, 200_000)),
    st.tuples(st.just("flat"), who, st.integers(900, 1100)),
)


@given(
    st.lists(moves, max_size=30),
    st.sampled_from([ISOLATED, CROSS]),
    st.integers(1, 100),
    st.sampled_from([1, 1000]),
)
@settings(max_examples=150)
def test_the_books_balance_after_every_move(moves, mode, leverage, unit):
    bench = Bench(sleeves=2, symbols=2, leverage=leverage, mode=mode, unit_e8=unit, cash=1)
    bench.books.heads["last"] = 1000
    plain = {(v, s): Plain() for v in (0, 1) for s in (0, 1)}
    insured = 0
    for kind, (v, s), *rest in moves:
        position = bench.position(v, s)
        side = BUY if position.lots > 0 else SELL
        if kind == "fill":
            fee = ledger.fee_e8(rest[1] * rest[2] * unit, 500)
            bench.fill(rest[0], rest[1], rest[2], fee=fee, v=v, s=s)
            plain[v, s].fill(rest[0], rest[1], rest[2], unit, fee)
        elif kind == "fund":
            bench.fund(rest[0], rest[1], v, s)
        elif kind == "flat" and position.lots != 0:
            held = abs(int(position.lots))
            bench.fill(-side, held, rest[0], v=v, s=s)
            plain[v, s].fill(-side, held, rest[0], unit, 0)
        elif kind == "liquidate" and position.lots != 0:
            margin, cash = int(position.margin_e8), int(bench.account.cash_e8)
            realised = bench.liquidate(rest[0], rest[1], v, s)
            one = plain[v, s]
            one.fill(-side, abs(one.lots), rest[0], unit, rest[1])
            shortfall = int(position.realised_e8) - one.realised
            assert shortfall >= 0
            assert bench.account.cash_e8 == cash + realised - rest[1]
            if mode == ISOLATED:
                assert bench.account.cash_e8 >= cash - margin
                assert shortfall == 0 or bench.account.cash_e8 == cash - margin
            else:
                assert bench.account.cash_e8 >= 0
            one.realised += shortfall
            insured += shortfall
        check_books(bench.books)
        check_levels(bench.books)
        for (u, i), one in plain.items():
            held = bench.position(u, i)
            assert (held.lots, held.cost_e8, held.realised_e8, held.fees_e8, held.round_trips) == (
                one.lots, one.cost, one.realised, one.fees, one.trips,
            )  # fmt: skip


# --- equity, drawdown, the day
def test_drawdown_is_a_fraction_of_the_peak():
    account = account_record(100)[0]
    for equity, drawdown in (
        (100, 0.0),
        (120, 0.0),
        (90, 0.25),
        (110, 0.25),
        (60, 0.5),
        (200, 0.5),
        (110, 0.5),
    ):
        ledger.mark_step(account, (equity - 100) * MONEY, START_MS)
        assert account.equity_e8 == equity * MONEY
        assert account.drawdown_max == pytest.approx(drawdown)
    assert account.equity_peak_e8 == 200 * MONEY


def test_the_breaker_trips_at_the_limit_and_resets_at_the_next_utc_day():
    account = account_record(100, daily_loss_ppm=100_000)[0]
    midnight = (START_MS // DAY_MS + 1) * DAY_MS
    ledger.mark_step(account, 0, START_MS + 60_000)
    assert (account.day_start_e8, account.day_end_ms) == (100 * MONEY, midnight)
    ledger.mark_step(account, -10 * MONEY + 1, START_MS + 120_000)
    assert account.tripped == 0
    ledger.mark_step(account, -10 * MONEY, START_MS + 180_000)
    assert account.tripped == 1
    ledger.mark_step(account, 50 * MONEY, midnight - 60_000)
    assert account.tripped == 1  # a recovery on the same day changes nothing
    ledger.mark_step(account, -5 * MONEY, midnight)
    assert (account.tripped, account.day_start_e8, account.day_end_ms) == (0, 95 * MONEY, midnight + DAY_MS)
    ledger.mark_step(account, -14 * MONEY, midnight + 60_000)
    assert account.tripped == 0  # 9 of 95: the limit is of the new day's start
    ledger.mark_step(account, -14 * MONEY - MONEY // 2, midnight + 120_000)
    assert account.tripped == 1


def test_without_a_limit_nothing_trips():
    account = account_record(100)[0]
    ledger.mark_step(account, 0, START_MS)
    ledger.mark_step(account, -90 * MONEY, START_MS + 60_000)
    assert account.tripped == 0
