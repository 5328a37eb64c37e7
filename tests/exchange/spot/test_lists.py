"""Order lists: who waits for whom, and what ends with what."""

from __future__ import annotations

import pytest
from tests.exchange.spot.market import (
    BTC,
    KOGE,
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

from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.spot import entry
from perpdesk.exchange.spot import refusals as no
from perpdesk.exchange.spot.orders import BUY, SELL, NewList, NewOrder
from perpdesk.exchange.spot.pairs import e8


def oto(buy_price: str = "99", sell_price: str = "101", qty: str = "0.5", **more: object) -> NewList:
    return NewList((sell(sell_price, qty),), buy(buy_price, qty), **more)  # type: ignore[arg-type]


def test_the_pending_order_waits_for_the_whole_working_order() -> None:
    world = new_world()
    one = place_list(world, oto())
    assert one.working is not None
    (pending,) = one.pending
    assert story(world) == ["BUY NEW/NEW", "SELL NEW/PENDING_NEW", "LIST EXECUTING"]
    quote(world, "98", "98.5", ask_qty="0.2")  # 0.2 of 0.5
    assert (one.working.status, pending.status) == ("PARTIALLY_FILLED", "PENDING_NEW")
    check(world)
    quote(world, "98", "98.5")
    assert (one.working.status, pending.status, pending.on_book) == ("FILLED", "NEW", True)
    check(world)
    quote(world, "101.5", "102")
    assert (pending.status, one.is_done) == ("FILLED", True)
    told = ["BUY TRADE/PARTIALLY_FILLED", "BUY TRADE/FILLED", "SELL NEW/NEW", "SELL TRADE/FILLED"]
    assert story(world) == [*told, "LIST ALL_DONE"]
    check(world)


def test_an_immediate_fill_activates_at_once() -> None:
    world = new_world()
    one = place_list(world, oto("100.01", "99"))  # both cross
    assert [order.status for order in one.orders] == ["FILLED", "FILLED"]
    assert one.is_done
    check(world)


@pytest.mark.parametrize("which", [0, 1])
def test_cancelling_either_order_ends_both(which: int) -> None:
    world = new_world()
    one = place_list(world, oto())
    quote(world, "98", "98.5", ask_qty="0.2")
    entry.cancel(world, one.orders[which], NOW_MS)
    assert [order.status for order in one.orders] == ["CANCELED", "CANCELED"]
    assert one.is_done
    check(world)


def test_cancelling_the_list_after_the_buy_takes_back_the_sell() -> None:
    world = new_world()
    one = place_list(world, oto())
    quote(world, "98", "98.5")
    assert entry.cancel_list(world, one, NOW_MS) is None
    assert [order.status for order in one.orders] == ["FILLED", "CANCELED"]
    refused = entry.cancel_list(world, one, NOW_MS)
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.msg) == (-2011, "Unknown order sent.")
    check(world)


def test_a_working_order_that_expires_takes_the_pending_with_it() -> None:
    world = new_world()
    new = NewList((sell("101", "0.5"),), buy("99", "0.5", tif="IOC"))
    one = place_list(world, new)
    assert [order.status for order in one.orders] == ["EXPIRED", "EXPIRED"]
    check(world)


def test_what_the_pending_order_needs_is_looked_for_when_it_goes_to_the_book() -> None:
    world = new_world()
    account = world.accounts[0]
    one = place_list(world, oto(qty="0.5"))
    world.deposit(account, "BTC", -e8("1"), NOW_MS)
    quote(world, "98", "98.5")  # bought 0.4995 after commission: 0.5 is not there
    assert [order.status for order in one.orders] == ["FILLED", "REJECTED"]
    report = next(e for _, e in world.take_events() if getattr(e, "happened", "") == "REJECTED")
    assert report.reason == "INSUFFICIENT_BALANCES"  # type: ignore[union-attr]
    check(world)


def test_one_pays_the_other_sells_what_was_bought() -> None:
    """Spot: the commission comes from what is free, if that is enough, else out of the purchase."""
    for btc, sold in (("1", "0.5"), ("0", "0.4995")):
        world = new_world()
        world.deposit(world.accounts[0], "BTC", e8(btc) - e8("1"), NOW_MS)
        new = NewList((sell("101", "0"),), buy("99", "0.5"), pays=True)
        one = place_list(world, new)
        quote(world, "98", "98.5", ask_qty="0.2")
        assert one.received_e8 > 0  # locked for the pending order
        check(world)
        quote(world, "98", "98.5")
        assert one.pending[0].qty_e8 == e8(sold)
        check(world)


def test_a_paying_list_that_is_taken_back_gives_back_what_it_bought() -> None:
    world = new_world()
    one = place_list(world, NewList((sell("101", "0"),), buy("99", "0.5"), pays=True))
    quote(world, "98", "98.5", ask_qty="0.2")
    free = world.accounts[0].free["BTC"]
    entry.cancel_list(world, one, NOW_MS)
    assert world.accounts[0].free["BTC"] == free + e8("0.2")
    check(world)


