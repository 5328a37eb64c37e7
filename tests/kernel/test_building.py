"""Entries in batches: the plan, its batches, and every way in which it ends. Test vector 20 as a walk."""

from __future__ import annotations

import pytest
from tests.kernel.test_gate import PRICE, START_MS, Room

from perpdesk.kernel import ledger
from perpdesk.kernel.building import build
from perpdesk.kernel.records import (
    BIG4_VETO,
    BUY,
    DAILY_LOSS,
    EXPOSURE_LIMIT,
    MARKET,
    MINUTE_MS,
    NONE,
    RATING_BANNED,
    SELL,
    SLOT_ENTRY,
    SLOT_EXIT,
    TRADING_DISABLED,
)

P = 1000
LOTS = 10_000  # what the gate makes of 100 USDT in the room


class Site(Room):
    """One symbol that is building, walked minute by minute. A batch fills at the close it is sent at."""

    def __init__(self, quartile=0, median=0, side=BUY, **room):
        super().__init__(**room)
        self.ms = START_MS
        self.head.cand_quartile, self.head.cand_median = quartile, median
        self.candidate(side=side, plan=1)
        self.judge(self.ms)
        self.sent = []
        self._note()

    @property
    def head(self):
        return self.books.heads[0, 0]

    @property
    def plan(self):
        return self.head.plan

    @property
    def slots(self):
        return self.books.slots[0, 0]

    @property
    def position(self):
        return self.books.positions[0, 0]

    @property
    def entry(self):
        return self.slots[SLOT_ENTRY]

    def _note(self):
        if self.entry.kind == MARKET:
            self.sent.append(((self.ms - START_MS) // 1000, int(self.entry.lots)))

    def fill(self, price=None, lots=None):
        books, entry = self.books, self.entry
        lots = int(entry.lots) if lots is None else lots
        price = int(self.head.last) if price is None else price
        ledger.settle(
            books.account[0], self.position, books.instruments[0], int(entry.side), price, lots, 0, 0, self.ms
        )
        entry.kind = NONE
        return self

    def step(self, price, *, fills=True):
        """What is on its way fills, then a minute closes at this price, and the gate judges."""
        if fills and self.entry.kind == MARKET:
            self.fill()
        self.ms += MINUTE_MS
        head = self.head
        head.last, head.cand_side, head.cand_batch = price, 0, 0
        head.cand_veto = getattr(self, "veto", 0)
        if head.plan.lots:
            build(self.position, self.slots, head, self.books.instruments[0], self.ms, 0)
        asked = bool(head.cand_side)
        if asked:
            self.judge(self.ms)
            self._note()
        return asked

    def walk(self, prices):
        for price in prices:
            self.step(price)
        return self.sent


def test_20_a_price_that_stands_still_is_bought_when_time_is_up():
    site = Site(quartile=990, median=995)
    sent = site.walk([P] * 40)
    # forced at 900 and 1200 seconds, the third as near the average as can be 180 s later
    assert sent == [(900, 3000), (1200, 3000), (1380, 4000)]
    assert (site.position.lots, site.plan.lots) == (LOTS, 0)


def test_20_without_a_baseline():
    assert Site().walk([P] * 40) == [(600, 3000), (1200, 3000), (1380, 4000)]


def test_a_good_price_at_the_signal_is_bought_at_once():
    site = Site(quartile=P, median=P)
    assert site.sent == [(0, 3000)]
    assert site.walk([P + 50] * 3) == [(0, 3000)]
    site.step(996)  # 0.4 % below the first fill, and 240 s after it
    assert site.sent[1:] == [(240, 3000)]


def test_a_short_builds_on_the_other_side():
    site = Site(quartile=P, median=P, side=SELL)
    site.walk([P, P, P])
    assert site.sent[:2] == [(0, 3000), (180, 3000)]
    assert site.position.lots < 0


def test_too_few_lots_for_three_batches_are_one_order():
    site = Site(instrument={"notional_min_e8": 31 * 10**8})
    assert site.sent == [(0, LOTS)]
    assert site.plan.lots == 0


def test_a_batch_that_fills_partly_leaves_its_rest_to_the_last():
    site = Site(quartile=P, median=P)
    site.fill(lots=1000)
    sent = site.walk([P] * 40)
    assert sent[0] == (0, 3000)
    assert sum(lots for _, lots in sent[1:]) + 1000 == LOTS
    assert site.position.lots == LOTS


def test_a_batch_without_a_fill_is_sent_again():
    site = Site(quartile=P, median=P)
    site.entry.kind = NONE  # withdrawn after two bars without volume
    assert site.step(P)
    assert site.sent == [(0, 3000), (60, 3000)]


REFUSALS = [
    ("trading_enabled", 0, TRADING_DISABLED),
    ("tripped", 1, DAILY_LOSS),
    ("exposure_max_e8", 99 * 10**8, EXPOSURE_LIMIT),
]


@pytest.mark.parametrize(("field", "value", "verdict"), REFUSALS)
@pytest.mark.parametrize("filled", [0, 1, 2])
def test_a_refusal_ends_the_plan_and_keeps_what_is_held(field, value, verdict, filled):
    site = Site(quartile=P if filled else 0, median=P if filled else 0)
    while site.plan.filled < filled:
        site.step(P)
    setattr(site.books.account[0], field, value)
    while site.plan.lots and not site.step(P):
        pass
    assert site.head.verdict == verdict
    assert (site.plan.lots, site.entry.kind) == (0, NONE)
    assert site.position.lots == (0, 3000, 6000)[filled]
    assert not site.step(P)


def test_a_veto_and_a_ban_between_batches():
    site = Site(quartile=P, median=P)
    site.veto = BIG4_VETO
    site.walk([P] * 4)
    assert (site.head.verdict, site.plan.lots, site.position.lots) == (BIG4_VETO, 0, 3000)
    site = Site(quartile=P, median=P)
    site.head.margin_cut_ppm = 1_000_000
    site.walk([P] * 4)
    assert (site.head.verdict, site.plan.lots, site.position.lots) == (RATING_BANNED, 0, 3000)


@pytest.mark.parametrize("in_path", [0, 1])
def test_an_exit_takes_the_rest_back(in_path):
    site = Site(quartile=P, median=P)
    site.fill()
    site.entry.kind, site.entry.lots = MARKET, 3000  # the second batch is on its way
    site.slots[SLOT_EXIT].kind = MARKET
    build(site.position, site.slots, site.head, site.books.instruments[0], site.ms, in_path)
    assert (site.plan.lots, site.entry.kind) == (0, NONE)


def test_a_position_that_was_stopped_out_is_not_built_again():
    site = Site(quartile=P, median=P)
    site.fill()
    site.ms += 30_000
    ledger.settle(
        site.books.account[0], site.position, site.books.instruments[0], SELL, PRICE, 3000, 0, 3, site.ms
    )
    assert not site.step(P)
    assert (site.plan.lots, site.position.lots) == (0, 0)


def test_a_plan_occupies_its_place_and_reserves_its_exposure():
    site = Site(sleeves=2, exposure_max_e8=150 * 10**8)
    assert site.candidate().judge(START_MS).verdict() == "POSITION_EXISTS"
    assert site.candidate(v=1, side=SELL).judge(START_MS).verdict(v=1) == "OPPOSITE_SIDE"
    assert site.candidate(v=1).judge(START_MS).verdict(v=1) == "EXPOSURE_LIMIT"
    site.books.account[0].exposure_max_e8 = 200 * 10**8
    assert site.candidate(v=1).judge(START_MS).verdict(v=1) == "APPROVED"
