"""Takers, makers, prevention of self-trades, and quotes that pass through."""

from __future__ import annotations

import pytest
from tests.exchange.spot.market import (
    BTC,
    NOW_MS,
    buy,
    check,
    new_world,
    place,
    place_list,
    quote,
    sell,
    story,
)

from perpdesk.exchange.spot import entry
from perpdesk.exchange.spot import refusals as no
from perpdesk.exchange.spot.orders import BUY, SELL, NewList, NewOrder
from perpdesk.exchange.spot.pairs import e8


def test_a_buy_fills_at_the_ask_up_to_its_size_and_the_rest_waits() -> None:
    world = new_world()
    quote(world, "100", "100.01", ask_qty="0.3")
    order = place(world, buy("100.5", "1"))
    assert (order.status, order.filled_e8, order.quote_e8) == ("PARTIALLY_FILLED", e8("0.3"), e8("30.003"))
    quote(world, "100.4", "100.5")  # touched, not passed
    assert order.filled_e8 == e8("0.3")
    assert world.books[0].ticker()[2] == e8("100.5")
    quote(world, "100.3", "100.49")  # passed: the rest at its own price
    assert (order.status, order.quote_e8) == ("FILLED", e8("30.003") + e8("70.35"))
    check(world)


def test_price_then_time_between_clients_and_the_taker_pays_the_makers_price() -> None:
    world = new_world(3)
    quote(world, "90", "110")
    early, late = place(world, sell("105", "0.2")), place(world, sell("105", "0.2"), account=1)
    better = place(world, sell("104", "0.2"), account=1)
    taker = place(world, buy("106", "0.5"), account=2)
    assert [one.filled_e8 for one in (better, early, late)] == [e8("0.2"), e8("0.2"), e8("0.1")]
    assert taker.quote_e8 == e8("0.2") * 104 + e8("0.3") * 105
    assert world.crosses == []
    check(world)


def test_managed_accounts_that_trade_with_each_other_are_found_out() -> None:
    world = new_world()
    for account in world.accounts:
        account.managed = True
    quote(world, "90", "110")
    maker = place(world, sell("105", "0.2"))
    taker = place(world, buy("105", "0.2"), account=1)
    (cross,) = world.crosses
    assert (cross.taker, cross.maker, cross.order_ids) == (1, 0, (taker.id, maker.id))


@pytest.mark.parametrize(
    ("mode", "statuses"),
    [
        ("EXPIRE_TAKER", ("NEW", "EXPIRED_IN_MATCH")),
        ("EXPIRE_MAKER", ("EXPIRED_IN_MATCH", "NEW")),
        ("EXPIRE_BOTH", ("EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH")),
        ("NONE", ("FILLED", "FILLED")),
    ],
)
def test_self_trade_prevention_follows_the_taker(mode: str, statuses: tuple[str, str]) -> None:
    world = new_world()
    quote(world, "90", "110")
    maker = place(world, sell("105", "0.2"))
    taker = place(world, buy("105", "0.2", stp=mode))
    assert (maker.status, taker.status) == statuses
    check(world)


def test_prevention_ends_the_list_of_the_order_too() -> None:
    world = new_world()
    quote(world, "90", "110")
    one = place_list(world, NewList((buy("80", "0.2"),), sell("105", "0.2")))
    place(world, buy("105", "0.2", stp="EXPIRE_MAKER"))
    assert [order.status for order in one.orders] == ["EXPIRED_IN_MATCH", "EXPIRED"]
    check(world)


def test_times_in_force() -> None:
    world = new_world()
    quote(world, "100", "100.01", ask_qty="0.3")
    killed = place(world, buy("100.01", "0.4", tif="FOK"))
    assert (killed.status, killed.filled_e8) == ("EXPIRED", 0)
    cut = place(world, buy("100.01", "0.4", tif="IOC"))
    assert (cut.status, cut.filled_e8) == ("EXPIRED", e8("0.3"))
    assert story(world)[-1] == "BUY EXPIRED/EXPIRED"
    check(world)


def test_market_orders_by_quantity_and_by_quote() -> None:
    world = new_world()
    by_quote = place(world, NewOrder(BUY, "MARKET", quote_qty_e8=e8("50")))
    assert (by_quote.status, by_quote.qty_e8) == ("FILLED", e8("0.49995"))
    beyond = place(world, NewOrder(SELL, "MARKET", 0, e8("1.4")))
    assert beyond.status == "FILLED"
    quote(world, "100", "100.01", bid_qty="0", ask_qty="0")
    empty = place(world, NewOrder(BUY, "MARKET", 0, e8("1")))
    assert (empty.status, empty.filled_e8) == ("EXPIRED", 0)
    check(world)


def test_orders_that_must_not_take_or_trigger() -> None:
    world = new_world()
    account, pair = world.accounts[0], world.by_symbol[BTC]
    taking = NewOrder(BUY, "LIMIT_MAKER", e8("100.01"), e8("0.1"))
    assert entry.place(world, account, pair, taking, NOW_MS) == no.WOULD_TAKE
    for side, kind, stop in (
        (SELL, "STOP_LOSS", "100"),
        (BUY, "STOP_LOSS", "100"),
        (SELL, "TAKE_PROFIT", "100"),
        (BUY, "TAKE_PROFIT", "100"),
    ):
        new = NewOrder(side, kind, 0, e8("0.1"), stop_e8=e8(stop))
        assert entry.place(world, account, pair, new, NOW_MS) == no.WOULD_TRIGGER
    assert not account.open
    check(world)


def test_what_is_remembered_can_be_limited() -> None:
    world = new_world()
    world.history_max = 10
    for i in range(100):
        place(world, buy("100.01", "0.001", client_id=f"c{i}"))
    account = world.accounts[0]
    assert len(account.orders) <= 20
    assert len(account.fills) <= 40
    assert set(account.last_by_client_id) == {one.client_id for one in account.orders.values()}
    check(world)
