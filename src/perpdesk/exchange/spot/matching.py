"""A taker meets the book, and new quotes pass through what rests in it."""

from __future__ import annotations

from perpdesk.exchange.spot import fills, lists
from perpdesk.exchange.spot.book import Book, Level
from perpdesk.exchange.spot.fills import HOUSE
from perpdesk.exchange.spot.lists import would_trigger
from perpdesk.exchange.spot.orders import BUY, Order
from perpdesk.exchange.spot.pairs import E8
from perpdesk.exchange.spot.world import Cross, SpotWorld


def start(world: SpotWorld, order: Order, now_ms: int) -> None:
    """An order that holds its funds begins to work: take what it can, rest or expire with the rest.

    The order has been told as NEW. price_e8 0 is at market; left_e8 0 with quote_qty_e8: for so much quote.
    """
    book = world.book(order)
    order.working_ms = now_ms
    if order.tif == "FOK" and _available(book, order) < order.left_e8:
        lists.ended(world, order, "EXPIRED", now_ms)
        return
    take(world, book, order, now_ms)
    if not order.is_open:
        return
    if order.price_e8 == 0 or order.tif in ("IOC", "FOK"):
        lists.ended(world, order, "EXPIRED", now_ms)
        return
    book.insert(order)
    order.on_book = True


def _available(book: Book, order: Order) -> int:
    """How much an order could take at once. Its own account's orders count: they end before they trade."""
    limit, side = order.price_e8, order.side
    found = sum(
        level.left_e8 for level in book.levels(side) if not limit or (limit - level.price_e8) * side >= 0
    )
    for other in book.resting(-side):
        if limit and (limit - other.price_e8) * side < 0:
            break
        if other.account != order.account or order.stp == "NONE":
            found += other.left_e8
    return found


def take(world: SpotWorld, book: Book, order: Order, now_ms: int) -> None:
    """Best price first; at one price the quotes before the clients, and these by age."""
    side = order.side
    while order.left_e8 > 0 and order.is_open:
        level = book.best_quote(side)
        resting = book.resting(-side)
        maker = resting[0] if resting else None
        if level is None and maker is None:
            return
        uses_quote = maker is None or (level is not None and (maker.price_e8 - level.price_e8) * side >= 0)
        price = level.price_e8 if uses_quote and level is not None else maker.price_e8 if maker else 0
        if order.price_e8 and (order.price_e8 - price) * side < 0:
            return
        there = level.left_e8 if uses_quote and level is not None else maker.left_e8 if maker else 0
        qty = _affordable(world, order, price, min(order.left_e8, there))
        if qty == 0:
            return
        if uses_quote and level is not None:
            level.left_e8 -= qty
            _one_side(world, book, order, price, qty, now_ms)
        elif maker is not None and not _prevented(world, order, maker, now_ms):
            _both_sides(world, book, order, maker, qty, now_ms)


def _affordable(world: SpotWorld, order: Order, price: int, qty: int) -> int:
    """A BUY at market stops where its locked money ends."""
    if order.side != BUY or order.price_e8:
        return qty
    step = world.pair(order).step_e8
    most: int = order.locked_e8 * E8 // price // step * step
    return min(qty, most)


def _prevented(world: SpotWorld, taker: Order, maker: Order, now_ms: int) -> bool:
    """Self-trade prevention by the taker's mode."""
    if taker.account != maker.account or taker.stp == "NONE":
        return False
    ends_taker = taker.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH")
    if taker.stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
        lists.ended(world, maker, "EXPIRED_IN_MATCH", now_ms, happened="TRADE_PREVENTION")
    if ends_taker:
        lists.ended(world, taker, "EXPIRED_IN_MATCH", now_ms, happened="TRADE_PREVENTION")
    return True


def _one_side(world: SpotWorld, book: Book, order: Order, price: int, qty: int, now_ms: int,
              is_maker: bool = False) -> None:  # fmt: skip
    lists.claims(world, order, now_ms)
    quote = fills.quote_of(price, qty)
    buyer_maker = (order.side == BUY) == is_maker
    trade_id = book.traded(price, qty, quote, now_ms, buyer_maker)
    world.moved[order.pair] = None
    fill = fills.execute(
        world, order, price, qty, trade_id=trade_id, is_maker=is_maker, against=HOUSE, now_ms=now_ms
    )
    _after(world, book, order)
    world.report(order, "TRADE", now_ms, fill=fill)
    lists.traded(world, order, now_ms)


