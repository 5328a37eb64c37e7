"""Slots: what is already there is kept, anything different is a new order."""

from __future__ import annotations

import pytest

from perpdesk.kernel import book
from perpdesk.kernel.records import (
    BUY,
    LIMIT,
    MARKET,
    NONE,
    SELL,
    STOP,
    TAKE_PROFIT,
    TRAILING,
    slot_dt,
    zeros,
)


@pytest.fixture
def slots():
    return zeros(6, slot_dt)


def test_the_same_limit_is_kept_and_stays_at_rest(slots):
    slot = slots[0]
    book.put_limit(slot, BUY, 99, 5, 0, 1, 100)
    assert (slot.kind, slot.side, slot.price, slot.lots, slot.crossing) == (LIMIT, BUY, 99, 5, 0)
    book.put_limit(slot, BUY, 99, 5, 0, 7, 95)  # now it would cross, but it is not placed anew
    assert (slot.crossing, slot.tag) == (0, 7)


@pytest.mark.parametrize(
    ("side", "price", "last", "marketable"),
    [
        (BUY, 100, 99, 1),
        (BUY, 100, 100, 1),
        (BUY, 100, 101, 0),
        (SELL, 100, 101, 1),
        (SELL, 100, 100, 1),
        (SELL, 100, 99, 0),
    ],
)
def test_a_limit_is_marketable_at_or_beyond_the_last_price(slots, side, price, last, marketable):
    book.put_limit(slots[0], side, price, 5, 0, 1, last)
    assert slots[0].crossing == marketable


@pytest.mark.parametrize("change", ["price", "lots", "side", "reduce_only"])
def test_a_different_limit_is_a_new_order(slots, change):
    order = {"side": BUY, "price": 99, "lots": 5, "reduce_only": 0}
    book.put_limit(slots[0], *order.values(), 1, 100)
    order[change] = {"side": SELL, "price": 98, "lots": 6, "reduce_only": 1}[change]
    book.put_limit(slots[0], *order.values(), 1, 98 if order["side"] == BUY else 99)
    assert slots[0].crossing == 1
    assert {name: slots[0][name] for name in order} == order


def test_a_trailing_order_keeps_what_it_has_seen(slots):
    book.put_trailing(slots[0], SELL, 5, 100, 10_000, 1)
    assert book.touch_trailing(slots, 120)
    book.put_trailing(slots[0], SELL, 5, 100, 10_000, 1)
    assert slots[0].extreme == 120
    book.put_trailing(slots[0], SELL, 4, 100, 10_000, 1)  # resized: a new order starts over
    assert slots[0].extreme == 0


@pytest.mark.parametrize("kind", [STOP, TAKE_PROFIT])
def test_triggers_are_reduce_only(slots, kind):
    book.put_trigger(slots[0], kind, SELL, 95, 5, 1)
    assert (slots[0].kind, slots[0].reduce_only, slots[0].price) == (kind, 1, 95)


def test_inventory_survives_the_order(slots):
    slots[0].bought, slots[0].sold, slots[0].last_ms = 7, 3, 99
    book.put_market(slots[0], BUY, 1, 0, 1)
    book.clear(slots[0])
    book.put_limit(slots[0], SELL, 110, 4, 1, 1, 100)
    assert (slots[0].bought, slots[0].sold, slots[0].last_ms) == (7, 3, 99)


def test_clearing(slots):
    for k in range(6):
        book.put_market(slots[k], BUY, 1, 0, 1)
    book.clear_shared(slots)
    assert [slot.kind for slot in slots] == [NONE] * 4 + [MARKET] * 2
    book.clear_all(slots)
    assert [slot.kind for slot in slots] == [NONE] * 6


@pytest.mark.parametrize(
    ("side", "activation", "seen", "extreme", "trigger"),
    [
        (SELL, 1000, [999], 0, None),  # not armed below its activation
        (SELL, 1000, [1000], 1000, 980),
        (SELL, 1000, [1000, 1100, 1050], 1100, 1078),
        (SELL, 0, [900], 900, 882),  # no activation: at once
        (BUY, 1000, [1001], 0, None),
        (BUY, 1000, [1000, 900, 950], 900, 918),
        (BUY, 0, [1100], 1100, 1122),
    ],
)
def test_a_trailing_order_arms_and_tracks(slots, side, activation, seen, extreme, trigger):
    book.put_trailing(slots[0], side, 5, activation, 20_000, 1)
    for price in seen:
        book.touch_trailing(slots, price)
    assert slots[0].extreme == extreme
    if trigger is not None:
        assert book.trailing_trigger(slots[0]) == trigger


def test_only_trailing_orders_track(slots):
    book.put_trigger(slots[0], STOP, SELL, 95, 5, 1)
    assert not book.touch_trailing(slots, 120)
    assert slots[0].extreme == 0
    assert [book.is_conditional(kind) for kind in (NONE, MARKET, LIMIT, STOP, TAKE_PROFIT, TRAILING)] == [
        False, False, False, True, True, True,
    ]  # fmt: skip
