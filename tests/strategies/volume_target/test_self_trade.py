"""Managed accounts never meet in the venue's book, whatever the interleaving."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies.volume_target.build import D

from perpdesk.strategies.volume_target.self_trade import (
    Exit,
    Quotes,
    TokenBook,
    ask,
    ask_exit,
    leg_ended,
    withdraw,
    would_trade,
)


def q(name: str, account: int, buy: str | None, sell: str | None) -> Quotes:
    return Quotes(name, account, None if buy is None else D(buy), None if sell is None else D(sell))


def test_who_came_first_goes_first() -> None:
    book, first = ask(TokenBook(), q("a", 1, "100", "99"))
    book, second = ask(book, q("b", 2, "100", "99"))
    book, third = ask(book, q("c", 3, "100", "99"))
    assert (first, second, third) == (True, False, False)
    book = withdraw(book, "a")
    book, third = ask(book, q("c", 3, "100", "99"))
    book, second = ask(book, q("b", 2, "100", "99"))
    assert (second, third) == (True, False)
    assert [one.pair_id for one in book.waiting] == ["c"]


def test_who_cannot_meet_does_not_wait() -> None:
    book, _ = ask(TokenBook(), q("a", 1, "100", "102"))
    book, waits = ask(book, q("b", 2, "102", "104"))
    book, free = ask(book, q("c", 3, "99", "103"))
    assert (waits, free) == (False, True)


def test_asking_again_keeps_the_place() -> None:
    book, _ = ask(TokenBook(), q("a", 1, "100", "99"))
    for name in ("b", "c", "b"):
        book, _ = ask(book, q(name, ord(name), "100", "99"))
    assert [one.pair_id for one in book.waiting] == ["b", "c"]
    again, allowed = ask(book, q("a", 1, "100", "99"))
    assert (again, allowed) == (book, True)


def test_one_account_does_not_wait_for_itself() -> None:
    book, _ = ask(TokenBook(), q("a", 1, "100", "99"))
    assert ask(book, q("b", 1, "100", "99"))[1]


def test_a_leg_that_has_ended_meets_nobody() -> None:
    book, _ = ask(TokenBook(), q("a", 1, "100", "105"))
    assert not ask(book, q("b", 2, "105", "110"))[1]
    assert ask(leg_ended(book, "a", sell=True), q("b", 2, "105", "110"))[1]
    assert leg_ended(leg_ended(book, "a", sell=True), "a", buy=True) == TokenBook()


def test_an_exit_takes_the_lane() -> None:
    book, _ = ask(TokenBook(), q("a", 1, "100", "105"))
    book, _ = ask(book, q("b", 2, "98", "106"))
    book, hit = ask_exit(book, Exit("x", 3, D(99)))
    assert [one.pair_id for one in hit] == ["a"]
    assert [one.pair_id for one in ask_exit(book, Exit("x", 3, None))[1]] == ["a", "b"]
    # new BUYs of others wait, its own account's do not
    assert not ask(book, q("c", 4, "90", "120"))[1]
    assert ask(book, q("d", 3, "90", "120"))[1]
    book, hit = ask_exit(leg_ended(book, "a", buy=True), Exit("x", 3, D(99)))
    assert hit == ()
    assert ask(withdraw(book, "x"), q("c", 4, "90", "120"))[1]


PRICE = st.integers(1, 6).map(Decimal)
SIDE = PRICE | st.none()
QUOTES = st.tuples(st.integers(0, 7), SIDE, SIDE)
ACT = st.tuples(st.sampled_from(["ask", "ask", "buy", "sell", "end", "exit"]), QUOTES)


@settings(max_examples=300)
@given(st.lists(ACT, max_size=40))
def test_no_interleaving_lets_two_accounts_meet(
    acts: list[tuple[str, tuple[int, Decimal | None, Decimal | None]]],
) -> None:
    book = TokenBook()
    asked: dict[str, Quotes] = {}
    for act, (number, buy, sell) in acts:
        name = f"p{number}"
        mine = asked.get(name, Quotes(name, number % 4, buy, sell))
        match act:
            case "ask":
                asked[name] = mine
                book, allowed = ask(book, mine)
                assert allowed == any(one.pair_id == name for one in book.live)
            case "buy" | "sell":
                book = leg_ended(book, name, buy=act == "buy", sell=act == "sell")
            case "end":
                asked.pop(name, None)
                book = withdraw(book, name)
            case "exit":
                book, hit = ask_exit(book, Exit(f"x{number}", number % 4, buy))
                sent = not hit
                for one in book.live:
                    crosses = one.buy is not None and (buy is None or one.buy >= buy)
                    assert not (sent and crosses and one.account != number % 4)
                book = withdraw(book, f"x{number}")
        for one in book.live:
            assert not any(would_trade(one, other) for other in book.live)
        names = [one.pair_id for one in (*book.live, *book.waiting)]
        assert len(names) == len(set(names))
