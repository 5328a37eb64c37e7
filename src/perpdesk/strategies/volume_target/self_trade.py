"""Managed accounts never trade with each other: who may quote what on one token, and who waits.

One book a token, inside the process that holds the token's lease. A quote is live from before it is sent
until its end at the venue is proven, pending SELLs included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Quotes:
    """What a pair has, or wants, at the venue; a side that is not there is None."""

    pair_id: str
    account: int
    buy: Decimal | None
    sell: Decimal | None


@dataclass(frozen=True, slots=True)
class Exit:
    """A flattening order of an account, limit None at market. While it stands, new BUYs of others wait."""

    pair_id: str
    account: int
    limit: Decimal | None


@dataclass(frozen=True, slots=True)
class TokenBook:
    """The live quotes of one token, those who wait in order, and the exits that want the lane."""

    live: tuple[Quotes, ...] = ()
    waiting: tuple[Quotes, ...] = ()
    exits: tuple[Exit, ...] = ()


def would_trade(mine: Quotes, other: Quotes) -> bool:
    """Could these two meet at the venue? Equal prices meet; one account does not trade with itself."""
    if mine.account == other.account:
        return False
    return _meet(mine.buy, other.sell) or _meet(other.buy, mine.sell)


def _meet(buy: Decimal | None, sell: Decimal | None) -> bool:
    return buy is not None and sell is not None and buy >= sell


def _hits(exit_order: Exit, quotes: Quotes) -> bool:
    """Could the exit sell into this BUY?"""
    if quotes.buy is None or quotes.account == exit_order.account:
        return False
    return exit_order.limit is None or quotes.buy >= exit_order.limit


def ask(book: TokenBook, mine: Quotes) -> tuple[TokenBook, bool]:
    """May this pair quote now? If so it is live from here on, else it waits in its place of the line.

    It waits for live quotes that it would trade with, for exits of others, and for everybody before it in
    the line that it would trade with: who came first goes first.
    """
    if any(quotes.pair_id == mine.pair_id for quotes in book.live):
        return book, True
    ahead = []
    for waiter in book.waiting:
        if waiter.pair_id == mine.pair_id:
            break
        ahead.append(waiter)
    blocked = any(would_trade(mine, other) for other in (*book.live, *ahead)) or any(
        mine.buy is not None and one.account != mine.account for one in book.exits
    )
    rest = tuple(waiter for waiter in book.waiting if waiter.pair_id != mine.pair_id)
    if not blocked:
        return replace(book, live=(*book.live, mine), waiting=rest), True
    queue = (*ahead, mine, *rest[len(ahead) :])
    return replace(book, waiting=queue), False


def leg_ended(book: TokenBook, pair_id: str, *, buy: bool = False, sell: bool = False) -> TokenBook:
    """The venue has proven the end of a leg (filled, cancelled …): it can meet nobody any more."""
    live = []
    for quotes in book.live:
        if quotes.pair_id == pair_id:
            quotes = replace(quotes, buy=None if buy else quotes.buy, sell=None if sell else quotes.sell)
        if quotes.buy is not None or quotes.sell is not None:
            live.append(quotes)
    return replace(book, live=tuple(live))


def withdraw(book: TokenBook, pair_id: str) -> TokenBook:
    """The pair no longer wants to quote (it never did) or is over: out of the line and the book."""
    return TokenBook(
        live=tuple(quotes for quotes in book.live if quotes.pair_id != pair_id),
        waiting=tuple(quotes for quotes in book.waiting if quotes.pair_id != pair_id),
        exits=tuple(one for one in book.exits if one.pair_id != pair_id),
    )


def ask_exit(book: TokenBook, exit_order: Exit) -> tuple[TokenBook, tuple[Quotes, ...]]:
    """Take the lane for an exit. What is returned must be cancelled, and its end proven (``leg_ended``)
    before the exit may be sent; ask again until nothing is returned."""
    others = tuple(one for one in book.exits if one.pair_id != exit_order.pair_id)
    book = replace(book, exits=(*others, exit_order))
    return book, tuple(quotes for quotes in book.live if _hits(exit_order, quotes))