def _both_sides(world: SpotWorld, book: Book, taker: Order, maker: Order, qty: int, now_ms: int) -> None:
    price = maker.price_e8
    for order in (maker, taker):
        lists.claims(world, order, now_ms)
    quote = fills.quote_of(price, qty)
    trade_id = book.traded(price, qty, quote, now_ms, maker.side == BUY)
    world.moved[taker.pair] = None
    one, other = world.accounts[taker.account], world.accounts[maker.account]
    if one.managed and other.managed and one is not other:
        ids = (taker.id, maker.id)
        world.crosses.append(Cross(now_ms, taker.pair, one.index, other.index, ids))
    booked = [
        (
            order,
            fills.execute(
                world, order, price, qty, trade_id=trade_id, is_maker=order is maker,
                against=against.account, now_ms=now_ms,
            ),
        )
        for order, against in ((maker, taker), (taker, maker))
    ]  # fmt: skip
    for order, fill in booked:
        _after(world, book, order)
        world.report(order, "TRADE", now_ms, fill=fill)
    for order, _ in booked:
        lists.traded(world, order, now_ms)


def _after(world: SpotWorld, book: Book, order: Order) -> None:
    if order.status == "FILLED":
        book.remove(order)
        fills.release(world, order)
        world.close(order)


def pass_through(world: SpotWorld, book: Book, now_ms: int) -> None:
    """New quotes fill what they have passed, at the orders' own prices, as far as they reach."""
    for side in (BUY, -BUY):
        for order in tuple(book.resting(side)):
            for level in book.levels(side):
                if not order.on_book or (order.price_e8 - level.price_e8) * side <= 0:
                    break
                qty = min(order.left_e8, level.left_e8)
                if qty:
                    level.left_e8 -= qty
                    _one_side(world, book, order, order.price_e8, qty, now_ms, is_maker=True)


def trigger(world: SpotWorld, book: Book, now_ms: int) -> None:
    """Conditional orders whose level the last price has reached start to work, oldest first."""
    while True:
        due = next(
            (one for one in book.conditional if would_trigger(book, one.type, one.side, one.stop_e8)), None
        )
        if due is None:
            return
        book.conditional.remove(due)
        lists.claims(world, due, now_ms)
        due.working_ms = now_ms
        world.report(due, "NEW", now_ms)
        start(world, due, now_ms)


def quoted(
    world: SpotWorld, book: Book, bids: list[Level], asks: list[Level], last_e8: int, now_ms: int
) -> None:
    """The rest of the world has new quotes and has traded at ``last_e8`` (0: it has not)."""
    book.quote(bids, asks)
    moved(world, book, last_e8, now_ms)


def moved(world: SpotWorld, book: Book, last_e8: int, now_ms: int) -> None:
    """The quotes of a book were laid anew: everything that follows from it."""
    world.now_ms = max(world.now_ms, now_ms)
    book.quoted_ms = now_ms
    if last_e8:
        book.last_e8 = last_e8
        book.bars.see(last_e8, 0, 0, now_ms, True)
    if book.bids or book.asks or book.conditional:
        pass_through(world, book, now_ms)
        world.moved[book.pair.index] = None
        settle(world, now_ms)


def settle(world: SpotWorld, now_ms: int) -> None:
    """Let everything happen that now can: pending orders that go to the book, conditional ones whose price
    has come. Then tell every account whose balances have changed."""
    while world.to_start or world.moved:
        while world.to_start:
            order = world.to_start.popleft()
            if order.is_open:
                start(world, order, now_ms)
        for index in tuple(world.moved):
            del world.moved[index]
            trigger(world, world.books[index], now_ms)
    changed, world.changed = world.changed, {}
    for account in changed:
        world.say_position(world.accounts[account], now_ms)