def otoco() -> NewList:
    profit = NewOrder(SELL, "LIMIT_MAKER", e8("105"), e8("0.4"))
    stop = NewOrder(SELL, "STOP_LOSS_LIMIT", e8("94"), e8("0.4"), stop_e8=e8("95"))
    return NewList((profit, stop), buy("99", "0.4"))


def test_of_two_alternatives_one_trades_and_the_other_expires() -> None:
    """The lock is one for both: 0.4 is locked, not 0.8."""
    for price, statuses in ((("105.5", "106"), ["FILLED", "FILLED", "EXPIRED"]), (("94.5", "95"), None)):
        world = new_world()
        one = place_list(world, otoco())
        quote(world, "98", "98.5")
        assert [order.status for order in one.orders] == ["FILLED", "NEW", "NEW"]
        assert world.accounts[0].locked["BTC"] == e8("0.4")
        check(world)
        quote(world, *price)
        # the stop's level is reached: it sells down to 94, and the profit order has expired
        assert [order.status for order in one.orders] == (statuses or ["FILLED", "EXPIRED", "FILLED"])
        assert one.is_done
        check(world)


def test_a_partial_fill_of_one_alternative_ends_the_other() -> None:
    world = new_world()
    one = place_list(world, otoco())
    quote(world, "98", "98.5")
    quote(world, "105.5", "106", bid_qty="0.1")
    assert [order.status for order in one.orders] == ["FILLED", "PARTIALLY_FILLED", "EXPIRED"]
    check(world)
    entry.cancel_list(world, one, NOW_MS)
    assert one.pending[0].status == "CANCELED"
    check(world)


def test_a_bare_pair_needs_its_funds_at_once() -> None:
    world = new_world()
    stop = NewOrder(BUY, "STOP_LOSS", 0, e8("1"), stop_e8=e8("110"))
    rest = NewOrder(BUY, "LIMIT_MAKER", e8("90"), e8("1"))
    one = place_list(world, NewList((stop, rest)))
    assert (one.kind, world.accounts[0].locked["USDT"]) == ("OCO", e8("110"))
    check(world)
    quote(world, "109", "109.9", last="111")
    assert [order.status for order in one.orders] == ["FILLED", "EXPIRED"]
    check(world)
    world.deposit(world.accounts[1], "USDT", -e8("99900"), NOW_MS)
    poor = NewList((NewOrder(BUY, "STOP_LOSS", 0, e8("1"), stop_e8=e8("120")), rest))
    assert entry.place_list(world, world.accounts[1], world.by_symbol[BTC], poor, NOW_MS) == no.BALANCE
    check(world)


def test_names_are_free_again_when_their_orders_have_ended() -> None:
    world = new_world()
    new = NewList((sell("101", "0.5", client_id="s"),), buy("99", "0.5", client_id="b"), "l")
    one = place_list(world, new)
    account, pair = world.accounts[0], world.by_symbol[BTC]
    again = NewList((sell("101", "0.5"),), buy("99", "0.5"), "l")
    assert entry.place_list(world, account, pair, again, NOW_MS) == no.DUPLICATE
    assert entry.place(world, account, pair, buy("99", "0.1", client_id="s"), NOW_MS) == no.DUPLICATE
    entry.cancel_list(world, one, NOW_MS)
    assert place_list(world, new).id == one.id + 1
    check(world)


def test_the_captured_pair_of_the_alpha_market() -> None:
    """V12: quotes cut, commissions rounded half up, the SELL sized by the venue, events in the captured order."""
    world = new_world()
    quote(world, "0.22690468", "0.22690469", symbol=KOGE, bid_qty="200")
    before = world.accounts[0].free["USDT"]
    new = NewList((sell("0.22690468", "0"),), buy("0.22690469", "869.56"), pays=True)
    one = place_list(world, new, symbol=KOGE)
    assert one.pending[0].left_e8 == e8("669.47")
    quote(world, "0.22690470", "0.22690471", symbol=KOGE)
    told = ["BUY NEW/NEW", "SELL NEW/PENDING_NEW", "LIST EXECUTING", "BUY TRADE/FILLED", "SELL NEW/NEW"]
    assert story(world) == [*told, "SELL TRADE/PARTIALLY_FILLED", "SELL TRADE/FILLED", "LIST ALL_DONE"]
    fills = world.accounts[0].fills
    assert [one.quote_e8 for one in fills] == [e8("197.30724223"), e8("45.38093600"), e8("151.90587611")]
    assert [one.commission_e8 for one in fills] == [e8("0.086956"), e8("0.00453809"), e8("0.01519059")]
    assert before - world.accounts[0].free["USDT"] == e8("0.04015880")
    assert world.accounts[0].free["ALPHA_22"] == e8("0.003044")
    check(world)


def test_a_shut_market_takes_nothing() -> None:
    world = new_world()
    world.by_symbol[BTC].status = "BREAK"
    assert entry.place_list(world, world.accounts[0], world.by_symbol[BTC], oto(), NOW_MS) == no.CLOSED
    world.by_symbol[BTC].status = "TRADING"
    place(world, buy("99", "0.1"))
