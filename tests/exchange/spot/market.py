"""A small Spot world for tests: two ordinary pairs and one Alpha token, and what must hold at all times."""

from __future__ import annotations

from collections import Counter

from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.spot import entry, matching
from perpdesk.exchange.spot.alpha import token
from perpdesk.exchange.spot.book import Level
from perpdesk.exchange.spot.events import ListReport, Report
from perpdesk.exchange.spot.orders import BUY, SELL, NewList, NewOrder, Order, OrderList
from perpdesk.exchange.spot.pairs import Pair, e8
from perpdesk.exchange.spot.wallets import Account
from perpdesk.exchange.spot.world import SpotWorld

NOW_MS = 1_763_640_000_000
BTC, ETH, KOGE = "BTCUSDT", "ETHUSDT", "ALPHA_22USDT"


def pairs() -> list[Pair]:
    """BTC and ETH with 0.1 % fees, KOGE with 0.01 %."""
    return [
        Pair(0, BTC, "BTC", "USDT", tick_e8=1_000_000, step_e8=1_000),
        Pair(0, ETH, "ETH", "USDT", tick_e8=1_000_000, step_e8=10_000),
        token("KOGE", KOGE),
    ]


def new_world(accounts: int = 2, usdt: str = "100000") -> SpotWorld:
    """Accounts with USDT and one BTC; quotes of 1 BTC a level."""
    world = SpotWorld(pairs())
    for _ in range(accounts):
        world.open_account({"USDT": e8(usdt), "BTC": e8("1")}, NOW_MS)
    quote(world, "100", "100.01", symbol=BTC)
    quote(world, "10", "10.01", symbol=ETH)
    quote(world, "0.22690468", "0.22690469", symbol=KOGE)
    world.take_events()
    return world


def quote(
    world: SpotWorld,
    bid: str,
    ask: str,
    *,
    symbol: str = BTC,
    last: str | None = None,
    bid_qty: str = "1000",
    ask_qty: str = "1000",
) -> None:
    """The market goes there."""
    book = world.books[world.by_symbol[symbol].index]
    last_e8 = e8(last if last is not None else bid)
    bids, asks = [Level(e8(bid), e8(bid_qty))], [Level(e8(ask), e8(ask_qty))]
    matching.quoted(world, book, bids, asks, last_e8, world.now_ms or NOW_MS)


def limit(side: int, price: str, qty: str, **more: object) -> NewOrder:
    """A LIMIT order."""
    return NewOrder(side, "LIMIT", e8(price), e8(qty), **more)  # type: ignore[arg-type]


def buy(price: str, qty: str, **more: object) -> NewOrder:
    return limit(BUY, price, qty, **more)


def sell(price: str, qty: str, **more: object) -> NewOrder:
    return limit(SELL, price, qty, **more)


def place(world: SpotWorld, new: NewOrder, *, account: int = 0, symbol: str = BTC) -> Order:
    """An order that must be taken."""
    made = entry.place(world, world.accounts[account], world.by_symbol[symbol], new, world.now_ms)
    assert not isinstance(made, Refusal), made
    return made


def place_list(world: SpotWorld, new: NewList, *, account: int = 0, symbol: str = BTC) -> OrderList:
    """A list that must be taken."""
    made = entry.place_list(world, world.accounts[account], world.by_symbol[symbol], new, world.now_ms)
    assert not isinstance(made, Refusal), made
    return made


def story(world: SpotWorld, account: int = 0) -> list[str]:
    """What the account was told since the last call, shortly: ``BUY TRADE/FILLED``, ``LIST ALL_DONE``."""
    told = []
    for owner, event in world.take_events():
        if owner != account:
            continue
        if isinstance(event, Report):
            told.append(f"{'BUY' if event.side == BUY else 'SELL'} {event.happened}/{event.status}")
        elif isinstance(event, ListReport):
            told.append(f"LIST {event.order_status}")
    return told


def check(world: SpotWorld) -> None:
    """Assets are conserved, nothing is negative, every lock has its reason, no pending order lives early."""
    total: Counter[str] = Counter()
    for asset, amount in (*world.fees.items(), *world.house.items()):
        total[asset] += amount
    for account in world.accounts:
        for asset, amount in (*account.free.items(), *account.locked.items()):
            assert amount >= 0, (account.index, asset, amount)
            total[asset] += amount
        for asset, amount in account.deposited.items():
            total[asset] -= amount
        check_locks(world, account)
    assert not any(total.values()), total
    assert all(amount >= 0 for amount in world.fees.values())
    assert not world.to_start
    assert not world.moved
    for book in world.books:
        assert [one.price_e8 for one in book.bids] == sorted(
            (one.price_e8 for one in book.bids), reverse=True
        )
        assert [one.price_e8 for one in book.asks] == sorted(one.price_e8 for one in book.asks)
        for order in (*book.bids, *book.asks):
            assert order.on_book
            assert order.status in ("NEW", "PARTIALLY_FILLED")
            assert order.left_e8 > 0
            assert world.accounts[order.account].open[order.id] is order
        if book.bids and book.asks:
            assert book.bids[0].price_e8 < book.asks[0].price_e8


def check_locks(world: SpotWorld, account: Account) -> None:
    """What is locked is what open orders and lists hold, to the last unit."""
    held: Counter[str] = Counter()
    for order in account.orders.values():
        pair = world.pairs[order.pair]
        held[pair.quote if order.side == BUY else pair.base] += order.locked_e8
        assert order.locked_e8 == 0 or order.is_open
        assert (order.id in account.open) == order.is_open
        assert 0 <= order.filled_e8 <= order.qty_e8
        assert order.status != "FILLED" or order.left_e8 == 0
    for one in account.lists.values():
        pair = world.pairs[one.pair]
        held[pair.base] += one.received_e8
        held[pair.quote if one.pending[0].side == BUY else pair.base] += one.shared_e8
        assert one.is_done == (one.id not in account.open_lists)
        assert not one.is_done or one.received_e8 == one.shared_e8 == 0
        assert one.is_done == (not any(order.is_open for order in one.orders))
        if one.working is not None and one.working.status != "FILLED":
            # the rule: nothing pending is active before the working order is *fully* filled
            assert all(order.filled_e8 == 0 and not order.on_book for order in one.pending)
            assert all(order.status != "NEW" for order in one.pending)
        if len(one.pending) > 1:
            assert sum(order.filled_e8 > 0 for order in one.pending) <= 1
    assert {a: n for a, n in held.items() if n} == {a: n for a, n in account.locked.items() if n}
